"""The HTTP client towards devices: one connection, one request sent once, one answer.

Nothing is repeated, no redirect followed, and every answer is bounded in time and size.
How messages are read is `http1`'s work, what they mean that of the callers.
"""

import asyncio
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from async_upnp_client.utils import async_get_local_ip

from bridge import __version__
from bridge.errors import BadResponse, DeviceTimeout, DeviceUnreachable
from bridge.formats.decoding import in_utf8
from bridge.formats.url import HTTP_PORT, bracketed, split_url, unscoped
from bridge.upnp.http.http1 import (
    MAX_HEAD_BYTES,
    Body,
    RawMessage,
    find_head_end,
    read_head,
    read_status,
)

USER_AGENT = f"{platform.system()}/{platform.release()} UPnP/2.0 upnp2mqtt/{__version__}"
"""Who the bridge says it is, in the form of UDA 2.0, section 3.2.1."""

_FIRST_FINAL_STATUS = 200
_NO_CONTENT = 204
_RESOLVE_S = 5.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# The answers to SUBSCRIBE and UNSUBSCRIBE are their heads. Without a Content-Length nothing more
# is waited for, since devices that leave it out may keep the connection open.
_ANSWERED_BY_HEAD = frozenset({"SUBSCRIBE", "UNSUBSCRIBE"})


@dataclass(frozen=True, slots=True)
class Response:
    """What a device answered: any final status, header names in lower case.

    A body that the headers alone say is in another encoding than UTF-8 is in UTF-8 here. `is_cut`
    says that the connection ended before the XML in it did.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False


class HttpClient:
    """Send requests to devices, each over a connection of its own.

    `connect_timeout_s` bounds resolving the name and connecting.
    """

    def __init__(self, connect_timeout_s: float = 5.0) -> None:
        self._connect_timeout_s = connect_timeout_s

    async def request(  # noqa: PLR0913 - what a request is made of, most of it by keyword
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout_s: float,
        max_bytes: int = 2 * 1024 * 1024,
        is_text: bool = True,
    ) -> Response:
        """Send one request once, and return the answer within `timeout_s` seconds.

        `max_bytes` bounds the answer's body, which stays as it came unless it `is_text`. Raises
        DeviceUnreachable where nothing was sent (also for what must not be: another scheme,
        control characters in a header),
        DeviceTimeout where no whole answer came in time, and BadResponse where the connection
        was closed without one, or the answer is not HTTP, encoded or too large.
        """
        head = _write_head(method, url, headers, body)
        exchange = await self._send(method, url, head + body, timeout_s, max_bytes)
        return exchange.response(is_text=is_text)

    async def exchange_raw(  # noqa: PLR0913 - likewise
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout_s: float,
        max_bytes: int,
    ) -> tuple[RawMessage, RawMessage]:
        """Send one request once; return it and the answer as they were sent, good or not.

        Raises DeviceUnreachable as `request` does, and DeviceTimeout where nothing came.
        """
        head = _write_head(method, url, headers, body)
        exchange = await self._send(method, url, head + body, timeout_s, max_bytes)
        answer = exchange.raw()
        if not answer.head:
            raise DeviceTimeout(f"no answer: {answer.cut}")
        return RawMessage(head, body), answer

    async def _send(
        self, method: str, url: str, request: bytes, timeout_s: float, max_bytes: int
    ) -> "_Exchange":
        """Send a request; return what came of it until it was whole, or the time was over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        exchange = _Exchange(loop.create_future(), max_bytes, head_only=method in _ANSWERED_BY_HEAD)
        transport: asyncio.Transport | None = None
        address = split_url(url)
        try:
            async with asyncio.timeout(min(self._connect_timeout_s, timeout_s)) as limit:
                transport, _ = await loop.create_connection(
                    lambda: exchange, address.host, address.port
                )
                limit.reschedule(deadline)
                transport.write(request)
                await exchange.ended
        except (OSError, ValueError) as error:
            if transport is None:
                raise _unreachable(url, error) from error
            exchange.failure = DeviceTimeout(f"no whole answer within {timeout_s:g} s")
        finally:
            if transport is not None:
                transport.abort()
        return exchange


