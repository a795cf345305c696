"""DIDL-Lite as players tell it: what the first thing in it is (ContentDirectory 1.0, section 2.3).

python-didl-lite reads the resources. Which one counts of several titles, artists and covers is
decided here: the library keeps the last of each name, whatever its namespace and its role.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from didl_lite.didl_lite import Resource

from bridge.formats import xml

UNKNOWN: Final = frozenset({"", "NOT_IMPLEMENTED", "un_known"})
"""Texts that say that nothing is known: the standard's, and LinkPlay's."""

MAX_METADATA: Final = 262_144
"""The most characters of metadata that are read."""
_MAX_CLASS = 256
_MAX_ATTRIBUTES = 64
"""Of an element: more are no DIDL-Lite, and to look through them takes longer and longer."""
_MAX_DEPTH = 4
_MAX_OF_A_NAME = 64
_MAX_URL = 4096
_MAX_HOURS = 10_000
_MAX_DURATION = 64

_DURATION = re.compile(
    r"\+?(?:(?:(\d{0,6}):)?(\d{0,6}):)?(\d{1,9})(?:[.,](\d*)(?:/(\d+))?)?", re.ASCII
)
_MOST = 59
_PROFILE = re.compile(r"_(TN|SM|MED|LRG)(_ICO)?$", re.IGNORECASE)
_RESOLUTION = re.compile(r"\s*(\d{1,6})\s*[xX*_]\s*(\d{1,6})\s*", re.ASCII)
_PIXELS = {"TN": 160 * 160, "SM": 640 * 480, "MED": 1024 * 768, "LRG": 4096 * 4096}
_ICON_PIXELS = {"TN": 48 * 48, "SM": 48 * 48, "MED": 120 * 120, "LRG": 120 * 120}
_UNSIZED = 800 * 600
"""What a cover without a size is taken for: a server that gives just one gives a good one."""
_NO_HOST = re.compile(r"[\s\x00-\x20<>\"'\\^`{|}]")
_NO_URL = frozenset({"unknown", "unknow", "none", "null", "(null)"})

_HTML = frozenset({"a", "b", "br", "em", "font", "i", "p", "small", "span", "strong", "sub", "sup"})
_PERFORMER, _NO_ROLE, _CREATOR, _ALBUM_ARTIST, _OTHER, _AUTHOR, _MAKER = range(7)
_ROLES = {
    **dict.fromkeys(
        (
            *("performer", "performers", "mainperformer", "leadperformer", "artist", "artists"),
            *("mainartist", "leadartist", "primaryartist", "trackartist", "singer", "vocalist"),
        ),
        _PERFORMER,
    ),
    "": _NO_ROLE,
    **dict.fromkeys(("albumartist", "albumartists", "albumperformer"), _ALBUM_ARTIST),
    **dict.fromkeys(
        (
            *("composer", "composers", "conductor", "lyricist", "librettist", "songwriter"),
            *("writer", "author", "arranger", "producer", "engineer", "mixer", "remixer"),
            *("publisher", "director", "dj"),
        ),
        _MAKER,
    ),
}
"""Whom a listener calls the artist, by what the role is called, the first of these."""
_NAMES = {
    "artist": _NO_ROLE,
    "performer": _PERFORMER,
    "creator": _CREATOR,
    "albumartist": _ALBUM_ARTIST,
    "author": _AUTHOR,
    "orchestra": _OTHER,
    "composer": _MAKER,
    "conductor": _MAKER,
}
"""The same by what an element without a role is called."""
_NO_LETTER = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, slots=True)
class Item:
    """What DIDL-Lite says of a thing, texts without outer white space; None for what it does not.

    `art` is absolute, of `http` or `https`. `on_air` and `show` are what Sonos says of a radio
    station: the text that comes with the stream, and the programme.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    art: str | None = None
    media_class: str | None = None
    duration_s: float | None = None
    on_air: str | None = None
    show: str | None = None


NOTHING: Final = Item()


class _Told(NamedTuple):
    """An element that tells something; `far` is 0 in DIDL-Lite's own namespace for its name."""

    far: int
    depth: int
    element: xml.Element


_FOREIGN = 3
"""How far an element is in a namespace of a vendor: it counts where nothing else is told."""


def read(metadata: str | None, base_url: str) -> Item:
    """Return what DIDL-Lite says of the first thing in it, as far as it can be read.

    Relative addresses are taken from `base_url`.
    """
    if metadata is None or len(metadata) > MAX_METADATA:
        return NOTHING
    return _read(metadata, base_url)


