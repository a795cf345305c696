"""The bridge's own entities in Home Assistant, and the one that every device has."""

from collections.abc import Iterator

from bridge.hubs.homeassistant.entities import Config, Entity
from bridge.hubs.homeassistant.rules import DOCUMENT

_LEVELS = ("debug", "info", "warning", "error")


def own_entities(bridge: str) -> Iterator[Entity]:
    """Yield the entities of the bridge whose topics are below this one."""
    here: Config = {"availability": [{"topic": f"{bridge}/state"}]}
    diagnostic = {"entity_category": "diagnostic"}
    config = {"entity_category": "config"}
    yield connectivity(f"{bridge}/state", [])
    yield Entity(
        "version",
        "sensor",
        "Version",
        {
            **here,
            "state_topic": f"{bridge}/info",
            "value_template": f"{{{{ {DOCUMENT}.version | default('None') }}}}",
        },
        more={"icon": "mdi:tag", **diagnostic},
    )
    yield Entity(
        "devices",
        "sensor",
        "Devices online",
        {
            **here,
            "state_topic": f"{bridge}/health",
            "value_template": f"{{% set of = {DOCUMENT}.devices | default({{}}) %}}"
            "{{ of.online | default('None') }}",
        },
        more={"icon": "mdi:devices", "state_class": "measurement", **diagnostic},
    )
    yield Entity(
        "log_level",
        "select",
        "Log level",
        {
            **here,
            "state_topic": f"{bridge}/health",
            "value_template": f"{{{{ {DOCUMENT}.log_level | default('None') }}}}",
            "command_topic": f"{bridge}/request/log_level",
            "command_template": '{"level": "{{ value }}"}',
            "options": list(_LEVELS),
        },
        more={"icon": "mdi:text-box-search", **config},
    )
    for verb, name, icon in (
        ("search", "Search", "mdi:magnify"),
        ("announce", "Announce", "mdi:bullhorn"),
    ):
        yield Entity(
            verb,
            "button",
            name,
            {**here, "command_topic": f"{bridge}/request/{verb}", "payload_press": "{}"},
            more={"icon": icon, **config},
        )


def connectivity(topic: str, availability: list[Config]) -> Entity:
    """Return whether `online` stands at a topic; it is available by what else is said."""
    return Entity(
        "connectivity",
        "binary_sensor",
        "Connectivity",
        {
            "state_topic": topic,
            "payload_on": "online",
            "payload_off": "offline",
            "availability": availability,
        },
        more={"device_class": "connectivity", "entity_category": "diagnostic"},
    )
