"""A real mosquitto with the configuration that a test asks for, on loopback."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.mqtt.session import Session, Source
from bridge.mqtt.url import BrokerOptions, Endpoint, parse_url
from bridge.tree.messages import Publication

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
WEBSOCKETS = ("listener {websockets} 127.0.0.1", "protocol websockets")
"""A second listener: mosquitto 2.0.11 does not start with websockets alone."""
STOCK = ("allow_anonymous true",)
"""For ACLs too: with max_queued_messages 0, mosquitto 2.0.11 hangs up on a denied publication."""
BASIC = ("allow_anonymous true", "max_queued_messages 0", "set_tcp_nodelay true")
PLUGIN = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
"""Refuses subscriptions, which an access list in a file does not: it only passes nothing on."""
PATIENCE_S = 60.0
"""How long something may take that takes a moment where the machine has little else to do."""
WILL = Publication("up/bridge/state", b"offline")

with_plugin = pytest.mark.skipif(
    PLUGIN is None, reason="this mosquitto is built without its plugin for dynamic security"
)


class Running:
    """A mosquitto that runs."""

    def __init__(self, port: int, websockets: int, process: asyncio.subprocess.Process) -> None:
        self.port = port
        self.websockets = websockets
        self.process = process

    @property
    def endpoint(self) -> Endpoint:
        return parse_url(f"mqtt://127.0.0.1:{self.port}")

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def mosquitto(
    directory: Path, *lines: str, port: int = 0, listener: str = "{port} 127.0.0.1"
) -> AsyncIterator[Running]:
    """Run mosquitto until the context ends; another port where the first one is taken."""
    for _ in range(5):
        running = await _started(directory, lines or BASIC, port or free_port(), listener)
        if running:
            break
    else:
        raise AssertionError("mosquitto does not start")
    try:
        yield running
    finally:
        await running.kill()


def only(directory: Path, user: str, password: str) -> tuple[str, ...]:
    """Return what lets only this user in; the file with its password is made here."""
    file = directory / "passwords"
    command = ("mosquitto_passwd", "-c", "-b", str(file), user, password)
    subprocess.run(command, check=True, capture_output=True)
    file.chmod(0o644)
    return f"password_file {file}", "allow_anonymous false"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def _started(
    directory: Path, lines: tuple[str, ...], port: int, listener: str
) -> Running | None:
    assert MOSQUITTO, "these tests need mosquitto"
    user = ("user root",) if os.geteuid() == 0 else ()
    websockets = free_port()
    wanted = (f"listener {listener}", "log_dest stderr", *user, *lines)
    text = "\n".join(wanted).format(port=port, websockets=websockets)
    file = directory / f"mosquitto-{port}.conf"
    file.write_text(text + "\n")
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(file), stderr=asyncio.subprocess.PIPE
    )
    running = Running(port, websockets, process)
    assert process.stderr
    async with asyncio.timeout(PATIENCE_S):
        while line := await process.stderr.readline():
            if line.rstrip().endswith(b" running"):
                return running
    await running.kill()
    return None


async def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.01)


class Queue:
    """A source: a plain list."""

    def __init__(self, *publications: Publication) -> None:
        self.waiting = list(publications)

    has_bulk = False

    def take(self, *, in_bulk: bool = True, steps: int = 0) -> Publication | None:  # noqa: ARG002 - as sources have it
        return self.waiting.pop(0) if self.waiting else None


def options(*endpoints: Endpoint, **more: Any) -> BrokerOptions:
    return BrokerOptions(endpoints=endpoints, **{"client_id": "bridge", **more})


@asynccontextmanager
async def connected(
    endpoint: Endpoint,
    source: Source | None = None,
    protocol: Any = "5",
    *,
    limit_s: float = 30.0,
    acknowledge_s: float = 60.0,
    **more: Any,
) -> AsyncIterator[Session]:
    """A session that is closed at the end."""
    session = await Session.open(
        endpoint,
        options(endpoint, **more),
        WILL,
        source or Queue(),
        protocol=protocol,
        limit_s=limit_s,
        acknowledge_s=acknowledge_s,
    )
    try:
        yield session
    finally:
        await session.close()


async def retained(endpoint: Endpoint, topic_filter: str = "up/#") -> dict[str, bytes]:
    """What a broker holds under a filter, seen by another client."""
    held: dict[str, bytes] = {}
    async with connected(endpoint, client_id="onlooker") as session:
        await session.read_retained(
            [[topic_filter]],
            held.__setitem__,
            marker_topic=topic_filter.replace("#", "marker"),
            quiet_s=0.05,
        )
    return held
