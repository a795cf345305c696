"""Services asked regularly for what their events do not tell; `polling` says what and when."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain, count, islice
from math import inf
from random import Random

import structlog

from bridge.core.branch import Branch, Player
from bridge.core.commands import Invoke
from bridge.core.model import Description
from bridge.core.polling import Hearing, Plan, Poll, Question
from bridge.core.state import Key
from bridge.errors import Code, CommandError

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

ANSWER_S = 10.0
"""How long an answer may take."""

MAX_QUESTIONS = 128
"""The most that one root device is asked; those come first that no event answers."""

_MAX_READ = 1024
_AT_ONCE = 16
_ROUND_S = 0.25
_BUSY_S = 1.0
_NOT_OURS_S = 10.0
_DEAF = frozenset({"refused", "silent", "lost"})
_SILENCE = frozenset({Code.UNREACHABLE, Code.TIMEOUT})


@dataclass(eq=False, slots=True)
class _Polled:
    """A root device and what it is asked; `task` is set while it is asked."""

    branch: Branch
    poll: Poll
    task: asyncio.Task[None] | None = None


class Polls:
    """Asks every device that is online and ours, one question at a time each; `run` does the work.

    `states` gives how the subscriptions of a root device fare, by the ids of its services; `told`
    takes values by the id of their service, `suspect` the UDN of a root device that did not answer.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        plan: Plan,
        *,
        invoke: Invoke,
        states: Callable[[str], Mapping[str, str]],
        told: Callable[[str, list[tuple[Key, str]]], None],
        suspect: Callable[[str], None],
        rng: Random,
    ) -> None:
        self._plan = plan
        self._invoke = invoke
        self._states = states
        self._told = told
        self._suspect = suspect
        self._rng = rng
        self._polled: dict[str, _Polled] = {}
        self._heap: list[tuple[float, int, _Polled]] = []
        self._ticks = count()
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.is_busy: Callable[[str], bool] = lambda _: False
        """Tells of a root device, by its id, that it is to be left alone for a moment."""
        self.questions = 0
        """How many were asked since the start."""

    async def run(self) -> None:
        """Ask what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                while self._heap and self._heap[0][0] <= loop.time():
                    _, _, polled = heappop(self._heap)
                    if self._is_current(polled) and polled.task is None:
                        self._look(polled, loop.time(), tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._heap[0][0] if self._heap else None):
                        await self._woken.wait()
                # What is due at about the same time is looked at in one go.
                await asyncio.sleep(_ROUND_S)

    def begin(self, branch: Branch, description: Description) -> None:
        """Ask a device that was described just now, in place of what was asked of it."""
        self.end(branch.id)
        questions = (
            question
            for own, device in zip(branch.devices, description.device.walk(), strict=True)
            for service in device.services
            for question in self._plan.questions(own, service)
        )
        some = sorted(islice(questions, _MAX_READ), key=lambda one: one.is_last_resort)
        if some:
            polled = _Polled(branch, Poll(self._plan.interval_s, tuple(some[:MAX_QUESTIONS])))

            def is_known(question: Question) -> bool:
                values = branch.services[question.service_id].state.values
                return question.wanted.keys() <= {key.name for key in values}

            now = asyncio.get_running_loop().time()
            polled.poll.begin(now, self._rng.random(), is_known)
            self._polled[branch.id] = polled
            self._schedule(polled)

    def end(self, device: str) -> None:
        """Ask a root device, by its id, nothing more."""
        polled = self._polled.pop(device, None)
        if polled is not None and polled.task is not None:
            polled.task.cancel()

    def hurry(self, branch: Branch, service_id: str) -> None:
        """Ask a service soon, since something was done to it."""
        polled = self._polled.get(branch.id)
        soon = asyncio.get_running_loop().time() + _BUSY_S
        if polled is not None and polled.poll.hurry(service_id, soon):
            self._schedule(polled)

    def _is_current(self, polled: _Polled) -> bool:
        return self._polled.get(polled.branch.id) is polled

    def _schedule(self, polled: _Polled, at: float = inf) -> None:
        at = min(at, polled.poll.at)
        if at < inf:
            heappush(self._heap, (at, next(self._ticks), polled))
            self._woken.set()

    def _look(self, polled: _Polled, now: float, tasks: asyncio.TaskGroup) -> None:
        """Ask what is due of a device now, if it is to be asked at all."""
        branch = polled.branch
        if polled.poll.at > now:
            return  # an entry of before something was put off, or done sooner
        is_ours = branch.online and branch.owned
        if not is_ours or self.is_busy(branch.id):
            later = now + (_BUSY_S if is_ours else _NOT_OURS_S)
            heappush(self._heap, (later, next(self._ticks), polled))
            return
        due = polled.poll.due(now, self._hearing(branch))
        if (first := next(due, None)) is not None:
            asking = self._ask_all(polled, chain([first], due))
            polled.task = tasks.create_task(asking, name=f"polls[{branch.id}]")
        else:
            self._schedule(polled)

    def _hearing(self, branch: Branch) -> Mapping[str, Hearing]:
        states = self._states(branch.udn)
        return {
            live.id: Hearing(
                states.get(live.id, "refused") in _DEAF,
                live.state.told,
                _plays(branch.players.get(live.id)),
            )
            for live in branch.services.values()
        }

    async def _ask_all(
        self, polled: _Polled, due: Iterable[tuple[Question, frozenset[str]]]
    ) -> None:
        """Ask what is due, until there is no answer, a slow one, or a call to the device."""
        try:
            async with self._slots:
                for question, names in due:
                    is_answered = await self._ask(polled, question, names)
                    is_free = polled.poll.is_free(asyncio.get_running_loop().time())
                    if not (is_answered and is_free) or self.is_busy(polled.branch.id):
                        break
        finally:
            polled.task = None
            if self._is_current(polled):
                self._schedule(polled)

    async def _ask(self, polled: _Polled, question: Question, names: frozenset[str]) -> bool:
        """Ask one question; return whether the device may be asked the next."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self.questions += 1
        try:
            texts = await self._invoke(
                question.service, question.action.name, question.arguments, ANSWER_S
            )
            polled.poll.note_answer(question, loop.time(), loop.time() - began_s)
            if self._is_current(polled) and polled.branch.online:
                heard = self._hearing(polled.branch)[question.service_id]
                told = question.told(texts, names, is_deaf=heard.is_deaf)
                self._told(question.service_id, told)
        except CommandError as error:
            _log.debug(
                "poll_failed",
                service=question.service_id,
                action=question.action.name,
                reason=error.reason,
            )
            if error.code in _SILENCE:
                polled.poll.note_silence(loop.time())
                self._suspect(polled.branch.udn)
                return False
            polled.poll.note_refusal(question)
        except Exception:  # noqa: BLE001 - the others are to be asked in any case
            _log.exception("poll_crashed", service=question.service_id)
            polled.poll.note_refusal(question)
        return True


def _plays(player: Player | None) -> bool:
    if player is None:
        return False
    values = player.transport.state.values
    return any(
        values.get(key) == "PLAYING" for key in (Key("TransportState", "0"), Key("TransportState"))
    )
