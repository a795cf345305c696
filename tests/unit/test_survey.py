"""The survey of a broker: against models that hold a tree and hand over what they can."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub

from bridge.formats import jsontext
from bridge.mqtt.survey import Ask, Await, Lack, Say, Survey, told
from bridge.polling.plan import Plan
from bridge.tree import reading
from bridge.tree.device_tree import Shape
from tests.unit.wired import Wired


def document(one, children):
    found = {"id": one, "kind": "device", "children": children, "bridge": "main"}
    return jsontext.encode(found)


fits = lru_cache(maxsize=None)(topic_matches_sub)
BASE, PROBE = "up", "up/bridge/main/probe"


@dataclass
class Model:
    """A broker that holds a tree; what it hands over late comes when it is waited for."""

    held: dict[str, bytes]
    most: int | None = None
    by_wildcard: bool = True
    retains: bool = True
    clears: bool = True
    is_late: bool = False
    refuses: Any = lambda _: False
    says_no: bool = False
    asked: list[str] = field(default_factory=list)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    handed_over: int = 0
    awaited: int = 0

    def carry_out(self, survey):
        steps = survey.steps()
        outcome: Any = None
        late: list[str] = []
        for _ in range(10_000):
            try:
                step = steps.send(outcome)
            except StopIteration:
                return
            outcome = None
            match step:
                case Ask(filters):
                    outcome = {one: "no" for one in filters if self.refuses(one)}
                    late += self.found(one for one in filters if one not in outcome)
                case Say(publication):
                    outcome = "not authorized" if self.says_no else None
                    if not self.says_no:
                        self.publish(publication)
                case Await(until):
                    self.awaited += 1
                    if until():
                        continue
            if not self.is_late or isinstance(step, Await):
                for topic in late:
                    self.handed_over += 1
                    survey.take(topic, self.held.get(topic, b"gone"))
                late = []
        raise AssertionError("no end")

    def found(self, filters):
        for one in filters:
            self.asked.append(one)
            if self.by_wildcard or not set("+#") & set(one):
                yield from [t for t in self.held if fits(one, t)][: self.most]

    def publish(self, publication):
        self.said.append((publication.topic, publication.payload))
        if publication.payload and self.retains:
            self.held[publication.topic] = publication.payload
        elif not publication.payload and self.clears:
            self.held.pop(publication.topic, None)


def tree(devices=3, variables=10, services=2):
    """A tree as the bridge leaves it."""
    held = {"up/bridge/main/state": b"online", "up/bridge/main/info": b"{}"}
    for number in range(devices):
        device = f"D{number}"
        names = [f"S{one}" for one in range(services)]
        held[f"up/{device}"] = document(device, children=[f"{device}/{one}" for one in names])
        held[f"up/{device}/availability"] = b"online"
        for service in (f"{device}/{one}" for one in names):
            children = [f"{service}/variable/V{one}" for one in range(variables)]
            held[f"up/{service}"] = document(service, children=children)
            held[f"up/{service}/state"] = b"{}"
            for one in range(variables):
                held[f"up/{service}/variable/V{one}"] = b"{}"
                held[f"up/{service}/value/V{one}"] = b"1"
    return held


def survey(held=None):
    router = Wired(Shape(BASE, "main", "full", "both", Plan(0, ()), ()), qos=1)
    held = {} if held is None else held
    return Survey(
        lambda: reading.pieces(router.shape, held),
        lambda: reading.hub_pieces(router.shape, held),
        held=held,
        base=BASE,
        probe=PROBE,
        token=b"token",
    )


@pytest.mark.parametrize("is_late", [False, True])
def test_a_tree_is_read_whole_and_nothing_is_published(is_late):
    model, one = Model(tree(), is_late=is_late), survey()
    model.carry_out(one)
    assert one.held == model.held
    assert not one.lacks
    assert not model.said


def test_what_comes_in_order_is_waited_for_once():
    model = Model(tree())
    model.carry_out(survey())
    assert model.awaited == 1


def test_at_an_empty_broker_a_probe_shows_that_all_is_well_and_is_gone():
    model, one = Model({}), survey()
    model.carry_out(one)
    assert model.said == [(PROBE, b"token"), (PROBE, b"")]
    assert (model.held, one.held, one.lacks) == ({}, {}, set())


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    ("odd", "lack"),
    [
        ({"by_wildcard": False}, Lack.WILDCARDS),
        ({"retains": False}, Lack.RETAINED),
        ({"clears": False}, Lack.CLEARING),
    ],
)
def test_what_a_broker_cannot_do_is_found_out(odd, lack, is_late):
    model, one = Model({}, is_late=is_late, **odd), survey()
    model.carry_out(one)
    assert one.lacks == {lack}
    assert len(told(one.lacks)) == 1


def test_a_tree_that_does_not_come_by_wildcard_is_told_of_and_left_alone():
    model, one = Model(tree(), by_wildcard=False), survey()
    model.carry_out(one)
    assert one.lacks == {Lack.WILDCARDS}
    assert not one.held
    assert PROBE not in model.held


def test_a_probe_that_a_crash_left_is_cleared_and_is_no_lack():
    model, one = Model(tree() | {PROBE: b"older"}), survey()
    model.carry_out(one)
    assert model.said == [(PROBE, b"")]
    assert PROBE not in {**model.held, **one.held}
    assert not one.lacks


def test_a_probe_that_cannot_be_cleared_is_seen_at_the_next_start_too():
    model = Model({}, clears=False)
    model.carry_out(survey())
    model.held |= tree()
    one = survey()
    model.carry_out(one)
    assert one.lacks == {Lack.CLEARING}


def test_where_a_probe_is_refused_nothing_is_known_and_nothing_said():
    model, one = Model({}, says_no=True), survey()
    model.carry_out(one)
    assert not one.lacks


@pytest.mark.parametrize("refused", ["up/+", "up/bridge/#"])
def test_a_filter_that_is_refused_is_no_lack_of_the_broker(refused):
    model, one = Model({}, refuses=lambda each: each == refused), survey()
    model.carry_out(one)
    assert one.refused == {refused: "no"}
    assert not one.lacks
    assert not model.said


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    ("most", "shape"),
    [
        (100, {"devices": 3, "variables": 60}),
        (25, {"devices": 2, "variables": 60}),
        (37, {"devices": 12, "variables": 15}),
        (1000, {"devices": 1, "variables": 300}),
        (1000, {"devices": 5, "variables": 60}),
    ],
)
def test_a_limit_is_found_out_and_read_around(most, shape, is_late):
    model, one = Model(tree(**shape), most=most, is_late=is_late), survey()
    model.carry_out(one)
    assert one.lacks == {Lack.MANY}
    assert one.limit == most
    assert f"{most:,} retained" in told(one.lacks, one.limit)[0]
    assert one.held == model.held


def test_more_devices_than_the_limit_are_known_by_our_own_table():
    held = tree(devices=30, variables=1, services=1)
    rows = b",".join(b'{"id":"D%d","subdevices":[]}' % number for number in range(30))
    held["up/bridge/main/devices"] = b"[%s]" % rows
    model, one = Model(held, most=20), survey()
    model.carry_out(one)
    assert one.limit == 20
    assert one.held == held


@pytest.mark.parametrize("shape", [{"devices": 3}, {"devices": 20, "variables": 45}])
def test_what_is_counted_a_second_time_is_bounded(shape):
    model, one = Model(tree(**shape)), survey()
    model.carry_out(one)
    assert not one.lacks
    assert model.handed_over - len(model.held) < 3_000


def test_what_is_cleared_meanwhile_is_no_limit():
    class Clearing(Model):
        def found(self, filters):
            filters = list(filters)
            if filters == ["up/#"]:
                self.held.pop("up/D0/S0/value/V1", None)
            return list(super().found(filters))

    model, one = Clearing(tree()), survey()
    model.carry_out(one)
    assert not one.lacks


def test_an_empty_message_that_is_handed_over_as_retained_is_none():
    one = survey()
    one.take("up/D/availability", b"")
    assert not one.held
