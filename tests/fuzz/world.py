"""Those who take what decoders give: a router with its mirror, and a broker that bears it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from bridge.model import topics
from bridge.model.device import Description
from bridge.mqtt.limits import Limits
from bridge.tree.device_tree import Shape
from bridge.tree.messages import Publication
from bridge.tree.mirrored_device import MirroredDevice
from tests.unit import kinds
from tests.unit.devices import described, device
from tests.unit.hubs import PLAN, home_assistant
from tests.unit.wired import Wired

BASE: Final = "upnp"
LOCATION: Final = "http://192.0.2.7:49152/description.xml"
LIMIT = 64 * 1024
_HUB = home_assistant()
LIMITS = Limits()
_TEXTS = {"value", "chunk"}
"""Levels below which a payload is text, or a part of one."""


def open_router(held: Mapping[str, bytes] | None = None) -> Wired:
    """A router with a broker that holds this."""
    return _opened(Shape(BASE, "main", plan=PLAN, hubs=(_HUB,)), held)


def _opened(shape: Shape, held: Mapping[str, bytes] | None) -> Wired:
    router = Wired(shape, qos=1)
    router.open(dict(held or {}), LIMIT, None)
    return router


def publish_all(router: Wired) -> None:
    """Take what is to be published; a broker bears all of it, but for names as long as a book."""
    while publication := router.take():
        fault = LIMITS.fault(publication)
        assert fault is None or "too long" in fault, (fault, publication.topic)
        assert len(publication.payload) <= LIMIT
        if publication.payload.startswith(b"{") and not _TEXTS & set(publication.topic.split("/")):
            strict_json(publication.payload)


def strict_json(payload: bytes) -> Any:
    """Read JSON as others do (RFC 8259): no NaN, no infinity."""
    return json.loads(payload.decode(), parse_constant=_no_number)


def _no_number(text: str) -> NoReturn:
    raise AssertionError(f"not JSON: {text}")


def wanted(router: Wired, mirrored: MirroredDevice) -> dict[str, bytes]:
    """Return what the broker should hold of a device."""
    return router.mirror._shape.wanted(mirrored, router.mirror.ledger.limit)


def mirror(description: Description) -> None:
    """Publish a device, ask what it would be asked, and forget it again."""
    router = open_router()
    mirrored = router.device_joined(description, "new")
    publish_all(router)
    for topic, payload in wanted(router, mirrored).items():
        assert topic.startswith((f"{BASE}/", "homeassistant/")), topic
        assert topics.is_mirrored(topic.removeprefix(f"{BASE}/")) or topic.startswith("home"), topic
        if payload[:1] == b"{":
            strict_json(payload)
    for one in description.device.walk():
        for service in one.services:
            PLAN.questions(topics.device_id(one.udn), service)
    router.device_forgotten(mirrored)
    publish_all(router)


PLAYER = described(device("P", kinds.TRANSPORT, kinds.RENDERING))


def with_player(held: Mapping[str, bytes] | None = None) -> Wired:
    """A router with a player, and a broker that holds this."""
    router = _opened(Shape(BASE, "main", "device", plan=PLAN), held)
    router.device_joined(PLAYER, "new")
    return router


def tell(told: Iterable[tuple[str, str]]) -> None:
    """Take in the properties of an event, as the first and as a later one."""
    router = with_player()
    router.apply_event("P", "AVTransport", list(told), initial=True)
    publish_all(router)
    publish_all(with_player(wanted(router, router.mirror.mirrored_devices["P"])))


def pairs(data: bytes) -> dict[str, bytes]:
    """Read topics below the base and payloads in turn, as far as a broker bears them."""
    parts = iter(data.split(b"\0"))
    found = ((f"{BASE}/{one.decode('utf-8', 'ignore')}", next(parts, b"")) for one in parts)
    return {topic: payload for topic, payload in found if not LIMITS.fault(Publication(topic, b""))}
