"""The ledger: which topics the broker does not hold as it should, and what they should hold.

It never stores the wanted tree, which others compute; it keeps the difference only. What has been
taken from it is the connection's matter: when that is lost, the ledger is closed, and opened again
by comparing what the broker then holds.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from bridge.formats import jsontext
from bridge.model import topics
from bridge.tree.fair_queue import FairQueue

CHUNKS_TYPE = "application/vnd.upnp2mqtt.chunks+json"
"""The MQTT content type of a payload that only tells of its parts."""

NOTHING = b""
"""The payload that clears a retained topic (MQTT 5, section 3.3.1.3)."""

_MOST_CUT_UP = 5_000


class Entry(NamedTuple):
    """What a topic should hold; `content_type` only where it is not the value itself.

    Where it should hold something else right afterwards, that is `then`. `held` is what the broker
    holds as long as this is not taken, where an interim document might have to come first.
    """

    payload: bytes
    content_type: str | None = None
    then: bytes | None = None
    held: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Promise:
    """A payload that is made when its topic's turn comes; `was` and `of` are as in `Ledger.put`."""

    make: Callable[[], bytes]
    was: int
    of: str


_PROMISED = Entry(NOTHING)
"""Stands where a promise is due."""


def _no_interim_document(_topic: str, _held: bytes, _wanted: bytes) -> bytes | None:
    return None


