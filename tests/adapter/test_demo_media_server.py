"""The simulated media server, browsed by a control point that others wrote."""

import io
import random
import wave

import aiohttp
import pytest
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError
from async_upnp_client.profiles.dlna import DmsDevice
from didl_lite import didl_lite

from bridge.demo.simulation import simulate

HOST = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
CHILDREN = "BrowseDirectChildren"


@pytest.fixture
async def server():
    """Return the media server as async-upnp-client's profile sees it."""
    async with simulate(HOST) as devices:
        (url,) = (
            device.base_uri + device.device_url
            for device in devices
            if device.name == "Demo Media Server"
        )
        device = await UpnpFactory(AiohttpRequester()).async_create_device(url)
        yield DmsDevice(device, None)


async def browse(server, key, **page):
    """Return the objects in a container."""
    return (await server.async_browse_direct_children(key, **page)).result


async def fetch(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return answer.content_type, await answer.read()


async def test_all_folders_are_walked_down_to_the_songs(server):
    """Every object knows its parent, and a container has as many objects as it says."""
    root = await server.async_browse_metadata("0")
    seen, waiting = {root.id}, [root]
    tracks: list[didl_lite.Item] = []
    while waiting:
        container = waiting.pop()
        found = await server.async_browse_direct_children(container.id)
        assert (
            len(found.result)
            == found.number_returned
            == found.total_matches
            == int(container.child_count)
        )
        for one in found.result:
            assert one.parent_id == container.id
            assert one.id not in seen
            seen.add(one.id)
            (waiting if isinstance(one, didl_lite.Container) else tracks).append(one)
            alone = await server.async_browse_metadata(one.id)
            assert (alone.title, alone.parent_id) == (one.title, one.parent_id)
    songs = {track.id for track in tracks if not track.ref_id}
    assert len(songs) == 40
    assert {track.ref_id for track in tracks if track.ref_id} == songs
    assert [one.title for one in await browse(server, "0")] == [
        *("Artists", "Albums", "Genres", "Tracks")
    ]


async def test_pages_of_a_long_folder_make_it_whole(server):
    whole = await server.async_browse_direct_children("tracks")
    pages = []
    for start in range(0, 45, 15):
        page = await server.async_browse_direct_children(
            "tracks", starting_index=start, requested_count=15
        )
        assert page.total_matches == 40
        pages.append([one.id for one in page.result])
    assert [len(page) for page in pages] == [15, 15, 10]
    assert [key for page in pages for key in page] == [one.id for one in whole.result]


async def test_a_song_has_a_sound_and_a_cover(server):
    song = (await browse(server, "album-4"))[2]
    assert (song.title, song.artist, song.album) == (
        "The Dimmer",
        "Light Switch Choir",
        "Warm Relays",
    )
    assert (song.genre, song.original_track_number) == ("Classical", "3")
    (resource,) = song.res
    assert (resource.duration, resource.protocol_info) == ("0:06:05", "http-get:*:audio/wav:*")
    content_type, sound = await fetch(resource.uri)
    assert (content_type, len(sound)) == ("audio/wav", int(resource.size))
    with wave.open(io.BytesIO(sound)) as reader:
        assert reader.getnframes() / reader.getframerate() == 365
        assert set(reader.readframes(reader.getnframes())) == {0x80}
    content_type, cover = await fetch(song.album_art_uri)
    assert content_type == "image/png"
    assert cover.startswith(b"\x89PNG")


async def test_every_album_has_a_cover_of_its_own(server):
    albums = await browse(server, "albums")
    covers = {(await fetch(album.album_art_uri))[1] for album in albums}
    assert len(covers) == len(albums) == 8


async def test_a_search_finds_each_song_once(server):
    found = await server.async_search_directory(
        "0",
        'upnp:class derivedfrom "object.item.audioItem" and upnp:artist contains "RETAIN"',
        sort_criteria=["-dc:title"],
        requested_count=3,
    )
    assert found.total_matches == 10
    assert [one.title for one in found.result] == [
        *("What the Broker Kept", "Time to Live", "The Cat on the Router")
    ]
    below = await server.async_search_directory("genres", 'dc:title = "Hairpin"')
    assert [one.ref_id for one in below.result] == ["track-603"]


async def test_songs_are_sorted_as_wanted(server):
    """By the artist, and each artist's from the newest record to the oldest."""
    songs = await browse(server, "tracks", sort_criteria=["+upnp:artist", "-dc:date"])
    keys = [(one.artist, one.date) for one in songs]
    assert keys == sorted(
        sorted(keys, key=lambda key: key[1], reverse=True), key=lambda key: key[0]
    )


async def test_what_can_be_searched_and_sorted_by_is_told(server):
    await server.async_update()
    assert "dc:title" in server.search_capabilities
    assert "upnp:artist" in server.sort_capabilities


@pytest.mark.parametrize(
    ("action", "arguments", "code"),
    [
        ("Browse", {"ObjectID": "none", "BrowseFlag": CHILDREN}, 701),
        ("Browse", {"ObjectID": "0", "BrowseFlag": CHILDREN, "SortCriteria": "+res@size"}, 709),
        ("Search", {"ContainerID": "none", "SearchCriteria": "*"}, 710),
        ("Search", {"ContainerID": "0", "SearchCriteria": "dc:title"}, 708),
        ("Search", {"ContainerID": "0", "SearchCriteria": "*", "SortCriteria": "title"}, 709),
    ],
)
async def test_a_wrong_wish_gets_its_fault(server, action, arguments, code):
    page = {"Filter": "*", "StartingIndex": 0, "RequestedCount": 0, "SortCriteria": ""}
    service = server.device.service("urn:schemas-upnp-org:service:ContentDirectory:1")
    with pytest.raises(UpnpActionError) as caught:
        await service.action(action).async_call(**page | arguments)
    assert caught.value.error_code == code
