"""What the process has of its machine: the time, for what has no event loop, and memory."""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic` gives the event loop's seconds, `now` the time of day in UTC."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc

    def stamp(self, timespec: str = "milliseconds") -> str:
        """Return the time of day as RFC 3339 writes it."""
        return self.now().isoformat(timespec=timespec).replace("+00:00", "Z")


def give_memory_back() -> None:
    """Return to the system what was freed; it takes some ms, and only glibc can.

    Otherwise a process stays as large as it ever was.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
