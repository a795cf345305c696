"""Services asked regularly for what their events do not tell; `plan` says what and when."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain, count, islice
from math import inf
from random import Random
from typing import Protocol

import structlog

from bridge.errors import Code, CommandError
from bridge.model import topics
from bridge.model.action_call import Invoker
from bridge.model.device import Description, Key
from bridge.polling.follow_up import AwaitedAnswer, FollowUps, questions_of
from bridge.polling.follow_up_poller import FollowUpPoller, Watch
from bridge.polling.plan import POSITION_S, Hearing, Plan, Poll, Question, When
from bridge.tree.mirrored_device import LiveService, MirroredDevice, Player

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

ANSWER_S = 10.0
"""How long an answer may take."""

MAX_QUESTIONS = 128
"""The most that one root device is asked; those come first that no event answers."""

_MAX_READ = 1024
_AT_ONCE = 64
_ROUND_S = 0.25
_BUSY_S = 1.0
_FIRST_S = 2.0
_NOT_OURS_S = 10.0
_DEAF = frozenset({"refused", "silent", "lost", "late"})
_NONE: frozenset[str] = frozenset()
_SILENCE = frozenset({Code.UNREACHABLE, Code.TIMEOUT})


@dataclass(eq=False, slots=True)
class _Polled:
    """A root device and what it is asked; `task` is set while it is asked."""

    mirrored: MirroredDevice
    poll: Poll
    task: asyncio.Task[None] | None = None
    hurried_s: float = -inf
    """When it was asked something sooner because of an answer."""
    asking: str = ""
    """The id of the service that is asked now, unless something is done to it meanwhile."""


class PolledDevices(Invoker, Protocol):
    """The devices, as it is needed to ask them."""

    def subscription_states(self, udn: str) -> Mapping[str, str]:
        """Return how the subscriptions of a root device fare, by the ids of its services."""


class AnswerSink(Protocol):
    """Takes values that services were asked for."""

    def apply_answers(
        self, service: str, told: list[tuple[Key, str]], *, regularly: bool = False
    ) -> None:
        """Take those of a service, by its id, asked for `regularly` or once."""


class Poller:
    """Asks every device that is online and ours, one question at a time each; `run` does the work.

    What an action may have changed is asked for after it, beside that. `busy` has the ids of root
    devices that are to be left alone for a moment.
    """

    def __init__(
        self,
        plan: Plan,
        devices: PolledDevices,
        sink: AnswerSink,
        *,
        busy: AbstractSet[str],
        rng: Random,
    ) -> None:
        self._plan = plan
        self._devices = devices
        self._sink = sink
        self._busy = busy
        self._rng = rng
        self._polled: dict[str, _Polled] = {}
        self._remembering: dict[str, asyncio.TimerHandle] = {}
        self._heap: list[tuple[float, int, _Polled]] = []
        self._ticks = count()
        self._woken = asyncio.Event()
        self._answering: Question | None = None
        self._afterwards = FollowUpPoller(self._ask_after, busy)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.questions = 0
        """How many were asked since the start."""

    async def run(self) -> None:
        """Ask what is due, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._afterwards.tasks = tasks
            try:
                await self._ask_what_is_due(tasks)
            finally:
                self._afterwards.tasks = None  # nothing is begun while all ends

    async def _ask_what_is_due(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
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

    def begin(self, mirrored: MirroredDevice, description: Description) -> None:
        """Ask a device that was described just now, in place of what was asked of it."""
        self._forget(mirrored.id)
        self._afterwards.follow(mirrored)
        questions = (
            question
            for own, device in zip(mirrored.devices, description.device.walk(), strict=True)
            for service in device.services
            for question in self._plan.questions(own, service)
        )
        if any(map(self._plan.settable, chain(*(d.services for d in description.device.walk())))):
            loop = asyncio.get_running_loop()
            self._remembering[mirrored.id] = loop.call_later(
                _FIRST_S,
                lambda: self._afterwards.add(mirrored, self._remembered(mirrored, description)),
            )
        some = sorted(islice(questions, _MAX_READ), key=lambda one: one.is_last_resort)
        if some:
            polled = _Polled(mirrored, Poll(self._plan.interval_s, tuple(some[:MAX_QUESTIONS])))

            def is_known(question: Question) -> bool:
                values = mirrored.services[question.service_id].state.values
                return question.wanted.keys() <= {key.name for key in values}

            now = asyncio.get_running_loop().time()
            polled.poll.begin(now, self._rng.random(), is_known)
            self._polled[mirrored.id] = polled
            self._schedule(polled)

    def _remembered(
        self, mirrored: MirroredDevice, description: Description
    ) -> Iterator[AwaitedAnswer]:
        """Yield how to know again what was set once, which no event tells and nobody asks for."""
        at = asyncio.get_running_loop().time()
        for own, device in zip(mirrored.devices, description.device.walk(), strict=True):
            for service in device.services:
                if names := self._plan.settable(service):
                    state = mirrored.services[topics.service_id(own, service.level)].state
                    keys = [key for key in state.values if key.name in names]
                    for one in questions_of(own, service, keys):
                        check = AwaitedAnswer(one.question, {}, state)
                        check.begin_once(at)
                        yield check

    def end(self, device: str) -> None:
        """Ask a root device, by its id, nothing more."""
        self._forget(device)
        self._afterwards.end(device)

    def _forget(self, device: str) -> None:
        if (remembering := self._remembering.pop(device, None)) is not None:
            remembering.cancel()
        polled = self._polled.pop(device, None)
        if polled is not None and polled.task is not None:
            polled.task.cancel()

    def hurry(self, mirrored: MirroredDevice, service_id: str) -> None:
        """Ask a service soon, since something was done to it.

        What an answer says has a device asked sooner only once while a position is.
        """
        polled = self._polled.get(mirrored.id)
        now = asyncio.get_running_loop().time()
        if polled is None:
            return
        but = self._answering
        if but is not None:
            if now < polled.hurried_s + POSITION_S:
                return
            polled.hurried_s = now
        self._hurry(polled, service_id, lambda one: but is not None and one.is_like(but))

    def _hurry(self, polled: _Polled, service_id: str, but: Callable[[Question], bool]) -> None:
        soon = asyncio.get_running_loop().time() + _BUSY_S
        if polled.poll.hurry(service_id, soon, but):
            self._schedule(polled)

    def watch(
        self, mirrored: MirroredDevice, service_id: str, aftermath: Iterable[FollowUps]
    ) -> Watch:
        """Listen to the events of a device while an action of a service is under way."""
        checks = [
            AwaitedAnswer(one.question, one.aims, mirrored.services[one.question.service_id].state)
            for one in (aftermath if self._plan.interval_s else ())
        ]
        self._overtake(mirrored, service_id)

        def ask(checks: list[AwaitedAnswer]) -> None:
            now = asyncio.get_running_loop().time()
            self._overtake(mirrored, service_id)
            hearing = self._hearing(mirrored) if checks else {}
            for check in checks:
                heard = hearing[check.question.service_id]
                check.begin(now, is_deaf=heard.is_deaf or heard.is_awaited)
            self._afterwards.add(mirrored, checks)
            if (polled := self._polled.get(mirrored.id)) is not None:
                asked = [check.question for check in checks]
                self._hurry(polled, service_id, lambda one: any(map(one.is_like, asked)))

        return Watch(checks, ask)

    def _overtake(self, mirrored: MirroredDevice, service_id: str) -> None:
        """Have what a service is just being asked count for nothing: something is done to it."""
        polled = self._polled.get(mirrored.id)
        if polled is not None and polled.asking == service_id:
            polled.asking = ""

    def _is_current(self, polled: _Polled) -> bool:
        return self._polled.get(polled.mirrored.id) is polled

    def _schedule(self, polled: _Polled, at: float = inf) -> None:
        at = min(at, polled.poll.at)
        if at < inf:
            heappush(self._heap, (at, next(self._ticks), polled))
            self._woken.set()

    def _look(self, polled: _Polled, now: float, tasks: asyncio.TaskGroup) -> None:
        """Ask what is due of a device now, if it is to be asked at all."""
        mirrored = polled.mirrored
        if polled.poll.at > now:
            return  # an entry of before something was put off, or done sooner
        is_ours = mirrored.online and mirrored.owned
        if not is_ours or mirrored.id in self._busy:
            later = now + (_BUSY_S if is_ours else _NOT_OURS_S)
            heappush(self._heap, (later, next(self._ticks), polled))
            return
        due = polled.poll.due(now, self._hearing(mirrored))
        if (first := next(due, None)) is not None:
            asking = self._ask_all(polled, chain([first], due))
            polled.task = tasks.create_task(asking, name=f"polls[{mirrored.id}]")
        else:
            self._schedule(polled)

    def _hearing(self, mirrored: MirroredDevice) -> Mapping[str, Hearing]:
        return _Hearings(mirrored, self._devices.subscription_states(mirrored.udn))

    async def _ask_all(
        self, polled: _Polled, due: Iterable[tuple[Question, frozenset[str]]]
    ) -> None:
        """Ask what is due, until there is no answer, a slow one, or a call to the device."""
        try:
            async with self._slots:
                for question, names in due:
                    is_answered = await self._ask(polled, question, names)
                    is_free = polled.poll.is_free(asyncio.get_running_loop().time())
                    if not (is_answered and is_free) or polled.mirrored.id in self._busy:
                        break
        finally:
            polled.task = None
            if self._is_current(polled):
                self._schedule(polled)

    async def _ask(self, polled: _Polled, question: Question, names: frozenset[str]) -> bool:
        """Ask one question; return whether the device may be asked the next."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        polled.asking = question.service_id
        live = polled.mirrored.services[question.service_id]
        try:
            with live.state.heard.listening() as meanwhile:
                texts = await self._invoked(question)
            polled.poll.note_answer(question, loop.time(), loop.time() - began_s)
            if self._is_current(polled) and polled.mirrored.online and polled.asking:
                heard = self._hearing(polled.mirrored)[question.service_id]
                some = question.still(names, heard) - meanwhile
                told = question.told(texts, some, is_deaf=heard.is_deaf)
                too = question.said_too(texts, names | meanwhile, heard)
                told += [one for one in too if live.believes(*one)]
                self._tell(question, told)
        except CommandError as error:
            _note_failure(question, error)
            if error.code in _SILENCE:
                polled.poll.note_silence(loop.time())
                self._devices.suspect(polled.mirrored.udn)
                return False
            polled.poll.note_refusal(question)
        except Exception:  # noqa: BLE001 - the others are to be asked in any case
            _log.exception("poll_crashed", service=question.service_id)
            polled.poll.note_refusal(question)
        return True

    async def _ask_after(self, mirrored: MirroredDevice, check: AwaitedAnswer) -> None:
        """Ask once what an action may have changed, as far as events have not told it."""
        question = check.question
        live = mirrored.services.get(question.service_id)
        names = check.open(live.readers) if live is not None else _NONE
        if live is None or not (names and mirrored.online and mirrored.owned):
            return
        try:
            with live.state.heard.listening() as meanwhile:
                texts = await self._invoked(question)
            self._tell_after(mirrored, live, check, (texts, names - meanwhile))
        except CommandError as error:
            _note_failure(question, error)
            if error.code not in _SILENCE:
                return
            self._devices.suspect(mirrored.udn)
        except Exception:  # noqa: BLE001 - the others are to be asked in any case
            _log.exception("poll_crashed", service=question.service_id)
            return
        check.note_asked(asyncio.get_running_loop().time())

    def _tell_after(
        self,
        mirrored: MirroredDevice,
        live: LiveService,
        check: AwaitedAnswer,
        answer: tuple[Mapping[str, str], AbstractSet[str]],
    ) -> None:
        """Tell what an answer says; events that say otherwise are not to be relied on."""
        texts, names = answer
        question = check.question
        for_good: list[tuple[Key, str]] = []
        once: list[tuple[Key, str]] = []
        for name in names:
            argument, key, when = question.wanted[name]
            if argument in texts:
                text = texts[argument]
                if name in check.told and live.differs(key, text):
                    live.state.heard.untrue.add(name)
                (once if when is When.DONE else for_good).append((key, text))
        if mirrored.online and mirrored.owned:
            if for_good:
                self._tell(question, for_good)
            if once:
                self._sink.apply_answers(question.service_id, once)

    async def _invoked(self, question: Question) -> Mapping[str, str]:
        self.questions += 1
        return await self._devices.invoke(
            question.service, question.action.name, question.arguments, ANSWER_S
        )

    def _tell(self, question: Question, told: list[tuple[Key, str]]) -> None:
        self._answering = question
        try:
            self._sink.apply_answers(question.service_id, told, regularly=True)
        finally:
            self._answering = None


class _Hearings(Mapping[str, Hearing]):
    """What events tell of each service when it is looked up: an answer may tell that one plays."""

    def __init__(self, mirrored: MirroredDevice, states: Mapping[str, str]) -> None:
        self._mirrored = mirrored
        self._states = states

    def __getitem__(self, service_id: str) -> Hearing:
        live = self._mirrored.services[service_id]
        return _heard(live, self._states.get(service_id, "refused"), self._mirrored)

    def __iter__(self) -> Iterator[str]:
        return iter(self._mirrored.services)

    def __len__(self) -> int:
        return len(self._mirrored.services)


def _note_failure(question: Question, error: CommandError) -> None:
    service, action = question.service_id, question.action.name
    _log.debug("poll_failed", service=service, action=action, reason=error.reason)


def _heard(live: LiveService, state: str, mirrored: MirroredDevice) -> Hearing:
    return Hearing(
        state in _DEAF,
        live.state.told,
        _plays(mirrored.players.get(live.id)),
        live.state.heard.proven,
        is_awaited=state == "awaited",
    )


def _plays(player: Player | None) -> bool:
    if player is None:
        return False
    values = player.transport.state.values
    return any(
        values.get(key) == "PLAYING" for key in (Key("TransportState", "0"), Key("TransportState"))
    )
