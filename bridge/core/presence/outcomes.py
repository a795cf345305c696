"""What came of a check, and what it makes of a device: here alone devices join and leave."""

from collections.abc import Iterable, Sequence
from math import inf

from bridge.core.presence import checks
from bridge.core.presence.places import LOST, Device, Place
from bridge.core.presence.records import Joined, Left, Reason, Verdict, Why
from bridge.core.presence.tables import Tables
from bridge.core.topics import same_udn

MAX_ALIASES = 16

_SECOND_LOOK_S = 5.0
_RETRY_S = 1.0
_RETRY_UNTIL_S = 15.0


def found(  # noqa: PLR0913 - what a check reads
    tables: Tables,
    location: str,
    udns: Sequence[str],
    fingerprint: bytes,
    now: float,
    *,
    is_whole: bool,
) -> tuple[Verdict, ...]:
    """Take what a check read: all UDNs of the description, the root's first."""
    running = checks.end(tables, location, now)
    if running is None:
        return ()
    place = running.place
    root, keys = same_udn(udns[0]), frozenset(map(same_udn, udns))
    device = tables.devices.get(root)
    verdicts = [*_take_from_others(tables, place, device, now)]
    at_home = device is not None and device.online and device.place is place
    if (clash := _clash(tables, root, keys)) is not None:
        verdicts += tables.report(clash.udn, place)
        if not at_home:
            return (*verdicts, *_miss(tables, place, running.reason, now))
    elif device and _stands_behind(device, place, fingerprint):
        _line_up(tables, device, place, now)
    elif running.describe:
        if device is None:
            if not tables.make_room(now):
                return (*verdicts, *_miss(tables, place, running.reason, now))
            device = tables.welcome(udns[0], place)
        reason = _reason_to_join(device, place, running.reason)
        tables.rename(device, udns[0], keys)
        tables.move(device, place)
        device.fingerprint, device.state, device.farewell = fingerprint, "online", ""
        verdicts.append(Joined(device.udn, place.location, reason))
        place.note_parts(now, is_whole=is_whole)
    elif device is None or not at_home:
        place.want(now, Reason.MOVED)
    else:
        _confirm(device, fingerprint, now)
    place.prove(now)
    if device and place.owner is device:
        verdicts += (*_settle_claims(tables, device, place), *_report_rivals(tables, device))
    return tuple(verdicts)


def failed(tables: Tables, location: str, now: float) -> tuple[Verdict, ...]:
    """Take that a check came to nothing."""
    running = checks.end(tables, location, now)
    return _miss(tables, running.place, running.reason, now) if running else ()


def _take_from_others(
    tables: Tables, place: Place, device: Device | None, now: float
) -> tuple[Verdict, ...]:
    """Make a LOCATION a stranger if it was another device's than the one that answers there."""
    owner = place.owner
    if owner is None or owner is device:
        return ()
    tables.assign(place, None)
    return _doubt(tables, owner, now)


def _clash(tables: Tables, root: str, keys: Iterable[str]) -> Device | None:
    """Return a device that is online with one of these UDNs, under another root."""
    for key in keys:
        other = tables.by_udn.get(key)
        if other and other.online and key in other.described and same_udn(other.udn) != root:
            return other
    return None


def _stands_behind(device: Device, place: Place, fingerprint: bytes) -> bool:
    """Tell whether a LOCATION yields to its device's current one; note whether it is a rival."""
    if device.place is place or device.state == "offline" or device.lost:
        return False
    place.rival = bool(device.described) and fingerprint != device.fingerprint
    return place.score <= device.place.score


def _line_up(tables: Tables, device: Device, place: Place, now: float) -> None:
    """Keep a new alternative, and see whether the current LOCATION still answers."""
    if place.owner is None:
        tables.remember(device, place)
        device.trigger(now, 0.0)


def _reason_to_join(device: Device, place: Place, wanted: Reason | None) -> Reason:
    """Return why a device joins that has just been described."""
    if not device.described:
        return Reason.FIRST
    if not device.online:
        return Reason.BACK
    if device.place is not place:
        return Reason.MOVED
    return Reason.CHANGED if wanted in (None, Reason.MOVED) else wanted


def _confirm(device: Device, fingerprint: bytes, now: float) -> None:
    """Take that a device is where it was."""
    if fingerprint != device.fingerprint:
        device.place.want(now, Reason.CHANGED)
    elif device.place.failures:
        # What kept a probe from it may have kept events from us.
        device.place.want(now, Reason.REFRESHED)
    elif device.farewell == "first":
        # A server often dies a moment after its byebye.
        device.farewell = "last"
        device.place.want(now + _SECOND_LOOK_S)
    else:
        device.farewell = ""


def _miss(tables: Tables, place: Place, reason: Reason | None, now: float) -> tuple[Verdict, ...]:
    """Take that a LOCATION does not answer as it should."""
    owner = place.owner
    place.failures += 1
    if owner is None:
        place.want(now + place.pause_s(), reason)
        return ()
    if owner.state == "offline":
        place.want(now + place.idle_pause_s())
        return ()
    if owner.place is place:
        if not owner.online or owner.farewell or now > place.expires + _RETRY_UNTIL_S:
            place.failures = max(place.failures, LOST)
        if not owner.lost:
            place.want(now + _RETRY_S, reason)
    return _doubt(tables, owner, now)


def _doubt(tables: Tables, device: Device, now: float) -> tuple[Verdict, ...]:
    """Try the alternatives of a device that lost its LOCATION; when none is left, it leaves."""
    if device.state == "offline" or not device.lost:
        return ()
    hopes = [place for place in device.alternatives.values() if not place.failures]
    for place in hopes:
        if place.location not in tables.running:
            place.want(now, Reason.MOVED)
    if hopes:
        return ()
    why: Why = "unreachable"
    if device.farewell:
        why = "byebye"
    elif device.online and now >= device.place.expires:
        why = "expired"
    device.state, device.farewell, device.left = "offline", "", now
    if device.place.owner is device:
        device.place.failures = 0
        device.place.want(now + device.place.idle_pause_s())
    return (Left(device.udn, why),)


def _settle_claims(tables: Tables, device: Device, place: Place) -> tuple[Verdict, ...]:
    """Keep UDNs that only SSDP knows as aliases, unless they are another device's.

    Some routers announce UDNs that their descriptions do not have.
    """
    claims, place.claims = place.claims, set()
    verdicts: list[Verdict] = []
    for key in claims:
        other = tables.by_udn.setdefault(key, device)
        if other is not device:
            verdicts += tables.report(other.udn, place) if other.online else ()
        elif key not in device.described and len(device.aliases) < MAX_ALIASES:
            device.aliases.add(key)
        elif key not in device.described | device.aliases:
            del tables.by_udn[key]
    return tuple(verdicts)


def _report_rivals(tables: Tables, device: Device) -> tuple[Verdict, ...]:
    """Name who else claims a device's UDN, once its current LOCATION has answered."""
    place = device.place
    if place.failures or place.due < inf or place.location in tables.running:
        return ()
    rivals = [p for p in device.alternatives.values() if p.rival]
    return tuple(v for p in rivals for v in tables.report(device.udn, p))
