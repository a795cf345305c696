"""Every rule: what it takes from a device, and what it makes of one that lacks something."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bridge.hubs.homeassistant.rules import KINDS, Rule
from bridge.model.device import Action, Description, StateVariable
from bridge.polling.plan import Plan
from tests.unit.devices import described, device
from tests.unit.hubs import CONNECTIVITY, components
from tests.unit.kinds import (
    BY_CHANNEL,
    LAST_CHANGE,
    does,
    gets,
    part,
    quiet,
    ranged,
    sets,
    typed,
    variable,
)

Member = Action | StateVariable
OF_INSTANCE = "InstanceID:A_ARG_TYPE_InstanceID"
MASTER = quiet("A_ARG_TYPE_Channel:string", "Master")
ALWAYS = {"AVTransport": {"state", "title", "artist", "album", "cover"}}
"""What a service has by itself."""
CONTROLS = {"light", "number", "select", "switch", "text"}


@dataclass(frozen=True)
class Case:
    """What a service has to have for a rule, and how the entity is wired then.

    Topics are those below the device. Without `setters` there is a sensor of the platform
    `instead`.
    """

    wired: dict[str, Any]
    needs: tuple[Member, ...] = ()
    setters: tuple[Action, ...] = ()
    instead: str = ""
    enabled: bool = True
    on: str = "Test"
    beside: frozenset[str] = field(default_factory=frozenset)


def entity(
    platform: str, name: str | None, state: str = "", command: str = "", **more: Any
) -> dict[str, Any]:
    topics = {"state_topic": state, "command_topic": command}
    return {"platform": platform, "name": name, **{k: v for k, v in topics.items() if v}, **more}


def media(name: str, *, enabled: bool = True, **more: Any) -> Case:
    return Case(entity("sensor", name, "media", **more), enabled=enabled)


def button(
    service: str, name: str, action: str, *inputs: str, payload: str = "{}", enabled: bool = True
) -> Case:
    command = f"{service}/action/{action}/call"
    return Case(
        entity("button", name, command=command, payload_press=payload),
        (does(action, *inputs),),
        enabled=enabled,
    )


def told(service: str, name: str, one: StateVariable, *, enabled: bool = True) -> Case:
    """A sensor of a state variable that is evented, or else asked for."""
    needs = (one,) if one.evented else (one, gets(one.name))
    return Case(entity("sensor", name, f"{service}/value/{one.name}"), needs=needs, enabled=enabled)


def said(platform: str, **more: Any) -> Case:
    """What takes an address to be played."""
    return Case(
        entity(
            platform,
            "Media URL",
            command="AVTransport/action/SetAVTransportURI/call",
            command_template='{"CurrentURI": {{ value | to_json }}, "CurrentURIMetaData": ""}',
            **more,
        ),
        (
            does(
                "SetAVTransportURI",
                OF_INSTANCE,
                "CurrentURI:AVTransportURI",
                "CurrentURIMetaData:AVTransportURIMetaData",
            ),
        ),
        enabled=False,
    )


def of_channel(name: str, one: StateVariable, instead: str, **more: Any) -> Case:
    """A control of RenderingControl."""
    topic = f"RenderingControl/value/{one.name}/0/Master"
    enabled = more.pop("enabled", True)
    return Case(
        entity(more.pop("platform"), name, topic, f"{topic}/set", **more),
        (LAST_CHANGE, one, MASTER, gets(one.name, *BY_CHANNEL)),
        (sets(one.name, *BY_CHANNEL),),
        instead=instead,
        enabled=enabled,
    )


ON_OFF = {"payload_on": "true", "payload_off": "false"}


def wan_connection(service: str) -> dict[str, Case]:
    return {
        "connected": Case(
            entity("binary_sensor", "Internet", f"{service}/value/ConnectionStatus"),
            (variable("ConnectionStatus:string", "Connected"),),
        ),
        "external_ip": told(service, "External IP", variable("ExternalIPAddress:string")),
        "uptime": told(service, "Uptime", quiet("Uptime:ui4"), enabled=False),
        "last_error": told(
            service, "Last error", quiet("LastConnectionError:string"), enabled=False
        ),
        "port_mappings": told(service, "Port mappings", variable("PortMappingNumberOfEntries:ui2")),
        "connect": button(service, "Connect", "RequestConnection", enabled=False),
        "disconnect": button(service, "Disconnect", "ForceTermination", enabled=False),
    }


POWERED = Case(
    {},
    (variable("Status:boolean"), quiet("Target:boolean")),
    (sets("Target"),),
    instead="binary_sensor",
)
STATUS = "SwitchPower/value/Status"
COMMON = "WANCommonInterfaceConfig"
BINARY_STATE = "basicevent/value/BinaryState"
SET_BINARY_STATE = "basicevent/action/SetBinaryState"

CASES: dict[str, dict[str, Case]] = {
    "AVTransport": {
        "state": media("Playback", json_attributes_topic="media"),
        "title": media("Title"),
        "artist": media("Artist", enabled=False),
        "album": media("Album", enabled=False),
        "position": Case(
            entity("sensor", "Position", "AVTransport/value/RelativeTimePosition/0"),
            (LAST_CHANGE, quiet("RelativeTimePosition:string")),
            enabled=False,
        ),
        "cover": Case(entity("image", "Cover", url_topic="art")),
        "play": button(
            "AVTransport",
            "Play",
            "Play",
            OF_INSTANCE,
            "Speed:TransportPlaySpeed",
            payload='{"Speed": "1"}',
        ),
        "pause": button("AVTransport", "Pause", "Pause", OF_INSTANCE),
        "stop": button("AVTransport", "Stop", "Stop", OF_INSTANCE),
        "next": button("AVTransport", "Next", "Next", OF_INSTANCE),
        "previous": button("AVTransport", "Previous", "Previous", OF_INSTANCE),
        "play_mode": Case(
            entity(
                "select",
                "Play mode",
                "AVTransport/value/CurrentPlayMode/0",
                "AVTransport/value/CurrentPlayMode/0/set",
                options=["NORMAL", "SHUFFLE"],
            ),
            (LAST_CHANGE, quiet("CurrentPlayMode:string", "NORMAL", "SHUFFLE")),
            (does("SetPlayMode", OF_INSTANCE, "NewPlayMode:CurrentPlayMode"),),
            instead="sensor",
            enabled=False,
        ),
        "uri": replace(
            said("text", state="media", max=255), beside=frozenset({"avtransport_play_uri"})
        ),
        "play_uri": replace(said("notify"), beside=frozenset({"avtransport_uri"})),
    },
    "RenderingControl": {
        "volume": of_channel(
            "Volume",
            ranged("Volume:ui2", 0, 60, evented=False),
            "sensor",
            platform="number",
            min=0,
            max=60,
        ),
        "mute": of_channel(
            "Mute", quiet("Mute:boolean"), "binary_sensor", platform="switch", **ON_OFF
        ),
        "loudness": of_channel(
            "Loudness",
            quiet("Loudness:boolean"),
            "binary_sensor",
            platform="switch",
            enabled=False,
            **ON_OFF,
        ),
        "preset": Case(
            entity(
                "select",
                "Preset",
                command="RenderingControl/action/SelectPreset/call",
                command_template='{"PresetName": {{ value | to_json }}}',
                options=["FactoryDefaults"],
            ),
            (
                does("SelectPreset", OF_INSTANCE, "PresetName:A_ARG_TYPE_PresetName"),
                quiet("A_ARG_TYPE_PresetName:string", "FactoryDefaults"),
            ),
            enabled=False,
        ),
    },
    "WANIPConnection": wan_connection("WANIPConnection"),
    "WANPPPConnection": wan_connection("WANPPPConnection"),
    COMMON: {
        "bytes_received": told(COMMON, "Data received", quiet("TotalBytesReceived:ui4")),
        "bytes_sent": told(COMMON, "Data sent", quiet("TotalBytesSent:ui4")),
        "packets_received": told(
            COMMON, "Packets received", quiet("TotalPacketsReceived:ui4"), enabled=False
        ),
        "packets_sent": told(COMMON, "Packets sent", quiet("TotalPacketsSent:ui4"), enabled=False),
        "link": Case(
            entity("binary_sensor", "Link", f"{COMMON}/value/PhysicalLinkStatus"),
            (variable("PhysicalLinkStatus:string", "Up"),),
        ),
        "downstream": told(
            COMMON,
            "Downstream link rate",
            quiet("Layer1DownstreamMaxBitRate:ui4"),
            enabled=False,
        ),
        "upstream": told(
            COMMON, "Upstream link rate", quiet("Layer1UpstreamMaxBitRate:ui4"), enabled=False
        ),
    },
    "ContentDirectory": {
        "update_id": told("ContentDirectory", "Content version", variable("SystemUpdateID:ui4")),
        "changed": Case(
            entity("event", "Content changed", "ContentDirectory/value/ContainerUpdateIDs"),
            (variable("ContainerUpdateIDs:string"),),
            enabled=False,
        ),
        "rescan": button(
            "ContentDirectory",
            "Rescan",
            "RefreshShareIndex",
            "AlbumArtistDisplayOption",
            payload='{"AlbumArtistDisplayOption": ""}',
            enabled=False,
        ),
    },
    "SwitchPower": {
        "light": replace(
            POWERED,
            wired=entity("light", None, STATUS, f"{STATUS}/set", **ON_OFF),
            on="BinaryLight",
        ),
        "switch": replace(POWERED, wired=entity("switch", None, STATUS, f"{STATUS}/set", **ON_OFF)),
    },
    "Dimming": {
        "level": Case(
            entity(
                "number",
                "Level",
                "Dimming/value/LoadLevelStatus",
                "Dimming/value/LoadLevelStatus/set",
                min=0,
                max=100,
            ),
            (ranged("LoadLevelStatus:ui1"), ranged("LoadLevelTarget:ui1", evented=False)),
            (sets("LoadLevelTarget"),),
            instead="sensor",
        )
    },
    "basicevent": {
        "motion": Case(
            entity("binary_sensor", "Motion", BINARY_STATE),
            (variable("BinaryState:Boolean"),),
            on="sensor",
        ),
        "light": Case(
            entity(
                "light",
                None,
                BINARY_STATE,
                f"{SET_BINARY_STATE}/call",
                payload_on='{"BinaryState": "1"}',
                payload_off='{"BinaryState": "0"}',
            ),
            (variable("BinaryState:Boolean"),),
            (does("SetBinaryState", "BinaryState:BinaryState"),),
            instead="binary_sensor",
            on="dimmer",
        ),
        "switch": Case(
            entity(
                "switch", None, BINARY_STATE, f"{BINARY_STATE}/set", payload_on="1", payload_off="0"
            ),
            (variable("BinaryState:Boolean"),),
            (does("SetBinaryState", "BinaryState:BinaryState"),),
            instead="binary_sensor",
            on="controllee",
        ),
    },
    "insight": {"power": told("insight", "Power", variable("InsightParams:string"))},
}


def every_rule(chosen: Callable[[Rule], object] = lambda _: True) -> pytest.MarkDecorator:
    """Every rule that is `chosen`, with the kind that it is of."""
    found = [
        pytest.param(kind, rule, id=f"{kind}-{rule.key}")
        for kind, content in KINDS.items()
        for rule in content.rules
        if chosen(rule)
    ]
    return pytest.mark.parametrize(("kind", "rule"), found)


def case_of(kind: str, rule: Rule) -> Case:
    assert rule.key in CASES.get(kind, {}), f"no case for the rule {rule.key} of {kind}"
    return CASES[kind][rule.key]


def home(
    kind: str, case: Case, *members: Member, on: str | None = None, **more: Any
) -> Description:
    """A device with one service."""
    root = device("D", part(kind, more.pop("service_type", kind), *members))
    return described(typed(root, case.on if on is None else on))


def key_of(kind: str, rule: Rule) -> str:
    return f"{kind}_{rule.key}".lower()


def wired(component: dict[str, Any]) -> dict[str, Any]:
    """How a component is wired, topics below the device."""
    kept = ("platform", "name", "options", "min", "max", "command_template")
    return {
        name: value.removeprefix("upnp/D/") if name.endswith("_topic") else value
        for name, value in component.items()
        if (name in kept or name.endswith("_topic") or name.startswith("payload_"))
        and not (name == "options" and component["platform"] == "sensor")
    }


def test_every_case_is_one_of_a_rule():
    assert {kind: set(cases) for kind, cases in CASES.items()} == {
        kind: {rule.key for rule in content.rules}
        for kind, content in KINDS.items()
        if content.rules
    }


@every_rule()
def test_a_device_that_has_what_a_rule_needs_has_its_entity_and_no_other(kind, rule):
    case = case_of(kind, rule)
    found = components(home(kind, case, *case.needs, *case.setters))
    own = key_of(kind, rule)
    always = {f"{kind}_{one}".lower() for one in ALWAYS.get(kind, ())}
    assert found.keys() == {CONNECTIVITY, own} | always | case.beside
    assert wired(found[own]) == case.wired
    assert found[own].get("enabled_by_default", True) == case.enabled == rule.enabled


@every_rule()
def test_a_device_that_lacks_what_a_rule_needs_does_not(kind, rule):
    case = case_of(kind, rule)
    members = (*case.needs, *case.setters)
    if name := rule.variable or rule.action:
        lacking = home(kind, case, *(one for one in members if one.name != name))
    else:
        lacking = home(kind, case, *members, service_type="Other")
    assert not [key for key in components(lacking) if key.startswith(key_of(kind, rule))]


@every_rule(lambda rule: rule.variable)
def test_a_variable_that_nobody_ever_tells_has_no_entity(kind, rule):
    case = case_of(kind, rule)
    members = [
        replace(one, evented=False) if isinstance(one, StateVariable) else one
        for one in (*case.needs, *case.setters)
        if one is not LAST_CHANGE and not one.name.startswith("Get")
    ]
    found = components(home(kind, case, *members))
    assert not [key for key in found if key.startswith(key_of(kind, rule))]
    deaf = home(kind, case, *case.needs)
    deaf = described(
        replace(deaf.device, children=(replace(deaf.device.services[0], event_url=None),))
    )
    found = components(deaf, plan=Plan(0))
    assert not [key for key in found if key.startswith(key_of(kind, rule))]


@every_rule(lambda rule: rule.platform in CONTROLS)
def test_a_control_that_nothing_sets_is_a_sensor_if_it_has_a_state(kind, rule):
    case = case_of(kind, rule)
    with_setters = home(kind, case, *case.needs, *case.setters)
    for found in (
        components(home(kind, case, *case.needs)) if case.setters else {},
        components(with_setters, read_only=True),
    ):
        mine = {key: one for key, one in found.items() if key.startswith(key_of(kind, rule))}
        assert key_of(kind, rule) not in mine
        if not case.instead:
            assert not mine
        elif found:
            (sensor,) = mine.values()
            assert list(mine) == [f"{key_of(kind, rule)}_{case.instead}"]
            assert sensor["platform"] == case.instead
            assert sensor["state_topic"] == f"upnp/D/{case.wired['state_topic']}"
            assert sensor["name"] == case.wired["name"]
            assert sensor.get("enabled_by_default", True) == case.enabled
            assert sensor.get("entity_category") in (None, "diagnostic")
            assert "command_topic" not in sensor


@every_rule(lambda rule: rule.platform in ("button", "notify"))
def test_what_only_does_something_is_not_there_where_that_is_not_allowed(kind, rule):
    case = case_of(kind, rule)
    whole = home(kind, case, *case.needs)
    assert key_of(kind, rule) in components(whole)
    assert key_of(kind, rule) not in components(whole, read_only=True)


@every_rule(lambda rule: rule.action)
def test_an_action_that_wants_what_nobody_knows_of_is_not_called(kind, rule):
    case = case_of(kind, rule)
    members = [
        replace(one, arguments=(*one.arguments, *does("", "Unheard").arguments))
        if isinstance(one, Action) and one.name == rule.action
        else one
        for one in (*case.needs, *case.setters)
    ]
    found = components(home(kind, case, *members))
    if kind == "basicevent":  # which has many, and takes nothing for all but the first
        assert '"Unheard": ""' in found[key_of(kind, rule)]["payload_on"]
    else:
        assert key_of(kind, rule) not in found


@every_rule(lambda rule: any("{{" in str(value) for value in rule.args.values()))
def test_an_action_that_does_not_take_what_is_chosen_is_not_called(kind, rule):
    case = case_of(kind, rule)
    members = [
        does(one.name, OF_INSTANCE) if one.name == rule.action else one
        for one in (*case.needs, *case.setters)
    ]
    assert key_of(kind, rule) not in components(home(kind, case, *members))


@every_rule(lambda rule: rule.on or rule.not_on)
def test_a_rule_is_for_the_device_types_that_it_names(kind, rule):
    case = case_of(kind, rule)
    members = (*case.needs, *case.setters)
    for device_type in rule.on or {"Other"}:
        assert key_of(kind, rule) in components(home(kind, case, *members, on=device_type))
    for device_type in rule.not_on or {"Other", ""}:
        assert key_of(kind, rule) not in components(home(kind, case, *members, on=device_type))
