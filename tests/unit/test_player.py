"""`media`: a player in one piece, from what its services have told."""

import json
from dataclasses import replace
from html import escape
from time import perf_counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.formats import jsontext
from bridge.model import topics
from bridge.model.datatypes import Value
from bridge.model.device import Icon, Key, Scpd, StateVariable
from bridge.tree import media as player
from bridge.tree.device_tree import Shape
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree
from bridge.upnp.gena.event_body import read_properties
from tests.unit import devices
from tests.unit.captured import CAPTURES, captured

NOW = "2026-01-01T00:00:00.000Z"
BASE_URL = "http://192.0.2.7:49152/description.xml"
PERCENT = StateVariable("Volume", "ui2", minimum="0", maximum="100")

SPACES = (
    'xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/"'
)
SONG = (
    "<dc:title>Töne &amp; more</dc:title><dc:creator>The Maker</dc:creator>"
    "<upnp:artist>The Artist</upnp:artist><upnp:album>The Album</upnp:album>"
    "<upnp:albumArtURI>http://192.0.2.9/a.jpg</upnp:albumArtURI>"
    '<res duration="0:03:25.500" protocolInfo="http-get:*:audio/flac:*">http://192.0.2.9/s</res>'
)
SONG_FIELDS = {
    "title": "Töne & more",
    "artist": "The Artist",
    "album": "The Album",
    "album_art": "http://192.0.2.9/a.jpg",
    "media_class": "object.item.audioItem.musicTrack",
    "duration_s": 205.5,
}


def didl(
    inside: str = SONG,
    named: str | None = "object.item.audioItem.musicTrack",
    *,
    spaces: str = SPACES,
    tag: str = "item",
) -> str:
    found = "" if named is None else f"<upnp:class>{named}</upnp:class>"
    item = f'<{tag} id="1" parentID="0" restricted="1">{inside}{found}</{tag}>'
    return f"<DIDL-Lite {spaces}>{item}</DIDL-Lite>"


def media(
    transport: dict[str, Value] | None = None,
    rendering: dict[Key, Value] | None = None,
    volume: StateVariable | None = PERCENT,
) -> dict[str, object]:
    """What `media` says of the values of instance 0."""
    found = {Key(name, "0"): value for name, value in (transport or {}).items()}
    return player.summary(found, rendering or {}, volume, BASE_URL)


def item(metadata: str) -> dict[str, object]:
    return media({"CurrentTrackMetaData": metadata})


# Fields


def test_a_player_that_tells_all_has_every_field_in_this_order():
    said = media(
        {
            "TransportState": "PLAYING",
            "CurrentTrackMetaData": didl(),
            "CurrentTrackURI": "http://192.0.2.9/s",
            "CurrentTrackDuration": "0:03:26",
            "CurrentMediaDuration": "1:00:00",
            "CurrentTrack": 3,
            "NumberOfTracks": 12,
            "CurrentPlayMode": "SHUFFLE",
        },
        {Key("Volume", "0", "Master"): 25, Key("Mute", "0", "Master"): False},
    )
    assert said == SONG_FIELDS | {
        "state": "playing",
        "uri": "http://192.0.2.9/s",
        "duration_s": 206,
        "track": 3,
        "tracks": 12,
        "volume": 25,
        "muted": False,
        "play_mode": "SHUFFLE",
    }
    assert list(said) == [
        *("state", "title", "artist", "album", "album_art", "media_class", "uri", "duration_s"),
        *("track", "tracks", "volume", "muted", "play_mode"),
    ]


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("PLAYING", "playing"),
        ("RECORDING", "playing"),
        ("PAUSED_PLAYBACK", "paused"),
        ("PAUSED_RECORDING", "paused"),
        ("STOPPED", "stopped"),
        ("TRANSITIONING", "transitioning"),
        ("NO_MEDIA_PRESENT", "no_media"),
    ],
)
def test_the_state_is_one_of_five_words(told, state):
    assert media({"TransportState": told}) == {"state": state}


@pytest.mark.parametrize("told", ["", "NOT_IMPLEMENTED", "X_BUFFERING", "playing", 5, True])
def test_a_state_of_vendors_is_left_out(told):
    assert media({"TransportState": told}) == {}


def test_nothing_is_said_of_what_is_not_known():
    unknown = dict.fromkeys(
        [
            *("TransportState", "CurrentTrackMetaData", "AVTransportURIMetaData"),
            *("CurrentTrackURI", "AVTransportURI", "CurrentTrackDuration"),
            *("CurrentMediaDuration", "CurrentTrack", "NumberOfTracks", "CurrentPlayMode"),
        ]
    )
    for nothing in ("", "NOT_IMPLEMENTED"):
        rendering: dict[Key, Value] = {
            Key("Volume", "0", "Master"): nothing,
            Key("Mute", "0", "Master"): nothing,
        }
        assert media(dict.fromkeys(unknown, nothing), rendering) == {}
    assert media() == {}


