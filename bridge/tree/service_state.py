"""The values of one service: what it has told of its state variables, and since when."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from bridge.formats import jsontext
from bridge.formats.xml import unescaped
from bridge.model.accessors import CHANNEL
from bridge.model.datatypes import Value
from bridge.model.device import Key
from bridge.polling.told import ToldVariables

MAX_VALUES = 4096
"""The most values of a service; events may name instances, channels and variables of their own."""
MAX_LENGTH = 2 * 1024 * 1024
"""The most characters that all texts of a service have together."""

_TITLE = re.compile(r"<(?:\w{1,16}:)?title[^>]{0,256}>([^<]*)<")


class Change(NamedTuple):
    """A value that differs now; None stands for no value."""

    key: Key
    old: Value | None
    new: Value | None


class ServiceState:
    """The values of a service by key, and when they changed last (UTC, RFC 3339).

    `heard` has which variables the service's events have told since this program started. Until
    one has come, the values are what the broker remembers, and what the service was asked for. What
    would exceed `MAX_VALUES` or `MAX_LENGTH` is left out. `moves` counts how often values came to
    stand elsewhere than before.
    """

    __slots__ = (
        "_asked",
        "_asked_for",
        "_latest",
        "_length",
        "_remembered",
        "heard",
        "moves",
        "updated",
        "values",
    )

    def __init__(self, held: Mapping[Key, Value] | None = None, updated: str = "") -> None:
        self.values: dict[Key, Value] = dict(held or {})
        self.updated = updated
        self.heard = ToldVariables()
        self.moves = 0
        self._length = sum(map(_length, self.values.values()))
        self._asked: set[Key] = set()
        self._asked_for: AbstractSet[str] = frozenset()
        self._remembered: str | None = None
        """How old what was last taken over from a broker was; None where nothing was."""
        self._latest: Sequence[Change] = ()

    @property
    def told(self) -> set[str] | None:
        """The variables that events tell: the last first event, and those after it.

        None until one has come.
        """
        return self.heard.told

    def apply(
        self,
        told: Mapping[Key, Value],
        *,
        whole: bool,
        now: str,
        asked_for: AbstractSet[str] = frozenset(),
    ) -> list[Change]:
        """Take in the values of an event and return what differs now, values that went included.

        `whole` says that the service has told of all that it sends events of, so that the rest is
        gone; but not what it was asked for, nor variables that are `asked_for` regularly and that
        the event does not speak of. What is told without the channel or InstanceID by which it was
        asked for stands in place of the answer.
        """
        if self.heard.untrue:
            told = {key: value for key, value in told.items() if not self._says_less(key, value)}
        names = {key.name for key in told}
        self.heard.take(told, names, whole=whole)
        self._asked_for = asked_for
        replaced: set[Key] = set()
        if self._asked:
            replaced = {
                key
                for key in self._asked
                if key not in told and any(other in told for other in _wider(key))
            }
            self._asked -= told.keys() | replaced
        gone: Iterable[Key] = replaced
        if whole:
            kept = told.keys() | self._asked
            spared = asked_for - names
            gone = [
                key
                for key in self.values
                if key in replaced or (key not in kept and key.name not in spared)
            ]
        return self._change(told, gone, now)

    def take_answers(
        self, told: Mapping[Key, Value], *, now: str, passing: AbstractSet[str] = frozenset()
    ) -> list[Change]:
        """Take in values that the service was asked for, and return what differs now.

        One that events tell without the channel or InstanceID of the question is that same value.
        Those of `passing` variables are as good as told by an event: the next first one that does
        not tell them clears them.
        """
        placed = {self._place(key): value for key, value in told.items()}
        self._asked |= {key for key in placed if key.name not in passing}
        return self._change(placed, (), now)

    def known(self, key: Key) -> Value | None:
        """Return the value that the service was asked for by this key, None where there is none."""
        return self.values.get(self._place(key))

    def believes(self, key: Key, value: Value) -> bool:
        """Return whether an answer counts although events tell its variable.

        It does where it says something else, and says it twice with no event of the variable in
        between; at once where only a first event told it, or told nothing.
        """
        place = self._place(key)
        known = self.values.get(place)
        if is_nothing(value) or is_alike(key.name, known, value):
            return False
        is_told = key.name in self.heard.proven and not is_nothing(known)
        if is_told and not self.heard.doubt(place, value):
            return False
        self.heard.untrue.add(key.name)
        return True

    def _says_less(self, key: Key, value: Value) -> bool:
        """Return whether an event has nothing to say of what the service is better asked for."""
        return key.name in self.heard.untrue and is_nothing(value) and key in self.values

    def _place(self, key: Key) -> Key:
        return next((one for one in (key, *_wider(key)) if one in self.values), key)

    def _change(self, told: Mapping[Key, Value], gone: Iterable[Key], now: str) -> list[Change]:
        known = self.values
        going = [Change(key, known.pop(key), None) for key in gone]
        for _, old, _ in going:
            self._length -= _length(old)
        changes = []
        moved = bool(going)
        for key, value in told.items():
            old = known.get(key)
            if old == value and type(old) is type(value):
                continue
            length = self._length - _length(old) + _length(value)
            has_room = len(known) < MAX_VALUES or old is not None
            if has_room and length <= MAX_LENGTH:
                changes.append(Change(key, old, value))
                if old is None:
                    moved = True
                    other = _other_spelling(key)
                    if other in known and other not in told:
                        going.append(Change(other, known.pop(other), None))
                        length -= _length(going[-1].old)
                        self._asked.discard(other)
                known[key] = value
                self._length = length
            elif old is not None:  # rather no value than one that is true no more
                changes.append(Change(key, known.pop(key), None))
                self._length -= _length(old)
                moved = True
        changes += going
        self.moves += moved
        if changes:
            self.updated = now
            self._latest = changes
        return changes

    def changed_last(self) -> Iterator[tuple[Key, float]]:
        """Yield the values that changed last of all, each with when, in Unix seconds."""
        with suppress(ValueError):
            changed_s = datetime.fromisoformat(self.updated).timestamp()
            yield from ((key, changed_s) for key, _, new in self._latest if new is not None)

    def remember(self, other: "ServiceState") -> None:
        """Take over what the broker holds, unless the service itself knows better.

        Once it has told all that it sends events of, that is what it is asked for regularly. Until
        then a broker that has lost what another connection brought, or is back with an older
        state, takes nothing away: only what was written since then counts before that.
        """
        if self.told is None:
            asked = {key: self.values[key] for key in self._asked}
            is_newer = self._remembered is None or other.updated > self._remembered
            if (other.values and is_newer) or not self.values.keys() - self._asked:
                self.values = dict(other.values)
                self._remembered = other.updated if other.values else self._remembered
            placed = {self._place(key): value for key, value in asked.items()}
            self.values |= placed
            self._asked = set(placed)
        else:
            missing = self._asked_for - self.told - {key.name for key in self.values}
            self.values |= {k: value for k, value in other.values.items() if k.name in missing}
        self._length = sum(map(_length, self.values.values()))
        self.moves += 1
        if _same_values(self.values, other.values):
            self.updated = other.updated

    def document(self) -> dict[str, object]:
        """Return the service's `state` document.

        A variable that came with and without a channel has its bare value under "".
        """
        plain: dict[str, Value] = {}
        instances: dict[str, dict[str, Value | dict[str, Value]]] = {}
        channelled = {(key.instance, key.name) for key in self.values if key.channel is not None}
        for key, value in self.values.items():
            if key.instance is None:
                plain[key.name] = value
                continue
            variables = instances.setdefault(key.instance, {})
            if (key.instance, key.name) in channelled:
                by_channel = variables.setdefault(key.name, {})
                assert isinstance(by_channel, dict)  # noqa: S101 - by the set above
                by_channel[key.channel or ""] = value
            else:
                variables[key.name] = value
        return {"values": plain, "instances": instances, "updated": self.updated}


def read_document(payload: bytes) -> ServiceState | None:
    """Return the state that a `state` document tells of; None for anything else."""
    try:
        document: Any = jsontext.read(payload)
        found: dict[Key, Value] = {}
        for name, value in document["values"].items():
            _put(found, Key(name), value)
        for instance, variables in document["instances"].items():
            for name, value in variables.items():
                if isinstance(value, dict):
                    for channel, one in value.items():
                        _put(found, Key(name, instance, channel or None), one)
                else:
                    _put(found, Key(name, instance), value)
        return ServiceState(found, str(document["updated"]))
    except (TypeError, KeyError, AttributeError):
        return None


def typed(
    changes: Iterable[tuple[Key, str]], readers: Mapping[str, Callable[[str], Value]]
) -> dict[Key, Value]:
    """Return changes by key, texts read by the readers of their variables (else as strings)."""
    return {key: readers.get(key.name, str)(text) for key, text in changes}


def is_nothing(value: Value | None) -> bool:
    """Return whether a device says with this that it has nothing to say (AVTransport 1.0, 2.2)."""
    return value in (None, "", "NOT_IMPLEMENTED")


def is_alike(name: str, one: Value | None, other: Value) -> bool:
    """Return whether two values of a variable mean the same: metadata by its title."""
    if not (isinstance(one, str) and isinstance(other, str)):
        return one is not None and _same(one, other)
    if name.endswith("MetaData"):
        titles = [
            _TITLE.search(unescaped(text) if "<" not in text else text) for text in (one, other)
        ]
        if titles[0] and titles[1]:
            return titles[0][1].strip() == titles[1][1].strip()
    if name.endswith("Duration"):
        return _plain_duration(one) == _plain_duration(other)
    return one == other


def _plain_duration(text: str) -> str:
    return text.strip().partition(".")[0].lstrip("0:")


def _wider(key: Key) -> Iterator[Key]:
    """Yield the keys that the same value may have, its channel or InstanceID left out."""
    if key.channel is not None:
        yield Key(key.name, key.instance)
    if key.instance is not None:
        yield Key(key.name)


def _other_spelling(key: Key) -> Key | None:
    """Return where the same value stood if it was told with the channel that means all, or without.

    Who tells it the other way from now on does not tell that one any more.
    """
    if key.instance is None or key.channel not in (None, CHANNEL):
        return None
    return Key(key.name, key.instance, CHANNEL if key.channel is None else None)


def _put(found: dict[Key, Value], key: Key, value: object) -> None:
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"no value: {value!r}")
    found[key] = value


def _length(value: Value | None) -> int:
    return len(value) if isinstance(value, str) else 0


def _same(one: Value | None, other: Value) -> bool:
    return one == other and type(one) is type(other)


def _same_values(one: Mapping[Key, Value], other: Mapping[Key, Value]) -> bool:
    return len(one) == len(other) and all(
        key in other and _same(value, other[key]) for key, value in one.items()
    )
