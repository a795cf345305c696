"""All that is known, in bounded tables that agree with each other; when things happen is not here.

What is full makes room for the new at the cost of what is worth least: strangers, LOCATIONs of
which it is not known whose they are, and devices that are offline.
"""

from math import inf

from bridge.model.topics import udn_key, udn_keys
from bridge.upnp.presence.locations import (
    DEFAULT_MAX_AGE_S,
    LocatedDevice,
    Place,
    RebootQuestion,
    RunningCheck,
)
from bridge.upnp.presence.records import Conflict

MAX_LOCATIONS = 4096
MAX_STRANGERS = 1024
MAX_LOCATIONS_PER_SOURCE = 64
MAX_DEVICES = 1024
MAX_ALTERNATIVES = 8


class Tables:
    """LOCATIONs, devices, the checks under way and the conflicts reported.

    A check may outlive the LOCATION that it is of, and then counts for nothing.
    """

    def __init__(self, *, asks: bool = False, most: int = MAX_DEVICES) -> None:
        self.asks = asks
        self._most = most
        self.places: dict[str, Place] = {}
        self.strangers: dict[str, Place] = {}
        self.by_source: dict[str, dict[str, Place]] = {}
        self.devices: dict[str, LocatedDevice] = {}
        self.by_udn: dict[str, LocatedDevice] = {}
        self.running: dict[str, RunningCheck] = {}
        self.questions: dict[str, RebootQuestion] = {}
        self.reported: dict[tuple[str, str], None] = {}

    def device_of(self, udn: str) -> LocatedDevice | None:
        """Return the root device to which a UDN without `uuid:` belongs, in any case."""
        return self.by_udn.get(udn_key(udn))

    def device_named(self, udn: str) -> LocatedDevice | None:
        """Return the root device to which a UDN belongs, in any spelling."""
        keys = udn_keys(udn)
        return next((self.by_udn[key] for key in keys if key in self.by_udn), None)

    # LOCATIONs

    def admit(self, location: str, source: str) -> Place | None:
        """Return a new LOCATION, for which the oldest stranger of its source, or of all, goes."""
        of_source = self.by_source.get(source, {})
        crowded: dict[str, Place] | None = None
        if source and len(of_source) >= MAX_LOCATIONS_PER_SOURCE:
            crowded = of_source
        elif len(self.strangers) >= MAX_STRANGERS or len(self.places) >= MAX_LOCATIONS:
            crowded = self.strangers
        if crowded is not None:
            strangers = (p for p in crowded.values() if p.owner is None and not p.pinned)
            oldest = next(strangers, None)
            if oldest is None:
                return None
            self.drop(oldest)
        place = Place(location, source)
        self.places[location] = self.strangers[location] = place
        self.by_source.setdefault(source, {})[location] = place
        return place

    def assign(self, place: Place, device: LocatedDevice | None) -> None:
        """Make a LOCATION a device's, or a stranger."""
        _detach(place)
        place.owner = device
        if device is None:
            self.strangers[place.location] = place
        else:
            self.strangers.pop(place.location, None)

    def remember(self, device: LocatedDevice, place: Place) -> None:
        """Keep a LOCATION as an alternative to a device's current one."""
        self.assign(place, device)
        device.alternatives[place.location] = place
        if len(device.alternatives) > MAX_ALTERNATIVES:
            oldest = (p for p in device.alternatives.values() if not p.pinned)
            self.drop(next(oldest, place))

    def move(self, device: LocatedDevice, place: Place) -> None:
        """Make a LOCATION a device's current one, the old one an alternative if still its own."""
        old, device.place = device.place, place
        place.boot.strikes = max(place.boot.strikes, old.boot.strikes)
        place.config.strikes = max(place.config.strikes, old.config.strikes)
        place.rival = False
        if old is not place:
            device.contested = -inf
        self.assign(place, device)
        if old is not place and old.owner is device:
            self.remember(device, old)

    def drop(self, place: Place) -> None:
        """Know nothing any more of a LOCATION that is no device's current one."""
        del self.places[place.location]
        self.strangers.pop(place.location, None)
        of_source = self.by_source[place.source]
        del of_source[place.location]
        if not of_source:
            del self.by_source[place.source]
        _detach(place)

    # Devices

    def make_room(self, now: float) -> bool:
        """Tell whether a device may be added, for which the one longest offline goes."""
        if len(self.devices) < self._most:
            return True
        offline = [device for device in self.devices.values() if device.state == "offline"]
        if not offline:
            return False
        self.forget(min(offline, key=lambda device: device.left), now)
        return True

    def welcome(self, udn: str, place: Place) -> LocatedDevice:
        """Add a device at a stranger; there must be room for it."""
        key = udn_key(udn)
        self.devices[key] = self.by_udn[key] = device = LocatedDevice(udn, place)
        self.assign(place, device)
        return device

    def rename(self, device: LocatedDevice, udn: str, keys: frozenset[str]) -> None:
        """Make UDNs a device's, in place of those of its last description; `udn` is the root's."""
        for key in device.described - keys:
            if self.by_udn.get(key) is device:
                del self.by_udn[key]
        device.udn, device.described = udn, keys
        self.by_udn.update(dict.fromkeys(keys, device))

    def forget(self, device: LocatedDevice, now: float) -> None:
        """Know nothing any more of a device; of its LOCATIONs the pinned stay, as strangers."""
        for place in (device.place, *device.alternatives.values()):
            if place.owner is not device:
                continue
            if place.pinned:
                self.assign(place, None)
                place.want(now + DEFAULT_MAX_AGE_S)
            else:
                self.drop(place)
        self.questions.pop(udn_key(device.udn), None)
        del self.devices[udn_key(device.udn)]
        for key in [key for key, other in self.by_udn.items() if other is device]:
            del self.by_udn[key]

    # Conflicts

    def report(self, udn: str, place: Place) -> tuple[Conflict, ...]:
        """Return a conflict, nothing where it was reported before."""
        reported = (udn_key(udn), place.location)
        if reported in self.reported:
            return ()
        self.reported[reported] = None
        if len(self.reported) > MAX_LOCATIONS:
            del self.reported[next(iter(self.reported))]
        return (Conflict(udn, place.location),)


def _detach(place: Place) -> None:
    owner = place.owner
    if owner is not None:
        owner.alternatives.pop(place.location, None)
        owner.duplicates = tuple(one for one in owner.duplicates if one != place.location)
