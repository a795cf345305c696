"""Roots that share devices, brokers that lose what they held; a model broker holds the rest."""

import json
from dataclasses import replace
from random import Random

import pytest

from bridge.model.device import Key
from bridge.tree.device_tree import Shape
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree, whole_payloads
from tests.unit.devices import described, device, scpd, service
from tests.unit.hubs import home_assistant

PART = service("One", scpd("V:string"))
NOW = "2026-01-02T00:00:00.000Z"
TABLE = "upnp/bridge/main/devices"
HUB_TOPIC = "homeassistant/device/upnp2mqtt_A/config"


def opened(shape: Shape | None = None, **held: bytes) -> tuple[Mirror, dict[str, bytes]]:
    shape = shape or Shape("upnp", "main")
    mirror = Mirror(shape)
    retained_tree = RetainedTree(
        held,
        base="upnp",
        instance="main",
        own_outside=shape.own_hub_topics(),
        outside=shape.hub_topics,
    )
    mirror.open(retained_tree, 10_000, lambda _: False)
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
    mirror.mark_offline("A", "2026-01-01T00:00:00.000Z")
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
    mirror.mark_offline("A", "2026-01-01T00:00:00.000Z")
    mirror.join(described(device("grown", PART)))
    drain(mirror, held)
    assert b'"kind":"device"' in held["upnp/grown"]
    assert held["upnp/grown/availability"] == b"online"
    assert "upnp/A" not in held


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (device("aBc", PART), device("AbC", PART)),
        (device("A", device("aBc", PART)), device("AbC", PART)),
        (device("A", device("aBc", PART)), device("A", device("AbC", PART))),
        (device("aBc", PART), device("B", device("AbC", PART))),
    ],
)
def test_a_device_that_spells_its_udn_in_another_way_leaves_nothing_at_the_old_one(
    before, after, is_restarted
):
    mirror, held = opened(with_hub())
    mirror.join(described(before))
    drain(mirror, held)
    assert held["upnp/aBc/availability"] == b"online"
    mirror.mark_offline(before.udn, "2026-01-01T00:00:00.000Z")
    drain(mirror, held)
    if is_restarted:
        mirror, _ = opened(with_hub(), **held)
    mirror.join(described(after))
    drain(mirror, held)
    assert held["upnp/AbC/availability"] == b"online"
    assert not [topic for topic in held if "aBc" in topic]
    assert [one["id"] for one in json.loads(held["upnp/bridge/main/devices"])] == [after.udn]


def with_hub(*, enabled: bool = True) -> Shape:
    return Shape("upnp", "main", hubs=(home_assistant(enabled=enabled),))


def taken(mirror: Mirror) -> list[str]:
    return [topic for topic, _ in iter(mirror.take, None)]


def test_a_device_that_is_forgotten_goes_at_its_document_then_at_hubs_then_at_all_else():
    mirror, held = opened(with_hub())
    mirrored = mirror.join(described(device("A", PART, device("inner", PART))))
    mirror.apply_event("A/One", [("V", "1")], initial=True, now="2026-01-01T00:00:00.000Z")
    drain(mirror, held)
    assert HUB_TOPIC in held
    mirror.forget(mirrored)
    topics = taken(mirror)
    assert topics[:2] == ["upnp/A", HUB_TOPIC]
    assert topics[-1] == "upnp/bridge/main/devices"
    assert set(topics) == {topic for topic in held if "bridge" not in topic} | {topics[-1]}


def tables(mirror: Mirror) -> list[list[tuple[str, list[str]]]]:
    """Take all; return each table of devices, by ids and embedded devices."""
    found = [
        json.loads(entry.payload) for topic, entry in iter(mirror.take, None) if topic == TABLE
    ]
    return [[(row["id"], row["subdevices"]) for row in rows] for rows in found]


def test_until_a_device_is_cleared_one_row_of_the_table_names_all_that_hangs_from_it():
    mirror, held = opened()
    mirror.join(described(device("A", PART, device("one", PART))))
    drain(mirror, held)
    mirror.join(described(device("A", PART, device("other", PART))))
    last = mirror.join(described(device("A", PART)))
    assert tables(mirror) == [[("A", ["other", "one"])], [("A", [])]]
    mirror.forget(last)
    assert tables(mirror) == [[]]


def test_a_table_that_was_never_written_names_a_device_that_is_forgotten():
    mirror, _ = opened()
    mirror.forget(mirror.join(described(device("A", PART))))
    assert tables(mirror) == [[("A", [])], []]


