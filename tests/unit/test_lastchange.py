"""LastChange taken apart."""

from contextlib import suppress
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import xml
from bridge.model import lastchange
from bridge.model.device import Key
from bridge.model.lastchange import MAX_HAPPENINGS, Happening, read_event

EVENT = '<Event xmlns="urn:schemas-upnp-org:metadata-1-0/RCS/">{}</Event>'


def change(instance, name, channel, text):
    return Key(name, instance, channel), text


def split(inside):
    return lastchange.split(EVENT.format(inside))


@given(st.text())
def test_no_text_breaks_it(text):
    with suppress(xml.XmlError):
        lastchange.split(text)


@given(st.text("<>/&;a \"'=IDval0", max_size=60))
def test_nothing_within_an_event_breaks_it(text):
    with suppress(xml.XmlError):
        split(text)


def test_all_instances_variables_and_channels_come_in_order():
    assert split(
        '<InstanceID val="0"><Volume channel="Master" val="1"/><Volume channel="LF" val="2"/>'
        '<Mute Channel="Master" val="0"/></InstanceID><InstanceID val="7"><A val="x"/></InstanceID>'
    ) == [
        change("0", "Volume", "Master", "1"),
        change("0", "Volume", "LF", "2"),
        change("0", "Mute", "Master", "0"),
        change("7", "A", None, "x"),
    ]


@pytest.mark.parametrize("name", ["channel", "Channel", "CHANNEL"])
def test_the_channel_is_read_in_any_case(name):
    assert split(f'<InstanceID val="0"><V {name}="LF" val="1"/></InstanceID>') == [
        change("0", "V", "LF", "1")
    ]


def test_an_empty_channel_is_none_and_an_empty_value_is_one():
    assert split('<InstanceID val="0"><V channel="" val=""/></InstanceID>') == [
        change("0", "V", None, "")
    ]


def test_sonos_queues_are_instances_of_their_own():
    assert split(
        '<QueueID val="0"><UpdateID val="4"/></QueueID><QueueID val="9"><UpdateID val="5"/>'
        "</QueueID>"
    ) == [change("0", "UpdateID", None, "4"), change("9", "UpdateID", None, "5")]


def test_a_value_as_text_is_read_too():
    assert split('<InstanceID val="0"><V>x</V></InstanceID>') == [change("0", "V", None, "x")]


def test_escaped_didl_lite_comes_out_whole():
    didl = "<DIDL-Lite><item>A &amp; B</item></DIDL-Lite>"
    escaped = didl.replace("&", "&amp;").replace("<", "&lt;")
    ((_, text),) = split(f'<InstanceID val="0"><Meta val="{escaped}"/></InstanceID>')
    assert text == didl


@pytest.mark.parametrize(
    "text",
    [
        "</InstanceID></Event>",  # Bose SoundTouch
        "",
        "NOT_IMPLEMENTED",
    ],
)
def test_what_says_nothing_has_no_changes(text):
    with suppress(xml.XmlError):
        assert not lastchange.split(text)


@pytest.mark.parametrize("tail", ["</InstanceID></Event>", "</InstanceID>", "", "</Event>"])
def test_a_broken_tail_leaves_what_stands_before_it(tail):
    text = f'<Event><InstanceID val="0"><A val="1"/><B val="A & B"/>{tail}'
    assert lastchange.split(text) == [change("0", "A", None, "1"), change("0", "B", None, "A & B")]


def test_an_event_without_its_root_is_read():
    assert lastchange.split('<InstanceID val="3"><A val="1"/></InstanceID>') == [
        change("3", "A", None, "1")
    ]


def test_what_content_directory_calls_lastchange_has_no_values():
    """As rygel's: tests/captures/rygel/1-ContentDirectory.notify0.http."""
    assert (
        lastchange.split(
            '<StateEvent><objAdd objID="1" updateID="2"/><stDone objID="1"/></StateEvent>'
        )
        == []
    )


# What is no variable


