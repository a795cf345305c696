"""A bare MQTT 3.1.1 client that costs little beside what it looks at."""

import asyncio
from collections.abc import Callable
from typing import Self, cast

_CONNECT, _PUBLISH, _PUBACK, _SUBSCRIBE = 0x10, 0x30, 0x40, 0x82

OnMessage = Callable[[str, bytes, bool], None]
"""Takes topic, payload and whether the message was retained."""


def packet(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    length, left = bytearray(), len(body)
    while True:
        left, digit = divmod(left, 128)
        length.append(digit | (0x80 if left else 0))
        if not left:
            return bytes((kind, *length)) + body


def text(characters: str) -> bytes:
    encoded = characters.encode()
    return len(encoded).to_bytes(2, "big") + encoded


class Onlooker(asyncio.Protocol):
    """Hands each message to `on_message`; `connect` makes one."""

    def __init__(self, on_message: OnMessage) -> None:
        self.on_message = on_message
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.acknowledged = 0
        self._buffer = bytearray()
        self.transport: asyncio.Transport

    @classmethod
    async def connect(cls, port: int, on_message: OnMessage) -> Self:
        loop = asyncio.get_running_loop()
        _, self = await loop.create_connection(lambda: cls(on_message), "127.0.0.1", port)
        head = b"\x00\x04MQTT\x04\x02\x00\x00"  # a clean session, without keep-alive
        await self._exchange(packet(_CONNECT, head, text("")))
        return self

    async def subscribe(self, *filters: str) -> None:
        """Return at the SUBACK."""
        wanted = (text(each) + b"\x00" for each in filters)
        await self._exchange(packet(_SUBSCRIBE, b"\x00\x01", *wanted))

    def publish(self, topic: str, payload: bytes) -> None:
        self.transport.write(packet(_PUBLISH, text(topic), payload))

    def close(self) -> None:
        self.transport.close()

    async def _exchange(self, packet: bytes) -> None:
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(packet)
        async with asyncio.timeout(10):
            await self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at, buffer = 0, self._buffer
        while True:
            start, length, shift = at + 1, 0, 0
            while start < len(buffer):
                digit = buffer[start]
                length |= (digit & 0x7F) << shift
                start, shift = start + 1, shift + 7
                if not digit & 0x80:
                    break
            else:
                break
            end = start + length
            if end > len(buffer):
                break
            if buffer[at] & 0xF0 == _PUBLISH:
                behind = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
                topic, payload = buffer[start + 2 : behind].decode(), bytes(buffer[behind:end])
                self.on_message(topic, payload, bool(buffer[at] & 1))
            elif buffer[at] == _PUBACK:
                self.acknowledged += 1
            elif not self._answered.done():
                self._answered.set_result(None)
            at = end
        del buffer[:at]


async def retained(port: int, topic_filter: str, quiet_s: float = 0.5) -> dict[str, bytes]:
    """Read what a broker holds under a filter, until nothing came for a while."""
    held: dict[str, bytes] = {}

    def take(topic: str, payload: bytes, was_retained: bool) -> None:  # noqa: FBT001
        if was_retained:
            held[topic] = payload

    reader = await Onlooker.connect(port, take)
    await reader.subscribe(topic_filter)
    seen = -1
    while seen != len(held):
        seen = len(held)
        await asyncio.sleep(quiet_s)
    reader.close()
    return held