def test_what_is_loaded_stands_in_for_what_is_not_told_of_the_track():
    loaded: dict[str, Value] = {
        "AVTransportURI": "http://192.0.2.9/list",
        "AVTransportURIMetaData": didl("<dc:title>The list</dc:title>", "object.item"),
        "CurrentMediaDuration": "1:00:00",
    }
    fields = {"title": "The list", "media_class": "object.item"}
    more = {"uri": "http://192.0.2.9/list", "duration_s": 3600}
    assert media(loaded) == fields | more
    for nothing in ("NOT_IMPLEMENTED", "", "<nonsense/>"):
        assert media({**loaded, "CurrentTrackMetaData": nothing}) == fields | more
    track: dict[str, Value] = {
        "CurrentTrackMetaData": didl(),
        "CurrentTrackURI": "http://192.0.2.9/s",
        "CurrentTrackDuration": "0:00:00",
    }
    assert media(loaded | track) == SONG_FIELDS | {"uri": "http://192.0.2.9/s"}


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0:03:25", 205),
        ("00:00:01.000", 1),
        ("+1:00:00", 3600),
        ("10:00:00.25", 36000.25),
        ("0:00:01.1234", 1.123),
        ("0:3:5", 185),
        (" 0:00:02 ", 2),
        ("0:01:00.5/10", 60.5),
        ("0:00:00", None),
        ("0:00:00.000", None),
        ("NOT_IMPLEMENTED", None),
        ("END_OF_MEDIA", None),
        ("-0:00:01", None),
        ("0:61:00", None),
        ("12", 12),
        ("3:25", 205),
        ("9999999:00:00", None),
        ("", None),
        (":08:17.493", 497.493),
        ("0:08:17.", 497),
        ("0:08:17.4930000000", 497.493),
        ("0:08:17.49300000000000000000000", 497.493),
        ("8:17.493", 497.493),
        ("::17", 17),
        (":17", 17),
        ("0:08:17.0/1", 497),
        ("0:08:17.1/4", 497.25),
        ("0:08:17.3/2", 497),
        ("0:08:17.1/0", 497),
        ("0:08:17,5", 497.5),
        ("000:08:17", 497),
        ("497.493", 497.493),
        ("75:30", 4530),
        ("-5", None),
        ("0:08:77", None),
        ("0:08:", None),
        ("8:17:", None),
        (":", None),
        (".5", None),
        ("596523:14:07", None),
        ("4294967295", None),
        ("0:08:17:12", None),
        ("1e3", None),
        ("٣:25", None),
    ],
)
def test_a_duration_is_in_seconds(told, seconds):
    said = {} if seconds is None else {"duration_s": seconds}
    for name in ("CurrentTrackDuration", "CurrentMediaDuration"):
        found = media({name: told})
        assert found == said
        assert type(found.get("duration_s")) is type(seconds)


@pytest.mark.parametrize(
    ("told", "number"), [(0, 0), (7, 7), ("8", 8), (2**31, 2**31), (-1, None), ("x", None)]
)
def test_tracks_are_whole_numbers(told, number):
    said = {} if number is None else {"track": number, "tracks": number}
    assert media({"CurrentTrack": told, "NumberOfTracks": told}) == said


def ranged(low: str | None, high: str | None, data_type: str = "ui2") -> StateVariable:
    return StateVariable("Volume", data_type, minimum=low, maximum=high)


@pytest.mark.parametrize(
    ("variable", "told", "percent"),
    [
        (PERCENT, 0, 0),
        (PERCENT, 100, 100),
        (PERCENT, 37, 37),
        (PERCENT, 250, 100),
        (ranged("0", "50"), 25, 50),
        (ranged("0", "200"), 1, 0),
        (ranged("0", "64"), 21, 33),
        (ranged("-80", "0", "i2"), -20, 75),
        (ranged("10", "20"), 5, 0),
        (ranged("0.5", "1.5", "r4"), 0.75, 25),
        (ranged(None, None), 40, 40),
        (ranged(None, "50"), 40, 80),
        (ranged("no", "number"), 40, 40),
        (ranged("0", "inf"), 40, 40),
        (ranged("0", "0"), 40, 40),
        (ranged("100", "0"), 40, 40),
        (ranged("-1e308", "1e308", "r8"), 40, 40),
        (ranged(" 0 ", " 50 "), 40, 80),
        (ranged("", ""), 40, 40),
        (StateVariable("Volume", "ui2", allowed_values=("0", "25", "50")), 25, 50),
        (StateVariable("Volume", "string", allowed_values=("low", "50")), "40", 40),
        (None, 40, 40),
        (None, "40", 40),
        (None, " 40.6 ", 41),
        (None, "40%", 40),
        (None, "140", 100),
        (PERCENT, "40", 40),
        (ranged("0", "50"), "40", 80),
        (None, "loud", None),
        (None, "nan", None),
        (None, "NOT_IMPLEMENTED", None),
        (PERCENT, True, None),
        (PERCENT, 1.7e308, 100),
        (PERCENT, -1.7e308, 0),
        (PERCENT, 10**308, 100),
        (ranged("0", "1" + "0" * 308, "number"), 10**307, 10),
    ],
)
def test_volume_is_percent_of_the_range_in_the_scpd(variable, told, percent):
    found = media(rendering={Key("Volume", "0", "Master"): told}, volume=variable)
    assert found == ({} if percent is None else {"volume": percent})