def test_what_a_crash_left_of_a_device_goes_in_the_same_order():
    mirror, held = opened(with_hub())
    mirrored = mirror.join(described(device("A", PART)))
    drain(mirror, held)
    mirror.forget(mirrored)
    for _ in range(2):  # the table and the document
        topic, entry = mirror.take() or ("", None)
        assert entry
        held[topic] = entry.payload
    del held["upnp/A"]

    mirror, _ = opened(with_hub(), **held)
    topics = [topic for topic in taken(mirror) if "bridge" not in topic]
    assert topics[0] == HUB_TOPIC
    assert set(topics) == {topic for topic in held if "bridge" not in topic}


def test_what_a_hub_was_told_goes_where_there_is_no_hub_any_more_and_nothing_else():
    mirror, held = opened(with_hub())
    mirror.join(described(device("A", PART)))
    drain(mirror, held)
    mirror, _ = opened(with_hub(enabled=False), **held)
    assert taken(mirror) == [*with_hub().own_hub_topics(), HUB_TOPIC]


def test_what_a_hub_was_told_stays_while_a_device_is_away():
    mirror, held = opened(with_hub())
    mirror.join(described(device("A", PART)))
    mirror.mark_offline("A", "2026-01-01T00:00:00.000Z")
    drain(mirror, held)
    assert held["upnp/A/availability"] == b"offline"
    assert HUB_TOPIC in held
    again, _ = opened(with_hub(), **held)
    assert again.mirrored_devices["A"].description is None
    assert HUB_TOPIC not in taken(again)


def test_what_a_service_was_asked_for_while_it_was_silent_goes_when_its_events_come():
    mirror, held = opened()
    mirror.join(described(device("A", PART)))
    mirror.apply_answers("A/One", [(Key("Silent"), "1")], now=NOW, regularly=True)
    mirror.apply_answers("A/One", [(Key("Once"), "2")], now=NOW)
    drain(mirror, held)
    assert held["upnp/A/One/value/Silent"] == b"1"
    mirror.apply_event("A/One", [("V", "3")], initial=True, now=NOW)
    drain(mirror, held)
    values = {topic: payload for topic, payload in held.items() if "/value/" in topic}
    assert values == {"upnp/A/One/value/Once": b"2", "upnp/A/One/value/V": b"3"}


def test_a_player_of_whom_nothing_is_known_is_not_told_of():
    transport = service("AVTransport", scpd("TransportState:string"))
    mirror, held = opened(with_hub())
    mirror.join(described(device("A", transport)))
    drain(mirror, held)
    for publish in (mirror.announcing.publish_again, mirror.introduce):
        publish()
        assert "upnp/A/media" not in taken(mirror)
    mirror.apply_event("A/AVTransport", [("TransportState", "PLAYING")], initial=True, now="now")
    drain(mirror, held)
    assert held["upnp/A/media"] == b'{"state":"playing"}'
    mirror.apply_event("A/AVTransport", [], initial=True, now="now")
    drain(mirror, held)
    assert "upnp/A/media" not in held


def test_before_its_tree_is_compared_a_device_may_leave_be_forgotten_or_be_another_s():
    for end in ("leave", "forget", "yield"):
        mirror, held = opened()
        drain(mirror, held)
        mirrored = mirror.join(described(device("A", PART)))
        mirror.apply_event("A/One", [("V", "3")], initial=True, now=NOW)
        assert mirror.waiting
        match end:
            case "leave":
                mirror.mark_offline("A", NOW)
            case "forget":
                mirror.forget(mirrored)
            case _:
                mirror.yield_to_another(mirrored)
        taken_ = [(topic, entry.payload) for topic, entry in iter(mirror.take, None)]
        published = [topic for topic, payload in taken_ if payload and topic.startswith("upnp/A")]
        assert ("upnp/A/availability" in published) == (end == "leave")
        assert len(published) == len(set(published)) == (6 if end == "leave" else 0)
        assert mirror.waiting == 0


@pytest.mark.parametrize("is_online", [True, False])
def test_what_waits_for_a_device_that_is_forgotten_again_and_again_is_not_taken_for_held(is_online):
    mirror, held = opened()
    mirror.join(described(device("A", PART)))
    if is_online:
        mirror.mark_offline("A", NOW)
    drain(mirror, held)
    if not is_online:
        mirror.mark_offline("A", NOW)
        mirror.forget(mirror.mirrored_devices["A"])
    for _ in range(2):
        mirror.forget(mirror.join(described(device("A", PART))))
    mirror.join(described(device("A", PART)))
    if not is_online:
        mirror.mark_offline("A", NOW)
    drain(mirror, held)
    assert held["upnp/A/availability"] == (b"online" if is_online else b"offline")


STATE_PART = "upnp/A/One/state/chunk/%d"


