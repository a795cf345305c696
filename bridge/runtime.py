"""What touches the world: clock, chance, sockets, memory. All else is the bridge's own logic."""

import ctypes
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from bridge.mqtt.dial import Dial, dial
from bridge.upnp.gena.multicast import MulticastEvents
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.http.client import HttpClient
from bridge.upnp.ssdp.search import Discovery
from bridge.web import server


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic` gives the event loop's seconds, `now` the time of day in UTC."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc

    def stamp(self, timespec: str = "milliseconds", at: datetime | None = None) -> str:
        """Return a moment, by default this one, as RFC 3339 writes it."""
        return (at or self.now()).isoformat(timespec=timespec).replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the bridge waits for devices before it says `online`, in seconds.

    The first searches are sent until 1.8 s, and answers may take 1 s (MX). What has answered by
    then is described and tells its values within the other two, or comes later.
    """

    first_round_s: float = 3.0
    first_descriptions_s: float = 15.0
    first_events_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Adapters:
    """The makers of all that does I/O, and how long it takes; a model of the world gives others.

    `rng` only spreads what would otherwise happen at once.
    """

    clock: Clock = field(default_factory=Clock)
    timing: Timing = Timing()
    rng: Random = field(default_factory=Random)
    client: Callable[[], HttpClient] = HttpClient
    discovery: Callable[..., Discovery] = Discovery
    multicast: Callable[..., MulticastEvents] = MulticastEvents
    notify: Callable[[str | None, int], NotifyServer] = NotifyServer
    dial: Dial = dial
    serve: Callable[..., AbstractAsyncContextManager[None]] = server.serve


def give_memory_back() -> None:
    """Return to the system what was freed; it takes some ms, and only glibc can.

    Otherwise a process stays as large as it ever was.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
