"""Templates as Home Assistant evaluates them: on what devices tell, and on what they should not."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from bridge.model.device import Description
from bridge.tree.device_tree import StateMode
from tests.homeassistant import (
    OLDEST,
    Rendered,
    needs_home_assistant,
    needs_oldest_home_assistant,
    rendered,
)
from tests.unit import kinds
from tests.unit.captured import DEVICES, captured
from tests.unit.hubs import NO_LIMIT, components, home_assistant, states_of
from tests.unit.kinds import part, ranged, sets, unknown
from tests.unit.test_homeassistant import ALL, MODES, told_device, told_tree, wemo

pytestmark = needs_home_assistant

LONG = "x" * 300
IN_PARTS = '{"chunks":3,"bytes":900000,"sha256":"0"}'
ODD = ["", " ", "None", "NOT_IMPLEMENTED", "{}", IN_PARTS, "[]", "null", "5", "-1", "1e999", "nan"]
ODD += [
    "true",
    "a|b",
    "a:b:c",
    "::",
    "{{ 1 }}",
    "{% x",
    '{"values":{}}',
    '{"instances":{"0":{}}}',
    LONG,
]
BIG = unknown(part("X", "X", ranged("V:ui4", 0, 4294967295), sets("V")))
MEDIA_SERVER = unknown(
    part("ContentDirectory", "ContentDirectory", kinds.variable("ContainerUpdateIDs:string"))
)
HOMES: dict[str, Description] = {
    **ALL,
    "big": BIG,
    "media server": MEDIA_SERVER,
    "dimmer": wemo("dimmer"),
}
LIT, UNLIT = (
    json.dumps({"BinaryState": state, "Duration": "", "brightness": ""}) for state in ("1", "0")
)


def values(**told: object) -> str:
    return json.dumps({"values": told, "instances": {}, "updated": "now"})


def instance(**told: object) -> str:
    return json.dumps({"values": {}, "instances": {"0": told}, "updated": "now"})


STATES: dict[tuple[str, StateMode, str], dict[str, str]] = {
    ("renderer", "both", "avtransport_position"): {
        "0:03:05.000": "185",
        "0:03:05": "185",
        "1:00:00": "3600",
        "+00:00:05": "5",
        "NOT_IMPLEMENTED": "None",
        "": "None",
        "3:05": "185",
        ":03:05.5": "185",
        "0:03:05.": "185",
        "0:03:05.0/1": "185",
        "0:03:05,5": "185",
        "185.2": "185",
        "0:00:00": "0",
        "-0:00:05": "None",
        "0:03:": "None",
        "1:0:03:05": "None",
        "END_OF_MEDIA": "None",
    },
    ("renderer", "document", "avtransport_position"): {
        instance(RelativeTimePosition="0:03:05.000"): "185",
        instance(RelativeTimePosition="NOT_IMPLEMENTED"): "None",
        instance(): "None",
        "": "None",
    },
    ("renderer", "both", "avtransport_title"): {
        '{"title":"A Song"}': "A Song",
        '{"title":"{{ 1 }}"}': "{{ 1 }}",
        '{"title":"unknown"}': "“unknown”",
        '{"title":"unavailable"}': "“unavailable”",
        '{"title":"None"}': "“None”",
        '{"title":" "}': "None",
        '{"title":1984}': "1984",
        json.dumps({"title": LONG}): LONG[:255],
        '{"state":"playing"}': "None",
        "{}": "None",
        "": "None",
        IN_PARTS: "None",
    },
    ("renderer", "both", "avtransport_state"): {
        '{"state":"paused"}': "paused",
        '{"state":"no_media"}': "idle",
        '{"state":"transitioning"}': "buffering",
        '{"state":"?"}': "None",
        "{}": "None",
    },
    ("renderer", "both", "avtransport_uri"): {
        '{"uri":"http://192.0.2.1/a"}': "http://192.0.2.1/a",
        json.dumps({"uri": LONG}): LONG[:255],
        "{}": "",
        "": "",
    },
    ("renderer", "both", "avtransport_play_mode"): {
        "SHUFFLE": "SHUFFLE",
        "INTRO": "None",
        "": "None",
    },
    ("renderer", "both", "renderingcontrol_volume"): {
        "0": "0",
        "25": "25",
        "100": "100",
        "101": "None",
        "-1": "None",
        "loud": "None",
        "nan": "None",
        "": "None",
    },
    ("renderer", "document", "renderingcontrol_volume"): {
        instance(Volume={"Master": 25, "LF": 3}): "25",
        instance(Volume=25): "25",  # of a device that names no channel
        instance(Volume={"LF": 3}): "None",
        instance(Volume={"Master": 101}): "None",
        instance(): "None",
        values(Volume=25): "None",
        IN_PARTS: "None",
        "": "None",
    },
    ("renderer", "document", "renderingcontrol_mute"): {
        instance(Mute={"Master": True}): "true",
        instance(Mute={"Master": False}): "false",
        instance(Mute={"Master": "maybe"}): "maybe",
        instance(): "None",
        "": "None",
    },
    ("renderer", "document", "renderingcontrol_number_brightness"): {
        instance(Brightness=40): "40",
        instance(Brightness={"Master": 40}): "40",
    },
    ("big", "both", "x_number_v"): {"4294967295": "4294967295", "4294967296": "None"},
    ("gateway 1", "both", "i-conn-1_wanipconn1_connected"): {
        "Connected": "ON",
        "Disconnected": "OFF",
        "Unconfigured": "OFF",
        "": "None",
    },
    ("gateway 1", "document", "i-conn-1_wanipconn1_connected"): {
        values(ConnectionStatus="Connected"): "ON",
        values(ConnectionStatus="Disconnected"): "OFF",
        values(): "None",
        "": "None",
    },
    ("gateway 1", "both", "i-wan_wancommonifc1_link"): {"Up": "ON", "Down": "OFF", "": "None"},
    ("gateway 1", "both", "i-conn-1_wanipconn1_external_ip"): {
        "192.0.2.9": "192.0.2.9",
        "": "None",
        "unknown": "“unknown”",
        "NOT_IMPLEMENTED": "None",
    },
    ("gateway 1", "both", "i-conn-1_wanipconn1_uptime"): {
        "86400": "1.0",
        "77": "0.00089",
        "": "None",
        "NOT_IMPLEMENTED": "None",
        "unknown": "None",
    },
    ("gateway 1", "both", "i-wan_wancommonifc1_bytes_received"): {
        "4294967295": "4.294967295",
        "0": "0.0",
        "": "None",
        "NOT_IMPLEMENTED": "None",
    },
    ("gateway 1", "both", "i-wan_wancommonifc1_downstream"): {"100000000": "100.0", "": "None"},
    ("socket", "both", "basicevent1_switch"): {
        "true": "ON",
        "false": "OFF",
        "1|1471416661|0|0": "ON",
        "0|1471416661|0|0": "OFF",
        "8": "ON",
        "8|1471416661|0|0": "ON",
        "Error": "None",
        "": "None",
    },
    ("socket", "document", "basicevent1_switch"): {
        values(BinaryState=True): "ON",
        values(BinaryState=False): "OFF",
        values(BinaryState="8"): "ON",
        values(BinaryState="0|1471416661|0|0"): "OFF",
        values(): "None",
        "": "None",
    },
    ("dimmer", "both", "basicevent_light"): {
        "true": LIT,
        "1|1471416661|0|0": LIT,
        "0": UNLIT,
        "Error": "None",
        "": "None",
    },
    ("dimmer", "document", "basicevent_light"): {values(BinaryState=True): LIT},
    ("dimmer", "both", "basicevent_light.brightness"): {"40": "40", "x": ""},
    ("sensor", "both", "basicevent1_motion"): {"true": "ON", "false": "OFF", "": "None"},
    ("insight", "both", "insight1_power"): {
        "8|1471416661|0|0|0|1204800|0|12345|0|0|8000": "12.3",
        "0|1471416661|0|0|0|1204800|0|0|0|0|8000": "0.0",
        "1|1471416661": "None",
        "": "None",
    },
    ("light", "document", "switchpower_light"): {
        values(Status=True): "true",
        values(Status=False): "false",
        values(): "None",
    },
    ("dimmable light", "both", "switchpower_light.brightness"): {"40": "40", "x": "", "": ""},
    ("dimmable light", "document", "switchpower_light.brightness"): {
        values(LoadLevelStatus=40): "40",
        values(LoadLevelStatus="x"): "",
        values(): "",
        "": "",
    },
    ("unknown", "both", "vendor_select_mode"): {"fast": "fast", "other": "None", "": "None"},
    ("unknown", "both", "vendor_text_label"): {"": "", LONG: LONG[:255], "{{ 1 }}": "{{ 1 }}"},
    ("unknown", "document", "vendor_text_label"): {
        values(Label="5"): "5",
        values(Label=""): "",
        values(): "",
        "": "",
    },
    ("unknown", "both", "vendor_number_level"): {"-10": "-10", "10": "10", "11": "None"},
    ("unknown", "document", "vendor_number_level"): {
        values(Level=-3): "-3",
        values(Level="x"): "None",
    },
    ("media server", "both", "contentdirectory_changed"): {
        "0,5": '{"event_type":"changed","containers":"0,5"}',
        "": "",
    },
    ("rygel/1", "values", "contentdirectory_changed"): {
        '{"event":"objAdd","objID":"7"}': '{"event":"objAdd","objID":"7","event_type":"objAdd"}',
        '{"event":"new","event_type":"x"}': '{"event":"new","event_type":"changed"}',
        "0,5": "",
        "": "",
        "[1]": "",
    },
    ("bridge", "both", "version"): {'{"version":"1.2.3"}': "1.2.3", "": "None"},
    ("bridge", "both", "devices"): {'{"devices":{"online":3}}': "3", "{}": "None", "": "None"},
    ("bridge", "both", "log_level"): {'{"log_level":"info"}': "info", "": "None"},
}
SAID = ["plain", 'a "quoted" word', "two\nlines", "{{ 1 }}", "é\U0001f600", "\\", ""]
COMMANDS = [
    ("renderer", "avtransport_uri", "CurrentURI"),
    ("renderer", "avtransport_play_uri", "CurrentURI"),
    ("renderer", "renderingcontrol_preset", "PresetName"),
]


@cache
def found(name: str, mode: StateMode) -> Mapping[str, dict[str, Any]]:
    if name != "bridge":
        return components(HOMES[name], mode=mode)
    (payload,) = home_assistant(mode=mode).own(NO_LIMIT).values()
    return dict(json.loads(payload)["components"])


def template_of(component: Mapping[str, Any]) -> str:
    """The template of a state; one that takes it as it is where there is none."""
    names = ("value_template", "state_value_template", "url_template")
    return str(next((component[name] for name in names if name in component), "{{ value }}"))


def template_at(name: str, mode: StateMode, key: str) -> str:
    """The template of a component's state, or of its brightness."""
    key, _, option = key.partition(".")
    component = found(name, mode)[key]
    return str(component[f"{option}_value_template"]) if option else template_of(component)


