"""`run` and `demo`: a bridge that lasts until a signal."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from bridge import __version__, log, settings
from bridge.app import Bridge
from bridge.settings import Settings

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_DEMO_STOP_S = 3.0


def run(chosen: Settings, *, demo: bool = False) -> int:
    """Bridge until SIGTERM or SIGINT; with `demo`, beside simulated devices. Raises ConfigError."""
    log.configure(chosen.log.level, chosen.log.format)
    gc.freeze()  # what was imported stays: to look through it again stops all for 50 ms
    asyncio.run(_run(chosen, demo=demo))
    _log.info("stopped")
    return 0


async def _run(chosen: Settings, *, demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see bridge.__main__
    for name in settings.unknown_variables():
        _log.warning("unknown_setting", variable=name)
    _log.info("starting", version=__version__, instance=chosen.instance)
    async with AsyncExitStack() as stack:
        if demo:
            await stack.enter_async_context(_simulation())
        bridge = Bridge(chosen)
        if demo:
            await bridge.run(stop, partial(_show_how, chosen.mqtt.base_topic))
        else:
            await bridge.run(stop)


@asynccontextmanager
async def _simulation() -> AsyncIterator[None]:
    """Run the simulated devices as a process of their own while the context lasts."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bridge.demo", "--quiet")
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


def _show_how(base: str, url: str) -> None:
    """Print what to subscribe to."""
    sys.stdout.write(
        f"The broker is at {url}. In another terminal:\n"
        f"  mosquitto_sub -L {url}/{base}/+/+/value/# -v\n"
        f"  mosquitto_sub -L {url}/{base}/# -v\n"
        "Ctrl-C ends the demonstration.\n"
    )
    sys.stdout.flush()
