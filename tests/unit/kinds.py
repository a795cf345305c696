"""Devices of the kinds that hubs know, with what their SCPDs say; and how to build more of them."""

from dataclasses import replace
from typing import Any

from bridge.model.device import (
    Action,
    Argument,
    Description,
    Device,
    Direction,
    Icon,
    Scpd,
    Service,
    StateVariable,
)
from tests.unit.devices import described, device, service

INSTANCE = Argument("InstanceID", Direction.IN, "A_ARG_TYPE_InstanceID")
CHANNEL = Argument("Channel", Direction.IN, "A_ARG_TYPE_Channel")
BY_CHANNEL = (INSTANCE, CHANNEL)
LAST_CHANGE = StateVariable("LastChange", "string")
ICON = Icon("http://192.0.2.1/icon.png")


def variable(written: str, *allowed: str, evented: bool = True, **more: Any) -> StateVariable:
    """A state variable, written `name:type`."""
    name, _, data_type = written.partition(":")
    return StateVariable(name, data_type, evented=evented, allowed_values=allowed, **more)


def quiet(written: str, *allowed: str, **more: Any) -> StateVariable:
    """A state variable without events of its own."""
    return variable(written, *allowed, evented=False, **more)


def ranged(written: str, low: object = 0, high: object = 100, *, evented: bool = True):
    return variable(written, evented=evented, minimum=str(low), maximum=str(high), step="1")


def sets(name: str, *by: Argument) -> Action:
    return Action(f"Set{name}", (*by, Argument(f"New{name}", Direction.IN, name)))


def gets(name: str, *by: Argument) -> Action:
    return Action(f"Get{name}", (*by, Argument(f"Current{name}", Direction.OUT, name)))


def does(name: str, *inputs: str) -> Action:
    """An action with in-arguments, written `name` or `name:related variable`."""
    pairs = (one.partition(":") for one in inputs)
    return Action(name, tuple(Argument(n, Direction.IN, v or f"A_{n}") for n, _, v in pairs))


def typed(root: Device, device_type: str, *, vendor: str = "schemas-upnp-org") -> Device:
    return replace(root, device_type=f"urn:{vendor}:device:{device_type}:1")


def part(level: str, kind: str, *members: Action | StateVariable) -> Service:
    """A service whose level is not the name in its type: `WANIPConn1` and `WANIPConnection`."""
    whole = service(level, Scpd.of(members))
    return replace(whole, service_type=f"urn:schemas-upnp-org:service:{kind}:1")


def without(one: Service, *names: str) -> Service:
    """The service without some of its members."""
    return replace(
        one, scpd=Scpd.of(tuple(each for each in one.scpd.members if each.name not in names))
    )


# Services

TRANSPORT = part(
    "AVTransport",
    "AVTransport",
    LAST_CHANGE,
    quiet("TransportState:string"),
    quiet("CurrentPlayMode:string", "NORMAL", "SHUFFLE", "REPEAT_ALL"),
    quiet("AVTransportURI:string"),
    quiet("AVTransportURIMetaData:string"),
    quiet("RelativeTimePosition:string"),
    quiet("TransportPlaySpeed:string", "1", "2"),
    quiet("A_ARG_TYPE_InstanceID:ui4"),
    does("Play", "InstanceID:A_ARG_TYPE_InstanceID", "Speed:TransportPlaySpeed"),
    *(does(name, "InstanceID:A_ARG_TYPE_InstanceID") for name in ("Pause", "Stop", "Next")),
    does("Previous", "InstanceID:A_ARG_TYPE_InstanceID"),
    does(
        "SetAVTransportURI",
        "InstanceID:A_ARG_TYPE_InstanceID",
        "CurrentURI:AVTransportURI",
        "CurrentURIMetaData:AVTransportURIMetaData",
    ),
    does("SetPlayMode", "InstanceID:A_ARG_TYPE_InstanceID", "NewPlayMode:CurrentPlayMode"),
    gets("RelativeTimePosition", INSTANCE),
)
RENDERING = part(
    "RenderingControl",
    "RenderingControl",
    LAST_CHANGE,
    ranged("Volume:ui2", evented=False),
    quiet("Mute:boolean"),
    quiet("Loudness:boolean"),
    ranged("Brightness:ui2", evented=False),
    quiet("A_ARG_TYPE_PresetName:string", "FactoryDefaults", "Night mode"),
    quiet("A_ARG_TYPE_InstanceID:ui4"),
    quiet("A_ARG_TYPE_Channel:string", "Master", "LF", "RF"),
    *(
        one
        for name in ("Volume", "Mute", "Loudness")
        for one in (gets(name, *BY_CHANNEL), sets(name, *BY_CHANNEL))
    ),
    gets("Brightness", INSTANCE),
    sets("Brightness", INSTANCE),
    does("SelectPreset", "InstanceID:A_ARG_TYPE_InstanceID", "PresetName:A_ARG_TYPE_PresetName"),
)
CONNECTION = part(
    "WANIPConn1",
    "WANIPConnection",
    variable("ConnectionStatus:string", "Connected", "Disconnected"),
    variable("ExternalIPAddress:string"),
    variable("PortMappingNumberOfEntries:ui2"),
    quiet("Uptime:ui4"),
    gets("Uptime"),
    does("RequestConnection"),
    does("ForceTermination"),
)
COMMON = part(
    "WANCommonIFC1",
    "WANCommonInterfaceConfig",
    *(
        one
        for name in ("TotalBytesReceived", "TotalBytesSent", "Layer1DownstreamMaxBitRate")
        for one in (quiet(f"{name}:ui4"), gets(name))
    ),
    variable("PhysicalLinkStatus:string", "Up", "Down"),
)
POWER = part(
    "SwitchPower",
    "SwitchPower",
    variable("Status:boolean"),
    quiet("Target:boolean"),
    sets("Target"),
    gets("Status"),
)
DIMMING = part(
    "Dimming",
    "Dimming",
    ranged("LoadLevelStatus:ui1"),
    ranged("LoadLevelTarget:ui1", evented=False),
    sets("LoadLevelTarget"),
    gets("LoadLevelStatus"),
)
WEMO_EXTRAS = ("Duration", "EndAction", "UDN")


