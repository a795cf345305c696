"""Whom others wait for: descriptions that hang, hosts with many, and devices that are elsewhere."""

from typing import Any

import pytest

from bridge.upnp.presence import Joined, Left, Presence, Reason, checks
from tests.unit.test_presence import HOME, OTHER, Net, Site, home, joined

NEWCOMER = "http://10.0.9.1:80/d.xml"
PROMPT_S = 5.0


def hanging(locations: list[str]) -> Net:
    """A network of LOCATIONs that drip, all announced just now."""
    net = Net({location: Site((f"x{n}",), drips=True) for n, location in enumerate(locations)})
    for number, location in enumerate(locations):
        source = location.removeprefix("http://").partition(":")[0]
        net.heard(f"x{number}", location, source=source)
    net.sites[NEWCOMER] = Site(("n1",))
    return net


def at_once(net: Net) -> int:
    """How many checks are under way at most."""
    most = 0

    def count(_: object) -> None:
        nonlocal most
        most = max(most, 1 + sum(end > net.now for end, _ in net.running.values()))

    net.on_check = count
    net.run(120)
    return most


@pytest.mark.parametrize("many", [60, 150])
def test_hosts_that_drip_do_not_keep_a_newcomer_waiting(many):
    net = hanging([f"http://10.0.{n // 100}.{n % 100 + 1}:80/d.xml" for n in range(many)])
    net.heard("n1", NEWCOMER, source="10.0.9.1")
    net.run(PROMPT_S)
    assert net.take() == [joined(Reason.FIRST, NEWCOMER, "n1")]
    assert at_once(net) <= checks.MAX_CHECKS + checks.MAX_SLOW + 1


@pytest.mark.parametrize("address", ["10.0.0.7", "10.0.9.1"])
def test_one_host_with_many_that_drip_keeps_no_newcomer_waiting_there_or_elsewhere(address):
    net = hanging([f"http://10.0.0.7:{port}/d.xml" for port in range(49152, 49212)])
    newcomer = f"http://{address}:80/d.xml"
    net.sites[newcomer] = Site(("n1",))
    net.heard("n1", newcomer, source=address)
    net.run(PROMPT_S)
    assert net.take() == [joined(Reason.FIRST, newcomer, "n1")]
    assert at_once(net) <= checks.MAX_SLOW_OF_HOST + 33


def test_a_flood_of_names_at_one_address_keeps_no_newcomer_elsewhere_waiting():
    net = hanging([])
    for number in range(1000):
        location = f"http://10.0.0.7:80/{number}.xml"
        net.sites[location] = Site((f"f{number}",), drips=True)
        net.heard(f"f{number}", location, source="10.0.0.7")
    net.heard("n1", NEWCOMER, source="10.0.9.1")
    net.run(PROMPT_S)
    assert net.take() == [joined(Reason.FIRST, NEWCOMER, "n1")]


def test_those_who_hang_again_and_again_keep_no_newcomer_waiting():
    net = hanging([f"http://10.0.1.{n + 1}:80/d.xml" for n in range(60)])
    net.run(200)
    net.heard("n1", NEWCOMER, source="10.0.9.1")
    net.run(PROMPT_S)
    assert net.take() == [joined(Reason.FIRST, NEWCOMER, "n1")]


def test_known_devices_that_are_away_keep_no_newcomer_waiting():
    net = Net({NEWCOMER: Site(("n1",))})
    for number in range(300):
        net.presence.expect(f"k{number}", f"http://10.1.{number}.1:80/d.xml", None, net.now)
    net.heard("n1", NEWCOMER, source="10.0.9.1")
    net.run(1)
    assert net.take() == [joined(Reason.FIRST, NEWCOMER, "n1")]


def test_a_known_device_that_comes_back_goes_before_strangers():
    net = home()
    site = net.sites.pop(HOME)
    net.byebye()
    net.run(100)
    net.mark()
    for number in range(200):
        location = f"http://10.0.1.{number + 1}:80/d.xml"
        net.sites[location] = Site((f"x{number}",), drips=True)
        net.heard(f"x{number}", location, source=f"10.0.1.{number + 1}")
    net.sites[HOME] = site
    net.heard(kind="answer")
    net.run(0.1)
    assert net.take() == [joined(Reason.BACK)]


def test_a_slow_stranger_is_read_to_its_end():
    net = Net({HOME: Site(("d1",), drips=True)})
    net.heard()
    net.run(30)
    net.sites[HOME].drips = False
    net.run(31)
    assert net.take() == [joined(Reason.FIRST)]


