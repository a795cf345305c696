"""What the broker counts."""

import asyncio
from typing import Self

from benchmarks.onlooker import Onlooker

RECEIVED = "$SYS/broker/messages/received"
"""Packets of all kinds; those of publications alone leave out what is retained."""
RETAINED = "$SYS/broker/retained messages/count"
_UPTIME = "$SYS/broker/uptime"


class Counts:
    """The counters of a mosquitto, which says them every other second."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._told = asyncio.Event()
        self._onlooker: Onlooker

    @classmethod
    async def at(cls, port: int) -> Self:
        self = cls()
        self._onlooker = await Onlooker.connect(port, self._take)
        await self._onlooker.subscribe(RECEIVED, RETAINED, _UPTIME)
        return self

    async def read(self) -> dict[str, int]:
        """Wait until the broker says them the next time."""
        self._told.clear()
        async with asyncio.timeout(10):
            await self._told.wait()
        await asyncio.sleep(0.05)  # what it says with the same breath
        return {RECEIVED: 0, RETAINED: 0} | self._counts

    def close(self) -> None:
        self._onlooker.close()

    def _take(self, topic: str, payload: bytes, was_retained: bool) -> None:  # noqa: FBT001
        if topic == _UPTIME:
            if not was_retained:
                self._told.set()
        else:
            self._counts[topic] = int(payload)
