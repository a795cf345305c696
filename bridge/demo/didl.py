"""DIDL-Lite: what a media server says of its music, and a renderer of what it plays. No I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape, quoteattr

from bridge.demo.music import Song

CONTAINER = "object.container"
TRACK = "object.item.audioItem.musicTrack"

_DURATION = re.compile(r"""<res\b[^>]*?\bduration=["'](\d+):(\d\d?):(\d\d?)""")

Properties = Mapping[str, str]
"""An object's properties by their names, such as `dc:title`, in the order of the document."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a song can be fetched."""

    uri: str
    duration_s: int
    size: int | None = None
    mimetype: str = "audio/wav"

    def write(self) -> str:
        """Write the element `res`."""
        size = "" if self.size is None else f' size="{self.size}"'
        return (
            f'<res protocolInfo="http-get:*:{self.mimetype}:*"{size}'
            f' duration="{format_duration(self.duration_s)}">{escape(self.uri)}</res>'
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of a content directory: a container, or an item with a resource."""

    id: str
    parent: str
    properties: Properties
    children: tuple["Entry", ...] = field(default=(), repr=False)
    resource: Resource | None = None
    original: str = ""
    """The id of the object that this one refers to, "" if it is the object itself."""

    def refer(self, parent: str) -> "Entry":
        """Make an entry below another container that refers to this one, and so do those in it."""
        key = f"{parent}/{self.id.rpartition('/')[2]}"
        children = tuple(child.refer(key) for child in self.children)
        original = self.original or self.id
        return replace(self, id=key, parent=parent, children=children, original=original)

    def write(self) -> str:
        """Write the element `item` or `container`."""
        attributes = {"id": self.id, "parentID": self.parent, "restricted": "1"}
        if self.resource:
            name, resource = "item", self.resource.write()
            attributes |= {"refID": self.original} if self.original else {}
        else:
            name, resource = "container", ""
            attributes |= {"childCount": str(len(self.children)), "searchable": "1"}
        start = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
        inside = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in self.properties.items())
        return f"<{name}{start}>{inside}{resource}</{name}>"


def document(entries: Iterable[Entry]) -> str:
    """Write these objects as one DIDL-Lite document."""
    return (
        '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/">'
        + "".join(entry.write() for entry in entries)
        + "</DIDL-Lite>"
    )


def describe_song(song: Song, parent: str, resource: Resource, cover: str) -> Entry:
    """Describe a song, whose cover is at this URL."""
    album = song.album
    properties = {
        "dc:title": song.title,
        "dc:creator": album.artist,
        "upnp:artist": album.artist,
        "upnp:album": album.title,
        "upnp:genre": album.genre,
        "upnp:originalTrackNumber": str(song.place),
        "dc:date": f"{album.year}-01-01",
        "upnp:albumArtURI": cover,
        "upnp:class": TRACK,
    }
    return Entry(f"track-{song.number}", parent, properties, resource=resource)


def format_duration(seconds: float) -> str:
    """Write a duration as AVTransport does, `H:MM:SS`."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


def read_duration(metadata: str) -> int | None:
    """Read how many whole seconds an item lasts; None if its DIDL-Lite does not say."""
    found = _DURATION.search(metadata)
    if not found:
        return None
    hours, minutes, seconds = map(int, found.groups())
    return (hours * 60 + minutes) * 60 + seconds
