"""A real Home Assistant in the lab takes devices from the broker, acts on them and forgets them."""

import json

import pytest

from tests.system.bridge import Broker, Observer, wait_for
from tests.system.homeassistant import HomeAssistant, Refused
from tests.system.lab import Lab

CONFIG = "homeassistant/device/rig/config"
DEVICE = {
    "device": {"identifiers": ["rig"], "name": "Rig"},
    "origin": {"name": "test"},
    "availability": [{"topic": "rig/availability"}],
    "components": {
        "level": {
            "platform": "sensor",
            "unique_id": "rig_level",
            "name": "Level",
            "state_topic": "rig/level",
        },
        "volume": {
            "platform": "number",
            "unique_id": "rig_volume",
            "name": "Volume",
            "state_topic": "rig/volume",
            "command_topic": "rig/volume/set",
            "command_template": '{"DesiredVolume":{{ value | int }}}',
        },
        "mute": {
            "platform": "switch",
            "unique_id": "rig_mute",
            "name": "Mute",
            "state_topic": "rig/mute",
            "command_topic": "rig/mute/set",
            "enabled_by_default": False,
        },
    },
}


@pytest.mark.usefixtures("home_assistant_can_be")
def test_a_device_is_discovered_commanded_enabled_and_removed(tmp_path):
    with Lab() as lab:
        broker = Broker(lab, tmp_path)
        broker.start()
        with Observer(lab) as observer, HomeAssistant(lab, tmp_path) as hass:
            observer.publish(CONFIG, DEVICE, retain=True)
            told = {"availability": b"online", "level": b"7", "volume": b"25", "mute": b"OFF"}
            for name, payload in told.items():
                observer.publish(f"rig/{name}", payload, retain=True)

            def states() -> dict[str, str]:
                return {name: state["state"] for name, state in hass.states().items()}

            expected = {"sensor.rig_level": "7", "number.rig_volume": "25"}
            wait_for(lambda: states() == expected, 10, "not discovered")
            (device,) = hass.devices()
            assert (device["name"], device["identifiers"]) == ("Rig", [["mqtt", "rig"]])

            hass.call("number", "set_value", entity_id="number.rig_volume", value=31)
            wait_for(lambda: observer.live[-1].payload == b'{"DesiredVolume":31}', 5)
            with pytest.raises(Refused, match="outside valid range"):
                hass.call("number", "set_value", entity_id="number.rig_volume", value=101)

            assert hass.entities()["switch.rig_mute"]["disabled_by"] == "integration"
            hass.enable("switch.rig_mute")
            wait_for(lambda: states() == expected | {"switch.rig_mute": "off"}, 10, "not enabled")

            observer.publish(CONFIG, b"", retain=True)
            wait_for(lambda: not hass.entities() and not hass.devices(), 10, "not removed")
            assert not states()
            assert not hass.log(), json.dumps(hass.log(), indent=1)
        broker.stop()
