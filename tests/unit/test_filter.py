"""Which devices are let in."""

import pytest

from bridge.model.device import Description, Device
from bridge.upnp.presence.admission import admission

DEVICE = Description(
    Device(
        udn="4D454449-0001",
        device_type="urn:schemas-upnp-org:device:MediaRenderer:1",
        friendly_name="Kitchen [left]",
        manufacturer="Sonos, Inc.",
        model_name="One",
    ),
    "http://192.0.2.7:1400/d.xml",
    "1.0",
)
BARE = Description(Device("x", "t", ""), "http://192.0.2.7/d.xml", "1.0")


@pytest.mark.parametrize(
    "pattern",
    [
        "4D454449-0001",
        "4d454449-0001",
        "uuid:4d454449-*",
        "UUID:4D454449-0001",
        "*:MediaRenderer:?",
        "kitchen*",
        "KITCHEN [[]left]",
        "sonos*",
        "one",
        "192.0.2.*",
        "192.0.2.7",
        "*",
    ],
)
def test_a_pattern_matches_what_is_known_of_a_device_in_any_case(pattern):
    assert admission([pattern], [])(DEVICE, "192.0.2.7")
    assert not admission([], [pattern])(DEVICE, "192.0.2.7")


@pytest.mark.parametrize("pattern", ["", "kitchen", "Sonos", "192.0.2.8", "MediaRenderer", "on"])
def test_a_pattern_is_for_the_whole_of_a_fact(pattern):
    assert not admission([pattern], [])(DEVICE, "192.0.2.7")
    assert admission([], [pattern])(DEVICE, "192.0.2.7")


def test_everything_is_let_in_without_patterns():
    assert admission([], [])(DEVICE, "192.0.2.7")
    assert admission([], [])(BARE, "")


def test_deny_goes_before_allow():
    assert not admission(["*"], ["one"])(DEVICE, "192.0.2.7")


def test_one_pattern_of_several_is_enough():
    assert admission(["nothing", "one"], ["nobody"])(DEVICE, "192.0.2.7")


@pytest.mark.parametrize("pattern", ["[", "[!", "[z-a]", "(", "\\", "*" * 30 + "x"])
def test_a_pattern_that_is_odd_breaks_nothing(pattern):
    assert not admission([pattern], [])(DEVICE, "192.0.2.7")


def test_an_empty_fact_is_no_match_for_an_empty_pattern():
    assert not admission([""], [])(BARE, "")
