"""async-upnp-client as referee: of a device that keeps to the standard it reads what we read.

What it reads otherwise, or not at all, stands in tables here, each entry with what shows it.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from async_upnp_client import ssdp as library_ssdp
from async_upnp_client.client import UpnpDevice, UpnpRequester, UpnpService, UpnpStateVariable
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import (
    STATE_VARIABLE_TYPE_MAPPING,
    UDA_ACTION_RESPONSE_TIMEOUT,
    HttpRequest,
    HttpResponse,
)
from async_upnp_client.exceptions import UpnpError
from async_upnp_client.profiles import dlna

from bridge.demo import player
from bridge.formats.xml import descendant, local, parse
from bridge.model import dates, topics
from bridge.model.datatypes import _INTEGERS, _READERS, _REALS
from bridge.model.device import Device, Scpd, Service, StateVariable
from bridge.settings import Settings
from bridge.tree.media import STATES
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds
from bridge.upnp.http.http1 import read_head
from bridge.upnp.soap import envelope
from bridge.upnp.ssdp import message as ssdp
from tests.unit.captured import CAPTURES, DEVICES, captured, file_names

Model = dict[str, object]

SENDER = ("192.0.2.7", 1900)


class Captures(UpnpRequester):
    """Answers requests with the documents of one root device, by the path of their URL."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        body = self._documents.get(urlsplit(http_request.url).path)
        return HttpResponse(404 if body is None else 200, {}, (body or b"").decode())


def by_library(location: str, documents: Mapping[str, bytes]) -> UpnpDevice:
    return asyncio.run(UpnpFactory(Captures(documents)).async_create_device(location))


def by_bridge(location: str, documents: Mapping[str, bytes]) -> Device:
    """Read a root device as the bridge does once it has these documents."""
    found = read_description(
        documents[urlsplit(location).path], location, foreign=lambda _: False
    ).device
    scpds: dict[str, Scpd | str] = {}
    for _, service in services(found):
        document = documents.get(urlsplit(service.scpd_url).path)
        scpds[service.scpd_url] = "no SCPD: HTTP 404" if document is None else read_scpd(document)
    return with_scpds(found, scpds)


@cache
def documents_of(name: str) -> Mapping[str, bytes]:
    """Return the description and the SCPDs of a captured root device, by the path of their URL."""
    program, number = name.split("/")
    folder, told = CAPTURES / program, captured(name)
    description = (folder / f"description{number}.xml").read_bytes()
    files = file_names(description, int(number))
    found = {urlsplit(told.location).path: description}
    for device, service in services(told.device):
        own = topics.service_id(topics.device_id(device.udn), service.level)
        path = urlsplit(service.scpd_url).path
        found[path] = (folder / f"{files[own]}.scpd.xml").read_bytes()
    return found


@cache
def at_its_base(name: str) -> str:
    """Return the LOCATION of a captured root device, at its URLBase where it has one."""
    location = captured(name).location
    path = urlsplit(location).path
    told = read_description(documents_of(name)[path], location, foreign=lambda _: False)
    return urljoin(told.base_url, path)


@cache
def library_device(name: str) -> UpnpDevice:
    return by_library(at_its_base(name), documents_of(name))


def services(root: Device) -> Iterator[tuple[Device, Service]]:
    for device in root.walk():
        for service in device.services:
            yield device, service


# Models


def our_model(device: Device) -> Model:
    return {
        "udn": device.udn,
        "type": device.device_type,
        "name": device.friendly_name,
        "manufacturer": device.manufacturer,
        "model": device.model_name,
        "number": device.model_number,
        "serial": device.serial_number,
        "icons": [(one.url, one.mimetype, one.width, one.height) for one in device.icons],
        "services": [our_service(service) for service in device.services],
        "devices": [our_model(below) for below in device.devices],
    }


def our_service(service: Service) -> Model:
    return {
        "id": service.service_id,
        "type": service.service_type,
        "control": service.control_url,
        "event": service.event_url,
        "scpd": service.scpd_url,
        "variables": [
            (
                *(one.name, one.data_type, one.evented, one.default or None),
                *(list(one.allowed_values), one.minimum, one.maximum, one.step),
            )
            for one in service.scpd.variables.values()
        ],
        "actions": [
            (one.name, [(arg.name, str(arg.direction), arg.variable) for arg in one.arguments])
            for one in service.scpd.actions.values()
        ],
    }


