"""Boot marks that are none, and those that are: what BOOTID, 01-NLS and CONFIGID are believed."""

from typing import Any

import pytest

from bridge.upnp.presence import Presence, Reason
from tests.unit.test_presence import HOME, Net, Site, home, joined

ALIVES_S = 120.0


def said(mark: str, number: int, **more: Any) -> dict[str, Any]:
    return {mark: number, **more}


def asking(*, kept: bool | None, **more: Any) -> Net:
    """A network whose one device is online, and can be asked who subscribed to it."""
    net = home(Presence(asks=True), **more)
    net.kept = kept
    return net


def alives(net: Net, pause_s: float, seconds: float = 20.0, **more: Any) -> None:
    """The device says alive so often, for so long."""
    end = net.now + seconds
    while net.now < end:
        net.heard(**more)
        net.run(pause_s)


@pytest.mark.parametrize("mark", ["boot_id", "config_id"])
@pytest.mark.parametrize("kept", [True, None])
def test_a_mark_that_is_another_in_each_answer_is_no_mark(mark, kept):
    net = Net({HOME: Site(("d1",))}, presence=Presence(asks=True), kept=kept)
    number = 0
    for _ in range(3600 // 60):
        for _ in range(3):
            number += 1
            net.heard(**said(mark, number, kind="answer"))
            net.run(0.6)
        net.run(60 - 1.8)
    assert net.take() == [joined(Reason.FIRST)]
    assert len(net.checks) == 1
    assert len(net.asked) <= 1


@pytest.mark.parametrize("kind", ["alive", "answer"])
@pytest.mark.parametrize("mark", ["boot_id", "config_id"])
@pytest.mark.parametrize("kept", [True, None])
def test_a_mark_that_is_another_in_each_announcement_is_no_mark_for_long(kind, mark, kept):
    net = asking(kept=kept, **said(mark, 0))
    for number in range(1, 100):
        net.heard(**said(mark, number, kind=kind))
        net.run(ALIVES_S)
    assert len(net.take()) <= 1
    assert len(net.checks) <= 1
    assert len(net.asked) <= (1 if kind == "answer" else 100)  # at each alive, a renewal


@pytest.mark.parametrize("mark", ["boot_id", "config_id"])
@pytest.mark.parametrize("kept", [True, None])
def test_a_mark_that_counts_our_looks_causes_no_other(mark, kept):
    net = Net({HOME: Site(("d1",))}, presence=Presence(asks=True), kept=kept)
    looks = 0

    def look(_: object) -> None:
        nonlocal looks
        looks += 1

    net.on_check = look
    for _ in range(720):
        net.heard(**said(mark, looks))
        net.run(ALIVES_S)
    assert len(net.take()) <= 3
    assert looks <= 4


def test_of_a_device_that_is_asked_a_reboot_is_noticed_at_once():
    net = asking(kept=False, boot_id=1)
    assert net.heard(boot_id=2)
    net.run(1)
    assert net.take() == [joined(Reason.REBOOTED)]
    net.run(ALIVES_S)
    net.heard(boot_id=2)
    for boot_id in range(3, 20):
        net.heard(boot_id=boot_id)
        net.run(ALIVES_S)
        assert net.take() == [joined(Reason.REBOOTED)]


def test_two_reboots_that_follow_each_other_are_both_noticed():
    net = asking(kept=False, boot_id=1)
    for boot_id in (2, 3):
        net.heard(boot_id=boot_id)
        net.run(4)
        assert net.take() == [joined(Reason.REBOOTED)]


def test_a_reboot_within_a_burst_of_answers_is_noticed_by_who_forgot_its_subscribers():
    net = asking(kept=False, boot_id=1)
    net.heard(kind="answer", boot_id=1)
    net.run(1)
    net.heard(kind="answer", boot_id=2)
    net.run(1)
    assert net.take() == [joined(Reason.REBOOTED)]


def test_a_mark_that_changes_while_subscribers_are_known_is_no_reboot():
    net = asking(kept=True, boot_id=1)
    net.heard(boot_id=2)
    net.run(30)
    assert net.take() == []
    assert [check.describe for _, check in net.checks] == [False]


def test_a_mark_that_changes_with_the_description_is_believed_again():
    net = asking(kept=True, boot_id=1)
    net.sites[HOME] = Site(("d1", "e1"), b"2")
    net.heard(boot_id=2)
    net.run(30)
    assert net.take() == [joined(Reason.CHANGED)]
    assert net.presence._tables.places[HOME].boot.is_telling


def test_a_mark_that_was_wrong_is_believed_again_when_it_has_stood_for_long():
    net = asking(kept=True, boot_id=1)
    net.heard(boot_id=2)
    net.run(ALIVES_S)
    net.kept = False
    net.heard(boot_id=3)
    net.run(ALIVES_S)
    assert net.take() == [joined(Reason.REBOOTED)]  # it is asked at each alive


def test_a_mark_that_was_wrong_is_believed_again_after_a_byebye():
    net = asking(kept=True, boot_id=1)
    net.heard(boot_id=2)
    net.run(ALIVES_S)
    net.byebye()
    net.run(0.2)
    net.heard(boot_id=3)
    net.run(30)
    assert net.take() == [joined(Reason.REBOOTED)]
    assert net.presence._tables.places[HOME].boot.is_telling


def test_a_device_without_marks_that_starts_again_just_after_it_spoke_is_noticed():
    net = asking(kept=True)
    for _ in range(2):  # its start, and another start a moment later
        net.heard(kind="answer")
        net.run(1)
        net.heard()
        net.run(1)
    assert net.take() == []
    net.kept = False
    net.heard()
    net.run(4)
    assert net.take() == [joined(Reason.REBOOTED)]


def test_a_device_without_marks_is_asked_at_an_alive_at_most_three_times_a_minute():
    net = asking(kept=True)
    for _ in range(60):
        net.heard()
        net.heard("e1")
        net.run(10)
    assert len(net.asked) == 30
    assert net.checks == []
    net.kept = False
    net.run(60)
    net.heard()
    net.run(1)
    assert net.take() == [joined(Reason.REBOOTED)]


def test_a_late_announcement_with_the_mark_of_before_is_no_reboot():
    net = asking(kept=False, boot_id=1)
    net.heard(boot_id=2)
    net.run(1)
    assert net.take() == [joined(Reason.REBOOTED)]
    net.heard(boot_id=1)
    net.heard(boot_id=2)
    net.run(30)
    assert net.take() == []


def test_a_configid_that_changes_with_an_scpd_alone_has_the_device_described_each_time():
    net = asking(kept=True, config_id=1)
    for number in range(2, 12):
        net.sites[HOME] = Site(("d1", "e1"), b"1", whole=b"%d" % number)
        net.heard(config_id=number)
        net.run(ALIVES_S)
        assert net.take() == [joined(Reason.CHANGED)]


def test_a_configid_that_was_wrong_and_then_stands_is_looked_into_in_the_end():
    net = asking(kept=True, config_id=1)
    net.heard(config_id=2)
    net.run(ALIVES_S)
    net.take()
    net.sites[HOME] = Site(("d1", "e1"), b"1", whole=b"2")
    for _ in range(10):
        net.heard(config_id=3)
        net.run(ALIVES_S)
    assert net.take() == [joined(Reason.CHANGED)]


@pytest.mark.parametrize("pause_s", [4.0, 30.0, ALIVES_S])
@pytest.mark.parametrize("back_s", [0.5, 3.0, 8.0])
def test_a_description_that_was_read_between_two_changes_is_read_again_after_the_second(
    pause_s, back_s
):
    net = asking(kept=True, config_id=1)
    alives(net, pause_s, config_id=1)
    net.sites[HOME] = Site(("d1", "e1"), b"2")
    net.heard(config_id=2)
    net.run(back_s)
    net.sites[HOME] = Site(("d1", "e1"), b"1")
    net.heard(config_id=3)
    net.run(15)
    assert net.take() == [joined(Reason.CHANGED)] * 2


@pytest.mark.parametrize("pause_s", [1.0, 4.0, 30.0])
def test_what_was_wrong_once_is_looked_into_when_it_has_stood_for_a_minute(pause_s):
    net = asking(kept=True, config_id=1)
    net.heard(config_id=2)
    net.run(ALIVES_S)
    net.take()
    net.sites[HOME] = Site(("d1", "e1"), b"1", whole=b"2")
    alives(net, pause_s, 100, config_id=3)
    assert net.take() == [joined(Reason.CHANGED)]


def test_a_configid_heard_while_the_description_is_read_is_not_that_of_what_was_read():
    net = asking(kept=True, config_id=1)
    net.heard(config_id=2)
    net.run(ALIVES_S)
    net.take()
    assert net.presence.add(HOME, net.now)
    net.step()
    net.heard(config_id=3)
    net.run(1)
    assert net.take() == [joined(Reason.REFRESHED)]
    net.sites[HOME] = Site(("d1", "e1"), b"1", whole=b"2")
    alives(net, 30.0, ALIVES_S, config_id=3)
    assert net.take() == [joined(Reason.CHANGED)]


@pytest.mark.parametrize("mark", ["boot_id", "config_id"])
def test_a_mark_that_is_another_in_each_of_three_alives_is_no_mark(mark):
    net = asking(kept=None, **said(mark, 0))
    number = 0
    for _ in range(100):
        for _ in range(3):
            number += 1
            net.heard(**said(mark, number))
            net.run(0.2)
        net.run(ALIVES_S)
    assert len(net.take()) <= 1
    assert len(net.checks) <= 1


def test_an_answer_just_after_an_alive_may_be_the_first_to_tell_of_a_change():
    net = asking(kept=True, config_id=1)
    net.heard(config_id=1)
    net.run(2)
    net.sites[HOME] = Site(("d1", "e1"), b"1", whole=b"2")
    net.heard(kind="answer", config_id=2)
    net.run(15)
    assert net.take() == [joined(Reason.CHANGED)]


@pytest.mark.parametrize("pause_s", [4.0, 30.0, ALIVES_S])
def test_a_configid_that_is_again_what_it_was_has_the_device_described(pause_s):
    net = asking(kept=True, config_id=1)
    net.sites[HOME] = Site(("d1", "e1"), b"2")
    alives(net, pause_s, 20.0, config_id=2)
    net.sites[HOME] = Site(("d1", "e1"), b"1")
    alives(net, pause_s, ALIVES_S, config_id=1)
    assert net.take() == [joined(Reason.CHANGED)] * 2


@pytest.mark.parametrize("heard", [(3,), (1, 3), (1, 2, 3)])
def test_a_configid_that_changes_while_the_first_description_is_read_has_it_read_again(heard):
    net = Net({HOME: Site(("d1", "e1"))}, presence=Presence(asks=True))
    net.heard(config_id=2)
    net.step()
    for number in heard:
        net.heard(config_id=number)
    alives(net, 30.0, ALIVES_S, config_id=3)
    assert net.take() == [joined(Reason.FIRST), joined(Reason.CHANGED)]


def test_a_claim_is_not_disproved_by_a_description_that_began_to_be_read_before():
    net = asking(kept=True, config_id=1)
    assert net.presence.add(HOME, net.now)
    net.step()
    net.heard(config_id=2)
    net.end(net.running.popitem()[0])
    net.sites[HOME] = Site(("d1", "e1"), b"1", whole=b"2")
    net.run(ALIVES_S)
    assert net.take() == [joined(Reason.REFRESHED), joined(Reason.CHANGED)]
    assert net.presence._tables.places[HOME].config.is_telling


def test_a_configid_that_is_another_whenever_a_slow_description_is_read_is_no_mark_for_long():
    net = Net({HOME: Site(("d1", "e1"))}, presence=Presence(asks=True))
    number = 0

    def draw(*_: object) -> None:
        nonlocal number
        number += 1
        net.heard(config_id=number)

    draw()
    net.on_check = draw
    net.run(3600)
    assert sum(check.describe for _, check in net.checks) <= 3
