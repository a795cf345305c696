"""What the simulated devices say, as bytes."""

from collections.abc import Iterable, Mapping
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

Kind = Literal["small", "lastchange"]

SERVICES = ("AVTransport", "RenderingControl", "ConnectionManager")
SERVICE_OF: dict[Kind, str] = {"small": "ConnectionManager", "lastchange": "AVTransport"}
STAMPED: dict[Kind, str] = {"small": "CurrentConnectionIDs", "lastchange": "CurrentTrackURI"}
"""The variable that tells when its event was sent: microseconds, behind its last `/`."""

_SCHEMA = "urn:schemas-upnp-org"
_DIDL = (
    '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/">'
    '<item id="1" parentID="0" restricted="1">'
    "<dc:title>{title}</dc:title><upnp:artist>An Artist</upnp:artist>"
    "<upnp:class>object.item.audioItem.musicTrack</upnp:class></item></DIDL-Lite>"
)
_RESPONSE = (
    b'<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    b' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>%s</s:Body></s:Envelope>'
)
_RENDERING = b"urn:schemas-upnp-org:service:RenderingControl:1"
SET_VOLUME = _RESPONSE % (b'<u:SetVolumeResponse xmlns:u="%s"/>' % _RENDERING)
GET_VOLUME = _RESPONSE % (
    b'<u:GetVolumeResponse xmlns:u="%s"><CurrentVolume>%%d</CurrentVolume></u:GetVolumeResponse>'
    % _RENDERING
)


def description(udn: str, name: str, services: Iterable[str] = SERVICES) -> str:
    listed = "".join(
        f"<service><serviceType>{_SCHEMA}:service:{one}:1</serviceType>"
        f"<serviceId>urn:upnp-org:serviceId:{one}</serviceId><SCPDURL>/{one}</SCPDURL>"
        f"<controlURL>/{one}</controlURL><eventSubURL>/{one}</eventSubURL></service>"
        for one in services
    )
    return (
        f'<?xml version="1.0"?><root xmlns="{_SCHEMA}:device-1-0">'
        "<specVersion><major>1</major><minor>0</minor></specVersion><device>"
        f"<deviceType>{_SCHEMA}:device:MediaRenderer:1</deviceType>"
        f"<friendlyName>{name}</friendlyName><manufacturer>Fleet</manufacturer>"
        f"<modelName>Simulated renderer</modelName><UDN>uuid:{udn}</UDN>"
        f"<serviceList>{listed}</serviceList></device></root>"
    )


def search_answer(
    udn: str, location: str, max_age_s: int = 1800, more: Mapping[str, object] | None = None
) -> bytes:
    lines = (
        "HTTP/1.1 200 OK",
        f"CACHE-CONTROL: max-age={max_age_s}",
        "EXT:",
        f"LOCATION: {location}",
        "SERVER: Linux UPnP/1.0 fleet/1.0",
        "ST: upnp:rootdevice",
        f"USN: uuid:{udn}::upnp:rootdevice",
        *(f"{name}: {text}" for name, text in (more or {}).items()),
    )
    return "\r\n".join((*lines, "", "")).encode()


def announcements(  # noqa: PLR0913 - what an announcement says
    nts: str,
    udn: str,
    location: str,
    *,
    services: Iterable[str] = SERVICES,
    max_age_s: int = 1800,
    more: Mapping[str, object] | None = None,
) -> list[bytes]:
    """Return a datagram for each row of UDA 2.0, table 1-1."""
    kinds = [f"{_SCHEMA}:service:{one}:1" for one in services]
    targets = ["upnp:rootdevice", f"uuid:{udn}", f"{_SCHEMA}:device:MediaRenderer:1", *kinds]
    rows = []
    for target in targets:
        usn = target if target.startswith("uuid:") else f"uuid:{udn}::{target}"
        lines = (
            "NOTIFY * HTTP/1.1",
            "HOST: 239.255.255.250:1900",
            f"CACHE-CONTROL: max-age={max_age_s}",
            f"LOCATION: {location}",
            "SERVER: Linux UPnP/1.0 fleet/1.0",
            f"NT: {target}",
            f"NTS: ssdp:{nts}",
            f"USN: {usn}",
            *(f"{name}: {text}" for name, text in (more or {}).items()),
        )
        rows.append("\r\n".join((*lines, "", "")).encode())
    return rows


def values(kind: Kind, count: int, stamp_us: int) -> dict[str, str]:
    """Return the variables of an event; of ten in a LastChange, five are as they were before."""
    if kind == "small":
        return {"CurrentConnectionIDs": str(stamp_us)}
    return {
        "TransportState": ("PLAYING", "TRANSITIONING")[count % 2],
        "TransportStatus": "OK",
        "CurrentPlayMode": "NORMAL",
        "NumberOfTracks": "12",
        "CurrentTrack": str(count % 12 + 1),
        "CurrentTrackDuration": f"0:0{count % 7}:30",
        "CurrentTrackURI": f"http://127.0.0.1/music/{stamp_us}",
        "CurrentTrackMetaData": _DIDL.format(title=f"Song {count}"),
        "AVTransportURI": "http://127.0.0.1/music/album.m3u",
        "AVTransportURIMetaData": _DIDL.format(title="An Album"),
    }


def body(kind: Kind, told: dict[str, str]) -> bytes:
    return _propertyset(told if kind == "small" else {"LastChange": _last_change("AVT", told)})


def initial(service: str, told: dict[str, str]) -> bytes:
    """Return what a service says of itself first, `told` being what it said last."""
    match service:
        case "AVTransport":
            still = {"TransportState": "STOPPED"}  # one that plays is asked where it is
            return body("lastchange", values("lastchange", 0, 0) | still | told)
        case "RenderingControl":
            told = {"PresetNameList": "Factory", "Mute/Master": "0", "Volume/Master": "20"}
            return _propertyset({"LastChange": _last_change("RCS", told)})
        case "ContentDirectory":
            return _propertyset({"TransferIDs": "", "SystemUpdateID": "1"} | told)
        case _:
            sinks = ",".join(f"http-get:*:audio/type-{number}:*" for number in range(20))
            own = {"SourceProtocolInfo": "", "SinkProtocolInfo": sinks, "CurrentConnectionIDs": "0"}
            return _propertyset(own | told)


def event(service: str, told: dict[str, str]) -> bytes:
    """Return an event of these variables; `Volume/Master` is a variable with its channel."""
    match service:
        case "AVTransport":
            return body("lastchange", told)
        case "RenderingControl":
            return _propertyset({"LastChange": _last_change("RCS", told)})
        case _:
            return _propertyset(told)


def _last_change(schema: str, told: dict[str, str]) -> str:
    parts = ((*name.partition("/"), text) for name, text in told.items())
    variables = "".join(
        f"<{name}{f' channel={quoteattr(channel)}' if channel else ''} val={quoteattr(text)}/>"
        for name, _, channel, text in parts
    )
    return (
        f'<Event xmlns="urn:schemas-upnp-org:metadata-1-0/{schema}/">'
        f'<InstanceID val="0">{variables}</InstanceID></Event>'
    )


def _propertyset(told: dict[str, str]) -> bytes:
    properties = "".join(
        f"<e:property><{name}>{escape(text)}</{name}></e:property>" for name, text in told.items()
    )
    return (
        f'<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">{properties}</e:propertyset>'
    ).encode()
