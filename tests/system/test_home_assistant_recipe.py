"""The recipes of docs/home-assistant.md, in a real Home Assistant, as they stand there."""

import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.documents import recipe, text, topics
from tests.system.bridge import URL, Broker, Observer, Program, wait_for
from tests.system.homeassistant import HomeAssistant
from tests.system.lab import Lab

DOCUMENT = text("home-assistant.md")
PLAYER = "media_player.demo_renderer"
REAL_PLAYER = "media_player.lab_renderer"
WAN, LIGHT = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11d2", "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11a1"
RENDERER = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11b1"
RECEIVED = f"upnp/{WAN}/WANCommonInterfaceConfig/value/TotalBytesReceived"
LEVEL = f"upnp/{LIGHT}/Dimming/value/LoadLevelStatus/set"
COUNTER, TOTAL = "sensor.demo_router_data_received", "sensor.demo_router_received_in_all"
REAL_UDN = "GMediaRender-1_0-000-000-002"
TO_ENABLE = (
    "sensor.demo_renderer_position",
    "select.demo_renderer_play_mode",
    "notify.demo_renderer_media_url",
)
ROLL_OVER = 2**32


def packages() -> dict[str, str]:
    """The recipes, with the entity ids of the simulated devices, and of one that is real."""
    player = recipe(DOCUMENT, "media player")
    names = {
        "living_room_lamp": "demo_light",
        "living_room": "demo_renderer",
        "router_": "demo_router_",
        "router ": "demo_router ",
        "00:01:00": "00:00:01",  # of the eleven seconds that it is on and off, it is off for two
    }
    found = {
        name: recipe(DOCUMENT, name) for name in ("media player", "rates", "total", "automations")
    }
    for old, new in names.items():
        found = {name: yaml.replace(old, new) for name, yaml in found.items()}
    found["real player"] = player.replace("living_room", "lab_renderer")
    found["call"] = recipe(DOCUMENT, "call")
    return {name.replace(" ", "_"): yaml for name, yaml in found.items()}


def in_bytes(state: str) -> int | None:
    """The bytes that a state in GB is; None for what is no number."""
    try:
        return round(float(state) * 1e9)
    except ValueError:
        return None


class World(NamedTuple):
    lab: Lab
    hass: HomeAssistant
    observer: Observer

    def state(self, entity_id: str) -> str:
        return str(self.hass.states().get(entity_id, {}).get("state"))

    def attributes(self, entity_id: str) -> Mapping[str, Any]:
        return dict(self.hass.states()[entity_id]["attributes"])

    def play(self, action: str, **data: object) -> None:
        self.hass.call("media_player", action, entity_id=PLAYER, **data)

    def await_state(self, entity_id: str, wanted: str, seconds: float = 10) -> None:
        self.wait(lambda: self.state(entity_id) == wanted, entity_id, seconds)

    def await_attributes(self, entity_id: str, **wanted: object) -> None:
        def are_there() -> bool:
            return self.attributes(entity_id).items() >= wanted.items()

        self.wait(are_there, entity_id)

    def wait(self, predicate: Callable[[], object], entity_id: str, seconds: float = 10) -> None:
        try:
            wait_for(predicate, seconds)
        except TimeoutError:
            raise TimeoutError(f"{self.hass.states().get(entity_id)}") from None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, home_assistant_can_be: None) -> Iterator[World]:
    """Simulated devices, which have everything, and a real renderer."""
    folder = tmp_path_factory.mktemp("recipes")
    with Lab() as lab:
        lab.start("gmediarender")
        broker = Broker(lab, folder)
        broker.start()
        demo = Program(lab, folder, "demo", (sys.executable, "-m", "bridge", "demo"))
        with HomeAssistant(lab, folder, packages()) as hass, Observer(lab) as observer:
            demo.start(
                BRIDGE_MQTT__URL=URL,
                BRIDGE_UPNP__INTERFACES='["lo", "br0"]',
                BRIDGE_UPNP__POLL_INTERVAL="2",
            )
            observer.wait_online()
            world = World(lab, hass, observer)
            world.await_state(PLAYER, "playing")
            hass.enable(*TO_ENABLE)
            yield world
        for program in (demo, broker):
            program.stop()


def test_home_assistant_finds_nothing_wrong_with_the_recipes(world):
    assert not world.hass.check()
    assert not world.hass.log(), world.hass.log()


