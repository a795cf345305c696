"""A model of the network between one bridge after another and its devices."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from bridge.errors import BadResponse, DeviceTimeout, DeviceUnreachable
from bridge.upnp.gena.multicast import MulticastEvents
from bridge.upnp.gena.notify_server import Notify, NotifyServer
from bridge.upnp.http.client import HttpClient, Response
from bridge.upnp.ssdp import message as ssdp
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.search import Discovery, Sender
from tests.simulation.devices import SERVER, Device, Request, Subscriber
from tests.simulation.loop import Loop

HERE = "10.0.0.2"
CALLBACK_PORT = 8098
_CONNECT_S = 5.0
_SEARCH_PAUSES_S = (0.0, 0.6, 0.6)


@dataclass(slots=True)
class Weather:
    """What the network does to what passes: shares of 1, and seconds."""

    datagram_loss: float = 0.0
    datagram_repeat: float = 0.0
    event_loss: float = 0.0
    event_disorder: float = 0.0
    request_loss: float = 0.0
    answer_loss: float = 0.0
    slow_s: float = 0.0
    is_cut: bool = False


@dataclass(eq=False)
class Network:
    """The devices by address, and the bridge that stands among them now."""

    loop: Loop
    devices: list[Device] = field(default_factory=list)
    weather: Weather = field(default_factory=Weather)
    interface_index: int = 2
    discovery: "ModelDiscovery | None" = None
    notify: "ModelNotify | None" = None
    lost_events: int = 0

    @property
    def interface(self) -> Interface:
        own = IPv4Interface(f"{HERE}/24")
        return Interface("lan", self.interface_index, (own,), (), is_loopback=False)

    def at(self, host: str, port: int) -> Device | None:
        """The device that is up at an address."""
        return next(
            (one for one in self.devices if one.is_up and (one.host, one.port) == (host, port)),
            None,
        )

    # SSDP

    def announce(self, device: Device, nts: str, *, udn: str | None = None, **more: str) -> None:
        """Send one announcement; `udn` is another's where the device lies."""
        self._datagram(
            _notify(device, nts, udn or device.udn, more | self._drawn(device)), device.host
        )

    def search(self) -> None:
        """Have all devices answer a search."""
        for device in self.devices:
            if device.is_up:
                self._datagram(_answer(device, self._drawn(device)), device.host, within_s=0.8)

    def _drawn(self, device: Device) -> dict[str, str]:
        """What an announcement says besides what is true."""
        return {"BOOTID.UPNP.ORG": str(self.loop.rng.getrandbits(30))} if device.draws else {}

    def _datagram(self, datagram: bytes, source: str, within_s: float = 0.02) -> None:
        rng, weather = self.loop.rng, self.weather
        times = 1 + (rng.random() < weather.datagram_repeat)
        for _ in range(times):
            if rng.random() >= weather.datagram_loss:
                late_s = rng.random() * within_s + weather.slow_s * rng.random()
                self.loop.call_later(late_s, self._arrive, datagram, source)

    def _arrive(self, datagram: bytes, source: str) -> None:
        if self.discovery is not None and not self.weather.is_cut:
            announcement = ssdp.decode(datagram)
            assert announcement is not None
            self.discovery.tell(announcement, Sender(ip_address(source), self.interface))

    # GENA

    def send(self, device: Device, subscriber: Subscriber, body: bytes) -> None:
        """Send an event to where its subscriber wants it; it may get lost or be overtaken."""
        seq, subscriber.seq = subscriber.seq, subscriber.seq + 1
        rng, weather = self.loop.rng, self.weather
        if rng.random() < weather.event_loss:
            self.lost_events += 1
            return
        late_s = 0.01 + (rng.random() * 2 if rng.random() < weather.event_disorder else 0)
        self.loop.call_later(late_s, self._event, device, subscriber, seq, body)

    def _event(self, device: Device, subscriber: Subscriber, seq: int, body: bytes) -> None:
        server = self.notify
        if server is None or self.weather.is_cut:
            self.lost_events += 1
            return
        token = urlsplit(subscriber.callback).path.removeprefix("/")
        receive = server.receivers.get(token)
        if receive is not None:
            receive(Notify(subscriber.sid, seq, body, device.host))

    # HTTP

    async def exchange(self, host: str, port: int, request: Request, timeout_s: float) -> Response:
        """Carry a request to a device and its answer back; raises as a client does."""
        rng, weather = self.loop.rng, self.weather
        await asyncio.sleep(0.001 + rng.random() * 0.01)
        device = self.at(host, port)
        if device is None or weather.is_cut:
            # A host that is up refuses at once, one that is not is silent.
            await asyncio.sleep(min(rng.choice((0.001, _CONNECT_S)), timeout_s))
            raise DeviceUnreachable("no connection")
        life = device.life
        if rng.random() < weather.request_loss:
            await asyncio.sleep(timeout_s)
            raise DeviceTimeout("the request was lost")
        await asyncio.sleep(rng.random() * 0.01)
        if not device.is_up or device.life != life:
            raise BadResponse("closed without an answer")
        answer = device.answer(request, self.loop.time(), rng)
        if rng.random() < weather.answer_loss:
            await asyncio.sleep(timeout_s)
            raise DeviceTimeout("the answer was lost")
        late_s = rng.random() * 0.02 + weather.slow_s * rng.random()
        if late_s > timeout_s:
            await asyncio.sleep(timeout_s)
            raise DeviceTimeout("the answer was slow")
        await asyncio.sleep(late_s)
        return answer


