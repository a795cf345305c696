"""Which instance owns a device: every one comes to the same from the same messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.tree.instances import (
    JOINING_S,
    MOST_SEEN,
    SILENCE_S,
    Instances,
    highest,
    read_sees,
    weight,
    write_sees,
)

NAMES = st.sets(st.text("abcxyz", min_size=1, max_size=4), min_size=1, max_size=8)
DEVICES = [f"device-{number}" for number in range(200)]


def document(owner):
    return json.dumps({"id": "D", "bridge": owner}).encode()


def sees(*devices):
    return write_sees(devices)


def among(own, seen, *, now_s=0.0, named=None):
    """An instance that has heard what these see, and that all of them are online."""
    ours = Instances(own)
    ours.begin((), {}, named or {}, now_s)
    for name, devices in seen.items():
        ours.hear(name, "sees", sees(*devices), now_s)
        ours.hear(name, "state", b"online", now_s)
    return ours


def first_and_last(device, *names):
    """Return of these names the one that owns a device, and the one that would be the last to."""
    ordered = sorted(names, key=lambda one: weight(device, one))
    return ordered[-1], ordered[0]


# The hash


def test_the_hash_is_the_same_on_every_machine():
    assert highest("Lamp", ["kitchen", "attic", "cellar"]) == "attic"
    assert weight("Lamp", "main").hex()[:16] == "5397843054c60d68"


@given(NAMES, st.text("abc", min_size=1, max_size=3))
def test_one_more_takes_only_what_it_owns(names, new):
    before = {one: highest(one, names) for one in DEVICES}
    after = {one: highest(one, names | {new}) for one in DEVICES}
    assert {after[one] for one in DEVICES if after[one] != before[one]} <= {new}


@given(NAMES, st.data())
def test_one_less_moves_only_what_it_owned(names, data):
    gone = data.draw(st.sampled_from(sorted(names)))
    for one in DEVICES:
        if highest(one, names) != gone:
            assert highest(one, names - {gone}) == highest(one, names)


@pytest.mark.parametrize("names", [("main", "spare"), ("a", "b"), ("vlan10", "vlan20")])
def test_two_instances_share_evenly(names):
    owned = [highest(one, names) for one in DEVICES]
    for name in names:
        assert 0.4 <= owned.count(name) / len(DEVICES) <= 0.6


# What is seen


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b'{"devices":["a","b"]}', {"a", "b"}),
        (b'{"devices":["a",5,null,["b"]]}', {"a"}),
        (b'{"devices":[]}', set()),
        (b'{"devices":"a"}', None),
        (b"[]", None),
        (b"", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_what_others_see_is_read_with_care(payload, found):
    assert read_sees(payload) == found


def test_what_is_seen_is_written_in_order_and_read_again():
    assert write_sees({"b", "a"}) == b'{"devices":["a","b"]}'
    assert read_sees(write_sees({"b", "a"})) == frozenset("ab")


def test_what_others_see_is_bounded():
    many = json.dumps({"devices": [str(number) for number in range(MOST_SEEN + 5)]}).encode()
    assert len(read_sees(many) or ()) == MOST_SEEN


def test_instances_and_documents_of_others_are_bounded():
    ours = Instances("m")
    for number in range(2_000):
        ours.hear(f"z{number}", "state", b"online", 0)
    for number in range(MOST_SEEN + 100):
        ours.note_owner(f"D{number}", "a")
    assert len(ours.others) <= 256
    assert len(ours._named) == MOST_SEEN


# Whose a device is


def test_whoever_is_alone_owns_everything():
    ours = Instances("m")
    ours.begin((), {"gone": sees("D")}, {"D": "gone"}, 0)
    assert ours.is_alone
    assert ours.owner("D") == "m"
    assert ours.answers_for_all


def test_all_come_to_the_same():
    seen = {"a": ["D", "E"], "m": ["D", "F"], "z": ["D", "E", "F"]}
    views = [among(own, seen) for own in seen]
    for device in "DEF":
        wanted = highest(device, [name for name, devices in seen.items() if device in devices])
        assert {view.owner(device) for view in views} == {wanted}


def test_only_those_that_see_a_device_may_own_it():
    first, last = first_and_last("D", "a", "m")
    assert among(first, {first: [], last: ["D"]}).owner("D") == last
    assert among(last, {first: [], last: ["D"]}).owner("D") == last


def test_a_device_moves_when_its_owner_goes_and_back_when_it_is_here_again():
    first, last = first_and_last("D", "a", "m")
    ours = among(last, {"a": ["D"], "m": ["D"]})
    assert ours.owner("D") == first
    assert ours.hear(first, "state", b"offline", 1) is None
    assert ours.owner("D") == last
    ours.hear(first, "state", b"online", 2)
    assert ours.owner("D") == first


def test_a_change_of_what_is_seen_names_what_it_may_move():
    ours = among("m", {"a": ["D", "E"], "m": []})
    assert ours.hear("a", "sees", sees("E", "F"), 1) == {"D", "F"}
    assert ours.hear("a", "beat", b"{}", 1) == set()
    assert ours.hear("nobody", "health", b"{}", 1) == set()


def test_one_that_starts_takes_part_before_it_is_online():
    ours = Instances("m")
    ours.begin((), {}, {}, 0)
    ours.hear("a", "state", b"offline", 0, is_old=True)
    ours.hear("a", "sees", sees("D"), 0, is_old=True)
    alone = [ours.is_alone]
    for name, payload, is_old in (
        ("sees", sees("D"), False),
        ("state", b"offline", True),
        ("state", b"offline", False),
    ):
        ours.hear("a", name, payload, 1, is_old=is_old)
        alone.append(ours.is_alone)
    assert alone == [True, False, False, True]


def test_one_that_the_broker_called_online_and_does_not_any_more_is_gone():
    ours = Instances("m")
    ours.begin({"a"}, {"a": sees("D")}, {}, 0)
    assert list(ours.others) == ["a"]
    ours.hear("a", "state", b"offline", 0, is_old=True)
    assert list(ours.others) == []


def test_whoever_is_called_offline_owns_nothing_until_it_has_answered():
    first, last = first_and_last("D", "a", "m")
    ours = among(first, {"a": ["D"], "m": ["D"]})
    ours.hear(first, "state", b"offline", 1)
    assert ours.owner("D") == last
    ours.hear(first, "state", b"online", 1)
    assert ours.owner("D") == first


def test_what_nobody_sees_stays_with_whom_its_document_names():
    ours = among("m", {"a": [], "m": []}, named={"D": "m", "E": "a", "F": "gone"})
    assert [ours.owner(one) for one in "DEFG"] == ["m", "a", "a", None]


def test_an_older_version_keeps_what_it_has():
    first, last = first_and_last("D", "a", "m")
    ours = Instances(first)
    ours.begin({last}, {}, {"D": last}, 0)
    ours.hear(first, "sees", sees("D"), 0)
    assert ours.owner("D") == last
    assert ours.silent(SILENCE_S * 100) == ()
    ours.hear_document("D", document(first))
    assert ours.owner("D") == first


@pytest.mark.parametrize(
    "payload", [b"nonsense", b"[]", b"5", b'{"bridge":5}', b"{}", b"\xff", b"[" * 100_000]
)
def test_a_document_that_is_none_names_nobody(payload):
    ours = among("m", {"a": []}, named={"D": "a"})
    assert ours.holder("D") == "a"
    ours.hear_document("D", payload)
    assert ours.holder("D") is None
    assert ours.is_named("D")
    ours.hear_document("D", b"")
    assert not ours.is_named("D")


def test_a_new_device_waits_for_those_that_would_own_it():
    first, last = first_and_last("D", "a", "m")
    assert among(last, {"a": [], "m": []}).may_move("D")
    assert not among(last, {first: ["D"], last: []}).may_move("D")
    assert not among(first, {"a": [], "m": []}).may_move("D")


# Who is dead


def test_the_first_of_the_living_calls_dead_who_is_silent():
    late_s = SILENCE_S + 1
    for own, told in (("a", ("c",)), ("b", ())):
        ours = among(own, {"a": [], "b": [], "c": []})
        for name in {"a", "b"} - {own}:
            ours.hear(name, "beat", b"{}", late_s - 1)
        assert ours.silent(late_s) == told


def test_where_the_first_is_dead_the_next_says_so():
    ours = among("b", {"a": [], "b": [], "c": []})
    ours.hear("c", "beat", b"{}", 10)
    assert ours.silent(SILENCE_S + 1) == ("a",)
    assert ours.silent(SILENCE_S - 1) == ()


def test_whoever_was_held_up_calls_nobody_dead():
    ours = among("a", {"a": [], "b": []})
    ours.spare(100)
    assert ours.silent(100) == ()


def test_what_was_there_before_is_no_sign_of_life():
    ours = among("a", {"a": [], "b": []})
    ours.hear("b", "sees", sees("D"), 100, is_old=True)
    assert ours.silent(100) == ("b",)


# Who answers


def test_one_answers_for_devices_that_nobody_knows():
    seen: dict[str, list[str]] = {"a": [], "m": [], "z": []}
    assert [among(own, seen).answers_for_all for own in seen] == [True, False, False]


@pytest.mark.parametrize("named", ["Abc", "ABC", "uuid:abc", "UUID:uuid:aBC", "uuid%3AABC"])
def test_a_device_of_another_is_known_in_any_spelling(named):
    ours = among("a", {"a": [], "m": ["Abc"]}, named={"Def": "gone", "Ghi": "m"})
    assert ours.has(named)
    assert ours.has("ghi")
    assert not ours.has("uuid:def")
    assert not ours.has("ab")
    assert ours.answers_elsewhere(named)


# One that is missing


def test_one_that_went_without_a_word_is_missed_for_what_it_sees_until_it_is_heard():
    ours = among("a", {"a": ["D", "E"], "b": ["D"]})
    ours.hear("b", "state", b"offline", SILENCE_S + 1)
    assert ours.is_missing("b")
    assert [ours.is_missed(one) for one in ("D", "E", None)] == [True, False, True]
    assert not ours.is_awaited("D", SILENCE_S + 1)
    ours.hear("b", "beat", b"{}", 30)
    assert not ours.is_missing("b")
    assert not ours.is_missed("D")
    assert [ours.is_awaited(one, 30) for one in ("D", "E", None)] == [True, False, True]
    assert not ours.is_awaited("D", 30 + JOINING_S)
    ours.hear_done("b")
    assert not ours.is_awaited("D", 30)


@pytest.mark.parametrize("payload", [b"offline", b""])
def test_one_whose_will_comes_in_time_is_not_missed(payload):
    ours = among("a", {"a": ["D"], "b": ["D"]})
    ours.hear("b", "beat", b"{}", 10)
    ours.hear("b", "state", payload, 12)
    assert not ours.is_missed("D")


def test_nobody_misses_itself():
    ours = among("a", {"a": ["D"], "b": ["D"]})
    ours.hear("a", "state", b"offline", SILENCE_S + 1)
    assert not ours.is_missed("D")
