"""Devices by whatever somebody calls them."""

import pytest

from bridge.model.device import Description, Device
from bridge.tree.mirrored_device import MirroredDevice
from bridge.tree.root_devices import RootDevices


def roster(*udns: str) -> RootDevices:
    made = RootDevices()
    for udn in udns:
        device = Device(udn, "urn:x:device:Thing:1", udn)
        made.enter(MirroredDevice.of(Description(device, "http://10.0.0.1/d.xml", "1.0")))
    return made


def name_of(found: tuple[MirroredDevice, Device | None] | None) -> str | None:
    return found[1].friendly_name if found and found[1] else None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("uuid:twice", "uuid:twice"),
        ("UUID:uuid:Twice", "uuid:twice"),
        ("twice", "twice"),
        ("uuid:ONCE", "once"),
        ("once", "once"),
        ("uuid:nobody", None),
    ],
)
def test_a_device_is_found_by_its_id_first_and_then_by_its_udn(said, meant):
    assert name_of(roster("twice", "uuid:twice", "once").find(said)) == meant


@pytest.mark.parametrize(
    ("udn", "meant"), [("uuid:twice", None), ("twice", "twice"), ("TWICE", "twice")]
)
def test_what_a_device_calls_itself_is_not_taken_for_another(udn, meant):
    assert name_of(roster("twice").find_bare(udn)) == meant


def test_a_device_of_which_nothing_is_left_out_is_mirrored_as_it_was_described():
    inner = Device("inner", "urn:x:device:Thing:1", "inner")
    root = Device("root", "urn:x:device:Thing:1", "root", children=(inner,))
    description = Description(root, "http://10.0.0.1/d.xml", "1.0")
    assert roster("other").without_claimed(description) is description
    made = roster("inner").without_claimed(description)
    assert not made.device.children
    assert made.device.problems == ("embedded device inner is one of inner: left out",)
