"""All simulated devices together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bridge.demo.device_server import RootDevice, serve
from bridge.demo.gateway import Router
from bridge.demo.light import Light
from bridge.demo.media_server import MediaServer
from bridge.demo.renderer import Renderer

LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def simulate(host: str = LOOPBACK) -> AsyncIterator[tuple[RootDevice, ...]]:
    """Have simulated devices on the loopback interface until the block ends, one of each kind.

    They stand at `host`, each on a free port, under UDNs that are always the same. ValueError if
    `host` is not an IPv4 address of the loopback interface, OSError if SSDP cannot be spoken there.
    """
    async with AsyncExitStack() as stack:
        devices = tuple(
            [
                await stack.enter_async_context(serve(kind, host))
                for kind in (Renderer, MediaServer, Light, Router)
            ]
        )
        async with asyncio.TaskGroup() as group:
            timelines = [
                group.create_task(device.run(), name=f"demo.run[{device.udn}]")
                for device in devices
            ]
            yield devices
            for timeline in timelines:
                timeline.cancel()
