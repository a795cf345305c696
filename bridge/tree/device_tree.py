"""How the wanted tree is built: topics and payloads, from what is known of devices.

The tree is a function of description, values and presence. It is computed where two trees are
compared, and never stored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from bridge.model import datatypes, topics
from bridge.model.device import Description, Key
from bridge.polling.plan import Plan
from bridge.tree import documents
from bridge.tree.mirrored_device import Keys, LiveService, MirroredDevice
from bridge.tree.retained import RetainedTree, join_parts
from bridge.tree.service_state import ServiceState, read_document, typed

StateMode: TypeAlias = Literal["both", "values", "document"]

_NO_PLAN = Plan()
_UNDATED = "1970-01-01T00:00:00.000Z"
"""When values changed that stand at the broker without their service's document."""


class Hub(Protocol):
    """A hub that is told of devices in its own words, on retained topics outside the base."""

    @property
    def enabled(self) -> bool:
        """Whether it is told anything; where not, what it was told before is cleared."""

    @property
    def birth_topics(self) -> tuple[str, ...]:
        """Where it may say `online` when it has started."""

    def own_topics(self, instance: str | None = None) -> tuple[str, ...]:
        """Return the topics of the bridge itself, or of another instance, whatever they hold."""

    def topics(self, device: str) -> tuple[str, ...]:
        """Return the topics of a root device, by its id, whether they hold something or not."""

    def own(self, limit: int) -> Mapping[str, bytes]:
        """Return what it is told of the bridge itself, by topic, each in `limit` bytes at most."""

    def wanted(self, description: Description, told: Keys, limit: int) -> Mapping[str, bytes]:
        """Return what it is told of a root device, by topic, each in `limit` bytes at most.

        `told` is where the device's values stand.
        """

    def interim_document(self, topic: str, held: bytes, wanted: bytes) -> bytes | None:
        """Return what a topic has to hold for a moment between these two; None for nothing."""

    def sources(self, payload: bytes) -> frozenset[str]:
        """Return the topics that it takes states from, by what it is told."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How root devices stand in the tree, how much of them is told, and to which hubs."""

    base: str
    instance: str
    detail: documents.Detail = "full"
    mode: StateMode = "both"
    plan: Plan = _NO_PLAN
    hubs: tuple[Hub, ...] = ()

    def topic(self, own: str) -> str:
        """Return the topic of an id."""
        return f"{self.base}/{own}"

    @property
    def own(self) -> str:
        """The topic that those of the bridge itself are below."""
        return f"{self.base}/bridge/{self.instance}"

    @property
    def birth_topics(self) -> tuple[str, ...]:
        """Where hubs say that they have started."""
        return tuple(one for hub in self.hubs if hub.enabled for one in hub.birth_topics)

    def retained_tree(
        self, held: Mapping[str, bytes] | None = None, instance: str | None = None
    ) -> RetainedTree:
        """Return what a broker holds, as this bridge or another `instance` reads it."""
        return RetainedTree(
            held,
            base=self.base,
            instance=instance or self.instance,
            own_outside=self.own_hub_topics(instance),
            outside=self.hub_topics,
        )

    def wanted(self, mirrored: MirroredDevice, limit: int) -> dict[str, bytes]:
        """Return all that the broker should hold of a root device, whole payloads by topic.

        Only what hubs are told has to fit in `limit` bytes.
        """
        return dict(self.walk(mirrored, limit))

    def walk(
        self, mirrored: MirroredDevice, limit: int, *, with_hubs: bool = True
    ) -> Iterator[tuple[str, bytes]]:
        """Yield what `wanted` returns one by one: values and presence as they are by then."""
        yield from self._kept(mirrored, limit)
        description = mirrored.description
        if description is not None:
            for own, document in documents.components(
                description, bridge=self.instance, detail=self.detail
            ):
                yield self.topic(own), document
            for live in tuple(mirrored.services.values()):
                yield from tuple(self._told(live))
            yield from self._of_players(mirrored)
            if with_hubs:
                yield from self.told_to_hubs(mirrored, limit).items()
        if mirrored.online is not None:
            yield from self.availability(mirrored)

    def near(self, mirrored: MirroredDevice, topic: str, limit: int) -> Mapping[str, bytes]:
        """Return of what `wanted` does a small part, which has a topic if that has it."""
        description, own = mirrored.description, topic.removeprefix(f"{self.base}/")
        if own == topic:
            told = self._kept(mirrored, limit) if description is None else ()
            return dict(told) | self.told_to_hubs(mirrored, limit)
        found: dict[str, bytes] = {}
        if topic in mirrored.kept:
            found[topic] = mirrored.kept[topic]
        device, _, rest = own.partition("/")
        live = mirrored.services.get(f"{device}/{rest.partition('/')[0]}")
        if live is not None:
            for one, document in documents.service_documents(
                live.service, device, detail=self.detail
            ):
                found[self.topic(one)] = document
            found.update(self._told(live))
            return found
        if description is not None and device in mirrored.parts:
            part, above = mirrored.parts[device]
            found[self.topic(device)] = documents.device_document(
                description, part, above, bridge=self.instance
            )
            found.update(
                one
                for one in self._of_players(mirrored)
                if one[0].startswith(f"{self.base}/{device}/")
            )
        if mirrored.online is not None:
            found.update(self.availability(mirrored))
        return found

    def below(self, mirrored: MirroredDevice, own: str, limit: int) -> dict[str, bytes]:
        """Return what `wanted` does at and below the topic of an id, whole payloads by topic."""
        top, description = self.topic(own), mirrored.description
        if description is None or "/" not in own:
            found = dict(self.near(mirrored, top, limit))
            found |= dict(self._kept(mirrored, limit))
            for live in mirrored.services.values():
                if live.id.startswith(f"{own}/"):
                    found |= self.near(mirrored, self.topic(live.id), limit)
        else:
            found = dict(self.near(mirrored, top, limit))
        return {topic: held for topic, held in found.items() if f"{topic}/".startswith(f"{top}/")}

    def _kept(self, mirrored: MirroredDevice, limit: int) -> Iterator[tuple[str, bytes]]:
        """Yield what is kept of a device that is not described yet, but for its presence."""
        base = f"{self.base}/"
        presence = dict(self.availability(mirrored)) if mirrored.online is not None else {}
        for topic, payload in mirrored.kept.items():
            if topic not in presence and (len(payload) <= limit or topic.startswith(base)):
                yield topic, payload

    def _told(self, live: LiveService) -> Iterator[tuple[str, bytes]]:
        """Yield the values of a service, and the document of them all."""
        if live.state.updated:
            yield from self.values(live)
            if self.mode != "values":
                yield self.state_topic(live), live.document()

    def _of_players(self, mirrored: MirroredDevice) -> Iterator[tuple[str, bytes]]:
        """Yield what players are now."""
        for one in {one.id: one for one in mirrored.players.values()}.values():
            for own, payload in zip(one.topics, one.shown(), strict=True):
                if payload:
                    yield self.topic(own), payload

    def told_to_hubs(self, mirrored: MirroredDevice, limit: int) -> dict[str, bytes]:
        """Return what hubs should be told of a root device that is described, by topic."""
        if mirrored.description is None or mirrored.shown is None:
            return dict(mirrored.held_by_hubs)
        told: dict[str, bytes] = {}
        for hub in self.hubs:
            told.update(hub.wanted(mirrored.description, mirrored.shown, limit))
        return told

    def hub_topics(self, device: str) -> tuple[str, ...]:
        """Return the topics outside the base that may be a device's, by its id."""
        return tuple(topic for hub in self.hubs for topic in hub.topics(device))

    def own_hub_topics(self, instance: str | None = None) -> tuple[str, ...]:
        """Return the topics outside the base that may be the bridge's own, or an instance's."""
        return tuple(topic for hub in self.hubs for topic in hub.own_topics(instance))

    def interim_document(self, topic: str, held: bytes, wanted: bytes) -> bytes | None:
        """Return what a topic has to hold for a moment between these two; None for nothing."""
        found = (hub.interim_document(topic, held, wanted) for hub in self.hubs)
        return next((one for one in found if one is not None), None)

    def is_kept(self, topic: str) -> bool:
        """Return whether a topic of a device that is not described yet may stay as it is."""
        is_ours = topic.startswith(f"{self.base}/")
        return is_ours or any(hub.enabled for hub in self.hubs)

    def availability(self, mirrored: MirroredDevice) -> Iterator[tuple[str, bytes]]:
        """Yield the availability of each device of a root device, which is that of its root."""
        for device in mirrored.devices:
            yield (
                self.topic(topics.availability_id(device)),
                b"online" if mirrored.online else b"offline",
            )

    def values(self, live: LiveService) -> Iterator[tuple[str, bytes]]:
        """Yield the values of a service."""
        if self.mode != "document":
            for key, value in live.state.values.items():
                yield self.value_topic(live, key), datatypes.write(value).encode()

    def value_topic(self, live: LiveService, key: Key) -> str:
        """Return where a value of a service stands."""
        return self.topic(topics.value_id(live.id, key.name, key.instance, key.channel))

    def state_topic(self, live: LiveService) -> str:
        """Return where the document of all values of a service stands."""
        return self.topic(topics.state_id(live.id))

    def held_state(
        self, live: LiveService, held: Mapping[str, bytes], values: Mapping[str, bytes]
    ) -> ServiceState:
        """Return a service's values as the broker holds them: its document, else its topics.

        `values` are those of what is `held` that are the service's (see `by_service`).
        """
        payload = join_parts(held, self.state_topic(live))
        state = read_document(payload) if payload else None
        if state is not None:
            return state
        texts = []
        for topic in values:
            found = topics.read_value_id(live.id, topic[len(self.base) + 1 :])
            if found is not None:
                text = (join_parts(held, topic) or b"").decode("utf-8", "replace")
                texts.append((Key(*found), text))
        state = ServiceState()
        if texts:
            state.apply(typed(texts, live.readers), whole=True, now=_UNDATED)
        return state

    def by_service(self, held: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
        """Return the values among what a broker holds, by the ids of their services."""
        found: dict[str, dict[str, bytes]] = {}
        for topic, payload in held.items():
            device, _, below = topic[len(self.base) + 1 :].partition("/")
            level, _, rest = below.partition("/")
            if rest.startswith("value/"):
                found.setdefault(f"{device}/{level}", {})[topic] = payload
        return found
