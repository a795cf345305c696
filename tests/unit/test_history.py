"""The curves of the last hour."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.monitoring.history import POINTS, STEP_S, History, percentile
from bridge.tree.delays import Delays


class World:
    """The parts that are looked at."""

    def __init__(self) -> None:
        self.counters = SimpleNamespace(events=0, publications=0)
        self.delays = Delays()
        self.outcomes: Counter[str] = Counter()
        self.states = {"subscribed": 2}
        self.at_s = 0.0
        publishing = SimpleNamespace(
            counters=self.counters,
            delays=self.delays,
            mirror=SimpleNamespace(waiting=3),
            outbox=[1],
        )
        parts: Any = SimpleNamespace(
            publishing=publishing,
            calls=SimpleNamespace(outcomes=self.outcomes),
            subscriptions=SimpleNamespace(counts=lambda: self.states),
        )
        self.history = History(parts, lambda: datetime.fromtimestamp(1000 + self.at_s, UTC))

    def look(self, cpu_s: float = 0.0) -> None:
        self.history.look(self.at_s, cpu_s)
        self.at_s += STEP_S


def test_a_point_is_what_went_on_since_the_one_before():
    world = World()
    world.look()
    assert world.history.document() == {"step_s": STEP_S, "points": [], "series": {}}
    world.counters.events, world.counters.publications = 50, 100
    world.outcomes["ok"] = 2
    for _ in range(100):
        world.delays.observe(0.004)
    world.look(cpu_s=1.0)
    world.outcomes["timeout"] = 1
    world.look(cpu_s=1.0)
    document = cast("dict[str, Any]", world.history.document())
    assert document["points"] == [1010, 1020]
    series = document["series"]
    assert series.pop("memory_mb")[0] > 1
    assert series == {
        "events_per_s": [5, 0],
        "publications_per_s": [10, 0],
        "p50_ms": [pytest.approx(3.75), None],
        "p99_ms": [pytest.approx(4.975), None],
        "queue": [4, 4],
        "cpu": [10, 0],
        "subscriptions.subscribed": [2, 2],
        "calls.ok": [2, 0],
        "calls.timeout": [None, 1],
    }


def test_it_is_of_an_hour_at_most():
    world = World()
    for _ in range(2 * POINTS):
        world.look()
    document = cast("dict[str, Any]", world.history.document())
    assert len(document["points"]) == POINTS
    assert timedelta(seconds=POINTS * STEP_S) == timedelta(hours=1)


def test_a_percentile_lies_between_the_bounds_of_its_count():
    before = [(1.0, 1), (2.0, 1), (inf, 1)]
    assert percentile(before, before, 0.5) is None
    assert percentile(before, [(1.0, 1), (2.0, 11), (inf, 11)], 0.5) == 1500
    assert percentile(before, [(1.0, 1), (2.0, 1), (inf, 2)], 0.5) == 2000
