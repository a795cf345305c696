"""What of the wanted tree others have written over: what it should be is written again."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from bridge.formats import jsontext
from bridge.model import topics
from bridge.tree.device_tree import Shape
from bridge.tree.difference import TreeDifference
from bridge.tree.ledger import Ledger
from bridge.tree.mirrored_device import MirroredDevice
from bridge.tree.retained import is_ours
from bridge.tree.root_devices import RootDevices

_MENDED_AT_ONCE = 200
"""How many topics of one place are looked at in one piece when others have written them."""


class Repair:
    """Compares what others wrote with what should stand there.

    `passages` has the root devices, by id, whose tree is still to be published, and `own` the
    documents of the bridge itself.
    """

    def __init__(
        self,
        shape: Shape,
        ledger: Ledger,
        root_devices: RootDevices,
        passages: Mapping[str, TreeDifference],
        own: Mapping[str, bytes],
    ) -> None:
        self._shape = shape
        self._ledger = ledger
        self._root_devices = root_devices
        self._differences = passages
        self._own = own

    def mending(
        self, written: Iterable[tuple[str, bytes]]
    ) -> Iterator[list[tuple[str, bytes, bool | None]]]:
        """Write topics of ours again that do not hold what they should, by what they hold.

        Yields some at a time, each with whether it is written; None where that is not known yet,
        because its device's tree is still to be published. What a hub cleared that it was told
        stays so until the hub starts again.
        """
        places: dict[tuple[str, ...], list[tuple[str, bytes]]] = {}
        for topic, payload in written:
            places.setdefault(self._place_of(topic), []).append((topic, payload))
        told = self._by_hub_topic() if any(map(_is_hubs, places)) else {}
        for place, everything in places.items():
            for at in range(0, len(everything), _MENDED_AT_ONCE):
                some = everything[at : at + _MENDED_AT_ONCE]
                mirrored = (
                    told.get(place[0]) if _is_hubs(place) else self._root_devices.holder(place[0])
                )
                yield list(self._mend_there(mirrored, some))

    def _mend_there(
        self, mirrored: MirroredDevice | None, written: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple[str, bytes, bool | None]]:
        """Mend likewise what stands in one place, a service's or a device's."""
        near: Mapping[str, bytes] = {}
        for topic, payload in written:
            whole, is_part, number = topic.rpartition("/chunk/")
            if not (is_part and number.isdecimal()):
                whole = topic
            if whole in self._own:
                yield topic, payload, self._mend(topic, payload, whole, self._own[whole], "")
            elif mirrored is None or not self._root_devices.is_ours(mirrored):
                yield topic, payload, False
            elif mirrored.id in self._differences:
                yield topic, payload, None
            else:
                if whole not in near:
                    near = self._shape.near(mirrored, whole, self._ledger.limit)
                wanted = near.get(whole, b"")
                yield topic, payload, self._mend(topic, payload, whole, wanted, mirrored.id)

    def _mend(self, topic: str, payload: bytes, whole: str, wanted: bytes, of: str) -> bool:
        is_hubs = not topic.startswith(f"{self._shape.base}/")
        if topic in self._ledger or (is_hubs and not payload):
            return False
        own = topic[len(self._shape.base) + 1 :]
        if not wanted and not (topics.is_mirrored(own) and is_ours(own, payload)):
            return False
        entries = dict(self._ledger.cut_one(whole, wanted))
        is_wanted = topic in entries
        held = entries[topic].payload if is_wanted else b""
        if held == payload or (topic == whole and _says_same(topic, payload, wanted)):
            return False
        self._ledger.put(
            whole if is_wanted else topic, wanted if is_wanted else b"", of=of, in_bulk=True
        )
        return True

    def _place_of(self, topic: str) -> tuple[str, ...]:
        """Return device and service, by their levels, or a whole topic outside the base."""
        base = f"{self._shape.base}/"
        if not topic.startswith(base):
            return topic, ""
        return tuple(topic[len(base) :].split("/", 2)[:2])

    def _by_hub_topic(self) -> dict[str, MirroredDevice]:
        return {
            t: b
            for b in self._root_devices.mirrored_devices.values()
            for t in self._shape.hub_topics(b.id)
        }

    def auditing(self, most: int) -> Iterator[dict[str, bytes]]:
        """Yield what the broker should hold, so many topics at a time, long ones in parts."""
        for mirrored in tuple(self._root_devices.mirrored_devices.values()):
            walk = self._shape.walk(mirrored, self._ledger.limit)
            while self._root_devices.is_ours(mirrored) and mirrored.id not in self._differences:
                if not (piece := dict(islice(walk, most))):
                    break
                yield self._ledger.cut(piece)
        yield self._ledger.cut(self._own)


def _is_hubs(place: tuple[str, ...]) -> bool:
    return place[1:] == ("",)


def _says_same(topic: str, payload: bytes, wanted: bytes) -> bool:
    """Return whether two `state` documents are the same, but for when values have changed."""
    if not topic.endswith("/state"):
        return False
    one, other = jsontext.read(payload), jsontext.read(wanted)
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, "updated": None} == {**other, "updated": None}
    return False
