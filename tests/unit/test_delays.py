"""How long events wait until what they changed is handed to the broker."""

from bridge.tree.delays import MAX_TIMED, Delays


def test_each_event_is_timed_from_its_own_arrival():
    delays = Delays()
    delays.begin(10.0)
    delays.begin(10.5)
    assert len(delays) == 2
    assert list(delays.end(11.0)) == [1.0, 0.5]
    assert list(delays.end(12.0)) == []


def test_no_more_than_so_many_are_timed_at_once():
    delays = Delays()
    for n in range(MAX_TIMED + 5):
        delays.begin(float(n))
    assert len(list(delays.end(float(MAX_TIMED)))) == MAX_TIMED


def test_what_waited_when_the_broker_went_is_not_timed():
    delays = Delays()
    delays.begin(1.0)
    delays.clear()
    assert list(delays.end(99.0)) == []