CDS = (
    '<?xml version="1.0" encoding="UTF-8"?><StateEvent xmlns="urn:schemas-upnp-org:av:cds-event"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x y.xsd">{}'
    "</StateEvent>"
)
ADDED = '<objAdd objID="7" updateID="1" stUpdate="0" objParentID="0" objClass="object.item"/>'
HAPPENED = {
    "event": "objAdd",
    "objID": "7",
    "updateID": "1",
    "stUpdate": "0",
    "objParentID": "0",
    "objClass": "object.item",
}


def happened(text: str) -> list[Happening]:
    found: list[Happening] = []
    told, readable = read_event([("LastChange", text)], found)
    assert told == []
    assert readable
    return found


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (ADDED, [HAPPENED]),
        ("<objMod objID='&lt;ä&gt;' x:objID2='2'/>", [{"event": "objMod", "objID": "<ä>"}]),
        ('<objDel objID="7" updateID="2"/>', [{"event": "objDel", "objID": "7", "updateID": "2"}]),
        ('<stDone objID="0"/>', [{"event": "stDone", "objID": "0"}]),
        (
            '<vendorThing a="1" event="no"/><bare/>',
            [{"event": "vendorThing", "a": "1"}, {"event": "bare"}],
        ),
        ("", []),
    ],
)
def test_what_content_directory_tells_of_objects_is_something_that_happened(inside, expected):
    found = happened(CDS.format(inside))
    assert [{k: v for k, v in one.items() if k != "objID2"} for one in found] == expected


@pytest.mark.parametrize(
    "text",
    [
        ADDED,
        f"<StateEvent>{ADDED}</StateEvent>",
        CDS.format(ADDED.replace("/>", ">")),
        CDS.format(ADDED.replace("/>", "></objAdd>"))[:-20],
        "<c:StateEvent>" + ADDED.replace("<objAdd", "<c:objAdd") + "</c:StateEvent>",
    ],
)
def test_it_is_read_in_broken_forms_too(text):
    assert happened(text) == [HAPPENED]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_it_is_read_however_often_it_is_escaped(times):
    text = CDS.format(ADDED)
    for _ in range(times):
        text = escape(text, {'"': "&quot;"})
    assert happened(text) == [HAPPENED]
    assert happened(f"<x>{text}</x>") == [HAPPENED]


def test_objects_that_are_not_closed_stand_within_one_another():
    found = happened(
        '<StateEvent><objAdd objID="1"><objMod objID="2"><objDel objID="3"></StateEvent>'
    )
    assert [one["objID"] for one in found] == ["1", "2", "3"]


def test_variables_and_what_happened_may_stand_side_by_side():
    found: list[Happening] = []
    text = '<Event><InstanceID val="0"><X val="1"/></InstanceID><Done id="4"/><Y val="2"/></Event>'
    told, _ = read_event([("LastChange", text)], found)
    assert told == [(Key("X", "0"), "1"), (Key("Y", "0"), "2")]
    assert found == [{"event": "Done", "id": "4"}]


def test_it_is_bounded():
    many = happened(CDS.format("".join(f'<objAdd objID="{n}"/>' for n in range(5000))))
    assert [one["objID"] for one in many] == [str(n) for n in range(MAX_HAPPENINGS)]
    attributes = " ".join(f'a{n}="{n}"' for n in range(500))
    (wide,) = happened(CDS.format(f"<objAdd {attributes}/>"))
    assert len(wide) <= 33
    name = "x" * 100_000
    (long,) = happened(CDS.format(f'<objAdd objID="{name}"/>'))
    assert len(long["objID"]) == 4096


NOT_CLOSED = (
    "<Event><InstanceID val='0'><Mute channel='Master' val='0'>"
    "<Volume channel='Master' val='32'></InstanceID></Event>"
)
BOTH = [change("0", "Mute", "Master", "0"), change("0", "Volume", "Master", "32")]


