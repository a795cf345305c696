"""Put a simulated root device on the loopback interface: description, control and eventing.

async-upnp-client's server parts do the work. Its `UpnpServer` is not among them: it speaks SSDP on
every interface, needs to be told a free port, and leaves connections open at the end. Where its
handlers depart from the UPnP Device Architecture, their public hooks put it right here.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from aiohttp import web
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import DeviceInfo, HttpRequest, ServiceInfo
from async_upnp_client.exceptions import UpnpError, UpnpValueError
from async_upnp_client.server import (
    EventSubscriber,
    UpnpServerDevice,
    UpnpServerService,
    UpnpXmlSerializer,
    action_handler,
    subscribe_handler,
    unsubscribe_handler,
)

from bridge.demo import pictures
from bridge.demo.announcer import Advertiser
from bridge.demo.music import Album


class Fault(Exception):
    """What an action answers instead of its out-arguments: a UPnP error code and its text."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description


def service_info(service_type: str) -> ServiceInfo:
    """Name a service and its URLs after its type, such as `SwitchPower:1`."""
    name = service_type.partition(":")[0]
    return ServiceInfo(
        service_id=f"urn:upnp-org:serviceId:{name}",
        service_type=f"urn:schemas-upnp-org:service:{service_type}",
        control_url=f"/{name}/control",
        event_sub_url=f"/{name}/event",
        scpd_url=f"/{name}/scpd.xml",
        xml=ET.Element("service"),
    )


def device_info(device_type: str, friendly_name: str, udn: str) -> DeviceInfo:
    """Describe a device of this type, such as `DimmableLight:1`."""
    return DeviceInfo(
        device_type=f"urn:schemas-upnp-org:device:{device_type}",
        friendly_name=friendly_name,
        manufacturer="upnp2mqtt",
        manufacturer_url=None,
        model_description="Simulated device",
        model_name=f"Demo {device_type.partition(':')[0]}",
        model_number="1",
        model_url=None,
        serial_number=None,
        udn=udn,
        upc=None,
        presentation_url=None,
        url="/device.xml",
        icons=pictures.icons(device_type),
        xml=ET.Element("device"),
    )


class Service(UpnpServerService):
    """A service whose events and faults follow the UPnP Device Architecture."""

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self._subscriptions: dict[str, EventSubscriber] = {}
        self._sent: dict[str, str] = {}
        self._sending = asyncio.Lock()

    def set(self, **values: object) -> None:
        """Give state variables new values; evented ones are then sent."""
        for name, value in values.items():
            self.state_variable(name).value = value

    def get(self, name: str) -> Any:  # noqa: ANN401 -- the variable's data type says which
        """Read a state variable, in Python's type."""
        return self.state_variable(name).value

    def evented(self) -> dict[str, str]:
        """Read every evented variable, as UPnP writes it."""
        return {v.name: v.upnp_value for v in self.state_variables.values() if v.send_events}

    def initial(self) -> dict[str, str]:
        """Make the first event of a subscription (section 4.3.1)."""
        return self.evented()

    async def async_handle_action(self, action_name: str, **kwargs: Any) -> Any:  # noqa: ANN401 -- the library's signature
        """Carry out an action; raises `Fault`, so that the fault keeps its description."""
        try:
            return await super().async_handle_action(action_name, **kwargs)
        except UpnpValueError as error:
            raise Fault(601, "Argument Value Out of Range") from error
        except UpnpError as error:
            raise Fault(402, "Invalid Args") from error

    def add_subscriber(self, subscriber: EventSubscriber) -> None:
        """Keep a subscription; the library does so after its first event, and misses others."""
        self._subscriptions[subscriber.uuid] = subscriber

    def get_subscriber(self, sid: str) -> EventSubscriber | None:
        """Find a subscription that has not expired; the library's SID lacks its `uuid:`."""
        now = datetime.now()  # noqa: DTZ005 -- the library's expiration is local time too
        live = {key: one for key, one in self._subscriptions.items() if one.expiration > now}
        self._subscriptions = live
        return live.get(sid.removeprefix("uuid:"))

    def del_subscriber(self, sid: str) -> bool:
        """End a subscription; False if there is none."""
        return self._subscriptions.pop(sid.removeprefix("uuid:"), None) is not None

    async def async_send_events(self, subscriber: EventSubscriber | None = None) -> None:
        """Send all values to a new subscriber, or to every one what changed since the last time.

        The library sends all variables each time, in Python's spelling, and lets one event
        overtake another.
        """
        async with self._sending:
            if subscriber:
                self.add_subscriber(subscriber)
                await self._notify(subscriber, self.initial())
                return
            values = self.evented()
            changed = {k: value for k, value in values.items() if value != self._sent.get(k)}
            self._sent = values
            self.get_subscriber("")  # drops those that have expired
            if changed:
                await asyncio.gather(
                    *(self._notify(one, changed) for one in self._subscriptions.values())
                )

    async def _notify(self, subscriber: EventSubscriber, values: Mapping[str, str]) -> None:
        properties = ET.Element("e:propertyset", {"xmlns:e": "urn:schemas-upnp-org:event-1-0"})
        for name, value in values.items():
            ET.SubElement(ET.SubElement(properties, "e:property"), name).text = value
        headers = {
            "CONTENT-TYPE": 'text/xml; charset="utf-8"',
            "NT": "upnp:event",
            "NTS": "upnp:propchange",
            "SID": f"uuid:{subscriber.uuid}",
            "SEQ": str(subscriber.get_next_seq()),
        }
        body = ET.tostring(properties, encoding="unicode")
        with suppress(UpnpError):  # a subscriber that does not answer stays until it expires
            await self.requester.async_http_request(
                HttpRequest("NOTIFY", subscriber.url, headers, body)
            )


