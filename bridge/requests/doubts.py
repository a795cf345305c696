"""Commands that another instance, of which nothing is heard, may carry out or has carried out.

Where brokers are parted, each side has an owner of a device; when they join, a broker passes on the
commands that came without it. These come together with signs of whoever was missing, and that one
says what it has done.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from bridge.model import topics
from bridge.publishing import Publishing
from bridge.tree.messages import Message

_SIGN_S = 1.0
"""How long a command waits for signs of an instance that is missing."""
_TICK_S = 0.05
_MOST = 1_000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    arrived_s: float
    message: Message
    device: str
    do: Callable[[], None]


class Doubts:
    """Has commands wait, in order, until it is known that nobody else carries them out."""

    def __init__(self, publishing: Publishing) -> None:
        self._instances = publishing.instances
        self._handover = publishing.handover
        self._mirror = publishing.mirror
        self._clock = publishing.clock
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, message: Message, device: str, do: Callable[[], None]) -> None:
        """Take a command to a device, named as its topic has it, and `do` it unless others did."""
        if not (self._instances.knows_others or self._waiting):
            do()
            return
        if len(self._waiting) >= _MOST:
            _drop(message, "too many commands wait for what another instance says")
            return
        self._waiting.append(_Waiting(self._clock.monotonic(), message, device, do))
        if self._timer is None:
            self._go_on()

    def _go_on(self) -> None:
        """Do what can be done in the order in which it came."""
        self._timer = None
        while self._waiting:
            is_to_be_done = self._judge(self._waiting[0], self._clock.monotonic())
            if is_to_be_done is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(_TICK_S, self._go_on)
                return
            one = self._waiting.popleft()
            if is_to_be_done:
                one.do()

    def _judge(self, one: _Waiting, now_s: float) -> bool | None:
        """Return whether a command is to be carried out, None where that is not known yet."""
        if self._handover.was_done(one.message, now_s):
            _drop(one.message, "another instance has carried it out")
            return False
        found = self._mirror.find(topics.decode_level(one.device))
        root = found[0].id if found is not None else None
        if self._instances.is_awaited(root, now_s):
            return None
        if self._instances.is_awaited(root, one.arrived_s):  # it has not said so in time
            _drop(one.message, "another instance may have carried it out")
            return False
        if self._instances.is_missed(root) and now_s < one.arrived_s + _SIGN_S:
            return None
        return True


def _drop(message: Message, reason: str) -> None:
    _log.warning("command_dropped", topic=message.topic[:200], reason=reason)
