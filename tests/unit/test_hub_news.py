"""When hubs are told of devices, held against a broker that holds what it is given."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.model.device import Description, Key
from bridge.polling.plan import Plan
from bridge.tree.device_tree import Shape
from bridge.tree.hub_schedule import FIRST_STATE_S, GONE_S, NEWBORN_S, QUIET_S
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree
from tests.unit import kinds
from tests.unit.devices import described, device
from tests.unit.hubs import NO_LIMIT, call_of, home_assistant
from tests.unit.kinds import part, quiet, variable

NOW = "2026-01-01T00:00:00.000Z"
RENDERER = described(kinds.renderer("R"))
TOPIC = "homeassistant/device/upnp2mqtt_R/config"


class World:
    """A mirror at some time, and what the broker holds."""

    def __init__(self, held: dict[str, bytes] | None = None, *, plan: Plan = Plan()) -> None:  # noqa: B008 - frozen
        self.now_s = 100.0
        self.held = dict(held or {})
        self.published: list[tuple[str, bytes]] = []
        self.hub = home_assistant()
        shape = Shape("upnp", "main", plan=plan, hubs=(self.hub,))
        self.mirror = Mirror(shape)
        retained_tree = RetainedTree(
            self.held,
            base="upnp",
            instance="main",
            own_outside=shape.own_hub_topics(),
            outside=shape.hub_topics,
        )
        self.mirror.open(retained_tree, NO_LIMIT, lambda _: False)
        self.drain()

    def drain(self, *, is_leaving: bool = False) -> None:
        while (due := self.mirror.take(self.now_s, is_leaving=is_leaving)) is not None:
            topic, entry = due
            self.published.append((topic, entry.payload))
            if entry.payload:
                self.held[topic] = entry.payload
            else:
                self.held.pop(topic, None)

    def later(self, seconds: float) -> list[dict[str, Any]]:
        """Return the documents for hubs that are published meanwhile."""
        end_s, mark = self.now_s + seconds, len(self.published)
        self.drain()
        while (due_s := self.mirror.due_s) is not None and due_s <= end_s:
            self.now_s = max(self.now_s, due_s)
            self.drain()
        self.now_s = end_s
        self.drain()
        return self.told(mark)

    def told(self, since: int = 0, topic: str = TOPIC) -> list[dict[str, Any]]:
        return [json.loads(p or b"null") for t, p in self.published[since:] if t == topic]

    def join(self, description: Description = RENDERER) -> None:
        self.mirror.join(description)
        self.drain()

    def event(self, service: str, *told: tuple[str, str], initial: bool = False) -> None:
        self.mirror.apply_event(service, told, initial=initial, now=NOW)
        self.drain()

    def change(self, service: str, inner: str, *, initial: bool = False) -> None:
        text = f'<Event><InstanceID val="0">{inner}</InstanceID></Event>'
        self.event(service, ("LastChange", text), initial=initial)

    def components(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self.held[TOPIC])["components"])


def volume(value: int, channel: str | None = "Master") -> str:
    named = f' channel="{channel}"' if channel else ""
    return f'<Volume{named} val="{value}"/>'


def playing() -> World:
    """A renderer that has told all that it does."""
    world = World()
    world.join()
    world.change("R/AVTransport", '<TransportState val="STOPPED"/>', initial=True)
    world.change("R/RenderingControl", volume(20), initial=True)
    world.later(60)
    return world


def test_a_new_device_is_told_of_once_with_its_first_values():
    world = World()
    world.join()
    world.change("R/AVTransport", '<TransportState val="STOPPED"/>', initial=True)
    assert world.told() == []
    world.change("R/RenderingControl", volume(20), initial=True)
    world.later(60)
    assert len(world.told()) == 1
    assert "renderingcontrol_volume" in world.components()
    assert "renderingcontrol_mute" not in world.components()


def test_a_device_that_says_nothing_is_told_of_after_a_while_by_what_it_can_be_called_to_do():
    world = World()
    world.join()
    assert world.later(FIRST_STATE_S - 0.1) == []
    (document,) = world.later(0.2)
    assert "avtransport_play" in document["components"]
    assert not [key for key in document["components"] if "volume" in key or "mute" in key]
    assert "avtransport_title" not in document["components"]
    assert world.later(600) == []


def test_what_is_asked_for_is_waited_for_too():
    world = World(plan=Plan(30))
    level = part("Dimming", "Dimming", quiet("LoadLevelStatus:ui1"), kinds.gets("LoadLevelStatus"))
    world.join(described(device("R", level)))
    assert world.later(1) == []
    world.mirror.apply_answers("R/Dimming", [(Key("LoadLevelStatus"), "40")], now=NOW)
    (document,) = world.later(1)
    assert "dimming_level_sensor" in document["components"]


@pytest.mark.parametrize(("state", "at_once"), [("STOPPED", True), ("PLAYING", False)])
def test_where_a_player_is_is_waited_for_if_it_plays(state, at_once):
    world = World(plan=Plan(30))
    world.join(described(device("R", kinds.TRANSPORT)))
    world.change("R/AVTransport", f'<TransportState val="{state}"/>', initial=True)
    world.later(1)
    assert bool(world.told()) == at_once
    position = Key("RelativeTimePosition", "0")
    world.mirror.apply_answers("R/AVTransport", [(position, "0:00:01")], now=NOW)
    world.later(60)
    assert "avtransport_position" in world.components()
    assert len(world.told()) == (2 if at_once else 1)


def test_a_restart_publishes_nothing_and_gives_the_same_bytes():
    before = playing()
    world = World(before.held)
    world.join()
    world.change("R/AVTransport", '<TransportState val="STOPPED"/>', initial=True)
    world.change("R/RenderingControl", volume(20), initial=True)
    assert world.later(600) == []
    assert world.held[TOPIC] == before.held[TOPIC]


def test_what_a_broker_holds_stays_until_the_device_has_said_something_else():
    before = playing()
    old = json.loads(before.held[TOPIC])
    old["components"]["old"] = {"platform": "sensor", "unique_id": "old", "state_topic": "x"}
    world = World(before.held | {TOPIC: json.dumps(old).encode()})
    world.join()
    assert world.told() == []
    world.change("R/AVTransport", '<TransportState val="STOPPED"/>', initial=True)
    world.change("R/RenderingControl", volume(20), initial=True)
    world.later(1)
    first, second = world.told()
    assert first["components"]["old"] == {"platform": "sensor"}
    assert second == json.loads(before.held[TOPIC])


def test_a_volume_without_a_channel_has_a_slider_that_shows_it_and_sets_it():
    world = World()
    world.join()
    world.change("R/RenderingControl", volume(20, None), initial=True)
    world.later(10)
    slider = world.components()["renderingcontrol_volume"]
    assert slider["platform"] == "number"
    assert world.held[slider["state_topic"]] == b"20"
    call = call_of(RENDERER, slider["command_topic"], "30")
    assert call.arguments == (("InstanceID", "0"), ("Channel", "Master"), ("NewVolume", "30"))


def test_a_slider_follows_when_its_value_is_told_elsewhere():
    world = playing()
    topic = "upnp/R/RenderingControl/value/Volume/0"
    for channel, expected in ((None, topic), ("Master", f"{topic}/Master"), (None, topic)):
        world.change("R/RenderingControl", volume(30, channel))
        world.later(60)
        slider = world.components()["renderingcontrol_volume"]
        assert slider["state_topic"] == expected
        assert [one for one in world.held if one.startswith(topic)] == [expected]
        assert world.held[expected] == b"30"


def test_a_channel_that_is_told_later_is_an_entity_more():
    world = playing()
    world.change("R/RenderingControl", volume(10, "LF") + volume(11, "RF"))
    assert world.later(QUIET_S - 0.5) == []
    (document,) = world.later(60)
    found = document["components"]
    assert found["renderingcontrol_volume_lf"]["enabled_by_default"] is False
    assert "enabled_by_default" not in found["renderingcontrol_volume"]


def test_a_player_that_tells_its_channels_alone_has_them_enabled():
    world = World()
    world.join()
    world.change("R/RenderingControl", volume(10, "LF") + volume(11, "RF"), initial=True)
    world.later(10)
    found = world.components()
    assert "renderingcontrol_volume" not in found
    assert "enabled_by_default" not in found["renderingcontrol_volume_lf"]


def test_a_value_that_is_gone_for_long_takes_its_entity_along_and_one_that_returns_does_not():
    world = playing()
    mark = len(world.published)
    world.change("R/RenderingControl", '<Mute channel="Master" val="0"/>', initial=True)
    (document,) = world.later(GONE_S - 5)
    assert {"renderingcontrol_mute", "renderingcontrol_volume"} <= document["components"].keys()
    world.change("R/RenderingControl", volume(20))
    assert world.later(600) == []
    world.change("R/RenderingControl", '<Mute channel="Master" val="0"/>', initial=True)
    interim_document, document = world.later(600)
    assert interim_document["components"]["renderingcontrol_volume"] == {"platform": "number"}
    assert "renderingcontrol_volume" not in document["components"]
    assert len(world.told(mark)) == 3


def test_what_comes_and_goes_is_told_ever_more_rarely():
    world = playing()
    mark = len(world.published)
    for _ in range(600):
        for channel in (None, "Master"):
            world.change("R/RenderingControl", volume(30, channel))
            world.later(0.5)
    assert len(world.told(mark)) < 12


def test_texts_that_change_tell_hubs_nothing():
    world = playing()
    for value in range(100):
        world.change("R/RenderingControl", volume(value))
        assert (world.mirror.due_s or 0) <= world.now_s + 0.1 + 1e-6, "more than media waits"
    assert world.later(600) == []


def test_a_bridge_that_leaves_tells_hubs_nothing_that_is_not_whole():
    world = World()
    world.join()
    world.now_s = float("inf")
    world.drain(is_leaving=True)
    assert world.told() == []


def test_what_changes_while_a_hub_starts_is_told_again_after_a_minute():
    world = playing()
    world.mirror.introduce(world.now_s)
    world.later(10)
    world.change("R/RenderingControl", volume(10, "LF"))
    (document,) = world.later(NEWBORN_S - 15)
    assert world.later(10) == [document]
    assert world.later(600) == []


def test_what_is_left_out_while_a_hub_starts_is_told_again_with_what_goes_before():
    world = playing()
    world.mirror.introduce(world.now_s)
    world.drain()
    mark = len(world.published)
    world.join(
        replace(
            RENDERER,
            device=replace(RENDERER.device, children=RENDERER.device.children[:1]),
        )
    )
    assert world.later(NEWBORN_S - 5) == []
    first, second = world.told(mark)
    assert first["components"]["renderingcontrol_volume"] == {"platform": "number"}
    assert world.later(10) == [first, second]


def test_what_is_cleared_while_a_hub_starts_is_cleared_again_after_a_minute():
    world = playing()
    world.mirror.introduce(world.now_s)
    world.drain()
    mark = len(world.published)
    world.mirror.forget(world.mirror.mirrored_devices["R"])
    world.later(NEWBORN_S - 5)
    assert world.told(mark) == [None]
    assert world.later(10) == [None]
    assert world.later(600) == []


def test_what_is_new_or_changes_later_is_told_once():
    world = World()
    world.mirror.introduce(world.now_s)
    world.join()
    world.change("R/AVTransport", '<TransportState val="STOPPED"/>', initial=True)
    world.change("R/RenderingControl", volume(20), initial=True)
    world.later(NEWBORN_S + 10)
    assert len(world.told()) == 1
    world.change("R/RenderingControl", volume(10, "LF"))
    assert len(world.later(600)) == 1


def test_a_variable_of_another_instance_is_taken_from_there():
    world = World()
    switched = part("X", "X", variable("LastChange:string"), quiet("V:i4"))
    world.join(described(device("R", switched)))
    text = '<Event><InstanceID val="3"><V val="7"/></InstanceID></Event>'
    world.event("R/X", ("LastChange", text), initial=True)
    world.later(10)
    assert world.components()["x_sensor_v"]["state_topic"] == "upnp/R/X/value/V/3"
