"""Messages to calls, verbs and neighbours; what waits for the broker; hubs that start."""

import asyncio
import json
from functools import partial

import pytest

from bridge.runtime import Clock
from bridge.tree import reading
from bridge.tree.device_tree import Shape
from bridge.tree.handover import FIRST_S, YIELD_S, Claim, Handover
from bridge.tree.instances import weight, write_sees
from bridge.tree.messages import Message, Publication
from tests.unit.devices import (
    RENDERING_CONTROL,
    described,
    device,
    renderer,
    router,
    scpd,
    service,
)
from tests.unit.hubs import home_assistant
from tests.unit.wired import Wired

LIMIT = 100_000


class Onlooking:
    """A router with what it was told to do."""

    def __init__(self, instance="m", held=None, *, echoes=False, hubs=()):
        self.woken = 0
        self.waits: list[float] = []
        self.calls: list[tuple[str, ...]] = []
        self.verbs: list[tuple[str, str]] = []
        self.now_s = 0.0
        self.router = Wired(
            Shape("a/b", instance, hubs=hubs), qos=1, clock=Clock(monotonic=lambda: self.now_s)
        )
        self.router.attach(self)
        self.router.open(held or {}, LIMIT, None)
        self.router.begin(echoes=echoes)
        self.dispatch = self.router.receiving(
            lambda _, device, read: self.calls.append((device, read)),
            lambda _, name, answer: self.verbs.append((name, answer)),
        )
        self.dispatch.begin(echoes=echoes)
        self.taken()

    def wake(self):
        self.woken += 1

    def wake_in(self, delay_s):
        self.waits.append(delay_s)

    def taken(self):
        found = []
        while publication := self.router.take():
            found.append(publication)
        return found

    def later(self, seconds=6.0):
        """What is published meanwhile; by itself until the first values are waited for no more."""
        found = self.taken()
        self.now_s += seconds
        return found + self.taken()

    def owns(self, device="Renderer-1"):
        return self.router.mirror.mirrored_devices[device].owned

    def topics(self):
        return [one.topic for one in self.taken()]

    def receive(self, topic, payload=b"{}", *, retain=False):
        self.dispatch.receive(Message(f"a/b/{topic}", payload, retain))


def test_commands_go_where_they_belong():
    world = Onlooking()
    world.receive("D/call")
    world.receive("D/S/action/A%2F/call")
    world.receive("bridge/m/request/search")
    world.receive("bridge/all/request/health")
    assert [device for device, _ in world.calls] == ["D", "D"]
    assert world.verbs == [
        ("search", "a/b/bridge/m/response/search"),
        ("health", "a/b/bridge/m/response/health"),
    ]


@pytest.mark.parametrize(
    "topic",
    ["reply/call", "bridge/call", "reply/S/action/A/call", "bridge/S/action/A/call"],
)
def test_what_only_looks_like_a_command_is_left_alone(topic):
    world = Onlooking()
    world.receive(topic)
    world.receive(topic, retain=True)
    assert not world.calls
    assert not world.verbs
    assert not world.topics()


@pytest.mark.parametrize("topic", ["D/call", "D/S/action/A/call", "bridge/m/request/search"])
def test_a_retained_command_is_cleared_and_handed_on_once(topic):
    for echoes in (False, True):
        world = Onlooking(echoes=echoes)
        world.receive(topic, retain=True)
        assert len(world.calls) + len(world.verbs) == 1
        assert world.taken() == [Publication(f"a/b/{topic}", b"", retain=True)]
        if echoes:
            world.receive(topic, b"")
            assert len(world.calls) + len(world.verbs) == 1
        world.receive(topic, b"")
        assert len(world.calls) + len(world.verbs) == 2


def test_an_empty_retained_message_is_no_command():
    world = Onlooking()
    world.receive("D/call", b"", retain=True)
    assert not world.calls
    assert not world.topics()


def test_answers_go_before_the_tree_and_news_behind_answers():
    world = Onlooking()
    world.router.device_joined(renderer(), "first")
    world.router.reply(Publication("x/response", b"{}", retain=False))
    taken = world.taken()
    assert taken[0].topic == "x/response"
    assert taken[0].expiry_s == 60
    assert taken[2].topic == "a/b/bridge/m/event"
    news = json.loads(taken[2].payload)
    assert list(news) == ["event", "id", "friendly_name", "reason", "time"]
    assert (news["event"], news["id"]) == ("device_joined", "Renderer-1")
    assert not taken[2].retain