class Ledger:
    """The topics to be published, each once and with its newest payload.

    Those of one owner (`of`, a root device's id) go out in order, and owners take turns. What is
    put `in_bulk` waits behind all else. While it is closed (no broker, or its tree not yet read)
    nothing is noted: opening it compares everything anyway. `limit` is the largest payload in
    bytes; longer ones are cut into parts.
    """

    def __init__(
        self, interim_document: Callable[[str, bytes, bytes], bytes | None] = _no_interim_document
    ) -> None:
        self._interim_document = interim_document
        self._due: FairQueue[Entry] = FairQueue()
        self._bulk: FairQueue[Entry] = FairQueue()
        self._promises: dict[str, _Promise] = {}
        self.cut_up: set[str] = set()
        """The topics whose payloads were cut since it was opened, not more than a few thousand."""
        self.limit = 0
        self.is_open = False

    def __len__(self) -> int:
        return len(self._due) + len(self._bulk)

    def __contains__(self, topic: str) -> bool:
        return topic in self._due or topic in self._bulk

    @property
    def has_live(self) -> bool:
        """Whether something waits that was not put in bulk."""
        return len(self._due) > 0

    @property
    def has_bulk(self) -> bool:
        """Whether something waits that was put in bulk."""
        return len(self._bulk) > 0

    def open(self, limit: int) -> None:
        """Begin to note differences against a broker that takes payloads up to `limit` bytes."""
        self.limit = limit
        self.is_open = True

    def close(self) -> None:
        """Forget all: the broker is gone, and what it holds is not known any more."""
        self.is_open = False
        self._due.clear()
        self._bulk.clear()
        self._promises.clear()
        self.cut_up.clear()

    def put(
        self, topic: str, payload: bytes, *, was: int = 0, of: str = "", in_bulk: bool = False
    ) -> None:
        """Note that a topic should hold this payload, in parts where it is too long.

        `was` is the length of the payload before, whose surplus parts go.
        """
        if not self.is_open:
            return
        note = self.note_in_bulk if in_bulk else self._note
        if len(payload) <= self.limit:
            note(topic, Entry(payload), of)
        else:
            for one, entry in self._cut([(topic, payload)]):
                note(one, entry, of)
        if was > self.limit:
            for number in range(self._parts(len(payload)) + 1, self._parts(was) + 1):
                note(topics.chunk_id(topic, number), Entry(NOTHING), of)

    def note_in_bulk(self, topic: str, entry: Entry, of: str, held: bytes | None = None) -> None:
        """Note in bulk what a topic should hold, already cut; `held` is what the broker holds.

        What it should hold is not noted where that waits already and is not put in bulk: it is
        newer.
        """
        if not self.is_open:
            return
        if (due := self._due.get(topic)) is not None:
            if entry.payload and (due.payload or due is _PROMISED):
                return
            held = held if due.held is None else due.held
            self._due.discard(topic)
            self._promises.pop(topic, None)
        self._note_among(self._bulk, topic, entry, of, held)

    def discard(self, of: str, *, but: Collection[str] = ()) -> frozenset[str]:
        """Forget all that waits of an owner, `but` some topics.

        Returns the topics of which it is not known then what the broker holds.
        """
        found = {*self._due.keys(of), *self._bulk.keys(of)}.difference(but)
        for topic in tuple(found):
            self._due.discard(topic)
            self._bulk.discard(topic)
            if (promise := self._promises.pop(topic, None)) is not None:
                numbers = range(1, self._parts(promise.was) + 1)
                found.update(topics.chunk_id(topic, number) for number in numbers)
        return frozenset(found)

    def put_after(self, topic: str, held: bytes, payload: bytes, *, of: str = "") -> None:
        """Note that a topic should hold this payload, said once more to who knows `held` there."""
        self.note_in_bulk(topic, Entry(payload), of, held)

    def promise(self, topic: str, make: Callable[[], bytes], *, was: int = 0, of: str = "") -> None:
        """Note that a topic should hold what `make` returns when its turn comes, never nothing.

        For what changes faster than it is taken. No interim document may be due before it.
        """
        if self.is_open and topic not in self._promises:
            self._bulk.discard(topic)
            self._due.put(topic, _PROMISED, of)
            self._promises[topic] = _Promise(make, was, of)

    def reconcile(
        self,
        held: Mapping[str, bytes],
        wanted: Mapping[str, bytes],
        *,
        of: str = "",
        in_bulk: bool = False,
    ) -> None:
        """Note what differs between what the broker holds and whole wanted payloads."""
        note = self.note_in_bulk if in_bulk else self._note
        kept = set()
        for topic, entry in self._cut(wanted.items()):
            kept.add(topic)
            old = held.get(topic)
            if old != entry.payload or topic in self:
                note(topic, entry, of, old)
        for topic, old in held.items():
            if topic not in kept:
                note(topic, Entry(NOTHING), of, old)

    def clear(self, held: Mapping[str, bytes], *, of: str = "") -> None:
        """Note that these topics should hold nothing, the upper ones before those below them."""
        for topic in sorted(held, key=lambda topic: topic.count("/")):
            self._note(topic, Entry(NOTHING), of, held[topic])
            self.postpone(topic)

    def postpone(self, topic: str) -> None:
        """Put a topic behind all others of its owner that are due, if it is due."""
        if topic in self._due:
            self._due.move_to_end(topic)

    def prefer(self, topic: str, length: int) -> None:
        """Put a topic, with a payload of so many bytes, before all others that are due."""
        parts = (topics.chunk_id(topic, number) for number in range(self._parts(length), 0, -1))
        for one in (topic, *parts):
            if one in self._due:
                self._due.move_to_front(one)

    def take(self, *, in_bulk: bool = False) -> tuple[str, Entry] | None:
        """Return the next topic to publish and what it should hold; None where all is right.

        That is of what was put `in_bulk`, or of all else.
        """
        waiting = self._bulk if in_bulk else self._due
        while (due := waiting.pop()) is not None:
            topic, entry = due
            if entry is _PROMISED:
                promise = self._promises.pop(topic)
                payload = promise.make()
                if max(len(payload), promise.was) > self.limit:
                    self.put(topic, payload, was=promise.was, of=promise.of)
                    continue
                return topic, Entry(payload)
            if entry.then is not None:
                waiting.put(topic, Entry(entry.then), "")
                waiting.move_to_front(topic)
            return due
        return None

    def cut(self, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return payloads as the broker holds them, the long ones in parts."""
        return {topic: entry.payload for topic, entry in self._cut(wanted.items())}

    def cut_one(self, topic: str, payload: bytes) -> Iterable[tuple[str, Entry]]:
        """Return what topics should hold for one to hold this; the parts before what tells of them.

        Nothing for no payload.
        """
        if 0 < len(payload) <= self.limit:
            return ((topic, Entry(payload)),)
        return tuple(self._cut([(topic, payload)]))

    def _note(self, topic: str, entry: Entry, of: str, held: bytes | None = None) -> None:
        if self.is_open:
            if self._bulk and (before := self._bulk.get(topic)) is not None:
                held = held if before.held is None else before.held
                self._bulk.discard(topic)
            self._promises.pop(topic, None)
            self._note_among(self._due, topic, entry, of, held)

    def _note_among(
        self, waiting: FairQueue[Entry], topic: str, entry: Entry, of: str, held: bytes | None
    ) -> None:
        if (due := waiting.get(topic)) is not None and due.held is not None:
            held = due.held
        if held is not None:
            first = self._interim_document(topic, held, entry.payload)
            if first is not None and len(first) <= self.limit:
                entry = Entry(first, then=entry.payload, held=held)
            elif not entry.payload:
                entry = Entry(NOTHING, held=held)
        waiting.put(topic, entry, of)
        if entry.content_type:  # the head goes behind its parts
            waiting.move_to_end(topic)

    def _parts(self, length: int) -> int:
        return -(-length // self.limit) if length > self.limit else 0

    def _cut(self, whole: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Entry]]:
        for topic, payload in whole:
            if len(payload) <= self.limit:
                if payload:
                    yield topic, Entry(payload)
                continue
            if len(self.cut_up) < _MOST_CUT_UP:
                self.cut_up.add(topic)
            count = self._parts(len(payload))
            for number in range(count):
                part = payload[number * self.limit : (number + 1) * self.limit]
                yield topics.chunk_id(topic, number + 1), Entry(part)
            head = {
                "chunks": count,
                "bytes": len(payload),
                "sha256": sha256(payload).hexdigest(),
            }
            yield topic, Entry(jsontext.encode(head), CHUNKS_TYPE)
