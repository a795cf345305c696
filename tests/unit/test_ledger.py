"""What a topic has to hold for a moment before it holds something else."""

import pytest

from bridge.tree.ledger import Ledger

LIMIT = 100
HUB = "hub/device"


def before(topic: str, held: bytes, wanted: bytes) -> bytes | None:
    """Of two payloads, which are words, the words that go have to be named first: `-word`."""
    gone = [word for word in held.split() if word not in wanted.split()]
    if not (topic.startswith("hub/") and wanted and gone):
        return None
    return b" ".join([*wanted.split(), *(b"-" + word.lstrip(b"-") for word in gone)])


class Broker:
    """A ledger, and what the broker holds of what was taken from it."""

    def __init__(self, **held: bytes) -> None:
        self.held = {f"hub/{name}": payload for name, payload in held.items()}
        self.ledger = Ledger(before)
        self.ledger.open(LIMIT)

    def want(self, **wanted: bytes) -> None:
        topics = {f"hub/{name}": payload for name, payload in wanted.items()}
        self.ledger.reconcile(self.held, topics)

    def take(self) -> tuple[str, bytes] | None:
        due = self.ledger.take()
        if due is None:
            return None
        topic, entry = due
        self.held[topic] = entry.payload
        if not entry.payload:
            del self.held[topic]
        return topic.removeprefix("hub/"), entry.payload

    def taken(self) -> list[bytes]:
        found = []
        while (due := self.take()) is not None:
            found.append(due[1])
        return found


def test_a_payload_that_is_replaced_is_forewarned_of_and_then_replaced():
    broker = Broker(device=b"a b")
    broker.want(device=b"b c")
    assert len(broker.ledger) == 1
    assert broker.take() == ("device", b"b c -a")
    assert len(broker.ledger) == 1
    assert broker.take() == ("device", b"b c")
    assert broker.take() is None


def test_what_is_replaced_follows_its_foreword_before_anything_else():
    broker = Broker(one=b"a", two=b"a")
    broker.want(one=b"b", two=b"b", three=b"c")
    found = [broker.take() for _ in range(5)]
    assert found == [
        ("one", b"b -a"),
        ("one", b"b"),
        ("two", b"b -a"),
        ("two", b"b"),
        ("three", b"c"),
    ]


@pytest.mark.parametrize(
    ("held", "wanted"), [({}, b"a"), ({"device": b"a"}, b"a b"), ({"device": b"a"}, b"a")]
)
def test_what_takes_nothing_away_needs_no_foreword(held, wanted):
    broker = Broker(**held)
    broker.want(device=wanted)
    assert broker.taken() == ([] if held.get("device") == wanted else [wanted])


def test_no_other_topic_has_a_foreword():
    ledger = Ledger(before)
    ledger.open(LIMIT)
    ledger.reconcile({"upnp/x": b"a"}, {"upnp/x": b"b"})
    due = ledger.take()
    assert due is not None
    assert due[1].payload == b"b"
    assert ledger.take() is None


def test_what_is_replaced_again_before_it_is_taken_is_forewarned_of_by_what_is_held():
    broker = Broker(device=b"a b")
    broker.want(device=b"b c")
    broker.ledger.reconcile({HUB: b"b c"}, {HUB: b"d"})
    assert broker.taken() == [b"d -a -b", b"d"]


def test_what_comes_back_before_it_is_taken_needs_no_foreword():
    broker = Broker(device=b"a b")
    broker.want(device=b"c")
    broker.ledger.reconcile({HUB: b"c"}, {HUB: b"a b"})
    assert broker.taken() == [b"a b"]


def test_what_is_put_again_while_it_waits_keeps_its_foreword():
    broker = Broker(device=b"a")
    broker.want(device=b"b")
    broker.ledger.put(HUB, b"b")
    assert broker.taken() == [b"b -a", b"b"]


def test_what_is_replaced_behind_its_foreword_is_forewarned_of_anew():
    broker = Broker(device=b"a")
    broker.want(device=b"b")
    assert broker.take() == ("device", b"b -a")
    broker.ledger.reconcile({HUB: b"b"}, {HUB: b"c"})
    assert broker.taken() == [b"c -b", b"c"]


def test_what_is_put_behind_its_foreword_is_the_last_word():
    broker = Broker(device=b"a")
    broker.want(device=b"b")
    broker.take()
    broker.ledger.put(HUB, b"b c")
    assert broker.taken() == [b"b c"]


@pytest.mark.parametrize("is_forewarned", [False, True])
def test_what_is_cleared_before_it_is_taken_is_only_cleared(is_forewarned):
    broker = Broker(device=b"a")
    broker.want(device=b"b")
    if is_forewarned:
        broker.take()
    broker.ledger.clear({HUB: b"b"})
    assert broker.taken() == [b""]
    assert broker.held == {}


@pytest.mark.parametrize("how", ["clear", "reconcile", "replace"])
def test_what_comes_back_before_it_is_cleared_is_forewarned_of(how):
    broker = Broker(device=b"a b")
    match how:
        case "clear":
            broker.ledger.clear({HUB: b"a b"})
        case "reconcile":
            broker.want()
        case "replace":
            broker.ledger.reconcile({HUB: b"a b"}, {})
    broker.ledger.reconcile({}, {HUB: b"b"})
    assert broker.taken() == [b"b -a", b"b"]


