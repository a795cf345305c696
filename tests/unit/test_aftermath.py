"""What is asked after an action, and for how long."""

import pytest

from bridge.model.accessors import only_reads
from bridge.model.datatypes import reader
from bridge.model.device import Action, Argument, Direction, Key, Scpd, Service, StateVariable
from bridge.polling.follow_up import (
    GRACE_S,
    MAX_QUESTIONS,
    AwaitedAnswer,
    FollowUps,
    questions_after,
)
from bridge.polling.plan import Question, When
from bridge.tree.service_state import ServiceState
from tests.unit.captured import captured
from tests.unit.devices import device, service

READERS = {"Status": reader("boolean"), "Target": reader("boolean")}
VOLUME = Key("Volume", "0", "LF")


def after(name: str, level: str, action: str, *sent: tuple[str, str]) -> dict[str, FollowUps]:
    """What is asked after an action of a recorded device, by the action that asks."""
    part, one = next(
        (part, one)
        for part in captured(name).device.walk()
        for one in part.services
        if one.level == level
    )
    found = questions_after("U", part, one, one.scpd.actions[action], sent)
    return {each.question.action.name: each for each in found}


def keys(one: FollowUps) -> set[Key]:
    return {key for _, key, _ in one.question.wanted.values()}


def test_what_was_set_is_asked_for_at_its_instance_and_channel():
    sent = (("InstanceID", "3"), ("Channel", "LF"), ("DesiredVolume", "7"))
    found = after("gmediarender/1", "RenderingControl", "SetVolume", *sent)
    assert list(found) == ["GetVolume"]
    question = found["GetVolume"].question
    assert question.service_id == "U/RenderingControl"
    assert question.arguments == (("InstanceID", "3"), ("Channel", "LF"))
    assert keys(found["GetVolume"]) == {Key("Volume", "3", "LF")}
    assert found["GetVolume"].aims == {"Volume": "7"}


def test_a_target_has_its_status_asked_for_and_what_goes_with_it():
    found = after("light/1", "SwitchPower:1", "SetTarget", ("newTargetValue", "1"))
    assert list(found) == ["GetStatus", "GetTarget", "GetLoadLevelStatus"]
    assert found["GetStatus"].aims == {"Status": "1"}
    assert found["GetTarget"].question.wanted["Target"][2] is When.DONE
    assert found["GetLoadLevelStatus"].aims == {}
    assert found["GetLoadLevelStatus"].question.service_id == "U/Dimming:1"
    found = after("light/1", "Dimming:1", "SetLoadLevelTarget", ("newLoadlevelTarget", "40"))
    assert found["GetLoadLevelStatus"].aims == {"LoadLevelStatus": "40"}
    assert "GetStatus" in found


@pytest.mark.parametrize("action", ["Play", "Stop", "Pause", "Next", "Previous"])
def test_what_moves_a_player_has_state_and_track_asked_for(action):
    found = after("rygel/2", "AVTransport", action, ("InstanceID", "0"))
    assert set(found) == {"GetTransportInfo", "GetPositionInfo"}
    assert keys(found["GetTransportInfo"]) == {Key("TransportState", "0")}
    assert Key("CurrentTrackMetaData", "0") in keys(found["GetPositionInfo"])
    assert all(one.aims == {} for one in found.values())


def test_what_loads_or_seeks_has_that_asked_for_too():
    sent = (("InstanceID", "0"), ("CurrentURI", "http://x/"), ("CurrentURIMetaData", ""))
    found = after("rygel/2", "AVTransport", "SetAVTransportURI", *sent)
    assert Key("AVTransportURIMetaData", "0") in keys(found["GetMediaInfo"])
    assert all(one.aims == {} for one in found.values())
    sought = after("rygel/2", "AVTransport", "Seek", ("InstanceID", "0"), ("Unit", "REL_TIME"))
    assert Key("RelativeTimePosition", "0") in keys(sought["GetPositionInfo"])
    mode = after("rygel/2", "AVTransport", "SetPlayMode", ("NewPlayMode", "SHUFFLE"))
    assert {name: one.aims for name, one in mode.items()} == {
        "GetTransportSettings": {"CurrentPlayMode": "SHUFFLE"}
    }


@pytest.mark.parametrize("name", ["gmediarender/1", "rygel/2", "light/1", "miniupnpd/1"])
def test_only_what_reads_is_asked_and_not_too_much(name):
    for part in captured(name).device.walk():
        for one in part.services:
            for action in one.scpd.actions.values():
                found = questions_after("U", part, one, action, ())
                assert len(found) <= MAX_QUESTIONS
                assert all(only_reads(each.question.action.name) for each in found)
                assert not (found and only_reads(action.name))


def made(*members: Action | StateVariable) -> Service:
    return service("Any", Scpd.of(members))


