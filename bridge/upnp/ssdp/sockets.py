"""UDP sockets in multicast groups, on chosen interfaces; what is said there is not known here."""

import errno
import socket
import struct
from contextlib import suppress

# Linux's number, which the socket module does not have.
IP_MULTICAST_ALL = 49


def open_udp(address: tuple[str, int], *options: tuple[int, int, int | bytes]) -> socket.socket:
    """Return a non-blocking socket of the address's family with these options, bound to it.

    Raises OSError.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def join(sock: socket.socket, group: str, index: int) -> None:
    """Join a group on the interface with this index, if it is not joined. Raises OSError."""
    try:
        _set_membership(sock, group, index, (socket.IP_ADD_MEMBERSHIP, socket.IPV6_JOIN_GROUP))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise


def leave(sock: socket.socket, group: str, index: int) -> None:
    """Leave a group on the interface with this index, if it was joined."""
    with suppress(OSError):
        _set_membership(sock, group, index, (socket.IP_DROP_MEMBERSHIP, socket.IPV6_LEAVE_GROUP))


def _set_membership(sock: socket.socket, group: str, index: int, options: tuple[int, int]) -> None:
    address = socket.inet_pton(sock.family, group)
    if sock.family is socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, options[0], struct.pack("=4s4xi", address, index))
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, options[1], struct.pack("=16si", address, index))
