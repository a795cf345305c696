"""Other instances under the same base topic."""

import json

import pytest

from bridge.tree.instances import Instances


def document(owner):
    return json.dumps({"id": "D", "bridge": owner}).encode()


def test_who_is_online_and_sorts_first_has_the_device():
    ours = Instances("m")
    ours.begin({"a", "z", "m"}, {"D": "a", "E": "z", "F": "m", "G": "gone"})
    assert [ours.comes_first(d) for d in "DEFGH"] == [True, False, False, False, False]
    assert [ours.is_claimed(d) for d in "DEFGH"] == [True, True, False, False, False]


def test_a_device_is_free_when_its_owner_goes_and_taken_when_it_is_back():
    ours = Instances("m")
    ours.begin({"a"}, {"D": "a"})
    assert ours.hear_state("a", b"offline") == ("D",)
    assert not ours.comes_first("D")
    assert ours.hear_state("a", b"online") == ("D",)
    assert ours.comes_first("D")


def test_a_document_claims_a_device_for_its_bridge():
    ours = Instances("m")
    ours.begin({"a"}, {})
    assert not ours.hear_document("D", document("a"))
    assert ours.comes_first("D")
    assert not ours.hear_document("D", document("m"))
    assert not ours.is_claimed("D")


def test_a_document_of_one_that_sorts_behind_ours_is_told_of():
    ours = Instances("m")
    ours.begin({"z"}, {})
    assert ours.hear_document("D", document("z"))
    assert not ours.comes_first("D")


@pytest.mark.parametrize(
    "payload", [b"", b"nonsense", b"[]", b"5", b'{"bridge":5}', b"{}", b"\xff", b"[" * 100_000]
)
def test_a_document_that_is_none_claims_nothing(payload):
    ours = Instances("m")
    ours.begin({"a"}, {"D": "a"})
    assert not ours.hear_document("D", payload)
    assert not ours.is_claimed("D")


def test_our_own_state_is_no_neighbour():
    ours = Instances("m")
    ours.begin({"m"}, {"D": "m"})
    assert ours.hear_state("m", b"offline") == ()
    assert ours.answers_for_all


def test_one_answers_for_devices_that_nobody_knows():
    online = {"a", "m", "z"}
    answering = []
    for instance in online:
        one = Instances(instance)
        one.begin(online, {})
        answering.append(one.answers_for_all)
    assert sorted(answering) == [False, False, True]


def test_documents_of_others_are_bounded():
    ours = Instances("m")
    for number in range(20_000):
        ours.hear_document(f"D{number}", document("a"))
    ours.hear_state("a", b"online")
    assert len(ours.hear_state("a", b"online")) <= 10_000


def test_states_of_others_are_bounded():
    ours = Instances("m")
    for number in range(20_000):
        ours.hear_state(f"z{number}", b"online")
    assert len(ours._online) <= 10_000


@pytest.mark.parametrize("named", ["Abc", "ABC", "uuid:abc", "UUID:uuid:aBC", "uuid%3AABC"])
def test_a_device_of_another_is_known_in_any_spelling(named):
    ours = Instances("m")
    ours.begin({"a"}, {"Abc": "a", "Def": "gone"})
    assert ours.has(named)
    assert not ours.has("uuid:def")
    assert not ours.has("ab")
