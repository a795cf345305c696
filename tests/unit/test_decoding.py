"""Bytes that devices call text: an encoding for each character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats.decoding import MARK, decoded

GRADE = "Zwölf Grad – kühl "


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["", "utf-8", "latin-1"]))
def test_what_is_utf_8_is_read_so_whatever_is_declared(text, charset):
    assert decoded(f"x{text}".encode(), charset) == f"x{text}"


@given(st.binary(), st.text(max_size=20) | st.sampled_from(["gbk", "utf-7", "punycode", "hex"]))
def test_any_bytes_are_read_in_any_encoding(data, charset):
    decoded(data, charset)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (GRADE.encode() + b"\xc3", GRADE + MARK),
        (GRADE.encode() + b"\xe2\x80", GRADE + MARK),
        (GRADE.encode() + b"\xf0\x9f\x98", GRADE + MARK),
        (GRADE.encode() + b"\xff\xfe", GRADE + MARK + MARK),
        (b"\xb6lf " + GRADE.encode(), f"{MARK}lf {GRADE}"),
        (b"Kitchen \xc3", f"Kitchen {MARK}"),
        (b"Kitchen\xc3", f"Kitchen{MARK}"),
        (b"Kitchen \xe2\x80", f"Kitchen {MARK}"),
        (b"a\xc0\x80b\xf4\x90\x80\x80c\xe0\x80\x80d", f"a{MARK}b{MARK}c{MARK}d"),
        (b"\xff\xff\xff", MARK * 3),
    ],
)
def test_what_cannot_be_read_costs_one_character(data, text):
    assert decoded(data) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Küche",
            "Über uns",
            "ÄRGER",
            "SÃO PAULO",
            "MAÇÃ",
            "café",
            "à la carte",
            "20 °C",
            "Größe",
        ),
        *("ñ", "Señor – “¿qué?”", "5 m²", "naïve", "Þór", "Straße", "«Zürich»"),
    ],
)
def test_words_of_the_west_in_an_encoding_of_their_own_are_read(text):
    assert decoded(text.encode("cp1252")) == text


@pytest.mark.parametrize("between", ["<", ">", '"', "'", "&lt;", "&amp;quot;", "\r\n"])
def test_each_field_of_a_message_is_of_its_own_encoding(between):
    data = between.encode().join([GRADE.encode(), "Küche".encode("latin-1"), b"x\xc3", b"y"])
    assert decoded(data) == between.join([GRADE, "Küche", f"x{MARK}", "y"])


def test_many_bytes_that_are_no_utf_8_show_the_few_that_are_to_be_accidents():
    words = "Größe, Länge, Höhe, Tür, Grün, Köln, Jäger, Wüste, Öl, «CAFÉ»"
    assert decoded(words.encode("cp1252")) == words


def test_surrogates_written_as_characters_are_joined_and_lone_ones_dropped():
    assert decoded(b"a\xed\xa0\xbd\xed\xb8\x80b\xed\xa0\xbdc\xed\xb8\x80d") == "a😀bcd"
    assert decoded(b"\xed\xaf\xbf\xed\xbf\xbf") == "\U0010ffff"
    assert decoded(b"\xed\xa0\x80\xed\xb0\x80") == "\U00010000"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("windows-1251", "Привет, мир"),
        ("koi8-r", "Привет, мир"),
        ("iso-8859-2", "Łódź źle"),
        ("ISO-8859-15", "5 €"),
        ("gb2312", "客厅电视"),
        ("gbk", "联通"),
        ("Shift_JIS", "リビング"),
        ("euc-kr", "거실"),
        ("big5", "客廳"),
        ("iso-8859-1", "5 € – “x”"),
    ],
)
def test_an_encoding_that_is_declared_is_read_whether_it_is_so_or_utf_8(charset, text):
    data = text.encode("cp1252" if charset == "iso-8859-1" else charset)
    assert decoded(data, charset) == text
    assert decoded(text.encode(), charset) == text


@pytest.mark.parametrize("charset", ["gb2312", "windows-1251"])
def test_one_bad_byte_costs_one_character_in_an_encoding_that_is_declared(charset):
    text = "客厅电视" if charset == "gb2312" else "Привет"
    assert decoded(text.encode(charset) + b"<b>\xff", charset).startswith(f"{text}<b>")
    assert decoded(text.encode() + b"<b>x\xff", charset).startswith(f"{text}<b>x")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("start", ["", "\ufeff", " ", "\ufeff\r\n"])
def test_wide_characters_are_known_with_and_without_their_mark(codec, start):
    data = f"{start}<a>ä–😀</a>".encode(codec)
    assert decoded(data).strip() == "<a>ä–😀</a>"
    assert decoded(data + b"\0").strip() == "<a>ä–😀</a>"


def test_zeros_and_a_mark_that_lies_make_nothing_wide():
    assert decoded(b"<a>\0\0x</a>\0") == "<a>\0\0x</a>\0"
    assert decoded(b"\xff\xfe<a>x</a>").endswith("<a>x</a>")
