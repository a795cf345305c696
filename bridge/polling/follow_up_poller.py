"""What is asked after actions, device by device, as soon as each is free; `follow_up` says what."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field

from bridge.polling.follow_up import AwaitedAnswer
from bridge.tree.mirrored_device import MirroredDevice

MAX_CHECKS = 64
"""The most that wait for one root device; the oldest goes when another comes."""

_BUSY_S = 0.1
_LONGEST_BUSY_S = 2.0
"""How long what was set waits for calls that wait or are under way."""

Ask = Callable[[MirroredDevice, AwaitedAnswer], Awaitable[None]]
"""Asks, if anything of it is to be asked, and notes so with the check."""


@dataclass(eq=False, slots=True)
class _Line:
    """A root device and what it is to be asked, one after the other."""

    mirrored: MirroredDevice
    checks: dict[tuple[object, ...], AwaitedAnswer] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Watch:
    """Listens to what events tell while an action is under way, until `ask` or `close`."""

    def __init__(
        self,
        checks: Iterable[AwaitedAnswer] = (),
        ask: Callable[[list[AwaitedAnswer]], None] = lambda _: None,
    ) -> None:
        self._checks = list(checks)
        self._ask = ask

    def ask(self) -> None:
        """Have asked what the action may have changed; the action is over."""
        checks, self._checks = self._checks, []
        self._ask(checks)

    def close(self) -> None:
        """Have nothing asked, unless it is already."""
        for check in self._checks:
            check.close()
        self._checks.clear()


class FollowUpPoller:
    """The checks that wait; they are asked while `tasks` is set.

    `ask` asks one; `busy` has the ids of root devices that calls wait for or are under way to.
    """

    def __init__(self, ask: Ask, busy: AbstractSet[str]) -> None:
        self._ask = ask
        self._busy = busy
        self._lines: dict[str, _Line] = {}
        self.tasks: asyncio.TaskGroup | None = None

    def add(self, mirrored: MirroredDevice, checks: Iterable[AwaitedAnswer]) -> None:
        """Ask a device these, in place of what is the same."""
        line = self._lines.setdefault(mirrored.id, _Line(mirrored))
        line.mirrored = mirrored
        for check in checks:
            self._drop(line, check.key)
            line.checks[check.key] = check
        while len(line.checks) > MAX_CHECKS:
            self._drop(line, next(iter(line.checks)))
        line.woken.set()
        if line.task is None and self.tasks is not None and line.checks:
            line.task = self.tasks.create_task(self._work(line), name=f"polls.after[{mirrored.id}]")

    def follow(self, mirrored: MirroredDevice) -> None:
        """Note that a device was described again."""
        if (line := self._lines.get(mirrored.id)) is not None:
            line.mirrored = mirrored

    def end(self, device: str) -> None:
        """Ask a root device, by its id, nothing more."""
        if (line := self._lines.pop(device, None)) is not None:
            for key in tuple(line.checks):
                self._drop(line, key)
            if line.task is not None:
                line.task.cancel()

    def _drop(self, line: _Line, key: tuple[object, ...]) -> None:
        if (check := line.checks.pop(key, None)) is not None:
            check.close()

    async def _work(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        while line.checks:
            line.woken.clear()
            check = min(line.checks.values(), key=lambda one: one.at)
            at = check.at
            if line.mirrored.id in self._busy and loop.time() < check.since + _LONGEST_BUSY_S:
                at = max(at, loop.time() + _BUSY_S)
            if at > loop.time():
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(at):
                        await line.woken.wait()
                continue
            times = check.times
            await self._ask(line.mirrored, check)
            if check.times == times and line.checks.get(check.key) is check:
                self._drop(line, check.key)
        if self._lines.get(line.mirrored.id) is line:
            del self._lines[line.mirrored.id]
