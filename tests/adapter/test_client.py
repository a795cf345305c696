"""The HTTP client against devices on loopback that behave as badly as real ones do."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge import __version__
from bridge.errors import BadResponse, DeviceTimeout, DeviceUnreachable
from bridge.upnp.http.client import HttpClient, Response, local_address_towards
from tests.adapter.serving import Handler, serving

CLIENT = HttpClient(connect_timeout_s=2.0)
OK = b"HTTP/1.1 200 OK\r\n"
XML = b"<a>1</a>"


@dataclass(slots=True)
class Device:
    """A device on loopback; `requests` has every request as it came, one a connection."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/d"


@asynccontextmanager
async def device(answer: bytes | Handler, host: str = "127.0.0.1") -> AsyncIterator[Device]:
    """Run a device that reads each request, then answers so and closes."""
    made = Device()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.requests.append(b"")
        if isinstance(answer, bytes):
            made.requests[-1] = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        else:
            await answer(reader, writer)

    async with serving(handle, host) as made.port:
        yield made


async def get(answer: bytes | Handler, *, timeout_s: float = 5.0, method: str = "GET") -> Response:
    async with device(answer) as made:
        try:
            return await CLIENT.request(method, made.url, timeout_s=timeout_s)
        finally:
            assert len(made.requests) == 1


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
async def _nothing_is_left_open():
    open_before = open_files()
    yield
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
    assert open_files() <= open_before


# What goes out


async def test_a_request_goes_out_as_the_standard_has_it():
    async with device(OK + b"\r\n") as made:
        await CLIENT.request(
            "SUBSCRIBE",
            made.url + "/%3A%7e x?a=%2f&b=\u00fc#c",
            headers={"NT": "upnp:event", "TIMEOUT": "Second-1800"},
            timeout_s=5,
        )
    first, *lines = made.requests[0].decode("ascii").split("\r\n")
    assert first == "SUBSCRIBE /d/%3A%7e%20x?a=%2f&b=%C3%BC HTTP/1.1"
    system, upnp, product = lines.pop(1).removeprefix("USER-AGENT: ").split(" ")
    assert system.partition("/")[1]
    assert (upnp, product) == ("UPnP/2.0", f"upnp2mqtt/{__version__}")
    assert lines == [
        f"HOST: 127.0.0.1:{made.port}",
        "CONNECTION: close",
        "NT: upnp:event",
        "TIMEOUT: Second-1800",
        "",
        "",
    ]


async def test_a_body_goes_out_with_its_length():
    async def answer(reader, writer):
        made.requests[-1] = await reader.readuntil(b"\0")
        writer.write(OK + b"Content-Length: 0\r\n\r\n")

    async with device(answer) as made:
        await CLIENT.request("POST", made.url, headers=[("A", "b")], body=b"x\r\n\0", timeout_s=5)
    assert b"\r\nCONTENT-LENGTH: 4\r\nA: b\r\n\r\nx\r\n\0" in made.requests[0]


async def test_host_is_bracketed_for_ipv6():
    async with device(OK + b"\r\n", "::1") as made:
        await CLIENT.request("GET", f"http://[::1]:{made.port}/", timeout_s=5)
    assert f"\r\nHOST: [::1]:{made.port}\r\n".encode() in made.requests[0]


async def test_an_ipv6_scope_is_connected_with_and_never_sent(monkeypatch):
    asked = []
    connect = asyncio.BaseEventLoop.create_connection

    async def to_loopback(loop, factory, host, port):
        asked.append((host, port))
        return await connect(loop, factory, "127.0.0.1", made.port)

    async with device(OK + b"\r\n") as made:
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", to_loopback)
        await CLIENT.request("GET", "http://[fe80::1%25eth0]:80/x", timeout_s=5)
        await CLIENT.request("GET", "http://[fe80::1%eth0]:81/x", timeout_s=5)
    assert asked == [("fe80::1%eth0", 80), ("fe80::1%eth0", 81)]
    assert b"\r\nHOST: [fe80::1]\r\n" in made.requests[0]
    assert b"\r\nHOST: [fe80::1]:81\r\n" in made.requests[1]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("", {"SOAPACTION": '"a"\r\nX: y'}),
        ("", {"SOAPACTION": "a\nb"}),
        ("", {"A\r\nB": "c"}),
        ("", {"A": "\0"}),
        ("", {"A": "\ud800"}),
        ("\r\nX: y", {}),
        ("/\0", {}),
    ],
)
async def test_a_request_with_something_smuggled_in_is_never_sent(path, headers):
    async with device(OK + b"\r\n") as made:
        with pytest.raises(DeviceUnreachable):
            await CLIENT.request("GET", made.url + path + "x", headers=headers, timeout_s=5)
    assert made.requests == []


