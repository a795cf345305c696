"""One process of the bridge among the models."""

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from bridge.app import Bridge
from bridge.runtime import Adapters
from bridge.settings import Settings
from tests.simulation.broker import ModelBroker, dialling
from tests.simulation.loop import Loop
from tests.simulation.network import HERE, Deaf, ModelClient, ModelDiscovery, ModelNotify, Network


@cache
def settings_of(kind: int) -> Settings:
    """One of the ways in which the bridge is set up."""
    mqtt: dict[str, Any] = {
        "url": ["mqtt://broker"],
        "protocol": ("5", "3.1.1")[kind & 1],
        "max_payload": (262_144, 1500)[kind >> 1 & 1],
    }
    return Settings(
        mqtt=mqtt,
        upnp={"callback_host": HERE, "search_interval": (60, 300)[kind >> 2 & 1]},
        mirror={"state": ("both", "values")[kind >> 3 & 1]},
        poll={"variables": ["Told"]},
        http={"port": 0},
    )


@asynccontextmanager
async def _no_http(*_: object, **__: object) -> Any:
    yield


class Life:
    """One process of the bridge; `is_dead` from the moment at which it was killed."""

    def __init__(
        self, loop: Loop, network: Network, broker: ModelBroker, settings: Settings
    ) -> None:
        self.is_dead = False
        self.stop = asyncio.Event()
        adapters = Adapters(
            clock=loop.clock(),
            rng=loop.rng,
            client=lambda: ModelClient(network, lambda: self.is_dead),
            discovery=lambda heard, **options: ModelDiscovery(network, heard, **options),
            multicast=Deaf,
            notify=lambda _host, _port: ModelNotify(network),
            dial=dialling(broker, lambda: self.is_dead),
            serve=_no_http,
        )
        self.bridge = Bridge(settings, adapters)
        self.task = loop.create_task(self.bridge.run(self.stop))
