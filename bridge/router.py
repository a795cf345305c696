"""The router: one consumer of all that devices and the broker say.

What devices do goes to the mirror, what callers want to calls and verbs, and what is to be
published waits here until the session takes it. Everything runs in one event loop, so that each
step is whole before the next begins.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import structlog

from bridge.formats import jsontext
from bridge.model import topics
from bridge.model.device import Description, Key
from bridge.model.lastchange import Happening
from bridge.polling.plan import Plan
from bridge.requests import envelope as commands
from bridge.requests import subscriptions
from bridge.requests.value_request import ValueRequest, read_text
from bridge.runtime import Clock
from bridge.tree.delays import Delays
from bridge.tree.device_tree import Branch, Shape
from bridge.tree.instances import Neighbours
from bridge.tree.leftovers import Remains
from bridge.tree.messages import Message, Publication
from bridge.tree.mirror import Mirror, Remembered, at_once
from bridge.tree.outbox import Outbox
from bridge.tree.overwritten import Overwritten
from bridge.tree.retained import Holdings

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Receive = Callable[..., None]

_VERBS = ("set", "get")

_HUB_TOPICS_AT_ONCE = 50

_LEAST_S = 0.005
_MENDED_AT_ONCE = 5_000
_MOST_WATCHED = 20_000
_MOST_PLACES = 200
_EPISODE_S = 600.0
_MOST_NAMES = 6
_SORTED_AT_ONCE = 500

_DEVICES_AT_ONCE = 2
"""Of devices that are read from the broker: some have hundreds of topics each."""


@dataclass(slots=True)
class Counters:
    """What went through since the start."""

    publications: int = 0
    answers: int = 0
    events: int = 0
    malformed_events: int = 0


class Router:
    """The mirror and what waits for the broker; `take` is the session's source.

    `wake` is called when there is something to take, `wake_in` with the seconds until there is,
    where that is known; once it `is_leaving`, nothing waits for its time. `on_delay` is called with
    the seconds from an event to the moment at which all that it changed was taken. `qos` is that of
    the tree.
    """

    def __init__(self, shape: Shape, *, qos: int, clock: Clock | None = None) -> None:
        self._shape = shape
        self._clock = clock or Clock()
        self._qos = qos
        self._cleared: set[str] = set()
        self._echoes = False
        self._delays = Delays()
        self._is_trees_turn = False
        self.mirror = Mirror(shape)
        self.mirror.on_happenings = self._tell_happenings
        self.neighbours = Neighbours(shape.instance)
        self.outbox = Outbox()
        self.overwritten = Overwritten()
        self.is_auditing = False
        self._watched: tuple[tuple[int, int], frozenset[str]] = (-1, 0), frozenset()
        self.sent: set[str] = set()
        """What was taken while it was looked at what the broker holds."""
        self._warned_until_s = -inf
        self.counters = Counters()
        self.broker_limit: int | None = None
        self.wake: Callable[[], None] = lambda: None
        self.wake_in: Callable[[float], None] = lambda _: None
        self.is_leaving = False
        self.on_delay: Callable[[float], None] = lambda _: None

    @property
    def _own(self) -> str:
        return self._shape.topic(f"bridge/{self._shape.instance}")

    @property
    def plan(self) -> Plan:
        """What services are asked for regularly."""
        return self._shape.plan

    @property
    def state_topic(self) -> str:
        """Where this bridge's `online` or `offline` stands."""
        return f"{self._own}/state"

    @property
    def command_filters(self) -> tuple[str, ...]:
        """The topic filters of all commands."""
        base = self._shape.base
        return (
            f"{base}/+/call",
            f"{base}/+/+/action/+/call",
            *(f"{base}/+/+/value/+{at}/{verb}" for verb in _VERBS for at in ("", "/+", "/+/+")),
            f"{self._own}/request/+",
            f"{base}/bridge/all/request/+",
        )

    @property
    def neighbour_filters(self) -> tuple[str, ...]:
        """The topic filters of what other instances say of themselves and of devices."""
        return f"{self._shape.base}/+", f"{self._shape.base}/bridge/+/state"

    @property
    def birth_topics(self) -> tuple[str, ...]:
        """Where hubs say that they have started."""
        return tuple(one for hub in self._shape.hubs if hub.enabled for one in hub.birth_topics)

    def purpose(self, topic_filter: str) -> str:
        """Return what does not work where the broker refuses one of our filters."""
        return subscriptions.purpose(topic_filter, self._shape.base)

    # From devices

    def device_joined(self, description: Description, reason: str) -> Branch:
        """Mirror a device that was described."""
        is_anothers = self.neighbours.comes_first(topics.device_id(description.udn))
        branch = self.mirror.join(description, owned=not is_anothers)
        event = "device_changed" if reason in ("changed", "refreshed") else "device_joined"
        self.tell(event, branch, reason=reason)
        self.wake()
        return branch

    def device_left(self, udn: str, why: str) -> None:
        """Mark a device as offline, or forget one that the filter denies."""
        found = self.mirror.find_bare(udn)
        if why == "denied":
            if found is not None:
                self.device_forgotten(found[0])
        elif (branch := self.mirror.leave(udn, self._clock.stamp())) is not None:
            self.tell("device_left", branch, reason=why)
            self.wake()

    def device_forgotten(self, branch: Branch) -> None:
        """Clear every topic of a device."""
        self.mirror.forget(branch)
        self.tell("device_forgotten", branch)
        self.wake()

    def variables_changed(
        self, udn: str, level: str, properties: list[tuple[str, str]], *, initial: bool
    ) -> None:
        """Take in an event."""
        came_s = self._clock.monotonic()
        self.counters.events += 1
        service = topics.service_id(topics.device_id(udn), level)
        if not self.mirror.tell(service, properties, initial=initial, now=self._clock.stamp()):
            self.counters.malformed_events += 1
            _log.debug("last_change_unreadable", service=service)
        if self.mirror.ledger:
            self._delays.begin(came_s)
        self.wake()

    def values_told(
        self, service: str, told: list[tuple[Key, str]], *, regularly: bool = False
    ) -> None:
        """Take in values that a service, by its id, was asked for, `regularly` or once."""
        self.mirror.tell_asked(service, told, now=self._clock.stamp(), regularly=regularly)
        self.wake()

    # To the broker

    @property
    def has_bulk(self) -> bool:
        """Whether there is more than was taken, of that which may go in bulk."""
        return self.mirror.has_bulk

    def take(self, *, in_bulk: bool = True, steps: int | None = None) -> Publication | None:
        """Return what is to be published next, None where nothing is or more is to be looked for.

        Answers and the tree take turns: neither a flood of commands nor a large device may hold
        up the other. To find what may go `in_bulk` takes so many `steps` at most.
        """
        if not self._is_trees_turn and (answer := self._take_answer()):
            self._is_trees_turn = True
            return answer
        self._is_trees_turn = False
        now_s = self._clock.monotonic()
        mirror = self.mirror
        due = mirror.take(
            inf if self.is_leaving else now_s,
            in_bulk=in_bulk,
            steps=steps,
            is_leaving=self.is_leaving,
        )
        if self._delays and not mirror.ledger.has_live and (due is None or mirror.took_in_bulk):
            for delay_s in self._delays.end(self._clock.monotonic()):
                self.on_delay(delay_s)
        if due is None:
            self._tell_what_is_on_paper()
            if not self.is_leaving and (due_s := mirror.due_s) is not None:
                self.wake_in(max(_LEAST_S, due_s - now_s))
            return self._take_answer()
        self.counters.publications += 1
        topic, entry = due
        if self.overwritten:
            self.overwritten.sent(topic)
        if self.is_auditing:
            self.sent.add(topic)
        return Publication(
            topic,
            entry.payload,
            retain=True,
            qos=self._qos,
            content_type=entry.content_type,
            in_bulk=mirror.took_in_bulk,
        )

    def _tell_what_is_on_paper(self) -> None:
        for branch in self.mirror.take_introduced():
            if names := branch.on_paper():
                _log.info(
                    "variables_never_reported",
                    device=branch.id,
                    count=len(names),
                    variables=names[:_MOST_NAMES],
                )

    def _take_answer(self) -> Publication | None:
        answer = self.outbox.take(self._clock.monotonic())
        self.counters.answers += answer is not None
        return answer

    def answer(self, publication: Publication) -> None:
        """Send an answer as soon as there is a broker, within a minute."""
        self.outbox.answer(publication, self._clock.monotonic())
        self.wake()

    def tell(self, event: str, branch: Branch, **more: object) -> None:
        """Send news of a device to whoever listens now."""
        if branch.owned:
            news: dict[str, object] = {"event": event, "id": branch.id}
            if "friendly_name" in branch.row:
                news["friendly_name"] = branch.row["friendly_name"]
            self._tell("event", {**news, **more, "time": self._clock.stamp()}, qos=1)

    def tell_log(self, line: Any) -> None:  # noqa: ANN401 - whatever a log line holds
        """Send a log line to whoever listens now."""
        self._tell("log", {name: _plain(value) for name, value in line.items()}, qos=0)

    def _tell_happenings(self, service: str, happened: Sequence[Happening]) -> None:
        """Send what has happened at a service, by its id, to whoever listens now."""
        if self.mirror.ledger.is_open:
            topic = self._shape.topic(topics.event_id(service))
            for one in happened:
                payload = jsontext.encode(one)
                if self.broker_limit is None or len(payload) <= self.broker_limit:
                    self.outbox.happen(Publication(topic, payload, retain=False, qos=1))

    def _tell(self, name: str, document: object, *, qos: int) -> None:
        if self.mirror.ledger.is_open:
            payload = jsontext.encode(document)
            self.outbox.tell(Publication(f"{self._own}/{name}", payload, retain=False, qos=qos))
            self.wake()

    # From the broker

    def pieces(self, held: Mapping[str, bytes]) -> Iterator[tuple[str, ...]]:
        """Yield the topic filters of what the broker holds below the base, in pieces to be read.

        First what tells of devices, then, by what is `held` of that, a few devices at a time.
        """
        base = self._shape.base
        yield f"{base}/+", f"{base}/bridge/#"
        for few in _few(self._named(held), _DEVICES_AT_ONCE):
            yield tuple(f"{base}/{device}/#" for device in few)

    def hub_pieces(self, held: Mapping[str, bytes]) -> Iterator[tuple[str, ...]]:
        """Yield likewise what hubs may have been told, when all else is `held`."""
        outside = [
            *self._shape.own_hub_topics(),
            *(topic for device in self._named(held) for topic in self._shape.hub_topics(device)),
        ]
        yield from _few(outside, _HUB_TOPICS_AT_ONCE)

    def open(
        self,
        held: dict[str, bytes],
        max_payload: int,
        broker_limit: int | None,
        *,
        echoes: bool = False,
    ) -> tuple[Remembered, ...]:
        """Begin with a broker that holds this; return the devices that it remembers as ours.

        `held` is empty afterwards, for it may be large.
        `max_payload` is the most bytes that a payload is to have, `broker_limit` the most that it
        can have, if there is a limit. `echoes` says that it returns to us what we publish.
        """
        return at_once(self.opening(held, max_payload, broker_limit, echoes=echoes))

    def opening(
        self,
        held: dict[str, bytes],
        max_payload: int,
        broker_limit: int | None,
        *,
        echoes: bool = False,
    ) -> Generator[None, None, tuple[Remembered, ...]]:
        """Do what `open` does, in pieces between which devices may say anything."""
        holdings = self._no_holdings()
        for number, (topic, payload) in enumerate(held.items()):
            holdings.take(topic, payload)
            if number % _SORTED_AT_ONCE == 0:
                yield
        yield from holdings.sort()
        held.clear()
        limit = min(max_payload, broker_limit or max_payload)
        opening = self.mirror.opening(holdings, limit, self.neighbours.comes_first)
        self.neighbours.begin(holdings.online, holdings.owners)
        remembered = yield from opening
        self._echoes = echoes
        self.broker_limit = broker_limit
        return remembered

    def _named(self, held: Mapping[str, bytes]) -> list[str]:
        """Return the ids of all devices that the uppermost topics speak of."""
        base = self._shape.base
        own, below = f"{base}/bridge/", base.count("/") + 1
        top = {t: p for t, p in held.items() if t.count("/") == below or t.startswith(own)}
        return sorted(self._holdings(top).named)

    def _holdings(self, held: Mapping[str, bytes]) -> Holdings:
        holdings = self._no_holdings()
        for topic, payload in held.items():
            holdings.take(topic, payload)
        at_once(holdings.sort())
        return holdings

    def _no_holdings(self) -> Holdings:
        shape = self._shape
        return Holdings(
            base=shape.base,
            instance=shape.instance,
            own_outside=shape.own_hub_topics(),
            outside=shape.hub_topics,
        )

    def hub_born(self, message: Message) -> None:
        """Tell a hub that has just started of everything again; not for a message of before."""
        if message.payload == b"online" and not message.retain:
            _log.info("hub_started", topic=message.topic)
            self.mirror.introduce(self._clock.monotonic())
            self.wake()

    def remains(self, instance: str) -> Remains:
        """Return what may be left of another instance, nothing of which has been read yet."""
        return Remains(self._shape, instance)

    def clear_devices(self, remains: Remains) -> list[str]:
        """Clear the devices of an instance that is gone, but for those that we have; name them."""
        devices = remains.devices(
            lambda device: self.mirror.find(topics.decode_level(device)) is not None
        )
        self.mirror.clear_remains(devices)
        for device in devices:
            self.neighbours.hear_document(device, b"")
        self.wake()
        return list(devices)

    def clear_bridge(self, remains: Remains) -> int:
        """Clear an instance's own topics; return how many those were."""
        mine = remains.bridge()
        self.mirror.ledger.clear(mine)
        self.wake()
        return len(mine)

    def close(self) -> None:
        """Go on without a broker: values change the wanted tree, answers wait, news are lost."""
        self.mirror.close()
        self.overwritten.clear()
        self.outbox.drop_news()
        self._delays.clear()
        self._cleared.clear()

    def command(self, message: Message, *, call: Receive, verb: Receive) -> None:
        """Hand a command to calls or verbs; a retained one is cleared at the broker."""
        if not message.payload and message.topic in self._cleared:
            self._cleared.discard(message.topic)  # our own clearing, as MQTT 3.1.1 returns it
            return
        levels = message.topic[len(self._shape.base) + 1 :].split("/")
        if levels[0] == "reply" or (levels[0] == "bridge" and levels[2:3] != ["request"]):
            return  # like a command by its form alone
        if message.retain:
            if not message.payload:
                return
            if self._echoes:
                self._cleared.add(message.topic)
            self.mirror.ledger.put(message.topic, b"")
            self.wake()
        if levels[0] == "bridge":
            name = levels[3]
            verb(message, name, f"{self._own}/response/{name}")
        else:
            _hand_on(message, levels, call)

    def neighbour(self, message: Message) -> bool:
        """Take in what another instance says; False where somebody calls us offline."""
        match message.topic[len(self._shape.base) + 1 :].split("/"):
            case ["bridge", instance, "state"]:
                if instance == self._shape.instance:
                    return message.payload == b"online"
                for device in self.neighbours.hear_state(instance, message.payload):
                    self._settle_owner(device)
            case [device]:
                usurped = self.neighbours.hear_document(device, message.payload)
                self._settle_owner(device, usurped=usurped)
                document = jsontext.read(message.payload)
                owner = document.get("bridge") if isinstance(document, dict) else None
                if not self._echoes and owner in (None, self._shape.instance):
                    self.overheard(message)
        return True

    @property
    def watched_filters(self) -> tuple[str, ...]:
        """The topic filters of what is ours, none of which covers a command."""
        base, own = self._shape.base, self._own
        below = ("state", "variable/+", "action/+", "action/+/argument/+", "value/+")
        return (
            *(f"{base}/+/{name}" for name in ("availability", "media", "art")),
            *(f"{base}/+/+/{name}" for name in below),
            *(f"{own}/{name}" for name in ("info", "devices", "health")),
        )

    def watched_topics(self) -> frozenset[str]:
        """Return the further topics of ours: of services, InstanceIDs, parts, what hubs are told.

        It is the same object as long as they are the same.
        """
        shape, mirror = self._shape, self.mirror
        mark = mirror.moves, len(mirror.ledger.cut_up)
        if self._watched[0] != mark:
            base = f"{shape.base}/+"
            lives = [live for one in mirror.branches.values() for live in one.services.values()]
            services = {f"{base}/{live.id.partition('/')[2]}" for live in lives}
            places = {key[1:] for live in lives for key in live.state.values if key.instance}
            values = [
                f"{base}/{topics.value_id('+', '', *place).replace('/value/', '/value/+', 1)}"
                for place in sorted(places, key=str)[:_MOST_PLACES]
            ]
            kept = [own for one in mirror.branches.values() for own in one.kept]
            values += sorted({one for own in kept for one in _further(own, shape.base)})
            told = {t for b in mirror.branches.values() for t in shape.hub_topics(b.id)}
            parts = {f"{topic}/chunk/+" for topic in mirror.ledger.cut_up}
            every = (*shape.own_hub_topics(), *services, *values, *sorted(told), *sorted(parts))
            self._watched = mark, frozenset(every[:_MOST_WATCHED])
        return self._watched[1]

    def overheard(self, message: Message) -> None:
        """Take in what somebody else wrote where something of ours may stand."""
        note = self.overwritten.note if self.is_auditing else self.overwritten.hear
        note(message.topic, message.payload, self._clock.monotonic())

    def was_flooded(self) -> bool:
        """Return whether others wrote so much that the broker may not have told of all of it."""
        return self.overwritten.was_flood(self._clock.monotonic())

    def audit(self, wanted: Mapping[str, bytes], held: Mapping[str, bytes]) -> None:
        """Take in what the broker holds of what it should; what was sent since does not count."""
        now_s = self._clock.monotonic()
        for topic, payload in wanted.items():
            if held.get(topic) != payload and topic not in self.sent:
                self.overwritten.note(topic, held.get(topic, b""), now_s)

    def mending(self) -> Iterator[None]:
        """Write again what others have overwritten, each topic once in ten seconds at most.

        In pieces between which devices may say anything.
        """
        now_s = self._clock.monotonic()
        due = [
            one
            for one in self.overwritten.take(now_s, _MENDED_AT_ONCE)
            if not self.neighbours.is_claimed(self._device_of(one[0]))
        ]
        for piece in self.mirror.mending(due):
            for topic, payload, is_mended in piece:
                if is_mended is None:
                    self.overwritten.note(topic, payload, now_s)
                elif is_mended:
                    self.overwritten.mended(topic, now_s)
                    log = _log.debug if now_s < self._warned_until_s else _log.warning
                    self._warned_until_s = now_s + _EPISODE_S
                    log("topic_overwritten", topic=topic[:200])
            self.wake()
            yield

    def _device_of(self, topic: str) -> str:
        return topic[len(self._shape.base) + 1 :].partition("/")[0]

    def is_elsewhere(self, named: str) -> bool:
        """Return whether another instance answers for a device that we do not know."""
        return self.neighbours.has(named) or not self.neighbours.answers_for_all

    def _settle_owner(self, device: str, *, usurped: bool = False) -> None:
        """Leave a device to an instance that goes before ours, or take it from any other.

        `usurped` says that one that does not go before ours has written the device's document.
        """
        branch = self.mirror.branches.get(device)
        if branch is None:
            return
        yields = self.neighbours.comes_first(device)
        if yields and branch.owned:
            _log.info("device_yielded", device=device)
            self.mirror.yield_to_another(branch)
        elif not yields and (usurped or not branch.owned):
            _log.info("device_taken_over", device=device)
            self.mirror.take_back(branch)
            self.wake()


def _further(topic: str, base: str) -> Iterator[str]:
    """Yield the filter for a topic of a device that is only remembered, where it needs one."""
    match topic.removeprefix(f"{base}/").split("/"):
        case [_, service]:
            yield f"{base}/+/{service}"
        case [_, _, "value", _, *place] if place:
            yield f"{base}/+/+/value/+/{'/'.join(place)}"


def _few(everything: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(everything), count):
        yield tuple(everything[at : at + count])


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _hand_on(message: Message, levels: Sequence[str], call: Receive) -> None:
    """Hand a command for a device to `call`, with how it is to be read."""
    match levels:
        case [device, "call"]:
            call(message, device, commands.read_call)
        case [device, service, "action", action, "call"]:
            call(
                message,
                device,
                lambda envelope: commands.arguments_only(envelope, service, action),
            )
        case [device, service, "value", *place, "set"]:
            call(
                message,
                device,
                lambda envelope: ValueRequest.at(service, place, str(envelope.body["value"])),
                read_text,
            )
        case [device, service, "value", *place, "get"]:
            call(message, device, lambda _: ValueRequest.at(service, place))
