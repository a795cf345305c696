"""What others write over our retained topics is written again."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from math import inf

import structlog

from bridge.model import topics
from bridge.mqtt.session import QUIET_S, Session
from bridge.mqtt.survey import Ask, Await, Steps
from bridge.publishing import Publishing
from bridge.runtime import Clock
from bridge.tree.messages import Message

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

AUDITED_AFTER_FLOOD = 500

_MEND_S = 1.0
_AUDITED_AT_ONCE = 100
_LATE_S = 2.0
"""How long it must be quiet before something is taken for missing at the broker."""
_MENDED_AT_ONCE = 5_000
_MOST_WATCHED = 20_000
_MOST_PLACES = 200
_EPISODE_S = 600.0


class Watched:
    """What of ours the broker is to tell of when others write it, and what they have written."""

    def __init__(self, publishing: Publishing, clock: Clock) -> None:
        self._publishing = publishing
        self._shape = publishing.shape
        self._mirror = publishing.mirror
        self._overwritten = publishing.overwritten
        self._clock = clock
        self._further: tuple[tuple[int, int], frozenset[str]] = (-1, 0), frozenset()
        self._warned_until_s = -inf

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters of what is ours, none of which covers a request."""
        base, own = self._shape.base, self._shape.own
        below = ("state", "variable/+", "action/+", "action/+/argument/+", "value/+")
        return (
            *(f"{base}/+/{name}" for name in ("availability", "media", "art")),
            *(f"{base}/+/+/{name}" for name in below),
            *(f"{own}/{name}" for name in ("info", "devices", "health")),
        )

    def topics(self) -> frozenset[str]:
        """Return the further topics of ours: of services, InstanceIDs, parts, what hubs are told.

        It is the same object as long as they are the same.
        """
        shape, mirror = self._shape, self._mirror
        mark = mirror.moves, len(mirror.ledger.cut_up)
        if self._further[0] != mark:
            base = f"{shape.base}/+"
            lives = [
                live for one in mirror.mirrored_devices.values() for live in one.services.values()
            ]
            services = {f"{base}/{live.id.partition('/')[2]}" for live in lives}
            places = {key[1:] for live in lives for key in live.state.values if key.instance}
            values = [
                f"{base}/{topics.value_id('+', '', *place).replace('/value/', '/value/+', 1)}"
                for place in sorted(places, key=str)[:_MOST_PLACES]
            ]
            kept = [own for one in mirror.mirrored_devices.values() for own in one.kept]
            values += sorted({one for own in kept for one in _further(own, shape.base)})
            told = {t for b in mirror.mirrored_devices.values() for t in shape.hub_topics(b.id)}
            parts = {f"{topic}/chunk/+" for topic in mirror.ledger.cut_up}
            every = (*shape.own_hub_topics(), *services, *values, *sorted(told), *sorted(parts))
            self._further = mark, frozenset(every[:_MOST_WATCHED])
        return self._further[1]

    def overhear(self, message: Message) -> None:
        """Take in what somebody else wrote where something of ours may stand."""
        self._overwritten.overhear(message.topic, message.payload, self._clock.monotonic())

    def was_flooded(self) -> bool:
        """Return whether others wrote so much that the broker may not have told of all of it."""
        return self._overwritten.was_flood(self._clock.monotonic())

    def compare(self, wanted: Mapping[str, bytes], held: Mapping[str, bytes]) -> None:
        """Take in what the broker holds of what it should; what was sent since does not count."""
        now_s, sent = self._clock.monotonic(), self._overwritten.end_audit()
        for topic, payload in wanted.items():
            if held.get(topic) != payload and topic not in sent:
                self._overwritten.note(topic, held.get(topic, b""), now_s)

    def mending(self) -> Iterator[None]:
        """Write again what others have overwritten, each topic once in ten seconds at most.

        In pieces between which devices may say anything.
        """
        now_s = self._clock.monotonic()
        due = self._overwritten.take(now_s, _MENDED_AT_ONCE)
        for piece in self._mirror.repair.mending(due):
            for topic, payload, is_mended in piece:
                if is_mended is None:
                    self._overwritten.note(topic, payload, now_s)
                elif is_mended:
                    self._overwritten.mended(topic, now_s)
                    log = _log.debug if now_s < self._warned_until_s else _log.warning
                    self._warned_until_s = now_s + _EPISODE_S
                    log("topic_overwritten", topic=topic[:200])
            self._publishing.wake()
            yield


