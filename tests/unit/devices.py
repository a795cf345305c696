"""Descriptions for tests, built from a few words."""

from bridge.model import topics
from bridge.model.device import (
    Action,
    Argument,
    Description,
    Device,
    Direction,
    Scpd,
    Service,
    StateVariable,
)


def scpd(*variables: str, actions: tuple[Action, ...] = ()) -> Scpd:
    """Variables are written `name:type`."""
    members = [
        StateVariable(name, data_type)
        for name, _, data_type in (variable.partition(":") for variable in variables)
    ]
    return Scpd.of((*actions, *members))


def service(name: str, content: Scpd, *, evented: bool = True) -> Service:
    return Service(
        service_id=f"urn:upnp-org:serviceId:{name}",
        service_type=f"urn:schemas-upnp-org:service:{name}:1",
        level=topics.encode_level(name),
        scpd_url=f"http://192.0.2.1/{name}.xml",
        control_url=f"http://192.0.2.1/{name}/control",
        event_url=f"http://192.0.2.1/{name}/event" if evented else None,
        scpd=content,
    )


def device(udn: str, *children: Service | Device, name: str = "A device") -> Device:
    return Device(
        udn=udn,
        device_type="urn:schemas-upnp-org:device:Test:1",
        friendly_name=name,
        children=children,
    )


def described(root: Device, location: str = "http://192.0.2.1/d.xml") -> Description:
    return Description(root, location, "1.0", "Test/1 UPnP/1.0")


SET_VOLUME = Action(
    "SetVolume",
    (
        Argument("InstanceID", Direction.IN, "A_ARG_TYPE_InstanceID"),
        Argument("Channel", Direction.IN, "A_ARG_TYPE_Channel"),
        Argument("DesiredVolume", Direction.IN, "Volume"),
    ),
)

RENDERING_CONTROL = Scpd.of(
    (
        SET_VOLUME,
        StateVariable("LastChange", "string"),
        StateVariable("Volume", "ui2", evented=False, minimum="0", maximum="100", step="1"),
        StateVariable("Mute", "boolean", evented=False),
        StateVariable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
        StateVariable("A_ARG_TYPE_Channel", "string", evented=False, allowed_values=("Master",)),
    )
)


def renderer(udn: str = "Renderer-1") -> Description:
    return described(device(udn, service("RenderingControl", RENDERING_CONTROL)))


def router(udn: str = "Router-1") -> Description:
    wan = service("WANIPConn1", scpd("ExternalIPAddress:string", "PortMappingNumberOfEntries:ui2"))
    inner = device(f"{udn}-wan", device(f"{udn}-conn", wan))
    return described(device(udn, service("L3F", scpd("DefaultConnectionService:string")), inner))
