"""What others write over topics of ours is put right, and nobody is fought with."""

import json
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub

from bridge.tree.device_tree import Shape
from bridge.tree.messages import Message
from bridge.tree.overwritten import CALM_S, ECHO_S, FLOOD, LOOK_S, PAUSE_S, Overwritten
from tests.unit.devices import described, device, scpd, service
from tests.unit.hubs import home_assistant
from tests.unit.wired import Wired

HUB = "homeassistant/device/upnp2mqtt_Lamp/config"
LONG = "long " * 200


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def stamp(self, *_: object) -> str:
        return "2026-01-02T00:00:00.000Z"


class World:
    """A bridge whose lamp is published, and what the broker holds."""

    def __init__(self) -> None:
        self.clock = Time()
        shape = Shape("upnp", "main", hubs=(home_assistant(),))
        self.router = Wired(shape, qos=1, clock=self.clock)  # type: ignore[arg-type]
        self.router.open({}, 500, None)
        self.router.begin(echoes=False)
        self.router.instances.is_settled = True
        self.router.device_joined(described(device("Lamp", service("One", scpd("V:string")))), "")
        told = [("V", "1"), ("Long", LONG)]
        self.router.apply_event("Lamp", "One", told, initial=True)
        self.held: dict[str, bytes] = {}
        self.take()

    def take(self) -> list[str]:
        self.clock.now_s += 10
        taken = [one for one in iter(self.router.take, None) if one.retain]
        for one in taken:
            self.held[one.topic] = one.payload
            if not one.payload:
                del self.held[one.topic]
        return [one.topic for one in taken]

    def write(self, topic: str, payload: bytes) -> None:
        self.held[topic] = payload
        if not payload:
            del self.held[topic]
        self.router.watched.overhear(Message(topic, payload, retain=True))

    def mended(self) -> list[str]:
        self.clock.now_s += LOOK_S
        for _ in self.router.watched.mending():
            pass
        return self.take()


@pytest.mark.parametrize("payload", [b"", b"junk", b'{"chunks":2}', b"offline", b"\xff"])
def test_whatever_is_written_over_what_is_ours_is_right_again(payload):
    world = World()
    before = dict(world.held)
    assert {HUB, "upnp/Lamp/One/value/Long/chunk/1"} <= before.keys() or HUB not in before
    for topic in before:
        if topic.startswith("upnp/"):
            world.write(topic, payload)
    world.mended()
    assert world.held == before


def test_what_is_written_as_it_should_be_is_left_alone():
    world = World()
    for topic, payload in tuple(world.held.items()):
        world.write(topic, payload)
    state = json.loads(world.held["upnp/Lamp/One/value/V"])
    assert state == 1
    assert world.mended() == []


def test_what_others_keep_beside_ours_stays_and_what_has_our_form_goes():
    world = World()
    before = dict(world.held)
    world.write("upnp/Lamp/remark", b"the user's own")
    world.write("upnp/stranger/One/value/V", b"another's")
    assert world.mended() == []
    world.write("upnp/Lamp/One/value/Stray", b"1")
    world.write("upnp/Lamp/One/value/V/chunk/1", b"1")
    assert sorted(world.mended()) == ["upnp/Lamp/One/value/Stray", "upnp/Lamp/One/value/V/chunk/1"]
    more = {"upnp/Lamp/remark": b"the user's own", "upnp/stranger/One/value/V": b"another's"}
    assert world.held == before | more


def test_what_a_hub_clears_stays_cleared_and_what_others_write_there_does_not():
    world = World()
    topic = world.router.mirror._shape.own_hub_topics()[0]
    before = world.held[topic]
    world.write(topic, b"{}")
    assert world.mended() == [topic]
    assert world.held[topic] == before
    world.write(topic, b"")
    assert world.mended() == []


def test_a_device_that_another_instance_claims_is_not_fought_for():
    world = World()
    world.router.ownership.receive(Message("upnp/bridge/zoo/state", b"online", retain=True))
    document = b'{"id":"Lamp","kind":"device","bridge":"zoo"}'
    world.router.ownership.receive(Message("upnp/Lamp", document, retain=True))
    world.take()
    world.write("upnp/Lamp/One/value/V", b"2")
    assert world.mended() == []


def test_a_device_s_own_document_is_watched_by_the_neighbours_filter():
    world = World()
    world.router.ownership.receive(Message("upnp/Lamp", b"junk", retain=True))
    world.held["upnp/Lamp"] = b"junk"
    assert "upnp/Lamp" in world.mended()


def test_who_writes_again_and_again_is_answered_now_and_then():
    written = Overwritten()
    answers = 0
    for second in range(60):
        written.note("t", b"x", float(second))
        for topic, _ in written.take(float(second), 10):
            written.mended(topic, float(second))
            answers += 1
    assert answers <= 60 / PAUSE_S + 1


def test_the_last_that_was_written_counts_and_what_we_wrote_since_then_not_at_all():
    written = Overwritten()
    written.note("t", b"1", 0)
    written.note("t", b"2", 0.5)
    assert written.take(1, 10) == []
    assert written.take(2, 10) == [("t", b"2")]
    written.note("t", b"3", 3)
    written.sent("t")
    assert written.take(9, 10) == []
    assert len(written) == 0


