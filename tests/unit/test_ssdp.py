"""SSDP as real devices write it, as hostile ones do, and as it is asked for."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import __version__
from bridge.upnp.ssdp.message import Announcement, Kind, decode, flood_bound, search, with_zone

CAPTURES = Path(__file__).parents[1] / "captures"
UDN = "4d696e69-444c-164e-9d41-6e4d8f7e3f21"
LOCATION = "http://192.0.2.7:8200/rootDesc.xml"
ALIVE = {
    "HOST": "239.255.255.250:1900",
    "CACHE-CONTROL": "max-age=900",
    "LOCATION": LOCATION,
    "NT": "upnp:rootdevice",
    "NTS": "ssdp:alive",
    "SERVER": "Debian/12 UPnP/1.1 Device/1",
    "USN": f"uuid:{UDN}::upnp:rootdevice",
}
ANSWER = {
    "CACHE-CONTROL": "max-age=900",
    "EXT": "",
    "LOCATION": LOCATION,
    "ST": "upnp:rootdevice",
    "USN": f"uuid:{UDN}::upnp:rootdevice",
}


def message(start: str, headers: Mapping[str, str | None], end: str = "\r\n") -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return end.join([*lines, "", ""]).encode()


def alive(**headers: str | None) -> bytes:
    """Return an alive with these headers in place of its own, `_` for `-`; None leaves one out."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return message("NOTIFY * HTTP/1.1", {**ALIVE, **changed})


def read(datagram: bytes) -> Announcement:
    announcement = decode(datagram)
    assert announcement is not None
    return announcement


def captured(name: str):
    for path in sorted(CAPTURES.glob(f"*/{name}.txt")):
        for number, text in enumerate(re.split(rb"\r?\n\r?\n", path.read_bytes())):
            if text.strip():
                yield pytest.param(text + b"\r\n\r\n", id=f"{path.parent.name}-{number}")


def raw(datagram: bytes, name: str) -> str | None:
    found = re.search(rf"(?im)^{name}:[ \t]*(.*?)\r?$", datagram.decode())
    return found[1] if found else None


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        pytest.param(*param.values, kind, id=f"{kind.name}-{param.id}")
        for name, kind in (
            ("msearch", Kind.ANSWER),
            ("ssdp-alive", Kind.ALIVE),
            ("ssdp-byebye", Kind.BYEBYE),
        )
        for param in captured(name)
    ],
)
def test_every_captured_message_of_real_devices_is_read(datagram, kind):
    announcement = read(datagram)
    usn = raw(datagram, "USN")
    assert usn is not None
    assert announcement.kind is kind
    assert announcement.udn == usn.partition("::")[0].removeprefix("uuid:")
    assert announcement.target == raw(datagram, "ST" if kind is Kind.ANSWER else "NT")
    assert announcement.location == raw(datagram, "LOCATION")
    assert announcement.server == raw(datagram, "SERVER")
    max_age = raw(datagram, "CACHE-CONTROL")
    assert announcement.max_age_s == int(max_age.partition("=")[2] if max_age else 1800)
    boot_id = raw(datagram, "BOOTID.UPNP.ORG")
    if boot_id:
        assert announcement.boot_id == int(boot_id)
    elif raw(datagram, "01-NLS"):
        assert (announcement.boot_id or 0) >= 2**32
    else:
        assert announcement.boot_id is None


def test_a_network_location_signature_tells_starts_apart_where_there_is_no_bootid():
    """libupnp draws a new one at each start, and knows no BOOTID."""
    first, again, later = (
        read(alive(OPT='"http://schemas.upnp.org/upnp/1/0/"; ns=01', **{"01-NLS": signature}))
        for signature in ("bfd110aa-e50d", "bfd110aa-e50d", "0a63c8d0-da5e")
    )
    assert first.boot_id == again.boot_id != later.boot_id
    assert read(alive(**{"01-NLS": "x", "BOOTID.UPNP.ORG": "7"})).boot_id == 7


def test_every_kind_of_capture_is_there():
    for name in ("msearch", "ssdp-alive", "ssdp-byebye"):
        assert len(list(captured(name))) > 20


def test_everything_that_uda_2_0_names_is_read():
    datagram = alive(
        NTS="ssdp:update",
        **{
            "BOOTID.UPNP.ORG": "7",
            "NEXTBOOTID.UPNP.ORG": "8",
            "CONFIGID.UPNP.ORG": "1337",
            "SEARCHPORT.UPNP.ORG": "49152",
        },
    )
    assert read(datagram) == Announcement(
        kind=Kind.UPDATE,
        udn=UDN,
        target="upnp:rootdevice",
        location=LOCATION,
        server="Debian/12 UPnP/1.1 Device/1",
        max_age_s=900,
        boot_id=7,
        next_boot_id=8,
        config_id=1337,
        search_port=49152,
    )


