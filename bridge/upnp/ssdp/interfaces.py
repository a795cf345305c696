"""The network interfaces and addresses of this machine, and when they change.

What is done on them (joining, searching, listening) is not this module's.
"""

import asyncio
import fcntl
import ipaddress
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

import ifaddr
import structlog

from bridge.upnp.ssdp import links

_SIOCGIFFLAGS = 0x8913
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING, _IFF_SLAVE, _IFF_MULTICAST = 0x1, 0x8, 0x40, 0x800, 0x1000
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_DEBOUNCE_S = 0.3
_MOST_NEWS = 1024

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up, with its addresses; those of IPv6 bear no zone.

    `index` is its identity: an interface that is deleted and made again has another. A cable that
    is pulled, however briefly, makes it differ by `carrier_changes`.
    """

    name: str
    index: int
    ipv4: tuple[IPv4Interface, ...]
    ipv6: tuple[IPv6Interface, ...]
    is_loopback: bool
    carrier_changes: int = 0

    def holds(self, address: IPv4Address | IPv6Address) -> bool:
        """Return whether an address lies in one of this interface's subnets, zones aside."""
        own: tuple[IPv4Interface | IPv6Interface, ...] = (*self.ipv4, *self.ipv6)
        return any(address in interface.network for interface in own)


def interfaces(wanted: Sequence[str] = ()) -> tuple[Interface, ...]:
    """Return the interfaces that are up, have a carrier and an address and can multicast, by index.

    `wanted`, where it is not empty, has the names or addresses of those to take; an address named
    there stands before its interface's others. Loopback is taken only where it is named, and so are
    ports of bridges and members of bonds, which hear what their master hears. What does not exist
    (yet) is passed over.
    """
    own: dict[str, list[IPv4Interface | IPv6Interface]] = {}
    unusable, members = _unusable(), links.members()
    for adapter in ifaddr.get_adapters():
        # An address with a label, such as eth0:1, comes as an adapter of that name.
        addresses = own.setdefault(adapter.name.partition(":")[0], [])
        for ip in adapter.ips:
            bare = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_interface(f"{bare}/{ip.network_prefix}")
            if (adapter.name, address.ip) not in unusable:
                addresses.append(address)
    named = frozenset(_bare(entry) for entry in wanted)
    found: list[Interface] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, addresses in own.items():
            try:
                flags, index = _flags(control, name), socket.if_nametoindex(name)
            except OSError:  # gone since
                continue
            is_named = name in named or any(str(a.ip) in named for a in addresses)
            can_multicast = flags & _IFF_MULTICAST or flags & _IFF_LOOPBACK
            is_anothers = flags & _IFF_SLAVE or name in members
            is_taken = is_named if wanted else not (flags & _IFF_LOOPBACK or is_anothers)
            is_up = flags & _IFF_UP and flags & _IFF_RUNNING
            if not (addresses and is_up and can_multicast and is_taken):
                continue
            addresses.sort(key=lambda a: str(a.ip) not in named)
            found.append(
                Interface(
                    name,
                    index,
                    tuple(a for a in addresses if isinstance(a, IPv4Interface)),
                    tuple(a for a in addresses if isinstance(a, IPv6Interface)),
                    bool(flags & _IFF_LOOPBACK),
                    _carrier_changes(name),
                )
            )
    return tuple(sorted(found, key=lambda interface: interface.index))


def absent(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names and addresses that are no interface's of this machine, up or down."""
    present = set(names())
    for adapter in ifaddr.get_adapters():
        present.add(adapter.name)  # an address with a label, such as eth0:1
        present.update(_bare(ip.ip if isinstance(ip.ip, str) else ip.ip[0]) for ip in adapter.ips)
    return tuple(entry for entry in wanted if _bare(entry) not in present)


def names() -> tuple[str, ...]:
    """Return the names of all interfaces of this machine."""
    return tuple(name for _, name in socket.if_nameindex())


def _unusable() -> frozenset[tuple[str, IPv4Address | IPv6Address]]:
    """Return the addresses whose duplicate address detection (RFC 4862) runs or has failed."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:  # no IPv6
        return frozenset()
    return frozenset(
        (name, IPv6Address(bytes.fromhex(address)))
        for address, _, _, _, flags, name in map(str.split, lines)
        if int(flags, 16) & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED)
    )


def _bare(entry: str) -> str:
    """Return an address in its one spelling and without zone; a name as it is."""
    try:
        return str(ipaddress.ip_address(entry.partition("%")[0]))
    except ValueError:
        return entry


def _flags(control: socket.socket, name: str) -> int:
    request = struct.pack("16s24x", name.encode())
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, request)
    flags: int = struct.unpack_from("=H", answer, 16)[0]
    return flags


def _carrier_changes(name: str) -> int:
    """Return how often the carrier of an interface came or went, 0 where the kernel is mute."""
    try:
        return int(Path("/sys/class/net", name, "carrier_changes").read_text())
    except (OSError, ValueError):
        return 0


async def changes(
    wanted: Sequence[str] = (), *, poll_interval_s: float = 15.0
) -> AsyncGenerator[tuple[Interface, ...], None]:
    """Yield what `interfaces` returns: at once, and whenever it has become another.

    The kernel's word (rtnetlink) wakes it; without that it looks every `poll_interval_s`, as it
    does besides. Close it (`contextlib.aclosing`) when done.
    """
    news = _open_news()
    try:
        before: tuple[Interface, ...] | None = None
        log = _log.warning
        while True:
            try:
                now = interfaces(wanted)
            except OSError as error:
                log("interfaces_unreadable", reason=str(error))
                log = _log.debug
            else:
                log = _log.warning
                if now != before:
                    before = now
                    yield now
            await _wake(news, poll_interval_s)
    finally:
        if news is not None:
            news.close()


def _open_news() -> socket.socket | None:
    """Return a socket on which the kernel tells of links and addresses."""
    try:
        news = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
    except OSError as error:
        _log.info("interfaces_polled", reason=str(error))
        return None
    try:
        news.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
    except OSError as error:
        _log.info("interfaces_polled", reason=str(error))
        news.close()
        return None
    return news


async def _wake(news: socket.socket | None, poll_interval_s: float) -> None:
    """Return when there is news and it has settled, or after the interval."""
    if news is None:
        await asyncio.sleep(poll_interval_s)
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(poll_interval_s):
            with suppress(OSError):  # ENOBUFS: more than fits is news as well
                await asyncio.get_running_loop().sock_recv(news, 1)
            await asyncio.sleep(_DEBOUNCE_S)
    with suppress(OSError):  # until nothing is left
        for _ in range(_MOST_NEWS):
            news.recv(1)
