"""The player in one piece: AVTransport and RenderingControl of instance 0, for people and hubs.

What `media` says of a device (AVTransport 1.0 section 2.2, RenderingControl 1.0 section 2.2).
`didl` reads the metadata.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import inf
from typing import Final

from bridge.model import datatypes, didl, titles
from bridge.model.datatypes import Value
from bridge.model.device import Key, StateVariable
from bridge.model.didl import Item

Values = Mapping[Key, Value]

INSTANCE: Final = "0"

STATES: Final[Mapping[str, str]] = {
    "PLAYING": "playing",
    "RECORDING": "playing",
    "PAUSED_PLAYBACK": "paused",
    "PAUSED_RECORDING": "paused",
    "STOPPED": "stopped",
    "TRANSITIONING": "transitioning",
    "NO_MEDIA_PRESENT": "no_media",
}
"""What a TransportState is called in `media`; other states, of vendors, are left out."""

_METADATA = (
    *("CurrentTrackMetaData", "AVTransportURIMetaData"),
    "EnqueuedTransportURIMetaData",  # Sonos
)
_PLACES: Mapping[str, tuple[Key, Key]] = {
    name: (Key(name, INSTANCE), Key(name))
    for name in (
        *_METADATA,
        "AVTransportURI",
        "CurrentMediaDuration",
        "CurrentPlayMode",
        "CurrentTrack",
        "CurrentTrackDuration",
        "CurrentTrackURI",
        "NumberOfTracks",
        "TransportState",
    )
}
"""Where the values of AVTransport may stand, the likely place first."""

_MASTER = "Master"
_STATE = Key("TransportState", INSTANCE)
_LOUD = Key("Volume", INSTANCE, _MASTER)
_PAIRS = (("lf", "rf"), ("fl", "fr"), ("l", "r"), ("left", "right"))
_SUBWOOFERS = frozenset({"lfe", "sw", "sub", "subwoofer"})
_PERCENT = (0.0, 100.0)
_DECIBELS = (-60.0 * 256, 0.0)
"""The range of a VolumeDB that has none: what players commonly do between silent and full."""
_SWITCHED = {"on": True, "off": False}


def summary(
    transport: Values,
    rendering: Values,
    volume: StateVariable | None,
    base_url: str,
    volume_db: StateVariable | None = None,
) -> dict[str, object]:
    """Return what `media` says, from the values of both services; empty where nothing is known.

    `volume` is the state variable whose range is 0 to 100 %, `volume_db` counts where no volume
    is told. URLs are made absolute by `base_url`. Where a service tells nothing of instance 0, the
    least InstanceID that it does tell of counts.
    """
    instance = _instance(transport, INSTANCE, _STATE)

    def told(name: str) -> str | None:
        for place in _PLACES[name] if instance == INSTANCE else _places(name, instance):
            value = transport.get(place)
            if value is not None:
                text = datatypes.write(value).strip()
                if text not in didl.UNKNOWN:
                    return text
        return None

    track_uri, loaded_uri = told("CurrentTrackURI"), told("AVTransportURI")
    track, loaded, enqueued = map(_bounded, map(told, _METADATA))
    item = _what_plays(track, loaded, enqueued, _bounded(track_uri), _bounded(loaded_uri), base_url)
    duration = didl.seconds(told("CurrentTrackDuration")) or item.duration_s
    speaker = _instance(rendering, instance, _LOUD)
    fields = {
        "state": STATES.get(told("TransportState") or ""),
        "title": item.title,
        "artist": item.artist,
        "album": item.album,
        "album_art": item.art,
        "media_class": item.media_class,
        "uri": track_uri or loaded_uri,
        "duration_s": duration or didl.seconds(told("CurrentMediaDuration")),
        "track": _whole(told("CurrentTrack")),
        "tracks": _whole(told("NumberOfTracks")),
        "volume": _percent(rendering, speaker, volume, volume_db),
        "muted": _muted(rendering, speaker),
        "play_mode": told("CurrentPlayMode"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _instance(told: Values, preferred: str, likely: Key) -> str:
    """Return the InstanceID that a service tells of: this one, else 0, else the least.

    `likely` is a value of instance 0 that is nearly always there.
    """
    if preferred == INSTANCE and likely in told:
        return INSTANCE
    found = {key.instance for key in told if key.instance is not None}
    for one in (preferred, INSTANCE):
        if one in found or not found:
            return one
    return min(found, key=lambda one: (len(one), one))


def _places(name: str, instance: str) -> tuple[Key, Key]:
    """Return where a value may stand; what has no InstanceID counts before another's than 0."""
    own, bare = Key(name, instance), Key(name)
    return (own, bare) if instance == INSTANCE else (bare, own)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


# What plays


def _bounded(text: str | None) -> str | None:
    return text if text is None or len(text) <= didl.MAX_METADATA else None


