"""Attacks by what a device answers: as description, SCPD, answer to SUBSCRIBE and SOAP answer."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from itertools import repeat

from tests.adapter.device import (
    Action,
    Device,
    Part,
    Service,
    Stream,
    Variable,
    answer,
    new_udn,
    running,
)
from tests.adapter.hostile.site import Site
from tests.adapter.hostile.ssdp import traps, urls_elsewhere

_MIB = 1024 * 1024
_PLACES = ("/description.xml", "/0/scpd.xml", "/0/event", "/0/control")


def part(name: str = "Hostile", *services: Service) -> Part:
    """Return a device with a service that has an action."""
    members = (Variable("V"), Action("Get", ("out V:V",)))
    return Part(new_udn(), name, services or (Service("S", members, {"V": "1"}),))


async def answered(
    site: Site, said: bytes | Stream, *, seconds: float = 0.8, copies: int = 1
) -> None:
    """Answer with this at every place where the bridge asks, by a device for each."""
    async with AsyncExitStack() as stack:
        devices = []
        for place in _PLACES * copies:
            device = Device(part())
            device.answers[place] = said
            await device.start()
            stack.push_async_callback(device.stop)
            devices.append((place, device))
        callers = [device for place, device in devices if place == "/0/control"]
        await site.joined(*callers)
        for device in callers:
            site.onlooker.publish(f"upnp/{device.udn}/call", {"action": "Get", "timeout": seconds})
        await asyncio.sleep(seconds)


def head(*lines: str) -> bytes:
    """Return the head of an answer with these headers."""
    return "\r\n".join(["HTTP/1.1 200 OK", "CONTENT-TYPE: text/xml", *lines, "", ""]).encode()


def stream(start: bytes, parts: Iterable[bytes], pause_s: float = 0) -> Stream:
    """Return an answer in parts, with a pause after each."""

    async def said() -> AsyncIterator[bytes]:
        yield start
        for one in parts:
            yield one
            await asyncio.sleep(pause_s)

    return said


_FILLING = b"<a>" + b"x" * (_MIB // 4 - 7) + b"</a>"

ENDLESS = stream(head(), repeat(_FILLING))
ENDLESS_HEAD = stream(b"HTTP/1.1 200 OK\r\n", repeat(b"A: " + b"x" * 8000 + b"\r\n"))
ENDLESS_INTERIM = stream(b"", repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100))
ENDLESS_CHUNKS = stream(head("TRANSFER-ENCODING: chunked"), repeat(b"1\r\n<\r\n" * 5000))
SLOW = stream(head("CONTENT-LENGTH: 5000"), repeat(b"<"), 0.1)
SLOW_HEAD = stream(b"HTTP/1.1 200 OK\r\nA: ", repeat(b"a"), 0.1)
SILENT = stream(b"", repeat(b""), 1)
HUNDRED_MB = stream(head(f"CONTENT-LENGTH: {100 * _MIB}"), [_FILLING] * 400)
TOO_LONG_BY_ITS_WORD = head("CONTENT-LENGTH: 999999999999999") + b"<root/>"
NEGATIVE = head("CONTENT-LENGTH: -1") + b"<root/>"
HUGE_CHUNK = head("TRANSFER-ENCODING: chunked") + b"ffffffffffffffff\r\n<root/>"
GZIP = head("CONTENT-ENCODING: gzip") + gzip.compress(b"<a/>" * 25 * _MIB)
DEFLATE = head("CONTENT-ENCODING: deflate") + zlib.compress(b"<a/>" * 25 * _MIB)

LAUGHS = answer(
    200,
    b'<?xml version="1.0"?><!DOCTYPE root [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b']><root x="&a11;">&a11;</root>',
)
QUADRATIC = answer(
    200,
    b'<?xml version="1.0"?><!DOCTYPE root [<!ENTITY a "' + b"x" * 100_000 + b'">]><root>'
    b"" + b"&a;" * 100_000 + b"</root>",
)
DEEP = answer(200, b"<a>" * 100_000 + b"</a>" * 100_000)
DEEP_BROKEN = answer(200, b"<a>" * 600_000)
ELEMENTS = answer(200, b"<a>" + b"<a/>" * 500_000 + b"</a>")
ATTRIBUTES = answer(200, b"<a " + b"".join(b'a%d="" ' % n for n in range(180_000)) + b"/>")
NAMESPACES = answer(200, b"<a " + b"".join(b'xmlns:a%d="u" ' % n for n in range(100_000)) + b"/>")
AMPERSANDS = answer(200, b"<a>" + b"&" * 2_000_000 + b"</a>")
OPEN_TAGS = answer(200, b"<" * 2_000_000)


def external(port: int) -> bytes:
    """Return XML that would have its reader ask somebody else."""
    return answer(
        200,
        b'<?xml version="1.0"?><!DOCTYPE root PUBLIC "p" "http://127.0.0.1:%(p)d/dtd" ['
        b'<!ENTITY e SYSTEM "file:///etc/passwd"><!ENTITY f SYSTEM "http://127.0.0.1:%(p)d/x">'
        b'<!ENTITY %% g SYSTEM "http://127.0.0.1:%(p)d/y">%%g;]><root>&e;&f;</root>' % {b"p": port},
    )


async def external_entities(site: Site) -> None:
    """Have XML name what lies elsewhere."""
    async with traps(8076, ("127.0.0.1",)) as caught:
        await answered(site, external(8076))
    assert not caught
    assert not [topic for topic, payload in site.onlooker.held.items() if b"root:" in payload]


async def redirects(site: Site) -> None:
    """Send whoever asks elsewhere."""
    async with traps(8075, (*site.elsewhere, "127.0.0.1", "::1")) as caught:
        for status in (301, 302, 303, 307, 308):
            where = "LOCATION: http://127.0.0.1:8075/\r\nREFRESH: 0; url=http://[::1]:8075/\r\n"
            await answered(site, answer(status, b"", where), seconds=0.3)
    assert not caught


async def urls_that_point_elsewhere(site: Site) -> None:
    """Have a description name the URLs of others, for everything that the bridge may ask."""
    port = 8074
    services = "".join(
        f"<service><serviceType>urn:x:service:S{n}:1</serviceType><serviceId>urn:x:serviceId:S{n}"
        f"</serviceId><SCPDURL>{url}</SCPDURL><controlURL>{url}</controlURL>"
        f"<eventSubURL>{url}</eventSubURL></service>"
        for n, url in enumerate(urls_elsewhere(port))
    )
    async with traps(port, (*site.elsewhere, "127.0.0.1", "::1")) as caught:
        root = part()
        root.more = (
            f"<serviceList>{services}</serviceList><URLBase>http://10.99.0.1:{port}/</URLBase>"
            f"<presentationURL>javascript:alert(1)</presentationURL>"
            f"<iconList><icon><url>http://127.0.0.1:{port}/i</url></icon></iconList>"
        )
        async with running(root) as device:
            await site.joined(device)
            for n in range(len(list(urls_elsewhere(port)))):
                site.onlooker.publish(
                    f"upnp/{device.udn}/call", {"service": f"S{n}", "action": "Get", "timeout": 1}
                )
            await asyncio.sleep(1)
            document = site.held(device.udn) or b""
        # A URL base of another host does not count either.
        other = Device(part())
        text = other.description().replace(
            "<device>", f"<URLBase>http://127.0.0.1:{port}/</URLBase><device>", 1
        )
        other.answers["/description.xml"] = answer(200, text.encode())
        await other.start()
        await site.joined(other)
        await other.stop()
    assert not caught
    assert b"javascript" not in document.partition(b'"problems"')[0]


async def scpd_of(site: Site, scpd: bytes, *, limit_s: float = 20) -> Device:
    """Have a device with this SCPD join, and leave; return it."""
    async with running(part()) as device:
        device.answers["/0/scpd.xml"] = answer(200, scpd)
        device.alive()
        await site.joined(device, limit_s=limit_s)
        await asyncio.sleep(0.5)
    return device


def giant_scpd(*, variables: int = 0, actions: int = 0, arguments: int = 0) -> bytes:
    """Return an SCPD with so many, as short as it can be."""
    table = "".join(f"<stateVariable><name>V{n}</name></stateVariable>" for n in range(variables))
    inside = "".join(f"<argument><name>A{n}</name></argument>" for n in range(arguments))
    listed = "".join(
        f"<action><name>A{n}</name><argumentList>{inside}</argumentList></action>"
        for n in range(actions)
    )
    return f"<scpd><actionList>{listed}</actionList>{table}</scpd>".encode()[: 2 * _MIB]


async def giant(site: Site, *, variables: int = 0, actions: int = 0, arguments: int = 0) -> None:
    """Have an SCPD list more than any device has."""
    device = Device(part())
    device.answers["/0/scpd.xml"] = answer(
        200, giant_scpd(variables=variables, actions=actions, arguments=arguments)
    )
    await device.start()
    try:
        await site.joined(device, limit_s=30)
        own = f"upnp/{device.udn}/"
        await asyncio.sleep(0.5)
        assert len([topic for topic in tuple(site.onlooker.held) if topic.startswith(own)]) < 20_000
    finally:
        await device.stop()


async def many_services(site: Site, *, devices: int = 1, services: int = 120) -> None:
    """Have devices with many services, each with an SCPD of its own."""
    made = []
    for _ in range(devices):
        all_of_them = (
            Service(f"S{n}", tuple(Variable(f"V{n}x{v}") for v in range(100)), {"V": "1"})
            for n in range(services)
        )
        device = Device(part("Hostile", *all_of_them))
        await device.start()
        made.append(device)
    try:
        await site.joined(*made, limit_s=60)
        await asyncio.sleep(1)
    finally:
        for device in made:
            await device.stop()


async def many_devices(site: Site) -> None:
    """Embed more devices than are read, deeper than is read, and with UDNs that others have."""
    inner = [Part(new_udn(), f"inner {n}") for n in range(400)]
    inner += [Part(site.honest.udn, "the honest one"), Part("bridge", "bridge"), Part("", "none")]
    deep = Part(new_udn(), "deepest")
    for n in range(60):
        deep = Part(new_udn(), f"deep {n}", (), (deep,))
    root = Part(new_udn(), "Hostile", (), (deep, *inner))
    async with running(root) as device:
        await asyncio.sleep(2)
        assert device.requests["GET /description.xml"]