def test_the_states_that_the_documents_speak_of_are_there(world):
    wanted = {
        topic.replace("$R", RENDERER).replace("$L", LIGHT)
        for topic in topics(text("hubs.md"))
        if not re.search(r"[<+]|upnp/reply|/(call|set|get)$", topic)
    }
    assert len(wanted) > 10
    wait_for(lambda: wanted <= set(world.observer.tree), 10)  # some are asked for, every 2 s


def test_the_player_tells_what_plays(world):
    world.await_state(PLAYER, "playing")
    titles = {"Ten Seconds of Rain", "Käse & Knäckebrot", "No Route to Host", "Time to Live"}

    def is_told() -> bool:
        told = world.attributes(PLAYER)
        return told.get("media_title") in titles and told.get("media_position", 0) > 0

    world.wait(is_told, PLAYER, 15)
    told = world.attributes(PLAYER)
    assert told["media_artist"] in ("The Loopbacks", "Trio Multicast", "Ada Retain")
    assert told["media_album_name"] in ("Datagrams at Dawn", "Small Packets", "Last Will")
    assert told["media_content_id"].startswith("http://music.invalid/")
    assert told["media_duration"] in (9, 10, 11)
    assert told["media_position_updated_at"].endswith("+00:00")
    assert (told["shuffle"], told["repeat"]) == (False, "all")


def test_the_player_plays_pauses_stops_and_skips(world):
    world.play("media_pause")
    world.await_state(PLAYER, "paused")
    world.play("media_play")
    world.await_state(PLAYER, "playing")
    world.play("media_play_pause")
    world.await_state(PLAYER, "paused")
    world.play("media_play_pause")
    world.await_state(PLAYER, "playing")
    world.play("media_pause")
    track = world.attributes(PLAYER)["media_track"]
    world.play("media_next_track")
    world.await_attributes(PLAYER, media_track=track % 4 + 1)
    world.play("media_previous_track")
    world.await_attributes(PLAYER, media_track=track)
    world.play("media_stop")
    world.await_state(PLAYER, "idle")


def test_the_player_is_turned_up_and_down_and_muted(world):
    number = "number.demo_renderer_volume"
    world.play("volume_set", volume_level=0.37)
    world.await_attributes(PLAYER, volume_level=0.37)
    assert world.state(number) == "37"
    world.play("volume_up")
    world.await_attributes(PLAYER, volume_level=0.42)
    world.play("volume_down")
    world.await_attributes(PLAYER, volume_level=0.37)
    world.play("volume_set", volume_level=0.99)
    world.await_state(number, "99")
    world.play("volume_up")
    world.await_attributes(PLAYER, volume_level=1.0)
    for is_muted in (True, False):
        world.play("volume_mute", is_volume_muted=is_muted)
        world.await_attributes(PLAYER, is_volume_muted=is_muted)
        assert world.state("switch.demo_renderer_mute") == ("on" if is_muted else "off")


def test_the_player_repeats_and_plays_an_address(world):
    for repeat, mode in (("off", "NORMAL"), ("all", "REPEAT_ALL")):
        world.play("repeat_set", repeat=repeat)
        world.await_attributes(PLAYER, repeat=repeat)
        assert world.state("select.demo_renderer_play_mode") == mode
    url = f"http://music.invalid/{'long/' * 60}one.flac"  # more than a state can have
    world.play("play_media", media_content_type="music", media_content_id=url)
    world.await_attributes(PLAYER, media_content_id=url)
    world.await_state(PLAYER, "playing")


def test_a_real_player_is_heard_muted_and_has_its_picture(world):
    def call(action: str, **data: object) -> None:
        world.hass.call("media_player", action, entity_id=REAL_PLAYER, **data)

    world.await_state(REAL_PLAYER, "idle")
    call("volume_set", volume_level=0.31)
    world.await_attributes(REAL_PLAYER, volume_level=0.31)
    told = world.observer.call(REAL_UDN, "GetVolume")["out"]
    assert told == {"CurrentVolume": 31}
    for is_muted in (True, False):
        call("volume_mute", is_volume_muted=is_muted)
        world.await_attributes(REAL_PLAYER, is_volume_muted=is_muted)
        assert world.observer.call(REAL_UDN, "GetMute")["out"] == {"CurrentMute": is_muted}
    picture = world.attributes(REAL_PLAYER)["entity_picture"]
    assert picture.startswith("/api/image_proxy/image.lab_renderer_cover")


