"""What goes on, for people who look: log lines, commands, answers, and events while one looks."""

import re
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

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


class Activity:
    """Keeps the last of it, and tells `listeners`; `stamp` gives the time of day."""

    def __init__(self, stamp: Callable[[], str]) -> None:
        self._stamp = stamp
        self._kept: deque[Entry] = deque(maxlen=MAX_KEPT)
        self.listeners: dict[Hashable, Callable[[Entry], None]] = {}

    def recent(self) -> tuple[Entry, ...]:
        """Return what is kept, the oldest first."""
        return tuple(self._kept)

    def line(self, facts: Mapping[str, Any]) -> None:
        """Take a line of the log."""
        told = {name: _plain(value) for name, value in facts.items() if name != "timestamp"}
        self._tell({"kind": "log", "time": self._stamp(), **told})

    def command(self, message: Message) -> None:
        """Take a command, from wherever it came."""
        origin = "broker" if message.answered is None else "page"
        self._tell(
            {
                "kind": "command",
                "time": self._stamp(),
                "topic": message.topic[:_MOST_CHARACTERS],
                "payload": _shown(message.topic, message.payload),
                "from": origin,
            }
        )

    def answer(self, publication: Publication) -> None:
        """Take the answer to a command."""
        self._tell(
            {
                "kind": "answer",
                "time": self._stamp(),
                "topic": publication.topic[:_MOST_CHARACTERS],
                "payload": _shown(publication.topic, publication.payload),
            }
        )

    def values(self, service: str, changes: Sequence[Change]) -> None:
        """Take the values of a service, by its id, that have changed."""
        told: dict[str, object] = {}
        for key, _, new in islice(changes, _MOST_VALUES):
            place = "/".join(part for part in (key.name, key.instance, key.channel) if part)
            told[place] = _HIDDEN if _SECRET.search(key.name) else _plain(new)
        self._tell({"kind": "event", "time": self._stamp(), "service": service, "values": told})

    def _tell(self, entry: Entry) -> None:
        self._kept.append(entry)
        for listener in tuple(self.listeners.values()):
            listener(entry)


def _plain(value: object) -> object:
    if isinstance(value, int | float | bool | None):
        return value
    text = str(value)
    return text if len(text) <= _MOST_OF_A_VALUE else f"{text[:_MOST_OF_A_VALUE]}…"


def _shown(topic: str, payload: bytes) -> str:
    """Return the beginning of a payload as text, without what looks like a secret."""
    if _SECRET.search(topic):
        return _HIDDEN
    text = payload[: 2 * _MOST_CHARACTERS].decode("utf-8", "replace")
    text = _NESTED.sub(rf'\1"{_HIDDEN}"', _PAIR.sub(_hidden, text))
    return text[:_MOST_CHARACTERS]


def _hidden(pair: re.Match[str]) -> str:
    return f'"{pair[1]}"{pair[2]}"{_HIDDEN}"' if _SECRET.search(pair[1]) else pair[0]
