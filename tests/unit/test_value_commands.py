"""Commands at a value's own topic: what they ask for, and how what is wrong in them is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Code, CommandError, Outcome
from bridge.model import datatypes
from bridge.model.action_call import ActionCall
from bridge.model.device import Action, Argument, Direction, Key, Scpd, StateVariable
from bridge.requests import envelope, value_request
from bridge.requests.envelope import BadEnvelope
from bridge.requests.value_request import ValueRequest
from tests.unit.devices import device, service

LIMIT = 1000


def action(name: str, *arguments: str) -> Action:
    """Arguments are written `in Name:Variable` or `out Name:Variable`."""
    parts = (argument.replace(":", " ").split() for argument in arguments)
    return Action(name, tuple(Argument(n, Direction(way), v) for way, n, v in parts))


CHOICE = "in InstanceID:A_ARG_TYPE_InstanceID", "in Channel:A_ARG_TYPE_Channel"
SOUND = Scpd.of(
    (
        action("SetVolume", *CHOICE, "in DesiredVolume:Volume"),
        action("GetVolume", *CHOICE, "out CurrentVolume:Volume"),
        action("SetMute", *CHOICE, "in DesiredMute:Mute"),
        action("SetMode", "in InstanceID:A_ARG_TYPE_InstanceID", "in NewMode:Mode"),
        action("GetMode", "in InstanceID:A_ARG_TYPE_InstanceID", "out Mode:Mode"),
        action("SetName/1", "in Name:Name/1"),
        action("GetName/1", "out Name:Name/1"),
        action("SetGain", "in Gain:Gain"),
        action("SetTarget", "in NewTarget:Target"),
        action("GetSpeaker", "in Channel:A_ARG_TYPE_Channel", "out Speaker:Speaker"),
        StateVariable("Volume", "ui2", minimum="0", maximum="100", step="1"),
        StateVariable("Mute", "boolean"),
        StateVariable("Mode", "string", allowed_values=("NORMAL", "SHUFFLE")),
        StateVariable("Name/1", "string"),
        StateVariable("Gain", "r4"),
        StateVariable("Target", "boolean"),
        StateVariable("Status", "boolean"),
        StateVariable("Alone", "string"),
        StateVariable("Speaker", "string"),
        StateVariable("A_ARG_TYPE_InstanceID", "ui4"),
        StateVariable("A_ARG_TYPE_Channel", "string", allowed_values=("Master", "LF")),
    )
)
PLAYER = device("P", service("Sound", SOUND), service("Empty", Scpd.of(())))


def call(path: str, payload: bytes | None = None, *, read_only: bool = False) -> ActionCall:
    """Return what a command at `<service>/<levels>` has the device do; no payload asks."""
    level, *levels = path.split("/")
    text = None
    if payload is not None:
        text = str(value_request.read_text(payload, max_bytes=LIMIT).body["value"])
    request, _ = value_request.as_call(ValueRequest.at(level, levels, text), PLAYER)
    return envelope.resolve(request, PLAYER, default_timeout_s=5, read_only=read_only)


def sent(path: str, payload: bytes | None = None) -> str:
    """Return the action and its arguments, in one line."""
    done = call(path, payload)
    return " ".join((done.action.name, *(f"{name}={text}" for name, text in done.arguments)))


def refused(path: str, payload: bytes | None = None, *, read_only: bool = False) -> CommandError:
    with pytest.raises(CommandError) as refusal:
        call(path, payload, read_only=read_only)
    assert refusal.value.outcome is Outcome.NOT_SENT
    assert refusal.value.reason
    return refusal.value


# Topic


def test_the_levels_say_service_variable_instance_and_channel():
    def at(*levels: str) -> ValueRequest:
        return ValueRequest.at("S", list(levels))

    assert at("V") == ValueRequest("S", "V")
    assert at("V", "0") == ValueRequest("S", "V", "0")
    assert at("V", "0", "LF") == ValueRequest("S", "V", "0", "LF")
    assert at("A%2FB%20%C3%A4", "%73et", "%67et") == ValueRequest("S", "A/B ä", "set", "get")
    assert ValueRequest.at("S%2F", ["V"], "25") == ValueRequest("S%2F", "V", text="25")


def test_instance_and_channel_have_defaults_and_go_where_the_action_has_them():
    for path in ("Sound/Volume", "Sound/Volume/0", "Sound/Volume/0/Master"):
        assert sent(path, b"25") == "SetVolume InstanceID=0 Channel=Master DesiredVolume=25"
        assert sent(path) == "GetVolume InstanceID=0 Channel=Master"
    assert sent("Sound/Volume/7/LF", b"1") == "SetVolume InstanceID=7 Channel=LF DesiredVolume=1"
    assert sent("Sound/Mode/007") == "GetMode InstanceID=7"
    assert sent("Sound/Name%2F1", b"x") == "SetName/1 Name=x"


def test_a_service_has_three_names_here_too():
    for name in ("Sound", "urn:upnp-org:serviceId:Sound", "urn:schemas-upnp-org:service:Sound:1"):
        assert sent(f"{name}/Mode") == "GetMode InstanceID=0"


def test_what_says_what_is_is_set_by_what_is_wanted():
    assert sent("Sound/Status", b"ON") == "SetTarget NewTarget=1"
    assert refused("Sound/Status").code is Code.UNKNOWN_ACTION


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("Sound/Volume", Key("Volume", "0", "Master")),
        ("Sound/Volume/07/LF", Key("Volume", "7", "LF")),
        ("Sound/Mode", Key("Mode", "0")),
        ("Sound/Name%2F1", Key("Name/1")),
    ],
)
def test_what_was_told_stands_where_it_was_asked_for_spelt_as_it_was_sent(path, key):
    level, *levels = path.split("/")
    request, accessor = value_request.as_call(ValueRequest.at(level, levels), PLAYER)
    done = envelope.resolve(request, PLAYER, default_timeout_s=5, read_only=True)
    assert value_request.key_of(key.name, accessor, done) == key


def test_a_value_with_a_channel_alone_stands_under_instance_0():
    request, accessor = value_request.as_call(ValueRequest("Sound", "Speaker"), PLAYER)
    done = envelope.resolve(request, PLAYER, default_timeout_s=5, read_only=True)
    assert value_request.key_of("Speaker", accessor, done) == Key("Speaker", "0", "Master")


# Payload


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"25", "25"),
        (b" 25 ", "25"),
        (b"25\n", "25"),
        (b"25.0", "25"),
        (b"+25", "25"),
        (b"025", "25"),
        (b"2.5e1", "25"),
        (b"0", "0"),
        (b"100", "100"),
    ],
)
def test_a_number_is_plain_text(payload, text):
    assert sent("Sound/Volume", payload).endswith(f" DesiredVolume={text}")


@pytest.mark.parametrize(
    ("payload", "text"), [(b"-1.50", "-1.5"), (b" 2 ", "2"), (b"1e-7", "0.0000001"), (b"3", "3")]
)
def test_a_real_number_too(payload, text):
    assert sent("Sound/Gain", payload) == f"SetGain Gain={text}"


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ((b"true", b"TRUE", b"1", b"ON", b"on", b" On\n", b"yes"), "1"),
        ((b"false", b"False", b"0", b"OFF", b"off", b"no"), "0"),
    ],
)
def test_a_boolean_has_many_spellings(payloads, text):
    for payload in payloads:
        assert sent("Sound/Mute", payload).endswith(f" DesiredMute={text}"), payload


@pytest.mark.parametrize(
    "text",
    ["", " outer ", "ON", "1", "1.0", '{"a": 1}', "line\nline", "ä😀", "null", "true", '"x"'],
)
def test_a_string_is_every_character_of_the_payload(text):
    assert sent("Sound/Name%2F1", text.encode()) == f"SetName/1 Name={text}"


@pytest.mark.parametrize(
    ("data_type", "text", "value"),
    [
        ("ui2", "25.0", 25.0),
        ("UI2 ", " 25\n", 25),
        ("i4", "-3", -3),
        ("i4", "three", "three"),
        ("i4", "1_000", "1_000"),
        ("i4", "٣", "٣"),
        ("i4", "", ""),
        ("r8", "1e3", 1000.0),
        ("r8", "nan", "nan"),
        ("r8", "inf", "inf"),
        ("number", "9" * 400, "9" * 400),
        ("ui1", "9" * 5000, "9" * 5000),
        ("boolean", "ON", True),
        ("boolean", " off ", False),
        ("boolean", "True", "True"),
        ("boolean", "2", "2"),
        ("boolean", "", ""),
        ("string", " ON ", " ON "),
        ("uri", "http://x ", "http://x "),
        ("dateTime", "2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("bin.hex", "0A", "0A"),
        ("ui99", " 7 ", " 7 "),
    ],
)
def test_text_becomes_a_value_of_its_type_or_stays_text(data_type, text, value):
    read = datatypes.from_text(data_type, text)
    assert (read, type(read)) == (value, type(value))


@given(st.sampled_from(["ui1", "i4", "r4", "r8", "fixed.14.4", "boolean", "string"]), st.text())
def test_no_text_breaks_the_reading_of_a_value(data_type, text):
    assert isinstance(datatypes.from_text(data_type, text), bool | int | float | str)


# Refusals


@pytest.mark.parametrize(
    ("path", "payload", "code"),
    [
        ("Nowhere/Volume", b"25", Code.UNKNOWN_SERVICE),
        ("Nowhere/Volume", None, Code.UNKNOWN_SERVICE),
        ("/Volume", None, Code.UNKNOWN_SERVICE),
        ("Sound/Nothing", b"25", Code.UNKNOWN_VARIABLE),
        ("Sound/volume", None, Code.UNKNOWN_VARIABLE),
        ("Empty/Volume", None, Code.UNKNOWN_VARIABLE),
        ("Sound/", b"25", Code.UNKNOWN_VARIABLE),
        ("Sound/Alone", b"25", Code.UNKNOWN_ACTION),
        ("Sound/Alone", None, Code.UNKNOWN_ACTION),
        ("Sound/Target", None, Code.UNKNOWN_ACTION),
        ("Sound/A_ARG_TYPE_InstanceID", b"0", Code.UNKNOWN_ACTION),
        ("Sound/Name%2F1/0", b"x", Code.INVALID_ARGUMENT),
        ("Sound/Mode/0/Master", b"NORMAL", Code.INVALID_ARGUMENT),
        ("Sound/Mode/0/Master", None, Code.INVALID_ARGUMENT),
    ],
)
def test_what_is_not_in_the_model_is_refused(path, payload, code):
    assert refused(path, payload).code is code


@pytest.mark.parametrize(
    ("path", "payload", "argument"),
    [
        ("Sound/Volume", b"101", "DesiredVolume"),
        ("Sound/Volume", b"-1", "DesiredVolume"),
        ("Sound/Volume", b"25.5", "DesiredVolume"),
        ("Sound/Volume", b"70000", "DesiredVolume"),
        ("Sound/Volume", b"loud", "DesiredVolume"),
        ("Sound/Volume", b"", "DesiredVolume"),
        ("Sound/Volume", b"true", "DesiredVolume"),
        ("Sound/Volume", b"nan", "DesiredVolume"),
        ("Sound/Volume", b'{"DesiredVolume":25}', "DesiredVolume"),
        ("Sound/Mute", b"2", "DesiredMute"),
        ("Sound/Mute", b"", "DesiredMute"),
        ("Sound/Mute", b"maybe", "DesiredMute"),
        ("Sound/Gain", b"inf", "Gain"),
        ("Sound/Gain", b"1e39", "Gain"),
        ("Sound/Mode", b"LOUD", "NewMode"),
        ("Sound/Mode", b"normal", "NewMode"),
        ("Sound/Mode", b"NORMAL ", "NewMode"),
        ("Sound/Name%2F1", b"\0", "Name"),
        ("Sound/Volume/x", b"25", "InstanceID"),
        ("Sound/Volume//Master", b"25", "InstanceID"),
        ("Sound/Volume/-1", None, "InstanceID"),
        ("Sound/Volume/0/RF", b"25", "Channel"),
        ("Sound/Volume/0/", None, "Channel"),
    ],
)
def test_what_does_not_fit_is_an_invalid_argument(path, payload, argument):
    refusal = refused(path, payload)
    assert (refusal.code, refusal.argument) == (Code.INVALID_ARGUMENT, argument)


@pytest.mark.parametrize("payload", [b"\xff", "ä".encode("latin-1"), b"25\xc3", b"x" * (LIMIT + 1)])
def test_what_is_no_text_or_too_long_is_a_bad_request(payload):
    refusal = refused("Sound/Name%2F1", payload)
    assert refusal.code is Code.BAD_REQUEST
    assert isinstance(refusal, BadEnvelope)
    assert (refusal.envelope.callid, refusal.envelope.reply_to) == (None, None)
    assert sent("Sound/Name%2F1", b"x" * LIMIT).endswith("x" * LIMIT)


def test_read_only_has_values_told_and_not_set():
    assert refused("Sound/Volume", b"25", read_only=True).code is Code.DENIED
    assert call("Sound/Volume", read_only=True).action.name == "GetVolume"


names = st.sampled_from(["Volume", "Mute", "Mode", "Name%2F1", "Gain", "Status", "Alone", "%"])
levels = st.lists(names | st.text(max_size=4), min_size=1, max_size=3)


@given(st.sampled_from(["Sound", "Empty"]) | st.text(max_size=6), levels, st.none() | st.binary())
def test_nothing_is_refused_but_by_a_command_error(level, below, payload):
    with suppress(CommandError):
        done = call("/".join((level, *below)), payload)
        assert done.service.level == "Sound"
        assert [name for name, _ in done.arguments] == [a.name for a in done.action.inputs]


@given(st.sampled_from(["Volume", "Mute", "Mode", "Name%2F1", "Gain"]), st.text(max_size=8))
def test_every_text_is_sent_as_the_scpd_allows_or_refused(name, text):
    with suppress(CommandError):
        done = call(f"Sound/{name}", text.encode("utf-8", "replace"))
        argument, (_, sent_text) = done.action.arguments[-1], done.arguments[-1]
        variable = SOUND.variables[argument.variable]
        if variable.data_type != "string":
            assert not isinstance(datatypes.read(variable.data_type, sent_text), str)
        else:
            assert not variable.allowed_values or sent_text in variable.allowed_values
