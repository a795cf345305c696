"""Simulated devices tell their subscribers."""

import asyncio
from dataclasses import dataclass
from typing import cast


@dataclass(slots=True)
class Subscription:
    address: str
    udn: str
    service: str
    sid: str
    host: str
    port: int
    path: str
    told: dict[str, str]
    seq: int = 0

    def notify(self, body: bytes) -> bytes:
        head = (
            f"NOTIFY {self.path} HTTP/1.1\r\nHOST: {self.host}:{self.port}\r\n"
            f'CONTENT-TYPE: text/xml; charset="utf-8"\r\nCONTENT-LENGTH: {len(body)}\r\n'
            f"NT: upnp:event\r\nNTS: upnp:propchange\r\nSID: {self.sid}\r\nSEQ: {self.seq}\r\n\r\n"
        )
        self.seq += 1
        return head.encode() + body


class Sender(asyncio.Protocol):
    """Sends one NOTIFY at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._buffer = b""
        self._answer: asyncio.Future[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    async def send(self, request: bytes) -> bool:
        """Return whether it was answered with 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if b"\r\n\r\n" in self._buffer and self._answer and not self._answer.done():
            self._answer.set_result(self._buffer.startswith(b"HTTP/1.1 200"))
            self._buffer = b""

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(False)


async def connected(to: Subscription) -> Sender:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        _, sender = await loop.create_connection(
            Sender, to.host, to.port, local_addr=(to.address, 0)
        )
    return sender
