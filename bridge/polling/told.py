"""Which variables the events of one service tell, and what shows that they do not."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.model.datatypes import Value
    from bridge.model.device import Key


_MOST_NAMES = 4096
"""Names are whatever a device writes: beyond these, of each kind, no more are kept."""


class ToldVariables:
    """What came by events, by the names of variables.

    A variable that answers show to differ from what the events told last is *untrue*: its events
    are not to be relied on until a later one, not a first one, tells it again.
    """

    __slots__ = ("_before", "_doubts", "_first", "_listening", "_since", "untrue")

    def __init__(self) -> None:
        self._first: set[str] | None = None
        self._since: set[str] = set()
        self._before: set[str] = set()
        self._listening: list[set[str]] = []
        self._doubts: dict[Key, Value] = {}
        self.untrue: set[str] = set()

    def take(self, keys: Iterable["Key"], names: set[str], *, whole: bool) -> None:
        """Take in what an event tells of; `whole` says that it is a first one."""
        if whole or self._first is None:
            if len(self._before) < _MOST_NAMES:
                self._before |= self._since
            self._first, self._since = names, set()
        else:
            if len(self._since) < _MOST_NAMES:
                self._since |= names
            if self.untrue:
                self.untrue -= names
        if self._doubts:
            for key in keys:
                self._doubts.pop(key, None)
        for listening in self._listening:
            listening.update(names)

    @property
    def told(self) -> set[str] | None:
        """The variables of the last first event and of those after it; None until one has come."""
        return None if self._first is None else (self._first | self._since) - self.untrue

    @property
    def proven(self) -> set[str]:
        """The variables that an event has ever told that was no first one."""
        return (self._before | self._since) - self.untrue

    def listen(self) -> set[str]:
        """Return a set that the names of all that events tell go into, until `ignore`."""
        names: set[str] = set()
        self._listening.append(names)
        return names

    def ignore(self, names: set[str]) -> None:
        """Put nothing more into a set that `listen` returned; nothing where that was done."""
        self._listening = [one for one in self._listening if one is not names]

    @contextmanager
    def listening(self) -> Iterator[set[str]]:
        """Have the names of all that events tell meanwhile."""
        names = self.listen()
        try:
            yield names
        finally:
            self.ignore(names)

    def doubt(self, key: "Key", value: "Value") -> bool:
        """Note an answer that contradicts the events; return whether it is the second in a row."""
        if self._doubts.get(key) == value:
            return True
        self._doubts[key] = value
        return False
