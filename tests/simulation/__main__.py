"""`python -m tests.simulation 17` runs a seed and tells all; `0-10000` runs many."""

import sys
from collections import Counter

from tests.simulation.run import run, run_all, shrink
from tests.simulation.world import Outcome


def _tell(outcome: Outcome) -> None:
    for fault in outcome.faults:
        sys.stdout.write(f"seed {outcome.seed}: {fault}\n")


def main(wanted: str) -> int:
    first, _, last = wanted.partition("-")
    if not last:
        seed = int(first)
        outcome = run(seed)
        _tell(outcome)
        shortest = shrink(seed) if outcome.faults else None
        again = run(seed, shortest, print)
        _tell(again)
        if shortest is not None:
            sys.stdout.write("needed: " + "; ".join(map(str, shortest)) + "\n")
        return bool(outcome.faults)
    counts: Counter[str] = Counter()
    failed, slowest = [], Outcome(0, ())
    for outcome in run_all(range(int(first), int(last))):
        counts += outcome.counts
        slowest = max(slowest, outcome, key=lambda one: one.settled_s)
        if outcome.faults:
            failed.append(outcome.seed)
            _tell(outcome)
    told = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    sys.stdout.write(
        f"{told}\nslowest to be right: {slowest.settled_s:.0f} s, seed {slowest.seed}\n"
        f"{len(failed)} failed: {failed[:50]}\n"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
