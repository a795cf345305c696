"""Presence: what announcements, answers and time make of who is there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.upnp.presence import (
    Check,
    Conflict,
    Joined,
    Left,
    Presence,
    Reason,
    Sighting,
    Verdict,
    checks,
    tables,
)

HOME = "http://10.0.0.1:80/d.xml"
OTHER = "http://10.0.0.2:80/d.xml"
THIRD = "http://10.0.0.3:80/d.xml"
ANSWER_S = 0.001


@dataclass
class Site:
    """What stands at a LOCATION."""

    udns: tuple[str, ...]
    fingerprint: bytes = b"1"
    is_whole: bool = True
    whole: bytes = b""
    identity: bytes = b""
    drips: bool = False
    took_s: float = 0.0


@dataclass
class Net:
    """A network on which time passes only when told; a LOCATION without site times out."""

    sites: dict[str, Site] = field(default_factory=dict)
    refused: bool = False
    presence: Presence = field(default_factory=Presence)
    now: float = 1000.0
    log: list[tuple[float, Verdict]] = field(default_factory=list)
    checks: list[tuple[float, Check]] = field(default_factory=list)
    running: dict[str, tuple[float, Check]] = field(default_factory=dict)
    kept: bool | None = None
    """What devices answer that are asked whether they know who subscribed."""
    asked: list[tuple[float, str]] = field(default_factory=list)
    on_check: Callable[[Check], None] = lambda _check: None
    on_verdict: Callable[[Verdict], None] = lambda _verdict: None
    on_outcome: Callable[[str, Site | None], None] = lambda _location, _site: None

    def __post_init__(self):
        self.start = self.now

    def step(self) -> float:
        """Start what is due and return when something happens next."""
        for location in self.presence.cut(self.now):
            self.running[location] = self.now, self.running[location][1]
        for udn in self.presence.ask(self.now):
            self.asked.append((self.now - self.start, udn))
            self.presence.answered(udn, self.now, kept=self.kept)
        for check in self.presence.due(self.now):
            self.begin(check)
        deadline = self.presence.next_deadline(self.now)
        ends = [end for end, _ in self.running.values()]
        return min([*ends, *([] if deadline is None else [deadline])], default=float("inf"))

    def begin(self, check: Check) -> None:
        assert check.location not in self.running
        self.checks.append((self.now - self.start, check))
        self.on_check(check)
        site = self.sites.get(check.location)
        answers = self.refused if site is None else not site.drips
        end = self.now + (ANSWER_S if answers else check.timeout_s)
        self.running[check.location] = (end, check)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(100_000):
            after = self.step()
            if after > end:
                self.now = end
                return
            self.now = max(after, self.now)
            for location, (over, _) in list(self.running.items()):
                if over <= self.now:
                    del self.running[location]
                    self.end(location)
        pytest.fail("time does not pass")

    def end(self, location: str) -> None:
        site = self.sites.get(location)
        self.on_outcome(location, site)
        if site is None or site.drips:
            verdicts = self.presence.failed(location, self.now)
        else:
            verdicts = self.presence.found(
                location,
                site.udns,
                site.fingerprint,
                self.now,
                is_whole=site.is_whole,
                whole=site.whole,
                identity=site.identity,
                took_s=site.took_s,
            )
        for verdict in verdicts:
            self.on_verdict(verdict)
            self.log.append((self.now - self.start, verdict))

    def heard(self, udn: str = "d1", location: str | None = HOME, **more: Any) -> bool:
        given: dict[str, Any] = {"kind": "alive", "source": "10.0.0.1", "score": 3, **more}
        return self.presence.heard(Sighting(udn=udn, location=location, **given), self.now)

    def byebye(self, udn: str = "d1", times: int = 5) -> None:
        for _ in range(times):
            self.heard(udn, None, kind="byebye")

    def take(self) -> list[Verdict]:
        verdicts = [verdict for _, verdict in self.log]
        self.log.clear()
        return verdicts

    def take_checks(self) -> list[tuple[float, str]]:
        checks = [(round(at - self.start, 1), c.location) for at, c in self.checks]
        self.checks.clear()
        return checks

    def mark(self) -> None:
        """Forget what was and count time from here."""
        self.start = self.now
        self.log.clear()
        self.checks.clear()

    def whens(self) -> list[float]:
        return [round(at, 1) for at, _ in self.checks]


def joined(reason: Reason, location: str = HOME, udn: str = "d1") -> Joined:
    return Joined(udn, location, reason)


def home(presence: Presence | None = None, **more: Any) -> Net:
    """A network whose one device is online since 100 s."""
    net = Net({HOME: Site(("d1", "e1"))}, presence=presence or Presence())
    net.heard(**more)
    net.run(100)
    assert net.take() == [joined(Reason.FIRST)]
    net.mark()
    return net


def test_a_new_location_is_described_once_however_many_udns_are_announced_at_it():
    net = Net({HOME: Site(("D1", "e1"))})
    assert net.heard("d1")
    assert not net.heard("e1")
    assert not net.heard("uuid:D1")
    net.run(1)
    assert net.take() == [joined(Reason.FIRST, udn="D1")]
    assert [check.describe for _, check in net.checks] == [True]
    assert net.presence.root_of("uuid:E1") == "D1"


def test_a_repeated_alive_extends_life_and_asks_for_nothing():
    net = home(max_age_s=200)
    assert not net.heard(max_age_s=200)
    net.run(199)
    assert net.whens() == []


def test_a_udn_that_only_ssdp_knows_becomes_an_alias():
    net = Net({HOME: Site(("d1",))})
    net.heard("router-alias")
    net.run(1)
    assert net.presence.root_of("router-alias") == "d1"
    net.mark()
    assert not net.heard("router-alias", max_age_s=1000)
    net.run(990)
    assert net.whens() == []
    net.byebye("router-alias")
    net.run(1)
    assert len(net.checks) == 1


def test_a_udn_heard_later_becomes_an_alias_after_a_probe():
    net = home()
    net.heard("late")
    net.run(1)
    assert net.presence.root_of("late") == "d1"
    assert net.take() == []


def test_a_flood_of_foreign_udns_at_a_location_causes_one_probe_a_minute():
    net = home(max_age_s=1800)
    for number in range(1000):
        net.heard(f"x{number}")
        net.run(0.1)
    assert len(net.checks) <= 2
    assert len(net.presence._tables.by_udn) < 40


def test_another_devices_udn_does_not_become_an_alias_and_is_reported_once():
    net = home()
    net.sites[OTHER] = Site(("d2",))
    net.heard("d2", OTHER)
    net.heard("d1", OTHER)
    net.run(1)
    assert net.presence.root_of("d1") == "d1"
    assert net.presence.location_of("d1") == HOME
    assert net.take() == [joined(Reason.FIRST, OTHER, "d2"), Conflict("d1", OTHER)]
    for _ in range(3):
        net.heard("d1", OTHER)
        net.run(100)
    assert net.take() == []


def test_a_new_bootid_is_a_reboot():
    net = home(boot_id=1)
    assert net.heard(boot_id=2)
    assert not net.heard(boot_id=2)
    net.run(5)
    assert net.take() == [joined(Reason.REBOOTED)]
    assert net.whens() == [0.0]


def test_a_bootid_heard_for_the_first_time_or_left_out_is_no_reboot():
    net = home()
    net.heard(boot_id=1)
    net.heard(boot_id=None)
    net.heard(boot_id=1)
    net.run(5)
    assert net.whens() == []


def test_a_bootid_announced_by_an_update_is_no_reboot():
    net = home(boot_id=1)
    assert not net.heard(kind="update", boot_id=1, next_boot_id=7)
    assert not net.heard(boot_id=7)
    net.heard(boot_id=7, kind="answer")
    net.run(5)
    assert net.whens() == []
    net.heard(boot_id=8)
    net.run(5)
    assert net.take() == [joined(Reason.REBOOTED)]


def test_a_flood_of_changing_bootids_has_a_device_described_once():
    net = home(boot_id=1)
    for boot_id in range(2, 302):
        net.heard(boot_id=boot_id)
        net.run(0.1)
    assert len(net.checks) == 1


def test_a_new_configid_has_the_device_described():
    net = home(config_id=1)
    net.heard(config_id=2)
    net.run(5)
    assert net.take() == [joined(Reason.CHANGED)]


def test_a_changed_description_seen_by_a_probe_has_the_device_described():
    net = home(max_age_s=150)
    net.sites[HOME] = Site(("d1", "e2"), b"2")
    net.run(60)
    assert net.take() == [joined(Reason.CHANGED)]
    assert [check.describe for _, check in net.checks] == [False, True]
    assert net.presence.root_of("e1") is None
    assert net.presence.root_of("e2") == "d1"


@pytest.mark.parametrize("udn", ["d1", "e1"])
def test_a_byebye_of_any_part_of_a_dead_device_takes_it_offline_after_one_probe(udn):
    net = home()
    net.sites.clear()
    net.refused = True
    net.byebye(udn)
    net.run(3)
    assert net.take() == [Left("d1", "byebye")]
    assert net.whens() == [0.5]


def test_a_spurious_byebye_is_looked_into_twice_and_changes_nothing():
    net = home(max_age_s=1000)
    net.byebye()
    net.run(100)
    assert net.take() == []
    assert net.whens() == [0.5, 5.5]


def test_a_server_that_dies_a_moment_after_its_byebye_is_offline_at_the_second_look():
    net = home()
    net.byebye()
    net.run(1)
    net.sites.clear()
    net.run(10)
    assert net.take() == [Left("d1", "byebye")]


def test_a_byebye_just_before_the_first_alive_is_a_reboot():
    net = home()
    net.byebye()
    net.run(0.2)
    net.heard()
    net.heard("e1")
    net.run(0.3004)
    assert net.running
    net.heard()
    net.run(20)
    assert net.take() == [joined(Reason.REBOOTED)]
    assert net.whens() == [0.5]


def test_a_flood_of_byebyes_causes_one_probe_in_ten_seconds():
    net = home()
    for _ in range(600):
        net.byebye()
        net.run(0.1)
    assert net.take() == []
    assert len(net.checks) <= 8


def test_a_device_that_says_nothing_is_probed_at_max_age_and_offline_within_thirty_seconds():
    net = home(max_age_s=200)
    net.sites.clear()
    net.run(130)
    (at, left) = net.log[0]
    assert left == Left("d1", "expired")
    assert 100 < at <= 130
    assert net.whens() == [100.0, 106.0]


def test_160_devices_that_fall_silent_together_are_offline_within_thirty_seconds():
    locations = [f"http://10.0.0.{number}:80/" for number in range(160)]
    net = Net({location: Site((f"d{n}",)) for n, location in enumerate(locations)})
    for number, location in enumerate(locations):
        net.heard(f"d{number}", location, source=f"10.0.0.{number}", max_age_s=200)
    net.run(100)
    net.mark()
    net.sites.clear()
    net.run(130)
    assert len(net.log) == 160


def test_a_description_being_read_at_max_age_does_not_make_it_later():
    net = home(max_age_s=200)
    net.run(99)
    net.sites.clear()
    net.presence.add(HOME, net.now)
    net.run(31)
    (at, left) = net.log[0]
    assert left == Left("d1", "expired")
    assert 100 < at < 129.5


def test_a_device_whose_alternatives_are_dead_too_leaves_in_time():
    net = home(max_age_s=200)
    net.sites[OTHER] = net.sites[THIRD] = net.sites[HOME]
    net.heard(location=OTHER)
    net.heard(location=THIRD)
    net.run(2)
    net.sites.clear()
    net.mark()
    net.run(230)
    (at, left) = net.log[0]
    assert left == Left("d1", "expired")
    assert 199 < at <= 229
    assert net.whens()[:4] == [199.0, 205.0, 210.0, 210.0]
    assert {check.location for _, check in net.checks[2:4]} == {OTHER, THIRD}


def test_an_alternative_that_expires_while_it_is_needed_is_tried():
    net = home(max_age_s=1800)
    net.sites[OTHER] = net.sites.pop(HOME)
    net.heard(location=OTHER, max_age_s=9)
    net.run(0.5)
    net.sites.clear()
    net.run(100)
    assert net.take() == [Left("d1", "unreachable")]


def test_a_device_that_answers_without_announcing_stays_online_and_goes_on_being_probed():
    net = home(max_age_s=1800)
    net.run(1800 + 1000)
    assert net.take() == []
    assert net.whens() == [1700.0, 2000.0, 2300.0, 2600.0]


def test_one_lost_probe_does_not_take_a_device_offline_and_has_it_join_afresh():
    net = home(max_age_s=110)
    site = net.sites.pop(HOME)
    net.run(15.1)
    net.sites[HOME] = site
    net.run(10)
    assert net.take() == [joined(Reason.REFRESHED)]
    net.run(90)
    assert net.take() == []


def test_a_suspect_is_probed_at_once_and_not_again_for_ten_seconds():
    net = home()
    for _ in range(99):
        net.presence.suspect("e1", net.now)
        net.run(0.1)
    assert net.whens() == [0.0]
    net.sites.clear()
    net.run(12)
    net.presence.suspect("d1", net.now)
    net.run(12)
    assert net.take() == [Left("d1", "unreachable")]


def test_an_offline_device_is_back_at_its_first_alive():
    net = home()
    site = net.sites.pop(HOME)
    net.byebye()
    net.run(500)
    net.mark()
    net.sites[HOME] = site
    net.heard(kind="answer")
    net.run(1)
    assert net.take() == [joined(Reason.BACK)]


def test_an_offline_device_is_back_without_an_alive_by_pauses_of_up_to_ten_minutes():
    net = home()
    net.refused = True
    site = net.sites.pop(HOME)
    net.byebye()
    net.run(5000)
    assert net.whens()[:3] == [0.5, 20.5, 40.5]
    assert net.whens()[14:20] == [280.5, 300.5, 360.5, 480.5, 780.5, 1380.5]
    net.mark()
    net.sites[HOME] = site
    net.run(601)
    assert net.take() == [joined(Reason.BACK)]


@pytest.mark.parametrize("refused", [True, False])
def test_an_offline_device_that_announces_and_does_not_answer_is_checked_ever_less_often(refused):
    net = home()
    net.refused = refused
    net.sites.clear()
    net.byebye()
    net.run(6)
    net.mark()
    for _ in range(600):
        net.heard()
        net.run(0.5)
    assert len(net.checks) <= 18
    waits = [after - before for before, after in zip(net.whens(), net.whens()[1:], strict=False)]
    assert waits == sorted(waits)
    assert refused or waits[0] > 20


def test_a_device_that_moved_is_taken_over_once_its_old_location_is_silent():
    net = home()
    net.sites[OTHER] = net.sites.pop(HOME)
    net.heard(location=OTHER)
    net.run(12)
    assert net.take() == [joined(Reason.MOVED, OTHER)]
    assert net.presence.location_of("d1") == OTHER


def test_a_device_that_moved_to_another_port_is_taken_over_within_two_seconds():
    net = home()
    moved = "http://10.0.0.1:81/d.xml"
    net.refused = True
    del net.sites[HOME]
    net.sites[moved] = Site(("d1",), b"2")
    net.heard(location=moved)
    net.run(2)
    assert net.take() == [joined(Reason.MOVED, moved)]


def test_a_device_that_moves_again_and_again_is_followed_each_time():
    net = home()
    net.run(30)
    places = [f"http://10.0.0.1:{port}/d.xml" for port in (81, 82, 83)]
    for location in (*places, HOME, *places):
        net.sites = {location: Site(("d1",))}
        net.heard(location=location)
        net.run(5)
        assert net.take() == [joined(Reason.MOVED, location)]


def test_a_device_that_answered_just_before_it_moved_is_followed():
    net = home()
    moved = "http://10.0.0.1:81/d.xml"
    net.sites = {moved: Site(("d1",))}
    net.heard(location=moved)
    net.run(3)
    assert net.take() == [joined(Reason.MOVED, moved)]


def test_a_device_that_moved_with_another_description_is_no_conflict():
    net = home()
    del net.sites[HOME]
    net.sites[OTHER] = Site(("d1",), b"2")
    net.heard(location=OTHER)
    net.run(12)
    assert net.take() == [joined(Reason.MOVED, OTHER)]


def test_a_device_that_moved_twice_with_other_descriptions_is_no_conflict_either():
    net = home()
    for location, description in ((OTHER, b"2"), (THIRD, b"3")):
        net.sites = {location: Site(("d1",), description)}
        net.heard(location=location)
        net.run(30)
        assert net.take() == [joined(Reason.MOVED, location)]


def test_a_device_that_moved_and_announces_an_alias_is_taken_over():
    net = home()
    net.sites[OTHER] = net.sites.pop(HOME)
    net.heard("alias", location=OTHER)
    net.run(12)
    assert net.take() == [joined(Reason.MOVED, OTHER)]


def test_a_liar_does_not_take_over_while_the_true_device_answers_and_is_reported_once():
    net = home()
    net.sites[OTHER] = Site(("d1",), b"lie")
    for _ in range(30):
        net.heard(location=OTHER, source="10.0.0.2")
        net.run(30)
    assert net.take() == [Conflict("d1", OTHER)]
    assert net.presence.location_of("d1") == HOME
    probes = [location for _, location in net.take_checks() if location == OTHER]
    assert len(probes) <= 15


def test_a_description_read_at_an_added_location_does_not_take_over_either():
    net = home()
    net.sites[OTHER] = Site(("d1",), b"lie")
    net.presence.add(OTHER, net.now)
    net.run(5)
    assert net.take() == [Conflict("d1", OTHER)]
    assert net.presence.location_of("d1") == HOME


def test_a_liar_does_not_come_before_a_device_of_the_tree_that_is_still_being_read():
    net = Net()
    net.presence.expect("d1", HOME, None, net.now)
    net.step()
    net.sites[OTHER] = Site(("d1",), b"lie")
    net.heard(location=OTHER)
    net.run(4)
    net.sites[HOME] = Site(("d1",))
    net.run(60)
    assert net.take()[0] == joined(Reason.FIRST)
    assert net.presence.location_of("d1") == HOME


def test_a_liar_that_embeds_anothers_udn_is_refused():
    net = home()
    net.sites[OTHER] = Site(("liar", "e1"))
    net.heard("liar", OTHER)
    net.run(5)
    assert net.take() == [Conflict("d1", OTHER)]
    assert net.presence.root_of("e1") == "d1"
    assert net.presence.root_of("liar") is None


def test_a_device_that_begins_to_embed_anothers_udn_stays_as_it_was():
    net = home()
    net.sites[OTHER] = Site(("d2",))
    net.heard("d2", OTHER)
    net.run(1)
    net.take()
    net.sites[OTHER] = Site(("d2", "e1"), b"2")
    net.run(4000)
    assert net.take() == [Conflict("d1", OTHER)]
    del net.sites[OTHER]
    net.run(330)
    assert net.take() == [Left("d2", "expired")]


def test_another_location_of_a_multi_homed_device_is_an_alternative_without_a_word():
    net = home()
    net.sites[OTHER] = net.sites[HOME]
    net.heard(location=OTHER)
    net.run(100)
    assert net.take() == []
    del net.sites[HOME]
    net.presence.suspect("d1", net.now)
    net.run(15)
    assert net.take() == [joined(Reason.MOVED, OTHER)]


def test_a_router_with_two_descriptions_under_one_udn_keeps_the_first_without_a_word():
    net = home()
    second = "http://10.0.0.1:80/igd2.xml"
    net.sites[second] = Site(("d1", "e1"), b"2")
    for _ in range(10):
        net.heard()
        net.heard(location=second)
        net.run(400)
    assert net.take() == []
    assert net.presence.location_of("d1") == HOME


def test_of_several_locations_the_one_on_the_interfaces_subnet_is_taken():
    net = Net({HOME: Site(("d1",)), OTHER: Site(("d1",))})
    net.heard(score=1)
    net.run(70)
    assert net.take() == [joined(Reason.FIRST)]
    net.heard(location=OTHER, score=3)
    net.run(1)
    assert net.take() == [joined(Reason.MOVED, OTHER)]
    net.heard(score=1)
    net.run(70)
    net.heard(score=1)
    net.run(70)
    assert net.take() == []


def test_an_offline_device_is_back_at_another_location():
    net = home()
    del net.sites[HOME]
    net.byebye()
    net.run(50)
    net.mark()
    net.sites[OTHER] = Site(("d1",), b"2")
    net.heard(location=OTHER)
    net.run(1)
    assert net.take() == [joined(Reason.BACK, OTHER)]


def test_devices_that_swapped_their_addresses_are_sorted_out():
    net = home()
    net.sites[OTHER] = Site(("d2",))
    net.heard("d2", OTHER)
    net.run(100)
    net.mark()
    net.sites = {HOME: Site(("d2",)), OTHER: Site(("d1",))}
    for _ in range(40):
        net.heard("d2", HOME)
        net.heard("d1", OTHER)
        net.run(2)
    assert net.presence.location_of("d1") == OTHER
    assert net.presence.location_of("d2") == HOME
    assert all(known.state == "online" for known in net.presence.devices)


def test_a_device_announced_where_another_answered_is_forgotten_without_a_trace():
    net = home()
    net.sites[HOME] = Site(("d9",))
    net.heard(location=OTHER)
    net.step()
    net.end(HOME)
    net.heard()
    net.presence.forget("d1", net.now)
    assert net.presence.devices == ()
    assert OTHER not in net.presence._tables.places


def test_an_address_that_belongs_to_another_device_by_now_takes_the_old_one_offline():
    net = home()
    net.sites[HOME] = Site(("d9",))
    net.heard("d9")
    net.run(5)
    assert net.take() == [Left("d1", "unreachable"), joined(Reason.FIRST, udn="d9")]
    assert net.presence.location_of("d1") is None


def test_an_unknown_location_that_does_not_answer_is_tried_with_growing_pauses_and_forgotten():
    net = Net(refused=True)
    net.heard(max_age_s=1000)
    net.run(2000)
    assert net.whens() == [0.0, 2.0, 7.0, 22.0, 82.0, 382.0, 982.0]
    assert net.presence.pending == 0
    assert net.presence.next_deadline(net.now) is None


def test_expected_devices_are_checked_at_once_and_join_or_leave():
    net = Net({HOME: Site(("d1",))}, refused=True)
    assert net.presence.expect("d1", HOME, "S/1", net.now)
    assert net.presence.expect("d2", OTHER, None, net.now)
    assert net.presence.pending == 2
    assert [known.state for known in net.presence.devices] == ["unknown", "unknown"]
    net.run(1)
    assert net.take() == [joined(Reason.FIRST), Left("d2", "unreachable")]
    assert net.checks[0][1].server == "S/1"
    assert net.presence.pending == 0
    net.sites[OTHER] = Site(("d2",))
    net.run(31)
    assert net.take() == [joined(Reason.FIRST, OTHER, "d2")]


def test_an_expected_device_whose_location_is_anothers_leaves():
    net = Net({HOME: Site(("d1",))})
    net.presence.expect("d9", HOME, None, net.now)
    assert not net.presence.expect("d8", HOME, None, net.now)
    net.run(1)
    assert net.take() == [Left("d9", "unreachable"), joined(Reason.FIRST)]


def test_an_expected_device_that_is_announced_before_the_tree_is_read_joins_once():
    net = Net({HOME: Site(("d1",))})
    net.heard()
    assert net.presence.expect("d1", HOME, None, net.now)
    net.run(1)
    assert net.take() == [joined(Reason.FIRST)]


def test_a_pinned_location_is_never_given_up():
    net = Net(refused=True)
    net.presence.add(HOME, net.now, pinned=True)
    net.run(100_000)
    net.sites[HOME] = Site(("d1",))
    net.run(600)
    assert net.take() == [joined(Reason.FIRST)]
    net.run(300)
    net.presence.forget("d1", net.now)
    net.run(301)
    assert net.take() == [joined(Reason.FIRST)]


def test_a_description_with_a_part_missing_is_read_again_ever_more_rarely_until_it_is_whole():
    net = home()
    net.sites[HOME].is_whole = False
    net.presence.add(HOME, net.now)
    began_s = net.now - net.start
    net.run(100)
    assert net.take() == [joined(Reason.REFRESHED), *[joined(Reason.CHANGED)] * 2]
    read = [round(at - began_s) for at, check in net.checks if check.describe and at >= began_s]
    assert read == [0, 15, 75]
    net.sites[HOME].is_whole = True
    net.run(7200)
    assert net.take() == [joined(Reason.CHANGED)]


def test_a_device_described_before_its_server_was_known_is_described_again():
    net = Net({HOME: Site(("d1",))})
    net.presence.add(HOME, net.now)
    net.run(1)
    assert net.take() == [joined(Reason.FIRST)]
    net.heard(server="Lab/1 UPnP/1.1 Thing/1")
    net.run(1)
    assert net.take() == [joined(Reason.CHANGED)]
    assert net.checks[-1][1].server == "Lab/1 UPnP/1.1 Thing/1"
    net.heard(server="Lab/1 UPnP/1.1 Thing/1")
    net.run(1)
    assert net.take() == []


def test_adding_a_known_location_describes_it_afresh():
    net = home()
    net.presence.add(HOME, net.now)
    net.run(1)
    assert net.take() == [joined(Reason.REFRESHED)]


def test_a_forgotten_device_is_unknown_until_it_announces_itself():
    net = home()
    net.presence.forget("uuid:E1", net.now)
    net.run(5000)
    assert net.presence.devices == ()
    assert net.whens() == []
    net.heard()
    net.run(1)
    assert net.take() == [joined(Reason.FIRST)]


def test_a_device_forgotten_during_its_check_stays_forgotten():
    net = home()
    net.presence.suspect("d1", net.now)
    net.step()
    net.presence.forget("d1", net.now)
    net.run(100)
    assert net.presence.devices == ()
    assert net.take() == []


def test_devices_of_one_dead_host_leave_together():
    locations = [f"http://10.0.0.1:{port}/" for port in range(80, 100)]
    net = Net({location: Site((location[-3:-1],)) for location in locations})
    for location in locations:
        net.heard(location[-3:-1], location, max_age_s=100)
    net.run(50)
    net.mark()
    net.sites.clear()
    net.run(80)
    assert len(net.log) == 20
    assert max(at for at, _ in net.log) < 62


def test_nothing_is_kept_of_what_has_no_room():
    net = home(Presence(most=1))
    assert not net.presence.expect("d2", OTHER, None, net.now)
    assert not net.heard("d3", None)
    assert net.presence.pending == 0


def test_descriptions_are_read_from_one_host_one_at_a_time():
    net = Net()
    for port in range(10):
        net.heard(f"d{port}", f"http://10.0.0.1:{port + 80}/")
    net.step()
    assert len(net.running) == 1


def test_a_flood_of_locations_keeps_within_bounds_and_pushes_out_no_known_device():
    net = home(max_age_s=1800)
    for source in range(100):
        for port in range(100):
            net.heard(
                f"f{source}-{port}", f"http://10.1.{source}.{port}/", source=f"10.1.9.{source}"
            )
    assert net.presence.pending <= tables.MAX_STRANGERS
    for port in range(200):
        net.heard(f"g{port}", f"http://10.2.0.{port}/", source="10.2.0.1")
    assert len(net.presence._tables.by_source["10.2.0.1"]) <= tables.MAX_LOCATIONS_PER_SOURCE
    for port in range(200):
        net.heard(f"h{port}", f"http://10.0.0.1:{port + 100}/")
    assert net.presence.location_of("d1") == HOME
    assert HOME in net.presence._tables.places
    net.step()
    assert len(net.running) < checks.MAX_CHECKS
    net.presence.suspect("d1", net.now)
    net.step()
    assert HOME in net.running


def test_a_flood_of_described_devices_pushes_out_only_those_offline():
    net = home(Presence(most=3), max_age_s=1800)
    for number in range(2, 9):
        location = f"http://10.0.1.{number}/"
        net.sites[location] = Site((f"x{number}",))
        net.heard(f"x{number}", location)
        net.run(1)
    assert [known.udn for known in net.presence.devices] == ["d1", "x2", "x3"]
    del net.sites["http://10.0.1.2/"]
    net.byebye("x2")
    net.run(100)
    net.run(600)
    udns = [known.udn for known in net.presence.devices]
    assert len(udns) == 3
    assert "d1" in udns
    assert "x2" not in udns


def test_an_offline_device_whose_udn_another_has_by_now_goes_and_the_other_stays():
    net = home(Presence(most=2), max_age_s=1800)
    net.sites[OTHER] = Site(("d2",))
    net.heard("d2", OTHER)
    net.run(1)
    del net.sites[OTHER]
    net.byebye("d2")
    net.run(10)
    net.sites[HOME] = Site(("d1", "d2"))
    net.presence.add(HOME, net.now)
    net.run(1)
    net.sites[THIRD] = Site(("d3",))
    net.heard("d3", THIRD)
    net.run(1)
    assert [(k.udn, k.state) for k in net.presence.devices] == [("d1", "online"), ("d3", "online")]
    assert net.presence.root_of("d2") == "d1"


def test_a_known_device_whose_udn_nobody_has_any_more_is_not_expected_a_second_time():
    net = home(max_age_s=1800)
    net.sites[OTHER] = Site(("d2",))
    net.heard("d2", OTHER)
    net.run(1)
    del net.sites[OTHER]
    net.byebye("d2")
    net.run(10)
    for udns in (("d1", "d2"), ("d1",)):
        net.sites[HOME] = Site(udns)
        net.presence.add(HOME, net.now)
        net.run(1)
    known = net.presence.devices
    assert net.presence.expect("d2", THIRD, None, net.now)
    assert net.presence.devices == known


def test_the_alternatives_of_a_device_are_bounded():
    net = home()
    for number in range(2, 40):
        net.heard(location=f"http://10.0.0.{number}/", source=f"10.0.0.{number}")
        net.run(1)
    assert len(net.presence._tables.places) <= 1 + tables.MAX_ALTERNATIVES


def test_absurd_texts_are_not_kept():
    net = Net()
    assert not net.heard("x" * 100_000)
    assert not net.heard("d1", "http://10.0.0.1/" + "x" * 100_000)
    assert net.presence.pending == 0


UDNS = st.sampled_from(["d1", "d2", "d3", "e1", "alias"])
SITES = [f"http://10.0.0.{number}/" for number in range(1, 7)]
HONEST_UDN, HONEST = "h1", "http://10.0.1.1/"
DYING_UDN, DYING = "h2", "http://10.0.1.2/"


class Life(RuleBasedStateMachine):
    """Anybody says anything at any time; one device is honest, one is honest until it dies."""

    def __init__(self):
        super().__init__()
        self.net = Net(
            {HONEST: Site((HONEST_UDN, "h1e")), DYING: Site((DYING_UDN,))},
            on_verdict=self.judge,
            on_outcome=self.note,
        )
        self.failed_since_proof: dict[str, bool] = {}
        self.conflicts: set[Conflict] = set()
        self.online: set[str] = set()
        self.last_alive: tuple[float, float] = (0.0, 0.0)
        for udn, location in ((HONEST_UDN, HONEST), (DYING_UDN, DYING)):
            self.net.heard(udn, location, max_age_s=60)
        self.last_alive = (self.net.now, 60)
        self.net.run(1)
        assert self.online == {HONEST_UDN, DYING_UDN}

    def note(self, location: str, site: Site | None) -> None:
        for known in self.net.presence.devices:
            if known.location == location:
                proof = site is not None and site.udns[0] == known.udn
                self.failed_since_proof[known.udn] = not proof

    def judge(self, verdict: Verdict) -> None:
        match verdict:
            case Joined(udn, location, _):
                self.online.add(udn)
                if udn == HONEST_UDN:
                    assert location == HONEST
                self.failed_since_proof[udn] = False
            case Left(udn, _):
                assert udn != HONEST_UDN
                assert udn in self.online or udn.startswith("expected")
                assert self.failed_since_proof[udn]
                self.online.discard(udn)
            case Conflict():
                assert verdict not in self.conflicts
                self.conflicts.add(verdict)

    @rule(
        udn=UDNS | st.sampled_from([HONEST_UDN, "h1e"]),
        location=st.sampled_from(SITES),
        kind=st.sampled_from(["alive", "answer", "update"]),
        score=st.integers(0, 3),
        max_age_s=st.sampled_from([0.0, 5.0, 30.0, 1800.0]),
        boot_id=st.none() | st.integers(1, 3),
        config_id=st.none() | st.integers(1, 2),
        next_boot_id=st.none() | st.integers(1, 3),
    )
    def anybody_announces(self, udn, location, kind, **more):
        self.net.heard(udn, location, kind=kind, source=location, **more)

    @rule(udn=UDNS | st.sampled_from([HONEST_UDN, "h1e", DYING_UDN]))
    def anybody_says_byebye(self, udn):
        self.net.byebye(udn, 3)

    @rule(boot_id=st.none() | st.integers(1, 3), max_age_s=st.sampled_from([0.0, 5.0, 100.0]))
    def anybody_announces_the_honest_location(self, boot_id, max_age_s):
        self.net.heard(HONEST_UDN, HONEST, boot_id=boot_id, max_age_s=max_age_s)

    @precondition(lambda self: DYING in self.net.sites)
    @rule(max_age_s=st.sampled_from([10.0, 60.0, 300.0]))
    def the_dying_device_announces_itself(self, max_age_s):
        self.net.heard(DYING_UDN, DYING, max_age_s=max_age_s)
        self.last_alive = (self.net.now, max_age_s)

    @rule(
        location=st.sampled_from(SITES),
        udns=st.lists(UDNS | st.just(HONEST_UDN) | st.just("h1e"), min_size=1, max_size=3),
        fingerprint=st.sampled_from([b"1", b"2"]),
    )
    def a_site_changes(self, location, udns, fingerprint):
        self.net.sites[location] = Site(tuple(udns), fingerprint)

    @rule(location=st.sampled_from(SITES))
    def a_site_goes(self, location):
        self.net.sites.pop(location, None)

    @rule(refused=st.booleans())
    def hosts_refuse_or_are_silent(self, refused):
        self.net.refused = refused

    @rule(number=st.integers(1, 2), location=st.sampled_from(SITES))
    def the_tree_names(self, number, location):
        self.net.presence.expect(f"expected{number}", location, None, self.net.now)

    @rule(location=st.sampled_from(SITES), pinned=st.booleans())
    def somebody_adds(self, location, pinned):
        self.net.presence.add(location, self.net.now, pinned=pinned)

    @rule(udn=UDNS)
    def somebody_forgets(self, udn):
        root = self.net.presence.root_of(udn)
        if root not in (None, HONEST_UDN, DYING_UDN):
            self.net.presence.forget(udn, self.net.now)
            self.online.discard(root)

    @rule(udn=UDNS | st.sampled_from([HONEST_UDN, DYING_UDN]))
    def somebody_suspects(self, udn):
        self.net.presence.suspect(udn, self.net.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.6, 3.0, 12.0, 61.0, 400.0]))
    def time_passes(self, seconds):
        self.net.run(seconds)

    @precondition(lambda self: DYING in self.net.sites)
    @rule()
    def the_dying_device_dies(self):
        proofs = [known.expires_s for known in self.net.presence.devices if known.udn == DYING_UDN]
        del self.net.sites[DYING]
        self.net.run(max(0.0, proofs[0] - self.net.now) + 30)
        assert DYING_UDN not in self.online
        self.net.sites[DYING] = Site((DYING_UDN,))
        self.net.heard(DYING_UDN, DYING, max_age_s=60)
        self.net.run(120)
        assert DYING_UDN in self.online

    @invariant()
    def tables_are_bounded_and_consistent(self):
        known = self.net.presence._tables
        assert set(known.strangers) <= set(known.places)
        assert sum(map(len, known.by_source.values())) == len(known.places)
        for location, place in known.places.items():
            assert place.location == location
            assert (place.owner is None) == (location in known.strangers)
            if place.owner is not None:
                assert place.owner in known.devices.values()
                assert place is place.owner.place or location in place.owner.alternatives
        for device in known.devices.values():
            assert len(device.alternatives) <= tables.MAX_ALTERNATIVES
            for location, place in device.alternatives.items():
                assert known.places[location] is place
                assert place.owner is device
                assert place is not device.place
        assert set(map(id, known.by_udn.values())) <= set(map(id, known.devices.values()))

    @invariant()
    def the_honest_device_is_online(self):
        assert HONEST_UDN in self.online
        assert self.net.presence.location_of(HONEST_UDN) == HONEST

    @invariant()
    def what_was_said_is_what_is_known(self):
        known = {k.udn for k in self.net.presence.devices if k.state == "online"}
        assert known == self.online


Life.TestCase.settings = settings(stateful_step_count=40)
TestLife = Life.TestCase
