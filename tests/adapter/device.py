"""A UPnP device on loopback that does what a test's script says, and counts what is asked of it."""

import asyncio
import random
import socket
import struct
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from lxml import etree

_GROUP = ("239.255.255.250", 1900)
_IP_MULTICAST_ALL = 49
_LOOPBACK = socket.if_nametoindex("lo")
_TYPE = "urn:schemas-upnp-org:device:Scripted:1"


@dataclass(frozen=True)
class Variable:
    name: str
    type: str = "string"
    evented: bool = True
    default: str | None = None
    allowed: tuple[str, ...] = ()
    range: tuple[str, ...] = ()
    """Minimum, maximum and, where there are three, step."""

    def xml(self) -> str:
        inside = _tag("name", self.name) + _tag("dataType", self.type)
        if self.default is not None:
            inside += _tag("defaultValue", self.default)
        if self.allowed:
            values = "".join(_tag("allowedValue", one) for one in self.allowed)
            inside += f"<allowedValueList>{values}</allowedValueList>"
        if self.range:
            names = ("minimum", "maximum", "step")
            bounds = "".join(map(_tag, names, self.range))
            inside += f"<allowedValueRange>{bounds}</allowedValueRange>"
        sends = "yes" if self.evented else "no"
        return f'<stateVariable sendEvents="{sends}">{inside}</stateVariable>'


@dataclass(frozen=True)
class Action:
    """An action; arguments are written `in Name:Variable`, `out Name:Variable`, `ret …`."""

    name: str
    arguments: tuple[str, ...] = ()

    def xml(self) -> str:
        inside = "".join(map(self._argument, self.arguments))
        return f"<action>{_tag('name', self.name)}<argumentList>{inside}</argumentList></action>"

    @staticmethod
    def _argument(text: str) -> str:
        direction, _, rest = text.partition(" ")
        name, _, variable = rest.rpartition(":")
        retval = "<retval/>" if direction == "ret" else ""
        way = "in" if direction == "in" else "out"
        return (
            f"<argument>{_tag('name', name)}{_tag('direction', way)}{retval}"
            f"{_tag('relatedStateVariable', variable)}</argument>"
        )


