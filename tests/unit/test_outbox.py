"""Answers and news on their way to the broker."""

from bridge.tree.messages import Publication
from bridge.tree.outbox import ANSWER_EXPIRY_S, MAX_ANSWER_BYTES, MAX_HAPPENINGS, Outbox


def message(name):
    return Publication(name, b"x", retain=False)


def test_answers_go_before_news_each_in_order():
    outbox = Outbox()
    outbox.tell(message("n1"))
    outbox.answer(message("a1"), 0)
    outbox.tell(message("n2"))
    outbox.answer(message("a2"), 0)
    taken = [outbox.take(1) for _ in range(5)]
    assert [one and one.topic for one in taken] == ["a1", "a2", "n1", "n2", None]


def test_an_answer_carries_the_expiry_of_a_minute():
    outbox = Outbox()
    outbox.answer(message("a"), 0)
    taken = outbox.take(0)
    assert taken
    assert taken.expiry_s == ANSWER_EXPIRY_S == 60


def test_an_answer_that_nobody_waits_for_any_more_is_dropped():
    outbox = Outbox()
    outbox.answer(message("old"), 0)
    outbox.answer(message("new"), 30)
    taken = outbox.take(61)
    assert taken
    assert taken.topic == "new"
    assert outbox.take(61) is None


def test_news_are_forgotten_and_answers_are_not():
    outbox = Outbox()
    outbox.tell(message("n"))
    outbox.answer(message("a"), 0)
    outbox.drop_news()
    assert len(outbox) == 1


def test_both_are_bounded_and_the_oldest_go():
    outbox = Outbox()
    for number in range(5000):
        outbox.answer(message(f"a{number}"), 0)
        outbox.tell(message(f"n{number}"))
    assert len(outbox) == 5200
    outbox.answer(Publication("long", b"x" * (MAX_ANSWER_BYTES - 4000 * 1024), retain=False), 0)
    taken = [one.topic for one in iter(lambda: outbox.take(0), None)]
    assert taken[0] > "a1000"
    assert taken.index("long") == taken.index("n4800") - 1
    outbox.answer(Publication("too long", b"x" * MAX_ANSWER_BYTES, retain=False), 0)
    assert outbox.take(0) is None


def test_what_happens_at_devices_goes_behind_news_and_is_forgotten_with_them():
    outbox = Outbox()
    for number in range(MAX_HAPPENINGS + 5):
        outbox.happen(message(f"h{number}"))
    outbox.tell(message("n"))
    assert len(outbox) == MAX_HAPPENINGS + 1
    taken = [outbox.take(0) for _ in range(2)]
    assert [one and one.topic for one in taken] == ["n", "h5"]
    outbox.drop_news()
    assert outbox.take(0) is None