def test_master_counts_before_the_whole_and_that_before_the_speakers():
    keys = [
        Key("Volume", "0", "Master"),
        Key("Volume", "0"),
        Key("Volume", "0", "LF"),
        Key("Volume", "0", "RF"),
        Key("Volume"),
    ]
    told: dict[Key, Value] = {key: number * 10 for number, key in enumerate(keys)}
    for key, volume in zip(keys, (0, 10, 25, 30, 40), strict=True):
        assert media(rendering=told) == {"volume": volume}
        del told[key]
    assert media(rendering={Key("Volume", "1", "Master"): 5, Key("Volume", "0", "SW"): 5}) == {}


@pytest.mark.parametrize(
    ("told", "muted"),
    [
        *((True, True), (False, False), ("NOT_IMPLEMENTED", None), ("", None), (2, None)),
        *((1, True), (0, False), ("1", True), ("0", False), ("true", True), ("False", False)),
        *((" yes ", True), ("no", False), ("On", True), ("off", False), ("loud", None)),
    ],
)
def test_muted_is_true_or_false(told, muted):
    for key in (Key("Mute", "0", "Master"), Key("Mute", "0"), Key("Mute")):
        assert media(rendering={key: told}) == ({} if muted is None else {"muted": muted})


def test_only_instance_0_and_what_has_none_counts():
    told: dict[Key, Value] = {
        Key("TransportState", "1"): "PLAYING",
        Key("TransportState"): "STOPPED",
    }
    assert player.summary(told, {}, None, BASE_URL) == {"state": "stopped"}
    told[Key("TransportState", "0")] = "PAUSED_PLAYBACK"
    assert player.summary(told, {}, None, BASE_URL) == {"state": "paused"}


@pytest.mark.parametrize(
    ("told", "volume"),
    [
        ({"Master": 10, None: 20, "LF": 30}, 10),
        ({"MASTER": 10, "LF": 30}, 10),
        ({"Master": "", None: 20}, 20),
        ({"Master": "NOT_IMPLEMENTED", "LF": 30, "RF": 40}, 35),
        ({"LF": 30, "RF": "40"}, 35),
        ({"LF": 30, "RF": "x"}, 30),
        ({"RF": 40, "CF": 90, "SW": 10}, 40),
        ({"FL": 10, "FR": 30}, 20),
        ({"CF": 50, "LFE": 10}, 50),
        ({"Speaker": 50}, 50),
        ({"LFE": 10, "SW": 5}, None),
        ({None: "20"}, 20),
        ({"Master": 0, "LF": 30}, 0),
    ],
)
def test_volume_is_of_the_whole_or_of_what_stands_for_it(told, volume):
    rendering: dict[Key, Value] = {Key("Volume", "0", one): value for one, value in told.items()}
    assert media(rendering=rendering, volume=None) == ({} if volume is None else {"volume": volume})


@pytest.mark.parametrize(
    ("told", "muted"),
    [
        ({"Master": "0", "LF": True}, False),
        ({"LF": True, "RF": True}, True),
        ({"LF": "1", "RF": "0"}, False),
        ({"Speaker": "yes"}, True),
    ],
)
def test_muted_is_said_where_all_that_counts_is_silent(told, muted):
    rendering: dict[Key, Value] = {Key("Mute", "0", one): value for one, value in told.items()}
    assert media(rendering=rendering) == {"muted": muted}


@pytest.mark.parametrize(
    ("bounds", "told", "volume"),
    [
        (None, -15360, 0),
        (None, "-7680", 50),
        (None, 0, 100),
        (None, -32768, 0),
        (("-20480", "0"), -5120, 75),
        (("-20480", "2560"), -8960, 50),
        (("0", "0"), -7680, 50),
    ],
)
def test_a_volume_in_decibels_alone_is_percent_of_its_range(bounds, told, volume):
    variable = (
        StateVariable("VolumeDB", "i2", minimum=bounds[0], maximum=bounds[1]) if bounds else None
    )
    rendering: dict[Key, Value] = {Key("VolumeDB", "0", "Master"): told}
    assert player.summary({}, rendering, None, BASE_URL, variable) == {"volume": volume}
    rendering[Key("Volume", "0", "Master")] = 5
    assert player.summary({}, rendering, None, BASE_URL, variable) == {"volume": 5}


