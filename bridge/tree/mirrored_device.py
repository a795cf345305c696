"""A root device as it is mirrored: its description, its values, and whether it is there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

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
from bridge.tree import media as player
from bridge.tree.service_state import ServiceState

Keys: TypeAlias = Mapping[str, frozenset[Key]]
"""Where values stand: the keys of each service that has some, by its id."""

_NO_PLAN = Plan()
_TRANSPORT_STATES = (Key("TransportState", "0"), Key("TransportState"))


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

    `readers` read the texts of its state variables, `asked_for` those that it is asked for although
    its events come, `state_length` the bytes of its `state` document as it was wanted last. Where
    it sends events at all, it `has_events`. `moves` is `state.moves` as it was seen last, and
    `promised` are the variables that it would tell, by its SCPD.
    """

    id: str
    service: Service
    readers: Mapping[str, Callable[[str], Value]]
    asked_for: frozenset[str] = frozenset()
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
        live = cls(own, service, _readers(service.scpd), plan.asked_for(device, service))
        live.spared = live.asked_for | plan.settable(service)
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
        asked = self.asked_for - PLAYED if plays else self.asked_for - PLAYED - POSITION
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

    @property
    def topics(self) -> tuple[str, str]:
        """The ids of its `media` and its `art`."""
        return self.id, self.art_id

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
        """Return what is mirrored of a device that was described just now, without values."""
        walk = tuple(description.device.walk())
        devices = tuple(topics.device_id(device.udn) for device in walk)
        mirrored = cls(devices[0], devices, description, online=True)
        mirrored.parts[mirrored.id] = description.device, None
        for own, device in zip(devices, walk, strict=True):
            for below in device.devices:
                mirrored.parts[topics.device_id(below.udn)] = below, own
            for service in device.services:
                live = LiveService.of(own, service, plan)
                mirrored.services[live.id] = live
            mirrored._add_player(own, device)
        mirrored.refresh_row()
        return mirrored

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

    def forget_values(self) -> None:
        """Know nothing of its values: another instance hears of them from now on."""
        for live in self.services.values():
            live.state, live.state_length = ServiceState(), 0
        for one in self.players.values():
            one.told, one.art = b"", b""
        self.shown, self.held_by_hubs = None, {}

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
