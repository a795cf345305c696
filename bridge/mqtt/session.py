"""One MQTT session, from CONNECT to its end; connecting again is the broker's work.

paho holds no queue here: what is not yet sent waits in the source.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from operator import itemgetter
from typing import Protocol as Interface
from typing import Self

import structlog
from paho.mqtt.matcher import MQTTMatcher
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.errors import BrokerRefused, BrokerUnreachable
from bridge.mqtt.connection import Connection
from bridge.mqtt.dial import Dial, dial
from bridge.mqtt.filters import Filters
from bridge.mqtt.limits import SessionTakenOver
from bridge.mqtt.paho_socket import CONNECT_S, Client
from bridge.mqtt.retained_reader import Reading
from bridge.mqtt.survey import PROBE_S, Ask, Await, Outcome, Say, Steps
from bridge.mqtt.url import BrokerOptions, Endpoint, Protocol
from bridge.tree.messages import Message, Publication

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

ACKNOWLEDGE_S = 60.0
_CLOSE_S = 1.0
_MAX_WARNED = 64
_MAX_BRANCH = 200
_BULK_BYTES = 65_536
"""The most bytes that may be in flight of what nobody waits for, its last payload left aside."""

_STEPS = 32
"""How many topics are looked at in one piece, where few differ from what the broker holds."""

_PUMP_S = 0.005
"""How long what nobody waits for is sent in one turn of the loop."""
_FAILURE = 0x80
"""Reason codes from here on tell of a failure (MQTT 5, section 2.4)."""

_UNSUBSCRIBE_AT_ONCE = 100
_ENDS = "the broker ends the connection because of it"
QUIET_S = 0.2
"""How long silence ends what is read of the retained tree."""

_Done = asyncio.Future[None] | None
_Answer = asyncio.Future[list[ReasonCode]]


class Source(Interface):
    """Where publications wait."""

    @property
    def has_bulk(self) -> bool:
        """Whether there may be more than `take` returned, of that which may go in bulk."""

    def take(self, *, in_bulk: bool, steps: int) -> Publication | None:
        """Return the next publication and forget it, None where there is none.

        One that may wait for others, and `has_bulk` tells of, only where it may go `in_bulk`, and
        if no more than so many `steps` are needed to find it.
        """


class Session(Connection):
    """A session with a broker; `open` makes one.

    The source is drained from `start` on, with never more in flight than the broker allows. A
    broker that acknowledges nothing for `acknowledge_s` counts as lost.
    """

    def __init__(
        self, client: Client, source: Source, protocol: Protocol, acknowledge_s: float
    ) -> None:
        super().__init__(client, protocol)
        self._acknowledge_s = acknowledge_s
        self.refused = 0
        """How many publications the broker refused, or would have ended the connection over."""
        self._source = source
        self._started = False
        self._pump_due = False
        self._is_held_up = False
        """Whether the window was full when there may have been more to send."""
        self._settled = asyncio.Event()
        self._direct: deque[tuple[Publication, _Done]] = deque()
        self._in_flight: dict[int, tuple[Publication, _Done]] = {}
        self._bulk, self._bulk_bytes = 0, 0
        self._awaited: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._progress_s = self._loop.time()
        self._subscriptions = MQTTMatcher()  # type: ignore[no-untyped-call]  # paho leaves it untyped
        self._order = count()
        self._subscribing: dict[int, tuple[str, ...]] = {}
        """The filters of each SUBSCRIBE that is not answered, by its packet identifier."""
        self.filters = Filters(self._loop.time)
        self._reading: Reading | None = None
        self._warned: set[str] = set()

    @classmethod
    async def open(  # noqa: PLR0913 - most by name
        cls,
        endpoint: Endpoint,
        options: BrokerOptions,
        will: Publication,
        source: Source,
        *,
        protocol: Protocol = "5",
        dial: Dial = dial,
        filters: Filters | None = None,
        needs_retained: bool = True,
        limit_s: float = CONNECT_S,
        acknowledge_s: float = ACKNOWLEDGE_S,
    ) -> Self:
        """Return a session that the broker accepted, within `limit_s`.

        One that keeps no retained messages refuses us, unless none is `needs_retained`. Raises
        BrokerUnreachable, BrokerRefused (as `ProtocolUnknown` where an older MQTT may do)
        and, for a TLS file that cannot be read, ConfigError.
        """
        try:
            async with asyncio.timeout(limit_s):
                client = await dial(endpoint, options, will, protocol)
                session = cls(client, source, protocol, acknowledge_s)
                session.filters = filters or session.filters
                session.needs_retained = needs_retained
                try:
                    await session.accepted()
                except BaseException:
                    session.end(BrokerUnreachable("given up"))
                    raise
        except TimeoutError as error:
            raise BrokerUnreachable(f"no answer in {limit_s:.3g} s") from error
        return session

    @property
    def max_payload(self) -> int | None:
        """The most bytes that a payload may have, None where the broker announced no limit."""
        return self.limits.max_payload

    @property
    def unacknowledged(self) -> tuple[Publication, ...]:
        """What was sent and may not have arrived, in order; after the end too."""
        return tuple(publication for publication, _ in self._in_flight.values())

    def start(self) -> None:
        """Begin to drain the source."""
        self._started = True
        self.wake()

    def wake(self) -> None:
        """Say that the source may hold something; cheap, and does nothing before `start`."""
        self._settled.clear()
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    async def flush(self) -> None:
        """Wait until the source is empty (once started) and everything is acknowledged.

        Raises as `wait_lost` does.
        """
        self.wake()
        await self._settled.wait()
        self._raise_if_lost()

    async def publish(self, publication: Publication) -> None:
        """Publish before anything that waits in the source; return when the broker has it.

        Raises BrokerRefused, or as `wait_lost` does.
        """
        self._raise_if_lost()
        done: asyncio.Future[None] = self._loop.create_future()
        self._direct.append((publication, done))
        self.wake()
        await done

    async def subscribe(
        self,
        filters: Sequence[str],
        on_message: Callable[[Message], None],
        qos: int = 1,
        *,
        as_news: bool = False,
    ) -> None:
        """Have messages of these filters handed over; one goes to the first filter that covers it.

        With MQTT 5 the retain flag stays as published and what we publish does not come back
        (MQTT 5, section 3.8.3.1); `as_news` messages have the flag only if they are of before.
        Raises BrokerRefused naming the filter, or as `wait_lost` does.
        """
        refused = await self.try_subscribe(filters, on_message, qos, as_news=as_news)
        for one, reason in refused.items():
            raise BrokerRefused(f"subscription to {one}: {reason}")

    async def try_subscribe(  # noqa: PLR0913 - most by name
        self,
        filters: Sequence[str],
        on_message: Callable[[Message], None],
        qos: int = 1,
        *,
        as_news: bool = False,
        only_new: bool = False,
        echoes: bool = False,
    ) -> dict[str, str]:
        """Subscribe likewise; return the filters that are refused, with the broker's reasons.

        With MQTT 5, what was there before does not come where `only_new` is wanted, and what we
        publish comes back where it `echoes`.
        Raises as `wait_lost` does.
        """
        for topic_filter in filters:
            self._subscriptions[topic_filter] = next(self._order), on_message
        options = SubscribeOptions(
            qos,
            noLocal=not echoes,
            retainAsPublished=not as_news,
            retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
            if only_new
            else SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE,
        )
        return await self._subscribe(filters, options)

    async def read_retained(  # noqa: PLR0913 - all but two by name
        self,
        pieces: Iterable[Sequence[str]],
        on_message: Callable[[str, bytes], None],
        *,
        marker_topic: str,
        optional: Iterable[Sequence[str]] = (),
        quiet_s: float = QUIET_S,
        limit_s: float = 60.0,
    ) -> None:
        """Hand over topic and payload of everything retained under filters, piece by piece.

        A broker with a bounded queue silently drops what a client is too slow to take: a piece
        should have less than 1,000 messages. The next piece is asked for when the last is read.
        The end of one shows by a message of ours on `marker_topic`, or by 2 s of silence where it
        does not come back, and by silence too where retained messages come behind it; all ends
        with `quiet_s` of silence. What has not come after `limit_s` is left out, with a warning.
        Read before subscribing to a filter that overlaps: a broker may send a live message once
        for each. `optional` pieces come last; that the broker refuses them is a warning too.
        Raises as `subscribe` does.
        """

        def steps() -> Steps:
            for piece in pieces:
                refused = yield Ask(tuple(piece))
                if isinstance(refused, Mapping):
                    for one, reason in refused.items():
                        raise BrokerRefused(f"subscription to {one}: {reason}")
            for piece in optional:
                if refused := (yield Ask(tuple(piece))):
                    _log.warning("retained_read_refused", reason=_in_words(refused))
                    break
            yield Await()

        await self.read(steps(), on_message, marker_topic, quiet_s=quiet_s, limit_s=limit_s)

    async def read(
        self,
        steps: Steps,
        on_message: Callable[[str, bytes], None],
        marker_topic: str,
        *,
        quiet_s: float = QUIET_S,
        limit_s: float = 60.0,
    ) -> None:
        """Carry out these steps, handing over what is retained, as `read_retained` does."""
        reading = self._reading = Reading(marker_topic, on_message)
        try:
            try:
                async with asyncio.timeout(limit_s):
                    await self._carry_out(steps, reading, quiet_s)
            except TimeoutError:
                _log.warning("retained_read_timeout", limit_s=limit_s)
            self._raise_if_lost()
            filters = list(dict.fromkeys(reading.filters))
            for at in range(0, len(filters), _UNSUBSCRIBE_AT_ONCE):
                _, mid = self._client.unsubscribe(filters[at : at + _UNSUBSCRIBE_AT_ONCE])
                await self._expect(mid)
        finally:
            self._reading = None
            steps.close()

    async def _carry_out(self, steps: Steps, reading: Reading, quiet_s: float) -> None:
        """Take step by step; where markers do not come back, what is asked for at once."""
        # QoS 0: of QoS 1, a broker with a bounded queue drops most of a large tree.
        if not await self._subscribe([reading.marker_topic], SubscribeOptions(0)):
            reading.filters.append(reading.marker_topic)
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration:
                return
            match step:
                case Ask(filters):
                    outcome = await self._ask(filters, reading)
                case Say(publication):
                    outcome = await self._say(publication)
                case Await(until, is_long):
                    outcome = None
                    await reading.wait_quiet(max(quiet_s, PROBE_S * is_long), until)
            self._raise_if_lost()

    async def _ask(self, filters: tuple[str, ...], reading: Reading) -> Outcome:
        """Read what is retained under filters; return those refused."""
        marker = reading.begin(filters)
        refused = await self._subscribe(filters, SubscribeOptions(0))
        if reading.is_marked and len(refused) < len(filters):
            await self._mark(reading, marker)
            count = -1
            while reading.lateness_s and reading.is_marked and reading.count != count:
                # A broker that is slow may be silent for longer: it has to answer once more.
                count = reading.count
                await self._mark(reading, reading.mark())
        return refused

    async def _mark(self, reading: Reading, marker: Publication) -> None:
        self._direct.append((marker, None))
        self.wake()
        await reading.wait_whole()

    async def _say(self, publication: Publication) -> Outcome:
        try:
            await self.publish(publication)
        except BrokerRefused as error:
            self._raise_if_lost()
            return error.reason
        return None

    async def close(self) -> None:
        """Flush for at most 1 s and disconnect; the broker forgets the will."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    self.wake()
                    await self._settled.wait()
            if not self._lost.done():
                self._client.disconnect()
                await asyncio.wait([self._lost], timeout=_CLOSE_S)
        finally:
            self.end(BrokerUnreachable("closed"))

    def _pump(self) -> None:
        """Send what there is room for, and let others go on in between."""
        self._pump_due = self._is_held_up = False
        until_s = self._loop.time() + _PUMP_S
        try:
            while not self._lost.done():
                if len(self._in_flight) >= self.limits.window:
                    self._is_held_up = True
                    break
                if self._direct:
                    self._send(*self._direct.popleft())
                    continue
                may_be_bulk = self._may_be_bulk
                if self._started and (
                    publication := self._source.take(in_bulk=may_be_bulk, steps=_STEPS)
                ):
                    self._send(publication, None)
                    if publication.in_bulk and self._loop.time() > until_s:
                        self.wake()
                        break
                else:
                    self._wait_for_bulk(is_looked_for=may_be_bulk)
                    break
        except Exception as error:  # noqa: BLE001 - the source's own; `wait_lost` raises it
            self.end(error)
        self._flush()
        if not self._in_flight and not self._pump_due:
            self._settled.set()

    @property
    def _may_be_bulk(self) -> bool:
        """Whether there is room for what may wait: not so much that others would wait behind it."""
        return not self._bulk or (
            self._bulk < max(1, self.limits.window * 3 // 4) and self._bulk_bytes < _BULK_BYTES
        )

    def _wait_for_bulk(self, *, is_looked_for: bool) -> None:
        """Go on with what may go in bulk in the next turn of the loop, or when there is room."""
        if self._started and self._source.has_bulk:
            if is_looked_for:
                self.wake()
            else:
                self._is_held_up = True

    def _send(self, publication: Publication, done: _Done) -> None:
        if fault := self.limits.fault(publication):
            self._refuse(publication, done, fault)
            return
        if not self._in_flight:
            self._progress_s = self._loop.time()
        if publication.retain and not self.limits.retain:
            publication = publication._replace(retain=False)
        qos = min(publication.qos, self.limits.max_qos)
        self._in_flight[self._client.send(publication, qos)] = (publication, done)
        if publication.in_bulk:
            self._bulk += 1
            self._bulk_bytes += len(publication.payload)

    def _refuse(self, publication: Publication, done: _Done, reason: str) -> None:
        """Count it; warn once for the first two topic levels."""
        self.refused += 1
        mirrored = "/".join(publication.topic.split("/", 2)[:2])[:_MAX_BRANCH]
        log = _log.debug
        if mirrored not in self._warned and len(self._warned) < _MAX_WARNED:
            self._warned.add(mirrored)
            log = _log.warning
        log("publication_refused", topic=publication.topic[:_MAX_BRANCH], reason=reason)
        if done and not done.done():
            done.set_exception(BrokerRefused(reason))

    async def _subscribe(self, filters: Sequence[str], options: SubscribeOptions) -> dict[str, str]:
        """Return the filters that are refused, with the broker's reasons."""
        self._raise_if_lost()
        refused = {one: _ENDS for one in filters if self.filters.is_banned(one)}
        groups = list(self.filters.groups([one for one in filters if one not in refused]))
        if any(map(self.filters.is_suspect, groups)):
            for group in groups:
                refused |= await self._answer(group, self._send_subscribe(group, options))
        else:
            sent = [(group, self._send_subscribe(group, options)) for group in groups]
            for group, answer in sent:
                refused |= await self._answer(group, answer)
        return refused

    def _send_subscribe(self, group: tuple[str, ...], options: SubscribeOptions) -> _Answer:
        if self.protocol == "5":
            _, mid = self._client.subscribe([(each, options) for each in group])
        else:
            _, mid = self._client.subscribe([(each, options.QoS) for each in group])
        answer = self._expect(mid)
        if mid is not None:
            self._subscribing[mid] = group
        return answer

    async def _answer(self, group: tuple[str, ...], answer: _Answer) -> dict[str, str]:
        reasons = await answer
        self.filters.bore(group)
        return {
            each: str(reason)
            for each, reason in zip(group, reasons, strict=False)
            if reason.is_failure
        }

    def _expect(self, mid: int | None) -> _Answer:
        """Return what the SUBACK or UNSUBACK of a packet ends."""
        if mid is None:
            raise BrokerUnreachable("not connected")
        self._progress_s = self._loop.time()
        answer = self._awaited[mid] = self._loop.create_future()
        return answer

    def _on_acknowledged(
        self, _client: object, _data: object, mid: int, reasons: list[ReasonCode], _: object
    ) -> None:
        self._subscribing.pop(mid, None)
        waiter = self._awaited.pop(mid, None)
        if waiter and not waiter.done():
            waiter.set_result(reasons)

    def _on_sent(self, mid: int, code: int) -> None:
        sent = self._in_flight.pop(mid, None)
        if sent is None:
            return
        self._progress_s = self._loop.time()
        publication, done = sent
        if publication.in_bulk:
            self._bulk -= 1
            self._bulk_bytes -= len(publication.payload)
        if code >= _FAILURE:
            self._refuse(publication, done, str(ReasonCode(PacketTypes.PUBACK, identifier=code)))
        elif done and not done.done():
            done.set_result(None)
        if self._is_held_up:
            self.wake()
        elif not self._in_flight and not self._pump_due:
            self._settled.set()

    def _on_message(self, message: Message) -> None:
        reading = self._reading
        try:
            if reading and reading.take(message):
                return
            found = self._subscriptions.iter_match(message.topic)  # type: ignore[no-untyped-call]
            _, on_message = min(found, default=(0, None), key=itemgetter(0))
            if on_message is not None:
                on_message(message)
        except Exception:  # noqa: BLE001 - the callee's own; the session outlives it
            _log.exception("message_handler_failed", topic=message.topic)

    def _on_tick(self) -> None:
        waiting = self._in_flight or self._awaited
        if waiting and self._loop.time() - self._progress_s > self._acknowledge_s:
            self.end(BrokerUnreachable(f"no acknowledgement for {self._acknowledge_s:.0f} s"))

    def _on_end(self, error: Exception) -> None:
        if self._subscribing and not isinstance(error, SessionTakenOver):
            self.filters.lost(tuple(self._subscribing.values()))
        waiters = [done for _, done in (*self._in_flight.values(), *self._direct)]
        for waiter in (*waiters, *self._awaited.values()):
            if waiter and not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # not all are still waited for
        self._settled.set()
        if self._reading:
            self._reading.abandon()


def _in_words(refused: Outcome) -> str:
    if not isinstance(refused, Mapping):
        return str(refused)
    return "; ".join(f"subscription to {one}: {reason}" for one, reason in refused.items())
