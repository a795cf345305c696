"""HTTP messages as they are on the wire, whatever is wrong with them.

For captures alone. `client` and `notify` keep what a device means; here is kept what it sends, also
where those two could not read it.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

from bridge.errors import ConfigError, DeviceTimeout, DeviceUnreachable
from bridge.formats.url import split_url
from bridge.upnp.http.client import USER_AGENT
from bridge.upnp.http.http1 import MAX_HEAD_BYTES, Body, find_head_end, read_head

_STALL_S = 1.0
_MAX_CONNECTIONS = 32
_READ_BYTES = 64 * 1024
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Wire:
    """A message as it came: its head with the blank line behind it, and its body.

    A chunked body is whole, without its chunks. `cut` says why there may be more than came.
    """

    head: bytes
    body: bytes
    cut: str | None = None


async def exchange(  # noqa: PLR0913 - what a request is made of, by keyword
    method: str,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    timeout_s: float,
    max_bytes: int,
) -> tuple[Wire, Wire]:
    """Send a request once; return it and the answer, both as they were sent.

    Raises DeviceUnreachable where there is no connection, DeviceTimeout where nothing came.
    """
    try:
        address = split_url(url)
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, ValueError) as error:
        raise DeviceUnreachable(str(error) or "no connection in time") from error
    host = address.host.partition("%")[0]
    lines = [
        f"{method} {address.target} HTTP/1.1",
        f"HOST: [{host}]:{address.port}" if ":" in host else f"HOST: {host}:{address.port}",
        f"USER-AGENT: {USER_AGENT}",
        "CONNECTION: close",
        *([f"CONTENT-LENGTH: {len(body)}"] if body else []),
        *(f"{name}: {value}" for name, value in headers),
    ]
    sent = Wire("\r\n".join([*lines, "", ""]).encode(), body)
    try:
        writer.write(sent.head + sent.body)
        is_short = method in {"SUBSCRIBE", "UNSUBSCRIBE"}
        came = await _read(reader, timeout_s, max_bytes, 0 if is_short else None)
    finally:
        writer.transport.abort()
    if not came.head and not came.body:
        raise DeviceTimeout(f"no answer: {came.cut}")
    return sent, came


class Catcher:
    """Takes what devices send to paths of its own, on a port, and answers all of it with 200.

    `port` 0 is any. Entering raises ConfigError where it is taken.
    """

    def __init__(self, port: int, *, max_bytes: int) -> None:
        self.port = port
        self._max_bytes = max_bytes
        self._takers: dict[bytes, Callable[[Wire], None]] = {}
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        try:
            listening = socket.create_server(("", self.port), family=family, dualstack_ipv6=both)
            self._server = await asyncio.start_server(self._serve, sock=listening)
        except OSError as error:
            raise ConfigError(f"upnp.callback_port: cannot listen on {self.port}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()

    def open(self, taker: Callable[[Wire], None], name: str) -> str:
        """Return a path that nobody can guess; in what comes there `name` stands in its place."""
        token = secrets.token_urlsafe(16)
        self._takers[token.encode()] = partial(_named, taker, token.encode(), name.encode())
        return f"/{token}"

    def close(self, path: str) -> None:
        """Take nothing any more that comes to a path."""
        self._takers.pop(path.removeprefix("/").encode(), None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= _MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            came = await _read(reader, _STALL_S * 5, self._max_bytes, None)
            for token, taker in tuple(self._takers.items()):
                if token in came.head.partition(b"\n")[0]:
                    taker(came)
                    writer.write(_OK)
            with suppress(OSError):
                await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()


def _named(taker: Callable[[Wire], None], token: bytes, name: bytes, came: Wire) -> None:
    taker(Wire(came.head.replace(token, name), came.body, came.cut))


async def _read(
    reader: asyncio.StreamReader, timeout_s: float, max_bytes: int, default_length: int | None
) -> Wire:
    """Return a message once it is whole by its own word, or whatever came until then."""
    came = bytearray()
    body: Body | None = None
    end, cut = -1, None
    try:
        async with asyncio.timeout(timeout_s):
            while data := await reader.read(_READ_BYTES):
                came += data
                if body is None:
                    end = find_head_end(came)
                    if end < 0 and len(came) > MAX_HEAD_BYTES:
                        cut = "a head over its bounds"
                        break
                    if end < 0:
                        continue
                    body = Body(read_head(bytes(came)), max_bytes, default_length)
                    data = bytes(came[end:])
                if body.feed(data):
                    break
            else:
                if body is not None:
                    body.eof()
    except TimeoutError:
        cut = f"not whole within {timeout_s:g} s"
    except (OSError, ValueError) as error:
        cut = str(error)
    head, rest = (bytes(came), b"") if end < 0 else (bytes(came[:end]), bytes(came[end:]))
    is_chunked = b"chunked" in head.lower()
    if body is not None and is_chunked and not cut:
        rest = body.body
    return Wire(head, rest[:max_bytes], cut)
