"""Which interfaces belong to others: ports of a bridge, members of a bond or a team.

What comes in there is the bridge's, or the bond's, and is heard on that. The kernel is asked by
rtnetlink, whose answer is about the network namespace that this process is in; sysfs may be about
another.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

_GET_LINK, _NEW_LINK, _ERROR, _DONE = 18, 16, 2, 3
_REQUEST_DUMP = 0x301
_NAME, _MASTER, _LINK_INFO, _SLAVE_KIND = 3, 10, 18, 4
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_PATIENCE_S = 1.0
_MOST_BYTES, _MOST_MESSAGES = 256 * 1024, 4096


def members() -> frozenset[str]:
    """Return the names of interfaces that belong to another; none where the kernel does not say.

    A VRF has members too, but those keep what comes in to themselves.
    """
    found: set[str] = set()
    with suppress(OSError, struct.error, UnicodeDecodeError):
        for message in _dump():
            attributes = dict(_attributes(message[_LINK.size :]))
            inner = dict(_attributes(attributes.get(_LINK_INFO, b"")))
            if _MASTER in attributes and inner.get(_SLAVE_KIND, b"").rstrip(b"\0") != b"vrf":
                found.add(attributes[_NAME].rstrip(b"\0").decode())
    return frozenset(found)


def _dump() -> Iterator[bytes]:
    """Yield what the kernel tells of each link."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as asked:
        asked.settimeout(_PATIENCE_S)
        size = _HEADER.size + _LINK.size
        header = _HEADER.pack(size, _GET_LINK, _REQUEST_DUMP, 1, 0)
        asked.sendto(header + _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0), (0, 0))
        for _ in range(_MOST_MESSAGES):
            told = asked.recv(_MOST_BYTES)
            while len(told) >= _HEADER.size:
                length, kind, *_ = _HEADER.unpack_from(told)
                if kind in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                if kind == _NEW_LINK:
                    yield told[_HEADER.size : length]
                told = told[_aligned(length) :]


def _attributes(told: bytes) -> Iterator[tuple[int, bytes]]:
    while len(told) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(told)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, told[_ATTRIBUTE.size : length]
        told = told[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
