"""How an entity of each platform is written, from a rule and the service that it is for."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bridge.hubs.homeassistant.place import WHOLE, ServicePlace, arguments, is_plain
from bridge.hubs.homeassistant.rules import DOCUMENT, HAPPENED, Platform, Rule
from bridge.model import datatypes
from bridge.model.device import Key, StateVariable
from bridge.polling.plan import service_name
from bridge.tree import media

Config = dict[str, object]

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
_UNSAID = "value | trim in ['', 'NOT_IMPLEMENTED']"
WORDS = (
    f"{{{{ 'None' if {_UNSAID} else '“' ~ value | trim ~ '”'"
    " if value | trim in ['unknown', 'unavailable', 'None']"
    f" else value[:{_MAX_STATE}] }}}}"
)
"""A text as a state: unknown where nothing is said, in quotes where it is a word of Home
Assistant's own, so that a song called `unavailable` is not taken for a player that is."""
_TRUTH = (
    "{% set v = value | trim | lower %}"
    "{{ 'true' if v in ['1', 'true', 'yes'] else"
    " 'false' if v in ['0', 'false', 'no'] else 'None' }}"
)
"""A boolean that no SCPD has the type of."""
_BRIGHTNESS = ("brightness_state_topic", "brightness_value_template")
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


def entities(rule: Rule, place: ServicePlace) -> Iterator[Entity]:
    """Yield the entities that a rule means at a service: none, one, or one for each channel."""
    if (rule.on and place.device_type not in rule.on) or place.device_type in rule.not_on:
        return
    variable = place.variable(rule.variable) if rule.variable else None
    if rule.variable and variable is None:
        return
    if rule.platform == "sensor" and rule.media and not place.keys:
        return
    for key in place.keys[variable.name][:_MAX_CHANNELS] if variable else (None,):
        one = _of_channel(rule, key, place)
        value = EntityValue(variable, key) if variable and key else None
        platform = one.platform
        config = _BUILDERS[platform](one, place, value)
        if config is None and value is not None and platform in _AS_SENSOR:
            platform = _AS_SENSOR[platform]
            config = _BUILDERS[platform](one, place, value)
        if config is not None:
            name = one.key if platform == one.platform else f"{one.key}_{platform}"
            more, needs = _fitting(one, platform), _needs(platform, place)
            yield Entity(name, platform, one.name, config, one.enabled, more, needs)


def _fitting(rule: Rule, platform: Platform) -> Mapping[str, object]:
    """Return a rule's own keys, without those that a sensor in place of a control does not have."""
    if platform == rule.platform:
        return rule.more
    kept = {
        k: v for k, v in rule.more.items() if k not in ("entity_category", "state_on", "state_off")
    }
    category = {"entity_category": "diagnostic"} if "entity_category" in rule.more else {}
    return kept | category


def _of_channel(rule: Rule, key: Key | None, place: ServicePlace) -> Rule:
    """Return the rule for a channel; not enabled by itself where there is a whole."""
    if key is None or key.channel in WHOLE:
        return rule
    channel = str(key.channel)
    name = f"{rule.name} {_CHANNELS.get(channel, channel)}"
    is_part = place.keys[key.name][0].channel in WHOLE
    return replace(
        rule, key=f"{rule.key}_{channel}", name=name, enabled=rule.enabled and not is_part
    )


@dataclass(frozen=True, slots=True)
class EntityValue:
    """A state variable, and where the value of it that is meant stands."""

    variable: StateVariable
    key: Key


Builder = Callable[[Rule, ServicePlace, EntityValue | None], Config | None]


