"""What systemd is told of the bridge, as sd_notify(3) says; elsewhere nobody is told anything."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf

_TICK_S = 1.0


class Supervisor:
    """The systemd that started this process, if its environment names one.

    `interval_s` is how often it wants to hear that the process works, None where it does not ask.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.interval_s: float | None = None
        usec = environment.get("WATCHDOG_USEC", "")
        is_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if usec.isdecimal() and int(usec) and is_for_us:
            self.interval_s = int(usec) / 2_000_000  # twice in the time that it grants

    def tell(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`; that nobody listens is no error."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto("\n".join(assignments).encode(), self._address)

    async def run(self, status: Callable[[], str]) -> None:
        """Say that the process is ready, and then that it works and how, until cancelled."""
        if not self._address:
            return
        told = status()
        self.tell("READY=1", f"STATUS={told}")
        interval_s = self.interval_s or inf
        left_s = interval_s
        while True:
            pause_s = min(_TICK_S, interval_s)
            await asyncio.sleep(pause_s)
            left_s -= pause_s
            news = [f"STATUS={now}"] if (now := status()) != told else []
            if left_s <= 0:
                left_s = interval_s
                news.append("WATCHDOG=1")
            if news:
                self.tell(*news)
            told = now