@cache
def results() -> Mapping[tuple[str, str], Rendered]:
    """What becomes of every template and payload here, from one run of Home Assistant."""
    pairs = {
        (template_at(name, mode, key), payload)
        for (name, mode, key), told in STATES.items()
        for payload in told
    }
    pairs |= {(one["command_template"], text) for one in commanded() for text in SAID}
    pairs |= {
        (template, payload)
        for name in (*HOMES, "bridge")
        for mode in MODES
        for component in found(name, mode).values()
        for option, template in component.items()
        if option.endswith("_template") and option != "command_template"
        for payload in ODD
    }
    for name in DEVICES:
        for mode in MODES:
            pairs |= set(told(name, mode).values())
    ordered = sorted(pairs)
    return dict(zip(ordered, rendered(ordered), strict=True))


def commanded() -> list[dict[str, Any]]:
    return [found(name, "both")[key] for name, key, _ in COMMANDS]


@cache
def told(name: str, mode: StateMode) -> Mapping[str, tuple[str, str]]:
    """The template of each entity of a recorded device, and the payload that it is for."""
    mirrored = told_device(captured(name), name)
    held = told_tree(mirrored, mode)
    found = components(captured(name), told=mirrored.keys(), mode=mode)
    return {
        key: (template_of(one), held[one.get("state_topic") or one["url_topic"]].decode())
        for key, one in found.items()
        if states_of(one) and not one.get("state_topic", "").endswith("/event")
    }


