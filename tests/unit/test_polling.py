"""What a service is asked for regularly, and when."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import topics
from bridge.model.accessors import only_reads
from bridge.model.device import Action, Argument, Direction, Key, Scpd, Service, StateVariable
from bridge.polling.plan import POSITION_S, Hearing, Plan, Poll, Question
from tests.unit.captured import DEVICES, captured
from tests.unit.devices import scpd, service

PLAN = Plan(60)
HEARD = Hearing(told=frozenset())
DEAF = Hearing(is_deaf=True)
PLAYED = frozenset(
    {"CurrentTrack", "CurrentTrackURI", "CurrentTrackMetaData", "CurrentTrackDuration"}
    | {"AVTransportURI", "AVTransportURIMetaData", "CurrentMediaDuration", "NumberOfTracks"}
    | {"CurrentPlayMode"}
)
POSITION = {
    f"{kind}{what}Position" for kind in ("Relative", "Absolute") for what in ("Time", "Counter")
}


def action(name: str, *arguments: str) -> Action:
    """Arguments are written `in Name:Variable` or `out Name:Variable`."""
    parts = (argument.replace(":", " ").split() for argument in arguments)
    return Action(name, tuple(Argument(n, Direction(way), v) for way, n, v in parts))


def questions(device: str, plan: Plan = PLAN) -> dict[str, tuple[Question, ...]]:
    """What each service of a recorded device is ever asked, by the name of its level."""
    return {
        one.level: plan.questions(topics.device_id(part.udn), one)
        for part in captured(device).device.walk()
        for one in part.services
    }


def asked(device: str, level: str, hearing: Hearing, plan: Plan = PLAN) -> dict[str, set[str]]:
    """What a service of a recorded device is asked now: the variables, by action."""
    return {
        q.action.name: set(names)
        for q, names in due(begun(questions(device, plan)[level]), 0, hearing)
    }


def begun(found: tuple[Question, ...], *, interval_s: float = 60, at: float = 0) -> Poll:
    """Return a poll whose questions are all due for the first time at a time."""
    poll = Poll(interval_s, found)
    poll.begin(at - 1, 0)
    return poll


def due(poll: Poll, now: float, hearing: Hearing = HEARD) -> list[tuple[Question, frozenset[str]]]:
    return list(poll.due(now, {one.service_id: hearing for one in poll.questions}))


# What


@pytest.mark.parametrize("hearing", [HEARD, Hearing(), Hearing(told=frozenset({"WANAccessType"}))])
def test_counters_and_rates_of_a_router_are_asked_for_always(hearing):
    rates = {"Layer1UpstreamMaxBitRate", "Layer1DownstreamMaxBitRate"}
    found = asked("miniupnpd/1", "WANCommonIFC1", hearing)
    missing = {"PhysicalLinkStatus"} if hearing.told is not None else set()
    assert found == {
        "GetTotalBytesSent": {"TotalBytesSent"},
        "GetTotalBytesReceived": {"TotalBytesReceived"},
        "GetTotalPacketsSent": {"TotalPacketsSent"},
        "GetTotalPacketsReceived": {"TotalPacketsReceived"},
        "GetCommonLinkProperties": rates | missing,
    }
    told = Hearing(told=frozenset({"PhysicalLinkStatus"}))
    assert asked("miniupnpd/1", "WANCommonIFC1", told)["GetCommonLinkProperties"] == rates


def test_the_state_of_a_connection_is_asked_for_as_far_as_no_event_tells_it():
    always = {"Uptime", "LastConnectionError"}
    evented = frozenset({"ExternalIPAddress", "ConnectionStatus", "PossibleConnectionTypes"})
    assert asked("miniupnpd/1", "WANIPConn1", Hearing()) == {"GetStatusInfo": always}
    assert asked("miniupnpd/1", "WANIPConn1", Hearing(told=evented)) == {"GetStatusInfo": always}
    assert asked("miniupnpd/1", "WANIPConn1", HEARD) == {
        "GetStatusInfo": always | {"ConnectionStatus"},
        "GetExternalIPAddress": {"ExternalIPAddress"},
        "GetConnectionTypeInfo": {"PossibleConnectionTypes"},
    }
    assert asked("miniupnpd/1", "WANIPConn1", DEAF) == asked("miniupnpd/1", "WANIPConn1", HEARD)


def test_a_server_whose_events_come_is_left_alone_and_a_silent_one_is_not():
    assert (
        asked("minidlna/1", "ContentDirectory", Hearing(told=frozenset({"SystemUpdateID"}))) == {}
    )
    all_told = {"SourceProtocolInfo", "SinkProtocolInfo", "CurrentConnectionIDs"}
    assert asked("minidlna/1", "ConnectionManager", Hearing(told=all_told)) == {}
    assert asked("minidlna/1", "ConnectionManager", Hearing()) == {}
    assert asked("minidlna/1", "ConnectionManager", Hearing(told={"CurrentConnectionIDs"})) == {
        "GetProtocolInfo": {"SourceProtocolInfo", "SinkProtocolInfo"}
    }
    assert asked("minidlna/1", "ContentDirectory", DEAF) == {
        "GetSystemUpdateID": {"SystemUpdateID"}
    }
    assert asked("minidlna/1", "ConnectionManager", DEAF) == {
        "GetProtocolInfo": {"SourceProtocolInfo", "SinkProtocolInfo"},
        "GetCurrentConnectionIDs": {"CurrentConnectionIDs"},
    }


@pytest.mark.parametrize("renderer", ["gmediarender/1", "rygel/2"])
def test_a_renderer_is_asked_for_its_position_while_it_plays_and_once_more(renderer):
    told = PLAYED | {"TransportState", "Volume", "Mute"}
    stopped, playing = Hearing(told=told), Hearing(told=told, plays=True)
    assert asked(renderer, "AVTransport", stopped) == {}
    assert asked(renderer, "RenderingControl", stopped) == {}
    poll = begun(
        tuple(one for one in questions(renderer)["AVTransport"] if one.wanted.keys() >= POSITION)
    )
    now = 0.0
    for hearing, expected in (
        (stopped, []),
        (playing, [POSITION]),
        (playing, [POSITION]),
        (stopped, [POSITION]),
        (stopped, []),
        (playing, [POSITION]),
    ):
        assert [names for _, names in due(poll, now, hearing)] == expected
        assert poll.at == now + (POSITION_S if hearing.plays else 30)
        now = poll.at


@pytest.mark.parametrize("renderer", ["gmediarender/1", "rygel/2"])
def test_what_no_event_tells_of_a_renderer_is_asked_for(renderer):
    assert asked(renderer, "AVTransport", HEARD) == {"GetTransportInfo": {"TransportState"}}
    assert asked(renderer, "RenderingControl", Hearing(told=frozenset({"Volume"}))) == {
        "GetMute": {"Mute"}
    }
    deaf = asked(renderer, "AVTransport", DEAF)
    assert deaf["GetTransportInfo"] >= {"TransportState", "TransportStatus"}
    assert "CurrentTrackMetaData" in deaf["GetPositionInfo"]
    assert not POSITION & deaf["GetPositionInfo"]
    assert asked(renderer, "RenderingControl", DEAF)["GetVolume"] == {"Volume"}


@pytest.mark.parametrize("renderer", ["gmediarender/1", "rygel/2"])
def test_what_plays_is_asked_for_while_it_plays_as_far_as_no_event_tells_it(renderer):
    def of(told: frozenset[str], *, plays: bool = True) -> dict[str, set[str]]:
        found = asked(renderer, "AVTransport", Hearing(told=told | {"TransportState"}, plays=plays))
        return {name: of - POSITION for name, of in found.items() if of - POSITION}

    track = {name for name in PLAYED if name.startswith("CurrentTrack")}
    loaded = PLAYED - track - {"CurrentPlayMode"}
    assert of(frozenset()) == {
        "GetPositionInfo": track,
        "GetMediaInfo": loaded,
        "GetTransportSettings": {"CurrentPlayMode"},
    }
    assert of(frozenset(), plays=False) == {}
    assert of(PLAYED) == {}
    assert of(PLAYED - {"CurrentTrackMetaData"}) == {"GetPositionInfo": {"CurrentTrackMetaData"}}
    assert of(PLAYED - {"AVTransportURIMetaData"}) == {"GetMediaInfo": {"AVTransportURIMetaData"}}


def test_what_is_loaded_is_asked_for_less_often_than_the_track_and_once_more_at_the_end():
    found = {one.action.name: one for one in questions("rygel/2")["AVTransport"]}
    hearing = Hearing(told=frozenset({"TransportState"}), plays=True)
    for name, pause_s in (("GetPositionInfo", 10), ("GetMediaInfo", 30)):
        poll = begun((found[name],))
        assert len(due(poll, 0, hearing)) == 1
        assert poll.at == pause_s
        stopped = Hearing(told=frozenset({"TransportState"}))
        assert len(due(poll, pause_s, stopped)) == 1
        assert due(poll, pause_s + 30, stopped) == []


def test_the_state_of_a_player_that_tells_nothing_is_asked_for_often_while_it_plays():
    found = {one.action.name: one for one in questions("rygel/2")["AVTransport"]}
    poll = begun((found["GetTransportInfo"],))
    assert len(due(poll, 0, Hearing(is_deaf=True, plays=True))) == 1
    assert poll.at == 10
    assert len(due(poll, 10, DEAF)) == 1
    assert poll.at == 70


def test_a_variable_that_is_not_said_to_be_evented_is_not_asked_for_once_events_tell_it():
    proven = Hearing(told=frozenset({"TotalBytesSent"}), proven=frozenset({"TotalBytesSent"}))
    assert "GetTotalBytesSent" not in asked("miniupnpd/1", "WANCommonIFC1", proven)
    once = Hearing(told=frozenset({"TotalBytesSent"}))
    assert "GetTotalBytesSent" in asked("miniupnpd/1", "WANCommonIFC1", once)
    deaf = Hearing(is_deaf=True, told=proven.told, proven=proven.proven)
    assert "GetTotalBytesSent" in asked("miniupnpd/1", "WANCommonIFC1", deaf)


def test_last_change_itself_is_never_asked_for():
    odd = made(action("GetLastChange", "out L:LastChange"), StateVariable("LastChange", "string"))
    assert PLAN.questions("U", odd) == ()


def test_a_light_is_asked_for_what_it_is_and_not_for_what_is_wanted_of_it():
    for hearing in (HEARD, DEAF):
        assert asked("light/1", "SwitchPower:1", hearing) == {"GetStatus": {"Status"}}
        assert asked("light/1", "Dimming:1", hearing) == {"GetLoadLevelStatus": {"LoadLevelStatus"}}
    assert asked("light/1", "Dimming:1", Hearing(told=frozenset({"LoadLevelStatus"}))) == {}


def test_what_is_untold_is_what_is_asked_for_although_events_come():
    def asked_for(device: str, level: str, plan: Plan = PLAN) -> frozenset[str]:
        (found,) = (
            plan.asked_for(topics.device_id(part.udn), one)
            for part in captured(device).device.walk()
            for one in part.services
            if one.level == level
        )
        return found

    assert asked_for("rygel/2", "AVTransport") == POSITION | PLAYED | {"TransportState"}
    assert asked_for("rygel/2", "RenderingControl") == {"Volume", "Mute"}
    assert asked_for("rygel/2", "ConnectionManager") == {
        *("SourceProtocolInfo", "SinkProtocolInfo", "CurrentConnectionIDs")
    }
    assert asked_for("rygel/2", "RenderingControl", Plan(60, ("PresetNameList",))) == {
        *("Volume", "Mute", "PresetNameList")
    }
    assert asked_for("rygel/2", "AVTransport", Plan(0)) == frozenset()
    assert asked_for("miniupnpd/1", "L3Forwarding1") == {"DefaultConnectionService"}


@pytest.mark.parametrize("name", DEVICES)
def test_nothing_is_asked_that_may_change_something_or_that_needs_to_be_told_more(name):
    for found in questions(name, Plan(60, ("*",))).values():
        for question in found:
            assert only_reads(question.action.name)
            assert [n for n, _ in question.arguments] == [a.name for a in question.action.inputs]
            assert set(dict(question.arguments)) <= {"InstanceID", "Channel"}
            outputs = {a.name: a.variable for a in question.action.outputs}
            assert question.wanted
            for variable, (argument, key, _) in question.wanted.items():
                assert (outputs[argument], key.name) == (variable, variable)


@pytest.mark.parametrize("name", DEVICES)
def test_with_an_interval_of_0_nothing_is_ever_asked(name):
    for plan in (Plan(), Plan(0, ("*",))):
        assert not any(questions(name, plan).values())


@pytest.mark.parametrize(
    "pattern",
    [
        *("WANAccessType", "WAN*Type", "WANCommonIFC1/WANAccessType", "WANCommonIFC1/WANAcc*"),
        *("*/WANAccessType", "*-6c855535d498/WANCommonIFC1/WANAccessType", "?ANAccessType"),
    ],
)
def test_a_pattern_is_over_variable_service_and_device(pattern):
    found = asked("miniupnpd/1", "WANCommonIFC1", Hearing(), Plan(60, ("nothing", pattern)))
    assert "WANAccessType" in found["GetCommonLinkProperties"]


@pytest.mark.parametrize(
    "pattern", ["wanaccesstype", "WANAccess", "L3Forwarding1/WANAccessType", ""]
)
def test_a_pattern_must_match_all_of_it(pattern):
    found = asked("miniupnpd/1", "WANCommonIFC1", Hearing(), Plan(60, (pattern,)))
    assert "WANAccessType" not in found["GetCommonLinkProperties"]


def test_a_pattern_asks_even_for_what_events_tell():
    told = Hearing(told=frozenset({"ExternalIPAddress"}))
    found = asked("miniupnpd/1", "WANIPConn1", told, Plan(60, ("*IPAddress", "NATEnabled")))
    assert found["GetExternalIPAddress"] == {"ExternalIPAddress"}
    assert found["GetNATRSIPStatus"] == {"NATEnabled"}


def made(*members: Action | StateVariable, name: str = "Any") -> Service:
    return service(name, Scpd.of(members))


def test_an_action_that_may_change_something_is_never_asked_and_so_what_is_not_declared():
    odd = made(
        action("X_GetA", "out A:A"),
        action("Reboot", "out B:B"),
        action("GetC", "out C:C"),
        action("GetD", "out D:D"),
        *(StateVariable(name, "string") for name in "ABD"),
    )
    found = Plan(60, ("*",)).questions("U", odd)
    assert [(one.service_id, one.action.name) for one in found] == [("U/Any", "GetD")]


def test_what_has_no_variable_of_its_own_is_not_asked_for_unless_a_pattern_says_so():
    odd = made(action("GetA", "out A:A_ARG_TYPE_A"), StateVariable("A_ARG_TYPE_A", "string"))
    assert Plan(60).questions("U", odd) == ()
    (found,) = Plan(60, ("A_ARG_TYPE_A",)).questions("U", odd)
    assert set(found.wanted) == {"A_ARG_TYPE_A"}


@pytest.mark.parametrize(
    ("allowed", "channel"),
    [((), "Master"), (("LF", "Master"), "Master"), (("LF", "RF"), "LF"), (None, "Master")],
)
def test_the_channel_asked_for_is_the_whole_or_the_first(allowed, channel):
    variable = StateVariable("A_ARG_TYPE_Channel", "string", allowed_values=allowed or ())
    sound = made(
        action(
            "GetVolume",
            "in Channel:A_ARG_TYPE_Channel",
            "in InstanceID:A_ARG_TYPE_InstanceID",
            "out Now:Volume",
        ),
        StateVariable("Volume", "ui2"),
        *([variable] if allowed is not None else []),
        name="RenderingControl",
    )
    (found,) = PLAN.questions("U", sound)
    assert found.arguments == (("Channel", channel), ("InstanceID", "0"))
    assert found.told({"Now": "5", "Other": "6"}, frozenset({"Volume"}), is_deaf=False) == [
        (Key("Volume", "0", channel), "5")
    ]


def test_of_an_answer_only_what_is_wanted_and_there_counts():
    (question,) = (
        one for one in questions("rygel/2")["AVTransport"] if one.action.name == "GetPositionInfo"
    )
    texts = {"RelTime": "0:00:05", "AbsTime": "0:00:06", "Track": "1", "RelCount": "9"}
    names = frozenset({"RelativeTimePosition", "AbsoluteTimePosition", "AbsoluteCounterPosition"})
    assert question.told(texts, names, is_deaf=False) == [
        (Key("RelativeTimePosition", "0"), "0:00:05"),
        (Key("AbsoluteTimePosition", "0"), "0:00:06"),
    ]


# When


def many(count: int) -> tuple[Question, ...]:
    """Questions that are always wanted, each of a service of its own."""
    plan = Plan(60, ("V",))
    content = Scpd.of((action("GetV", "out V:V"), StateVariable("V", "string")))
    return tuple(
        question
        for number in range(count)
        for question in plan.questions("U", service(f"S{number}", content))
    )


@pytest.mark.parametrize(
    ("interval_s", "chance", "first"), [(60, 0, 1), (60, 1, 4), (60, 0.5, 2.5), (2, 1, 3)]
)
def test_the_first_questions_are_spread_over_some_seconds(interval_s, chance, first):
    poll = Poll(interval_s, many(3))
    assert poll.at == inf
    poll.begin(100, chance)
    assert poll.at == 100 + first
    assert due(poll, 100 + first - 0.01) == []
    assert len(due(poll, 100 + first)) == 3
    assert poll.at == 100 + first + interval_s


@pytest.mark.parametrize(("chance", "first"), [(0, 1), (0.5, 31), (1, 61)])
def test_a_question_whose_answer_is_known_has_as_long_as_it_usually_has(chance, first):
    known, unknown = many(2)
    poll = Poll(60, (known, unknown))
    poll.begin(0, chance, lambda question: question is known)
    assert [one for one, _ in due(poll, 1 + 3 * chance)] == (
        [known, unknown] if chance == 0 else [unknown]
    )
    assert poll.at == (61 if chance == 0 else min(first, 61 + 3 * chance))


def test_what_events_should_tell_is_looked_at_soon_although_the_answer_is_known():
    (status,) = questions("light/1")["SwitchPower:1"]
    poll = Poll(60, (status,))
    poll.begin(0, 1, lambda _: True)
    assert poll.at == 4
    assert due(poll, 4, Hearing(told=frozenset({"Status"}))) == []
    assert len(due(poll, 34, DEAF)) == 1


def test_the_position_is_known_for_as_long_as_it_is_asked_for_usually():
    (position,) = (
        one for one in questions("rygel/2")["AVTransport"] if one.action.name == "GetPositionInfo"
    )
    poll = Poll(60, (position,))
    poll.begin(0, 1, lambda _: True)
    assert poll.at == 1 + POSITION_S


def test_a_last_resort_is_what_is_asked_only_while_no_event_comes():
    def last(device: str, level: str) -> set[str]:
        found = questions(device)[level]
        return {one.action.name for one in found if one.is_last_resort}

    assert last("miniupnpd/1", "WANIPConn1") == {"GetConnectionTypeInfo"}
    assert last("minidlna/1", "ConnectionManager") == {"GetProtocolInfo", "GetCurrentConnectionIDs"}
    assert last("rygel/2", "RenderingControl") == {"ListPresets"}
    assert last("miniupnpd/1", "WANCommonIFC1") == set()


def test_a_poll_without_questions_is_never_due():
    poll = begun(())
    assert poll.at == inf
    assert due(poll, 1e9) == []


def test_a_question_is_asked_once_an_interval_however_late_it_is_looked_at():
    poll = begun(many(1))
    for now in (0, 60, 125, 1000):
        assert len(due(poll, now)) == 1
        assert due(poll, now) == []
        assert poll.at == now + 60


def test_what_was_asked_since_no_event_came_is_not_asked_once_more_when_they_come():
    (decibels,) = (
        one
        for one in questions("gmediarender/1")["RenderingControl"]
        if one.action.name == "GetVolumeDB"
    )
    poll = begun((decibels,))
    assert due(poll, 0, DEAF) == [(decibels, frozenset({"VolumeDB"}))]
    assert due(poll, 60, Hearing(told=frozenset({"Volume"}))) == []


def test_what_is_not_wanted_is_looked_at_again_soon():
    (status,) = questions("light/1")["SwitchPower:1"]
    poll = begun((status,))
    told = Hearing(told=frozenset({"Status"}))
    assert due(poll, 0, told) == []
    assert poll.at == 30
    assert due(poll, 30, DEAF) == [(status, frozenset({"Status"}))]
    assert poll.at == 90
    short = begun((status,), interval_s=3)
    assert due(short, 0, told) == []
    assert short.at == 3


def test_while_a_first_event_may_still_come_it_is_looked_at_again_sooner():
    (status,) = questions("light/1")["SwitchPower:1"]
    poll = begun((status,))
    assert due(poll, 0, Hearing()) == []
    assert poll.at == 1
    assert due(poll, 1, Hearing(told=frozenset({"Status"}), is_awaited=True)) == []
    assert poll.at == 2
    assert due(poll, 2, DEAF) == [(status, frozenset({"Status"}))]


def test_what_is_due_a_moment_later_is_asked_together_with_what_is_due_now():
    poll = begun(many(2))
    assert len(due(poll, 0)) == 2
    early, late = poll._timers.values()
    late.at += 0.9
    assert due(poll, early.at - 0.1) == []
    assert len(due(poll, early.at)) == 2
    late.at += 1.1
    assert len(due(poll, early.at)) == 1


def test_a_service_that_nobody_knows_of_counts_as_deaf():
    (status,) = questions("light/1")["SwitchPower:1"]
    assert [names for _, names in begun((status,)).due(0, {})] == [{"Status"}]


def test_a_device_that_does_not_answer_is_asked_ever_more_rarely_up_to_64_times_the_interval():
    poll, now = begun(many(2)), 0.0
    pauses = []
    for _ in range(9):
        assert len(due(poll, now)) == 2
        poll.note_silence(now + 10)
        pauses.append(poll.at - now - 10)
        now = poll.at
    assert pauses == [60 * 2**power for power in (1, 2, 3, 4, 5, 6, 6, 6, 6)]
    first = due(poll, now)[0][0]
    poll.note_answer(first, now, 0.1)
    assert poll.at == now + 60
    poll.note_silence(now)
    assert poll.at == now + 120


def test_a_question_that_is_refused_is_asked_ever_more_rarely_by_itself():
    poll, now = begun(many(2)), 0.0
    refused, answered = poll.questions
    asked_at: list[float] = []
    while now < 20_000:
        for question, _ in due(poll, now):
            if question is refused:
                asked_at.append(now)
                poll.note_refusal(question)
            else:
                poll.note_answer(question, now, 0)
        assert poll.at <= now + 60
        now = poll.at
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    poll.note_answer(refused, now, 0)
    (first, _), *_ = [one for one in due(poll, now + 7200) if one[0] is refused]
    assert first is refused
    assert [names for one, names in due(poll, now + 7260) if one is refused] == [{"V"}]
    assert answered is not refused


def test_an_interval_over_an_hour_is_kept_where_a_question_is_refused():
    poll = begun(many(1), interval_s=86_400)
    ((question, _),) = due(poll, 0)
    poll.note_refusal(question)
    assert len(due(poll, 86_400)) == 1
    assert poll.at == 2 * 86_400


def test_what_has_waited_longest_is_asked_first_and_what_is_not_taken_stays_due():
    poll = begun(many(3))
    first, second, third = poll.questions
    found = poll.due(0, {})
    assert next(found)[0] is first
    assert poll.at == 0
    poll.hurry(first.service_id, 1)
    assert [one for one, _ in due(poll, 2)] == [second, third, first]
    assert poll.at == 62


def test_a_device_is_free_again_when_its_pause_is_over():
    poll = begun(many(1))
    ((question, _),) = due(poll, 0)
    assert poll.is_free(0)
    poll.note_answer(question, 4, 4)
    assert not poll.is_free(83)
    assert poll.is_free(84)
    poll.note_silence(100)
    assert not poll.is_free(219)
    assert poll.is_free(220)


def test_a_slow_device_is_given_twenty_times_as_long_as_it_took():
    poll = begun(many(2))
    (first, _), (second, _) = due(poll, 0)
    poll.note_answer(first, 3, 3)
    assert poll.at == 60
    poll.note_answer(second, 10, 7)
    assert poll.at == 150
    assert poll.at == 150
    assert len(due(poll, 150)) == 2
    poll.note_answer(first, 151, 0.1)
    assert poll.at == 210


def test_after_something_was_done_a_service_is_asked_soon():
    poll = begun(many(3))
    first, second, third = poll.questions
    assert len(due(poll, 0)) == 3
    assert poll.hurry(second.service_id, 5)
    assert not poll.hurry(second.service_id, 6)
    assert poll.at == 5
    assert [one for one, _ in due(poll, 5)] == [second]
    assert poll.at == 60
    assert [one for one, _ in due(poll, 60)] == [first, third]
    assert not poll.hurry(second.service_id, 70)
    assert poll.at == 65
    assert not poll.hurry("U/Nowhere", 61)
    assert poll.at == 65


def test_hurry_does_not_hasten_what_is_refused_nor_a_device_that_is_silent():
    poll = begun(many(1))
    ((question, _),) = due(poll, 0)
    poll.note_refusal(question)
    poll.hurry(question.service_id, 5)
    assert poll.at == 60
    silent = begun(many(1))
    due(silent, 0)
    silent.note_silence(10)
    silent.hurry(silent.questions[0].service_id, 11)
    assert silent.at == 130


events = st.lists(
    st.tuples(st.sampled_from(["answer", "refuse", "silence", "hurry"]), st.floats(0, 30)),
    max_size=30,
)


@given(st.floats(0.5, 86_400), st.integers(1, 4), st.floats(0, 1), events)
def test_a_poll_goes_on_and_never_asks_at_once_again(interval_s, count, chance, steps):
    poll = Poll(interval_s, many(count))
    poll.begin(0, chance)
    for what, took_s in steps:
        now = poll.at
        assert now < inf
        found = due(poll, now)
        assert found
        assert poll.at > now
        question = found[0][0]
        match what:
            case "answer":
                poll.note_answer(question, now + took_s, took_s)
            case "refuse":
                poll.note_refusal(question)
            case "silence":
                poll.note_silence(now + took_s)
            case "hurry":
                poll.hurry(question.service_id, now + 1)
        assert now < poll.at <= now + 64 * interval_s + 3600 + 40 * 30


def test_an_action_with_two_channels_of_one_name_breaks_nothing():
    twice = Action(
        "GetVolume",
        (
            Argument("Channel", Direction.IN, "A_ARG_TYPE_InstanceID"),
            Argument("Channel", Direction.IN, "A_ARG_TYPE_Channel"),
            Argument("CurrentVolume", Direction.OUT, "Volume"),
        ),
    )
    odd = service("RenderingControl", scpd("Volume:ui2", actions=(twice,)))
    (question,) = Plan(60).questions("D", odd)
    assert question.wanted.keys() == {"Volume"}