@pytest.mark.parametrize("instance", ["1", "7", "4294967295"])
def test_a_device_that_tells_of_another_instance_alone_has_that_one(instance):
    transport: dict[Key, Value] = {
        Key("TransportState", instance): "PLAYING",
        Key("CurrentTrack", instance): 2,
        Key("CurrentTrack", "99999999999"): 3,
    }
    rendering: dict[Key, Value] = {
        Key("Volume", instance, "Master"): 10,
        Key("Mute", instance): True,
    }
    said = {"state": "playing", "track": 2, "volume": 10, "muted": True}
    assert player.summary(transport, rendering, None, BASE_URL) == said
    rendering |= {Key("Volume", "0", "Master"): 20, Key("Mute", "0"): False}
    assert player.summary(transport, rendering, None, BASE_URL) == said
    transport[Key("TransportStatus", "0")] = "OK"
    said = {"volume": 20, "muted": False}
    assert player.summary(transport, rendering, None, BASE_URL) == said


def test_a_transport_without_an_scpd_has_all_fields():
    texts: dict[str, Value] = {
        "TransportState": "PLAYING",
        "CurrentTrackMetaData": didl(),
        "CurrentTrackURI": "http://192.0.2.9/s",
        "CurrentTrackDuration": "0:03:26",
        "CurrentTrack": "3",
        "NumberOfTracks": " 12 ",
        "CurrentPlayMode": "SHUFFLE",
    }
    rendering: dict[Key, Value] = {Key("Volume", "0", "Master"): "25", Key("Mute", "0"): "0"}
    assert media(texts, rendering, None) == SONG_FIELDS | {
        "state": "playing",
        "uri": "http://192.0.2.9/s",
        "duration_s": 206,
        "track": 3,
        "tracks": 12,
        "volume": 25,
        "muted": False,
        "play_mode": "SHUFFLE",
    }


# DIDL-Lite


def test_a_song_has_title_artist_album_and_art():
    assert item(didl()) == SONG_FIELDS


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (f'<?xml version="1.0" encoding="utf-16"?>\n{didl()}', "a prolog that is not true"),
        (escape(didl()), "escaped once too often"),
        (didl(spaces=""), "prefixes that are not bound, and no namespace"),
        (didl(spaces=SPACES.replace("/DIDL-Lite/", "/DIDL-Lite")), "another namespace"),
        (didl(spaces=SPACES.replace("/upnp/", "/UPNP")), "another namespace for upnp"),
        (didl(SONG + '<res duration="0:00:09">x</res>'), "several resources"),
        (didl(f'<desc id="cdudn">SA_RINCON</desc>{SONG}'), "a desc without a nameSpace"),
        (didl(f"{SONG}<desc/>").replace("</DIDL-Lite>", "<desc/></DIDL-Lite>"), "an empty desc"),
        (didl(SONG.replace("&amp;", "&")), "a bare ampersand"),
        (didl().removesuffix("</DIDL-Lite>"), "an end that is missing"),
        (f"\ufeff {didl()}\0", "what stands around it"),
        (didl(f"<!-- {SONG} -->{SONG}<?pi?>"), "comments"),
        (didl(SONG.replace("dc:title", "dc:title id='1'")), "attributes"),
        (
            didl().replace("</item>", "</item><item id='2'><dc:title>B</dc:title></item>"),
            "several items",
        ),
    ],
)
def test_didl_lite_is_read_as_devices_write_it(metadata, why):
    assert item(metadata) == SONG_FIELDS, why


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("object.item.audioItem.musicTrack.live", "object.item.audioItem.musicTrack.live"),
        (" Object.Item.audioitem.MUSICTRACK ", "Object.Item.audioitem.MUSICTRACK"),
    ],
)
def test_a_class_is_told_as_it_was_sent_and_read_as_the_nearest_known(named, said):
    assert item(didl(named=named)) == SONG_FIELDS | {"media_class": said}


@pytest.mark.parametrize("named", ["object.item.audioItem", "object.item", "object", "x-foreign"])
def test_a_song_of_any_class_has_its_fields(named):
    assert item(didl(named=named)) == SONG_FIELDS | {"media_class": named}


def test_a_song_without_a_class_has_its_fields_and_none_of_another():
    nameless = {name: value for name, value in SONG_FIELDS.items() if name != "media_class"}
    assert item(didl(named=None)) == item(didl(named="")) == nameless
    second = "<item id='2'><dc:title>B</dc:title><upnp:class>object.item</upnp:class></item>"
    assert item(didl(named=None).replace("</item>", f"</item>{second}")) == nameless


def test_a_class_above_the_item_is_the_item_s():
    above = didl(named=None).replace("<item", "<upnp:class>object.item.audioItem</upnp:class><item")
    assert item(above) == SONG_FIELDS | {"media_class": "object.item.audioItem"}


def test_a_container_is_a_thing_too():
    said = item(didl("<dc:title>All</dc:title>", "object.container.album", tag="container"))
    assert said == {"title": "All", "media_class": "object.container.album"}


@pytest.mark.parametrize(
    ("inside", "artist"),
    [
        ("<dc:creator>C</dc:creator>", "C"),
        ("<dc:creator>C</dc:creator><upnp:artist>A</upnp:artist>", "A"),
        ("<dc:creator>C</dc:creator><upnp:artist> </upnp:artist>", "C"),
        ("<upnp:author>W</upnp:author>", "W"),
        ("<r:albumArtist xmlns:r='urn:schemas-rinconnetworks-com:r'>R</r:albumArtist>", "R"),
        ("<r:albumArtist>unbound</r:albumArtist>", "unbound"),
        ('<upnp:artist role="Performer">\n P\n</upnp:artist>', "P"),
    ],
)
def test_the_artist_is_the_first_of_these(inside, artist):
    assert item(didl(inside, "object.item"))["artist"] == artist