def test_the_table_stands_before_a_device_and_its_availability_behind_it():
    world = Onlooking()
    world.router.device_joined(router(), "first")
    topics = [t for t in world.topics() if not t.endswith("/event")]
    assert topics[0] == "a/b/Router-1"
    assert set(topics[-4:]) >= {"a/b/Router-1/availability", "a/b/Router-1-wan/availability"}


def test_an_event_publishes_its_values_then_the_state():
    world = Onlooking()
    world.router.device_joined(renderer(), "first")
    world.taken()
    for _ in range(2):
        world.router.apply_event(
            "Renderer-1", "RenderingControl", [("Volume", "07")], initial=False
        )
    own = "a/b/Renderer-1/RenderingControl"
    assert world.topics() == [f"{own}/value/Volume", f"{own}/state"]
    assert world.router.counters.events == 2


@pytest.mark.parametrize(
    ("udn", "level"), [("nobody", "S"), ("Renderer-1", "nothing"), ("", ""), ("Renderer-1", "")]
)
def test_an_event_of_nobody_changes_nothing(udn, level):
    world = Onlooking()
    world.router.device_joined(renderer(), "first")
    world.taken()
    world.router.apply_event(udn, level, [("V", "1")], initial=True)
    assert not world.topics()


def test_without_a_broker_answers_wait_and_news_are_lost():
    world = Onlooking()
    world.router.device_joined(renderer(), "first")
    world.router.reply(Publication("x/response", b"{}", retain=False))
    world.router.close()
    world.router.device_left("Renderer-1", "byebye")
    assert world.topics() == ["x/response"]
    world.router.open({}, LIMIT, None)
    topics = world.topics()
    assert "a/b/Renderer-1" in topics
    assert not [topic for topic in topics if topic.endswith("/event")]


def test_a_device_that_leaves_twice_is_told_of_once():
    world = Onlooking()
    world.router.device_joined(renderer(), "first")
    world.taken()
    for _ in range(2):
        world.router.device_left("renderer-1".replace("renderer", "Renderer"), "byebye")
    events = [one for one in world.taken() if one.topic.endswith("/event")]
    assert [json.loads(one.payload)["event"] for one in events] == ["device_left"]


def test_a_device_that_is_denied_is_cleared():
    world = Onlooking()
    world.router.device_joined(renderer(), "first")
    published = {one.topic for one in world.taken() if one.retain}
    world.router.device_left("Renderer-1", "denied")
    cleared = [one.topic for one in world.taken() if one.retain and not one.payload]
    assert cleared[0] == "a/b/Renderer-1"
    assert {t for t in published if "Renderer" in t} == set(cleared)
    world.router.device_left("nobody", "denied")


def claim(owner):
    return Message("a/b/Renderer-1", json.dumps({"bridge": owner}).encode(), retain=False)


def state(instance, payload=b"online"):
    return Message(f"a/b/bridge/{instance}/state", payload, retain=False)


def sees(instance, *devices):
    return Message(f"a/b/bridge/{instance}/sees", write_sees(devices), retain=False)


class Sharing(Onlooking):
    """A bridge beside another that comes before it, or behind it, for the renderer."""

    def __init__(self, *, is_first, held=None):
        one, other = sorted("am", key=lambda name: weight("Renderer-1", name), reverse=is_first)
        self.other = other
        super().__init__(one, {**(held or {}), f"a/b/bridge/{other}/sees": write_sees(())})
        self.own = one

    def hear(self, *messages):
        """Hear these, and of what is published what the broker returns."""
        for one in messages:
            self.router.ownership.receive(one)
        return self.settled()

    def settled(self):
        found = []
        for _ in range(8):
            self.router.ownership.step()
            asyncio.run(self.router.ownership.take())
            new = self.taken()
            found += new
            for one in new:
                if one.topic in (f"a/b/bridge/{self.own}/sees", f"a/b/bridge/{self.own}/state"):
                    self.router.ownership.receive(one)
        return found

    def join(self):
        self.router.ownership.go_online()
        self.router.ownership.receive(state(self.own))
        self.router.device_joined(renderer(), "first")
        self.now_s += 1
        return self.settled()


def news(published, name):
    found = [json.loads(one.payload) for one in published if one.topic.endswith("/event")]
    return [one for one in found if one["event"] == name]


