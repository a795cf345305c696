"""What goes on, as it is told: without secrets, cut, and bounded."""

import json

import pytest

from bridge.model.device import Key
from bridge.runtime import Clock
from bridge.tree.messages import Message, Publication
from bridge.tree.service_state import Change
from bridge.web.activity import MAX_KEPT, Activity


def told(payload: bytes, topic: str = "upnp/x/call") -> str:
    activity = Activity(Clock())
    activity.command(Message(topic, payload, retain=False))
    activity.answer(Publication(topic, payload))
    command, answer = activity.recent()
    assert command["payload"] == answer["payload"]
    return str(command["payload"])


@pytest.mark.parametrize(
    "payload",
    [
        b'{"args":{"NewPassword":"hunter2"}}',
        b'{"NewPreSharedKey" : "hunter2"}',
        b'{"a":"b","X_Token":"hunter2',
        b'{"args":{"NewPassword":["x","hunter2"]}}',
        b'{"Credentials" : {"a":{"b":"c"},"d":"hunter2"},"e":1}',
        b'{"password":"\\"hunter2"}',
        b'{"callid":1,"Secret":"' + b"hunter2" * 1000 + b'"}',
    ],
)
def test_what_looks_like_a_secret_is_hidden(payload):
    assert "hunter2" not in told(payload)
    assert "***" in told(payload)


def test_what_is_none_stays_as_it_is():
    payload = {"service": "One", "args": {"Volume": "5", "Title": 'a "password": b'}}
    assert json.loads(told(json.dumps(payload).encode())) == payload
    assert told(b"\xff{") == "\ufffd{"


def test_a_value_is_hidden_by_the_name_of_its_variable():
    assert told(b"hunter2", "upnp/x/S/value/WEPKey0/set") == "***"
    activity = Activity(Clock())
    changes = [Change(Key("AdminPassword"), None, "hunter2"), Change(Key("V", "0", "L"), 1, None)]
    activity.values("x/S", changes)
    (one,) = activity.recent()
    assert one["values"] == {"AdminPassword": "***", "V/0/L": None}


def test_lists_of_a_log_line_are_plain_text():
    activity = Activity(Clock())
    activity.line({"event": "odd", "level": "info", "variables": ["In/Long", "In/Empty"], "n": 2})
    (one,) = activity.recent()
    assert (one["variables"], one["n"]) == ("In/Long, In/Empty", 2)


def test_it_is_bounded():
    activity = Activity(Clock())
    for number in range(2 * MAX_KEPT):
        activity.command(Message("t" * 10_000, b"x" * 100_000, retain=False))
        activity.line({"event": "e" * 10_000, "level": "info", "n": number, "timestamp": "t"})
        activity.values("s", [Change(Key(f"V{n}"), None, "v" * 1_000) for n in range(1_000)])
    kept = activity.recent()
    assert len(kept) == MAX_KEPT
    assert all(len(json.dumps(one)) < 20_000 for one in kept)


@pytest.mark.parametrize("payload", [b'"' * 4000, b'"passw' * 700, b'"a' * 2000, b'"p":"\\' * 700])
def test_no_payload_takes_long_to_be_shown(payload):
    """Whoever may publish could have it take as long as he likes otherwise."""
    for _ in range(20):
        told(payload)
