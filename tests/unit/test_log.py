"""How many lines the log takes."""

from bridge.log import BURST, Bound


def test_lines_of_an_event_are_bounded_and_the_next_one_tells_how_many_were_left_out():
    bound = Bound()
    assert [bound.admit("a", 0) for _ in range(BURST + 3)] == [0] * BURST + [None] * 3
    assert bound.admit("b", 0) == 0
    assert bound.admit("a", 0.5) is None
    assert [bound.admit("a", 1) for _ in range(2)] == [4, None]
    assert [bound.admit("a", 9000) for _ in range(BURST + 1)] == [1, *[0] * (BURST - 1), None]
