"""Libraries one may choose from, on what the bridge reads and writes: microseconds, and fitness.

CPU of this process, the best of several rounds. What is not installed is left out with a line.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from lxml import etree

from benchmarks import bodies, floor, stage
from bridge.formats import jsontext, xml
from bridge.tree.documents import components
from bridge.upnp.gena.notify_reader import DoubtError, StrictReader, read_lax
from bridge.upnp.http.http1 import read_head
from tests.unit.captured import captured

Row = tuple[str, Callable[[], object], str]
"""A library, what is measured, and how fit it is."""

_CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
_ROUNDS, _ROUND_S = 5, 0.1
_EXCHANGES = 3000


def cpu_us(work: Callable[[], object]) -> float:
    """Return what a piece of work costs in the best round."""
    best_s, count = float("inf"), 1
    for _ in range(_ROUNDS + 1):
        begin_s = time.process_time()
        for _ in range(count):
            work()
        took_s = time.process_time() - begin_s
        best_s = min(best_s, took_s / count) if took_s > _ROUND_S / 10 else best_s
        count = max(1, int(count * _ROUND_S / max(took_s, 1e-5)))
    return best_s * 1e6


def module(name: str) -> Any:  # noqa: ANN401 - a module that may be missing
    """Return a module, or None, and say so, where it is not installed."""
    if find_spec(name.partition(".")[0]) is None:
        print(f"{name}: not installed")
        return None
    return __import__(name, fromlist=["*"])


def passes(reader: Callable[[Any], object], inputs: Sequence[object]) -> int:
    """Count the inputs that are read without an error."""
    count = 0
    for one in inputs:
        with suppress(Exception):
            reader(one)
            count += 1
    return count


# JSON

_ODD_VALUES: tuple[object, ...] = (1e16, 1e-7, 2**70, "\ud800", {"b": 1, "a": 2}, "\x7f\u2028/")
_NO_JSON = (b'{"a":NaN}', b"[1e999]", b"[1,]", b'{"a":1}x', b"\xff")
_ODD_JSON = (b'"\\ud800"', b"[123456789012345678901234567890]", b'{"a":1,"a":2}')


def writers() -> Iterator[Row]:
    """Write the documents of a renderer."""
    found = components(captured("gmediarender/1"), bridge="main", detail="full")
    documents = [json.loads(document) for _, document in found]
    encoders: dict[str, Callable[[object], bytes]] = {"json": jsontext.encode}
    if orjson := module("orjson"):
        encoders["orjson"] = orjson.dumps
    if msgspec := module("msgspec.json"):
        encoders["msgspec"] = msgspec.Encoder().encode
    for name, encode in encoders.items():
        same = 0
        for one in (*documents, *_ODD_VALUES):
            with suppress(Exception):
                same += encode(one) == jsontext.encode(one)
        wanted = len(documents) + len(_ODD_VALUES)
        yield (
            name,
            lambda encode=encode: [encode(one) for one in documents],  # type: ignore[misc]
            f"{same} of {wanted} the same bytes",
        )


def readers() -> Iterator[Row]:
    """Read a command."""
    command = json.dumps(
        {"callid": 7, "service": "RenderingControl", "action": "SetVolume",
         "args": {"InstanceID": 0, "Channel": "Master", "DesiredVolume": 25}}
    ).encode()  # fmt: skip
    decoders: dict[str, Callable[[bytes], object]] = {
        "json": lambda data: jsontext.DECODER.decode(data.decode())
    }
    if orjson := module("orjson"):
        decoders["orjson"] = orjson.loads
    if msgspec := module("msgspec.json"):
        decoders["msgspec"] = msgspec.Decoder().decode
    for name, decode in decoders.items():
        refused = len(_NO_JSON) - passes(decode, _NO_JSON)
        fit = f"refuses {refused} of {len(_NO_JSON)} that are none"
        fit += f", reads {passes(decode, _ODD_JSON)} of {len(_ODD_JSON)} odd ones"
        yield name, lambda decode=decode: decode(command), fit  # type: ignore[misc]


# XML

_FAULTY = (
    b"<a><b>Tom & Jerry</b></a>",
    b"<a><x:b>unbound</x:b></a>",
    b"\r\n<a><b>before and behind</b></a>\0",
    b"<a><b>unclosed</a>",
    '<?xml version="1.0" encoding="utf-8"?><a>caf\xe9</a>'.encode("latin-1"),
)
_HOSTILE = (
    b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
)


def _expat(data: bytes) -> object:
    return floor._texts(data)  # noqa: SLF001 - what the floor reads with


def xml_of(data: bytes) -> Iterator[Row]:
    parsers: dict[str, Callable[[bytes], object]] = {
        "the bridge's, on lxml": xml.parse,
        "lxml": etree.fromstring,
        "ElementTree": ET.fromstring,
        "expat, handlers in Python": _expat,
    }
    if defused := module("defusedxml.ElementTree"):
        parsers["defusedxml"] = defused.fromstring
    for name, parse in parsers.items():
        fit = f"reads {passes(parse, _FAULTY)} of {len(_FAULTY)} faulty ones"
        fit += f", refuses {len(_HOSTILE) - passes(parse, _HOSTILE)} of {len(_HOSTILE)} hostile"
        yield name, lambda parse=parse: parse(data), fit  # type: ignore[misc]


# HTTP


def _notify(body: bytes) -> bytes:
    head = (
        "NOTIFY /5f0c6a1e HTTP/1.1\r\nHOST: 192.0.2.1:8098\r\n"
        f'CONTENT-TYPE: text/xml; charset="utf-8"\r\nCONTENT-LENGTH: {len(body)}\r\n'
        "NT: upnp:event\r\nNTS: upnp:propchange\r\nSID: uuid:5\r\nSEQ: 1\r\n\r\n"
    )
    return head.encode() + body


_PLAIN = _notify(b"<a/>")
_LAX = (
    _PLAIN.replace(b"HOST: 192.0.2.1:8098\r\n", b""),
    _PLAIN.replace(b"SID:", b"SID :"),
    _PLAIN.replace(b"\r\n", b"\n"),
    _PLAIN.replace(b"SEQ: 1\r\n", b"SEQ: 1\r\nCONTENT-LENGTH: 4\r\n"),
)


def _by_httptools(data: bytes) -> object:
    if not StrictReader().feed(data):
        raise DoubtError
    return None


def _by_aiohttp(data: bytes) -> object:
    loop = asyncio.get_event_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
    messages, _, _ = parser.feed_data(data)
    return messages[0]


def _by_h11(h11: Any) -> Callable[[bytes], object]:  # noqa: ANN401 - a module that may be missing
    def read(data: bytes) -> object:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        request, body = connection.next_event(), connection.next_event()
        if not isinstance(request, h11.Request) or not isinstance(body, h11.Data):
            raise TypeError
        return body

    return read


def http() -> Iterator[Row]:
    """Read a NOTIFY with one variable, its parser made anew."""
    data = _notify(bodies.body("small", {"CurrentConnectionIDs": "1"}))
    kept = StrictReader()
    parsers: dict[str, Callable[[bytes], object]] = {
        "the bridge's, on httptools, kept": kept.feed,
        "the bridge's, on httptools, anew": _by_httptools,
        "the bridge's, laxly": lambda data: read_lax(read_head(data)),
        "aiohttp": _by_aiohttp,
    }
    if h11 := module("h11"):
        parsers["h11"] = _by_h11(h11)
    for name, parse in parsers.items():
        check = _by_httptools if parse == kept.feed else parse
        fit = f"reads {passes(check, _LAX)} of {len(_LAX)} lax ones"
        yield name, lambda parse=parse: parse(data), fit  # type: ignore[misc]
    bare = httptools.HttpRequestParser
    yield "httptools alone, anew", lambda: bare(object()).feed_data(data), ""


# Loops


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, _: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def _exchange(*, anew: bool) -> float:
    """Return microseconds of CPU for a NOTIFY and its answer, both ends in this process."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    data = _notify(bodies.body("small", {"CurrentConnectionIDs": "1"}))
    answered: asyncio.Future[None] = loop.create_future()
    transport: asyncio.Transport | None = None

    class Client(asyncio.Protocol):
        def data_received(self, _: bytes) -> None:
            answered.set_result(None)

    begin_s = time.process_time()
    for _ in range(_EXCHANGES):
        if transport is None:
            transport, _ = await loop.create_connection(Client, "127.0.0.1", port)
        answered = loop.create_future()
        transport.write(data)
        await answered
        if anew:
            transport.abort()
            transport = None
    spent_s = time.process_time() - begin_s
    if transport:
        transport.abort()
    server.close()
    await server.wait_closed()
    return spent_s / _EXCHANGES * 1e6


