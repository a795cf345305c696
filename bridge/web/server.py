"""The bridge's own HTTP port.

`/healthz` is 200 while the bridge works, `/readyz` while it is `online`; `/metrics` is for
Prometheus.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from bridge.errors import cannot_listen
from bridge.formats import jsontext

_SHUTDOWN_S = 0.5


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    *,
    why_not_ready: Callable[[], str],
    health: Callable[[], Mapping[str, object]],
    metrics: Callable[[str], tuple[bytes, str]],
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
        return _json(health(), is_good=True)

    async def readyz(_: web.Request) -> web.Response:
        reason = why_not_ready()
        return _json({"reason": reason, **health()} if reason else health(), is_good=not reason)

    async def exposition(request: web.Request) -> web.Response:
        body, media_type = metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": media_type})

    app = web.Application()
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
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise cannot_listen("http.", host, port, error) from error
        yield
    finally:
        await runner.cleanup()


def _json(document: object, *, is_good: bool) -> web.Response:
    return web.Response(
        body=jsontext.encode(document),
        status=200 if is_good else 503,
        content_type="application/json",
    )
