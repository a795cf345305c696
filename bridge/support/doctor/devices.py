"""What answers a search, and whether the filter lets it in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.formats.url import host_of
from bridge.model.device import Description
from bridge.model.topics import udn_key
from bridge.settings import Settings
from bridge.support.doctor.finding import Finding, note, ok, warning
from bridge.support.search import Found, search_for
from bridge.upnp.presence.admission import admission

SEARCH_S = 4.0
_DESCRIPTIONS_S = 4.0
_MOST_NAMES = 6
_ANSWERS = "answers come by UDP to whatever port was searched from"


@dataclass(frozen=True, slots=True)
class Answered:
    """What answered: the root devices that the bridge takes, and those that its filter denies.

    `unread` has the LOCATIONs in answers from which no description came, `refused` counts the
    announcements that pointed where their sender does not stand. `answers` says whether any device
    answered, or all that is here came of announcements and of `upnp.locations`. `duplicates` are
    the devices whose UDN others have too, with the LOCATIONs of those.
    """

    admitted: tuple[Description, ...]
    denied: tuple[Description, ...]
    unread: tuple[str, ...] = ()
    refused: int = 0
    answers: bool = True
    duplicates: tuple[tuple[Description, tuple[str, ...]], ...] = ()


async def search(settings: Settings, seconds: float = SEARCH_S) -> Answered:
    """Search as the bridge does."""
    everything = settings.upnp.model_copy(update={"allow": [], "deny": []})
    chosen = settings.model_copy(update={"upnp": everything})
    found = await search_for(seconds, chosen, patience_s=_DESCRIPTIONS_S)
    admits = admission(settings.upnp.allow, settings.upnp.deny)
    descriptions = sorted(found.descriptions.values(), key=lambda one: one.device.friendly_name)
    admitted = [one for one in descriptions if admits(one, host_of(one.location))]
    return Answered(
        tuple(admitted),
        tuple(one for one in descriptions if one not in admitted),
        tuple(_unread(found)),
        found.refused,
        bool(found.answers),
        tuple(
            (found.descriptions[udn], others)
            for udn, others in found.duplicates.items()
            if udn in found.descriptions
        ),
    )


def _unread(found: Found) -> Iterator[str]:
    told = found.descriptions.values()
    known = {udn_key(device.udn) for one in told for device in one.device.walk()}
    for udn, announcement in found.answers.items():
        if udn_key(udn) not in known and announcement.location:
            yield announcement.location


def check_search(settings: Settings, answered: Answered, let_in: str) -> Iterator[Finding]:
    """Yield what answered; `let_in` is how to let answers in at the firewall."""
    yield _judge(settings, answered, let_in)
    for location in answered.unread[:_MOST_NAMES]:
        yield warning(
            "search",
            f"a device answered, but its description cannot be read: {location}",
            f"can it be reached from here? curl {location}",
        )
    if answered.admitted and answered.denied:
        yield note("search", f"the filter excludes {_names(answered.denied)}")
    for description, others in answered.duplicates:
        for other in others[:_MOST_NAMES]:
            yield _duplicate(description, other)
    if answered.refused:
        yield note(
            "search",
            f"{answered.refused} announcements point to another network than their sender's",
            "if that is intended, add the network to upnp.trusted_networks",
        )
    yield from _vain(settings, (*answered.admitted, *answered.denied))


def _duplicate(description: Description, other: str) -> Finding:
    return warning(
        "duplicate_udn",
        f"two devices have the UDN uuid:{description.udn}: {description.device.friendly_name!r} at "
        f"{description.location} and another at {other}",
        "a UDN must be unique: the bridge shows the device that it has known longer",
        "give one of them another UDN: by an option of its program (gmediarender: --uuid), in its "
        "settings, or by resetting a device whose image or SD card was copied",
    )


def _judge(settings: Settings, answered: Answered, let_in: str) -> Finding:
    if answered.admitted and not answered.answers:
        return _unanswered(settings, answered, let_in)
    if answered.admitted:
        return ok("search", f"{_counted(answered.admitted)} answered: {_names(answered.admitted)}")
    if answered.denied:
        return warning(
            "search",
            f"{_counted(answered.denied)} answered, but the filter excludes all: "
            f"{_names(answered.denied)}",
            "see upnp.allow and upnp.deny; `upnp2mqtt discover` without them lists what they are "
            "matched with",
        )
    return warning(
        "search",
        "no device answered",
        "is a device on, and in this machine's network? Multicast does not cross routers or VLANs",
        "access points must not isolate clients; switches with IGMP snooping need a querier",
        f"{_ANSWERS}: {let_in}",
        "list devices that no search reaches in upnp.locations",
    )


def _vain(settings: Settings, everyone: Sequence[Description]) -> Iterator[Finding]:
    """Yield what of the settings leads to nothing."""
    upnp = settings.upnp
    for pattern in upnp.allow if everyone else ():
        if not any(admission([pattern], [])(one, host_of(one.location)) for one in everyone):
            yield note("search", f"upnp.allow: no device that answered matches {pattern!r}")
    there = {one.location for one in everyone}
    for location in upnp.locations:
        if location not in there:
            yield warning(
                "search",
                f"upnp.locations: no description at {location}",
                f"is the device on, and still at this address? curl {location}",
            )


def _unanswered(settings: Settings, answered: Answered, let_in: str) -> Finding:
    names = _names(answered.admitted)
    if all(one.location in settings.upnp.locations for one in answered.admitted):
        return note("search", f"no device answered; upnp.locations leads to {names}")
    return warning(
        "search",
        f"{_counted(answered.admitted)} announced themselves, but answered no search: {names}",
        f"{_ANSWERS}: {let_in}",
        "until then, devices are found when they announce themselves, some every 15 minutes",
    )


def _counted(found: Sequence[Description]) -> str:
    return f"{len(found)} device{'s' if len(found) > 1 else ''}"


def _names(found: Sequence[Description]) -> str:
    names = [one.device.friendly_name for one in found[:_MOST_NAMES]]
    more = len(found) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
