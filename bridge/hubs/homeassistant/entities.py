"""How an entity of each platform is written, from a rule and the service that it is for."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bridge.core import accessors, player, values
from bridge.core.model import StateVariable
from bridge.core.polling import service_name
from bridge.hubs.homeassistant.place import Place, arguments, is_plain
from bridge.hubs.homeassistant.rules import DOCUMENT, HAPPENED, Platform, Rule

Config = dict[str, object]

_MASTER = "Master"
_CHANNELS = {
    "LF": "left",
    "RF": "right",
    "CF": "centre",
    "LFE": "subwoofer",
    "LS": "left surround",
    "RS": "right surround",
}
_MAX_CHANNELS = 8
_MAX_OPTIONS = 50
_MAX_STATE = 255
_CUT = f"{{{{ value[:{_MAX_STATE}] }}}}"
_LEVEL = "{{ value if value | is_number else '' }}"
"""A brightness, which Home Assistant takes for a number or, where it is empty, for none."""
_PERCENT = (0.0, 100.0)
_STEP = 0.001
"""The least step of a number in Home Assistant."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A component of a device's discovery document; `name` is None where it has the device's."""

    key: str
    platform: Platform
    name: str | None
    config: Config
    enabled: bool = True
    more: Mapping[str, object] = field(default_factory=dict)
    needs: str = ""
    """The topic that must hold something, so that it is available."""

    def component(self) -> Config:
        """Return it as Home Assistant reads it, without a unique id."""
        disabled = {} if self.enabled else {"enabled_by_default": False}
        return {
            "platform": self.platform,
            "name": self.name,
            **self.config,
            **self.more,
            **disabled,
        }


def entities(rule: Rule, place: Place) -> Iterator[Entity]:
    """Yield the entities that a rule means at a service: none, one, or one for each channel."""
    if (rule.on and place.device_type not in rule.on) or place.device_type in rule.not_on:
        return
    variable = place.variable(rule.variable) if rule.variable else None
    if rule.variable and variable is None:
        return
    for channel in _channels(rule, place):
        one = _of_channel(rule, channel)
        platform = one.platform
        config = _BUILDERS[platform](one, place, variable, channel)
        if config is None and variable is not None and platform in _AS_SENSOR:
            platform = _AS_SENSOR[platform]
            config = _BUILDERS[platform](one, place, variable, channel)
        if config is not None:
            key = one.key if platform == one.platform else f"{one.key}_{platform}"
            more, needs = _fitting(one, platform), _needs(platform, place)
            yield Entity(key, platform, one.name, config, one.enabled, more, needs)


def _fitting(rule: Rule, platform: Platform) -> Mapping[str, object]:
    """Return a rule's own keys, without those that a sensor in place of a control does not have."""
    if platform == rule.platform:
        return rule.more
    kept = {
        k: v for k, v in rule.more.items() if k not in ("entity_category", "state_on", "state_off")
    }
    category = {"entity_category": "diagnostic"} if "entity_category" in rule.more else {}
    return kept | category


def _channels(rule: Rule, place: Place) -> Iterator[str | None]:
    """Yield the channels that a rule's variable has values for; None for a variable without."""
    scpd = place.service.scpd
    accessor = place.getters.get(rule.variable) or place.setter(rule.variable)
    if accessor is None and place.world.read_only:
        accessor = accessors.setter(scpd, rule.variable)
    if not rule.variable or accessor is None or accessor.channel is None:
        yield None
        return
    related = next(a.variable for a in accessor.action.inputs if a.name == accessor.channel)
    declared = scpd.variables.get(related)
    channels = [one for one in declared.allowed_values if is_plain(one)] if declared else []
    yield from channels[:_MAX_CHANNELS] or [_MASTER]


def _of_channel(rule: Rule, channel: str | None) -> Rule:
    if channel in (None, _MASTER):
        return rule
    name = f"{rule.name} {_CHANNELS.get(channel, channel)}"
    return replace(rule, key=f"{rule.key}_{channel}", name=name, enabled=False)


Builder = Callable[[Rule, Place, StateVariable | None, str | None], Config | None]


