"""Two brokers, bridged both ways, with a bridge at each: cut apart and joined again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.adapter.bridge import Onlooker, flags, onlooking, program
from tests.adapter.device import Device, new_udn
from tests.adapter.mosquitto import BASIC, mosquitto, until
from tests.adapter.mosquitto import Running as Broker
from tests.adapter.test_several_bridges import (
    NAMES,
    PATIENCE_S,
    each_call_is_answered_once,
    fleet,
    settled,
    shares,
    values_come,
)

_MOVING = ("/health", "/info", "/devices")
"""Ends of topics that each bridge writes anew from time to time."""


class Link:
    """The wire between two brokers, which can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_cut = False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        beyond, there = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, there}
        await asyncio.gather(self._pass(reader, there), self._pass(beyond, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(1 << 16):
                writer.write(some)
                await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def join(self) -> None:
        self.is_cut = False


@asynccontextmanager
async def link(port: int) -> AsyncIterator[tuple[Link, int]]:
    """Give a wire to a broker, and the port of its other end."""
    wire = Link(port)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    try:
        yield wire, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        wire.cut()


def tree(onlooker: Onlooker) -> dict[str, bytes]:
    return {topic: body for topic, body in onlooker.held.items() if not topic.endswith(_MOVING)}


@asynccontextmanager
async def bridged(folder: Path) -> AsyncIterator[tuple[Link, list[Broker]]]:
    """Run two brokers that pass on everything to each other, later where they are parted."""
    async with mosquitto(folder) as far, link(far.port) as (wire, port):
        lines = (
            "connection far",
            f"address 127.0.0.1:{port}",
            "topic # both 1",
            "restart_timeout 1",
            "keepalive_interval 5",
            "notifications false",
        )
        async with mosquitto(folder, *BASIC, *lines) as near:
            yield wire, [near, far]


async def each_side_has(
    sides: list[Onlooker], devices: list[Device], wanted: Iterable[list[str | None]]
) -> None:
    for side, owners in zip(sides, wanted, strict=True):
        await until(partial(settled, side, devices, owners), PATIENCE_S)


@pytest.mark.asyncio
@pytest.mark.timeout(240)
async def test_brokers_that_were_parted_have_one_right_tree_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name = f"parted-{new_udn()}"
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(one) for one in fleet(name)]
        folder = tmp_path_factory.mktemp("bridged")
        wire, brokers = await stack.enter_async_context(bridged(folder))
        sides = [stack.enter_context(onlooking(one.port)) for one in brokers]
        for broker, instance in zip(brokers, NAMES, strict=True):
            chosen = flags(broker.port, name, instance=instance)
            await stack.enter_async_context(program(chosen))

        async def each_is_right(value: str) -> None:
            for side in sides:
                await each_call_is_answered_once(side, devices)
            for side in sides:
                await values_come(side, devices, value)

        both = [shares(devices)] * 2
        await each_side_has(sides, devices, both)
        await each_is_right("2")

        wire.cut()
        await each_side_has(sides, devices, ([one] * len(devices) for one in NAMES))
        await until(lambda: all(len(one.service("S").subscribers) > 1 for one in devices))
        await each_is_right("3")

        calls = [len(one.calls) for one in devices]
        wire.join()
        await each_side_has(sides, devices, both)
        await until(lambda: tree(sides[0]) == tree(sides[1]), PATIENCE_S)
        # What was carried out in between was passed on, and is not carried out again.
        assert [len(one.calls) for one in devices] == calls
        await each_is_right("4")
        for side in sides:
            side.settle()
            answers = [one for one in side.messages if one.topic.endswith("/response")]
            assert set(Counter(one.payload for one in answers).values()) == {1}
