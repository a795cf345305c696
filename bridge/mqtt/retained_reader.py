"""Where a retained tree ends: MQTT does not say, so a message of ours and silence do."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_bytes

from bridge.tree.messages import Message, Publication

UNMARKED_QUIET_S = 2.0
"""How long silence must last where no marker comes back."""

_LATE_QUIET_S = 0.1
"""How long it must last, at least, where retained messages come behind the marker."""
_LATENESS = 2.0
"""How many times as long as the latest that was seen."""


@dataclass(slots=True)
class Reading:
    """A retained tree that is being read, under `filters` as they are added.

    A marker follows what was retained on the same connection. MQTT promises no order between the
    two: where a broker delivers them side by side, which shows by the first message that comes
    behind its marker, silence has to end each piece. It does too where an ACL swallows the marker.
    """

    marker_topic: str
    on_message: Callable[[str, bytes], None]
    filters: list[str] = field(default_factory=list)
    token: bytes = b""
    heard_s: float = 0.0
    marked: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    is_marked: bool = True
    """Whether markers come back."""
    lateness_s: float = 0.0
    """How long after its marker the latest message came, 0 where the broker keeps the order."""
    _marked_s: float = 0.0
    _time: Callable[[], float] = field(default_factory=lambda: asyncio.get_running_loop().time)
    _prefixes: tuple[str, ...] = ()
    _is_over: bool = False
    _is_marked: bool = False
    _is_awaited: bool = False
    count: int = 0
    """How many retained messages have come."""

    def begin(self, filters: tuple[str, ...]) -> Publication:
        """Begin a piece; return its marker."""
        self.filters += filters
        # What no prefix tells of is taken for late only behind the marker.
        self._prefixes = () if any(map(_is_open, filters)) else tuple(map(_prefix, filters))
        self.heard_s = self._time()
        return self.mark()

    def mark(self) -> Publication:
        """Return a marker to be sent."""
        self.marked.clear()
        self._is_marked = False
        self.token = token_bytes(12).hex().encode()
        return Publication(self.marker_topic, self.token, retain=False, qos=0)

    def take(self, message: Message) -> bool:
        """Take a message if it belongs to the reading: a retained one, or a marker."""
        if message.retain:
            self.count += 1
            self.heard_s = self._time()
            is_of_before = self._prefixes and not message.topic.startswith(self._prefixes)
            if is_of_before or self._is_marked:
                self.lateness_s = max(self.lateness_s, self.heard_s - self._marked_s, 0.001)
            self.on_message(message.topic, message.payload)
            if self._is_awaited:
                self.heard.set()
            return True
        if message.topic == self.marker_topic and message.payload == self.token:
            self.marked.set()
            self._is_marked = True
            self._marked_s = self._time()
        return message.topic == self.marker_topic

    def abandon(self) -> None:
        """Let what waits return at once: nothing more will come."""
        self._is_over = True
        self.marked.set()
        self.heard.set()

    async def wait_whole(self) -> None:
        """Wait for the end of a piece: its marker, and silence where the order is not kept."""
        while not self.marked.is_set() and (rest_s := self._rest_s(UNMARKED_QUIET_S)) > 0:
            await self._wait(self.marked, rest_s)
        self.is_marked = self.marked.is_set()
        if self.lateness_s:
            await self.wait_quiet(0)

    async def wait_quiet(self, quiet_s: float, until: Callable[[], bool] = lambda: False) -> None:
        """Return once nothing has come for so long, or something holds.

        Where markers or the order are not to be relied on, it must be quiet for longer.
        """
        if not self.is_marked:
            quiet_s = max(quiet_s, UNMARKED_QUIET_S)
        while not until() and (rest_s := self._rest_s(max(quiet_s, self._late_s))) > 0:
            self.heard.clear()
            self._is_awaited = True
            await self._wait(self.heard, rest_s)
            self._is_awaited = False

    @property
    def _late_s(self) -> float:
        if not self.lateness_s:
            return 0.0
        return min(max(self.lateness_s * _LATENESS, _LATE_QUIET_S), UNMARKED_QUIET_S)

    def _rest_s(self, quiet_s: float) -> float:
        if self._is_over:
            return 0.0
        heard_s = max(self.heard_s, self._marked_s)
        return heard_s + quiet_s - self._time()

    @staticmethod
    async def _wait(event: asyncio.Event, limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await event.wait()


def _prefix(topic_filter: str) -> str:
    return topic_filter.removesuffix("/#")


def _is_open(topic_filter: str) -> bool:
    return "+" in topic_filter or topic_filter == "#"
