"""The bridge's own HTTP port: `/healthz` while it works, `/readyz` while it is `online`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bridge.core import jsontext
from bridge.errors import ConfigError


@asynccontextmanager
async def serve(
    host: str, port: int, *, is_ready: Callable[[], bool], health: Callable[[], object]
) -> AsyncIterator[None]:
    """Listen while the context lasts; port 0 listens nowhere.

    Both paths answer with the bridge's health as JSON, with status 200 or 503.
    Raises ConfigError where the address or port cannot be had.
    """
    if not port:
        yield
        return

    async def healthz(_: web.Request) -> web.Response:
        return _json(health(), is_good=True)

    async def readyz(_: web.Request) -> web.Response:
        return _json(health(), is_good=is_ready())

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, shutdown_timeout=0.5).start()
        except OSError as error:
            raise ConfigError(f"http.port: cannot listen on {host}:{port}: {error}") from error
        yield
    finally:
        await runner.cleanup()


def _json(document: object, *, is_good: bool) -> web.Response:
    return web.Response(
        body=jsontext.encode(document),
        status=200 if is_good else 503,
        content_type="application/json",
    )