def test_what_comes_back_after_it_was_cleared_is_new():
    broker = Broker(device=b"a b")
    broker.ledger.clear({HUB: b"a b"})
    assert broker.taken() == [b""]
    broker.ledger.reconcile({}, {HUB: b"b"})
    assert broker.taken() == [b"b"]


def test_a_foreword_that_is_too_long_is_left_out():
    broker = Broker(device=b"a" * LIMIT)
    broker.want(device=b"b c")
    assert broker.taken() == [b"b c"]


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_what_was_lost_with_the_connection_is_forewarned_of_by_what_is_held(taken):
    broker = Broker(device=b"a b")
    broker.want(device=b"b")
    for _ in range(taken):
        broker.take()
    broker.ledger.close()
    assert broker.ledger.take() is None
    broker.ledger.put(HUB, b"x")
    broker.ledger.clear({HUB: b"x"})
    assert broker.ledger.take() is None

    broker.ledger.open(LIMIT)
    broker.want(device=b"b")
    assert broker.taken() == ([] if taken == 2 else [b"b -a", b"b"])


def test_what_is_preferred_or_put_behind_takes_both_its_payloads_along():
    broker = Broker(one=b"a", two=b"a")
    broker.want(one=b"b", two=b"b")
    broker.ledger.postpone("hub/one")
    assert broker.take() == ("two", b"b -a")
    broker.ledger.prefer("hub/one", 1)
    assert [broker.take() for _ in range(3)] == [("one", b"b -a"), ("one", b"b"), ("two", b"b")]


def test_the_upper_ones_are_cleared_before_those_below_them():
    ledger = Ledger()
    ledger.open(LIMIT)
    ledger.clear({"a/b/c": b"1", "a": b"1", "a/b": b"1"})
    assert [due[0] for due in iter(ledger.take, None)] == ["a", "a/b", "a/b/c"]


def test_owners_take_turns_so_that_a_large_one_holds_up_nobody():
    ledger = Ledger()
    ledger.open(LIMIT)
    ledger.reconcile({}, {f"large/{n}": b"1" for n in range(5)}, of="large")
    ledger.put("small/1", b"1", of="small")
    ledger.put("small/2", b"1", of="small")
    order = [due[0] for due in iter(ledger.take, None)]
    assert order == ["large/0", "small/1", "large/1", "small/2", *(f"large/{n}" for n in (2, 3, 4))]


class Promised:
    """A document that changes, and how often it was made."""

    def __init__(self) -> None:
        self.payload = b""
        self.made = 0

    def make(self) -> bytes:
        self.made += 1
        return self.payload


@pytest.fixture
def promised():
    return Promised()


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.open(LIMIT)
    return ledger


def taken(ledger: Ledger) -> list[tuple[str, bytes]]:
    return [(topic, entry.payload) for topic, entry in iter(ledger.take, None)]


def test_what_was_promised_often_is_made_once_in_its_turn_as_it_is_then(ledger, promised):
    ledger.put("value", b"1", of="a")
    for payload in (b"first", b"second", b"last"):
        promised.payload = payload
        ledger.promise("state", promised.make, of="a")
    ledger.put("other", b"2", of="a")
    assert (len(ledger), promised.made) == (3, 0)
    assert taken(ledger) == [("value", b"1"), ("state", b"last"), ("other", b"2")]
    assert promised.made == 1
    ledger.promise("state", promised.make, of="a")
    assert taken(ledger) == [("state", b"last")]


def test_what_was_promised_is_cut_where_it_is_long_and_surplus_parts_go(ledger, promised):
    promised.payload = b"x" * (LIMIT + 1)
    ledger.promise("state", promised.make, was=3 * LIMIT)
    found = dict(taken(ledger))
    assert [len(found.pop(f"state/chunk/{number}")) for number in (1, 2, 3)] == [LIMIT, 1, 0]
    assert b'"chunks":2' in found.pop("state")
    assert found == {}
    promised.payload = b"short"
    ledger.promise("state", promised.make, was=LIMIT + 1)
    assert dict(taken(ledger)) == {
        "state": b"short",
        "state/chunk/1": b"",
        "state/chunk/2": b"",
    }


@pytest.mark.parametrize("how", ["put", "clear", "reconcile", "close"])
def test_a_promise_is_forgotten_where_the_topic_is_to_hold_something_else(ledger, promised, how):
    promised.payload = b"promised"
    ledger.promise("state", promised.make)
    match how:
        case "put":
            ledger.put("state", b"other")
        case "clear":
            ledger.clear({"state": b"held"})
        case "reconcile":
            ledger.reconcile({"state": b"other"}, {"state": b"other"})
        case "close":
            ledger.close()
            ledger.promise("state", promised.make)
            ledger.open(LIMIT)
    wanted = {"clear": [("state", b"")], "close": []}
    assert taken(ledger) == wanted.get(how, [("state", b"other")])
    assert promised.made == 0
    ledger.promise("state", promised.make)
    assert taken(ledger) == [("state", b"promised")]
