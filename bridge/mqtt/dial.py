"""From an endpoint to a paho client whose CONNECT is sent. What comes after is the session's."""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.core.messages import Publication
from bridge.errors import BrokerRefused, BrokerUnreachable, ConfigError
from bridge.mqtt.endpoint import BrokerOptions, Endpoint, Protocol

CONNECT_S = 30.0
"""The most time from the first packet to CONNACK: a cluster that mends itself takes up to this."""

MAX_RECEIVED = 16 * 1024 * 1024
"""The largest packet, in bytes, that an MQTT 5 broker may send us."""

_ADDRESS_S = 10.0
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

    paho itself leaves the socket open when the TLS or websocket handshake fails.
    """

    def __init__(self, connected: socket.socket, **options: Any) -> None:  # noqa: ANN401 - paho's own
        super().__init__(CallbackAPIVersion.VERSION2, reconnect_on_failure=False, **options)
        self.connected = connected
        self.complaint = Complaint("paho")
        self.enable_logger(self.complaint)
        self.verdict: BrokerRefused | None = None
        self.on_socket_close = lambda *_: self.hear_verdict()
        self.connect_timeout = CONNECT_S
        self.max_inflight_messages = 0

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

    def _create_socket_connection(self) -> socket.socket:
        if isinstance(self.connected, ssl.SSLSocket):
            self.connected.do_handshake()
        return self.connected


Dial = Callable[[Endpoint, BrokerOptions, Publication, Protocol], Awaitable[Client]]
"""Connects and sends CONNECT, as `dial` does."""


async def dial(
    endpoint: Endpoint, options: BrokerOptions, will: Publication, protocol: Protocol
) -> Client:
    """Connect and send CONNECT; bound by the caller.

    Raises BrokerUnreachable, BrokerRefused for a certificate that is not to be trusted, and
    ConfigError for a certificate or key file that cannot be used.
    """
    context = await asyncio.to_thread(_tls_context, options) if endpoint.tls else None
    try:
        sock = await _connect(endpoint)
    except OSError as error:
        raise BrokerUnreachable(str(error) or type(error).__name__) from error
    try:
        # Without a time-out paho's handshakes could hold their thread for ever.
        sock.settimeout(CONNECT_S)
        if context is not None:
            sock = context.wrap_socket(
                sock, server_hostname=endpoint.host, do_handshake_on_connect=False
            )
        client = _client(sock, endpoint, options, will, protocol)
        await _greet(client, endpoint, options, protocol)
    except BaseException:
        sock.close()
        raise
    return client


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


def tls_error(error: ssl.SSLError) -> BrokerRefused | BrokerUnreachable:
    """Return what a failed TLS handshake means: only an early end may be better next time."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(f"its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return BrokerUnreachable("closed during the TLS handshake")
    return tls_alert(str(error)) or BrokerRefused(f"TLS: {error.reason or error}")


def tls_alert(words: str) -> BrokerRefused | None:
    """Return the refusal that an error's words tell of, if they tell of a TLS alert (RFC 8446)."""
    found = _ALERT.search(words)
    if found is None:
        return None
    hint = ": see mqtt.tls_cert" if "certificate" in found[1] or "ca" in found[1].split() else ""
    return BrokerRefused(f"its TLS alert: {found[1]}{hint}")


async def _connect(endpoint: Endpoint) -> socket.socket:
    """Return a connected socket, from the first address that answers."""
    loop = asyncio.get_running_loop()
    if endpoint.transport == "unix":
        return await _connect_to(socket.AF_UNIX, endpoint.path)
    found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for family, _, _, _, address in found:
        try:
            sock = await _connect_to(family, address)
        except OSError as error:
            failure = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise failure


async def _connect_to(family: int, address: tuple[Any, ...] | str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        async with asyncio.timeout(_ADDRESS_S):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _tls_context(options: BrokerOptions) -> ssl.SSLContext:
    with _blaming("tls_ca", options.tls_ca):
        context = ssl.create_default_context(cafile=options.tls_ca)
    if options.tls_cert:
        # Loading the pair does not tell which of the two is at fault.
        with _blaming("tls_cert", options.tls_cert):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(options.tls_cert)
        with _blaming("tls_key", options.tls_key):
            # An empty password: a key that needs one fails instead of asking at the terminal.
            context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    return context


@contextmanager
def _blaming(setting: str, file: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"mqtt.{setting}: cannot use {file}: {error}") from error


def _client(
    sock: socket.socket,
    endpoint: Endpoint,
    options: BrokerOptions,
    will: Publication,
    protocol: Protocol,
) -> Client:
    five = protocol == "5"
    client = Client(
        sock,
        client_id=options.client_id,
        clean_session=None if five else True,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        transport="websockets" if endpoint.transport == "websockets" else "tcp",
    )
    own = endpoint.username is not None
    password = endpoint.password if own else options.password
    client.username_pw_set(
        endpoint.username if own else options.username,
        None if password is None else password.get_secret_value(),
    )
    client.will_set(will.topic, will.payload, will.qos, will.retain)
    client.ws_set_options(endpoint.path)
    return client


async def _greet(
    client: Client, endpoint: Endpoint, options: BrokerOptions, protocol: Protocol
) -> None:
    """Run paho's blocking handshakes in a thread; paho has no callback yet, so none comes there."""
    five = protocol == "5"
    work = asyncio.get_running_loop().run_in_executor(
        None,
        lambda: client.connect(
            endpoint.authority or "localhost",
            endpoint.port or 1,
            keepalive=options.keepalive_s,
            clean_start=True if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=packet_properties(PacketTypes.CONNECT, MaximumPacketSize=MAX_RECEIVED)
            if five
            else None,
        ),
    )
    try:
        sent = await asyncio.shield(work)
    except asyncio.CancelledError:
        # Breaking the socket ends the thread at once.
        with suppress(OSError):
            socket.socket.shutdown(client.connected, socket.SHUT_RDWR)
        with suppress(Exception):
            await work
        raise
    except ssl.SSLError as error:
        raise tls_error(error) from error
    except (OSError, ValueError, LookupError) as error:
        raise BrokerUnreachable(str(error) or type(error).__name__) from error
    if sent is not MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
        if client.verdict is not None:
            raise client.verdict
        raise BrokerUnreachable(client.complaint.words or "closed at CONNECT")
