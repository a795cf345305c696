"""What devices say, read without the bridge: descriptions, SCPDs, first events, actions.

All of it opens sockets where it is called, so it is to be called by `Lab.call`.
"""

import http.client
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote, urljoin, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

TIMEOUT_S = 5.0
_BOOLEANS = {"1": "true", "0": "false", "true": "true", "false": "false", "yes": "true"}
_NUMBERS = frozenset({"ui1", "ui2", "ui4", "i1", "i2", "i4", "int"})


@dataclass(frozen=True, slots=True)
class Component:
    """What the document of a component must say: ids are topics without the base."""

    kind: str
    name: str
    parent: str | None
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RawService:
    """A service: its URLs, and the data types of its state variables and those that are evented."""

    id: str
    service_type: str
    control_url: str
    event_url: str
    types: Mapping[str, str]
    evented: frozenset[str]
    actions: frozenset[str]


@dataclass(frozen=True, slots=True)
class RawDevice:
    """A root device: every component by id, and its services by id."""

    location: str
    id: str
    device_type: str
    components: Mapping[str, Component]
    services: Mapping[str, RawService]
    icon: str | None
    """The URL of its widest icon, of the deepest of these."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids of the root and of the embedded devices."""
        return tuple(own for own, one in self.components.items() if "device" in one.kind)


def level(name: str) -> str:
    """Write a name as a topic level."""
    return quote(name, safe="-_.:~")


def fetch(url: str) -> bytes:
    """Read what is at a URL."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as answer:
        return bytes(answer.read())


def read_device(location: str) -> RawDevice:
    """Read the description of a root device and all its SCPDs."""
    root = _tree(fetch(location))
    base = _text(root, "URLBase") or location
    device = root.find("device")
    assert device is not None
    components: dict[str, Component] = {}
    services: dict[str, RawService] = {}
    own = _read_device(device, None, base, components, services)
    icons = sorted(
        ((int(_text(one, "width")), int(_text(one, "depth"))), urljoin(base, _text(one, "url")))
        for one in device.iterfind("iconList/icon")
    )
    icon = icons[-1][1] if icons else None
    return RawDevice(location, own, _text(device, "deviceType"), components, services, icon)


def _read_device(
    device: ET.Element,
    parent: str | None,
    base: str,
    components: dict[str, Component],
    services: dict[str, RawService],
) -> str:
    own = level(_text(device, "UDN").removeprefix("uuid:"))
    kind = "device" if parent is None else "subdevice"
    name = _text(device, "friendlyName")
    components[own] = Component(kind, name, parent, ())
    children = []
    for one in device:
        if one.tag == "serviceList":
            children += [_read_service(service, own, base, components, services) for service in one]
        elif one.tag == "deviceList":
            children += [_read_device(inner, own, base, components, services) for inner in one]
    components[own] = Component(kind, name, parent, tuple(children))
    return own


def _read_service(
    service: ET.Element,
    device: str,
    base: str,
    components: dict[str, Component],
    services: dict[str, RawService],
) -> str:
    service_id = _text(service, "serviceId")
    own = f"{device}/{level(service_id.rpartition(':serviceId:')[2])}"
    scpd = _tree(fetch(urljoin(base, _text(service, "SCPDURL"))))
    children, types, evented, actions = [], {}, set(), set()
    for one in scpd.iter():
        name = _text(one, "name")
        if one.tag == "action":
            actions.add(name)
            children.append(f"{own}/action/{level(name)}")
            names = dict.fromkeys(_text(argument, "name") for argument in one.iter("argument"))
            arguments = {f"{children[-1]}/argument/{level(inner)}": inner for inner in names}
            components[children[-1]] = Component("action", name, own, tuple(arguments))
            for argument, inner in arguments.items():
                components[argument] = Component("argument", inner, children[-1], ())
        elif one.tag == "stateVariable":
            types[name] = _text(one, "dataType")
            if one.get("sendEvents", "yes") == "yes":
                evented.add(name)
            children.append(f"{own}/variable/{level(name)}")
            components[children[-1]] = Component("variable", name, own, ())
    components[own] = Component("service", service_id, device, tuple(children))
    services[own] = RawService(
        own,
        _text(service, "serviceType"),
        urljoin(base, _text(service, "controlURL")),
        urljoin(base, _text(service, "eventSubURL")),
        types,
        frozenset(evented),
        frozenset(actions),
    )
    return own


def first_event(service: RawService, own_address: str) -> Mapping[str, str]:
    """Subscribe once, and give what the first event says: value topics without the base, texts.

    Raises TimeoutError where none comes.
    """
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S  # minidlna connects, and says nothing

        def do_NOTIFY(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((own_address, 0), Receiver) as server:
        server.timeout = TIMEOUT_S
        sid = _subscribe(service.event_url, f"http://{own_address}:{server.server_port}/")
        try:
            server.handle_request()
        finally:
            _subscription("UNSUBSCRIBE", service.event_url, SID=sid)
    if not bodies:
        raise TimeoutError(f"no event of {service.id}")
    return dict(_values(service, bodies[0]))


def _subscribe(url: str, callback: str) -> str:
    headers = {"CALLBACK": f"<{callback}>", "NT": "upnp:event", "TIMEOUT": "Second-300"}
    return _subscription("SUBSCRIBE", url, **headers)


def _subscription(method: str, url: str, **headers: str) -> str:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request(method, parts.path or "/", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, f"{method} {url}: {answer.status}"
        return answer.getheader("SID", "")
    finally:
        connection.close()


def _values(service: RawService, body: bytes) -> Iterator[tuple[str, str]]:
    for one in _tree(body).iter("property"):
        for variable in one:
            text = variable.text or ""
            if variable.tag != "LastChange":
                yield f"{service.id}/value/{variable.tag}", written(service, variable.tag, text)
                continue
            for instance in _tree(text.encode()).iter("InstanceID"):
                for inner in instance:
                    place = f"{service.id}/value/{inner.tag}/{instance.get('val')}"
                    if channel := inner.get("channel"):
                        place += f"/{channel}"
                    yield place, written(service, inner.tag, inner.get("val", ""))


def written(service: RawService, variable: str, text: str) -> str:
    """Write a value as its topic has it."""
    match service.types.get(variable):
        case "boolean":
            return _BOOLEANS.get(text.lower(), text)
        case name if name in _NUMBERS:
            return str(int(text)) if text.lstrip("-").isdigit() else text
        case _:
            return text


def invoke(service: RawService, action: str, arguments: Mapping[str, object]) -> dict[str, str]:
    """Carry out an action; give its out-arguments as texts. Raises HTTPError for faults."""
    inner = "".join(f"<{name}>{escape(str(text))}</{name}>" for name, text in arguments.items())
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{service.service_type}">{inner}</u:{action}>'
        "</s:Body></s:Envelope>"
    )
    headers = {
        "Content-Type": 'text/xml; charset="utf-8"',
        "SOAPAction": f'"{service.service_type}#{action}"',
    }
    request = urllib.request.Request(service.control_url, body.encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        for one in _tree(answer.read()).iter(f"{action}Response"):
            return {inner.tag: inner.text or "" for inner in one}
    raise AssertionError(f"no answer to {action}")


def tcp_answers(address: str, port: int) -> bool:
    """Tell whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address, port)) == 0


def _tree(text: bytes) -> ET.Element:
    """Read XML, and forget its namespaces."""
    root = ET.fromstring(text.strip())
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
    return root


def _text(parent: ET.Element, name: str) -> str:
    return (parent.findtext(name) or "").strip()
