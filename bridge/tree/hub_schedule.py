"""When hubs are told of devices: of a new one with its first values, later of what has changed.

What a hub is told depends on where values stand. It is made anew when values stand elsewhere, not
when their texts change, and not twice within a few seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from bridge.tree.mirrored_device import Keys, MirroredDevice

FIRST_STATE_S = 5.0
"""How long a new device's first values are waited for."""
QUIET_S = 2.0
"""How long further changes are waited for, before a hub is told of one."""
GONE_S = 30.0
"""How long a value must be gone for a hub to be told: a device that starts tells it again."""
NEWBORN_S = 60.0
"""How long after its start a hub may miss that what it was told has changed."""

_LOOK_S = 0.2
_QUICK_LOOKS = 32
"""So often a new device is looked at with each of its first values, and then every `_LOOK_S`."""
_LONGEST_PAUSE_S = 600.0


@dataclass(slots=True, eq=False)
class _Device:
    """A device, and when it is to be looked at next; `told_s` is when hubs were told of it."""

    mirrored: MirroredDevice
    since_s: float
    at_s: float = inf
    looked_s: float = -inf
    looks: int = 0
    told_s: float = -inf
    pause_s: float = QUIET_S
    gone_s: float | None = None

    def next_s(self, now_s: float) -> float:
        """Return when to look at it, since it was noted now."""
        if self.mirrored.shown is not None:
            return min(self.at_s, max(now_s + QUIET_S, self.told_s + self.pause_s))
        soon_s = now_s if self.looks < _QUICK_LOOKS else max(now_s, self.looked_s + _LOOK_S)
        return min(self.since_s + FIRST_STATE_S, soon_s)

    def look(self, now_s: float) -> Keys | None:
        """Return where values stand, if hubs are to be told of it now."""
        self.looked_s, self.at_s = now_s, inf
        self.looks += 1
        known = self.mirrored.shown
        if known is None:
            first_s = self.since_s + FIRST_STATE_S
            if now_s < first_s and not self.mirrored.has_first_state:
                self.at_s = first_s
                return None
            self.told_s = now_s
            return self.mirrored.keys()
        keys = self._with_missing(known, self.mirrored.keys(), now_s)
        if keys == known:
            return None
        is_often = now_s < self.told_s + 2 * self.pause_s
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S) if is_often else QUIET_S
        self.told_s = now_s
        return keys

    def _with_missing(self, known: Keys, keys: Keys, now_s: float) -> Keys:
        """Return these keys with the known ones of variables that are gone only since just now."""
        missing = {}
        for service, each in known.items():
            here = keys.get(service, frozenset())
            names = {key.name for key in here}
            if lacking := {key for key in each if key.name not in names}:
                missing[service] = here | lacking
        if not missing:
            self.gone_s = None
            return keys
        self.gone_s = now_s if self.gone_s is None else self.gone_s
        if now_s >= self.gone_s + GONE_S:
            self.gone_s = None
            return keys
        self.at_s = self.gone_s + GONE_S
        return {**keys, **missing}


class HubSchedule:
    """The devices that hubs are to be told of, and when; times are of one monotonic clock."""

    def __init__(self) -> None:
        self._noted: dict[str, MirroredDevice] = {}
        self._devices: dict[str, _Device] = {}
        self._heap: list[tuple[float, str]] = []
        self._newborn_until_s = inf
        self._is_newborn = False
        self._missed: dict[str, tuple[str, bytes]] = {}

    @property
    def due_s(self) -> float | None:
        """When something is due next; None where nothing is."""
        while self._heap and not self._is_current(*self._heap[0]):
            heappop(self._heap)
        at_s = min(self._heap[0][0] if self._heap else inf, self._newborn_until_s)
        return at_s if at_s < inf else None

    def note(self, mirrored: MirroredDevice) -> None:
        """Note that a device is new, or that its values stand elsewhere than before."""
        self._noted[mirrored.id] = mirrored

    def drop(self, device: str) -> None:
        """Forget a device, by its id."""
        self._noted.pop(device, None)
        self._devices.pop(device, None)

    def take(self, now_s: float = inf) -> Iterator[tuple[MirroredDevice, Keys]]:
        """Yield devices that hubs are to be told of now, with where their values stand.

        All that were noted, where no time is given.
        """
        noted, self._noted = self._noted, {}
        if now_s == inf:
            waiting = {one.mirrored.id: one.mirrored for one in self._devices.values()} | noted
            self._devices.clear()
            yield from ((mirrored, mirrored.keys()) for mirrored in waiting.values())
            return
        for mirrored in noted.values():
            one = self._devices.get(mirrored.id)
            if one is None or one.mirrored is not mirrored:
                one = self._devices[mirrored.id] = _Device(mirrored, now_s)
            self._schedule(one, one.next_s(now_s))
        while self._heap and self._heap[0][0] <= now_s:
            at_s, device = heappop(self._heap)
            if not self._is_current(at_s, device):
                continue
            one = self._devices[device]
            keys = one.look(now_s)
            self._schedule(one, one.at_s)
            if keys is not None:
                yield one.mirrored, keys

    def _is_current(self, at_s: float, device: str) -> bool:
        one = self._devices.get(device)
        return one is not None and one.at_s == at_s

    def _schedule(self, one: _Device, at_s: float) -> None:
        one.at_s = at_s
        if at_s < inf:
            heappush(self._heap, (at_s, one.mirrored.id))

    # A hub that has just started

    def begin(self, now_s: float) -> None:
        """Note that a hub has just started: what it is told may be lost for a minute."""
        self._is_newborn = True
        self._newborn_until_s = now_s + NEWBORN_S

    def changed(self, topic: str, device: str, held: bytes) -> None:
        """Note that what a hub was told at a topic is another now, or nothing."""
        if self._is_newborn and held:
            self._missed.setdefault(topic, (device, held))

    def take_missed(self, now_s: float) -> dict[str, tuple[str, bytes]]:
        """Return what a hub may have missed, by topic: of which device, and what it knows of it."""
        if now_s < self._newborn_until_s:
            return {}
        self._is_newborn, self._newborn_until_s = False, inf
        missed, self._missed = self._missed, {}
        return missed
