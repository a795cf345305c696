"""Which entities Home Assistant gets, as data: a new kind of device is a few lines here.

By the name in the serviceType. A rule whose state variable or action a service does not have is
passed over; one whose variable nothing can set becomes a sensor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DOCUMENT = "(value_json if value_json is mapping else {})"
"""The JSON object at a topic, in a template; empty where there is none, as while it is cleared."""

Platform = Literal[
    "binary_sensor",
    "button",
    "event",
    "image",
    "light",
    "notify",
    "number",
    "select",
    "sensor",
    "switch",
    "text",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """An entity. `key` lasts for ever: Home Assistant knows the entity by it.

    The state is that of a state `variable`, or a field of `media`. `template` makes it of `value`,
    the text at the variable's topic. `action` is what a control calls, with `args`, where it does
    not set the variable; `level` is the variable and argument by which that dims a light. `covers`
    are further variables that the entity speaks for. Without a `name` the entity is named as its
    device. `more` are Home Assistant's own keys. `on` are the device types, by the name in each,
    that it is for (empty: any), `not_on` those that it is not for. `happens` takes the state from
    what happens at the service that is no value, where its `LastChange` may tell of such, and else
    from this variable.
    """

    key: str
    platform: Platform
    name: str | None
    variable: str = ""
    media: str = ""
    action: str = ""
    level: str = ""
    covers: frozenset[str] = frozenset()
    args: Mapping[str, object] = field(default_factory=dict)
    template: str = ""
    happens: str = ""
    enabled: bool = True
    on: frozenset[str] = frozenset()
    not_on: frozenset[str] = frozenset()
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """A kind of service: its rules. What they leave out is mapped generically.

    That is of little interest where it `is_minor`: it comes behind all others.
    """

    rules: tuple[Rule, ...] = ()
    is_minor: bool = False


_ON_OFF = {"state_on": "ON", "state_off": "OFF"}
_DIAGNOSTIC = {"entity_category": "diagnostic"}
_CONFIG = {"entity_category": "config"}
_SECONDS = {
    "device_class": "duration",
    "unit_of_measurement": "s",
    "suggested_display_precision": 0,
}
_UPTIME = {
    "device_class": "duration",
    "unit_of_measurement": "d",
    "suggested_display_precision": 1,
    "state_class": "measurement",
}
_STATES = {
    "playing": "playing",
    "paused": "paused",
    "stopped": "stopped",
    "transitioning": "buffering",
    "no_media": "idle",
}
"""What `media` calls a state, in the words of Home Assistant's own players where it has one."""
_GIGA = "{{ (value | float / 1e9) | round(9) if value | is_number else 'None' }}"
_MEGA = "{{ (value | float / 1e6) | round(6) if value | is_number else 'None' }}"
_DAYS = "{{ (value | float / 86400) | round(5) if value | is_number else 'None' }}"
_LAST_ERROR = (
    "{% set words = value | trim | replace('ERROR_', '') | replace('_', ' ') | capitalize %}"
    "{{ 'None' if not words else 'No error' if words == 'None' else words[:255] }}"
)
_CLOCK = (  # H+:MM:SS[.F+]; hours and minutes may be missing
    "{% set t = value.split('.')[0].split(',')[0].replace('+', '').split(':')[::-1] %}"
    "{% set n = t | map('trim') | map('default', '0', true)"
    " | map('regex_replace', '^.*[^0-9].*$', '-1') | map('int', -1) | list %}"
    "{{ n[0] + (n[1:2] | sum) * 60 + (n[2:3] | sum) * 3600"
    " if t[0] | trim and '-' not in value and t | length <= 3 and n | min >= 0 else 'None' }}"
)
_CONTAINERS = "{{ {'event_type': 'changed', 'containers': value} | to_json if value else '' }}"
_OBJECTS = ("objAdd", "objMod", "objDel", "stDone")
HAPPENED = (
    "{% set e = "
    + DOCUMENT
    + " %}{{ dict(e, event_type=e.event if e.event in "
    + str([*_OBJECTS])
    + " else 'changed') | to_json if e.event is defined else '' }}"
)
"""What happened at a ContentDirectory, as an event with all its attributes."""
_LIGHTS = frozenset({"BinaryLight", "DimmableLight"})
_SENSORS = frozenset({"sensor", "NetCamSensor"})
_DIMMERS = frozenset({"dimmer"})
_NOT_SWITCHED = frozenset({"crockpot", "coffeemaker", "Humidifier", "HeaterA", "HeaterB", "bridge"})
"""Those of WeMo whose BinaryState is no switch: a mode, or nothing at all."""
_WEMO_ON = (  # 8: on, and nothing draws power
    "{% set on = value.split('|')[0] %}"
    "{{ 'ON' if on in ['1', '8', 'true'] else 'OFF' if on in ['0', 'false'] else 'None' }}"
)