@lru_cache(maxsize=64)
def _read(metadata: str, base_url: str) -> Item:
    try:
        for _ in range(2):  # of devices that escape it once too often, or twice
            if "<" not in metadata:
                metadata = xml.unescaped(metadata)
        root, _ = xml.parse_text(metadata)
    except xml.XmlError:
        return NOTHING
    thing = _first_thing(root)
    if thing is None or len(thing.attrib) > _MAX_ATTRIBUTES:
        return NOTHING
    told = _sorted(thing)
    resources = [  # lxml's elements do as well as those that it knows
        Resource.from_xml(one.element)  # type: ignore[arg-type]
        for one in told.get("res", ())
    ]
    durations = (seconds(one.duration) for one in resources)
    named = _first(told.get("class", ())) or _known(xml.child_text(root, "class"))  # WiiM: above
    return Item(
        title=_first(told.get("title", ())),
        artist=_artist(told),
        album=_first(told.get("album", ())),
        art=_art(told, resources, base_url),
        media_class=named[:_MAX_CLASS] if named else None,
        duration_s=next((one for one in durations if one), None),
        on_air=_first(told.get("streamcontent", ())),
        show=_first(told.get("radioshowmd", ())),
    )


def seconds(text: str | None) -> float | None:
    """Return the seconds of a duration; None where there are none, or more than can be.

    The form is `H+:MM:SS[.F+]` or `H+:MM:SS[.F0/F1]` (ContentDirectory 1.0, appendix B.2.1.4). What
    devices leave out of it may be missing: hours, minutes, digits behind the point.
    """
    return _seconds(text) if text and len(text) <= _MAX_DURATION else None


