"""Announce one root device on the loopback interface and answer searches for it.

The library's own SSDP server listens on every interface, so it would answer searches from any
network; it announces one target in thirty seconds, and embedded devices under their root's UDN.
"""

import asyncio
import socket
from dataclasses import dataclass
from email.utils import formatdate
from typing import Self

from async_upnp_client.server import UpnpServerDevice

_GROUP = ("239.255.255.250", 1900)
_MAX_AGE_S = 1800
_ALIVE_INTERVAL_S = 600.0

# Not in Python's socket module. 0: hear only what came in by this socket's own membership, not
# what other sockets joined on other interfaces.
_IP_MULTICAST_ALL = 49


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One row of the tables in the UPnP Device Architecture 2.0, section 1.2.2."""

    nt: str
    usn: str

    def answers(self, search_target: str) -> bool:
        """Tell whether a search for this target, or an older version of it, asks for this row."""
        if search_target in ("ssdp:all", self.nt):
            return True
        kind, _, version = self.nt.rpartition(":")
        asked_kind, _, asked = search_target.rpartition(":")
        return (
            kind == asked_kind and kind.startswith("urn:") and asked.isdecimal() and asked < version
        )


def advertisements(root: UpnpServerDevice) -> tuple[Advertisement, ...]:
    """List what a root device announces of itself, its embedded devices and their services."""
    rows = [Advertisement("upnp:rootdevice", f"{root.udn}::upnp:rootdevice")]
    for device in root.all_devices:
        rows.append(Advertisement(device.udn, device.udn))
        kinds = [device.device_type, *(s.service_type for s in device.services.values())]
        rows += [Advertisement(kind, f"{device.udn}::{kind}") for kind in kinds]
    return tuple(rows)


class Advertiser(asyncio.DatagramProtocol):
    """Say alive at the start and every ten minutes, answer searches, say byebye at the end."""

    def __init__(self, root: UpnpServerDevice, host: str) -> None:
        self._rows = advertisements(root)
        self._host = host
        self._from_device = {
            "LOCATION": root.base_uri + root.device_url,
            "SERVER": "Linux UPnP/1.1 upnp2mqtt-demo/1.0",
            "CACHE-CONTROL": f"max-age={_MAX_AGE_S}",
            "BOOTID.UPNP.ORG": str(root.boot_id),
            "CONFIGID.UPNP.ORG": str(root.config_id),
        }

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        interface = socket.inet_aton(self._host)

        # A socket bound to the address sends only on its interface ...
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.bind((self._host, 0))
        self._sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sender)

        # ... and one bound to the group hears nothing else, and only through its own membership.
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        membership = socket.inet_aton(_GROUP[0]) + interface
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        listener.bind(_GROUP)
        self._listener, _ = await loop.create_datagram_endpoint(lambda: self, sock=listener)

        self._announce()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._next.cancel()
        self._listener.close()
        self._notify("ssdp:byebye")
        self._sender.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer an M-SEARCH at once: on loopback no crowd needs spreading over its MX."""
        start, *lines = data.decode("latin-1").split("\r\n")
        headers = {
            name.strip().upper(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if start != "M-SEARCH * HTTP/1.1" or headers.get("MAN") != '"ssdp:discover"':
            return
        search_target = headers.get("ST", "")
        for row in self._rows:
            if row.answers(search_target):
                st = row.nt if search_target == "ssdp:all" else search_target
                answer = {"ST": st, "USN": row.usn, "EXT": "", "DATE": formatdate(usegmt=True)}
                self._send("HTTP/1.1 200 OK", answer, addr)

    def _announce(self) -> None:
        self._notify("ssdp:alive")
        self._next = asyncio.get_running_loop().call_later(_ALIVE_INTERVAL_S, self._announce)

    def _notify(self, nts: str) -> None:
        for row in self._rows:
            headers = {"HOST": "{}:{}".format(*_GROUP), "NT": row.nt, "NTS": nts, "USN": row.usn}
            self._send("NOTIFY * HTTP/1.1", headers, _GROUP)

    def _send(self, start: str, headers: dict[str, str], target: tuple[str, int]) -> None:
        lines = (f"{name}: {value}" for name, value in (headers | self._from_device).items())
        self._sender.sendto("\r\n".join((start, *lines, "", "")).encode(), target)
