"""What is done with each session with the broker: its tree is made right, requests are taken."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from secrets import token_bytes
from typing import TypeVar

import structlog

from bridge import runtime
from bridge.app.ownership import Ownership
from bridge.app.upkeep import AUDITED_AFTER_FLOOD, Upkeep, Watched
from bridge.errors import BrokerError
from bridge.mqtt.reconnect import Broker
from bridge.mqtt.session import Session
from bridge.mqtt.survey import Lack, Survey, told
from bridge.publishing import Publishing
from bridge.requests.dispatch import Dispatch, limit, purpose
from bridge.settings import Settings
from bridge.tree import reading
from bridge.tree.messages import Message, Publication
from bridge.tree.mirror import RememberedDevice

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

_FAREWELL_S = 0.5
_COUNTED = 1_000
"""Topics from which on it is seen whether a broker hands over so many at once."""
_MOST_TOLD = 20
"""Filters of which a warning and the health document tell."""
_LARGE_TREE = 10_000
"""Topics from which on the memory that it took to read them is given back."""


class BrokerLink:
    """The broker's side of the bridge.

    Before `online` is said, `settle` gets what the broker remembers, and waits until the devices
    that are there have been found. `online` is set while the broker has been told so.
    """

    def __init__(  # noqa: PLR0913 - a part each
        self,
        settings: Settings,
        publishing: Publishing,
        broker: Broker,
        watched: Watched,
        ownership: Ownership,
        *,
        settle: Callable[[Sequence[RememberedDevice]], Awaitable[None]],
        online: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._publishing = publishing
        self._broker = broker
        self._watched = watched
        self._settle = settle
        self._online = online
        self._session: Session | None = None
        self._ownership = ownership
        self._told: tuple[str, ...] = ()
        self._lacks: frozenset[Lack] = frozenset()
        self._is_counted = False
        self._count_from = 0
        self._waking: asyncio.TimerHandle | None = None
        publishing.attach(self)

    async def run(self, dispatch: Dispatch) -> None:
        """Keep a session with the broker until cancelled; requests go to `dispatch`."""
        await self._broker.run(lambda session: self._serve(session, dispatch))

    @property
    def is_open(self) -> bool:
        """Whether there is a session that what is published goes by."""
        return self._session is not None

    async def flush(self) -> None:
        """Wait until the broker has all that was to be published."""
        if self._session is not None:
            await self._session.flush()

    def wake(self) -> None:
        """Have the session take what there is to publish."""
        if self._session is not None:
            self._session.wake()

    def wake_in(self, delay_s: float) -> None:
        """Have it take that in so many seconds, or before."""
        at_s = asyncio.get_running_loop().time() + delay_s
        if self._waking is not None:
            if self._waking.when() <= at_s:
                return
            self._waking.cancel()
        self._waking = asyncio.get_running_loop().call_at(at_s, self._wake_now)

    def _wake_now(self) -> None:
        self._waking = None
        self.wake()

    async def leave(self) -> None:
        """Publish what is left, and say `offline`; takes 1 s at most."""
        self._online.clear()
        self._publishing.mirror.set_presence(b"offline")
        self._publishing.leave()
        if (session := self._session) is not None:
            for farewell in (session.flush, lambda: session.publish(self._state(b"offline"))):
                with suppress(BrokerError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await farewell()

    async def _serve(self, session: Session, dispatch: Dispatch) -> None:
        """Bring the broker to the wanted tree, then take requests until the session is lost."""
        publishing, echoes = self._publishing, session.protocol != "5"
        held: dict[str, bytes] = {}
        try:
            self._ownership.prepare()
            await self._survey(session, dispatch, held)
            is_large = len(held) > _LARGE_TREE
            is_online_there = held.get(publishing.state_topic) == b"online"
            max_payload = self._settings.mqtt.max_payload
            remembered = await _in_pieces(
                publishing.opening(held, max_payload, session.max_payload)
            )
            dispatch.begin(echoes=echoes)
            self._ownership.begin(echoes=echoes)
            if is_online_there:
                # A broker that was restarted still says so; what was asked since then is lost.
                await session.publish(self._state(b"offline"))
            self._session = session
            # Before requests: whose a device is follows from the order in which all that comes.
            refused = await session.try_subscribe(
                self._ownership.filters, self._hear, as_news=True, echoes=True
            )
            self._warn("filter_refused", dispatch, refused)
            session.start()
            self._ownership.greet()
            await self._subscribe(session, dispatch, dispatch.filters, dispatch.receive)
            await self._settle(remembered)
            await self._ownership.settled()
            await session.flush()
            await self._subscribe(session, dispatch, self._ownership.further_filters, self._hear)
            await session.publish(self._state(b"online"))
            self._online.set()
            self._ownership.go_online()
            publishing.mirror.set_presence(b"online")
            if is_large:
                runtime.give_memory_back()
            await self._await_births(session, dispatch)
            _log.info(
                "online",
                devices=len(publishing.mirror.mirrored_devices),
                published=publishing.counters.publications,
            )
            await self._keep_right(session, dispatch)
        finally:
            self._online.clear()
            publishing.mirror.set_presence(b"offline")
            self._session = None
            self._ownership.close()
            publishing.close()

    async def _survey(self, session: Session, dispatch: Dispatch, held: dict[str, bytes]) -> None:
        """Read what the broker holds, and tell what it cannot do."""
        shape = self._publishing.shape
        survey = Survey(
            lambda: reading.pieces(shape, held),
            lambda: reading.hub_pieces(shape, held),
            held=held,
            base=shape.base,
            probe=f"{shape.own}/probe",
            token=token_bytes(12).hex().encode(),
        )
        if session.limits.retain:
            await session.read(survey.steps(), survey.take, self._marker)
        else:
            survey.lacks.add(Lack.RETAINED)
        state, self._lacks = self._broker.state, frozenset(survey.lacks)
        self._tell_lacks(told(survey.lacks, survey.limit))
        state.begin()
        self._is_counted = bool(survey.lacks) or len(held) > _COUNTED
        self._count_from = self._publishing.counters.publications + _COUNTED
        self._warn("retained_read_refused", dispatch, survey.refused)

    @property
    def _marker(self) -> str:
        shape = self._publishing.shape
        return f"{shape.base}/reply/{shape.instance}"

    def _tell_lacks(self, problems: Sequence[str]) -> None:
        """Tell what the broker cannot do, once as long as it stays so."""
        state = self._broker.state
        state.lack(problems)
        if state.problems and state.problems != self._told:
            _log.error(
                "broker_capability_missing", problem="; ".join(state.problems), url=state.url
            )
        self._told = state.problems

    async def _count(self) -> None:
        """See, once there are many topics, whether one subscription brings them all.

        In a session beside ours: a command that comes by two filters at once may come twice.
        """
        publishing = self._publishing
        published = publishing.counters.publications
        if self._is_counted or published < self._count_from or publishing.mirror.waiting:
            return
        self._count_from = published + _COUNTED
        held: dict[str, bytes] = {}
        for piece in publishing.mirror.repair.auditing(AUDITED_AFTER_FLOOD):
            held.update(dict.fromkeys(piece, b"1"))
            await asyncio.sleep(0)
        if len(held) <= _COUNTED:
            return
        self._is_counted = True
        survey = Survey(tuple, held=held, base=publishing.shape.base, probe="", token=b"")
        try:
            async with self._broker.beside("reader") as reader:
                await reader.read(survey.counting(), survey.take, self._marker)
        except BrokerError as error:
            _log.debug("retained_count_failed", reason=str(error))
        if survey.lacks:
            self._lacks |= survey.lacks
            self._tell_lacks(told(self._lacks, survey.limit))

    async def _subscribe(
        self,
        session: Session,
        dispatch: Dispatch,
        filters: Sequence[str],
        on_message: Callable[[Message], None],
    ) -> None:
        """Subscribe; what the broker refuses costs what it was for."""
        refused = await session.try_subscribe(filters, on_message)
        self._warn("filter_refused", dispatch, refused)

    async def _await_births(self, session: Session, dispatch: Dispatch) -> None:
        """Hear of hubs that start."""
        births = self._publishing.shape.birth_topics
        refused = await session.try_subscribe(births, self._publishing.hub_started, as_news=True)
        self._warn("hub_birth_refused", dispatch, refused)

    def _warn(self, event: str, dispatch: Dispatch, refused: Mapping[str, str]) -> None:
        """Tell once what is lost by filters that the broker refuses."""
        if not refused:
            return
        base, some = self._publishing.shape.base, list(refused)[:_MOST_TOLD]
        lost = {one: purpose(one, base) for one in some}
        self._broker.state.refused.update(lost)
        common = limit(refused, dispatch.filters)
        _log.warning(
            event,
            reason="; ".join(f"subscription to {one}: {refused[one]}" for one in some),
            **({"limit": common} if common else {}),
            lost="; ".join(lost.values()),
        )

    def _hear(self, message: Message) -> None:
        """Hear others; where we are called offline, say `online` again, and what we have done."""
        if not self._ownership.receive(message) and self._online.is_set():
            self._publishing.publish_taken()
            self._publishing.mirror.ledger.put(self._publishing.state_topic, b"online")
            self.wake()

    async def _keep_right(self, session: Session, dispatch: Dispatch) -> None:
        """Write again what others overwrite, until the session is lost."""
        asked = set(dispatch.filters) - self._broker.state.refused.keys()
        deepest = max((one.count("/") for one in asked), default=0)
        upkeep = Upkeep(session, self._watched, self._publishing, deepest)
        await upkeep.begin()
        while True:
            await upkeep.wait()
            await self._count()
            await upkeep.step(has_retained=Lack.RETAINED not in self._lacks)

    def _state(self, payload: bytes) -> Publication:
        return Publication(self._publishing.state_topic, payload)


async def _in_pieces(steps: Generator[None, None, _Result]) -> _Result:
    """Return the result of what is done in pieces, and let others go on between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
        await asyncio.sleep(0)
