"""The start with many devices: seconds to `online`, CPU, messages, memory; then what idling costs.

Devices have four services here, 263 components: device, services, variables, actions, arguments.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import stage
from benchmarks.counts import RECEIVED, RETAINED, Counts
from benchmarks.onlooker import Onlooker, retained
from benchmarks.profiled import looked_at, profiled
from benchmarks.stage import Contestant

_MORE_SERVICES = ("ContentDirectory",)
COLD, WARM = "ours, empty broker", "ours, tree at the broker"
_SETTLE_S = 2.5
_LOOKS = 5
"""At who is there after `online`: devices that were found late are described still."""
_SEARCHED_EVERY_S = 300
_SEARCH_S = 8.0
_NO_DOCUMENTS = ("availability", "media", "response")


@dataclass(slots=True)
class Outcome:
    """What one start came to; memory is that after all has settled."""

    found: int
    online_s: float
    cpu_s: float
    messages: int
    topics: int
    rss_kb: float
    documents: int | None = None
    idle: float | None = None
    """The share of a core that idling takes, a search every 300 s included."""


_NOTHING = Outcome(0, 0, 0, 0, 0, 0)
Outcomes = dict[tuple[str, int], Outcome]
"""By the kind of the start and the number of devices."""


class Documents:
    """Counts the documents that a bridge publishes, of devices and of Home Assistant."""

    def __init__(self) -> None:
        self.count = 0
        self._retained = 0
        self._onlooker: Onlooker

    async def watch(self, broker_port: int, base: str) -> None:
        """Count from now on; return when what the broker held before has come."""
        self._onlooker = await Onlooker.connect(broker_port, self._take)
        below = ("+", "+/+", "+/+/variable/+", "+/+/action/#")
        hubs = ("homeassistant/+/+/config", "homeassistant/+/+/+/config")
        await self._onlooker.subscribe(*(f"{base}/{one}" for one in below), *hubs)
        seen = -1
        while seen != self._retained:
            seen = self._retained
            await asyncio.sleep(0.5)

    def close(self) -> None:
        self._onlooker.close()

    def _take(self, topic: str, _payload: bytes, was_retained: bool) -> None:  # noqa: FBT001
        if was_retained:
            self._retained += 1
        elif not topic.endswith(_NO_DOCUMENTS) and "/reply/" not in topic:
            self.count += 1


async def _found(contestant: Contestant, broker_port: int, size: int) -> int:
    """Wait until all devices are there, and not for ever; return how many are."""
    for _ in range(_LOOKS):
        await asyncio.sleep(_SETTLE_S)
        found = len(await retained(broker_port, f"{contestant.base}/+"))
        if found >= size:
            break
    return found


async def start(
    contestant: Contestant, broker_port: int, size: int, *, idle_s: float = 0, again: bool = False
) -> Outcome:
    """Start one bridge and end it once it has settled; `again`, over what it left at the broker."""
    counts = await Counts.at(broker_port)
    documents = Documents()
    if again:
        await documents.watch(broker_port, contestant.base)
    before = await counts.read()
    async with contestant.running(broker_port) as online_s:
        found = await _found(contestant, broker_port, size)
        cpu_s = contestant.process.cpu_s
        after = await counts.read()
        outcome = Outcome(
            found,
            online_s,
            cpu_s,
            after[RECEIVED] - before[RECEIVED],
            after[RETAINED],
            contestant.process.rss_kb,
        )
        if again:
            outcome.documents = documents.count
            documents.close()
        if idle_s:
            outcome.idle = await _idle(contestant, broker_port, idle_s)
    counts.close()
    return outcome


async def _idle(contestant: Contestant, broker_port: int, seconds: float) -> float:
    async def used(of_s: float) -> float:
        begin_s, begin_cpu_s = time.monotonic(), contestant.process.cpu_s
        await asyncio.sleep(of_s)
        return (contestant.process.cpu_s - begin_cpu_s) / (time.monotonic() - begin_s)

    await asyncio.sleep(15)  # what comes behind a start
    quiet = await used(seconds)
    onlooker = await Onlooker.connect(broker_port, lambda *_: None)
    onlooker.publish(f"{contestant.base}/bridge/main/request/search", b"{}")
    searching = await used(_SEARCH_S)
    onlooker.close()
    return quiet + max(0.0, searching - quiet) * _SEARCH_S / _SEARCHED_EVERY_S


async def measure(sizes: Sequence[int], lines: Sequence[str] = (), idle_s: float = 0) -> Outcomes:
    outcomes: Outcomes = {}
    for size in sizes:
        async with stage.fleet(size, *_MORE_SERVICES):
            async with stage.broker(*lines) as broker_port:
                naive = Contestant("naive", stage.NAIVE)
                outcomes["naive", size] = await start(naive, broker_port, size)
            async with stage.broker(*lines) as broker_port:
                ours = Contestant("ours", stage.OURS)
                outcomes[COLD, size] = await start(ours, broker_port, size)
                idles_s = idle_s if size == max(sizes) else 0
                outcomes[WARM, size] = await start(
                    ours, broker_port, size, idle_s=idles_s, again=True
                )
    return outcomes


def show(outcomes: Outcomes) -> None:
    rows = []
    for (who, size), one in outcomes.items():
        cpu_ms, kb = per_device(outcomes, who, size)
        naive_cpu_ms, naive_kb = per_device(outcomes, "naive", size)
        rows.append(
            (
                size,
                who,
                one.found,
                f"{one.online_s:.1f}",
                f"{one.cpu_s:.2f}",
                f"{cpu_ms:.1f}",
                f"{naive_cpu_ms / cpu_ms:.1f}" if cpu_ms else "",
                one.messages,
                "" if one.documents is None else one.documents,
                one.topics - outcomes.get((who, 0), _NOTHING).topics,
                f"{one.rss_kb / 1024:.1f}",
                f"{kb:.0f}",
                f"{naive_kb / kb:.1f}" if kb else "",
                "" if one.idle is None else f"{100 * one.idle:.2f}",
            )
        )
    print("\nStarts:\n")
    head = (
        "devices", "start", "found", "s to online", "CPU s", "CPU ms/device", "naive/this",
        "messages", "documents", "topics", "RSS MB", "kB/device", "naive/this", "idle %",
    )  # fmt: skip
    stage.table(head, rows)


def per_device(outcomes: Outcomes, who: str, size: int) -> tuple[float, float]:
    """Return CPU in ms and memory in kB for each device found, above what no device costs."""
    one, none = outcomes[who, size], outcomes.get((who, 0), _NOTHING)
    if not one.found:
        return 0.0, 0.0
    return 1000 * (one.cpu_s - none.cpu_s) / one.found, (one.rss_kb - none.rss_kb) / one.found


async def profile(size: int, phase: str, idle_s: float) -> None:
    """Start ours under cProfile, or let it idle, and print who takes the time."""
    async with stage.fleet(size, *_MORE_SERVICES), stage.broker() as broker_port:
        if phase == "warm":
            await start(Contestant("ours", stage.OURS), broker_port, size)
        with profiled(whole=phase != "idle") as ours:
            async with ours.running(broker_port):
                await asyncio.sleep(_SETTLE_S)
                if phase == "idle":
                    await asyncio.sleep(15)
                    async with looked_at(ours):
                        await asyncio.sleep(idle_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sizes",
        type=int,
        nargs="*",
        default=[0, 10, 100, 500, 1000],
        help="numbers of devices, 0 for what the others are compared with",
    )
    parser.add_argument(
        "--idle", type=float, default=0, metavar="SECONDS", help="let the most idle so long"
    )
    parser.add_argument(
        "--broker", action="append", default=[], metavar="LINE", help="a line for mosquitto.conf"
    )
    parser.add_argument("--profile", choices=("cold", "warm", "idle"), help="of one size, ours")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.start")
    if given.profile:
        asyncio.run(profile(given.sizes[0], given.profile, given.idle or 30))
    else:
        print(stage.machine())
        show(asyncio.run(measure(given.sizes, given.broker, given.idle)))
