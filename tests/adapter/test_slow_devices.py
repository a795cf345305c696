"""Devices that drip or hang, on real sockets: they wait for each other, and nobody for them."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from bridge.model.device import Description
from bridge.upnp.description.fetch import Describer
from bridge.upnp.http.client import HttpClient
from bridge.upnp.presence import Reason, checks
from bridge.upnp.presence.directory import Directory
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.message import Announcement, Kind
from bridge.upnp.ssdp.search import Sender

LOOPBACK = Interface("lo", 1, (ipaddress.IPv4Interface("127.0.0.1/8"),), (), is_loopback=True)
MANY = 60
PROMPT_S = 8.0
"""Five, and some for a machine that has other work; a document may take ten."""
_DRIP_S = 1.0
SCPD = (
    "<scpd><serviceStateTable><stateVariable><name>V</name><dataType>string</dataType>"
    "</stateVariable></serviceStateTable></scpd>"
)


def description(udn: str, scpd: str) -> str:
    return (
        f"<root><device><deviceType>urn:x:device:T:1</deviceType><friendlyName>{udn}</friendlyName>"
        f"<UDN>uuid:{udn}</UDN><serviceList><service><serviceType>urn:x:service:S:1</serviceType>"
        f"<serviceId>urn:x:serviceId:S</serviceId><SCPDURL>/{scpd}</SCPDURL><controlURL>/c"
        "</controlURL><eventSubURL/></service></serviceList></device></root>"
    )


@dataclass
class Servers:
    """One server that is many hosts: what is asked for says how it answers, and as whom."""

    port: int = 0
    open: int = 0
    most: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                await self.answer(head.split()[1].decode().strip("/"), writer)
        finally:
            self.open -= 1
            writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        udn, _, manner = path.partition(".")
        scpd = "x.dripping" if manner == "scpd" else "x.prompt"
        body = (SCPD if udn == "x" else description(udn, scpd)).encode()
        if manner == "hanging":
            await asyncio.sleep(3600)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        if manner != "dripping":
            writer.write(body)
            return
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(_DRIP_S)


@dataclass
class Scene:
    servers: Servers
    directory: Directory
    joined: set[str]
    tasks: list[asyncio.Task[None]]

    def heard(self, udn: str, host: str, manner: str) -> None:
        location = f"http://{host}:{self.servers.port}/{udn}.{manner}"
        target = "upnp:rootdevice"
        said = Announcement(Kind.ALIVE, udn, target, location, None, 1800, None, None, None, None)
        self.directory.heard(said, Sender(ipaddress.ip_address(host), LOOPBACK))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PROMPT_S):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    servers, joined = Servers(), set[str]()

    def join(found: Description, _: Reason) -> None:
        joined.add(found.udn)

    server = await asyncio.start_server(servers.connected, "0.0.0.0", 0, backlog=512)
    servers.port = server.sockets[0].getsockname()[1]
    directory = Directory(
        Describer(HttpClient()), on_joined=join, on_left=lambda udn, _: joined.discard(udn)
    )
    task = asyncio.create_task(directory.run())
    try:
        yield Scene(servers, directory, joined, [task])
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        server.close()
        for writer in servers.writers:
            writer.transport.abort()


@pytest.mark.parametrize("manner", ["dripping", "hanging", "scpd"])
@pytest.mark.parametrize("at_one_host", [False, True])
async def test_sixty_that_are_slow_keep_no_newcomer_waiting(manner, at_one_host):
    async with running() as scene:
        for number in range(MANY):
            host = "127.0.1.1" if at_one_host else f"127.0.1.{number + 1}"
            scene.heard(f"slow{number}", host, manner)
        scene.heard("newcomer", "127.0.1.1" if at_one_host else "127.0.2.1", "prompt")
        await scene.until(lambda: "newcomer" in scene.joined)
        assert scene.servers.most <= checks.MAX_CHECKS + checks.MAX_SLOW
        scene.heard("another", "127.0.2.2", "prompt")
        await scene.until(lambda: "another" in scene.joined)


async def test_a_device_of_which_one_document_drips_is_there_in_the_end():
    async with running() as scene:
        scene.heard("slow", "127.0.1.1", "scpd")
        scene.heard("newcomer", "127.0.1.1", "prompt")
        await scene.until(lambda: "newcomer" in scene.joined)
        async with asyncio.timeout(40):
            while "slow" not in scene.joined:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)
