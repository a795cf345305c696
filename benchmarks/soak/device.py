"""A simulated MediaRenderer that can fail in every way that a device does, and its truth."""

import asyncio
import itertools
import random
import re
from contextlib import suppress

from benchmarks import bodies
from benchmarks.fleet import (
    CALLBACK,
    DESIRED,
    SID,
    Device,
    Server,
    background,
    granted,
    ok,
)
from benchmarks.notify import Subscription, connected
from benchmarks.responder import multicast
from benchmarks.soak.tally import Tally

MAX_AGE_S = 10
ANNOUNCE_S = 4.0
TIMEOUT_S = 21
"""The bridge renews after 40 to 50 % of it, and not before 10 s."""
_NOTIFY_S = 20.0
_SEQ_LIMIT = 2**32
_FAULT = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s"
)
_ANSWER = (
    b'<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
    b"<s:Body>%s</s:Body></s:Envelope>"
)
_NO_ACTION = _ANSWER % (
    b"<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
    b'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>401</errorCode>'
    b"<errorDescription>Invalid Action</errorDescription></UPnPError></detail></s:Fault>"
)
_GET_VOLUME = re.compile(rb"#(GetVolume(?:DB)?)\"")
_addresses = itertools.count(1)


def _next_address() -> str:
    number = next(_addresses)
    return f"127.2.{number // 200 % 250}.{number % 200 + 1}"


