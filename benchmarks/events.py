"""CPU per NOTIFY and latency from NOTIFY to subscriber: the bridge beside the naive one.

All run at once, each subscribed to the same 8 devices; they are loaded in turn.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import fmean, median
from typing import Self

from benchmarks import bodies, stage
from benchmarks.counts import RECEIVED, Counts
from benchmarks.onlooker import Onlooker, retained
from benchmarks.profiled import looked_at, profiled
from benchmarks.stage import Contestant, Server

_DEVICES = 8
_DRAIN_S = 30.0
_PROFILED_S = 10.0
_LOADS: tuple[tuple[str, bodies.Kind, bool, float], ...] = (
    ("small, 200/s", "small", False, 200),
    ("LastChange, 200/s", "lastchange", False, 200),
    ("small, saturated", "small", False, 0),
    ("LastChange, saturated", "lastchange", False, 0),
    ("small, saturated, new connections", "small", True, 0),
    ("LastChange, saturated, new connections", "lastchange", True, 0),
)


@dataclass(slots=True)
class Outcome:
    """What one load came to."""

    cpu_us: float
    per_s: float
    messages: float | None
    arrived: float
    latencies_us: list[int]
    rss_kb: float


Outcomes = dict[tuple[str, str], list[Outcome]]
"""By the name of the load and that of the bridge; one for each round."""


class Watch:
    """Sees the stamped variables of one bridge arrive at a subscriber."""

    def __init__(self) -> None:
        self.latest: dict[str, str] = {}
        self.latencies_us: list[int] = []

    def take(self, topic: str, payload: bytes, was_retained: bool) -> None:  # noqa: FBT001
        if not was_retained:
            value = payload.decode()
            self.latest[topic.partition("/")[2].removesuffix("/0")] = value
            stamp = int(value.rpartition("/")[2])
            if stamp:
                self.latencies_us.append(time.monotonic_ns() // 1000 - stamp)

    async def saw_last(self, kind: bodies.Kind, last: Mapping[str, str]) -> bool:
        """Wait for the stamped values that were sent last; False where they do not come."""
        stamped = f"/{bodies.STAMPED[kind]}"
        wanted = {
            f"{key.removesuffix(stamped)}/value{stamped}": value
            for key, value in last.items()
            if key.endswith(stamped)
        }
        deadline_s = time.monotonic() + _DRAIN_S
        while any(self.latest.get(topic) != value for topic, value in wanted.items()):
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(0.01)
        return True


class Ring:
    """The fleet, the broker, and what loads the bridges through them."""

    def __init__(self, fleet: Server, broker_port: int, counts: Counts) -> None:
        self.broker_port = broker_port
        self._fleet = fleet
        self._counts = counts
        self._received = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Self]:
        async with stage.broker() as broker_port, stage.fleet(_DEVICES) as fleet:
            counts = await Counts.at(broker_port)
            yield cls(fleet, broker_port, counts)
            counts.close()

    async def settle(self) -> None:
        """Let what bridges do at first be over; it counts for no load."""
        await asyncio.sleep(1)
        self._received = (await self._counts.read())[RECEIVED]

    async def load(
        self,
        contestant: Contestant,
        watch: Watch,
        kind: bodies.Kind,
        *,
        counted: bool = True,
        **command: float,
    ) -> Outcome:
        """Load one bridge, wait until the last values have arrived, and check what is retained.

        To have the messages `counted` takes up to 2 s more, and none before may be uncounted.
        """
        running = contestant.process
        watch.latencies_us.clear()
        begin_s, begin_cpu_s = time.monotonic(), running.cpu_s
        result = await self._fleet.ask(
            {"callback": contestant.callback_port, "kind": kind, "senders": _DEVICES, **command}
        )
        if not await watch.saw_last(kind, result["last"]):
            print(f"PROBLEM: {contestant.name}: last values not seen in time after {command}")
        seconds = time.monotonic() - begin_s
        await asyncio.sleep(0.3)
        cpu_s = running.cpu_s - begin_cpu_s
        if result["failed"] or result["senders"] != _DEVICES:
            count = result["senders"]
            print(f"PROBLEM: {contestant.name}: {count} senders, {result['failed']} failed")
        await _check_retained(contestant, self.broker_port, result["last"])
        before = self._received
        if counted:
            self._received = (await self._counts.read())[RECEIVED]
        sent = result["sent"]
        return Outcome(
            cpu_s / sent * 1e6,
            sent / seconds,
            (self._received - before) / sent if counted else None,
            len(watch.latencies_us) / sent,
            list(watch.latencies_us),
            running.rss_kb,
        )


async def _check_retained(
    contestant: Contestant, broker_port: int, last: Mapping[str, str]
) -> None:
    held = await retained(broker_port, f"{contestant.base}/+/+/value/#", 0.2)
    values = {
        topic.partition("/")[2].replace("/value/", "/").removesuffix("/0"): payload.decode()
        for topic, payload in held.items()
    }
    wrong = [key for key, value in last.items() if values.get(key) != value]
    if wrong:
        key = wrong[0]
        print(
            f"PROBLEM: {contestant.name}: {len(wrong)} of {len(last)} values retained are not the "
            f"last sent, {key}: {values.get(key)!r}, not {last[key]!r}"
        )


async def measure(seconds: float, rounds: int, *, uvloop: bool = False, only: str = "") -> Outcomes:
    contestants = stage.contestants(uvloop=uvloop)
    async with AsyncExitStack() as stack:
        ring = await stack.enter_async_context(Ring.opened())
        watches = [
            await _started(stack, contestant, ring.broker_port, Watch())
            for contestant in contestants
        ]
        await ring.settle()
        before = [contestant.process.rss_kb for contestant in contestants]
        outcomes: Outcomes = defaultdict(list)
        for at in range(rounds):
            for name, kind, fresh, rate in (load for load in _LOADS if only in load[0]):
                for contestant, watch in zip(contestants, watches, strict=True):
                    one = await ring.load(
                        contestant, watch, kind,
                        counted=at == 0, seconds=seconds, fresh=fresh, rate=rate,
                    )  # fmt: skip
                    outcomes[name, contestant.name].append(one)
    told = (
        f"{contestant.name} {rss_kb / 1024:.1f}"
        for contestant, rss_kb in zip(contestants, before, strict=True)
    )
    print("RSS in MB before the first load:", ", ".join(told))
    return outcomes


async def _started(
    stack: AsyncExitStack, contestant: Contestant, broker_port: int, watch: Watch
) -> Watch:
    await stack.enter_async_context(contestant.running(broker_port))
    onlooker = await Onlooker.connect(broker_port, watch.take)
    stack.callback(onlooker.close)
    await onlooker.subscribe(
        *(f"{contestant.base}/+/+/value/{name}/#" for name in bodies.STAMPED.values())
    )
    return watch


def cpu_us(outcomes: Outcomes, load: str, who: str) -> float:
    """Return what an event of a load costs a bridge in its best round: the machine has others."""
    return min(one.cpu_us for one in outcomes[load, who])


def latency_ms(outcomes: Outcomes, load: str, who: str, share: float) -> float:
    """Return what this share of the latencies does not exceed in the median round."""
    return median(stage.quantile_ms(one.latencies_us, share) for one in outcomes[load, who])


def show(outcomes: Outcomes) -> None:
    print(f"\nNOTIFY to MQTT, QoS 1, {_DEVICES} devices:\n")
    rows = []
    for (name, who), rounds in outcomes.items():
        own_us, naive_us, floor_us = (
            cpu_us(outcomes, name, one) for one in (who, "naive", "floor")
        )
        rows.append(
            (
                name,
                who,
                f"{own_us:.0f}",
                f"{naive_us / own_us:.2f}",
                f"{own_us / floor_us:.2f}",
                f"{rounds[0].messages:.1f}",
                f"{fmean(one.per_s for one in rounds):.0f}",
                f"{100 * fmean(one.arrived for one in rounds):.0f} %",
                f"{latency_ms(outcomes, name, who, 0.5):.2f}",
                f"{latency_ms(outcomes, name, who, 0.99):.2f}",
                f"{rounds[-1].rss_kb / 1024:.1f}",
            )
        )
    head = (
        "events", "bridge", "CPU us/event", "naive/this", "this/floor", "messages/event",
        "events/s", "seen", "p50 ms", "p99 ms", "RSS MB",
    )  # fmt: skip
    stage.table(head, rows)


async def profile(kind: bodies.Kind, rate: float) -> None:
    """Load ours under cProfile, and print who takes the time."""
    with profiled() as contestant:
        async with AsyncExitStack() as stack:
            ring = await stack.enter_async_context(Ring.opened())
            watch = await _started(stack, contestant, ring.broker_port, Watch())
            await ring.settle()
            async with looked_at(contestant):
                await ring.load(contestant, watch, kind, seconds=_PROFILED_S, rate=rate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=4, help="how often each takes its turn")
    parser.add_argument("--profile", choices=bodies.SERVICE_OF, help="where ours spends its time")
    parser.add_argument("--rate", type=float, default=0, help="events per second, with --profile")
    parser.add_argument("--uvloop", action="store_true", help="the floor and ours on uvloop, too")
    parser.add_argument("--only", default="", metavar="TEXT", help="the loads named with it")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.events")
    if given.profile:
        asyncio.run(profile(given.profile, given.rate))
    else:
        print(stage.machine())
        measured = measure(given.seconds, given.rounds, uvloop=given.uvloop, only=given.only)
        show(asyncio.run(measured))
