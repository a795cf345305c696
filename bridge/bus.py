"""The MQTT side, assembled: sessions with the broker, and the commands that come by them."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from secrets import token_bytes
from typing import TypeVar

import structlog

from bridge import runtime
from bridge.adapters import Adapters
from bridge.errors import BrokerError, Code, CommandError, ConfigError
from bridge.model import topics
from bridge.monitoring.health_document import Health
from bridge.mqtt.reconnect import Broker
from bridge.mqtt.session import QUIET_S, Session
from bridge.mqtt.survey import Ask, Await, Lack, Steps, Survey, told
from bridge.mqtt.url import BrokerOptions, parse_url
from bridge.network import Network
from bridge.requests import subscriptions
from bridge.requests.bridge_request import Verbs
from bridge.requests.call_queue import Calls, Limits
from bridge.requests.replies import Answers
from bridge.router import Router
from bridge.settings import Settings
from bridge.tree.messages import Message, Publication

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

_CALLS_GRACE_S = 1.0
_FAREWELL_S = 0.5
_MEND_S = 1.0
_AUDITED_AT_ONCE = 100
_AUDITED_AFTER_FLOOD = 500
_COUNTED = 1_000
"""Topics from which on it is seen whether a broker hands over so many at once."""
_LATE_S = 2.0
"""How long it must be quiet before something is taken for missing at the broker."""
_ANSWER_S = 5.0
"""How long a bridge may take to say that it is there."""
_MOST_TOLD = 20
"""Filters of which a warning and the health document tell."""
_LARGE_TREE = 10_000
"""Topics from which on what it took to read them is worth to be given back."""


def broker_options(settings: Settings, urls: Sequence[str], client_id: str) -> BrokerOptions:
    """Return how to connect to the broker at these URLs. Raises ConfigError."""
    try:
        endpoints = tuple(parse_url(url) for url in urls)
    except ValueError as error:
        raise ConfigError(f"mqtt.url: {error}") from error
    return BrokerOptions(
        endpoints=endpoints,
        client_id=client_id,
        username=settings.username(),
        password=settings.password(),
        tls_ca=settings.mqtt.tls_ca,
        tls_cert=settings.mqtt.tls_cert,
        tls_key=settings.mqtt.tls_key,
        protocol=settings.mqtt.protocol,
        keepalive_s=settings.mqtt.keepalive,
    )


async def _answers(session: Session, own: str) -> bool:
    """Return whether a bridge answers that is called online; a dead one's will may be lost."""
    answered = asyncio.Event()
    await session.subscribe((f"{own}/response/health",), lambda _: answered.set(), as_news=True)
    asked = Publication(f"{own}/request/health", b"{}", retain=False)
    await session.publish(asked)
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            await answered.wait()
    return answered.is_set()


