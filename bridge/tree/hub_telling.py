"""What hubs are told of devices: when a device is new, and when its values stand elsewhere."""

from collections import deque
from collections.abc import Iterator, Mapping

from bridge.tree.device_tree import Shape
from bridge.tree.difference import UNKNOWN, TreeDifference
from bridge.tree.hub_schedule import HubSchedule
from bridge.tree.ledger import Ledger
from bridge.tree.mirrored_device import Keys, MirroredDevice
from bridge.tree.root_devices import RootDevices


class HubTelling:
    """Puts in line what hubs are to be told, device by device, when `schedule` says that it is due.

    `passages` has the root devices, by id, whose tree is still to be published.
    """

    def __init__(
        self,
        shape: Shape,
        ledger: Ledger,
        root_devices: RootDevices,
        passages: Mapping[str, TreeDifference],
    ) -> None:
        self._shape = shape
        self._ledger = ledger
        self._root_devices = root_devices
        self._differences = passages
        self.schedule = HubSchedule()
        self._introduced: list[MirroredDevice] = []
        self._telling: deque[tuple[MirroredDevice, Keys]] = deque()
        self._missed: deque[tuple[str, tuple[str, bytes]]] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether something is to be told now."""
        return bool(self._telling or self._missed)

    @property
    def is_computing(self) -> bool:
        """Whether what is told next has to be computed, which takes longer than else."""
        return bool(self._telling)

    def take_introduced(self) -> list[MirroredDevice]:
        """Return the devices that hubs have been told of for the first time, and forget them."""
        introduced, self._introduced = self._introduced, []
        return introduced

    def leave(self) -> None:
        """Tell nothing more: the bridge ends."""
        self._telling.clear()
        self._missed.clear()

    def close(self) -> None:
        """Note that there is no broker."""
        self._missed.clear()

    def walk(
        self, mirrored: MirroredDevice, difference: TreeDifference
    ) -> Iterator[tuple[str, bytes]]:
        """Yield what hubs should be told of a root device, by what the broker holds of that."""
        found = ((topic, difference.held(topic)) for topic in self._shape.hub_topics(mirrored.id))
        held = {topic: p for topic, p in found if p is not None and p != UNKNOWN}
        self._meet(mirrored, held)
        told = self._shape.told_to_hubs(mirrored, self._ledger.limit)
        for topic, payload in held.items():
            if told.get(topic) != payload:
                self.schedule.changed(topic, mirrored.id, payload)
        difference.is_past_hubs = True
        yield from told.items()

    def _meet(self, mirrored: MirroredDevice, held: Mapping[str, bytes]) -> None:
        """Keep what hubs were told of a device until it is known to be wrong.

        That is when its first values are there; mostly it is right already.
        """
        if mirrored.description is None:
            return
        self.note(mirrored)
        if mirrored.shown is not None:
            return
        shape = self._shape
        topics_ = (one for one in shape.hub_topics(mirrored.id) if shape.is_kept(one))
        mirrored.held_by_hubs = {topic: held[topic] for topic in topics_ if topic in held}
        if mirrored.held_by_hubs:
            mirrored.shown = mirrored.keys()
            if shape.told_to_hubs(mirrored, self._ledger.limit) != mirrored.held_by_hubs:
                mirrored.shown = None

    def note(self, mirrored: MirroredDevice) -> None:
        """Note that hubs are to be told of a device, when that is due."""
        if self._shape.hubs:
            self.schedule.note(mirrored)

    def step(self, now_s: float) -> bool:
        """Note what hubs are to be told of one device that is due, or what they may have missed.

        Returns whether there was any.
        """
        if not self._telling:
            self._telling.extend(self.schedule.take(now_s))
            self._missed.extend(self.schedule.take_missed(now_s).items())
        if self._telling:
            self._tell(*self._telling.popleft())
        elif self._missed:
            topic, (device, held) = self._missed.popleft()
            holder = self._root_devices.mirrored_devices.get(device)
            if holder is None or holder.owned:
                told = self._shape.told_to_hubs(holder, self._ledger.limit) if holder else {}
                self._ledger.put_after(topic, held, told.get(topic, b""), of=device)
        else:
            return False
        return True

    def _tell(self, mirrored: MirroredDevice, keys: Keys) -> None:
        limit, shape = self._ledger.limit, self._shape
        if (
            self._root_devices.mirrored_devices.get(mirrored.id) is not mirrored
            or mirrored.description is None
        ):
            return
        before = shape.told_to_hubs(mirrored, limit)
        if mirrored.shown is None:
            self._introduced.append(mirrored)
        mirrored.shown, mirrored.held_by_hubs = keys, {}
        difference = self._differences.get(mirrored.id)
        if mirrored.owned and (difference is None or difference.is_past_hubs):
            after = shape.told_to_hubs(mirrored, limit)
            for topic, payload in before.items():
                if after.get(topic) != payload:
                    self.schedule.changed(topic, mirrored.id, payload)
            self._ledger.reconcile(before, after, of=mirrored.id, in_bulk=True)
            if difference is not None:
                for topic in after:
                    difference.passed(topic)
