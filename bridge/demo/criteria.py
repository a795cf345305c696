"""Find and sort objects of a content directory by the criteria of ContentDirectory:1. No I/O."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from bridge.demo.didl import Entry

SEARCHABLE: Final = ("dc:title", "dc:creator", "upnp:artist", "upnp:album", "upnp:genre")
SORTABLE: Final = ("dc:title", "upnp:artist", "upnp:album", "upnp:originalTrackNumber", "dc:date")

_Test = Callable[[Entry], bool]
_ATTRIBUTES: Final[Mapping[str, Callable[[Entry], str]]] = {
    "@id": lambda entry: entry.id,
    "@parentID": lambda entry: entry.parent,
    "@refID": lambda entry: entry.original,
}
_KNOWN: Final = {*SEARCHABLE, *SORTABLE, *_ATTRIBUTES, "upnp:class", "upnp:albumArtURI"}
_DEPTH_MAX: Final = 100
_WORD: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[()]|<=|>=|!=|[=<>*]|[^\s()"=<>!*]+)')


class InvalidCriteria(Exception):
    """A criterion of a search or a sort is not one of ContentDirectory:1, or not of this server."""


def search(entries: Iterable[Entry], criteria: str) -> list[Entry]:
    """Choose the objects that are wanted, none by two ids. InvalidCriteria if that cannot be read.

    ContentDirectory:1, section 2.5.5.
    """
    is_wanted = _Criteria(criteria).read()
    found = [entry for entry in entries if is_wanted(entry)]
    ids = {entry.id for entry in found}
    return [entry for entry in found if entry.original not in ids]


def sort(entries: Iterable[Entry], criteria: str) -> list[Entry]:
    """Sort objects, such as by `+upnp:artist,-dc:date` (ContentDirectory:1, section 2.5.4).

    Those that are equal, or all where there are no criteria, stay in their order. InvalidCriteria
    if a property cannot be sorted by.
    """
    ordered = list(entries)
    for criterion in reversed([word.strip() for word in criteria.split(",") if word.strip()]):
        direction, name = criterion[0], criterion[1:]
        if direction not in "+-" or name not in SORTABLE:
            raise InvalidCriteria(criterion)
        ordered.sort(key=lambda entry: _sort_key(entry, name), reverse=direction == "-")
    return ordered


def _sort_key(entry: Entry, name: str) -> tuple[int, str]:
    value = _read(entry, name)
    return (int(value), "") if value.isdecimal() else (0, value.casefold())


def _read(entry: Entry, name: str) -> str:
    return _ATTRIBUTES[name](entry) if name in _ATTRIBUTES else entry.properties.get(name, "")


class _Criteria:
    """Search criteria, read by recursive descent (ContentDirectory:1, section 2.5.5.1)."""

    def __init__(self, text: str) -> None:
        self._words = _WORD.findall(text)
        self._next = 0
        self._depth = 0
        if "".join(self._words) != re.sub(r'("(?:[^"\\]|\\.)*")|\s+', r"\1", text):
            raise InvalidCriteria(text)

    def read(self) -> _Test:
        """Return the test that an object passes or not."""
        if self._words == ["*"]:
            return lambda _entry: True
        wanted = self._either()
        if self._next != len(self._words):
            raise InvalidCriteria(self._words[self._next])
        return wanted

    def _either(self) -> _Test:
        tests = [self._both()]
        while self._is_next("or"):
            tests.append(self._both())
        return lambda entry: any(test(entry) for test in tests)

    def _both(self) -> _Test:
        tests = [self._one()]
        while self._is_next("and"):
            tests.append(self._one())
        return lambda entry: all(test(entry) for test in tests)

    def _one(self) -> _Test:
        if self._is_next("("):
            self._depth += 1
            if self._depth > _DEPTH_MAX:
                raise InvalidCriteria("too many brackets")
            wanted = self._either()
            if not self._is_next(")"):
                raise InvalidCriteria("a bracket is open")
            self._depth -= 1
            return wanted
        name, operator, operand = self._take(), self._take(), self._take()
        if name not in _KNOWN:
            raise InvalidCriteria(name)
        if operator == "exists" and operand in ("true", "false"):
            return lambda entry: bool(_read(entry, name)) == (operand == "true")
        if operator not in _OPERATORS or not operand.startswith('"'):
            raise InvalidCriteria(operator)
        compare, value = _OPERATORS[operator], re.sub(r"\\(.)", r"\1", operand[1:-1])
        return lambda entry: compare(_read(entry, name).casefold(), value.casefold())

    def _is_next(self, word: str) -> bool:
        if self._next < len(self._words) and self._words[self._next].lower() == word:
            self._next += 1
            return True
        return False

    def _take(self) -> str:
        if self._next == len(self._words):
            raise InvalidCriteria("it ends too early")
        self._next += 1
        word: str = self._words[self._next - 1]
        return word


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": lambda own, asked: own == asked,
    "!=": lambda own, asked: own != asked,
    "<": lambda own, asked: own < asked,
    "<=": lambda own, asked: own <= asked,
    ">": lambda own, asked: own > asked,
    ">=": lambda own, asked: own >= asked,
    "contains": lambda own, asked: asked in own,
    "doesNotContain": lambda own, asked: asked not in own,
    "startswith": lambda own, asked: own.startswith(asked),
    "derivedfrom": lambda own, asked: own == asked or own.startswith(f"{asked}."),
}
