"""`python -m bridge.demo [HOST]`: simulated devices, until SIGTERM, SIGINT or its parent's end."""

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
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if os.getppid() == parent:  # else it ended before it could be tied to
        asyncio.run(_run(*sys.argv[1:2] or [LOOPBACK]))


if __name__ == "__main__":
    main()
