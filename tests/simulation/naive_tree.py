"""The tree as docs/topics.md has it, written from what devices serve: the standard library alone.

Nothing here is shared with the bridge: both agree only where both are right. It tries no more than
honest devices need, and leaves out what hubs are told, and of the bridge all but `state` and
`devices`. No model device is a player, so there is neither `media` nor `art`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urljoin, urlsplit
from xml.etree import ElementTree as ET

_RESERVED = {
    "device": {"bridge", "reply"},
    "service": {"availability", "media", "art", "player", "call", "response", "chunk"},
    "place": {"set", "get", "chunk"},
}
_ABOUT = {
    "device_type": "deviceType",
    "friendly_name": "friendlyName",
    "manufacturer": "manufacturer",
    "manufacturer_url": "manufacturerURL",
    "model_name": "modelName",
    "model_number": "modelNumber",
    "model_description": "modelDescription",
    "model_url": "modelURL",
    "serial_number": "serialNumber",
    "upc": "UPC",
    "presentation_url": "presentationURL",
}
_ROW = ("id", "udn", "device_type", "friendly_name", "manufacturer", "model_name", "location")
_BITS = {"1": 8, "2": 16, "4": 32, "8": 64, "nt": 64}
_REALS = {"r4", "r8", "number", "float", "fixed.14.4"}
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

Tree = dict[str, bytes]
Place = tuple[str, ...]
"""The names of a variable and, of what LastChange tells, its instance and perhaps its channel."""
Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Served:
    """What a device serves.

    `files` by path, `events` what a new subscriber is sent, by the path of the event URL, and
    `answers` the values that it is asked for, by the path of the control URL and by variable.
    """

    location: str
    server: str
    files: Mapping[str, bytes]
    events: Mapping[str, bytes]
    answers: Mapping[str, Mapping[str, str]]


def write(device: Served, *, has_state: bool = True) -> Tree:
    """Return all topics of a device that is online; `has_state`: services have `state` too."""
    root = _parse(device.files[urlsplit(device.location).path])
    writer = _Writer(device, root, has_state=has_state)
    writer.device(_child(root, "device"), None)
    return writer.tree


def row(tree: Tree) -> dict[str, object]:
    """Return what `devices` has of a root device and its tree, without the time."""
    found = [json.loads(body) for topic, body in tree.items() if topic.count("/") == 1]
    root = next(one for one in found if one["kind"] == "device")
    return {name: root[name] for name in _ROW if name in root} | {
        "subdevices": [one["id"] for one in found if one["kind"] == "subdevice"],
        "problems": len(root.get("problems", ())),
        "availability": tree.get(f"upnp/{root['id']}/availability", b"").decode(),
    }


class _Writer:
    def __init__(self, served: Served, root: ET.Element, *, has_state: bool) -> None:
        self.tree: Tree = {}
        self._served = served
        self._has_state = has_state
        self._base = root.findtext("URLBase") or served.location
        self._root = _device_id(_child(root, "device"))
        version = _child(root, "specVersion")
        self._version = f"{version.findtext('major')}.{version.findtext('minor')}"

    def _document(self, own: str, kind: str, parent: str | None, **more: object) -> None:
        fields = {"id": own, "kind": kind, "parent": parent, **more}
        told = {name: value for name, value in fields.items() if value not in (None, "")}
        self.tree[f"upnp/{own}"] = written(told)

    def _url(self, text: str | None) -> str | None:
        return urljoin(self._base, text) if text else None

    def device(self, device: ET.Element, parent: str | None) -> str:
        own = _device_id(device)
        self.tree[f"upnp/{own}/availability"] = b"online"
        children: list[str] = []
        for one in device:
            match one.tag:
                case "serviceList":
                    children += [self._service(inner, own) for inner in one]
                case "deviceList":
                    children += [self.device(inner, own) for inner in one]
        about = {name: device.findtext(tag) for name, tag in _ABOUT.items()}
        about |= {name: self._url(text) for name, text in about.items() if name.endswith("_url")}
        icons = [self._icon(one) for one in device.iterfind("iconList/icon")]
        self._document(
            own,
            "subdevice" if parent else "device",
            parent,
            children=children,
            udn=device.findtext("UDN"),
            **about,
            icons=icons or None,
            root=self._root,
            location=self._served.location,
            server=self._served.server,
            upnp_version=self._version,
            bridge="main",
        )
        return own

    def _icon(self, icon: ET.Element) -> dict[str, object]:
        size = {name: int(icon.findtext(name, "0")) for name in ("width", "height", "depth")}
        url = self._url(icon.findtext("url"))
        return {"url": url, "mimetype": icon.findtext("mimetype"), **size}

    def _service(self, service: ET.Element, device: str) -> str:
        service_id = service.findtext("serviceId", "")
        own = f"{device}/{_level(service_id.rpartition(':serviceId:')[2], 'service')}"
        scpd_url, control_url, event_url = (
            self._url(service.findtext(tag)) for tag in ("SCPDURL", "controlURL", "eventSubURL")
        )
        # A service without SCPD is there, with nothing in it.
        scpd = _parse(self._served.files.get(_path(scpd_url), b"<scpd/>"))
        names = {variable.findtext("name", "") for variable in scpd.iter("stateVariable")}
        children: list[str] = []
        for one in scpd:
            match one.tag:
                case "actionList":
                    children += [self._action(inner, own, names) for inner in one]
                case "serviceStateTable":
                    children += [self._variable(inner, own) for inner in one]
        self._document(
            own,
            "service",
            device,
            children=children,
            service_id=service_id,
            service_type=service.findtext("serviceType"),
            scpd_url=scpd_url,
            control_url=control_url,
            event_url=event_url,
        )
        types = _types(scpd)
        told = dict(_told(self._served.events.get(_path(event_url), b"<none/>")))
        answers = self._served.answers.get(_path(control_url), {})
        told |= {(name,): held for name, held in answers.items()}
        values = {at: read(types.get(at[0], "string"), held) for at, held in told.items()}
        for place, value in values.items():
            self.tree[f"upnp/{own}/value/{levels(place)}"] = text(value).encode()
        if values and self._has_state:
            self.tree[f"upnp/{own}/state"] = written(_state(values))
        return own

    def _action(self, action: ET.Element, service: str, variables: set[str]) -> str:
        name = action.findtext("name", "")
        own = f"{service}/action/{_level(name)}"
        children = []
        for one in action.iterfind("argumentList/argument"):
            argument, variable = one.findtext("name", ""), one.findtext("relatedStateVariable", "")
            children.append(f"{own}/argument/{_level(argument)}")
            self._document(
                children[-1],
                "argument",
                own,
                children=[],
                name=argument,
                direction=one.findtext("direction"),
                variable=f"{service}/variable/{_level(variable)}" if variable in variables else "",
                retval=True if one.find("retval") is not None else None,
            )
        self._document(own, "action", service, children=children, name=name)
        return own

    def _variable(self, variable: ET.Element, service: str) -> str:
        name, data_type = variable.findtext("name", ""), variable.findtext("dataType", "")
        own = f"{service}/variable/{_level(name)}"

        def typed(path: str) -> Value | None:
            held = variable.findtext(path)
            return None if held is None else read(data_type, held)

        self._document(
            own,
            "variable",
            service,
            children=[],
            name=name,
            data_type=data_type,
            evented=variable.get("sendEvents", "yes") == "yes",
            default=typed("defaultValue"),
            allowed_values=[one.text for one in variable.iter("allowedValue")] or None,
            minimum=typed("allowedValueRange/minimum"),
            maximum=typed("allowedValueRange/maximum"),
            step=typed("allowedValueRange/step"),
        )
        return own


# What devices serve


def _parse(text: bytes) -> ET.Element:
    """Read XML, and forget its namespaces."""
    root = ET.fromstring(text)
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
    return root


def _child(parent: ET.Element, name: str) -> ET.Element:
    found = parent.find(name)
    assert found is not None, name
    return found


def _path(url: str | None) -> str:
    return urlsplit(url or "").path


def _device_id(device: ET.Element) -> str:
    return _level(device.findtext("UDN", "").removeprefix("uuid:"), "device")


def _level(name: str, kind: str = "") -> str:
    """Write a name as a topic level."""
    written = quote(name, safe="-_.:~")
    if name in _RESERVED.get(kind, ()):
        written = f"%{ord(name[0]):02X}{name[1:]}"
    return written


def levels(place: Place) -> str:
    """Write what follows `value/` in a topic."""
    variable, *within = place
    return "/".join([_level(variable), *(_level(one, "place") for one in within)])


def _types(scpd: ET.Element) -> dict[str, str]:
    """Return the data types of the variables, by name."""
    found = scpd.iter("stateVariable")
    return {one.findtext("name", ""): one.findtext("dataType", "") for one in found}


def _told(event: bytes) -> Iterator[tuple[Place, str]]:
    """Yield what an event tells: where, and the text."""
    for variable in _parse(event).iterfind("property/*"):
        if variable.tag != "LastChange":
            yield (variable.tag,), variable.text or ""
            continue
        for instance in _parse((variable.text or "").encode()).iter("InstanceID"):
            for inner in instance:
                channel = [inner.attrib["channel"]] if "channel" in inner.attrib else []
                yield (inner.tag, instance.attrib["val"], *channel), inner.attrib["val"]


# Values


def read(data_type: str, text: str) -> Value:
    """Read a text by its data type; what does not fit stays as it is."""
    if data_type == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    if data_type in _REALS:
        if re.fullmatch(r"[+-]?\d+", text, re.ASCII):
            return int(text)
        is_real = re.fullmatch(
            r"[+-]?(\d+\.\d*|\.\d+|\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE
        )
        return float(text) if is_real else text
    if re.fullmatch(r"u?i[1248]|int", data_type) and re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        bits, value = _BITS[data_type.removeprefix("u")[1:]], int(text)
        most = 2 ** (bits if data_type[0] == "u" else bits - 1)
        return value if (0 if data_type[0] == "u" else -most) <= value < most else text
    return text


def text(value: Value) -> str:
    """Write a value as its topic has it."""
    if isinstance(value, float):
        return format(Decimal(str(value)), "f")
    return (
        str(value).lower()
        if isinstance(value, bool)
        else value
        if isinstance(value, str)
        else str(value)
    )


def _state(values: Mapping[Place, Value]) -> dict[str, object]:
    """Return `state` without its time."""
    plain: dict[str, object] = {}
    instances: dict[str, dict[str, object]] = {}
    for place, value in values.items():
        match place:
            case [variable]:
                plain[variable] = value
            case [variable, instance]:
                instances.setdefault(instance, {})[variable] = value
            case [variable, instance, channel]:
                held = instances.setdefault(instance, {}).setdefault(variable, {})
                assert isinstance(held, dict)
                held[channel] = value
    return {"values": plain, "instances": instances}


def places(state: Mapping[str, dict[str, Any]]) -> Iterator[tuple[Place, Value]]:
    """Yield what `state` has, and where."""
    yield from (((name,), held) for name, held in state["values"].items())
    for instance, variables in state["instances"].items():
        for name, held in variables.items():
            if isinstance(held, dict):
                yield from (((name, instance, one), held[one]) for one in held)
            else:
                yield (name, instance), held


def written(value: object) -> bytes:
    """Write JSON as the tree has it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
