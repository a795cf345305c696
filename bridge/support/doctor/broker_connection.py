"""The way to the broker: name, port, TLS, login, and what the broker says of itself."""

import asyncio
import os
import shutil
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from bridge.errors import BrokerError, BrokerRefused, ConfigError
from bridge.mqtt.limits import ProtocolUnknown
from bridge.mqtt.reconnect import open_newest
from bridge.mqtt.trial import Trial
from bridge.mqtt.url import BrokerOptions, Endpoint, Protocol, broker_options
from bridge.settings import Settings
from bridge.support.doctor.brands import UNKNOWN, Brand, recognise
from bridge.support.doctor.finding import Finding, Status, Tell, error, ok
from bridge.support.doctor.spoken import other_way
from bridge.support.doctor.terms import judge_certificate, judge_refusal, judge_session
from bridge.tree.messages import Message, Publication

USUAL_BROKER = "mqtt://127.0.0.1:1883"
"""Where the bridge's own broker stands, unless that port is taken."""

_NAME_S = 4.0
_CONNECT_S = 4.0
_SESSION_S = 8.0
_SYS_S = 0.5
_SYS = ("$SYS/broker/version", "$SYS/brokers", "$SYS/brokers/+/version", "$SYS/+/new/subscribes")


class Waiting:
    """A source that holds a list of publications."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []

    has_bulk = False

    def take(self, **_: object) -> Publication | None:
        """Return the first and forget it."""
        return self.publications.pop(0) if self.publications else None


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a broker that was gone to its end: `open` takes it again.

    Every name that the doctor uses at the broker holds `token`.
    """

    endpoint: Endpoint
    options: BrokerOptions
    will: Publication
    protocol: Any
    token: str
    brand: Brand = UNKNOWN

    async def open(self, source: Waiting | None = None) -> Trial:
        """Return a session of its own; raises BrokerError, TimeoutError."""
        options = replace(self.options, client_id=f"{self.options.client_id}-{token_hex(3)}")
        async with asyncio.timeout(_SESSION_S):
            return await Trial.open(
                self.endpoint, options, self.will, source or Waiting(), protocol=self.protocol
            )


async def check_broker(settings: Settings, urls: Sequence[str], tell: Tell) -> Way | None:
    """Tell how each of these brokers is reached; return the way to the first that is."""
    found: Way | None = None
    for url in urls:
        try:
            options = broker_options(settings, [url], f"upnp2mqtt-doctor-{token_hex(4)}")
        except ConfigError as wrong:
            tell(error("broker_address", str(wrong)))
            continue
        way = await _follow(settings, options, tell)
        found = found or way
    return found


def find_mosquitto() -> str | None:
    """Return the program that an embedded broker is made of."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


async def answers(url: str) -> bool:
    """Return whether something listens at a `mqtt://` URL of this machine."""
    host, _, port = url.removeprefix("mqtt://").rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _follow(settings: Settings, options: BrokerOptions, tell: Tell) -> Way | None:
    endpoint = options.endpoints[0]
    if not await _reach(endpoint, tell):
        return None
    token = f"doctor-{token_hex(6)}"
    will = Publication(f"{settings.mqtt.base_topic}/reply/{token}", b"", retain=False)

    async def open_as(protocol: Protocol) -> tuple[Way, Trial]:
        way = Way(endpoint, options, will, protocol, token)
        return way, await way.open()

    try:
        way, session = await open_newest(options.protocol, open_as)
    except (BrokerError, ConfigError, TimeoutError) as failure:
        tell(await _refusal(settings, endpoint, failure))
        return None
    try:
        brand = await _look(way, session, tell)
    finally:
        await session.close()
    return replace(way, brand=brand)


async def _refusal(settings: Settings, endpoint: Endpoint, failure: Exception) -> Finding:
    """Return what a refusal means; where nothing was said, the port is spoken to otherwise."""
    is_refusal = isinstance(failure, BrokerRefused) and not isinstance(failure, ProtocolUnknown)
    is_tls = isinstance(failure.__cause__, ssl.SSLError)
    is_trust = isinstance(failure.__cause__, ssl.SSLCertVerificationError)
    is_puzzling = not isinstance(failure, ConfigError) and (is_tls or not is_refusal)
    other = await other_way(endpoint) if is_puzzling and not is_trust else None
    return judge_refusal(settings, endpoint, failure, other)


async def _reach(endpoint: Endpoint, tell: Tell) -> bool:
    """Tell whether something listens at an endpoint."""
    if endpoint.transport == "unix":
        finding = _find_socket(endpoint)
        tell(finding)
        return finding.status is Status.OK
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_NAME_S):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port)
    except (OSError, TimeoutError) as failure:
        tell(
            error(
                "broker_address",
                f"{endpoint}: the name {endpoint.host} has no address here: {_said(failure)}",
                "see mqtt.url and this machine's name server; an address works too",
                "names that end in .local need mDNS: apt install libnss-mdns",
            )
        )
        return False
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except (OSError, TimeoutError) as failure:
        reason = _said(failure)
        tell(
            error(
                "broker_address",
                f"{endpoint} ({', '.join(addresses)}): {reason}",
                "is the broker running, and is this its port? See `ss -ltn` on its machine",
                "mosquitto without a `listener` line listens on loopback only; does a firewall "
                "block the port?",
            )
        )
        return False
    took_ms = (time.monotonic() - began_s) * 1000
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    told = "" if addresses == [endpoint.host] else f" ({', '.join(addresses)})"
    tell(ok("broker_address", f"{endpoint}{told} answers in {took_ms:.1f} ms"))
    return True


def _find_socket(endpoint: Endpoint) -> Finding:
    if Path(endpoint.path).is_socket():
        return ok("broker_address", f"{endpoint} exists")
    advice = "see mqtt.url, and `listener 0 <path>` in mosquitto.conf"
    return error("broker_address", f"{endpoint} is not a socket", advice)


def _said(failure: OSError | TimeoutError) -> str:
    if isinstance(failure, socket.gaierror) or not failure.errno:
        return failure.strerror or str(failure) or "no answer in time"
    return os.strerror(failure.errno)


async def _look(way: Way, session: Trial, tell: Tell) -> Brand:
    """Tell what there is to be seen of a broker that let us in; return which one it is."""
    if session.certificate:
        tell(judge_certificate(session.certificate, time.time()))
    told: dict[str, str] = {}

    def hear(message: Message) -> None:
        told[message.topic] = message.payload[:100].decode(errors="replace")

    await session.try_subscribe(_SYS, hear, 0)
    flat, deep = f"{way.will.topic}/+", f"{way.will.topic}/{'+/' * 8}+"
    is_shallow = [*await session.try_subscribe([flat, deep], hear, 0)] == [deep]
    began_s = time.monotonic()
    with suppress(BrokerRefused):
        await session.publish(Publication(way.will.topic, b"", retain=False))
    took_ms = (time.monotonic() - began_s) * 1000
    if not told:
        await asyncio.sleep(_SYS_S)
    brand = recognise(told, session.announced, is_shallow=is_shallow)
    version = told.get("$SYS/broker/version", brand.known_as)
    user = way.endpoint.username or way.options.username
    tell(
        ok(
            "broker_login",
            f"as {user or 'nobody (anonymous)'}, MQTT {way.protocol}"
            + (f", {version}" if version else "")
            + f", acknowledges in {took_ms:.1f} ms",
        )
    )
    for finding in judge_session(session.announced, way.protocol, brand):
        tell(finding)
    return brand