class SoakDevice(Device):
    """`told` is the truth: every evented variable of every service as it is now."""

    def __init__(self, number: int, tally: Tally) -> None:
        super().__init__(number)
        self.number = number
        self.tally = tally
        self.present = False
        self.services: tuple[str, ...] = bodies.SERVICES
        self.boot_id, self.config_id = 1, 1
        self.refuses = False
        self.count = 0
        self.told = {
            "AVTransport": bodies.values("lastchange", 0, 0),
            "RenderingControl": {"PresetNameList": "Factory", "Volume/Master": "20"},
            "ConnectionManager": {
                "SourceProtocolInfo": "",
                "SinkProtocolInfo": "http-get:*:audio/mpeg:*",
                "CurrentConnectionIDs": "0",
            },
        }
        self._locks: dict[str, asyncio.Lock] = {}
        self._expiry: dict[str, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None
        self._port = 0
        self._announcing: asyncio.TimerHandle | None = None
        self.describe(f"Renderer {number}", self.services)

    @property
    def location(self) -> str:
        return f"http://{self.address}:{self._port}/"

    @property
    def search_answer(self) -> bytes:
        return bodies.search_answer(self.udn, self.location, MAX_AGE_S, self._ids)

    @property
    def _ids(self) -> dict[str, object]:
        return {"BOOTID.UPNP.ORG": self.boot_id, "CONFIGID.UPNP.ORG": self.config_id}

    # Life

    async def join(self, *, elsewhere: bool = False) -> None:
        """Come, at a new address where it is to be elsewhere or has none."""
        if elsewhere or not self._port:
            self.address, self._port = _next_address(), random.randint(10000, 30000)
        await self.listen()
        self.present = True
        self.announce()

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Server(self), self.address, self._port, reuse_address=True
        )

    def deafen(self) -> None:
        """Refuse connections from now on."""
        if self._server:
            self._server.close()
            self._server = None

    def leave(self, *, byebye: bool) -> None:
        """Go, with or without a word; subscriptions end."""
        self.present = False
        if self._announcing:
            self._announcing.cancel()
        self.drop_subscriptions()
        self.deafen()
        if byebye:
            self.send("byebye")

    def reboot(self) -> None:
        """Lose subscriptions, and say so by the BOOTID."""
        self.boot_id += 1
        self.drop_subscriptions()
        self.send("alive")

    def describe(self, name: str, services: tuple[str, ...]) -> None:
        """Have another description; `told` of services that are gone stays for their return."""
        self.services = services
        self.documents[b"/"] = bodies.description(self.udn, name, services).encode()

    def change(self, name: str, services: tuple[str, ...]) -> None:
        """Have another description, and say so by the CONFIGID."""
        self.config_id += 1
        for sid in [sid for sid, one in self.subscriptions.items() if one.service not in services]:
            self._end(sid)
        self.describe(name, services)
        self.send("alive")

    def announce(self) -> None:
        """Say alive now and regularly, as long as it is there."""
        if self._announcing:
            self._announcing.cancel()
        if self.present:
            self.send("alive")
            wait_s = ANNOUNCE_S * random.uniform(0.8, 1.2)
            self._announcing = asyncio.get_running_loop().call_later(wait_s, self.announce)

    def send(self, nts: str) -> None:
        rows = bodies.announcements(
            nts,
            self.udn,
            self.location,
            services=self.services,
            max_age_s=MAX_AGE_S,
            more=self._ids,
        )
        self.tally.loads["announcements"] += len(rows)
        multicast(self.address, *rows)

    # Events

    def tell(self, service: str, changed: dict[str, str], *, how: str = "") -> None:
        """Change variables and send the event: `how` is `lost`, `twice`, `broken` or nothing."""
        if how != "broken":
            self.told[service] |= changed
        for one in tuple(self.subscriptions.values()):
            if one.service == service:
                body = b"<e:propertyset><oh" if how == "broken" else bodies.event(service, changed)
                background(self._notify(one, body, how))

    def tell_something(self, kind: str, *, how: str = "") -> None:
        """Change what changes often in a home."""
        self.count += 1
        match kind:
            case "lastchange":
                self.tell(
                    "AVTransport", bodies.values("lastchange", self.count, self.count), how=how
                )
            case "volume":
                self.tell("RenderingControl", {"Volume/Master": str(self.count % 100)}, how=how)
            case "small":
                self.tell("ConnectionManager", {"CurrentConnectionIDs": str(self.count)}, how=how)
            case _:
                self.tell("AVTransport", {"TransportState": ("STOPPED", "PLAYING")[self.count % 2]})

    def drop_subscriptions(self) -> None:
        for sid in tuple(self.subscriptions):
            self._end(sid)

    def _end(self, sid: str) -> None:
        self.subscriptions.pop(sid, None)
        self._locks.pop(sid, None)
        if expiry := self._expiry.pop(sid, None):
            expiry.cancel()

    async def _notify(self, to: Subscription, body: bytes | None, how: str = "") -> None:
        """Send an event behind those that came before; None is the first, of all there is."""
        lock = self._locks.get(to.sid)
        if lock is None:
            return
        async with lock:
            if to.sid not in self.subscriptions:
                return
            request = to.notify(body or bodies.event(to.service, self.told[to.service]))
            if how == "lost":
                self.tally.loads["events lost"] += 1
                return
            for _ in range(2 if how == "twice" else 1):
                answered = False
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(_NOTIFY_S):
                        sender = await connected(to)
                        answered = await sender.send(request)
                        sender.transport.close()
                self.tally.loads["events" if answered else "events not taken"] += 1

    # HTTP

    def answer(self, method: bytes, path: bytes, head: bytes, body: bytes) -> bytes:
        service = path[1:].decode()
        match method:
            case b"GET":
                self.tally.loads["descriptions read"] += 1
            case b"SUBSCRIBE":
                return self._subscribe(service, head)
            case b"UNSUBSCRIBE" if sid := SID.search(head):
                self._end(sid[1].decode())
                return ok(b"")
            case b"POST" if b"#SetVolume" in head and (desired := DESIRED.search(body)):
                self.tally.loads["volumes set"] += 1
                background(self._set_volume(desired[1].decode()))
            case b"POST" if found := _GET_VOLUME.search(head):
                volume = int(self.told["RenderingControl"]["Volume/Master"])
                return ok((bodies.GET_VOLUME % volume).replace(b"GetVolume", found[1]))
            case b"POST":
                return _FAULT % (len(_NO_ACTION), _NO_ACTION)
        return super().answer(method, path, head, body)

    async def _set_volume(self, desired: str) -> None:
        self.tell("RenderingControl", {"Volume/Master": desired})

    def _subscribe(self, service: str, head: bytes) -> bytes:
        sid = found[1].decode() if (found := SID.search(head)) else ""
        if self.refuses:
            self.tally.loads["subscriptions refused"] += 1
            return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        callback = CALLBACK.search(head)
        if service not in self.services or (sid not in self.subscriptions and not callback):
            return b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
        if callback:
            new = self.subscribed(service, callback[1].decode())
            sid = new.sid
            self._locks[sid] = asyncio.Lock()
            background(self._greet(new))
        self.tally.loads["subscriptions" if callback else "renewals"] += 1
        if expiry := self._expiry.pop(sid, None):
            expiry.cancel()
        loop = asyncio.get_running_loop()
        self._expiry[sid] = loop.call_later(TIMEOUT_S, self._end, sid)
        return granted(sid, TIMEOUT_S)

    async def _greet(self, to: Subscription) -> None:
        await asyncio.sleep(random.choice((0.0, 0.05)))  # before or behind the answer
        await self._notify(to, None)
