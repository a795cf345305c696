"""The interfaces that a bridge works on, their multicast, and the port of SSDP."""

import asyncio
import ipaddress
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import ifaddr

from bridge.support.doctor import ports
from bridge.support.doctor.finding import Finding, error, note, ok, skipped, warning
from bridge.upnp.ssdp import message as ssdp
from bridge.upnp.ssdp import sockets
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.search import GROUP_IPV4

_ECHO_S = 0.5
_IFF_UP, _IFF_LOOPBACK, _IFF_MULTICAST = 0x1, 0x8, 0x1000
_SHARED = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
_EXACT = (socket.IPPROTO_IP, sockets.IP_MULTICAST_ALL, 0)


def check_interfaces(wanted: Sequence[str], taken: Sequence[Interface]) -> Iterator[Finding]:
    """Yield which interfaces the bridge takes, and why it takes no others."""
    named = [name for name in wanted if not any(_answers_to(one, name) for one in taken)]
    for name in named:
        yield error(
            "interfaces",
            f"upnp.interfaces names {name}, which does not exist or cannot be used",
            "`ip address` lists names and addresses; it must be up and have an address",
        )
    for one in taken:
        if one.ipv4:
            addresses = [*map(str, one.ipv4), *(str(a) for a in one.ipv6 if not a.is_link_local)]
            yield ok("interfaces", f"{one.name}: {', '.join(addresses)}")
    if without := [one.name for one in taken if not one.ipv4]:
        yield note(
            "interfaces",
            f"without an IPv4 address, which most devices need: {', '.join(without)}",
            "if no devices are there, set upnp.interfaces to the others",
        )
    if not taken and not named:
        yield error(
            "interfaces",
            "no interface is up, has an address and can multicast",
            "connect this machine to the devices' network; `ip address` lists what there is",
        )
    left: dict[str, list[str]] = {}
    for name, why in _left_out(wanted, taken):
        left.setdefault(why, []).append(name)
    if left:
        told = "; ".join(f"{', '.join(names)} ({why})" for why, names in left.items())
        yield note("interfaces", f"not taken: {told}")


def _answers_to(interface: Interface, name: str) -> bool:
    if interface.name == name:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    own = (*(one.ip for one in interface.ipv4), *(one.ip for one in interface.ipv6))
    return address in own


def _left_out(wanted: Sequence[str], taken: Sequence[Interface]) -> Iterator[tuple[str, str]]:
    names = {one.name for one in taken}
    addressed = {one.name.partition(":")[0] for one in ifaddr.get_adapters() if one.ips}
    for _, name in socket.if_nameindex():
        flags = _flags(name)
        if name in names or flags & _IFF_LOOPBACK:
            continue
        if not flags & _IFF_UP:
            yield name, "down"
        elif name not in addressed:
            yield name, "no address"
        elif not flags & _IFF_MULTICAST:
            yield name, "cannot multicast"
        elif wanted:
            yield name, "not named in upnp.interfaces"


