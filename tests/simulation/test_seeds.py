"""Whatever befalls the bridge, the tree is right in the end; and what is wrong is seen."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from math import inf
from typing import Any

import pytest

from bridge.app.upkeep import Watched
from bridge.errors import CommandError
from bridge.requests.replies import Replies
from bridge.tree.difference import TreeDifference
from bridge.tree.messages import Publication
from bridge.tree.mirror import Mirror
from bridge.tree.outbox import Outbox
from bridge.upnp import soap
from bridge.upnp.gena import subscriber, subscription
from bridge.upnp.gena.subscription import Subscription, Times
from tests.simulation import run, steps
from tests.simulation.world import Outcome

_AT_ONCE = 30
SEEDS = tuple(range(first, first + _AT_ONCE) for first in range(0, 300, _AT_ONCE))
MANY_SEEDS = range(300, 5000)
_COMPARED = 200
"""Of how many of these the tree of a device at least is compared with the naive one."""
_ENOUGH = range(400)
"""Seeds of which one at least sees a bridge that is wrong in one thing."""


def _told(outcome: Outcome) -> str:
    needed = "; ".join(map(str, run.shrink(outcome.seed)))
    return (
        f"python -m tests.simulation {outcome.seed}\n"
        + "\n".join(outcome.faults)
        + f"\nneeded: {needed}"
    )


def _check(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Return of how many outcomes something was counted."""
    seen: Counter[str] = Counter()
    failed = []
    for outcome in outcomes:
        seen.update(name for name, number in outcome.counts.items() if number)
        if outcome.faults:
            failed.append(outcome)
    assert not failed, "\n\n".join(map(_told, failed[:3]))
    return seen


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"from {seeds.start}")
def test_the_tree_is_right_in_the_end_and_each_command_answered_once(seeds):
    _check(map(run.run, seeds))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_thousands_of_seeds_leave_the_tree_right():
    seen = _check(run.run_all(MANY_SEEDS))
    assert seen.keys() >= steps.KINDS.keys()
    assert seen["compared"] >= _COMPARED


def test_the_seeds_hold_every_kind_of_step():
    kinds = {step.kind for seeds in SEEDS for seed in seeds for step in run.plan_of(seed)}
    assert kinds >= steps.KINDS.keys()


def test_a_seed_is_the_same_run_each_time():
    script = (
        "from tests.simulation import run\n"
        "for seed in range(12):\n"
        "    lines = []\n"
        "    run.run(seed, trace=lines.append)\n"
        "    print(len(lines), *lines, sep='\\n')"
    )
    told = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        )
        told.append(_without_chance(done.stdout))
    assert told[0] == told[1]


def _without_chance(text: str) -> list[str]:
    """Leave out what is random for security's sake, and what is measured of this process."""
    return [line for line in text.splitlines() if "/reply/" not in line and "/health" not in line]


def _twice(patch: pytest.MonkeyPatch) -> None:
    """Have each answer published twice."""
    answer = Outbox.answer

    def both(outbox: Outbox, publication: Publication, now_s: float) -> None:
        answer(outbox, publication, now_s)
        answer(outbox, publication, now_s)

    patch.setattr(Outbox, "answer", both)


def _silent(patch: pytest.MonkeyPatch) -> None:
    """Have each tenth answer forgotten."""
    answer, numbers = Replies.__call__, count()

    def most(*args: Any) -> None:
        if next(numbers) % 10:
            answer(*args)

    patch.setattr(Replies, "__call__", most)


def _again(patch: pytest.MonkeyPatch) -> None:
    """Have an action sent once more where no answer came."""
    invoke = soap.invoke

    async def stubborn(*args: Any, **options: Any) -> dict[str, str]:
        try:
            return await invoke(*args, **options)
        except CommandError:
            return await invoke(*args, **options)

    patch.setattr(soap, "invoke", stubborn)


def _late(patch: pytest.MonkeyPatch) -> None:
    """Have subscriptions renewed as if an hour were granted each time."""
    patch.setattr(subscription, "granted_s", lambda *_: 3600)


def _deaf_to_gaps(patch: pytest.MonkeyPatch) -> None:
    """Have no subscription replaced while it is renewed."""
    patch.setattr(Subscription, "_heal", lambda *_: None)
    patch.setattr(subscriber, "Times", partial(Times, renewed_for_s=inf))


def _nothing(owner: type, name: str, result: Any = None) -> Callable[[pytest.MonkeyPatch], None]:
    """Have a method do nothing."""
    return lambda patch: patch.setattr(owner, name, lambda *_, **__: result)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        (_twice, "answered more than once"),
        (_silent, "never answered"),
        (_again, "carried out 2 times"),
        (_nothing(Mirror, "mark_offline"), "is away, and b'online'"),
        (_nothing(Mirror, "forget"), "is forgotten, and"),
        (_nothing(TreeDifference, "_compare"), "wanted"),
        (_nothing(Watched, "mending", ()), "did not stay"),
        (_deaf_to_gaps, "wanted"),
        (_late, "is not subscribed to"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_bridge_that_is_wrong_in_one_thing_is_seen(wrong, seen, monkeypatch):
    wrong(monkeypatch)
    assert any(seen in fault for seed in _ENOUGH for fault in run.run(seed).faults)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_what_is_needed_for_a_fault_is_found(monkeypatch):
    monkeypatch.setattr(Mirror, "mark_offline", lambda *_: None)
    seed = next(seed for seed in _ENOUGH if run.run(seed).faults)
    needed = run.shrink(seed)
    assert 0 < len(needed) < len(run.plan_of(seed)) / 2
    assert run.run(seed, needed).faults
