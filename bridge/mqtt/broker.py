"""The broker as something that is always there: session after session, with pauses between them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random

import structlog

from bridge.core.messages import Publication
from bridge.errors import BrokerError, BrokerRefused
from bridge.mqtt.dial import Dial, dial
from bridge.mqtt.endpoint import BrokerOptions, Endpoint, Protocol
from bridge.mqtt.limits import ProtocolUnknown, SessionTakenOver
from bridge.mqtt.session import Session, Source

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_GOOD_S = 60.0
_UNREACHABLE_S = (1.0, 20.0)
_REFUSED_S = (60.0, 300.0)


def pause_s(error: BrokerError, failures: int, rng: Random) -> float:
    """Return how long to leave an endpoint alone after so many failures in a row (1 or more).

    At random between the class's least pause and that doubled with every failure, up to its most:
    1 to 20 s, and 60 to 300 s where the broker does not want us.
    """
    least, most = _REFUSED_S if isinstance(error, BrokerRefused) else _UNREACHABLE_S
    return rng.uniform(least, min(most, least * 2.0 ** min(failures, 16)))


@dataclass(slots=True)
class BrokerState:
    """What health and metrics tell. `url` is the last endpoint tried, without credentials."""

    connected: bool = False
    reconnects: int = 0
    url: str = ""


@dataclass(slots=True)
class _Attempts:
    """What is known of one endpoint."""

    endpoint: Endpoint
    due_s: float = 0.0
    failures: int = 0
    protocol: Protocol | None = None


class _Nothing:
    """A source that has nothing to publish."""

    def take(self) -> None:
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
        self._will = will
        self._source = source
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._dial = dial
        self._pause = pause
        self._endpoints = [_Attempts(endpoint) for endpoint in options.endpoints]
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
            opened_s = clock()
            try:
                session = await self._open(attempts)
                opened_s = clock()
                await self._hold(session, serve)
            except BrokerError as error:
                if session and clock() - opened_s >= _GOOD_S:
                    attempts.failures = 0
                if not session:
                    attempts.protocol = None
                attempts.failures += 1
                attempts.due_s = clock() + pause_s(error, attempts.failures, self._rng)
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
        will = self._will._replace(topic=f"{self._will.topic}/{name}", payload=b"", retain=False)
        session = await Session.open(
            attempts.endpoint,
            options,
            will,
            _Nothing(),
            protocol=attempts.protocol or "5",
            dial=self._dial,
        )
        try:
            yield session
        finally:
            await session.close()

    async def _open(self, attempts: _Attempts) -> Session:
        """Connect with the newest MQTT that the options allow and the broker speaks."""
        wanted = self._options.protocol
        protocol = attempts.protocol or ("5" if wanted == "auto" else wanted)
        try:
            session = await self._open_as(attempts, protocol)
        except ProtocolUnknown:
            if wanted != "auto" or protocol != "5":
                raise
            session = await self._open_as(attempts, "3.1.1")
        attempts.protocol = session.protocol
        return session

    async def _open_as(self, attempts: _Attempts, protocol: Protocol) -> Session:
        return await Session.open(
            attempts.endpoint,
            self._options,
            self._will,
            self._source,
            protocol=protocol,
            dial=self._dial,
        )

    async def _hold(self, session: Session, serve: Callable[[Session], Awaitable[None]]) -> None:
        """Serve until that is done or the session is lost; raise why it was."""
        _log.info("broker_connected", url=self.state.url, protocol=session.protocol)
        self.state.connected = True
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
        log("broker_unavailable", url=self.state.url, reason=str(error))


def _first(group: ExceptionGroup[BrokerError]) -> BrokerError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
