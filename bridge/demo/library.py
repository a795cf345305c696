"""The content of the simulated media server: containers and items. No I/O, no clock."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from bridge.demo.didl import CONTAINER, Entry, Resource, describe_song
from bridge.demo.music import ALBUMS, SONGS, Album, Song

ROOT: Final = "0"


def catalogue(base_uri: str, size_of: Callable[[Song], int]) -> Mapping[str, Entry]:
    """Make all objects by their ids; songs and covers are below this URI."""

    def item(song: Song) -> Entry:
        resource = Resource(f"{base_uri}{song_path(song)}", song.duration_s, size_of(song))
        cover = base_uri + song.album.cover
        return describe_song(song, f"album-{song.album.number}", resource, cover)

    items = {song: item(song) for song in SONGS}
    records = [
        _album(album, base_uri, [items[song] for song in SONGS if song.album is album])
        for album in ALBUMS
    ]

    def groups(kind: str, upnp_class: str, name_of: Callable[[Album], str]) -> Iterator[Entry]:
        for number, name in enumerate(sorted({name_of(album) for album in ALBUMS}), start=1):
            key = f"{kind}-{number}"
            parts = [
                one.refer(key)
                for album, one in zip(ALBUMS, records, strict=True)
                if name_of(album) == name
            ]
            yield _container(key, f"{kind}s", name, upnp_class, parts)

    top = [
        _container(
            "artists",
            ROOT,
            "Artists",
            CONTAINER,
            groups("artist", "object.container.person.musicArtist", lambda album: album.artist),
        ),
        _container("albums", ROOT, "Albums", CONTAINER, records),
        _container(
            "genres",
            ROOT,
            "Genres",
            CONTAINER,
            groups("genre", "object.container.genre.musicGenre", lambda album: album.genre),
        ),
        _container(
            "tracks", ROOT, "Tracks", CONTAINER, [i.refer("tracks") for i in items.values()]
        ),
    ]
    root = _container(ROOT, "-1", "Demo Media Server", CONTAINER, top)
    return {entry.id: entry for entry in (root, *descendants(root))}


def song_path(song: Song) -> str:
    """Return the path of a song."""
    return f"/track-{song.number}.wav"


def descendants(container: Entry) -> Iterator[Entry]:
    """List all objects below a container, each before those in it."""
    for child in container.children:
        yield child
        yield from descendants(child)


def _container(
    key: str, parent: str, title: str, upnp_class: str, children: Iterable[Entry]
) -> Entry:
    properties = {"dc:title": title, "upnp:class": upnp_class}
    return Entry(key, parent, properties, tuple(children))


def _album(album: Album, base_uri: str, songs: Iterable[Entry]) -> Entry:
    properties = {
        "dc:title": album.title,
        "dc:creator": album.artist,
        "upnp:artist": album.artist,
        "upnp:genre": album.genre,
        "dc:date": f"{album.year}-01-01",
        "upnp:albumArtURI": base_uri + album.cover,
        "upnp:class": "object.container.album.musicAlbum",
    }
    return Entry(f"album-{album.number}", "albums", properties, tuple(songs))