def test_a_device_is_left_to_who_comes_before_us_and_taken_when_that_is_gone():
    world = Sharing(is_first=False)
    world.join()
    assert world.owns()
    found = world.hear(state(world.other), sees(world.other, "Renderer-1"))
    assert not world.owns()
    (event,) = news(found, "devices_yielded")
    assert (event["ids"], event["to"]) == (["Renderer-1"], world.other)
    assert not [one for one in found if "Renderer-1" in one.topic]
    assert world.router.followed == []
    world.router.apply_event("Renderer-1", "RenderingControl", [("Volume", "1")], initial=True)
    assert not [topic for topic in world.topics() if "Renderer-1" in topic]
    found = world.hear(claim(world.other), state(world.other, b"offline"))
    assert world.owns()
    assert world.router.followed
    topics = [one.topic for one in found]
    assert "a/b/Renderer-1" in topics
    assert "a/b/Renderer-1/RenderingControl/value/Volume" in topics


def test_a_device_stays_when_one_behind_us_comes():
    world = Sharing(is_first=True)
    world.join()
    found = world.hear(state(world.other), sees(world.other, "Renderer-1"))
    assert world.owns()
    assert not [one for one in found if "Renderer-1" in one.topic]


def test_a_device_is_taken_when_its_owner_says_that_it_has_left_it():
    world = Sharing(is_first=True)
    world.hear(state(world.other), sees(world.other, "Renderer-1"), claim(world.other))
    found = world.join()
    assert not world.owns()
    assert not [one for one in found if "Renderer-1" in one.topic]
    world.receive("Renderer-1/call", b"1")
    event = {"event": "devices_yielded", "ids": ["Renderer-1"], "to": world.own, "taken": []}
    left = Message(f"a/b/bridge/{world.other}/event", json.dumps(event).encode(), retain=False)
    assert "a/b/Renderer-1" in [one.topic for one in world.hear(left)]
    assert world.owns()


def test_a_device_is_taken_when_its_owner_does_not_answer():
    world = Sharing(is_first=True)
    world.hear(state(world.other), sees(world.other, "Renderer-1"), claim(world.other))
    world.join()
    assert not world.owns()
    world.now_s += YIELD_S
    assert "a/b/Renderer-1" in [one.topic for one in world.settled()]
    assert world.owns()


def test_commands_wait_while_a_device_changes_hands_but_for_those_that_are_done():
    done: list[bytes] = []
    handover = Handover()
    claim = handover.claims["D"] = Claim(0.0, "a")
    first, second = (Message("u/D/call", text, retain=False) for text in (b"1", b"2"))
    for one in (first, second, second):
        assert handover.hold("D", one, partial(done.append, one.payload))
    other = Handover()
    other.took("D", first, 1.0)
    other.took("D", second, 1.0)
    other.took("E", second, 1.0)
    claim.confirm(2.0, other.taken(["D"], 2.0))
    for _, do in claim.held:
        do()
    assert done == [b"2"]
    assert other.taken(["D"], 60.0) == []
    assert not handover.hold("E", first, lambda: None)


def test_commands_that_wait_for_a_device_are_bounded_and_lost_with_its_owner():
    handover = Handover()
    claim = handover.claims["D"] = Claim(0.0, "a")
    for number in range(100):
        one = Message("u/D/call", b"%d" % number, retain=False)
        assert handover.hold("D", one, lambda: None)
    assert len(claim.held) < 100
    claim.give_up_waiting(1.0)
    assert claim.held == []


def test_a_new_device_waits_for_who_would_own_it_and_may_see_it():
    world = Sharing(is_first=False)
    world.hear(state(world.other))
    world.router.ownership.go_online()
    world.hear(state(world.own))
    world.router.device_joined(renderer(), "first")
    assert "a/b/Renderer-1" not in [one.topic for one in world.settled()]
    world.now_s += FIRST_S
    found = world.settled()
    assert "a/b/Renderer-1" in [one.topic for one in found]
    assert [one["reason"] for one in news(found, "device_joined")] == ["first"]


def test_who_is_silent_is_called_offline_and_its_devices_are_taken():
    world = Sharing(is_first=False)
    world.join()
    world.hear(state(world.other), sees(world.other, "Renderer-1"))
    for _ in range(5):
        world.now_s += 3.5
        found = world.settled()
    offline = [one for one in found if one.topic == f"a/b/bridge/{world.other}/state"]
    assert {(one.payload, one.retain) for one in offline} == {(b"offline", True)}
    world.hear(state(world.other, b"offline"))
    assert world.owns()


