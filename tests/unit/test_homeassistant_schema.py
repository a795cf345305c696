"""What Home Assistant takes for device discovery and what not, by its own code."""

import json
from copy import deepcopy
from typing import Any

from tests.homeassistant import needs_home_assistant, problems, rendered

pytestmark = needs_home_assistant

TOPIC = "homeassistant/device/upnp_x/config"
GOOD: dict[str, Any] = {
    "dev": {"ids": ["upnp_x"], "name": "Living room", "mf": "Acme"},
    "o": {"name": "upnp2mqtt"},
    "avty": [{"t": "upnp/x/availability"}, {"t": "upnp/bridge/main/state"}],
    "avty_mode": "all",
    "cmps": {
        "title": {
            "p": "sensor",
            "uniq_id": "x_title",
            "stat_t": "upnp/x/media",
            "val_tpl": "{{ value_json.title }}",
        },
        "volume": {
            "p": "number",
            "uniq_id": "x_volume",
            "cmd_t": "upnp/x/call",
            "cmd_tpl": '{"args":{"DesiredVolume":{{ value | int }}}}',
            "stat_t": "upnp/x/volume",
        },
        "light": {
            "p": "light",
            "uniq_id": "x_light",
            "cmd_t": "upnp/x/power",
            "bri_cmd_t": "upnp/x/level",
            "bri_scl": 100,
        },
        "play": {
            "p": "device_automation",
            "atype": "trigger",
            "type": "button_short_press",
            "stype": "play",
            "t": "upnp/x/play",
        },
        "stop": {
            "p": "device_automation",
            "atype": "trigger",
            "type": "button_short_press",
            "stype": "stop",
            "t": "upnp/x/stop",
        },
        "gone": {"p": "switch"},
    },
}
BAD = [
    ("o", None, "required key not provided @ data['origin']"),
    ("dev.nmae", "x", "extra keys not allowed @ data['device']['nmae']"),
    ("dev.cu", "http://h:99999/", "configuration_url: Port out of range"),
    ("cmps.title.uniq_id", None, "required key not provided"),
    ("cmps.title.stat_t", "upnp/#/x", "title: Multi-level wildcard"),
    ("cmps.title.val_tmpl", "{{ value }}", "title: val_tmpl: no such option"),
    ("cmps.title.avty", [{"t": "a", "tt": "b"}], "title: availability.0.tt: no such option"),
    ("cmps.title.ent_cat", "config", "title: the entity category cannot be config"),
    ("cmps.title.val_tpl", "{{ value | nothing }}", "title: invalid template"),
    ("cmps.play.val_tpl", "{{ value", "play: value_template: TemplateSyntaxError"),
    ("cmps.volume.min", 101, "volume: max must be >= min"),
    ("cmps.light.on_cmd_type", "middle", "light: value must be one of"),
    ("cmps.light.colour", "red", "light: colour: no such option"),
    (
        "cmps.a space",
        {"p": "button", "uniq_id": "x_a", "cmd_t": "a"},
        "a space: a component with a space",
    ),
    ("cmps.twin", {"p": "number", "uniq_id": "x_volume", "cmd_t": "a"}, "number has the unique_id"),
]


def test_what_is_right_has_no_problems():
    assert problems({TOPIC: json.dumps(GOOD).encode()}) == []


def test_what_is_wrong_is_found():
    configs = {"homeassistant/device/a.b/config": b"{}", "homeassistant/device/a/config": b"{"}
    for number, (path, value, _) in enumerate(BAD):
        place = config = deepcopy(GOOD)
        *way, last = path.split(".")
        for name in way:
            place = place[name]
        place[last] = value
        if value is None:
            del place[last]
        text = json.dumps(config).replace('"x_', f'"x{number}_')
        configs[f"homeassistant/device/bad{number}/config"] = text.encode()

    found = problems(configs)
    assert found[:2] == [
        "homeassistant/device/a.b/config: not a topic of device discovery",
        "homeassistant/device/a/config: Unable to parse JSON a",
    ]
    for number, (path, _, wanted) in enumerate(BAD):
        here = [one for one in found if f"/bad{number}/" in one or f"x{number}_" in one]
        assert len(here) == 1, (path, here)
        assert wanted in here[0], path


def test_what_a_template_says_and_what_is_wrong_with_it_is_told():
    found = rendered(
        [
            ("{{ value_json.title }}", '{"title":"A Song"}'),
            ("{{ value_json.title }}", "no JSON"),
            ("{{ value | int }}", "none"),
            ("{{ nothing }}", ""),
        ]
    )
    assert found[0] == ("A Song", [])
    assert ["undefined" in "".join(one.problems) for one in found] == [False, True, False, True]
    assert "got invalid input 'none'" in "".join(found[2].problems)
