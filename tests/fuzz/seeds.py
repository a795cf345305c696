"""Where fuzzing begins: what real devices sent, cut into what each target takes."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from html import escape, unescape
from pathlib import Path

from bridge.tree.device_tree import Shape
from bridge.tree.mirrored_device import MirroredDevice
from bridge.upnp.http.http1 import find_head_end
from tests.unit.captured import CAPTURES, DEVICES, captured

FINDINGS = Path(__file__).parent / "findings"
_MANY = 10**6
_SHORT = 4096
_LAST_CHANGE = re.compile(rb"<LastChange[^>]*>(.*?)</LastChange>", re.DOTALL)
_DIDL = re.compile(rb"&lt;DIDL-Lite.*?&lt;/DIDL-Lite&gt;", re.DOTALL)
_COMMANDS = (
    b'\0{"callid":1,"service":"AVTransport","action":"Play","args":{"Speed":"1"},"timeout":5}',
    b'\2{"Speed":"2","callid":"x","reply_to":"upnp/reply/x"}',
    b"\x0425",
    b"\x0625.0",
    b"\x08",
    b'\x0a{"ids":["a","b/c"]}',
    b'\xff/call\n{"action":"Play"}',
    b"\xffP/RenderingControl/value/Volume/0/Master/set\n25",
)
_TEXTS = (
    b"http://192.0.2.7:80/a%20b?c#d",
    b"http://[fe80::1%25eth0]:8080/",
    b"mqtts://u:p@h:1/x",
    "Küche/0/Master".encode(),
    b"urn:upnp-org:serviceId:AVTransport\nurn:x:serviceId:AVTransport",
)
_VALUES = (
    b"\x132024-02-29T24:00:00Z",
    b"\x1123:59:60",
    b"\x0125",
    b"\x02-9223372036854775808",
    b"\x051e999",
    b"\x0612.34567",
    b"\x09true",
)
_ODD = "Zwölf – kühl &#55357;&#56832;&#xD83D; &eacute;".encode() + b"\xc3 \xed\xa0\xbd\xed\xb8\x80"
_XML = (
    b"<a b='" + _ODD + b"'>" + _ODD + b"<![CDATA[" + _ODD + b"]]></a>",
    b"<?xml version='1.0' encoding='iso-8859-1'?><a>K\xfcche \x96 &amp;#xD83D;&amp;#xDE00;</a>",
    b"<?xml version='1.0' encoding='shift_jis'?><a>\x83\x8a\x83r &</a>",
    "<?xml version='1.0' encoding='utf-16'?><a>ä–😀&#55357;</a>".encode("utf-16-be"),
)
_NOT_CLOSED = (
    b"<Event><InstanceID val='0'><Mute channel='Master' val='0'><Volume val='" + _ODD + b"'>"
    b"</InstanceID><InstanceID val='1'><A val='1'></InstanceID></Event>"
)
_SETTINGS = (
    b"upnp/a",
    b"mqtt://u:p@h:1/x?y",
    b'["a/+/#","#"]',
    b"http://[::1]/d.xml",
    b"10.0.0.0/8",
)
_TREES = (
    b'bridge/main/devices\0[{"id":"D","subdevices":["E"]}]\0bridge/a/state\0online',
    b'D\0{"id":"D","bridge":"main","udn":"uuid:D","location":"http://192.0.2.1/"}\0',
)


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """All that a target begins with, and what was found with it."""
    found = sorted(path for path in (FINDINGS / target).glob("*") if path.is_file())
    return (b"", *_SEEDS[target](), *(path.read_bytes() for path in found))


def _files(pattern: str, before: bytes = b"") -> Callable[[], Iterator[bytes]]:
    return lambda: (before + path.read_bytes() for path in sorted(CAPTURES.glob(pattern)))


def _bodies(pattern: str) -> Iterator[bytes]:
    for data in _files(pattern)():
        yield data[find_head_end(data) :]


def _unescaped(pattern: re.Pattern[bytes]) -> Callable[[], Iterator[bytes]]:
    return lambda: (
        unescape(one.decode()).encode()
        for body in _bodies("*/*.http")
        for one in pattern.findall(body)
    )


def _trees() -> Iterator[bytes]:
    yield from _TREES
    for name in DEVICES:
        tree = Shape("upnp", "main").wanted(MirroredDevice.of(captured(name)), _MANY)
        yield b"".join(
            b"%s\0%s\0" % (topic[5:].encode(), payload) for topic, payload in tree.items()
        )


_MEDIA = (
    b"http://192.0.2.9/music/So%20What.flac?a=1#b",
    b"x-rincon-mp3radio://http://192.0.2.9/fm02_aac",
    b"0:08:17.4930000000",
    b":08:17.0/1",
    b"TYPE=SNG|TITLE x|ARTIST y|ALBUM z",
    b"Tom Petty - Learning To Fly",
    b"20%",
    b"-15360",
    b"yes",
)

_SEEDS: Mapping[str, Callable[[], Iterator[bytes] | tuple[bytes, ...]]] = {
    "ssdp": _files("*/*.txt"),
    "multicast_event": _files("*/*.txt"),
    "http_answer": _files("*/*subscribe.http", b"\0"),
    "url": lambda: _TEXTS,
    "notify": _files("*/*.notify?.http", b"\0"),
    "description": _files("*/description?.xml"),
    "scpd": _files("*/*.scpd.xml"),
    "properties": lambda: (
        *_bodies("*/*.notify?.http"),
        *(b"<propertyset><property><A>" + one + b"<property><B>2" for one in _XML),
        b"<propertyset><property><LastChange>" + _NOT_CLOSED + b"</LastChange></property>",
    ),
    "last_change": lambda: (
        *_unescaped(_LAST_CHANGE)(),
        _NOT_CLOSED,
        escape(_NOT_CLOSED.decode("latin-1")).encode(),
    ),
    "xml": lambda: (*_XML, _NOT_CLOSED),
    "didl": _unescaped(_DIDL),
    "media": lambda: _MEDIA,
    "soap": lambda: _bodies("*/*.answer.http"),
    "command": lambda: _COMMANDS,
    "level": lambda: _TEXTS,
    "holdings": _trees,
    "neighbour": _trees,
    "redaction": lambda: (one for one in _files("*/*.http")() if len(one) < _SHORT),
    "value": lambda: _VALUES,
    "settings": lambda: _SETTINGS,
}
