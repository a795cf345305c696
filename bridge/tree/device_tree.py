"""A root device as a branch of the wanted tree, and the tree that it stands for.

The tree is a function of description, values and presence. It is computed where two trees are
compared, and never stored.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, Protocol, TypeAlias

from bridge.formats import jsontext
from bridge.model import datatypes, icons, topics
from bridge.model.datatypes import Value
from bridge.model.device import (
    Description,
    Device,
    Key,
    Scpd,
    Service,
    StateVariable,
    once_for_each,
)
from bridge.polling.plan import PLAYED, POSITION, Plan, service_name
from bridge.tree import documents
from bridge.tree import media as player
from bridge.tree.retained import RetainedTree, join_parts
from bridge.tree.service_state import ServiceState, read_document, typed

StateMode: TypeAlias = Literal["both", "values", "document"]

Keys: TypeAlias = Mapping[str, frozenset[Key]]
"""Where values stand: the keys of each service that has some, by its id."""

_NO_PLAN = Plan()
_TRANSPORT_STATES = (Key("TransportState", "0"), Key("TransportState"))
_UNDATED = "1970-01-01T00:00:00.000Z"
"""When values changed that stand at the broker without their service's document."""


@once_for_each
def _readers(scpd: Scpd) -> Mapping[str, Callable[[str], Value]]:
    return {one.name: datatypes.reader(one.data_type) for one in scpd.variables.values()}


@once_for_each
def _promised(scpd: Scpd) -> tuple[str, ...]:
    has_last_change = "LastChange" in scpd.variables
    return tuple(
        one.name
        for one in scpd.variables.values()
        if (one.evented or has_last_change)
        and one.name != "LastChange"
        and not one.name.startswith("A_ARG_TYPE_")
    )


@dataclass(slots=True)
class LiveService:
    """A service with the values that it has told of.

    `readers` read the texts of its state variables, `untold` those that it is asked for although
    its events come, `state_length` the bytes of its `state` document as it was wanted last. Where
    it sends events at all, it `has_events`. `moves` is `state.moves` as it was seen last, and
    `promised` are the variables that it would tell, by its SCPD.
    """

    id: str
    service: Service
    readers: Mapping[str, Callable[[str], Value]]
    untold: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    """Those, and what it is asked for when it was set: no first event clears them."""
    state: ServiceState = field(default_factory=ServiceState)
    state_length: int = 0
    has_events: bool = False
    moves: int = 0
    promised: tuple[str, ...] = ()

    @classmethod
    def of(cls, device: str, service: Service, plan: Plan) -> "LiveService":
        """Return a service of the device with this id, without values."""
        own = topics.service_id(device, service.level)
        live = cls(own, service, _readers(service.scpd), plan.untold(device, service))
        live.spared = live.untold | plan.settable(service)
        variables = service.scpd.variables.values()
        live.has_events = service.event_url is not None and any(one.evented for one in variables)
        live.promised = _promised(service.scpd)
        return live

    @property
    def has_first_state(self) -> bool:
        """Whether its first event has come, and an answer to what it is asked besides."""
        if self.has_events and self.state.told is None:
            return False
        values = self.state.values
        plays = any(values.get(key) == "PLAYING" for key in _TRANSPORT_STATES)
        asked = self.untold - PLAYED if plays else self.untold - PLAYED - POSITION
        return not asked or asked <= {key.name for key in values}

    def believes(self, key: Key, text: str) -> bool:
        """Return whether an answer counts although events tell its variable."""
        return self.state.believes(key, self.readers.get(key.name, str)(text))

    def differs(self, key: Key, text: str) -> bool:
        """Return whether an answer says something else than what is known."""
        known = self.state.known(key)
        return known is None or known != self.readers.get(key.name, str)(text)

    def document(self) -> bytes:
        """Return its `state` document, as it is wanted now."""
        payload = jsontext.encode(self.state.document())
        self.state_length = len(payload)
        return payload


@dataclass(slots=True)
class Player:
    """A device that plays: its AVTransport and, where it has one, its RenderingControl.

    `volume` and `volume_db` are the state variables, where the SCPD has them.
    `told` is what `media` was wanted to hold last, and `told_s` since when, by a monotonic clock;
    `art` is what `art` was.
    """

    id: str
    art_id: str
    transport: LiveService
    rendering: LiveService | None
    volume: StateVariable | None
    volume_db: StateVariable | None
    base_url: str
    icon: str
    told: bytes = b""
    art: bytes = b""
    told_s: float = -inf

    def shown(self) -> tuple[bytes, bytes]:
        """Return what `media` should hold now, and `art`: the cover in that, else the `icon`.

        Empty where nothing is known.
        """
        rendering = self.rendering.state.values if self.rendering else {}
        fields = player.summary(
            self.transport.state.values, rendering, self.volume, self.base_url, self.volume_db
        )
        media = jsontext.encode(fields) if fields else b""
        return media, str(fields.get("album_art", self.icon)).encode()


