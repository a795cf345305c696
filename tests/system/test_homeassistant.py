"""A real Home Assistant gets the lab's devices from the bridge, without a line of configuration."""

import re
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.system.bridge import wait_for
from tests.system.devices import DEVICES
from tests.system.homeassistant import HomeAssistant
from tests.system.site import Site

RENDERER = "GMediaRender-1_0-000-000-002"
WITHIN_S = 60.0
"""From the start to a state of every entity."""

# What Home Assistant says of a button that nobody has pressed, and of the title of nothing.
UNUSED = NOTHING_PLAYS = "unknown"

ENTITIES: dict[str, dict[str, tuple[str | None, str | None]]] = {
    "UPnP bridge": {
        "binary_sensor.upnp_bridge_connectivity": ("on", None),
        "button.upnp_bridge_announce": (UNUSED, None),
        "button.upnp_bridge_search": (UNUSED, None),
        "select.upnp_bridge_log_level": ("info", None),
        "sensor.upnp_bridge_devices_online": ("6", None),
        "sensor.upnp_bridge_version": (None, None),
    },
    "Lab Light": {
        "binary_sensor.lab_light_connectivity": ("on", None),
        "light.lab_light": (None, None),
    },
    "Lab MiniDLNA": {
        "binary_sensor.lab_minidlna_connectivity": ("on", None),
        "sensor.lab_minidlna_content_version": (None, None),
    },
    "Lab Renderer": {
        "binary_sensor.lab_renderer_connectivity": ("on", None),
        "button.lab_renderer_pause": (UNUSED, None),
        "button.lab_renderer_play": (UNUSED, None),
        "button.lab_renderer_stop": (UNUSED, None),
        "image.lab_renderer_cover": (None, None),
        "number.lab_renderer_volume": (None, "%"),
        "sensor.lab_renderer_playback": ("stopped", None),
        "sensor.lab_renderer_title": (NOTHING_PLAYS, None),
        "switch.lab_renderer_mute": ("off", None),
    },
    "Lab Rygel Server": {
        "binary_sensor.lab_rygel_server_connectivity": ("on", None),
        "sensor.lab_rygel_server_content_version": (None, None),
    },
    "Lab Rygel Renderer": {
        "binary_sensor.lab_rygel_renderer_connectivity": ("on", None),
        "button.lab_rygel_renderer_next": (UNUSED, None),
        "button.lab_rygel_renderer_pause": (UNUSED, None),
        "button.lab_rygel_renderer_play": (UNUSED, None),
        "button.lab_rygel_renderer_previous": (UNUSED, None),
        "button.lab_rygel_renderer_stop": (UNUSED, None),
        "image.lab_rygel_renderer_cover": (None, None),
        "number.lab_rygel_renderer_volume": (None, "%"),
        "sensor.lab_rygel_renderer_playback": ("idle", None),
        "sensor.lab_rygel_renderer_title": (NOTHING_PLAYS, None),
        "switch.lab_rygel_renderer_mute": ("off", None),
    },
    "Debian router": {
        "binary_sensor.debian_router_connectivity": ("on", None),
        "binary_sensor.debian_router_internet": ("on", None),
        "binary_sensor.debian_router_link": ("on", None),
        "sensor.debian_router_data_received": (None, "GB"),
        "sensor.debian_router_data_sent": (None, "GB"),
        "sensor.debian_router_external_ip": ("8.8.4.10", None),
        "sensor.debian_router_port_mappings": ("0", None),
    },
}
"""What is enabled by itself: state (None: some state) and unit of each entity, by its device."""

# Of those that are not enabled by themselves, these have a state while nothing plays.
MORE: dict[str, tuple[str | None, str | None]] = {
    "binary_sensor.debian_router_firewall_enabled": (None, None),
    "binary_sensor.debian_router_inbound_pinhole_allowed": (None, None),
    "binary_sensor.lab_renderer_loudness": ("off", None),
    "number.lab_renderer_volume_db": (None, None),
    "select.lab_rygel_renderer_play_mode": ("NORMAL", None),
    "sensor.debian_router_downstream_link_rate": (None, "Mbit/s"),
    "sensor.debian_router_last_error": ("No error", None),
    "sensor.debian_router_packets_received": (None, "packets"),
    "sensor.debian_router_packets_sent": (None, "packets"),
    "sensor.debian_router_upstream_link_rate": (None, "Mbit/s"),
    "sensor.debian_router_uptime": (None, "d"),
    "sensor.lab_renderer_brightness": ("0", "%"),
    "sensor.lab_renderer_play_mode": ("NORMAL", None),
    "sensor.lab_renderer_position": (None, "s"),
}
ROUTER = "upnp2mqtt_72eba980-20d3-4fa2-8a76-6c855535d497"
SONG = (
    '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/">'
    '<item id="1" parentID="0" restricted="1">'
    "<dc:title>A Song &amp; More</dc:title><upnp:artist>The Lab</upnp:artist>"
    "<upnp:albumArtURI>http://10.77.0.12:8200/art.jpg</upnp:albumArtURI>"
    "<upnp:class>object.item.audioItem.musicTrack</upnp:class>"
    '<res protocolInfo="http-get:*:audio/x-wav:*">{url}</res></item></DIDL-Lite>'
)