class Bus:
    """The broker's side of the bridge.

    Before `online` is said, `settle` waits until the devices that are there have been found; it
    is told whether the broker remembered some. `online` is set while the broker has been told so.
    """

    def __init__(  # noqa: PLR0913 - most by name
        self,
        settings: Settings,
        router: Router,
        network: Network,
        adapters: Adapters,
        *,
        urls: Sequence[str],
        settle: Callable[[bool], Awaitable[None]],
        online: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._router = router
        self._network = network
        self._settle = settle
        self._session: Session | None = None
        self._online = online
        answer = Answers(
            router.answer,
            lambda: router.broker_limit,
            base=settings.mqtt.base_topic,
            filters=settings.mqtt.response_topics,
        )
        self.calls = Calls(
            mirror=router.mirror,
            answer=answer,
            invoke=network.invoke,
            limits=Limits(
                settings.upnp.action_timeout, settings.read_only, settings.mqtt.max_payload
            ),
            base=settings.mqtt.base_topic,
            is_elsewhere=router.is_elsewhere,
            is_denied=network.directory.is_denied,
            suspect=network.directory.suspect,
            told=router.values_told,
            acting=network.acting,
        )
        network.polls.is_busy = self.calls.is_busy
        base = settings.mqtt.base_topic
        # The client id is the same at every start, so that a broker ends what is left of an
        # earlier connection before it could publish that one's will after our `online`.
        client_id = "-".join(["upnp2mqtt", settings.instance, *([] if base == "upnp" else [base])])
        self.broker = Broker(
            broker_options(settings, urls, client_id),
            self._state(b"offline"),
            router,
            rng=adapters.rng,
            dial=adapters.dial,
        )
        self.health = Health(settings, router, network, self.broker, self.calls)
        self.verbs = Verbs(
            mirror=router.mirror,
            answer=answer,
            directory=network.directory,
            search=network.discovery.search,
            forget=network.forget,
            forget_instance=self._forget_instance,
            wake=self.wake,
            health=self.health.document,
            diagnostics=self.health.diagnostics,
            max_bytes=settings.mqtt.max_payload,
        )
        self._told: tuple[str, ...] = ()
        self._lacks: frozenset[Lack] = frozenset()
        self._is_counted = False
        self._count_from = 0
        self._waking: asyncio.TimerHandle | None = None
        router.wake = self.wake
        router.wake_in = self._wake_in

    async def run(self) -> None:
        """Keep a session with the broker until cancelled."""
        await self.broker.run(self._serve)

    def wake(self) -> None:
        """Say that the router may have something to publish."""
        if self._session is not None:
            self._session.wake()

    def _wake_in(self, delay_s: float) -> None:
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
        """Answer what is asked, end subscriptions, and say `offline`; takes less than 5 s."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.calls.close(_CALLS_GRACE_S))
            tasks.create_task(self.verbs.close())
            tasks.create_task(self._network.subscriptions.close())
        self._online.clear()
        self._router.is_leaving = True
        if (session := self._session) is not None:
            for farewell in (session.flush, lambda: session.publish(self._state(b"offline"))):
                with suppress(BrokerError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await farewell()

    async def _serve(self, session: Session) -> None:
        """Bring the broker to the wanted tree, then take commands until the session is lost."""
        router, mqtt = self._router, self._settings.mqtt
        held: dict[str, bytes] = {}
        try:
            await self._survey(session, held)
            is_large = len(held) > _LARGE_TREE
            is_online_there = held.get(router.state_topic) == b"online"
            remembered = await _in_pieces(
                router.opening(
                    held, mqtt.max_payload, session.max_payload, echoes=session.protocol != "5"
                )
            )
            if is_online_there:
                # A broker that was restarted still says so; what was asked since then is lost.
                await session.publish(self._state(b"offline"))
            self._network.expect(remembered)
            self._session = session
            session.start()
            await self._subscribe(session, router.command_filters, self._command)
            await self._settle(bool(remembered))
            await session.flush()
            await self._subscribe(session, router.neighbour_filters, self._neighbour)
            await session.publish(self._state(b"online"))
            self._online.set()
            if is_large:
                runtime.give_memory_back()
            await self._await_births(session)
            _log.info(
                "online",
                devices=len(router.mirror.branches),
                published=router.counters.publications,
            )
            await self._keep_right(session)
        finally:
            self._online.clear()
            self._session = None
            router.close()

    async def _survey(self, session: Session, held: dict[str, bytes]) -> None:
        """Read what the broker holds, and tell what it cannot do."""
        router, base, instance = (
            self._router,
            self._settings.mqtt.base_topic,
            self._settings.instance,
        )
        survey = Survey(
            lambda: router.pieces(held),
            lambda: router.hub_pieces(held),
            held=held,
            base=base,
            probe=f"{base}/bridge/{instance}/probe",
            token=token_bytes(12).hex().encode(),
        )
        if session.limits.retain:
            await session.read(survey.steps(), survey.take, f"{base}/reply/{instance}")
        else:
            survey.lacks.add(Lack.RETAINED)
        state, self._lacks = self.broker.state, frozenset(survey.lacks)
        self._tell_lacks(told(survey.lacks, survey.limit))
        state.refused = {}
        self._is_counted = bool(survey.lacks) or len(held) > _COUNTED
        self._count_from = self._router.counters.publications + _COUNTED
        self._warn("retained_read_refused", survey.refused)

    def _tell_lacks(self, problems: Sequence[str]) -> None:
        """Tell what the broker cannot do, once as long as it stays so."""
        state = self.broker.state
        state.problems = tuple(problems)
        if state.problems and state.problems != self._told:
            _log.error(
                "broker_capability_missing", problem="; ".join(state.problems), url=state.url
            )
        self._told = state.problems

    async def _count(self) -> None:
        """See, once there are many topics, whether one subscription brings them all.

        In a session beside ours: a command that comes by two filters at once may come twice.
        """
        router, base, instance = (
            self._router,
            self._settings.mqtt.base_topic,
            self._settings.instance,
        )
        published = router.counters.publications
        if self._is_counted or published < self._count_from or router.mirror.waiting:
            return
        self._count_from = published + _COUNTED
        held: dict[str, bytes] = {}
        for piece in router.mirror.auditing(_AUDITED_AFTER_FLOOD):
            held.update(dict.fromkeys(piece, b"1"))
            await asyncio.sleep(0)
        if len(held) <= _COUNTED:
            return
        self._is_counted = True
        survey = Survey(tuple, held=held, base=base, probe="", token=b"")
        try:
            async with self.broker.beside("reader") as reader:
                await reader.read(survey.counting(), survey.take, f"{base}/reply/{instance}")
        except BrokerError as error:
            _log.debug("retained_count_failed", reason=str(error))
        if survey.lacks:
            self._lacks |= survey.lacks
            self._tell_lacks(told(self._lacks, survey.limit))

    async def _subscribe(
        self, session: Session, filters: Sequence[str], on_message: Callable[[Message], None]
    ) -> None:
        """Subscribe; what the broker refuses costs what it was for."""
        refused = await session.try_subscribe(filters, on_message)
        self._warn("filter_refused", refused)

    async def _await_births(self, session: Session) -> None:
        """Hear of hubs that start."""
        births = self._router.birth_topics
        refused = await session.try_subscribe(births, self._router.hub_born, as_news=True)
        self._warn("hub_birth_refused", refused)

    def _warn(self, event: str, refused: Mapping[str, str]) -> None:
        """Tell once what is lost by filters that the broker refuses."""
        if not refused:
            return
        router, some = self._router, list(refused)[:_MOST_TOLD]
        lost = {one: router.purpose(one) for one in some}
        self.broker.state.refused.update(lost)
        limit = subscriptions.limit(refused, router.command_filters)
        _log.warning(
            event,
            reason="; ".join(f"subscription to {one}: {refused[one]}" for one in some),
            **({"limit": limit} if limit else {}),
            lost="; ".join(lost.values()),
        )

    async def _forget_instance(self, instance: str) -> object:
        """Clear what another instance has left, its devices first; raises CommandError."""
        router, session = self._router, self._session
        if not topics.is_level(instance):
            raise CommandError(Code.BAD_REQUEST, "instance must be the name of a bridge")
        if instance == self._settings.instance:
            raise CommandError(Code.DENIED, f"{instance} is this bridge")
        remains = router.remains(instance)
        marker = f"{self._settings.mqtt.base_topic}/reply/{self._settings.instance}"
        try:
            async with self.broker.beside("reader") as reader:
                await reader.read_retained(
                    remains.pieces(),
                    remains.held.__setitem__,
                    marker_topic=marker,
                    optional=remains.hub_pieces(),
                )
                if remains.says_online and await _answers(reader, remains.own):
                    raise CommandError(Code.DENIED, f"{instance} is online: stop it first")
            if not (remains.bridge() or remains.devices(lambda _: False)) or session is None:
                raise CommandError(Code.UNKNOWN_DEVICE, f"nothing is left of {instance[:100]}")
            devices = router.clear_devices(remains)
            await session.flush()
            count = router.clear_bridge(remains)
            await session.flush()
        except BrokerError as error:
            raise CommandError(Code.INTERNAL, f"the broker: {error}") from error
        _log.info("instance_forgotten", instance=instance, devices=len(devices), topics=count)
        return {"instance": instance, "devices": devices}

    async def _keep_right(self, session: Session) -> None:
        """Write again what others overwrite, until the session is lost.

        With MQTT 5 the broker tells of it. Where it does not, it is looked at what it holds, a
        hundred topics at a time; and once at all where so much came that some may be missing.
        """
        router = self._router
        is_told = session.protocol == "5"
        watched = frozenset[str]()
        is_audited = not is_told or await self._watch(session, router.watched_filters)
        auditing: Iterator[dict[str, bytes]] = iter(())
        while True:
            if is_told and (new := router.watched_topics()) is not watched:
                await self._watch(session, new - watched)
                watched = new
            with suppress(TimeoutError):
                async with asyncio.timeout(_MEND_S):
                    await session.wait_lost()
            await self._count()
            if Lack.RETAINED in self._lacks:
                pass  # nothing is there to be looked at
            elif router.was_flooded():
                for piece in router.mirror.auditing(_AUDITED_AFTER_FLOOD):
                    await self._audit(session, piece)
                    await _at_leisure(router.mending())
            elif is_audited:
                if not (piece := next(auditing, {})):
                    auditing = router.mirror.auditing(_AUDITED_AT_ONCE)
                await self._audit(session, piece)
            await _at_leisure(router.mending())

    async def _watch(self, session: Session, filters: Iterable[str]) -> bool:
        """Have the broker tell what others write; return whether it does not of all."""
        wanted = sorted(filters)
        borne = [one for one in wanted if one.count("/") <= self._deepest]
        refused = await session.try_subscribe(borne, self._router.overheard, only_new=True)
        return bool(refused) or borne != wanted

    @property
    def _deepest(self) -> int:
        """How deep filters may be: a broker may end the connection over more levels."""
        commands = set(self._router.command_filters) - self.broker.state.refused.keys()
        return max((one.count("/") for one in commands), default=0)

    async def _audit(self, session: Session, piece: dict[str, bytes]) -> None:
        """Look at what the broker holds of some topics, but for those that it does not bear."""
        router, held, deepest = self._router, dict[str, bytes](), self._deepest
        wanted = {topic: payload for topic, payload in piece.items() if topic.count("/") <= deepest}

        def steps() -> Steps:
            refused = yield Ask(tuple(topic for topic in wanted if topic not in held))
            for topic in refused if isinstance(refused, Mapping) else ():
                del wanted[topic]
            yield Await()

        if wanted:
            router.sent.clear()
            router.is_auditing = True
            marker = f"{self._settings.mqtt.base_topic}/reply/{self._settings.instance}"
            try:
                for quiet_s in (QUIET_S, _LATE_S):  # what is missing may only be late
                    if wanted.keys() - held.keys():
                        await session.read(steps(), held.__setitem__, marker, quiet_s=quiet_s)
            finally:
                router.is_auditing = False
            router.audit(wanted, held)
            if session.protocol == "5":
                # What was asked for by the same filter is not told of any more.
                again = router.watched_topics().union(router.watched_filters) & wanted.keys()
                await self._watch(session, again)

    def _state(self, payload: bytes) -> Publication:
        return Publication(self._router.state_topic, payload)

    def _command(self, message: Message) -> None:
        self._router.command(message, call=self.calls.receive, verb=self.verbs.receive)

    def _neighbour(self, message: Message) -> None:
        """Hear others; where the will of an earlier connection comes late, say `online` again."""
        if not self._router.neighbour(message) and self._online.is_set():
            self._router.mirror.ledger.put(self._router.state_topic, b"online")
            self.wake()


async def _at_leisure(steps: Iterator[None]) -> None:
    """Do all steps, and let others go on between them."""
    for _ in steps:
        await asyncio.sleep(0)


async def _in_pieces(steps: Generator[None, None, _Result]) -> _Result:
    """Return the result of what is done in pieces, and let others go on between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
        await asyncio.sleep(0)
