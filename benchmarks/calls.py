"""Calls of an action over MQTT, GetVolume at 20 devices: CPU per call and time to the answer.

What a raw POST of the same action costs is measured beside, in the way of each bridge: over a
session that keeps connections (naive), over a connection of its own (the floor and ours).
"""

import argparse
import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from benchmarks import stage
from benchmarks.fleet import udn_of
from benchmarks.onlooker import Onlooker
from benchmarks.profiled import looked_at, profiled
from benchmarks.stage import Contestant, Server

DEVICES = 20
_RAW = {"raw POST, aiohttp": "aiohttp", "raw POST, kept": "kept", "raw POST, new": "new"}
_BEYOND = {
    "naive": "raw POST, aiohttp",
    "floor": "raw POST, new",
    "ours": "raw POST, new",
    "ours, uvloop": "raw POST, new",
}
Load = Callable[[int, float], Awaitable["Outcome"]]
"""Calls so many devices for so many seconds."""


@dataclass(slots=True)
class Outcome:
    """What one load came to."""

    cpu_us: float
    per_s: float
    failed: int
    latencies_us: list[int]


Outcomes = dict[tuple[int, str], list[Outcome]]
"""By the number of devices called and who calls; one for each round."""


class Caller:
    """Calls devices of one bridge, each one at a time."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._answers: dict[int, asyncio.Future[bool]] = {}
        self._count = 0
        self.onlooker: Onlooker

    def take(self, _topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001
        answer = json.loads(payload)
        waiter = self._answers.pop(answer["callid"], None)
        if waiter and not waiter.done():
            waiter.set_result(answer["success"] and answer["out"] == {"CurrentVolume": 20})

    async def load(self, devices: int, seconds: float) -> Outcome:
        failed = 0
        latencies_us: list[int] = []
        begin_s, begin_cpu_s = time.monotonic(), self._contestant.process.cpu_s

        async def keep_calling(number: int) -> None:
            nonlocal failed
            while time.monotonic() < begin_s + seconds:
                sent_us = time.monotonic_ns() // 1000
                failed += not await self._call(udn_of(number))
                latencies_us.append(time.monotonic_ns() // 1000 - sent_us)

        async with asyncio.TaskGroup() as tasks:
            for number in range(devices):
                tasks.create_task(keep_calling(number))
        took_s = time.monotonic() - begin_s
        await asyncio.sleep(0.3)
        cpu_s = self._contestant.process.cpu_s - begin_cpu_s
        count = len(latencies_us)
        return Outcome(cpu_s / count * 1e6, count / took_s, failed, latencies_us)

    async def _call(self, udn: str) -> bool:
        self._count += 1
        callid = self._count
        self._answers[callid] = asyncio.get_running_loop().create_future()
        command = {
            "callid": callid,
            "service": "RenderingControl",
            "action": "GetVolume",
            "args": {"InstanceID": 0, "Channel": "Master"},
        }
        answer = self._answers[callid]
        self.onlooker.publish(f"{self._contestant.base}/{udn}/call", json.dumps(command).encode())
        async with asyncio.timeout(40):
            return await answer


async def post(server: Server, devices: int, seconds: float) -> Outcome:
    begin_s, begin_cpu_s = time.monotonic(), server.process.cpu_s
    told = await server.ask({"devices": devices, "seconds": seconds})
    took_s, cpu_s = time.monotonic() - begin_s, server.process.cpu_s - begin_cpu_s
    count = len(told["latencies_us"])
    return Outcome(cpu_s / count * 1e6, count / took_s, told["failed"], told["latencies_us"])


async def _caller(stack: AsyncExitStack, contestant: Contestant, broker_port: int) -> Caller:
    await stack.enter_async_context(contestant.running(broker_port))
    caller = Caller(contestant)
    caller.onlooker = await Onlooker.connect(broker_port, caller.take)
    stack.callback(caller.onlooker.close)
    await caller.onlooker.subscribe(f"{contestant.base}/+/response")
    return caller


async def measure(seconds: float, rounds: int, *, uvloop: bool = False) -> Outcomes:
    outcomes: Outcomes = defaultdict(list)
    async with AsyncExitStack() as stack:
        broker_port = await stack.enter_async_context(stage.broker())
        await stack.enter_async_context(stage.fleet(DEVICES))
        loads: dict[str, Load] = {}
        for name, how in _RAW.items():
            server = await stack.enter_async_context(stage.server("benchmarks.post", how))
            loads[name] = partial(post, server)
        for contestant in stage.contestants(uvloop=uvloop):
            if contestant.name in _BEYOND:
                caller = await _caller(stack, contestant, broker_port)
                loads[contestant.name] = caller.load
        await asyncio.sleep(1)
        for _ in range(rounds):
            for devices in (DEVICES, 1):
                for name, load in loads.items():
                    outcomes[devices, name].append(await load(devices, seconds))
    return outcomes


def beyond_us(outcomes: Outcomes, devices: int, who: str) -> float:
    """Return what a call costs a bridge beyond a raw POST in its own way."""
    return cpu_us(outcomes, devices, who) - cpu_us(outcomes, devices, _BEYOND[who])


def cpu_us(outcomes: Outcomes, devices: int, who: str) -> float:
    return min(one.cpu_us for one in outcomes[devices, who])


def show(outcomes: Outcomes) -> None:
    print("\nGetVolume over MQTT, each device called one at a time:\n")
    rows = []
    for (devices, who), rounds in outcomes.items():
        p50_ms, p99_ms = (
            median(stage.quantile_ms(one.latencies_us, share) for one in rounds)
            for share in (0.5, 0.99)
        )
        all_us = cpu_us(outcomes, devices, who)
        beyond = ("", "", "")
        if who in _BEYOND:
            own_us, naive_us, floor_us = (
                beyond_us(outcomes, devices, one) for one in (who, "naive", "floor")
            )
            beyond = (f"{own_us:.0f}", f"{own_us / naive_us:.2f}", f"{own_us / floor_us:.2f}")
        rows.append(
            (
                devices,
                who,
                f"{all_us:.0f}",
                f"{cpu_us(outcomes, devices, 'naive') / all_us:.2f}",
                *beyond,
                f"{fmean(one.per_s for one in rounds):.0f}",
                sum(one.failed for one in rounds),
                f"{p50_ms:.2f}",
                f"{p99_ms:.2f}",
            )
        )
    head = (
        "devices called", "who", "CPU us/call", "naive/this", "us beyond raw", "beyond: this/naive",
        "beyond: this/floor", "calls/s", "failed", "p50 ms", "p99 ms",
    )  # fmt: skip
    stage.table(head, rows)


async def profile(seconds: float) -> None:
    """Have ours call under cProfile, and print who takes the time."""
    with profiled() as contestant:
        async with AsyncExitStack() as stack:
            broker_port = await stack.enter_async_context(stage.broker())
            await stack.enter_async_context(stage.fleet(DEVICES))
            caller = await _caller(stack, contestant, broker_port)
            await asyncio.sleep(1)
            async with looked_at(contestant):
                await caller.load(DEVICES, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn")
    parser.add_argument("--uvloop", action="store_true", help="ours on uvloop, too")
    parser.add_argument("--profile", action="store_true", help="where ours spends its time")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.calls")
    if given.profile:
        asyncio.run(profile(given.seconds))
    else:
        print(stage.machine())
        show(asyncio.run(measure(given.seconds, given.rounds, uvloop=given.uvloop)))