@lru_cache(maxsize=256)
def _seconds(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, whole, fraction, parts = match.groups()
    if (minutes is not None and int(whole) > _MOST) or (hours and int(minutes or 0) > _MOST):
        return None
    found = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(whole)
    if found > _MAX_HOURS * 3600:
        return None
    if parts and fraction:
        part, of = int(fraction[:9]), int(parts[:9])
        found_s = found + (part / of if part < of else 0.0)
    else:
        found_s = found + float(f"0.{(fraction or '')[:9]}0")
    return (int(found_s) if found_s.is_integer() else round(found_s, 3)) or None


def absolute(url: str | None, base_url: str) -> str | None:
    """Return an address of `http` or `https` in full, in the characters of a URI (RFC 3986)."""
    if url is None or url.lower() in _NO_URL:
        return None
    try:
        # What is escaped once too often is no part of any address.
        parts = urlsplit(urljoin(base_url, url.replace("&amp;", "&")))
        _ = parts.port  # ValueError where it is none
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or _NO_HOST.search(parts.netloc):
        return None
    # What is written as `%XX` stays so.
    path, query, fragment = (
        quote(one, safe="!$%&'()*+,-./:;=?@_~[]", errors="replace") for one in parts[2:]
    )
    whole = urlunsplit((parts.scheme, parts.netloc, path, query, fragment))
    return whole if len(whole) <= _MAX_URL else None


# Which elements tell what


def _first_thing(root: xml.Element) -> xml.Element | None:
    """Return the first item or container; DIDL-Lite itself where its fields stand in no such."""
    for found in (root, root.iter()):
        for element in found:
            if xml.local(element).lower() in _THINGS:
                return element
    return root if xml.local(root).lower() == "didl-lite" else None


_THINGS = frozenset({"item", "container"})


def _sorted(thing: xml.Element) -> dict[str, list[_Told]]:
    """Return the elements within a thing by their names in lower case, the nearest first."""
    found: dict[str, list[_Told]] = {}
    for depth, element in _within(thing, 0):
        name = xml.local(element).lower()
        if name in _READ and len(found.setdefault(name, [])) < _MAX_OF_A_NAME:
            told = _Told(_far(element, "dc" if name in _DUBLIN else "upnp"), depth, element)
            found[name].append(told)
    for told_so in found.values():
        if len(told_so) > 1:
            told_so.sort(key=lambda one: one[:2])
    return found


_DUBLIN = frozenset({"title", "creator"})
_READ = frozenset(
    {*_DUBLIN, *_NAMES, "album", "albumarturi", "class", "icon", "radioshowmd", "res"}
    | {"streamcontent"}
)


def _within(parent: xml.Element, depth: int) -> Iterator[tuple[int, xml.Element]]:
    """Yield all elements within one: where XML is broken, fields stand in fields.

    But not what vendors write in `desc`, and no other things.
    """
    for element in parent:
        if len(element.attrib) <= _MAX_ATTRIBUTES:
            yield depth, element
        if len(element) and depth < _MAX_DEPTH and xml.local(element) not in _APART:
            yield from _within(element, depth + 1)


_APART = frozenset({"desc", "item", "container", ""})


def _far(element: xml.Element, home: str) -> int:
    tag = str(element.tag)
    uri = tag[1:].rpartition("}")[0] if tag.startswith("{") else ""
    prefix = (element.prefix or tag[len(uri) :].rpartition(":")[0]).lower()
    family = _family(uri) if uri else ""
    if family == home:
        return 0
    if not family and prefix == home:  # not bound, or to something else
        return 1
    return 2 if family or not (uri or prefix) or prefix in ("dc", "upnp") else _FOREIGN


@lru_cache(maxsize=128)
def _family(uri: str) -> str:
    written = uri[:256].lower()
    families = (("didl-lite", "didl"), ("purl.org/dc", "dc"), ("metadata-1-0/upnp", "upnp"))
    return next((family for part, family in families if part in written), "")


def _known(text: str) -> str | None:
    text = text.strip()
    return None if text in UNKNOWN else text


def _text(element: xml.Element) -> str | None:
    """Return what an element says, HTML in it as it is; None for nothing."""
    if len(element) and all(xml.local(one).lower() in _HTML for one in element):
        try:
            return _known(xml.inner(element))
        except xml.XmlError:
            pass
    return _known(xml.text(element))


def _first(told: Iterable[_Told]) -> str | None:
    return next((text for one in told if (text := _text(one.element))), None)


def _attribute(element: xml.Element, name: str) -> str:
    """Return an attribute by its name, whatever its namespace and its case."""
    found = element.get(name)
    if found is None:
        for key in element.keys():  # noqa: SIM118 - of names alone: values are slow to get
            if str(key).rpartition("}")[2].rpartition(":")[2].lower() == name.lower():
                return element.get(key) or ""
    return found or ""


# The artist


def _artist(told: dict[str, list[_Told]]) -> str | None:
    found = [
        ((one.far == _FOREIGN, _rank(name, one.element), one.far, one.depth), one)
        for name in _NAMES
        for one in told.get(name, ())
    ]
    if len(found) > 1:
        found.sort(key=lambda ranked: ranked[0])
    return _first(one for _, one in found)


def _rank(name: str, element: xml.Element) -> int:
    role = _attribute(element, "role") if len(element.attrib) else ""
    roles = [_NO_LETTER.sub("", one).lower() for one in re.split(r"[,;/|]", role[:_MAX_CLASS])]
    if not any(roles):
        return _NAMES[name]
    return min(_ROLES.get(one, _OTHER) for one in roles if one)


# The cover


def _art(told: dict[str, list[_Told]], resources: Iterable[Resource], base_url: str) -> str | None:
    """Return the largest cover; where there is none, the largest picture that is a resource."""
    covers = told.get("albumarturi", ())
    pictures = [
        (one.uri or "", _pixels(one.resolution or "", _profile(one.protocol_info)))
        for one in resources
        if ":image/" in (one.protocol_info or "").lower()
    ]
    ranks: tuple[Callable[[], Iterable[tuple[str, int]]], ...] = (
        lambda: _sized(one.element for one in covers if one.far < _FOREIGN),
        lambda: pictures,
        lambda: _sized(one.element for one in told.get("icon", ()) if one.far < _FOREIGN),
        lambda: _sized(one.element for one in covers if one.far == _FOREIGN),
    )
    for rank in ranks:
        for url, _ in sorted(rank(), key=lambda one: -one[1]):
            if (text := _known(url)) and (art := absolute(text, base_url)):
                return art
    return None


def _sized(elements: Iterable[xml.Element]) -> Iterator[tuple[str, int]]:
    for element in elements:
        resolution = profile = ""
        if len(element.attrib):
            profile = _attribute(element, "profileID")
            sides = _attribute(element, "width"), _attribute(element, "height")
            resolution = _attribute(element, "resolution") or "x".join(sides)
        yield xml.text(element), _pixels(resolution, profile)


def _profile(protocol_info: str | None) -> str:
    """Return the profile in the fourth field of a protocolInfo."""
    found = re.search(r"DLNA\.ORG_PN=(\w+)", protocol_info or "", re.IGNORECASE)
    return found[1] if found else ""


def _pixels(resolution: str, profile: str) -> int:
    """Return how many pixels a picture has, by what is said of it, or may have by its profile."""
    sides = _RESOLUTION.fullmatch(resolution) or re.search(r"_RES_(\d{1,6})_(\d{1,6})", profile)
    if sides and (pixels := int(sides[1]) * int(sides[2])):
        return pixels
    named = _PROFILE.search(profile.strip())
    if named is None:
        return _UNSIZED
    return (_ICON_PIXELS if named[2] else _PIXELS)[named[1].upper()]
