"""Discovery on real sockets: on loopback, and on interfaces in a network namespace of its own.

The tests of the second kind run this module as a program, `scenario` by `scenario`, within
`unshare --net --mount`: nothing of it is left when that ends.
"""

import asyncio
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path

import pytest
import structlog

from bridge.upnp.ssdp import links
from bridge.upnp.ssdp.interfaces import Interface, changes, interfaces
from bridge.upnp.ssdp.message import Announcement, Kind
from bridge.upnp.ssdp.search import Discovery, Sender

GROUP, PORT = "239.255.255.250", 1900
ROOT = Path(__file__).parents[2]
LOCATION = "http://127.0.0.1:49152/d.xml"


def alive(udn: str, location: str = LOCATION) -> bytes:
    return (
        f"NOTIFY * HTTP/1.1\r\nHOST: {GROUP}:{PORT}\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\n"
        f"LOCATION: {location}\r\nUSN: uuid:{udn}::upnp:rootdevice\r\n\r\n"
    ).encode()


def answer(udn: str, location: str = LOCATION) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nEXT:\r\n"
        f"LOCATION: {location}\r\nUSN: uuid:{udn}::upnp:rootdevice\r\n\r\n"
    ).encode()


class Ears(list[tuple[Announcement, Sender]]):
    """What was heard, in order."""

    def __call__(self, announcement: Announcement, arrival: Sender) -> None:
        self.append((announcement, arrival))

    def of(self, udn: str) -> list[tuple[Announcement, Sender]]:
        return [heard for heard in self if heard[0].udn == udn]

    def interfaces_of(self, udn: str) -> list[str]:
        return [arrival.interface.name for _, arrival in self.of(udn) if arrival.interface]


@asynccontextmanager
async def running(discovery: Discovery) -> AsyncIterator[Discovery]:
    task = asyncio.create_task(discovery.run())
    try:
        yield discovery
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


