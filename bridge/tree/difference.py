"""A root device's way from what the broker holds of it to what it should hold, a step at a time.

A house of some hundred devices has tens of thousands of topics. They are computed and compared one
by one, as fast as the broker takes what differs, and the event loop goes on in between.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain

from bridge.tree.ledger import NOTHING, Entry, Ledger

UNKNOWN = b"?"
"""Stands for a payload of which it is not known what it is."""


class TreeDifference:
    """The way of root device `of`; each `step` looks at one topic, what differs is put in bulk.

    The broker holds what is `held`, in parts where that is long, and what is yielded by `before`.
    It should hold what is yielded by `wanted`, and nothing else: also of `devices`, by their ids,
    that are no part of it any more. What is put otherwise meanwhile goes before, and has to
    be `passed`. `on_long` is called before anything is put in parts.
    """

    def __init__(  # noqa: PLR0913 - all but two by name
        self,
        of: str,
        ledger: Ledger,
        *,
        held: Mapping[str, bytes] | None = None,
        before: Iterable[tuple[str, bytes]] = (),
        wanted: Iterable[tuple[str, bytes]] = (),
        devices: AbstractSet[str] = frozenset(),
        on_long: Callable[[], None] = lambda: None,
    ) -> None:
        self.of = of
        self.devices = set(devices)
        self.is_gathering = before != ()
        """Whether it is not known yet all that the broker holds."""
        self.is_past_hubs = False
        """Whether what hubs are to be told has been looked at."""
        self._ledger = ledger
        self._held = dict(held or {})
        self._before = iter(before)
        self._wanted = wanted
        self._on_long = on_long
        self._seen: dict[str, bytes] = {}
        self._passed: set[str] = set()
        self._steps = self._walk()

    def step(self) -> bool:
        """Look at the next topic; return whether there may be more."""
        return next(self._steps, False)

    def held(self, topic: str) -> bytes | None:
        """Return what the broker holds at a topic, as far as that is known by now."""
        return self._seen.get(topic, self._held.get(topic))

    def has_passed(self, topic: str) -> bool:
        """Return whether a topic has been looked at, or was put otherwise."""
        return topic in self._passed or topic in self._seen

    def passed(self, topic: str, payload: bytes = NOTHING) -> None:
        """Note that what a topic should hold, whole, was put otherwise."""
        self._passed.add(topic)
        if len(payload) > self._ledger.limit:
            self._passed |= {part for part, _ in self._ledger.cut_one(topic, payload)}

    def end(self) -> Iterator[tuple[str, bytes]]:
        """Go no further; yield what the broker holds by now, where it is not known UNKNOWN."""
        self._steps.close()
        return self._all_held()

    def give_up(self, is_theirs: Callable[[str], bool]) -> dict[str, bytes]:
        """Leave topics to another root device; return what the broker holds of them."""
        while self.is_gathering and self.step():
            pass
        given = {t: held for t, held in self._all_held() if is_theirs(t)}
        for topic in given:
            self._seen[topic] = NOTHING
        return given

    def _all_held(self) -> Iterator[tuple[str, bytes]]:
        passed = self._passed
        cut = (self._ledger.cut_one(topic, payload) for topic, payload in self._before)
        before = ((topic, entry.payload) for topic, entry in chain.from_iterable(cut))
        for topic, payload in chain(self._held.items(), before):
            if topic not in self._seen and topic not in passed:
                yield topic, payload
        for topic, payload in self._seen.items():
            if payload and topic not in passed:
                yield topic, payload
        for topic in passed:
            yield topic, UNKNOWN

    def _walk(self) -> Generator[bool, None, None]:
        for topic, payload in self._before:
            for one, entry in self._ledger.cut_one(topic, payload):
                self._held[one] = entry.payload
            yield True
        self.is_gathering = False
        for topic, payload in self._wanted:
            self._compare(topic, payload)
            yield True
        for topic, payload in self._held.items():
            if topic not in self._seen and topic not in self._passed:
                self._seen[topic] = NOTHING
                self._ledger.note_in_bulk(topic, Entry(NOTHING), self.of, payload)
                yield True

    def _compare(self, topic: str, payload: bytes) -> None:
        if len(payload) > self._ledger.limit:
            self._on_long()
        is_passed = topic in self._passed
        for one, entry in self._ledger.cut_one(topic, payload):
            old = self._held.get(one)
            self._seen[one] = entry.payload
            if not is_passed and (old != entry.payload or one in self._ledger):
                self._ledger.note_in_bulk(one, entry, self.of, old)