_S = TypeVar("_S", bound=Service)


@dataclass(frozen=True, slots=True)
class File:
    """What is served beside the documents, made when it is asked for."""

    content_type: str
    make: Callable[[], bytes]


def cover_files(albums: Iterable[Album]) -> Mapping[str, File]:
    """Return the covers of these albums by their paths."""
    return {
        album.cover: File("image/png", partial(pictures.cover, album.number)) for album in albums
    }


class RootDevice(UpnpServerDevice):
    """A root device with a life of its own."""

    EMBEDDED_DEVICES: Sequence[type[UpnpServerDevice]] = ()

    def part(self, kind: type[_S]) -> _S:
        """Find the service of this kind, here or in an embedded device."""
        return next(service for service in self.all_services if isinstance(service, kind))

    def files(self) -> Mapping[str, File]:
        """Return its files by their paths: its icons."""
        kind = self.device_type.partition(":device:")[2]
        return {
            one.url: File(one.mimetype, partial(pictures.icon, kind, one.width))
            for one in pictures.icons(kind)
        }

    async def run(self) -> None:
        """Live through the device's timeline, until cancelled."""
        raise NotImplementedError


async def _control(service: Service, request: web.Request) -> web.StreamResponse:
    try:
        return await action_handler(service, request)
    except Fault as error:
        fault = error
    except web.HTTPBadRequest as error:  # the library's answer would be no SOAP fault
        unknown = error.reason == "InvalidAction"
        fault = Fault(401, "Invalid Action") if unknown else Fault(402, "Invalid Args")
    except ValueError:  # an argument that is no number
        fault = Fault(402, "Invalid Args")
    return web.Response(
        status=500,
        content_type="text/xml",
        charset="utf-8",
        text='<?xml version="1.0"?>\n'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><s:Fault>'
        "<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        '<UPnPError xmlns="urn:schemas-upnp-org:control-1-0">'
        f"<errorCode>{fault.code}</errorCode>"
        f"<errorDescription>{fault.description}</errorDescription>"
        "</UPnPError></detail></s:Fault></s:Body></s:Envelope>",
    )


async def _subscribe(service: Service, request: web.Request) -> web.StreamResponse:
    callback = request.headers.get("CALLBACK")
    if callback and not _is_loopback(callback.strip("<>")):
        return web.Response(status=412)  # an event to elsewhere would leave the loopback interface
    return await subscribe_handler(service, request)


def _is_loopback(url: str) -> bool:
    try:
        return ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False


async def _complete_grant(request: web.Request, response: web.StreamResponse) -> None:
    """Write SID and TIMEOUT as section 4.1.2 has them; the library gives bare values."""
    if request.method == "SUBSCRIBE" and "SID" in response.headers:
        response.headers["SID"] = f"uuid:{response.headers['SID']}"
        response.headers["TIMEOUT"] = f"Second-{response.headers['TIMEOUT']}"


def _document(thing: UpnpServerDevice | Service) -> bytes:
    """Write a description or SCPD, the same at every start and without empty elements."""
    root = UpnpXmlSerializer.to_xml(thing)
    for parent in root.iter():
        for child in list(parent):
            if not len(child) and not child.text:
                parent.remove(child)
        if parent.tag == "allowedValueList":  # the library keeps a set
            parent[:] = sorted(parent, key=lambda allowed: allowed.text or "")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _application(device: RootDevice) -> web.Application:
    app = web.Application()
    app.on_response_prepare.append(_complete_grant)

    async def document(body: bytes, _request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/xml", charset="utf-8")

    async def content(file: File, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(file.make)
        return web.Response(body=body, content_type=file.content_type)

    for path, file in device.files().items():
        app.router.add_get(path, partial(content, file))
    app.router.add_get(device.device_url, partial(document, _document(device)))
    for service in device.all_services:
        if not isinstance(service, Service):
            raise TypeError(service)
        info = service.SERVICE_DEFINITION
        app.router.add_get(info.scpd_url, partial(document, _document(service)))
        app.router.add_post(info.control_url, partial(_control, service))
        app.router.add_route("SUBSCRIBE", info.event_sub_url, partial(_subscribe, service))
        app.router.add_route(
            "UNSUBSCRIBE", info.event_sub_url, partial(unsubscribe_handler, service)
        )
    return app


_D = TypeVar("_D", bound=RootDevice)


@asynccontextmanager
async def serve(kind: type[_D], host: str) -> AsyncIterator[_D]:
    """Put a device of this kind on the network, on a free port, until the block ends.

    `host` is an IPv4 address of the loopback interface; ValueError if it is another.
    """
    if not ip_address(host).is_loopback:
        raise ValueError(f"{host} is not on the loopback interface")
    listener = socket.create_server((host, 0))
    base_uri = f"http://{host}:{listener.getsockname()[1]}"
    device = kind(AiohttpRequester(timeout=2), base_uri, boot_id=int(time.time()))
    runner = web.AppRunner(_application(device), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        async with Advertiser(device, host):
            yield device
    finally:
        await runner.cleanup()