@pytest.mark.parametrize(
    "start",
    ["HTTP/1.1 200 OK", "HTTP/1.1 200 Ok", "HTTP/1.0 200 OK", "HTTP/1.1 200", "http/1.1  200  ok"],
)
def test_every_way_to_say_200_is_an_answer(start):
    assert read(message(start, ANSWER)).kind is Kind.ANSWER


@pytest.mark.parametrize("start", ["NOTIFY * HTTP/1.0", "Notify * HTTP/1.1", "NOTIFY *", "NOTIFY"])
def test_every_way_to_notify_is_an_announcement(start):
    assert read(message(start, ALIVE)).kind is Kind.ALIVE


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\n", b"  \t", b" \r\n "])
def test_white_space_before_the_start_line_is_passed_over(before):
    assert read(before + alive()) == read(alive())


def test_lines_may_end_in_a_bare_line_feed():
    assert read(message("NOTIFY * HTTP/1.1", ALIVE, end="\n")) == read(alive())


def test_the_last_blank_line_may_be_missing():
    assert read(alive().rstrip()) == read(alive())


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title, "{} ".format, "{}\t ".format])
def test_header_names_come_in_any_case_and_with_space_before_the_colon(case):
    headers = {case(name): value for name, value in ALIVE.items()}
    assert read(message("NOTIFY * HTTP/1.1", headers)) == read(alive())


def test_values_need_no_space_before_them():
    assert read(alive().replace(b": ", b":")) == read(alive())


@pytest.mark.parametrize("bad", ["no colon here", ": no name", "\x01\x02", "=", "A B C: x"])
def test_one_bad_header_line_among_good_ones_costs_nothing(bad):
    good = alive().decode()
    assert read(good.replace("NT: ", f"{bad}\r\nNT: ").encode()) == read(alive())


def test_a_folded_line_belongs_to_the_one_before_it():
    datagram = alive(SERVER="Debian/12\r\n  UPnP/1.1\r\n\tDevice/1")
    assert read(datagram) == read(alive())


def test_the_first_of_two_equal_headers_counts():
    datagram = alive().replace(b"NT: ", b"USN: uuid:other\r\nNT: ")
    assert read(datagram).udn == "other"


def test_what_follows_the_headers_is_no_header():
    assert read(alive() + b"BOOTID.UPNP.ORG: 7\r\n" + b"x: y\r\n" * 100).boot_id is None


def test_bytes_that_are_not_utf_8_are_latin_1():
    datagram = alive().replace(b"Debian", b"Ger\xe4t")
    assert read(datagram).server == "Ger\u00e4t/12 UPnP/1.1 Device/1"
    assert read(alive(SERVER="Ger\u00e4t")).server == "Ger\u00e4t"


@pytest.mark.parametrize(
    ("cache_control", "max_age_s"),
    [
        ("max-age=100", 100),
        ('max-age = "100"', 100),
        ("MAX-AGE=100", 100),
        ("no-cache, max-age=100, x=1", 100),
        ("max-age=1", 10),
        ("max-age=0", 10),
        ("max-age=99999999999999999999", 86400),
        ("max-age=" + "9" * 5000, 86400),
        ("max-age=-1", 1800),
        ("max-age=", 1800),
        ("max-age=\u0661\u0662", 1800),
        ("no-cache", 1800),
        ("", 1800),
        (None, 1800),
    ],
)
def test_max_age_is_read_loosely_and_bounded(cache_control, max_age_s):
    assert read(alive(CACHE_CONTROL=cache_control)).max_age_s == max_age_s


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "9" * 5000, "\u0661"])
def test_a_number_that_is_none_is_left_out(number):
    assert read(alive(**{"BOOTID.UPNP.ORG": number})).boot_id is None


def test_a_search_port_that_is_none_is_left_out():
    assert read(alive(**{"SEARCHPORT.UPNP.ORG": "65535"})).search_port == 65535
    assert read(alive(**{"SEARCHPORT.UPNP.ORG": "65536"})).search_port is None


