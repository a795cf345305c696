"""A wire that fails: frames between two TAP devices, lost, late, twice, out of order or not at all.

The kernel's own (`tc netem`) is not everywhere. What fails is chosen with a seed.
"""

import fcntl
import heapq
import os
import select
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random
from threading import Thread
from typing import Literal

_TUNSETIFF, _TUNSETCARRIER = 0x400454CA, 0x400454E2
_IFF_TAP, _IFF_NO_PI = 0x2, 0x1000
_LOOK_S = 0.2
_MAX_FRAME = 65536
_MOST_UNDER_WAY = 10_000
_ETHERNET, _IPV4, _TCP = 14, b"\x08\x00", 6

Way = Literal["in", "out"]
"""Towards the home, or from there."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What a wire does to a frame; all but `delay_s`, the least and the most, are probabilities.

    A frame that is `early` is not delayed. One of which `stops` holds does not come through.
    """

    loss: float = 0.0
    twice: float = 0.0
    early: float = 0.0
    delay_s: tuple[float, float] = (0.0, 0.0)
    stops: Callable[[bytes, Way], bool] = lambda _frame, _way: False


GOOD = Faults()
POOR = Faults(loss=0.2, twice=0.1, early=0.25, delay_s=(0.05, 0.3))


def is_all(_frame: bytes, _way: Way) -> bool:
    """Tell of every frame that it is meant."""
    return True


def is_multicast(frame: bytes, _way: Way) -> bool:
    """Tell whether a frame is for an IPv4 multicast group."""
    return frame[:3] == b"\x01\x00\x5e"


def is_unicast_ip(frame: bytes, way: Way) -> bool:
    """Tell whether a frame is IPv4 to one host; ARP is none."""
    return frame[12:14] == _IPV4 and not is_multicast(frame, way)


def goes_in(_frame: bytes, way: Way) -> bool:
    """Tell whether a frame goes to the home."""
    return way == "in"


def goes_to(port: int) -> Callable[[bytes, Way], bool]:
    """Return what tells whether a frame goes to this TCP port of the home."""

    def is_it(frame: bytes, way: Way) -> bool:
        if frame[12:14] != _IPV4 or way != "in" or frame[_ETHERNET + 9] != _TCP:
            return False
        start = _ETHERNET + (frame[_ETHERNET] & 0x0F) * 4
        return int.from_bytes(frame[start + 2 : start + 4], "big") == port

    return is_it


def open_tap(name: str) -> int:
    """Make a TAP device where it is called; it is there until its descriptor is closed."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except BaseException:
        os.close(tap)
        raise
    return tap


class Link:
    """A wire between two TAP devices, `home` and `far`, which go with it at `close`."""

    def __init__(self, home: int, far: int, seed: int) -> None:
        self.faults = GOOD
        self._ends: dict[Way, int] = {"in": home, "out": far}
        self._random = Random(seed)
        self._order = count()
        self._under_way: list[tuple[float, int, Way, bytes]] = []
        self._closed = False
        self._thread = Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def set_carrier(self, *, on: bool) -> None:
        """Pull or plug the cable at home's end, as its interface sees it."""
        fcntl.ioctl(self._ends["in"], _TUNSETCARRIER, struct.pack("i", on))

    def close(self) -> None:
        """Take the wire away, with both its devices."""
        self._closed = True
        self._thread.join()
        for end in self._ends.values():
            os.close(end)

    def _run(self) -> None:
        sides: dict[int, Way] = {self._ends["out"]: "in", self._ends["in"]: "out"}
        while not self._closed:
            wait_s = _LOOK_S
            if self._under_way:
                wait_s = max(0.0, min(wait_s, self._under_way[0][0] - time.monotonic()))
            for end in select.select(list(sides), (), (), wait_s)[0]:
                with suppress(OSError):  # nothing more to read, or the device is down
                    while True:
                        self._take(os.read(end, _MAX_FRAME), sides[end])
            self._deliver()

    def _take(self, frame: bytes, way: Way) -> None:
        faults, chance = self.faults, self._random.random
        if faults.stops(frame, way) or chance() < faults.loss:
            return
        for _ in range(1 + (chance() < faults.twice)):
            late_s = 0.0 if chance() < faults.early else self._random.uniform(*faults.delay_s)
            if len(self._under_way) < _MOST_UNDER_WAY:
                one = (time.monotonic() + late_s, next(self._order), way, frame)
                heapq.heappush(self._under_way, one)

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, way, frame = heapq.heappop(self._under_way)
            with suppress(OSError):  # the device is down
                os.write(self._ends[way], frame)
