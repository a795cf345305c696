"""What the bridge touches the world through: clock, chance, sockets. All else is its own logic."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random

from bridge import http
from bridge.clock import Clock
from bridge.mqtt.dial import Dial, dial
from bridge.upnp.client import HttpClient
from bridge.upnp.discovery import Discovery
from bridge.upnp.multicast_events import MulticastEvents
from bridge.upnp.notify import NotifyServer


@dataclass(frozen=True, slots=True)
class Adapters:
    """The makers of all that does I/O; a model of the world gives others.

    `rng` only spreads what would otherwise happen at once.
    """

    clock: Clock = field(default_factory=Clock)
    rng: Random = field(default_factory=Random)
    client: Callable[[], HttpClient] = HttpClient
    discovery: Callable[..., Discovery] = Discovery
    multicast: Callable[..., MulticastEvents] = MulticastEvents
    notify: Callable[[str | None, int], NotifyServer] = NotifyServer
    dial: Dial = dial
    serve: Callable[..., AbstractAsyncContextManager[None]] = http.serve
