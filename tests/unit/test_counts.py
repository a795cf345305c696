"""What starts and events take, counted: publications, encodings, readings, what waits or stays."""

import gc
import sys
from collections import Counter
from collections.abc import Callable
from math import inf
from types import FrameType
from xml.sax.saxutils import escape

from bridge.formats import jsontext, xml
from bridge.model import accessors, topics
from bridge.model.device import Description
from bridge.polling.plan import Plan
from bridge.publishing import Publishing
from bridge.tree.device_tree import Shape
from bridge.tree.mirrored_device import Player
from bridge.upnp.gena.event_body import read_properties
from tests.unit.captured import captured
from tests.unit.devices import described, device
from tests.unit.hubs import home_assistant

MANY = 40
NOW = "2026-01-02T00:00:00.000Z"
SHARED = captured("gmediarender/1").device


def same(number: int) -> Description:
    """One of many devices of a make."""
    return described(device(f"Player-{number}", *SHARED.children))


def started(held: dict[str, bytes] | None = None) -> Publishing:
    plan = Plan(60)
    router = Publishing(Shape("upnp", "main", plan=plan, hubs=(home_assistant(),)), qos=1)
    router.open(held or {}, 262_144, None)
    return router


def published(router: Publishing) -> list[str]:
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
        router.apply_event(udn, "RenderingControl", [("Volume", "1")], initial=True)
        router.take()
    for number in range(MANY):
        udn = f"Player-{number}"
        router.apply_event(udn, "ConnectionManager", [("SinkProtocolInfo", "a")], initial=True)
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
    of_one = router.mirror.announcing.publish_again(["Player-1"])
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


# Events

AVT = "urn:schemas-upnp-org:metadata-1-0/AVT/"
SMALL = (
    '<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0"><e:property>'
    "<CurrentConnectionIDs>{}</CurrentConnectionIDs></e:property></e:propertyset>"
)


class Playing:
    """A router with a renderer whose tree is published; its events come as bytes."""

    def __init__(self) -> None:
        self.router = started()
        self.router.device_joined(same(0), "first")
        self.last_change("STOPPED", 1, initial=True)
        self.small(0, initial=True)
        self.taken()
        for player in self.router.mirror.mirrored_devices["Player-0"].players.values():
            player.told_s = -inf  # long ago

    def small(self, number: int, *, initial: bool = False) -> None:
        self._event("ConnectionManager", SMALL.format(number), initial=initial)

    def last_change(self, state: str, track: int, *, initial: bool = False) -> None:
        told = {
            "TransportState": state,
            "CurrentTrack": str(track),
            "CurrentTrackURI": f"http://192.0.2.1/{track}.flac",
            "NumberOfTracks": "12",
            "TransportStatus": "OK",
        }
        variables = "".join(f'<{name} val="{text}"/>' for name, text in told.items())
        inner = f'<Event xmlns="{AVT}"><InstanceID val="0">{variables}</InstanceID></Event>'
        outer = f"<propertyset><property><LastChange>{escape(inner)}</LastChange></property>"
        self._event("AVTransport", f"{outer}</propertyset>", initial=initial)

    def _event(self, service: str, body: str, *, initial: bool) -> None:
        properties = read_properties(body.encode())
        self.router.apply_event("Player-0", service, properties, initial=initial)

    def taken(self) -> list[str]:
        return [topic.removeprefix("upnp/Player-0/") for topic in published(self.router)]


def test_an_event_is_its_changed_values_one_state_and_one_media():
    world = Playing()
    world.small(7)
    assert world.taken() == [
        "ConnectionManager/value/CurrentConnectionIDs",
        "ConnectionManager/state",
    ]
    world.last_change("PLAYING", 1)
    assert world.taken() == [
        "AVTransport/value/TransportState/0",
        "AVTransport/state",
        "media",
    ]


def test_an_event_that_changes_nothing_is_neither_encoded_nor_published():
    world = Playing()

    def again() -> None:
        world.small(0)
        world.last_change("STOPPED", 1)
        assert world.taken() == []

    assert calls(again, jsontext.encode, Player.shown) == 0


def test_an_event_is_read_as_xml_once_and_what_is_within_a_last_change_once_more():
    world = Playing()
    assert calls(lambda: world.small(1), xml.parse) == 1
    assert calls(lambda: world.last_change("PLAYING", 2), xml.parse) == 2


def test_a_state_is_encoded_when_it_is_taken_once_for_all_events_until_then():
    world = Playing()

    def many() -> None:
        for number in range(1, 101):
            world.small(number)
            world.last_change("PLAYING", number)

    assert calls(many, jsontext.encode) == 0
    assert calls(world.taken, jsontext.encode) == len(["state", "state", "media"])


def test_topics_are_built_once_for_many_events():
    world = Playing()
    world.last_change("PLAYING", 2)

    def many() -> None:
        for number in range(100):
            world.last_change("PLAYING", number)

    assert calls(many, topics.encode_level, topics._encode) <= 100


def test_ten_thousand_events_leave_nothing_behind():
    world = Playing()

    def events(count: int) -> int:
        for number in range(count):
            world.small(number)
            world.last_change("PLAYING", number % 100)
            if number % 3 == 0:
                world.taken()
        world.taken()
        gc.collect()
        return sys.getallocatedblocks()

    before = events(500)
    assert events(5_000) - before < 1000  # two events each; hubs are told once in between
