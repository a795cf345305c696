"""What a device's problems tell of others with its UDN."""

import pytest

from bridge.model.device import Description, Device
from bridge.tree import duplicates

HERE = "http://10.0.0.1:49152/d.xml"


def description(*problems: str) -> Description:
    return Description(Device("d1", "urn:x:device:T:1", "One", problems=problems), HERE, "1.0")


@pytest.mark.parametrize(
    ("others", "hosts"),
    [
        (["http://10.0.0.2:49153/a.xml", "http://10.0.0.2:49155/a.xml"], {"10.0.0.2"}),
        (["http://10.0.0.1:49153/a.xml"], {"10.0.0.1:49153"}),
        (["http://[fe80::1%eth0]:80/a.xml"], {"fe80::1"}),
        ([], set()),
    ],
)
def test_hosts_are_named_without_what_a_restart_changes(others, hosts):
    assert duplicates.hosts_of(HERE, others) == hosts


def test_what_was_told_is_read_again_and_told_in_the_same_bytes():
    once = duplicates.marked(description("no deviceType"), ["10.0.0.3", "10.0.0.2", "10.0.0.3"])
    again = duplicates.read(list(once.device.problems))
    assert again == ("10.0.0.2", "10.0.0.3")
    assert duplicates.marked(description("no deviceType"), again) == once
    assert duplicates.marked(once, again) is once
    assert duplicates.marked(once, []) == description("no deviceType")


@pytest.mark.parametrize("problems", [None, 3, "x", [3, None, "no deviceType"], {}])
def test_of_other_problems_nothing_is_read(problems):
    assert duplicates.read(problems) == ()
