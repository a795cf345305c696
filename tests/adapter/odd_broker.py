"""A broker in this process that is odd in ways in which real ones are, one at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from paho.mqtt.client import topic_matches_sub

_RETAIN, _QOS = 0x01, 0x06


@dataclass
class Oddities:
    """What is odd; as it stands, nothing is."""

    lateness_s: float = 0.0
    """How long after SUBACK retained messages come, whatever else is sent meanwhile (aedes)."""
    by_wildcard: bool = True
    """Whether retained messages come for filters with wildcards (RabbitMQ: not)."""
    most: int | None = None
    """The most retained messages for one filter (ejabberd: 1,000)."""
    clears: bool = True
    retains: bool = True
    retain_available: bool = True
    """What CONNACK announces; without, a retained publication ends the connection."""
    levels: int | None = None
    """The most levels of a filter; more are refused (ejabberd: 8)."""
    refuses: Callable[[str], bool] = lambda _: False
    hangs_up_over: Callable[[tuple[str, ...]], bool] = lambda _: False
    """Whether a SUBSCRIBE ends the connection (AWS IoT Core: 9 filters, 9 levels)."""
    is_dumb: bool = False
    """Whether it takes connections and says nothing."""


@dataclass
class OddBroker:
    """One that runs; what has come is there to be seen."""

    odd: Oddities
    port: int = 0
    held: dict[str, bytes] = field(default_factory=dict)
    published: list[tuple[str, bytes, bool]] = field(default_factory=list)
    subscribed: list[tuple[str, ...]] = field(default_factory=list)
    connections: int = 0
    clients: list["_Client"] = field(default_factory=list)

    def retained_at(self, mark: int) -> set[str]:
        """Return the topics that were published retained since a mark."""
        return {topic for topic, _, retain in self.published[mark:] if retain}

    nobody: "_Client | None" = None

    def pass_on(self, topic: str, payload: bytes, sender: "_Client | None") -> None:
        """Hand a message to who subscribed; `nobody` is a client that is none of these."""
        for client in self.clients:
            fitting = [one for one in client.filters if topic_matches_sub(one, topic)]
            if any(client is not sender or not client.filters[one] & 0x04 for one in fitting):
                client.send_publish(topic, payload, retain=False)


class _Client:
    def __init__(
        self, broker: OddBroker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.broker = broker
        self.reader = reader
        self.writer = writer
        self.is_5 = True
        self.filters: dict[str, int] = {}
        self.later: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        while True:
            head, body = await self._packet()
            match head & 0xF0:
                case 0x10:
                    self._connect(body)
                case 0x30:
                    if not self._publish(head, body):
                        return
                case 0x80:
                    if not self._subscribe(body):
                        return
                case 0xA0:
                    self._unsubscribe(body)
                case 0xC0:
                    self.writer.write(b"\xd0\x00")
                case 0xE0:
                    return

    async def _packet(self) -> tuple[int, bytes]:
        head = (await self.reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await self.reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return head, await self.reader.readexactly(length)

    def _connect(self, body: bytes) -> None:
        self.is_5 = body[6] == 5
        odd = self.broker.odd
        if odd.is_dumb:
            return
        has_retained_will = bool(body[7] & 0x20)
        if not self.is_5:
            self.writer.write(b"\x20\x02\x00\x00")
        elif odd.retain_available:
            self.writer.write(b"\x20\x03\x00\x00\x00")
        elif has_retained_will:
            self.writer.write(b"\x20\x03\x00\x9a\x00")
        else:
            self.writer.write(b"\x20\x05\x00\x00\x02\x25\x00")

    def _publish(self, head: int, body: bytes) -> bool:
        broker, odd = self.broker, self.broker.odd
        topic, at = _text(body, 0)
        identifier = body[at : at + 2] if head & _QOS else b""
        at += len(identifier)
        if self.is_5:
            at += 1 + body[at]
        payload, retain = body[at:], bool(head & _RETAIN)
        if retain and not odd.retain_available:
            return False
        broker.published.append((topic, payload, retain))
        if identifier:
            self.writer.write(b"\x40\x02" + identifier)
        if retain and odd.retains and payload:
            broker.held[topic] = payload
        elif retain and odd.clears:
            broker.held.pop(topic, None)
        broker.pass_on(topic, payload, self)
        return True

    def _subscribe(self, body: bytes) -> bool:
        odd, codes = self.broker.odd, b""
        filters: list[str] = []
        options: list[int] = []
        at = 2 + (1 + body[2] if self.is_5 else 0)
        while at < len(body):
            topic_filter, at = _text(body, at)
            filters.append(topic_filter)
            options.append(body[at])
            at += 1
            is_deep = odd.levels is not None and topic_filter.count("/") >= odd.levels
            refused = is_deep or odd.refuses(topic_filter)
            codes += (b"\x8f" if self.is_5 else b"\x80") if refused else b"\x00"
        self.broker.subscribed.append(tuple(filters))
        if odd.hangs_up_over(tuple(filters)):
            return False
        more = b"\x00" if self.is_5 else b""
        self.writer.write(bytes((0x90, 2 + len(more) + len(codes))) + body[:2] + more + codes)
        taken = [one for one, code in zip(filters, codes, strict=True) if code < 0x80]
        self.filters |= {
            one: how for one, how in zip(filters, options, strict=True) if one in taken
        }
        if odd.lateness_s:
            task = asyncio.create_task(self._send_later(taken))
            self.later.add(task)
            task.add_done_callback(self.later.discard)
        else:
            self._send_retained(taken)
        return True

    async def _send_later(self, filters: list[str]) -> None:
        await asyncio.sleep(self.broker.odd.lateness_s)
        self._send_retained(filters)

    def _send_retained(self, filters: list[str]) -> None:
        odd = self.broker.odd
        for one in filters:
            if not odd.by_wildcard and ("+" in one or "#" in one):
                continue
            found = [topic for topic in self.broker.held if topic_matches_sub(one, topic)]
            for topic in found[: odd.most]:
                self.send_publish(topic, self.broker.held[topic], retain=True)

    def _unsubscribe(self, body: bytes) -> None:
        at, codes = 2 + (1 + body[2] if self.is_5 else 0), b""
        while at < len(body):
            one, at = _text(body, at)
            self.filters.pop(one, None)
            codes += b"\x00"
        if self.is_5:
            self.writer.write(bytes((0xB0, 3 + len(codes))) + body[:2] + b"\x00" + codes)
        else:
            self.writer.write(b"\xb0\x02" + body[:2])

    def send_publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if self.writer.is_closing():
            return
        name = topic.encode()
        body = len(name).to_bytes(2, "big") + name + b"\x00" * self.is_5 + payload
        length, left = b"", len(body)
        while True:
            left, digit = left >> 7, left & 0x7F
            length += bytes((digit | 0x80 if left else digit,))
            if not left:
                break
        self.writer.write(bytes((0x30 | retain,)) + length + body)


def _text(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    return body[at + 2 : end].decode(), end


@asynccontextmanager
async def odd_broker(
    odd: Oddities, *, port: int = 0, held: dict[str, bytes] | None = None
) -> AsyncIterator[OddBroker]:
    """A broker that runs until the context ends."""
    broker = OddBroker(odd, held={} if held is None else held)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker.connections += 1
        client = _Client(broker, reader, writer)
        broker.clients.append(client)
        task = asyncio.current_task()
        assert task
        serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await client.serve()
        finally:
            serving.discard(task)
            broker.clients.remove(client)
            for later in client.later:
                later.cancel()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        if serving:
            await asyncio.wait(serving)
