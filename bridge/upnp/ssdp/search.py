"""SSDP's sockets: hear what devices announce, and search for them (UDA 2.0, section 1).

Who is there, since when and until when is presence's; how a datagram reads is `ssdp`'s.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog
from async_upnp_client.ssdp import (
    SSDP_IP_V4,
    SSDP_IP_V6_LINK_LOCAL,
    SSDP_IP_V6_SITE_LOCAL,
    SSDP_ST_ALL,
    SSDP_ST_ROOTDEVICE,
)

from bridge.upnp.ssdp import message as ssdp
from bridge.upnp.ssdp import sockets
from bridge.upnp.ssdp.interfaces import Interface, changes

GROUP_IPV4 = SSDP_IP_V4
GROUP_IPV6_LINK_LOCAL = SSDP_IP_V6_LINK_LOCAL.lower()
GROUP_IPV6_SITE_LOCAL = SSDP_IP_V6_SITE_LOCAL.lower()

_ROOTS = SSDP_ST_ROOTDEVICE
_ALL = SSDP_ST_ALL
_TTL = 2
_DATAGRAMS_AT_ONCE = 64
_CONTROL_BYTES = 128
_WARN_EVERY_S = 60.0
_UNANSWERED_S = 20.0
"""How soon to search again where nobody has been heard since the last search; twice as long each
time that this is so again."""
_LONGEST_UNANSWERED_S = 1800.0
"""The longest between two searches where nobody was ever heard, unless that is the interval."""
_LONG_UNANSWERED = 3
"""After how many searches in vain one is sent at once when somebody is heard."""
_ALL_EVERY = 2
"""Which of the regular searches are for everything too, and not for root devices alone."""

# Linux's numbers, which the socket module does not have.
_IP_PKTINFO, _IPV6_MULTICAST_ALL = 8, 29

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whence an announcement came.

    `source` is the sender's address, a link-local one with the interface's name as zone;
    `interface` the one it came in on, None where that is not known.
    """

    source: IPv4Address | IPv6Address
    interface: Interface | None


ToldVariables = Callable[[ssdp.Announcement, Sender], None]
"""Takes each announcement, as often as it comes; must neither block nor raise."""


@dataclass(slots=True)
class SearchCounters:
    """Since the start: datagrams in, how many of them the flood bound dropped, searches out."""

    datagrams: int = 0
    dropped: int = 0
    searches: int = 0


@dataclass(frozen=True, slots=True)
class _Search:
    """One datagram of a search: how long after the one before it, in seconds; for what, and MX."""

    pause_s: float
    target: str
    mx_s: int


# Each is sent more than once, since UDP loses. Some devices know themselves only by `ssdp:all`, and
# of these some forget one search over the next: that has the time for itself that MX gives it.
_AT_ONCE = (
    _Search(0.0, _ROOTS, 1),
    _Search(0.6, _ROOTS, 1),
    _Search(0.6, _ALL, 1),
    _Search(1.1, _ROOTS, 1),
    _Search(0.6, _ALL, 2),
)
_REGULAR = (_Search(0.0, _ROOTS, 3), _Search(1.0, _ROOTS, 3))
_REGULAR_FOR_ALL = (*_REGULAR, _Search(4.0, _ALL, 5))


@dataclass(slots=True)
class _Joined:
    """One interface for as long as it stays as it is: its search sockets, what fails on it."""

    interface: Interface
    groups: tuple[tuple[socket.AddressFamily, str], ...]
    searching: dict[socket.AddressFamily, socket.socket] = field(default_factory=dict)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    failing: frozenset[tuple[str, str]] = frozenset()
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    has_spoken: bool = False
    """Whether anybody was ever heard there."""
    unanswered: int = 0
    """How many searches in a row nobody was heard after."""


