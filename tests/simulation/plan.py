"""A plan: what befalls the bridge, step by step, from a seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

MAX_STEPS = 60
_PAUSES_S = (0.0, 0.01, 0.2, 1.0, 3.0, 10.0, 45.0)


@dataclass(frozen=True, slots=True)
class Step:
    """Wait `pause_s`, then do it; `which` and `how` choose, `much` is from 0 to 1."""

    pause_s: float
    kind: str
    which: int
    how: int
    much: float

    def __str__(self) -> str:
        return f"+{self.pause_s:<5g} {self.kind} {self.which} {self.how} {self.much:.2f}"


def plan(seed: int, weights: Mapping[str, int]) -> tuple[Step, ...]:
    """Return the plan of a seed, made of these kinds of steps."""
    rng = Random(seed)
    kinds = rng.choices(tuple(weights), tuple(weights.values()), k=rng.randrange(5, MAX_STEPS))
    return tuple(
        Step(rng.choice(_PAUSES_S), kind, rng.randrange(1024), rng.randrange(1024), rng.random())
        for kind in kinds
    )
