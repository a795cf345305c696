"""The bridge's own HTTP port.

`/healthz` is 200 while the bridge works, `/readyz` while it is `online`; `/metrics` is for
Prometheus; all else is the page and its API.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from bridge.errors import cannot_listen
from bridge.formats.url import bracketed
from bridge.web.api import Api, Commands, Sources
from bridge.web.files import PageFiles
from bridge.web.guard import Access, Guard, document
from bridge.web.pictures import Pictures
from bridge.web.watching import Watching

MAX_CONNECTIONS: Final = 256
"""The most connections at once; further ones are ended."""
MAX_CONNECTIONS_PER_PEER: Final = 64
"""The most of one address, unless it is a trusted proxy's: nobody locks all others out."""

_SHUTDOWN_S = 0.5

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """What the page and its API are made of; `max_payload` are the most bytes of a command."""

    watching: Watching
    pictures: Pictures
    commands: Commands
    sources: Sources
    access: Access
    max_payload: int


@asynccontextmanager
async def serve(  # noqa: PLR0913 - most by name
    host: str,
    port: int,
    *,
    why_not_ready: Callable[[], str],
    health: Callable[[], Mapping[str, object]],
    metrics: Callable[[str], tuple[bytes, str]],
    page: Page,
) -> AsyncIterator[None]:
    """Listen while the context lasts; port 0 listens nowhere.

    `/healthz` and `/readyz` answer with the bridge's health as JSON, `/readyz` with status 503 and
    the `reason` in it where there is one.
    `metrics` makes the body and media type of `/metrics` from an `Accept` header.
    Raises ConfigError where the address or port cannot be had.
    """
    if not port:
        yield
        return

    async def healthz(_: web.Request) -> web.Response:
        return document(health())

    async def readyz(_: web.Request) -> web.Response:
        reason = why_not_ready()
        told = {"reason": reason, **health()} if reason else health()
        return document(told, status=503 if reason else 200)

    async def exposition(request: web.Request) -> web.Response:
        body, media_type = metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": media_type})

    guard = Guard(page.access, asyncio.get_running_loop().time)
    app = _application(page, guard)
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", exposition),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            listening = await _listen(runner, host, port, guard)
        except OSError as error:
            raise cannot_listen("http.", host, port, error) from error
        _log.info("page_listening", url=f"http://{bracketed(host)}:{port}{page.access.base_path}/")
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()


class _Door(asyncio.Protocol):
    """Hands a connection on, or ends it where there is no room: others need the files it takes."""

    def __init__(self, server: web.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look whose connection it is."""
        if not isinstance(transport, asyncio.Transport):
            return
        if not self._has_room(_remote(transport)):
            transport.abort()
            return
        protocol = self._server()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _has_room(self, remote: str) -> bool:
        present = [one.transport for one in self._server.connections]
        if len(present) >= MAX_CONNECTIONS:
            return False
        peer = self._guard.share_of(remote)
        if peer is None:
            return True
        of_peer = [one for one in present if one and self._guard.share_of(_remote(one)) == peer]
        return len(of_peer) < MAX_CONNECTIONS_PER_PEER


def _remote(transport: asyncio.BaseTransport) -> str:
    named = transport.get_extra_info("peername")
    return str(named[0]) if named else ""


async def _listen(runner: web.AppRunner, host: str, port: int, guard: Guard) -> asyncio.Server:
    """Listen as aiohttp would, with no more connections than the bounds."""
    server = runner.server
    assert server is not None  # noqa: S101 - it is set up
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Door(server, guard), host, port, backlog=128)


def _application(page: Page, guard: Guard) -> web.Application:
    files = PageFiles()
    api = Api(
        page.watching,
        page.pictures,
        page.commands,
        guard,
        page.sources,
        max_payload=page.max_payload,
    )

    async def index(request: web.Request) -> web.Response:
        return files.index(request, guard.prefix(request))

    async def file(request: web.Request) -> web.Response:
        return files.file(request)

    async def leave(_: web.Application) -> None:
        await page.watching.close_all()
        await page.pictures.close()
        await api.close()

    app = web.Application(middlewares=[guard.middleware], client_max_size=api.max_body)
    app.on_response_prepare.append(guard.finish)
    app.on_shutdown.append(leave)
    for prefix in dict.fromkeys(("", page.access.base_path)):
        app.add_routes(
            [
                web.get(f"{prefix}/", index),
                web.get(f"{prefix}/page/{{hash}}/{{name:.+}}", file),
                *api.routes(prefix),
            ]
        )
        if prefix:
            app.add_routes([web.get(prefix, index)])
    return app
