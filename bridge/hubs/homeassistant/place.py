"""Where an entity gets its state and sends its commands, in topics and templates.

Templates are Home Assistant's (Jinja). What a device wrote gets into one only if it cannot be taken
for a part of it.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bridge.hubs.homeassistant.rules import DOCUMENT
from bridge.model import accessors, topics
from bridge.model.accessors import Accessor, only_reads
from bridge.model.device import Action, Device, Key, Scpd, Service, StateVariable
from bridge.tree.device_tree import StateMode

_PLAIN = re.compile(r"[\w .:/+-]{1,128}", re.ASCII)
_TEMPLATE = re.compile(r"\{\{.*\}\}")

WHOLE = (None, accessors.CHANNEL)
"""The channels that mean all of a player's speakers together."""

Told = Mapping[str, Collection[Key]]
"""Where values stand: the keys that a service has told or answered, by its id."""


@dataclass(frozen=True, slots=True)
class World:
    """What all entities of a bridge have in common."""

    base: str
    mode: StateMode
    read_only: bool


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """A service of a device, as entities see it. `device_type` is the name in the device's type.

    `told` has where values of the device's services stand, `keys` those of this one by the name of
    their variable, under one InstanceID each: the whole first, then channels.
    """

    world: World
    device: Device
    service: Service
    getters: Mapping[str, Accessor]
    setters: Mapping[str, Accessor]
    told: Told
    keys: Mapping[str, tuple[Key, ...]]

    @classmethod
    def of(cls, world: World, device: Device, service: Service, told: Told) -> "ServicePlace":
        """Return the place of a service."""
        own = topics.service_id(topics.device_id(device.udn), service.level)
        return cls(
            world,
            device,
            service,
            accessors.getters(service.scpd),
            {} if world.read_only else accessors.setters(service.scpd),
            told,
            _by_variable(service, told.get(own, ())),
        )

    def beside(self, service: Service) -> "ServicePlace":
        """Return the place of another service of the same device."""
        return ServicePlace.of(self.world, self.device, service, self.told)

    @property
    def device_type(self) -> str:
        """The name in the device's type, which its version is not part of."""
        return self.device.device_type.split(":device:")[-1].partition(":")[0]

    def variable(self, name: str) -> StateVariable | None:
        """Return a state variable, if a value of it is told; one that no SCPD lists has no type."""
        if name not in self.keys:
            return None
        return self.service.scpd.variables.get(name) or StateVariable(name, "")

    def setter(self, variable: str) -> Accessor | None:
        """Return the action that sets a variable; None in read-only mode."""
        return accessors.setter_among(self.setters, variable)

    def action(self, name: str) -> Action | None:
        """Return an action, if it may be called."""
        found = self.service.scpd.actions.get(name)
        return None if found is None or (self.world.read_only and not only_reads(name)) else found

    # Topics

    def media_topic(self) -> str:
        """Return where the player in one piece stands."""
        return self._topic(topics.media_id(topics.device_id(self.device.udn)))

    def art_topic(self) -> str:
        """Return where the address of the picture of what a player shows stands."""
        return self._topic(topics.art_id(topics.device_id(self.device.udn)))

    def event_topic(self) -> str:
        """Return where it is told what happens at the service that is no value."""
        return self._topic(topics.event_id(self._own))

    def call_topic(self, action: str) -> str:
        """Return where an action takes its arguments."""
        return f"{self._topic(topics.action_id(self._own, action))}/call"

    def set_topic(self, key: Key) -> str | None:
        """Return where the value of this key is set; None where it cannot be, not for itself."""
        setter = self.setter(key.name)
        if setter is None:
            return None
        instance, channel = key.instance, key.channel
        if channel in WHOLE:
            channel = channel if setter.channel and setter.instance else None
            instance = instance if setter.instance else None  # what it cannot choose, it does not
        elif setter.channel is None or setter.instance is None:
            return None
        return f"{self._topic(topics.value_id(self._own, key.name, instance, channel))}/set"

    def state(
        self,
        key: Key,
        *,
        template: str = "",
        guard: str = "",
        unknown: str = "None",
        names: tuple[str, str] = ("state_topic", "value_template"),
    ) -> dict[str, object]:
        """Return the topic of a value, and a template where it takes one.

        `template` makes the state of `value`, the text of the value. `guard` is the condition on
        `value` under which it counts; otherwise the state is unknown, as `None` says. `unknown` is
        the state where a document does not tell the value.
        """
        topic_key, template_key = names
        if not template and guard:
            template = f"{{{{ value if {guard} else 'None' }}}}"
        if self.world.mode != "document":
            own = topics.value_id(self._own, *key)
            found: dict[str, object] = {topic_key: self._topic(own)}
            return found | ({template_key: template} if template else {})
        path = f".get('values', {{}}).get('{key.name}')"
        if key.instance is not None:
            path = f".get('instances', {{}}).get('{key.instance}', {{}}).get('{key.name}')"
        of_channel = f"v.get('{key.channel or accessors.CHANNEL}')"
        if key.channel in WHOLE:
            of_channel = f"v.get('{accessors.CHANNEL}', v.get(''))"
        whole = (
            f"{{% set v = {DOCUMENT}{path} %}}"
            f"{{% set v = {of_channel} if v is mapping else v %}}"
            f"{{% if v is none %}}{unknown}{{% else %}}"
            "{% set value = v | lower if v is boolean else v | string %}"
            f"{template or '{{ value }}'}{{% endif %}}"
        )
        return {topic_key: self._topic(topics.state_id(self._own)), template_key: whole}

    @property
    def has_last_change(self) -> bool:
        """Whether the service has a `LastChange`."""
        return "LastChange" in self.service.scpd.variables

    @property
    def _own(self) -> str:
        return topics.service_id(topics.device_id(self.device.udn), self.service.level)

    def _topic(self, own: str) -> str:
        return f"{self.world.base}/{own}"