@pytest.fixture(scope="module")
def hass(home_assistant_can_be: None, site: Site) -> Iterator[HomeAssistant]:
    """Home Assistant, which starts before the bridge does, as in most homes."""
    site.broker.start()
    with HomeAssistant(site.lab, site.broker.log.parent) as hass, site.observed():
        yield hass


@pytest.fixture(autouse=True)
def every_device_runs(site: Site) -> None:
    site.start(*(name for name in DEVICES if name not in site.running))


def state(hass: HomeAssistant, entity_id: str) -> str:
    return str(hass.states().get(entity_id, {}).get("state"))


def await_state(hass: HomeAssistant, entity_id: str, wanted: str, seconds: float = 10) -> None:
    try:
        wait_for(lambda: state(hass, entity_id) == wanted, seconds)
    except TimeoutError:
        raise TimeoutError(f"{entity_id} is {state(hass, entity_id)}, not {wanted}") from None


def wrong(
    hass: HomeAssistant, wanted: Mapping[str, tuple[str | None, str | None]]
) -> dict[str, tuple[str | None, str | None]]:
    """Give state and unit of the entities that are not as they should be."""
    states = hass.states()
    found: dict[str, tuple[str | None, str | None]] = {}
    for entity_id, (value, unit) in wanted.items():
        attributes = states.get(entity_id, {}).get("attributes", {})
        told = state(hass, entity_id), attributes.get("unit_of_measurement")
        is_some = told[0] not in ("unknown", "unavailable", "None")
        if told[1] != unit or not (is_some if value is None else told[0] == value):
            found[entity_id] = told
    return found


def await_right(hass: HomeAssistant, wanted: Mapping[str, tuple[str | None, str | None]]) -> None:
    try:
        wait_for(lambda: not wrong(hass, wanted), WITHIN_S)
    except TimeoutError:
        raise TimeoutError(f"not as it should be: {wrong(hass, wanted)}") from None


def test_every_entity_of_every_device_has_a_state_and_a_unit_within_a_minute(hass):
    wanted = {name: one for each in ENTITIES.values() for name, one in each.items()}
    await_right(hass, wanted)
    assert set(hass.states()) == set(wanted)


def test_each_is_an_entity_of_its_device_which_hangs_from_the_bridge(hass):
    devices = {device["id"]: device for device in hass.devices()}
    found: dict[str, set[str]] = {device["name"]: set() for device in devices.values()}
    for entity_id, entity in hass.entities().items():
        if entity["disabled_by"] is None:
            found[devices[entity["device_id"]]["name"]].add(entity_id)
    assert found == {name: set(one) for name, one in ENTITIES.items()}
    parents = {
        one["name"]: devices.get(one["via_device_id"], {}).get("name") for one in devices.values()
    }
    assert parents == dict.fromkeys(ENTITIES, "UPnP bridge") | {"UPnP bridge": None}


def test_a_volume_set_in_home_assistant_is_the_renderer_s(site, hass):
    for program, entity_id in (
        ("gmediarender", "number.lab_renderer_volume"),
        ("rygel", "number.lab_rygel_renderer_volume"),
    ):
        hass.call("number", "set_value", entity_id=entity_id, value=37)
        await_state(hass, entity_id, "37")
        service = site.service(program, "GetVolume")
        told = site.invoke(service, "GetVolume", InstanceID=0, Channel="Master")
        assert told == {"CurrentVolume": "37"}


