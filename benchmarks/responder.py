"""Simulated devices answer searches and announce themselves."""

import asyncio
import random
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

_GROUP = "239.255.255.250"
_IP_MULTICAST_ALL = 49
_ANSWERS_WITHIN = 0.8
"""The part of a search's MX within which the answers come."""
_MX = re.compile(rb"\nmx:\s*(\d)", re.IGNORECASE)


class Device(Protocol):
    """What is found."""

    address: str

    @property
    def search_answer(self) -> bytes: ...


class Responder(asyncio.DatagramProtocol):
    """Answers searches for root devices, each device from its own address."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self._devices = devices

    @classmethod
    async def listen(cls, devices: Iterable[Device]) -> None:
        """Answer from now on; who of `devices` is there is looked at with each search."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        membership = socket.inet_aton(_GROUP) + socket.inet_aton("127.0.0.1")
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        listener.bind((_GROUP, 1900))
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: cls(devices), sock=listener)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data.startswith(b"M-SEARCH") and (mx := _MX.search(data)):
            for device in self._devices:
                delay_s = random.random() * int(mx[1]) * _ANSWERS_WITHIN
                asyncio.get_running_loop().call_later(delay_s, _answer_search, device, addr)


def multicast(source: str, *datagrams: bytes) -> None:
    """Send to everybody on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.bind((source, 0))
        for datagram in datagrams:
            with suppress(OSError):
                sock.sendto(datagram, (_GROUP, 1900))


def _answer_search(device: Device, to: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((device.address, 0))
        sock.sendto(device.search_answer, to)
