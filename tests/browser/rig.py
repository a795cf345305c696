"""A broker, devices and a bridge whose page is looked at."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from tests.adapter.bridge import Onlooker, Program, clean_environment, flags, onlooking, program
from tests.adapter.device import new_address
from tests.adapter.mosquitto import PATIENCE_S, Running, free_port, mosquitto, until

RENDERER = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11b1"
SERVER = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11c1"
LIGHT = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11a1"
ROUTER = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11d1"
DEMO = {
    RENDERER: "Demo Renderer",
    SERVER: "Demo Media Server",
    LIGHT: "Demo Light",
    ROUTER: "Demo Router",
}
"""The names of the simulated devices, by their ids."""


class HasPage(Protocol):
    """A bridge whose page is at `url`."""

    url: str


class Rig:
    """A bridge, with its page at `url`, and what is published at its broker."""

    def __init__(self, broker: Running, onlooker: Onlooker, settings: dict[str, str]) -> None:
        self.broker = broker
        self.onlooker = onlooker
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings['http.port']}"
        self._stack = AsyncExitStack()
        self._program: Program | None = None

    async def start(self) -> None:
        """Start the bridge, and wait until its tree is whole."""
        self._program = await self._stack.enter_async_context(program(self.settings))
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            while not await _is_ready(session, f"{self.url}/readyz"):
                assert self._program.process.returncode is None, self._program.lines[-5:]
                await asyncio.sleep(0.05)

    async def await_devices(self, *udns: str) -> None:
        """Wait until these devices are online, and their first events have come."""
        await until(lambda: all(self.text(f"{udn}/availability") == "online" for udn in udns))

    async def kill(self) -> None:
        """End the bridge without a word."""
        assert self._program
        self._program.process.kill()
        await self._stack.aclose()

    async def close(self) -> None:
        """End the bridge."""
        await self._stack.aclose()

    def text(self, own: str) -> str:
        """Return what is retained at `upnp/<own>`, "" where nothing is."""
        return self.onlooker.held.get(f"upnp/{own}", b"").decode()

    def document(self, own: str) -> dict[str, Any]:
        """Return the JSON at `upnp/<own>`, an empty document where nothing is."""
        return dict(json.loads(self.text(own) or "{}"))

    async def ask(self, udn: str, action: str, **args: object) -> dict[str, Any]:
        """Call an action as another client of the API does, and return its out-arguments."""
        body = {"id": udn, "action": action, "args": args}
        return dict((await self._post("call", body))["out"])

    async def request(self, verb: str, **body: object) -> None:
        """Have the bridge carry out a verb."""
        await self._post(f"request/{verb}", body)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/api/{path}"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            answer = await response.json()
        assert answer["success"], answer
        return dict(answer)


@asynccontextmanager
async def rig(directory: Path, *names: str, **more: str) -> AsyncIterator[Rig]:
    """Have a bridge that sees only devices of these names until the context ends."""
    more = {"http__port": str(free_port()), "upnp__poll_interval": "5", **more}
    async with mosquitto(directory) as broker:
        with onlooking(broker.port) as onlooker:
            made = Rig(broker, onlooker, flags(broker.port, *names, **more))
            try:
                await made.start()
                yield made
            finally:
                await made.close()


@asynccontextmanager
async def demonstration() -> AsyncIterator[None]:
    """Have the simulated devices until the context ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge.demo", "--quiet", new_address()), env=clean_environment()
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
