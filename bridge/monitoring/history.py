"""How the bridge has fared in the last hour: curves for people, in memory and bounded."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import inf
from typing import Final

from bridge.monitoring.health_document import Parts, memory_mb

STEP_S: Final = 10
"""The seconds between two points."""
POINTS: Final = 360
"""The most points that are kept: an hour."""

_MOST_SERIES = 64


@dataclass(slots=True)
class _Counts:
    """What has been counted since the start, at one moment."""

    at_s: float
    events: int
    publications: int
    cpu_s: float
    calls: Mapping[str, int]
    delays: tuple[tuple[float, int], ...] = field(default=())


class History:
    """Looks at the parts of a bridge every ten seconds; `now` gives the time of day."""

    def __init__(self, parts: Parts, now: Callable[[], datetime]) -> None:
        self._parts = parts
        self._now = now
        self._before: _Counts | None = None
        self._points: deque[tuple[int, Mapping[str, float | None]]] = deque(maxlen=POINTS)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self.look(asyncio.get_running_loop().time(), time.process_time())
            await asyncio.sleep(STEP_S)

    def look(self, now_s: float, cpu_s: float) -> None:
        """Add a point, of what has gone on since the one before."""
        publishing, calls = self._parts.publishing, self._parts.calls
        counters, delays = publishing.counters, publishing.delays
        now = _Counts(
            now_s,
            counters.events,
            counters.publications,
            cpu_s,
            dict(calls.outcomes),
            tuple(delays.cumulative()),
        )
        before, self._before = self._before, now
        if before is None or now_s <= before.at_s:
            return
        step_s = now_s - before.at_s
        p50, p99 = (percentile(before.delays, now.delays, part) for part in (0.5, 0.99))
        states = self._parts.subscriptions.counts()
        point: dict[str, float | None] = {
            "events_per_s": (now.events - before.events) / step_s,
            "publications_per_s": (now.publications - before.publications) / step_s,
            "p50_ms": p50,
            "p99_ms": p99,
            "queue": publishing.mirror.waiting + len(publishing.outbox),
            "cpu": 100 * (now.cpu_s - before.cpu_s) / step_s,
            "memory_mb": memory_mb(),
            **{f"subscriptions.{state}": count for state, count in states.items()},
            **{
                f"calls.{outcome}": count - before.calls.get(outcome, 0)
                for outcome, count in now.calls.items()
            },
        }
        rounded = {name: None if one is None else round(one, 3) for name, one in point.items()}
        self._points.append((round(self._now().timestamp()), rounded))

    def document(self) -> dict[str, object]:
        """Return all points, and for each series its number at each of them, or None."""
        points = tuple(self._points)
        names = list(dict.fromkeys(name for _, point in points for name in point))[:_MOST_SERIES]
        return {
            "step_s": STEP_S,
            "points": [at for at, _ in points],
            "series": {name: [point.get(name) for _, point in points] for name in names},
        }


def percentile(
    before: Iterable[tuple[float, int]], now: Iterable[tuple[float, int]], part: float
) -> float | None:
    """Return in ms what so large a part of new durations took at most; None for no new one.

    Both are counts up to each bound in seconds; between two bounds all are taken to be even.
    """
    known = dict(before)
    counts = [(0.0, 0), *((bound, count - known.get(bound, 0)) for bound, count in now)]
    wanted = part * counts[-1][1]
    if not counts[-1][1]:
        return None
    for (low, under), (high, count) in pairwise(counts):
        if count >= wanted:
            if high == inf:
                return low * 1000
            share = (wanted - under) / (count - under) if count > under else 1.0
            return (low + (high - low) * share) * 1000
    return None
