"""What decoders may cost, whatever the bytes: a bounded time and memory for each of them.

Time is the process's own, so that a busy machine makes it little longer. The bounds are several
times what is used, and what would grow with the square of the length is far beyond them.
"""

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from bridge.errors import DescriptionError
from bridge.formats import jsontext
from bridge.formats.xml import XmlError
from bridge.model import lastchange
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd
from bridge.upnp.gena.event_body import read_properties
from tests.documents import rows, section, text
from tests.fuzz import devices, publishers
from tests.fuzz.targets import Target
from tests.fuzz.world import LOCATION

Shape = Callable[[int], bytes]

CPU_S, MEMORY = 0.2, 256 * 1024
"""What any input may cost."""


def repeated(start: bytes, part: bytes, end: bytes = b"") -> Shape:
    """So many bytes of a part, again and again; `%d` in it is its number."""

    def shape(size: int) -> bytes:
        count = max(1, (size - len(start) - len(end)) // (len(part) + 3 * part.count(b"%d")))
        parts = (part.replace(b"%d", b"%d" % number) for number in range(count))
        return start + b"".join(parts) + end

    return shape


def nested(start: bytes, before: bytes, inner: bytes, after: bytes, end: bytes) -> Shape:
    """So many bytes of inner parts, as deep within others as libxml2 goes."""

    def shape(size: int) -> bytes:
        depth = 100
        count = max(1, (size - depth * len(before + after)) // len(inner))
        around = b"".join(before.replace(b"%d", b"%d" % number) for number in range(depth))
        return start + around + inner * count + after * depth + end

    return shape


def json(data: bytes) -> None:
    jsontext.read(data)


def scpd(data: bytes) -> None:
    with suppress(DescriptionError):  # what has more than its bounds is refused
        read_scpd(data)


def description(data: bytes) -> None:
    with suppress(DescriptionError):
        read_description(data, LOCATION, foreign=lambda _: True)


def properties(data: bytes) -> None:
    with suppress(XmlError):
        read_properties(data)


def last_change(data: bytes) -> None:
    with suppress(XmlError):
        lastchange.split(data.decode())


DEVICE = b"<root><device><UDN>uuid:a</UDN>"
DEVICE_END = b"</device></root>"
VARIABLE = b"<scpd><stateVariable><name>a</name>"
VARIABLE_END = b"</stateVariable></scpd>"
EVENT = b"<propertyset><property><V>"
EVENT_END = b"</V></property></propertyset>"
CHANGE, CHANGE_END = b"<Event><InstanceID val='0'>", b"</InstanceID></Event>"
DIDL, DIDL_END = b"<DIDL-Lite><item>", b"</item></DIDL-Lite>"
SOAP, SOAP_END = b"<Envelope><Body><R>", b"</R></Body></Envelope>"
ALIVE = (
    b"NOTIFY * HTTP/1.1\r\nUSN: uuid:a\r\nNTS: ssdp:alive\r\nLOCATION: http://a\r\nCACHE-CONTROL: "
)
CHUNKED = b"\0HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n"
NOTIFY = b"NOTIFY /token HTTP/1.1\r\n"
OURS = b'd\0{"id":"d","bridge":"main","udn":"u","location":"l"}\0'

SHAPES: dict[str, tuple[Target, int, dict[str, Shape]]] = {
    "ssdp": (
        devices.ssdp_datagram,
        8_000,
        {
            "max-age of spaces": repeated(ALIVE + b"max-age=", b" ", b"x\r\n\r\n"),
            "many max-ages": repeated(ALIVE, b"max-age", b"x\r\n\r\n"),
            "folded lines": repeated(b"NOTIFY * HTTP/1.1", b"\r\n "),
            "a start line of spaces": repeated(b"HTTP/1.1", b" ", b"201"),
        },
    ),
    "answer": (
        devices.http_answer,
        500_000,
        {
            "many headers": repeated(b"\0HTTP/1.1 200\r\n", b"a:b\r\n"),
            "small chunks": repeated(CHUNKED, b"1\r\na\r\n", b"0\r\n"),
            "interim answers": repeated(b"\0", b"HTTP/1.1 100 x\r\n\r\n"),
            "a status line of spaces": repeated(b"\0HTTP/1.1", b" ", b"200"),
            "comments": repeated(b"\0HTTP/1.1 200\r\n\r\n", b"<!--"),
            "a URL of zones": repeated(b"http://[::1%", b"%25", b"]"),
        },
    ),
    "answer byte by byte": (
        devices.http_answer,
        64_000,
        {
            "a head without end": repeated(b"\1HTTP/1.1 200\r\na:", b"b"),
            "lines before the head": repeated(b"\1", b"\r\n", b"HTTP/1.1 200\r\n\r\n"),
            "short lines": repeated(b"\1HTTP/1.1 200\r\n", b"\na"),
            "small chunks": repeated(b"\1" + CHUNKED[1:], b"1\r\na\r\n", b"0\r\n"),
        },
    ),
    "NOTIFY": (
        devices.notify,
        100_000,
        {
            "one after the other": repeated(b"\0", NOTIFY + b"Content-Length:0\r\n\r\n"),
            "end tags": repeated(b"\1" + NOTIFY + b"\r\n", b"</propertyset "),
            "chunks": repeated(
                b"\1" + NOTIFY + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"
            ),
            "padding": repeated(b"\1" + NOTIFY + b"Content-Length:2\r\n\r\n<>", b"\0"),
        },
    ),
    "description": (
        description,
        500_000,
        {
            "devices": repeated(
                DEVICE + b"<deviceList>",
                b"<device><UDN>u%d</UDN></device>",
                b"</deviceList></device></root>",
            ),
            "services alike": repeated(
                DEVICE + b"<serviceList>",
                b"<service><serviceId>x</serviceId></service>",
                DEVICE_END,
            ),
            "icons": repeated(DEVICE + b"<iconList>", b"<icon><url>/%d</url></icon>", DEVICE_END),
            "unknown elements": repeated(DEVICE, b"<a/>", DEVICE_END),
            "broken XML": repeated(DEVICE, b"<a>&", DEVICE_END),
            "a long URL": repeated(DEVICE + b"<presentationURL>", b"%41", DEVICE_END),
        },
    ),
    "SCPD": (
        scpd,
        1_000_000,
        {
            "state variables": repeated(
                b"<scpd>", b"<stateVariable><name>%d</name></stateVariable>", b"</scpd>"
            ),
            "empty state variables": repeated(b"<scpd>", b"<stateVariable/>", b"</scpd>"),
            "allowed values": repeated(
                VARIABLE + b"<allowedValueList>", b"<allowedValue>%d</allowedValue>", VARIABLE_END
            ),
            "arguments": repeated(
                b"<scpd><action><name>a</name><argumentList>",
                b"<argument><name>%d</name></argument>",
                b"</argumentList></action></scpd>",
            ),
            "unknown elements": repeated(VARIABLE, b"<x/>", VARIABLE_END),
            "texts within texts": nested(
                b"<scpd>",
                b"<stateVariable><name>%d</name><defaultValue>",
                b"x",
                b"</defaultValue></stateVariable>",
                b"</scpd>",
            ),
            "elements within texts": nested(
                b"<scpd>",
                b"<stateVariable><name>%d</name><defaultValue>",
                b"<b/>",
                b"</defaultValue></stateVariable>",
                b"</scpd>",
            ),
        },
    ),
    "properties": (
        properties,
        500_000,
        {
            "variables": repeated(
                b"<propertyset>", b"<property><V%d>1</V%d></property>", b"</propertyset>"
            ),
            "XML under many namespaces": lambda size: (
                repeated(b"<propertyset ", b"xmlns:a%d='u' ", b"><property><V>")(size // 2)
                + repeated(b"", b"<b/>", EVENT_END)(size // 2)
            ),
            "XML again and again under namespaces": lambda size: (
                repeated(b"<propertyset ", b"xmlns:a%d='u' ", b"><property>")(400)
                + repeated(b"", b"<V><b/></V>", b"</property></propertyset>")(size)
            ),
            "XML under a long namespace": lambda size: (
                repeated(b"<propertyset xmlns:a='", b"u", b"'><property><V>")(size // 2)
                + repeated(b"", b"<a:b/>", EVENT_END)(size // 2)
            ),
            "attributes": repeated(
                b"<propertyset><property><V ", b"a%d='1' ", b"/></property></propertyset>"
            ),
            "doubled attributes": repeated(
                b"<propertyset><property><V ", b"a='' ", b"/></property>"
            ),
            "unknown entities": repeated(EVENT, b"&x;", EVENT_END),
            "entities of HTML": repeated(EVENT, b"&eacute;", EVENT_END),
            "bytes that are no UTF-8": repeated(EVENT, b"\xc3", EVENT_END),
            "fields in other encodings": repeated(EVENT, b"\xfc'", EVENT_END),
            "a bad byte in much UTF-8": repeated(EVENT + b"\xc3", b"\xc3\xbc", EVENT_END),
            "halves of characters": repeated(EVENT, b"&#xD83D;", EVENT_END),
            "halves that are escaped twice": repeated(EVENT, b"&amp;#xD83D;", EVENT_END),
            "halves that are escaped often": repeated(
                EVENT + b"&", b"amp;", b"#xD83D;" + EVENT_END
            ),
            "halves as characters": repeated(EVENT, b"\xed\xa0\xbd", EVENT_END),
            "a number": repeated(EVENT + b"&#", b"9", b";" + EVENT_END),
            "numbers without an end": repeated(EVENT, b"&#99999999", EVENT_END),
            "CDATA without an end": repeated(EVENT + b"&", b"<![CDATA[", EVENT_END),
            "declarations": repeated(EVENT + b"&", b"<?xml ", EVENT_END),
            "properties that are not closed": repeated(b"<propertyset>", b"<property><V>1"),
            "another encoding": repeated(
                b"<?xml version='1.0' encoding='gbk'?><propertyset>", b"\xbf\xcd\xff", EVENT_END
            ),
            "end tags": repeated(EVENT, b"</b>"),
            "less-than signs": repeated(EVENT, b"<", EVENT_END),
            "unknown prefixes": repeated(
                b"<propertyset><property>", b"<q%d:v/>", b"</property></propertyset>"
            ),
            "CDATA": repeated(EVENT, b"<![CDATA[x]]>", EVENT_END),
            "a declaration": repeated(
                b"<?xml version='1.0' encoding", b" encoding=", b"?><propertyset/>"
            ),
            "punycode": repeated(
                b"<?xml version='1.0' encoding='punycode'?><propertyset>&-", b"zzz9", b">"
            ),
        },
    ),
    "LastChange": (
        last_change,
        500_000,
        {
            "variables": repeated(CHANGE, b"<V%d val='1'/>", CHANGE_END),
            "instances": repeated(
                b"<Event>", b"<InstanceID val='%d'><V val='1'/></InstanceID>", b"</Event>"
            ),
            "attributes": repeated(CHANGE + b"<V ", b"a%d='1' ", b"/>" + CHANGE_END),
            "variables that are not closed": repeated(CHANGE, b"<V%d val='1'>", CHANGE_END),
            "many again and again": nested(
                b"<Event>", b"<InstanceID val='%d'>", b"<V val='1'/>", b"", b"</Event>"
            ),
            "escaped four times": repeated(b"", b"&amp;amp;amp;lt;V&amp;amp;amp;gt;"),
            "ampersands": repeated(b"&lt;", b"&amp;"),
        },
    ),
    "DIDL-Lite": (
        devices.didl,
        250_000,
        {
            "items": repeated(b"<DIDL-Lite>", b"<item/>", b"</DIDL-Lite>"),
            "fields": repeated(DIDL, b"<f%d/>", DIDL_END),
            "resources": repeated(DIDL, b"<res duration='x'/>", DIDL_END),
            "attributes": repeated(b"<DIDL-Lite><item ", b"a%d='' ", b"/></DIDL-Lite>"),
            "attributes of a resource": repeated(DIDL + b"<res ", b"a%d='' ", b"/>" + DIDL_END),
            "classes": repeated(DIDL + b"<class>", b"a.", b"</class>" + DIDL_END),
            "a number": repeated(b"&#", b"9", b";"),
            "entities": repeated(b"", b"&amp;"),
        },
    ),
    "media": (
        devices.media,
        250_000,
        {
            "digits": repeated(b"", b"9"),
            "spaces": repeated(b"a", b" ", b"b"),
            "dashes": repeated(b"a", b" - ", b"b"),
            "fields": repeated(b"TYPE=SNG", b"|TITLE %d"),
            "escapes": repeated(b"http://h/", b"%E4"),
            "levels": repeated(b"http://h", b"/%20"),
            "parameters": repeated(b"http://h/a", b";a=;"),
            "dots": repeated(b"http://h/a", b".a"),
            "codes": repeated(b"", b"_mp3"),
            "colons": repeated(b"", b":1"),
        },
    ),
    "SOAP": (
        devices.soap,
        500_000,
        {
            "arguments": repeated(SOAP, b"<a%d/>", SOAP_END),
            "a text": repeated(SOAP + b"<V>", b"&lt;", b"</V>" + SOAP_END),
            "XML": repeated(SOAP + b"<V>", b"<b/>", b"</V>" + SOAP_END),
        },
    ),
    "command": (
        publishers.command,
        95_000,
        {
            "lists in lists": repeated(b'\0{"args":', b"["),
            "objects in objects": repeated(b"\0", b'{"a":'),
            "names": repeated(b'\0{"action":"Play","args":{', b'"%d":1,', b'"x":1}}'),
            "the same name": repeated(b"\0{", b'"action":1,', b'"a":1}'),
            "a number": repeated(b'\0{"callid":', b"9", b"}"),
            "a fraction": repeated(b'\0{"callid":1.', b"9", b"}"),
            "an exponent": repeated(b'\0{"callid":1e', b"9", b"}"),
            "half surrogate pairs": repeated(b'\0{"action":"', b"\\ud800", b'"}'),
            "spaces": repeated(b"\0", b" ", b"x"),
            "a number as text": repeated(b"\x04", b"9"),
        },
    ),
    "JSON": (
        json,
        500_000,
        {
            "lists in lists": repeated(b"", b"["),
            "a number": repeated(b"", b"9"),
            "names": repeated(b"{", b'"%d":1,', b'"a":1}'),
        },
    ),
    "value": (
        publishers.value,
        500_000,
        {
            "digits": repeated(b"\5", b"9"),
            "an exponent": repeated(b"\x051e", b"9"),
            "a fraction": repeated(b"\x050.", b"1"),
            "hexadecimal digits": repeated(b"\x0a", b"ab", b"x"),
            "Base64": repeated(b"\x0b", b"ab ", b"x"),
        },
    ),
    "holdings": (
        publishers.retained_tree,
        200_000,
        {
            "devices": repeated(
                b"", b'd%d\0{"id":"d%d","bridge":"main","udn":"u","location":"l"}\0'
            ),
            "values": repeated(OURS, b"d/s/value/v%d\0x\0"),
            "parts": repeated(OURS + b'd/s\0{"chunks":99999}\0', b"d/s/chunk/%d\0x\0"),
            "heads without parts": repeated(OURS, b'd/s/value/v%d\0{"chunks":3}\0'),
            "rows": repeated(
                b"bridge/main/devices\0[", b'{"id":"%d","subdevices":["%d"]},', b"1]\0"
            ),
        },
    ),
    "neighbours": (
        publishers.neighbour,
        200_000,
        {
            "documents": repeated(b"", b'd%d\0{"bridge":"x%d"}\0'),
            "states": repeated(b"", b"bridge/x%d/state\0online\0"),
        },
    ),
    "redaction": (
        publishers.redaction,
        30_000,
        {
            "identifiers with one beginning": repeated(b"\r\n\r\n", b"uuid:a-%d "),
            "names with one beginning": repeated(
                b"\r\n\r\n", b"<friendlyName>Foo bar %d</friendlyName>"
            ),
            "MAC addresses": repeated(b"\r\n\r\n", b"00:11:22:33:44:55 "),
            **{
                f"only {part.decode()!r}": repeated(b"\r\n\r\n", part)
                for part in (
                    *(b"%41", b"&amp;amp;", b"amp;", b"%25", b"<a ", b"a", b".a", b" ", b'"a'),
                    *(
                        b":",
                        b"a:",
                        b"1.",
                        b"a@a.",
                        b"val=",
                        b"password",
                        b"?a",
                        b"_",
                        b"\n",
                        b"//a",
                    ),
                )
            },
            "one header": repeated(b"Content-Length", b" ", b"\r\n\r\n"),
            "headers": repeated(b"", b"a: b\r\n", b"\r\n\r\n"),
        },
    ),
}


BOUNDS = {"redaction": (50, 300), "properties": (5, 120), "NOTIFY": (20, 60)}
US_PER_BYTE, BYTES_PER_BYTE = 5, 75
"""What decoders may cost for each byte, where `BOUNDS` does not say."""

CASES = [
    pytest.param(name, shape, id=f"{name}-{shape}")
    for name, (_, _, shapes) in SHAPES.items()
    for shape in shapes
]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_no_bytes_cost_more_time_than_their_number_allows(name, shape):
    decode, size, shapes = SHAPES[name]
    us_per_byte, _ = BOUNDS.get(name, (US_PER_BYTE, BYTES_PER_BYTE))
    data = shapes[shape](size)
    began_s = time.process_time()
    decode(data)
    assert time.process_time() - began_s <= CPU_S + len(data) * us_per_byte / 1e6


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_no_bytes_take_more_memory_than_their_number_allows(name, shape):
    decode, size, shapes = SHAPES[name]
    _, bytes_per_byte = BOUNDS.get(name, (US_PER_BYTE, BYTES_PER_BYTE))
    data = shapes[shape](size // 10)
    tracemalloc.start()
    try:
        decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY + len(data) * bytes_per_byte


def test_the_bounds_are_those_of_the_documents():
    told = rows(section(text("architecture.md"), "Fuzzing"))
    default = US_PER_BYTE, BYTES_PER_BYTE
    assert {name: (int(us), int(size)) for name, us, size in told} == BOUNDS | {
        "any other": default
    }