def _notify(device: Device, nts: str, udn: str, more: dict[str, str]) -> bytes:
    usn = f"uuid:{udn}::upnp:rootdevice"
    head = {"HOST": "239.255.255.250:1900", "NT": "upnp:rootdevice", "NTS": nts, "USN": usn}
    return _text("NOTIFY * HTTP/1.1", head | _facts(device) | more)


def _answer(device: Device, more: dict[str, str]) -> bytes:
    head = {"ST": "upnp:rootdevice", "USN": f"uuid:{device.udn}::upnp:rootdevice", "EXT": ""}
    return _text("HTTP/1.1 200 OK", head | _facts(device) | more)


def _facts(device: Device) -> dict[str, str]:
    facts = {
        "LOCATION": device.location,
        "SERVER": SERVER,
        "CACHE-CONTROL": f"max-age={device.max_age_s}",
    }
    if not device.is_bare:
        facts |= {
            "BOOTID.UPNP.ORG": str(device.boot_id),
            "CONFIGID.UPNP.ORG": str(device.config_id),
        }
    return facts


def _text(start: str, head: dict[str, str]) -> bytes:
    lines = (start, *(f"{name}: {value}" for name, value in head.items()), "", "")
    return "\r\n".join(lines).encode()


class ModelDiscovery(Discovery):
    """Discovery without sockets: hears what the network has it told, and has it searched."""

    def __init__(self, network: Network, heard: Callable[..., None], **options: Any) -> None:
        super().__init__(heard, **options)
        self._network = network
        self._due = asyncio.Event()

    def tell(self, announcement: ssdp.Announcement, arrival: Sender) -> None:
        self._heard(announcement, arrival)

    def follow(self, present: Sequence[Interface]) -> None:
        """Take that interfaces came or went."""
        self._on_interfaces(tuple(present))

    def search(self) -> None:
        self._due.set()

    async def run(self) -> None:
        self._network.discovery = self
        self.follow([self._network.interface])
        try:
            while True:
                self._due.clear()
                for pause_s in _SEARCH_PAUSES_S:
                    await asyncio.sleep(pause_s)
                    if not self._network.weather.is_cut:
                        self._network.search()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._search_interval_s):
                        await self._due.wait()
        finally:
            if self._network.discovery is self:
                self._network.discovery = None


class ModelClient(HttpClient):
    """The HTTP client of one life of the bridge; `is_dead` tells whether that has ended."""

    def __init__(self, network: Network, is_dead: Callable[[], bool]) -> None:
        super().__init__()
        self._network = network
        self._is_dead = is_dead

    async def request(  # noqa: PLR0913 - as its base
        self,
        method: str,
        url: str,
        *,
        headers: Any = (),
        body: bytes = b"",
        timeout_s: float,
        max_bytes: int = 2 * 1024 * 1024,
        is_text: bool = True,  # noqa: ARG002 - as it came
    ) -> Response:
        if self._is_dead():
            raise DeviceUnreachable("dead")
        where = urlsplit(url)
        wanted = Request(method, where.path, dict(headers), body)
        response = await self._network.exchange(
            where.hostname or "", where.port or 80, wanted, timeout_s
        )
        assert len(response.body) <= max_bytes
        return response


class ModelNotify(NotifyServer):
    """The paths that events come to, without a socket."""

    def __init__(self, network: Network) -> None:
        super().__init__(None, CALLBACK_PORT)
        self._network = network

    async def __aenter__(self) -> Self:
        self._network.notify = self
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._network.notify is self:
            self._network.notify = None


class Deaf(MulticastEvents):
    """Multicast eventing without a socket."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