class Upkeep:
    """Keeps our topics as they should be, for as long as one session lasts.

    With MQTT 5 the broker tells of what others write. Where it does not, it is looked at what it
    holds, a hundred topics at a time; and once at all where so much came that some may be missing.
    Filters of more than `deepest` levels are not tried: a broker may end the connection over them.
    """

    def __init__(
        self, session: Session, watched: Watched, publishing: Publishing, deepest: int
    ) -> None:
        self._session = session
        self._watched = watched
        self._mirror = publishing.mirror
        self._overwritten = publishing.overwritten
        self._marker = f"{publishing.shape.base}/reply/{publishing.shape.instance}"
        self._deepest = deepest
        self._is_told = session.protocol == "5"
        self._is_audited = not self._is_told
        self._subscribed = frozenset[str]()
        self._auditing: Iterator[dict[str, bytes]] = iter(())

    async def begin(self) -> None:
        """Have the broker tell, where it can."""
        if self._is_told:
            self._is_audited = await self._watch(self._watched.filters)

    async def wait(self) -> None:
        """Wait a moment, with what is watched as it should be."""
        if self._is_told and (new := self._watched.topics()) is not self._subscribed:
            await self._watch(new - self._subscribed)
            self._subscribed = new
        with suppress(TimeoutError):
            async with asyncio.timeout(_MEND_S):
                await self._session.wait_lost()

    async def step(self, *, has_retained: bool) -> None:
        """Write again what others have overwritten by now."""
        if not has_retained:
            pass  # nothing is there to be looked at
        elif self._watched.was_flooded():
            for piece in self._mirror.repair.auditing(AUDITED_AFTER_FLOOD):
                await self._audit(piece)
                await self._mend()
        elif self._is_audited:
            if not (piece := next(self._auditing, {})):
                self._auditing = self._mirror.repair.auditing(_AUDITED_AT_ONCE)
            await self._audit(piece)
        await self._mend()

    async def _mend(self) -> None:
        for _ in self._watched.mending():
            await asyncio.sleep(0)

    async def _watch(self, filters: Iterable[str]) -> bool:
        """Have the broker tell what others write; return whether it does not of all."""
        wanted = sorted(filters)
        borne = [one for one in wanted if one.count("/") <= self._deepest]
        refused = await self._session.try_subscribe(borne, self._watched.overhear, only_new=True)
        return bool(refused) or borne != wanted

    async def _audit(self, piece: dict[str, bytes]) -> None:
        """Look at what the broker holds of some topics, but for those that it does not bear."""
        held: dict[str, bytes] = {}
        wanted = {t: payload for t, payload in piece.items() if t.count("/") <= self._deepest}

        def steps() -> Steps:
            refused = yield Ask(tuple(topic for topic in wanted if topic not in held))
            for topic in refused if isinstance(refused, Mapping) else ():
                del wanted[topic]
            yield Await()

        if not wanted:
            return
        self._overwritten.begin_audit()
        try:
            for quiet_s in (QUIET_S, _LATE_S):  # what is missing may only be late
                if wanted.keys() - held.keys():
                    read = self._session.read
                    await read(steps(), held.__setitem__, self._marker, quiet_s=quiet_s)
        except BaseException:
            self._overwritten.end_audit()
            raise
        self._watched.compare(wanted, held)
        if self._is_told:
            # What was asked for by the same filter is not told of any more.
            again = self._watched.topics().union(self._watched.filters) & wanted.keys()
            await self._watch(again)


def _further(topic: str, base: str) -> Iterator[str]:
    """Yield the filter for a topic of a device that is only remembered, where it needs one."""
    match topic.removeprefix(f"{base}/").split("/"):
        case [_, service]:
            yield f"{base}/+/{service}"
        case [_, _, "value", _, *place] if place:
            yield f"{base}/+/+/value/+/{'/'.join(place)}"
