"""When which LOCATION is checked, and when one that nobody announces any more is dropped.

A check takes one of a few places, by lane: most end within milliseconds. One that is not over
after a second leaves its place to the next and goes on in a lane of its own, so that those who are
slow, or hang, wait for each other and nobody waits for them.
"""

from collections import Counter
from math import inf

from bridge.upnp.presence.locations import QUICK_S, Place, RunningCheck
from bridge.upnp.presence.records import Check, Reason
from bridge.upnp.presence.tables import Tables

MAX_CHECKS = 64
"""The most checks at once that have only just begun."""
MAX_STRANGER_CHECKS = MAX_CHECKS - 16
"""The most of them of LOCATIONs that are no known device's; as many may be of those."""
FAST_S = 1.0
"""How long a check counts as one that has only just begun."""
MAX_SLOW = 64
"""The most checks at once that take longer, of strangers and of known devices each."""
MAX_SLOW_OF_HOST = 16
PROBE_TIMEOUT_S = 5.0
DESCRIBE_TIMEOUT_S = 60.0

_VERDICT_S = 24.0
_AT_SLOW_HOST = 32
"""How many descriptions are begun at a time at a host that hangs with one."""


def begin(tables: Tables, now: float, probe_timeout_s: float) -> tuple[Check, ...]:
    """Return the checks to start now: of devices that are not offline, of others, of strangers.

    Of strangers those come first that have never failed, and those of hosts that take least.
    """
    for place in [p for p in tables.places.values() if _is_over(tables, p, now)]:
        tables.drop(place)
    ready = [p for p in tables.places.values() if _when(p) <= now]
    if not ready:
        return ()
    lanes = _Lanes(tables, now)
    ready.sort(key=lambda p: (*_rank(p), lanes.of_host[p.host], _when(p)))
    checks: list[Check] = []
    for place in ready:
        owner = place.owner
        if lanes.are_full:
            break
        describe = place.reason is not None or owner is None or not owner.online
        if place.location in tables.running or not lanes.take(place, describe=describe):
            continue
        tables.running[place.location] = RunningCheck(place, describe, place.reason, now)
        if owner is not None and place.reason in (Reason.REBOOTED, Reason.CHANGED):
            owner.redescribed = now
        place.due, place.reason = inf, None
        if describe:
            place.boot.begin_description()
            place.config.begin_description()
        timeout_s = _description_s(place, now) if describe else probe_timeout_s
        checks.append(Check(place.location, place.server, describe, place.failures, timeout_s))
    return tuple(checks)


def cut(tables: Tables, now: float) -> tuple[str, ...]:
    """Return the LOCATIONs whose checks are to end: of devices that answer elsewhere by now.

    Where too many strangers are slow, these too: of the host that has the most of them, one that
    failed before, and that has taken longest.
    """
    chosen: list[str] = []
    for running in tables.running.values():
        if not running.is_cut and now >= _contested_until(running):
            running.is_cut = True
            chosen.append(running.place.location)
    all_running = tables.running.values()
    slow = [r for r in all_running if r.place.owner is None and _is_slow(r, now) and not r.is_cut]
    slow.sort(key=lambda one: (-one.place.failures, one.began))
    counts = Counter(one.place.host for one in slow)
    while slow and (len(slow) > MAX_SLOW or max(counts.values()) > MAX_SLOW_OF_HOST):
        host = max(counts, key=counts.__getitem__)
        one = next(one for one in slow if one.place.host == host)
        slow.remove(one)
        counts[host] -= 1
        one.is_cut = True
        chosen.append(one.place.location)
    return tuple(chosen)


def end(tables: Tables, location: str, now: float) -> RunningCheck | None:
    """Return the check that ended, None where its LOCATION was dropped meanwhile."""
    running = tables.running.pop(location)
    if tables.places.get(location) is not running.place:
        return None
    running.place.looked = now
    return running


def next_deadline(tables: Tables, now: float) -> float | None:
    """Return when `begin` and `cut` have to be asked again, if nothing else happens before."""
    whens = [_when(p) for p in tables.places.values()]
    whens += [p.expires for p in tables.strangers.values() if not p.pinned]
    for running in tables.running.values():
        whens += (running.began + FAST_S, _contested_until(running))
    return min((when for when in whens if now < when < inf), default=None)


class _Lanes:
    """How many checks are under way, by who is checked, how long, and of which host."""

    def __init__(self, tables: Tables, now: float) -> None:
        self.of_host: Counter[str] = Counter()
        self._fast: Counter[bool] = Counter()
        self._reading: Counter[str] = Counter()
        self._probing: Counter[str] = Counter()
        self._hanging: set[str] = set()
        slow: Counter[bool] = Counter()
        for running in tables.running.values():
            host, is_stranger = running.place.host, running.place.owner is None
            self.of_host[host] += 1
            if not _is_slow(running, now):
                self._note(host, is_stranger=is_stranger, describe=running.describe)
            else:
                self._hanging.add(host)
                slow[is_stranger] += not running.is_cut
        for is_stranger, count in slow.items():
            self._fast[is_stranger] += max(0, count - MAX_SLOW)

    @property
    def are_full(self) -> bool:
        return self._fast.total() >= MAX_CHECKS

    def take(self, place: Place, *, describe: bool) -> bool:
        """Take a place for a check, if there is one.

        A host is read from once at a time, but devices of one host may be probed together.
        """
        host, is_stranger = place.host, place.owner is None
        if self._fast[is_stranger] >= MAX_STRANGER_CHECKS:
            return False
        reading, probing = self._reading[host], self._probing[host]
        most = _AT_SLOW_HOST if host in self._hanging else 1
        if (reading + probing if describe else reading) >= most:
            return False
        self.of_host[host] += 1
        self._note(host, is_stranger=is_stranger, describe=describe)
        return True

    def _note(self, host: str, *, is_stranger: bool, describe: bool) -> None:
        self._fast[is_stranger] += 1
        (self._reading if describe else self._probing)[host] += 1


def _is_slow(running: RunningCheck, now: float) -> bool:
    return now >= running.began + FAST_S


def _rank(place: Place) -> tuple[bool, bool, int]:
    """Return what goes before what, but for when it is due."""
    owner = place.owner
    if owner is None:
        return True, False, place.failures
    return False, owner.state == "offline", 0


def _when(place: Place) -> float:
    """Return when a LOCATION is to be checked."""
    owner = place.owner
    if owner and owner.online and owner.place is place and not place.failures:
        return min(place.due, place.expires)
    return place.due


def _is_over(tables: Tables, place: Place, now: float) -> bool:
    """Tell whether a LOCATION that no device needs was not announced for too long."""
    if place.expires > now or place.pinned or place.location in tables.running:
        return False
    owner = place.owner
    if owner is None:
        return True
    return owner.place is not place and (owner.state == "offline" or not owner.lost)


def _description_s(place: Place, now: float) -> float:
    """Return how long a description may take, so that who expired is offline in time."""
    owner = place.owner
    left_s = owner.place.expires + _VERDICT_S - now if owner and owner.online else inf
    return max(PROBE_TIMEOUT_S, min(DESCRIBE_TIMEOUT_S, left_s))


def _contested_until(running: RunningCheck) -> float:
    """Return how long a probe may last, by what its device does elsewhere."""
    place, owner = running.place, running.place.owner
    if running.describe or owner is None or owner.place is not place:
        return inf
    return running.began + QUICK_S if owner.is_contested else inf