@pytest.mark.parametrize(
    ("name", "mode", "key", "payload", "expected"),
    [
        pytest.param(*entity, payload, expected, id=f"{entity[2]}-{entity[1]}-{payload[:40]}")
        for entity, told in STATES.items()
        for payload, expected in told.items()
    ],
)
def test_a_state_is_made_of_what_is_told(name, mode, key, payload, expected):
    assert results()[template_at(name, mode, key), payload] == (expected, [])


@needs_oldest_home_assistant
def test_the_oldest_release_says_the_same():
    newest = results()
    assert dict(zip(newest, rendered(newest, OLDEST), strict=True)) == newest


@pytest.mark.parametrize("name", [*HOMES, "bridge"])
def test_no_template_fails_whatever_it_is_given(name):
    for mode in MODES:
        for key, component in found(name, mode).items():
            for option, template in component.items():
                if option.endswith("_template") and option != "command_template":
                    for payload in ODD:
                        assert not results()[template, payload].problems, (key, mode, payload)


@pytest.mark.parametrize("name", DEVICES)
def test_the_states_of_a_recorded_device_are_the_same_in_every_mode(name):
    by_mode = [
        {key: results()[pair].text for key, pair in told(name, mode).items()} for mode in MODES
    ]
    both, values_alone, documents = by_mode
    assert both == values_alone == documents
    assert set(both.values()) - {"None", ""}


