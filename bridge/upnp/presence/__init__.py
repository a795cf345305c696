"""Who is there: what SSDP says against what the LOCATIONs answer (UDA 2.0, section 1).

An announcement only ever asks for a check of a LOCATION; what the checks find decides. No
sockets and no clock here: `now` is in seconds, monotonic, and whoever drives this carries out
the checks that `due` names and hands back what came of each, by `found` or `failed`.
"""

from collections.abc import Sequence
from math import inf

from bridge.model.topics import udn_key
from bridge.upnp.presence import announcements, checks, questions, verdicts
from bridge.upnp.presence.locations import DEFAULT_MAX_AGE_S
from bridge.upnp.presence.records import (
    BEST_SCORE,
    Check,
    Conflict,
    Content,
    Joined,
    Known,
    Left,
    Reason,
    Sighting,
    Verdict,
)
from bridge.upnp.presence.tables import MAX_DEVICES, Tables

__all__ = [
    "BEST_SCORE",
    "Check",
    "Conflict",
    "Content",
    "Joined",
    "Known",
    "Left",
    "Presence",
    "Reason",
    "Sighting",
    "Verdict",
]


class Presence:
    """The state of all devices that were ever announced, seeded or added.

    `asks` says that `ask` is asked, and what it returns answered for by `answered`. Otherwise a
    device whose boot mark has changed is taken for restarted, until what comes of it disproves
    the mark.
    """

    def __init__(
        self,
        *,
        asks: bool = False,
        most: int = MAX_DEVICES,
        probe_timeout_s: float = checks.PROBE_TIMEOUT_S,
    ) -> None:
        self._tables = Tables(asks=asks, most=most)
        self._probe_timeout_s = probe_timeout_s

    @property
    def devices(self) -> tuple[Known, ...]:
        """Every known root device."""
        return tuple(
            Known(d.udn, d.state, d.place.location, d.place.expires)
            for d in self._tables.devices.values()
        )

    @property
    def pending(self) -> int:
        """How many LOCATIONs have never been checked to the end."""
        return sum(place.looked == -inf for place in self._tables.places.values())

    def root_of(self, udn: str) -> str | None:
        """Return the UDN of the root device to which a UDN belongs, in any spelling."""
        device = self._tables.device_named(udn)
        return device.udn if device else None

    def location_of(self, udn: str) -> str | None:
        """Return the current LOCATION of a device, None where it has lost it to another."""
        device = self._tables.device_named(udn)
        return device.place.location if device and device.place.owner is device else None

    def duplicates_of(self, udn: str) -> tuple[str, ...]:
        """Return where another device answers with a root device's UDN, sorted."""
        device = self._tables.device_of(udn)
        return device.duplicates if device else ()

    def heard(self, sighting: Sighting, now: float) -> bool:
        """Take an announcement; tell whether `due` is worth asking. Cheap for a repeated one."""
        return announcements.hear(self._tables, sighting, now)

    def suspect(self, udn: str, now: float) -> None:
        """Probe a device that somebody could not reach, at most once in 10 s."""
        device = self._tables.device_named(udn)
        if device and device.online:
            device.trigger(now, 0.0)

    def expect(self, udn: str, location: str, server: str | None, now: float) -> bool:
        """Seed a device that was there before, to be checked at once: it joins or leaves.

        Tell whether there is room for it; no where its LOCATION is known as another's. One that has
        joined elsewhere meanwhile goes back there if it answers.
        """
        tables, key = self._tables, udn_key(udn)
        place = tables.places.get(location)
        if key in tables.by_udn or key in tables.devices:
            device = tables.devices.get(key)
            if device is not None and device.online and device.place.location != location:
                place = place or tables.admit(location, "")
                if place is not None and place.owner in (None, device):
                    place.preferred, place.score = True, BEST_SCORE
                    place.expires = now + DEFAULT_MAX_AGE_S
                    tables.remember(device, place)
                    place.want(now, Reason.MOVED)
            return True
        if (place and place.owner) or not tables.make_room(now):
            return False
        place = place or tables.admit(location, "")
        if place is None:
            return False
        place.server, place.score = server, BEST_SCORE
        place.want(now)
        tables.welcome(udn, place)
        return True

    def add(self, location: str, now: float, *, pinned: bool = False) -> bool:
        """Have a LOCATION described now, whosever it is; tell whether there is room for it.

        It is tried again for 300 s, and for ever where it is `pinned`.
        """
        place = self._tables.places.get(location) or self._tables.admit(location, "")
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
        device = self._tables.device_named(udn)
        if device is not None:
            self._tables.forget(device, now)

    def due(self, now: float) -> tuple[Check, ...]:
        """Return the checks to start now, what matters most first; each must be answered for."""
        return checks.begin(self._tables, now, self._probe_timeout_s)

    def cut(self, now: float) -> tuple[str, ...]:
        """Return the LOCATIONs whose checks are to end at once; each must be answered for."""
        return checks.cut(self._tables, now)

    def ask(self, now: float) -> tuple[str, ...]:
        """Return the UDNs of devices to ask now whether they still know who subscribed."""
        return questions.begin(self._tables, now)

    def answered(self, udn: str, now: float, *, kept: bool | None) -> None:
        """Take what a device answered to that, None where nothing is subscribed to."""
        questions.end(self._tables, udn, now, kept=kept)

    def next_deadline(self, now: float) -> float | None:
        """Return when `due`, `cut` and `ask` are due again, if nothing else happens before."""
        whens = (checks.next_deadline(self._tables, now), *questions.deadlines(self._tables, now))
        return min((when for when in whens if when is not None), default=None)

    def found(  # noqa: PLR0913 - what a check reads
        self,
        location: str,
        udns: Sequence[str],
        fingerprint: bytes,
        now: float,
        *,
        is_whole: bool = True,
        whole: bytes = b"",
        identity: bytes = b"",
        took_s: float = 0.0,
    ) -> tuple[Verdict, ...]:
        """Take what a check read, as `Content` has it.

        A description that is not whole, since some SCPD was not to be had, is read again later.
        """
        content = Content(tuple(udns), fingerprint, whole, identity, took_s)
        return verdicts.found(self._tables, location, content, now, is_whole=is_whole)

    def failed(self, location: str, now: float) -> tuple[Verdict, ...]:
        """Take that a check came to nothing."""
        return verdicts.failed(self._tables, location, now)