@pytest.mark.parametrize(
    ("url", "art"),
    [
        ("http://192.0.2.9/a.jpg", "http://192.0.2.9/a.jpg"),
        ("https://art.example/a.jpg", "https://art.example/a.jpg"),
        ("/a/b.jpg?c=1&amp;d=2", "http://192.0.2.7:49152/a/b.jpg?c=1&d=2"),
        ("b.jpg", "http://192.0.2.7:49152/b.jpg"),
        ("//192.0.2.9/a.jpg", "http://192.0.2.9/a.jpg"),
        (" /a.jpg\n", "http://192.0.2.7:49152/a.jpg"),
        ("javascript:alert(1)", None),
        ("JavaScript:alert(1)", None),
        ("data:image/png;base64,AAAA", None),
        ("file:///etc/passwd", None),
        ("x-rincon-cpcontainer:1", None),
        ("http://[::1/a.jpg", None),
        ("", None),
    ],
)
def test_album_art_is_absolute_and_of_the_web_or_left_out(url, art):
    said = item(didl(f"<upnp:albumArtURI>{url}</upnp:albumArtURI>", "object.item"))
    assert said == {"media_class": "object.item"} | ({"album_art": art} if art else {})


@pytest.mark.parametrize(
    "metadata",
    [
        "nothing of the kind",
        "&lt;",
        "<",
        "<a/>",
        "<DIDL-Lite/>",
        f"<DIDL-Lite {SPACES}><desc/></DIDL-Lite>",
        '<!DOCTYPE a [<!ENTITY b "c">]><DIDL-Lite><item><title>&b;</title></item></DIDL-Lite>',
        "<" * 1000,
        "<a>" * 1000,
        didl(f"<dc:title>{'x' * 300_000}</dc:title>"),
        didl("<strict>1</strict>", None),
        didl("<self>1</self>", None),
        didl("<xmlEl>1</xmlEl>", None),
    ],
)
def test_of_what_cannot_be_read_nothing_is_said(metadata):
    assert item(metadata) == {}


def test_a_class_of_countless_parts_takes_no_time():
    began_s = perf_counter()
    said = item(didl(named=".x" * 100_000))
    assert perf_counter() - began_s < 1
    assert said["title"] == SONG_FIELDS["title"]
    assert len(str(said["media_class"])) == 256


_pieces = st.sampled_from(
    [
        *("<DIDL-Lite>", "</DIDL-Lite>", "<item>", "<item id='1'>", "</item>", "<container>"),
        *("<dc:title>", "</dc:title>", "<upnp:class>object.item", "</upnp:class>", "<desc>"),
        *("<res duration='0:00:01'>", "</res>", "<upnp:albumArtURI>", "</upnp:albumArtURI>"),
        *("&lt;", "&amp;", "&", "<?xml?>", "<!--", "-->", "<:>", "<a:b:c>", "<__class__/>", "<_/>"),
        *(
            "<res",
            "<res xmlns='x'/>",
            " a='b'",
            "http://",
            "javascript:",
            "\0",
            "{x}y",
            "<resources>",
        ),
        *(
            "<id>",
            "<title/>",
            "<descriptors/>",
            "<upnp:artist/>",
            "<!DOCTYPE x>",
            "<![CDATA[",
            "]]>",
        ),
    ]
)
_metadata = st.lists(_pieces | st.text(max_size=5), max_size=12).map("".join)


@given(_metadata | st.text())
@example("&lt;DIDL-Lite>&lt;item>")
def test_no_metadata_breaks_it(metadata):
    said = item(metadata)
    assert json.loads(jsontext.encode(said)) == said
    assert set(said) <= set(SONG_FIELDS)


@given(_metadata)
def test_nothing_within_an_item_breaks_it(inside):
    said = item(didl(inside))
    assert set(said) <= set(SONG_FIELDS)
    art = str(said.get("album_art", "http://"))
    assert art.startswith(("http://", "https://"))


