"""What a start with many devices takes, counted: publications, encodings, what waits at a time."""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType

from bridge.core import accessors, jsontext
from bridge.core.branch import Shape
from bridge.core.model import Description
from bridge.core.polling import Plan
from bridge.router import Router
from tests.unit.captured import captured
from tests.unit.devices import described, device
from tests.unit.hubs import home_assistant

MANY = 40
NOW = "2026-01-02T00:00:00.000Z"
SHARED = captured("gmediarender/1").device


def same(number: int) -> Description:
    """One of many devices of a make."""
    return described(device(f"Player-{number}", *SHARED.children))


def started(held: dict[str, bytes] | None = None) -> Router:
    plan = Plan(60)
    router = Router(Shape("upnp", "main", plan=plan, hubs=(home_assistant(plan=plan),)), qos=1)
    router.open(held or {}, 262_144, None)
    return router


def published(router: Router) -> list[str]:
    return [one.topic for one in iter(router.take, None) if one.retain]


def calls(work: Callable[[], object], *functions: Callable[..., object]) -> int:
    """Return how often these functions were called."""
    codes = {function.__code__ for function in functions}
    count = 0

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code in codes

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_a_cold_start_publishes_every_topic_once():
    router = started()
    for number in range(MANY):
        udn = f"Player-{number}"
        router.device_joined(same(number), "first")
        router.variables_changed(udn, "RenderingControl", [("Volume", "1")], initial=True)
        router.take()
    for number in range(MANY):
        udn = f"Player-{number}"
        router.variables_changed(
            udn, "ConnectionManager", [("SinkProtocolInfo", "a")], initial=True
        )
    topics = Counter(published(router))
    assert len([topic for topic in topics if topic.startswith("upnp/Player-3/")]) > 200
    assert {topic for topic, times in topics.items() if times > 1} <= {"upnp/bridge/main/devices"}


def test_a_warm_start_publishes_nothing_of_devices():
    first = started()
    held: dict[str, bytes] = {}
    for number in range(MANY):
        first.device_joined(same(number), "first")
    while (one := first.take()) is not None:
        held |= {one.topic: one.payload} if one.retain else {}
    second = started(held)
    for number in range(MANY):
        second.device_joined(same(number), "first")
    assert published(second) == []


def test_while_many_devices_join_the_trees_of_few_wait():
    router = started()
    for number in range(MANY):
        router.device_joined(same(number), "first")
    at_most = 0
    while router.take() is not None:
        at_most = max(at_most, len(router.mirror.ledger))
    of_one = router.mirror.announce(["Player-1"])
    assert at_most <= 10 * of_one < MANY * of_one


def test_of_a_device_more_with_the_same_scpds_little_is_worked_out():
    router = started()
    router.device_joined(same(0), "first")
    published(router)
    ends: list[str] = []

    def one_more(number: int) -> None:
        router.device_joined(same(number), "first")
        ends[:] = published(router)

    assert calls(lambda: one_more(1), jsontext.encode) < len(ends) / 10
    assert calls(lambda: one_more(2), accessors._best) == 0
    assert len(ends) > 200