def test_of_a_state_in_parts_that_is_forgotten_while_it_waits_no_part_is_left():
    mirror, held = opened()
    mirrored = mirror.join(described(device("A", PART)))
    mirror.apply_event("A/One", [("V", "x" * 50_000)], initial=True, now=NOW)
    drain(mirror, held)
    assert STATE_PART % 6 in held
    mirror.apply_event("A/One", [("V", "x" * 15_000)], initial=True, now=NOW)
    mirror.forget(mirrored)
    drain(mirror, held)
    assert set(held) == {TABLE}


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("steps", range(0, 48, 3))
def test_of_a_state_that_grows_while_a_tree_is_published_no_part_is_missing(is_restarted, steps):
    mirror, held = opened()
    mirror.join(described(device("A", PART)))
    mirror.apply_event("A/One", [("V", "x" * 50_000)], initial=True, now=NOW)
    drain(mirror, held)
    if is_restarted:
        mirror, _ = opened(None, **held)
    mirror.join(described(device("A", PART, service("Two", scpd("V:string")))))
    mirror.apply_event("A/One", [("V", "x" * 15_000)], initial=True, now=NOW)
    for _ in range(steps):
        if (due := mirror.take(steps=1)) is not None:
            held[due[0]] = due[1].payload
    mirror.apply_event("A/One", [("V", "x" * 35_000)], initial=True, now=NOW)
    drain(mirror, held)
    assert b"x" * 35_000 in whole_payloads(held)["upnp/A/One/state"]
    assert STATE_PART % 5 not in held


def test_what_a_broker_holds_of_a_device_that_is_forgotten_before_it_is_compared_is_cleared():
    mirror, held = opened()
    mirror.join(described(device("A", PART)))
    drain(mirror, held)
    held["upnp/A/Gone"] = b'{"id":"A/Gone"}'
    again, _ = opened(None, **held)
    again.forget(again.mirrored_devices["A"])
    drain(again, held)
    assert not [topic for topic in held if topic.startswith("upnp/A")]


def read_again(mirror: Mirror, held: dict[str, bytes], limit: int = 10_000) -> list[str]:
    """Have the broker lost and back with this, take all; return the devices to be looked for."""
    mirror.close()
    shape = mirror._shape
    retained_tree = RetainedTree(
        held,
        base="upnp",
        instance="main",
        own_outside=shape.own_hub_topics(),
        outside=shape.hub_topics,
    )
    remembered = mirror.open(retained_tree, limit, lambda _: False)
    drain(mirror, held)
    return [one.udn for one in remembered]


def told_and_gone(*, limit: int = 10_000) -> dict[str, bytes]:
    """What a broker holds of a player and its embedded device that have told of themselves."""
    mirror = Mirror(with_hub())
    transport = service("AVTransport", scpd("TransportState:string", "Long:string"))
    held: dict[str, bytes] = {}
    mirror.join(described(device("A", transport, device("inner", PART))))
    mirror.apply_event("A/AVTransport", [("TransportState", "PLAYING")], initial=True, now=NOW)
    mirror.apply_answers("A/AVTransport", [(Key("Long"), "long " * 100)], now=NOW)
    mirror.apply_event("inner/One", [("V", "3")], initial=True, now=NOW)
    read_again(mirror, held, limit)
    return held


def in_base(held: dict[str, bytes]) -> dict[str, bytes]:
    return {topic: payload for topic, payload in held.items() if topic.startswith("upnp/")}


@pytest.mark.parametrize("is_away", [True, False])
@pytest.mark.parametrize("limits", [(10_000, 10_000), (200, 200), (200, 10_000), (10_000, 200)])
def test_a_device_known_from_a_broker_alone_is_whole_again_where_that_comes_back_empty(
    is_away, limits
):
    mirror, held = Mirror(with_hub()), told_and_gone(limit=limits[0])
    assert read_again(mirror, held, limits[0]) == ["A"]
    if is_away:
        mirror.mark_offline("A", NOW)
        drain(mirror, held)
        assert held["upnp/inner/availability"] == b"offline"
    before = whole_payloads(held)
    for _ in range(2):
        held.clear()
        assert read_again(mirror, held, limits[1]) == []
        assert max(map(len, held.values())) <= limits[1]
        assert in_base(whole_payloads(held)) == in_base(before)
        # A hub is told of nothing that is too long for one message.
        assert (HUB_TOPIC in held) == (min(limits) > 200)
    assert {"upnp/A/media", "upnp/A/AVTransport/value/Long"} <= before.keys()


def test_values_that_a_broker_remembered_outlast_it_where_a_device_has_come_but_not_told():
    mirror, held = Mirror(with_hub()), told_and_gone()
    before = dict(held)
    read_again(mirror, held)
    transport = service("AVTransport", scpd("TransportState:string", "Long:string"))
    mirror.join(described(device("A", transport, device("inner", PART))))
    held.clear()
    read_again(mirror, held)
    assert held == before
    mirror.apply_event("inner/One", [("V", "4")], initial=True, now=NOW)
    held.clear()
    read_again(mirror, held)
    assert held.pop("upnp/inner/One/value/V") == b"4"
    assert held["upnp/A/AVTransport/value/Long"] == before["upnp/A/AVTransport/value/Long"]
    mirror.apply_event("inner/One", [], initial=True, now=NOW)
    older = dict(before)
    read_again(mirror, older)
    assert "upnp/inner/One/value/V" not in older