def test_a_renderer_is_muted_and_heard_again(site, hass):
    service = site.service("gmediarender", "GetMute")
    for turn, told in (("on", "1"), ("off", "0")):
        hass.call("switch", f"turn_{turn}", entity_id="switch.lab_renderer_mute")
        await_state(hass, "switch.lab_renderer_mute", turn)
        answer = site.invoke(service, "GetMute", InstanceID=0, Channel="Master")
        assert answer == {"CurrentMute": told}


def test_a_lamp_is_lit_dimmed_and_put_out(site, hass):
    power, dimming = site.service("light", "GetStatus"), site.service("light", "GetLoadLevelStatus")

    def lamp() -> tuple[str, str]:
        return (
            site.invoke(power, "GetStatus")["ResultStatus"],
            site.invoke(dimming, "GetLoadLevelStatus")["retLoadlevelStatus"],
        )

    def attribute(name: str) -> Any:
        return hass.states()["light.lab_light"]["attributes"].get(name)

    hass.call("light", "turn_on", entity_id="light.lab_light", brightness_pct=40)
    await_state(hass, "light.lab_light", "on")
    wait_for(lambda: attribute("brightness") == 102, 5)  # of 255
    assert lamp() in (("1", "40"), ("true", "40"))
    hass.call("light", "turn_on", entity_id="light.lab_light", brightness_pct=80)
    wait_for(lambda: attribute("brightness") == 204, 5)
    assert lamp()[1] == "80"
    hass.call("light", "turn_off", entity_id="light.lab_light")
    await_state(hass, "light.lab_light", "off")
    assert lamp()[0] in ("0", "false")
    hass.call("light", "turn_on", entity_id="light.lab_light")
    await_state(hass, "light.lab_light", "on")
    assert lamp()[0] in ("1", "true")


def attribute_of_playback(hass: HomeAssistant, name: str) -> Any:
    return hass.states()["sensor.lab_renderer_playback"]["attributes"].get(name)


def test_what_plays_is_told_and_controlled(site, hass, observer):
    server = site.device("minidlna", "MediaServer")
    more = {"StartingIndex": 0, "RequestedCount": 0, "SortCriteria": "", "Filter": "*"}
    answer = observer.call(
        server,
        "Search",
        ContainerID="0",
        SearchCriteria='upnp:class derivedfrom "object.item"',
        **more,
    )
    url = re.findall(r"http://[^<\s]+\.wav", answer["out"]["Result"])[0]
    args = {"CurrentURI": url, "CurrentURIMetaData": SONG.format(url=url)}
    assert observer.call(RENDERER, "SetAVTransportURI", **args)["success"]

    hass.call("button", "press", entity_id="button.lab_renderer_play")
    await_state(hass, "sensor.lab_renderer_playback", "playing")
    await_state(hass, "sensor.lab_renderer_title", "A Song & More")
    attributes = hass.states()["sensor.lab_renderer_playback"]["attributes"]
    assert attributes["artist"] == "The Lab"
    picture = hass.states()["image.lab_renderer_cover"]["attributes"]["entity_picture"]
    assert picture.startswith("/api/image_proxy/image.lab_renderer_cover")

    still = ("image.lab_renderer_cover", "sensor.lab_renderer_title")
    before = hass.states()
    louder = "30" if before["number.lab_renderer_volume"]["state"] != "30" else "40"
    hass.call("number", "set_value", entity_id="number.lab_renderer_volume", value=louder)
    wait_for(lambda: attribute_of_playback(hass, "volume") == int(louder), 10)
    after = hass.states()
    assert [after[one]["last_updated"] for one in still] == [
        before[one]["last_updated"] for one in still
    ]
    playback = "sensor.lab_renderer_playback"
    assert after[playback]["last_changed"] == before[playback]["last_changed"]

    hass.call("button", "press", entity_id="button.lab_renderer_pause")
    await_state(hass, "sensor.lab_renderer_playback", "paused")
    hass.call("button", "press", entity_id="button.lab_renderer_stop")
    await_state(hass, "sensor.lab_renderer_playback", "stopped")


def test_what_is_not_enabled_by_itself_has_a_state_once_it_is(hass):
    hass.enable(*MORE)
    await_right(hass, MORE)


def test_the_log_level_of_the_bridge_is_chosen_and_its_buttons_are_answered(hass, observer):
    select = "select.upnp_bridge_log_level"
    for level in ("debug", "info"):
        hass.call("select", "select_option", entity_id=select, option=level)
        await_state(hass, select, level)
    for verb in ("search", "announce"):
        hass.call("button", "press", entity_id=f"button.upnp_bridge_{verb}")
        topic = f"upnp/bridge/main/response/{verb}"
        wait_for(lambda: [one for one in observer.live if one.topic == topic], 5)  # noqa: B023