@pytest.mark.parametrize(
    ("usn", "target", "udn"),
    [
        # GMediaRender's UDN is no UUID (gmediarender/ssdp-alive.txt).
        ("uuid:GMediaRender-1_0-000-000-002", "upnp:rootdevice", "GMediaRender-1_0-000-000-002"),
        (f"uuid:{UDN}", "upnp:rootdevice", UDN),
        (f"UUID:{UDN}::upnp:rootdevice", "upnp:rootdevice", UDN),
        (f"Uuid:{UDN}", f"uuid:{UDN}", UDN),
        (f"{UDN}::upnp:rootdevice", "upnp:rootdevice", UDN),
        (UDN, "upnp:rootdevice", UDN),
        (UDN.upper(), "upnp:rootdevice", UDN.upper()),
        (f"uuid: {UDN} ::upnp:rootdevice", "upnp:rootdevice", UDN),
        ("upnp:rootdevice", f"uuid:{UDN}", UDN),
        ("urn:schemas-upnp-org:device:Basic:1", f"UUID:{UDN}", UDN),
        (None, f"uuid:{UDN}", UDN),
        # Roku answers for its own protocol besides (Home Assistant issue 52709).
        ("uuid:roku:ecp:P0A070000007", "roku:ecp", "roku:ecp:P0A070000007"),
        ("uuid:" + "x" * 255, "upnp:rootdevice", "x" * 255),
        (f"uuid:{UDN}", None, UDN),
    ],
)
def test_the_udn_is_found_in_every_odd_usn(usn, target, udn):
    assert read(alive(USN=usn, NT=target)).udn == udn


@pytest.mark.parametrize(
    ("usn", "target"),
    [
        (None, "upnp:rootdevice"),
        ("", ""),
        ("uuid:", "uuid:"),
        ("::upnp:rootdevice", "upnp:rootdevice"),
        ("upnp:rootdevice", "upnp:rootdevice"),
        ("urn:schemas-upnp-org:device:Basic:1", None),
        ("uuid:" + "x" * 256, "upnp:rootdevice"),
        ("uuid:a\x00b", "upnp:rootdevice"),
        ("uuid:a\x1bb", "upnp:rootdevice"),
        ("uuid:a\x85b", "upnp:rootdevice"),
    ],
)
def test_without_a_usable_udn_there_is_no_announcement(usn, target):
    assert decode(alive(USN=usn, NT=target)) is None


@pytest.mark.parametrize("location", [None, "", "http://192.0.2.7/\x00", "http://192.0.2.7/\x7f"])
def test_alive_and_answer_need_a_location(location):
    assert decode(alive(LOCATION=location)) is None
    assert decode(message("HTTP/1.1 200 OK", {**ANSWER, "LOCATION": location})) is None


@pytest.mark.parametrize("nts", ["ssdp:byebye", "ssdp:update", "SSDP:Byebye"])
def test_byebye_and_update_need_none(nts):
    assert read(alive(NTS=nts, LOCATION=None)).location is None


@pytest.mark.parametrize("nts", [None, "", "answer", "upnp:propchange", "ssdp:discover"])
def test_a_notify_of_another_kind_is_none(nts):
    assert decode(alive(NTS=nts)) is None


@pytest.mark.parametrize(
    "start",
    ["M-SEARCH * HTTP/1.1", "HTTP/1.1 404 Not Found", "HTTP/1.1 2000", "GET / HTTP/1.1", ""],
)
def test_searches_refusals_and_other_requests_are_no_announcements(start):
    assert decode(message(start, {**ALIVE, **ANSWER})) is None


def test_a_datagram_over_8_kib_is_not_read():
    room = 8192 - len(alive(PAD=""))
    assert decode(alive(PAD="x" * room)) is not None
    assert decode(alive(PAD="x" * (room + 1))) is None


def test_more_than_64_header_lines_are_not_read():
    pads = {f"X-{number}": "" for number in range(64 - len(ALIVE))}
    assert decode(alive(**pads)) is not None
    assert decode(alive(**pads, ONE_MORE="")) is None


@given(st.binary(max_size=10000))
def test_no_bytes_raise(datagram):
    decode(datagram)


lines = st.sampled_from(
    [
        *(f"{name}: {value}".encode() for name, value in {**ALIVE, **ANSWER}.items()),
        b"CACHE-CONTROL: max-age=",
        b"BOOTID.UPNP.ORG: ",
        b"USN: uuid:",
        b"LOCATION: http://[",
        b" folded",
    ]
)


