"""What waits, by group: groups take turns, so that nobody waits for all that another has."""

from collections import OrderedDict
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
FIRST = "\0first"
"""The group that is served before all others, until it is empty."""


class FairQueue(Generic[_Item]):
    """Items by key, each key once; in order within their groups, one of each group at a time."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, OrderedDict[str, _Item]] = OrderedDict()
        self._group_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._group_of)

    def __contains__(self, key: str) -> bool:
        return key in self._group_of

    def get(self, key: str) -> _Item | None:
        """Return what waits under a key, None where nothing does."""
        group = self._group_of.get(key)
        return None if group is None else self._groups[group][key]

    def put(self, key: str, item: _Item, group: str) -> None:
        """Have an item wait, in the place of what waits under its key in that group, else last."""
        if self._group_of.get(key, group) != group:
            self._remove(key)
        self._group_of[key] = group
        if (items := self._groups.get(group)) is None:
            items = self._groups[group] = OrderedDict()
        items[key] = item

    def move_to_end(self, key: str) -> None:
        """Put what waits under a key behind all others of its group."""
        self._groups[self._group_of[key]].move_to_end(key)

    def move_to_front(self, key: str) -> None:
        """Put what waits under a key before everything."""
        item = self._remove(key)
        self.put(key, item, FIRST)
        self._groups[FIRST].move_to_end(key, last=False)

    def pop(self) -> tuple[str, _Item] | None:
        """Take out the first of the group whose turn it is; None where nothing waits."""
        if not self._groups:
            return None
        group = FIRST if FIRST in self._groups else next(iter(self._groups))
        items = self._groups[group]
        key, item = items.popitem(last=False)
        del self._group_of[key]
        if items:
            self._groups.move_to_end(group)
        else:
            del self._groups[group]
        return key, item

    def discard(self, key: str) -> None:
        """Have nothing wait under a key."""
        if key in self._group_of:
            self._remove(key)

    def keys(self, group: str) -> tuple[str, ...]:
        """Return under which keys something of a group waits, in order."""
        return tuple(self._groups.get(group, ()))

    def clear(self) -> None:
        """Forget everything."""
        self._groups.clear()
        self._group_of.clear()

    def _remove(self, key: str) -> _Item:
        group = self._group_of.pop(key)
        item = self._groups[group].pop(key)
        if not self._groups[group]:
            del self._groups[group]
        return item
