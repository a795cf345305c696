"""The server for NOTIFY (UDA 2.0, section 4.3.2): HTTP as lax as devices, a path per subscription.

What an event means, and whose it is, the receiver of its path knows.
"""

import asyncio
import re
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Self, cast

import structlog

from bridge.errors import cannot_listen
from bridge.upnp.gena.notify_reader import DoubtError, Request, StrictReader, read_lax
from bridge.upnp.http.http1 import Body, find_head_end, read_head

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_CONNECTIONS = 512
MAX_CONNECTIONS_PER_PEER = 64

_WARN_EVERY_S = 60.0
_BACKLOG = 256
_PADDING = b"\0\r\n\t "
_NEXT_REQUEST = re.compile(rb"[\s\0]*[A-Z-]+(?:[ \t]|\Z)")
_END_TAG = re.compile(rb"</[^<>]*propertyset\s*>", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEEPING, _CLOSING = (
    {
        status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{header}\r\n".encode()
        for status in (200, 400, 405, 412, 413)
    }
    for header in ("Content-Length: 0\r\n", "Content-Length: 0\r\nConnection: close\r\n")
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Notify:
    """A NOTIFY as it came; `sid` is empty and `seq` None where there is none to be read.

    `peer` is the sender's address, `head` what stands before the body, if the server keeps that.
    """

    sid: str
    seq: int | None
    body: bytes
    peer: str
    head: bytes = b""


Receive = Callable[[Notify], bool]
"""Takes a NOTIFY; returns whether it belongs to a subscription. Must not block."""


class NotifyServer:
    """Listens on `host`, or on every address, IPv4 and IPv6; `port` 0 is any port.

    A connection is closed when it is idle for `patience_s` or a request takes longer. A body
    whose end cannot be told from its headers ends when nothing more comes for `stall_s`.
    How long they last is looked at every `tick_s`. Where there are `most`, another goes for a new
    one, which `evicted` counts.
    `keeps_heads` has the head of each NOTIFY handed over as it came, which costs time.
    Entering raises ConfigError.
    """

    def __init__(  # noqa: PLR0913 - most by name
        self,
        host: str | None,
        port: int,
        *,
        patience_s: float = 30.0,
        stall_s: float = 1.0,
        tick_s: float = 0.25,
        most: int = MAX_CONNECTIONS,
        keeps_heads: bool = False,
    ) -> None:
        self.port = port
        self.patience_s = patience_s
        self.stall_s = stall_s
        self._tick_s = tick_s
        self._most = most
        self.keeps_heads = keeps_heads
        self.receivers: dict[str, Receive] = {}
        self.evicted = 0
        self._host = host
        self._connections: set[_Connection] = set()
        self._by_peer: defaultdict[str, set[_Connection]] = defaultdict(set)
        self._warned_s = -inf
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        both = self._host is None and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both or ":" in (self._host or "") else socket.AF_INET
        try:
            listening = socket.create_server(
                (self._host or "", self.port), family=family, dualstack_ipv6=both
            )
            self._server = await asyncio.get_running_loop().create_server(
                self.connect, sock=listening, backlog=_BACKLOG
            )
        except OSError as error:
            raise cannot_listen("upnp.callback_", self._host, self.port, error) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._tick()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking:
            self._ticking.cancel()
        if self._server:
            self._server.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._server.wait_closed()

    def connect(self) -> asyncio.Protocol:
        """Return what reads one more connection."""
        return _Connection(self)

    def open(self, receive: Receive) -> str:
        """Return a new path that nobody can guess; what is sent there goes to `receive`."""
        token = secrets.token_urlsafe(16)
        self.receivers[token] = receive
        return f"/{token}"

    def close(self, path: str) -> None:
        """Forget a path: what still comes there is answered 412."""
        self.receivers.pop(path.removeprefix("/"), None)

    def take(self, connection: "_Connection") -> None:
        """Take a connection, for which another may go.

        The one idle longest; where none is idle, of the peers with the most connections the one
        whose request takes longest.
        """
        of_peer = self._by_peer[connection.peer]
        if len(of_peer) >= MAX_CONNECTIONS_PER_PEER:
            self._evict(of_peer, connection.peer)
        elif len(self._connections) >= self._most:
            self._evict(self._connections, connection.peer)
        self._connections.add(connection)
        self._by_peer[connection.peer].add(connection)

    def drop(self, connection: "_Connection") -> None:
        """Count a connection no more."""
        self._connections.discard(connection)
        self._by_peer[connection.peer].discard(connection)
        if not self._by_peer[connection.peer]:
            del self._by_peer[connection.peer]

    def _evict(self, crowd: set["_Connection"], peer: str) -> None:
        def worth(each: _Connection) -> tuple[bool, int, float]:
            share = 0 if each.is_idle else len(self._by_peer[each.peer])
            return not each.is_idle, -share, each.begun_s

        min(crowd, key=worth).abort()
        self.evicted += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now_s
            _log.warning("notify_connections_exhausted", peer=peer, evicted=self.evicted)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in tuple(self._connections):
            connection.tick(loop.time())
        self._ticking = loop.call_later(self._tick_s, self._tick)


class _Connection(asyncio.Protocol):
    """One connection of a device: its requests in turn, each answered with a single write."""

    def __init__(self, server: NotifyServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self.peer = ""
        self._buffer = bytearray()
        self._strict = None if server.keeps_heads else StrictReader()
        self._head = b""
        self._request: Request | None = None
        self._body: Body | None = None
        self.begun_s = self._fed_s = self._loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way; then `begun_s` is since when."""
        return not self._buffer and not self._request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in; another may have to go."""
        self._transport = cast("asyncio.Transport", transport)
        self.peer = str((transport.get_extra_info("peername") or [""])[0]).removeprefix("::ffff:")
        self._server.take(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Make room for another."""
        self._server.drop(self)

    def pause_writing(self) -> None:
        """Drop a peer that asks and asks, and does not take the answers."""
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._server.drop(self)
        self._transport.abort()

    def tick(self, now_s: float) -> None:
        """End a body that has stalled, and a connection that is out of patience."""
        if now_s - self._fed_s >= self._server.stall_s:
            self._fed_s = inf  # once is enough
            self._end_body()
        if now_s - self.begun_s >= self._server.patience_s:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Read as many requests as there are; what is none ends the connection."""
        self._fed_s = self._loop.time()
        if self.is_idle:
            data = data.lstrip(_PADDING)
            self.begun_s = self._fed_s if data else self.begun_s
        self._buffer += data
        if self._strict is not None and data:
            try:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise DoubtError("long enough to be held to its bounds")
                whole = self._strict.feed(data)
            except DoubtError:
                self._strict = None
            else:
                if whole:
                    self._buffer.clear()
                for request, body in whole:
                    self._deliver(request, body)
        if self._strict is None:
            self._read_lax()

    def _read_lax(self) -> None:
        try:
            while not self._transport.is_closing():
                if self._request and self._body:
                    whole = self._feed_body(self._request, self._body)
                else:
                    whole = self._feed_head()
                if not whole:
                    break
        except ValueError as error:
            _log.debug("notify_refused", peer=self.peer, reason=str(error))
            self._answer(413 if self._body else 400, keep_alive=False)

    def eof_received(self) -> None:
        """Take what has come; the answer still goes out."""
        self._end_body()

    def _feed_head(self) -> bool:
        """Take a head, and the body where it came along whole; return whether there was one."""
        end = find_head_end(self._buffer)
        if (end if end >= 0 else len(self._buffer)) > MAX_HEAD_BYTES:
            raise ValueError("a head over its bounds")
        if end < 0:
            return False
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        all_of_it = read_head(head)
        request = read_lax(all_of_it)
        if request.method != b"NOTIFY":
            self._answer(405, keep_alive=False)
        else:
            is_known = request.token in self._server.receivers
            most = MAX_BODY_BYTES if is_known else MAX_HEAD_BYTES
            self._request, self._body = request, Body(all_of_it, most)
            self._head = head if self._server.keeps_heads else b""
            if "expect" in all_of_it.headers:
                self._transport.write(_CONTINUE)
        return True

    def _feed_body(self, request: Request, body: Body) -> bool:
        """Take what there is of a body; return whether it is whole."""
        data = bytes(self._buffer)
        self._buffer.clear()
        if not body.feed(data):
            return False
        rest = body.rest.lstrip(_PADDING)
        if _NEXT_REQUEST.match(rest):
            self._buffer += rest
            rest = b""
        self._deliver(request, body.body + rest)
        return True

    def _end_body(self) -> None:
        """Take what came as the body, unless part of it is known to be missing."""
        if self._strict is not None and self._buffer:
            self._strict = None
            self._read_lax()
        if self._request and self._body:
            self._body.eof()
            came = self._body.body
            enough = not self._request.chunked and len(came) >= (self._request.length or 0)
            if enough or _END_TAG.search(came):
                self._deliver(self._request, came)

    def _deliver(self, request: Request, body: bytes) -> None:
        self._request = self._body = None
        self.begun_s = self._loop.time()
        receive = self._server.receivers.get(request.token)
        known = receive is not None
        if receive is not None:
            try:
                known = receive(Notify(request.sid, request.seq, body, self.peer, self._head))
            except Exception:  # noqa: BLE001 - the device is not to suffer for what is our fault
                _log.exception("notify_receiver_failed", peer=self.peer, sid=request.sid)
        if not known:
            _log.debug("notify_unknown", peer=self.peer, sid=request.sid)
        self._answer(200 if known else 412, keep_alive=request.keep_alive)

    def _answer(self, status: int, *, keep_alive: bool) -> None:
        self._transport.write((_KEEPING if keep_alive else _CLOSING)[status])
        if not keep_alive:
            self._buffer.clear()
            self._transport.close()
