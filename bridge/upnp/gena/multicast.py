"""Events that devices send to everyone (UDA 2.0, section 4.3.3): 239.255.255.246, UDP port 7900.

Whether a sender is the device that it names, the receiver has to judge.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import structlog

from bridge.formats.xml import XmlError
from bridge.model.topics import bare_udn
from bridge.upnp.gena.event_body import read_properties
from bridge.upnp.http.http1 import find_head_end, read_head
from bridge.upnp.ssdp import sockets
from bridge.upnp.ssdp.message import MAX_DATAGRAM, flood_bound

GROUP = "239.255.255.246"
PORT = 7900

_DATAGRAMS_AT_ONCE = 64
_MAX_UDN = 255
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MulticastEvent:
    """An event as it was announced to all; `udn` is as sent, without `uuid:`.

    `service_id` is the SVCID, `level` how urgent it is (LVL), empty where it is absent; `seq` and
    `boot_id` are None where they are not to be read.
    """

    udn: str
    service_id: str
    seq: int | None
    level: str
    boot_id: int | None
    properties: tuple[tuple[str, str], ...]


OnEvent = Callable[[MulticastEvent, str], None]
"""Takes an event and the address of its sender; must not block."""


def decode(datagram: bytes) -> MulticastEvent | None:
    """Return what a datagram says; None for what is no event or not to be read. Never raises."""
    end = find_head_end(datagram)
    if len(datagram) > MAX_DATAGRAM or end < 0 or datagram.lstrip()[:7].upper() != b"NOTIFY ":
        return None
    try:
        headers = read_head(datagram).headers
        properties = tuple(read_properties(datagram[end:]))
    except (ValueError, XmlError):
        return None
    udn = bare_udn(headers.get("usn", "").partition("::")[0])
    service_id = headers.get("svcid", "")
    if headers.get("nts", "").lower() != "upnp:propchange" or not service_id:
        return None
    if not 0 < len(udn) <= _MAX_UDN:
        return None
    seq, boot_id = (_NUMBER.fullmatch(headers.get(name, "")) for name in ("seq", "bootid.upnp.org"))
    return MulticastEvent(
        udn,
        service_id,
        int(seq[0]) if seq else None,
        headers.get("lvl", ""),
        int(boot_id[0]) if boot_id else None,
        properties,
    )


class MulticastEvents:
    """Hears events on the interfaces that `update` names, while it is entered.

    Without the port it is deaf, and says so once. Floods are bounded for each sender.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._bound = flood_bound()
        self._joined: frozenset[int] = frozenset()
        self._failed: frozenset[int] = frozenset()
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        try:
            self._socket = sockets.open_udp(
                (GROUP, PORT),
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                (socket.IPPROTO_IP, sockets.IP_MULTICAST_ALL, 0),
            )
        except OSError as error:
            _log.warning("multicast_events_unavailable", port=PORT, reason=str(error))
        else:
            asyncio.get_running_loop().add_reader(self._socket, self._receive, self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def update(self, indexes: Iterable[int]) -> None:
        """Hear on the interfaces with these indexes and no others; what failed is tried again."""
        if self._socket is None:
            return
        wanted = frozenset(indexes)
        for index in self._joined - wanted:
            sockets.leave(self._socket, GROUP, index)
        failed = frozenset(i for i in wanted - self._joined if not self._join(self._socket, i))
        self._joined, self._failed = wanted - failed, failed

    def _join(self, sock: socket.socket, index: int) -> bool:
        try:
            sockets.join(sock, GROUP, index)
        except OSError as error:
            log = _log.debug if index in self._failed else _log.warning
            log("multicast_events_join_failed", index=index, reason=str(error))
            return False
        return True

    def _receive(self, sock: socket.socket) -> None:
        """Hand on what has arrived, a bounded number at once."""
        now_s = asyncio.get_running_loop().time()
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                datagram, address = sock.recvfrom(MAX_DATAGRAM + 1)
            except OSError:  # BlockingIOError: all read; any other: the interface went away
                return
            if not self._bound.admits(address[0], now_s):
                continue
            event = decode(datagram)
            if event is not None:
                self._on_event(event, address[0])