class Discovery:
    """Hears announcements and search answers on every interface, and searches.

    `wanted_interfaces` is as for `interfaces.interfaces`. Interfaces that come, go or change are
    followed, and `on_interfaces` is told of them; `on_heard_again` is told of an interface on which
    somebody speaks after nobody had answered a search. What cannot be had (port 1900, IPv6, one
    interface) is warned of, done without, and tried again with every search.
    """

    def __init__(  # noqa: PLR0913 - all but one by name
        self,
        heard: ToldVariables,
        *,
        wanted_interfaces: Sequence[str] = (),
        search_interval_s: float = 300.0,
        ipv6: bool = True,
        unanswered_s: float = _UNANSWERED_S,
        on_interfaces: Callable[[tuple[Interface, ...]], None] = lambda _: None,
        on_heard_again: Callable[[Interface], None] = lambda _: None,
    ) -> None:
        self.counters = SearchCounters()
        self._heard = heard
        self._on_interfaces = on_interfaces
        self._on_heard_again = on_heard_again
        self._wanted = tuple(wanted_interfaces)
        self._search_interval_s = search_interval_s
        self._ipv6 = ipv6
        self._unanswered_at_first_s = min(unanswered_s, search_interval_s)
        self._bound = ssdp.flood_bound()
        self._warned_s = float("-inf")
        self._interfaces: dict[int, Interface] = {}
        self._joined: dict[Interface, tuple[_Joined, asyncio.Task[None]]] = {}
        self._listening: dict[socket.AddressFamily, socket.socket] = {}
        self._deaf: set[socket.AddressFamily] = set()
        self._unanswered: set[int] = set()

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces it works on at this moment."""
        return tuple(self._interfaces.values())

    def search(self) -> None:
        """Search now on all interfaces, more than once since UDP loses."""
        for joined, _ in self._joined.values():
            joined.due.set()

    async def run(self) -> None:
        """Hear and search until cancelled; then close every socket."""
        try:
            async with asyncio.TaskGroup() as tasks, aclosing(changes(self._wanted)) as news:
                async for present in news:
                    await self._follow(present, tasks)
        finally:
            for sock in self._listening.values():
                _close(sock)
            self._listening.clear()
            self._joined.clear()
            self._interfaces.clear()

    async def _follow(self, present: tuple[Interface, ...], tasks: asyncio.TaskGroup) -> None:
        """Work on these interfaces and no others; one that changed is left and begun anew."""
        for gone in self._joined.keys() - set(present):
            _, task = self._joined.pop(gone)
            task.cancel()
            await asyncio.wait({task})
            _log.info("interface_left", interface=gone.name, index=gone.index)
        self._interfaces = {interface.index: interface for interface in present}
        for interface in present:
            if interface not in self._joined:
                joined = _Joined(interface, tuple(self._groups(interface)))
                name = f"upnp.search[{interface.name}]"
                self._joined[interface] = joined, tasks.create_task(self._work(joined), name=name)
                _log.info("interface_joined", interface=interface.name, index=interface.index)
        self._on_interfaces(present)

    def _groups(self, interface: Interface) -> Iterator[tuple[socket.AddressFamily, str]]:
        if interface.ipv4:
            yield socket.AF_INET, GROUP_IPV4
        # Linux has no route for IPv6 multicast on loopback.
        if interface.ipv6 and self._ipv6 and not interface.is_loopback:
            yield socket.AF_INET6, GROUP_IPV6_LINK_LOCAL
            if not all(address.is_link_local for address in interface.ipv6):
                yield socket.AF_INET6, GROUP_IPV6_SITE_LOCAL

    async def _work(self, joined: _Joined) -> None:
        """Stay in the groups of one interface and search there, until cancelled."""
        regular = 0
        burst: tuple[_Search, ...] = _AT_ONCE
        try:
            while True:
                joined.due.clear()
                joined.spoken.clear()
                failed: dict[tuple[str, str], OSError] = {}
                for search in burst:
                    await asyncio.sleep(search.pause_s)
                    if search is burst[-1] and search.target == _ALL:
                        self._note_answers(joined)  # those before had their time
                    failed = self._search_once(joined, search)
                for (event, group), error in failed.items():
                    log = _log.debug if (event, group) in joined.failing else _log.warning
                    log(event, interface=joined.interface.name, group=group, reason=str(error))
                joined.failing = frozenset(failed)
                regular += 1
                burst = _REGULAR if regular % _ALL_EVERY else _REGULAR_FOR_ALL
                if await self._rest(joined):
                    burst = _AT_ONCE
        finally:
            for sock in joined.searching.values():
                _close(sock)
            for family, group in joined.groups:
                if listening := self._listening.get(family):
                    sockets.leave(listening, group, joined.interface.index)
            self._unanswered.discard(joined.interface.index)

    def _note_answers(self, joined: _Joined) -> None:
        """Note whether nobody is heard on an interface."""
        if not joined.spoken.is_set():
            self._unanswered.add(joined.interface.index)

    async def _rest(self, joined: _Joined) -> bool:
        """Wait until it is time to search again; return whether for all that is there at once.

        So it is when somebody asks, and when somebody is heard where nobody was for long.
        """
        now = asyncio.get_running_loop().time
        began_s, interval_s = now(), self._search_interval_s
        await _first_of(began_s + self._unanswered_at_first_s, joined.due)
        if not (joined.spoken.is_set() or joined.due.is_set()):
            joined.unanswered += 1
            self._note_answers(joined)
            await _first_of(began_s + self._unanswered_s(joined), joined.due, joined.spoken)
        if joined.spoken.is_set():
            was_long, joined.unanswered = joined.unanswered >= _LONG_UNANSWERED, 0
            if was_long:
                return True
            await _first_of(began_s + interval_s, joined.due)
        return joined.due.is_set()

    def _unanswered_s(self, joined: _Joined) -> float:
        """Return how long after a search in vain the next comes."""
        soon_s = self._unanswered_at_first_s
        longest_s = 0.0 if joined.has_spoken else min(_LONGEST_UNANSWERED_S, soon_s * 128)
        longest_s = max(longest_s, self._search_interval_s)
        return min(soon_s * 2.0 ** min(joined.unanswered - 1, 16), longest_s)

    def _search_once(self, joined: _Joined, search: _Search) -> dict[tuple[str, str], OSError]:
        """Join and search each group of an interface; return what failed, by event and group."""
        failed: dict[tuple[str, str], OSError] = {}
        for family, group in joined.groups:
            try:
                if listening := self._listen(family):
                    sockets.join(listening, group, joined.interface.index)
            except OSError as error:
                failed["ssdp_join_failed", group] = error
            try:
                if family not in joined.searching:
                    joined.searching[family] = _open_searching(family, joined.interface)
                    self._read(joined.searching[family], joined.interface)
                datagram = ssdp.search(search.target, host=group, mx_s=search.mx_s)
                joined.searching[family].sendto(datagram, (group, ssdp.PORT))
                self.counters.searches += 1
            except OSError as error:
                failed["ssdp_search_failed", group] = error
        return failed

    def _listen(self, family: socket.AddressFamily) -> socket.socket | None:
        """Return the socket on SSDP's own port, opened at need; None where it is not to be had."""
        if family not in self._listening:
            try:
                self._listening[family] = _open_listening(family)
            except OSError as error:
                log = _log.debug if family in self._deaf else _log.warning
                log("ssdp_port_unavailable", family=family.name, port=ssdp.PORT, reason=str(error))
                self._deaf.add(family)
                return None
            self._deaf.discard(family)
            self._read(self._listening[family], None)
        return self._listening[family]

    def _read(self, sock: socket.socket, interface: Interface | None) -> None:
        asyncio.get_running_loop().add_reader(sock, self._receive, sock, interface)

    def _receive(self, sock: socket.socket, interface: Interface | None) -> None:
        """Hand on what has arrived, a bounded number at once.

        `interface` is the one that a search socket is for. On a listening socket the kernel names
        it, which holds even where several interfaces have the same subnet.
        """
        now_s = asyncio.get_running_loop().time()
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                datagram, control, _, address = sock.recvmsg(ssdp.MAX_DATAGRAM + 1, _CONTROL_BYTES)
            except OSError:  # BlockingIOError: all read; any other: the interface went away
                return
            self.counters.datagrams += 1
            if not self._bound.admits(address[0], now_s):
                self._drop(address[0], now_s)
                continue
            came_in_on = interface or self._interfaces.get(_interface_index(control))
            announcement = ssdp.decode(datagram)
            if announcement is not None and came_in_on is not None:
                zone = came_in_on.name
                arrival = Sender(_source(address[0], zone), came_in_on)
                self._note_speech(came_in_on)
                self._heard(ssdp.with_zone(announcement, zone), arrival)

    def _note_speech(self, interface: Interface) -> None:
        if found := self._joined.get(interface):
            found[0].spoken.set()
            found[0].has_spoken = True
        if interface.index in self._unanswered:
            self._unanswered.discard(interface.index)
            self._on_heard_again(interface)

    def _drop(self, source: str, now_s: float) -> None:
        self.counters.dropped += 1
        if now_s - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now_s
            _log.warning("ssdp_flood_dropped", source=source, dropped=self.counters.dropped)


