"""From an endpoint to a paho client whose CONNECT is sent. What comes after is the session's."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from bridge.errors import BrokerRefused, BrokerUnreachable, ConfigError
from bridge.mqtt.host_addresses import Names
from bridge.mqtt.paho_socket import CONNECT_S, Client, packet_properties, tls_alert
from bridge.mqtt.url import BrokerOptions, Endpoint, Protocol
from bridge.tree.messages import Publication

MAX_RECEIVED = 16 * 1024 * 1024
"""The largest packet, in bytes, that an MQTT 5 broker may send us."""

_ADDRESS_S = 10.0
_STAGGER_S = 0.25
"""How long an address has before the next one is tried beside it (RFC 8305, section 5)."""
_MOST_ADDRESSES = 8
_OPTIONS = (
    ((socket.IPPROTO_TCP, socket.TCP_NODELAY), 1),
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 4),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 3),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 8),
    ((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 10_000),
)
"""An end is noticed within 4 s of the return of a broker that was cut off."""
_CUT = "closed during the TLS handshake: is this its port for TLS?"
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})

_names = Names()

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
        raise BrokerUnreachable(_words(error, endpoint)) from error
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


def tls_error(error: ssl.SSLError) -> BrokerRefused | BrokerUnreachable:
    """Return what a failed TLS handshake means: only an early end may be better next time."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(f"its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return BrokerUnreachable(_CUT)
    if error.reason in _NO_TLS:
        return BrokerRefused(f"what it speaks at this port is no TLS ({error.reason})")
    return tls_alert(str(error)) or BrokerRefused(f"TLS: {error.reason or error}")


def _words(error: OSError, endpoint: Endpoint) -> str:
    """Return in words why there is no connection."""
    if isinstance(error, socket.gaierror):
        return f"the name {endpoint.host} has no address here: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno:
        return f"Connect call failed: {os.strerror(error.errno)}"
    return str(error) or type(error).__name__


async def _connect(endpoint: Endpoint) -> socket.socket:
    """Return a connected socket, of the first address that answers."""
    if endpoint.transport == "unix":
        return await _connect_to(socket.AF_UNIX, endpoint.path)
    found = (await _names.addresses(endpoint.host, endpoint.port))[:_MOST_ADDRESSES]
    tries = [
        asyncio.create_task(_connect_to(family, address, number * _STAGGER_S))
        for number, (family, address) in enumerate(found)
    ]
    failure: OSError = OSError("no address")
    winner: socket.socket | None = None
    try:
        for one in asyncio.as_completed(tries):
            try:
                winner = await one
            except OSError as error:
                failure = error
            else:
                _prepare(winner)
                return winner
    finally:
        for task in tries:
            task.cancel()
        for sock in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(sock, socket.socket) and sock is not winner:
                sock.close()
    raise failure


async def _connect_to(
    family: int, address: tuple[Any, ...] | str, pause_s: float = 0.0
) -> socket.socket:
    await asyncio.sleep(pause_s)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        async with asyncio.timeout(_ADDRESS_S):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _prepare(sock: socket.socket) -> None:
    """Have small packets go out at once, and a peer that is gone noticed.

    A broker whose machine lost its power says no good-bye: without these, an idle connection to it
    would be noticed by the next ping, and one with data under way much later.
    """
    for option, value in _OPTIONS:
        sock.setsockopt(*option, value)


def _tls_context(options: BrokerOptions) -> ssl.SSLContext:
    with _blaming("tls_ca", options.tls_ca):
        context = ssl.create_default_context(cafile=options.tls_ca)
    # On by default from Python 3.13, it refuses the authorities that mosquitto's own manual makes
    # (RFC 5280 wants a key usage), which OpenSSL and all other clients take.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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
        if endpoint.tls and isinstance(error, ConnectionError) and not _has_tls(client):
            raise BrokerUnreachable(f"{_CUT} ({os.strerror(error.errno or 0)})") from error
        raise BrokerUnreachable(str(error) or type(error).__name__) from error
    if sent is not MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
        if client.verdict is not None:
            raise client.verdict
        raise BrokerUnreachable(client.complaint.words or "closed at CONNECT")


def _has_tls(client: Client) -> bool:
    """Return whether the handshake came to its end."""
    sock = client.connected
    return isinstance(sock, ssl.SSLSocket) and sock.version() is not None
