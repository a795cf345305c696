"""Messages and URLs of HTTP/1.x, as devices write them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats.url import Address, host_of, split_url
from bridge.upnp.http.http1 import MAX_CHUNKS, Body, Head, find_head_end, read_head, read_status

CAPTURES = sorted((Path(__file__).parent.parent / "captures").glob("*/*.http"))
MIB = 1024 * 1024


def body_of(wire: bytes, headers: dict[str, str], default_length: int | None = None) -> Body | None:
    """Feed the wire in one piece; None where more is waited for."""
    body = Body(Head("", headers), MIB, default_length)
    return body if body.feed(wire) else None


# Heads


@pytest.mark.parametrize("path", CAPTURES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_captured_message_is_read_whole(path):
    wire = path.read_bytes()
    end = find_head_end(wire)
    head = read_head(wire)
    assert end > 0
    assert head.start_line == wire.split(b"\r\n")[0].decode()
    body = Body(head, MIB, 0)
    assert body.feed(wire[end:])
    assert body.body + body.rest == wire[end:]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nSID: uuid:1\r\n\r\n",
        b"\r\n\r\nHTTP/1.1 200 OK\r\nSID: uuid:1\r\n\r\n",
        b"HTTP/1.1 200 OK\nSID: uuid:1\n\n",
        b"HTTP/1.1 200 OK\r\nSID: uuid:1\n\r\n",
        b"HTTP/1.1 200 OK\r\nSID : uuid:1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSID\t:uuid:1  \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nsid:\r\n  uuid:1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\nSID: uuid:1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\nSID: uuid:1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSID: uuid:1\r\nSID: uuid:2\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSID: uuid:1\r\n\r\nSID2: body\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSID: uuid:1",
    ],
)
def test_a_sloppy_head_is_read(wire):
    assert read_head(wire) == Head("HTTP/1.1 200 OK", {"sid": "uuid:1"})


def test_a_value_outside_ascii_is_latin_1_and_keeps_its_colons():
    head = read_head(b"HTTP/1.1 200 OK\r\nSERVER: K\xfcche: 1\r\n\r\n")
    assert head.headers == {"server": "K\xfcche: 1"}


def test_a_folded_value_is_one_line():
    head = read_head(b"HTTP/1.1 200 OK\r\nSERVER: Linux\r\n\t UPnP/1.0\r\nEXT:\r\n\r\n")
    assert head.headers == {"server": "Linux UPnP/1.0", "ext": ""}


def test_lengths_and_transfer_encodings_are_combined():
    head = read_head(b"X\nContent-Length: 1\nContent-Length: 2\nTransfer-Encoding: a\n"
                     b"Transfer-Encoding: b\n\n")  # fmt: skip
    assert head.headers == {"content-length": "1, 2", "transfer-encoding": "a, b"}


@pytest.mark.parametrize("wire", [b"a: b\n" * 201 + b"\n", b"x" * 65537, b"a: " + b"x" * 65537])
def test_a_head_over_its_bounds_is_refused(wire):
    with pytest.raises(ValueError, match="bounds"):
        read_head(wire)


@pytest.mark.parametrize("wire", [b"", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"a\r\nb: c\r"])
def test_the_end_of_a_head_may_be_yet_to_come(wire):
    assert find_head_end(wire) == -1
    assert find_head_end(bytearray(wire)) == -1


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.0 412", 412),
        ("http/1.1  500  X", 500),
        ("HTTP/1 301", 301),
    ],
)
def test_a_status_is_read(line, status):
    assert read_status(Head(line, {})) == status


@pytest.mark.parametrize(
    "line", ["", "SSH-2.0-x", "HTTP/1.1", "HTTP/1.1 abc", "HTTP/1.1 2000", "<x/>"]
)
def test_what_is_not_http_has_no_status(line):
    with pytest.raises(ValueError, match="not HTTP"):
        read_status(Head(line, {}))


@given(st.binary())
def test_no_bytes_break_the_reading_of_a_head(data):
    assert find_head_end(data) == find_head_end(bytearray(data))
    read_head(data)


# Bodies


@pytest.mark.parametrize(
    ("headers", "wire", "expected"),
    [
        ({"content-length": "4"}, b"<a/>", b"<a/>"),
        ({"content-length": "4"}, b"<a/>\0\r\n", b"<a/>"),
        ({"content-length": "4, 900"}, b"<a/>", b"<a/>"),
        ({"content-length": "x, 4"}, b"<a/>", b"<a/>"),
        ({"content-length": "0"}, b"", b""),
        ({"transfer-encoding": "chunked"}, b"2\r\n<a\r\n2\r\n/>\r\n0\r\n\r\n", b"<a/>"),
        ({"transfer-encoding": "Chunked"}, b"2;x=y\n<a\n002 \n/>\n0\n\n", b"<a/>"),
        ({"transfer-encoding": "chunked", "content-length": "2"}, b"4\r\n<a/>\r\n0\r\n", b"<a/>"),
        ({"transfer-encoding": "identity, chunked"}, b"A\r\n0123456789\r\n0\r\n", b"0123456789"),
        ({}, b"<a>1</a>", b"<a>1</a>"),
        ({"content-length": "what"}, b"<?xml?>\n<a b='1'>1</a>", b"<?xml?>\n<a b='1'>1</a>"),
        ({"content-length": "9"}, b"<a>1</a>x", b"<a>1</a>x"),
        ({"content-length": "4"}, b"text", b"text"),
        ({"content-length": "6"}, b"<a>1</a>", b"<a>1</a>"),
        ({"content-length": "9"}, b"\xef\xbb\xbf <a>x1</a>", b"\xef\xbb\xbf <a>x1</a>"),
    ],
)
def test_a_body_ends_where_it_should_however_it_comes(headers, wire, expected):
    whole = body_of(wire, headers)
    assert whole is not None
    assert whole.body == expected
    assert wire.endswith(whole.rest)
    dripped = Body(Head("", headers), MIB)
    assert any(
        dripped.feed(byte) for byte in ([wire[i : i + 1] for i in range(len(wire))] or [b""])
    )
    assert dripped.body == expected


@pytest.mark.parametrize(
    ("headers", "wire", "expected"),
    [
        ({"content-length": "100"}, b"<a/>", b"<a/>"),
        ({"transfer-encoding": "chunked"}, b"4\r\n<a/>\r\n", b"<a/>"),
        ({"transfer-encoding": "chunked"}, b"9\r\n<a/>", b"<a/>"),
        ({"transfer-encoding": "chunked"}, b"4\r\n<a/>\r\n0", b"<a/>"),
        ({}, b"text", b"text"),
        ({}, b"<a/>", b"<a/>"),
        ({"content-length": "4"}, b"<a>1</", b"<a>1</"),
        ({"content-length": "4"}, b"<a>1 and more text", b"<a>1 and more text"),
    ],
)
def test_what_came_is_the_body_when_the_sender_closes(headers, wire, expected):
    body = Body(Head("", headers), MIB)
    assert not body.feed(wire)
    body.eof()
    assert body.body == expected


@pytest.mark.parametrize(
    ("headers", "wire", "is_cut"),
    [
        ({"content-length": "100"}, b"<a><b>1</b>", True),
        ({"content-length": "100"}, b"<?xml version='1.0'?>\n<a><b>1</b></a>", False),
        ({"content-length": "100"}, b"no XML", False),
        ({"content-length": "100"}, b"", False),
        ({"transfer-encoding": "chunked"}, b"20\r\n<a><b>1", True),
        ({"transfer-encoding": "chunked"}, b"20\r\n<a><b>1</b></a>", False),
        ({}, b"<a><b>1</b>", False),
    ],
)
def test_what_ends_before_its_xml_does_is_cut_where_more_was_announced(headers, wire, is_cut):
    body = Body(Head("", headers), MIB)
    assert not body.feed(wire)
    body.eof()
    assert body.is_cut is is_cut


def test_a_length_that_samsung_announced_too_short_does_not_cut_the_xml():
    body = Body(Head("", {"content-length": "10"}), MIB)
    assert not body.feed(b"<?xml version='1.0'?><root><a")
    assert not body.feed(b">1</a>")
    assert not body.feed(b"</ro")
    assert body.feed(b"ot>\r\n")
    assert body.body == b"<?xml version='1.0'?><root><a>1</a></root>"


@pytest.mark.parametrize("padding", [b"\0", b"\r\n\0\0", b" " * 100])
def test_padding_within_the_announced_length_is_no_cut(padding):
    wire = b"<a>1</a>" + padding
    body = body_of(wire, {"content-length": str(len(wire))})
    assert body is not None
    assert body.body == wire


def test_the_root_is_found_behind_a_prolog_that_speaks_of_other_elements():
    xml = (
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE a><!-- <b></b> --><?p <b>?>\n<a><b></b></a>"
    )
    body = Body(Head("", {}), MIB)
    assert not body.feed(xml[:-1])
    assert body.feed(xml[-1:])
    assert body.body == xml


@pytest.mark.parametrize("part", [b"<?a?>", b"<!---->", b"<!-- ", b" ", b"<!a>", b"<a", b"<"])
def test_a_prolog_without_end_costs_no_time(part):
    body = Body(Head("", {"content-length": "9000"}), MIB)
    assert body.feed(part * 9000)


def test_garbage_of_wemo_within_the_announced_length_is_waited_for_but_no_longer():
    wire = b"<a>1</a>\n\n1234"
    body = Body(Head("", {"content-length": str(len(wire))}), MIB)
    assert not body.feed(wire[:-1])
    assert body.feed(wire[-1:])
    assert body.body == wire


def test_a_body_without_length_may_default_to_none():
    body = body_of(b"NOTIFY / HTTP/1.1\r\n", {}, 0)
    assert body is not None
    assert (body.body, body.rest) == (b"", b"NOTIFY / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("headers", "wire"),
    [
        ({"content-length": str(MIB + 1)}, b""),
        ({"content-length": "9" * 18}, b"<a/>"),
        ({}, b"x" * (MIB + 1)),
        ({"content-length": "9" * 19}, b"x" * (MIB + 1)),
        ({"transfer-encoding": "chunked"}, b"fffffffffffffff\r\n"),
        ({"transfer-encoding": "chunked"}, b"1\r\nx\r\n%x\r\n" % MIB),
        ({"transfer-encoding": "chunked"}, b"<a/>\r\n"),
        ({"transfer-encoding": "chunked"}, b"-1\r\n"),
        ({"transfer-encoding": "chunked"}, b"0x5\r\n"),
        ({"transfer-encoding": "chunked"}, b"1;" + b"x" * 5000),
        ({"transfer-encoding": "chunked"}, b"\r\n" * 5000),
    ],
)
def test_a_body_over_its_bounds_or_with_an_odd_chunk_is_refused(headers, wire):
    with pytest.raises(ValueError, match=r"over|chunk"):
        Body(Head("", headers), MIB).feed(wire)


@given(
    st.sampled_from(
        [{}, {"content-length": "7"}, {"content-length": "x"}, {"transfer-encoding": "chunked"}]
    ),
    st.lists(st.binary() | st.sampled_from([b"<a>", b"</a>", b"5\r\n", b"0\r\n", b"\r\n"])),
)
def test_no_bytes_break_the_reading_of_a_body(headers, parts):
    body = Body(Head("", headers), 1000)
    came = 0
    for part in parts:
        came += len(part)
        try:
            if body.feed(part):
                break
        except ValueError:
            return
    else:
        body.eof()
    assert len(body.body) + len(body.rest) <= came


@given(st.lists(st.binary(min_size=1)))
def test_chunks_are_put_together_however_they_are_cut_up(parts):
    wire = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n"
    body = Body(Head("", {"transfer-encoding": "chunked"}), MIB)
    assert [body.feed(wire[i : i + 3]) for i in range(0, len(wire), 3)][-1]
    assert body.body == b"".join(parts)


# URLs


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://10.0.0.1/d.xml", Address("10.0.0.1", 80, "/d.xml")),
        (" HTTP://10.0.0.1:49152 \n", Address("10.0.0.1", 49152, "/")),
        ("http://tv.local:/a?b=http://c/d", Address("tv.local", 80, "/a?b=http://c/d")),
        ("http://10.0.0.1?x#y", Address("10.0.0.1", 80, "/?x")),
        ("http://h/a#b@c", Address("h", 80, "/a")),
        ("http://user:word@h:8/a@b", Address("h", 8, "/a@b")),
        ("http://h/udhisapi.dll?content=uuid:1", Address("h", 80, "/udhisapi.dll?content=uuid:1")),
        ("http://h/%3A%7e:~//x/../y", Address("h", 80, "/%3A%7e:~//x/../y")),
        ("http://h/a b\u00fc\ud800", Address("h", 80, "/a%20b%C3%BC%3F")),
        ("http://[FE80::1]/", Address("fe80::1", 80, "/")),
        ("http://[fe80::1%eth0]:81/x", Address("fe80::1%eth0", 81, "/x")),
        ("http://[fe80::1%25eth0]/x", Address("fe80::1%eth0", 80, "/x")),
        ("http://[fe80::1%2]/x", Address("fe80::1%2", 80, "/x")),
        ("http://[fe80::1%25]/x", Address("fe80::1%25", 80, "/x")),
    ],
)
def test_a_url_is_split_and_its_target_left_as_it_is(url, address):
    assert split_url(url) == address
    assert host_of(url) == address.host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/d.xml",
        "https://h/",
        "ftp://h/",
        "http:///x",
        "http://h:99999/",
        "http://h:0/",
        "http://h:-1/",
        "http://h:x/",
        "http://a b/",
        "http://h\\@evil/",
        "http://[::1/",
        "http://[1:2]/",
        "http://[::1%]/",
        "http://::1/",
        "http://h/a\r\nX: y",
        "http://h/a\0",
        "http://h\r\n/",
        "http://\u0661/",
    ],
)
def test_what_is_no_http_url_is_refused(url):
    with pytest.raises(ValueError, match=r"not an? |IPv6|octet|group|'"):
        split_url(url)


@given(st.text() | st.text().map("http://h/{}".format) | st.text().map("http://{}".format))
def test_no_text_breaks_the_splitting_of_a_url(url):
    try:
        address = split_url(url)
    except ValueError:
        return
    assert address.target.startswith("/")
    assert address.target.isascii()
    assert address.target.isprintable()
    assert " " not in address.target


@given(st.lists(st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n"])))
def test_the_end_of_a_head_is_found_wherever_one_looked_before(parts):
    came, searched = b"", 0
    for part in parts:
        came += part
        end = find_head_end(came, searched)
        assert end == find_head_end(came)
        if end >= 0:
            return
        searched = len(came)


def test_chunks_are_bounded_in_number():
    chunk = b"1\r\nx\r\n"
    headers = {"transfer-encoding": "chunked"}
    whole = body_of(chunk * (MAX_CHUNKS - 1) + b"0\r\n\r\n", headers)
    assert whole
    assert len(whole.body) == MAX_CHUNKS - 1
    with pytest.raises(ValueError, match="chunks"):
        body_of(chunk * (MAX_CHUNKS + 1), headers)


def test_a_value_in_utf_8_is_read_so_and_one_bad_byte_costs_one_character():
    head = read_head("HTTP/1.1 200 OK\r\nSERVER: Küche – @\r\n\r\n".encode().replace(b"@", b"\xc3"))
    assert head.headers == {"server": "Küche – \ufffd"}
