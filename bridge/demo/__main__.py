"""`python -m bridge.demo [--quiet] [HOST]`: simulated devices, until SIGTERM or their parent's end.

Quiet, they tell of nothing but trouble.
"""

import asyncio
import ctypes
import os
import signal
import sys

import structlog

from bridge.demo.simulation import LOOPBACK, simulate

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2)


async def _run(host: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with simulate(host) as devices:
        for device in devices:
            location = device.base_uri + device.device_url
            _log.info("demo_device_started", name=device.name, udn=device.udn, location=location)
        await ended.wait()


def main() -> None:
    """Run the simulation."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    quiet = "--quiet" in sys.argv[1:]
    hosts = [word for word in sys.argv[1:] if word != "--quiet"]
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning" if quiet else "info"),
    )
    if os.getppid() == parent:  # else it ended before it could be tied to
        asyncio.run(_run(*hosts[:1] or [LOOPBACK]))


if __name__ == "__main__":
    main()