def _sensor(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    if rule.media:
        config: Config = {
            "state_topic": place.media_topic(),
            "value_template": rule.template or of_media(rule.media),
        }
        if rule.media == "state":
            config["json_attributes_topic"] = place.media_topic()
        return config
    if told is None:
        return None
    if rule.template:
        return place.state(told.key, template=rule.template)
    if is_number(told.variable) or "unit_of_measurement" in rule.more or rule.platform == "number":
        return place.state(told.key, guard="value | is_number") | _unit(told.variable)
    return place.state(told.key, template=WORDS)


def _binary_sensor(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    if told is None:
        return None
    if rule.template:
        return place.state(told.key, template=rule.template)
    template = "" if told.variable.data_type else _TRUTH
    return place.state(told.key, template=template) | {"payload_on": "true", "payload_off": "false"}


def _switch(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    if told is None:
        return None
    state = place.state(told.key, template=rule.template)
    is_boolean = not rule.template
    if place.setter(told.key.name):
        topic = place.set_topic(told.key)
        on, off = ("true", "false") if is_boolean else ("1", "0")
        return (
            {**state, "command_topic": topic, "payload_on": on, "payload_off": off}
            if topic
            else None
        )
    action = place.action(rule.action)
    if action is None or arguments(action, rule.args, fill=True) is None:
        return None
    payloads = {}
    for word, value in (("on", "1"), ("off", "0")):
        given = {name: value if "{{" in str(one) else one for name, one in rule.args.items()}
        payloads[f"payload_{word}"] = arguments(action, given, fill=True)
    return {**state, "command_topic": place.call_topic(action.name), **payloads}


def _number(_: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    bounds = None if told is None else number_range(told.variable)
    topic = None if told is None else place.set_topic(told.key)
    if told is None or bounds is None or topic is None:
        return None
    low, high = bounds
    step = datatypes.read("r8", told.variable.step or "")
    guard = f"value | is_number and {low!r} <= value | float <= {high!r}"
    return {
        **place.state(told.key, guard=guard),
        "command_topic": topic,
        "min": low,
        "max": high,
        "step": step if isinstance(step, int | float) and _STEP <= step <= high - low else 1,
        "mode": "slider",
        **_unit(told.variable),
    }


def _select(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    if told is None:
        return _select_of_action(rule, place)
    options = _options(told.variable)
    topic = place.set_topic(told.key)
    if not options or topic is None:
        return None
    return {
        **place.state(told.key, guard=f"value in {json.dumps(options)}"),
        "command_topic": topic,
        "options": options,
    }


def _select_of_action(rule: Rule, place: ServicePlace) -> Config | None:
    """Return a choice of what to call an action with, which no variable tells of."""
    action, command = place.action(rule.action), _called(rule, place, "command_template")
    if action is None or command is None:
        return None
    chosen = next(a.variable for a in action.inputs if "{{" in str(rule.args.get(a.name, "")))
    variable = place.service.scpd.variables.get(chosen)
    options = _options(variable) if variable else []
    return {**command, "options": options} if options else None


def _text(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    if told is not None:
        topic = place.set_topic(told.key)
        if topic is None:
            return None
        return place.state(told.key, template=_CUT, unknown="") | {"command_topic": topic}
    command = _called(rule, place, "command_template")
    if command is None:
        return None
    return {
        "state_topic": place.media_topic(),
        "value_template": _of_media(rule.media, ""),
        **command,
        "max": _MAX_STATE,
    }


def _notify(rule: Rule, place: ServicePlace, _told: EntityValue | None) -> Config | None:
    return _called(rule, place, "command_template")


def _button(rule: Rule, place: ServicePlace, _told: EntityValue | None) -> Config | None:
    return _called(rule, place, "payload_press")


def _called(rule: Rule, place: ServicePlace, payload_key: str) -> Config | None:
    """Return the command that calls a rule's action, its arguments under this key."""
    action = place.action(rule.action)
    payload = arguments(action, rule.args) if action else None
    if action is None or payload is None:
        return None
    return {"command_topic": place.call_topic(action.name), payload_key: payload}


def _event(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    if rule.happens:
        if place.has_last_change and place.service.event_url is not None:
            return {"state_topic": place.event_topic(), "value_template": HAPPENED}
        keys = place.keys.get(rule.happens)
        return place.state(keys[0], template=rule.template) if keys else None
    return place.state(told.key, template=rule.template) if told else None


def _image(_: Rule, place: ServicePlace, _told: EntityValue | None) -> Config | None:
    """Return the picture of what plays, else of the device: any player may tell of a cover."""
    return {"url_topic": place.art_topic()}


def _needs(platform: Platform, place: ServicePlace) -> str:
    """Return the topic that must hold something: of a picture, for which no icon stands in.

    Without an address Home Assistant would go on showing the picture before.
    """
    return place.art_topic() if platform == "image" and not place.device.icons else ""


def _light(rule: Rule, place: ServicePlace, told: EntityValue | None) -> Config | None:
    """Return a light: by an action that takes its level too, or one of SwitchPower 1.0.

    The latter is dimmed by its device's Dimming 1.0 if it has that.
    """
    if told is None:
        return None
    if rule.action:
        return _light_of_action(rule, place, told)
    topic = place.set_topic(told.key)
    if topic is None:
        return None
    config: Config = {
        **place.state(told.key, names=("state_topic", "state_value_template")),
        "command_topic": topic,
        "payload_on": "true",
        "payload_off": "false",
    }
    level = dimming(place)
    if level is None:
        return config
    other, brightness = level
    return {
        **config,
        **other.state(brightness.key, template=_LEVEL, unknown="", names=_BRIGHTNESS),
        "brightness_command_topic": other.set_topic(brightness.key),
        "brightness_scale": max(1, int((number_range(brightness.variable) or _PERCENT)[1])),
        "on_command_type": "first",
    }


def _light_of_action(rule: Rule, place: ServicePlace, told: EntityValue) -> Config | None:
    """Return a light whose action is called with 1 or 0, or with 1 and the level.

    Home Assistant compares its state with the payloads of the commands.
    """
    action, level = place.action(rule.action), place.variable(rule.level)
    if action is None or not all(is_plain(one.name) for one in action.inputs):
        return None
    on, off = (arguments(action, {rule.variable: one}, fill=True) for one in ("1", "0"))
    state = (
        f"{{% set state %}}{rule.template}{{% endset %}}"
        f"{{{{ '{on}' if state == 'ON' else '{off}' if state == 'OFF' else 'None' }}}}"
    )
    topic = place.call_topic(action.name)
    config: Config = {
        **place.state(told.key, template=state, names=("state_topic", "state_value_template")),
        "command_topic": topic,
        "payload_on": on,
        "payload_off": off,
    }
    dimmed = arguments(action, {rule.variable: "1", rule.level: "{{ value }}"}, fill=True)
    if level is None or dimmed is None:
        return config
    return {
        **config,
        **place.state(place.keys[level.name][0], template=_LEVEL, unknown="", names=_BRIGHTNESS),
        "brightness_command_topic": topic,
        "brightness_command_template": dimmed,
        "brightness_scale": 100,
        "on_command_type": "first",
    }


def _of_media(name: str, unknown: str) -> str:
    """Return the template of a field of `media`."""
    return f"{{{{ ({DOCUMENT}.{name} | default('{unknown}'))[:{_MAX_STATE}] }}}}"


def of_media(name: str) -> str:
    """Return the template of a field of `media` as a state that people read."""
    return f"{{% set value = {DOCUMENT}.{name} | default('') | string %}}{WORDS}"


def dimming(place: ServicePlace) -> tuple[ServicePlace, EntityValue] | None:
    """Return the place and the value by which a light is dimmed."""
    for service in place.device.services:
        if service_name(service) == "Dimming":
            other = place.beside(service)
            variable = other.variable("LoadLevelStatus")
            if variable is not None and other.set_topic(other.keys[variable.name][0]):
                return other, EntityValue(variable, other.keys[variable.name][0])
    return None


def is_number(variable: StateVariable) -> bool:
    """Return whether a variable's data type is one of numbers."""
    return not isinstance(datatypes.read(variable.data_type, "0"), bool | str)


def number_range(variable: StateVariable) -> tuple[float, float] | None:
    """Return the least and the greatest value of a number; None where the SCPD does not say."""
    if variable.minimum is None or variable.maximum is None or not is_number(variable):
        return None
    low, high = media.volume_range(variable)
    return (low, high) if low < high else None


def _unit(variable: StateVariable) -> Config:
    is_percent = number_range(variable) == _PERCENT
    return {"unit_of_measurement": "%"} if is_percent else {}


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
