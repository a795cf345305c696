"""Latency from NOTIFY to subscriber while something large is under way.

100 devices with some 20,000 topics; eight of them tell of themselves, 100 times a second together,
while all is announced and while a hub is told all.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from benchmarks import stage
from benchmarks.events import Watch
from benchmarks.onlooker import Onlooker
from benchmarks.stage import OURS, Contestant

_DEVICES = 100
_RATE = 100
_TELLING = 8
_BUSY_S = 1.0

Disturb = Callable[[], Awaitable[None]]


async def measure(rounds: int) -> list[tuple[str, list[int]]]:
    """Return for each disturbance the latencies in microseconds."""
    ours = Contestant("ours", OURS)
    found: list[tuple[str, list[int]]] = []
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(stage.broker("max_queued_messages 200000"))
        fleet = await stack.enter_async_context(stage.fleet(_DEVICES))
        await stack.enter_async_context(ours.running(port))
        await asyncio.sleep(3)
        watch, count = Watch(), [0]

        def seen(*_: object) -> None:
            count[0] += 1

        onlooker = await Onlooker.connect(port, watch.take)
        await onlooker.subscribe(f"{ours.base}/+/+/value/CurrentConnectionIDs/#")
        everything = await Onlooker.connect(port, seen)
        await everything.subscribe(f"{ours.base}/+/+/#")
        await asyncio.sleep(2)  # what is retained comes first

        async def nothing() -> None:
            await asyncio.sleep(0)

        async def announce() -> None:
            onlooker.publish(f"{ours.base}/bridge/main/request/announce", b"{}")

        async def be_born() -> None:
            onlooker.publish("homeassistant/status", b"online")

        steps: tuple[tuple[str, Disturb], ...] = (
            ("nothing", nothing),
            ("announce", announce),
            ("a hub's birth", be_born),
        )
        for name, disturb in steps * rounds:
            watch.latencies_us.clear()
            command = {"callback": ours.callback_port, "kind": "small", "seconds": 4.0}
            asking = asyncio.create_task(fleet.ask({**command, "senders": _TELLING, "rate": _RATE}))
            await asyncio.sleep(0.5)
            count[0] = 0
            await disturb()
            await asking
            await asyncio.sleep(_BUSY_S)
            found.append((f"{name}, {count[0]} topics", list(watch.latencies_us)))
        onlooker.close()
        everything.close()
    return found


def show(found: list[tuple[str, list[int]]]) -> None:
    rows = [
        (
            name,
            len(latencies_us),
            *(f"{stage.quantile_ms(latencies_us, share):.1f}" for share in (0.5, 0.99, 1)),
        )
        for name, latencies_us in found
    ]
    stage.table(("under way", "events", "p50 ms", "p99 ms", "most ms"), rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.live")
    print(stage.machine())
    show(asyncio.run(measure(given.rounds)))
