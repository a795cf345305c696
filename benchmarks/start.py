"""The start with many devices: seconds to `online`, CPU, messages, memory."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import stage
from benchmarks.onlooker import Onlooker, retained
from benchmarks.stage import Contestant

_RECEIVED = "$SYS/broker/messages/received"
_RETAINED = "$SYS/broker/retained messages/count"
_SETTLE_S = 2.5


@dataclass(slots=True)
class Outcome:
    """What one start came to; memory is that after all has settled."""

    found: int
    online_s: float
    cpu_s: float
    messages: int
    topics: int
    rss_kb: float


async def start(contestant: Contestant, broker_port: int) -> Outcome:
    """Start one bridge and end it once it has settled."""
    counted: dict[str, int] = {}

    def take(topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001
        counted[topic] = int(payload)

    onlooker = await Onlooker.connect(broker_port, take)
    await onlooker.subscribe(_RECEIVED, _RETAINED)
    await asyncio.sleep(1.5)
    before = counted[_RECEIVED]
    async with contestant.running(broker_port) as online_s:
        await asyncio.sleep(_SETTLE_S)
        outcome = Outcome(
            len(await retained(broker_port, f"{contestant.base}/+")),
            online_s,
            contestant.process.cpu_s,
            counted[_RECEIVED] - before,
            counted[_RETAINED],
            contestant.process.rss_kb,
        )
    onlooker.close()
    return outcome


async def main(sizes: Sequence[int], lines: Sequence[str]) -> None:
    outcomes: dict[tuple[str, int], Outcome] = {}
    for size in (0, *sizes):
        async with stage.fleet(size):
            async with stage.broker(*lines) as broker_port:
                naive = Contestant("naive", stage.NAIVE)
                outcomes["naive", size] = await start(naive, broker_port)
            async with stage.broker(*lines) as broker_port:
                ours = Contestant("ours", stage.OURS)
                outcomes["ours, empty broker", size] = await start(ours, broker_port)
                outcomes["ours, tree at the broker", size] = await start(ours, broker_port)
    rows = []
    for (who, size), one in outcomes.items():
        cpu_ms, kb = _per_device(outcomes, who, size)
        naive_cpu_ms, naive_kb = _per_device(outcomes, "naive", size)
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
                one.topics - outcomes[who, 0].topics,
                f"{one.rss_kb / 1024:.1f}",
                f"{kb:.0f}",
                f"{naive_kb / kb:.1f}" if kb else "",
            )
        )
    print(f"\n{stage.machine()}\n")
    head = (
        "devices", "start", "found", "s to online", "CPU s", "CPU ms/device", "naive/this",
        "messages", "topics", "RSS MB", "kB/device", "naive/this",
    )  # fmt: skip
    stage.table(head, rows)


def _per_device(
    outcomes: Mapping[tuple[str, int], Outcome], who: str, size: int
) -> tuple[float, float]:
    """Return CPU in ms and memory in kB for each device found, above what no device costs."""
    one, none = outcomes[who, size], outcomes[who, 0]
    if not one.found:
        return 0.0, 0.0
    return 1000 * (one.cpu_s - none.cpu_s) / one.found, (one.rss_kb - none.rss_kb) / one.found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[10, 100, 500], help="devices")
    parser.add_argument(
        "--broker", action="append", default=[], metavar="LINE", help="a line for mosquitto.conf"
    )
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.start")
    asyncio.run(main(given.sizes, given.broker))
