"""Roots that share devices; what else the mirror does is held against a model broker."""

from bridge.core.branch import Shape
from bridge.core.holdings import Holdings
from bridge.core.mirror import Mirror
from tests.unit.devices import described, device, scpd, service

PART = service("One", scpd("V:string"))


def opened() -> tuple[Mirror, dict[str, bytes]]:
    mirror = Mirror(Shape("upnp", "main"))
    mirror.open(Holdings({}, base="upnp", instance="main"), 10_000, lambda _: False)
    return mirror, {}


def drain(mirror: Mirror, held: dict[str, bytes]) -> None:
    while (due := mirror.take()) is not None:
        held[due[0]] = due[1].payload
    for topic in [topic for topic, payload in held.items() if not payload]:
        del held[topic]


def test_an_embedded_device_of_a_root_that_is_online_is_left_out_of_another():
    mirror, held = opened()
    mirror.join(described(device("A", device("shared", PART))))
    mirror.join(described(device("B", PART, device("shared", PART))))
    drain(mirror, held)
    assert b'"root":"A"' in held["upnp/shared"]
    assert b"embedded device shared is one of A: left out" in held["upnp/B"]
    assert "upnp/B/One" in held


def test_a_root_that_is_gone_is_cleared_where_its_device_is_another_s_now():
    mirror, held = opened()
    mirror.join(described(device("A", PART, device("moved", PART))))
    mirror.leave("A", "2026-01-01T00:00:00.000Z")
    drain(mirror, held)
    mirror.join(described(device("B", device("moved", PART))))
    drain(mirror, held)
    assert b'"root":"B"' in held["upnp/moved"]
    assert held["upnp/moved/availability"] == b"online"
    assert not [topic for topic in held if topic.startswith("upnp/A")]
    assert mirror.find("A") is None


def test_an_embedded_device_that_becomes_a_root_is_one():
    mirror, held = opened()
    mirror.join(described(device("A", device("grown", PART))))
    mirror.leave("A", "2026-01-01T00:00:00.000Z")
    mirror.join(described(device("grown", PART)))
    drain(mirror, held)
    assert b'"kind":"device"' in held["upnp/grown"]
    assert held["upnp/grown/availability"] == b"online"
    assert "upnp/A" not in held
