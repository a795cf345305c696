"""Tell what Home Assistant finds wrong with device discovery: `python validate.py`.

Run by the Python of .venv-homeassistant. Standard input is a JSON list of [topic, payload],
standard output a JSON list of problems, a line each.
"""

import asyncio
import importlib
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import voluptuous as vol
from homeassistant import core
from homeassistant.components.mqtt import device_trigger, discovery
from homeassistant.const import EntityCategory
from homeassistant.exceptions import TemplateError
from homeassistant.helpers import device_registry, frame, template

_TOPIC = "homeassistant/"
_WITHOUT_CONFIG = ("binary_sensor", "sensor")
"""What Home Assistant refuses such entities of only when it adds them."""


class Warnings(logging.Handler):
    """Keep what Home Assistant warns of meanwhile: much that is wrong is only logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._messages.append(record.getMessage())

    def taken(self) -> list[str]:
        """Give what came since the last time."""
        messages, self._messages = self._messages, []
        return messages


def problems(hass: core.HomeAssistant, configs: list[tuple[str, str]]) -> Iterator[str]:
    """Look at these devices by themselves and together."""
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    unique: Counter[tuple[str, str | None]] = Counter()
    for topic, text in configs:
        match = discovery.TOPIC_MATCHER.fullmatch(topic.removeprefix(_TOPIC))
        if not topic.startswith(_TOPIC) or not match or match["component"] != "device":
            yield f"{topic}: not a topic of device discovery"
            continue
        device = discovery._parse_device_payload(hass, text, match["object_id"], match["node_id"])
        for message in warnings.taken():
            payload = f": '{text}'"  # which it ends with
            yield f"{topic}: {message.removesuffix(payload)}"
        try:
            device_registry._validate_configuration_url(
                device.get("device", {}).get("configuration_url")
            )
        except ValueError as error:
            yield f"{topic}: configuration_url: {error}"
        for key, component in device.get("components", {}).items():
            found = [*_of_component(hass, device, key, component)]
            yield from (f"{topic}: {key}: {problem}" for problem in found + warnings.taken())
            unique[component["platform"], component.get("unique_id")] += 1
    for (platform, own), times in unique.items():
        if own and times > 1:
            yield f"{platform} has the unique_id {own} {times} times"


def _of_component(
    hass: core.HomeAssistant, device: Mapping[str, Any], key: str, component: Mapping[str, Any]
) -> Iterator[str]:
    """Do what discovery does with a component of a device."""
    own = {name: value for name, value in component.items() if name != "platform"}
    if not own:
        return  # it is removed
    if " " in key:
        yield "a component with a space in its key is never removed"
    given = discovery.MQTTDiscoveryPayload(own)
    given |= {"device": device["device"], "origin": device["origin"]}
    discovery._merge_common_device_options(given, device)
    if discovery.TOPIC_BASE in given:
        discovery._replace_topic_base(given)
    platform = component["platform"]
    module = importlib.import_module(f"homeassistant.components.mqtt.{platform}")
    try:
        kept = module.DISCOVERY_SCHEMA(given)
        if platform == "device_automation":
            kept = device_trigger.TRIGGER_DISCOVERY_SCHEMA(kept)
        elif platform == "vacuum":  # its schema for discovery keeps what it does not know
            module.PLATFORM_SCHEMA_MODERN(given)
    except vol.Invalid as error:
        yield str(error)
        return
    yield from _bad_templates(hass, given, "")
    own.pop(discovery.TOPIC_BASE, None)
    yield from _dropped({name: given[name] for name in own}, kept, "")
    if platform in _WITHOUT_CONFIG and given.get("entity_category") == EntityCategory.CONFIG:
        yield "the entity category cannot be config"


def _bad_templates(hass: core.HomeAssistant, given: object, path: str) -> Iterator[str]:
    """Find what does not compile, where the schema takes any text too."""
    for name, value in _items(given):
        if name.endswith("_template") and isinstance(value, str):
            try:
                template.Template(value, hass).ensure_valid()
            except TemplateError as error:
                yield f"{path}{name}: {error}"
        yield from _bad_templates(hass, value, f"{path}{name}.")


def _dropped(given: object, kept: object, path: str) -> Iterator[str]:
    """Find the options that Home Assistant passes over in silence, as it does misspelt ones."""
    there = dict(_items(kept))
    for name, value in _items(given):
        if isinstance(given, Mapping) and name not in there:
            yield f"{path}{name}: no such option"
        else:
            yield from _dropped(value, there.get(name), f"{path}{name}.")


def _items(value: object) -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            yield from value.items()
        case list():
            yield from ((str(number), one) for number, one in enumerate(value))


async def main() -> None:
    """Read, look, write."""
    configs = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        hass = core.HomeAssistant(folder)
        for each in (frame, template):
            if hasattr(each, "async_setup"):  # which 2024.11 does not have for all
                each.async_setup(hass)
        found = list(problems(hass, configs))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
