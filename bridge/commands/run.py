"""`run` and `demo`: a bridge that lasts until a signal."""

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog

from bridge import __version__, log, settings
from bridge.app import Bridge
from bridge.commands import signals
from bridge.commands.examined import examined
from bridge.commands.footing import check_footing, tell_reason
from bridge.commands.health import url_of
from bridge.commands.running import Running, announced
from bridge.mqtt.mosquitto import apart
from bridge.settings import Settings

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_DEMO_STOP_S = 3.0
_DEMO_PORTS = 10


def run(chosen: Settings, *, demo: bool = False) -> int:
    """Bridge until SIGTERM or SIGINT; with `demo`, beside simulated devices. Raises ConfigError."""
    log.configure(chosen.log.level, chosen.log.format)
    if demo:
        chosen = _with_free_http_port(chosen)
    gc.freeze()  # what was imported stays: to look through it again stops all for 50 ms
    asyncio.run(_run(chosen, demo=demo))
    _log.info("stopped")
    return 0


async def _run(chosen: Settings, *, demo: bool) -> None:
    stop = asyncio.Event()
    signals.follow(lambda _: stop.set())
    try:
        for one in settings.unknown_names():
            _log.warning("unknown_setting", variable=one.name, reason=str(one))
        for event, facts in check_footing(chosen):
            _log.warning(event, **facts)
        _log.info("starting", version=__version__, instance=chosen.instance)
        async with AsyncExitStack() as stack:
            if demo:
                await stack.enter_async_context(_simulation())

            def on_broker(url: str) -> None:
                stack.enter_context(announced(_running(chosen, url, demo=demo)))
                if demo:
                    _show_how(chosen, url)

            # The interfaces of a demonstration were chosen for it.
            more = ("--upnp.interfaces", ",".join(chosen.upnp.interfaces)) if demo else ()
            bridge = Bridge(chosen, doctor=partial(examined, *more))
            reason = asyncio.create_task(tell_reason(bridge))
            stack.callback(reason.cancel)
            await bridge.run(stop, on_broker)
    finally:
        signals.hold()


def _running(chosen: Settings, url: str, *, demo: bool) -> Running:
    return Running(
        chosen.instance,
        chosen.mqtt.base_topic,
        "" if chosen.mqtt.url else url,
        url_of(chosen) if chosen.http.port else "",
        demo,
    )


def _with_free_http_port(chosen: Settings) -> Settings:
    """Return the settings of a demonstration with a port that is free, if nobody chose one."""
    if "port" in chosen.http.model_fields_set:
        return chosen
    for port in range(chosen.http.port, chosen.http.port + _DEMO_PORTS):
        with suppress(OSError), socket.create_server((chosen.http.host, port)):
            return chosen.model_copy(update={"http": chosen.http.model_copy(update={"port": port})})
    return chosen.model_copy(update={"http": chosen.http.model_copy(update={"port": 0})})


@asynccontextmanager
async def _simulation() -> AsyncIterator[None]:
    """Run the simulated devices as a process of their own while the context lasts.

    In a process group of their own: Ctrl-C is the bridge's, which ends them when it has left.
    """
    with apart():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge.demo", "--quiet"), process_group=0
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_DEMO_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _show_how(chosen: Settings, url: str) -> None:
    """Print where the page is, and what to subscribe to."""
    base = chosen.mqtt.base_topic
    page = f"The page is at {url_of(chosen)}/.\n" if chosen.http.port else ""
    sys.stdout.write(
        f"{page}The broker is at {url}. In another terminal:\n"
        f"  mosquitto_sub -L {url}/{base}/+/+/value/# -v\n"
        f"  mosquitto_sub -L {url}/{base}/# -v\n"
        "Ctrl-C ends the demonstration.\n"
    )
    sys.stdout.flush()
