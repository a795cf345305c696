"""Where a retained tree ends: MQTT does not say, so a message of ours and silence do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_bytes

from paho.mqtt.client import topic_matches_sub

from bridge.core.messages import Message, Publication

_UNMARKED_QUIET_S = 2.0


@dataclass(slots=True)
class Reading:
    """A retained tree that is being read.

    The marker follows what was retained on the same connection; silence covers brokers that
    deliver the two side by side, and those whose ACL swallows the marker.
    """

    topic_filter: str
    marker_topic: str
    on_message: Callable[[str, bytes], None]
    token: bytes = field(default_factory=lambda: token_bytes(12).hex().encode())
    heard_s: float = 0.0
    marked: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> Publication:
        """Start the clock; return the marker."""
        self.heard_s = asyncio.get_running_loop().time()
        return Publication(self.marker_topic, self.token, retain=False, qos=0)

    def take(self, message: Message) -> bool:
        """Take a message if it belongs to the reading."""
        if not topic_matches_sub(self.topic_filter, message.topic):
            return False
        if message.retain:
            self.heard_s = asyncio.get_running_loop().time()
            self.on_message(message.topic, message.payload)
        elif message.topic == self.marker_topic and message.payload == self.token:
            self.marked.set()
        return message.retain or message.topic == self.marker_topic

    def abandon(self) -> None:
        """Let `wait` return soon: nothing more will come."""
        self.marked.set()

    async def wait(self, quiet_s: float) -> None:
        """Return once everything was seen."""
        while not self.marked.is_set() and (rest_s := self._rest_s(_UNMARKED_QUIET_S)) > 0:
            try:
                async with asyncio.timeout(rest_s):
                    await self.marked.wait()
            except TimeoutError:
                continue
        while (rest_s := self._rest_s(quiet_s)) > 0:  # noqa: ASYNC110 - silence is no event
            await asyncio.sleep(rest_s)

    def _rest_s(self, quiet_s: float) -> float:
        return self.heard_s + quiet_s - asyncio.get_running_loop().time()