def _button(key: str, name: str, action: str, icon: str, **args: object) -> Rule:
    return Rule(key, "button", name, action=action, args=args, more={"icon": f"mdi:{icon}"})


def _total(key: str, name: str, variable: str, icon: str, *, is_bytes: bool) -> Rule:
    more: dict[str, object] = {"state_class": "total_increasing", "icon": f"mdi:{icon}"}
    if is_bytes:
        more |= {
            "device_class": "data_size",
            "unit_of_measurement": "GB",
            "suggested_display_precision": 2,
        }
    else:
        more |= {"unit_of_measurement": "packets", **_DIAGNOSTIC}
    template = _GIGA if is_bytes else ""
    return Rule(key, "sensor", name, variable, template=template, enabled=is_bytes, more=more)


def _bit_rate(key: str, name: str, variable: str, icon: str) -> Rule:
    more = {
        "device_class": "data_rate",
        "unit_of_measurement": "Mbit/s",
        "suggested_display_precision": 1,
        "state_class": "measurement",
        "icon": f"mdi:{icon}",
        **_DIAGNOSTIC,
    }
    return Rule(key, "sensor", name, variable, template=_MEGA, enabled=False, more=more)


_TRANSPORT = ServiceRules(
    (
        Rule(
            "state",
            "sensor",
            "Playback",
            media="state",
            template=f"{{{{ {_STATES}.get({DOCUMENT}.state, 'None') }}}}",
            covers=frozenset({"TransportState"}),
            more={
                "device_class": "enum",
                "options": list(_STATES.values()),
                "icon": "mdi:play-pause",
            },
        ),
        Rule(
            "title",
            "sensor",
            "Title",
            media="title",
            covers=frozenset({"CurrentTrackMetaData", "AVTransportURIMetaData"}),
            more={"icon": "mdi:music-note"},
        ),
        Rule(
            "artist",
            "sensor",
            "Artist",
            media="artist",
            enabled=False,
            more={"icon": "mdi:account-music"},
        ),
        Rule("album", "sensor", "Album", media="album", enabled=False, more={"icon": "mdi:album"}),
        Rule(
            "position",
            "sensor",
            "Position",
            "RelativeTimePosition",
            template=_CLOCK,
            enabled=False,
            more={"icon": "mdi:progress-clock", **_SECONDS},
        ),
        Rule("cover", "image", "Cover", more={"icon": "mdi:image"}),
        _button("play", "Play", "Play", "play", Speed="1"),
        _button("pause", "Pause", "Pause", "pause"),
        _button("stop", "Stop", "Stop", "stop"),
        _button("next", "Next", "Next", "skip-next"),
        _button("previous", "Previous", "Previous", "skip-previous"),
        Rule(
            "play_mode",
            "select",
            "Play mode",
            "CurrentPlayMode",
            enabled=False,
            more={"icon": "mdi:repeat", **_CONFIG},
        ),
        Rule(
            "uri",
            "text",
            "Media URL",
            media="uri",
            covers=frozenset({"AVTransportURI", "CurrentTrackURI"}),
            action="SetAVTransportURI",
            args={"CurrentURI": "{{ value | to_json }}", "CurrentURIMetaData": ""},
            enabled=False,
            more={"icon": "mdi:link-variant"},
        ),
        Rule(
            "play_uri",
            "notify",
            "Media URL",
            action="SetAVTransportURI",
            args={"CurrentURI": "{{ value | to_json }}", "CurrentURIMetaData": ""},
            enabled=False,
            more={"icon": "mdi:link-variant-plus"},
        ),
    )
)

_RENDERING = ServiceRules(
    (
        Rule("volume", "number", "Volume", "Volume", more={"icon": "mdi:volume-high"}),
        Rule("mute", "switch", "Mute", "Mute", more={"icon": "mdi:volume-off"}),
        Rule(
            "loudness",
            "switch",
            "Loudness",
            "Loudness",
            enabled=False,
            more={"icon": "mdi:ear-hearing", **_CONFIG},
        ),
        Rule(
            "preset",
            "select",
            "Preset",
            action="SelectPreset",
            args={"PresetName": "{{ value | to_json }}"},
            enabled=False,
            more={"icon": "mdi:tune", **_CONFIG},
        ),
    )
)

