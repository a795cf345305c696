"""Attacks by announcements."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing

from tests.adapter.device import new_address, new_udn
from tests.adapter.hostile.site import ELSEWHERE, Site, speaker
from tests.adapter.mosquitto import until

_GROUP = ("239.255.255.250", 1900)
_AT_ONCE = 50


def announcement(udn: str, location: str, nts: str = "ssdp:alive", **more: object) -> bytes:
    """Return a datagram of SSDP; `more` are headers, `__` standing for a dot."""
    head = {
        "HOST": "239.255.255.250:1900",
        "NT": "upnp:rootdevice",
        "NTS": nts,
        "USN": f"uuid:{udn}::upnp:rootdevice",
        "LOCATION": location,
        "CACHE-CONTROL": "max-age=10",
    } | {name.replace("__", "."): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"NOTIFY * HTTP/1.1\r\n{lines}\r\n".encode()


def announce(source: str, *datagrams: bytes) -> None:
    """Send datagrams to everybody, from an address."""
    with closing(speaker(source)) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, _GROUP)


async def _send(socks: list[socket.socket], datagrams: Iterable[bytes]) -> None:
    """Send as fast as the kernel takes it, a few at a time, each from the next source."""
    for number, datagram in enumerate(datagrams):
        socks[number % len(socks)].sendto(datagram, _GROUP)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0.001)


async def flood(site: Site, *, sources: int, usns: int) -> None:
    """Announce devices that are not there, each at a LOCATION of its own."""
    addresses = [new_address() for _ in range(sources)]
    with ExitStack() as stack:
        socks = [stack.enter_context(closing(speaker(one))) for one in addresses]
        await _send(
            socks,
            (
                announcement(new_udn(), f"http://{addresses[n % sources]}:9/{n}/{'x' * 200}")
                for n in range(usns)
            ),
        )
    await asyncio.sleep(1)


async def storm(site: Site, datagram: Callable[[Site, int], bytes], *, count: int = 3000) -> None:
    """Say something of the honest device again and again."""
    with closing(speaker(new_address())) as sock:
        await _send([sock], (datagram(site, number) for number in range(count)))
    await asyncio.sleep(1)


def goodbye(site: Site, _number: int) -> bytes:
    """Say that the honest device leaves."""
    return announcement(site.honest.udn, site.honest.location, "ssdp:byebye")


def reboot(site: Site, number: int) -> bytes:
    """Say that the honest device was started again, and that it leaves, in turn."""
    nts = "ssdp:byebye" if number % 2 else "ssdp:alive"
    boot = {"BOOTID__UPNP__ORG": number + 2, "CONFIGID__UPNP__ORG": number}
    return announcement(site.honest.udn, site.honest.location, nts, **boot)


def elsewhere(site: Site, number: int) -> bytes:
    """Say that the honest device stands where nobody listens."""
    return announcement(site.honest.udn, f"http://{new_address()}:9/{number}")


@asynccontextmanager
async def traps(port: int, addresses: Iterable[str]) -> AsyncIterator[list[str]]:
    """Listen where the bridge must never connect; what is yielded names who was connected to."""
    caught: list[str] = []

    def catch(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(str(writer.get_extra_info("sockname")))
        writer.close()

    servers = [await asyncio.start_server(catch, address, port) for address in addresses]
    try:
        yield caught
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


def urls_elsewhere(port: int) -> Iterator[str]:
    """Yield URLs that a device must not have the bridge ask."""
    hosts = (
        *ELSEWHERE,
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[::]",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "example.com",
        "239.255.255.250",
        "10.99.0.1@127.0.0.1",
        "user:pw@10.99.0.1",
        "10.99.0.1#@127.0.0.9",
        "10.99.0.1\\@127.0.0.9",
    )
    for host in hosts:
        yield f"http://{host}:{port}/"
    yield "file:///etc/passwd"
    yield f"https://10.99.0.1:{port}/"
    yield f"ftp://10.99.0.1:{port}/"
    yield f"//10.99.0.1:{port}/"
    yield "http://"


async def locations_elsewhere(site: Site) -> None:
    """Announce LOCATIONs that are not where their sender stands."""
    source, port = new_address(), 8077
    refused = len([one for one in site.bridge.lines if one["event"] == "location_refused"])
    async with traps(port, (*site.elsewhere, "127.0.0.1")) as caught:
        announce(source, *(announcement(new_udn(), url) for url in urls_elsewhere(port)))
        lines = site.bridge.lines
        await until(
            lambda: len([one for one in lines if one["event"] == "location_refused"]) == refused + 1
        )
        await asyncio.sleep(1)
        assert not caught


async def datagrams_that_are_none(site: Site) -> None:
    """Send what no device would."""
    source, udn = new_address(), new_udn()
    location = f"http://{source}:9/"
    await asyncio.to_thread(
        announce,
        source,
        b"",
        b"\0" * 9000,
        b"NOTIFY * HTTP/1.1\r\n" + b"A: b\r\n" * 5000,
        b"NOTIFY * HTTP/1.1\r\n" + b" x\r\n" * 5000,
        announcement("x" * 6000, location),
        announcement(f"{udn}\x00\x1b[2J", location),
        announcement("\u202e\ufeff+/#%00", location),
        announcement(udn, location, CACHE_CONTROL=f"max-age={'9' * 3000}"),
        announcement(udn, location, BOOTID__UPNP__ORG="9" * 3000),
        announcement(udn, location, SERVER="s" * 6000),
        announcement(udn, "http://[" + "f" * 5000),
        announcement("", location),
    )
    await asyncio.sleep(0.5)
