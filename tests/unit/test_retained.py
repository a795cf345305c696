"""What a broker holds, sorted by whose it is; nothing there is to be trusted."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.tree.ledger import Ledger
from bridge.tree.retained import RetainedTree, join_parts, whole_payloads


def encoded(document):
    return json.dumps(document, separators=(",", ":")).encode()


def document(own, bridge="main", **more):
    return encoded({"id": own, "kind": "device", "bridge": bridge, **more})


def retained_tree(held):
    return RetainedTree({f"b/{t}": p for t, p in held.items()}, base="b", instance="main")


def test_devices_are_sorted_by_the_bridge_in_their_documents():
    found = retained_tree(
        {
            "A": document("A"),
            "A1": document("A1", root="A"),
            "B": document("B", "other"),
            "A/availability": b"online",
            "A/S/value/V": b"1",
        }
    )
    assert found.owners == {"A": "main", "A1": "main", "B": "other"}
    assert found.roots == {"A": ["A", "A1"]}
    assert found.claimed == {"A", "A1"}
    assert set(found.group("A")) == {"b/A", "b/A/availability", "b/A/S/value/V"}


def test_notes_beside_the_tree_are_left_out():
    found = retained_tree(
        {
            "A": document("A"),
            "notes": b"mine",
            "A/note": b"mine",
            "A/S": b'{"id":"A/S"}',
            "A/call": b"{}",
            "A/S/value/V/set": b"1",
            "A/S/action/X/call": b"{}",
            "reply/x": b"mine",
            "X/a/b/c/d/e": b"mine",
        }
    )
    assert set(found.group("A")) == {"b/A", "b/A/S"}
    assert not found.group("notes") or "notes" not in found.claimed
    assert found.claimed == {"A"}


def test_bridges_that_are_online_are_known_and_only_our_topics_are_ours():
    found = retained_tree(
        {
            "bridge/main/state": b"online",
            "bridge/main/info": b"{}",
            "bridge/main/devices/chunk/1": b"x",
            "bridge/main/request/health": b"{}",
            "bridge/main/response/health": b"{}",
            "bridge/other/state": b"online",
            "bridge/third/state": b"offline",
            "bridge/other/info": b"{}",
        }
    )
    assert found.online == {"main", "other"}
    assert set(found.own) == {"b/bridge/main/info", "b/bridge/main/devices/chunk/1"}


def test_the_table_claims_devices_whose_documents_are_gone():
    rows = [{"id": "A", "subdevices": ["A1", 5]}, {"id": 7}, 3, {"id": "none"}]
    found = retained_tree(
        {
            "bridge/main/devices": encoded(rows),
            "A/S/value/V": b"1",
            "A1/availability": b"online",
            "B/S/value/V": b"1",
        }
    )
    assert found.claimed == {"A", "A1"}


def test_the_table_claims_nothing_that_another_bridge_has():
    rows = [{"id": "A"}]
    found = retained_tree({"bridge/main/devices": encoded(rows), "A": document("A", "other")})
    assert found.claimed == set()


def test_an_embedded_device_without_its_root_is_claimed_and_no_root():
    found = retained_tree({"A1": document("A1", root="A")})
    assert found.roots == {}
    assert found.claimed == {"A1"}


def parts(payload, size):
    cut = [payload[n : n + size] for n in range(0, len(payload), size)]
    head = {"chunks": len(cut), "bytes": len(payload), "sha256": sha256(payload).hexdigest()}
    return {
        "t": encoded(head),
        **{f"t/chunk/{n}": part for n, part in enumerate(cut, 1)},
    }


@given(st.binary(min_size=1), st.integers(1, 50))
def test_parts_are_put_together(payload, size):
    assert join_parts(parts(payload, size), "t") == payload


def test_parts_that_do_not_fit_are_nothing():
    held = parts(b"abcdef", 2)
    assert join_parts({**held, "t/chunk/2": b"xx"}, "t") is None
    del held["t/chunk/3"]
    assert join_parts(held, "t") is None


class Sparing(dict[str, bytes]):
    """What a broker holds; few of its topics may be read."""

    left = 3

    def get(self, topic: str, default: Any = None) -> Any:
        assert self.left > 0, "read again and again"
        self.left -= 1
        return super().get(topic, default)


def head_alone(count):
    return Sparing({"t": encoded({"chunks": count, "bytes": 1, "sha256": ""})})


@pytest.mark.parametrize("count", [10**12, 5, 1, 0, -1, True])
def test_a_head_that_lies_is_nothing_and_costs_nothing(count):
    assert join_parts(head_alone(count), "t") is None


@pytest.mark.parametrize("count", [1.5, "3", None])
def test_what_counts_no_parts_is_no_head(count):
    held = head_alone(count)
    assert join_parts(held, "t") == held["t"]


levels = st.sampled_from(
    [
        "A",
        "B",
        "bridge",
        "reply",
        "main",
        "state",
        "devices",
        "value",
        "chunk",
        "1",
        "S",
        "",
        "call",
    ]
)
payloads = st.binary(max_size=20) | st.sampled_from(
    [
        document("A"),
        document("A", root="B"),
        document("B", root="A"),
        document("A", root=5),
        document("A", 5),
        b"online",
        b'{"chunks":3,"bytes":5,"sha256":"x"}',
        b'{"chunks":',
        b"[]",
        b"[" * 2000,
        b'[{"id":"A","subdevices":{"x":1}},{"id":[]}]',
    ]
)
topics = st.lists(levels, min_size=1, max_size=7).map("/".join)


@given(st.dictionaries(topics, payloads, max_size=12))
def test_nothing_that_a_broker_may_hold_breaks_it(held):
    found = retained_tree(held)
    for device in (*found.claimed, "A", "B"):
        found.document(device)
        found.group(device)
    assert all(root in mine for root, mine in found.roots.items())


def test_a_part_with_a_number_beyond_all_numbers_is_a_stray():
    part = f"t/chunk/{'1' * 5000}"
    assert part not in whole_payloads({"t": b'{"chunks":3}', part: b"x"})


@pytest.mark.parametrize("name", ["\0", "\ud800", "a b", "+", "", "x" * 600])
def test_no_device_is_asked_for_whose_name_is_none_of_ours(name):
    rows = json.dumps([{"id": name, "subdevices": [name]}]).encode()
    assert not retained_tree({"bridge/main/devices": rows}).named


def test_payloads_are_put_together_and_what_is_no_part_of_any_is_left_out():
    ledger = Ledger()
    ledger.open(10)
    held = ledger.cut({"a": b"x" * 25, "b": b"short", "a/action/chunk/argument/1": b"an argument"})
    whole = {"a": b"x" * 25, "b": b"short", "a/action/chunk/argument/1": b"an argument"}
    assert len(held) > 3
    assert whole_payloads(held) == whole
    strays = {"b/chunk/1": b"of nothing", "a/chunk/9": b"one too many"}
    assert whole_payloads(held | strays) == whole


def test_what_cannot_be_put_together_stays_as_it_is():
    ledger = Ledger()
    ledger.open(10)
    held = ledger.cut({"a": b"x" * 25})
    del held["a/chunk/2"]
    assert whole_payloads(held) == held
    assert whole_payloads({"v": b'{"chunks":true}'}) == {"v": b'{"chunks":true}'}
    assert whole_payloads({"v": b'{"chunks":1}'}) == {"v": b'{"chunks":1}'}
