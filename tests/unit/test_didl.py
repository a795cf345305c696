"""DIDL-Lite: which of several titles, artists and covers counts, and what plays on the radio."""

from html import escape

import pytest

from bridge.model import didl
from bridge.model.datatypes import Value
from bridge.model.device import Key
from bridge.model.didl import Item
from bridge.tree import media as player

BASE_URL = "http://192.0.2.7:1400/xml/device_description.xml"
SPACES = (
    'xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/"'
    ' xmlns:dlna="urn:schemas-dlna-org:metadata-1-0/"'
    ' xmlns:pv="http://www.pv.com/pvns/"'
    ' xmlns:r="urn:schemas-rinconnetworks-com:metadata-1-0/"'
)


def written(inside: str, spaces: str = SPACES) -> str:
    return f'<DIDL-Lite {spaces}><item id="1" parentID="0">{inside}</item></DIDL-Lite>'


def read(inside: str, spaces: str = SPACES) -> Item:
    return didl.read(written(inside, spaces), BASE_URL)


def by(role: str, name: str) -> str:
    return f'<upnp:artist role="{role}">{name}</upnp:artist>'


ANN = "<upnp:artist>Ann</upnp:artist>"
CREATOR = "<dc:creator>Cleo</dc:creator>"


@pytest.mark.parametrize(
    ("inside", "artist"),
    [
        (ANN + by("Composer", "Bach"), "Ann"),
        (by("Composer", "Bach") + ANN, "Ann"),
        (by("AlbumArtist", "Various") + by("Performer", "Ann") + by("Conductor", "Karl"), "Ann"),
        (ANN + by("Performer", "Pia"), "Pia"),
        (by("performer ", "Pia") + ANN, "Pia"),
        (by("Album Artist", "Various") + ANN, "Ann"),
        (by("AlbumArtist", "Various") + by("Conductor", "Karl"), "Various"),
        (by("AlbumArtist", "Various") + CREATOR, "Cleo"),
        (by("Orchestra", "The Phil") + by("Composer", "Bach"), "The Phil"),
        (by("Piano", "Glenn") + by("Conductor", "Karl") + by("Composer", "Bach"), "Glenn"),
        (by("Composer", "Bach") + CREATOR, "Cleo"),
        (by("Composer", "Bach"), "Bach"),
        (by("Conductor", "Karl") + by("Lyricist", "Lou"), "Karl"),
        (by("Composer, Performer", "Ann") + by("AlbumArtist", "Various"), "Ann"),
        (by("", "Ann") + by("Composer", "Bach"), "Ann"),
        (by("Performer", " ") + ANN, "Ann"),
        (by("Performer", "NOT_IMPLEMENTED") + ANN, "Ann"),
        (by("Performer", "Ann") + by("Performer", "Bob"), "Ann"),
        ("<upnp:artist upnp:role='Composer'>Bach</upnp:artist>" + ANN, "Ann"),
        ("<upnp:artist ROLE='Composer'>Bach</upnp:artist>" + ANN, "Ann"),
        ("<upnp:composer>Bach</upnp:composer>" + ANN, "Ann"),
        ("<upnp:composer>Bach</upnp:composer>", "Bach"),
        ("<upnp:albumArtist>Various</upnp:albumArtist>" + ANN, "Ann"),
        (CREATOR + ANN, "Ann"),
        (CREATOR + "<upnp:author role='Composer'>Bach</upnp:author>", "Cleo"),
        ("<pv:artist role='Performer'>P</pv:artist>" + by("Composer", "Bach"), "Bach"),
        ("<r:albumArtist>R</r:albumArtist>" + CREATOR, "Cleo"),
        ("<r:albumArtist>R</r:albumArtist>", "R"),
    ],
)
def test_the_artist_is_whom_a_listener_calls_so(inside, artist):
    assert read(inside).artist == artist


COVER = "upnp:albumArtURI"


