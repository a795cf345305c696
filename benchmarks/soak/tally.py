"""What was done, and what was wrong."""

from collections import Counter
from dataclasses import dataclass, field

_MAX_TOLD = 20


@dataclass
class Tally:
    """Counts by kind; `problems` are told as they come, and counted."""

    loads: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        self.problems.append(text)
        if len(self.problems) <= _MAX_TOLD:
            print(f"PROBLEM {text}", flush=True)
