"""The NOTIFY server against devices that write HTTP as badly as real ones do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.errors import ConfigError
from bridge.upnp.gena.event_body import read_properties
from bridge.upnp.gena.notify_server import MAX_CONNECTIONS_PER_PEER, Notify, NotifyServer

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*/*.notify*.http"))
BODY = (
    b'<?xml version="1.0"?><e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">'
    b"<e:property><Status>1</Status></e:property></e:propertyset>"
)
OK, BAD, METHOD, UNKNOWN, LARGE = 200, 400, 405, 412, 413

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ToldVariables(list[Notify]):
    """The receiver of a path: keeps what it gets, and says what `verdict` says."""

    verdict: Callable[[Notify], bool] = staticmethod(lambda _: True)

    def __call__(self, notify: Notify) -> bool:
        self.append(notify)
        return self.verdict(notify)


@asynccontextmanager
async def listening(**kwargs) -> AsyncIterator[tuple[NotifyServer, ToldVariables, str]]:
    async with NotifyServer(
        "127.0.0.1", 0, **{"stall_s": 0.08, "tick_s": 0.02, **kwargs}
    ) as server:
        heard = ToldVariables()
        yield server, heard, server.open(heard)


@asynccontextmanager
async def connected(server: NotifyServer, source: str = "127.0.0.1") -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def head(path: str, *headers: str, start: str = "NOTIFY {} HTTP/1.1") -> bytes:
    lines = (start.format(path), "HOST: 127.0.0.1:8098", "NT: upnp:event", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def notify(path: str, body: bytes = BODY, *headers: str, seq: int = 0) -> bytes:
    wanted = headers or (f"CONTENT-LENGTH: {len(body)}",)
    return head(path, "NTS: upnp:propchange", "SID: uuid:1", f"SEQ: {seq}", *wanted) + body


async def answer(reader: asyncio.StreamReader) -> int:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    assert "Content-Length: 0" in lines
    return int(lines[0].split()[1])


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def send(server: NotifyServer, *parts: bytes, pause_s: float = 0.02) -> int:
    async with connected(server) as (reader, writer):
        for number, part in enumerate(parts):
            await asyncio.sleep(pause_s if number else 0)
            writer.write(part)
        return await answer(reader)


async def test_an_event_is_handed_to_the_receiver_of_its_path_and_answered():
    async with listening() as (server, heard, path):
        other = ToldVariables()
        server.open(other)
        assert await send(server, notify(path, seq=7)) == OK
        assert heard == [Notify("uuid:1", 7, BODY, "127.0.0.1")]
        assert not other


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
async def test_every_recorded_event_is_taken(capture):
    async with listening() as (server, heard, path):
        start_line, _, rest = capture.read_bytes().partition(b"\r\n")
        recorded_path = start_line.split()[1]
        message = start_line.replace(recorded_path, path.encode()) + b"\r\n" + rest
        assert await send(server, message) == OK
        assert heard[0].sid.startswith("uuid:")
        assert heard[0].seq == int(capture.stem[-1])
        assert read_properties(heard[0].body) == read_properties(rest.partition(b"\r\n\r\n")[2])


async def test_paths_cannot_be_guessed():
    async with listening() as (server, heard, path):
        paths = {path} | {server.open(heard) for _ in range(100)}
        assert len(paths) == 101
        assert all(len(known) >= 22 and known[0] == "/" for known in paths)


LENGTH = f"CONTENT-LENGTH: {len(BODY)}"
PROPER = (LENGTH, "SID: uuid:1", "SEQ: 0")


def lax_requests(path: str) -> dict[str, bytes]:
    proper = head(path, *PROPER)
    url = f"http://10.0.0.1:8098{path}"
    chunked = head(path, "SID: uuid:1", "SEQ: 0", "TRANSFER-ENCODING: chunked")
    size = f"{len(BODY):x}".encode()
    halves = b"%x\r\n%b\r\n%x;x=y\r\n%b\r\n" % (9, BODY[:9], len(BODY) - 9, BODY[9:])
    return {
        "no Host": proper.replace(b"HOST: 127.0.0.1:8098\r\n", b""),
        "two Hosts": proper.replace(b"NT:", b"HOST: elsewhere\r\nNT:"),
        "an empty Host": proper.replace(b"127.0.0.1:8098", b""),
        "a space before the colon": proper.replace(b": ", b" : "),
        "no space behind the colon": proper.replace(b": ", b":"),
        "bare LF": proper.replace(b"\r\n", b"\n"),
        "lower case": proper.lower().replace(path.lower().encode(), path.encode()),
        "a folded header": proper.replace(b"NT:", b"X-Y: a\r\n  b\r\nNT:"),
        "a line without a colon": proper.replace(b"NT:", b"garbage\r\nNT:"),
        "Latin-1 in a header": proper.replace(b"NT:", b"X-Y: caf\xe9\0\r\nNT:"),
        "an odd charset": proper.replace(b"NT:", b'CONTENT-TYPE: text/xml; charset="u"8"\r\nNT:'),
        "no NT": proper.replace(b"NT: upnp:event\r\n", b""),
        "a path without slash": head(path[1:], *PROPER),
        "a whole URL": head(url, *PROPER),
        "two slashes": head("/" + path, *PROPER),
        "no version": head(path, *PROPER, start="NOTIFY {}"),
        "HTTP/1.0": head(path, *PROPER, start="NOTIFY {} HTTP/1.0"),
        "a strange version": head(path, *PROPER, start="NOTIFY {} HTTP/3.14 yes"),
        "blank lines before": b"\r\n\r\n" + proper,
        "two equal lengths": head(path, LENGTH, *PROPER),
        "no length": head(path, "SID: uuid:1", "SEQ: 0"),
        "no readable length": head(path, "CONTENT-LENGTH: many", "SID: uuid:1", "SEQ: 0"),
        "a length too small": head(path, "CONTENT-LENGTH: 100", "SID: uuid:1", "SEQ: 0"),
        "a length cut behind a tag": head(path, "CONTENT-LENGTH: 21", "SID: uuid:1", "SEQ: 0"),
        "a length too large": head(path, "CONTENT-LENGTH: 900", "SID: uuid:1", "SEQ: 0"),
        "one chunk": chunked + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
        "several chunks": chunked + halves + b"0\r\n\r\n",
        "no last chunk": chunked + halves,
        "chunks and a length": head(path, *PROPER, "TRANSFER-ENCODING: Chunked")
        + halves
        + b"0\r\n\r\n",
    }


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "head and body apart"])
@pytest.mark.parametrize("case", lax_requests("/x"))
async def test_an_event_is_taken_however_badly_it_is_written(case, apart):
    async with listening() as (server, heard, path):
        message = lax_requests(path)[case]
        if "chunk" not in case:
            message += BODY
        cut = message.index(b"<") if apart else len(message)
        assert await send(server, *filter(None, (message[:cut], message[cut:]))) == OK
        assert heard == [Notify("uuid:1", 0, BODY, "127.0.0.1")]


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 100, b"\r\n", b"\r\n\0\n"])
@pytest.mark.parametrize("pause", [False, True])
async def test_what_pads_a_body_neither_hurts_it_nor_the_next_event(padding, pause):
    async with listening() as (server, heard, path), connected(server) as (reader, writer):
        for seq in range(3):
            parts = (notify(path, seq=seq), padding)
            for part in parts if pause else (b"".join(parts),):
                writer.write(part)
                await asyncio.sleep(0.02)
            assert await answer(reader) == OK
        assert [event.seq for event in heard] == [0, 1, 2]
        assert all(read_properties(event.body) == [("Status", "1")] for event in heard)


async def test_garbage_behind_a_body_belongs_to_it_as_wemo_sends_it():
    async with listening() as (server, heard, path):
        message = notify(path, BODY + b"rn/>0.", f"CONTENT-LENGTH: {len(BODY)}")
        assert await send(server, message) == OK
        assert read_properties(heard[0].body) == [("Status", "1")]


async def test_a_body_without_length_ends_with_the_connection():
    async with listening(stall_s=30) as (server, heard, path), connected(server) as stream:
        reader, writer = stream
        writer.write(notify(path, b"<propertyset><property>", "X-Y: z"))
        writer.write_eof()
        assert await answer(reader) == OK
        assert len(heard) == 1


async def test_a_body_that_is_known_to_be_cut_off_is_not_taken():
    async with listening() as (server, heard, path):
        for framing in ("CONTENT-LENGTH: 900", "TRANSFER-ENCODING: chunked"):
            async with connected(server) as (reader, writer):
                part = BODY[:100] if "LENGTH" in framing else b"384\r\n" + BODY[:100]
                writer.write(notify(path, part, framing))
                await asyncio.sleep(0.2)
                writer.write_eof()
                assert await reader.read() == b""
        assert not heard


async def test_an_event_without_a_body_is_answered():
    async with listening() as (server, heard, path):
        assert await send(server, notify(path, b"", "CONTENT-LENGTH: 0")) == OK
        assert await send(server, notify(path, b"", "X-Y: z")) == OK
        assert [event.body for event in heard] == [b"", b""]


async def test_an_event_may_come_byte_by_byte():
    async with listening() as (server, heard, path):
        parts = [bytes([byte]) for byte in notify(path)]
        assert await send(server, *parts, pause_s=0) == OK
        assert heard[0].body == BODY


@pytest.mark.parametrize("garbage", ["", "none", "-1", "1.5", "99999999999"])
async def test_a_seq_that_is_not_to_be_read_is_none(garbage):
    async with listening() as (server, heard, path):
        assert await send(server, head(path, f"SEQ: {garbage}", LENGTH) + BODY) == OK
        assert (heard[0].sid, heard[0].seq) == ("", None)


async def test_one_connection_carries_many_events():
    async with listening() as (server, heard, path), connected(server) as (reader, writer):
        for seq in range(5):
            writer.write(notify(path, seq=seq))
            assert await answer(reader) == OK
        assert [event.seq for event in heard] == list(range(5))


async def test_events_may_be_sent_without_waiting_for_answers():
    async with listening() as (server, heard, path), connected(server) as (reader, writer):
        stream = b"".join(notify(path, seq=seq) for seq in range(50))
        for start in range(0, len(stream), 999):
            writer.write(stream[start : start + 999])
            await asyncio.sleep(0)
        assert [await answer(reader) for _ in range(50)] == [OK] * 50
        assert [event.seq for event in heard] == list(range(50))
        assert {event.body for event in heard} == {BODY}


@pytest.mark.parametrize(
    ("start", "header", "kept"),
    [
        ("NOTIFY {} HTTP/1.1", "CONNECTION: close", False),
        ("NOTIFY {} HTTP/1.1", "CONNECTION: Keep-Alive", True),
        ("NOTIFY {} HTTP/1.0", "X-Y: z", False),
        ("NOTIFY {} HTTP/1.0", "CONNECTION: keep-alive", True),
    ],
)
async def test_a_connection_is_kept_as_the_device_wants_it(start, header, kept):
    async with listening(patience_s=0.3) as (server, _, path), connected(server) as stream:
        reader, writer = stream
        writer.write(head(path, LENGTH, header, start=start) + BODY)
        lines = await reader.readuntil(b"\r\n\r\n")
        assert (b"Connection: close" in lines) is not kept
        if not kept:
            assert await reader.read() == b""
        else:
            writer.write(notify(path))
            assert await answer(reader) == OK


async def test_a_device_that_waits_to_be_asked_for_the_body_is_asked():
    async with listening() as (server, heard, path), connected(server) as (reader, writer):
        writer.write(head(path, LENGTH, "EXPECT: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert await answer(reader) == OK
        assert len(heard) == 1


async def test_what_belongs_to_no_subscription_is_answered_412():
    async with listening() as (server, heard, path):
        assert await send(server, notify("/nobody")) == UNKNOWN
        assert await send(server, notify("/")) == UNKNOWN
        assert not heard
        heard.verdict = lambda _: False
        assert await send(server, notify(path)) == UNKNOWN
        heard.verdict = lambda _: True
        assert await send(server, notify(path)) == OK
        server.close(path)
        assert await send(server, notify(path)) == UNKNOWN
        server.close(path)


async def test_three_thousand_events_for_nobody_leave_nothing_behind():
    async with listening() as (server, heard, path), connected(server) as (reader, writer):
        with capture_logs():
            for _ in range(75):
                writer.write(notify("/nobody") * 40)
                assert [await answer(reader) for _ in range(40)] == [UNKNOWN] * 40
        writer.write(notify(path))
        assert await answer(reader) == OK
        assert len(heard) == 1
        assert len(server.receivers) == 1


async def test_a_receiver_that_fails_is_logged_and_the_device_does_not_suffer():
    async with listening() as (server, heard, path):

        def fail(_: Notify) -> bool:
            raise LookupError("ours")

        heard.verdict = fail
        with capture_logs() as logs:
            assert await send(server, notify(path)) == OK
        assert [entry["event"] for entry in logs] == ["notify_receiver_failed"]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", METHOD),
        (b"POST /x HTTP/1.1\r\nContent-Length: 9999999\r\n\r\nabc", METHOD),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", BAD),
        (b"\xff\xfe\n\n\n", BAD),
        (head("/x", *(f"X-{number}: y" for number in range(300))), BAD),
        (b"NOTIFY /x HTTP/1.1\r\nX: " + b"y" * 17000, BAD),
        (notify("/x", b"", "CONTENT-LENGTH: 1048577"), LARGE),
        (notify("/x", b"", "TRANSFER-ENCODING: chunked") + b"100001\r\n", LARGE),
        (notify("/x", b"", "TRANSFER-ENCODING: chunked") + b"no size\r\n", LARGE),
    ],
)
async def test_what_is_no_notify_or_too_large_is_refused_and_the_connection_closed(message, status):
    async with listening() as (server, _, _), connected(server) as (reader, writer):
        writer.write(message)
        assert await answer(reader) == status
        assert await reader.read() == b""


async def test_a_body_without_length_and_end_is_bounded():
    async with listening() as (server, heard, path), connected(server) as (reader, writer):
        writer.write(notify(path, b"<propertyset>" + b"x" * 2**20, "X-Y: z"))
        assert await answer(reader) == LARGE
        assert not heard


async def test_a_body_of_a_mebibyte_is_taken():
    async with listening() as (server, heard, path):
        body = BODY.replace(b">1<", b">" + b"x" * (2**20 - len(BODY)) + b"<")
        assert await send(server, notify(path, body)) == OK
        assert heard[0].body == body


@pytest.mark.parametrize(
    "part",
    [b"", b"\0", b"NOTIFY ", notify("/x", BODY[:50], "CONTENT-LENGTH: 200"), notify("/x")],
    ids=["nothing", "padding", "half a head", "half a body", "an event and no more"],
)
async def test_a_connection_without_progress_is_closed(part):
    async with listening(patience_s=0.3) as (server, _, _), connected(server) as (reader, writer):
        writer.write(part)
        assert (await reader.read()).count(b"HTTP/1.1") == (part == notify("/x"))


async def test_a_request_that_trickles_in_is_not_waited_for_longer_than_an_idle_connection():
    async with listening(patience_s=0.5) as (server, heard, path), connected(server) as stream:
        reader, writer = stream
        for byte in notify(path):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if reader.at_eof():
                break
        assert reader.at_eof()
        assert not heard


async def test_a_peer_that_never_takes_its_answers_is_dropped():
    async with listening() as (server, _, _):
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)  # noqa: FBT003 - the socket module's way
            loop = asyncio.get_running_loop()
            await loop.sock_connect(peer, ("127.0.0.1", server.port))
            flood = notify(server.open(lambda _: True)) * 1000

            async def ask_for_ever() -> None:
                while True:
                    await loop.sock_sendall(peer, flood)

            async with asyncio.timeout(60):
                with pytest.raises(ConnectionError):
                    await ask_for_ever()


async def test_one_peer_has_a_bounded_number_of_connections_of_which_the_idle_make_room():
    async with listening() as (server, heard, path), AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(connected(server))
            for _ in range(MAX_CONNECTIONS_PER_PEER)
        ]
        first, second, third, *_ = streams
        await asyncio.sleep(0.05)
        first[1].write(notify(path))
        assert await answer(first[0]) == OK
        second[1].write(notify(path)[:50])
        await asyncio.sleep(0.05)
        with capture_logs() as logs:
            for _ in range(2):
                assert await send(server, notify(path)) == OK
            assert server.evicted == 1
            excess = await stack.enter_async_context(connected(server))
            excess[1].write(notify(path))
            assert await answer(excess[0]) == OK
        assert await is_closed(third[0])
        for (reader, writer), message in ((first, notify(path)), (second, notify(path)[50:])):
            writer.write(message)
            assert await answer(reader) == OK
        assert len(heard) == 6
        warnings = [entry for entry in logs if entry["event"] == "notify_connections_exhausted"]
        assert [(entry["log_level"], entry["peer"]) for entry in warnings] == [
            ("warning", "127.0.0.1")
        ]


async def test_idle_connections_of_many_peers_do_not_shut_out_another():
    async with listening(most=4) as (server, heard, path), AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(connected(server, f"127.0.0.{2 + number}"))
            for number in range(4)
        ]
        await asyncio.sleep(0.05)
        late = [await stack.enter_async_context(connected(server)) for _ in range(4)]
        for reader, writer in late:
            writer.write(notify(path))
            assert await answer(reader) == OK
        for reader, _ in streams:
            assert await is_closed(reader)
        assert server.evicted == 4
        assert set(server._by_peer) == {"127.0.0.1"}
        assert len(heard) == 4


async def test_where_no_connection_is_idle_the_slowest_request_of_who_has_the_most_goes():
    message = notify("/x", BODY[:50], "CONTENT-LENGTH: 200")
    async with listening(stall_s=9, most=3) as (server, _, path), AsyncExitStack() as stack:
        honest = await stack.enter_async_context(connected(server, "127.0.0.8"))
        honest[1].write(notify(path)[:50])
        await asyncio.sleep(0.02)
        busy = [await stack.enter_async_context(connected(server)) for _ in range(2)]
        for (_, writer), part in zip(busy, (b"NOTIFY ", message), strict=True):
            writer.write(part)
            await asyncio.sleep(0.02)
        with capture_logs() as logs:
            excess = await stack.enter_async_context(connected(server, "127.0.0.9"))
            assert await is_closed(busy[0][0])
            excess[1].write(notify(path))
            assert await answer(excess[0]) == OK
        assert [entry["event"] for entry in logs] == ["notify_connections_exhausted"]
        honest[1].write(notify(path)[50:])
        assert await answer(honest[0]) == OK
        assert server.evicted == 1


async def test_of_a_body_for_nobody_little_is_read():
    async with listening() as (server, _, path):
        assert await send(server, notify("/nobody", b"<a>" * 6000)) == LARGE
        assert await send(server, notify(path, b"<a>" * 6000)) == OK


async def test_no_connection_leaves_anything_behind():
    async with listening() as (server, _, path):
        assert await send(server, notify(path)) == OK
        await asyncio.sleep(0.05)
        assert not server._connections
        assert not server._by_peer


async def test_all_addresses_are_listened_on_for_both_families():
    async with NotifyServer(None, 0) as server:
        heard = ToldVariables()
        path = server.open(heard)
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            reader, writer = await asyncio.open_connection(host, server.port)
            writer.write(notify(path))
            assert await answer(reader) == OK
            writer.close()
            await writer.wait_closed()
            assert heard[-1].peer == host


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
async def test_a_port_that_is_taken_is_named_by_its_setting(host):
    async with NotifyServer(host, 0) as server:
        with pytest.raises(ConfigError, match=rf"upnp\.callback_port.*{server.port}"):
            await NotifyServer(host, server.port).__aenter__()


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
async def test_an_address_that_is_not_ours_is_named_by_its_setting(host):
    with pytest.raises(ConfigError, match=r"upnp\.callback_host"):
        await NotifyServer(host, 0).__aenter__()


async def test_leaving_closes_every_connection():
    async with listening() as (server, _, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(notify(path))
        assert await answer(reader) == OK
    assert await is_closed(reader)
    writer.transport.abort()
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", server.port)
