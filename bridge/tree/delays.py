"""How long things take, counted for metrics; time is an argument."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

MAX_TIMED = 4096
"""The most events that are timed at once; while so many wait, further ones are not timed."""

_EVENTS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Durations:
    """How many took up to each of these bounds in seconds, and how long all took together."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound, infinity last, with how many took that long at most."""
        total = 0
        for bound_s, count in zip((*self._bounds_s, float("inf")), self._counts, strict=True):
            total += count
            yield bound_s, total


class Delays(Durations):
    """The events that wait until all that they changed is handed to the broker."""

    def __init__(self) -> None:
        super().__init__(_EVENTS_S)
        self._waiting: list[float] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, now_s: float) -> None:
        """Note an event that has changed something."""
        if len(self._waiting) < MAX_TIMED:
            self._waiting.append(now_s)

    def end(self, now_s: float) -> None:
        """Count how long each has waited, now that nothing is left to be published."""
        waited, self._waiting = self._waiting, []
        for came_s in waited:
            self.observe(now_s - came_s)

    def clear(self) -> None:
        """Forget those that wait: there is no broker to be handed anything."""
        self._waiting.clear()