def _flags(name: str) -> int:
    try:
        return int(Path("/sys/class/net", name, "flags").read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return 0


async def check_multicast(
    taken: Sequence[Interface], let_in: Callable[[str], str]
) -> list[Finding]:
    """Return whether each interface can join SSDP's group and hear what is sent to it.

    What is sent does not leave this machine. `let_in` says how a network's searches and
    announcements are let in at the firewall.
    """
    with_ipv4 = [one for one in taken if one.ipv4]
    if not with_ipv4:
        return [skipped("multicast", "no interface with an IPv4 address")]
    return list(await asyncio.gather(*(_try_multicast(one, let_in) for one in with_ipv4)))


async def _try_multicast(interface: Interface, let_in: Callable[[str], str]) -> Finding:
    loop = asyncio.get_running_loop()
    token = f"uuid:doctor-{secrets.token_hex(8)}"
    try:
        hearing = _open_hearing()
    except OSError as failure:
        return error("multicast", f"{interface.name}: cannot open a socket: {failure}")
    with hearing:
        try:
            sockets.join(hearing, GROUP_IPV4, interface.index)
        except OSError as failure:
            return error(
                "multicast",
                f"{interface.name}: the group {GROUP_IPV4} cannot be joined: {failure}",
                f"ip link set dev {interface.name} multicast on",
                "if many programs join groups: sysctl -w net.ipv4.igmp_max_memberships=100",
            )
        is_member = _is_member(interface)
        try:
            _say(interface, token, hearing.getsockname()[1])
            async with asyncio.timeout(_ECHO_S):
                while token.encode() not in await loop.sock_recv(hearing, ssdp.MAX_DATAGRAM):
                    pass
        except TimeoutError:
            return error(
                "multicast",
                f"{interface.name}: what is sent to {GROUP_IPV4} is not received here",
                let_in(str(interface.ipv4[0].network)),
            )
        except OSError as failure:
            return error(
                "multicast",
                f"{interface.name}: nothing can be sent to {GROUP_IPV4}: {failure}",
                f"ip route add 239.0.0.0/8 dev {interface.name}",
            )
    if is_member is False:
        return warning(
            "multicast",
            f"{interface.name}: received here, but /proc/net/igmp lists no membership",
            "switches with IGMP snooping will not send the group here",
        )
    return ok("multicast", f"{interface.name}: {GROUP_IPV4} joined, sent to and received")


def _open_hearing() -> socket.socket:
    """Open a socket for the group: at SSDP's port, since a firewall may let in no other."""
    try:
        return sockets.open_udp((GROUP_IPV4, ssdp.PORT), _SHARED, _EXACT)
    except OSError:
        return sockets.open_udp((GROUP_IPV4, 0), _EXACT)


def _say(interface: Interface, target: str, port: int) -> None:
    """Send a search for a device that is nowhere, to this machine alone."""
    sender = sockets.open_udp(
        (str(interface.ipv4[0].ip), 0),
        (socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=8xi", interface.index)),
        (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0),
        (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1),
    )
    with sender:
        sender.sendto(ssdp.search(target, host=GROUP_IPV4, mx_s=1), (GROUP_IPV4, port))


def _is_member(interface: Interface) -> bool | None:
    """Return whether the kernel has joined the group on an interface; None: it does not say."""
    try:
        lines = Path("/proc/net/igmp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    wanted = f"{int.from_bytes(socket.inet_aton(GROUP_IPV4), 'little'):08X}"
    index = ""
    for line in lines:
        fields = line.split()
        if not line.startswith(("\t", " ")):
            index = fields[0]
        elif index == str(interface.index) and fields[0] == wanted:
            return True
    return False


def check_ssdp_port() -> Finding:
    """Return whether the port of SSDP can be shared, and with whom."""
    others = ports.holders("udp", ssdp.PORT, but=[os.getpid()])
    try:
        sockets.open_udp((GROUP_IPV4, ssdp.PORT), _SHARED, _EXACT).close()
    except OSError as failure:
        return error(
            "ssdp_port",
            f"UDP port {ssdp.PORT} is held by {ports.said(others)}, which does not share it"
            if others
            else f"UDP port {ssdp.PORT} cannot be had: {failure}",
            "stop that program, or have it open the port with SO_REUSEADDR",
            "without the port the bridge finds devices, but notices late which come and go",
        )
    shared = f", shared with {ports.said(others)}" if others else ""
    return ok("ssdp_port", f"UDP port {ssdp.PORT} can be opened{shared}")


def network_of(taken: Sequence[Interface], host: str) -> str:
    """Return the network of ours in which a host stands, as a firewall's rule names it."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        for one in taken:
            own: tuple[IPv4Interface | IPv6Interface, ...] = (*one.ipv4, *one.ipv6)
            for each in own:
                if address in each.network:
                    return str(each.network)
    return str(taken[0].ipv4[0].network) if taken and taken[0].ipv4 else "192.168.1.0/24"