def test_a_device_that_another_broker_remembers_is_looked_for_unless_it_was_forgotten():
    mirror, elsewhere = Mirror(with_hub()), told_and_gone()
    assert read_again(mirror, {}) == []
    before = dict(elsewhere)
    assert read_again(mirror, elsewhere) == ["A"]
    assert elsewhere == before
    mirror.forget(mirror.mirrored_devices["A"])
    assert read_again(mirror, elsewhere) == []
    assert not [topic for topic in elsewhere if "/A" in topic or "/inner" in topic]
    restored = dict(before)
    assert read_again(mirror, restored) == []
    assert not [topic for topic in restored if "/A" in topic or "/inner" in topic]
    mirror.join(described(device("A", PART)))
    drain(mirror, restored)
    assert "upnp/A/One" in restored


def test_a_root_that_is_embedded_by_now_is_not_remembered_as_a_root():
    mirror, held = opened()
    mirror.join(described(device("inner", PART)))
    drain(mirror, held)
    mirror, _ = Mirror(Shape("upnp", "main")), None
    mirror.join(described(device("A", device("inner", PART))))
    assert read_again(mirror, held) == []
    assert b'"root":"A"' in held["upnp/inner"]


@pytest.mark.parametrize(
    "named", ["Abc-1", "ABC-1", "uuid:abc-1", "UUID:Abc-1", "uuid:uuid:ABC-1", "uuid%3Aabc-1"]
)
def test_components_are_announced_by_any_spelling_of_their_device(named):
    mirror, held = opened()
    mirror.join(described(device("Root", device("Abc-1", PART))))
    drain(mirror, held)
    for below, expected in (
        ("", "upnp/Abc-1"),
        ("/One", "upnp/Abc-1/One"),
        ("/One/variable/V", ""),
    ):
        assert mirror.announcing.publish_again([f"{named}{below}"]) >= 1
        told: dict[str, bytes] = {}
        drain(mirror, told)
        assert all(topic.startswith(expected or "upnp/Abc-1/One/variable/V") for topic in told)
        assert f"upnp/Abc-1{below}" in told
    assert mirror.id_of(named) == "Abc-1"
    with pytest.raises(KeyError, match="one"):
        mirror.announcing.publish_again([f"{named}/one"])


@pytest.mark.parametrize("named", ["uuid:Twice", "UUID:TWICE", "uuid:uuid:twice", "twice"])
def test_a_udn_with_two_prefixes_is_found_by_each_but_not_by_none(named):
    mirror, _ = opened()
    mirror.join(described(device("uuid:Twice", PART)))
    assert mirror.id_of(named) == (None if named == "twice" else "uuid:Twice")


def test_a_device_that_is_only_remembered_is_found_in_any_spelling():
    mirror, _ = opened(
        None,
        **{
            "upnp/Abc": b'{"id":"Abc","udn":"uuid:Abc","bridge":"main","location":"http://192.0.2.1/"}'
        },
    )
    assert mirror.find("ABC") is not None
    assert mirror.id_of("UUID:uuid:aBC") == "Abc"


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_a_player_is_stands_at_the_broker_whenever_its_events_come(is_forgotten):
    transport = service("AVTransport", scpd("TransportState:string"))
    rendering = service("RenderingControl", scpd("Volume:ui2", "Mute:boolean"))
    description = described(device("A", transport, rendering))
    for seed in range(300):
        rng = Random(seed)
        mirror, held = opened(with_hub())
        for number in range(4):
            mirror.join(replace(description, location=f"http://192.0.2.{number}/d.xml"))
            now_s = 0.0
            for _ in range(rng.randrange(80)):
                now_s += rng.choice((0.001, 0.02, 0.2))
                if rng.random() < 0.2:
                    what, *told = rng.choice(
                        (
                            ("AVTransport", ("TransportState", rng.choice(("PLAYING", "STOPPED")))),
                            ("RenderingControl", ("Volume", str(rng.randrange(9)))),
                            ("AVTransport",),
                            ("RenderingControl",),
                        )
                    )
                    mirror.apply_event(f"A/{what}", told, initial=True, now=NOW)
                elif due := mirror.take(now_s):
                    held[due[0]] = due[1].payload
        mirrored = mirror.mirrored_devices["A"]
        if is_forgotten:
            mirror.forget(mirrored)
        drain(mirror, held)
        wanted = {} if is_forgotten else with_hub().wanted(mirrored, 10_000)
        assert {topic: held[topic] for topic in held if "bridge" not in topic} == wanted, seed
