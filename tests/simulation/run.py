"""Seeds, run one by one or on all cores; a plan that fails is made as short as it can be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation import steps
from tests.simulation.plan import Step, plan
from tests.simulation.world import Outcome, World

_AT_ONCE = 20
_MOST_TRIES = 400


def plan_of(seed: int) -> tuple[Step, ...]:
    """Return the plan of a seed."""
    return plan(seed, steps.weights())


def run(
    seed: int, chosen: Sequence[Step] | None = None, trace: Callable[[str], None] | None = None
) -> Outcome:
    """Run a seed's plan, or what was chosen of it."""
    world = World(seed, steps.carry_out, trace)
    return world.run(plan_of(seed) if chosen is None else chosen)


def run_all(seeds: Iterable[int], workers: int | None = None) -> Iterator[Outcome]:
    """Run seeds on all cores."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run, seeds, chunksize=_AT_ONCE)


def _kind(fault: str) -> str:
    """Return the words of a fault that would be there for another device or number too."""
    return " ".join(word for word in fault.split() if word.isalpha())[:60]


def shrink(seed: int) -> tuple[Step, ...]:
    """Return the steps of a seed that fails which are needed for it to fail.

    By taking out pieces, half of the plan at first, for as long as what is left still fails alike.
    """
    kinds = {_kind(fault) for fault in run(seed).faults}
    left = list(plan_of(seed))
    size, tries = len(left) // 2, 0
    while size and tries < _MOST_TRIES:
        at = 0
        while at < len(left) and tries < _MOST_TRIES:
            fewer = left[:at] + left[at + size :]
            tries += 1
            if kinds.intersection(map(_kind, run(seed, fewer).faults)):
                left = fewer
            else:
                at += size
        size //= 2
    return tuple(left)