def test_a_restart_brings_back_the_player_the_total_and_what_was_deleted(world):
    title = world.attributes(PLAYER).get("media_title")
    assert not world.hass.log(), world.hass.log()
    delete_light(world)
    world.wait(lambda: in_bytes(world.state(TOTAL)) is not None, TOTAL)
    in_all = in_bytes(world.state(TOTAL)) or 0
    world.hass.stop()
    world.hass.start()
    world.wait(lambda: in_bytes(world.state(TOTAL)) is not None, TOTAL)
    assert (in_bytes(world.state(TOTAL)) or 0) >= in_all
    world.await_state(PLAYER, "playing")
    world.await_state(REAL_PLAYER, "idle")
    assert world.attributes(PLAYER).get("media_title") == title
    world.await_state("light.demo_light", "on")


def delete_light(world: World) -> None:
    (light,) = [one["id"] for one in world.hass.devices() if one["name"] == "Demo Light"]
    world.hass.remove_device(light)
    config = f"homeassistant/device/upnp2mqtt_{LIGHT}/config"
    wait_for(lambda: config not in world.observer.tree, 5, "the document is not cleared")
    assert "light.demo_light" not in world.hass.states()


def test_the_player_is_off_while_its_device_is_not_there(world):
    world.lab.stop("gmediarender", number=signal.SIGKILL)
    world.observer.ask("upnp/bridge/main/request/refresh", {"id": REAL_UDN}, 60)
    world.await_state(REAL_PLAYER, "off", 30)
    world.lab.start("gmediarender")
    world.await_state(REAL_PLAYER, "idle", 30)


def test_bytes_become_bytes_per_second(world):
    for entity_id in ("sensor.demo_router_download", "sensor.demo_router_upload"):
        world.wait(lambda: float(world.state(entity_id)) > 0, entity_id, 30)  # noqa: B023
        assert world.attributes(entity_id)["unit_of_measurement"] == "MB/s"


def test_a_counter_that_begins_again_is_counted_on_unless_it_was_restarted(world):
    def both() -> tuple[int, int]:
        states = world.hass.states()
        counted, in_all = (in_bytes(states[one]["state"]) for one in (COUNTER, TOTAL))
        assert counted is not None
        assert in_all is not None
        return counted, in_all

    world.wait(lambda: in_bytes(world.state(TOTAL)) is not None, TOTAL)
    assert world.attributes(TOTAL)["unit_of_measurement"] == "GB"
    for last, rest in ((ROLL_OVER - 300, 300), (ROLL_OVER // 2 - 1, 0)):
        counted, in_all = both()
        world.observer.publish(RECEIVED, str(last).encode(), retain=True)

        def is_counted_on() -> bool:
            now, now_in_all = both()  # what the router says, after what was published
            return now < last and now_in_all - in_all == last - counted + rest + now  # noqa: B023

        world.wait(is_counted_on, TOTAL)
    rate = "sensor.demo_router_download_in_all"
    world.wait(lambda: float(world.state(rate)) > 0, rate)


def test_the_automations_act(world):
    gone = "automation.the_internet_is_gone"
    world.wait(lambda: world.attributes(gone)["last_triggered"], gone, 25)

    world.hass.call("light", "turn_on", entity_id="light.demo_light", brightness_pct=90)
    world.play("media_pause")
    world.await_state("sensor.demo_renderer_playback", "paused")
    mark = len(world.observer.live)
    world.play("media_play")
    wait_for(lambda: [one.payload for one in world.observer.live[mark:] if one.topic == LEVEL], 5)
    assert [one.payload for one in world.observer.live[mark:] if one.topic == LEVEL] == [b"20"]


def test_a_script_calls_an_action_that_no_entity_stands_for(world):
    mappings = "sensor.demo_router_port_mappings"
    world.await_state(mappings, "0")
    world.hass.call("script", "router_forward_port_8080")
    world.await_state(mappings, "1")


def test_everything_announced_brings_back_what_was_deleted(world):
    assert not world.hass.log(), world.hass.log()
    delete_light(world)
    world.hass.call("button", "press", entity_id="button.upnp_bridge_announce")
    world.await_state("light.demo_light", "on")
