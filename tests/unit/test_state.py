"""The values of a service, and what an event changes in them."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.core import jsontext
from bridge.core.state import Change, Key, ServiceState, read_document, typed

THEN, NOW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"
texts = st.text(max_size=8)
keys = (
    st.tuples(texts) | st.tuples(texts, texts) | st.tuples(texts, texts, texts.filter(bool))
).map(lambda parts: Key(*parts))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
states = st.dictionaries(keys, st.booleans() | numbers | st.text(), max_size=8)


def test_only_what_differs_is_a_change():
    state = ServiceState()
    assert state.apply({Key("A"): 1, Key("B"): ""}, whole=False, now=THEN) == [
        Change(Key("A"), None, 1),
        Change(Key("B"), None, ""),
    ]
    assert state.updated == THEN
    assert state.apply({Key("A"): 1, Key("B"): ""}, whole=False, now=NOW) == []
    assert state.updated == THEN
    assert state.apply({Key("A"): 2}, whole=False, now=NOW) == [Change(Key("A"), 1, 2)]
    assert state.updated == NOW


def test_values_of_another_type_differ():
    state = ServiceState()
    state.apply({Key("A"): 1}, whole=False, now=THEN)
    for value in (True, 1.0, "1", 1):
        (change,) = state.apply({Key("A"): value}, whole=False, now=NOW)
        assert type(change.new) is type(value)


def test_an_initial_event_takes_away_what_it_does_not_name():
    state = ServiceState()
    state.apply({Key("A"): 1, Key("B"): 2}, whole=True, now=THEN)
    assert state.apply({Key("B"): 2}, whole=True, now=NOW) == [Change(Key("A"), 1, None)]
    assert state.values == {Key("B"): 2}


def test_the_document_has_values_instances_and_channels():
    state = ServiceState()
    state.apply(
        {
            Key("Plain"): 1,
            Key("V", "0", "Master"): 2,
            Key("V", "0", "LF"): 3,
            Key("V", "1"): 4,
            Key("M", "0"): True,
        },
        whole=True,
        now=NOW,
    )
    assert state.document() == {
        "values": {"Plain": 1},
        "instances": {"0": {"V": {"Master": 2, "LF": 3}, "M": True}, "1": {"V": 4}},
        "updated": NOW,
    }


def test_a_variable_with_and_without_channels_keeps_both():
    state = ServiceState()
    for order in ((None, "LF"), ("LF", None)):
        told = {Key("V", "0", channel): channel or "bare" for channel in order}
        state.apply(told, whole=True, now=NOW)
        assert state.document()["instances"] == {"0": {"V": {"": "bare", "LF": "LF"}}}


@given(states)
def test_a_document_is_read_back(values):
    state = ServiceState()
    state.apply(values, whole=True, now=NOW)
    again = read_document(jsontext.encode(state.document()))
    assert again is not None
    if values:
        assert again.updated == NOW
    assert again.values == state.values
    assert {k: type(v) for k, v in again.values.items()} == {k: type(v) for k, v in values.items()}


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_break_the_reading_of_a_document(payload):
    read_document(payload)


json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(json_values, json_values, json_values)
def test_no_json_breaks_the_reading_of_a_document(values, instances, updated):
    document = {"values": values, "instances": instances, "updated": updated}
    state = read_document(jsontext.encode(document))
    assert state is None or all(
        isinstance(value, bool | int | float | str) for value in state.values.values()
    )


def test_what_the_broker_holds_counts_until_the_service_has_told():
    held, state = ServiceState(), ServiceState()
    held.apply({Key("A"): 1}, whole=True, now=THEN)
    state.remember(held)
    assert (state.values, state.updated) == ({Key("A"): 1}, THEN)
    assert state.apply({Key("A"): 1}, whole=True, now=NOW) == []
    assert state.updated == THEN
    state.apply({Key("A"): 2}, whole=True, now=NOW)
    state.remember(held)
    assert (state.values, state.updated) == ({Key("A"): 2}, NOW)


def test_what_was_told_first_keeps_the_time_that_the_broker_has_for_it():
    held, state = ServiceState(), ServiceState()
    held.apply({Key("A"): 1}, whole=True, now=THEN)
    state.apply({Key("A"): 1}, whole=True, now=NOW)
    state.remember(held)
    assert state.updated == THEN


def test_changes_are_typed_by_the_variables_of_the_scpd():
    changes = [(Key("V", "0", "LF"), "07"), (Key("B"), "yes"), (Key("X"), "07")]
    assert typed(changes, {"V": "ui2", "B": "boolean"}) == {
        Key("V", "0", "LF"): 7,
        Key("B"): True,
        Key("X"): "07",
    }
