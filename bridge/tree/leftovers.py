"""What another instance has left at the broker that is not there any more."""

from collections.abc import Callable, Iterator, Mapping

from bridge.tree import reading
from bridge.tree.device_tree import Shape
from bridge.tree.retained import RetainedTree


class InstanceLeftovers:
    """The topics of an instance, and of the devices that its documents and its table claim.

    They are read piece by piece into `held`, whose topic filters are `pieces` and `hub_pieces`.
    """

    def __init__(self, shape: Shape, instance: str) -> None:
        self._shape = shape
        self._instance = instance
        self.held: dict[str, bytes] = {}

    @property
    def own(self) -> str:
        """The topic that the instance's own are below."""
        return self._shape.topic(f"bridge/{self._instance}")

    @property
    def says_online(self) -> bool:
        """Whether its state calls it online; of one that was killed nobody may have said more."""
        return self.held.get(f"{self.own}/state") == b"online"

    def pieces(self) -> Iterator[tuple[str, ...]]:
        """Yield the topic filters of what is there, a few devices at a time."""
        base = self._shape.base
        yield f"{base}/+", f"{self.own}/#"
        yield from reading.below(self._shape, self._named())

    def hub_pieces(self) -> Iterator[tuple[str, ...]]:
        """Yield likewise what hubs may have been told."""
        own = self._shape.own_hub_topics(self._instance)
        yield from reading.outside(self._shape, own, self._named())

    def devices(self, is_known: Callable[[str], bool]) -> dict[str, Mapping[str, bytes]]:
        """Return what stands at and below each of its devices, but for those known here."""
        retained_tree = self._holdings()
        return {
            device: retained_tree.group(device)
            for device in sorted(retained_tree.claimed)
            if not is_known(device)
        }

    def bridge(self) -> dict[str, bytes]:
        """Return what stands at its own topics, and what hubs were told of it."""
        hubs = self._shape.own_hub_topics(self._instance)
        return {
            topic: payload
            for topic, payload in self.held.items()
            if topic.startswith(f"{self.own}/") or topic in hubs
        }

    def _named(self) -> list[str]:
        """Return the ids of devices that are or may be its own, by what has been read so far."""
        retained_tree = self._holdings()
        others = {one for one, owner in retained_tree.owners.items() if owner != self._instance}
        return sorted(retained_tree.named - others)

    def _holdings(self) -> RetainedTree:
        return self._shape.retained_tree(self.held, self._instance)