def cover(name: str, profile: str = "") -> str:
    told = f' dlna:profileID="{profile}"' if profile else ""
    return f"<{COVER}{told}>http://192.0.2.9/{name}.jpg</{COVER}>"


def picture(name: str, kind: str, resolution: str = "") -> str:
    sized = f" resolution='{resolution}'" if resolution else ""
    info = f"protocolInfo='http-get:*:{kind}'"
    return f"<res {info}{sized}>http://192.0.2.9/{name}.jpg</res>"


@pytest.mark.parametrize(
    ("inside", "art"),
    [
        (cover("s", "JPEG_SM") + cover("t", "JPEG_TN"), "s"),
        (cover("t", "JPEG_TN") + cover("s", "JPEG_SM"), "s"),
        (cover("t", "JPEG_TN") + cover("l", "JPEG_LRG") + cover("m", "JPEG_MED"), "l"),
        (cover("t", "PNG_TN") + cover("l", "PNG_LRG"), "l"),
        (cover("i", "PNG_LRG_ICO") + cover("t", "PNG_TN"), "t"),
        (cover("t", "jpeg_tn") + cover("n"), "n"),
        (cover("n") + cover("m", "JPEG_MED"), "m"),
        (cover("a") + cover("b"), "a"),
        (cover("full") + f"<{COVER}/>", "full"),
        (f"<{COVER}></{COVER}>" + cover("full"), "full"),
        (f"<{COVER} dlna:profileID='JPEG_LRG'> </{COVER}>" + cover("t", "JPEG_TN"), "t"),
        (f"<{COVER} dlna:profileID='JPEG_LRG'>file:///x</{COVER}>" + cover("t"), "t"),
        (f"<{COVER}>NOT_IMPLEMENTED</{COVER}>" + cover("t"), "t"),
        (f"<{COVER}>un_known</{COVER}>", None),
        (
            f"<{COVER} resolution='90x90'>http://192.0.2.9/s.jpg</{COVER}>" + cover("t", "JPEG_TN"),
            "t",
        ),
        (f"<{COVER} resolution='900x900'>http://192.0.2.9/s.jpg</{COVER}>" + cover("t"), "s"),
        (f"<{COVER} profileID='JPEG_TN'>http://192.0.2.9/t.jpg</{COVER}>" + cover("n"), "n"),
        (cover("a", "JPEG_RES_200_200") + cover("b", "JPEG_RES_500_500"), "b"),
        ("<pv:albumArtURI>http://192.0.2.9/pv.jpg</pv:albumArtURI>" + cover("t", "JPEG_TN"), "t"),
        ("<pv:albumArtURI>http://192.0.2.9/pv.jpg</pv:albumArtURI>", "pv"),
        (
            picture("t", "image/jpeg:DLNA.ORG_PN=JPEG_TN")
            + picture("b", "image/jpeg:*", "800x600")
            + picture("x", "audio/flac:*", "9000x9000"),
            "b",
        ),
        (
            picture("r", "image/jpeg:DLNA.ORG_PN=JPEG_LRG") + cover("t", "JPEG_TN"),
            "t",
        ),
        ("<upnp:icon>http://192.0.2.9/i.jpg</upnp:icon>", "i"),
    ],
)
def test_the_cover_is_the_largest_that_can_be_shown(inside, art):
    assert read(inside).art == (art and f"http://192.0.2.9/{art}.jpg")


