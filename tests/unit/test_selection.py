"""What stands under topic filters, and which filters cover a topic, against paho's own matching."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub

from bridge.model.device import Key
from bridge.tree import documents
from bridge.tree.device_tree import Shape
from bridge.tree.mirror import Mirror
from bridge.tree.selection import FilterIndex, read_filter, selected
from tests.unit.captured import DEVICES, captured
from tests.unit.devices import renderer, router

SHAPES = [
    Shape("upnp", "main"),
    Shape("home/upnp", "main", mode="values"),
    Shape("upnp", "main", "service", "document"),
    Shape("upnp", "main", "device"),
]


def random_filter(rng: Random, topics: list[str]) -> str:
    """Return a filter that covers one of these topics, or nearly."""
    levels = rng.choice(topics).split("/")
    for at in range(len(levels)):
        if rng.random() < 0.3:
            levels[at] = "+"
        elif rng.random() < 0.05:
            levels[at] = "x"
    if rng.random() < 0.4:
        levels = [*levels[: rng.randrange(len(levels) + 1)], "#"]
    return "/".join(levels)


def index_of(*filters: str) -> FilterIndex[str]:
    index: FilterIndex[str] = FilterIndex()
    for one in filters:
        index.add(read_filter(one), one)
    return index


def mirrored(shape: Shape) -> Mirror:
    mirror = Mirror(shape)
    for name in DEVICES:
        mirror.join(captured(name))
    mirror.join(renderer())
    mirror.join(router())
    change = '<Event><InstanceID val="0"><Volume channel="Master" val="5"/></InstanceID></Event>'
    told = [("LastChange", change)]
    mirror.apply_event("Renderer-1/RenderingControl", told, initial=True, now="")
    mirror.apply_answers(
        "Router-1/L3F", [(Key("DefaultConnectionService"), "")], now="2026-01-01T00:00:00.000Z"
    )
    return mirror


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.detail}-{shape.mode}")
def test_selected_is_what_is_wanted_and_covered(shape):
    mirror, rng = mirrored(shape), Random(1)
    wanted = {
        topic: payload
        for mirrored in mirror.mirrored_devices.values()
        for topic, payload in shape.wanted(mirrored, 10**9).items()
        if payload
    }
    assert len(wanted) > 20
    for _ in range(300):
        filters = [random_filter(rng, list(wanted)) for _ in range(rng.randint(1, 3))]
        found = [
            one
            for mirrored in mirror.mirrored_devices.values()
            for one in selected(shape, mirrored, index_of(*filters).top)
        ]
        covered = {t: p for t, p in wanted.items() if any(topic_matches_sub(f, t) for f in filters)}
        assert len(found) == len(dict(found))
        assert dict(found) == covered, filters


def test_what_is_not_covered_is_not_computed(monkeypatch):
    mirror = mirrored(SHAPES[0])
    monkeypatch.setattr(documents, "service_documents", None)
    found = [
        one
        for mirrored in mirror.mirrored_devices.values()
        for one in selected(mirror.shape, mirrored, index_of("upnp/+").top)
    ]
    assert len(found) > len(DEVICES)


def test_covering_is_paho_s_matching():
    rng = Random(2)
    topics = ["a", "a/b", "a/b/c", "b", "a//b", "/a", "a/c/b/d"]
    for _ in range(300):
        filters = {random_filter(rng, topics) for _ in range(rng.randint(1, 8))}
        index = index_of(*filters)
        for _ in range(2):
            for topic in topics:
                matching = {one for one in filters if topic_matches_sub(one, topic)}
                assert set(index.covering(topic)) == matching
            gone = filters.pop()
            index.discard(read_filter(gone), gone)
            if not filters:
                break


def test_filters_that_are_gone_leave_nothing():
    rng, topics = Random(3), ["a", "a/b", "a/b/c", "b", "a/c/b/d"]
    filters = {random_filter(rng, topics) for _ in range(100)}
    index = index_of(*filters)
    index.discard(read_filter("never/there"), "x")
    for one in filters:
        index.discard(read_filter(one), one)
        index.discard(read_filter(one), one)
    assert not index._root.below
    assert not index._root.all
    assert index.covering("a/b") == ()


@pytest.mark.parametrize(
    "text", ["", "#/a", "a#", "a/#/b", "+a", "a/b+", "a\0", "x" * 5000, "/" * 64]
)
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(ValueError, match=r"filter|\#|\+"):
        read_filter(text)


def test_many_filters_cost_a_topic_as_few_steps_as_one():
    index = index_of(*(f"upnp/{n}/+/value/V" for n in range(1_000)), "upnp/#")
    nodes = 0

    class Counting(dict[str, Any]):
        def get(self, key, default=None):
            nonlocal nodes
            nodes += 1
            return super().get(key, default)

    def count(node):
        node.below = Counting(node.below)
        for below in node.below.values():
            count(below)

    count(index._root)
    assert set(index.covering("upnp/7/S/value/V")) == {"upnp/#", "upnp/7/+/value/V"}
    assert nodes <= 2 * 2**5


def test_a_device_that_is_remembered_has_what_the_broker_holds():
    mirror = Mirror(SHAPES[0])
    mirrored = mirror.join(renderer())
    kept = {
        "upnp/Renderer-1": b"d",
        "upnp/Renderer-1/availability": b"offline",
        "homeassistant/x": b"h",
        "upnp/Renderer-1/S": b"",
    }
    old = replace(mirrored, description=None, kept=kept, online=None, parts={}, services={})
    found = dict(selected(SHAPES[0], old, index_of("#").top))
    assert found == {"upnp/Renderer-1": b"d"}
