"""What a broker bears and what its reason codes mean to us; no I/O."""

import re
from dataclasses import dataclass
from typing import Self

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import BrokerError, BrokerRefused, BrokerUnreachable
from bridge.tree.messages import Publication

WINDOW = 64
"""The most publications in flight, where the broker's Receive Maximum is not smaller."""

HEADROOM = 1024
"""Bytes of the largest packet that are kept for topic and properties."""

_UNSUPPORTED_PROTOCOL = 0x84
_TAKEN_OVER = 0x8E
_NO_SUCH_WILL = frozenset({0x9A, 0x9B})
_TEMPORARY = frozenset({0, 0x80, 0x83, 0x88, 0x89, 0x8B, 0x8D, 0x97, 0x9C, 0x9F, 0xA0})
"""Reason codes that the next attempt may not meet (MQTT 5, section 2.4)."""

_MAX_FIELD = 65_535

_UNFIT = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What no topic name may hold, or what lets a broker end the connection (MQTT 5, section 1.5.4)."""


class ProtocolUnknown(BrokerRefused):
    """The broker does not speak this version of MQTT, or ended the connection without a word.

    The latter if it `is_mute`: it may also be about to start.
    """

    def __init__(self, reason: str, *, is_mute: bool = False) -> None:
        super().__init__(reason)
        self.is_mute = is_mute


class WillRefused(BrokerRefused):
    """The broker does not take our will as it is (MQTT 5, reason codes 0x9A and 0x9B)."""


class SessionTakenOver(BrokerRefused):
    """Another client connected with our client id (MQTT 5, reason code 0x8E)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker announced in its CONNACK (MQTT 5, section 3.2.2.3)."""

    window: int = WINDOW
    max_packet: int | None = None
    max_qos: int = 2
    retain: bool = True
    """Whether anything may be published with the retain flag (section 3.2.2.3.5)."""

    @classmethod
    def announced(cls, properties: Properties) -> Self:
        """Read a CONNACK."""
        return cls(
            min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)),
            getattr(properties, "MaximumPacketSize", None),
            getattr(properties, "MaximumQoS", 2),
            bool(getattr(properties, "RetainAvailable", 1)),
        )

    @property
    def max_payload(self) -> int | None:
        """The most bytes that a payload may have, None where nothing was announced."""
        return None if self.max_packet is None else max(0, self.max_packet - HEADROOM)

    def fault(self, publication: Publication) -> str | None:
        """Return why the broker would end the connection over this, None where it would not."""
        if not publication.topic or _UNFIT.search(publication.topic):
            return "the topic is empty or has characters that no topic may have"
        topic = len(publication.topic.encode())
        if max(topic, len(publication.correlation_data or b"")) > _MAX_FIELD:
            return "the topic or the correlation data is too long"
        size = topic + len(publication.payload) + len(publication.correlation_data or b"")
        size += len((publication.content_type or "").encode()) + 32
        if self.max_packet is not None and size > self.max_packet:
            return "the packet is larger than the broker accepts"
        return None


def refusal(reason: ReasonCode) -> BrokerError:
    """Return what a CONNACK's or DISCONNECT's reason code means."""
    match reason.value:
        case code if code == _UNSUPPORTED_PROTOCOL:
            return ProtocolUnknown(str(reason))
        case code if code == _TAKEN_OVER:
            return SessionTakenOver("another client uses this client id")
        case code if code in _NO_SUCH_WILL:
            return WillRefused(str(reason))
        case code if code in _TEMPORARY:
            return BrokerUnreachable(str(reason))
    return BrokerRefused(str(reason))