def test_who_was_held_up_itself_calls_nobody_offline():
    world = Sharing(is_first=False)
    world.join()
    world.hear(state(world.other), sees(world.other, "Renderer-1"))
    world.now_s += 60
    assert not [one for one in world.settled() if one.topic.endswith(f"{world.other}/state")]


def test_it_beats_only_while_another_is_there():
    world = Sharing(is_first=True)
    assert not [one for one in world.join() if one.topic.endswith("/beat")]
    (beat,) = (one for one in world.hear(state(world.other)) if one.topic.endswith("/beat"))
    assert (beat.retain, beat.qos, json.loads(beat.payload)) == (False, 0, {"sees": 1, "owns": 1})
    assert not [one for one in world.settled() if one.topic.endswith("/beat")]


def test_a_device_of_an_instance_that_is_not_online_is_ours():
    held = {"a/b/Renderer-1": b'{"id":"Renderer-1","bridge":"a"}'}
    world = Onlooking(held=held)
    world.router.device_joined(renderer(), "first")
    assert world.owns()


def test_a_device_of_an_older_version_is_not_touched():
    held = {
        "a/b/Renderer-1": b'{"id":"Renderer-1","bridge":"a"}',
        "a/b/bridge/a/state": b"online",
    }
    world = Onlooking(held=held)
    world.router.device_joined(renderer(), "first")
    assert not world.owns()
    assert not [topic for topic in world.topics() if "Renderer" in topic]
    assert world.router.instances.answers_elsewhere("Renderer-1")
    assert world.router.instances.answers_elsewhere("nobody")


def test_our_own_state_called_offline_is_noticed():
    world = Onlooking()
    assert not world.router.ownership.receive(state("m", b"offline"))
    assert world.router.ownership.receive(state("m", b"online"))
    assert world.router.ownership.receive(state("z", b"offline"))


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b'{"bridge":[]}', b"[" * 9999])
def test_no_document_of_others_breaks_it(payload):
    world = Onlooking()
    mirrored = world.router.device_joined(renderer(), "first")
    world.router.ownership.receive(Message("a/b/Renderer-1", payload, retain=False))
    assert mirrored.owned


def test_log_lines_are_told_whatever_they_hold():
    world = Onlooking()
    world.router.publish_log({"event": "x", "error": ValueError("no"), "n": 1, "none": None})
    (line,) = world.taken()
    assert line.topic == "a/b/bridge/m/log"
    assert json.loads(line.payload) == {"event": "x", "error": "no", "n": 1, "none": None}
    assert not line.retain


# Hubs

HUB = home_assistant(base="a/b", instance="m")
BIRTH = "homeassistant/status"
OWN_TOPIC = HUB.own_topics()[0]


def hub_topic(device: str) -> str:
    (topic,) = HUB.topics(device)
    return topic


def document(device: str, bridge: str = "m", root: str | None = None) -> bytes:
    return json.dumps({"id": device, "root": root or device, "bridge": bridge}).encode()


def born(payload: bytes = b"online", *, retain: bool = False) -> Message:
    return Message(BIRTH, payload, retain=retain)


def with_devices() -> Onlooking:
    """A bridge with two devices of its own, all of which is published."""
    world = Onlooking(hubs=(HUB,))
    for description in (renderer(), router()):
        world.router.device_joined(description, "first")
    told = '<Volume channel="Master" val="1"/>'
    world.router.apply_event(
        "Renderer-1",
        "RenderingControl",
        [("LastChange", f'<Event><InstanceID val="0">{told}</InstanceID></Event>')],
        initial=False,
    )
    world.later()
    return world


def test_what_hubs_were_told_of_is_read_of_every_device_that_the_broker_names():
    held = {
        "a/b/D": document("D"),
        "a/b/E": document("E", root="D"),
        "a/b/F": document("F", bridge="other"),
        "a/b/bridge/m/devices": b'[{"id":"G","subdevices":["H"]}]',
        "a/b/notes": b"nobody's",
    }
    pieces = list(reading.hub_pieces(Onlooking(hubs=(HUB,)).router.shape, held))
    assert pieces == [(OWN_TOPIC, *(hub_topic(device) for device in "DEFGH"))]


