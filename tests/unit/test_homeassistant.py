"""What Home Assistant is told of devices: all that were recorded, and all kinds that are known."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Code, CommandError
from bridge.hubs.homeassistant.discovery import MAX_GENERIC, HomeAssistant, slug
from bridge.hubs.homeassistant.place import World
from bridge.hubs.homeassistant.rules import KINDS
from bridge.model import topics
from bridge.model.accessors import only_reads
from bridge.model.device import Action, Argument, Description, Device, Direction, Icon, Scpd
from bridge.polling.plan import Plan, service_name
from bridge.tree.device_tree import Shape, StateMode
from bridge.tree.mirror import Mirror
from bridge.tree.mirrored_device import MirroredDevice
from bridge.tree.retained import RetainedTree
from bridge.upnp.gena.event_body import read_properties
from tests.homeassistant import (
    OLDEST,
    VENV,
    missing,
    needs_home_assistant,
    needs_oldest_home_assistant,
    problems,
)
from tests.unit import kinds
from tests.unit.captured import CAPTURES, DEVICES, captured
from tests.unit.devices import described, device, service
from tests.unit.hubs import (
    CONNECTIVITY,
    NO_LIMIT,
    PLAN,
    call_of,
    commands_of,
    components,
    document,
    everything,
    home_assistant,
    platforms,
    states_of,
)
from tests.unit.kinds import does, gets, part, quiet, ranged, sets, typed, unknown, variable

MODES: tuple[StateMode, ...] = ("both", "values", "document")
ALL = {**{name: captured(name) for name in DEVICES}, **kinds.DEVICES}


# By Home Assistant's own schemas


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(VENV, marks=needs_home_assistant, id="newest"),
        pytest.param(OLDEST, marks=needs_oldest_home_assistant, id="oldest"),
    ],
)
def test_home_assistant_finds_nothing_wrong_with_any_device_or_the_bridge(release):
    told: dict[str, bytes] = {}
    for number, (mode, read_only) in enumerate(product(MODES, (False, True))):
        hub = home_assistant(base=f"b/{number}", mode=mode, read_only=read_only)
        told |= hub.own(NO_LIMIT)
        for name, description in ALL.items():
            one = renamed(description, name)
            told |= hub.wanted(one, everything(one), NO_LIMIT)
    assert len(told) == 6 * (1 + len(ALL))
    assert problems(told, release) == []


def renamed(description: Description, name: str) -> Description:
    """The same device with UDNs that no other has; the kinds share some."""

    def one(found: Device) -> Device:
        children = tuple(one(c) if isinstance(c, Device) else c for c in found.children)
        return replace(found, udn=f"{name}/{found.udn}", children=children)

    return replace(description, device=one(description.device))


# The recorded devices

DISABLED_SENSOR = ("sensor", False)
WAN, CONN = "72eba980-20d3-4fa2-8a76-6c855535d498", "72eba980-20d3-4fa2-8a76-6c855535d499"
MEDIA = {
    "avtransport_state": ("sensor", True),
    "avtransport_title": ("sensor", True),
    "avtransport_artist": DISABLED_SENSOR,
    "avtransport_album": DISABLED_SENSOR,
    "avtransport_position": DISABLED_SENSOR,
    "avtransport_cover": ("image", True),
    "avtransport_play": ("button", True),
    "avtransport_pause": ("button", True),
    "avtransport_stop": ("button", True),
}
TRANSPORT = {
    f"avtransport_sensor_{name}": DISABLED_SENSOR
    for name in (
        "absolutecounterposition",
        "absolutetimeposition",
        "currentmediaduration",
        "currentrecordqualitymode",
        "currenttrack",
        "currenttrackduration",
        "currenttransportactions",
        "nextavtransporturi",
        "nextavtransporturimetadata",
        "numberoftracks",
        "playbackstoragemedium",
        "possibleplaybackstoragemedia",
        "possiblerecordqualitymodes",
        "possiblerecordstoragemedia",
        "recordmediumwritestatus",
        "recordstoragemedium",
        "relativecounterposition",
        "transportstatus",
    )
}
"""What no rule speaks of."""
PROTOCOLS = {
    f"connectionmanager_sensor_{name}": DISABLED_SENSOR
    for name in ("currentconnectionids", "sinkprotocolinfo", "sourceprotocolinfo")
}
MEDIA_URL = {"avtransport_uri": ("text", False), "avtransport_play_uri": ("notify", False)}
ENTITIES: dict[str, dict[str, tuple[str, bool]]] = {
    "gmediarender/1": {
        **MEDIA,
        **TRANSPORT,
        **PROTOCOLS,
        "avtransport_play_mode_sensor": DISABLED_SENSOR,
        "avtransport_select_transportplayspeed": ("select", False),
        **MEDIA_URL,
        "renderingcontrol_volume": ("number", True),
        "renderingcontrol_mute": ("switch", True),
        "renderingcontrol_loudness_binary_sensor": ("binary_sensor", False),
        "renderingcontrol_sensor_greenvideogain": DISABLED_SENSOR,
        "renderingcontrol_sensor_bluevideoblacklevel": DISABLED_SENSOR,
        "renderingcontrol_sensor_verticalkeystone": DISABLED_SENSOR,
        "renderingcontrol_sensor_greenvideoblacklevel": DISABLED_SENSOR,
        "renderingcontrol_sensor_redvideogain": DISABLED_SENSOR,
        "renderingcontrol_sensor_colortemperature": DISABLED_SENSOR,
        "renderingcontrol_sensor_sharpness": DISABLED_SENSOR,
        "renderingcontrol_sensor_redvideoblacklevel": DISABLED_SENSOR,
        "renderingcontrol_sensor_bluevideogain": DISABLED_SENSOR,
        "renderingcontrol_sensor_horizontalkeystone": DISABLED_SENSOR,
        "renderingcontrol_number_volumedb": ("number", False),
        "renderingcontrol_sensor_presetnamelist": DISABLED_SENSOR,
        "renderingcontrol_sensor_contrast": DISABLED_SENSOR,
        "renderingcontrol_sensor_brightness": DISABLED_SENSOR,
    },
    "light/1": {
        "switchpower_1_light": ("light", True),
        "dimming_1_number_loadlevelstatus": ("number", False),
    },
    "minidlna/1": {"contentdirectory_update_id": ("sensor", True), **PROTOCOLS},
    "miniupnpd/1": {
        f"{WAN}_wancommonifc1_bytes_received": ("sensor", True),
        f"{WAN}_wancommonifc1_bytes_sent": ("sensor", True),
        f"{WAN}_wancommonifc1_packets_received": DISABLED_SENSOR,
        f"{WAN}_wancommonifc1_packets_sent": DISABLED_SENSOR,
        f"{WAN}_wancommonifc1_link": ("binary_sensor", True),
        f"{WAN}_wancommonifc1_downstream": DISABLED_SENSOR,
        f"{WAN}_wancommonifc1_upstream": DISABLED_SENSOR,
        f"{CONN}_wanipconn1_connected": ("binary_sensor", True),
        f"{CONN}_wanipconn1_external_ip": ("sensor", True),
        f"{CONN}_wanipconn1_uptime": DISABLED_SENSOR,
        f"{CONN}_wanipconn1_last_error": DISABLED_SENSOR,
        f"{CONN}_wanipconn1_port_mappings": ("sensor", True),
        f"{CONN}_wanipconn1_connect": ("button", False),
        f"{CONN}_wanipconn1_disconnect": ("button", False),
        f"{CONN}_wanipconn1_sensor_possibleconnectiontypes": DISABLED_SENSOR,
        f"{CONN}_wanipconn1_sensor_systemupdateid": DISABLED_SENSOR,
        "deviceprotection1_binary_sensor_setupready": ("binary_sensor", False),
        "l3forwarding1_text_defaultconnectionservice": ("text", False),
        f"{CONN}_wanipv6firewall1_binary_sensor_firewallenabled": ("binary_sensor", False),
        f"{CONN}_wanipv6firewall1_binary_sensor_inboundpinholeallowed": ("binary_sensor", False),
    },
    "rygel/1": {
        "contentdirectory_update_id": ("sensor", True),
        "contentdirectory_changed": ("event", False),
        "contentdirectory_sensor_transferids": DISABLED_SENSOR,
        **PROTOCOLS,
        **{
            f"x_ms_mediareceiverregistrar_sensor_{name}updateid": DISABLED_SENSOR
            for name in (
                "authorizationdenied",
                "authorizationgranted",
                "validationrevoked",
                "validationsucceeded",
            )
        },
    },
    "rygel/2": {
        **MEDIA,
        **TRANSPORT,
        **PROTOCOLS,
        "avtransport_text_transportplayspeed": ("text", False),
        "avtransport_next": ("button", True),
        "avtransport_previous": ("button", True),
        "avtransport_play_mode": ("select", False),
        **MEDIA_URL,
        "renderingcontrol_volume": ("number", True),
        "renderingcontrol_mute": ("switch", True),
        "renderingcontrol_preset": ("select", False),
        "renderingcontrol_sensor_presetnamelist": DISABLED_SENSOR,
    },
}


@pytest.mark.parametrize("name", DEVICES)
def test_a_recorded_device_has_these_entities_and_no_others(name):
    told = told_device(captured(name), name).keys()
    found = platforms(components(captured(name), told=told))
    assert next(iter(found)) == CONNECTIVITY
    assert found.pop(CONNECTIVITY) == ("binary_sensor", True)
    assert found == ENTITIES[name]


def told_device(description: Description, name: str = "") -> MirroredDevice:
    """A device that has told what was recorded, and answered what it is asked."""
    mirror = Mirror(Shape("upnp", "main", plan=PLAN))
    mirror.open(RetainedTree({}, base="upnp", instance="main"), NO_LIMIT, lambda _: False)
    mirrored = mirror.join(description)
    for found in description.device.walk():
        own = topics.device_id(found.udn)
        for one in found.services:
            id_ = topics.service_id(own, one.level)
            for properties in recorded(name, service_name(one)):
                mirror.apply_event(id_, properties, initial=False, now="now")
            answered = mirrored.services[id_].state.told or set()
            for question in PLAN.questions(own, one):
                wanted = question.wanted.keys() - answered
                if one.event_url is None or wanted & PLAN.asked_for(own, one):
                    mirror.apply_answers(
                        id_, [(question.wanted[each][1], "1") for each in wanted], now="now"
                    )
    return mirrored


def told_tree(mirrored: MirroredDevice, mode: StateMode) -> dict[str, bytes]:
    return Shape("upnp", "main", mode=mode, plan=PLAN).wanted(mirrored, NO_LIMIT)


def recorded(name: str, kind: str) -> Iterator[list[tuple[str, str]]]:
    program, _, number = name.partition("/")
    for path in sorted((CAPTURES / program).glob(f"{number}-{kind}.notify*.http")):
        yield read_properties(path.read_bytes().partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DEVICES)
def test_a_recorded_device_tells_what_its_entities_take_their_states_from(name, mode):
    mirrored = told_device(captured(name), name)
    held = told_tree(mirrored, mode)
    for key, one in components(captured(name), told=mirrored.keys(), mode=mode).items():
        happens = one.get("state_topic", "").endswith("/event")
        assert happens == (name == "rygel/1" and key == "contentdirectory_changed")
        assert happens or states_of(one) <= held.keys(), key
        for topic in one.get("availability", []):
            assert topic["topic"] in (*held, "upnp/bridge/main/state")


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_every_command_that_home_assistant_may_send_becomes_a_call(name, read_only):
    sent = 0
    for key, one in components(ALL[name], read_only=read_only).items():
        for topic, payload in commands_of(one):
            call = call_of(ALL[name], topic, payload, read_only=read_only)
            assert call.action.name
            assert not only_reads(call.action.name), key
            sent += 1
    assert not (sent and read_only)


@pytest.mark.parametrize(
    ("name", "key", "payload", "action", "arguments"),
    [
        ("rygel/2", "renderingcontrol_volume", "25", "SetVolume", {"DesiredVolume": "25"}),
        ("gmediarender/1", "renderingcontrol_mute_lf", "true", "SetMute", {"Channel": "LF"}),
        (
            "rygel/2",
            "renderingcontrol_preset",
            "",
            "SelectPreset",
            {"PresetName": "FactoryDefaults"},
        ),
        ("rygel/2", "avtransport_play", "", "Play", {"InstanceID": "0", "Speed": "1"}),
        ("light/1", "switchpower_1_light", "false", "SetTarget", {"newTargetValue": "0"}),
        ("socket", "basicevent1_switch", "1", "SetBinaryState", {"BinaryState": "1"}),
        (
            "newer socket",
            "basicevent1_switch",
            "",
            "SetBinaryState",
            {"BinaryState": "1", "Duration": "", "EndAction": "", "UDN": ""},
        ),
    ],
)
def test_a_command_means_what_its_control_says(name, key, payload, action, arguments):
    component = components(ALL[name])[key]
    topic, first = commands_of(component)[0]
    call = call_of(ALL[name], topic, payload or first)
    assert call.action.name == action
    assert arguments.items() <= dict(call.arguments).items()


def test_the_brightness_of_a_light_is_its_level():
    light = components(captured("light/1"))["switchpower_1_light"]
    call = call_of(captured("light/1"), light["brightness_command_topic"], "42")
    assert (call.action.name, call.arguments) == (
        "SetLoadLevelTarget",
        (("newLoadlevelTarget", "42"),),
    )
    assert light["on_command_type"] == "first"
    assert light["brightness_scale"] == 100


# Kinds


@pytest.mark.parametrize("found", [(kinds.ICON,), ()])
def test_the_cover_is_the_picture_at_a_topic_of_its_own_and_only_there_while_there_is_one(found):
    root = replace(kinds.renderer(), icons=found)
    own = document(described(root))
    cover = own["components"]["avtransport_cover"]
    assert cover["url_topic"] == "upnp/R/art"
    assert "url_template" not in cover
    template = "{{ 'online' if value else 'offline' }}"
    needs = [{"topic": "upnp/R/art", "value_template": template}]
    assert cover.get("availability") == (None if found else [*own["availability"], *needs])
    others = [one for key, one in own["components"].items() if key != "avtransport_cover"]
    assert "upnp/R/art" not in str(others)


def test_a_renderer_within_another_device_has_the_entities_of_a_renderer():
    alone, within = components(kinds.DEVICES["renderer"]), components(kinds.DEVICES["speaker"])
    assert set(within) == {CONNECTIVITY} | {f"aios-r_{key}" for key in alone if key != CONNECTIVITY}
    assert within["aios-r_avtransport_state"]["state_topic"] == "upnp/AIOS-r/media"
    assert within["aios-r_renderingcontrol_volume"]["name"] == "Volume"


@pytest.mark.parametrize("version", [1, 2])
def test_two_connections_of_a_gateway_are_told_apart(version):
    found = components(kinds.gateway(version))
    wanted = {
        f"i-conn-{n}_wanipconn{n}_{key}"
        for n in (1, 2)
        for key in ("connected", "external_ip", "uptime", "port_mappings", "connect", "disconnect")
    }
    assert {key for key in found if "conn" in key} == wanted | {CONNECTIVITY}
    names = Counter((one["platform"], one["name"]) for one in found.values())
    assert set(names.values()) == {1}
    assert found["i-conn-2_wanipconn2_external_ip"]["name"] == "External IP 2"
    # The first keeps its keys and names where there is no second.
    alone = components(kinds.gateway(version, connections=1))
    assert {key: found[key] for key in alone} == alone


@pytest.mark.parametrize("name", ["light", "dimmable light"])
def test_a_light_is_a_light_named_as_its_device(name):
    found = components(ALL[name])
    level = {"dimming_number_loadlevelstatus": ("number", False)} if name != "light" else {}
    assert platforms(found) == {
        CONNECTIVITY: ("binary_sensor", True),
        "switchpower_light": ("light", True),
        **level,
    }
    light = found["switchpower_light"]
    assert light["name"] is None
    dimmed = {key: value for key, value in light.items() if "brightness" in key}
    topic = "upnp/L/Dimming/value/LoadLevelStatus"
    assert dimmed == (
        {}
        if name == "light"
        else {
            "brightness_state_topic": topic,
            "brightness_value_template": "{{ value if value | is_number else '' }}",
            "brightness_command_topic": f"{topic}/set",
            "brightness_scale": 100,
        }
    )


def test_a_light_that_nothing_dims_is_one_that_is_on_or_off():
    undimmed = kinds.light(kinds.POWER, kinds.without(kinds.DIMMING, "SetLoadLevelTarget"))
    assert "brightness_scale" not in components(undimmed)["switchpower_light"]


@pytest.mark.parametrize(
    ("high", "scale"), [("255", 255), ("0", 1), ("0.5", 1), ("x", 100), ("1e9", 10**9)]
)
def test_the_scale_of_a_light_is_one_that_home_assistant_takes(high, scale):
    dimming = part(
        "Dimming", "Dimming", ranged("LoadLevelStatus:i4", -5, high), sets("LoadLevelStatus")
    )
    light = components(kinds.light(kinds.POWER, dimming))["switchpower_light"]
    assert light["brightness_scale"] == scale


def test_what_is_switched_and_is_no_light_is_a_switch_and_a_level():
    found = platforms(components(ALL["switch"]))
    assert found == {
        CONNECTIVITY: ("binary_sensor", True),
        "switchpower_switch": ("switch", True),
        "dimming_level": ("number", True),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("socket", {"basicevent1_switch": ("switch", True)}),
        ("newer socket", {"basicevent1_switch": ("switch", True)}),
        (
            "insight",
            {"basicevent1_switch": ("switch", True), "insight1_power": ("sensor", True)},
        ),
        ("sensor", {"basicevent1_motion": ("binary_sensor", True)}),
    ],
)
def test_devices_of_wemo(name, expected):
    found = platforms(components(ALL[name]))
    assert found == {CONNECTIVITY: ("binary_sensor", True), **expected}


WEMO = part(
    "basicevent",
    "basicevent",
    variable("BinaryState:Boolean"),
    variable("brightness:string"),
    variable("Sensor:Boolean"),
    does("SetBinaryState", "BinaryState:BinaryState", "Duration", "brightness:brightness"),
    does("ShareHWInfo"),
)
WEMOS = ("controllee", "lightswitch", "dimmer", "crockpot", "coffeemaker", "Maker", "sensor", "new")


def wemo(device_type: str) -> Description:
    return described(typed(device("W", WEMO), device_type, vendor="Belkin"))


def unknown_to_all(found: Device) -> Device:
    """The device with types that no rule names."""
    children = [
        unknown_to_all(one)
        if isinstance(one, Device)
        else replace(one, service_type=f"urn:x:service:Unheard{n}:1")
        for n, one in enumerate(found.children)
    ]
    return replace(found, device_type="urn:x:device:Unheard:1", children=tuple(children))


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", [*ALL, *WEMOS])
def test_a_kind_that_is_known_has_never_fewer_entities_than_one_that_is_not(name, read_only):
    known = ALL[name] if name in ALL else wemo(name)
    told = everything(known)
    alien = replace(known, device=unknown_to_all(known.device))
    found, generic = (components(one, told=told, read_only=read_only) for one in (known, alien))
    assert len(found) >= len(generic) > 1


@pytest.mark.parametrize("name", WEMOS)
def test_every_device_of_wemo_has_what_its_kind_is_for(name):
    found = platforms(components(wemo(name)))
    main = {
        "dimmer": ("basicevent_light", ("light", True)),
        "sensor": ("basicevent_motion", ("binary_sensor", True)),
        "crockpot": ("basicevent_binary_sensor_binarystate", ("binary_sensor", False)),
        "coffeemaker": ("basicevent_binary_sensor_binarystate", ("binary_sensor", False)),
    }
    key, expected = main.get(name, ("basicevent_switch", ("switch", True)))
    assert found[key] == expected
    assert len([one for one in found if one.startswith(("basicevent_light", "basicevent_sw"))]) < 2
    assert "basicevent_button_sharehwinfo" in found


def test_a_dimmer_of_wemo_is_lit_dimmed_and_put_out_by_one_action():
    light = components(wemo("dimmer"))["basicevent_light"]
    on, off = light["payload_on"], light["payload_off"]
    assert json.loads(on) == {"BinaryState": "1", "Duration": "", "brightness": ""}
    assert json.loads(off)["BinaryState"] == "0"
    command = light["brightness_command_template"].replace("{{ value }}", "40")
    call = call_of(wemo("dimmer"), light["brightness_command_topic"], command)
    assert dict(call.arguments) == {"BinaryState": "1", "Duration": "", "brightness": "40"}
    assert light["brightness_state_topic"] == "upnp/W/basicevent/value/brightness"
    assert light["brightness_scale"] == 100


# What nobody knows


def test_what_nobody_knows_is_mapped_by_its_data_types_and_disabled():
    found = components(kinds.DEVICES["unknown"])
    del found[CONNECTIVITY]
    assert platforms(found) == {
        "vendor_binary_sensor_flag": ("binary_sensor", False),
        "vendor_switch_switched": ("switch", False),
        "vendor_select_mode": ("select", False),
        "vendor_number_level": ("number", False),
        "vendor_text_label": ("text", False),
        "vendor_sensor_count": ("sensor", False),
        "vendor_button_reboot": ("button", False),
    }
    categories = {one["platform"]: one["entity_category"] for one in found.values()}
    diagnostic = {name for name, category in categories.items() if category == "diagnostic"}
    assert diagnostic == {"binary_sensor", "sensor"}
    assert set(categories.values()) == {"diagnostic", "config"}
    assert found["vendor_binary_sensor_flag"]["name"] == "Flag"


def test_what_nobody_knows_is_all_sensors_where_nothing_may_be_set():
    found = platforms(components(kinds.DEVICES["unknown"], read_only=True))
    assert {platform for platform, _ in found.values()} == {"binary_sensor", "sensor"}
    assert len(found) == 7


@pytest.mark.parametrize(
    ("written", "members", "platform"),
    [
        ("V:i4", (), "sensor"),
        ("V:i4", ("setter",), "sensor"),  # without a range there is no slider
        ("V:string", ("setter",), "text"),
        ("V:string", (), "sensor"),
        ("V: Boolean ", ("setter",), "switch"),
        ("V:dateTime", (), "sensor"),
        ("V:", ("setter",), "text"),
    ],
)
def test_the_platform_of_a_variable_that_nobody_knows(written, members, platform):
    one = variable(written)
    actions = (sets("V"),) if members else ()
    found = components(unknown(part("X", "X", one, *actions)))
    assert [each["platform"] for key, each in found.items() if key != CONNECTIVITY] == [platform]


@pytest.mark.parametrize(
    ("low", "high", "step", "expected"),
    [
        (0, 100, "5", (0, 100, 5, "%")),
        (0, 100, "0.0001", (0, 100, 1, "%")),
        (0, 100, "1000", (0, 100, 1, "%")),
        (0, 100, "x", (0, 100, 1, "%")),
        (-10, 10, "0.5", (-10, 10, 0.5, None)),
        (5, 5, "1", None),
        (5, 4, "1", None),
        ("x", "y", "1", (0, 100, 1, "%")),
        ("nan", "inf", "1", (0, 100, 1, "%")),
        (0, 4294967295, "1", (0, 4294967295, 1, None)),
    ],
)
def test_the_range_of_a_number(low, high, step, expected):
    one = replace(ranged("V:r8", low, high), step=step)
    found = components(unknown(part("X", "X", one, sets("V"))))
    number = found.get("x_number_v")
    if expected is None:
        assert number is None
        assert found["x_sensor_v"]
    else:
        assert number
        got = (number["min"], number["max"], number["step"], number.get("unit_of_measurement"))
        assert got == expected


def test_of_what_nobody_knows_there_are_so_many_at_most():
    many = [variable(f"V{n}:i4") for n in range(100)]
    found = components(unknown(part("X", "X", *many), kinds.POWER, kinds.CONNECTION))
    assert len([key for key in found if key.startswith("x_")]) == MAX_GENERIC
    # What is known is there in any case, and before what is not.
    assert list(found)[:3] == [CONNECTIVITY, "switchpower_switch", "wanipconn1_connected"]


def test_a_variable_that_is_never_told_or_has_no_name_for_a_template_is_left_out():
    odd = (
        quiet("Untold:i4"),
        variable("Quote'd:i4"),
        variable("{{ states }}:i4"),
        variable(f"{'x' * 200}:i4"),
        variable("A_ARG_TYPE_X:i4"),
    )
    assert list(components(unknown(part("X", "X", *odd)))) == [CONNECTIVITY]
    assert list(components(unknown(part("X", "X", kinds.LAST_CHANGE)))) == [CONNECTIVITY]


def test_a_value_that_is_asked_for_is_taken_from_where_the_answer_goes():
    members = (quiet("Level:i4"), gets("Level", kinds.INSTANCE), quiet("A_ARG_TYPE_InstanceID:ui4"))
    plan = Plan(30, ("Level",))
    found = components(unknown(part("X", "X", *members)), plan=plan)["x_sensor_level"]
    assert found["state_topic"] == "upnp/U/X/value/Level/0"
    assert "x_sensor_level" not in components(unknown(part("X", "X", *members)))


@pytest.mark.parametrize("read_only", [False, True])
def test_a_channel_is_known_by_the_setter_alone_too(read_only):
    silent = kinds.without(kinds.RENDERING, "GetVolume")
    found = components(unknown(silent), read_only=read_only)
    key = "renderingcontrol_volume" + ("_sensor" if read_only else "")
    assert found[key]["state_topic"] == "upnp/U/RenderingControl/value/Volume/0/Master"


def test_of_channels_there_are_so_many_at_most_and_all_but_the_whole_are_disabled():
    names = ["Master", "LF", "RF", "LFE", "B", *(f"X{n}" for n in range(9)), "{{ 1 }}"]
    many = kinds.without(kinds.RENDERING, "A_ARG_TYPE_Channel").scpd.members
    service_ = part("R", "RenderingControl", *many, quiet("A_ARG_TYPE_Channel:string", *names))
    found = components(unknown(service_))
    volumes = {key: one for key, one in found.items() if "_volume" in key}
    assert list(volumes) == [
        "r_volume",
        *(f"r_volume_{name}" for name in ("lf", "rf", "lfe", "b", "x0", "x1", "x2")),
    ]
    assert [key for key, (_, enabled) in platforms(volumes).items() if enabled] == ["r_volume"]
    shown = [one["name"] for one in volumes.values()]
    assert shown[:5] == ["Volume", "Volume left", "Volume right", "Volume subwoofer", "Volume B"]
    topic = "upnp/U/R/value/Volume/0/LFE"
    assert volumes["r_volume_lfe"]["state_topic"] == topic
    assert call_of(unknown(service_), f"{topic}/set", "5").arguments[1] == ("Channel", "LFE")


def test_a_service_without_events_is_told_by_answers_while_it_is_asked():
    deaf = service("RenderingControl", kinds.RENDERING.scpd, evented=False)
    asked, unasked = components(unknown(deaf)), components(unknown(deaf), plan=Plan(0))
    assert {"renderingcontrol_volume", "renderingcontrol_number_brightness"} <= asked.keys()
    assert set(unasked) == {CONNECTIVITY, "renderingcontrol_preset"}


def test_a_setter_that_knows_no_instance_is_called_without_one():
    level = ranged("Level:i4", 0, 9, evented=False)
    thing = unknown(part("X", "X", kinds.LAST_CHANGE, level, sets("Level")))
    found = components(thing)["x_number_level"]
    assert found["state_topic"] == "upnp/U/X/value/Level/0"
    call = call_of(thing, found["command_topic"], "5")
    assert call.arguments == (("NewLevel", "5"),)


# The same for ever


def test_the_same_device_gives_the_same_bytes():
    for description in ALL.values():
        first, second = (
            home_assistant().wanted(description, everything(description), NO_LIMIT),
            home_assistant().wanted(
                replace(description, location="http://other/"), everything(description), NO_LIMIT
            ),
        )
        assert first == second
        assert home_assistant().own(NO_LIMIT) == home_assistant().own(NO_LIMIT)


def turned(found: Device) -> Device:
    """The device with its services and members in the opposite order."""
    children = [
        turned(one)
        if isinstance(one, Device)
        else replace(one, scpd=Scpd.of(tuple(reversed(one.scpd.members))))
        for one in reversed(found.children)
    ]
    return replace(found, children=tuple(children))


@pytest.mark.parametrize("name", ALL)
def test_keys_and_unique_ids_do_not_depend_on_the_order_of_anything(name):
    found, other = (
        components(each)
        for each in (ALL[name], replace(ALL[name], device=turned(ALL[name].device)))
    )
    assert {key: one["unique_id"] for key, one in found.items()} == {
        key: one["unique_id"] for key, one in other.items()
    }


ODD_UDNS = [
    "plain",
    "with space",
    "a/b",
    "a_b",
    "a b",
    "äöü",
    "{{ 1 }}",
    "x" * 512,
    "y" * 512 + "!",
    "y" * 512 + "?",
    "+#",
    "bridge",
    "~",
    "root~2",
]


def test_topics_and_unique_ids_are_different_for_different_devices_and_fit_home_assistant():
    hub = home_assistant()
    seen: Counter[str] = Counter()
    ids: Counter[tuple[str, str]] = Counter()
    for udn in ODD_UDNS:
        root = kinds.renderer(udn)
        inner = device("inner", kinds.POWER, name="Inner")
        whole = described(replace(root, children=(*root.children, inner)))
        told = hub.wanted(whole, everything(whole), NO_LIMIT)
        assert tuple(told) == hub.topics(topics.device_id(udn))
        (topic,) = told
        seen[topic] += 1
        match = re.fullmatch(r"homeassistant/device/([a-zA-Z0-9_-]+)/config", topic)
        assert match
        found = json.loads(told[topic])
        assert found["device"]["identifiers"] == [match[1]]
        for key, one in found["components"].items():
            assert re.fullmatch(r"[a-zA-Z0-9_-]+", key)
            assert one["unique_id"] == f"{match[1]}_{key}"
            ids[one["platform"], one["unique_id"]] += 1
    assert not set(hub.own_topics()) & set(seen)
    assert set(seen.values()) == {1}
    assert set(ids.values()) == {1}


@given(one=st.text(max_size=20), other=st.text(max_size=20))
def test_a_slug_is_another_for_another_text(one, other):
    assert re.fullmatch(r"[a-zA-Z0-9_-]*", slug(one))
    assert (slug(one) == slug(other)) == (one == other)


def test_services_and_names_that_would_be_the_same_are_told_apart():
    power = replace(kinds.POWER, level="SwitchPower:1"), replace(kinds.POWER, level="SwitchPower_1")
    found = components(unknown(*power))
    assert set(found) == {CONNECTIVITY, "switchpower_1_switch", "switchpower_1_switch_2"}
    assert [one["name"] for one in found.values()] == ["Connectivity", None, "2"]


@pytest.mark.parametrize("base", ["upnp", "home/upnp", "a b", "ä"])
def test_bases_and_instances_have_documents_of_their_own(base):
    here = home_assistant(base=base, instance="two.b", prefix="ha/x")
    there = home_assistant(base="other", prefix="ha/x")
    rygel = captured("rygel/2")
    told, elsewhere = (hub.wanted(rygel, everything(rygel), NO_LIMIT) for hub in (here, there))
    assert not told.keys() & elsewhere.keys()
    assert not here.own(NO_LIMIT).keys() & there.own(NO_LIMIT).keys()
    (topic,), (own,) = told, here.own(NO_LIMIT)
    for each in (topic, own):
        assert re.fullmatch(r"ha/x/device/[a-zA-Z0-9_-]+/config", each)
    assert here.birth_topics == ("ha/x/status", "homeassistant/status")
    found, bridge = json.loads(told[topic]), json.loads(here.own(NO_LIMIT)[own])
    assert found["device"]["via_device"] == bridge["device"]["identifiers"][0]
    taken = {one for each in found["components"].values() for one in states_of(each)}
    assert all(one.startswith(f"{base}/bd28a860-") for one in taken)
    assert {one["topic"] for one in found["availability"]} == {
        f"{base}/bridge/two.b/state",
        f"{base}/bd28a860-da1c-41f8-9124-095eef86386b/availability",
    }
    assert bridge["device"]["name"] == "UPnP bridge two.b"


def test_two_instances_under_one_base_tell_of_a_device_on_the_same_topic():
    one, other = home_assistant(instance="a"), home_assistant(instance="b")
    assert one.topics("D") == other.topics("D")
    assert one.own_topics() != other.own_topics()


# The whole document


def test_what_a_device_is_called_stands_in_its_document():
    root = replace(
        kinds.renderer("R"),
        friendly_name="  Living\n room ",
        manufacturer="Acme",
        model_name="One",
        model_number="1",
        serial_number="007",
        presentation_url="http://192.0.2.1/",
    )
    assert document(described(root))["device"] == {
        "identifiers": ["upnp2mqtt_R"],
        "connections": [["upnp", "uuid:R"]],
        "name": "Living room",
        "manufacturer": "Acme",
        "model": "One",
        "model_id": "1",
        "serial_number": "007",
        "configuration_url": "http://192.0.2.1/",
        "via_device": "upnp2mqtt_bridge_main",
    }
    assert document(described(root))["origin"] == {"name": "upnp2mqtt", "sw_version": "1.2.3"}


def test_devices_and_the_bridge_lead_to_the_page_where_others_reach_that():
    hub = HomeAssistant(
        World("upnp", "both", read_only=False),
        instance="main",
        prefix="homeassistant",
        version="1",
        page_url="http://192.0.2.9:8099",
    )
    root = replace(device("a/b"), presentation_url="http://192.0.2.1/")
    (told,) = hub.wanted(described(root), {}, 100_000).values()
    (own,) = hub.own(100_000).values()
    found = [json.loads(each)["device"]["configuration_url"] for each in (told, own)]
    assert found == ["http://192.0.2.9:8099/#/device/a%252Fb", "http://192.0.2.9:8099/"]


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "ftp://h/",
        "http://",
        "/x",
        "http://[",
        "http://h:99999/",
        "http://xn--/",
        "javascript:x",
    ],
)
def test_an_address_that_is_none_is_left_out(url):
    root = replace(device("D"), presentation_url=url)
    assert "configuration_url" not in document(described(root))["device"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.org/help", {"support_url": "https://example.org/help"}),
        (None, {}),
        ("", {}),
        ("help.html", {}),
        ("mailto:me@example.org", {}),
    ],
)
def test_the_origin_says_where_help_is_if_there_is_such_a_place(url, told):
    hub = HomeAssistant(
        World("upnp", "both", read_only=False),
        instance="main",
        prefix="homeassistant",
        version="1.2.3",
        support_url=url,
    )
    (payload,) = hub.own(NO_LIMIT).values()
    assert json.loads(payload)["origin"] == {"name": "upnp2mqtt", "sw_version": "1.2.3", **told}


def test_entities_of_an_embedded_device_belong_to_the_root():
    found = document(kinds.gateway())
    assert next(iter(found["components"])) == CONNECTIVITY
    assert found["device"]["connections"] == [
        ["upnp", f"uuid:{udn}"] for udn in ("I", "I-wan", "I-conn-1", "I-conn-2")
    ]
    own = "i-conn-1_wanipconn1_external_ip"
    assert found["components"][own]["state_topic"].startswith("upnp/I-conn-1/")
    assert found["components"][own]["unique_id"] == f"upnp2mqtt_I_{own}"
    assert "availability" not in found["components"][own]


def test_a_device_has_no_more_connections_than_its_document_has_room_for():
    many = [device(f"inner-{n}") for n in range(100)]
    found = document(described(device("D", *many)))["device"]["connections"]
    assert found == [["upnp", "uuid:D"], *(["upnp", f"uuid:inner-{n}"] for n in range(31))]


def test_an_entity_with_the_name_of_its_device_has_that_of_the_embedded_one():
    inner = typed(device("L2", kinds.POWER, name="Bedside"), "BinaryLight")
    root = typed(device("L", kinds.POWER, inner, name="Lamp"), "BinaryLight")
    found = components(described(root))
    assert found["switchpower_light"]["name"] is None
    assert found["l2_switchpower_light"]["name"] == "Bedside"


def test_an_entity_is_there_while_bridge_and_device_are_and_connectivity_while_the_bridge_is():
    found = document(kinds.gateway())
    assert found["availability"] == [
        {"topic": "upnp/bridge/main/state"},
        {"topic": "upnp/I/availability"},
    ]
    assert found["availability_mode"] == "all"
    connectivity = found["components"][CONNECTIVITY]
    assert connectivity["availability"] == [{"topic": "upnp/bridge/main/state"}]
    assert connectivity["state_topic"] == "upnp/I/availability"
    assert (connectivity["payload_on"], connectivity["payload_off"]) == ("online", "offline")


def test_the_bridge_is_a_device_that_knows_whether_it_is_online():
    hub = home_assistant()
    ((topic, payload),) = hub.own(NO_LIMIT).items()
    assert (topic,) == hub.own_topics()
    found = json.loads(payload)
    assert platforms(found["components"]) == {
        "connectivity": ("binary_sensor", True),
        "version": ("sensor", True),
        "devices": ("sensor", True),
        "log_level": ("select", True),
        "search": ("button", True),
        "announce": ("button", True),
    }
    assert found["components"]["connectivity"]["availability"] == []
    for name, one in found["components"].items():
        if name != "connectivity":
            assert one["availability"] == [{"topic": "upnp/bridge/main/state"}]
        for each in commands_of(one):
            assert each[0].startswith("upnp/bridge/main/request/")
            assert isinstance(json.loads(each[1]), dict)


@pytest.mark.parametrize("limit", [0, 1, 500, 700, 1000, 2000, 4000, 8000, 16_000])
@pytest.mark.parametrize("name", ALL)
def test_a_document_has_no_more_bytes_than_it_may_and_the_first_entities(name, limit):
    whole = list(components(ALL[name]))
    told = home_assistant().wanted(ALL[name], everything(ALL[name]), limit)
    for payload in told.values():
        assert len(payload) <= limit
        kept = list(json.loads(payload)["components"])
        assert kept == whole[: len(kept)]
        assert kept
    ((_, payload),) = home_assistant().wanted(ALL[name], everything(ALL[name]), NO_LIMIT).items()
    assert home_assistant().wanted(ALL[name], everything(ALL[name]), len(payload)).values()
    assert told or limit <= 1000


# Not enabled


def test_where_it_is_not_enabled_nothing_is_wanted_and_every_topic_named():
    hub, on = home_assistant(enabled=False), home_assistant()
    assert not hub.enabled
    assert not hub.own(NO_LIMIT)
    for description in ALL.values():
        assert not hub.wanted(description, everything(description), NO_LIMIT)
        own = topics.device_id(description.udn)
        told = everything(description)
        assert hub.topics(own) == on.topics(own) == tuple(on.wanted(description, told, NO_LIMIT))
    assert hub.own_topics() == on.own_topics() == tuple(on.own(NO_LIMIT))


# What is said before a document is replaced

TOPIC = "homeassistant/device/upnp2mqtt_D/config"


def wanted(*keys: str, platform: str = "sensor", **more: Any) -> bytes:
    found = {key: {"platform": platform, "unique_id": key} for key in keys}
    return json.dumps({"device": {"identifiers": ["D"]}, "components": found, **more}).encode()


def test_a_component_that_is_left_out_goes_by_its_platform_alone():
    first = home_assistant().interim_document(
        TOPIC, wanted("a", "b", "c"), wanted("b", origin={"name": "x"})
    )
    assert first
    assert json.loads(first) == {
        "device": {"identifiers": ["D"]},
        "components": {
            "b": {"platform": "sensor", "unique_id": "b"},
            "a": {"platform": "sensor"},
            "c": {"platform": "sensor"},
        },
        "origin": {"name": "x"},
    }


def test_a_component_that_is_of_another_platform_now_goes_first():
    first = home_assistant().interim_document(TOPIC, wanted("a"), wanted("a", platform="number"))
    assert first
    assert json.loads(first)["components"] == {"a": {"platform": "sensor"}}


@pytest.mark.parametrize(
    ("topic", "held", "new"),
    [
        (TOPIC, wanted("a"), wanted("a", "b")),
        (TOPIC, wanted("a"), wanted("a", origin={})),
        (TOPIC, wanted("a"), b""),
        (TOPIC, b"", wanted("a")),
        (TOPIC, b"\xff{", wanted("a")),
        (TOPIC, b"[]", wanted("a")),
        (TOPIC, b"null", wanted("a")),
        (TOPIC, b"[" * 9999, wanted("a")),
        (TOPIC, b'{"components":[]}', wanted("a")),
        (TOPIC, b'{"components":{"x":1,"y":{},"z":{"platform":[]}}}', wanted("a")),
        ("upnp/D", wanted("a", "b"), wanted("a")),
        ("homeassistants/device/x/config", wanted("a", "b"), wanted("a")),
        (TOPIC, wanted("a", "b"), b"no JSON"),
    ],
)
def test_otherwise_nothing_is_said_before(topic, held, new):
    assert home_assistant().interim_document(topic, held, new) is None


@needs_home_assistant
def test_home_assistant_takes_what_is_said_before():
    hub = home_assistant()
    fewer, more = kinds.unknown(kinds.POWER), kinds.unknown(kinds.POWER, kinds.UNKNOWN)
    ((topic, new),) = hub.wanted(fewer, everything(fewer), NO_LIMIT).items()
    ((_, held),) = hub.wanted(more, everything(more), NO_LIMIT).items()
    first = hub.interim_document(topic, held, new)
    assert first
    assert problems({topic: first}) == []


def test_sources_are_the_topics_that_a_document_takes_states_from():
    hub = home_assistant()
    for description in ALL.values():
        ((_, payload),) = hub.wanted(description, everything(description), NO_LIMIT).items()
        found = json.loads(payload)
        states = {one for each in found["components"].values() for one in states_of(each)}
        available = {one["topic"] for one in found["availability"]}
        assert hub.sources(payload) == states | available
    ((_, payload),) = hub.own(NO_LIMIT).items()
    own = {f"upnp/bridge/main/{name}" for name in ("state", "info", "health")}
    assert own <= hub.sources(payload)
    assert hub.sources(b"no JSON") == frozenset()
    for odd in (b"{}", b'{"chunks":2}', b'{"components":[1],"availability":"x"}', b"[]"):
        assert hub.sources(odd) == frozenset()


# Whatever a device says of itself

MARK = "zq"
"""In every text of a hostile device that is not plain; no word of ours has it."""
HOSTILE = [
    "{{ states }}",
    "{% set x = 1 %}",
    "{# x #}",
    "'",
    '"',
    "\\",
    "\n",
    "\t",
    "}}",
    "%}",
    "' + 1 + '",
    "]",
    "`",
    "é",
    "\U0001f600",
    "",
]
hostile = st.one_of(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(HOSTILE),
        st.just(MARK),
        st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join),
    ).filter(lambda text: text != MARK),
    st.builds(
        "{}'{}".format,
        st.just(MARK),
        st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=10),
    ),
)
"""Texts that are not plain."""
texts = st.one_of(hostile, st.sampled_from(["Plain", "plain text", "1", "0", "x" * 300, " "]))
urls = st.one_of(hostile.map("http://192.0.2.1/{}".format), hostile, st.just("http://192.0.2.1/a"))
numbers = st.one_of(
    hostile, st.sampled_from(["0", "1", "100", "-5", "0.5", "1e300", "-1e300", "1e-9", "nan", ""])
)
data_types = st.sampled_from(["boolean", "string", "i4", "ui1", "r8", "uuid", "bin.hex", "", "x"])
known = sorted(
    {rule.variable or rule.action for kind in KINDS.values() for rule in kind.rules} - {""}
)
plain_names = st.sampled_from(["Target", "LoadLevelTarget", "One", "Two", "Three", "Four"])
names = st.one_of(texts, plain_names, plain_names, st.sampled_from([*known, "LastChange"]))
mostly = st.sampled_from([True, True, True, False])


@st.composite
def variables(draw: st.DrawFn) -> Any:
    optional = st.one_of(st.none(), numbers)
    return replace(
        variable("V:x"),
        name=draw(names.filter(bool)),
        data_type=draw(data_types),
        evented=draw(mostly),
        allowed_values=tuple(draw(st.lists(texts, max_size=3))),
        minimum=draw(optional),
        maximum=draw(optional),
        step=draw(optional),
    )


@st.composite
def scpds(draw: st.DrawFn) -> Scpd:
    found = draw(st.lists(variables(), min_size=2, max_size=6, unique_by=lambda one: one.name))
    there = [one.name for one in found] + ["A_ARG_TYPE_InstanceID", "A_ARG_TYPE_Channel"]
    related = st.one_of(st.sampled_from(there), texts)
    arguments = st.builds(
        Argument,
        st.one_of(texts, st.sampled_from(["InstanceID", "Channel", "CurrentURI", "PresetName"])),
        st.sampled_from(Direction),
        related,
    )
    actions = st.builds(
        Action,
        st.one_of(names, st.sampled_from(["SetTarget", "SetIt", "GetIt", "Reboot"])),
        st.lists(arguments, max_size=4, unique_by=lambda one: one.name).map(tuple),
    )
    more = draw(st.lists(actions, max_size=5, unique_by=lambda one: one.name))
    by = st.sampled_from([(), (kinds.INSTANCE,), kinds.BY_CHANNEL])
    more += [sets(one.name, *draw(by)) for one in found if draw(mostly)]
    channel = quiet("A_ARG_TYPE_Channel:string", *draw(st.lists(texts, max_size=3)))
    return Scpd.of((*found, *more, channel))


@st.composite
def hostile_devices(draw: st.DrawFn, depth: int = 0) -> Device:
    count = draw(st.integers(1, 3))
    levels = draw(st.lists(texts.filter(bool), min_size=count, max_size=count, unique=True))
    services = [
        replace(
            service("S", draw(scpds()), evented=draw(mostly)),
            level=topics.encode_level(level),
            service_type=f"urn:x:service:{draw(st.sampled_from([*KINDS, 'Other']))}:1",
        )
        for level in levels
    ]
    inner = draw(st.lists(hostile_devices(depth + 1), max_size=1)) if depth < 2 else []
    optional = st.one_of(st.none(), texts)
    return Device(
        udn=draw(texts.filter(bool)) + str(depth),
        device_type=draw(
            st.sampled_from(["urn:x:device:BinaryLight:1", "urn:x:device:controllee:1", "", MARK])
        ),
        friendly_name=draw(texts),
        manufacturer=draw(optional),
        model_name=draw(optional),
        model_number=draw(optional),
        serial_number=draw(optional),
        presentation_url=draw(st.one_of(st.none(), urls)),
        icons=tuple(Icon(url) for url in draw(st.lists(urls, max_size=2))),
        children=(*services, *inner),
    )


def templates_of(found: object) -> Iterator[str]:
    for name, value in found.items() if isinstance(found, dict) else ():
        if name.endswith("_template"):
            yield value
        yield from templates_of(value)


def test_no_text_of_a_device_is_ever_a_part_of_a_template():
    """And Home Assistant takes the document, whatever else it holds."""
    told: dict[str, bytes] = {}

    @settings(max_examples=80)
    @given(root=hostile_devices(), mode=st.sampled_from(MODES), limit=st.integers(300, 20_000))
    def look(root: Device, mode: StateMode, limit: int) -> None:
        hub = home_assistant(base=f"b{len(told)}", mode=mode)
        keys = everything(described(root))
        found = hub.wanted(described(root), keys, NO_LIMIT)
        ((topic, payload),) = found.items()
        for template in templates_of(json.loads(payload)):
            assert MARK not in template
        for short in hub.wanted(described(root), keys, limit).values():
            assert len(short) <= limit
        told[topic] = payload

    look()
    assert len(told) > 50
    if missing() is None:
        assert problems(told) == []


@pytest.mark.parametrize("text", [one for one in HOSTILE if one])
def test_chosen_texts_are_told_as_they_are_and_never_in_a_template(text):
    hidden = f"{text}{MARK}"
    members = (
        replace(variable("Mode:string", "plain", hidden)),
        sets("Mode"),
        variable(f"{MARK}V{text}:string"),
        does(f"Do{hidden}"),
    )
    root = device("D", kinds.TRANSPORT, part("X", "X", *members), name=hidden)
    root = replace(root, icons=(kinds.ICON, Icon(f"http://192.0.2.1/{hidden}")))
    for mode in MODES:
        found = document(described(root), mode=mode)
        assert found["device"]["name"] == " ".join(hidden.split())
        assert [one for one in templates_of(found) if MARK in one] == []
        assert found["components"]["avtransport_cover"]["url_topic"] == "upnp/D/art"
        assert found["components"]["x_text_mode"]["platform"] == "text"
        assert len([key for key in found["components"] if "button_do" in key]) == 1


def test_a_command_to_an_odd_device_is_carried_out_too():
    odd = "a {{ 1 }}/'+#\""
    service_ = replace(part("X", "X", does(odd)), level=topics.encode_level(odd))
    thing = described(device(odd, service_))
    (component,) = [one for key, one in components(thing).items() if key != CONNECTIVITY]
    ((topic, payload),) = commands_of(component)
    assert call_of(thing, topic, payload).action.name == odd
    with pytest.raises(CommandError) as error:
        call_of(thing, topic, payload, read_only=True)
    assert error.value.code == Code.DENIED
