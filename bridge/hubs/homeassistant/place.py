"""Where an entity gets its state and sends its commands, in topics and templates.

Templates are Home Assistant's (Jinja). What a device wrote gets into one only if it cannot be taken
for a part of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core import accessors, topics
from bridge.core.accessors import Accessor
from bridge.core.branch import StateMode
from bridge.core.commands import only_reads
from bridge.core.model import Action, Device, Service, StateVariable
from bridge.core.polling import Plan
from bridge.hubs.homeassistant.rules import DOCUMENT

_PLAIN = re.compile(r"[\w .:/+-]{1,128}", re.ASCII)
_TEMPLATE = re.compile(r"\{\{.*\}\}")


@dataclass(frozen=True, slots=True)
class World:
    """What all entities of a bridge have in common."""

    base: str
    mode: StateMode
    plan: Plan
    read_only: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A service of a device, as entities see it. `device_type` is the name in the device's type."""

    world: World
    device: Device
    service: Service
    getters: Mapping[str, Accessor]
    setters: Mapping[str, Accessor]
    untold: frozenset[str]

    @classmethod
    def of(cls, world: World, device: Device, service: Service) -> "Place":
        """Return the place of a service."""
        own = topics.device_id(device.udn)
        return cls(
            world,
            device,
            service,
            accessors.getters(service.scpd),
            {} if world.read_only else accessors.setters(service.scpd),
            world.plan.untold(own, service),
        )

    @property
    def device_type(self) -> str:
        """The name in the device's type, which its version is not part of."""
        return self.device.device_type.split(":device:")[-1].partition(":")[0]

    def variable(self, name: str) -> StateVariable | None:
        """Return a state variable, if its value is ever told, by an event or by an answer."""
        found = self.service.scpd.variables.get(name)
        if found is None or not _PLAIN.fullmatch(name):
            return None
        is_evented = self.service.event_url is not None and (found.evented or self.has_last_change)
        return found if is_evented or name in self.untold or self._is_asked(name) else None

    def _is_asked(self, name: str) -> bool:
        """Return whether a variable would be asked for, should no events come."""
        accessor = self.getters.get(name)
        return (
            bool(self.world.plan.interval_s)
            and accessor is not None
            and (self.service.scpd.variables[name].evented or self.has_last_change)
            and only_reads(accessor.action.name)
        )

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

    def set_topic(self, variable: str, channel: str | None = None) -> str:
        """Return where a variable takes a new value."""
        instance, channel = self._key(variable, channel)
        setter = self.setter(variable)
        if setter is not None and setter.instance is None and channel in (None, accessors.CHANNEL):
            instance = channel = None  # it is what there is: such a setter cannot choose
        return f"{self._topic(topics.value_id(self._own, variable, instance, channel))}/set"

    def state(  # noqa: PLR0913 - all by name
        self,
        variable: StateVariable,
        *,
        template: str = "",
        guard: str = "",
        unknown: str = "None",
        channel: str | None = None,
        names: tuple[str, str] = ("state_topic", "value_template"),
    ) -> dict[str, object]:
        """Return the topic of a variable's value, and a template where it takes one.

        `template` makes the state of `value`, the text of the value. `guard` is the condition on
        `value` under which it counts; otherwise the state is unknown, as `None` says. `unknown` is
        the state where a document does not tell the value.
        """
        topic_key, template_key = names
        if not template and guard:
            template = f"{{{{ value if {guard} else 'None' }}}}"
        instance, channel = self._key(variable.name, channel)
        if self.world.mode != "document":
            own = topics.value_id(self._own, variable.name, instance, channel)
            found: dict[str, object] = {topic_key: self._topic(own)}
            return found | ({template_key: template} if template else {})
        path = f".get('values', {{}}).get('{variable.name}')"
        if instance is not None:
            path = f".get('instances', {{}}).get('{instance}', {{}}).get('{variable.name}')"
        whole = (
            f"{{% set v = {DOCUMENT}{path} %}}"
            f"{{% set v = v.get('{channel or accessors.CHANNEL}') if v is mapping else v %}}"
            f"{{% if v is none %}}{unknown}{{% else %}}"
            "{% set value = v | lower if v is boolean else v | string %}"
            f"{template or '{{ value }}'}{{% endif %}}"
        )
        return {topic_key: self._topic(topics.state_id(self._own)), template_key: whole}

    def _key(self, variable: str, channel: str | None) -> tuple[str | None, str | None]:
        """Return the InstanceID and the channel under which a variable's value stands."""
        if self.service.scpd.variables[variable].evented:
            return None, None
        if self.has_last_change:
            return accessors.INSTANCE, channel
        getter = self.getters.get(variable)
        return getter.place(channel=channel) if getter else (None, None)

    @property
    def has_last_change(self) -> bool:
        """Whether the service has a `LastChange`."""
        return "LastChange" in self.service.scpd.variables

    @property
    def _own(self) -> str:
        return topics.service_id(topics.device_id(self.device.udn), self.service.level)

    def _topic(self, own: str) -> str:
        return f"{self.world.base}/{own}"


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
