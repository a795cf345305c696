"""Bodies of events, as devices really write them, to names and texts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats.xml import XmlError
from bridge.model.device import Key
from bridge.model.lastchange import read_event
from bridge.upnp.gena.event_body import read_properties

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*/*.notify*.http"))
EVENT = 'xmlns:e="urn:schemas-upnp-org:event-1-0"'


def propertyset(inner: str, namespace: str = EVENT) -> bytes:
    return f"<e:propertyset {namespace}>{inner}</e:propertyset>".encode()


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_recorded_event_has_properties(capture):
    _, _, body = capture.read_bytes().partition(b"\r\n\r\n")
    properties = read_properties(body)
    assert properties
    assert all(name and name.isidentifier() for name, _ in properties)


def test_a_recorded_switch_says_its_status():
    capture = next(path for path in CAPTURES if path.name == "1-SwitchPower.notify0.http")
    _, _, body = capture.read_bytes().partition(b"\r\n\r\n")
    assert read_properties(body) == [("Status", "0")]


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (propertyset("<e:property><A>1</A></e:property><e:property><B>2</B></e:property>"), "A1B2"),
        (propertyset("<e:property><A>1</A><B>2</B></e:property>"), "A1B2"),
        (propertyset("<e:property><A>1</A></e:property>", 'xmlns:e="urn:foreign"'), "A1"),
        (propertyset("<e:property><A>1</A></e:property>", ""), "A1"),
        (b"<propertyset><property><A>1</A></property></propertyset>", "A1"),
        (propertyset("<e:property><x:A xmlns:x='urn:x'>1</x:A></e:property>"), "A1"),
        (propertyset("<e:property><A>1</A></e:property>") + b"\0\0\0", "A1"),
        (propertyset("<e:property><A>1</A></e:property>") + b"\r\ngarbage & more", "A1"),
        (b"\r\n\xef\xbb\xbf" + propertyset("<e:property><A>1</A></e:property>"), "A1"),
        (b"<wrap>" + propertyset("<e:property><A>1</A></e:property>") + b"</wrap>", "A1"),
        (b"<e:propertyset><e:property><A>1</A></e:property>", "A1"),
    ],
    ids=[
        "several properties",
        "several variables in one property",
        "a foreign namespace",
        "an unbound prefix",
        "no namespace",
        "a namespace of its own on the variable",
        "NULs behind",
        "garbage behind, as WeMo sends it",
        "a byte order mark and a blank line before",
        "an element around it",
        "no end tag",
    ],
)
def test_a_propertyset_is_read_whatever_surrounds_it(body, properties):
    pairs = zip(properties[::2], properties[1::2], strict=True)
    assert read_properties(body) == list(pairs)


def test_repeated_names_keep_their_order_as_linkplay_calls_every_property_lastchange():
    body = propertyset(
        "<e:property><LastChange>http-get:*:audio/mpeg:*</LastChange></e:property>"
        "<e:property><LastChange></LastChange></e:property>"
        "<e:property><LastChange>0</LastChange></e:property>"
    )
    assert read_properties(body) == [
        ("LastChange", "http-get:*:audio/mpeg:*"),
        ("LastChange", ""),
        ("LastChange", "0"),
    ]


def test_a_text_is_returned_as_sent():
    body = propertyset("<e:property><A> a &amp; b\n&lt;c/&gt; </A></e:property>")
    assert read_properties(body) == [("A", " a & b\n<c/> ")]


def test_cdata_is_text():
    body = propertyset("<e:property><A><![CDATA[<Event/>]]></A></e:property>")
    assert read_properties(body) == [("A", "<Event/>")]


def test_unescaped_xml_within_a_variable_is_returned_as_xml():
    body = propertyset(
        "<e:property><LastChange>a &amp; <Event><InstanceID val='0'/></Event> b</LastChange>"
        "</e:property>",
    )
    [(name, text)] = read_properties(body)
    assert name == "LastChange"
    assert text.startswith("a &amp; <Event")
    assert '<InstanceID val="0"/></Event> b' in text


def test_the_end_tags_that_bose_soundtouch_sends_for_lastchange_are_an_event_all_the_same():
    escaped = propertyset(
        "<e:property><LastChange>&lt;/InstanceID&gt;&lt;/Event&gt;</LastChange></e:property>"
    )
    assert read_properties(escaped) == [("LastChange", "</InstanceID></Event>")]
    bare = propertyset("<e:property><LastChange></InstanceID></Event></LastChange></e:property>")
    assert [name for name, _ in read_properties(bare)] == ["LastChange"]


def test_bytes_of_latin_1_are_mended():
    body = propertyset("<e:property><A>Caf\xe9</A></e:property>").decode().encode("latin-1")
    assert read_properties(body) == [("A", "Caf\xe9")]


def test_a_property_without_a_variable_is_passed_over():
    assert read_properties(propertyset("<e:property/><other><A>1</A></other>")) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"<html><body>200 OK</body></html>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><propertyset><property><A>&b;</A></property></propertyset>',
    ],
)
def test_what_is_no_propertyset_is_an_xml_error(body):
    with pytest.raises(XmlError):
        read_properties(body)


@given(st.binary() | st.binary().map(lambda inner: b"<propertyset><property>" + inner))
def test_any_bytes_are_properties_or_an_xml_error(body):
    try:
        properties = read_properties(body)
    except XmlError:
        return
    assert all(isinstance(part, str) for pair in properties for part in pair)


@pytest.mark.parametrize(
    "inner",
    [
        "<e:property><A>1<e:property><B>2",
        "<e:property><A>1</e:property><e:property><B>2</e:property>",
        "<e:property><A>1</A><e:property><B>2</B></e:property>",
        "<e:property><A>1</A><e:property><B>2</B>",
    ],
)
def test_properties_that_are_not_closed_are_all_there(inner):
    assert read_properties(propertyset(inner)) == [("A", "1"), ("B", "2")]


def test_a_last_change_that_is_xml_and_not_closed_hides_nothing_behind_it():
    body = propertyset(
        "<e:property><LastChange><?xml version='1.0'?><Event><InstanceID val='0'>"
        "<Mute val='0'><Volume val='32'></InstanceID></Event></LastChange></e:property>"
        "<e:property><B>2</B></e:property>"
    )
    told, readable = read_event(read_properties(body))
    assert readable
    assert told == [
        (Key("Mute", "0"), "0"),
        (Key("Volume", "0"), "32"),
        (Key("B"), "2"),
    ]


def test_one_bad_byte_costs_one_character_of_one_variable():
    body = propertyset(
        "<e:property><A>Zwölf Grad – kühl @</A></e:property><e:property><B>für</B></e:property>"
        "<e:property><C>&#55357;&#56832;</C></e:property>"
    ).replace(b"@", b"\xc3")
    assert read_properties(body) == [("A", "Zwölf Grad – kühl \ufffd"), ("B", "für"), ("C", "😀")]