def basic_event(*more: str) -> Service:
    """WeMo's, where SetBinaryState has `more` in-arguments."""
    return part(
        "basicevent1",
        "basicevent",
        variable("BinaryState:Boolean"),
        gets("BinaryState"),
        does("SetBinaryState", "BinaryState:BinaryState", *more),
    )


INSIGHT = part("insight1", "insight", variable("InsightParams:string"), gets("InsightParams"))
UNKNOWN = part(
    "Vendor",
    "X_Vendor",
    variable("Flag:boolean"),
    variable("Switched:boolean"),
    sets("Switched"),
    variable("Mode:string", "slow", "fast"),
    sets("Mode"),
    ranged("Level:i4", -10, 10),
    sets("Level"),
    variable("Label:string"),
    sets("Label"),
    variable("Count:ui4"),
    quiet("NeverTold:ui4"),
    variable("A_ARG_TYPE_Thing:string"),
    does("Reboot"),
    does("GetAnything"),
    does("Wants", "Something"),
)


# Devices


def renderer(udn: str = "R", name: str = "Player") -> Device:
    return replace(
        typed(device(udn, TRANSPORT, RENDERING, name=name), "MediaRenderer"), icons=(ICON,)
    )


def speaker() -> Description:
    """A renderer in a device that does other things, as Denon and Sonos have it."""
    root = device("AIOS", part("GroupControl", "GroupControl"), renderer("AIOS-r", "Kitchen"))
    return described(typed(replace(root, friendly_name="HEOS 1"), "AiosDevice", vendor="vendor"))


def gateway(version: int = 1, connections: int = 2) -> Description:
    """An Internet Gateway Device with several connections to the outside."""
    service_type = f"urn:schemas-upnp-org:service:WANIPConnection:{version}"
    kind = replace(CONNECTION, service_type=service_type)
    inner = [
        device(f"I-conn-{n}", replace(kind, level=f"WANIPConn{n}"), name=f"Connection {n}")
        for n in range(1, connections + 1)
    ]
    wan = device("I-wan", COMMON, *inner, name="WAN device")
    root = typed(device("I", wan, name="Router"), "InternetGatewayDevice")
    return described(replace(root, presentation_url="http://192.0.2.1/"))


def light(*services: Service, kind: str = "DimmableLight", udn: str = "L") -> Description:
    return described(typed(device(udn, *services, name="Lamp"), kind))


def wemo(*services: Service, kind: str = "controllee", udn: str = "W") -> Description:
    return described(typed(device(udn, *services, name="Socket"), kind, vendor="Belkin"))


def unknown(*services: Service, udn: str = "U") -> Description:
    return described(device(udn, *(services or (UNKNOWN,)), name="Thing"))


DEVICES: dict[str, Description] = {
    "renderer": described(renderer()),
    "speaker": speaker(),
    "gateway 1": gateway(1),
    "gateway 2": gateway(2),
    "light": light(POWER, kind="BinaryLight"),
    "dimmable light": light(POWER, DIMMING),
    "switch": light(POWER, DIMMING, kind="SwitchDevice"),
    "socket": wemo(basic_event()),
    "newer socket": wemo(basic_event(*WEMO_EXTRAS)),
    "insight": wemo(basic_event(), INSIGHT, kind="insight"),
    "sensor": wemo(basic_event(), kind="sensor"),
    "unknown": unknown(),
}
