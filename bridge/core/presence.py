"""Who is there: what SSDP says against what the LOCATIONs answer (UDA 2.0, section 1).

An announcement only ever asks for a check of a LOCATION; what the checks find decides. No
sockets and no clock here: `now` is in seconds, monotonic, and whoever drives this carries out
the checks that `due` names and hands back what came of each, by `found` or `failed`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Literal
from urllib.parse import urlsplit

from bridge.core.topics import bare_udn, same_udn

MAX_LOCATIONS = 4096
MAX_STRANGERS = 1024
"""The most LOCATIONs of which it is not known whose they are."""
MAX_LOCATIONS_PER_SOURCE = 64
MAX_DEVICES = 1024
MAX_ALTERNATIVES = 8
MAX_CHECKS = 64
"""The most checks at once; 16 of them are for known devices alone."""

BEST_SCORE = 3
PROBE_TIMEOUT_S = 5.0
DESCRIBE_TIMEOUT_S = 60.0
DEFAULT_MAX_AGE_S = 300.0

_MAX_STRANGER_CHECKS = MAX_CHECKS - 16
_MAX_CLAIMS = 16
_MAX_TEXT = 1024
_LEAST_MAX_AGE_S = 5.0
_FAREWELL_S = 0.5
_SECOND_LOOK_S = 5.0
_RETRY_S = 1.0
_RETRY_UNTIL_S = 15.0
_VERDICT_S = 24.0
_TRIGGER_S = 10.0
_CONTEND_S = 60.0
_SILENCE_S = 60.0
_LOST = 2
_PAUSES_S = (0.0, 2.0, 5.0, 15.0, 60.0, 300.0, 600.0)
_IDLE_PAUSES_S = (30.0, 60.0, 120.0, 300.0, 600.0)


class Reason(StrEnum):
    """Why a device joins, or joins again; of several the one listed last counts."""

    CHANGED = "changed"
    REFRESHED = "refreshed"
    MOVED = "moved"
    REBOOTED = "rebooted"
    BACK = "back"
    FIRST = "first"


_RANK = {reason: rank for rank, reason in enumerate(Reason)}


@dataclass(frozen=True, slots=True)
class Sighting:
    """An announcement, as far as it concerns presence.

    `source` is the sender's address; `score`, 0 to 3, how well the LOCATION suits the interface
    it was heard on. A byebye needs neither `location` nor `score`.
    """

    kind: Literal["alive", "update", "byebye", "answer"]
    udn: str
    location: str | None
    source: str
    score: int = 0
    server: str | None = None
    max_age_s: float = 1800.0
    boot_id: int | None = None
    next_boot_id: int | None = None
    config_id: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A LOCATION to read: with all SCPDs where `describe`, else the description alone.

    `attempt` counts the failures before it, `timeout_s` bounds the whole.
    """

    location: str
    server: str | None
    describe: bool
    attempt: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A root device is online with the description just read."""

    udn: str
    location: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Left:
    """A root device is offline."""

    udn: str
    why: Literal["byebye", "expired", "unreachable"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A LOCATION claims a UDN that belongs to a device which is online elsewhere."""

    udn: str
    location: str


Verdict = Joined | Left | Conflict


@dataclass(frozen=True, slots=True)
class Known:
    """A known root device; `expires_s` is monotonic, and counts only while online."""

    udn: str
    state: Literal["online", "offline", "unknown"]
    location: str
    expires_s: float


@dataclass(slots=True, eq=False)
class _Place:
    """A LOCATION. It is checked at `due`; `reason` is what a description is wanted for."""

    location: str
    host: str
    source: str
    server: str | None = None
    score: int = 0
    pinned: bool = False
    owner: "_Device | None" = None
    max_age_s: float = DEFAULT_MAX_AGE_S
    expires: float = inf
    boot_id: int | None = None
    next_boot_id: int | None = None
    config_id: int | None = None
    due: float = inf
    reason: Reason | None = None
    heard: float = -inf
    looked: float = -inf
    failures: int = 0
    rival: bool = False
    claims: set[str] = field(default_factory=set)

    def want(self, when: float, reason: Reason | None = None) -> None:
        """Have it checked no later than `when`."""
        self.due = min(self.due, when)
        if reason and (self.reason is None or _RANK[reason] > _RANK[self.reason]):
            self.reason = reason

    def prove(self, now: float) -> None:
        """Take note of an answer."""
        self.failures = 0
        self.expires = max(self.expires, now + min(self.max_age_s, DEFAULT_MAX_AGE_S))

    def pause_s(self) -> float:
        return _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]