def test_an_audit_looks_at_everything_a_piece_at_a_time_but_for_what_was_sent_meanwhile():
    world = World()
    pieces = list(world.router.mirror.repair.auditing(5))
    assert max(map(len, pieces)) < 12
    wanted = {topic: payload for piece in pieces for topic, payload in piece.items()}
    assert wanted.keys() == world.held.keys()
    held = dict(wanted)
    held["upnp/Lamp/One/value/V"] = b"2"
    del held["upnp/Lamp/availability"]
    world.router.overwritten.begin_audit()
    world.router.overwritten.sent("upnp/Lamp/availability")
    world.router.watched.compare(wanted, held)
    assert world.mended() == ["upnp/Lamp/One/value/V"]


def test_what_is_read_during_an_audit_is_older_than_what_was_sent_meanwhile():
    written = Overwritten()
    written.begin_audit()
    written.sent("t")
    written.overhear("t", b"old", 0)
    written.overhear("u", b"another's", 0)
    assert written.take(9, 10) == [("u", b"another's")]
    assert written.end_audit() == {"t"}
    written.overhear("t", b"another's", 20)
    assert written.take(30, 10) == [("t", b"another's")]


def test_no_watched_filter_covers_a_command():
    world = World()
    commands = [one.replace("+", "x") for one in world.router.dispatch.filters]
    for one in (*world.router.watched.filters, *world.router.watched.topics()):
        levels = one.split("/")
        for command in commands:
            parts = command.split("/")
            assert len(parts) != len(levels) or any(
                a not in ("+", b) and (b != "x" or a == "chunk")
                for a, b in zip(levels, parts, strict=True)
            ), (one, command)


def test_what_stands_at_any_instance_and_channel_or_in_parts_is_watched_as_it_comes():
    world = World()
    router = world.router
    told = (
        '<Event><InstanceID val="7"><V val="1"/><V channel="B/C" val="2"/></InstanceID>'
        '<InstanceID val="0"><V channel="SW" val="3"/></InstanceID></Event>'
    )
    before = router.watched.topics()
    assert router.watched.topics() is before
    assert "upnp/Lamp/One/value/Long/chunk/+" in before
    router.apply_event("Lamp", "One", [("LastChange", told)], initial=False)
    world.take()
    filters = (*router.watched.filters, *router.watched.topics(), "upnp/+")
    here = [one for one in world.held if one.startswith("upnp/Lamp")]
    assert len([one for one in here if "/value/V/" in one]) == 3
    for topic in here:
        assert any(topic_matches_sub(one, topic) for one in filters), topic


def test_all_of_a_device_that_is_only_remembered_is_watched():
    world = World()
    told = '<Event><InstanceID val="7"><V val="1"/><V channel="B" val="2"/></InstanceID></Event>'
    world.router.apply_event("Lamp", "One", [("LastChange", told)], initial=False)
    world.take()
    restarted = Wired(Shape("upnp", "main"), qos=1)
    restarted.open(dict(world.held), 500, None)
    assert restarted.mirror.mirrored_devices["Lamp"].description is None
    filters = (*restarted.watched.filters, *restarted.watched.topics(), "upnp/+")
    for topic in world.held:
        if topic.startswith("upnp/Lamp") and "/chunk/" not in topic:
            assert any(topic_matches_sub(one, topic) for one in filters), topic


def test_what_is_written_while_the_tree_is_still_published_is_right_in_the_end():
    world = World()
    before = dict(world.held)
    world.router.close()
    world.router.open(dict(before), 500, None)
    world.write("upnp/Lamp/One/variable/V", b"junk")
    world.clock.now_s += LOOK_S
    assert [1 for _ in world.router.watched.mending()]
    world.take()
    world.mended()
    assert world.held == before


def test_much_of_one_service_is_mended_without_computing_it_for_each_topic(monkeypatch):
    world = World()
    names = [f"V{number}" for number in range(300)]
    world.router.apply_event("Lamp", "One", [(one, "1") for one in names], initial=False)
    world.take()
    before = dict(world.held)
    computed = []
    near = Shape.near

    def counted(*of: Any) -> Any:
        computed.append(of)
        return near(*of)

    monkeypatch.setattr(Shape, "near", counted)
    for name in names:
        world.write(f"upnp/Lamp/One/value/{name}", b"junk")
    world.mended()
    assert world.held == before
    assert len(computed) <= 2


def test_after_a_flood_all_is_to_be_looked_at_once_it_is_over():
    written = Overwritten()
    for number in range(FLOOD):
        assert not written.was_flood(float(number))
        written.hear(f"t/{number}", b"x", float(number))
    assert not written.was_flood(FLOOD - 1 + CALM_S / 2)
    assert written.was_flood(FLOOD - 1 + CALM_S)
    assert not written.was_flood(FLOOD + 100)


def test_what_the_broker_returns_of_ours_late_is_no_reason_to_write():
    written = Overwritten()
    for number in range(3):
        written.sent("t", b"%d" % number, number)
    written.overhear("t", b"2", 3)  # it returns ours
    written.overhear("t", b"1", 3)
    assert written.take(9, 10) == []
    written.overhear("t", b"another's", 3)
    assert written.take(9, 10) == [("t", b"another's")]
    written.overhear("t", b"1", 2 + ECHO_S)
    assert written.take(19, 10) == [("t", b"1")]


def test_what_another_writes_is_not_taken_for_ours_where_the_broker_returns_nothing():
    written = Overwritten()
    written.sent("t", b"1", 0)
    written.sent("t", b"2", 1)
    written.overhear("t", b"1", 2)
    assert written.take(9, 10) == [("t", b"1")]
