"""A fleet of simulated MediaRenderers on loopback, one address each, in one cheap process.

The SCPDs are those of gmrender-resurrect, as recorded from it; a ContentDirectory as well is
minidlna's. The devices answer searches, announce themselves, grant subscriptions for as long as
is asked, and say byebye in the end. Commands are lines of JSON on standard input, answers such
lines on standard output: `{"callback": 8098, "kind": "lastchange", "seconds": 3, "senders": 8}`
has eight devices send events to who subscribed with that port.
"""

import asyncio
import itertools
import json
import random
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks import bodies
from benchmarks.notify import Sender, Subscription, connected
from benchmarks.responder import Responder, multicast

PORT = 8200
MODELS = 10
_MAX_AGE_S = 1800
_ANNOUNCED_EVERY_S = _MAX_AGE_S / 2.2
_CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
_LENGTH = re.compile(rb"\ncontent-length:\s*(\d+)", re.IGNORECASE)
CALLBACK = re.compile(rb"\ncallback:\s*<([^>]+)>", re.IGNORECASE)
SID = re.compile(rb"\nsid:\s*(\S+)", re.IGNORECASE)
_TIMEOUT = re.compile(rb"\ntimeout:\s*second-(\d+)", re.IGNORECASE)
DESIRED = re.compile(rb"<DesiredVolume[^>]*>(\d+)<")


def udn_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def address_of(number: int) -> str:
    return f"127.1.{number // 200}.{number % 200 + 1}"


class Device:
    """One MediaRenderer: its documents, its volume, its subscribers."""

    def __init__(self, number: int, services: tuple[str, ...] = bodies.SERVICES) -> None:
        self.address = address_of(number)
        self.udn = udn_of(number)
        self.volume = 20
        self.delay_s = 0.0
        self._told: dict[str, dict[str, str]] = {service: {} for service in services}
        self.services = services
        self.subscriptions: dict[str, Subscription] = {}
        told = bodies.description(self.udn, f"Renderer {number}", services)
        self.documents = {b"/": told.encode()}
        for service in services:
            of = "minidlna" if service == "ContentDirectory" else "gmediarender"
            scpd = (_CAPTURES / of / f"1-{service}.scpd.xml").read_bytes()
            mark = b"<!-- model %d -->" % (number % MODELS)
            self.documents[b"/" + service.encode()] = scpd.rstrip(b"\0\r\n ") + mark

    @property
    def location(self) -> str:
        return f"http://{self.address}:{PORT}/"

    @property
    def search_answer(self) -> bytes:
        return bodies.search_answer(self.udn, self.location, _MAX_AGE_S)

    def say(self, nts: str) -> None:
        """Announce everything as `alive`, or as `byebye`."""
        rows = bodies.announcements(
            nts, self.udn, self.location, services=self.services, max_age_s=_MAX_AGE_S
        )
        multicast(self.address, *rows)

    def subscribed(self, service: str, callback: str) -> Subscription:
        """Have a new subscriber."""
        url = urlsplit(callback)
        new = Subscription(
            self.address, self.udn, service, f"uuid:{self.udn}-{service}-{next(_sids)}",
            str(url.hostname), url.port or 80, url.path or "/", self._told[service],
        )  # fmt: skip
        self.subscriptions[new.sid] = new
        return new

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
                new = self.subscribed(service, callback[1].decode())
                background(_send_initial(new))
                # Shorter at first, so that renewals come evenly from then on.
                return granted(new.sid, int(_asked_s(head) * random.uniform(0.2, 1)))
            case b"SUBSCRIBE" if sid := SID.search(head):
                return granted(sid[1].decode(), _asked_s(head))
            case b"UNSUBSCRIBE" if sid := SID.search(head):
                self.subscriptions.pop(sid[1].decode(), None)
                return ok(b"")
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _asked_s(head: bytes) -> int:
    return int(asked[1]) if (asked := _TIMEOUT.search(head)) else 1800


def ok(body: bytes) -> bytes:
    head = b'HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset="utf-8"\r\nContent-Length: %d'
    return head % len(body) + b"\r\n\r\n" + body


def granted(sid: str, timeout_s: int) -> bytes:
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


_sids = itertools.count(1)
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


async def _announce(devices: list[Device]) -> None:
    while devices:
        for device in devices:
            await asyncio.sleep(_ANNOUNCED_EVERY_S / len(devices))
            device.say("alive")


async def main(size: int, more_services: list[str]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    services = (*bodies.SERVICES, *more_services)
    devices = [Device(number, services) for number in range(size)]
    for device in devices:
        await loop.create_server(lambda one=device: Server(one), device.address, PORT)  # type: ignore[misc]
    await Responder.listen(devices)
    background(_announce(devices))
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, commands.feed_eof)
    print(json.dumps({"devices": size}), flush=True)
    while line := await commands.readline():
        print(json.dumps(await load(devices, **json.loads(line))), flush=True)
    for device in devices:
        device.say("byebye")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
