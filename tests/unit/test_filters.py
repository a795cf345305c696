"""Which topic filter ended a connection: found out by asking for it alone."""

from bridge.mqtt.filters import AT_ONCE, Filters

WANTED = [f"a/{number}" for number in range(20)]


def sessions(bears, wanted, *, most=50):
    """Connect until nothing ends the connection; return what was left out, and the losses."""
    now = [0.0]
    filters = Filters(lambda: now[0])
    for lost in range(most):
        banned = {one for one in wanted if filters.is_banned(one)}
        left = [one for one in wanted if one not in banned]
        is_suspect = any(filters.is_suspect(group) for group in filters.groups(left))
        groups = list(filters.groups(left))
        pending = [[group] for group in groups] if is_suspect else [groups]
        for together in pending:
            if any(not bears(one) for group in together for one in group):
                filters.lost(together)
                break
            for group in together:
                filters.bore(group)
        else:
            return banned, lost
        now[0] += 1
    raise AssertionError("never online")


def test_what_a_broker_bears_goes_in_groups_of_eight():
    groups = list(Filters(lambda: 0.0).groups(WANTED))
    assert [len(group) for group in groups] == [AT_ONCE, AT_ONCE, 4]
    assert [one for group in groups for one in group] == WANTED
    assert sessions(lambda _: True, WANTED) == (set(), 0)


def test_one_that_ends_the_connection_is_left_out_after_three_losses():
    assert sessions(lambda one: one != "a/7", WANTED) == ({"a/7"}, 3)


def test_several_are_found_one_after_the_other():
    deep = {"x/+/+/+/+", "y/+/+/+/+"}
    banned, lost = sessions(lambda one: one not in deep, [*WANTED, *deep])
    assert banned == deep
    assert lost == 4


def test_a_connection_that_ends_by_chance_costs_nothing():
    filters = Filters(lambda: 0.0)
    filters.lost([["a/1", "a/2"], ["a/3"]])
    assert list(filters.groups(["a/4", "a/1", "a/2"])) == [("a/4",), ("a/1",), ("a/2",)]
    filters.lost([["a/1"]])
    filters.bore(["a/1"])
    filters.lost([["a/1"]])
    assert not filters.is_banned("a/1")


def test_after_an_hour_it_is_tried_again_alone():
    now = [0.0]
    filters = Filters(lambda: now[0])
    for _ in range(2):
        filters.lost([["a/1"]])
    assert filters.is_banned("a/1")
    now[0] = 3_601.0
    assert not filters.is_banned("a/1")
    assert list(filters.groups(["a/1", "a/2"])) == [("a/2",), ("a/1",)]
    filters.lost([["a/1"]])
    assert filters.is_banned("a/1")


def test_however_many_are_suspects_memory_is_bounded():
    filters = Filters(lambda: 0.0)
    filters.lost([[f"a/{number}" for number in range(5_000)]])
    assert sum(filters.is_suspect([f"a/{number}"]) for number in range(5_000)) == 1_000
