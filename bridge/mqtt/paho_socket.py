"""A paho client on a socket of ours, which publishes by `wire`; how it connects is `dial`'s."""

import logging
import re
import socket
import ssl
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import BrokerRefused
from bridge.mqtt.publish_packets import OnMessage, OnSent, Wire, publish_packet
from bridge.tree.messages import Message, Publication

CONNECT_S = 30.0
"""The most time from the first packet to CONNACK: a cluster that mends itself takes up to this."""

_PACKETS_AT_ONCE = 256
_OURS = 1
"""The highest QoS at which we publish without paho."""
_ALERT = re.compile(r"\balert ([a-z ]*[a-z])")


class Complaint(logging.Logger):
    """Hold the last error that paho met: no callback tells it."""

    words = ""

    def log(self, level: int, msg: object, *args: object, **_: object) -> None:
        """Keep an error's words, drop everything else unformatted."""
        if level >= logging.ERROR:
            self.words = str(msg) % args


class Client(paho.Client):
    """A paho client on a socket of ours, which stays ours to close whatever fails.

    paho itself leaves the socket open when the TLS or websocket handshake fails. What is sent waits
    for `flush`. `on_sent` is told of a publication that the broker has, of QoS 0 that the network
    has, `on_told` of each message. Of paho's private members only
    `_create_socket`, `_create_socket_connection` and `_mid_generate` are used.
    """

    def __init__(self, connected: socket.socket, **options: Any) -> None:  # noqa: ANN401 - paho's own
        super().__init__(CallbackAPIVersion.VERSION2, reconnect_on_failure=False, **options)
        self.connected = connected
        self.on_sent: OnSent = lambda *_: None
        self.on_told: OnMessage = lambda _: None
        self.complaint = Complaint("paho")
        self.enable_logger(self.complaint)
        self.verdict: BrokerRefused | None = None
        self.on_socket_close = lambda *_: self.hear_verdict()
        self.on_publish = self._on_whole
        self.on_message = self._on_received
        self.connect_timeout = CONNECT_S
        self.max_inflight_messages = 0
        self._wire: Wire | None = None
        self._is_5 = options.get("protocol") == paho.MQTTv5
        self._unwritten: list[int] = []
        self._is_behind = False

    def send(self, publication: Publication, qos: int) -> int:
        """Publish; return the packet identifier, which is drawn for QoS 0 too."""
        if qos > _OURS or self._wire is None:
            properties = publish_properties(publication) if self._is_5 else None
            topic, payload, retain = publication.topic, publication.payload, publication.retain
            return self.publish(topic, payload, qos, retain, properties).mid
        mid = self._mid_generate()
        self._wire.send(publish_packet(publication, mid=mid, qos=qos, is_5=self._is_5))
        if not qos:
            self._unwritten.append(mid)
        return mid

    @property
    def wants_flush(self) -> bool:
        """Whether something waits for `flush` that paho did not ask it for."""
        return self._wire is not None and self._wire.is_writing

    def flush(self) -> bool:
        """Write all that waits, at once, as far as the network takes it; return whether it did.

        What has broken shows in the next `read`.
        """
        if self.want_write():
            self.loop_write()
        if (wire := self._wire) is None:
            return True
        wire.flush()
        if wire.is_writing:
            if wire.has_news:
                self.read()
            return False
        written, self._unwritten = self._unwritten, []
        for mid in written:
            self.on_sent(mid, 0)
        return True

    def read(self) -> bool:
        """Read what there is and take up to 256 packets; return whether there is more."""
        wire = self._wire
        if wire is None:
            return False
        if not self._is_behind:
            wire.fill()
        self._is_behind = False
        for _ in range(_PACKETS_AT_ONCE):
            is_more = wire.step()
            if wire.has_news and self.loop_read() is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
            if not is_more:
                # TLS holds back what no selector tells of.
                return isinstance(self.connected, ssl.SSLSocket) and self.connected.pending() > 0
        self._is_behind = True
        return True

    def close(self) -> None:
        """Write what still waits, as far as the network takes it, and close the socket."""
        if self._wire is not None:
            self._wire.flush()
        self.connected.close()

    def hear_verdict(self) -> None:
        """Read a TLS alert that is still unread when the socket is about to be closed.

        With TLS 1.3 a broker's verdict on our certificate comes after the handshake, and closes
        the connection: it may be that CONNECT cannot be written any more before it is read.
        """
        if isinstance(self.connected, ssl.SSLSocket):
            self.connected.settimeout(0)
            try:
                self.connected.recv(1)
            except OSError as error:
                self.verdict = tls_alert(str(error))

    def _create_socket(self) -> Wire:
        self._wire = Wire(
            super()._create_socket(),
            self._on_puback,
            self._on_told,
            is_5=self._is_5,
        )
        return self._wire

    def _create_socket_connection(self) -> socket.socket:
        if isinstance(self.connected, ssl.SSLSocket):
            self.connected.do_handshake()
        return self.connected

    def _on_puback(self, mid: int, code: int) -> None:
        self.on_sent(mid, code)

    def _on_told(self, message: Message) -> None:
        self.on_told(message)

    def _on_whole(
        self, _client: object, _data: object, mid: int, reason: ReasonCode, _: object
    ) -> None:
        """Take that a publication of paho's has arrived."""
        self.on_sent(mid, reason.value)

    def _on_received(self, _client: object, _data: object, received: paho.MQTTMessage) -> None:
        """Take a message that `wire` left to paho."""
        with suppress(UnicodeDecodeError):
            self.on_told(
                Message(
                    received.topic,
                    bytes(received.payload),
                    received.retain,
                    getattr(received.properties, "ResponseTopic", None),
                    getattr(received.properties, "CorrelationData", None),
                )
            )


def packet_properties(kind: int, **values: object) -> Properties | None:
    """Return the MQTT 5 properties of a packet, None where no value is given."""
    if all(value is None for value in values.values()):
        return None
    properties = Properties(kind)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    for name, value in values.items():
        if value is not None:
            setattr(properties, name, value)
    return properties


def publish_properties(publication: Publication) -> Properties | None:
    """Return the MQTT 5 properties of a PUBLISH or a will (MQTT 5, section 3.3.2.3)."""
    return packet_properties(
        PacketTypes.PUBLISH,
        ContentType=publication.content_type,
        CorrelationData=publication.correlation_data,
        MessageExpiryInterval=publication.expiry_s,
    )


def tls_alert(words: str) -> BrokerRefused | None:
    """Return the refusal that an error's words tell of, if they tell of a TLS alert (RFC 8446)."""
    found = _ALERT.search(words)
    if found is None:
        return None
    hint = ": see mqtt.tls_cert" if "certificate" in found[1] or "ca" in found[1].split() else ""
    return BrokerRefused(f"its TLS alert: {found[1]}{hint}")
