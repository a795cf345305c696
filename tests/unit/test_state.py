"""The values of a service, and what an event changes in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import jsontext
from bridge.model import datatypes as values
from bridge.model.device import Key
from bridge.tree.service_state import (
    MAX_LENGTH,
    MAX_VALUES,
    Change,
    ServiceState,
    read_document,
    typed,
)

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


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_a_number_that_json_does_not_have_makes_a_document_unreadable(number):
    assert (
        read_document(f'{{"values":{{"A":{number}}},"instances":{{}},"updated":""}}'.encode())
        is None
    )


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


def told_of(numbers: dict[str, int], when: str) -> ServiceState:
    return ServiceState({Key(name): value for name, value in numbers.items()}, when)


def test_what_a_broker_has_lost_or_holds_as_it_was_before_takes_nothing_of_what_is_remembered():
    for later in (ServiceState(), told_of({"A": 0, "Old": 1}, THEN), told_of({"A": 3}, "1970")):
        state = ServiceState()
        state.remember(told_of({"A": 1, "B": 2}, NOW))
        state.take_answers({Key("B"): 5}, now=NOW)
        state.remember(later)
        state.remember(later)
        assert state.values == {Key("A"): 1, Key("B"): 5}
        assert state.apply({}, whole=True, now=NOW)
        state.remember(later)
        assert state.values == {Key("B"): 5}


def test_what_another_wrote_since_a_service_s_values_were_remembered_counts_before_that():
    state = ServiceState()
    state.remember(told_of({"A": 1, "B": 2}, THEN))
    state.take_answers({Key("B"): 5}, now=NOW)
    state.remember(told_of({"A": 3, "C": 1}, NOW))
    assert state.values == {Key("A"): 3, Key("B"): 5, Key("C"): 1}


def test_what_was_remembered_of_a_broker_without_values_gives_way_to_any():
    state = ServiceState()
    state.remember(ServiceState())
    state.remember(told_of({"A": 1}, THEN))
    assert (state.values, state.updated) == ({Key("A"): 1}, THEN)


def test_what_was_told_first_keeps_the_time_that_the_broker_has_for_it():
    held, state = ServiceState(), ServiceState()
    held.apply({Key("A"): 1}, whole=True, now=THEN)
    state.apply({Key("A"): 1}, whole=True, now=NOW)
    state.remember(held)
    assert state.updated == THEN


def test_changes_are_typed_by_the_variables_of_the_scpd():
    changes = [(Key("V", "0", "LF"), "07"), (Key("B"), "yes"), (Key("X"), "07")]
    assert typed(changes, {"V": values.reader("ui2"), "B": values.reader("boolean")}) == {
        Key("V", "0", "LF"): 7,
        Key("B"): True,
        Key("X"): "07",
    }


# What a service was asked for

VOLUME = Key("Volume", "0", "Master")


def told(state, *keys, value=1, whole=True, asked_for=frozenset()):
    """Take in an event that gives these keys a value; return the keys that differ."""
    event = dict.fromkeys(keys, value)
    return {one.key for one in state.apply(event, whole=whole, now=NOW, asked_for=asked_for)}


def test_answers_are_values_and_only_what_differs_is_a_change():
    state = ServiceState()
    assert state.take_answers({Key("A"): 1, VOLUME: 2}, now=THEN) == [
        Change(Key("A"), None, 1),
        Change(VOLUME, None, 2),
    ]
    assert (state.updated, state.told) == (THEN, None)
    assert state.take_answers({Key("A"): 1, VOLUME: 2}, now=NOW) == []
    assert state.updated == THEN
    (change,) = state.take_answers({Key("A"): True}, now=NOW)
    assert change.new is True
    assert state.updated == NOW


def test_an_initial_event_clears_what_it_does_not_name_but_what_was_asked_for():
    state = ServiceState()
    told(state, Key("Evented"), Key("Gone"))
    state.take_answers({Key("Asked"): 1}, now=NOW)
    assert told(state, Key("Evented")) == {Key("Gone")}
    assert set(state.values) == {Key("Evented"), Key("Asked")}


def test_an_initial_event_clears_what_was_asked_for_until_it_came():
    state = ServiceState()
    state.take_answers({Key("A"): 1, Key("B"): 1}, now=THEN, passing=frozenset({"A"}))
    assert told(state, Key("C"), whole=False) == {Key("C")}
    assert told(state, Key("C")) == {Key("A")}
    assert set(state.values) == {Key("B"), Key("C")}


def test_an_initial_event_spares_what_is_asked_for_regularly_and_what_it_does_not_speak_of():
    state = ServiceState()
    held = ServiceState()
    told(held, Key("Uptime"), Key("Status"), Key("Volume", "0", "LF"), Key("Volume", "0", "RF"))
    state.remember(held)
    regular = frozenset({"Uptime", "Volume"})
    assert told(state, Key("Volume", "0", "LF"), asked_for=regular) == {
        Key("Status"),
        Key("Volume", "0", "RF"),
    }
    assert set(state.values) == {Key("Uptime"), Key("Volume", "0", "LF")}


def test_what_an_event_has_told_is_the_event_s_and_goes_with_it():
    state = ServiceState()
    state.take_answers({Key("A"): 1, Key("B"): 1}, now=THEN)
    assert told(state, Key("A"), whole=False) == set()
    assert told(state, Key("C")) == {Key("A"), Key("C")}
    assert set(state.values) == {Key("B"), Key("C")}


def test_an_event_that_is_not_whole_clears_nothing():
    state = ServiceState()
    told(state, Key("A"), Key("B"))
    state.take_answers({Key("C"): 1}, now=NOW)
    assert told(state, Key("A"), value=2, whole=False) == {Key("A")}
    assert set(state.values) == {Key("A"), Key("B"), Key("C")}


def test_told_are_the_variables_of_the_last_initial_event_and_those_after_it():
    state = ServiceState()
    told(state, Key("A", "0"), whole=False)
    assert state.told == {"A"}
    told(state, Key("B"), whole=False)
    assert state.told == {"A", "B"}
    told(state, Key("C"), VOLUME)
    assert state.told == {"C", "Volume"}
    state.take_answers({Key("D"): 1}, now=NOW)
    assert state.told == {"C", "Volume"}
    told(state)
    assert state.told == set()


def test_an_answer_takes_the_place_of_the_same_value_told_without_channel_or_instance():
    for place in (VOLUME, Key("Volume", "0"), Key("Volume")):
        state = ServiceState()
        told(state, place)
        assert state.take_answers({VOLUME: 2}, now=NOW) == [Change(place, 1, 2)]
        assert state.values == {place: 2}
    state = ServiceState()
    told(state, Key("Volume", "1"), Key("Volume", "0", "LF"), Key("Mute"))
    assert state.take_answers({VOLUME: 2}, now=NOW) == [Change(VOLUME, None, 2)]


def test_an_event_takes_the_place_of_the_answer_to_a_question_with_channel_or_instance():
    for place in (Key("Volume", "0"), Key("Volume")):
        for whole in (True, False):
            state = ServiceState()
            state.take_answers({VOLUME: 2, Key("Volume", "0", "LF"): 3}, now=THEN)
            told(state, Key("Volume", "1"), whole=False)
            assert told(state, place, whole=whole) >= {VOLUME, Key("Volume", "0", "LF"), place}
            assert state.values.get(place) == 1
            assert VOLUME not in state.values
            assert state.take_answers({VOLUME: 2}, now=NOW) == [Change(place, 1, 2)]


def test_an_event_of_another_channel_leaves_the_answer():
    state = ServiceState()
    state.take_answers({VOLUME: 2}, now=THEN)
    assert told(state, Key("Volume", "0", "LF"), Key("Volume", "1")) == {
        Key("Volume", "0", "LF"),
        Key("Volume", "1"),
    }
    assert state.values[VOLUME] == 2


def test_what_was_asked_for_counts_before_what_the_broker_holds():
    held, state = ServiceState(), ServiceState()
    told(held, Key("A"), Key("B"))
    state.take_answers({Key("A"): 2, Key("C"): 3}, now=NOW)
    state.remember(held)
    assert state.values == {Key("A"): 2, Key("B"): 1, Key("C"): 3}
    assert state.updated == NOW
    assert told(state, Key("X")) == {Key("B"), Key("X")}
    assert set(state.values) == {Key("A"), Key("C"), Key("X")}


def test_the_same_answers_as_the_broker_holds_keep_its_time():
    held, state = ServiceState(), ServiceState()
    held.take_answers({Key("A"): 1}, now=THEN)
    state.take_answers({Key("A"): 1}, now=NOW)
    state.remember(held)
    assert (state.values, state.updated) == ({Key("A"): 1}, THEN)
    assert state.take_answers({Key("A"): 1}, now=NOW) == []


def test_what_was_asked_for_stands_where_the_broker_holds_it():
    held, state = ServiceState(), ServiceState()
    told(held, Key("Volume", "0"))
    state.take_answers({VOLUME: 2}, now=NOW)
    state.remember(held)
    assert state.values == {Key("Volume", "0"): 2}
    assert told(state, Key("X")) == {Key("X")}
    assert state.values[Key("Volume", "0")] == 2


def test_what_is_asked_for_regularly_is_taken_from_the_broker_after_the_first_event_too():
    held, state = ServiceState(), ServiceState()
    told(held, Key("Uptime"), Key("Bytes"), Key("Status"), Key("Gone"))
    told(
        state, Key("Status"), Key("Rate"), value=2, asked_for=frozenset({"Uptime", "Bytes", "Rate"})
    )
    state.take_answers({Key("Bytes"): 5}, now=NOW)
    state.remember(held)
    assert state.values == {Key("Status"): 2, Key("Rate"): 2, Key("Bytes"): 5, Key("Uptime"): 1}
    assert told(state, Key("Status"), value=2, asked_for=frozenset({"Uptime"})) == {Key("Rate")}


answers = st.dictionaries(
    st.builds(
        Key,
        st.sampled_from("AB"),
        st.sampled_from([None, "0", "1"]),
        st.sampled_from([None, "Master"]),
    ).filter(lambda key: key.instance or not key.channel),
    st.integers(0, 2),
    max_size=4,
)
steps = st.lists(st.tuples(st.sampled_from(["whole", "part", "answers", "held"]), answers))


@given(steps, st.frozensets(st.sampled_from("AB")))
def test_changes_say_all_that_differs_whatever_comes(steps, asked_for):
    state = ServiceState()
    for kind, told_now in steps:
        before = dict(state.values)
        if kind == "held":
            other = ServiceState()
            other.apply(told_now, whole=True, now=THEN)
            state.remember(other)
            assert set(state.values) <= set(before) | set(told_now)
            continue
        if kind == "answers":
            changes = state.take_answers(told_now, now=NOW)
        else:
            changes = state.apply(told_now, whole=kind == "whole", now=NOW, asked_for=asked_for)
            assert told_now.items() <= state.values.items()
        for key, old, new in changes:
            assert before.pop(key, None) == old
            if new is not None:
                before[key] = new
        assert before == state.values
        assert len({key for key, _, _ in changes}) == len(changes)


def test_values_are_bounded_in_number():
    state = ServiceState()
    many = {Key("V", str(number)): number for number in range(MAX_VALUES + 5)}
    assert len(state.apply(many, whole=False, now=THEN)) == MAX_VALUES
    assert state.apply({Key("W"): 1}, whole=False, now=NOW) == []
    assert state.apply({Key("V", "0"): 9}, whole=False, now=NOW) == [Change(Key("V", "0"), 0, 9)]
    assert len(state.apply({Key("W"): 1}, whole=True, now=NOW)) == MAX_VALUES + 1
    assert state.values == {Key("W"): 1}


def test_values_are_bounded_in_length_and_none_is_kept_that_is_true_no_more():
    state = ServiceState()
    half = "x" * (MAX_LENGTH // 2)
    state.apply({Key("A"): half, Key("B"): half}, whole=False, now=THEN)
    assert state.apply({Key("C"): "y"}, whole=False, now=NOW) == []
    longer = state.apply({Key("B"): f"{half}y"}, whole=False, now=NOW)
    assert longer == [Change(Key("B"), half, None)]
    assert state.apply({Key("C"): "y"}, whole=False, now=NOW) == [Change(Key("C"), None, "y")]