def _sensor(
    rule: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    if rule.media:
        config: Config = {
            "state_topic": place.media_topic(),
            "value_template": _of_media(rule.media, "None"),
        }
        if rule.media == "state":
            config["json_attributes_topic"] = place.media_topic()
        return config
    if variable is None:
        return None
    if rule.template:
        return place.state(variable, template=rule.template, channel=channel)
    if is_number(variable) or "unit_of_measurement" in rule.more:
        state = place.state(variable, guard="value | is_number", channel=channel)
        return state | _unit(variable)
    return place.state(variable, template=_CUT, channel=channel)


def _binary_sensor(
    rule: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    if variable is None:
        return None
    if rule.template:
        return place.state(variable, template=rule.template, channel=channel)
    return place.state(variable, channel=channel) | {"payload_on": "true", "payload_off": "false"}


def _switch(
    rule: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    if variable is None:
        return None
    state = place.state(variable, template=rule.template, channel=channel)
    is_boolean = not rule.template
    if place.setter(variable.name):
        on, off = ("true", "false") if is_boolean else ("1", "0")
        command = {"command_topic": place.set_topic(variable.name, channel)}
        return {**state, **command, "payload_on": on, "payload_off": off}
    action = place.action(rule.action)
    if action is None or arguments(action, rule.args, fill=True) is None:
        return None
    payloads = {}
    for word, value in (("on", "1"), ("off", "0")):
        given = {name: value if "{{" in str(one) else one for name, one in rule.args.items()}
        payloads[f"payload_{word}"] = arguments(action, given, fill=True)
    return {**state, "command_topic": place.call_topic(action.name), **payloads}


def _number(
    _: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    bounds = None if variable is None else number_range(variable)
    if variable is None or bounds is None or place.setter(variable.name) is None:
        return None
    low, high = bounds
    step = values.read("r8", variable.step or "")
    guard = f"value | is_number and {low!r} <= value | float <= {high!r}"
    return {
        **place.state(variable, guard=guard, channel=channel),
        "command_topic": place.set_topic(variable.name, channel),
        "min": low,
        "max": high,
        "step": step if isinstance(step, int | float) and _STEP <= step <= high - low else 1,
        "mode": "slider",
        **_unit(variable),
    }


def _select(
    rule: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    if variable is None:
        return _select_of_action(rule, place)
    options = _options(variable)
    if not options or place.setter(variable.name) is None:
        return None
    return {
        **place.state(variable, guard=f"value in {json.dumps(options)}", channel=channel),
        "command_topic": place.set_topic(variable.name, channel),
        "options": options,
    }


def _select_of_action(rule: Rule, place: Place) -> Config | None:
    """Return a choice of what to call an action with, which no variable tells of."""
    action, command = place.action(rule.action), _called(rule, place, "command_template")
    if action is None or command is None:
        return None
    chosen = next(a.variable for a in action.inputs if "{{" in str(rule.args.get(a.name, "")))
    variable = place.service.scpd.variables.get(chosen)
    options = _options(variable) if variable else []
    return {**command, "options": options} if options else None


def _text(
    rule: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    if variable is not None:
        if place.setter(variable.name) is None:
            return None
        set_by: Config = {"command_topic": place.set_topic(variable.name, channel)}
        return place.state(variable, template=_CUT, unknown="", channel=channel) | set_by
    command = _called(rule, place, "command_template")
    if command is None:
        return None
    return {
        "state_topic": place.media_topic(),
        "value_template": _of_media(rule.media, ""),
        **command,
        "max": _MAX_STATE,
    }


def _notify(
    rule: Rule, place: Place, _variable: StateVariable | None, _channel: str | None
) -> Config | None:
    return _called(rule, place, "command_template")


def _button(
    rule: Rule, place: Place, _variable: StateVariable | None, _channel: str | None
) -> Config | None:
    return _called(rule, place, "payload_press")


def _called(rule: Rule, place: Place, payload_key: str) -> Config | None:
    """Return the command that calls a rule's action, its arguments under this key."""
    action = place.action(rule.action)
    payload = arguments(action, rule.args) if action else None
    if action is None or payload is None:
        return None
    return {"command_topic": place.call_topic(action.name), payload_key: payload}


def _event(
    rule: Rule, place: Place, variable: StateVariable | None, channel: str | None
) -> Config | None:
    if rule.happens:
        if place.has_last_change and place.service.event_url is not None:
            return {"state_topic": place.event_topic(), "value_template": HAPPENED}
        variable = place.variable(rule.happens)
    if variable is None:
        return None
    return place.state(variable, template=rule.template, channel=channel)


def _image(
    _: Rule, place: Place, _variable: StateVariable | None, _channel: str | None
) -> Config | None:
    """Return the picture of what plays, else of the device: any player may tell of a cover."""
    return {"url_topic": place.art_topic()}


def _needs(platform: Platform, place: Place) -> str:
    """Return the topic that must hold something: of a picture, for which no icon stands in.

    Without an address Home Assistant would go on showing the picture before.
    """
    return place.art_topic() if platform == "image" and not place.device.icons else ""


def _tells_covers(place: Place) -> bool:
    """Return whether metadata may come; where the SCPD is not there, it may in a LastChange."""
    if not place.service.scpd.variables:
        return place.service.event_url is not None
    return any(map(place.variable, ("CurrentTrackMetaData", "AVTransportURIMetaData")))


def _light(
    _: Rule, place: Place, variable: StateVariable | None, _channel: str | None
) -> Config | None:
    """Return a light (SwitchPower 1.0), dimmed by its device's Dimming 1.0 if it has that."""
    if variable is None or place.setter(variable.name) is None:
        return None
    config: Config = {
        **place.state(variable, names=("state_topic", "state_value_template")),
        "command_topic": place.set_topic(variable.name),
        "payload_on": "true",
        "payload_off": "false",
    }
    level = dimming(place)
    if level is None:
        return config
    other, brightness = level
    names = ("brightness_state_topic", "brightness_value_template")
    return {
        **config,
        **other.state(brightness, template=_LEVEL, unknown="", names=names),
        "brightness_command_topic": other.set_topic(brightness.name),
        "brightness_scale": max(1, int((number_range(brightness) or _PERCENT)[1])),
        "on_command_type": "first",
    }


def _of_media(name: str, unknown: str) -> str:
    """Return the template of a field of `media`."""
    return f"{{{{ ({DOCUMENT}.{name} | default('{unknown}'))[:{_MAX_STATE}] }}}}"


def dimming(place: Place) -> tuple[Place, StateVariable] | None:
    """Return the place and the state variable by which a light is dimmed."""
    for service in place.device.services:
        if service_name(service) == "Dimming":
            other = Place.of(place.world, place.device, service)
            variable = other.variable("LoadLevelStatus")
            if variable is not None and other.setter(variable.name):
                return other, variable
    return None


def is_number(variable: StateVariable) -> bool:
    """Return whether a variable's data type is one of numbers."""
    return not isinstance(values.read(variable.data_type, "0"), bool | str)


def number_range(variable: StateVariable) -> tuple[float, float] | None:
    """Return the least and the greatest value of a number; None where the SCPD does not say."""
    if variable.minimum is None or variable.maximum is None or not is_number(variable):
        return None
    low, high = player.volume_range(variable)
    return (low, high) if low < high else None


def _unit(variable: StateVariable) -> Config:
    return {"unit_of_measurement": "%"} if number_range(variable) == _PERCENT else {}


def _options(variable: StateVariable) -> list[str]:
    """Return what may be chosen; nothing where one of it would not be safe in a template."""
    allowed = list(dict.fromkeys(variable.allowed_values))
    return allowed if len(allowed) <= _MAX_OPTIONS and all(map(is_plain, allowed)) else []


_BUILDERS: Mapping[Platform, Builder] = {
    "binary_sensor": _binary_sensor,
    "button": _button,
    "event": _event,
    "image": _image,
    "light": _light,
    "notify": _notify,
    "number": _number,
    "select": _select,
    "sensor": _sensor,
    "switch": _switch,
    "text": _text,
}
_AS_SENSOR: Mapping[Platform, Platform] = {
    "light": "binary_sensor",
    "number": "sensor",
    "select": "sensor",
    "switch": "binary_sensor",
    "text": "sensor",
}


def generic_rule(name: str, variable: StateVariable, *, is_set: bool) -> Rule:
    """Return the rule for a state variable that nobody knows more of."""
    data_type = variable.data_type.strip().lower()
    platform: Platform
    if data_type == "boolean":
        platform = "switch" if is_set else "binary_sensor"
    elif is_set and _options(variable):
        platform = "select"
    elif is_set and number_range(variable):
        platform = "number"
    elif is_set and not is_number(variable):
        platform = "text"
    else:
        platform = "sensor"
    category = "diagnostic" if platform in ("sensor", "binary_sensor") else "config"
    return Rule(
        f"{platform}_{variable.name}",
        platform,
        name,
        variable.name,
        enabled=False,
        more={"entity_category": category},
    )


def generic_button(name: str, action: str) -> Rule:
    """Return the rule for an action without in-arguments that nobody knows more of."""
    return Rule(
        f"button_{action}",
        "button",
        name,
        action=action,
        enabled=False,
        more={"entity_category": "config"},
    )
