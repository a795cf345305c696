"""What changes now goes before what is only told of, and nothing large is done in one piece."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bridge.tree.device_tree import Shape
from bridge.tree.difference import TreeDifference
from bridge.tree.ledger import Entry, Ledger
from bridge.tree.messages import Message
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree
from tests.unit.devices import described, device, scpd, service
from tests.unit.hubs import home_assistant
from tests.unit.wired import Wired

PARTS = 100
STEPS = 32
HOUSE = described(
    device(
        "House",
        *(device(f"Part-{n}", service("One", scpd("V:string", "W:string"))) for n in range(PARTS)),
    )
)
LAMP = described(device("Lamp", service("One", scpd("V:string"))))
VALUE = "upnp/Lamp/One/value/V"


def started(held: dict[str, bytes] | None = None) -> Wired:
    router = Wired(Shape("upnp", "main", hubs=(home_assistant(),)), qos=1)
    router.open(held or {}, 262_144, None)
    return router


def tell(router: Wired, text: str, device: str = "Lamp") -> None:
    router.apply_event(device, "One", [("V", text)], initial=False)


def drained(router: Wired) -> dict[str, bytes]:
    held: dict[str, bytes] = {}
    while (one := router.take()) is not None:
        held[one.topic] = one.payload
    return held


def settled() -> Wired:
    router = started()
    for one in (HOUSE, LAMP):
        router.device_joined(one, "first")
    tell(router, "0")
    tell(router, "0", "Part-3")
    drained(router)
    return router


def announce(router: Wired) -> None:
    router.mirror.announcing.publish_again()


def introduce(router: Wired) -> None:
    router.hub_started(Message("homeassistant/status", b"online", retain=False))


def change(router: Wired) -> None:
    router.device_joined(replace(HOUSE, location="http://192.0.2.9/d.xml"), "changed")


def forget(router: Wired) -> None:
    router.device_forgotten(router.mirror.mirrored_devices["House"])


def reconnect(router: Wired) -> None:
    router.close()
    router.open({}, 262_144, None)


@pytest.mark.parametrize("begin", [announce, introduce, change, forget, reconnect])
def test_an_event_overtakes_all_that_is_only_told_of(begin: Callable[[Wired], None]):
    router = settled()
    begin(router)
    told: list[str] = []
    bulk = 0
    for number in range(1, 200):
        if number % 10 == 0:
            tell(router, str(number))
            # The device's own document goes first, where a broker has none of it.
            next_ones = [router.take() for _ in range(3)]
            topics = [one.topic for one in next_ones if one]
            assert VALUE in topics
            told.append(VALUE)
        elif (one := router.take()) is not None:
            bulk += one.in_bulk
    assert len(told) > 10
    assert bulk > (2 if begin is introduce else 50)


def test_events_without_end_leave_room_for_the_rest():
    router = settled()
    router.mirror.announcing.publish_again()
    bulk = 0
    for number in range(2000):
        tell(router, str(number))
        one = router.take()
        assert one is not None
        bulk += one.in_bulk
    assert bulk > 150


def test_what_may_not_go_in_bulk_is_not_even_looked_for():
    router = settled()
    router.mirror.announcing.publish_again()
    while (one := router.take(in_bulk=False)) is not None:
        assert not one.in_bulk
    assert router.has_bulk
    tell(router, "1")
    assert [one.topic for one in iter(lambda: router.take(in_bulk=False), None)] == [
        VALUE,
        "upnp/Lamp/One/state",
    ]


@pytest.mark.parametrize("is_empty", [True, False])
def test_of_a_large_tree_little_is_computed_in_one_piece(is_empty, monkeypatch):
    first = settled()
    held = {} if is_empty else dict(drained_again(first))
    router = started(held)
    router.device_joined(HOUSE, "first")
    steps = 0
    step = TreeDifference.step

    def counted(difference: TreeDifference) -> bool:
        nonlocal steps
        steps += 1
        return step(difference)

    monkeypatch.setattr(TreeDifference, "step", counted)
    most = turns = 0
    while router.has_bulk or turns == 0:
        steps, turns = 0, turns + 1
        router.take(steps=STEPS)
        most = max(most, steps)
    assert most <= STEPS
    assert turns > 10
    assert len(router.mirror.ledger) == 0 or router.take() is not None


def drained_again(router: Wired) -> dict[str, bytes]:
    router.mirror.announcing.publish_again()
    return drained(router)


def test_of_what_is_announced_little_is_put_in_line_in_one_piece():
    router = settled()
    counts = list(router.mirror.announcing.publishing_again())
    assert max(counts) <= STEPS
    assert sum(counts) == len(drained(router))


def test_a_device_that_joins_is_named_before_its_values_however_early_they_come():
    router = started()
    router.device_joined(HOUSE, "first")
    tell(router, "7", "Part-90")
    topics = [one.topic for one in iter(router.take, None)]
    assert topics.index("upnp/Part-90") < topics.index("upnp/Part-90/One/value/V") < 5
    assert len(topics) == len(set(topics)) + 1  # the table of devices, first and last


def test_a_device_that_leaves_while_it_is_told_of_is_offline_at_once():
    router = settled()
    held = drained_again(router)
    again = started(held)
    again.device_joined(replace(HOUSE, location="http://192.0.2.9/d.xml"), "first")
    for _ in range(20):
        again.take()
    again.device_left("House", "byebye")
    seen: list[bytes] = []
    for one in iter(again.take, None):
        if one.topic == "upnp/Part-50/availability":
            seen.append(one.payload)
        held[one.topic] = one.payload
    assert seen == [b"offline"]
    assert held["upnp/House/availability"] == b"offline"


def test_what_is_newer_takes_the_place_of_what_waits_in_bulk():
    ledger = Ledger()
    ledger.open(100)
    ledger.put("a", b"old", in_bulk=True)
    ledger.put("a", b"new")
    ledger.put("a", b"older", in_bulk=True)
    assert ledger.take() == ("a", Entry(b"new"))
    assert ledger.take(in_bulk=True) is None
    ledger.put("a", b"new")
    ledger.put("a", b"", in_bulk=True)
    assert ledger.take() is None
    assert ledger.take(in_bulk=True) == ("a", Entry(b""))


def test_what_of_an_owner_waits_can_be_dropped():
    ledger = Ledger()
    ledger.open(100)
    ledger.put("a", b"1", of="x")
    ledger.put("b", b"1", of="x", in_bulk=True)
    ledger.promise("c", lambda: b"1", of="x")
    ledger.put("d", b"1", of="y")
    assert ledger.discard("x") == {"a", "b", "c"}
    assert ledger.take() == ("d", Entry(b"1"))
    assert ledger.take() is None
    assert not ledger.has_bulk


def test_the_table_of_devices_that_may_not_go_yet_is_bulk_that_waits():
    router = settled()
    router.device_left("Lamp", "byebye")
    gone = [one.topic for one in iter(lambda: router.take(in_bulk=False), None)]
    assert "upnp/Lamp/availability" in gone
    assert router.has_bulk
    assert [one.topic for one in iter(router.take, None)] == ["upnp/bridge/main/devices"]
    assert not router.has_bulk


def test_the_table_of_devices_comes_also_where_the_turn_of_the_bulk_finds_nothing():
    mirror = Mirror(Shape("upnp", "main"))
    mirror.open(RetainedTree({}, base="upnp", instance="main"), 262_144, lambda _: False)
    mirrored = mirror.join(LAMP)
    for number in range(7):  # with the table so many in a row that the bulk's turn comes
        mirror.put_own(f"n{number}", b"1")
    mirror.forget(mirrored)
    taken = dict(iter(mirror.take, None))
    assert taken["upnp/bridge/main/devices"].payload == b"[]"
    assert not mirror.has_bulk