def library_model(device: UpnpDevice) -> Model:
    about = device.device_info
    return {
        "udn": about.udn.removeprefix("uuid:"),
        "type": about.device_type,
        "name": about.friendly_name,
        "manufacturer": about.manufacturer or None,
        "model": about.model_name or None,
        "number": about.model_number or None,
        "serial": about.serial_number or None,
        "icons": [(one.url, one.mimetype, one.width, one.height) for one in about.icons],
        "services": [library_service(service) for service in device.services.values()],
        "devices": [library_model(below) for below in device.embedded_devices.values()],
    }


def library_service(service: UpnpService) -> Model:
    return {
        "id": service.service_id,
        "type": service.service_type,
        "control": service.control_url,
        "event": service.event_sub_url,
        "scpd": service.scpd_url,
        "variables": [library_variable(one) for one in service.state_variables.values()],
        "actions": [
            (
                one.name,
                [
                    (arg.name, arg.direction, arg.related_state_variable.name)
                    for arg in one.arguments
                ],
            )
            for one in service.actions.values()
        ],
    }


def library_variable(variable: UpnpStateVariable[Any]) -> tuple[object, ...]:
    info = variable._state_variable_info.type_info
    bounds = info.allowed_value_range
    return (
        *(variable.name, info.data_type, variable.send_events, info.default_value or None),
        [value.strip() for value in info.allowed_values or ()],
        *(bounds.get(which) or None for which in ("min", "max", "step")),
    )


@pytest.mark.parametrize("name", DEVICES)
def test_both_read_the_same_model(name):
    location, documents = at_its_base(name), documents_of(name)
    assert our_model(by_bridge(location, documents)) == library_model(library_device(name))


LIGHT = "light/1"
ODD_DOCUMENTS = {
    # what a device writes, in which of its documents; why the library does not read it
    "a padded data type": (b"<dataType>ui1<", b"<dataType> ui1 <", "no data type of UDA's"),
    "an unknown data type": (b"<dataType>ui1<", b"<dataType>percent<", "no data type of UDA's"),
    "a default that does not fit": (
        b"<dataType>ui1</dataType>",
        b"<dataType>ui1</dataType><defaultValue>full</defaultValue>",
        "a default value is made a Python value at once",
    ),
    "a namespace of its own (WeMo)": (
        b"urn:schemas-upnp-org:device-1-0",
        b"urn:Belkin:device-1-0",
        "elements are found in UPnP's namespace alone",
    ),
    "no name of a related variable": (
        b"<relatedStateVariable>Target<",
        b"<relatedStateVariable>A_ARG_TYPE_Target<",
        "an argument is its variable's",
    ),
    "XML that is not well-formed": (b"</friendlyName>", b" & more</friendlyName>", "expat alone"),
}


@pytest.mark.parametrize("odd", ODD_DOCUMENTS)
def test_the_library_loses_a_device_over_a_detail(odd):
    written, other, _ = ODD_DOCUMENTS[odd]
    location, whole = at_its_base(LIGHT), documents_of(LIGHT)
    documents = {path: document.replace(written, other) for path, document in whole.items()}
    assert documents != whole
    read = by_bridge(location, documents)
    assert counted(read) == counted(by_bridge(location, whole))
    with pytest.raises((UpnpError, ValueError, KeyError)):
        by_library(location, documents)


def test_the_library_loses_a_device_over_an_scpd_that_is_missing():
    location, whole = at_its_base(LIGHT), documents_of(LIGHT)
    documents = dict(list(whole.items())[:-1])
    assert len(by_bridge(location, documents).services) == 2
    with pytest.raises(UpnpError):
        by_library(location, documents)


def test_the_library_keeps_one_of_several_services_of_a_type():
    location, whole = at_its_base(LIGHT), documents_of(LIGHT)
    types = [service.service_type.encode() for service in captured(LIGHT).device.services]
    documents = {path: text.replace(types[1], types[0]) for path, text in whole.items()}
    assert len(by_bridge(location, documents).services) == 2
    assert len(by_library(location, documents).services) == 1


