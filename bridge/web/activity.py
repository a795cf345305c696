"""What goes on, for people who look: log lines, commands, answers, and events while one looks."""

import re
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias

from bridge.tree.messages import Message, Publication
from bridge.tree.service_state import Change

MAX_KEPT: Final = 200
"""The most of what has gone on that is kept for those who come later."""

_MOST_CHARACTERS = 2_000
_MOST_OF_A_VALUE = 256
_MOST_VALUES = 50
_WORDS = "passw|passphrase|secret|token|credential|sharedkey|wepkey"
_SECRET = re.compile(_WORDS, re.IGNORECASE)
"""In the names of what nobody else is to see."""
_PAIR = re.compile(r'"([^"\\]{1,64})"(\s{0,8}:\s{0,8})(?:"(?:[^"\\]|\\.)*+"?|[^\s"\[\]{},]++)')
_NESTED = re.compile(
    rf'("[^"\\]{{0,64}}(?:{_WORDS})[^"\\]{{0,64}}"\s{{0,8}}:\s{{0,8}})[\[{{].*',
    re.IGNORECASE | re.DOTALL,
)
"""A secret in several parts: where it ends is not looked for, so nothing after it is told."""
_HIDDEN = "***"

Entry: TypeAlias = Mapping[str, Any]


class Clock(Protocol):
    """Has the time of day."""

    @property
    def now(self) -> Callable[[], datetime]:
        """Gives it in UTC."""

    def stamp(self, *, at: datetime) -> str:
        """Return a moment as RFC 3339 writes it."""


class Activity:
    """Keeps the last of it, and tells `listeners`.

    What nobody looks at is not written out: commands and answers are kept as they were.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[Callable[[], Entry]] = deque(maxlen=MAX_KEPT)
        self.listeners: dict[Hashable, Callable[[Entry], None]] = {}

    def recent(self) -> tuple[Entry, ...]:
        """Return what is kept, the oldest first."""
        return tuple(write() for write in self._kept)

    def line(self, facts: Mapping[str, Any]) -> None:
        """Take a line of the log."""
        told = {name: _plain(value) for name, value in facts.items() if name != "timestamp"}
        self._tell("log", told.copy)

    def command(self, message: Message) -> None:
        """Take a command, from wherever it came."""
        origin = {"from": "broker" if message.answered is None else "page"}
        self._tell(
            "command",
            partial(_sent, message.topic[:_MOST_CHARACTERS], _some(message.payload), origin),
        )

    def answer(self, publication: Publication) -> None:
        """Take the answer to a command."""
        self._tell(
            "answer",
            partial(_sent, publication.topic[:_MOST_CHARACTERS], _some(publication.payload), {}),
        )

    def values(self, service: str, changes: Sequence[Change]) -> None:
        """Take the values of a service, by its id, that have changed."""
        told: dict[str, object] = {}
        for key, _, new in islice(changes, _MOST_VALUES):
            place = "/".join(part for part in (key.name, key.instance, key.channel) if part)
            told[place] = _HIDDEN if _SECRET.search(key.name) else _plain(new)
        self._tell("event", {"service": service, "values": told}.copy)

    def _tell(self, kind: str, write: Callable[[], Entry]) -> None:
        moment = self._clock.now()

        def whole() -> Entry:
            return {"kind": kind, "time": self._clock.stamp(at=moment), **write()}

        self._kept.append(whole)
        if self.listeners:
            entry = whole()
            for listener in tuple(self.listeners.values()):
                listener(entry)


def _plain(value: object) -> object:
    if isinstance(value, int | float | bool | None):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        text = ", ".join(map(str, islice(value, _MOST_VALUES)))
    else:
        text = str(value)
    return text if len(text) <= _MOST_OF_A_VALUE else f"{text[:_MOST_OF_A_VALUE]}…"


def _some(payload: bytes) -> bytes:
    return payload[: 2 * _MOST_CHARACTERS]


def _sent(topic: str, payload: bytes, more: Entry) -> Entry:
    return {"topic": topic, "payload": _shown(topic, payload), **more}


def _shown(topic: str, payload: bytes) -> str:
    """Return the beginning of a payload as text, without what looks like a secret."""
    if _SECRET.search(topic):
        return _HIDDEN
    text = payload.decode("utf-8", "replace")
    text = _NESTED.sub(rf'\1"{_HIDDEN}"', _PAIR.sub(_hidden, text))
    return text[:_MOST_CHARACTERS]


def _hidden(pair: re.Match[str]) -> str:
    return f'"{pair[1]}"{pair[2]}"{_HIDDEN}"' if _SECRET.search(pair[1]) else pair[0]