@dataclass(slots=True)
class MirroredDevice:
    """A root device and all that hangs from it.

    `devices` are the ids of the root and all embedded devices, root first. Until it has been
    described, `kept` is what the broker holds of it; afterwards that is empty. `row` is its row in
    the table of devices. `online` is None until its presence is known, `offline_since` is UTC,
    RFC 3339. `owned` is false while another instance mirrors it. Hubs are told of it by what was
    `shown` of its values; until that is known, `held_by_hubs` is what the broker holds for them.
    """

    id: str
    devices: tuple[str, ...]
    description: Description | None = None
    kept: Mapping[str, bytes] = field(default_factory=dict)
    row: dict[str, object] = field(default_factory=dict)
    online: bool | None = None
    offline_since: str | None = None
    owned: bool = True
    shown: Keys | None = None
    held_by_hubs: Mapping[str, bytes] = field(default_factory=dict)
    parts: dict[str, tuple[Device, str | None]] = field(default_factory=dict)
    """By their ids the devices, each with the id of that which it is embedded in."""
    services: dict[str, LiveService] = field(default_factory=dict)
    players: dict[str, Player] = field(default_factory=dict)
    """By the ids of the services that they are made of."""

    @property
    def udn(self) -> str:
        """The UDN of the root device, without `uuid:`."""
        return topics.decode_level(self.id)

    @classmethod
    def of(cls, description: Description, plan: Plan = _NO_PLAN) -> "MirroredDevice":
        """Return the branch of a device that was described just now, without values."""
        walk = tuple(description.device.walk())
        devices = tuple(topics.device_id(device.udn) for device in walk)
        branch = cls(devices[0], devices, description, online=True)
        branch.parts[branch.id] = description.device, None
        for own, device in zip(devices, walk, strict=True):
            for below in device.devices:
                branch.parts[topics.device_id(below.udn)] = below, own
            for service in device.services:
                live = LiveService.of(own, service, plan)
                branch.services[live.id] = live
            branch._add_player(own, device)
        branch.refresh_row()
        return branch

    def _add_player(self, own: str, device: Device) -> None:
        found = {service_name(service): service for service in reversed(device.services)}
        transport, rendering = found.get("AVTransport"), found.get("RenderingControl")
        if transport is None or self.description is None:
            return
        lives = [
            self.services[topics.service_id(own, one.level)]
            for one in (transport, rendering)
            if one is not None
        ]
        variables = rendering.scpd.variables if rendering else {}
        one = Player(
            topics.media_id(own),
            topics.art_id(own),
            lives[0],
            lives[1] if rendering else None,
            variables.get("Volume"),
            variables.get("VolumeDB"),
            self.description.base_url,
            icons.best(device.icons) or icons.best(self.description.device.icons) or "",
        )
        self.players |= {live.id: one for live in lives}

    def keys(self) -> Keys:
        """Return where values stand now."""
        return {
            live.id: frozenset(live.state.values)
            for live in self.services.values()
            if live.state.values
        }

    def never_reported(self) -> list[str]:
        """Return what services by their SCPDs would tell, and have not: `<service>/<Var>`."""
        return [
            f"{live.id.partition('/')[2]}/{name}"
            for live in self.services.values()
            for name in live.promised
            if name not in {key.name for key in live.state.values}
        ]

    @property
    def has_first_state(self) -> bool:
        """Whether all services have told what they tell at the beginning."""
        return all(live.has_first_state for live in self.services.values())

    def refresh_row(self) -> None:
        """Bring the row in the table of devices up to date."""
        row = dict(self.row)
        if self.description is not None:
            device = self.description.device
            row = {
                "id": self.id,
                "udn": f"uuid:{device.udn}",
                "device_type": device.device_type,
                "friendly_name": device.friendly_name,
                "manufacturer": device.manufacturer,
                "model_name": device.model_name,
                "location": self.description.location,
                "subdevices": list(self.devices[1:]),
                "problems": sum(len(one.problems) for one in device.walk()),
            }
        row["availability"] = "online" if self.online else "offline"
        row["offline_since"] = None if self.online else self.offline_since
        self.row = {name: value for name, value in row.items() if value is not None}


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
    """How branches stand in the tree, how much of them is told, and to which hubs."""

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

    def holdings(
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

    def wanted(self, branch: MirroredDevice, limit: int) -> dict[str, bytes]:
        """Return all that the broker should hold of a branch, whole payloads by topic.

        Only what hubs are told has to fit in `limit` bytes.
        """
        return dict(self.walk(branch, limit))

    def walk(
        self, branch: MirroredDevice, limit: int, *, with_hubs: bool = True
    ) -> Iterator[tuple[str, bytes]]:
        """Yield what `wanted` returns one by one: values and presence as they are by then."""
        yield from self._kept(branch, limit)
        description = branch.description
        if description is not None:
            for own, document in documents.components(
                description, bridge=self.instance, detail=self.detail
            ):
                yield self.topic(own), document
            for live in tuple(branch.services.values()):
                yield from tuple(self._told(live))
            yield from self._of_players(branch)
            if with_hubs:
                yield from self.told_to_hubs(branch, limit).items()
        if branch.online is not None:
            yield from self.availability(branch)

    def near(self, branch: MirroredDevice, topic: str, limit: int) -> Mapping[str, bytes]:
        """Return of what `wanted` does a small part, which has a topic if that has it."""
        description, own = branch.description, topic.removeprefix(f"{self.base}/")
        if own == topic:
            told = self._kept(branch, limit) if description is None else ()
            return dict(told) | self.told_to_hubs(branch, limit)
        found: dict[str, bytes] = {}
        if topic in branch.kept:
            found[topic] = branch.kept[topic]
        device, _, rest = own.partition("/")
        live = branch.services.get(f"{device}/{rest.partition('/')[0]}")
        if live is not None:
            for one, document in documents.service_documents(
                live.service, device, detail=self.detail
            ):
                found[self.topic(one)] = document
            found.update(self._told(live))
            return found
        if description is not None and device in branch.parts:
            part, above = branch.parts[device]
            found[self.topic(device)] = documents.device_document(
                description, part, above, bridge=self.instance
            )
            found.update(
                one
                for one in self._of_players(branch)
                if one[0].startswith(f"{self.base}/{device}/")
            )
        if branch.online is not None:
            found.update(self.availability(branch))
        return found

    def below(self, branch: MirroredDevice, own: str, limit: int) -> dict[str, bytes]:
        """Return what `wanted` does at and below the topic of an id, whole payloads by topic."""
        top, description = self.topic(own), branch.description
        if description is None or "/" not in own:
            found = dict(self.near(branch, top, limit))
            found |= dict(self._kept(branch, limit))
            for live in branch.services.values():
                if live.id.startswith(f"{own}/"):
                    found |= self.near(branch, self.topic(live.id), limit)
        else:
            found = dict(self.near(branch, top, limit))
        return {topic: held for topic, held in found.items() if f"{topic}/".startswith(f"{top}/")}

    def _kept(self, branch: MirroredDevice, limit: int) -> Iterator[tuple[str, bytes]]:
        """Yield what is kept of a device that is not described yet, but for its presence."""
        base = f"{self.base}/"
        presence = dict(self.availability(branch)) if branch.online is not None else {}
        for topic, payload in branch.kept.items():
            if topic not in presence and (len(payload) <= limit or topic.startswith(base)):
                yield topic, payload

    def _told(self, live: LiveService) -> Iterator[tuple[str, bytes]]:
        """Yield the values of a service, and the document of them all."""
        if live.state.updated:
            yield from self.values(live)
            if self.mode != "values":
                yield self.state_topic(live), live.document()

    def _of_players(self, branch: MirroredDevice) -> Iterator[tuple[str, bytes]]:
        """Yield what players are now."""
        for one in {one.id: one for one in branch.players.values()}.values():
            for own, payload in zip((one.id, one.art_id), one.shown(), strict=True):
                if payload:
                    yield self.topic(own), payload

    def told_to_hubs(self, branch: MirroredDevice, limit: int) -> dict[str, bytes]:
        """Return what hubs should be told of a branch that is described, by topic."""
        if branch.description is None or branch.shown is None:
            return dict(branch.held_by_hubs)
        told: dict[str, bytes] = {}
        for hub in self.hubs:
            told.update(hub.wanted(branch.description, branch.shown, limit))
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

    def availability(self, branch: MirroredDevice) -> Iterator[tuple[str, bytes]]:
        """Yield the availability of each device of a branch, which is that of its root."""
        for device in branch.devices:
            yield (
                self.topic(topics.availability_id(device)),
                b"online" if branch.online else b"offline",
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