@pytest.mark.parametrize("text", SAID)
@pytest.mark.parametrize(("name", "key", "argument"), COMMANDS)
def test_a_command_carries_what_was_said(name, key, argument, text):
    said, found_problems = results()[found(name, "both")[key]["command_template"], text]
    assert json.loads(said)[argument] == text
    assert not found_problems


def test_a_command_to_the_bridge_is_json():
    one = found("bridge", "both")["log_level"]
    (said,) = rendered([(one["command_template"], "debug")])
    assert json.loads(said.text) == {"level": "debug"}


MEDIA = {
    "state": "playing",
    "title": "A Song",
    "artist": "Ann",
    "album": "An Album",
    "album_art": "http://192.0.2.1/a.jpg",
    "media_class": "object.item.audioItem",
    "uri": "http://192.0.2.1/a.flac",
    "duration_s": 200,
    "track": 1,
    "tracks": 5,
    "volume": 25,
    "muted": False,
    "play_mode": "NORMAL",
}
OTHER = MEDIA | dict.fromkeys(("duration_s", "track", "tracks", "volume"), 7)
OTHER |= {"muted": True, "state": "paused"}
OF_FIELD = {name: f"avtransport_{name}" for name in ("state", "title", "artist", "album", "uri")}


def test_each_state_that_media_makes_changes_with_its_own_field_alone():
    readers = {
        key: template_of(one)
        for key, one in found("renderer", "both").items()
        if "upnp/R/media" in (one.get("state_topic"), one.get("url_topic"))
    }
    assert set(readers) == set(OF_FIELD.values())
    changed = [(name, MEDIA | {name: OTHER[name]}) for name in MEDIA if OTHER[name] != MEDIA[name]]
    changed += [(name, MEDIA | {name: "http://x"}) for name in MEDIA if OTHER[name] == MEDIA[name]]
    told = [("", MEDIA), *changed]
    pairs = [(template, json.dumps(one)) for _, one in told for template in readers.values()]
    texts = iter([one.text for one in rendered(pairs)])
    states = {name: {key: next(texts) for key in readers} for name, _ in told}
    before = states.pop("")
    assert set(states) == set(MEDIA)
    for name, after in states.items():
        moved = {key for key in readers if after[key] != before[key]}
        assert moved == ({OF_FIELD[name]} if name in OF_FIELD else set()), name