@dataclass(slots=True, eq=False)
class _Device:
    """A root device. `online` is None until the first check; `place` is its current LOCATION."""

    udn: str
    place: _Place
    online: bool | None = None
    joined: bool = False
    described: frozenset[str] = frozenset()
    aliases: set[str] = field(default_factory=set)
    fingerprint: bytes = b""
    alternatives: dict[str, _Place] = field(default_factory=dict)
    farewell: Literal["", "first", "last"] = ""
    probed: float = -inf
    redescribed: float = -inf
    left: float = -inf

    @property
    def lost(self) -> bool:
        """Tell whether its current LOCATION is given up."""
        return self.place.owner is not self or self.place.failures >= _LOST

    def trigger(self, now: float, after_s: float) -> bool:
        """Probe it soon, for an outsider's word; tell whether that is not delayed by the last."""
        when = max(now + after_s, self.probed + _TRIGGER_S)
        if when < self.place.due:
            self.place.want(when)
            self.probed = when
        return when == now + after_s


@dataclass(frozen=True, slots=True)
class _Running:
    place: _Place
    host: str
    stranger: bool
    describe: bool
    reason: Reason | None


class Presence:
    """The state of all devices that were ever announced, seeded or added."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._strangers: dict[str, _Place] = {}
        self._by_source: dict[str, dict[str, _Place]] = {}
        self._devices: dict[str, _Device] = {}
        self._by_udn: dict[str, _Device] = {}
        self._running: dict[str, _Running] = {}
        self._reported: dict[tuple[str, str], None] = {}

    @property
    def devices(self) -> tuple[Known, ...]:
        """Every known root device."""
        states: dict[bool | None, Literal["online", "offline", "unknown"]]
        states = {True: "online", False: "offline", None: "unknown"}
        return tuple(
            Known(d.udn, states[d.online], d.place.location, d.place.expires)
            for d in self._devices.values()
        )

    @property
    def pending(self) -> int:
        """How many LOCATIONs have never been checked to the end."""
        return sum(place.looked == -inf for place in self._places.values())

    def root_of(self, udn: str) -> str | None:
        """Return the UDN of the root device to which a UDN belongs, in any spelling."""
        device = self._by_udn.get(same_udn(udn))
        return device.udn if device else None

    def location_of(self, udn: str) -> str | None:
        """Return the current LOCATION of a device, None where it has lost it to another."""
        device = self._by_udn.get(same_udn(udn))
        return device.place.location if device and device.place.owner is device else None

    # What comes from outside

    def heard(self, sighting: Sighting, now: float) -> bool:
        """Take an announcement; tell whether `due` is worth asking. Cheap for a repeated one."""
        if len(sighting.udn) > _MAX_TEXT or len(sighting.location or "") > _MAX_TEXT:
            return False
        device = self._by_udn.get(same_udn(sighting.udn))
        if sighting.kind == "byebye":
            return device is not None and self._heard_byebye(device, now)
        location = sighting.location or (device.place.location if device else "")
        place = self._places.get(location)
        if sighting.kind == "update" or not location:
            if place is not None:
                place.next_boot_id = sighting.next_boot_id
            return False
        due = place.due if place else inf
        if place is None:
            place = self._admit(location, sighting.source)
            if place is None:
                return False
            place.want(now)
        if place.owner is None and device is not None and device.online:
            self._remember(device, place)
        place.score = max(place.score, sighting.score)
        place.server = sighting.server or place.server
        self._follow(place, sighting, now)
        place.heard = now
        return place.due < due

    def suspect(self, udn: str, now: float) -> None:
        """Probe a device that somebody could not reach, at most once in 10 s."""
        device = self._by_udn.get(same_udn(udn))
        if device and device.online:
            device.trigger(now, 0.0)

    def expect(self, udn: str, location: str, server: str | None, now: float) -> bool:
        """Seed a device that was there before, to be checked at once: it joins or leaves.

        Tell whether there is room for it; no where its LOCATION is known as another's.
        """
        key = same_udn(udn)
        if key in self._by_udn:
            return True
        place = self._places.get(location)
        if (place and place.owner) or not self._make_room_for_device(now):
            return False
        place = place or self._admit(location, "")
        if place is None:
            return False
        place.server, place.score = server, BEST_SCORE
        place.want(now)
        self._devices[key] = self._by_udn[key] = device = _Device(bare_udn(udn), place)
        self._give(place, device)
        return True

    def add(self, location: str, now: float, *, pinned: bool = False) -> bool:
        """Have a LOCATION described now, whosever it is; tell whether there is room for it.

        It is tried again for 300 s, and for ever where it is `pinned`.
        """
        place = self._places.get(location) or self._admit(location, "")
        if place is None:
            return False
        if place.owner is None:
            place.score = BEST_SCORE
            place.expires = now + DEFAULT_MAX_AGE_S
        place.pinned |= pinned
        place.want(now, Reason.REFRESHED)
        return True

    def forget(self, udn: str, now: float) -> None:
        """Know nothing any more of the root device to which a UDN belongs."""
        device = self._by_udn.get(same_udn(udn))
        if device is None:
            return
        for place in (device.place, *device.alternatives.values()):
            if place.owner is not device:
                continue
            if place.pinned:
                self._give(place, None)
                place.want(now + DEFAULT_MAX_AGE_S)
            else:
                self._drop(place)
        del self._devices[same_udn(device.udn)]
        for key in [k for k, d in self._by_udn.items() if d is device]:
            del self._by_udn[key]

    # The checks

    def due(self, now: float) -> tuple[Check, ...]:
        """Return the checks to start now, known devices' first; each must be answered for."""
        for place in [p for p in self._places.values() if self._is_over(p, now)]:
            self._drop(place)
        ready = [p for p in self._places.values() if self._when(p) <= now]
        ready.sort(key=lambda p: (p.owner is None, self._when(p)))
        # A host is read from once at a time, but devices of one host may be probed together.
        busy = {running.host: running.describe for running in self._running.values()}
        strangers = sum(running.stranger for running in self._running.values())
        checks: list[Check] = []
        for place in ready:
            stranger, host = place.owner is None, place.host
            most = _MAX_STRANGER_CHECKS if stranger else inf
            if len(self._running) >= MAX_CHECKS or strangers >= most:
                break
            describe = place.reason is not None or not (place.owner and place.owner.online)
            if place.location in self._running or (host in busy and (describe or busy[host])):
                continue
            busy[host] = describe
            strangers += stranger
            self._running[place.location] = _Running(place, host, stranger, describe, place.reason)
            if place.owner and place.reason in (Reason.REBOOTED, Reason.CHANGED):
                place.owner.redescribed = now
            place.due, place.reason = inf, None
            timeout_s = self._timeout_s(place, now) if describe else PROBE_TIMEOUT_S
            checks.append(Check(place.location, place.server, describe, place.failures, timeout_s))
        return tuple(checks)

    def next_deadline(self, now: float) -> float | None:
        """Return when `due` has to be asked again, if nothing else happens before."""
        whens = [self._when(p) for p in self._places.values()]
        whens += [p.expires for p in self._strangers.values() if not p.pinned]
        return min((when for when in whens if now < when < inf), default=None)

    def found(
        self, location: str, udns: Sequence[str], fingerprint: bytes, now: float
    ) -> tuple[Verdict, ...]:
        """Take what a check read: all UDNs of the description, the root's first."""
        running = self._running.pop(location)
        place = running.place
        if self._places.get(location) is not place:
            return ()
        place.looked = now
        root, keys = same_udn(udns[0]), frozenset(map(same_udn, udns))
        verdicts: list[Verdict] = []
        device, owner = self._devices.get(root), place.owner
        if owner is not None and owner is not device:
            self._give(place, None)
            verdicts += self._doubt(owner, now)
        if clash := self._clash(root, keys):
            verdicts += self._conflict(place, clash)
            if not (device and device.online and device.place is place):
                return (*verdicts, *self._miss(place, running.reason, now))
        elif device and self._yields(device, place, fingerprint, now):
            pass
        elif running.describe:
            device = device or self._welcome(udns[0], place, now)
            if device is None:
                return (*verdicts, *self._miss(place, running.reason, now))
            self._know(device, udns[0], keys, fingerprint)
            verdicts += self._join(device, place, running.reason)
        elif device is None or device.place is not place or not device.online:
            place.want(now, Reason.MOVED)
        else:
            self._confirm(device, fingerprint, now)
        place.prove(now)
        if device and place.owner is device:
            verdicts += (*self._settle(device, place), *self._report_rivals(device))
        return tuple(verdicts)

    def failed(self, location: str, now: float) -> tuple[Verdict, ...]:
        """Take that a check came to nothing."""
        running = self._running.pop(location)
        if self._places.get(location) is not running.place:
            return ()
        running.place.looked = now
        return self._miss(running.place, running.reason, now)

    # How a device lives

    def _yields(self, device: _Device, place: _Place, fingerprint: bytes, now: float) -> bool:
        """Tell whether a LOCATION has to stand behind the one where its device is."""
        if device.place is place or device.online is False or device.lost:
            return False
        place.rival = fingerprint != device.fingerprint != b""
        if place.score > device.place.score:
            return False
        if place.owner is None:
            self._remember(device, place)
            device.trigger(now, 0.0)
        return True

    def _confirm(self, device: _Device, fingerprint: bytes, now: float) -> None:
        """Take that a device is where it was."""
        if fingerprint != device.fingerprint:
            device.place.want(now, Reason.CHANGED)
        elif device.farewell == "first":
            # A server often dies a moment after its byebye.
            device.farewell = "last"
            device.place.want(now + _SECOND_LOOK_S)
        else:
            device.farewell = ""

    def _miss(self, place: _Place, reason: Reason | None, now: float) -> tuple[Verdict, ...]:
        """Take that a LOCATION does not answer as it should."""
        owner = place.owner
        place.failures += 1
        if owner is None:
            place.want(now + place.pause_s(), reason)
            return ()
        if owner.online is False:
            place.want(now + _IDLE_PAUSES_S[min(place.failures, len(_IDLE_PAUSES_S) - 1)])
            return ()
        if owner.place is place:
            if not owner.online or owner.farewell or now > place.expires + _RETRY_UNTIL_S:
                place.failures = max(place.failures, _LOST)
            if not owner.lost:
                place.want(now + _RETRY_S, reason)
        return self._doubt(owner, now)

    def _heard_byebye(self, device: _Device, now: float) -> bool:
        if not device.online:
            return False
        before = device.place.due
        fresh = device.trigger(now, _FAREWELL_S)
        device.farewell = device.farewell or ("first" if fresh else "last")
        return device.place.due != before

    def _follow(self, place: _Place, sighting: Sighting, now: float) -> None:
        """Take what an announcement says of its LOCATION."""
        owner, key = place.owner, same_udn(sighting.udn)
        foreign = self._by_udn.get(key) is not owner
        if (foreign or owner is None or owner.place is not place) and (
            len(place.claims) < _MAX_CLAIMS
        ):
            place.claims.add(key)
        running = place.location in self._running
        stale = not running and now - place.looked >= _CONTEND_S
        if owner is not None and owner.online and foreign:
            # Either an alias, or the address belongs to another device by now.
            if stale:
                place.want(now)
            return
        self._compare(place, sighting, now)
        place.max_age_s = max(sighting.max_age_s, _LEAST_MAX_AGE_S)
        place.expires = now + place.max_age_s
        if owner is None:
            return
        if owner.online is False and not running:
            if now - place.heard >= _SILENCE_S:
                place.failures = 0
            place.want(max(now, place.looked + place.pause_s()))
        elif owner.online and owner.place is not place and stale:
            better = place.score > owner.place.score
            place.want(now, Reason.MOVED if better else None)
            owner.trigger(now, 0.0)

    def _compare(self, place: _Place, sighting: Sighting, now: float) -> None:
        """See whether a device rebooted or changed since its last announcement."""
        owner = place.owner
        same_boot = (None, place.boot_id, place.next_boot_id)
        rebooted = place.boot_id is not None and sighting.boot_id not in same_boot
        changed = place.config_id is not None and sighting.config_id not in (None, place.config_id)
        if sighting.boot_id not in (None, place.boot_id):
            place.boot_id, place.next_boot_id = sighting.boot_id, None
        if sighting.config_id is not None:
            place.config_id = sighting.config_id
        if owner is None or not owner.online or owner.place is not place:
            return
        soon = max(now, owner.redescribed + _TRIGGER_S)
        running = self._running.get(place.location)
        if rebooted:
            place.want(soon, Reason.REBOOTED)
        elif owner.farewell and sighting.kind == "alive":
            # Some devices say byebye just before their first alive.
            if running is None or running.reason is not Reason.REBOOTED:
                place.want(place.due if place.due < inf else soon, Reason.REBOOTED)
        elif changed:
            place.want(soon, Reason.CHANGED)

    def _join(self, device: _Device, place: _Place, reason: Reason | None) -> tuple[Verdict, ...]:
        old = device.place
        self._give(place, device)
        if not device.joined:
            reason = Reason.FIRST
        elif not device.online:
            reason = Reason.BACK
        elif old is not place:
            reason = Reason.MOVED
        elif reason is None or reason is Reason.MOVED:
            reason = Reason.CHANGED
        if old is not place:
            device.place = place
            if old.owner is device:
                self._remember(device, old)
        device.online, device.joined, device.farewell = True, True, ""
        return (Joined(device.udn, place.location, reason),)

    def _doubt(self, device: _Device, now: float) -> tuple[Verdict, ...]:
        """Try the alternatives of a device that lost its LOCATION; when none is left, it leaves."""
        if device.online is False or not device.lost:
            return ()
        hopes = [p for p in device.alternatives.values() if not p.failures]
        for place in hopes:
            if place.location not in self._running:
                place.want(now, Reason.MOVED)
        if hopes:
            return ()
        why: Literal["byebye", "expired", "unreachable"] = "unreachable"
        if device.farewell:
            why = "byebye"
        elif device.online and now >= device.place.expires:
            why = "expired"
        device.online, device.farewell, device.left = False, "", now
        if device.place.owner is device:
            device.place.failures = 0
            device.place.want(now + _IDLE_PAUSES_S[0])
        return (Left(device.udn, why),)

    def _know(self, device: _Device, udn: str, keys: frozenset[str], fingerprint: bytes) -> None:
        """Take over what a description said."""
        for key in device.described - keys:
            if self._by_udn.get(key) is device:
                del self._by_udn[key]
        device.udn, device.described, device.fingerprint = bare_udn(udn), keys, fingerprint
        self._by_udn.update(dict.fromkeys(keys, device))

    def _clash(self, root: str, keys: Iterable[str]) -> str | None:
        """Return the UDN of a device that is online with one of these, under another root."""
        for key in keys:
            other = self._by_udn.get(key)
            if other and other.online and key in other.described and same_udn(other.udn) != root:
                return other.udn
        return None

    def _report_rivals(self, device: _Device) -> tuple[Verdict, ...]:
        """Name who else claims a device's UDN, once its current LOCATION has answered."""
        place = device.place
        if place.failures or place.due < inf or place.location in self._running:
            return ()
        rivals = [p for p in device.alternatives.values() if p.rival]
        return tuple(v for p in rivals for v in self._conflict(p, device.udn))

    def _conflict(self, place: _Place, udn: str) -> tuple[Verdict, ...]:
        reported = (same_udn(udn), place.location)
        if reported in self._reported:
            return ()
        self._reported[reported] = None
        if len(self._reported) > MAX_LOCATIONS:
            del self._reported[next(iter(self._reported))]
        return (Conflict(udn, place.location),)

    def _settle(self, device: _Device, place: _Place) -> tuple[Verdict, ...]:
        """Keep UDNs that only SSDP knows as aliases, unless they are another device's.

        Some routers announce UDNs that their descriptions do not have.
        """
        claims, place.claims = place.claims, set()
        verdicts: list[Verdict] = []
        for key in claims:
            other = self._by_udn.setdefault(key, device)
            if other is not device:
                verdicts += self._conflict(place, other.udn) if other.online else ()
            elif key not in device.described and len(device.aliases) < _MAX_CLAIMS:
                device.aliases.add(key)
            elif key not in device.described | device.aliases:
                del self._by_udn[key]
        return tuple(verdicts)

    # The tables

    def _when(self, place: _Place) -> float:
        """Return when a LOCATION is to be checked."""
        owner = place.owner
        if owner and owner.online and owner.place is place and not place.failures:
            return min(place.due, place.expires)
        return place.due

    def _is_over(self, place: _Place, now: float) -> bool:
        """Tell whether a LOCATION, not a device's current one, was not announced for too long."""
        owner = place.owner
        if place.expires > now or place.pinned or place.location in self._running:
            return False
        if owner is None or owner.online is False:
            return owner is None or owner.place is not place
        return owner.place is not place and not owner.lost

    def _timeout_s(self, place: _Place, now: float) -> float:
        """Return how long a description may take, so that who expired is offline in time."""
        owner = place.owner
        left_s = owner.place.expires + _VERDICT_S - now if owner and owner.online else inf
        return max(PROBE_TIMEOUT_S, min(DESCRIBE_TIMEOUT_S, left_s))

    def _admit(self, location: str, source: str) -> _Place | None:
        """Return a new LOCATION, for which the oldest stranger of its source, or of all, goes."""
        of_source = self._by_source.get(source, {})
        crowded: dict[str, _Place] | None = None
        if source and len(of_source) >= MAX_LOCATIONS_PER_SOURCE:
            crowded = of_source
        elif len(self._strangers) >= MAX_STRANGERS or len(self._places) >= MAX_LOCATIONS:
            crowded = self._strangers
        if crowded is not None:
            oldest = (p for p in crowded.values() if p.owner is None and not p.pinned)
            place = next(oldest, None)
            if place is None:
                return None
            self._drop(place)
        place = _Place(location, _host_of(location), source)
        self._places[location] = self._strangers[location] = place
        self._by_source.setdefault(source, {})[location] = place
        return place

    def _give(self, place: _Place, device: _Device | None) -> None:
        """Make a LOCATION a device's, or a stranger."""
        if place.owner is not None:
            place.owner.alternatives.pop(place.location, None)
        place.owner = device
        if device is None:
            self._strangers[place.location] = place
        else:
            self._strangers.pop(place.location, None)

    def _remember(self, device: _Device, place: _Place) -> None:
        """Keep a LOCATION as an alternative to a device's current one."""
        self._give(place, device)
        device.alternatives[place.location] = place
        if len(device.alternatives) > MAX_ALTERNATIVES:
            oldest = (p for p in device.alternatives.values() if not p.pinned)
            self._drop(next(oldest, place))

    def _drop(self, place: _Place) -> None:
        del self._places[place.location]
        self._strangers.pop(place.location, None)
        of_source = self._by_source[place.source]
        del of_source[place.location]
        if not of_source:
            del self._by_source[place.source]
        if place.owner is not None:
            place.owner.alternatives.pop(place.location, None)

    def _welcome(self, udn: str, place: _Place, now: float) -> _Device | None:
        """Return a new device, None where there is no room for it."""
        if not self._make_room_for_device(now):
            return None
        device = self._devices[same_udn(udn)] = _Device(bare_udn(udn), place)
        return device

    def _make_room_for_device(self, now: float) -> bool:
        """Tell whether a device may be added, for which the one longest offline goes."""
        if len(self._devices) < MAX_DEVICES:
            return True
        offline = [d for d in self._devices.values() if d.online is False]
        if not offline:
            return False
        self.forget(min(offline, key=lambda d: d.left).udn, now)
        return True


def _host_of(location: str) -> str:
    try:
        return (urlsplit(location).hostname or location).partition("%")[0]
    except ValueError:
        return location