@lru_cache(maxsize=64)
def _what_plays(  # noqa: PLR0913, PLR0917 - what it follows from
    track: str | None,
    loaded: str | None,
    enqueued: str | None,
    track_uri: str | None,
    loaded_uri: str | None,
    base_url: str,
) -> Item:
    return _described(
        didl.read(track, base_url),
        didl.read(loaded, base_url),
        didl.read(enqueued, base_url),
        track_uri or loaded_uri,
        is_same=track_uri is None or loaded_uri is None or track_uri == loaded_uri,
    )


def _described(track: Item, loaded: Item, station: Item, uri: str | None, *, is_same: bool) -> Item:
    """Return what is known of what plays: the track's own metadata, else that of what is loaded.

    `is_same` says that what is loaded may be the track itself, and no list of many. A title for
    machines, as those of streams are, gives way to what is on the air, then to the station's.
    """
    item = loaded if track == didl.NOTHING else track
    title, artist, album, art = item.title, item.artist, item.album, item.art
    named = titles.of_uri(uri)
    is_technical = titles.is_technical(title)
    is_station = (item.media_class or "").lower().endswith("audiobroadcast")
    is_stream = is_same or named is None
    air = titles.on_air(item.on_air)
    if (air.title or air.artist) and (is_technical or is_station or not (artist or album)):
        title = air.title or (None if is_technical else title)
        artist, album = air.artist or artist, air.album or album
    elif is_technical:
        around = (loaded.title, station.title) if is_stream else ()
        better = (one for one in (titles.show(item.show), *around) if one)
        title = next((one for one in better if not titles.is_technical(one)), title)
    if title is None or titles.is_url(title):
        title = titles.of_uri(title) or named
    if art is None and is_stream:
        art = loaded.art or station.art
    return Item(title, artist, album, art, item.media_class, item.duration_s)


# How loud


def volume_range(variable: StateVariable | None) -> tuple[float, float]:
    """Return the least and the greatest volume; 0 and 100 where the SCPD does not say."""
    return _range(variable, _PERCENT)


def _listed(variable: StateVariable) -> tuple[str | None, str | None]:
    """Return the bounds in an SCPD, those of a list of numbers where there is no range."""
    if variable.minimum is None and variable.maximum is None and variable.allowed_values:
        read = [datatypes.read("r8", one) for one in variable.allowed_values]
        numbers = [one for one in read if not isinstance(one, str)]
        if len(numbers) == len(read):
            return datatypes.write(min(numbers)), datatypes.write(max(numbers))
    return variable.minimum, variable.maximum


def _range(variable: StateVariable | None, default: tuple[float, float]) -> tuple[float, float]:
    found: list[float] = []
    bounds = _listed(variable) if variable else (None, None)
    for text, other in zip(bounds, default, strict=True):
        bound = datatypes.read("r8", text.strip()) if text else other
        found.append(other if isinstance(bound, str) else bound)
    return found[0], found[1]


def _percent(
    told: Values, instance: str, volume: StateVariable | None, volume_db: StateVariable | None
) -> int | None:
    for name, variable, default in (
        ("Volume", volume, _PERCENT),
        ("VolumeDB", volume_db, _DECIBELS),
    ):
        found = _speakers(told, name, instance)
        if levels := [one for one in map(_number, found) if one is not None]:
            bounds = sorted(_range(variable, default))
            low, high = bounds if 0 < bounds[1] - bounds[0] < inf else default
            shares = [(min(max(one, low), high) - low) / (high - low) for one in levels]
            return round(sum(shares) / len(shares) * 100)
    return None


def _muted(told: Values, instance: str) -> bool | None:
    found = [one for one in map(_truth, _speakers(told, "Mute", instance)) if one is not None]
    return all(found) if found else None


def _speakers(told: Values, name: str, instance: str) -> Iterable[Value]:
    """Return what is told of the whole, else without a channel, else of all speakers that count.

    These are the two in front; else all but subwoofers.
    """
    for place in (Key(name, instance, _MASTER), *_places(name, instance)):
        if place.instance is None and instance == INSTANCE:
            continue  # behind the speakers
        value = told.get(place)
        if value is not None and value not in didl.UNKNOWN:
            return (value,)
    channels = {
        key.channel.strip().lower(): value
        for key, value in told.items()
        if key.name == name
        and key.instance == instance
        and key.channel is not None
        and value not in didl.UNKNOWN
    }
    for group in ((_MASTER.lower(),), *_PAIRS):
        if found := [channels[one] for one in group if one in channels]:
            return found
    if Key(name) in told:
        return (told[Key(name)],)
    return [value for channel, value in channels.items() if channel not in _SUBWOOFERS]


def _number(value: Value) -> float | None:
    """Return a volume as a number, as text too: a service may lack its SCPD."""
    if isinstance(value, str):
        value = datatypes.read("r8", value.strip().removesuffix("%").rstrip())
    return None if isinstance(value, bool | str) else value


def _truth(value: Value) -> bool | None:
    if not isinstance(value, bool):
        text = datatypes.write(value).strip().lower()
        value = _SWITCHED.get(text, datatypes.read("boolean", text))
    return value if isinstance(value, bool) else None
