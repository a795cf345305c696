"""Groups that take turns."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.tree.fair_queue import FairQueue


def taken(turns: FairQueue[int]) -> list[str]:
    return [key for key, _ in iter(turns.pop, None)]


def test_groups_take_turns_and_keep_their_order():
    turns = FairQueue[int]()
    for group in ("x", "x", "x", "y", "x", "y"):
        turns.put(f"{group}{len(turns)}", 0, group)
    assert taken(turns) == ["x0", "y3", "x1", "y5", "x2", "x4"]


def test_what_comes_to_the_front_goes_before_every_group():
    turns = FairQueue[int]()
    for key in ("a1", "b1", "b2", "b3"):
        turns.put(key, 0, key[0])
    for key in ("b3", "b2"):
        turns.move_to_front(key)
    assert taken(turns) == ["b2", "b3", "a1", "b1"]


def test_a_key_waits_once_in_its_last_group_with_its_last_item():
    turns = FairQueue[int]()
    turns.put("k", 1, "x")
    turns.put("l", 2, "x")
    turns.put("k", 3, "x")
    assert turns.get("k") == 3
    turns.put("k", 4, "y")
    assert len(turns) == 2
    assert turns.pop() == ("l", 2)
    assert turns.pop() == ("k", 4)
    assert turns.get("k") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz"), st.integers(0, 3))))
def test_everything_comes_out_once(steps):
    turns = FairQueue[int]()
    wanted: dict[str, int] = {}
    for number, (key, group, step) in enumerate(steps):
        if step == 0 and key in turns:
            turns.move_to_front(key)
        elif step == 1 and key in turns:
            turns.move_to_end(key)
        elif step == 2 and (due := turns.pop()):
            assert wanted.pop(due[0]) == due[1]
        else:
            turns.put(key, number, group)
            wanted[key] = number
        assert len(turns) == len(wanted)
    assert dict(iter(turns.pop, None)) == wanted