# What comes back


@pytest.mark.parametrize(
    "wire",
    [
        OK + b"Content-Length: 8\r\n\r\n" + XML,
        b"HTTP/1.0 200 OK\r\n\r\n" + XML,
        b"http/1.1 200 Ok\r\nContent-Length: 8\r\n\r\n" + XML,
        b"HTTP/1.1 200\r\nContent-Length: 8\r\n\r\n" + XML,
        b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + XML,
        b"HTTP/1.1 200 OK\nContent-Length: 8\n\n" + XML,
        OK + b"Content-Length : 8\r\n\r\n" + XML,
        OK + b"X-Odd\r\nContent-Length:\r\n 8\r\n\r\n" + XML,
        OK + b"Content-Length: 8\r\nContent-Length: 8\r\n\r\n" + XML,
        OK + b"Content-Length: 8, 8\r\n\r\n" + XML,
        OK + b"Content-Length: none\r\n\r\n" + XML,
        OK + b"Content-Length: 3000\r\n\r\n" + XML,
        OK + b"Content-Length: 4\r\n\r\n" + XML,
        OK + b"Content-Length: 8\r\n\r\n" + XML + b"\0\r\nmore",
        OK + b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + XML + b"\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + XML + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\n" + XML + b"\n0\n",
        OK + b"Server: " + b"x" * 20_000 + b"\r\nContent-Length: 8\r\n\r\n" + XML,
        OK + b"Server: K\xfcche\r\nContent-Length: 8\r\n\r\n" + XML,
        OK + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n" + XML,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102\n\n" + OK + b"Content-Length: 8\r\n\r\n" + XML,
    ],
)
async def test_a_malformed_answer_is_read_in_one_piece_and_in_single_bytes(wire):
    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(0, len(wire), 1 + len(wire) // 300):
            writer.write(wire[index : index + 1 + len(wire) // 300])
            await asyncio.sleep(0)

    for answer in (wire, drip):
        response = await get(answer)
        assert (response.status, response.body) == (200, XML)


async def test_a_captured_answer_is_read_whole():
    wire = (Path(__file__).parent.parent / "captures/minidlna/description1.http").read_bytes()
    response = await get(wire)
    assert wire.endswith(b"\r\n\r\n" + response.body)
    assert response.headers["server"].endswith("MiniDLNA/1.3.0")


async def test_an_answer_whose_head_is_cut_off_has_no_body():
    assert await get(OK + b"SID: uuid:1\r\n") == Response(200, {"sid": "uuid:1"}, b"")


@pytest.mark.parametrize("method", ["SUBSCRIBE", "UNSUBSCRIBE"])
async def test_an_answer_to_subscribe_needs_neither_length_nor_close(method):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"SID: uuid:1\r\n\r\n")
        await reader.read()

    started = time.monotonic()
    assert (await get(answer, method=method)).headers == {"sid": "uuid:1"}
    assert time.monotonic() - started < 1


async def test_xml_without_length_needs_no_close():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n" + XML)
        await reader.read()

    assert (await get(answer)).body == XML


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_an_answer_and_not_followed(status):
    async with device(OK + b"\r\n") as other:
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n"
        assert (await get(head.encode(), method="POST")).status == status
    assert other.requests == []


async def test_an_answer_in_the_midst_of_the_request_is_read():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)

    async with device(answer) as made:
        response = await CLIENT.request("POST", made.url, body=bytes(30_000_000), timeout_s=5)
    assert response.status == 413


async def test_what_came_before_a_reset_is_the_answer():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n" + b"text")
        await asyncio.sleep(0.02)
        reset(writer)

    assert (await get(answer)).body == b"text"


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("after_reading", [True, False])
async def test_a_request_is_sent_once_where_no_answer_comes(how, after_reading):
    async def answer(reader, writer):
        if after_reading:
            await reader.readuntil(b"\r\n\r\n")
        if how == "reset":
            reset(writer)
        if how == "half":
            writer.write_eof()
            await asyncio.sleep(0.05)

    async with device(answer) as made:
        with pytest.raises(BadResponse):
            await CLIENT.request("POST", made.url, body=b"<x/>", timeout_s=5)
        await asyncio.sleep(0.1)
        assert len(made.requests) == 1


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"<html/>\r\n\r\n",
        b"\0" * 100,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        b"x" * 70_000,
        OK + b"x: y\r\n" * 300 + b"\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        OK + b"Transfer-Encoding: chunked\r\n\r\nnothing\r\n",
    ],
)
async def test_what_is_no_usable_answer_is_a_bad_response(wire):
    with pytest.raises(BadResponse):
        await get(wire)


