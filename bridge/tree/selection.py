"""What of the wanted tree stands under topic filters, and which filters cover a topic.

Filters are MQTT's (MQTT 5, section 4.7), of whole topics. Only what they cover is computed.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

from bridge.formats import jsontext
from bridge.model import topics
from bridge.tree import documents
from bridge.tree.device_tree import Shape
from bridge.tree.mirrored_device import LiveService, MirroredDevice

MAX_FILTER: Final = 4096
"""The most characters of a topic filter."""
MAX_LEVELS: Final = 64
"""The most levels of a topic filter."""

_MOST_REMEMBERED = 4096

_Who = TypeVar("_Who")


def read_filter(text: str) -> tuple[str, ...]:
    """Return the levels of a topic filter. Raises ValueError saying what is wrong with it."""
    if not text or len(text) > MAX_FILTER:
        raise ValueError(f"a topic filter has 1 to {MAX_FILTER} characters")
    levels = tuple(text.split("/"))
    if len(levels) > MAX_LEVELS:
        raise ValueError(f"a topic filter has {MAX_LEVELS} levels at most")
    if "\0" in text:
        raise ValueError("a topic filter has no NUL")
    for number, level in enumerate(levels, 1):
        if "#" in level and (level != "#" or number < len(levels)):
            raise ValueError("# stands alone, as the last level")
        if "+" in level and level != "+":
            raise ValueError("+ stands alone in its level")
    return levels


class _Node(Generic[_Who]):
    """Filters that have their levels up to here in common: those that end here, or with `#`."""

    __slots__ = ("all", "at", "below")

    def __init__(self) -> None:
        self.below: dict[str, _Node[_Who]] = {}
        self.at: frozenset[_Who] = frozenset()
        self.all: frozenset[_Who] = frozenset()

    def add(self, who: _Who, *, is_all: bool) -> None:
        """Have a filter that ends here be somebody's too."""
        if is_all:
            self.all |= {who}
        else:
            self.at |= {who}

    def discard(self, who: _Who, *, is_all: bool) -> None:
        """Have a filter that ends here be somebody's no more."""
        if is_all:
            self.all -= {who}
        else:
            self.at -= {who}


class Cursor(Generic[_Who]):
    """A place in the tree of topics, as filters see it."""

    __slots__ = ("_is_whole", "_nodes")

    def __init__(self, nodes: Sequence["_Node[_Who]"], *, is_whole: bool = False) -> None:
        self._nodes = nodes
        self._is_whole = is_whole or any(node.all for node in nodes)

    @property
    def covers(self) -> bool:
        """Whether a filter covers the topic at this place."""
        return self._is_whole or any(node.at for node in self._nodes)

    @property
    def is_deep(self) -> bool:
        """Whether filters may cover something below."""
        return self._is_whole or any(node.below for node in self._nodes)

    def below(self, topic: str) -> "Cursor[_Who] | None":
        """Return the place of a topic below this one; None where no filter reaches it."""
        nodes = self._nodes
        if self._is_whole:
            return self
        for level in topic.split("/"):
            found = (node.below.get(one) for node in nodes for one in (level, "+"))
            nodes = [node for node in found if node is not None]
            if any(node.all for node in nodes):
                return Cursor(nodes, is_whole=True)
        return Cursor(nodes) if nodes else None

    def reaches(self, topic: str) -> bool:
        """Return whether a filter covers a topic below this place."""
        place = self.below(topic)
        return place is not None and place.covers