@dataclass
class Service:
    """A service; `initial` is its first event. `path` is unique within its root device."""

    name: str
    members: tuple[Variable | Action, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict)
    service_id: str = ""
    service_type: str = ""
    evented: bool = True
    refuses: int = 0
    """The status that a SUBSCRIBE is answered with; 0: it is granted."""
    path: str = ""
    subscribers: dict[str, "Subscriber"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.service_id = self.service_id or f"urn:upnp-org:serviceId:{self.name}"
        self.service_type = self.service_type or f"urn:schemas-upnp-org:service:{self.name}:1"

    def scpd(self) -> str:
        actions = "".join(one.xml() for one in self.members if isinstance(one, Action))
        variables = "".join(one.xml() for one in self.members if isinstance(one, Variable))
        return (
            '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0">'
            "<specVersion><major>1</major><minor>0</minor></specVersion>"
            f"<actionList>{actions}</actionList>"
            f"<serviceStateTable>{variables}</serviceStateTable></scpd>"
        )

    def xml(self) -> str:
        return (
            f"<service>{_tag('serviceType', self.service_type)}{_tag('serviceId', self.service_id)}"
            f"<SCPDURL>{self.path}/scpd.xml</SCPDURL><controlURL>{self.path}/control</controlURL>"
            f"<eventSubURL>{f'{self.path}/event' if self.evented else ''}</eventSubURL></service>"
        )


@dataclass
class Part:
    """A device, root or embedded; `more` is XML that is put into its description as it is."""

    udn: str
    name: str
    services: tuple[Service, ...] = ()
    parts: tuple["Part", ...] = ()
    type: str = _TYPE
    more: str = "<manufacturer>Scripts</manufacturer><modelName>One</modelName>"

    def xml(self) -> str:
        services = "".join(one.xml() for one in self.services)
        parts = "".join(one.xml() for one in self.parts)
        return (
            f"<device>{_tag('deviceType', self.type)}{_tag('friendlyName', self.name)}{self.more}"
            f"{_tag('UDN', f'uuid:{self.udn}')}<serviceList>{services}</serviceList>"
            f"<deviceList>{parts}</deviceList></device>"
        )

    def walk(self) -> Iterator["Part"]:
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass
class Subscriber:
    sid: str
    callback: str
    seq: int = 0
    first: asyncio.Task[None] | None = None
    """Sends the first event."""


@dataclass(frozen=True)
class Call:
    """An action as it arrived."""

    service: str
    action: str
    args: dict[str, str]
    at: float


@dataclass(frozen=True)
class Fault:
    code: int | str
    text: str
    status: int = 500


@dataclass(frozen=True)
class Raw:
    """Bytes that are sent in place of an answer; none: the connection is closed."""

    wire: bytes = b""


Answer = Mapping[str, str] | Fault | Raw
Script = Callable[[Call], Awaitable[Answer]]
Stream = Callable[[], AsyncIterator[bytes]]
"""An answer that comes in parts, and perhaps never ends."""


def new_udn() -> str:
    return str(uuid.uuid4())


def new_address() -> str:
    """Return an address on loopback that no other test is likely to have."""
    return f"127.{random.randint(20, 250)}.{random.randint(0, 255)}.{random.randint(2, 250)}"


EVENTS_TO = new_address()
"""Where the bridges under test have events sent; other bridges on loopback are not subscribed."""


class Device:
    """A root device that runs from `start` to `stop`.

    `actions` has what actions do, by name; one without a script answers with no arguments.
    `answers` may replace what is sent for a path, `requests` counts method and path.
    """

    def __init__(self, root: Part, *, max_age_s: int = 1800) -> None:
        self.root = root
        self.address = new_address()
        self.port = 0
        self.boot_id = 1
        self.max_age_s = max_age_s
        self.actions: dict[str, Script] = {}
        self.answers: dict[str, bytes | Stream] = {}
        self.requests: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.unsubscribed: list[str] = []
        self.subscribed: list[str] = []
        self.is_mute = False
        """Whether searches are not answered."""
        self.answers_to = "upnp:rootdevice"
        """The one search target that it knows."""
        self.draws = False
        """Whether each of its announcements bears another BOOTID."""
        self.under_way = 0
        self.most_under_way = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def udn(self) -> str:
        return self.root.udn

    @property
    def location(self) -> str:
        return f"http://{self.address}:{self.port}/description.xml"

    @property
    def services(self) -> dict[str, Service]:
        return {one.path: one for part in self.root.walk() for one in part.services}

    def service(self, name: str) -> Service:
        return next(one for one in self.services.values() if one.name == name)

    # Life

    async def start(self, *, silently: bool = False) -> None:
        """Listen, and say alive."""
        await self.serve()
        ssdp = asyncio.get_running_loop().create_datagram_endpoint
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        interface = struct.pack("=4s4si", b"\0" * 4, socket.inet_aton(self.address), _LOOPBACK)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.bind((self.address, 0))
        self._sender, _ = await ssdp(asyncio.DatagramProtocol, sock=sender)
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        group = struct.pack("=4s4si", socket.inet_aton(_GROUP[0]), b"\0" * 4, _LOOPBACK)
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        listener.bind(_GROUP)
        self._listener, _ = await ssdp(lambda: _Searches(self), sock=listener)
        if not silently:
            self.alive()

    async def serve(self, *, address: str | None = None, port: int | None = None) -> None:
        """Listen for HTTP, on the address and port that it had before if no other is given."""
        for number, service in enumerate(s for p in self.root.walk() for s in p.services):
            service.path = f"/{number}"
        self.address = address or self.address
        wanted = self.port if port is None else port
        self._server = await asyncio.start_server(self._connected, self.address, wanted)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Listen no more; what is under way is cut off."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    async def stop(self, *, byebye: bool = True) -> None:
        """Be gone, with or without a word."""
        await self.refuse()
        self._listener.close()
        if byebye:
            self.byebye()
        self._sender.close()
        await asyncio.sleep(0)

    # SSDP

    def alive(self) -> None:
        self._announce("ssdp:alive")

    def byebye(self) -> None:
        self._announce("ssdp:byebye")

    def _announce(self, nts: str) -> None:
        for nt, usn in self.advertised():
            head = {"HOST": "239.255.255.250:1900", "NT": nt, "NTS": nts, "USN": usn}
            self.send("NOTIFY * HTTP/1.1", head, _GROUP)

    def advertised(self) -> Iterator[tuple[str, str]]:
        yield "upnp:rootdevice", f"uuid:{self.udn}::upnp:rootdevice"
        for part in self.root.walk():
            yield f"uuid:{part.udn}", f"uuid:{part.udn}"

    def send(self, start: str, head: dict[str, str], target: tuple[str, int]) -> None:
        """Send one datagram of SSDP with what all of this device's have."""
        self.boot_id += self.draws
        head |= {
            "LOCATION": self.location,
            "SERVER": "Scripted/1 UPnP/1.1 Test/1",
            "CACHE-CONTROL": f"max-age={self.max_age_s}",
            "BOOTID.UPNP.ORG": str(self.boot_id),
            "CONFIGID.UPNP.ORG": "1",
        }
        lines = (start, *(f"{name}: {value}" for name, value in head.items()), "", "")
        self._sender.sendto("\r\n".join(lines).encode(), target)

    # HTTP

    def description(self) -> str:
        return (
            '<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">'
            "<specVersion><major>1</major><minor>1</minor></specVersion>"
            f"{self.root.xml()}</root>"
        )

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = start.split(" ", 2)
            pairs = (line.partition(":") for line in lines)
            head = {name.strip().lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(head.get("content-length", "0")))
            self.requests[f"{method} {path}"] += 1
            scripted = self.answers.get(path) or await self._answer(method, path, head, body)
            if isinstance(scripted, bytes):
                writer.write(scripted)
            else:
                async for part in scripted():
                    writer.write(part)
                    await writer.drain()
            await writer.drain()
        self._tasks.discard(task)
        self._writers.discard(writer)
        writer.close()
        with suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _answer(self, method: str, path: str, head: dict[str, str], body: bytes) -> bytes:
        where, _, what = path.rpartition("/")
        service = self.services.get(where)
        match method, what, service:
            case "GET", "description.xml", _:
                return answer(200, self.description().encode())
            case "GET", "scpd.xml", Service():
                return answer(200, service.scpd().encode())
            case "POST", "control", Service():
                return await self._control(service, head, body)
            case "SUBSCRIBE", "event", Service():
                return self._subscribe(service, head)
            case "UNSUBSCRIBE", "event", Service():
                self.unsubscribed.append(service.name)
                known = service.subscribers.pop(head.get("sid", ""), None)
                return answer(200 if known else 412)
        return answer(404)

    async def _control(self, service: Service, head: dict[str, str], body: bytes) -> bytes:
        kind, _, action = head["soapaction"].strip('"').rpartition("#")
        assert kind == service.service_type
        envelope = etree.fromstring(body)
        (element,) = envelope[0]
        args = {str(one.tag): one.text or "" for one in element}
        call = Call(service.name, action, args, time.monotonic())
        self.calls.append(call)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            told = await self.actions[action](call) if action in self.actions else {}
        finally:
            self.under_way -= 1
        match told:
            case Raw(wire):
                return wire
            case Fault(code, text, status):
                inside = (
                    "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>"
                    '<detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">'
                    f"<errorCode>{code}</errorCode>{_tag('errorDescription', text)}"
                    "</UPnPError></detail></s:Fault>"
                )
                return answer(status, _soap(inside))
        out = "".join(_tag(name, text) for name, text in told.items())
        return answer(
            200, _soap(f'<u:{action}Response xmlns:u="{kind}">{out}</u:{action}Response>')
        )

    # GENA

    def _subscribe(self, service: Service, head: dict[str, str]) -> bytes:
        if service.refuses:
            return answer(service.refuses)
        sid = head.get("sid", "")
        if not sid and EVENTS_TO not in head["callback"]:
            return answer(503)
        if sid and sid not in service.subscribers:
            return answer(412)
        if not sid:
            sid = f"uuid:{uuid.uuid4()}"
            subscriber = Subscriber(sid, head["callback"].strip("<>"))
            service.subscribers[sid] = subscriber
            self.subscribed.append(service.name)
            task = asyncio.create_task(self._deliver(subscriber, dict(service.initial)))
            subscriber.first = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answer(200, b"", f"SID: {sid}\r\nTIMEOUT: Second-1800\r\n")

    async def event(self, name: str, properties: Mapping[str, str], *, skip: int = 0) -> None:
        """Send an event to all subscribers of a service, to each behind its first one.

        `skip` SEQ numbers are left out.
        """
        for subscriber in tuple(self.service(name).subscribers.values()):
            if subscriber.first is not None:
                await asyncio.wait([subscriber.first])
            subscriber.seq += skip
            await self._deliver(subscriber, properties)

    async def _deliver(self, subscriber: Subscriber, properties: Mapping[str, str]) -> None:
        inside = "".join(f"<e:property>{_tag(*one)}</e:property>" for one in properties.items())
        body = (
            '<?xml version="1.0"?><e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">'
            f"{inside}</e:propertyset>"
        ).encode()
        seq, subscriber.seq = subscriber.seq, subscriber.seq + 1
        url = urlsplit(subscriber.callback)
        head = (
            f"NOTIFY {url.path} HTTP/1.1\r\nHOST: {url.netloc}\r\nCONTENT-TYPE: text/xml\r\n"
            f"NT: upnp:event\r\nNTS: upnp:propchange\r\nSID: {subscriber.sid}\r\nSEQ: {seq}\r\n"
            f"CONNECTION: close\r\nCONTENT-LENGTH: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                writer.write(head.encode() + body)
                await reader.read()
            finally:
                writer.close()


class _Searches(asyncio.DatagramProtocol):
    """Answers searches for what its device knows."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        target = self._device.answers_to
        asked = data.startswith(b"M-SEARCH") and f"ST: {target}\r\n".encode() in data
        if asked and not self._device.is_mute:
            usn = f"uuid:{self._device.udn}::upnp:rootdevice"
            head = {"EXT": "", "ST": target, "USN": usn}
            self._device.send("HTTP/1.1 200 OK", head, addr)


@asynccontextmanager
async def running(root: Part, *, max_age_s: int = 1800) -> AsyncIterator[Device]:
    """A device that runs until the context ends."""
    device = Device(root, max_age_s=max_age_s)
    await device.start()
    try:
        yield device
    finally:
        await device.stop()


def answer(status: int, body: bytes = b"", head: str = "") -> bytes:
    """Return an answer of HTTP."""
    return (
        f"HTTP/1.1 {status} Said\r\n{head}CONTENT-TYPE: text/xml\r\nCONNECTION: close\r\n"
        f"CONTENT-LENGTH: {len(body)}\r\n\r\n"
    ).encode() + body


def last_change(*instances: str) -> str:
    """Return a LastChange with this XML in it."""
    return f'<Event xmlns="urn:schemas-upnp-org:metadata-1-0/RCS/">{"".join(instances)}</Event>'


def _soap(inside: str) -> bytes:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<s:Body>{inside}</s:Body></s:Envelope>"
    ).encode()


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"