async def _first_of(until_s: float, *events: asyncio.Event) -> None:
    """Wait for one of these, or until that time."""
    pause_s = until_s - asyncio.get_running_loop().time()
    if pause_s <= 0 or any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _source(host: str, zone: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.is_link_local:
        return IPv6Address(f"{address}%{zone}")
    return address


def _interface_index(control: Iterable[tuple[int, int, bytes]]) -> int:
    """Return the index of the interface that a datagram came in on, 0 where the kernel is mute."""
    for level, kind, content in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return int.from_bytes(content[:4], sys.byteorder)
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return int.from_bytes(content[16:20], sys.byteorder)
    return 0


def _open_listening(family: socket.AddressFamily) -> socket.socket:
    """Open the one socket of a family on SSDP's port; a neighbour there keeps what is its own."""
    if family is socket.AF_INET:
        return sockets.open_udp(
            (GROUP_IPV4, ssdp.PORT),
            (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
            (socket.IPPROTO_IP, sockets.IP_MULTICAST_ALL, 0),
            (socket.IPPROTO_IP, _IP_PKTINFO, 1),
        )
    sock = sockets.open_udp(
        ("::", ssdp.PORT),
        (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
        (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
        (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1),
    )
    with suppress(OSError):  # unknown before Linux 4.20
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    return sock


def _open_searching(family: socket.AddressFamily, interface: Interface) -> socket.socket:
    """Open the socket from which an interface is searched, and to which the answers come."""
    if family is socket.AF_INET:
        return sockets.open_udp(
            (str(interface.ipv4[0].ip), 0),
            (socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=8xi", interface.index)),
            (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL),
            (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1),
        )
    return sockets.open_udp(
        ("::", 0),
        (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index),
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _TTL),
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1),
    )


def _close(sock: socket.socket) -> None:
    asyncio.get_running_loop().remove_reader(sock)
    sock.close()
