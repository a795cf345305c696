"""The player in one piece: AVTransport and RenderingControl of instance 0, for people and hubs.

What `media` says of a device (AVTransport 1.0 section 2.2, RenderingControl 1.0 section 2.2), with
DIDL-Lite (ContentDirectory 1.0 section 2.3) read by didl-lite.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from html import unescape
from math import inf
from typing import Final
from urllib.parse import urljoin, urlsplit

from didl_lite import didl_lite
from didl_lite.utils import NAMESPACES

from bridge.core import values, xml
from bridge.core.model import StateVariable
from bridge.core.state import Key
from bridge.core.values import Value

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

_PLACES: Mapping[str, tuple[Key, ...]] = {
    name: (Key(name, INSTANCE), Key(name))
    for name in (
        "AVTransportURI",
        "AVTransportURIMetaData",
        "CurrentMediaDuration",
        "CurrentPlayMode",
        "CurrentTrack",
        "CurrentTrackDuration",
        "CurrentTrackMetaData",
        "CurrentTrackURI",
        "NumberOfTracks",
        "TransportState",
    )
}
"""Where the values of AVTransport may stand, the likely place first."""

_SPEAKERS: Mapping[str, tuple[Key, ...]] = {
    name: (*(Key(name, INSTANCE, one) for one in ("Master", None, "LF", "RF")), Key(name))
    for name in ("Volume", "Mute")
}
"""Where those of RenderingControl may stand: of the whole, else of the first speaker."""

_UNKNOWN = frozenset({"", "NOT_IMPLEMENTED"})
_DURATION = re.compile(r"\+?(\d{1,6}):([0-5]?\d):([0-5]?\d(?:\.\d{1,9})?)(?:/\d+)?")
_MAX_METADATA = 262_144
_MAX_CLASS = 256
_MAX_ATTRIBUTES = 64
"""Of an element: more are no DIDL-Lite, and the library reads them slower and slower."""


def summary(
    transport: Values, rendering: Values, volume: StateVariable | None, base_url: str
) -> dict[str, object]:
    """Return what `media` says, from the values of both services; empty where nothing is known.

    `volume` is the state variable whose range is 0 to 100 %, URLs are made absolute by `base_url`.
    """

    def told(*names: str) -> str | None:
        for name in names:
            value = _first(transport, _PLACES[name])
            if value is not None and value not in _UNKNOWN:
                return values.write(value)
        return None

    item = _item(told("CurrentTrackMetaData"), base_url) or _item(
        told("AVTransportURIMetaData"), base_url
    )
    duration = _seconds(told("CurrentTrackDuration")) or item.pop("duration_s", None)
    item.pop("duration_s", None)
    fields = {
        "state": STATES.get(told("TransportState") or ""),
        **item,
        "uri": told("CurrentTrackURI", "AVTransportURI"),
        "duration_s": duration or _seconds(told("CurrentMediaDuration")),
        "track": _whole(told("CurrentTrack")),
        "tracks": _whole(told("NumberOfTracks")),
        "volume": _percent(_first(rendering, _SPEAKERS["Volume"]), volume),
        "muted": _first(rendering, _SPEAKERS["Mute"]),
        "play_mode": told("CurrentPlayMode"),
    }
    if not isinstance(fields["muted"], bool):
        fields["muted"] = None
    return {name: value for name, value in fields.items() if value is not None}


def _first(told: Values, places: Iterable[Key]) -> Value | None:
    for place in places:
        if place in told:
            return told[place]
    return None


def _percent(value: Value | None, variable: StateVariable | None) -> int | None:
    if isinstance(value, bool | str | None):
        return None
    low, high = volume_range(variable)
    span = high - low
    if not 0 < span < inf:
        return None
    return round((min(max(value, low), high) - low) / span * 100)


def volume_range(variable: StateVariable | None) -> tuple[float, float]:
    """Return the least and the greatest volume; 0 and 100 where the SCPD does not say."""
    found: list[float] = []
    for text, default in ((variable and variable.minimum, 0), (variable and variable.maximum, 100)):
        bound = values.read("r8", text) if text else default
        found.append(default if isinstance(bound, str) else bound)
    return found[0], found[1]


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text) else None


def _seconds(text: str | None) -> float | None:
    """Return the seconds in an `H+:MM:SS[.F+]`; None where there are none, or no such form."""
    match = _DURATION.fullmatch((text or "").strip())
    if match is None:
        return None
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
    return (int(seconds) if seconds.is_integer() else round(seconds, 3)) or None


def _item(metadata: str | None, base_url: str) -> dict[str, object]:
    """Return what DIDL-Lite says of the first thing in it; a new dictionary, empty for no such."""
    if metadata is None or len(metadata) > _MAX_METADATA:
        return {}
    return dict(_read_item(metadata, base_url))


@lru_cache(maxsize=64)
def _read_item(metadata: str, base_url: str) -> Mapping[str, object]:
    try:
        if "<" not in metadata:
            metadata = unescape(metadata)  # of devices that escape it once too often
        root, _ = xml.parse_text(metadata)
        upnp_class = _mend(root)
        found = didl_lite.from_xml_el(root, strict=False)  # type: ignore[arg-type]
    except (didl_lite.DidlLiteException, ValueError, LookupError, AttributeError, TypeError):
        return {}  # XmlError is a ValueError
    thing = next((one for one in found if isinstance(one, didl_lite.DidlObject)), None)
    if thing is None:
        return {}
    durations = (_seconds(getattr(one, "duration", None)) for one in thing.res)
    fields: dict[str, object] = {
        "title": _text(thing, "title"),
        "artist": _text(thing, "artist", "creator", "author", "album_artist"),
        "album": _text(thing, "album"),
        "album_art": _absolute(_text(thing, "album_art_uri"), base_url),
        "media_class": upnp_class,
        "duration_s": next((one for one in durations if one), None),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _text(thing: didl_lite.DidlObject, *names: str) -> str | None:
    for name in names:
        text = getattr(thing, name, None)
        if isinstance(text, str) and text.strip():
            return text.strip()
    return None


def _absolute(url: str | None, base_url: str) -> str | None:
    if url is None:
        return None
    try:
        whole = urljoin(base_url, url)
        parts = urlsplit(whole)
    except ValueError:
        return None
    return whole if parts.scheme in ("http", "https") and parts.hostname else None


def _mend(root: xml.Element) -> str | None:
    """Make DIDL-Lite what the library reads, its first thing alone; return its class, as it came.

    Names count whatever their namespaces are, and a class that the library does not know is read as
    the nearest one above it that it knows (`object.item.audioItem.musicTrack.live`).
    """
    thing = next((one for one in root if xml.local(one) in ("item", "container")), None)
    if thing is None or len(thing.attrib) > _MAX_ATTRIBUTES:
        root.clear()
        return None
    named = xml.child_text(thing, "class") or xml.child_text(root, "class")  # WiiM has it above
    for other in tuple(root):
        if other is not thing:
            root.remove(other)
    thing.tag = f"{{{NAMESPACES['didl_lite']}}}{xml.local(thing)}"
    for element in tuple(thing):
        name = xml.local(element)
        if name in ("class", "desc", "") or len(element.attrib) > _MAX_ATTRIBUTES:
            thing.remove(element)
        else:
            element.tag = f"{{{NAMESPACES['didl_lite']}}}{name}" if name == "res" else name
    known = named = named[:_MAX_CLASS]
    while known and didl_lite.type_by_upnp_class(known, strict=False) is None:
        known = known.rpartition(".")[0]
    element = thing.makeelement(f"{{{NAMESPACES['upnp']}}}class", None, None)
    element.text = known if known.count(".") else "object.item"
    thing.append(element)
    return named or None
