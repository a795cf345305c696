"""The whole bridge, in this process or as one of its own, and an onlooker at the broker."""

import asyncio
import itertools
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge import app, settings
from bridge.runtime import Adapters, Timing
from tests.adapter.device import EVENTS_TO
from tests.adapter.mosquitto import PATIENCE_S, until

_HURRIED = Timing(first_round_s=0.5, first_events_s=0.4)
_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(frozen=True)
class Seen:
    """A message as an onlooker got it; `retain` is the flag that it was published with."""

    topic: str
    payload: bytes
    retain: bool
    properties: Any
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Onlooker:
    """A client of the broker that sees every message, and what is retained."""

    def __init__(
        self, port: int, *, protocol: int, username: str | None, password: str | None
    ) -> None:
        self.is_5 = protocol == paho.MQTTv5
        self.messages: list[Seen] = []
        self.held: dict[str, bytes] = {}
        self._ids = itertools.count(1)
        self._name = uuid.uuid4().hex[:8]
        self._subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion(protocol)
        )
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.on_socket_open = _hurry
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def _connected(self, client: paho.Client, *_: object) -> None:
        if self.is_5:
            client.subscribe("#", options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            client.subscribe("#", 1)

    def _message(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        properties = message.properties if self.is_5 else None
        seen = Seen(message.topic, payload, message.retain, properties, time.monotonic())
        self.messages.append(seen)
        if message.retain:
            if payload:
                self.held[message.topic] = payload
            else:
                self.held.pop(message.topic, None)

    def publish(
        self,
        topic: str,
        payload: bytes | str | dict[str, Any],
        *,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publish; a dictionary goes as JSON."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        properties = None
        if self.is_5:
            properties = Properties(PacketTypes.PUBLISH)
            if response_topic is not None:
                properties.ResponseTopic = response_topic
            if correlation is not None:
                properties.CorrelationData = correlation
        self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def since(self, mark: int, *ends: str) -> list[Seen]:
        """Return what came after the first `mark` messages, on topics with one of these ends."""
        return [one for one in self.messages[mark:] if not ends or one.topic.endswith(ends)]

    def settle(self) -> None:
        """Wait until all that was published before, by anyone, has come."""
        marker = f"settle/{uuid.uuid4()}"
        self._client.publish(marker, b"", qos=1)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if any(one.topic == marker for one in self.messages[-50:]):
                return
            time.sleep(0.01)
        raise AssertionError("the broker is silent")

    def new_id(self) -> str:
        return f"call-{self._name}-{next(self._ids)}"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _hurry(_: object, __: object, sock: Any) -> None:
    sock.setsockopt(*_NO_DELAY)


@contextmanager
def onlooking(
    port: int,
    *,
    protocol: int = paho.MQTTv5,
    username: str | None = None,
    password: str | None = None,
) -> Iterator[Onlooker]:
    """An onlooker that stays until the context ends."""
    onlooker = Onlooker(port, protocol=protocol, username=username, password=password)
    try:
        yield onlooker
    finally:
        onlooker.close()


class Caller:
    """Sends commands to a bridge and holds it to one answer each."""

    def __init__(self, onlooker: Onlooker, base: str = "upnp", instance: str = "main") -> None:
        self.onlooker = onlooker
        self.base = base
        self.instance = instance

    async def fence(self) -> None:
        """Wait until the bridge has answered all that it answers at once."""
        callid = self.onlooker.new_id()
        own = f"{self.base}/bridge/{self.instance}"
        self.onlooker.publish(f"{own}/request/no_such_verb", {"callid": callid})
        await self.answer(callid)

    async def answer(self, callid: object, limit_s: float = PATIENCE_S) -> Any:
        """Wait for the answer with a callid, and return it."""

        def found() -> list[Any]:
            return [
                one.json
                for one in self.onlooker.messages
                if "response" in one.topic and b'"callid":' in one.payload
                if one.json.get("callid") == callid and "success" in one.json
            ]

        await until(found, limit_s)
        return found()[0]

    async def send(
        self,
        topic: str,
        payload: bytes | str | dict[str, Any],
        *,
        on: str,
        limit_s: float = PATIENCE_S,
        **more: Any,
    ) -> Any:
        """Publish a command, return its answer on `on`, and assert that it is the only one."""
        mark = len(self.onlooker.messages)
        self.onlooker.publish(f"{self.base}/{topic}", payload, **more)
        wanted = f"{self.base}/{on}"

        def answers() -> list[Seen]:
            return [one for one in self.onlooker.messages[mark:] if one.topic == wanted]

        await until(answers, limit_s)
        await self.fence()
        (one,) = answers()
        assert not one.retain
        return one.json

    async def call(self, udn: str, body: dict[str, Any], **more: Any) -> Any:
        """Call an action by `<udn>/call`."""
        return await self.send(f"{udn}/call", body, on=f"{udn.lower()}/response", **more)


@dataclass
class Running:
    """A bridge that runs in this process."""

    bridge: app.Bridge
    task: asyncio.Task[None]
    stop_event: asyncio.Event

    async def stop(self) -> None:
        """End it in order."""
        self.stop_event.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


def flags(port: int, *names: str, **more: str) -> dict[str, str]:
    """Return settings for a bridge that sees only devices of these names; `__` stands for a dot.

    It asks devices for nothing, so that what they are asked for is what a test asks for.
    """
    return {
        "mqtt.url": f"mqtt://127.0.0.1:{port}",
        "upnp.interfaces": "lo",
        "upnp.callback_host": EVENTS_TO,
        "upnp.callback_port": "0",
        "http.port": "0",
        "upnp.poll_interval": "0",
        "upnp.allow": json.dumps(names),
    } | {name.replace("__", "."): text for name, text in more.items()}


@asynccontextmanager
async def bridging(chosen: Mapping[str, str]) -> AsyncIterator[Running]:
    """A bridge in this process, from `online` until the context ends; its first round is short."""
    bridge, stop = app.Bridge(settings.load(chosen), Adapters(timing=_HURRIED)), asyncio.Event()
    running = Running(bridge, asyncio.create_task(bridge.run(stop)), stop)
    try:
        await until(lambda: bridge.online.is_set() or running.task.done(), PATIENCE_S)
        yield running
    finally:
        await running.stop()


@dataclass
class Program:
    """The bridge as a process of its own."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]]

    @property
    def arguments(self) -> bytes:
        """What every user of the machine can read of it."""
        return Path(f"/proc/{self.process.pid}/cmdline").read_bytes()

    async def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def program(
    chosen: Mapping[str, str], *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """`python -m bridge` with these settings as flags, killed at the end if it still runs."""
    words = [word for name, text in chosen.items() for word in (f"--{name}", text)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        *words,
        stderr=asyncio.subprocess.PIPE,
        env={**clean_environment(), **(environment or {})},
    )
    lines: list[dict[str, Any]] = []

    async def read() -> None:
        assert process.stderr
        async for line in process.stderr:
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"event": line.decode()})

    reading = asyncio.create_task(read())
    try:
        yield Program(process, lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


@dataclass(frozen=True)
class Ended:
    """A command that has ended, and what it wrote."""

    status: int
    out: str
    err: str


async def run(
    *words: str,
    program: tuple[str, ...] = (sys.executable, "-m", "bridge"),
    directory: Path | None = None,
    limit_s: float = PATIENCE_S,
    **environment: str,
) -> Ended:
    """Run a command to its end, in an environment without other settings of the bridge."""
    process = await asyncio.create_subprocess_exec(
        *program,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory or "/",
        env={**clean_environment(), **environment},
    )
    async with asyncio.timeout(limit_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of the bridge."""
    root = str(Path(__file__).parents[2])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_")}
    return {**kept, "PYTHONPATH": root}


async def said(
    onlooker: Onlooker, wanted: Callable[[Seen], bool], limit_s: float = PATIENCE_S
) -> Seen:
    """Wait for a message, and return it."""
    await until(lambda: any(wanted(one) for one in tuple(onlooker.messages)), limit_s)
    return next(one for one in onlooker.messages if wanted(one))
