"""What the bridge touches the world through: clock, chance, sockets. All else is its own logic."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random

from bridge.mqtt.dial import Dial, dial
from bridge.runtime import Clock
from bridge.upnp.gena.multicast import MulticastEvents
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.http.client import HttpClient
from bridge.upnp.ssdp.search import Discovery
from bridge.web import server


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
    serve: Callable[..., AbstractAsyncContextManager[None]] = server.serve
