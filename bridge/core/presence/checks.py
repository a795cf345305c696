"""When which LOCATION is checked, and when one that nobody announces any more is dropped."""

from math import inf

from bridge.core.presence.places import Place, Running
from bridge.core.presence.records import Check, Reason
from bridge.core.presence.tables import Tables

MAX_CHECKS = 64
MAX_STRANGER_CHECKS = MAX_CHECKS - 16
"""The most checks at once of LOCATIONs that are no known device's."""
PROBE_TIMEOUT_S = 5.0
DESCRIBE_TIMEOUT_S = 60.0

_VERDICT_S = 24.0


def begin(tables: Tables, now: float) -> tuple[Check, ...]:
    """Return the checks to start now: of devices that are not offline, of others, of strangers."""
    for place in [p for p in tables.places.values() if _is_over(tables, p, now)]:
        tables.drop(place)
    ready = [p for p in tables.places.values() if _when(p) <= now]
    ready.sort(key=lambda p: (p.owner is None, p.owner and p.owner.state == "offline", _when(p)))
    # A host is read from once at a time, but devices of one host may be probed together.
    busy = {running.place.host: running.describe for running in tables.running.values()}
    strangers = sum(running.place.owner is None for running in tables.running.values())
    checks: list[Check] = []
    for place in ready:
        owner, host = place.owner, place.host
        full = owner is None and strangers >= MAX_STRANGER_CHECKS
        if full or len(tables.running) >= MAX_CHECKS:
            break
        describe = place.reason is not None or owner is None or not owner.online
        if place.location in tables.running or (host in busy and (describe or busy[host])):
            continue
        busy[host] = describe
        strangers += owner is None
        tables.running[place.location] = Running(place, describe, place.reason)
        if owner is not None and place.reason in (Reason.REBOOTED, Reason.CHANGED):
            owner.redescribed = now
        place.due, place.reason = inf, None
        timeout_s = _timeout_s(place, now) if describe else PROBE_TIMEOUT_S
        checks.append(Check(place.location, place.server, describe, place.failures, timeout_s))
    return tuple(checks)


def end(tables: Tables, location: str, now: float) -> Running | None:
    """Return the check that ended, None where its LOCATION was dropped meanwhile."""
    running = tables.running.pop(location)
    if tables.places.get(location) is not running.place:
        return None
    running.place.looked = now
    return running


def next_deadline(tables: Tables, now: float) -> float | None:
    """Return when `begin` has to be asked again, if nothing else happens before."""
    whens = [_when(p) for p in tables.places.values()]
    whens += [p.expires for p in tables.strangers.values() if not p.pinned]
    return min((when for when in whens if now < when < inf), default=None)


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


def _timeout_s(place: Place, now: float) -> float:
    """Return how long a description may take, so that who expired is offline in time."""
    owner = place.owner
    left_s = owner.place.expires + _VERDICT_S - now if owner and owner.online else inf
    return max(PROBE_TIMEOUT_S, min(DESCRIBE_TIMEOUT_S, left_s))
