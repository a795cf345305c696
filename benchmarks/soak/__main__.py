"""Run the soak: `python -m benchmarks.soak [--minutes N] [--seed N]`; exit 1 if it has a problem.

The bridge is the program itself, in a process of its own; devices, load and faults are this one.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks import stage
from benchmarks.onlooker import retained
from benchmarks.responder import Responder
from benchmarks.soak import truth, watch
from benchmarks.soak.bus import Caller, Link, SoakBroker
from benchmarks.soak.device import SoakDevice
from benchmarks.soak.faults import Faults
from benchmarks.soak.hours import show_hours
from benchmarks.soak.load import Load, logged, measured
from benchmarks.soak.tally import Tally
from benchmarks.soak.watch import Sample, Watch

_WARM_UP = 1 / 5
_EVENTS_PER_S = 100.0
_COMMANDS_PER_S = 20.0
_VERBS_PER_S = 1.0
_SCRAPES_PER_S = 2.0
_FAULTS_PER_S = 1.5
_BUS_FAULT_EVERY_S = 40.0
"""After sessions of less than a minute the bridge leaves the broker alone for ever longer."""
_FORGET_AFTER_S = 10
_RIGHT_WITHIN_S = 150.0
"""Behind the faults: the last gap heals after a minute, the last refusal after 13 s."""
_FRESH_WITHIN_S = 30.0
_SAMPLES = 30
"""In which the third at the end is compared with the third at the beginning."""
_TREND_FROM_S = 180.0
"""In a shorter run, caches and the allocator are still filling up, and chance has its way."""
_TELL_EVERY_S = 10.0
_TOLD = 12


@asynccontextmanager
async def bridge(module: str, broker_port: int, **more: str) -> AsyncIterator[stage.Process]:
    """Run a bridge with short times."""
    settings = {
        "mqtt.url": f"mqtt://127.0.0.1:{broker_port}",
        "mqtt.keepalive": "5",
        "upnp.interfaces": "lo",
        "upnp.search_interval": "10",
        "upnp.poll_interval": "10",
        "upnp.action_timeout": "8",
        "mirror.forget_after": str(_FORGET_AFTER_S),
        "log.format": "json",
    } | {name.replace("__", "."): text for name, text in more.items()}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    async with stage.process(sys.executable, "-m", module, *flags) as running:
        yield running


class Soak:
    """One run, from an empty fleet to the verdict."""

    def __init__(self, devices: int) -> None:
        self.tally = Tally()
        self.devices = [SoakDevice(number, self.tally) for number in range(devices)]
        self.broker = SoakBroker()
        self.link = Link(self.broker)
        self.began_s = time.monotonic()
        self.load: Load
        self.faults: Faults
        self.caller: Caller
        self.watch: Watch
        self.process: stage.Process

    async def run(self, seconds: float, *, trace: bool) -> None:
        async with AsyncExitStack() as stack:
            await self.broker.start()
            stack.push_async_callback(self.broker.close)
            await stack.enter_async_context(self.link.open())
            await Responder.listen(_Present(self.devices))
            for device in self.devices:
                await device.join()
            stack.callback(self._end_devices)
            callback_port, http_port = stage.free_port(), stage.free_port()
            ports = {"upnp__callback_port": str(callback_port), "http__port": str(http_port)}
            self.process = await stack.enter_async_context(
                bridge("benchmarks.soak.subject", self.link.port, **ports)
            )
            self.watch = Watch(self.process)
            self.caller = Caller(self.broker, self.tally)
            self.caller.start()
            stack.callback(self.caller.close)
            self.load = Load(self.devices, self.caller, http_port, self.tally)
            self.faults = Faults(
                self.devices, self.process, callback_port, self.broker, self.link, self.tally
            )
            await self._carry_out(seconds, trace=trace)
            self._read_log()

    async def _carry_out(self, seconds: float, *, trace: bool) -> None:
        shown: list[tuple[str, Sample]] = []
        await self.settle("at the start")
        shown.append(("start", await self.watch.look()))
        await self.under_load(seconds * _WARM_UP)
        before = await self.settle("after the warm-up")
        if trace:
            await self.watch.ask("growth")
        shown.append(("warm, quiet", before))
        samples = await self.under_load(seconds * (1 - _WARM_UP))
        tenths = samples[_SAMPLES // 10 - 1 :: _SAMPLES // 10]
        shown += [(f"{number}/10", one) for number, one in enumerate(tenths, 1)]
        after = await self.settle("at the end", before)
        shown.append(("end, quiet", after))
        grown = [*watch.left_over(before, after)]
        if seconds >= _TREND_FROM_S:
            grown += watch.grown(samples)
        self.report(shown)
        for line in grown:
            self.tally.problem(line)
        if trace:
            print("\n".join(await self.watch.ask("growth")))
        elif grown:
            print("who holds it: run it again with --trace")
            self._show_classes(before, after)
        await self._compare_with_fresh()

    async def under_load(self, seconds: float) -> list[Sample]:
        """Let everything loose for so long; return what was seen of the bridge meanwhile."""
        began_s = time.monotonic()
        until_s = began_s + seconds
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.load.keep_telling(_EVENTS_PER_S, until_s))
            tasks.create_task(self.load.keep_calling(_COMMANDS_PER_S, until_s))
            tasks.create_task(self.load.keep_asking(_VERBS_PER_S, until_s))
            tasks.create_task(self.load.keep_scraping(_SCRAPES_PER_S, until_s))
            tasks.create_task(self.faults.keep_failing(_FAULTS_PER_S, until_s))
            tasks.create_task(
                self.faults.keep_failing_bus(
                    min(_BUS_FAULT_EVERY_S, max(8.0, seconds / 6)), until_s
                )
            )
            for number in range(1, _SAMPLES + 1):
                await asyncio.sleep(began_s + seconds * number / _SAMPLES - time.monotonic())
                samples.append(await self.watch.look())
                self.caller.settle()
        return samples

    async def settle(self, when: str, before: Sample | None = None) -> Sample:
        """Wait until all is right; what is not right in time is a problem."""
        began_s = time.monotonic()
        told_s = _TELL_EVERY_S
        self.load.tell_last()
        while True:
            await asyncio.sleep(2)
            wrong = await self._wrong()
            late = time.monotonic() > began_s + _RIGHT_WITHIN_S
            sample = await self.watch.look()
            rest = [*watch.left_over(before, sample)] if before and not wrong else []
            if late or not (wrong or rest):
                break
            if (took_s := time.monotonic() - began_s) > told_s:
                told_s += _TELL_EVERY_S
                line = (wrong + rest)[0]
                count = len(wrong + rest)
                print(f"{when}, {took_s:.0f} s: {count} not yet right: {line:.300}", flush=True)
        for line in wrong[:_TOLD]:
            self.tally.problem(f"{when}, after {_RIGHT_WITHIN_S:.0f} s of quiet: {line}")
        self.caller.settle(last=True)
        print(f"{when}: all is right after {time.monotonic() - began_s:.0f} s", flush=True)
        return sample

    async def _wrong(self) -> list[str]:
        wrong = [*truth.wrong(await retained(self.broker.port, "#"), self.devices)]
        for device in self.devices:
            held = sorted(one.service for one in device.subscriptions.values())
            if held != sorted(device.services):
                wrong.append(f"{device.udn} at {device.location} has subscriptions to {held}")
        page = await self.load.scrape()
        states = measured(page, "subscriptions")
        alive = sum(len(device.services) for device in self.devices)
        if states.get('{state="subscribed"}') != alive or sum(states.values()) != alive:
            wrong.append(f"{alive} services, and subscriptions are {states}")
        if self.caller.unanswered:
            wrong.append(f"{self.caller.unanswered} commands are not answered")
        return wrong

    async def _compare_with_fresh(self) -> None:
        """Compare the tree with that of a bridge which knows nothing of what has happened."""
        other = SoakBroker()
        await other.start()
        port = str(stage.free_port())
        try:
            own = bridge("bridge", other.port, upnp__callback_port=port, http__port="0")
            async with own as fresh_bridge:
                until_s = time.monotonic() + _FRESH_WITHIN_S
                different: list[str] = ["the fresh bridge did not come online"]
                while different and time.monotonic() < until_s:
                    if fresh_bridge.child.returncode is not None:
                        different = ["the fresh bridge ended", *fresh_bridge.warnings()]
                        break
                    await asyncio.sleep(1)
                    fresh = await retained(other.port, "#")
                    tree = await retained(self.broker.port, "#")
                    different = [*truth.different(tree, fresh, self.devices)]
        finally:
            await other.close()
        for line in different[:_TOLD]:
            self.tally.problem(line)
        print(f"{len(tree)} topics compared with the tree of a bridge started afresh", flush=True)

    def report(self, shown: list[tuple[str, Sample]]) -> None:
        print(f"\n{stage.machine()}\n\nThe bridge, {len(self.devices)} devices:\n")
        watch.show(self.began_s, shown)
        for name, counts in (
            ("operation", self.tally.loads),
            ("fault", self.tally.faults),
            ("answer", self.tally.answers),
        ):
            stage.table((name, "count"), sorted(counts.items()))
        show_hours(self.tally)

    def _show_classes(self, before: Sample, after: Sample) -> None:
        more = Counter(after.held["classes"])
        more.subtract(before.held["classes"])
        print("classes with the most new instances:", more.most_common(_TOLD))
        print("caches:", after.held["caches"])

    def _read_log(self) -> None:
        events: Counter[tuple[str, str]] = Counter()
        for line in logged(self.process.log.read_text(errors="replace")):
            level, event = str(line.get("level")), str(line.get("event"))
            if level in ("error", "critical"):
                self.tally.problem(f"the log has {line!s:.4000}")
            if level == "warning":
                events[level, event] += 1
        stage.table(("level", "log line", "count"), [(*k, n) for k, n in sorted(events.items())])
        sent = sum(self.tally.loads[one] for one in ("SetVolume", "SetVolume by its topic", "set"))
        if self.tally.loads["volumes set"] > sent:
            self.tally.problem(f"{self.tally.loads['volumes set']} volumes set by {sent} commands")

    def _end_devices(self) -> None:
        for device in self.devices:
            device.leave(byebye=True)


class _Present(Iterable[SoakDevice]):
    """The devices that are there, whenever somebody looks."""

    def __init__(self, devices: Iterable[SoakDevice]) -> None:
        self._devices = devices

    def __iter__(self) -> Iterator[SoakDevice]:
        return (device for device in self._devices if device.present)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="of load, quiet times not counted"
    )
    parser.add_argument("--devices", type=int, default=24, help="at any time")
    parser.add_argument("--seed", type=int, default=None, help="of what happens when")
    parser.add_argument("--trace", action="store_true", help="say who holds what came (slower)")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.soak")
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    random.seed(seed)
    if given.trace:
        os.environ["PYTHONTRACEMALLOC"] = "6"
    soak = Soak(given.devices)
    print(f"seed {seed}", flush=True)
    asyncio.run(soak.run(given.minutes * 60, trace=given.trace))
    problems = len(soak.tally.problems)
    print(
        f"PROBLEM: {problems} in all, seed {seed}" if problems else f"flat and right, seed {seed}"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