def test_what_hubs_were_told_of_is_read_a_few_topics_at_a_time():
    held = {f"a/b/D{n}": document(f"D{n}") for n in range(120)}
    pieces = list(reading.hub_pieces(Onlooking(hubs=(HUB,)).router.shape, held))
    assert max(map(len, pieces)) == 50
    topics = [topic for piece in pieces for topic in piece]
    assert len(topics) == len(set(topics)) == 121
    assert all("+" not in topic and "#" not in topic for topic in topics)


def test_without_hubs_nothing_more_is_read_and_nobody_is_born():
    world = Onlooking()
    assert list(reading.hub_pieces(world.router.shape, {"a/b/D": document("D")})) == []
    assert world.router.shape.birth_topics == ()


def test_a_hub_that_is_not_enabled_is_read_to_be_cleared_and_not_heard():
    hub = home_assistant(base="a/b", instance="m", enabled=False)
    held = {"a/b/D": document("D"), OWN_TOPIC: b"{}", hub_topic("D"): b"{}"}
    world = Onlooking(hubs=(hub,))
    assert list(reading.hub_pieces(world.router.shape, held)) == [(OWN_TOPIC, hub_topic("D"))]
    assert world.router.shape.birth_topics == ()
    world.router.open(held, LIMIT, None)
    cleared = [one.topic for one in world.taken() if not one.payload]
    assert {OWN_TOPIC, hub_topic("D")} <= set(cleared)


@pytest.mark.parametrize(
    "message",
    [
        born(retain=True),
        born(b"offline"),
        born(b"offline", retain=True),
        born(b""),
        born(b"ONLINE"),
    ],
)
def test_a_hub_that_does_not_start_now_is_told_nothing(message):
    world = with_devices()
    woken = world.woken
    world.router.hub_started(message)
    assert world.taken() == []
    assert world.woken == woken


def test_a_hub_that_starts_is_told_of_all_devices_and_then_their_states():
    world = with_devices()
    assert world.router.shape.birth_topics == (BIRTH,)
    world.router.hub_started(born())
    taken = world.taken()
    assert all(one.retain and one.payload for one in taken)
    topics = [one.topic for one in taken]
    assert len(topics) == len(set(topics))
    documents, states = topics[:3], topics[3:]
    assert documents == [OWN_TOPIC, hub_topic("Renderer-1"), hub_topic("Router-1")]
    assert {
        "a/b/Renderer-1/availability",
        "a/b/Renderer-1/RenderingControl/value/Volume/0/Master",
        "a/b/Router-1/availability",
        "a/b/bridge/m/state",
    } <= set(states)
    # What no hub takes a state from is not told again.
    assert not [
        one for one in states if one.endswith(("/state", "/Renderer-1")) and "bridge" not in one
    ]
    by_topic = {one.topic: one.payload for one in taken}
    assert by_topic["a/b/bridge/m/state"] == b"online"
    referred = {one for topic in documents for one in HUB.sources(by_topic[topic])}
    assert set(states) <= referred


def test_a_hub_that_starts_twice_is_told_twice_and_has_all_only_once_meanwhile():
    world = with_devices()
    world.router.hub_started(born())
    once = world.topics()
    for _ in range(2):
        world.router.hub_started(born())
    assert world.topics() == once
    world.router.hub_started(born())
    assert world.topics() == once


def test_a_hub_that_starts_is_not_told_of_the_devices_of_others():
    world = with_devices()
    world.router.ownership.receive(state("a"))
    world.router.ownership.receive(claim("a"))
    assert hub_topic("Renderer-1") not in [one.topic for one in world.later()]
    world.router.hub_started(born())
    again = world.topics()
    assert hub_topic("Router-1") in again
    assert not [topic for topic in again if "Renderer-1" in topic]

    world.router.ownership.receive(state("a", b"offline"))
    asyncio.run(world.router.ownership.take())
    assert hub_topic("Renderer-1") in [one.topic for one in world.later()]


def test_a_device_that_another_takes_keeps_what_hubs_were_told():
    world = with_devices()
    world.router.ownership.receive(state("a"))
    world.router.ownership.receive(claim("a"))
    assert not world.owns()
    assert not [topic for topic in world.topics() if topic.startswith("homeassistant/")]


def test_a_hub_that_starts_is_told_of_a_device_that_is_away_too():
    world = with_devices()
    world.router.device_left("Renderer-1", "byebye")
    world.taken()
    world.router.hub_started(born())
    taken = {one.topic: one.payload for one in world.taken()}
    assert hub_topic("Renderer-1") in taken
    assert taken["a/b/Renderer-1/availability"] == b"offline"