@pytest.mark.parametrize("moved", [OTHER, "http://10.0.0.1:81/d.xml"])
@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("description", [b"1", b"2"])
def test_a_move_without_a_word_is_followed_within_five_seconds(moved, refused, description):
    net = home(max_age_s=1800)
    net.refused = refused
    del net.sites[HOME]
    net.sites[moved] = Site(("d1",), description)
    net.heard(location=moved)
    net.run(4)
    assert net.take() == [joined(Reason.MOVED, moved)]


def test_a_move_is_followed_as_fast_where_somebody_has_just_failed_to_reach_the_device():
    net = home(max_age_s=1800)
    del net.sites[HOME]
    net.presence.suspect("d1", net.now)
    net.run(2)
    net.sites[OTHER] = Site(("d1",))
    net.heard(location=OTHER)
    net.run(4)
    assert net.take() == [joined(Reason.MOVED, OTHER)]


def test_a_device_that_is_slow_everywhere_does_not_go_to_and_fro():
    net = home(max_age_s=1800)
    net.sites[HOME] = net.sites[OTHER] = Site(("d1", "e1"), took_s=2.0)
    net.presence.suspect("d1", net.now)
    net.run(1)
    net.sites[HOME].drips = True
    net.sites[OTHER] = Site(("d1", "e1"), took_s=2.0)
    net.heard(location=OTHER)
    net.run(4)
    net.sites[HOME].drips = False
    net.run(8)
    assert not any(isinstance(one, Left) for one in net.take())
    assert net.presence.location_of("d1") == HOME


def test_who_only_claims_to_be_elsewhere_and_does_not_answer_there_shortens_nobodys_time():
    net = home(max_age_s=1800)
    net.sites[HOME].drips = True
    net.heard(location=OTHER)
    net.run(4.9)
    net.sites[HOME].drips = False
    net.run(0.5)
    net.run(100)
    assert not any(isinstance(one, Left) for one in net.take())


def two_of_one_udn(first: str, second: str, **second_has: Any) -> Net:
    net = Net({first: Site(("d1",), b"a", identity=b"a")}, presence=Presence())
    net.heard(location=first)
    net.run(1)
    net.sites[second] = Site(("d1",), b"b", **second_has)
    net.heard(location=second)
    net.run(2)
    return net


def test_two_devices_with_one_udn_are_told_apart():
    net = two_of_one_udn(HOME, OTHER, identity=b"b")
    assert net.presence.duplicates_of("D1") == (OTHER,)
    net.mark()
    for _ in range(20):
        net.heard(location=OTHER)
        net.heard(location=HOME)
        net.run(300)
        assert net.presence.duplicates_of("d1") == (OTHER,)
    assert not any(isinstance(one, Joined | Left) for one in net.take())


def test_a_device_that_is_slow_for_a_moment_is_not_given_up_for_its_twin():
    net = two_of_one_udn(HOME, OTHER, identity=b"b")
    net.run(100)
    net.sites[HOME].drips = True
    net.heard(location=OTHER)
    net.run(4)
    net.sites[HOME].drips = False
    net.run(100)
    assert net.presence.location_of("d1") == HOME


def test_two_devices_with_one_udn_at_one_host_are_told_apart():
    net = two_of_one_udn(HOME, "http://10.0.0.1:81/d.xml", identity=b"b")
    assert net.presence.duplicates_of("d1") == ("http://10.0.0.1:81/d.xml",)


@pytest.mark.parametrize(
    ("second", "identity"),
    [(OTHER, b"a"), ("http://[fe80::1%eth0]:80/d.xml", b"a"), ("http://10.0.0.1:80/2.xml", b"b")],
)
def test_a_device_with_two_addresses_or_two_descriptions_is_one(second, identity):
    net = two_of_one_udn(HOME, second, identity=identity)
    assert net.presence.duplicates_of("d1") == ()
    assert net.take() == [joined(Reason.FIRST)]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_device_that_joined_elsewhere_before_the_tree_was_read_goes_back_if_it_answers(is_there):
    net = Net({OTHER: Site(("d1",), b"b")})
    net.heard(location=OTHER)
    net.run(1)
    if is_there:
        net.sites[HOME] = Site(("d1",), b"a")
    assert net.presence.expect("d1", HOME, None, net.now)
    net.run(100)
    assert net.presence.location_of("d1") == (HOME if is_there else OTHER)
    assert not any(isinstance(one, Left) for one in net.take())


def test_a_duplicate_that_is_gone_for_good_is_forgotten():
    net = two_of_one_udn(HOME, OTHER, identity=b"b")
    del net.sites[OTHER]
    net.run(4000)
    assert net.presence.duplicates_of("d1") == ()
