"""A fleet of simulated MediaRenderers on loopback, one address each, in one cheap process.

The SCPDs are those of gmrender-resurrect, as recorded from it. Commands are lines of JSON on
standard input, answers such lines on standard output:
`{"callback": 8098, "kind": "lastchange", "seconds": 3, "senders": 8}` has eight devices send
events to who subscribed with that port.
"""

import asyncio
import json
import re
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks import bodies
from benchmarks.responder import Responder

PORT = 8200
MODELS = 10
_SCPDS = Path(__file__).parent.parent / "tests" / "captures" / "gmediarender"
_LENGTH = re.compile(rb"\ncontent-length:\s*(\d+)", re.IGNORECASE)
CALLBACK = re.compile(rb"\ncallback:\s*<([^>]+)>", re.IGNORECASE)
SID = re.compile(rb"\nsid:\s*(\S+)", re.IGNORECASE)
DESIRED = re.compile(rb"<DesiredVolume[^>]*>(\d+)<")


def udn_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def address_of(number: int) -> str:
    return f"127.1.{number // 200}.{number % 200 + 1}"


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


class Device:
    """One MediaRenderer: its documents, its volume, its subscribers."""

    def __init__(self, number: int) -> None:
        self.address = address_of(number)
        self.udn = udn_of(number)
        self.volume = 20
        self.delay_s = 0.0
        self._told: dict[str, dict[str, str]] = {service: {} for service in bodies.SERVICES}
        self.subscriptions: dict[str, Subscription] = {}
        self.documents = {b"/": bodies.description(self.udn, f"Renderer {number}").encode()}
        for service in bodies.SERVICES:
            scpd = (_SCPDS / f"1-{service}.scpd.xml").read_bytes()
            mark = b"<!-- model %d -->" % (number % MODELS)
            self.documents[b"/" + service.encode()] = scpd.rstrip(b"\0\r\n ") + mark

    @property
    def search_answer(self) -> bytes:
        return bodies.search_answer(self.udn, f"http://{self.address}:{PORT}/")

    def answer(  # noqa: PLR0911 - a table
        self, method: bytes, path: bytes, head: bytes, body: bytes
    ) -> bytes:
        service = path[1:].decode()
        match method:
            case b"GET" if path in self.documents:
                return ok(self.documents[path])
            case b"POST" if b"#SetVolume" in head and (desired := DESIRED.search(body)):
                self.volume = int(desired[1])
                return ok(bodies.SET_VOLUME)
            case b"POST" if b"#GetVolume" in head:
                return ok(bodies.GET_VOLUME % self.volume)
            case b"SUBSCRIBE" if callback := CALLBACK.search(head):
                url = urlsplit(callback[1].decode())
                new_sid = f"uuid:{self.udn}-{service}-{len(self.subscriptions)}"
                new = Subscription(
                    self.address, self.udn, service, new_sid, str(url.hostname), url.port or 80,
                    url.path or "/", self._told[service],
                )  # fmt: skip
                self.subscriptions[new_sid] = new
                background(_send_initial(new))
                return granted(new_sid)
            case b"SUBSCRIBE" if sid := SID.search(head):
                return granted(sid[1].decode())
            case b"UNSUBSCRIBE" if sid := SID.search(head):
                self.subscriptions.pop(sid[1].decode(), None)
                return ok(b"")
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def ok(body: bytes) -> bytes:
    head = b'HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset="utf-8"\r\nContent-Length: %d'
    return head % len(body) + b"\r\n\r\n" + body


def granted(sid: str, timeout_s: int = 1800) -> bytes:
    lines = ("HTTP/1.1 200 OK", f"SID: {sid}", f"TIMEOUT: Second-{timeout_s}", "Content-Length: 0")
    return "\r\n".join((*lines, "", "")).encode()


class Server(asyncio.Protocol):
    def __init__(self, device: Device) -> None:
        self._device = device
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            method, path, _ = head.split(b" ", 2)
            answer = self._device.answer(method, path, head, body)
            if self._device.delay_s:
                loop = asyncio.get_running_loop()
                loop.call_later(self._device.delay_s, self._send, answer, head)
            else:
                self._send(answer, head)

    def _send(self, answer: bytes, head: bytes) -> None:
        self._transport.write(answer)
        if b"connection: close" in head.lower():
            self._transport.close()


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


_tasks: set[asyncio.Task[None]] = set()


def background(coroutine: Any) -> None:  # noqa: ANN401
    task = asyncio.get_running_loop().create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _send_initial(to: Subscription) -> None:
    await asyncio.sleep(0.02)  # behind the answer to SUBSCRIBE
    sender = await connected(to)
    async with asyncio.timeout(10):
        await sender.send(to.notify(bodies.initial(to.service, to.told)))
    sender.transport.close()


async def load(  # noqa: PLR0913 - by name, from a command
    devices: list[Device],
    *,
    callback: int,
    kind: bodies.Kind,
    seconds: float,
    senders: int,
    rate: float = 0.0,
    fresh: bool = False,
) -> dict[str, object]:
    """Send events of one kind, each device one at a time; `rate` 0 is as fast as answered."""
    chosen = [
        one
        for device in devices[:senders]
        for one in device.subscriptions.values()
        if one.port == callback and one.service == bodies.SERVICE_OF[kind]
    ]
    async with asyncio.timeout(20):
        while any(one.seq == 0 for one in chosen):  # noqa: ASYNC110 - initial events under way
            await asyncio.sleep(0.05)
    begin = time.monotonic()
    result: dict[str, Any] = {"sent": 0, "failed": 0, "last": {}}

    async def keep_sending(number: int, to: Subscription) -> None:
        sender: Sender | None = None
        count = 0
        while (now := time.monotonic()) < begin + seconds:
            if rate:
                due = begin + (number + count * len(chosen)) / rate
                await asyncio.sleep(max(0.0, due - now))
            sender = sender or await connected(to)
            values = bodies.values(kind, count, time.monotonic_ns() // 1000)
            to.told.update(values)
            async with asyncio.timeout(20):
                answered = await sender.send(to.notify(bodies.body(kind, values)))
            count += 1
            result["sent"] += 1
            result["failed"] += not answered
            result["last"] |= {f"{to.udn}/{to.service}/{k}": v for k, v in values.items()}
            if fresh or not answered:
                sender.transport.close()
                sender = None
        if sender:
            sender.transport.close()

    async with asyncio.TaskGroup() as tasks:
        for number, one in enumerate(chosen):
            tasks.create_task(keep_sending(number, one))
    return result | {"senders": len(chosen), "seconds": time.monotonic() - begin}


async def main(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    devices = [Device(number) for number in range(count)]
    for device in devices:
        await loop.create_server(lambda one=device: Server(one), device.address, PORT)  # type: ignore[misc]
    await Responder.listen(devices)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(json.dumps({"devices": count}), flush=True)
    while line := await commands.readline():
        print(json.dumps(await load(devices, **json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