@pytest.mark.parametrize(
    "head", [b"Content-Length: 100000000\r\n", b"", b"Transfer-Encoding: chunked\r\n"]
)
async def test_an_answer_of_100_mb_is_refused_early(head):
    sent = 0

    async def answer(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + head + b"\r\n")
        if b"chunked" in head:
            writer.write(b"%x\r\n" % 100_000_000)
        while sent < 100_000_000:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    with pytest.raises(BadResponse, match="over"):
        await get(answer)
    assert sent < 20_000_000


async def test_a_bound_may_be_chosen():
    async with device(OK + b"\r\n" + XML) as made:
        with pytest.raises(BadResponse, match="over 7 bytes"):
            await CLIENT.request("GET", made.url, timeout_s=5, max_bytes=7)


@pytest.mark.parametrize("drip", [b"", b"x", b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"\r\n"])
async def test_a_slow_drip_is_bounded_in_time(drip):
    async def answer(_reader, writer):
        while True:
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(0.02)

    started = time.monotonic()
    with pytest.raises(DeviceTimeout):
        await get(answer, timeout_s=0.2)
    assert time.monotonic() - started < 1


async def test_a_flood_of_interim_answers_is_refused_early():
    async def answer(_reader, writer):
        while True:
            writer.write(b"HTTP/1 100\n\n" * 20_000)
            await writer.drain()

    with pytest.raises(BadResponse, match="over its bounds"):
        await get(answer, timeout_s=9)


async def test_a_cancelled_request_leaves_nothing_open():
    async def answer(reader, _writer):
        await reader.read()

    async with device(answer) as made:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await CLIENT.request("GET", made.url, timeout_s=5)
        await asyncio.sleep(0.01)


# Where nothing is sent


async def test_a_refused_connection_is_unreachable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DeviceUnreachable, match="Connect call failed"):
            await CLIENT.request("GET", f"http://127.0.0.1:{port}/", timeout_s=5)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "ftp://127.0.0.1/",
        "",
        "/d.xml",
        "http://no-such-name.invalid/",
        f"http://{'x' * 70}.invalid/",
        "http://a..b/",
        "http://[fe80::1%nosuch0]/",
    ],
)
async def test_a_url_that_leads_nowhere_is_unreachable(url):
    with pytest.raises(DeviceUnreachable):
        await CLIENT.request("GET", url, timeout_s=5)


@pytest.mark.parametrize(("connect_timeout_s", "timeout_s"), [(0.1, 5.0), (5.0, 0.1)])
async def test_a_connection_that_is_not_accepted_is_unreachable(connect_timeout_s, timeout_s):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for waiting in (first, second):
                waiting.settimeout(0)
                waiting.connect_ex(full.getsockname())
            started = time.monotonic()
            with pytest.raises(DeviceUnreachable, match="in time"):
                await HttpClient(connect_timeout_s).request(
                    "GET", f"http://127.0.0.1:{full.getsockname()[1]}/", timeout_s=timeout_s
                )
            assert time.monotonic() - started < 1


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
async def test_the_address_that_faces_a_device_is_found(host, address):
    assert await local_address_towards(host, 1900) == address


@pytest.mark.parametrize(
    "host", ["fe80::1%nosuch0", "no-such-name.invalid", "a..b", "x" * 70, "\0"]
)
async def test_a_device_without_a_way_to_it_is_unreachable(host):
    with pytest.raises(DeviceUnreachable):
        await local_address_towards(host, 80)


@pytest.mark.parametrize(
    ("head", "body", "read"),
    [
        (b"text/xml; charset=windows-1251", "<a>Привет</a>".encode("cp1251"), "<a>Привет</a>"),
        (b'text/xml; charset="windows-1251"', "<a>Привет</a>".encode(), "<a>Привет</a>"),
        (b'text/xml; charset="utf-8"', "<a>Küche</a>".encode("latin-1"), "<a>Küche</a>"),
    ],
)
async def test_an_encoding_that_the_headers_alone_name_is_read(head, body, read):
    wire = b"%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (OK, head, len(body), body)
    assert (await get(wire)).body.decode() == read


async def test_an_encoding_that_the_document_names_is_left_to_it():
    body = "<?xml version='1.0' encoding='koi8-r'?><a>Привет</a>".encode("koi8-r")
    wire = b"%sContent-Type: x; charset=gbk\r\nContent-Length: %d\r\n\r\n%s" % (OK, len(body), body)
    assert (await get(wire)).body == body