def loops() -> None:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if uvloop := module("uvloop"):
        factories["uvloop"] = uvloop.new_event_loop
    found = dict.fromkeys(factories, (float("inf"), float("inf")))
    for _ in range(3):
        for name, factory in factories.items():
            with asyncio.Runner(loop_factory=factory) as runner:
                kept = min(found[name][0], runner.run(_exchange(anew=False)))
                anew = min(found[name][1], runner.run(_exchange(anew=True)))
            found[name] = kept, anew
    rows = [(name, f"{kept:.1f}", f"{anew:.1f}") for name, (kept, anew) in found.items()]
    print("\nNOTIFY and answer over loopback, both ends:\n")
    stage.table(("loop", "CPU us, connection kept", "CPU us, new connection"), rows)


def compare(title: str, rows: Iterator[Row]) -> None:
    measured = [(name, cpu_us(work), fit) for name, work, fit in rows]
    print(f"\n{title}:\n")
    first_us = measured[0][1]
    told = [(name, f"{us:.1f}", f"{first_us / us:.1f}", fit) for name, us, fit in measured]
    stage.table(("library", "CPU us", "times cheaper", "fit"), told)


def show() -> None:
    scpd = (_CAPTURES / "gmediarender" / "1-AVTransport.scpd.xml").read_bytes().rstrip(b"\0\r\n ")
    event = bodies.body("lastchange", bodies.values("lastchange", 1, 1))
    compare("JSON, the documents of a renderer written", writers())
    compare("JSON, a command read", readers())
    compare(f"XML, a propertyset of {len(event)} bytes", xml_of(event))
    compare(f"XML, an SCPD of {len(scpd)} bytes", xml_of(scpd))
    asyncio.set_event_loop(asyncio.new_event_loop())
    compare("HTTP, a NOTIFY with one variable", http())
    loops()


if __name__ == "__main__":
    print(f"{stage.machine()}\n")
    show()