def test_the_library_ignores_url_base():
    """UDA 1.0 has it, 1.1 deprecates it; gmediarender writes it, at another host than asked."""
    name = "gmediarender/1"
    location, documents = captured(name).location, documents_of(name)
    ours = [service.control_url for service in by_bridge(location, documents).services]
    theirs = [one.control_url for one in by_library(location, documents).services.values()]
    assert [urlsplit(url).path for url in ours] == [urlsplit(url).path for url in theirs]
    assert {urlsplit(url).netloc for url in ours} == {"10.77.0.13:49494"}
    assert {urlsplit(url).netloc for url in theirs} == {urlsplit(location).netloc}


def test_the_library_takes_white_space_around_an_allowed_value_for_a_part_of_it():
    """It refuses the value that gmediarender means then."""
    service = library_device("gmediarender/1").services[
        "urn:schemas-upnp-org:service:AVTransport:1"
    ]
    info = service.state_variables["TransportPlaySpeed"]._state_variable_info.type_info
    assert info.allowed_values == ["1", " vendor-defined "]
    ours = captured("gmediarender/1").device.services[0].scpd.variables["TransportPlaySpeed"]
    assert ours.allowed_values == ("1", "vendor-defined")
    with pytest.raises(UpnpError):
        service.actions["Play"].create_request(InstanceID=0, Speed="vendor-defined")


def counted(device: Device) -> list[tuple[int, int]]:
    return [(len(one.scpd.variables), len(one.scpd.actions)) for _, one in services(device)]


# Requests


def text_for(variable: StateVariable) -> str:
    """Return a value that a variable may have, as a device would write it."""
    if variable.allowed_values:
        return variable.allowed_values[0]
    if variable.minimum:
        return variable.minimum
    kind = STATE_VARIABLE_TYPE_MAPPING[variable.data_type]["type"]
    texts: Mapping[object, str] = {int: "7", bool: "1", float: "0.5"}
    return texts.get(kind, "a <b> & \"c\" 'd' ü")


