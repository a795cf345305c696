"""A subscription's SEQ, time-outs and steps, with time as an argument."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.upnp.gena.subscription import Arrival, Step, Subscription, granted_s

LAST_SEQ = 4294967295


def granted(now: float = 0.0, timeout: str | None = "Second-300", **kwargs) -> Subscription:
    subscription = Subscription(**kwargs)
    subscription.begin()
    subscription.grant(now, "uuid:1", timeout, 0.0)
    return subscription


def arrivals(*seqs: int | None, subscription: Subscription | None = None) -> list[str]:
    subscription = subscription or granted()
    return [subscription.arrive(float(now), seq).value for now, seq in enumerate(seqs)]


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        ("Second-1800", 1800),
        ("second-300", 300),
        ("1800", 1800),
        (" Second - 60 ", 60),
        ("Second-infinite", 3600),
        ("Second-INFINITE", 3600),
        ("infinite", 3600),
        ("Second-", 300),
        ("", 300),
        (None, 300),
        ("soon", 300),
        ("Second-86400", 3600),
        ("Second-" + "9" * 5000, 3600),
        ("Second-0", 0),
    ],
)
def test_a_timeout_header_is_read_in_all_its_spellings(timeout, seconds):
    assert granted_s(timeout, 300) == seconds


@given(st.none() | st.text())
def test_any_timeout_header_grants_something_between_nothing_and_an_hour(timeout):
    assert 0 <= granted_s(timeout, 300) <= 3600


def test_a_new_subscription_subscribes_at_once():
    assert Subscription().due == (-inf, Step.SUBSCRIBE)


def test_five_minutes_are_asked_for_since_denon_heos_refuses_renewals_of_more_than_nine():
    assert Subscription().requested_s == 300


@pytest.mark.parametrize(("chance", "at"), [(0.0, 1120.0), (1.0, 1150.0)])
def test_a_renewal_is_due_after_40_to_50_percent_of_the_time_granted(chance, at):
    subscription = Subscription()
    subscription.begin()
    subscription.arrive(999.0, 0)
    subscription.grant(1000.0, "uuid:1", "Second-300", chance)
    assert subscription.due == (at, Step.RENEW)
    assert subscription.health.state == "subscribed"


@pytest.mark.parametrize("timeout", ["Second-0", "Second-1", "Second-20"])
def test_a_renewal_is_never_due_before_ten_seconds(timeout):
    assert granted(timeout=timeout).due == (10.0, Step.RENEW)


def test_what_is_left_counts_from_what_was_granted_last():
    subscription = Subscription()
    assert subscription.left_s(0.0) is None
    subscription.grant(0.0, "uuid:1", "Second-300", 0.0)
    assert subscription.left_s(100.0) == 200
    subscription.grant(150.0, "", "Second-60", 0.0)
    assert [subscription.left_s(now) for now in (150.0, 200.0, 300.0)] == [60, 10, 0]
    subscription.begin()
    assert subscription.left_s(150.0) is None


def test_an_infinite_subscription_is_replaced_within_half_an_hour():
    subscription = granted(timeout="Second-infinite")
    subscription.arrive(1.0, 0)
    assert subscription.due == (1440.0, Step.SUBSCRIBE)


def test_a_renewal_keeps_the_sid_and_the_count_of_events():
    subscription = granted()
    assert arrivals(0, 1, subscription=subscription) == ["initial", "next"]
    subscription.grant(120.0, "", None, 0.0)
    assert subscription.sid == "uuid:1"
    assert arrivals(2, subscription=subscription) == ["next"]
    assert subscription.health.renewals == 1


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ((0, 1, 2), ["initial", "next", "next"]),
        ((0, 0, 0), ["initial", "next", "next"]),
        ((0, 1, 1, 1), ["initial", "next", "next", "next"]),
        ((None, None, None), ["initial", "next", "next"]),
        ((None, 0, 1), ["initial", "next", "next"]),
        ((0, 1, None, 2), ["initial", "next", "next", "next"]),
        ((0, 1, 3), ["initial", "next", "gap"]),
        ((1, 2), ["gap", "next"]),
        ((0, 7, 5, 6, 8), ["initial", "gap", "stale", "stale", "next"]),
        ((0, 7, 1, 2), ["initial", "gap", "gap", "next"]),
        ((0, 1, 2, 0, 1), ["initial", "next", "next", "gap", "next"]),
        ((LAST_SEQ, 1, 2), ["gap", "next", "next"]),
        ((LAST_SEQ, 0, 1), ["gap", "next", "next"]),
        ((LAST_SEQ, 1, LAST_SEQ, 2), ["gap", "next", "stale", "next"]),
        ((0, 10**10, 1), ["initial", "gap", "gap"]),
    ],
    ids=[
        "counting",
        "always 0, as jUPnP sent",
        "the same repeated",
        "none at all",
        "none at first",
        "none in between",
        "one lost",
        "the initial one lost",
        "a little late",
        "far behind",
        "begun anew under the same SID",
        "wrapped to 1",
        "wrapped to 0",
        "late across the wrap",
        "beyond 32 bits",
    ],
)
def test_seq_tells_the_initial_event_the_next_the_late_and_the_gap(seqs, expected):
    assert arrivals(*seqs) == expected


def test_a_late_event_is_counted_and_does_not_cost_a_subscription():
    subscription = granted()
    arrivals(0, 1, 2, 3, 2, subscription=subscription)
    assert subscription.health.stale == 1
    assert subscription.health.events == 4
    assert subscription.due[1] is Step.RENEW


def test_a_gap_asks_for_a_new_subscription_at_once():
    subscription = granted()
    subscription.arrive(1.0, 0)
    subscription.arrive(2.0, 5)
    assert subscription.due == (2.0, Step.SUBSCRIBE)
    assert subscription.sid == "uuid:1"
    assert subscription.health.gaps == subscription.health.resubscriptions == 1


def take_step(subscription: Subscription) -> None:
    """Have what is due be granted when it is due, with its initial event."""
    at, step = subscription.due
    if step is Step.SUBSCRIBE:
        subscription.begin()
    subscription.grant(at, "uuid:2", "Second-300", 0.0)
    if step is Step.SUBSCRIBE:
        subscription.arrive(at, 0)


def resubscribe_after_gap(subscription: Subscription, now: float) -> float:
    """Bring about a gap, subscribe when that is due, and return when it was."""
    while subscription.due[0] < now:
        take_step(subscription)
    subscription.arrive(now, 9)
    while subscription.due[1] is Step.RENEW:
        take_step(subscription)
    at = subscription.due[0]
    take_step(subscription)
    return at


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("timeout", ["Second-20", "Second-300"])
def test_a_subscription_is_replaced_within_ten_minutes_so_that_all_values_are_told(timeout, chance):
    subscription = granted(timeout=timeout)
    at, step = 0.0, Step.RENEW
    while step is Step.RENEW:
        subscription.grant(at, "", timeout, chance)
        subscription.arrive(at, None)
        at, step = subscription.due
    assert step is Step.SUBSCRIBE
    assert 450 <= at <= 600


def test_gaps_that_go_on_are_healed_ever_more_rarely_down_to_what_is_done_without_them():
    subscription = granted()
    subscription.arrive(0.0, 0)
    times, now = [], 1.0
    for _ in range(9):
        now = resubscribe_after_gap(subscription, now + 1)
        times.append(now)
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses == [60, 120, 240, 480, 480, 480, 480, 480]
    assert subscription.health.renewals > 10


def test_after_a_calm_time_a_gap_is_healed_at_once_again():
    subscription = granted()
    subscription.arrive(0.0, 0)
    first = resubscribe_after_gap(subscription, 1.0)
    second = resubscribe_after_gap(subscription, first + 2)
    assert second == first + 60
    assert resubscribe_after_gap(subscription, second + 1000) == second + 1000
    assert resubscribe_after_gap(subscription, second + 1001) == second + 1060


def test_a_refused_subscribe_is_tried_again_with_growing_pauses_up_to_an_hour():
    subscription, now, pauses = Subscription(), 0.0, []
    for _ in range(12):
        subscription.begin()
        subscription.refuse(now, 0.0)
        at, step = subscription.due
        assert step is Step.SUBSCRIBE
        pauses.append(at - now)
        now = at
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert subscription.health.state == "refused"
    assert subscription.health.refused == 12


def test_the_pause_after_a_refusal_has_jitter():
    subscription = Subscription()
    subscription.begin()
    subscription.refuse(0.0, 1.0)
    assert subscription.due == (12.5, Step.SUBSCRIBE)


def test_failing_for_years_overflows_nothing():
    subscription = Subscription(failures=10**6)
    subscription.begin()
    subscription.refuse(0.0, 0.0)
    assert subscription.due == (3600.0, Step.SUBSCRIBE)


def test_a_refused_renewal_subscribes_anew_at_once_and_waits_when_that_is_refused_too():
    subscription = granted()
    subscription.refuse(120.0, 0.0)
    assert subscription.due == (120.0, Step.SUBSCRIBE)
    assert (subscription.sid, subscription.health.state) == ("", "lost")
    subscription.begin()
    subscription.refuse(121.0, 0.0)
    assert subscription.due == (131.0, Step.SUBSCRIBE)
    assert subscription.health.state == "refused"


def test_after_a_renewal_without_an_answer_it_subscribes_anew_and_takes_events_until_then():
    subscription = granted()
    subscription.arrive(1.0, 0)
    subscription.lose(120.0, 0.0)
    assert subscription.due == (125.0, Step.SUBSCRIBE)
    assert subscription.sid == "uuid:1"
    assert subscription.arrive(121.0, 1) is Arrival.NEXT
    assert subscription.health.resubscriptions == 1
    subscription.begin()
    subscription.lose(126.0, 0.0)
    assert subscription.due == (136.0, Step.SUBSCRIBE)
    assert (subscription.sid, subscription.health.state) == ("", "lost")


def test_where_events_may_have_been_lost_it_subscribes_anew_at_once():
    subscription = granted()
    subscription.arrive(1.0, 0)
    subscription.doubt(2.0)
    assert subscription.due == (2.0, Step.SUBSCRIBE)
    subscription.begin()
    subscription.lose(3.0, 0.0)
    due = subscription.due
    subscription.doubt(4.0)
    assert subscription.due == due


def test_without_an_initial_event_within_30_seconds_the_service_is_silent_until_it_speaks():
    subscription = granted(now=100.0)
    assert subscription.due == (130.0, Step.NOTE_SILENCE)
    assert subscription.note_silence()
    assert subscription.health.state == "silent"
    assert subscription.due == (220.0, Step.RENEW)
    subscription.grant(220.0, "", "Second-300", 0.0)
    before = subscription.snapshot()
    subscription.arrive(221.0, 0)
    assert (before.state, subscription.snapshot().state) == ("silent", "subscribed")


def test_silence_is_news_once_until_the_service_speaks():
    subscription = granted()
    assert subscription.note_silence()
    subscription.begin()
    subscription.grant(200.0, "uuid:2", None, 0.0)
    assert not subscription.note_silence()
    subscription.arrive(300.0, 0)
    subscription.begin()
    subscription.grant(400.0, "uuid:3", None, 0.0)
    assert subscription.note_silence()


def test_an_event_that_overtakes_the_answer_to_subscribe_counts():
    subscription = Subscription()
    subscription.begin()
    assert subscription.arrive(0.0, 0) is Arrival.INITIAL
    assert subscription.arrive(0.0, 1) is Arrival.NEXT
    subscription.grant(0.1, "uuid:1", None, 0.0)
    assert subscription.arrive(1.0, 2) is Arrival.NEXT
    assert subscription.due[1] is Step.RENEW


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrive", "grant", "refuse", "lose"]),
            st.none() | st.integers(0, 10) | st.integers(0, 2**34),
            st.floats(0, 100),
            st.floats(0, 1),
        )
    )
)
def test_whatever_happens_the_next_step_is_due_within_a_little_more_than_an_hour(happenings):
    subscription, now = Subscription(), 0.0
    for what, seq, pause, chance in happenings:
        now += pause
        if subscription.due[1] is Step.NOTE_SILENCE and subscription.due[0] <= now:
            subscription.note_silence()
        if what == "arrive":
            subscription.arrive(now, seq)
            continue
        if subscription.due[1] is Step.SUBSCRIBE:
            subscription.begin()
        match what:
            case "grant":
                subscription.grant(now, "uuid:1", "Second-300", chance)
            case "refuse":
                subscription.refuse(now, chance)
            case "lose":
                subscription.lose(now, chance)
        assert subscription.due[0] <= now + 4500


@given(st.lists(st.none() | st.integers(0, 2**32 - 1)))
def test_every_event_is_counted_as_delivered_or_stale(seqs):
    subscription = granted()
    arrivals(*seqs, subscription=subscription)
    assert subscription.health.events + subscription.health.stale == len(seqs)
    assert subscription.health.gaps <= len(seqs)
