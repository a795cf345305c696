"""Home Assistant's documents for tests, and what becomes of the commands that they speak of."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bridge.hubs.homeassistant.discovery import HomeAssistant
from bridge.hubs.homeassistant.place import World
from bridge.model import accessors, topics
from bridge.model.action_call import ActionCall
from bridge.model.device import Description, Key, Scpd, Service
from bridge.polling.plan import Plan, service_name
from bridge.requests import envelope as commands
from bridge.requests import value_request
from bridge.requests.value_request import ValueRequest
from bridge.tree.device_tree import Shape, StateMode
from bridge.tree.messages import Message
from tests.unit.wired import Wired

NO_LIMIT = 10_000_000
PLAN = Plan(30)
CONNECTIVITY = "connectivity"
"""What every device has."""


def home_assistant(  # noqa: PLR0913 - all by name
    *,
    base: str = "upnp",
    mode: StateMode = "both",
    read_only: bool = False,
    instance: str = "main",
    prefix: str = "homeassistant",
    enabled: bool = True,
) -> HomeAssistant:
    return HomeAssistant(
        World(base, mode, read_only),
        instance=instance,
        prefix=prefix,
        version="1.2.3",
        enabled=enabled,
    )


def everything(description: Description, plan: Plan = PLAN) -> dict[str, frozenset[Key]]:
    """Where the values of a device stand that tells all that its SCPDs speak of.

    By events where it sends some, else by answers to what it is asked.
    """
    told = {}
    for found in description.device.walk():
        own = topics.device_id(found.udn)
        for service in found.services:
            keys = frozenset(_keys_of(own, service, plan))
            if keys:
                told[topics.service_id(own, service.level)] = keys
    return told


def _keys_of(own: str, service: Service, plan: Plan) -> Iterator[Key]:
    scpd = service.scpd
    asked = {
        name: key
        for question in plan.questions(own, service)
        for name, (_, key, _) in question.wanted.items()
    }
    asked_for = plan.asked_for(own, service)
    has_last_change = "LastChange" in scpd.variables
    if service_name(service) == "AVTransport":
        yield Key("TransportState", "0")
    for name, variable in scpd.variables.items():
        if name == "LastChange" or name.startswith("A_ARG_TYPE_"):
            continue
        if service.event_url and variable.evented:
            yield Key(name)
        elif service.event_url and has_last_change:
            yield from (Key(name, "0", channel) for channel in _channels(scpd, name))
        elif name in asked and (name in asked_for or service.event_url is None):
            yield asked[name]


def _channels(scpd: Scpd, name: str) -> list[str | None]:
    accessor = accessors.getter(scpd, name) or accessors.setter(scpd, name)
    if accessor is None or accessor.channel is None:
        return [None]
    related = next(a.variable for a in accessor.action.inputs if a.name == accessor.channel)
    declared = scpd.variables.get(related)
    return list(declared.allowed_values) if declared and declared.allowed_values else ["Master"]


def document(
    description: Description,
    *,
    plan: Plan = PLAN,
    told: Mapping[str, Collection[Key]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What Home Assistant is told of a device that has told all that it could, or just this."""
    keys = everything(description, plan) if told is None else told
    (payload,) = home_assistant(**more).wanted(description, keys, NO_LIMIT).values()
    return dict(json.loads(payload))


def components(description: Description, **more: Any) -> dict[str, dict[str, Any]]:
    return dict(document(description, **more)["components"])


def platforms(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, bool]]:
    """The platform of each component, and whether it is enabled by itself."""
    return {
        key: (one["platform"], one.get("enabled_by_default", True)) for key, one in found.items()
    }


def states_of(component: dict[str, Any]) -> set[str]:
    """The topics that a component takes its state from."""
    names = {"state_topic", "brightness_state_topic", "url_topic", "json_attributes_topic"}
    return {component[name] for name in names & component.keys()}


def commands_of(component: dict[str, Any]) -> list[tuple[str, str]]:
    """What Home Assistant may send for a component: topics and payloads."""
    if "command_topic" not in component:
        return []
    match component["platform"]:
        case "switch" | "light":
            words = [component["payload_on"], component["payload_off"]]
        case "button":
            words = [component["payload_press"]]
        case "select":
            words = list(component["options"])
        case "number":
            words = [_number(component["min"]), _number(component["max"])]
        case _:
            words = ['http://192.0.2.1/a "b".mp3', ""]
    template = component.get("command_template", "{{ value }}")
    found = [
        template.replace("{{ value | to_json }}", json.dumps(word)).replace("{{ value }}", word)
        for word in words
    ]
    sent = [(component["command_topic"], payload) for payload in found]
    if "brightness_command_topic" in component:
        sent += [(component["brightness_command_topic"], text) for text in ("1", "100")]
    return sent


def _number(value: float) -> str:
    """As Home Assistant writes it."""
    return str(int(value) if float(value).is_integer() else value)


def call_of(
    description: Description,
    topic: str,
    payload: str,
    *,
    base: str = "upnp",
    read_only: bool = False,
) -> ActionCall:
    """Return the call that a command becomes. Raises CommandError."""
    received: list[tuple[Any, ...]] = []
    router = Wired(Shape(base, "main"), qos=1)
    dispatch = router.receiving(lambda *what: received.append(what), lambda *_: None)
    dispatch.receive(Message(topic, payload.encode(), retain=False))
    ((message, device, request, *read),) = received
    envelope = commands.read_command(
        message.payload, is_retained=False, max_bytes=NO_LIMIT, read=read[0] if read else None
    )
    asked = request(envelope)
    (found,) = (one for one in description.device.walk() if topics.device_id(one.udn) == device)
    if isinstance(asked, ValueRequest):
        asked, _ = value_request.as_call(asked, found)
    return commands.resolve(asked, found, default_timeout_s=5, read_only=read_only)