class FilterIndex(Generic[_Who]):
    """Topic filters by level, each with who has it: a topic is compared with all of them at once.

    `_Who` is anything that can be a key.
    """

    def __init__(self) -> None:
        self._root: _Node[_Who] = _Node()
        self._remembered: dict[str, tuple[_Who, ...]] = {}

    @property
    def top(self) -> Cursor[_Who]:
        """The place above all topics."""
        return Cursor([self._root])

    def add(self, levels: Sequence[str], who: _Who) -> None:
        """Have a filter, by its levels, be somebody's too."""
        node = self._root
        for level in levels:
            if level == "#":
                break
            node = node.below.setdefault(level, _Node())
        node.add(who, is_all=levels[-1] == "#")
        self._remembered.clear()

    def discard(self, levels: Sequence[str], who: _Who) -> None:
        """Have a filter be somebody's no more."""
        path = [self._root]
        names = levels[:-1] if levels[-1] == "#" else levels
        for level in names:
            if level not in path[-1].below:
                return
            path.append(path[-1].below[level])
        path[-1].discard(who, is_all=levels[-1] == "#")
        for above, level, node in zip(path[-2::-1], names[::-1], path[:0:-1], strict=True):
            if node.below or node.at or node.all:
                break
            del above.below[level]
        self._remembered.clear()

    def covering(self, topic: str) -> tuple[_Who, ...]:
        """Return who has a filter that covers a topic."""
        if (known := self._remembered.get(topic)) is not None:
            return known
        nodes, found = [self._root], set(self._root.all)
        for level in topic.split("/"):
            below = (node.below.get(one) for node in nodes for one in (level, "+"))
            nodes = [node for node in below if node is not None]
            for node in nodes:
                found |= node.all
        for node in nodes:
            found |= node.at
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        known = self._remembered[topic] = tuple(found)
        return known


def selected(
    shape: Shape, mirrored: MirroredDevice, top: Cursor[_Who]
) -> Iterator[tuple[str, bytes]]:
    """Yield topic and whole payload of what a root device should have, by filters; never empty.

    Values and presence are as they are by then; between two topics devices may say anything.
    """
    base = top.below(shape.base)
    if base is None:
        return
    if mirrored.description is None:
        yield from _kept(shape, mirrored, top)
    for device in tuple(mirrored.parts):
        if (place := base.below(device)) is not None:
            yield from _of_device(shape, mirrored, device, place)
    yield from _of_players(shape, mirrored, base)
    if mirrored.online is not None:
        for topic, payload in shape.availability(mirrored):
            if top.reaches(topic):
                yield topic, payload


def _of_device(
    shape: Shape, mirrored: MirroredDevice, device: str, place: Cursor[_Who]
) -> Iterator[tuple[str, bytes]]:
    """Yield the document of a device, and all of its services."""
    part, above = mirrored.parts[device]
    if place.covers and mirrored.description is not None:
        document = documents.device_document(
            mirrored.description, part, above, bridge=shape.instance
        )
        yield shape.topic(device), document
    for service in part.services if place.is_deep else ():
        live = mirrored.services.get(topics.service_id(device, service.level))
        below = place.below(service.level)
        if live is not None and below is not None:
            yield from _of_service(shape, live, device, below)


def _kept(shape: Shape, mirrored: MirroredDevice, top: Cursor[_Who]) -> Iterator[tuple[str, bytes]]:
    """Yield what the broker remembers of a device that has not been described."""
    presence = {shape.topic(topics.availability_id(device)) for device in mirrored.devices}
    for topic, payload in tuple(mirrored.kept.items()):
        is_ours = topic.startswith(f"{shape.base}/") and topic not in presence
        if is_ours and payload and top.reaches(topic):
            yield topic, payload


def _of_service(
    shape: Shape, live: LiveService, device: str, place: Cursor[_Who]
) -> Iterator[tuple[str, bytes]]:
    below = f"{live.id}/"
    found = documents.service_documents(live.service, device, detail=shape.detail)
    has_members = place.below("variable") or place.below("action")
    for own, document in found if has_members else islice(found, 1):
        if place.covers if own == live.id else place.reaches(own.removeprefix(below)):
            yield shape.topic(own), document
    if not live.state.updated:
        return
    if place.below("value") is not None:
        for topic, payload in tuple(shape.values(live)):
            if payload and place.reaches(topic[len(shape.base) + 1 :].removeprefix(below)):
                yield topic, payload
    if shape.mode != "values" and place.reaches("state"):
        yield shape.state_topic(live), state_document(live)


def _of_players(
    shape: Shape, mirrored: MirroredDevice, base: Cursor[_Who]
) -> Iterator[tuple[str, bytes]]:
    """Yield what players are now; it is not computed where no filter covers it."""
    for one in {one.id: one for one in mirrored.players.values()}.values():
        wanted = [base.reaches(own) for own in one.topics]
        if any(wanted):
            for own, payload, is_wanted in zip(one.topics, one.shown(), wanted, strict=True):
                if payload and is_wanted:
                    yield shape.topic(own), payload


def state_document(live: LiveService) -> bytes:
    """Return the `state` document of a service as it is now; what is published is not touched."""
    return jsontext.encode(live.state.document())
