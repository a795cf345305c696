"""Titles that a URI has, titles for machines, and what is on the air."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import titles
from bridge.model.titles import OnAir


@pytest.mark.parametrize(
    ("uri", "title"),
    [
        ("http://10.77.0.9/music/So%20What.flac", "So What"),
        ("http://10.77.0.9/music/So%20What.flac?a=1&b=/c/d.mp3#t=3", "So What"),
        ("http://10.77.0.9/music/So%20What.flac/", "So What"),
        ("http://10.77.0.9/music/So%20What", "So What"),
        ("HTTPS://10.77.0.9/A.MP3", "A"),
        ("http://10.77.0.9/Käse.ogg", "Käse"),
        ("http://10.77.0.9/K%C3%A4se.ogg", "Käse"),
        ("http://10.77.0.9/Zw%F6lf%20Grad.ogg", "Zwölf Grad"),
        ("http://10.77.0.9/K%C3%A4se%C3.ogg", "Käse\ufffd"),
        ("http://10.77.0.9/K%E4se.ogg", "Käse"),
        ("http://10.77.0.9/%ZZa%2.mp3", "%ZZa%2"),
        ("http://10.77.0.9/a%00b%0Ac%1B.mp3", "a b c"),
        ("http://10.77.0.9/a\ud83db.mp3", "ab"),
        ("http://10.77.0.9/%ED%A0%BDx.mp3", "x"),
        ("http://10.77.0.9/AC%2FDC.mp3", "AC/DC"),
        ("http://10.77.0.9/100%25.mp3", "100%"),
        ("http://10.77.0.9/Why%3F%20%231.mp3", "Why? #1"),
        ("http://10.77.0.9/a+b.mp3", "a+b"),
        ("http://10.77.0.9/22.mp3", "22"),
        ("http://10.77.0.9/R.E.M", "R.E.M"),
        ("http://10.77.0.9/Mr.%20Blue%20Sky", "Mr. Blue Sky"),
        ("http://10.77.0.9/a.b.c.dsf", "a.b.c"),
        ("http://10.77.0.9/a.xyz", "a"),
        ("http://10.77.0.9/So%20What.flac;jsessionid=1", "So What"),
        ("file:///home/ann/So%20What.flac", "So What"),
        ("file:///C:/Music/So%20What.flac", "So What"),
        ("C:\\Music\\So What.flac", "So What"),
        ("/srv/music/So What.flac", "So What"),
        ("x-file-cifs://nas/music/So%20What.flac", "So What"),
        ("smb://nas/music/So%20What.flac", "So What"),
        ("http://[::1/So%20What.mp3", "So What"),
        (f"http://10.77.0.9/{'x' * 9000}.mp3", "x" * 512),
        ("http://10.77.0.9/01.%20So%20What.flac", "01. So What"),
        ("http://10.77.0.9/Hi%20Fidelity.flac", "Hi Fidelity"),
        ("http://10.77.0.9/Music%20for%20Airports.flac", "Music for Airports"),
        ("http://10.77.0.9/Low.flac", "Low"),
        ("http://10.77.0.9/radio/low", None),
        ("rtsp://10.77.0.9/Alien.mkv", "Alien"),
        ("rtsp://10.77.0.9/live", None),
        ("https://video.example/watch?v=abc", None),
        ("http://10.77.0.9/stream/mp3", None),
        ("http://10.77.0.9", None),
        ("http://10.77.0.9/", None),
        ("http://10.77.0.9:8000/stream", None),
        ("http://10.77.0.9:8000/;", None),
        ("http://10.77.0.9:8000/;stream.nsv", None),
        ("http://10.77.0.9/live.mp3", None),
        ("http://10.77.0.9/hls/index.m3u8", None),
        ("http://10.77.0.9/fm02_aac", None),
        ("http://10.77.0.9/get.php?id=3", None),
        ("http://10.77.0.9/?file=a.mp3", None),
        ("http://10.77.0.9/0a1b2c3d4e5f60718293a4b5c6d7e8f9.mp3", None),
        ("http://10.77.0.9/2fac1234-31f8-11b4-a222-08002b34c003", None),
        ("http://10.77.0.9/.mp3", None),
        ("http://10.77.0.9/..", None),
        ("http://10.77.0.9/%00", None),
        ("x-rincon:RINCON_000E58", None),
        ("x-rincon-queue:RINCON_000E58#0", None),
        ("x-rincon-mp3radio://10.77.0.9/wdr.mp3", None),
        ("x-sonosapi-stream:s25111?sid=254&flags=32", None),
        ("x-sonos-htastream:RINCON_000E58:spdif", None),
        ("spotify:track:6rqhFgbbKwnb9MLmUQDhG6", None),
        ("dlna-playsingle://uuid:1?sid=urn", None),
        ("hello", None),
        ("", None),
        (None, None),
    ],
)
def test_a_uri_has_the_name_of_its_file(uri, title):
    assert titles.of_uri(uri) == title


@given(st.text() | st.from_regex(r"http://h/([a-z]|%[0-9A-F]{2}|[;./?#%]){0,30}", fullmatch=True))
def test_a_title_of_any_uri_is_text(uri):
    title = titles.of_uri(uri)
    if title is not None:
        assert title == title.strip() != ""
        assert title.encode().decode() == title
        assert not any(ord(one) < ord(" ") for one in title)


@pytest.mark.parametrize(
    ("title", "is_technical"),
    [
        (None, True),
        ("fm02_aac", True),
        ("wdr_2-128", True),
        ("stream.mp3", True),
        ("01 - So What.flac", True),
        ("s25111?sid=254", True),
        ("x-rincon-mp3radio://10.77.0.9/wdr", True),
        ("x-sonosapi-stream:s1", True),
        ("http://10.77.0.9/wdr", True),
        ("aac://http://10.77.0.9/wdr", True),
        ("So What", False),
        ("Opus", False),
        ("1live", False),
        ("X-Ray", False),
        ("X-Men: Apocalypse", False),
        ("Mr. Blue Sky", False),
        ("Why?", False),
        ("7", False),
        ("R.E.M.", False),
        ("AC-DC", False),
    ],
)
def test_a_title_for_machines_is_known(title, is_technical):
    assert titles.is_technical(title) == is_technical


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("Tom Petty - Learning To Fly", OnAir("Learning To Fly", "Tom Petty")),
        ("A-ha - Take On Me", OnAir("Take On Me", "A-ha")),
        ("News at 8", OnAir("News at 8")),
        ("- x", OnAir("- x")),
        ("a -", OnAir("a -")),
        ("TYPE=SNG|TITLE x|ARTIST y|ALBUM z", OnAir("x", "y", "z")),
        ("type=sng|TITLE x", OnAir("x")),
        ("TYPE=SNG|ARTIST y", OnAir(None, "y")),
        ("a | b", OnAir("a | b")),
        (f"a{' ' * 200_000}b", OnAir("a")),
        ("ZPSTR_BUFFERING", OnAir()),
        ("", OnAir()),
        (None, OnAir()),
    ],
)
def test_what_is_on_the_air_is_taken_apart(content, told):
    assert titles.on_air(content) == told


@pytest.mark.parametrize(
    ("programme", "name"),
    [
        ("Morning,p12345", "Morning"),
        ("Morning", "Morning"),
        (",p1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_programme_has_a_name(programme, name):
    assert titles.show(programme) == name