def test_an_action_that_sets_nothing_has_all_asked_that_its_service_events():
    get = Action("GetX", (Argument("Now", Direction.OUT, "X"),))
    odd = made(
        Action("Toggle", ()),
        get,
        Action("GetY", (Argument("Now", Direction.OUT, "Y"),)),
        StateVariable("X", "string", evented=True),
        StateVariable("Y", "string", evented=False),
    )
    (found,) = questions_after("U", device("U", odd), odd, odd.scpd.actions["Toggle"], ())
    assert found.question.action is get


# For how long


def check(state: ServiceState, aim: str | None = "1", *, is_deaf: bool = False) -> AwaitedAnswer:
    get = Action("GetStatus", (Argument("Now", Direction.OUT, "Status"),))
    power = made(get, StateVariable("Status", "boolean", evented=True))
    wanted = {"Status": ("Now", Key("Status"), When.MISSING)}
    question = Question("U/Any", power, get, (), wanted, is_last_resort=False)
    one = AwaitedAnswer(question, {} if aim is None else {"Status": aim}, state)
    one.begin(100.0, is_deaf=is_deaf)
    return one


def told(state: ServiceState, *, value: bool, whole: bool = False) -> None:
    state.apply({Key("Status"): value}, whole=whole, now="now")


def times(one: AwaitedAnswer, answers: list[bool]) -> list[float]:
    """Ask until nothing is open; return when it was asked, from the action on."""
    found = []
    for answer in answers:
        if not one.open(READERS):
            break
        found.append(one.at - 100)
        one.state.take_answers({Key("Status"): answer}, now="now")
        one.note_asked(one.at)
    return found


def test_what_no_event_tells_is_asked_at_once_and_until_it_is_what_was_set():
    assert times(check(ServiceState()), [True] * 9) == [0]
    assert times(check(ServiceState()), [False, False, True]) == [0, 1, 3]
    assert times(check(ServiceState()), [False] * 9) == [0, 1, 3, 7, 15]
    assert times(check(ServiceState(), None), [False] * 9) == [0, 1]


def test_what_events_tell_is_asked_after_a_moment_and_not_where_they_did():
    state = ServiceState()
    told(state, value=False, whole=True)
    one = check(state)
    assert one.at == 100 + GRACE_S
    assert one.open(READERS) == {"Status"}
    told(state, value=True)
    assert one.open(READERS) == set()
    assert times(check(state, "0"), [True] * 9) == [1, 2, 4]
    assert check(state, is_deaf=True).at == 100


def test_an_event_that_says_something_else_than_what_was_set_does_not_spare_the_question():
    state = ServiceState()
    told(state, value=False, whole=True)
    one = check(state)
    told(state, value=False)
    assert one.open(READERS) == {"Status"}
    other = check(state, None)
    told(state, value=False)
    assert other.open(READERS) == set()


def test_events_are_listened_to_no_longer_than_needed():
    state = ServiceState()
    one = check(state)
    one.close()
    told(state, value=True)
    assert one.heard == set()
    assert state.heard._listening == []


# Events against answers


TITLE = '<DIDL-Lite><item><dc:title>{}</dc:title><x v="{}"/></item></DIDL-Lite>'
DATA = Key("CurrentTrackMetaData", "0")


def test_an_answer_that_only_a_first_event_contradicts_counts_at_once():
    state = ServiceState()
    state.apply({DATA: TITLE.format("A", 1)}, whole=True, now="now")
    assert not state.believes(DATA, TITLE.format(" A ", 2))
    assert not state.believes(DATA, "NOT_IMPLEMENTED")
    assert state.told == {"CurrentTrackMetaData"}
    assert state.believes(DATA, TITLE.format("B", 1))
    assert state.told == set()


def test_one_that_a_later_event_contradicts_counts_the_second_time():
    state = ServiceState()
    event = {DATA: TITLE.format("A", 1)}
    for whole in (True, False):
        state.apply(event, whole=whole, now="now")
    assert not state.believes(DATA, TITLE.format("B", 1))
    state.apply(event, whole=False, now="now")
    assert not state.believes(DATA, TITLE.format("B", 1))
    assert not state.believes(DATA, TITLE.format("C", 1))
    assert state.believes(DATA, TITLE.format("C", 1))


def test_what_says_nothing_does_not_replace_an_answer_until_events_tell_it_again():
    state = ServiceState()
    state.apply({DATA: "NOT_IMPLEMENTED"}, whole=True, now="now")
    assert state.believes(DATA, TITLE.format("B", 1))
    state.take_answers({DATA: TITLE.format("B", 1)}, now="now")
    assert state.apply({DATA: ""}, whole=False, now="now") == []
    assert state.told == set()
    (change,) = state.apply({DATA: TITLE.format("C", 1)}, whole=False, now="now")
    assert change.new == TITLE.format("C", 1)
    assert state.told == {"CurrentTrackMetaData"}


def test_durations_are_alike_but_for_how_they_are_written():
    state, length = ServiceState(), Key("CurrentTrackDuration", "0")
    state.apply({length: "0:03:20"}, whole=True, now="now")
    assert not state.believes(length, "00:03:20.000")
    assert state.believes(length, "00:03:21")