class _Exchange(asyncio.Protocol):
    """Read one answer as it comes; `ended` is done once it is whole, broken or cut off."""

    def __init__(self, ended: asyncio.Future[None], max_bytes: int, *, head_only: bool) -> None:
        self.ended = ended
        self._max_bytes = max_bytes
        self._head_only = head_only
        self._buffer = bytearray()
        self._searched = 0
        self._head_bytes = 0
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._body: Body | None = None
        self._head = b""
        self.failure: Exception | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes as they came."""
        if self.ended.done():
            return
        try:
            whole = self._feed(data)
        except ValueError as error:
            self.failure = error
            whole = True
        if whole:
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take what came as the whole answer, even a head without its blank line."""
        if self.ended.done():
            return
        if self._body is None and self._buffer:
            try:
                self._begin(bytes(self._buffer))
            except ValueError as error:
                exc = error
        if self._body:
            self._body.eof()
        else:
            self.failure = exc
        self.ended.set_result(None)

    def response(self, *, is_text: bool = True) -> Response:
        """Return what was answered, its body in UTF-8 where it `is_text`.

        Raises DeviceTimeout, and BadResponse where that is nothing to be used.
        """
        if isinstance(self.failure, DeviceTimeout):
            raise self.failure
        if self.failure or not self._body:
            reason = self.failure or "closed without an answer"
            raise BadResponse(str(reason)) from self.failure
        encoding = self._headers.get("content-encoding") or "identity"
        if encoding.lower() != "identity":
            raise BadResponse(f"an answer encoded with {encoding[:40]!r}")
        body = self._body.body
        if is_text:
            body = in_utf8(body, self._headers.get("content-type", ""))
        return Response(self._status, self._headers, body, self._body.is_cut)

    def raw(self) -> RawMessage:
        """Return what was answered as it came; its head is empty where nothing was."""
        failure = self.failure or (None if self._body else "closed without an answer")
        cut = failure and str(failure)
        if not self._head:
            return RawMessage(bytes(self._buffer), b"", cut)
        body = self._body.came if self._body else bytes(self._buffer)
        return RawMessage(self._head, body[: self._max_bytes], cut)

    def _feed(self, data: bytes) -> bool:
        if self._body:
            return self._body.feed(data)
        self._buffer += data if self._buffer else data.lstrip(b"\r\n")
        while self._body is None:
            end = find_head_end(self._buffer, self._searched)
            self._searched = len(self._buffer) if end < 0 else 0
            # Interim answers count too: one might follow the other for ever.
            if self._head_bytes + (end if end >= 0 else len(self._buffer)) > MAX_HEAD_BYTES:
                raise ValueError("a head over its bounds")
            if end < 0:
                return False
            self._head_bytes += end
            head = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._begin(head)
        return self._body.feed(bytes(self._buffer))

    def _begin(self, data: bytes) -> None:
        self._head = data
        head = read_head(data)
        self._status = read_status(head)
        if self._status < _FIRST_FINAL_STATUS:
            return
        self._headers = head.headers
        empty = self._head_only or self._status == _NO_CONTENT
        self._body = Body(head, self._max_bytes, 0 if empty else None)


def _write_head(
    method: str,
    url: str,
    headers: Mapping[str, str] | Sequence[tuple[str, str]],
    body: bytes,
) -> bytes:
    """Return the head of a request. Raises DeviceUnreachable for what must not be sent."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    try:
        address = split_url(url)
        host = bracketed(unscoped(address.host))
        lines = [
            f"{method} {address.target} HTTP/1.1",
            f"HOST: {host}" if address.port == HTTP_PORT else f"HOST: {host}:{address.port}",
            f"USER-AGENT: {USER_AGENT}",
            "CONNECTION: close",
            *([f"CONTENT-LENGTH: {len(body)}"] if body or method == "POST" else []),
            *(f"{name}: {value}" for name, value in pairs),
        ]
        if _CONTROL.search("".join(lines)):
            raise ValueError("a control character in the request")
        return "\r\n".join([*lines, "", ""]).encode()
    except ValueError as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> DeviceUnreachable:
    return DeviceUnreachable(f"{url[:200]}: {str(error) or 'no connection in time'}")


async def local_address_towards(host: str, port: int) -> str:
    """Return the address of this machine that faces a device, without its IPv6 scope.

    Sends nothing but what it takes to resolve a name. Raises DeviceUnreachable.
    """
    try:
        async with asyncio.timeout(_RESOLVE_S):
            _, address = await async_get_local_ip(f"//{bracketed(host)}:{port}")
    except (OSError, ValueError) as error:
        raise DeviceUnreachable(f"no way to {host}: {error}") from error
    return unscoped(address)
