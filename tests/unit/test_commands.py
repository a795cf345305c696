"""Commands from payload to call, and results back to answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Code, CommandError, Outcome
from bridge.formats.jsontext import encode
from bridge.model.device import Action, Argument, Device, Direction, Scpd, Service, StateVariable
from bridge.requests.envelope import (
    BadEnvelope,
    CallRequest,
    Envelope,
    arguments_only,
    failure,
    read_call,
    read_envelope,
    resolve,
    success,
    typed_outputs,
    verb_failure,
    verb_success,
)
from bridge.requests.reply_topics import reply_allowed
from bridge.requests.value_request import ValueRequest, as_call

IN, OUT = Direction.IN, Direction.OUT


def service(service_id, level, *members, version=1):
    kind = service_id.rpartition(":")[2]
    return Service(
        service_id,
        f"urn:schemas-upnp-org:service:{kind}:{version}",
        level,
        "http://127.0.0.1/scpd",
        "http://127.0.0.1/control",
        None,
        Scpd.of(members),
    )


RENDERING = service(
    "urn:upnp-org:serviceId:RenderingControl",
    "RenderingControl",
    StateVariable("A_ARG_TYPE_InstanceID", "ui4"),
    StateVariable("A_ARG_TYPE_Channel", "string", allowed_values=("Master", "LF")),
    StateVariable("Volume", "ui2", minimum="0", maximum="100"),
    StateVariable("Mute", "boolean"),
    Action(
        "SetVolume",
        (
            Argument("InstanceID", IN, "A_ARG_TYPE_InstanceID"),
            Argument("Channel", IN, "A_ARG_TYPE_Channel"),
            Argument("DesiredVolume", IN, "Volume"),
        ),
    ),
    Action(
        "GetMute",
        (
            Argument("InstanceID", IN, "A_ARG_TYPE_InstanceID"),
            Argument("CurrentMute", OUT, "Mute", retval=True),
            Argument("CurrentVolume", OUT, "Volume"),
            Argument("CurrentMood", OUT, "NoSuchVariable"),
        ),
    ),
)
SWITCH_1 = service("urn:upnp-org:serviceId:Switch:Power", "Switch%2FPower", Action("Toggle"))
SWITCH_2 = service("urn:upnp-org:serviceId:Two:Power", "Two", Action("Toggle"), Action("Blink"))
EMBEDDED = Device("b", "urn:x", "inner", children=(service("urn:x:Deep", "Deep", Action("Dive")),))
DEVICE = Device("a", "urn:x", "outer", children=(RENDERING, SWITCH_1, SWITCH_2, EMBEDDED))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
some_names = st.sampled_from(
    ["SetVolume", "GetMute", "Toggle", "Blink", "InstanceID", "Channel", "DesiredVolume"]
)
calls = st.dictionaries(
    st.sampled_from(["callid", "reply_to", "service", "action", "args", "timeout", "check"]),
    json_values | some_names | st.dictionaries(some_names, json_values),
)


def envelope(payload, max_bytes=1000):
    return read_envelope(payload.encode(), max_bytes=max_bytes)


def bad_envelope(payload, max_bytes=1000):
    with pytest.raises(BadEnvelope) as caught:
        read_envelope(payload, max_bytes=max_bytes)
    assert caught.value.code is Code.BAD_REQUEST
    assert caught.value.outcome is Outcome.NOT_SENT
    return caught.value


def call(action="SetVolume", args=(), name=None, *, read_only=False, **how):
    request = CallRequest(name, action, dict(args), **how)
    return resolve(request, DEVICE, default_timeout_s=30, read_only=read_only)


def refusal(*args, **kwargs):
    with pytest.raises(CommandError) as caught:
        call(*args, **kwargs)
    assert caught.value.outcome is Outcome.NOT_SENT
    return caught.value


def test_the_call_of_the_contract_is_read():
    payload = (
        '{"callid":"7f3a","service":"RenderingControl","action":"SetVolume",'
        '"args":{"DesiredVolume":25},"timeout":5}'
    )
    read = envelope(payload)
    assert (read.callid, read.reply_to) == ("7f3a", None)
    assert read_call(read) == CallRequest(
        "RenderingControl", "SetVolume", {"DesiredVolume": 25}, 5.0, check=True
    )


@pytest.mark.parametrize("payload", ["", " \n", "{}"])
def test_an_empty_payload_is_an_empty_object(payload):
    assert envelope(payload) == Envelope({})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xff{}", "not UTF-8"),
        (b"play", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"a":1}x', "not JSON: Extra data: line 1 column 8 (char 7)"),
        (b'{"a":NaN}', "not JSON: NaN is not a finite number"),
        (b'{"a":-Infinity}', "not JSON: -Infinity is not a finite number"),
        (b'{"a":1e999}', "not JSON: 1e999 is not a finite number"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * 1_000_001, "1000001 bytes, more than 1000000"),
    ],
)
def test_a_payload_that_is_no_object_is_refused(payload, reason):
    error = bad_envelope(payload, max_bytes=1_000_000)
    assert error.reason == reason
    assert error.envelope == Envelope({})


def test_an_integer_of_any_length_is_read_or_refused():
    assert envelope('{"callid":%s}' % ("9" * 900)).callid == int("9" * 900)
    assert "not JSON" in bad_envelope(b'{"callid":%s}' % (b"9" * 10_000), 100_000).reason


@pytest.mark.parametrize("callid", ["7f3a", "", 7, -7, 0, 1.5, "\ud800"])
def test_a_callid_comes_back_as_it_came(callid):
    read = envelope(json.dumps({"callid": callid}))
    answer = json.loads(encode(verb_success(read, {})))
    assert answer == {"callid": callid, "success": True, "data": {}}
    assert type(answer["callid"]) is type(callid)


@pytest.mark.parametrize("callid", [None, True, [], {}])
def test_a_callid_of_another_type_is_refused_and_not_echoed(callid):
    error = bad_envelope(json.dumps({"reply_to": "upnp/reply/x", "callid": callid}).encode())
    assert error.reason == "callid must be a string or a number"
    assert error.envelope.callid is None
    assert error.envelope.reply_to == "upnp/reply/x"


@pytest.mark.parametrize("reply_to", [None, 5, [], True])
def test_a_bad_reply_to_is_refused_and_the_callid_still_echoed(reply_to):
    error = bad_envelope(json.dumps({"reply_to": reply_to, "callid": 7}).encode())
    assert error.reason == "reply_to must be a string"
    assert (error.envelope.callid, error.envelope.reply_to) == (7, None)
    assert failure(error.envelope, error)["callid"] == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "action is missing"),
        ({"action": ""}, "action is missing"),
        ({"action": 5}, "action must be a string"),
        ({"action": None}, "action must be a string"),
        ({"action": "A", "service": 5}, "service must be a string"),
        ({"action": "A", "args": []}, "args must be an object"),
        ({"action": "A", "args": None}, "args must be an object"),
        ({"action": "A", "timeout": "5"}, "timeout must be a number of seconds"),
        ({"action": "A", "timeout": True}, "timeout must be a number of seconds"),
        ({"action": "A", "timeout": 0}, "timeout must be more than 0 seconds"),
        ({"action": "A", "timeout": -1.5}, "timeout must be more than 0 seconds"),
        ({"action": "A", "timeout": float("nan")}, "timeout must be more than 0 seconds"),
        ({"action": "A", "timeout": float("inf")}, "timeout must be more than 0 seconds"),
        ({"action": "A", "check": 0}, "check must be true or false"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(body, reason):
    with pytest.raises(CommandError) as caught:
        read_call(Envelope(body))
    assert (caught.value.code, caught.value.reason) == (Code.BAD_REQUEST, reason)


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(0.5, 0.5), (300, 300.0), (301, 300.0), (10**400, 300.0)]
)
def test_a_timeout_counts_for_five_minutes_at_most(timeout, seconds):
    assert read_call(Envelope({"action": "A", "timeout": timeout})).timeout_s == seconds


def test_unknown_fields_are_ignored_and_left_out_ones_have_defaults():
    read = read_call(Envelope({"action": "A", "comment": [1]}))
    assert read == CallRequest(None, "A", {}, None, check=True)
    assert read_call(Envelope({"action": "A", "check": False})).check is False


def test_a_payload_of_arguments_alone_takes_the_rest_from_its_topic():
    read = envelope('{"callid":1,"reply_to":"upnp/reply/x","NewValue":2,"timeout":"an argument"}')
    assert arguments_only(read, "Switch%2FPower", "Set%20It") == CallRequest(
        "Switch%2FPower", "Set It", {"NewValue": 2, "timeout": "an argument"}
    )
    request = arguments_only(Envelope({}), "Switch%2FPower", "Toggle")
    assert resolve(request, DEVICE, default_timeout_s=1, read_only=False).service is SWITCH_1


def test_instance_and_channel_have_defaults_and_texts_stand_in_the_order_of_the_scpd():
    plain = call(args={"DesiredVolume": 25})
    assert plain.service is RENDERING
    assert plain.action.name == "SetVolume"
    assert plain.timeout_s == 30
    assert plain.arguments == (("InstanceID", "0"), ("Channel", "Master"), ("DesiredVolume", "25"))
    full = call(args={"DesiredVolume": 5, "Channel": "LF", "InstanceID": "3"}, timeout_s=2.0)
    assert full.timeout_s == 2.0
    assert full.arguments == (("InstanceID", "3"), ("Channel", "LF"), ("DesiredVolume", "5"))


def test_an_action_without_arguments_needs_none():
    assert call("Blink").arguments == ()


@pytest.mark.parametrize(
    ("args", "argument", "reason"),
    [
        ({}, "DesiredVolume", "argument DesiredVolume is missing"),
        ({"DesiredVolume": 5, "Desired": 5}, "Desired", "no argument Desired"),
        ({"desiredvolume": 5}, "desiredvolume", "no argument desiredvolume"),
        (
            {"DesiredVolume": 101},
            "DesiredVolume",
            "DesiredVolume: 101 is above the maximum 100",
        ),
        (
            {"DesiredVolume": None},
            "DesiredVolume",
            "DesiredVolume: must be a number, a boolean or a string",
        ),
        (
            {"DesiredVolume": 5, "Channel": "RF"},
            "Channel",
            "Channel: 'RF' is not one of 'Master', 'LF'",
        ),
    ],
)
def test_a_wrong_argument_is_named(args, argument, reason):
    error = refusal(args=args)
    assert error.code is Code.INVALID_ARGUMENT
    assert (error.argument, error.reason) == (argument, reason)


def test_an_out_argument_is_not_to_be_given():
    assert refusal("GetMute", {"CurrentMute": True}).argument == "CurrentMute"


def test_range_and_allowed_values_may_be_left_unchecked_but_not_the_type():
    args = {"DesiredVolume": 101, "Channel": "RF"}
    assert call(args=args, check=False).arguments[1:] == (
        ("Channel", "RF"),
        ("DesiredVolume", "101"),
    )
    assert refusal(args={"DesiredVolume": 70_000}, check=False).code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "name",
    [
        "Switch%2FPower",
        "Switch/Power",
        "urn:upnp-org:serviceId:Switch:Power",
    ],
)
def test_a_service_has_its_level_its_name_and_its_id(name):
    assert call("Toggle", name=name).service is SWITCH_1


def test_a_service_type_means_its_only_service_with_the_action():
    power = "urn:schemas-upnp-org:service:Power:1"
    assert call("Blink", name=power).service is SWITCH_2
    assert refusal("Toggle", name=power).code is Code.AMBIGUOUS_ACTION
    assert refusal("SetVolume", name=power).code is Code.UNKNOWN_ACTION
    assert refusal("Blink", name=f"{power}1").code is Code.UNKNOWN_SERVICE


def test_a_service_left_out_is_the_only_one_with_the_action():
    assert call("Blink").service is SWITCH_2
    error = refusal("Toggle")
    assert error.code is Code.AMBIGUOUS_ACTION
    assert error.reason == "several services have it: Switch%2FPower, Two"


def test_an_action_of_an_embedded_device_is_not_its_root_s():
    assert refusal("Dive").code is Code.UNKNOWN_ACTION
    assert refusal("Dive", name="Deep").code is Code.UNKNOWN_SERVICE


def test_read_only_lets_through_what_only_reads():
    assert call("GetMute", read_only=True).action.name == "GetMute"
    assert refusal("SetVolume", read_only=True).code is Code.DENIED
    assert refusal("Nonsense", read_only=True).code is Code.UNKNOWN_ACTION


@pytest.mark.parametrize("name", ["GetX", "Browse", "Search", "IsAuthorized", "ListPresets"])
def test_a_name_that_only_reads_is_called_in_read_only_mode(name):
    device = Device("a", "urn:x", "d", children=(service("urn:x:S", "S", Action(name)),))
    request = CallRequest(None, name, {})
    assert resolve(request, device, default_timeout_s=1, read_only=True).action.name == name


@pytest.mark.parametrize("name", ["X_GetFeatureList", "get", "Play"])
def test_any_other_name_is_denied_in_read_only_mode(name):
    device = Device("a", "urn:x", "d", children=(service("urn:x:S", "S", Action(name)),))
    with pytest.raises(CommandError) as caught:
        resolve(CallRequest(None, name, {}), device, default_timeout_s=1, read_only=True)
    assert caught.value.code is Code.DENIED


def test_outputs_are_typed_and_the_return_value_stands_beside_them_too():
    texts = {"Extra": "5", "CurrentVolume": "NOT_IMPLEMENTED", "CurrentMute": "1"}
    out, retval = typed_outputs(RENDERING.scpd.actions["GetMute"], RENDERING, texts)
    assert out == {"CurrentMute": True, "CurrentVolume": "NOT_IMPLEMENTED", "Extra": "5"}
    assert list(out) == ["CurrentMute", "CurrentVolume", "Extra"]
    assert retval is True


def test_an_output_of_an_undeclared_variable_is_a_string_and_a_return_value_may_be_absent():
    action = RENDERING.scpd.actions["GetMute"]
    assert typed_outputs(action, RENDERING, {"CurrentMood": "5"}) == ({"CurrentMood": "5"}, None)


def test_answers_have_the_bytes_of_the_contract():
    done = call(args={"DesiredVolume": 25})
    assert encode(success(Envelope({}, "7f3a"), done, {}, None, elapsed_ms=41)) == (
        b'{"callid":"7f3a","success":true,"service":"RenderingControl","action":"SetVolume",'
        b'"out":{},"elapsed_ms":41}'
    )
    error = CommandError(
        Code.UPNP_FAULT, "Transition not available", outcome=Outcome.REJECTED, upnp_code=701
    )
    answer = failure(
        Envelope({}, "7f3c"), error, service="AVTransport", action="Play", elapsed_ms=38
    )
    assert encode(answer) == (
        b'{"callid":"7f3c","success":false,"error":"Transition not available",'
        b'"code":"upnp_fault","upnp_code":701,"outcome":"rejected","service":"AVTransport",'
        b'"action":"Play","elapsed_ms":38}'
    )


def test_an_answer_has_a_return_value_where_the_action_has_one():
    done = call("GetMute")
    assert encode(
        success(Envelope({}), done, {"CurrentMute": False}, retval=False, elapsed_ms=1)
    ) == (
        b'{"success":true,"service":"RenderingControl","action":"GetMute",'
        b'"out":{"CurrentMute":false},"retval":false,"elapsed_ms":1}'
    )


def test_a_failure_names_what_is_known():
    error = CommandError(Code.INVALID_ARGUMENT, "no argument X", argument="X")
    assert encode(failure(Envelope({}, 0), error, action="Play")) == (
        b'{"callid":0,"success":false,"error":"no argument X","code":"invalid_argument",'
        b'"outcome":"not_sent","argument":"X","action":"Play","elapsed_ms":0}'
    )
    error = CommandError(Code.RETAINED_COMMAND, "retained")
    assert encode(failure(None, error)) == (
        b'{"success":false,"error":"retained","code":"retained_command",'
        b'"outcome":"not_sent","elapsed_ms":0}'
    )


def test_verbs_answer_with_data_or_error():
    assert encode(verb_success(Envelope({}, 1.5), None)) == (
        b'{"callid":1.5,"success":true,"data":null}'
    )
    error = CommandError(Code.UNKNOWN_VERB, "no verb dance")
    assert encode(verb_failure(None, error)) == (
        b'{"success":false,"error":"no verb dance","code":"unknown_verb"}'
    )


def test_made_up_names_do_not_make_long_answers():
    long = "x" * 100_000
    for error in (
        refusal(long),
        refusal("Toggle", name=long),
        refusal(args={long: 1}),
        refusal(args={"DesiredVolume": long}),
    ):
        assert len(encode(failure(None, error, service=long, action=long))) < 2_000


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("upnp/reply/x", True),
        ("upnp/reply/x/y/ü", True),
        ("upnp/reply//", True),
        ("upnp/reply/", False),
        ("upnp/reply", False),
        ("upnp/replyx/y", False),
        ("upnp/a/response", False),
        ("app/answers", True),
        ("app/answers/1/2", True),
        ("app/answersx", False),
        ("hub/a/answer", True),
        ("hub//answer", True),
        ("hub/a/b/answer", False),
        ("hub/answer", False),
        ("exact", True),
        ("Exact", False),
        ("exact/", False),
        ("", False),
        ("app/answers/+", False),
        ("app/answers/#", False),
        ("app/answers/\0", False),
        ("app/answers/\x1f", False),
        ("app/answers/\x85", False),
        ("app/answers/\ud800", False),
        ("app/answers/\ufdd0", False),
        ("app/answers/\uffff", False),
        ("app/answers/\U0010fffe", False),
        ("app/answers/\U0001f3b5", True),
        ("app/answers/\\-]^", True),
        ("upnp/reply/" + "x" * 65_524, True),
        ("upnp/reply/" + "x" * 65_525, False),
        ("upnp/reply/" + "ü" * 32_763, False),
        ("upnp/reply" + "/x" * 198, True),
        ("upnp/reply" + "/x" * 199, False),
    ],
)
def test_answers_go_where_they_may(topic, allowed):
    patterns = ["app/answers/#", "hub/+/answer", "exact", "", "app/#/x", "a+"]
    assert reply_allowed(topic, "upnp", patterns) is allowed


def test_a_base_of_several_levels_has_its_replies_under_it():
    assert reply_allowed("home/upnp/reply/x", "home/upnp", [])
    assert not reply_allowed("upnp/reply/x", "home/upnp", [])


@pytest.mark.parametrize("pattern", ["#", "+/x", "$SYS/#", "$SYS/x"])
def test_no_answer_goes_to_a_topic_of_the_broker_s_own(pattern):
    assert not reply_allowed("$SYS/x", "upnp", [pattern])
    assert reply_allowed("SYS/x", "upnp", [pattern]) is (pattern[0] != "$")


@given(st.text(), st.lists(st.text()))
def test_any_topic_is_allowed_or_not(topic, patterns):
    if reply_allowed(topic, "upnp", ["#", *patterns]):
        assert 0 < len(topic.encode()) <= 65_535


@given(json_values)
def test_json_is_encoded_so_that_it_reads_the_same(value):
    assert json.loads(encode(value)) == value


def test_json_as_deep_as_it_can_be_read_can_be_written():
    def nested(depth):
        return "[" * depth + "]" * depth

    deepest, too_deep = 1, 1_000_000
    while too_deep - deepest > 1:
        depth = (deepest + too_deep) // 2
        try:
            json.loads(nested(depth))
        except RecursionError:
            too_deep = depth
        else:
            deepest = depth
    assert deepest > 100
    for depth in (*range(deepest - 50, deepest), deepest):
        assert encode(json.loads(nested(depth))) == nested(depth).encode()


def test_json_has_no_spaces_keeps_its_order_and_is_utf_8():
    assert encode({"b": ["ü", 1.0], "a": None}) == '{"b":["ü",1.0],"a":null}'.encode()
    assert encode({"b": "ü\ud800"}) == rb'{"b":"\u00fc\ud800"}'


@given(st.binary())
def test_any_bytes_are_an_envelope_or_a_bad_request(payload):
    try:
        read_envelope(payload, max_bytes=100)
    except BadEnvelope as error:
        encode(failure(error.envelope, error))


@given(calls | json_values)
def test_any_json_is_a_call_or_a_refusal_with_its_callid(document):
    payload = json.dumps(document).encode()
    read = None
    try:
        read = read_envelope(payload, max_bytes=10_000)
        done = resolve(read_call(read), DEVICE, default_timeout_s=30, read_only=False)
    except CommandError as error:
        read = error.envelope if isinstance(error, BadEnvelope) else read
        answer = failure(read, error)
    else:
        answer = success(read, done, {}, None, elapsed_ms=0)
    assert json.loads(encode(answer))["success"] is answer["success"]
    callid = document.get("callid") if isinstance(document, dict) else None
    if isinstance(callid, str) and len(payload) < 10_000 and float("inf") not in _leaves(document):
        assert answer["callid"] == callid


def _leaves(document):
    match document:
        case dict():
            return [leaf for value in document.values() for leaf in _leaves(value)]
        case list():
            return [leaf for value in document for leaf in _leaves(value)]
        case float():
            return [abs(document)]
    return [document]


@given(json_values | st.dictionaries(some_names, json_values))
def test_any_arguments_are_a_call_or_a_refusal(document):
    code = None
    try:
        read = read_envelope(json.dumps(document).encode(), max_bytes=10_000)
        request = arguments_only(read, "RenderingControl", "SetVolume")
        resolve(request, DEVICE, default_timeout_s=30, read_only=False)
    except CommandError as error:
        code = error.code
    assert code in (None, Code.BAD_REQUEST, Code.INVALID_ARGUMENT)


@given(st.dictionaries(st.text(), st.text()))
def test_any_outputs_can_be_answered(texts):
    action = RENDERING.scpd.actions["GetMute"]
    out, retval = typed_outputs(action, RENDERING, texts)
    assert set(out) == set(texts)
    encode(success(Envelope({}), call("GetMute"), out, retval, elapsed_ms=0))


CLOCK = Device(
    "c",
    "urn:x",
    "clock",
    children=(
        Service(
            "urn:x:serviceId:Clock",
            "urn:x:service:Clock:1",
            "Clock",
            "",
            "",
            None,
            Scpd.of(
                (
                    StateVariable("Alarm", "time"),
                    Action("SetAlarm", (Argument("NewAlarm", Direction.IN, "Alarm"),)),
                )
            ),
        ),
    ),
)


def test_a_time_that_is_none_is_not_sent_unless_it_is_not_to_be_checked():
    def send(text, *, check):
        request = CallRequest(None, "SetAlarm", {"NewAlarm": text}, check=check)
        return resolve(request, CLOCK, default_timeout_s=30, read_only=False).arguments

    assert send("06:30", check=True) == (("NewAlarm", "06:30"),)
    assert send("25:99", check=False) == (("NewAlarm", "25:99"),)
    with pytest.raises(CommandError) as caught:
        send("25:99", check=True)
    error = caught.value
    assert (error.code, error.outcome) == (Code.INVALID_ARGUMENT, Outcome.NOT_SENT)
    assert (error.argument, error.reason) == (
        "NewAlarm",
        "NewAlarm: '25:99' is not a time without a time zone, as 18:30:00",
    )
    for text, expected in ((" 06:30 \n", "06:30"), ("noon", None)):
        setting, _ = as_call(ValueRequest("Clock", "Alarm", text=text), CLOCK)
        if expected:
            made = resolve(setting, CLOCK, default_timeout_s=30, read_only=False)
            assert made.arguments == (("NewAlarm", expected),)
        else:
            with pytest.raises(CommandError, match="not a time"):
                resolve(setting, CLOCK, default_timeout_s=30, read_only=False)