_WAN_CONNECTION = ServiceRules(
    (
        Rule(
            "connected",
            "binary_sensor",
            "Internet",
            "ConnectionStatus",
            template="{{ 'ON' if value == 'Connected' else 'OFF' if value else 'None' }}",
            more={"device_class": "connectivity"},
        ),
        Rule("external_ip", "sensor", "External IP", "ExternalIPAddress", more={"icon": "mdi:ip"}),
        Rule(
            "uptime",
            "sensor",
            "Uptime",
            "Uptime",
            template=_DAYS,
            enabled=False,
            more={"icon": "mdi:timer-outline", **_UPTIME, **_DIAGNOSTIC},
        ),
        Rule(
            "last_error",
            "sensor",
            "Last error",
            "LastConnectionError",
            template=_LAST_ERROR,
            enabled=False,
            more={"icon": "mdi:alert-circle-outline", **_DIAGNOSTIC},
        ),
        Rule(
            "port_mappings",
            "sensor",
            "Port mappings",
            "PortMappingNumberOfEntries",
            more={"icon": "mdi:arrow-decision", "state_class": "measurement", **_DIAGNOSTIC},
        ),
        Rule(
            "connect",
            "button",
            "Connect",
            action="RequestConnection",
            enabled=False,
            more={"icon": "mdi:lan-connect", **_CONFIG},
        ),
        Rule(
            "disconnect",
            "button",
            "Disconnect",
            action="ForceTermination",
            enabled=False,
            more={"icon": "mdi:lan-disconnect", **_CONFIG},
        ),
    )
)

KINDS: Mapping[str, ServiceRules] = {
    "AVTransport": _TRANSPORT,
    "RenderingControl": _RENDERING,
    "WANIPConnection": _WAN_CONNECTION,
    "WANPPPConnection": _WAN_CONNECTION,
    "WANCommonInterfaceConfig": ServiceRules(
        (
            _total(
                "bytes_received", "Data received", "TotalBytesReceived", "download", is_bytes=True
            ),
            _total("bytes_sent", "Data sent", "TotalBytesSent", "upload", is_bytes=True),
            _total(
                "packets_received",
                "Packets received",
                "TotalPacketsReceived",
                "download",
                is_bytes=False,
            ),
            _total("packets_sent", "Packets sent", "TotalPacketsSent", "upload", is_bytes=False),
            Rule(
                "link",
                "binary_sensor",
                "Link",
                "PhysicalLinkStatus",
                template="{{ 'ON' if value == 'Up' else 'OFF' if value else 'None' }}",
                more={"device_class": "connectivity", **_DIAGNOSTIC},
            ),
            _bit_rate(
                "downstream",
                "Downstream link rate",
                "Layer1DownstreamMaxBitRate",
                "download-network",
            ),
            _bit_rate(
                "upstream", "Upstream link rate", "Layer1UpstreamMaxBitRate", "upload-network"
            ),
        )
    ),
    "ContentDirectory": ServiceRules(
        (
            Rule(
                "update_id",
                "sensor",
                "Content version",
                "SystemUpdateID",
                more={"icon": "mdi:update", **_DIAGNOSTIC},
            ),
            Rule(
                "changed",
                "event",
                "Content changed",
                happens="ContainerUpdateIDs",
                template=_CONTAINERS,
                enabled=False,
                more={"event_types": ["changed", *_OBJECTS], "icon": "mdi:folder-refresh"},
            ),
            Rule(
                "rescan",
                "button",
                "Rescan",
                action="RefreshShareIndex",  # Sonos
                args={"AlbumArtistDisplayOption": ""},
                enabled=False,
                more={"icon": "mdi:magnify-scan", **_CONFIG},
            ),
        )
    ),
    "SwitchPower": ServiceRules(
        (
            Rule("light", "light", None, "Status", on=_LIGHTS),
            Rule("switch", "switch", None, "Status", not_on=_LIGHTS),
        )
    ),
    "Dimming": ServiceRules((Rule("level", "number", "Level", "LoadLevelStatus", not_on=_LIGHTS),)),
    "basicevent": ServiceRules(  # Belkin WeMo
        (
            Rule(
                "motion",
                "binary_sensor",
                "Motion",
                "BinaryState",
                template=_WEMO_ON,
                on=_SENSORS,
                more={"device_class": "motion"},
            ),
            Rule(
                "light",
                "light",
                None,
                "BinaryState",
                action="SetBinaryState",
                level="brightness",
                template=_WEMO_ON,
                on=_DIMMERS,
            ),
            Rule(
                "switch",
                "switch",
                None,
                "BinaryState",
                action="SetBinaryState",
                args={"BinaryState": "{{ value }}"},
                template=_WEMO_ON,
                not_on=_SENSORS | _DIMMERS | _NOT_SWITCHED,
                more=_ON_OFF,
            ),
        )
    ),
    "insight": ServiceRules(  # Belkin WeMo Insight: state|since|on for|on today|on total|…|mW
        (
            Rule(
                "power",
                "sensor",
                "Power",
                "InsightParams",
                template="{{ (value.split('|')[7] | float(0) / 1000) | round(1)"
                " if value.split('|') | length > 8 else 'None' }}",
                more={
                    "device_class": "power",
                    "unit_of_measurement": "W",
                    "state_class": "measurement",
                },
            ),
        )
    ),
    "ConnectionManager": ServiceRules(is_minor=True),
    "X_MS_MediaReceiverRegistrar": ServiceRules(is_minor=True),
    "DeviceProtection": ServiceRules(is_minor=True),
}

UNKNOWN = ServiceRules()
"""Of services that have no rules."""