@pytest.mark.parametrize(
    ("url", "art"),
    [
        ("/getaa?s=1&u=x-sonosapi-stream%3as25%3fsid%3d254", None),
        ("getaa?s=1", "http://192.0.2.7:1400/xml/getaa?s=1"),
        ("/getaa?s=1&amp;u=x&amp;v=y", "http://192.0.2.7:1400/getaa?s=1&u=x&v=y"),
        ("/a\\b.jpg", "http://192.0.2.7:1400/a%5Cb.jpg"),
        ("//192.0.2.9/a.jpg", "http://192.0.2.9/a.jpg"),
        ("http://192.0.2.9 /a.jpg", ""),
        ("x" * 5000, ""),
        ("/a b/Käse.jpg", "http://192.0.2.7:1400/a%20b/K%C3%A4se.jpg"),
        ("http://192.0.2.9/%E4%zz.jpg", "http://192.0.2.9/%E4%zz.jpg"),
        ("HTTP://192.0.2.9/a.jpg", "http://192.0.2.9/a.jpg"),
        ("http://192.0.2.9:99999/a.jpg", ""),
        ("http:///a.jpg", "http://192.0.2.7:1400/a.jpg"),
        ("none", ""),
    ],
)
def test_art_is_absolute_and_a_uri(url, art):
    expected = f"http://192.0.2.7:1400{url}" if art is None else art or None
    assert read(f"<{COVER}>{escape(url)}</{COVER}>").art == expected


TITLED = "<dc:title>T</dc:title><upnp:album>A</upnp:album>"


@pytest.mark.parametrize(
    ("inside", "title", "album"),
    [
        (TITLED + "<pv:album></pv:album><pv:title>x</pv:title>", "T", "A"),
        ("<pv:album>y</pv:album><pv:title>x</pv:title>" + TITLED, "T", "A"),
        ("<pv:album>y</pv:album><pv:title>x</pv:title>", "x", "y"),
        (TITLED + "<upnp:title>x</upnp:title><dc:album>y</dc:album>", "T", "A"),
        ("<upnp:title>x</upnp:title><dc:album>y</dc:album>" + TITLED, "T", "A"),
        ("<title>x</title>" + TITLED, "T", "A"),
        ("<dc:title/><upnp:album> </upnp:album>" + TITLED, "T", "A"),
        (TITLED + "<dc:title>x</dc:title><upnp:album>y</upnp:album>", "T", "A"),
        (TITLED + "<desc><dc:title>x</dc:title><upnp:album/></desc>", "T", "A"),
        ("<desc><dc:title>x</dc:title></desc>" + TITLED, "T", "A"),
        ("<dc:title>\n T \n</dc:title><upnp:album>\tA</upnp:album>", "T", "A"),
        ("<dc:title>&lt;b&gt;T&lt;/b&gt; &amp;amp; U</dc:title>", "<b>T</b> &amp; U", None),
        ("<dc:title>T <b>b</b>, <i>i</i></dc:title>", "T <b>b</b>, <i>i</i>", None),
        ("<dc:title><![CDATA[<T>]]></dc:title>", "<T>", None),
        ("<dc:title>T<upnp:album>A</upnp:album>", "T", "A"),
        ("<DC:Title>T</DC:Title><upnp:Album>A</upnp:Album>", "T", "A"),
    ],
)
def test_no_vendor_replaces_what_didl_lite_says_itself(inside, title, album):
    found = read(inside)
    assert (found.title, found.album) == (title, album)


PLAIN = (
    "<dc:title>T</dc:title>",
    "<pv:title>x</pv:title>",
    "<upnp:album>A</upnp:album>",
    "<upnp:class>object.item</upnp:class>",
)


