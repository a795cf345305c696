"""The broker as something that is always there: session after session, with pauses between them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, TypeVar

import structlog

from bridge.errors import BrokerError, BrokerRefused, BrokerUnreachable
from bridge.mqtt.dial import Dial, dial
from bridge.mqtt.filters import Filters
from bridge.mqtt.limits import ProtocolUnknown, SessionTakenOver, WillRefused
from bridge.mqtt.paho_socket import CONNECT_S
from bridge.mqtt.session import Session, Source
from bridge.mqtt.url import BrokerOptions, Endpoint, Protocol
from bridge.tree.messages import Publication

_Opened = TypeVar("_Opened")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_GOOD_S = 60.0
_UNREACHABLE_S = (1.0, 4.0)
_THROWN_OUT_S = (1.0, 20.0)
_LEARNING_S = (0.2, 1.0)
_REFUSED_S = (60.0, 300.0)
_SHORT_S = 5.0
"""A session that ends within so long has been thrown out: the broker is there."""

_ROUND_S = 3.0
"""How long a round of attempts at all endpoints may hang where each answers nothing."""
_LEAST_S = 0.5
_REST_S = 0.25
"""The least pause behind an attempt that has hung."""
_STILL_MUTE = 20
"""Failures after which a broker that spoke MQTT 5 is taken for one that does not any more."""
_PATIENT_AT = 8
"""After so many failures, and each power of that, an attempt has all the time: some brokers are
slow to let anyone in, a cluster that mends itself among them."""


def pause_s(error: BrokerError, failures: int, rng: Random, *, thrown_out: bool = False) -> float:
    """Return how long after an attempt began the next one is due, after so many failures in a row.

    At random between the class's least pause and that doubled with every failure, up to its most:
    1 to 4 s, so that a broker is found within 5 s of its return; 60 to 300 s where it does not want
    us, and 1 to 20 s where it has let us in and `thrown_out` again.
    """
    if isinstance(error, BrokerRefused):
        least, most = _REFUSED_S
    else:
        least, most = _THROWN_OUT_S if thrown_out else _UNREACHABLE_S
    return rng.uniform(least, min(most, least * 2.0 ** min(failures, 16)))


def patience_s(failures: int, endpoints: int, needed_s: float | None) -> float:
    """Return how long an attempt may last, after so many failures in a row.

    Little, since one that takes connections and answers nothing would keep us from the moment of
    its return, or from another: three times as long as it `needed_s` before, at least. One that
    never let us in is given all the time that there is after 8 failures, 64 and so on.
    """
    usual_s = max(_LEAST_S, _ROUND_S / endpoints)
    if needed_s is not None:
        return min(max(usual_s, 3 * needed_s), CONNECT_S)
    rounds = failures
    while rounds and rounds % _PATIENT_AT == 0:
        rounds //= _PATIENT_AT
    return CONNECT_S if failures > 1 and rounds == 1 else usual_s


@dataclass(slots=True)
class BrokerState:
    """What health and metrics tell. `url` is the last endpoint tried, without credentials."""

    connected: bool = False
    reconnects: int = 0
    url: str = ""
    reason: str = ""
    """Why there is no connection."""
    problems: tuple[str, ...] = ()
    """What the broker cannot do that the bridge's store is made of."""
    refused: dict[str, str] = field(default_factory=dict)
    """Filters that it refuses, with what does not work for that."""

    def lack(self, problems: Sequence[str]) -> None:
        """Note what it cannot do, in place of what was noted before."""
        self.problems = tuple(problems)

    def begin(self) -> None:
        """Note that a session has begun, in which nothing is refused yet."""
        self.refused = {}


@dataclass(slots=True)
class _Attempts:
    """What is known of one endpoint."""

    endpoint: Endpoint
    filters: Filters
    will: Publication
    due_s: float = 0.0
    failures: int = 0
    short: int = 0
    """How many sessions in a row have ended at once."""
    protocol: Protocol | None = None
    spoke_5: bool = False
    needed_s: float | None = None
    """How long it took to be let in."""

    def may_be_old(self, error: ProtocolUnknown) -> bool:
        """Return whether MQTT 3.1.1 is worth a try.

        What stands before a broker that is just starting may end a connection without a word too.
        """
        return not (error.is_mute and self.spoke_5 and self.failures < _STILL_MUTE)


async def open_newest(
    wanted: Literal["auto"] | Protocol,
    open_as: Callable[[Protocol], Awaitable[_Opened]],
    *,
    known: Protocol | None = None,
    may_be_old: Callable[[ProtocolUnknown], bool] = lambda _: True,
) -> _Opened:
    """Connect with the newest MQTT that is wanted and the broker speaks; `known` goes first.

    Raises what `open_as` raises; ProtocolUnknown where nothing older `may_be` worth a try.
    """
    first = known or ("5" if wanted == "auto" else wanted)
    try:
        return await open_as(first)
    except ProtocolUnknown as error:
        if wanted != "auto" or first != "5" or not may_be_old(error):
            raise
    return await open_as("3.1.1")


class _Nothing:
    """A source that has nothing to publish."""

    has_bulk = False

    def take(self, **_: object) -> None:
        """Return nothing."""


