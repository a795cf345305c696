"""Calls of an action over MQTT, GetVolume at 20 devices: CPU per call and time to the answer."""

import argparse
import asyncio
import json
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks import stage
from benchmarks.fleet import udn_of
from benchmarks.onlooker import Onlooker
from benchmarks.stage import Contestant

_DEVICES = 20


@dataclass(slots=True)
class Outcome:
    """What one load came to."""

    cpu_us: float
    per_s: float
    failed: int
    latencies_us: list[int]


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


async def main(seconds: float, rounds: int) -> None:
    contestants = [Contestant("naive", stage.NAIVE), Contestant("ours", stage.OURS)]
    outcomes: dict[tuple[int, str], list[Outcome]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        broker_port = await stack.enter_async_context(stage.broker())
        await stack.enter_async_context(stage.fleet(_DEVICES))
        callers = []
        for contestant in contestants:
            await stack.enter_async_context(contestant.running(broker_port))
            caller = Caller(contestant)
            caller.onlooker = await Onlooker.connect(broker_port, caller.take)
            await caller.onlooker.subscribe(f"{contestant.base}/+/response")
            callers.append(caller)
        await asyncio.sleep(1)
        for _ in range(rounds):
            for devices in (_DEVICES, 1):
                for contestant, caller in zip(contestants, callers, strict=True):
                    outcomes[devices, contestant.name].append(await caller.load(devices, seconds))
    rows = []
    for (devices, who), all_rounds in outcomes.items():
        cpu_us, naive_us = (
            sum(one.cpu_us for one in each) / rounds
            for each in (all_rounds, outcomes[devices, "naive"])
        )
        latencies_us = [latency for one in all_rounds for latency in one.latencies_us]
        rows.append(
            (
                devices,
                who,
                f"{cpu_us:.0f}",
                f"{naive_us / cpu_us:.2f}",
                f"{sum(one.per_s for one in all_rounds) / rounds:.0f}",
                sum(one.failed for one in all_rounds),
                stage.quantile_ms(latencies_us, 0.5),
                stage.quantile_ms(latencies_us, 0.99),
            )
        )
    print(f"\n{stage.machine()}\n\nGetVolume over MQTT, each device called one at a time:\n")
    head = (
        "devices called", "bridge", "CPU us/call", "naive/this", "calls/s", "failed",
        "p50 ms", "p99 ms",
    )  # fmt: skip
    stage.table(head, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=3, help="how often each takes its turn")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.calls")
    asyncio.run(main(given.seconds, given.rounds))
