"""How long events wait until what they changed is handed to the broker."""

from math import inf

from bridge.tree.delays import MAX_TIMED, Delays, Durations


def test_each_event_is_timed_from_its_own_arrival():
    delays = Delays()
    delays.begin(10.0)
    delays.begin(10.5)
    assert len(delays) == 2
    delays.end(11.0)
    delays.end(12.0)
    assert delays.sum_s == 1.5
    assert dict(delays.cumulative())[inf] == 2


def test_no_more_than_so_many_are_timed_at_once():
    delays = Delays()
    for n in range(MAX_TIMED + 5):
        delays.begin(float(n))
    delays.end(float(MAX_TIMED))
    assert dict(delays.cumulative())[inf] == MAX_TIMED


def test_what_waited_when_the_broker_went_is_not_timed():
    delays = Delays()
    delays.begin(1.0)
    delays.clear()
    delays.end(99.0)
    assert dict(delays.cumulative())[inf] == 0


def test_each_bound_counts_all_that_took_that_long_at_most():
    durations = Durations([0.1, 1.0])
    for seconds in (0.05, 0.1, 0.5, 1.0, 7.0):
        durations.observe(seconds)
    assert list(durations.cumulative()) == [(0.1, 2), (1.0, 4), (inf, 5)]