@pytest.mark.parametrize(
    "spaces",
    [
        SPACES,
        "",
        'xmlns:pv="http://www.pv.com/pvns/"',
        'xmlns:dc="urn:odd" xmlns:upnp="urn:odder"',
        SPACES.replace("/upnp/", "/upnp").replace("/1.1/", "/1.0"),
        'xmlns:dc="urn:schemas-upnp-org:metadata-1-0/upnp/" xmlns:upnp="http://purl.org/dc/elements/1.1/"',
        SPACES.replace("http://www.pv.com/pvns/", "urn:x"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_namespaces_that_are_odd_or_missing_cost_nothing(spaces, order):
    found = read("".join(PLAIN[::order]), spaces)
    assert (found.title, found.album, found.media_class) == ("T", "A", "object.item")


def test_a_namespace_counts_by_its_address_and_not_by_its_prefix():
    spaces = (
        'xmlns:dc="http://www.pv.com/pvns/" xmlns:x="http://purl.org/dc/elements/1.1/"'
        ' xmlns:y="urn:schemas-upnp-org:metadata-1-0/upnp/"'
    )
    found = read("<dc:title>x</dc:title><x:title>T</x:title><y:album>A</y:album>", spaces)
    assert (found.title, found.album) == ("T", "A")


@pytest.mark.parametrize(
    ("resources", "duration_s"),
    [
        (["0:08:17.493"], 497.493),
        ([":08:17.493"], 497.493),
        (["NOT_IMPLEMENTED", "8:17.493"], 497.493),
        (["-0:00:01", "0:00:00", "0:08:17.0/1", "0:01:00"], 497),
        (["596523:14:07"], None),
        ([], None),
    ],
)
def test_the_duration_is_the_first_that_can_be_read(resources, duration_s):
    inside = "".join(f'<res duration="{one}">http://192.0.2.9/s</res>' for one in resources)
    assert read(f"{inside}<res>http://192.0.2.9/s</res>").duration_s == duration_s


@pytest.mark.parametrize(
    "metadata",
    [
        f"<item {SPACES}>{TITLED}</item>",
        f"<DIDL-Lite {SPACES}>{TITLED}</DIDL-Lite>",
        f"<DIDL-Lite {SPACES}><items><Item>{TITLED}</Item></items></DIDL-Lite>",
        f"<d:DIDL-Lite xmlns:d='urn:x' {SPACES}><d:item>{TITLED}</d:item></d:DIDL-Lite>",
        f"<Result><DIDL-Lite {SPACES}><container>{TITLED}</container></DIDL-Lite></Result>",
        f"<DIDL-Lite {SPACES}><item>{TITLED}</item><item><dc:title>x</dc:title></item></DIDL-Lite>",
    ],
)
def test_a_thing_is_found_wherever_it_stands(metadata):
    found = didl.read(metadata, BASE_URL)
    assert (found.title, found.album) == ("T", "A")


def test_metadata_that_is_escaped_once_or_twice_too_often_is_read():
    plain = written(TITLED)
    for metadata in (plain, escape(plain), escape(escape(plain))):
        assert didl.read(metadata, BASE_URL).title == "T"


# What a player says


def media(**told: Value) -> dict[str, object]:
    return player.summary({Key(name, "0"): one for name, one in told.items()}, {}, None, BASE_URL)


def said(**told: Value) -> tuple[object, object, object]:
    fields = media(**told)
    return fields.get("title"), fields.get("artist"), fields.get("album")


STREAM = "x-sonosapi-stream:s25111?sid=254&flags=32"
RADIO = "x-rincon-mp3radio://http://st01.dlf.de/dlf/01/128/mp3/stream.mp3"


def radio(title: str = "fm02_aac", content: str = "", show: str = "", more: str = "") -> str:
    return written(
        f"<r:streamContent>{escape(content)}</r:streamContent><r:radioShowMd>{show}</r:radioShowMd>"
        f"<upnp:albumArtURI>/getaa?s=1</upnp:albumArtURI><dc:title>{escape(title)}</dc:title>{more}"
        "<upnp:class>object.item</upnp:class>"
    )


PETTY = ("Learning To Fly", "Tom Petty", None)


@pytest.mark.parametrize(
    ("track", "told"),
    [
        (radio(content="Tom Petty - Learning To Fly"), PETTY),
        (radio("WDR 2", "Tom Petty - Learning To Fly"), PETTY),
        (radio(RADIO, "Tom Petty \u2013 Learning To Fly"), PETTY),
        (radio(content="Tom Petty - Learning - To Fly"), ("Learning - To Fly", "Tom Petty", None)),
        (radio(content="TYPE=SNG|TITLE x|ARTIST y|ALBUM z"), ("x", "y", "z")),
        (radio(content="BR P|TYPE=SNG|TITLE x y|ARTIST  z |ALBUM "), ("x y", "z", None)),
        (radio(content="The News"), ("The News", None, None)),
        (radio(content="The News", show="Breakfast,p123"), ("The News", None, None)),
        (radio(show="Breakfast, with Ann,p123"), ("Breakfast, with Ann", None, None)),
        (radio("WDR 2", show="Breakfast,p123"), ("WDR 2", None, None)),
        (radio(content="ZPSTR_CONNECTING", show="Breakfast"), ("Breakfast", None, None)),
        (radio(content="http://192.0.2.9/ads"), ("fm02_aac", None, None)),
        (radio(content="TYPE=SNG|TITLE |ARTIST |ALBUM "), ("fm02_aac", None, None)),
        (radio(), ("fm02_aac", None, None)),
        (radio(RADIO), (None, None, None)),
        (
            radio("So What", "x - y", more="<upnp:artist>Miles</upnp:artist>"),
            ("So What", "Miles", None),
        ),
        (
            radio("s.mp3", "Tom Petty - Learning To Fly", more="<dc:creator>WDR</dc:creator>"),
            PETTY,
        ),
    ],
)
def test_on_the_radio_the_title_is_what_is_on_the_air(track, told):
    assert said(CurrentTrackMetaData=track, CurrentTrackURI=STREAM) == told
    fields = media(CurrentTrackMetaData=track, CurrentTrackURI=STREAM)
    assert fields["album_art"] == "http://192.0.2.7:1400/getaa?s=1"


@pytest.mark.parametrize("name", ["AVTransportURIMetaData", "EnqueuedTransportURIMetaData"])
@pytest.mark.parametrize("title", ["fm02_aac", "stream.mp3", RADIO, "wdr2-128", "s251?sid=254", ""])
def test_a_title_for_machines_gives_way_to_the_station(name, title):
    station = written(f"<dc:title>WDR 2</dc:title>{cover('wdr')}")
    told = {"CurrentTrackMetaData": written(f"<dc:title>{escape(title)}</dc:title>"), name: station}
    fields = media(CurrentTrackURI=RADIO, AVTransportURI=STREAM, **told)
    assert fields["title"] == "WDR 2"
    assert fields["album_art"] == "http://192.0.2.9/wdr.jpg"


def test_a_track_does_not_take_what_is_said_of_its_list():
    listed = written(f"<dc:title>The list</dc:title>{cover('list')}")
    told: dict[str, Value] = {
        "CurrentTrackURI": "http://192.0.2.9/So%20What.flac",
        "AVTransportURI": "http://192.0.2.9/list.m3u",
        "AVTransportURIMetaData": listed,
    }
    track = written("<dc:creator>Miles</dc:creator>")
    assert media(**told, CurrentTrackMetaData=track) == {
        "title": "So What",
        "artist": "Miles",
        "uri": "http://192.0.2.9/So%20What.flac",
    }
    track = written("<dc:title>So What.flac</dc:title>")
    assert media(**told, CurrentTrackMetaData=track)["title"] == "So What.flac"


@pytest.mark.parametrize("name", ["CurrentTrackURI", "AVTransportURI"])
@pytest.mark.parametrize("nothing", ["", "NOT_IMPLEMENTED", "<broken", written("")])
def test_without_metadata_the_title_is_the_name_of_the_file(name, nothing):
    uri = "http://10.77.0.9/music/So%20What.flac"
    told: dict[str, Value] = {name: uri, "CurrentTrackMetaData": nothing}
    assert media(**told) == {"title": "So What", "uri": uri}


def test_a_title_that_is_an_address_is_read_as_one():
    uri = "http://192.0.2.9/a/7.flac"
    title = written("<dc:title>http://192.0.2.9/a/So%20What.flac</dc:title>")
    assert media(CurrentTrackURI=uri, CurrentTrackMetaData=title)["title"] == "So What"
