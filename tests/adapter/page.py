"""A whole bridge with its page, and who opens that."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from bridge.web.pictures import Pictures
from tests.adapter.bridge import Caller, bridging, flags, onlooking
from tests.adapter.bridge import Running as RunningBridge
from tests.adapter.device import Action, Device, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import PATIENCE_S, Running, free_port, mosquitto

MEMBERS = (
    Action("GetV", ("out V:V",)),
    Action("SetV", ("in V:V",)),
    Variable("V"),
    Variable("W"),
)


class Socket:
    """A WebSocket of the page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    @property
    def transport(self) -> Any:
        connection: Any = self.socket._response.connection
        return connection.transport

    async def send(self, **frame: object) -> None:
        await self.socket.send_json(frame)

    async def next(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await self.socket.receive_json()

    async def watch(self, *filters: str) -> dict[str, str]:
        """Watch, and return what stands there."""
        await self.send(watch=list(filters))
        found: dict[str, str] = {}
        while "watched" not in (frame := await self.next()):
            assert frame["retain"] is True
            assert frame["topic"] not in found
            found[frame["topic"]] = frame["payload"]
        assert frame == {"watched": list(filters)}
        return found

    async def of(self, topic: str) -> Any:
        """Return the next frame of a topic; others are passed over."""
        while (frame := await self.next()).get("topic") != topic:
            pass
        return frame


@dataclass
class World:
    """A device, a bridge with a page, and a broker."""

    port: int
    device: Device
    bridge: RunningBridge
    broker: Running
    caller: Caller

    @property
    def pictures(self) -> Pictures:
        """What has the pictures of devices."""
        return self.bridge.bridge._page.pictures

    @property
    def id(self) -> str:
        return self.device.root.udn

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def get(self, path: str, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return (await self.ask("POST", path, data=data, headers=headers))[:2]

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], data: bytes | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, f"{self.url}{path}", data=data, headers=named) as answer,
        ):
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text, answer.headers

    @asynccontextmanager
    async def socket(self, **headers: str) -> AsyncIterator[Socket]:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{self.url}/api/ws", headers=named) as socket,
        ):
            yield Socket(socket)


@asynccontextmanager
async def page(
    directory: Any, *services: Service, more_xml: str = "", **more: str
) -> AsyncIterator[World]:
    """A bridge with a page for one device, of these services; further settings by name."""
    name, port = f"page-{new_udn()}", free_port()
    services = services or (Service("One", MEMBERS, {"V": "1", "W": "a"}),)
    async with (
        mosquitto(directory) as broker,
        running(Part(new_udn(), name, services, more=more_xml)) as device,
        bridging(flags(broker.port, name, http__port=str(port), **more)) as bridge,
    ):
        with onlooking(broker.port) as onlooker:
            yield World(port, device, bridge, broker, Caller(onlooker))
