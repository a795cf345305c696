"""What an announcement asks for: at most the check of a LOCATION (UDA 2.0, section 1.2)."""

from math import inf

from bridge.model.topics import udn_key
from bridge.upnp.presence import questions
from bridge.upnp.presence.boot_marks import MarkChange
from bridge.upnp.presence.locations import TRIGGER_S, LocatedDevice, Place
from bridge.upnp.presence.records import Reason, Sighting
from bridge.upnp.presence.tables import Tables

MAX_CLAIMS = 16
"""The most UDNs at once of which it is not known whether they are their LOCATION's."""

_MAX_TEXT = 1024
_LEAST_MAX_AGE_S = 5.0
_FAREWELL_S = 0.5
_CONTEND_S = 60.0
_SILENCE_S = 60.0
_TOGETHER_S = 0.5
"""How far apart the messages of one announcement may be."""


def hear(tables: Tables, sighting: Sighting, now: float) -> bool:
    """Take an announcement; tell whether a check is due earlier than before."""
    if len(sighting.udn) > _MAX_TEXT or len(sighting.location or "") > _MAX_TEXT:
        return False
    device = tables.device_of(sighting.udn)
    if sighting.kind == "byebye":
        return device is not None and _hear_byebye(device, now)
    location = sighting.location or (device.place.location if device else "")
    if not location:
        return False
    place = tables.places.get(location)
    if sighting.kind == "update":
        if place is not None:
            place.next_boot_id = sighting.next_boot_id
        return False
    due, asked = place.due if place else inf, len(tables.questions)
    if place is None:
        place = tables.admit(location, sighting.source)
        if place is None:
            return False
        place.want(now)
    if place.owner is None and device and device.online and device.place is not place:
        tables.remember(device, place)
    place.score = max(place.score, sighting.score)
    if place.server is None and sighting.server and (place.owner or location in tables.running):
        place.want(now, Reason.CHANGED)  # what is described, or being described, is without
    place.server = sighting.server or place.server
    _follow(tables, place, device, sighting, now)
    place.heard = now
    return place.due < due or len(tables.questions) > asked


def _hear_byebye(device: LocatedDevice, now: float) -> bool:
    if not device.online:
        return False
    before = device.place.due
    fresh = device.trigger(now, _FAREWELL_S)
    device.farewell = device.farewell or ("first" if fresh else "last")
    return device.place.due != before


def _follow(
    tables: Tables, place: Place, device: LocatedDevice | None, sighting: Sighting, now: float
) -> None:
    """Take what an announcement says of its LOCATION; `device` is the one that it names."""
    owner = place.owner
    expected = owner is not None and owner is device and owner.place is place
    if not expected and len(place.claims) < MAX_CLAIMS:
        place.claims.add(udn_key(sighting.udn))
    running = place.location in tables.running
    stale = not running and now - place.looked >= _CONTEND_S
    if owner is not None and owner.online and owner is not device:
        # Either an alias, or the address belongs to another device by now.
        if stale:
            place.want(now)
        return
    _compare(tables, place, sighting, now)
    place.max_age_s = max(sighting.max_age_s, _LEAST_MAX_AGE_S)
    place.expires = now + place.max_age_s
    if owner is None:
        return
    if owner.state == "offline" and not running:
        if now - place.heard >= _SILENCE_S:
            place.failures = 0
        place.want(max(now, place.looked + place.pause_s()))
    elif owner.online and owner.place is not place and not running:
        better = place.score > owner.place.score
        if stale:
            place.want(now, Reason.MOVED if better else None)
            owner.trigger(now, 0.0)
        elif place.failures:  # it may be back where it was before
            place.want(max(now, place.looked + place.pause_s()))


def _compare(tables: Tables, place: Place, sighting: Sighting, now: float) -> None:
    """See whether a device rebooted or changed since its last announcement."""
    owner, is_answer, spoke = place.owner, sighting.kind == "answer", place.spoke
    if sighting.kind == "alive":
        place.spoke = now
    boot, before = MarkChange.NONE, place.boot.value
    if sighting.boot_id is not None and sighting.boot_id == place.next_boot_id:
        place.boot.adopt(sighting.boot_id, now)
        place.next_boot_id = None
    else:
        boot = place.boot.hear(sighting.boot_id, now, is_answer=is_answer)
    config = place.config.hear(sighting.config_id, now, is_answer=is_answer)
    if owner is None or not owner.online or owner.place is not place:
        return
    running = tables.running.get(place.location)
    soon = max(now, owner.redescribed + TRIGGER_S)
    if owner.farewell and sighting.kind == "alive":
        # Some devices say byebye just before their first alive.
        if place.boot.value != before:
            place.boot.prove()
        if running is None or running.reason is not Reason.REBOOTED:
            place.want(place.due if place.due < inf else soon, Reason.REBOOTED)
    elif boot in (MarkChange.CREDIBLE, MarkChange.DISPROVED):
        is_doubtful = boot is MarkChange.DISPROVED
        questions.put(tables, owner, now, is_claim=True, is_doubtful=is_doubtful)
    elif sighting.kind == "alive" and now - spoke > _TOGETHER_S and not place.boot.is_telling:
        questions.put(tables, owner, now, is_claim=False)
    if config in (MarkChange.CREDIBLE, MarkChange.SETTLED):
        place.config.claimed = True
        place.want(soon, Reason.CHANGED)