def arguments_in(body: bytes, action: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the element that names the action, and its arguments."""
    root, mended = parse(body)
    element = descendant(root, action)
    assert not mended
    assert element is not None
    return str(element.tag), [(local(one), one.text or "") for one in element]


REQUESTS = [
    pytest.param(name, service.service_id, action, id=f"{name}-{service.service_id[23:]}-{action}")
    for name in DEVICES
    for _, service in services(captured(name).device)
    for action in service.scpd.actions
]


@pytest.mark.parametrize(("name", "service_id", "action_name"), REQUESTS)
def test_both_make_the_same_request(name, service_id, action_name):
    ours = by_bridge(at_its_base(name), documents_of(name))
    device, service = next(one for one in services(ours) if one[1].service_id == service_id)
    action = service.scpd.actions[action_name]
    texts = [(one.name, text_for(service.scpd.variables[one.variable])) for one in action.inputs]
    theirs = next(one for one in library_device(name).all_devices if device.udn in one.udn)
    called = theirs.services[service.service_type].actions[action_name]
    values = {
        argument.name: argument.coerce_python(text)
        for argument, (_, text) in zip(called.in_arguments(), texts, strict=True)
    }
    request = called.create_request(**values)
    body = envelope(service.service_type, action_name, texts)
    assert arguments_in(body, action_name) == arguments_in(
        (request.body or "").encode(), action_name
    )
    assert (request.method, request.url) == ("POST", service.control_url)
    assert request.headers["SOAPAction"] == f'"{service.service_type}#{action_name}"'
    assert request.headers["Content-Type"] == 'text/xml; charset="utf-8"'


# SSDP


def datagrams() -> Iterator[bytes]:
    for path in sorted(CAPTURES.glob("*/*.txt")):
        for datagram in re.split(rb"\r?\n\r?\n", path.read_bytes()):
            if datagram.strip():
                yield datagram + b"\r\n\r\n"


DATAGRAMS = tuple(datagrams())


def test_both_read_the_same_headers():
    assert len(DATAGRAMS) > 100
    for datagram in DATAGRAMS:
        assert library_ssdp.is_valid_ssdp_packet(datagram)
        start_line, headers = library_ssdp.decode_ssdp_packet(datagram, None, SENDER)
        head = read_head(datagram)
        told = {name: value for name, value in headers.as_lower_dict().items() if name[0] != "_"}
        assert (start_line, told) == (head.start_line, head.headers)


ALIVE = next(one for one in DATAGRAMS if b"ssdp:alive" in one)
ANSWER = next(one for one in DATAGRAMS if one.startswith(b"HTTP/1.1 200 OK"))
ODD_DATAGRAMS = {
    # what a device sends instead of what; all of it the bridge reads as if it were right
    "a line end before it": (ALIVE, b"NOTIFY *", b"\r\nNOTIFY *"),
    "200 Ok": (ANSWER, b"200 OK", b"200 Ok"),
    "HTTP/1.0": (ANSWER, b"HTTP/1.1", b"HTTP/1.0"),
    "NOTIFY of HTTP/1.0": (ALIVE, b"HTTP/1.1", b"HTTP/1.0"),
    "a line without a colon": (ALIVE, b"\r\nNT", b"\r\nnot a header\r\nNT"),
    "a line without a name": (ALIVE, b"\r\nNT", b"\r\n: none\r\nNT"),
    "white space before a colon": (ALIVE, b"\r\nNTS:", b"\r\nNTS :"),
    "a folded line": (ALIVE, b" UPnP/1.", b"\r\n UPnP/1."),
    "HOST twice": (ALIVE, b"\r\nNT:", b"\r\nHOST: 239.255.255.250\r\nNT:"),
    "a control character": (ALIVE, b"\r\nNT:", b"\r\nX: \x01\r\nNT:"),
}


@pytest.mark.parametrize("odd", ODD_DATAGRAMS)
def test_the_library_refuses_a_datagram_over_a_detail(odd):
    datagram, written, other = ODD_DATAGRAMS[odd]
    changed = datagram.replace(written, other, 1)
    assert changed != datagram
    assert ssdp.decode(changed) == ssdp.decode(datagram) is not None
    assert not is_taken(changed)


def is_taken(datagram: bytes) -> bool:
    """Return whether the library's protocol would hand a datagram on."""
    try:
        library_ssdp.decode_ssdp_packet(datagram, None, SENDER)
    except BadHttpMessage:
        return False
    return library_ssdp.is_valid_ssdp_packet(datagram)


def test_the_library_reads_bytes_that_are_not_utf_8_as_surrogates():
    datagram = ALIVE.replace(b"\r\nNT:", b"\r\nX: M\xfcller\r\nNT:")
    _, headers = library_ssdp.decode_ssdp_packet(datagram, None, SENDER)
    assert headers["X"] == "M\udcfcller"


def test_the_library_adds_a_second_zone_to_a_location_that_has_one():
    written = re.sub(rb"http://[^/]+/", b"http://[fe80::1%7]:80/", ALIVE)
    sender = ("fe80::1", 1900, 0, 2)
    _, headers = library_ssdp.decode_ssdp_packet(written, None, sender)
    assert headers["location"].startswith("http://[fe80::1%7%2]:80/")
    announcement = ssdp.decode(written)
    assert announcement is not None
    zoned = ssdp.with_zone(announcement, "eth0").location
    assert zoned is not None
    assert zoned.startswith("http://[fe80::1%eth0]:80/")


# Words


def test_both_know_the_same_data_types():
    known = {name.lower() for name in STATE_VARIABLE_TYPE_MAPPING}
    assert _READERS.keys() | dates.TYPES <= known
    integers = {name for name, how in STATE_VARIABLE_TYPE_MAPPING.items() if how["type"] is int}
    reals = {name for name, how in STATE_VARIABLE_TYPE_MAPPING.items() if how["type"] is float}
    assert (set(_INTEGERS), set(_REALS)) == (integers, reals)


def test_both_know_the_same_transport_states():
    assert {*STATES, "VENDOR_DEFINED"} == {state.value for state in dlna.TransportState}


def test_the_demonstration_has_states_and_modes_that_the_library_knows():
    assert {*player.TransportState} <= {state.value for state in dlna.TransportState}
    assert {*player.PlayMode} <= {mode.value for mode in dlna.PlayMode}


def test_an_action_may_take_what_uda_gives_it():
    assert Settings().upnp.action_timeout == UDA_ACTION_RESPONSE_TIMEOUT