def test_answers_and_the_tree_take_turns():
    world = Onlooking()
    for number in range(3):
        world.router.reply(Publication(f"answer/{number}", b"", retain=False))
        world.router.mirror.ledger.put(f"tree/{number}", b"1")
    world.router.reply(Publication("answer/3", b"", retain=False))
    assert world.topics() == [
        *("answer/0", "tree/0", "answer/1", "tree/1", "answer/2", "tree/2", "answer/3")
    ]


def test_media_that_waits_for_its_time_wakes_the_session_or_goes_when_the_bridge_leaves():
    world = Onlooking()
    player = described(device("Renderer-1", service("AVTransport", RENDERING_CONTROL)))
    world.router.device_joined(player, "first")
    world.taken()
    for number in range(3):
        text = f'<Event><InstanceID val="0"><CurrentTrack val="{number}"/></InstanceID></Event>'
        world.router.apply_event("Renderer-1", "AVTransport", [("LastChange", text)], initial=False)
        world.taken()
    assert world.waits
    assert all(0 < one <= 0.1 for one in world.waits)
    world.router.leave()
    assert world.topics() == ["a/b/Renderer-1/media"]


def happening(count: int = 1, start: int = 0) -> list[tuple[str, str]]:
    objects = "".join(f'<objAdd objID="{n}"/>' for n in range(start, start + count))
    xmlns = "urn:schemas-upnp-org:av:cds-event"
    return [("LastChange", f'<StateEvent xmlns="{xmlns}">{objects}</StateEvent>')]


def server_with_objects() -> Onlooking:
    world = Onlooking()
    content = scpd("LastChange:string", "SystemUpdateID:ui4")
    world.router.device_joined(described(device("S", service("ContentDirectory", content))), "new")
    world.taken()
    return world


def test_what_happens_that_is_no_value_is_told_and_not_retained():
    world = server_with_objects()
    event = [*happening(2), ("SystemUpdateID", "7")]
    world.router.apply_event("S", "ContentDirectory", event, initial=False)
    taken = world.taken()
    told = [one for one in taken if one.topic == "a/b/S/ContentDirectory/event"]
    assert [json.loads(one.payload) for one in told] == [
        {"event": "objAdd", "objID": "0"},
        {"event": "objAdd", "objID": "1"},
    ]
    assert {(one.retain, one.qos) for one in told} == {(False, 1)}
    assert {one.topic.removeprefix("a/b/S/ContentDirectory/") for one in taken} == {
        *("event", "value/SystemUpdateID", "state")
    }


def test_what_a_first_event_repeats_has_not_happened_now():
    world = server_with_objects()
    world.router.apply_event("S", "ContentDirectory", happening(), initial=True)
    assert "a/b/S/ContentDirectory/event" not in world.topics()


def test_what_happens_without_a_broker_or_at_a_device_of_others_is_not_told():
    world = server_with_objects()
    world.router.apply_event("S", "ContentDirectory", happening(), initial=False)
    world.router.close()
    world.router.apply_event("S", "ContentDirectory", happening(), initial=False)
    world.router.open({}, LIMIT, None)
    assert "a/b/S/ContentDirectory/event" not in world.topics()
    world.router.mirror.mirrored_devices["S"].owned = False
    world.router.apply_event("S", "ContentDirectory", happening(), initial=False)
    assert world.topics() == []


def test_a_flood_of_what_happens_is_bounded_and_starves_no_value():
    world = server_with_objects()
    for number in range(50):
        event = [*happening(100, number * 100), ("SystemUpdateID", str(number))]
        world.router.apply_event("S", "ContentDirectory", event, initial=False)
    topics = world.topics()
    assert topics.count("a/b/S/ContentDirectory/event") == 1000
    assert "a/b/S/ContentDirectory/value/SystemUpdateID" in topics[:2]


def test_a_service_may_have_the_name_of_what_happens():
    world = Onlooking()
    odd = service("event", scpd("LastChange:string", "event:string"))
    world.router.device_joined(described(device("S", odd)), "new")
    world.taken()
    event = [*happening(), ("event", "x")]
    world.router.apply_event("S", "event", event, initial=False)
    assert set(world.topics()) == {
        *("a/b/S/event/event", "a/b/S/event/value/event", "a/b/S/event/state")
    }