@pytest.mark.parametrize("times", range(4))
@pytest.mark.parametrize("prolog", ["", '<?xml version="1.0"?>'])
def test_a_last_change_that_is_escaped_again_is_read(times, prolog):
    text = NOT_CLOSED
    for _ in range(times):
        text = escape(text, {"'": "&apos;", '"': "&quot;"})
    assert lastchange.split(prolog + text) == BOTH
    assert lastchange.split(f"<Event>{escape(text)}</Event>") == BOTH


@pytest.mark.parametrize(
    "text",
    [
        NOT_CLOSED.replace("<", "&#60;"),
        NOT_CLOSED.replace("<", "&#x3C;").replace(">", "&gt;"),
        f"\r\n {escape(NOT_CLOSED)} ",
    ],
)
def test_whatever_way_it_is_escaped(text):
    assert lastchange.split(text) == BOTH


def test_what_is_no_markup_however_often_it_is_taken_to_be_escaped_is_refused():
    for text in ("", "x", "&lt", "&amp;" * 9, "&amp;amp;amp;amp;amp;amp;amp;lt;Event/&gt;"):
        with pytest.raises(xml.XmlError):
            lastchange.split(text)


@pytest.mark.parametrize(
    ("inside", "changes"),
    [
        ("<InstanceID val='0'><A val='1'><B val='2'><C val='3'>", "0A1 0B2 0C3"),
        ("<InstanceID val='0'><A val='1'/><B val='2'><C val='3'/></InstanceID>", "0A1 0B2 0C3"),
        ("<InstanceID val='0'><A val='1'></B><B val='2'></InstanceID>", "0A1 0B2"),
        (
            "<InstanceID val='0'><A val='1'></InstanceID><InstanceID val='1'><A val='3'>",
            "0A1 1A3",
        ),
        ("<InstanceID val='7'><A val='1'><B val='2'>", "7A1 7B2"),
        ("<A val='1'><B val='2'>", "0A1 0B2"),
        (
            "<QueueID val='5'><A val='1'><B val='2'></QueueID><QueueID val='6'><A val='3'>",
            "5A1 5B2 6A3",
        ),
        ("<InstanceID val='0'><A val='1'><x/><y>z</y></A><B val='2'/></InstanceID>", "0A1 0B2"),
    ],
)
def test_variables_that_are_not_closed_are_all_there(inside, changes):
    found = split(inside)
    assert found == [change(one[0], one[1], None, one[2]) for one in changes.split()]


@pytest.mark.parametrize(
    "pair", ["&#55357;&#56832;", "&#xD83D;&#xde00;", "&amp;#55357;&amp;#56832;"]
)
def test_a_character_as_two_references_is_one(pair):
    text = EVENT.format(f'<InstanceID val="0"><A val="x {pair}"/><B>{pair}</B></InstanceID>')
    expected = [change("0", "A", None, "x 😀"), change("0", "B", None, "😀")]
    assert lastchange.split(text) == expected
    assert lastchange.split(escape(text)) == expected
    assert lastchange.split(escape(escape(text))) == expected


@pytest.mark.parametrize(
    "written",
    [
        "<Event><InstanceID val=0><Volume channel=Master val=32/><Mute val=0></InstanceID></Event>",
        "<Event><InstanceID val='0'><Volume channel=\"Master\" val=32 /><Mute val= 0 /></Event>",
        "<Event><InstanceID val=0><Volume val=32 channel='Master'></Volume><Mute val=0></Mute>",
    ],
)
def test_values_without_quotes_are_values(written):
    found = dict(lastchange.split(written))
    assert found == {Key("Volume", "0", "Master"): "32", Key("Mute", "0"): "0"}


def test_what_is_quoted_keeps_its_equals_signs():
    meta = "<![CDATA[<a href=x>]]>"
    written = (
        '<Event><InstanceID val=0><URI val=http://192.0.2.9/a?b=c/><Title val="x=1 y =2"/>'
        f"<Plain>{meta} z=3</Plain></InstanceID></Event>"
    )
    assert dict(lastchange.split(written)) == {
        Key("URI", "0"): "http://192.0.2.9/a?b=c",
        Key("Title", "0"): "x=1 y =2",
        Key("Plain", "0"): "<a href=x> z=3",
    }
