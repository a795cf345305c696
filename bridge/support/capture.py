"""A device asked anew for all that the bridge ever reads of it, kept as it was sent.

Nothing is called that could change anything, and what fails is noted and costs only itself.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from bridge.errors import CommandError, DeviceError
from bridge.formats.bodies import octets, written
from bridge.formats.url import bracketed, host_of, split_url
from bridge.model import topics
from bridge.model.device import Description, Device, Service
from bridge.polling.plan import Plan
from bridge.upnp.gena.notify_server import Notify, NotifyServer
from bridge.upnp.http.client import HttpClient, local_address_towards
from bridge.upnp.http.http1 import RawMessage, read_head
from bridge.upnp.soap import envelope
from bridge.upnp.ssdp import message as ssdp

MAX_BYTES = 1024 * 1024
"""The most bytes of messages that a capture of one device has; then the rest is left out."""
MAX_S = 60.0
MAX_SERVICES = 64
MAX_QUESTIONS = 64
_REQUEST_S = 10.0
_FAREWELL_S = 2.0
_SSDP_S = 2.0
_SUBSCRIBED_S = 60
_MAX_ANNOUNCEMENTS = 64

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manner:
    """How devices are asked.

    `events_s` is how long the first event of each service may take, `request_s` how long an answer.
    At most `max_bytes` of messages are kept; the rest is left out.
    """

    plan: Plan
    callback_host: str | None = None
    callback_port: int = 0
    events_s: float = 5.0
    request_s: float = _REQUEST_S
    max_bytes: int = MAX_BYTES


async def capture(location: str, description: Description | None, manner: Manner) -> Document:
    """Return what a device sends, as a document; takes 60 s at most and never raises DeviceError.

    Without a description there is only what its LOCATION answers. Raises ConfigError where the
    callback port is taken.
    """
    captured = _Capture(location, description, manner)
    try:
        async with asyncio.timeout(MAX_S):
            await captured.take()
    except TimeoutError:
        captured.failures.append(f"not all was asked within {MAX_S:.0f} s")
    return captured.document()


class _Capture:
    """One capture; `document` is what has come so far."""

    def __init__(self, location: str, description: Description | None, manner: Manner) -> None:
        self._location = location
        self._description = description
        self._manner = manner
        self._client = HttpClient()
        self._left_bytes = manner.max_bytes
        self._root: Document | None = None
        self._scpds: list[Document] = []
        self._events: list[Document] = []
        self._answers: list[Document] = []
        self._announcements: list[object] = []
        self.failures: list[str] = []

    def document(self) -> Document:
        """Return what has come so far."""
        found = self._description
        return {
            "id": topics.device_id(found.udn) if found else None,
            "location": self._location,
            "server": found.server if found else None,
            "description": self._root,
            "scpds": self._scpds,
            "events": self._events,
            "answers": self._answers,
            "announcements": self._announcements,
            "failures": self.failures,
        }

    async def take(self) -> None:
        """Ask for everything, one HTTP request at a time."""
        if came := await self._ask("description", "GET", self._location):
            self._root = {"request": came[0], **came[1]}
        if self._description is None:
            return
        services = [
            (device, service)
            for device in self._description.device.walk()
            for service in device.services
        ]
        if len(services) > MAX_SERVICES:
            self.failures.append(f"{len(services)} services: {MAX_SERVICES} were asked")
        services = services[:MAX_SERVICES]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_announcements(), name="upnp.capture.search")
            await self._take_scpds(services)
            await self._take_events(services)
            await self._take_answers(services)

    async def _take_scpds(self, services: list[tuple[Device, Service]]) -> None:
        users: dict[str, list[str]] = {}
        for device, service in services:
            if service.scpd_url:
                users.setdefault(service.scpd_url, []).append(_id(device, service))
        for url, ids in users.items():
            if came := await self._ask(f"SCPD of {ids[0]}", "GET", url):
                self._scpds.append({"services": ids, "url": url, **came[1]})

    async def _take_events(self, services: list[tuple[Device, Service]]) -> None:
        turn = asyncio.Lock()
        async with (
            NotifyServer(None, self._manner.callback_port, keeps_heads=True) as server,
            asyncio.TaskGroup() as tasks,
        ):
            for device, service in services:
                if service.event_url:
                    own = _id(device, service)
                    tasks.create_task(
                        self._take_event(own, service, server, turn), name=f"upnp.capture[{own}]"
                    )

    async def _take_event(
        self, own: str, service: Service, server: NotifyServer, turn: asyncio.Lock
    ) -> None:
        url = service.event_url or ""
        heard = asyncio.Event()
        row: Document = {"service": own, "subscribe": None, "notify": [], "unsubscribe": None}
        self._events.append(row)

        def take(came: Notify) -> bool:
            # The path is a secret of this machine.
            head = came.head.replace(path[1:].encode(), service.level.encode())
            row["notify"] += self._kept(f"event of {own}", RawMessage(head, came.body))
            heard.set()
            return True

        path = server.open(take)
        try:
            async with turn:
                headers = {
                    "CALLBACK": await self._callback(url, f"{server.port}{path}"),
                    "NT": "upnp:event",
                    "TIMEOUT": f"Second-{_SUBSCRIBED_S}",
                }
                came = await self._ask(f"SUBSCRIBE to {own}", "SUBSCRIBE", url, headers)
            row["subscribe"] = came and came[1]
            sid = _header(octets(came[1]["head"]), "sid") if came else ""
            if not sid:
                return
            try:
                await asyncio.wait_for(heard.wait(), self._manner.events_s)
            except TimeoutError:
                self.failures.append(
                    f"event of {own}: none within {self._manner.events_s:g} s at TCP port "
                    f"{server.port}, which a firewall may have kept out"
                )
            finally:
                came = await self._ask(f"UNSUBSCRIBE from {own}", "UNSUBSCRIBE", url, {"SID": sid})
                row["unsubscribe"] = came and came[1]
        finally:
            server.close(path)

    async def _callback(self, url: str, port_and_path: str) -> str:
        address = split_url(url)
        try:
            host = self._manner.callback_host or await local_address_towards(
                address.host, address.port
            )
        except DeviceError as error:
            self.failures.append(f"callback: {error}")
            host = "127.0.0.1"
        return f"<http://{bracketed(host)}:{port_and_path}>"

    async def _take_answers(self, services: list[tuple[Device, Service]]) -> None:
        questions = [
            (device, service, question)
            for device, service in services
            for question in self._manner.plan.questions(topics.device_id(device.udn), service)
            if service.control_url
        ]
        for device, service, question in questions[:MAX_QUESTIONS]:
            name = question.action.name
            try:
                body = envelope(service.service_type, name, question.arguments)
            except CommandError as error:
                self.failures.append(f"{name} of {_id(device, service)}: {error}")
                continue
            came = await self._ask(
                f"{name} of {_id(device, service)}",
                "POST",
                service.control_url,
                {
                    "CONTENT-TYPE": 'text/xml; charset="utf-8"',
                    "SOAPACTION": f'"{service.service_type}#{name}"',
                },
                body,
            )
            if came:
                self._answers.append(
                    {
                        "service": _id(device, service),
                        "action": name,
                        "request": came[0],
                        "answer": came[1],
                    }
                )

    async def _take_announcements(self) -> None:
        """Search the device alone (UDA 2.0, section 1.3.2); many know only multicast searches."""
        host = host_of(self._location)
        datagrams: list[bytes] = []
        try:
            async with _searching(host, datagrams) as search:
                search("ssdp:all")
                await asyncio.sleep(_SSDP_S)
        except OSError as error:
            self.failures.append(f"M-SEARCH: {error}")
        self._announcements = [written(one) for one in dict.fromkeys(datagrams)]
        if not datagrams:
            self.failures.append("M-SEARCH to the device alone: no answer")

    async def _ask(
        self,
        what: str,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[Document, Document] | None:
        """Return a request and its answer; None where there is none, which is noted."""
        timeout_s = _FAREWELL_S if method == "UNSUBSCRIBE" else self._manner.request_s
        try:
            sent, came = await self._client.exchange_raw(
                method,
                url,
                headers=tuple((headers or {}).items()),
                body=body,
                timeout_s=timeout_s,
                max_bytes=max(1, self._left_bytes),
            )
        except DeviceError as error:
            self.failures.append(f"{what}: {error}")
            return None
        kept = self._kept(what, came)
        return (_message(sent), kept[0]) if kept else None

    def _kept(self, what: str, came: RawMessage) -> list[Document]:
        """Return a message as a document, in a list that is empty where there is no more room."""
        self._left_bytes -= len(came.head) + len(came.body)
        if came.cut:
            self.failures.append(f"{what}: {came.cut}")
        if self._left_bytes < 0:
            self.failures.append(
                f"{what}: left out, the capture is over {self._manner.max_bytes} bytes"
            )
            return []
        return [_message(came)]


@asynccontextmanager
async def _searching(host: str, datagrams: list[bytes]) -> AsyncIterator[Callable[[str], None]]:
    """Yield what sends an M-SEARCH to a host; its answers are added to `datagrams`."""

    class Answers(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _: object) -> None:
            if len(datagrams) < _MAX_ANNOUNCEMENTS:
                datagrams.append(data)

    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    transport, _ = await loop.create_datagram_endpoint(Answers, family=family, local_addr=None)
    try:
        target = await loop.getaddrinfo(host, ssdp.PORT, family=family, type=socket.SOCK_DGRAM)
        yield lambda wanted: transport.sendto(ssdp.search(wanted, host=host, mx_s=1), target[0][4])
    finally:
        transport.close()


def _message(raw: RawMessage) -> Document:
    return {"head": written(raw.head), "body": written(raw.body)}


def _id(device: Device, service: Service) -> str:
    return topics.service_id(topics.device_id(device.udn), service.level)


def _header(head: bytes, name: str) -> str:
    try:
        return read_head(head).headers.get(name, "")
    except ValueError:
        return ""
