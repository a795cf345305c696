"""What came of a check, and what it makes of a device: here alone devices join and leave."""

from collections.abc import Iterable
from math import inf

from bridge.model.topics import udn_key
from bridge.upnp.presence import checks
from bridge.upnp.presence.locations import (
    LOST,
    QUICK_S,
    TRIGGER_S,
    LocatedDevice,
    Place,
    RunningCheck,
)
from bridge.upnp.presence.records import Content, Joined, Left, Reason, Verdict, Why
from bridge.upnp.presence.tables import Tables

MAX_ALIASES = 16

_SECOND_LOOK_S = 5.0
_RETRY_S = 1.0
_CONTESTED_RETRY_S = 0.25
_RETRY_UNTIL_S = 15.0


def found(
    tables: Tables, location: str, content: Content, now: float, *, is_whole: bool
) -> tuple[Verdict, ...]:
    """Take what a check read."""
    running = checks.end(tables, location, now)
    if running is None:
        return ()
    place, udns = running.place, content.udns
    root, keys = udn_key(udns[0]), frozenset(map(udn_key, udns))
    device = tables.devices.get(root)
    verdicts = [*_take_from_others(tables, place, device, now)]
    at_home = device is not None and device.online and device.place is place
    if (clash := _clash(tables, root, keys)) is not None:
        verdicts += tables.report(clash.udn, place)
        if not at_home:
            return (*verdicts, *_miss(tables, running, now))
    elif device and _stands_behind(device, place, content):
        _line_up(tables, device, place, now)
    elif running.describe:
        if device is None:
            if not tables.make_room(now):
                return (*verdicts, *_miss(tables, running, now))
            device = tables.welcome(udns[0], place)
        verdicts.append(_join(tables, device, running, content, now, is_whole=is_whole))
    elif device is None or not at_home:
        place.want(now, Reason.MOVED)
    else:
        _confirm(device, content.fingerprint, now)
    place.prove(now, content.took_s)
    if device and place.owner is device:
        verdicts += (*_settle_claims(tables, device, place), *_report_rivals(tables, device))
    return tuple(verdicts)


def _join(  # noqa: PLR0913 - what a check read
    tables: Tables,
    device: LocatedDevice,
    running: RunningCheck,
    content: Content,
    now: float,
    *,
    is_whole: bool,
) -> Joined:
    """Have a device join, or join again, with what was read."""
    place, udns = running.place, content.udns
    reason = _reason_to_join(device, place, running.reason)
    if device.online and device.place is place and is_whole:
        _judge(device, place, content)
    tables.rename(device, udns[0], frozenset(map(udn_key, udns)))
    tables.move(device, place)
    place.preferred = False
    device.fingerprint = content.fingerprint
    device.identity = content.identity or content.fingerprint
    device.whole = (content.whole or content.fingerprint) if is_whole else b""
    place.config.note_description()
    if place.config.is_overtaken:
        place.config.claimed = True
        place.want(max(now, device.redescribed + TRIGGER_S), Reason.CHANGED)
    device.state, device.farewell = "online", ""
    place.note_parts(now, is_whole=is_whole)
    return Joined(device.udn, place.location, reason)


def failed(tables: Tables, location: str, now: float) -> tuple[Verdict, ...]:
    """Take that a check came to nothing."""
    running = checks.end(tables, location, now)
    return _miss(tables, running, now) if running else ()


def _take_from_others(
    tables: Tables, place: Place, device: LocatedDevice | None, now: float
) -> tuple[Verdict, ...]:
    """Make a LOCATION a stranger if it was another device's than the one that answers there."""
    owner = place.owner
    if owner is None or owner is device:
        return ()
    tables.assign(place, None)
    return _doubt(tables, owner, now)


def _clash(tables: Tables, root: str, keys: Iterable[str]) -> LocatedDevice | None:
    """Return a device that is online with one of these UDNs, under another root."""
    for key in keys:
        other = tables.by_udn.get(key)
        if other and other.online and key in other.described and udn_key(other.udn) != root:
            return other
    return None


def _stands_behind(device: LocatedDevice, place: Place, content: Content) -> bool:
    """Tell whether a LOCATION yields to its device's current one; note whether it is a rival.

    One server may describe one device in several ways, as routers do for the versions of IGD.
    """
    if device.place is place or device.state == "offline" or device.lost:
        return False
    is_another = (content.identity or content.fingerprint) != device.identity
    is_elsewhere = not place.is_at_server_of(device.place)
    place.rival = bool(device.described) and is_another and is_elsewhere
    if place.preferred:
        return False
    return place.score <= device.place.score or place.rival


def _judge(device: LocatedDevice, place: Place, content: Content) -> None:
    """See whether what marks said shows in what was read."""
    is_another = (content.whole or content.fingerprint) != device.whole
    place.boot.judge(is_true=is_another or bool(device.farewell))
    place.config.judge(is_true=is_another)


def _line_up(tables: Tables, device: LocatedDevice, place: Place, now: float) -> None:
    """Keep a new alternative, and see whether the current LOCATION still answers."""
    if place.owner is None:
        tables.remember(device, place)
    if place.location not in device.duplicates:  # who is another is no sign of a move
        device.contest(now, is_asked=device.place.location in tables.running)


def _reason_to_join(device: LocatedDevice, place: Place, wanted: Reason | None) -> Reason:
    """Return why a device joins that has just been described."""
    if not device.described:
        return Reason.FIRST
    if not device.online:
        return Reason.BACK
    if device.place is not place:
        return Reason.MOVED
    return Reason.CHANGED if wanted in (None, Reason.MOVED) else wanted


def _confirm(device: LocatedDevice, fingerprint: bytes, now: float) -> None:
    """Take that a device is where it was."""
    if fingerprint != device.fingerprint:
        device.place.boot.prove()
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


def _miss(tables: Tables, running: RunningCheck, now: float) -> tuple[Verdict, ...]:
    """Take that a LOCATION does not answer as it should."""
    place, reason = running.place, running.reason
    owner = place.owner
    place.failures += 1
    place.preferred = False
    if owner is None:
        place.want(now + place.pause_s(), reason)
        return ()
    if owner.state == "offline":
        place.want(now + place.idle_pause_s())
        return ()
    if owner.place is place:
        if not owner.online or owner.farewell or now > place.expires + _RETRY_UNTIL_S:
            place.failures = max(place.failures, LOST)
        if owner.is_contested and now >= running.began + QUICK_S:
            place.failures = max(place.failures, LOST)
        if not owner.lost:
            place.want(now + (_CONTESTED_RETRY_S if owner.is_contested else _RETRY_S), reason)
    return _doubt(tables, owner, now)


def _doubt(tables: Tables, device: LocatedDevice, now: float) -> tuple[Verdict, ...]:
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


def _settle_claims(tables: Tables, device: LocatedDevice, place: Place) -> tuple[Verdict, ...]:
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


def _report_rivals(tables: Tables, device: LocatedDevice) -> tuple[Verdict, ...]:
    """Name who else claims a device's UDN, once its current LOCATION has answered."""
    place = device.place
    if place.failures or place.due < inf or place.location in tables.running:
        return ()
    rivals = [p for p in device.alternatives.values() if p.rival]
    device.duplicates = tuple(sorted({p.location for p in rivals}))
    return tuple(v for p in rivals for v in tables.report(device.udn, p))
