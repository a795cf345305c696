"""What the bridge uses and holds over the run, and whether that is flat."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import stage
from bridge.formats.url import Address
from bridge.log import TokenBuckets
from bridge.model.didl import Item
from bridge.mqtt.reconnect import Broker
from bridge.mqtt.session import Session
from bridge.polling.told import ToldVariables
from bridge.requests.call_queue import CallQueue
from bridge.tree.outbox import Outbox
from bridge.upnp.description.fetch import Describer
from bridge.upnp.gena.subscriber import _Subscribed
from bridge.upnp.presence.tables import Tables
from bridge.upnp.presence.trust import Trust
from bridge.upnp.ssdp.message import Announcement

RSS_TOLERANCE = 0.04
RSS_SLACK_KB = 2048
COUNT_TOLERANCE = 0.15
COUNT_SLACK = 30
QUIET_TOLERANCE = 0.02
QUIET_SLACK = 8

_ANSWER_S = 120.0
_BOUNDED = (
    f"{Session.__name__}._warned",
    f"{Outbox.__name__}.",
    f"{CallQueue.__name__}.outcomes",
    f"{Broker.__name__}._warned",
    f"{Trust.__name__}._suspicious",
    f"{Tables.__name__}.reported",
    f"{TokenBuckets.__name__}._sources",
    f"{Describer.__name__}._latest",
    f"{ToldVariables.__name__}.",
    "asyncio.events.",
    "_contextvars.",
)
"""What may fill up to a stated bound, and timers, which asyncio keeps until they are due."""
_CACHED = (
    *(f"{one.__module__}.{one.__qualname__}" for one in (Item, Address, Announcement)),
    "async_upnp_client.utils.CaseInsensitiveDict",
    "multidict.",
    "ipaddress.",
    "urllib.",
    "_struct.",
    "re.",
)
"""Of these classes caches hold instances up to their bounds, those of async-upnp-client too."""
_NOT_OURS = ("builtins.", "collections.", "tracemalloc.", "weakref.", *_CACHED)
"""Of these classes instances come and go with whatever runs at the moment."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The bridge at one moment."""

    at_s: float
    rss_kb: float
    fds: int
    threads: int
    held: Mapping[str, Any]

    @property
    def tasks(self) -> int:
        return sum(self.held["tasks"].values())

    @property
    def subscriptions(self) -> int:
        name = f"{_Subscribed.__module__}.{_Subscribed.__qualname__}"
        return int(self.held["classes"].get(name, 0))

    @property
    def elements(self) -> int:
        return sum(self.held["tables"].values())

    @property
    def objects(self) -> int:
        return sum(self.held["classes"].values())


class Watch:
    """Looks at the bridge in a process that runs `benchmarks.soak.subject`."""

    def __init__(self, bridge: stage.Process) -> None:
        self._bridge = bridge
        self.samples: list[Sample] = []

    async def look(self) -> Sample:
        """Return how it is now; what is only garbage does not count."""
        proc = Path(f"/proc/{self._bridge.child.pid}")
        held = await self.ask("look")
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        return Sample(
            time.monotonic(),
            self._bridge.rss_kb,
            sum(1 for _ in (proc / "fd").iterdir()),
            int(status["Threads"]),
            held,
        )

    async def ask(self, question: str) -> Any:  # noqa: ANN401 - JSON
        child = self._bridge.child
        assert child.stdin
        assert child.stdout
        child.stdin.write(f"{question}\n".encode())
        async with asyncio.timeout(_ANSWER_S):
            return json.loads(await child.stdout.readline())


def grown(samples: Sequence[Sample]) -> Iterator[str]:
    """Tell what grows under load: the median of the last third against that of the first."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]

    def medians(of: Callable[[Sample], float]) -> tuple[float, float]:
        return median(map(of, first)), median(map(of, last))

    before, after = medians(lambda one: one.rss_kb)
    if after - before > max(before * RSS_TOLERANCE, RSS_SLACK_KB):
        yield f"RSS grows: {before / 1024:.1f} to {after / 1024:.1f} MB"
    counts: dict[str, Callable[[Sample], float]] = {
        "open files": lambda one: one.fds,
        "threads": lambda one: one.threads,
        "tasks": lambda one: one.tasks,
        "timers": lambda one: one.held["timers"],
        "subscriptions": lambda one: one.subscriptions,
    }
    names = {name for one in samples for name in one.held["tables"]}
    counts |= {name: lambda one, name=name: one.held["tables"].get(name, 0) for name in names}
    for name, of in counts.items():
        before, after = medians(of)
        if _is_unbounded(name) and after - before > max(before * COUNT_TOLERANCE, COUNT_SLACK):
            yield f"{name} grows: {before:.0f} to {after:.0f}"


def left_over(before: Sample, after: Sample) -> Iterator[str]:
    """Tell what there is more of at a quiet moment than at an earlier one with as many devices."""
    pairs = [("open files", before.fds, after.fds), ("tasks", before.tasks, after.tasks)]
    pairs.append(("threads", before.threads, after.threads))
    for kind in ("tables", "classes"):
        old, new = before.held[kind], after.held[kind]
        pairs += [(name, old.get(name, 0), count) for name, count in new.items()]
    for name, was, now in pairs:
        ours = _is_unbounded(name) and not name.startswith(_NOT_OURS)
        if ours and now - was > max(was * QUIET_TOLERANCE, QUIET_SLACK):
            yield f"{name}: {was} when quiet before, {now} now"


def _is_unbounded(name: str) -> bool:
    return not name.startswith(_BOUNDED)


def show(began_s: float, samples: Sequence[tuple[str, Sample]]) -> None:
    """Print samples as a table."""
    rows = [
        (
            name,
            f"{one.at_s - began_s:.0f}",
            f"{one.rss_kb / 1024:.1f}",
            one.fds,
            one.threads,
            one.tasks,
            one.held["timers"],
            one.subscriptions,
            one.elements,
            one.objects,
        )
        for name, one in samples
    ]
    head = (
        "when", "s", "RSS MB", "files", "threads", "tasks", "timers", "subscriptions",
        "in tables", "objects",
    )  # fmt: skip
    stage.table(head, rows)
