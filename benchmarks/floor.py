"""The least that does the bridge's work: a bare asyncio.Protocol, expat, a minimal MQTT writer.

Values to leaf topics, each where it has changed, retained, QoS 1, within the broker's window, the
last of a topic where several wait; calls over MQTT, each with a connection of its own. It reads
what the devices of `fleet.py` write and nothing else: no fault of theirs is met, nothing is
described, renewed or found anew.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from itertools import count
from typing import cast
from xml.parsers import expat

from benchmarks import bodies
from benchmarks.fleet import PORT, address_of, udn_of
from benchmarks.onlooker import Onlooker, OnMessage, packet, text

_WINDOW = 20
"""Messages that mosquitto takes before it has acknowledged the first."""
_PUBLISH_QOS_1, _RETAIN = 0x32, 0x01
_LENGTH = b"\r\nCONTENT-LENGTH: "
_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
    '<u:{0} xmlns:u="urn:schemas-upnp-org:service:{1}:1">{2}</u:{0}></s:Body></s:Envelope>'
)


class Bus(Onlooker):
    """Publishes with QoS 1."""

    def __init__(self, on_message: OnMessage) -> None:
        super().__init__(on_message)
        self._waiting: dict[tuple[str, int], bytes] = {}
        self._sent = 0
        self._writing = False

    def put(self, topic: str, payload: bytes, retain: int = _RETAIN) -> None:
        """Publish at the end of this turn of the loop, or when there is room."""
        self._waiting[topic, retain] = payload
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._waiting and not self._writing:
            self._write()

    def _write(self) -> None:
        self._writing = False
        packets = []
        while self._waiting and self._sent - self.acknowledged < _WINDOW:
            topic, retain = key = next(iter(self._waiting))
            self._sent += 1
            packet_id = (self._sent % 0xFFFF + 1).to_bytes(2, "big")
            payload = self._waiting.pop(key)
            packets.append(packet(_PUBLISH_QOS_1 | retain, text(topic), packet_id, payload))
        if packets:
            self.transport.write(b"".join(packets))


class Service:
    """One service that events come from."""

    def __init__(self, topic: str, bus: Bus) -> None:
        self._topic = topic
        self._bus = bus
        self._values: dict[str, str] = {}

    def take(self, body: bytes) -> None:
        """Publish what has changed of a propertyset."""
        for name, value in _texts(body).items():
            if name == "LastChange":
                _attributes(value, self._change)
            else:
                self._change(name, value)

    def _change(self, name: str, value: str) -> None:
        if self._values.get(name) != value:
            self._values[name] = value
            self._bus.put(f"{self._topic}/value/{name}", value.encode())


def _texts(document: bytes) -> dict[str, str]:
    """Return the elements that hold text, by their local names."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    held: dict[str, str] = {}
    names: list[str] = []

    def start(name: str, _attributes: object) -> None:
        names.append(name)
        if ":" not in name:
            held[name] = ""

    def characters(data: str) -> None:
        if names and names[-1] in held:
            held[names[-1]] += data

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _name: names.pop()
    parser.CharacterDataHandler = characters
    parser.Parse(document, True)  # noqa: FBT003
    return held


def _attributes(last_change: str, change: Callable[[str, str], None]) -> None:
    instance = "0"

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal instance
        if name == "InstanceID":
            instance = attributes["val"]
        elif name != "Event":
            channel = f"/{attributes['channel']}" if "channel" in attributes else ""
            change(f"{name}/{instance}{channel}", attributes["val"])

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.Parse(last_change, True)  # noqa: FBT003


class Reader(asyncio.Protocol):
    """Reads NOTIFYs, or one answer, each with its length in its head."""

    def __init__(self, take: Callable[[bytes, bytes], bytes]) -> None:
        self._take = take
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n") + 4) > len(_LENGTH):
            head = buffer[:end]
            at = head.upper().find(_LENGTH) + len(_LENGTH)
            whole = end + int(head[at : head.find(b"\r", at)])
            if len(buffer) < whole:
                break
            answer = self._take(head, buffer[end:whole])
            if answer:
                self._transport.write(answer)
            buffer = buffer[whole:]
        self._buffer = buffer


async def exchange(host: str, request: bytes) -> tuple[bytes, bytes]:
    """Send a request over a connection of its own; return head and body of the answer."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[tuple[bytes, bytes]] = loop.create_future()

    def take(head: bytes, body: bytes) -> bytes:
        answered.set_result((head, body))
        return b""

    transport, _ = await loop.create_connection(lambda: Reader(take), host, PORT)
    transport.write(request)
    try:
        return await answered
    finally:
        transport.abort()


def envelope(service: str, action: str, arguments: dict[str, object]) -> bytes:
    told = "".join(f"<{name}>{value}</{name}>" for name, value in arguments.items())
    return _ENVELOPE.format(action, service, told).encode()


def post(host: str, service: str, action: str, arguments: dict[str, object]) -> bytes:
    body = envelope(service, action, arguments)
    head = (
        f"POST /{service} HTTP/1.1\r\nHOST: {host}:{PORT}\r\nCONTENT-LENGTH: {len(body)}\r\n"
        'CONTENT-TYPE: text/xml; charset="utf-8"\r\n'
        f'SOAPACTION: "urn:schemas-upnp-org:service:{service}:1#{action}"\r\n\r\n'
    )
    return head.encode() + body


class Floor:
    def __init__(self, base: str, callback_port: int) -> None:
        self._base = base
        self._callback_port = callback_port
        self._services: dict[bytes, Service] = {}
        self._hosts: dict[str, str] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._bus: Bus

    async def run(self, broker_port: int) -> None:
        """Subscribe to all devices that there are, then mirror until the end."""
        self._bus = await Bus.connect(broker_port, self._take_command)
        await self._bus.subscribe(f"{self._base}/+/call")
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Reader(self._notify), "127.0.0.1", self._callback_port)
        for number in count():
            try:
                for service in bodies.SERVICES:
                    await self._subscribe(address_of(number), udn_of(number), service)
            except ConnectionRefusedError:
                break
        self._bus.put(f"{self._base}/bridge/main/state", b"online")
        await loop.create_future()

    async def _subscribe(self, host: str, udn: str, service: str) -> None:
        path = f"/{udn}/{service}"
        self._hosts[udn] = host
        self._services[path.encode()] = Service(f"{self._base}{path}", self._bus)
        callback = f"<http://127.0.0.1:{self._callback_port}{path}>"
        request = (
            f"SUBSCRIBE /{service} HTTP/1.1\r\nHOST: {host}:{PORT}\r\nCALLBACK: {callback}\r\n"
            "NT: upnp:event\r\nTIMEOUT: Second-1800\r\n\r\n"
        )
        await exchange(host, request.encode())

    def _notify(self, head: bytes, body: bytes) -> bytes:
        self._services[head.split(b" ", 2)[1]].take(body)
        return _TAKEN

    def _take_command(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001
        call = asyncio.get_running_loop().create_task(self._call(topic, payload))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, topic: str, payload: bytes) -> None:
        udn = topic.split("/")[-2]
        command = json.loads(payload)
        host = self._hosts[udn]
        request = post(host, command["service"], command["action"], command["args"])
        head, body = await exchange(host, request)
        out = {name: int(value) for name, value in _texts(body).items()}
        answer = {"callid": command["callid"], "success": b" 200 " in head, "out": out}
        self._bus.put(f"{self._base}/{udn}/response", json.dumps(answer).encode(), 0)


if __name__ == "__main__":
    base, broker_port, callback_port = sys.argv[1:]
    asyncio.run(Floor(base, int(callback_port)).run(int(broker_port)))