_values = (
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
_names = st.sampled_from(
    [
        *("TransportState", "CurrentTrackMetaData", "AVTransportURI", "CurrentTrackDuration"),
        *("CurrentTrack", "NumberOfTracks", "CurrentPlayMode", "Volume", "Mute"),
    ]
)
_keys = st.builds(
    Key, _names, st.sampled_from([None, "0", "1"]), st.sampled_from([None, "Master", "LF"])
)
_told = st.dictionaries(_keys, _values, max_size=9)
_bounds = st.none() | st.text(max_size=4) | st.floats().map(repr) | st.integers().map(str)


@given(_told, _told, _bounds, _bounds)
def test_no_values_break_it(transport, rendering, low, high):
    said = player.summary(transport, rendering, ranged(low, high), BASE_URL)
    assert None not in said.values()
    assert json.loads(jsontext.encode(said)) == said
    volume = said.get("volume", 0)
    assert isinstance(volume, int)
    assert 0 <= volume <= 100


# Real devices, and what is published


class World:
    """A mirror of one recorded renderer, and a broker."""

    def __init__(
        self,
        name: str,
        held: dict[str, bytes] | None = None,
        icons: tuple[Icon, ...] | None = None,
    ) -> None:
        self.held = {} if held is None else held
        self.mirror = Mirror(Shape("upnp", "main"))
        self.description = captured(name)
        if icons is not None:
            device = replace(self.description.device, icons=icons)
            self.description = replace(self.description, device=device)
        self.program, self.number = name.split("/")
        (self.udn,) = (one.udn for one in self.description.device.walk())
        self.open()

    @property
    def topic(self) -> str:
        return f"upnp/{self.udn}/media"

    @property
    def art(self) -> str:
        return f"upnp/{self.udn}/art"

    def picture(self) -> str | None:
        payload = self.held.get(self.art)
        return None if payload is None else payload.decode()

    def open(self) -> None:
        """Begin with what the broker holds, and describe the device."""
        self.mirror.open(
            RetainedTree(self.held, base="upnp", instance="main"), 9000, lambda _: False
        )
        self.mirror.join(self.description)

    def published(self) -> list[str]:
        """Publish what is due; return the topics, in order."""
        found = []
        while (due := self.mirror.take()) is not None:
            found.append(due[0])
            self.held[due[0]] = due[1].payload
            if not due[1].payload:
                del self.held[due[0]]
        return found

    def event(self, service: str, inside: str, *, initial: bool = False) -> list[str]:
        """Tell this within instance 0; return what is published then."""
        text = f'<Event><InstanceID val="0">{inside}</InstanceID></Event>'
        where = f"{self.udn}/{service}"
        assert self.mirror.apply_event(where, [("LastChange", text)], initial=initial, now=NOW)
        return self.published()

    def recorded(self, service: str, number: int) -> list[str]:
        """Tell what was recorded; return what is published then."""
        name = f"{self.number}-{service}.notify{number}.http"
        _, _, body = (CAPTURES / self.program / name).read_bytes().partition(b"\r\n\r\n")
        where = f"{self.udn}/{service}"
        assert self.mirror.apply_event(where, read_properties(body), initial=number == 0, now=NOW)
        return self.published()

    def media(self) -> dict[str, object] | None:
        payload = self.held.get(self.topic)
        return None if payload is None else json.loads(payload)


RECORDED = {
    "gmediarender/1": {
        "state": "stopped",
        "track": 0,
        "tracks": 0,
        "volume": 100,
        "muted": False,
        "play_mode": "NORMAL",
    },
    "rygel/2": {
        "state": "no_media",
        "track": 0,
        "tracks": 0,
        "volume": 50,
        "muted": False,
        "play_mode": "NORMAL",
    },
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_renderer_is_told_in_one_piece(name):
    world = World(name)
    world.published()
    assert world.media() is None
    world.recorded("AVTransport", 0)
    expected = dict(RECORDED[name])
    assert world.media() == {k: v for k, v in expected.items() if k not in ("volume", "muted")}
    world.recorded("RenderingControl", 0)
    assert world.media() == expected
    assert world.recorded("RenderingControl", 1).count(world.topic) == 1
    assert world.media() == expected | {"volume": 37}


def test_media_is_published_once_for_an_event_and_only_when_it_differs():
    world = World("gmediarender/1")
    world.recorded("AVTransport", 0)
    world.recorded("RenderingControl", 0)
    metadata = escape(didl())
    began = world.event(
        "AVTransport",
        f'<TransportState val="PLAYING"/><CurrentTrackMetaData val="{metadata}"/>'
        '<CurrentTrackURI val="http://192.0.2.9/s"/><NumberOfTracks val="1"/>',
    )
    assert began.count(world.topic) == 1
    said = world.media()
    assert said is not None
    assert said == said | SONG_FIELDS | {"state": "playing", "tracks": 1}
    for inside in (
        '<TransportState val="PLAYING"/>',
        '<RelativeTimePosition val="0:00:09"/>',
        '<CurrentTransportActions val="Stop"/>',
    ):
        assert world.topic not in world.event("AVTransport", inside)
    assert world.topic not in world.event("RenderingControl", '<Brightness val="9"/>')
    assert world.topic in world.event("RenderingControl", '<Mute channel="Master" val="1"/>')
    assert world.media() == said | {"muted": True}


def test_media_is_told_at_once_and_then_at_most_ten_times_a_second():
    world = World("gmediarender/1")
    world.published()
    told = []
    for track, at_s in enumerate((5.0, 5.04, 5.08, 5.1)):
        where = f"{world.udn}/AVTransport"
        text = f'<Event><InstanceID val="0"><CurrentTrack val="{track}"/></InstanceID></Event>'
        world.mirror.apply_event(where, [("LastChange", text)], initial=False, now=NOW)
        while (due := world.mirror.take(at_s)) is not None:
            world.held[due[0]] = due[1].payload
            if due[0] == world.topic:
                told.append(at_s)
        assert world.mirror.due_s == (None if at_s in (5.0, 5.1) else 5.1)
    assert told == [5.0, 5.1]


def test_it_is_told_of_a_service_whose_state_or_track_has_changed():
    world = World("gmediarender/1")
    world.published()
    changed: list[str] = []
    world.mirror._on_transport = changed.append
    world.event("AVTransport", '<TransportState val="PLAYING"/>')
    world.event("AVTransport", '<TransportState val="PLAYING"/><CurrentTrack val="2"/>')
    world.event("AVTransport", '<CurrentTrack val="2"/><CurrentPlayMode val="SHUFFLE"/>')
    world.event("RenderingControl", '<Mute channel="Master" val="1"/>')
    assert changed == [f"{world.udn}/AVTransport"] * 2


def test_a_bridge_that_leaves_tells_all_media():
    world = World("gmediarender/1")
    for track in ("1", "2"):
        assert world.topic in world.event("AVTransport", f'<CurrentTrack val="{track}"/>')


def test_what_was_asked_for_counts_as_what_was_told():
    world = World("gmediarender/1")
    world.published()
    where = f"{world.udn}/RenderingControl"
    world.mirror.apply_answers(where, [(Key("Volume", "0", "Master"), "30")], now=NOW)
    assert world.topic in world.published()
    assert world.media() == {"volume": 30}
    world.mirror.apply_answers(where, [(Key("Volume", "0", "Master"), "30")], now=NOW)
    assert world.published() == []


def test_media_is_cleared_when_nothing_is_known_any_more():
    world = World("gmediarender/1")
    world.event("AVTransport", '<TransportState val="STOPPED"/>', initial=True)
    assert world.media() == {"state": "stopped"}
    topics = world.event("AVTransport", '<TransportStatus val="OK"/>', initial=True)
    assert world.topic in topics
    assert world.media() is None


def test_a_restart_publishes_no_media_that_is_right_already():
    world = World("gmediarender/1")
    world.recorded("AVTransport", 0)
    world.recorded("RenderingControl", 0)
    before = dict(world.held)
    again = World("gmediarender/1", world.held)
    assert [topic for topic in again.published() if topic.startswith(f"upnp/{world.udn}")] == []
    assert again.recorded("AVTransport", 0) == again.recorded("RenderingControl", 0) == []
    assert again.held == before
    again.mirror.close()
    again.mirror.open(RetainedTree({}, base="upnp", instance="main"), 9000, lambda _: False)
    assert again.topic in again.published()
    assert again.held[again.topic] == before[world.topic]


def test_media_that_somebody_wrote_is_made_right():
    world = World("gmediarender/1")
    world.recorded("RenderingControl", 0)
    world.held[world.topic] = b'{"volume":1}'
    again = World("gmediarender/1", world.held)
    again.published()
    assert again.media() == {"volume": 100, "muted": False}


def test_a_device_that_leaves_keeps_its_media_and_one_that_is_forgotten_does_not():
    world = World("rygel/2")
    world.recorded("AVTransport", 0)
    world.mirror.mark_offline(world.udn, NOW)
    assert world.topic not in world.published()
    assert world.media() is not None
    mirrored, _ = world.mirror.find(world.udn) or (None, None)
    assert mirrored is not None
    world.mirror.forget(mirrored)
    assert world.topic in world.published()
    assert world.media() is None


@pytest.mark.parametrize("base", [None, "http://192.0.2.9:1400/x/"])
def test_a_player_whose_scpds_are_missing_has_all_of_media(base):
    players = devices.device(
        "P",
        devices.service("AVTransport", Scpd.of(())),
        devices.service("RenderingControl", Scpd.of(())),
    )
    mirror = Mirror(Shape("upnp", "main"))
    mirror.open(RetainedTree({}, base="upnp", instance="main"), 9000, lambda _: False)
    mirror.join(replace(devices.described(players), url_base=base))
    art = didl("<upnp:albumArtURI>/a.jpg</upnp:albumArtURI>", "object.item")
    for service, inside in (
        (
            "AVTransport",
            f'<TransportState val="PLAYING"/><CurrentTrackMetaData val="{escape(art)}"/>',
        ),
        ("RenderingControl", '<Volume val="20"/><Mute channel="Master" val="1"/>'),
    ):
        text = f'<Event><InstanceID val="0">{inside}</InstanceID></Event>'
        assert mirror.apply_event(f"P/{service}", [("LastChange", text)], initial=True, now=NOW)
    held = dict(iter(mirror.take, None))
    assert json.loads(held["upnp/P/media"].payload) == {
        "state": "playing",
        "album_art": f"http://192.0.2.{'9:1400' if base else '1'}/a.jpg",
        "media_class": "object.item",
        "volume": 20,
        "muted": True,
    }


@pytest.mark.parametrize("name", ["light/1", "minidlna/1", "miniupnpd/1", "rygel/1"])
def test_what_is_no_player_has_no_media(name):
    mirror = Mirror(Shape("upnp", "main"))
    mirrored = mirror.join(captured(name))
    assert mirrored.players == {}


def test_a_number_that_is_too_long_for_python_is_no_metadata():
    metadata = f"&#{'9' * 5000};"
    assert "title" not in player.summary({Key("CurrentTrackMetaData", "0"): metadata}, {}, None, "")


# The picture


ICON = "http://10.77.0.13:49494/upnp/grender-128x128.png"


def cover(name: str) -> str:
    metadata = didl(f"<upnp:albumArtURI>http://192.0.2.9/{name}</upnp:albumArtURI>")
    return f'<CurrentTrackMetaData val="{escape(metadata)}"/>'


def test_the_picture_is_the_cover_else_the_icon_and_changes_with_it_alone():
    world = World("gmediarender/1")
    assert world.art in world.published()
    assert world.picture() == ICON
    assert world.art in world.event("AVTransport", cover("a.jpg"))
    assert world.picture() == "http://192.0.2.9/a.jpg"
    for service, inside in (
        ("AVTransport", '<TransportState val="PLAYING"/><CurrentTrack val="2"/>'),
        ("AVTransport", cover("a.jpg") + '<CurrentTrackDuration val="0:01:00"/>'),
        ("RenderingControl", '<Volume channel="Master" val="9"/>'),
    ):
        published = world.event(service, inside)
        assert world.topic in published
        assert world.art not in published
    assert world.event("AVTransport", cover("b.jpg")).count(world.art) == 1
    assert world.picture() == "http://192.0.2.9/b.jpg"
    world.event("AVTransport", '<CurrentTrackMetaData val=""/>')
    assert world.picture() == ICON


def test_where_neither_cover_nor_icon_is_there_is_no_picture():
    world = World("gmediarender/1", icons=())
    assert world.art not in world.published()
    world.event("AVTransport", cover("a.jpg"))
    assert world.picture() == "http://192.0.2.9/a.jpg"
    assert world.art in world.event("AVTransport", '<CurrentTrackMetaData val=""/>')
    assert world.picture() is None


def test_the_picture_outlasts_a_restart_and_a_device_that_is_away_and_goes_when_it_is_forgotten():
    world = World("gmediarender/1")
    world.event("AVTransport", cover("a.jpg"))
    again = World("gmediarender/1", world.held)
    assert again.published() == []
    assert again.event("AVTransport", cover("a.jpg")) == []
    again.mirror.mark_offline(again.udn, NOW)
    assert again.art not in again.published()
    assert again.picture() == "http://192.0.2.9/a.jpg"
    assert again.mirror.announcing.publish_again([again.udn]) > 1
    assert again.published().count(again.art) == 1
    mirrored, _ = again.mirror.find(again.udn) or (None, None)
    assert mirrored is not None
    again.mirror.forget(mirrored)
    assert again.art in again.published()
    assert again.picture() is None


def test_a_player_in_a_device_that_has_the_icon_shows_that():
    inner = devices.device("P", devices.service("AVTransport", Scpd.of(())))
    root = replace(devices.device("R", inner), icons=(Icon("http://192.0.2.1/root.png"),))
    own = replace(inner, icons=(Icon("http://192.0.2.1/own.png"),))
    for children, picture in ((root.children, b"root"), ((own,), b"own")):
        mirror = Mirror(Shape("upnp", "main"))
        mirror.open(RetainedTree({}, base="upnp", instance="main"), 9000, lambda _: False)
        mirror.join(devices.described(replace(root, children=children)))
        held = dict(iter(mirror.take, None))
        assert held["upnp/P/art"].payload == b"http://192.0.2.1/%s.png" % picture
        assert "upnp/R/art" not in held


def test_services_that_are_called_as_topics_are_stand_beside_them():
    names = ("art", "player", "media")
    parts = [devices.service(name, devices.scpd("V:string")) for name in names]
    levels = topics.service_levels(part.service_id for part in parts)
    placed = (replace(part, level=level) for part, level in zip(parts, levels, strict=True))
    transport = devices.service("AVTransport", Scpd.of(()))
    root = replace(devices.device("D", *placed, transport), icons=(Icon("http://192.0.2.1/i.png"),))
    mirror = Mirror(Shape("upnp", "main"))
    mirror.open(RetainedTree({}, base="upnp", instance="main"), 9000, lambda _: False)
    mirror.join(devices.described(root))
    held = {topic: entry.payload for topic, entry in iter(mirror.take, None)}
    assert held["upnp/D/art"] == b"http://192.0.2.1/i.png"
    assert {"upnp/D/%61rt", "upnp/D/%70layer", "upnp/D/%6Dedia"} <= held.keys()
    again = Mirror(Shape("upnp", "main"))
    again.open(RetainedTree(held, base="upnp", instance="main"), 9000, lambda _: False)
    again.join(devices.described(root))
    assert again.take() is None
