"""What goes to the broker next, and when: one consumer of all that devices say.

What devices do changes the mirror, and what is to be published waits here until the session with
the broker takes it. Everything runs in one event loop, so that each step is whole before the next
begins.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import structlog

from bridge.formats import jsontext
from bridge.model import topics
from bridge.model.device import Description, Key
from bridge.model.lastchange import Happening
from bridge.polling.plan import Plan
from bridge.runtime import Clock
from bridge.tree.delays import Delays
from bridge.tree.device_tree import Shape
from bridge.tree.handover import Handover
from bridge.tree.instances import Instances
from bridge.tree.messages import Message, Publication
from bridge.tree.mirror import Mirror, RememberedDevice, at_once
from bridge.tree.mirrored_device import MirroredDevice
from bridge.tree.outbox import Outbox
from bridge.tree.overwritten import Overwritten

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_LEAST_S = 0.005
_MOST_NAMES = 6
_SORTED_AT_ONCE = 500


class Waker(Protocol):
    """Has the session with the broker take what there is to publish."""

    def wake(self) -> None:
        """Take it now."""

    def wake_in(self, delay_s: float) -> None:
        """Take it in so many seconds, or before."""


class _Asleep:
    """Stands for a session while there is none."""

    def wake(self) -> None:
        pass

    def wake_in(self, delay_s: float) -> None:
        pass


@dataclass(slots=True)
class Counters:
    """What went through since the start."""

    publications: int = 0
    answers: int = 0
    events: int = 0
    malformed_events: int = 0


class Publishing:
    """The mirror and what waits for the broker; `take` is the session's source.

    `qos` is that of the tree. `on_transport` is told the id of a service whose player plays
    otherwise, or something else; `on_presence` is told that a device has come or gone.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        qos: int,
        clock: Clock | None = None,
        on_transport: Callable[[str], None] = lambda _: None,
        on_presence: Callable[[], None] = lambda: None,
    ) -> None:
        self.shape = shape
        self._on_presence = on_presence
        self.clock = clock or Clock()
        self._qos = qos
        self._is_trees_turn = False
        self._is_leaving = False
        self._waker: Waker = _Asleep()
        self.mirror = Mirror(shape, on_transport=on_transport, on_happenings=self._happened)
        self.instances = Instances(shape.instance)
        self.handover = Handover()
        self.outbox = Outbox()
        self.overwritten = Overwritten()
        self.delays = Delays()
        self.counters = Counters()
        self.broker_limit: int | None = None
        """The most bytes that the broker takes in a message; None where it takes any."""

    @property
    def plan(self) -> Plan:
        """What services are asked for regularly."""
        return self.shape.plan

    @property
    def state_topic(self) -> str:
        """Where this bridge's `online` or `offline` stands."""
        return f"{self.shape.own}/state"

    # From devices

    def device_joined(self, description: Description, reason: str) -> MirroredDevice:
        """Mirror a device that was described."""
        is_ours = self.instances.is_alone and self.instances.is_settled
        mirrored = self.mirror.join(description, owned=is_ours)
        event = "device_changed" if reason in ("changed", "refreshed") else "device_joined"
        self.publish_device_event(event, mirrored, reason=reason)
        self.wake()
        self._on_presence()
        return mirrored

    def device_left(self, udn: str, why: str) -> None:
        """Mark a device as offline, or forget one that the filter denies."""
        found = self.mirror.find_bare(udn)
        if why == "denied":
            if found is not None:
                self.device_forgotten(found[0])
        elif (mirrored := self.mirror.mark_offline(udn, self.clock.stamp())) is not None:
            self.publish_device_event("device_left", mirrored, reason=why)
            self.wake()
            self._on_presence()

    def device_forgotten(self, mirrored: MirroredDevice) -> None:
        """Clear every topic of a device."""
        self.mirror.forget(mirrored)
        self.publish_device_event("device_forgotten", mirrored)
        self.wake()
        self._on_presence()

    def apply_event(
        self, udn: str, level: str, properties: list[tuple[str, str]], *, initial: bool
    ) -> None:
        """Take in the properties of an event of a service, by its device's UDN and its level."""
        came_s = self.clock.monotonic()
        self.counters.events += 1
        service = topics.service_id(topics.device_id(udn), level)
        mirror = self.mirror
        if not mirror.apply_event(service, properties, initial=initial, now=self.clock.stamp()):
            self.counters.malformed_events += 1
            _log.debug("last_change_unreadable", service=service)
        if mirror.ledger:
            self.delays.begin(came_s)
        self.wake()

    def apply_answers(
        self, service: str, told: list[tuple[Key, str]], *, regularly: bool = False
    ) -> None:
        """Take in values that a service, by its id, was asked for, `regularly` or once."""
        self.mirror.apply_answers(service, told, now=self.clock.stamp(), regularly=regularly)
        self.wake()

    # To the broker

    def hub_started(self, message: Message) -> None:
        """Tell a hub that has just started of everything again; not for a message of before."""
        if message.payload == b"online" and not message.retain:
            _log.info("hub_started", topic=message.topic)
            self.mirror.introduce(self.clock.monotonic())
            self.wake()

    def attach(self, waker: Waker) -> None:
        """Begin to wake a session."""
        self._waker = waker

    def wake(self) -> None:
        """Say that there may be something to publish."""
        self._waker.wake()

    def leave(self) -> None:
        """Let nothing wait for its time any more: the bridge ends."""
        self._is_leaving = True

    @property
    def has_bulk(self) -> bool:
        """Whether there is more than was taken, of that which may go in bulk."""
        return self.mirror.has_bulk

    def take(self, *, in_bulk: bool = True, steps: int | None = None) -> Publication | None:
        """Return what is to be published next, None where nothing is or more is to be looked for.

        Answers and the tree take turns: neither a flood of requests nor a large device may hold
        up the other. To find what may go `in_bulk` takes so many `steps` at most.
        """
        if not self._is_trees_turn and (answer := self._take_answer()):
            self._is_trees_turn = True
            return answer
        self._is_trees_turn = False
        now_s = self.clock.monotonic()
        mirror, is_leaving = self.mirror, self._is_leaving
        due = mirror.take(
            inf if is_leaving else now_s, in_bulk=in_bulk, steps=steps, is_leaving=is_leaving
        )
        if self.delays and not mirror.ledger.has_live and (due is None or mirror.took_in_bulk):
            self.delays.end(self.clock.monotonic())
        if due is None:
            self._log_variables_never_reported()
            if not is_leaving and (due_s := mirror.due_s) is not None:
                self._waker.wake_in(max(_LEAST_S, due_s - now_s))
            return self._take_answer()
        self.counters.publications += 1
        topic, entry = due
        self.overwritten.sent(topic, entry.payload, now_s)
        return Publication(
            topic,
            entry.payload,
            retain=True,
            qos=self._qos,
            content_type=entry.content_type,
            in_bulk=mirror.took_in_bulk,
        )

    def _log_variables_never_reported(self) -> None:
        for mirrored in self.mirror.hub_telling.take_introduced():
            if names := mirrored.never_reported():
                _log.info(
                    "variables_never_reported",
                    device=mirrored.id,
                    count=len(names),
                    variables=names[:_MOST_NAMES],
                )

    def _take_answer(self) -> Publication | None:
        answer = self.outbox.take(self.clock.monotonic())
        self.counters.answers += answer is not None
        return answer

    def reply(self, publication: Publication) -> None:
        """Send an answer as soon as there is a broker, within a minute."""
        if (observer := self.mirror.observed.observer) is not None:
            observer.message_sent(publication)
        self.outbox.answer(publication, self.clock.monotonic())
        self.wake()

    def publish_device_event(self, event: str, mirrored: MirroredDevice, **more: object) -> None:
        """Send news of a device to whoever listens now."""
        if mirrored.owned:
            news: dict[str, object] = {"event": event, "id": mirrored.id}
            if "friendly_name" in mirrored.row:
                news["friendly_name"] = mirrored.row["friendly_name"]
            self._publish_news("event", {**news, **more, "time": self.clock.stamp()}, qos=1)

    def publish_beat(self) -> None:
        """Tell other instances that this one lives, and how much of it there is."""
        mirrored_devices = self.mirror.mirrored_devices.values()
        seen, owned = (
            sum(map(bool, each))
            for each in (
                [one.online for one in mirrored_devices],
                [one.owned for one in mirrored_devices],
            )
        )
        self._publish_news("beat", {"sees": seen, "owns": owned}, qos=0)

    def publish_yielded(self, devices: Sequence[str], heir: str, taken: Sequence[str]) -> None:
        """Tell that these devices, by id, are left to another instance.

        It is not to carry out the commands that are `taken`.
        """
        news = {"event": "devices_yielded", "ids": devices, "to": heir, "taken": taken}
        self._publish_news("event", {**news, "time": self.clock.stamp()}, qos=1)

    def publish_taken(self) -> None:
        """Tell which commands were taken while nothing was heard of another instance, or of us."""
        if (taken := self.handover.news(self.clock.monotonic())) is not None:
            news = {"event": "commands_taken", "taken": taken, "time": self.clock.stamp()}
            self._publish_news("event", news, qos=1)

    def publish_log(self, line: Any) -> None:  # noqa: ANN401 - whatever a log line holds
        """Send a log line to whoever listens now."""
        self._publish_news("log", {name: _plain(value) for name, value in line.items()}, qos=0)

    def _happened(self, service: str, happened: Sequence[Happening]) -> None:
        """Send what has happened at a service, by its id, to whoever listens now."""
        observer, is_open = self.mirror.observed.observer, self.mirror.ledger.is_open
        if is_open or observer is not None:
            topic = self.shape.topic(topics.event_id(service))
            for one in happened:
                publication = Publication(topic, jsontext.encode(one), retain=False, qos=1)
                if observer is not None:
                    observer.message_sent(publication)
                limit = self.broker_limit
                if is_open and (limit is None or len(publication.payload) <= limit):
                    self.outbox.happen(publication)

    def _publish_news(self, name: str, document: object, *, qos: int) -> None:
        observer, is_open = self.mirror.observed.observer, self.mirror.ledger.is_open
        if not is_open and observer is None:
            return
        payload = jsontext.encode(document)
        publication = Publication(f"{self.shape.own}/{name}", payload, retain=False, qos=qos)
        if observer is not None:
            observer.message_sent(publication)
        if is_open:
            self.outbox.tell(publication)
            self.wake()

    # What the broker holds

    def open(
        self, held: dict[str, bytes], max_payload: int, broker_limit: int | None
    ) -> tuple[RememberedDevice, ...]:
        """Begin with a broker that holds this; return the devices that it remembers as ours.

        `held` is empty afterwards, for it may be large. `max_payload` is the most bytes that a
        payload is to have, `broker_limit` the most that it can have, if there is a limit.
        """
        return at_once(self.opening(held, max_payload, broker_limit))

    def opening(
        self, held: dict[str, bytes], max_payload: int, broker_limit: int | None
    ) -> Generator[None, None, tuple[RememberedDevice, ...]]:
        """Do what `open` does, in pieces between which devices may say anything."""
        retained_tree = self.shape.retained_tree()
        for number, (topic, payload) in enumerate(held.items()):
            retained_tree.take(topic, payload)
            if number % _SORTED_AT_ONCE == 0:
                yield
        yield from retained_tree.sort()
        held.clear()
        limit = min(max_payload, broker_limit or max_payload)
        instances = self.instances
        instances.begin(
            retained_tree.online, retained_tree.sees, retained_tree.owners, self.clock.monotonic()
        )
        remembered = yield from self.mirror.opening(retained_tree, limit, self._is_unsettled)
        self.broker_limit = broker_limit
        return remembered

    def _is_unsettled(self, device: str) -> bool:
        """Return whether a device is not simply ours when a session begins."""
        instances = self.instances
        return not instances.is_alone or not (instances.is_settled or instances.is_ours(device))

    def close(self) -> None:
        """Go on without a broker: values change the wanted tree, answers wait, news are lost."""
        self.mirror.close()
        self.overwritten.clear()
        self.outbox.drop_news()
        self.delays.clear()


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