def _by_variable(service: Service, told: Collection[Key]) -> Mapping[str, tuple[Key, ...]]:
    """Return where the values of each variable stand, of one InstanceID, the whole first.

    That is the InstanceID that the SCPD makes one expect, if values stand there.
    """
    found: dict[str, list[Key]] = {}
    for key in told:
        if all(is_plain(one) for one in key if one is not None) and key.name != "LastChange":
            found.setdefault(key.name, []).append(key)
    return {
        name: tuple(_of_one_instance(service, name, keys)) for name, keys in sorted(found.items())
    }


def _of_one_instance(service: Service, name: str, keys: list[Key]) -> list[Key]:
    declared = service.scpd.variables.get(name)
    is_plain_event = declared is not None and declared.evented
    expected = (None, accessors.INSTANCE) if is_plain_event else (accessors.INSTANCE, None)
    instances = {key.instance for key in keys}
    others = sorted(one for one in instances if one is not None)
    chosen = next(one for one in (*expected, *others) if one in instances)
    channels = {key.channel for key in keys if key.instance == chosen}
    if accessors.CHANNEL in channels:
        channels.discard(None)
    ranks = _ranks(service.scpd, name)

    def rank(channel: str | None) -> tuple[bool, int, str]:
        return channel not in WHOLE, ranks.get(channel or "", len(ranks)), channel or ""

    return [Key(name, chosen, one) for one in sorted(channels, key=rank)]


def _ranks(scpd: Scpd, name: str) -> Mapping[str, int]:
    """Return the order in which the SCPD lists the channels of a variable."""
    accessor = accessors.getter(scpd, name) or accessors.setter(scpd, name)
    if accessor is None or accessor.channel is None:
        return {}
    related = next(a.variable for a in accessor.action.inputs if a.name == accessor.channel)
    declared = scpd.variables.get(related)
    return {one: rank for rank, one in enumerate(declared.allowed_values)} if declared else {}


def arguments(action: Action, args: Mapping[str, object], *, fill: bool = False) -> str | None:
    """Return a call's payload of these arguments, as a template where one of them is.

    None where the action wants others, InstanceID and Channel aside; `fill` leaves those empty.
    None too where it does not take what a template gives.
    """
    parts: list[str] = []
    given = {name for name, value in args.items() if _is_template(value)}
    if not given <= {argument.name for argument in action.inputs}:
        return None
    for argument in action.inputs:
        if argument.name in args:
            value = args[argument.name]
            text = value if argument.name in given else json.dumps(value)
            parts.append(f"{json.dumps(argument.name)}: {text}")
        elif argument.name not in ("InstanceID", "Channel"):
            if not fill:
                return None
            parts.append(f'{json.dumps(argument.name)}: ""')
    return "{" + ", ".join(parts) + "}"


def _is_template(value: object) -> bool:
    return isinstance(value, str) and _TEMPLATE.fullmatch(value) is not None


def is_plain(text: str) -> bool:
    """Return whether a device's own text means nothing in a template, or in its quotes."""
    return _PLAIN.fullmatch(text) is not None
