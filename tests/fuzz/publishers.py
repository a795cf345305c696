"""What publishers, brokers and people write, as targets."""

from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError

from bridge.errors import CommandError
from bridge.formats import jsontext
from bridge.formats.bodies import written
from bridge.model import datatypes, topics
from bridge.model.device import Key, StateVariable
from bridge.requests import envelope as commands
from bridge.requests import value_request
from bridge.requests.envelope import BadEnvelope
from bridge.requests.reply_topics import reply_allowed
from bridge.requests.value_request import ValueRequest
from bridge.settings import Settings
from bridge.support.redaction import redact
from bridge.tree import media as player
from bridge.tree import reading
from bridge.tree.messages import Message, Publication
from bridge.upnp import soap
from tests.fuzz.world import (
    BASE,
    LIMIT,
    LIMITS,
    PLAYER,
    open_router,
    pairs,
    publish_all,
    strict_json,
    with_player,
)
from tests.unit.captured import captured

_PLACES = (
    "P/call",
    "P/AVTransport/action/Play/call",
    "P/RenderingControl/value/Volume/set",
    "P/RenderingControl/value/Volume/0/Master/set",
    "P/AVTransport/value/TransportState/get",
    "bridge/main/request/announce",
)


def command(data: bytes) -> None:
    """A message: the first byte says where, or else the topic is before the first line end."""
    router, player = with_player(), PLAYER.device
    number, payload = (data[0], data[1:]) if data else (0, data)
    if number < 2 * len(_PLACES):
        own = _PLACES[number // 2]
    else:
        topic, _, payload = payload.partition(b"\n")
        own = topic.decode("utf-8", "replace")

    def call(message: Message, _: str, make: Any, read: Any = None) -> None:
        envelope = None
        try:
            envelope = commands.read_command(
                message.payload, is_retained=message.retain, max_bytes=100_000, read=read
            )
            request = make(envelope)
            if isinstance(request, ValueRequest):
                request, _accessor = value_request.as_call(request, player)
            made = commands.resolve(request, player, default_timeout_s=30, read_only=False)
        except CommandError as error:
            envelope = error.envelope if isinstance(error, BadEnvelope) else envelope
            answer = commands.failure(envelope, error)
        else:
            soap.envelope(made.service.service_type, made.action.name, made.arguments)
            assert 0 < made.timeout_s <= commands.MAX_TIMEOUT_S
            answer = commands.success(envelope, made, {}, None, elapsed_ms=1)
        strict_json(jsontext.encode(answer))
        if envelope and envelope.reply_to:
            reply_allowed(envelope.reply_to, BASE, ["#", "a/+"])

    def verb(message: Message, _: str, topic: str) -> None:
        assert topic.startswith(f"{BASE}/bridge/main/response/")
        with suppress(CommandError):
            commands.read_command(message.payload, is_retained=message.retain, max_bytes=LIMIT)

    dispatch = router.receiving(call, verb)
    dispatch.receive(Message(f"{BASE}/{own}", payload, retain=bool(number & 1)))


def level(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for reserved in (frozenset[str](), topics._AT_VALUE):
        encoded = topics.encode_level(text, reserved)
        assert topics.decode_level(encoded) == text
        assert not set("/+#\0 ") & set(encoded)
    topics.is_mirrored(text)
    names = (*text.split("/"), None, None)[:3]
    own = topics.value_id("D/S", str(names[0]), names[1], names[2])
    if names[1] is not None or names[2] is None:
        assert topics.read_value_id("D/S", own) == names
    ids = text.split("\n")[:64]
    levels = list(topics.service_levels(ids))
    assert len(set(levels)) == len(ids)
    reply_allowed(text, BASE, ids)


def retained_tree(data: bytes) -> None:
    """What a broker holds: topics below the base and payloads in turn, a NUL behind each."""
    held = pairs(data)
    router = open_router({})
    topics_read = [one for piece in reading.pieces(router.shape, held) for one in piece]
    topics_read += [one for piece in reading.hub_pieces(router.shape, held) for one in piece]
    for one in topics_read:
        plain = one.removesuffix("/#").removesuffix("/+")
        fault = LIMITS.fault(Publication(plain, b""))
        assert fault is None, (fault, one)
    router = open_router(held)
    publish_all(router)
    router.device_joined(captured("light/1"), "new")
    publish_all(router)


def neighbour(data: bytes) -> None:
    router = with_player()
    for topic, payload in pairs(data).items():
        router.ownership.receive(Message(topic, payload, retain=False))
        router.hub_started(Message(topic, payload, retain=False))
    router.instances.answers_elsewhere("D")
    publish_all(router)


def redaction(data: bytes) -> None:
    """A message as it was captured: its head up to the blank line, and its body."""
    head, _, body = data.partition(b"\r\n\r\n")
    text = data.decode("utf-8", "replace")
    document = {
        "messages": [{"head": head.decode("latin-1"), "body": written(body)}],
        "state": {"values": {"head": 1, "body": text}, "friendly_name": text[:40]},
    }
    once = redact(document)
    strict_json(jsontext.encode(once))


_TYPES: Final = (
    *("ui1", "ui2", "i8", "int", "r4", "number", "fixed.14.4", "char", "string", "boolean"),
    *("bin.hex", "bin.base64", "uuid", "dateTime", " UI4 ", "", "date", "time", "time.tz"),
    "dateTime.tz",
)


def value(data: bytes) -> None:
    if not data:
        return
    data_type = _TYPES[data[0] % len(_TYPES)]
    text = data[1:].decode("utf-8", "replace")
    found = datatypes.read(data_type, text)
    strict_json(jsontext.encode({"v": found}))
    assert datatypes.read(data_type, datatypes.write(found)) == found
    low, _, high = text.partition(" ")
    variable = StateVariable("X", data_type, minimum=low, maximum=high, allowed_values=(low,))
    for one in (text, found, datatypes.from_text(data_type, text), low):
        with suppress(ValueError):
            datatypes.soap(variable, one, check=bool(data[0] & 1)).encode()
    player.summary({Key("CurrentTrackDuration"): text}, {Key("Volume"): found}, variable, text)


def settings(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for group, name in (
        ("mqtt", "base_topic"),
        ("mqtt", "url"),
        ("mqtt", "response_topics"),
        ("homeassistant", "prefix"),
        ("upnp", "locations"),
        ("upnp", "trusted_networks"),
    ):
        try:
            found = Settings.model_validate({group: {name: text}})
        except ValidationError:
            continue
        if name == "base_topic":
            assert LIMITS.fault(Publication(f"{found.mqtt.base_topic}/x", b"")) is None
        strict_json(jsontext.encode(found.public()))
