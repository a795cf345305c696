"""What devices send, as targets."""

import asyncio
import atexit
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import cache
from html import escape
from typing import cast

from bridge.errors import BadResponse, CommandError, DescriptionError
from bridge.formats import decoding, jsontext, xml
from bridge.formats.url import split_url
from bridge.formats.xml import XmlError
from bridge.model import datatypes, topics
from bridge.model.action_call import ActionCall
from bridge.model.device import Key, StateVariable
from bridge.mqtt.url import parse_url
from bridge.requests import envelope, value_request
from bridge.requests.envelope import Envelope
from bridge.requests.value_request import ValueRequest
from bridge.tree import media as media_document
from bridge.upnp import soap as soap_messages
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds
from bridge.upnp.gena import multicast
from bridge.upnp.gena.event_body import read_properties
from bridge.upnp.gena.notify_server import Notify, NotifyServer, _Connection
from bridge.upnp.gena.subscription import granted_s
from bridge.upnp.http.client import _Exchange
from bridge.upnp.ssdp import message as ssdp
from tests.fuzz.world import (
    LOCATION,
    mirror,
    strict_json,
    tell,
)
from tests.unit import kinds
from tests.unit.devices import described, device


def ssdp_datagram(data: bytes) -> None:
    found = ssdp.decode(data)
    if found is not None:
        assert 0 < len(found.udn) <= 255
        assert 10 <= found.max_age_s <= 86400
        assert found.location or found.kind in (ssdp.Kind.UPDATE, ssdp.Kind.BYEBYE)
        assert ssdp.with_zone(found, "eth0").kind is found.kind
        topics.udn_key(topics.bare_udn(found.udn))


def multicast_event(data: bytes) -> None:
    found = multicast.decode(data)
    if found is not None:
        assert 0 < len(found.udn) <= 255
        assert found.service_id
        tell(found.properties)


def http_answer(data: bytes) -> None:
    """Read an answer as the client does, in pieces of a size that the first byte says."""
    if not data:
        return
    ended: Future[None] = Future()
    exchange = _Exchange(cast("asyncio.Future[None]", ended), 10_000, head_only=bool(data[0] & 128))
    size = data[0] & 127 or len(data)
    for at in range(1, len(data), size):
        exchange.data_received(data[at : at + size])
    if not ended.done():
        exchange.connection_lost(None)
    assert ended.done()
    with suppress(BadResponse):
        answer = exchange.response()
        assert 200 <= answer.status <= 999
        assert len(answer.body) <= 10_000
        granted_s(answer.headers.get("timeout"), 300)


def url(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):
        found = split_url(text)
        assert found.target.startswith("/")
        assert found.target.isascii()
        assert found.target.isprintable()
        assert 0 < found.port < 65536
    with suppress(ValueError):
        str(parse_url(text))


class _Transport:
    """What a connection writes to; nothing leaves."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return "192.0.2.7", 1

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def notify(data: bytes) -> None:
    """Read NOTIFYs as the server does, in pieces of a size that the first byte says."""
    if data:
        _loop().run_until_complete(_notify(data[0], data[1:]))


async def _notify(size: int, data: bytes) -> None:
    server = NotifyServer("127.0.0.1", 0)
    bodies: list[bytes] = []

    def receive(notify: Notify) -> bool:
        bodies.append(notify.body)
        return True

    server.receivers["token"] = receive
    connection, transport = _Connection(server), _Transport()
    connection.connection_made(cast("asyncio.Transport", transport))
    size = size or max(1, len(data))
    for at in range(0, len(data), size):
        if not transport.is_closed:
            connection.data_received(data[at : at + size])
    if not transport.is_closed:
        connection.eof_received()
    connection.connection_lost(None)
    assert sum(map(len, bodies)) <= len(data)
    assert transport.written.count(b"HTTP/1.1 200") >= len(bodies)
    for body in bodies[:2]:
        properties(body)


def document(data: bytes) -> None:
    """Read XML, and bytes that may be any text: all that comes out is text."""
    for one in (decoding.decoded(data), decoding.decoded(data[1:], data[:1].decode("latin-1"))):
        one.encode()
        xml.unescaped(one).encode()
    with suppress(xml.XmlError):
        root, _ = xml.parse(data)
        for element in root.iter():
            names = (xml.local(element), *map(str, element.attrib.keys()))
            texts = (element.text or "", element.tail or "", *map(str, element.attrib.values()))
            "".join((*names, *texts)).encode()
        with suppress(xml.XmlError):
            xml.inner(root).encode()


def description(data: bytes) -> None:
    try:
        found = read_description(data, LOCATION, foreign=lambda _: True)
    except DescriptionError:
        return
    mirror(found)


def scpd(data: bytes) -> None:
    try:
        found = read_scpd(data)
    except DescriptionError:
        return
    whole = with_scpds(device("D", replace(kinds.TRANSPORT, scpd_url="s")), {"s": found})
    assert len(whole.problems) <= 50
    mirror(described(whole))
    for name, variable in found.variables.items():
        for text in (variable.default or "", variable.minimum or "", *variable.allowed_values[:3]):
            datatypes.read(variable.data_type, text)
            with suppress(ValueError):
                datatypes.soap(variable, datatypes.from_text(variable.data_type, text), check=True)
        with suppress(CommandError):
            request, _ = value_request.as_call(ValueRequest("AVTransport", name, text="1"), whole)
            envelope.resolve(request, whole, default_timeout_s=1, read_only=False)


def properties(data: bytes) -> None:
    with suppress(XmlError):
        tell(read_properties(data))


def last_change(data: bytes) -> None:
    tell([("LastChange", data.decode("utf-8", "replace"))])


def didl(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    fields = media_document.summary(
        {Key("CurrentTrackMetaData", "0"): text}, {}, StateVariable("Volume", "ui2"), LOCATION
    )
    strict_json(jsontext.encode(fields))


def media(data: bytes) -> None:
    """Every text that `media` is made of but metadata, which is `didl`'s."""
    text = data.decode("utf-8", "replace")
    variable = StateVariable("Volume", "i2", minimum=text, maximum="100", allowed_values=(text,))
    told = ("CurrentTrackURI", "CurrentTrackDuration", "CurrentTrack", "CurrentPlayMode")
    radio = f"<DIDL-Lite><item><streamContent>{escape(text)}</streamContent></item></DIDL-Lite>"
    fields = media_document.summary(
        {Key(name, "0"): text for name in told} | {Key("CurrentTrackMetaData", "0"): radio},
        {
            Key(name, "0", one): text
            for name in ("Volume", "Mute")
            for one in ("Master", "LF", text)
        },
        variable,
        LOCATION,
        variable,
    )
    strict_json(jsontext.encode(fields))


def soap(data: bytes) -> None:
    status = 500 if data[:1] == b"\xff" else 200
    service, found = kinds.TRANSPORT, kinds.TRANSPORT.scpd.actions["GetRelativeTimePosition"]
    for action in ("GetRelativeTimePosition", "Browse"):
        try:
            outputs = [argument.name for argument in found.outputs] if action != "Browse" else []
            texts = soap_messages.read_answer(status, data, action, outputs)
        except CommandError as error:
            answer = envelope.failure(Envelope({}), error)
        else:
            out, retval = envelope.typed_outputs(found, service, texts)
            call = ActionCall(service, found, (), 1)
            answer = envelope.success(Envelope({}), call, out, retval, elapsed_ms=1)
            with suppress(CommandError):
                soap_messages.envelope(service.service_type, action, tuple(texts.items()))
        strict_json(jsontext.encode(answer))
