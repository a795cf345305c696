"""How long events wait until all that they changed is handed to the broker; time is an argument."""

from collections.abc import Iterator

MAX_TIMED = 4096
"""The most events that are timed at once; while so many wait, further ones are not timed."""


class Delays:
    """The events that wait, by the time in seconds at which each came."""

    def __init__(self) -> None:
        self._waiting: list[float] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, now_s: float) -> None:
        """Note an event that has changed something."""
        if len(self._waiting) < MAX_TIMED:
            self._waiting.append(now_s)

    def end(self, now_s: float) -> Iterator[float]:
        """Yield how many seconds each has waited, now that nothing is left to be published."""
        waited, self._waiting = self._waiting, []
        for came_s in waited:
            yield now_s - came_s

    def clear(self) -> None:
        """Forget those that wait: there is no broker to be handed anything."""
        self._waiting.clear()
