"""Where a retained tree ends: MQTT does not say, so a message of ours and silence do."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_bytes

from bridge.core.messages import Message, Publication

UNMARKED_QUIET_S = 2.0
"""How long silence must last where no marker comes back."""


@dataclass(slots=True)
class Reading:
    """A retained tree that is being read, under `filters` as they are added.

    A marker follows what was retained on the same connection; silence covers brokers that
    deliver the two side by side, and those whose ACL swallows the marker.
    """

    marker_topic: str
    on_message: Callable[[str, bytes], None]
    filters: list[str] = field(default_factory=list)
    token: bytes = b""
    heard_s: float = 0.0
    marked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.filters.append(self.marker_topic)

    def begin(self) -> Publication:
        """Begin a piece; return its marker."""
        self.heard_s = asyncio.get_running_loop().time()
        self.marked.clear()
        self.token = token_bytes(12).hex().encode()
        return Publication(self.marker_topic, self.token, retain=False, qos=0)

    def take(self, message: Message) -> bool:
        """Take a message if it belongs to the reading: a retained one, or a marker."""
        if message.retain:
            self.heard_s = asyncio.get_running_loop().time()
            self.on_message(message.topic, message.payload)
            return True
        if message.topic == self.marker_topic and message.payload == self.token:
            self.marked.set()
        return message.topic == self.marker_topic

    def abandon(self) -> None:
        """Let `wait_marked` return soon: nothing more will come."""
        self.marked.set()

    async def wait_marked(self) -> bool:
        """Return whether the marker of a piece came, at the latest after 2 s of silence."""
        while not self.marked.is_set() and (rest_s := self._rest_s(UNMARKED_QUIET_S)) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self.marked.wait()
        return self.marked.is_set()

    async def wait_quiet(self, quiet_s: float) -> None:
        """Return once nothing has come for so long."""
        while (rest_s := self._rest_s(quiet_s)) > 0:  # noqa: ASYNC110 - silence is no event
            await asyncio.sleep(rest_s)

    def _rest_s(self, quiet_s: float) -> float:
        return self.heard_s + quiet_s - asyncio.get_running_loop().time()
