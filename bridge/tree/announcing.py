"""What the broker holds already is published again, for who missed it or has just started."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

from bridge.tree.device_tree import Hub, Shape
from bridge.tree.ledger import Ledger
from bridge.tree.mirrored_device import MirroredDevice
from bridge.tree.root_devices import RootDevices

_PIECE = 32


class Announcing:
    """Puts topics in line again, in bulk; `own` has the documents of the bridge itself."""

    def __init__(
        self, shape: Shape, ledger: Ledger, root_devices: RootDevices, own: Mapping[str, bytes]
    ) -> None:
        self._shape = shape
        self._ledger = ledger
        self._root_devices = root_devices
        self._own = own

    def publish_again(self, ids: Iterable[str] | None = None) -> int:
        """Publish again these components with all below them, or all; return how many topics.

        Hubs are told of root devices again too. A device may be named in any spelling of its UDN.
        Raises KeyError with the first id not known.
        """
        return sum(self.publishing_again(ids))

    def publishing_again(self, ids: Iterable[str] | None = None) -> Iterator[int]:
        """Do what `publish_again` does in pieces; yield how many topics each had."""
        if ids is None:
            for mirrored in tuple(self._root_devices.mirrored_devices.values()):
                yield from self._put_again(mirrored)
            yield self._put_all(self._own, "")
            return
        chosen = tuple(dict.fromkeys(ids))
        for one in chosen:
            self._below(one)
            yield 0
        for one in chosen:
            with suppress(KeyError):  # it may have gone in between
                mirrored, tree = self._below(one)
                yield self._put_all(tree, mirrored.id)

    def to_hubs(self) -> Iterator[int]:
        """Tell hubs of everything again, and then what they take from the tree, in pieces.

        In the end this bridge says again that it is online.
        """
        named: dict[str, set[str]] = {}
        for hub in self._shape.hubs:
            own = {topic: self._own[topic] for topic in hub.own_topics() if topic in self._own}
            named[""] = {one for payload in own.values() for one in hub.sources(payload)}
            yield self._put_all(own, "")
            for mirrored in tuple(self._root_devices.mirrored_devices.values()):
                told = self._told_to(hub, mirrored)
                found = {one for payload in told.values() for one in hub.sources(payload)}
                named.setdefault(mirrored.id, set()).update(found)
                yield self._put_all(told, mirrored.id)
        yield self._put_all(
            {t: self._own[t] for t in sorted(named.get("", ())) if t in self._own}, ""
        )
        for device, sources in named.items():
            yield from self._put_sources(device, sources)
        state = self._shape.topic(f"bridge/{self._shape.instance}/state")
        self._ledger.put(state, b"online", in_bulk=True)

    def _told_to(self, hub: Hub, mirrored: MirroredDevice) -> Mapping[str, bytes]:
        told: dict[str, bytes] = {}
        for topic in hub.topics(mirrored.id) if self._root_devices.is_ours(mirrored) else ():
            told |= self._shape.near(mirrored, topic, self._ledger.limit)
        return told

    def _put_sources(self, device: str, sources: Iterable[str]) -> Iterator[int]:
        near: Mapping[str, bytes] = {}
        for topic in sorted(sources):
            mirrored = self._root_devices.mirrored_devices.get(device)
            if mirrored is not None and mirrored.owned:
                if topic not in near:
                    near = self._shape.near(mirrored, topic, self._ledger.limit)
                if topic in near:
                    yield self._put_all({topic: near[topic]}, device)

    def _put_again(self, mirrored: MirroredDevice) -> Iterator[int]:
        walk = self._shape.walk(mirrored, self._ledger.limit)
        while self._root_devices.is_ours(mirrored) and (piece := dict(islice(walk, _PIECE))):
            yield self._put_all(piece, mirrored.id)

    def _below(self, named: str) -> tuple[MirroredDevice, Mapping[str, bytes]]:
        """Return what should be held at and below a component, and by hubs of it.

        Raises KeyError with an id that is not known.
        """
        device, *below = named.split("/")
        own = "/".join((self._root_devices.id_of(device) or device, *below))
        holder = self._root_devices.holder(own.partition("/")[0])
        if holder is None or not holder.owned:
            raise KeyError(named)
        limit = self._ledger.limit
        found = self._shape.below(holder, own, limit)
        if not found:
            raise KeyError(named)
        for topic in self._shape.hub_topics(own):
            if topic in (told := self._shape.near(holder, topic, limit)):
                found[topic] = told[topic]
        return holder, found

    def _put_all(self, tree: Mapping[str, bytes], of: str) -> int:
        for topic, payload in tree.items():
            self._ledger.put(topic, payload, of=of, in_bulk=True)
        return len(tree)