def test_a_device_that_goes_is_unavailable_and_available_when_it_returns(site, hass, observer):
    entity_ids = ["number.lab_renderer_volume", "sensor.lab_renderer_playback"]
    site.stop("gmediarender", number=signal.SIGKILL)
    observer.ask("upnp/bridge/main/request/refresh", {"id": RENDERER}, 60)
    for entity_id in entity_ids:
        await_state(hass, entity_id, "unavailable", 30)
    assert state(hass, "binary_sensor.lab_renderer_connectivity") == "off"
    site.start("gmediarender")
    await_state(hass, "sensor.lab_renderer_playback", "stopped", 30)
    await_state(hass, "binary_sensor.lab_renderer_connectivity", "on")


def test_a_bridge_that_goes_takes_every_device_with_it(site, hass, observer):
    site.bridge.stop()
    await_state(hass, "light.lab_light", "unavailable")
    assert state(hass, "binary_sensor.lab_light_connectivity") == "unavailable"
    assert state(hass, "binary_sensor.upnp_bridge_connectivity") == "off"
    site.bridge.start()
    observer.wait_text("bridge/main/state", "online", 20)
    await_state(hass, "light.lab_light", "on")


def test_a_bridge_that_only_reads_has_sensors_in_place_of_controls(site, hass, observer):
    controls = {"number.lab_renderer_volume", "switch.lab_renderer_mute", "light.lab_light"}
    sensors = {"sensor.lab_renderer_volume", "binary_sensor.lab_renderer_mute"}
    site.bridge.stop()
    site.bridge.start(BRIDGE_READ_ONLY="true")
    observer.wait_text("bridge/main/state", "online", 20)
    wait_for(lambda: sensors < set(hass.states()) and not controls & set(hass.states()), 10)
    assert not wrong(hass, {"sensor.lab_renderer_volume": (None, "%")})
    assert not [one for one in hass.states() if one.startswith("button.lab_")]
    site.bridge.stop()
    site.bridge.start()
    observer.wait_text("bridge/main/state", "online", 20)
    wait_for(lambda: controls < set(hass.states()) and not sensors & set(hass.states()), 10)
    assert not hass.log(), hass.log()


def test_a_home_assistant_that_starts_anew_is_told_discovery_first_then_states(hass, observer):
    hass.call("number", "set_value", entity_id="number.lab_rygel_renderer_volume", value=37)
    await_state(hass, "number.lab_rygel_renderer_volume", "37")
    assert not hass.log(), hass.log()
    hass.stop()
    mark = len(observer.live)
    hass.start()
    await_state(hass, "number.lab_rygel_renderer_volume", "37")
    bridge = "homeassistant/device/upnp2mqtt_bridge_main/config"

    def published() -> list[str]:
        """Return what has been told since the last time that Home Assistant said it is there."""
        live = observer.live[mark:]
        births = [n for n, one in enumerate(live) if one.topic == "homeassistant/status"]
        return [one.topic for one in live[births[-1] :] if one.retain] if births else []

    states = {
        f"upnp/{RENDERER}/media",
        f"upnp/{RENDERER}/availability",
        f"upnp/{RENDERER}/RenderingControl/value/Volume/0/Master",
        "upnp/bridge/main/health",
        "upnp/bridge/main/state",
    }
    wait_for(lambda: states <= set(published()), 15, "not all is told again")
    topics = published()
    documents = [topic for topic in topics if topic.startswith("homeassistant/")]
    assert documents[0] == bridge
    assert len(documents) == len(ENTITIES)
    last = max(map(topics.index, documents))
    assert all(topics.index(topic) > last for topic in states)


def test_a_device_that_is_forgotten_is_gone_and_nothing_is_logged(site, hass, observer):
    def names() -> set[str]:
        return {str(device["name"]) for device in hass.devices()}

    assert "Debian router" in names()
    site.stop("miniupnpd")
    assert observer.verb("forget", id="72eba980-20d3-4fa2-8a76-6c855535d497")["success"]
    wait_for(lambda: "Debian router" not in names(), 10, "the router is still there")
    assert not [one for one in hass.entities() if "debian_router" in one]
    # Home Assistant's own word for each entity of the device that was not enabled.
    expected = f"No device components to cleanup for {ROUTER}"
    assert [one for one in hass.log() if not one["message"].startswith(expected)] == []