def speaker(address: str, index: int) -> socket.socket:
    """Return a socket that multicasts from this address, on the interface of this index."""
    if ":" in address:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.bind((address, 0, 0, index))
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        request = struct.pack("=8xi", index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        sock.bind((address, 0))
    return sock


def announce(address: str, interface: str, datagram: bytes, group: str = GROUP) -> None:
    with closing(speaker(address, socket.if_nametoindex(interface))) as sock:
        sock.sendto(datagram, (group, PORT))


def device_socket(interface: str, group: str = GROUP) -> socket.socket:
    """Return a socket on which searches arrive that come in on an interface."""
    index = socket.if_nametoindex(interface)
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    packed = socket.inet_pton(family, group)
    if family is socket.AF_INET6:
        sock.bind((group, PORT, 0, index))
        request = struct.pack("=16si", packed, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        sock.bind((group, PORT))
        sock.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
        request = struct.pack("=4s4xi", packed, index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return sock


async def next_search(device: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """Return the next M-SEARCH and where it came from."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while True:
            datagram, sender = await loop.sock_recvfrom(device, 9000)
            if datagram.startswith(b"M-SEARCH"):
                return datagram, sender


# On loopback


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def udn(request) -> str:
    return f"{request.node.name[:60]}-{os.getpid()}"


def on_loopback(ears: Ears, **settings) -> Discovery:
    return Discovery(ears, wanted_interfaces=("lo",), **settings)


async def test_a_device_on_this_host_is_found_by_the_search_at_the_start(ears, udn):
    with closing(device_socket("lo")) as device:
        async with running(on_loopback(ears)) as discovery:
            datagram, sender = await next_search(device)
            assert b"ST: upnp:rootdevice\r\n" in datagram
            assert b"MX: 1\r\n" in datagram
            assert sender[0] == "127.0.0.1"
            device.sendto(answer(udn), sender)
            await until(lambda: ears.of(udn))
            assert discovery.counters.searches >= 1
            assert [i.name for i in discovery.interfaces] == ["lo"]
    [(announcement, arrival)] = ears.of(udn)
    assert announcement.kind is Kind.ANSWER
    assert announcement.location == LOCATION
    assert arrival.source == ipaddress.ip_address("127.0.0.1")
    assert arrival.interface == interfaces(("lo",))[0]
    assert discovery.interfaces == ()


async def test_a_search_is_repeated_and_then_comes_when_it_is_asked_for(ears):
    with closing(device_socket("lo")) as device:
        async with running(on_loopback(ears)) as discovery:
            await until(lambda: discovery.counters.searches == 3)
            await asyncio.sleep(0.05)
            assert discovery.counters.searches == 3
            discovery.search()
            await until(lambda: discovery.counters.searches == 4)
            await next_search(device)


async def test_searches_go_on_at_their_interval(ears):
    async with running(on_loopback(ears, search_interval_s=0.1)) as discovery:
        await until(lambda: discovery.counters.searches >= 5)


async def test_an_alive_is_heard_once_with_its_interface(ears, udn):
    async with running(on_loopback(ears)) as discovery:
        await until(lambda: discovery.counters.searches)
        announce("127.0.0.1", "lo", alive(udn))
        announce("127.0.0.1", "lo", alive(f"{udn}-last"))
        await until(lambda: ears.of(f"{udn}-last"))
    assert ears.interfaces_of(udn) == ["lo"]
    assert ears.of(udn)[0][0].kind is Kind.ALIVE


async def test_two_on_one_host_hear_the_same(ears, udn):
    others = Ears()
    async with running(on_loopback(ears)) as one, running(on_loopback(others)) as other:
        await until(lambda: one.counters.searches and other.counters.searches)
        announce("127.0.0.1", "lo", alive(udn))
        await until(lambda: ears.of(udn) and others.of(udn))
    assert len(ears.of(udn)) == len(others.of(udn)) == 1


async def test_what_no_device_would_send_is_passed_over(ears, udn):
    async with running(on_loopback(ears)) as discovery:
        await until(lambda: discovery.counters.searches)
        for datagram in (b"", b"\0" * 100, b"NOTIFY", alive("x" * 9000), alive("")):
            announce("127.0.0.1", "lo", datagram)
        announce("127.0.0.1", "lo", alive(udn))
        await until(lambda: ears.of(udn))


async def test_a_flood_is_bounded_and_warned_of_once(ears):
    with structlog.testing.capture_logs() as logs, closing(speaker("127.0.0.9", 1)) as sock:
        async with running(on_loopback(ears)) as discovery:
            await until(lambda: discovery.counters.searches)
            for _ in range(40):
                for _ in range(50):
                    sock.sendto(b"flood", (GROUP, PORT))
                await asyncio.sleep(0)
            await until(lambda: discovery.counters.dropped >= 500)
    assert [entry["event"] for entry in logs].count("ssdp_flood_dropped") == 1


async def test_an_end_leaves_no_socket(ears):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - nothing blocks there
    async with running(on_loopback(ears)) as discovery:
        await until(lambda: discovery.counters.searches)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - likewise


def test_loopback_is_there_only_when_it_is_named():
    assert not any(interface.is_loopback for interface in interfaces())
    for name in ("lo", "127.0.0.1"):
        [loopback] = interfaces((name, "no-such-interface", "192.0.2.254"))
        assert loopback.is_loopback
        assert loopback.index == socket.if_nametoindex("lo")
        assert loopback.ipv4[0] == ipaddress.ip_interface("127.0.0.1/8")


def test_an_interface_holds_what_lies_in_its_subnets():
    interface = Interface(
        "eth0",
        2,
        (ipaddress.IPv4Interface("192.0.2.1/24"),),
        (ipaddress.IPv6Interface("fe80::1/64"),),
        is_loopback=False,
    )
    held = ("192.0.2.99", "fe80::2", "fe80::2%eth0")
    assert all(interface.holds(ipaddress.ip_address(address)) for address in held)
    others = ("192.0.3.1", "2001:db8::1", "0.0.0.0")
    assert not any(interface.holds(ipaddress.ip_address(address)) for address in others)


async def test_without_rtnetlink_changes_are_polled_for(monkeypatch):
    monkeypatch.setattr(socket, "NETLINK_ROUTE", 31)
    found = [(), interfaces(("lo",)), (), ()]
    monkeypatch.setattr("bridge.upnp.ssdp.interfaces.interfaces", lambda _: found.pop())
    news = changes(poll_interval_s=0.01)
    async with asyncio.timeout(2):
        assert await anext(news) == ()
        assert [interface.name for interface in await anext(news)] == ["lo"]
    await news.aclose()


# In a network namespace


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def write(setting: str, value: str) -> None:
    """Write one of the kernel's settings, as seen in this namespace."""
    Path("/proc/sys/net", setting).write_text(value)


def can_make(name: str, kind: str) -> bool:
    """Make an interface of a kind that not every kernel has; tell whether this one has."""
    command = ["ip", "link", "add", name, "type", *kind.split()]
    return not subprocess.run(command, check=False, capture_output=True).returncode


def link(number: int) -> None:
    """Make a cable: `ours<number>` at one end, `theirs<number>` at the other."""
    ip(f"link add name ours{number} type veth peer name theirs{number}")
    ip(f"addr add 10.9.{number}.1/24 dev ours{number}")
    ip(f"addr add 10.9.{number}.2/24 dev theirs{number}")
    both = (f"ours{number}", f"theirs{number}")
    for name in both:
        ip(f"link set {name} up")
    end = time.monotonic() + 5
    while not all(one in {each.name for each in interfaces((one,))} for one in both):
        assert time.monotonic() < end, "no carrier"
        time.sleep(0.005)


async def the_ports_of_a_bridge_and_the_members_of_a_bond_are_left_out_unless_they_are_named() -> (
    None
):
    link(0)
    link(1)
    link(2)
    ip("link add name br0 type bridge")
    ip("link set ours0 master br0")
    ip("addr add 10.9.7.1/24 dev br0")
    ip("link set br0 up")
    await until(lambda: "br0" in {one.name for one in interfaces()})
    assert {one.name for one in interfaces()} == {"br0", "theirs0", "ours1", "theirs1"} | {
        "ours2",
        "theirs2",
    }
    [named] = interfaces(("ours0",))
    assert named.name == "ours0"
    assert [one.name for one in interfaces(("10.9.0.1",))] == ["ours0"]
    for kind in ("bond", "team"):
        if can_make(f"{kind}0", kind):
            ip("link set ours1 down")
            ip(f"link set ours1 master {kind}0")
            ip("link set ours1 up")
            ip(f"link set {kind}0 up")
            assert "ours1" in links.members()
            assert "ours1" not in {one.name for one in interfaces()}
            ip(f"link del {kind}0")
    if can_make("vrf0", "vrf table 10"):
        ip("link set ours2 master vrf0")
        assert "ours2" in {one.name for one in interfaces()}


async def a_cable_that_is_pulled_is_noticed_however_briefly() -> None:
    link(0)
    await until(lambda: interfaces(("ours0",)))
    (before,) = interfaces(("ours0",))
    ip("link set theirs0 down")
    await until(lambda: interfaces(("ours0",)) == ())
    ip("link set theirs0 up")
    await until(lambda: interfaces(("ours0",)))
    (after,) = interfaces(("ours0",))
    assert (after.name, after.index, after.ipv4) == (before.name, before.index, before.ipv4)
    assert after.carrier_changes == before.carrier_changes + 2


def index_of(discovery: Discovery, name: str) -> int | None:
    return next((i.index for i in discovery.interfaces if i.name == name), None)


async def each_announcement_is_heard_once_on_the_interface_it_came_in_on() -> None:
    link(0)
    link(1)
    ip("addr add 10.9.0.9/24 dev theirs1")
    ears = Ears()
    async with running(Discovery(ears, wanted_interfaces=("ours0", "10.9.1.1"))) as discovery:
        await until(lambda: len(discovery.interfaces) == 2 and discovery.counters.searches >= 2)
        announce("10.9.0.2", "theirs0", alive("zero"))
        announce("10.9.1.2", "theirs1", alive("one"))
        announce("10.9.0.9", "theirs1", alive("stranger"))
        announce("10.9.0.1", "ours0", alive("own"))
        announce("10.9.0.2", "theirs0", alive("last"))
        await until(lambda: ears.of("last") and ears.of("stranger"))
    assert ears.interfaces_of("zero") == ["ours0"]
    assert ears.interfaces_of("one") == ["ours1"]
    assert ears.interfaces_of("stranger") == ["ours1"]
    assert ears.interfaces_of("own") == ["ours0"]


async def answers_are_heard_on_the_interface_that_was_searched() -> None:
    link(0)
    link(1)
    ears = Ears()
    with closing(device_socket("theirs0")) as zero, closing(device_socket("theirs1")) as one:
        async with running(Discovery(ears, wanted_interfaces=("ours0", "ours1"))):
            for device, number in ((zero, 0), (one, 1)):
                _, sender = await next_search(device)
                assert sender[0] == f"10.9.{number}.1"
                with closing(speaker(f"10.9.{number}.2", 0)) as sock:
                    sock.sendto(answer(f"device{number}"), sender)
            await until(lambda: ears.of("device0") and ears.of("device1"))
    assert ears.interfaces_of("device0") == ["ours0"]
    assert ears.interfaces_of("device1") == ["ours1"]


async def an_interface_that_comes_goes_and_comes_again_is_followed() -> None:
    ears = Ears()
    async with running(Discovery(ears, wanted_interfaces=("ours0",))) as discovery:
        indexes = set()
        for turn in ("first", "second"):
            link(0)
            await until(lambda: discovery.interfaces)
            indexes.add(index_of(discovery, "ours0"))
            with closing(device_socket("theirs0")) as device:
                await next_search(device)
            announce("10.9.0.2", "theirs0", alive(turn))
            await until(partial(ears.of, turn))
            ip("link del ours0")
            await until(lambda: not discovery.interfaces)
        assert len(indexes) == 2


async def an_interface_made_again_at_once_is_joined_again() -> None:
    link(0)
    ears = Ears()
    async with running(Discovery(ears, wanted_interfaces=("ours0",))) as discovery:
        await until(lambda: discovery.counters.searches)
        before = index_of(discovery, "ours0")
        ip("link del ours0")
        link(0)
        await until(lambda: index_of(discovery, "ours0") not in (None, before))
        async with asyncio.timeout(5):
            while not ears.of("again"):  # it joins a moment after it knows the interface
                announce("10.9.0.2", "theirs0", alive("again"))
                await asyncio.sleep(0.01)
    assert set(ears.interfaces_of("again")) == {"ours0"}


async def a_change_of_address_is_followed_by_a_search_from_the_new_one() -> None:
    link(0)
    ears = Ears()
    with closing(device_socket("theirs0")) as device:
        async with running(Discovery(ears, wanted_interfaces=("ours0",))) as discovery:
            await until(lambda: discovery.counters.searches)
            ip("addr del 10.9.0.1/24 dev ours0")
            ip("addr add 10.9.0.77/24 dev ours0")
            sender = ("10.9.0.1", 0)
            while sender[0] == "10.9.0.1":
                _, sender = await next_search(device)
            assert sender[0] == "10.9.0.77"
            with closing(speaker("10.9.0.2", 0)) as sock:
                sock.sendto(answer("found"), sender)
            announce("10.9.0.2", "theirs0", alive("heard"))
            await until(lambda: ears.of("found") and ears.of("heard"))


async def link_down_and_up_is_followed_by_a_search() -> None:
    link(0)
    ears = Ears()
    async with running(Discovery(ears, wanted_interfaces=("ours0",))) as discovery:
        await until(lambda: discovery.counters.searches)
        ip("link set ours0 down")
        await until(lambda: not discovery.interfaces)
        searches = discovery.counters.searches
        ip("link set ours0 up")
        await until(lambda: discovery.counters.searches > searches)
        announce("10.9.0.2", "theirs0", alive("back"))
        await until(lambda: ears.of("back"))


async def where_nobody_answers_it_searches_on_and_tells_when_somebody_does() -> None:
    link(0)
    ears, again = Ears(), list[Interface]()
    discovery = Discovery(
        ears, wanted_interfaces=("ours0",), unanswered_s=0.2, on_heard_again=again.append
    )
    async with running(discovery):
        await until(lambda: discovery.counters.searches > 8)
        assert not again
        announce("10.9.0.2", "theirs0", alive("back"))
        await until(lambda: again)
        for _ in range(20):
            searches = discovery.counters.searches
            announce("10.9.0.2", "theirs0", alive("back"))
            await asyncio.sleep(0.1)
        assert discovery.counters.searches == searches
    assert [one.name for one in again] == ["ours0"]


async def ipv6_devices_are_found_and_their_zone_is_replaced() -> None:
    link(0)
    ip("addr add fd09::1/64 dev ours0 nodad")
    ip("addr add fd09::2/64 dev theirs0 nodad")
    [theirs] = interfaces(("theirs0",))
    address = next(str(own.ip) for own in theirs.ipv6 if own.is_link_local)
    ears = Ears()
    with (
        closing(device_socket("theirs0", "ff02::c")) as link_local,
        closing(device_socket("theirs0", "ff05::c")) as site_local,
    ):
        async with running(Discovery(ears, wanted_interfaces=("ours0",))):
            for device, group in ((link_local, b"[ff02::c]"), (site_local, b"[ff05::c]")):
                datagram, sender = await next_search(device)
                assert b"HOST: %s:1900\r\n" % group in datagram
                with closing(speaker(address, theirs.index)) as sock:
                    sock.sendto(answer("found", f"http://[{address}%5]:80/d.xml"), sender)
            announce(address, "theirs0", alive("heard", f"http://[{address}]:80/"), "ff02::c")
            announce("fd09::2", "theirs0", alive("site", "http://[fd09::2]:80/"), "ff05::c")
            await until(lambda: len(ears) >= 4)
    (found, arrival), *_ = ears.of("found")
    assert found.location == f"http://[{address}%ours0]:80/d.xml"
    assert arrival.source == ipaddress.ip_address(f"{address}%ours0")
    [(heard, arrival)] = ears.of("heard")
    assert heard.location == f"http://[{address}%ours0]:80/"
    assert arrival.interface
    assert arrival.interface.name == "ours0"
    [(site, arrival)] = ears.of("site")
    assert site.location == "http://[fd09::2]:80/"
    assert arrival.source == ipaddress.ip_address("fd09::2")


async def without_ipv6_all_goes_by_ipv4() -> None:
    link(0)
    ears = Ears()
    discovery = Discovery(ears, wanted_interfaces=("ours0",), ipv6=False)
    async with running(discovery):
        await until(lambda: discovery.counters.searches)
        announce("10.9.0.2", "theirs0", alive("heard"))
        await until(lambda: ears.of("heard"))
        assert PORT not in bound_ports("/proc/net/udp6")


def bound_ports(table: str) -> list[int]:
    rows = Path(table).read_text().splitlines()[1:]
    return [int(row.split()[1].rpartition(":")[2], 16) for row in rows]


async def an_address_whose_duplicate_detection_runs_is_not_yet_one() -> None:
    write("ipv6/conf/default/accept_dad", "1")
    link(0)
    assert interfaces(("ours0",))[0].ipv6 == ()
    news = changes(("ours0",))
    async with asyncio.timeout(5):
        assert (await anext(news))[0].ipv6 == ()
        assert (await anext(news))[0].ipv6[0].is_link_local
    await news.aclose()


async def port_1900_held_by_another_is_warned_of_once_and_answers_still_come() -> None:
    link(0)
    ears = Ears()
    with (
        structlog.testing.capture_logs() as logs,
        closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as holder,
    ):
        holder.bind(("::", PORT))
        discovery = Discovery(ears, wanted_interfaces=("ours0",), search_interval_s=0.1)
        async with running(discovery):
            await until(lambda: discovery.counters.searches >= 4)
            [port] = bound_ports("/proc/net/udp")
            with closing(speaker("10.9.0.2", 0)) as device:
                device.sendto(answer("found"), ("10.9.0.1", port))
            await until(lambda: ears.of("found"))
            warnings = [e for e in logs if e["log_level"] == "warning"]
            assert {e["event"] for e in warnings} == {"ssdp_port_unavailable"}
            assert sorted(e["family"] for e in warnings) == ["AF_INET", "AF_INET6"]
            holder.close()
            searches = discovery.counters.searches
            await until(lambda: discovery.counters.searches > searches)
            announce("10.9.0.2", "theirs0", alive("heard"))
            await until(lambda: ears.of("heard"))


async def a_neighbour_on_port_1900_keeps_its_unicast_and_both_hear_the_group() -> None:
    link(0)
    ears = Ears()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as neighbour:
        neighbour.settimeout(0)
        neighbour.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        neighbour.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        neighbour.bind(("", PORT))
        request = struct.pack("=4s4xi", socket.inet_aton(GROUP), socket.if_nametoindex("ours0"))
        neighbour.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        async with running(Discovery(ears, wanted_interfaces=("ours0",))) as discovery:
            await until(lambda: discovery.counters.searches)
            with closing(speaker("10.9.0.2", 0)) as sock:
                sock.sendto(alive("unicast"), ("10.9.0.1", PORT))
            announce("10.9.0.2", "theirs0", alive("multicast"))
            await until(lambda: ears.of("multicast"))
            received: list[bytes] = []
            async with asyncio.timeout(5):
                while len(received) < 2:
                    datagram = await asyncio.get_running_loop().sock_recv(neighbour, 9000)
                    if b"M-SEARCH" not in datagram:
                        received.append(datagram)
    assert received == [alive("unicast"), alive("multicast")]
    assert not ears.of("unicast")


async def what_fails_on_one_interface_is_warned_of_once_and_harms_no_other() -> None:
    link(0)
    link(1)
    write("ipv4/igmp_max_memberships", "1")
    ip("-6 route del ff00::/8 dev ours1 table local")
    ears = Ears()
    with structlog.testing.capture_logs() as logs:
        discovery = Discovery(ears, wanted_interfaces=("ours0", "ours1"), search_interval_s=0.01)
        async with running(discovery):
            await until(lambda: [e for e in logs if e["log_level"] == "debug"])
            announce("10.9.0.2", "theirs0", alive("heard"))
            await until(lambda: ears.of("heard"))
    failed = [(e["log_level"], e["event"], e["group"]) for e in logs if "group" in e]
    assert {e["interface"] for e in logs if "group" in e} == {"ours1"}
    for what in (("ssdp_join_failed", GROUP), ("ssdp_search_failed", "ff02::c")):
        assert failed.count(("warning", *what)) == 1
        assert failed.count(("debug", *what)) >= 1


async def the_named_address_is_the_one_that_is_searched_from() -> None:
    link(0)
    ip("addr add 10.9.5.5/24 dev ours0")
    assert [str(a.ip) for a in interfaces(("ours0",))[0].ipv4] == ["10.9.0.1", "10.9.5.5"]
    assert [str(a.ip) for a in interfaces(("10.9.5.5",))[0].ipv4] == ["10.9.5.5", "10.9.0.1"]


async def an_interface_that_cannot_multicast_is_down_or_has_no_carrier_is_left_out() -> None:
    link(0)
    link(1)
    ip("link set ours0 multicast off")
    ip("link set ours1 down")
    await until(lambda: [i.name for i in interfaces()] == ["theirs0"])  # a carrier goes later


async def an_address_with_a_label_belongs_to_its_interface() -> None:
    link(0)
    ip("addr add 10.9.0.3/24 dev ours0 label ours0:1")
    [ours] = interfaces(("ours0",))
    assert [str(a.ip) for a in ours.ipv4] == ["10.9.0.1", "10.9.0.3"]
    assert ours.index == socket.if_nametoindex("ours0")


SCENARIOS: dict[str, Callable[[], Coroutine[None, None, None]]] = {
    scenario.__name__: scenario
    for scenario in (
        each_announcement_is_heard_once_on_the_interface_it_came_in_on,
        answers_are_heard_on_the_interface_that_was_searched,
        an_interface_that_comes_goes_and_comes_again_is_followed,
        an_interface_made_again_at_once_is_joined_again,
        a_change_of_address_is_followed_by_a_search_from_the_new_one,
        link_down_and_up_is_followed_by_a_search,
        where_nobody_answers_it_searches_on_and_tells_when_somebody_does,
        ipv6_devices_are_found_and_their_zone_is_replaced,
        without_ipv6_all_goes_by_ipv4,
        an_address_whose_duplicate_detection_runs_is_not_yet_one,
        port_1900_held_by_another_is_warned_of_once_and_answers_still_come,
        a_neighbour_on_port_1900_keeps_its_unicast_and_both_hear_the_group,
        what_fails_on_one_interface_is_warned_of_once_and_harms_no_other,
        the_named_address_is_the_one_that_is_searched_from,
        an_interface_that_cannot_multicast_is_down_or_has_no_carrier_is_left_out,
        an_address_with_a_label_belongs_to_its_interface,
        a_cable_that_is_pulled_is_noticed_however_briefly,
        the_ports_of_a_bridge_and_the_members_of_a_bond_are_left_out_unless_they_are_named,
    )
}


@pytest.fixture(scope="module")
def unshare() -> str:
    """Return the command that runs another in a network namespace of its own."""
    command = shutil.which("unshare")
    if command is None or shutil.which("ip") is None:
        pytest.skip("needs the commands unshare and ip")
    cable = "ip link add name ours9 type veth peer name theirs9"
    made = subprocess.run(
        [command, "--net", "sh", "-c", cable], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"needs the right to make network namespaces: {made.stderr.strip()}")
    return command


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_in_a_network_namespace(unshare, scenario):
    program = [sys.executable, "-W", "error", "-m", __name__, scenario]
    ended = subprocess.run(
        [unshare, "--net", "--mount", *program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def main(scenario: str) -> None:
    """Prepare the namespace, in which both ends of each cable are, and run a scenario."""
    ip("link set lo up")
    # What was mounted elsewhere tells of the interfaces there.
    subprocess.run(["mount", "-t", "sysfs", "none", "/sys"], check=True)
    for setting, value in (
        ("ipv4/conf/all/accept_local", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
    ):
        write(setting, value)
    asyncio.run(SCENARIOS[scenario]())


if __name__ == "__main__":
    main(sys.argv[1])