class Broker:
    """One broker behind one or more endpoints; `run` keeps a session with it."""

    def __init__(  # noqa: PLR0913 - most by name
        self,
        options: BrokerOptions,
        will: Publication,
        source: Source,
        *,
        rng: Random | None = None,
        dial: Dial = dial,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.state = BrokerState()
        self._options = options
        self._source = source
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._dial = dial
        self._pause = pause
        self._endpoints = [
            _Attempts(endpoint, Filters(time.monotonic), will) for endpoint in options.endpoints
        ]
        self._was_connected = False
        self._warned: set[tuple[Endpoint, type[BrokerError]]] = set()

    async def run(self, serve: Callable[[Session], Awaitable[None]]) -> None:
        """Run `serve` with one session after another, until it returns.

        It is cancelled when its session is lost. Of its errors, a BrokerError ends the session and
        any other propagates, in an ExceptionGroup. Raises ConfigError for a TLS file that cannot
        be read.
        """
        clock = asyncio.get_running_loop().time
        while True:
            attempts = min(self._endpoints, key=lambda each: each.due_s)
            if (rest_s := attempts.due_s - clock()) > 0:
                await self._pause(rest_s)
            self.state.url = str(attempts.endpoint)
            session: Session | None = None
            began_s = opened_s = clock()
            try:
                session = await self._open(attempts)
                opened_s = clock()
                attempts.needed_s = opened_s - began_s
                await self._hold(session, serve)
            except BrokerError as error:
                if session and clock() - opened_s >= _GOOD_S:
                    attempts.failures = 0
                if not session:
                    attempts.protocol = None
                attempts.failures += 1
                is_short = session is not None and clock() - opened_s < _SHORT_S
                attempts.short = attempts.short + is_short if is_short or not session else 0
                if is_short and attempts.filters.has_suspects:
                    # The next session tells more of which filter the broker does not bear.
                    pause = self._rng.uniform(*_LEARNING_S)
                else:
                    failures = attempts.short if is_short else attempts.failures
                    pause = pause_s(error, failures, self._rng, thrown_out=is_short)
                if session or isinstance(error, BrokerRefused):
                    began_s = clock()
                attempts.due_s = max(began_s + pause, clock() + self._rng.uniform(_REST_S, 1.0))
                self._tell(attempts, error)
            else:
                return

    @asynccontextmanager
    async def beside(self, name: str) -> AsyncIterator[Session]:
        """Give a session beside the one that is there, of a client with this name behind ours.

        Nothing is published by its end. Raises as `Session.open` does.
        """
        attempts = min(self._endpoints, key=lambda each: str(each.endpoint) != self.state.url)
        options = replace(self._options, client_id=f"{self._options.client_id}-{name}")
        will = attempts.will
        will = will._replace(topic=f"{will.topic}/{name}", payload=b"", retain=False)
        session = await Session.open(
            attempts.endpoint,
            options,
            will,
            _Nothing(),
            protocol=attempts.protocol or "5",
            dial=self._dial,
            needs_retained=False,
        )
        try:
            yield session
        finally:
            await session.close()

    async def _open(self, attempts: _Attempts) -> Session:
        """Connect with the newest MQTT that the options allow and the broker speaks."""
        try:
            session = await open_newest(
                self._options.protocol,
                lambda protocol: self._open_as(attempts, protocol),
                known=attempts.protocol,
                may_be_old=attempts.may_be_old,
            )
        except ProtocolUnknown as error:
            if error.is_mute:
                raise BrokerUnreachable(error.reason) from error
            raise
        attempts.protocol = session.protocol
        attempts.spoke_5 = session.protocol == "5"
        return session

    async def _open_as(self, attempts: _Attempts, protocol: Protocol) -> Session:
        """Connect; with a will that the broker takes, where it refuses ours."""
        for will in (attempts.will, attempts.will._replace(qos=0, retain=False)):
            attempts.will = will
            try:
                return await self._open_with(attempts, protocol)
            except WillRefused:
                if not (will.retain or will.qos):
                    raise
        raise AssertionError("unreachable")

    async def _open_with(self, attempts: _Attempts, protocol: Protocol) -> Session:
        return await Session.open(
            attempts.endpoint,
            self._options,
            attempts.will,
            self._source,
            protocol=protocol,
            dial=self._dial,
            filters=attempts.filters,
            needs_retained=False,
            limit_s=patience_s(attempts.failures, len(self._endpoints), attempts.needed_s),
        )

    async def _hold(self, session: Session, serve: Callable[[Session], Awaitable[None]]) -> None:
        """Serve until that is done or the session is lost; raise why it was."""
        _log.info("broker_connected", url=self.state.url, protocol=session.protocol)
        self.state.connected = True
        self.state.reason = ""
        self.state.reconnects += self._was_connected
        self._was_connected = True
        self._warned.clear()
        lost: BrokerError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(session.wait_lost(), name="mqtt.lost")
                await serve(session)
                watch.cancel()
        except* BrokerError as group:
            lost = _first(group)
        finally:
            self.state.connected = False
            await session.close()
        if (task := asyncio.current_task()) and task.cancelling():
            # Up to Python 3.12 a TaskGroup that has an error to raise forgets a cancellation.
            raise asyncio.CancelledError
        if lost:
            raise lost

    def _tell(self, attempts: _Attempts, error: BrokerError) -> None:
        """Warn of the first failure of each kind since the last connection."""
        key = (attempts.endpoint, type(error))
        log = _log.debug if key in self._warned else _log.warning
        self._warned.add(key)
        if isinstance(error, SessionTakenOver):
            log = _log.error
        self.state.reason = str(error)
        log("broker_unavailable", url=self.state.url, reason=str(error))


def _first(group: ExceptionGroup[BrokerError]) -> BrokerError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
