"""Attacks by events: at the port where the bridge takes them, and of a device that it asked."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count, repeat
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from tests.adapter.device import (
    Device,
    Service,
    Variable,
    answer,
    last_change,
    new_address,
)
from tests.adapter.hostile import bodies
from tests.adapter.hostile.site import Site
from tests.adapter.mosquitto import until

_MIB = 1024 * 1024


def notify(
    path: str, body: bytes, *, seq: int = 0, sid: str = "uuid:nobody", more: str = ""
) -> bytes:
    """Return a NOTIFY."""
    return (
        f"NOTIFY {path} HTTP/1.1\r\nHOST: bridge\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\n"
        f"SID: {sid}\r\nSEQ: {seq}\r\n{more}CONTENT-LENGTH: {len(body)}\r\n\r\n"
    ).encode() + body


def propertyset(*properties: tuple[str, str]) -> bytes:
    """Return the body of an event."""
    inside = "".join(f"<e:property><{n}>{escape(v)}</{n}></e:property>" for n, v in properties)
    return (
        f'<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">{inside}</e:propertyset>'.encode()
    )


async def connections(  # noqa: PLR0913 - what is done on them, by keyword
    site: Site,
    parts: Iterable[bytes],
    *,
    number: int,
    addresses: int = 1,
    seconds: float = 2.0,
    pause_s: float = 0,
    again: bool = False,
) -> None:
    """Open so many connections and send this on each, for so long; `again` when it ends."""
    everything = list(parts) if not isinstance(parts, (repeat, count)) else parts
    own = [new_address() for _ in range(addresses)]
    port = site.notify_port

    async def one(source: str) -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
                try:
                    for part in everything:
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(pause_s)
                    if not again:
                        await asyncio.sleep(seconds)
                finally:
                    writer.transport.abort()
            if not again:
                return
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(one(own[n % addresses])) for n in range(number)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


BODY = propertyset(("V", "1"))
NOBODYS = notify("/nobody", BODY)
PIPELINED = NOBODYS * 500
HUNDRED_MB = notify("/nobody", b"")[:-5] + b"104857600\r\n\r\n"


async def told(
    site: Site, *all_bodies: bytes, service: Service | None = None, times: int = 1
) -> Device:
    """Send these as events of a device; return it when it has left."""
    own = service or Service("S", (Variable("V"), Variable("LastChange")), {"V": "1"})
    device = Device(bodies.part("Hostile", own))
    await device.start()
    try:
        await site.joined(device)
        await until(lambda: own.subscribers)
        (subscriber,) = own.subscribers.values()
        url = urlsplit(subscriber.callback)
        await until(lambda: subscriber.seq)
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        try:
            seq = subscriber.seq
            for body in all_bodies * times:
                writer.write(notify(url.path, body, seq=seq, sid=subscriber.sid))
                seq += 1
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        finally:
            writer.transport.abort()
        await site.caught_up(20)
        await asyncio.sleep(0.3)
    finally:
        await device.stop()
    return device


def values_of(site: Site, device: Device) -> int:
    """How many topics of values a device has."""
    return len(
        [t for t in tuple(site.onlooker.held) if t.startswith(f"upnp/{device.udn}/S/value/")]
    )


async def ever_new_variables(site: Site) -> None:
    """Tell of 40,000 variables that no SCPD lists, in 20 events."""
    sets = [propertyset(*((f"V{n}x{m}", "1") for m in range(2000))) for n in range(20)]
    device = await told(site, *sets)
    assert values_of(site, device) <= 4096


async def ever_new_instances(site: Site) -> None:
    """Tell of 40,000 instances, channels and variables in LastChange, in 20 events."""

    def change(n: int) -> bytes:
        inside = (
            f'<InstanceID val="{n}-{m}"><V{m} channel="c{m}" val="1"/></InstanceID>'
            for m in range(2000)
        )
        return propertyset(("LastChange", last_change(*inside)))

    device = await told(site, *(change(n) for n in range(20)))
    assert values_of(site, device) <= 4096


async def large_values(site: Site) -> None:
    """Tell of values of nearly 1 MiB, another each time, under many names."""
    sets = [propertyset((f"V{n}", chr(97 + n % 26) * (_MIB - 300))) for n in range(100)]
    await told(site, *sets)


async def odd_values(site: Site) -> None:
    """Tell of what is no text."""
    wires = [
        propertyset(("V", "x")).replace(b"x", b"\xff\xfe\x80"),
        propertyset(("V", "x")).replace(b"x", b"\0\x01\x1b[2J"),
        propertyset(("V", "x")).replace(b"x", b"&#xD800;&#0;&#xFFFF;"),
        propertyset(("V", "\U0010ffff\ufdd0\u202e")),
        propertyset(("V", "x"), ("V", "y"), ("V", "z")),
        propertyset(("LastChange", "<Event><InstanceID val='&#0;'>")),
        propertyset(
            (
                "LastChange",
                last_change('<InstanceID val="+/#"><V val="1" channel="/set"/></InstanceID>'),
            )
        ),
        propertyset(
            (
                "LastChange",
                last_change(f'<InstanceID val="{"i" * 70_000}"><V val="1"/></InstanceID>'),
            )
        ),
        propertyset(
            (
                "LastChange",
                last_change(f'<InstanceID val="0"><{"V" * 40_000} val="1"/></InstanceID>'),
            )
        ),
        propertyset((f"{'V' * 40_000}", "1")),
        propertyset(
            ("LastChange", last_change('<InstanceID val=""><V val="" channel=""/></InstanceID>'))
        ),
        propertyset(("LastChange", "&lt;" * 100_000)),
        *(
            one.partition(b"\r\n\r\n")[2]
            for one in (
                bodies.LAUGHS,
                bodies.DEEP,
                bodies.NAMESPACES[:900_000] + b"/>",
                bodies.OPEN_TAGS[:_MIB],
                bodies.external(8076),
            )
        ),
        b"",
        b"\0" * _MIB,
    ]
    await told(site, *wires)


async def fast_events(site: Site) -> None:
    """Send thousands of events, each with another value."""
    await told(site, *(propertyset(("V", str(n))) for n in range(5000)))


async def odd_grants(site: Site) -> None:
    """Grant subscriptions with SIDs and time-outs that make no sense."""
    devices = []
    for grant in (
        "SID: uuid:1\r\nTIMEOUT: Second-0\r\n",
        "SID: uuid:1\r\nTIMEOUT: Second--1\r\n",
        "SID: uuid:1\r\nTIMEOUT: Second-1000000000\r\n",
        f"SID: uuid:1\r\nTIMEOUT: Second-{'9' * 5000}\r\n",
        "SID: uuid:1\r\nTIMEOUT: \xff\r\n",
        f"SID: {'s' * 30_000}\r\nTIMEOUT: Second-1\r\n",
        "SID: a\x00b\x1b\r\nTIMEOUT: infinite\r\n",
        "SID: \r\n",
        "",
    ):
        device = Device(bodies.part())
        device.answers["/0/event"] = answer(200, b"", grant)
        await device.start()
        devices.append(device)
    await asyncio.sleep(1.5)
    for device in devices:
        asked = device.requests["SUBSCRIBE /0/event"]
        await device.stop()
        assert 1 <= asked <= 2
