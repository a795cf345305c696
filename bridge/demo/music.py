"""The music of the simulated devices: albums that exist nowhere else. No I/O, no clock."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Album:
    """A record; `number` counts from 1 and names its cover."""

    number: int
    title: str
    artist: str
    genre: str
    year: int

    @property
    def cover(self) -> str:
        """The path of its cover."""
        return f"/cover-{self.number}.png"


@dataclass(frozen=True, slots=True)
class Song:
    """A piece of an album; `number` is its alone, `place` counts from 1 in its album."""

    number: int
    place: int
    title: str
    duration_s: int
    album: Album = field(repr=False)


_RECORDS: Final = (
    (
        ("Datagrams at Dawn", "The Loopbacks", "Electronic", 2003),
        ("Ten Seconds of Rain", 10),
        ("No Route to Host", 11),
        ("Checksum Blues", 214),
        ("The Long Way Round", 187),
        ("Fragment, Reassemble", 243),
    ),
    (
        ("Small Packets", "Trio Multicast", "Jazz", 2011),
        ("Käse & Knäckebrot", 9),
        ("Three for Everyone", 312),
        ("Joining the Group", 268),
        ("Hop by Hop", 195),
        ("Leave Quietly", 354),
    ),
    (
        ("Last Will", "Ada Retain", "Folk", 2014),
        ("Time to Live", 10),
        ("At Least Once", 176),
        ("Clean Session", 203),
        ("What the Broker Kept", 231),
        ("Goodbye, Goodbye", 158),
    ),
    (
        ("Warm Relays", "Light Switch Choir", "Classical", 1998),
        ("Prelude for Two Lamps", 142),
        ("Stairwell, Evening", 288),
        ("The Dimmer", 365),
        ("Night Light", 251),
        ("All Off", 97),
    ),
    (
        ("Living Room, 9 p.m.", "The Sofa Set", "Pop", 2019),
        ("Where Is the Remote?", 183),
        ("Turn It Up (a Little)", 176),
        ("Neighbours", 209),
        ("One More Episode", 221),
        ("Asleep Before the End", 246),
    ),
    (
        ("Uplink", "Nora NAT", "Electronic", 2022),
        ("Hello, Outside", 205),
        ("Mapping", 238),
        ("Hairpin", 192),
        ("Lease Time", 264),
        ("Double Translation", 301),
    ),
    (
        ("Second Floor", "Trio Multicast", "Jazz", 2016),
        ("Cable Tray", 277),
        ("Brown, White-Brown", 329),
        ("Patch Panel", 244),
        ("Where Does This One Go?", 408),
        ("Labelled, Finally", 185),
    ),
    (
        ("Quiet Hours", "Ada Retain", "Folk", 2020),
        ("Kettle On", 169),
        ("The Cat on the Router", 212),
        ("Snow on the Aerial", 234),
        ("Keep Alive", 198),
        ("Offline", 271),
    ),
)

ALBUMS: Final = tuple(Album(number, *about) for number, (about, *_) in enumerate(_RECORDS, start=1))
SONGS: Final = tuple(
    Song(album.number * 100 + place, place, title, duration_s, album)
    for album, (_, *songs) in zip(ALBUMS, _RECORDS, strict=True)
    for place, (title, duration_s) in enumerate(songs, start=1)
)


def songs_named(*titles: str) -> tuple[Song, ...]:
    """Find songs by their titles; KeyError if there is none of that title."""
    by_title = {song.title: song for song in SONGS}
    return tuple(by_title[title] for title in titles)