@given(
    st.sampled_from([b"NOTIFY * HTTP/1.1", b"HTTP/1.1 200 OK", b"M-SEARCH * HTTP/1.1", b""]),
    st.lists(st.one_of(lines, st.tuples(lines, st.binary(max_size=30)).map(b"".join))),
    st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n"]),
)
def test_nothing_that_looks_like_ssdp_raises_and_all_that_is_read_is_in_bounds(start, parts, end):
    announcement = decode(end.join([start, *parts, b"", b""]))
    if announcement is not None:
        assert 0 < len(announcement.udn) <= 255
        assert 10 <= announcement.max_age_s <= 86400
        assert announcement.location or announcement.kind in (Kind.UPDATE, Kind.BYEBYE)
        with_zone(announcement, "eth0")


def test_the_same_datagram_is_read_once():
    assert decode(alive()) is decode(bytes(bytearray(alive())))


@pytest.mark.parametrize(
    ("location", "zoned"),
    [
        ("http://[fe80::1]:80/d.xml", "http://[fe80::1%eth0]:80/d.xml"),
        ("http://[fe80::1%7]:80/d.xml", "http://[fe80::1%eth0]:80/d.xml"),
        ("http://[fe80::1%257]:80/d.xml", "http://[fe80::1%eth0]:80/d.xml"),
        ("HTTP://[FE80::1%wlan0]/d.xml", "HTTP://[FE80::1%eth0]/d.xml"),
        ("http://[fe80::1%]", "http://[fe80::1%eth0]"),
        ("http://[2001:db8::1]:80/d.xml", "http://[2001:db8::1]:80/d.xml"),
        ("http://[fe80:::1]/", "http://[fe80:::1]/"),
        ("http://[fe80::1%7/", "http://[fe80::1%7/"),
        ("http://[v1.x]/", "http://[v1.x]/"),
        ("http://169.254.1.2/[fe80::1]", "http://169.254.1.2/[fe80::1]"),
        (LOCATION, LOCATION),
    ],
)
def test_a_link_local_location_gets_the_zone_of_this_machine(location, zoned):
    assert with_zone(read(alive(LOCATION=location)), "eth0").location == zoned


def test_an_announcement_without_location_has_no_zone():
    byebye = read(alive(NTS="ssdp:byebye", LOCATION=None))
    assert with_zone(byebye, "eth0") is byebye


def test_a_search_is_written_as_uda_2_0_has_it():
    start, *headers, blank, end = (
        search("upnp:rootdevice", host="239.255.255.250", mx_s=3).decode().split("\r\n")
    )
    assert start == "M-SEARCH * HTTP/1.1"
    assert headers[:4] == [
        "HOST: 239.255.255.250:1900",
        'MAN: "ssdp:discover"',
        "MX: 3",
        "ST: upnp:rootdevice",
    ]
    assert re.fullmatch(
        rf"USER-AGENT: \S+/\S+ UPnP/2\.0 upnp2mqtt/{re.escape(__version__)}", headers[4]
    )
    assert headers[5:] == ["CPFN.UPNP.ORG: upnp2mqtt"]
    assert (blank, end) == ("", "")


@pytest.mark.parametrize("host", ["ff02::c", "ff02::c%2", "ff02::c%eth0"])
def test_a_search_over_ipv6_has_brackets_and_no_zone(host):
    assert b"HOST: [ff02::c]:1900\r\n" in search("ssdp:all", host=host, mx_s=1)


def test_one_source_is_bounded_to_a_burst_and_a_rate():
    bound = flood_bound()
    assert sum(bound.admits("192.0.2.1", 0.0) for _ in range(1000)) == 500
    assert bound.admits("192.0.2.2", 0.0)
    assert sum(bound.admits("192.0.2.1", 1.0) for _ in range(1000)) == 200
    assert sum(bound.admits("192.0.2.1", 1000.0) for _ in range(1000)) == 500


def test_of_too_many_sources_the_longest_silent_is_forgotten():
    bound = flood_bound()
    for number in range(5000):
        bound.admits(f"source {number}", 0.0)
        bound.admits("busy", 0.0)
    assert len(bound._sources) == 1024
    assert not bound.admits("busy", 0.0)


def test_one_byte_that_cannot_be_read_costs_one_character_of_one_header():
    datagram = alive(SERVER="Zwölf – @", X="für").replace(b"@", b"\xc3")
    assert read(datagram).server == "Zwölf – \ufffd"
    assert (
        read(alive(SERVER="a\xed\xa0\xbd").replace("\xed\xa0\xbd".encode(), b"\xed\xa0\xbd")).server
        == "a"
    )
