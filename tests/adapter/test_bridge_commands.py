"""Every command has exactly one answer, and its action is sent at most once."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
import pytest
import pytest_asyncio

from tests.adapter.bridge import Caller, Running, bridging, flags, onlooking
from tests.adapter.device import (
    Action,
    Answer,
    Call,
    Device,
    Fault,
    Part,
    Raw,
    Service,
    Variable,
    answer,
    new_udn,
    running,
)
from tests.adapter.mosquitto import mosquitto, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = f"commands-{new_udn()}"

RENDERING = (
    Action(
        "SetVolume",
        (
            "in InstanceID:A_ARG_TYPE_InstanceID",
            "in Channel:A_ARG_TYPE_Channel",
            "in DesiredVolume:Volume",
        ),
    ),
    Action("GetVolume", ("in InstanceID:A_ARG_TYPE_InstanceID", "out CurrentVolume:Volume")),
    Action("GetAll", ("ret Result:Loud", "out Volume:Volume", "out Name:Name", "out Real:Real")),
    Action("Next"),
    Action("GetNext"),
    Variable("Volume", "ui2", range=("0", "100", "1")),
    Variable("Loud", "boolean"),
    Variable("Name"),
    Variable("Real", "r8"),
    Variable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
    Variable("A_ARG_TYPE_Channel", evented=False, allowed=("Master", "LF")),
)


def player(name: str = NAME) -> Part:
    return Part(
        new_udn().upper(),
        name,
        (
            Service("RC", RENDERING, {"Volume": "10"}),
            Service(
                "Other",
                (
                    Action("Next"),
                    Action("A/B", ("in X:Text",)),
                    Action("GetA/B"),
                    Action("Say", ("in Text:Text",)),
                    Variable("Text"),
                ),
                service_id="urn:example-com:service:Other",
                service_type="urn:example-com:type:Odd:7",
            ),
        ),
    )


@dataclass
class World:
    device: Device
    second: Device
    caller: Caller
    bridge: Running
    port: int

    @property
    def udn(self) -> str:
        return self.device.udn

    async def call(self, **body: Any) -> Any:
        """Call an action of the first device; the answer is the only one."""
        return await self.caller.send(f"{self.udn}/call", body, on=f"{self.udn}/response")

    async def raw(self, payload: bytes | str, **more: Any) -> Any:
        return await self.caller.send(
            f"{self.udn}/call", payload, on=f"{self.udn}/response", **more
        )

    async def cleared(self, topic: str) -> None:
        await until(lambda: f"upnp/{topic}" not in self.caller.onlooker.held)

    def script(self, action: str, told: Answer) -> None:
        async def play(_: Call) -> Answer:
            return told

        self.device.actions[action] = play

    def hold(self, device: Device, action: str) -> asyncio.Event:
        """Have an action wait until the event that is returned is set."""
        go_on = asyncio.Event()

        async def play(_: Call) -> Answer:
            await go_on.wait()
            return {}

        device.actions[action] = play
        return go_on


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    chosen = {"mqtt__response_topics": '["answers/+/here"]', "mqtt__max_payload": "20000"}
    async with (
        mosquitto(tmp_path_factory.mktemp("commands")) as broker,
        running(player()) as device,
        running(player()) as second,
        bridging(flags(broker.port, NAME, **chosen)) as bridge,
    ):
        with onlooking(broker.port) as onlooker:
            yield World(device, second, Caller(onlooker), bridge, broker.port)


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    for device in (world.device, world.second):
        device.actions.clear()
        device.calls.clear()
        device.most_under_way = 0


# What goes well


async def test_a_call_is_sent_once_with_its_arguments_and_answered(world: World) -> None:
    got = await world.call(
        callid="7f3a",
        service="RC",
        action="SetVolume",
        args={"DesiredVolume": 25, "Channel": "LF"},
        timeout=5,
    )
    assert got.pop("elapsed_ms") < 1000
    assert got == {
        "callid": "7f3a",
        "success": True,
        "service": "RC",
        "action": "SetVolume",
        "out": {},
    }
    (call,) = world.device.calls
    assert list(call.args.items()) == [
        ("InstanceID", "0"),
        ("Channel", "LF"),
        ("DesiredVolume", "25"),
    ]


async def test_out_arguments_are_typed_and_the_return_value_stands_beside(world: World) -> None:
    world.script(
        "GetAll", {"Result": "1", "Volume": "7", "Name": "7", "Real": "1.50", "Unlisted": "5"}
    )
    got = await world.call(action="GetAll")
    assert "callid" not in got
    assert got["out"] == {
        "Result": True,
        "Volume": 7,
        "Name": "7",
        "Real": 1.5,
        "Unlisted": "5",
    }
    assert got["retval"] is True


async def test_a_value_that_does_not_fit_its_type_is_passed_through(world: World) -> None:
    world.script("GetVolume", {"CurrentVolume": "NOT_IMPLEMENTED"})
    assert (await world.call(action="GetVolume"))["out"] == {"CurrentVolume": "NOT_IMPLEMENTED"}


@pytest.mark.parametrize(
    "callid", ["text", "", "ä/😀", 0, -1, 12345678901234567890, 1.5, "x" * 5000]
)
async def test_a_callid_is_echoed_as_it_came(world: World, callid: Any) -> None:
    got = await world.call(callid=callid, action="GetAll")
    assert got["callid"] == callid
    assert type(got["callid"]) is type(callid)


@pytest.mark.parametrize(
    "name", ["Other", "urn:example-com:service:Other", "urn:example-com:type:Odd:7"]
)
async def test_a_service_has_three_names(world: World, name: str) -> None:
    got = await world.call(service=name, action="Next")
    assert (got["success"], got["service"]) == (True, "Other")


async def test_the_topic_takes_every_spelling_of_the_udn(world: World) -> None:
    plain = world.udn
    for spelling in (plain, plain.lower(), f"uuid:{plain}", f"UUID:{plain.title()}"):
        got = await world.caller.send(
            f"{spelling}/call", {"action": "GetAll"}, on=f"{plain}/response"
        )
        assert got["success"], spelling


async def test_the_topic_of_an_action_takes_the_arguments_alone(world: World) -> None:
    got = await world.caller.send(
        f"{world.udn}/RC/action/SetVolume/call",
        {"DesiredVolume": "30", "callid": 5},
        on=f"{world.udn}/response",
    )
    assert (got["success"], got["callid"]) == (True, 5)
    assert world.device.calls[0].args["DesiredVolume"] == "30"
    for nothing in (b"", b"  ", b"{}"):
        got = await world.caller.send(
            f"{world.udn}/RC/action/GetAll/call", nothing, on=f"{world.udn}/response"
        )
        assert got["success"]


async def test_check_false_skips_range_and_allowed_values_but_no_types(world: World) -> None:
    body = {"action": "SetVolume", "args": {"DesiredVolume": 300, "Channel": "XY"}}
    assert (await world.call(**body))["code"] == "invalid_argument"
    assert (await world.call(**body, check=False))["success"]
    assert world.device.calls[0].args["DesiredVolume"] == "300"
    args = {"DesiredVolume": 70000}
    got = await world.call(action="SetVolume", args=args, check=False)
    assert (got["code"], got["argument"]) == ("invalid_argument", "DesiredVolume")


@pytest.mark.parametrize("text", ["<a>&amp;\"'</a>", "ä😀", " outer ", "line\nline\ttab", ""])
async def test_text_reaches_the_device_unchanged(world: World, text: str) -> None:
    assert (await world.call(action="Say", args={"Text": text}))["success"]
    assert world.device.calls[0].args["Text"] == text


# What is refused


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        '"text"',
        "17",
        "null",
        b"\xff\xfe",
        "{}",
        '{"action": 5}',
        '{"action": ""}',
        '{"action": "Next", "service": 5}',
        '{"action": "Next", "args": []}',
        '{"action": "GetAll", "timeout": "5"}',
        '{"action": "GetAll", "timeout": 0}',
        '{"action": "GetAll", "timeout": -1}',
        '{"action": "GetAll", "timeout": true}',
        '{"action": "GetAll", "timeout": NaN}',
        '{"action": "GetAll", "timeout": 1e999}',
        '{"action": "GetAll", "check": "no"}',
        '{"action": "GetAll", "callid": {}}',
        '{"action": "GetAll", "callid": true}',
        '{"action": "GetAll", "callid": null}',
        '{"action": "GetAll", "reply_to": 5}',
        "[" * 9000,
        '{"a":' * 3000,
        '{"action": "GetAll", "callid": "' + "x" * 21000 + '"}',
    ],
    ids=range(26),
)
async def test_what_is_no_command_is_a_bad_request(world: World, payload: bytes | str) -> None:
    got = await world.raw(payload)
    assert (got["success"], got["code"], got["outcome"]) == (False, "bad_request", "not_sent")
    assert got["error"]
    assert not world.device.calls


async def test_a_bad_request_is_answered_with_its_callid_where_it_has_one(world: World) -> None:
    got = await world.raw('{"callid": 4, "action": "GetAll", "reply_to": 7}')
    assert (got["code"], got["callid"]) == ("bad_request", 4)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"service": "Nowhere", "action": "Next"}, "unknown_service"),
        ({"service": "", "action": "Next"}, "unknown_service"),
        ({"service": "RC", "action": "Nothing"}, "unknown_action"),
        ({"service": "RC", "action": "next"}, "unknown_action"),
        ({"action": "Nothing"}, "unknown_action"),
        ({"action": "Next"}, "ambiguous_action"),
    ],
)
async def test_what_is_not_in_the_model_is_refused(
    world: World, body: dict[str, Any], code: str
) -> None:
    got = await world.call(**body, callid="c")
    assert (got["success"], got["code"], got["outcome"]) == (False, code, "not_sent")
    assert got["callid"] == "c"
    assert got["action"] == body["action"]
    assert not world.device.calls


async def test_a_device_that_nobody_knows_is_unknown(world: World) -> None:
    for udn in ("nobody", new_udn(), "a%2Fb", "%62ridge"):
        got = await world.caller.send(f"{udn}/call", {"action": "A"}, on=f"{udn}/response")
        assert (got["code"], got["outcome"]) == ("unknown_device", "not_sent")


@pytest.mark.parametrize(
    ("args", "argument"),
    [
        ({}, "DesiredVolume"),
        ({"DesiredVolume": 101}, "DesiredVolume"),
        ({"DesiredVolume": -1}, "DesiredVolume"),
        ({"DesiredVolume": 1.5}, "DesiredVolume"),
        ({"DesiredVolume": "loud"}, "DesiredVolume"),
        ({"DesiredVolume": None}, "DesiredVolume"),
        ({"DesiredVolume": [1]}, "DesiredVolume"),
        ({"DesiredVolume": True}, "DesiredVolume"),
        ({"DesiredVolume": 1, "Channel": "XY"}, "Channel"),
        ({"DesiredVolume": 1, "InstanceID": -1}, "InstanceID"),
        ({"DesiredVolume": 1, "desiredvolume": 1}, "desiredvolume"),
        ({"DesiredVolume": 1, "Extra": 1}, "Extra"),
    ],
)
async def test_a_wrong_argument_is_named_before_anything_is_sent(
    world: World, args: dict[str, Any], argument: str
) -> None:
    got = await world.call(service="RC", action="SetVolume", args=args)
    assert (got["code"], got["argument"]) == ("invalid_argument", argument)
    assert (got["outcome"], got["service"], got["action"]) == ("not_sent", "RC", "SetVolume")
    assert not world.device.calls


async def test_a_name_that_xml_cannot_carry_is_refused(world: World) -> None:
    got = await world.caller.send(
        f"{world.udn}/Other/action/A%2FB/call", {"X": "1"}, on=f"{world.udn}/response"
    )
    assert (got["code"], got["outcome"]) == ("invalid_argument", "not_sent")
    assert not world.device.calls


async def test_a_retained_command_is_not_carried_out_and_is_cleared(world: World) -> None:
    topic = f"upnp/{world.udn}/call"
    got = await world.caller.send(
        f"{world.udn}/call",
        {"callid": 1, "service": "RC", "action": "Next"},
        on=f"{world.udn}/response",
        retain=True,
    )
    assert (got["code"], got["outcome"]) == ("retained_command", "not_sent")
    await until(lambda: topic not in world.caller.onlooker.held)
    await world.caller.fence()
    assert not world.device.calls


async def test_a_command_without_a_payload_is_carried_out_after_a_retained_one(
    world: World,
) -> None:
    command = f"{world.udn}/RC/action/Next/call"
    got = await world.caller.send(command, b"{}", on=f"{world.udn}/response", retain=True)
    assert got["code"] == "retained_command"
    await until(lambda: f"upnp/{command}" not in world.caller.onlooker.held)
    for _ in range(2):
        assert (await world.caller.send(command, b"", on=f"{world.udn}/response"))["success"]
    assert len(world.device.calls) == 2


async def test_what_is_a_command_by_its_form_alone_is_left_where_it_stands(world: World) -> None:
    topics = ("reply/call", "bridge/call", "reply/a/action/b/call", "bridge/a/action/b/call")
    for topic in topics:
        world.caller.onlooker.publish(f"upnp/{topic}", b"{}", retain=True)
    await world.caller.fence()
    world.caller.onlooker.settle()
    for topic in topics:
        assert f"upnp/{topic}" in world.caller.onlooker.held
        world.caller.onlooker.publish(f"upnp/{topic}", b"", retain=True)


async def test_a_retained_verb_is_cleared_too(world: World) -> None:
    for who in ("main", "all"):
        topic = f"bridge/{who}/request/search"
        got = await world.caller.send(topic, b"{}", on="bridge/main/response/search", retain=True)
        assert got["code"] == "retained_command"
        await world.cleared(topic)


# What the device does wrong


async def test_a_fault_has_the_devices_own_code(world: World) -> None:
    for status in (500, 200, 400):
        world.script("GetAll", Fault(701, "Transition not available", status))
        got = await world.call(action="GetAll", callid="x")
        got.pop("elapsed_ms")
        assert got == {
            "callid": "x",
            "success": False,
            "error": "Transition not available",
            "code": "upnp_fault",
            "upnp_code": 701,
            "outcome": "rejected",
            "service": "RC",
            "action": "GetAll",
        }


async def test_a_fault_without_a_number_is_one_all_the_same(world: World) -> None:
    world.script("GetAll", Fault("Broken", "No"))
    got = await world.call(action="GetAll")
    assert (got["code"], got["error"]) == ("upnp_fault", "No")
    assert "upnp_code" not in got


@pytest.mark.parametrize(
    ("wire", "code", "outcome"),
    [
        (answer(500), "http_error", "rejected"),
        (answer(404, b"<html>no</html>"), "http_error", "rejected"),
        (answer(200, b"nonsense"), "bad_response", "unknown"),
        (answer(200), "bad_response", "unknown"),
        (answer(200, b"<html/>"), "bad_response", "unknown"),
        (b"no HTTP at all\r\n\r\n", "bad_response", "unknown"),
        (b"", "bad_response", "unknown"),
        (b"HTTP/1.1 200 OK\r\nCONTENT-LE", "bad_response", "unknown"),
    ],
    ids=range(8),
)
async def test_a_broken_answer_is_told_of_and_the_action_was_sent_once(
    world: World, wire: bytes, code: str, outcome: str
) -> None:
    world.script("SetVolume", Raw(wire))
    got = await world.call(action="SetVolume", args={"DesiredVolume": 1})
    assert (got["code"], got["outcome"]) == (code, outcome)
    assert len(world.device.calls) == 1


async def test_a_redirection_is_not_followed(world: World) -> None:
    there = f"http://{world.second.address}:{world.second.port}/0/control"
    world.script("GetAll", Raw(answer(307, b"", f"LOCATION: {there}\r\n")))
    assert (await world.call(action="GetAll"))["code"] == "http_error"
    assert not world.second.calls


async def test_a_device_that_is_slow_is_given_up_with_its_outcome_unknown(world: World) -> None:
    go_on = world.hold(world.device, "SetVolume")
    got = await world.call(action="SetVolume", args={"DesiredVolume": 1}, timeout=0.2)
    assert (got["code"], got["outcome"]) == ("timeout", "unknown")
    assert 150 < got["elapsed_ms"] < 1500
    assert len(world.device.calls) == 1
    go_on.set()


async def test_a_device_whose_server_is_gone_is_unreachable_then_offline(world: World) -> None:
    held = world.caller.onlooker.held
    topic = f"upnp/{world.second.udn}/availability"
    await world.second.refuse()
    try:
        got = await world.caller.send(
            f"{world.second.udn}/call", {"action": "GetAll"}, on=f"{world.second.udn}/response"
        )
        assert (got["code"], got["outcome"]) == ("unreachable", "not_sent")
        await until(lambda: held[topic] == b"offline")
        got = await world.caller.send(
            f"{world.second.udn}/call", {"action": "GetAll"}, on=f"{world.second.udn}/response"
        )
        assert (got["code"], got["outcome"]) == ("device_offline", "not_sent")
    finally:
        await world.second.serve()
        world.second.alive()
    await until(lambda: held[topic] == b"online")
    got = await world.caller.send(
        f"{world.second.udn}/call", {"action": "GetAll"}, on=f"{world.second.udn}/response"
    )
    assert got["success"]


# Order


async def test_calls_to_one_device_run_one_at_a_time_in_order(world: World) -> None:
    async def play(_: Call) -> Answer:
        await asyncio.sleep(0.01)
        return {}

    world.device.actions["SetVolume"] = play
    ids = [world.caller.onlooker.new_id() for _ in range(20)]
    mark = len(world.caller.onlooker.messages)
    for volume, callid in enumerate(ids):
        body = {"callid": callid, "action": "SetVolume", "args": {"DesiredVolume": volume}}
        world.caller.onlooker.publish(f"upnp/{world.udn}/call", body)
    for callid in ids:
        assert (await world.caller.answer(callid))["success"]
    sent = [call.args["DesiredVolume"] for call in world.device.calls]
    assert sent == [str(volume) for volume in range(20)]
    assert world.device.most_under_way == 1
    answers = world.caller.onlooker.since(mark, f"{world.udn}/response")
    answered = [one.json["callid"] for one in answers]
    assert answered == ids


async def test_devices_run_side_by_side(world: World) -> None:
    go_on = world.hold(world.device, "GetAll")
    callid = world.caller.onlooker.new_id()
    body = {"callid": callid, "action": "GetAll"}
    world.caller.onlooker.publish(f"upnp/{world.udn}/call", body)
    await until(lambda: world.device.calls)
    got = await world.caller.send(
        f"{world.second.udn}/call", {"action": "GetAll"}, on=f"{world.second.udn}/response"
    )
    assert got["success"]
    go_on.set()
    assert (await world.caller.answer(callid))["success"]


async def test_a_full_queue_is_busy_and_every_call_is_answered(world: World) -> None:
    go_on = world.hold(world.device, "GetAll")
    mark = len(world.caller.onlooker.messages)
    for callid in range(50):
        world.caller.onlooker.publish(
            f"upnp/{world.udn}/call", {"callid": callid, "action": "GetAll"}
        )
    topic = f"{world.udn}/response"
    await until(lambda: len(world.caller.onlooker.since(mark, topic)) >= 10)
    refused = [one.json for one in world.caller.onlooker.since(mark, topic)]
    assert {(one["code"], one["outcome"]) for one in refused} == {("busy", "not_sent")}
    go_on.set()
    await until(lambda: len(world.caller.onlooker.since(mark, topic)) >= 50)
    await world.caller.fence()
    answers = [one.json for one in world.caller.onlooker.since(mark, topic)]
    assert sorted(one["callid"] for one in answers) == list(range(50))
    assert len(world.device.calls) == sum(one["success"] for one in answers) <= 33


# Where answers go


async def test_answers_carry_content_type_and_expiry(world: World) -> None:
    callid = world.caller.onlooker.new_id()
    await world.call(callid=callid, action="GetAll")
    (one,) = [
        m
        for m in world.caller.onlooker.messages
        if callid.encode() in m.payload and m.topic.endswith("/response")
    ]
    assert one.properties.ContentType == "application/json"
    assert 55 <= one.properties.MessageExpiryInterval <= 60


@pytest.mark.parametrize("topic", ["upnp/reply/me", "upnp/reply/a/b/c", "answers/me/here"])
async def test_a_response_topic_gets_the_answer_too(world: World, topic: str) -> None:
    correlation = bytes(range(256))
    for body, more in (
        ({"action": "GetAll"}, {"response_topic": topic, "correlation": correlation}),
        ({"action": "GetAll", "reply_to": topic}, {"correlation": correlation}),
        ({"action": "GetAll", "reply_to": topic}, {"response_topic": topic}),
        ({"action": "Nope"}, {"response_topic": topic, "correlation": b"\0"}),
    ):
        mark = len(world.caller.onlooker.messages)
        got = await world.raw(json.dumps(body), **more)
        (one,) = world.caller.onlooker.since(mark, topic)
        assert one.json == got
        assert getattr(one.properties, "CorrelationData", None) == more.get("correlation")
        assert one.properties.ContentType == "application/json"
        assert not one.retain


@pytest.mark.parametrize(
    "topic",
    [
        "elsewhere/me",
        "upnp/reply",
        "upnp/reply/",
        "upnp/bridge/main/state",
        "upnp/other/call",
        "answers/a/b/here",
        "answers/me/here/more",
        "upnp/replying/x",
    ],
)
async def test_a_response_topic_elsewhere_gets_nothing(world: World, topic: str) -> None:
    mark = len(world.caller.onlooker.messages)
    assert (await world.raw('{"action": "GetAll"}', response_topic=topic))["success"]
    body = {"action": "GetAll", "reply_to": topic}
    assert (await world.raw(json.dumps(body)))["success"]
    assert not [one for one in world.caller.onlooker.since(mark) if one.topic == topic]


@pytest.mark.parametrize("topic", ["upnp/reply/+", "upnp/reply/#", "$SYS/x", "upnp/reply/a\0b"])
async def test_a_reply_to_that_is_no_topic_harms_nobody(world: World, topic: str) -> None:
    assert (await world.raw(json.dumps({"action": "GetAll", "reply_to": topic})))["success"]
    assert world.bridge.bridge.online.is_set()


async def test_a_caller_with_mqtt_3_gets_its_answer_by_reply_to(world: World) -> None:
    with onlooking(world.port, protocol=paho.MQTTv311) as old:
        caller = Caller(old)
        body = {"action": "GetAll", "reply_to": "upnp/reply/old", "callid": 3}
        mark = len(old.messages)
        got = await caller.send(f"{world.udn}/call", body, on=f"{world.udn}/response")
        assert (got["success"], got["callid"]) == (True, 3)
        assert [one.json for one in old.since(mark, "upnp/reply/old")] == [got]


# Verbs


async def verb(world: World, name: str, body: dict[str, Any], who: str = "main") -> Any:
    return await world.caller.send(
        f"bridge/{who}/request/{name}", body, on=f"bridge/main/response/{name}", limit_s=15
    )


async def test_each_verb_answers(world: World) -> None:
    for name, body in (
        ("health", {}),
        ("diagnostics", {}),
        ("search", {}),
        ("log_level", {"level": "info"}),
        ("announce", {"ids": [world.udn]}),
        ("announce", {}),
        ("refresh", {"id": world.udn}),
        ("add", {"location": world.device.location}),
    ):
        got = await verb(world, name, {**body, "callid": 9})
        assert (got["success"], got["callid"]) == (True, 9), (name, got)
        assert "data" in got


async def test_all_instances_hear_the_verbs_for_all(world: World) -> None:
    assert (await verb(world, "health", {"callid": 1}, who="all"))["success"]


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("make_coffee", {}, "unknown_verb"),
        ("log_level", {"level": "loud"}, "bad_request"),
        ("log_level", {}, "bad_request"),
        ("refresh", {}, "bad_request"),
        ("refresh", {"id": "nobody"}, "unknown_device"),
        ("forget", {"id": "nobody"}, "unknown_device"),
        ("forget", {"id": 5}, "bad_request"),
        ("announce", {"ids": "x"}, "bad_request"),
        ("announce", {"ids": [5]}, "bad_request"),
        ("announce", {"ids": ["nobody"]}, "unknown_device"),
        ("add", {"location": ""}, "bad_request"),
        ("add", {"location": "ftp://x"}, None),
        ("add", {"location": "http://127.0.0.1:1/x"}, "unreachable"),
    ],
)
async def test_a_wrong_verb_is_refused(
    world: World, name: str, body: dict[str, Any], code: str | None
) -> None:
    got = await verb(world, name, {**body, "callid": "v"})
    assert (got["success"], got["callid"]) == (False, "v")
    assert got["error"]
    assert code in (None, got["code"])


async def test_announce_publishes_the_component_and_what_is_below_it(world: World) -> None:
    own = f"{world.udn}/RC/action/SetVolume"
    mark = len(world.caller.onlooker.messages)
    got = await verb(world, "announce", {"ids": [own]})
    topics = [one.topic for one in world.caller.onlooker.since(mark) if one.retain]
    assert sorted(topics) == sorted(
        [
            f"upnp/{own}",
            *(f"upnp/{own}/argument/{a}" for a in ("InstanceID", "Channel", "DesiredVolume")),
        ]
    )
    assert got["data"] == {"topics": 4}


async def test_nothing_secret_is_in_diagnostics(world: World) -> None:
    text = json.dumps(await verb(world, "diagnostics", {}))
    assert "password" in text
    assert "***" not in text


# What nobody would send


@pytest.mark.parametrize(
    "payload",
    [
        r'{"action": "GetAll", "callid": "\ud800"}',
        r'{"action": "\ud800\u0000", "callid": 1}',
        r'{"action": "GetAll", "service": "\udfff"}',
        r'{"action": "Say", "args": {"Text": "\ud800"}}',
        r'{"action": "Say", "args": {"Text": "\u0000"}}',
        r'{"action": "Say", "args": {"Te\u0000xt": "x"}}',
        r'{"action": "Say", "args": {"": ""}}',
        '{"action": "SetVolume", "args": {"DesiredVolume": ' + "9" * 4000 + "}}",
        '{"action": "SetVolume", "args": {"DesiredVolume": ' + "9" * 5000 + "}}",
        '{"action": "SetVolume", "args": {"DesiredVolume": 1e308}}',
        '{"action": "SetVolume", "args": {"DesiredVolume": "' + "9" * 9000 + '"}}',
        '{"action": "SetVolume", "args": {"DesiredVolume": "٣"}}',
        '{"action": "' + "x" * 9000 + '"}',
        '{"action": "GetAll", "service": "' + "x" * 9000 + '"}',
        '{"action": "GetAll", "callid": ' + "9" * 4000 + "}",
        '{"action": "GetAll", "timeout": ' + "9" * 4000 + "}",
        '{"action": "GetAll", "timeout": 1e-300}',
        '{"action": "GetAll", "action": "Nope"}',
        '{"action": "GetAll", "reply_to": ""}',
        '{"action": "GetAll", "reply_to": "' + "upnp/reply/" + "x" * 9000 + '"}',
        '{"action": "GetAll", "reply_to": "upnp/reply/' + "x/" * 300 + '"}',
        r'{"action": "GetAll", "reply_to": "upnp/reply/\ud800"}',
        r'{"action": "GetAll", "reply_to": "upnp/reply/\uffff"}',
    ],
    ids=range(23),
)
async def test_odd_commands_have_one_answer_too(world: World, payload: str) -> None:
    got = await world.raw(payload)
    assert isinstance(got["success"], bool)
    assert world.bridge.bridge.online.is_set()


@pytest.mark.parametrize(
    "device", ["", " ", "%", "%FF", "%2F", "%00", "uuid:", "*", "x" * 30_000, "ä😀", "UUID:%"]
)
async def test_odd_device_names_have_one_answer_too(world: World, device: str) -> None:
    body = {"action": "GetAll"}
    got = await world.caller.send(f"{device}/call", body, on=f"{device}/response")
    assert got["code"] == "unknown_device"


async def test_a_name_with_no_room_for_its_answer_harms_nobody(world: World) -> None:
    for length in range(65_515, 65_526, 5):
        world.caller.onlooker.publish(f"upnp/{'x' * length}/call", {"action": "GetAll"})
    await world.caller.fence()
    assert (await world.call(action="GetAll"))["success"]
    assert world.bridge.bridge.online.is_set()


async def test_an_odd_verb_has_one_answer_too(world: World) -> None:
    for name in ("", " ", "x" * 5000, "__init__", "%2F"):
        got = await verb(world, name, {})
        assert got["code"] == "unknown_verb"


async def test_a_flood_of_commands_is_answered_one_by_one(world: World) -> None:
    mark = len(world.caller.onlooker.messages)
    for callid in range(500):
        world.caller.onlooker.publish(
            f"upnp/{world.udn}/call", {"callid": callid, "action": "Nope"}
        )
    await world.caller.fence()
    answers = world.caller.onlooker.since(mark, f"{world.udn}/response")
    assert [one.json["callid"] for one in answers] == list(range(500))


@pytest.mark.parametrize("form", ["uuid:{}", "UUID:{}", "{}", "uuid:UUID:{}", "uuid%3A{}"])
@pytest.mark.parametrize("lower", [True, False])
async def test_a_device_is_reached_by_every_spelling_of_its_udn(world, form, lower):
    named = form.format(world.udn.lower() if lower else world.udn)
    on = f"{world.udn}/response"
    at = f"{named}/RC"
    for topic, payload in (
        (f"{named}/call", {"action": "GetVolume"}),
        (f"{at}/action/GetVolume/call", {}),
        (f"{at}/value/Volume/get", {}),
    ):
        answer = await world.caller.send(topic, payload, on=on)
        assert answer["success"], answer
    for verb, told in (("announce", {"ids": [named, at]}), ("refresh", {"id": at})):
        answer = await world.caller.send(
            f"bridge/main/request/{verb}", told, on=f"bridge/main/response/{verb}"
        )
        assert answer["success"], answer


async def test_no_text_of_a_caller_is_answered_as_a_fault_of_our_own(world):
    for body in (
        {"service": "Other", "action": "Say", "args": {"Text": "\ud800"}},
        {"service": "Other", "action": "Say", "args": {"Text": "\0"}},
        {"service": "Other", "action": "Say", "args": {"Text": "\x1f\ufffe"}},
        {"service": "Other", "action": "Say", "args": {"Text\ud800": "x"}},
        {"service": "Other\ud800", "action": "Say"},
        {"service": "Other", "action": "Say\udc00\0"},
        {"service": "Other", "action": "Say", "args": {"Text": "x" * 10}, "reply_to": "\ud800"},
        {"callid": "\ud83d", "service": "Other", "action": "Say", "args": {"Text": "\U0001f600"}},
    ):
        answer = await world.raw(json.dumps(body))
        assert answer.get("code") in (None, "invalid_argument", "unknown_service", "unknown_action")
        assert answer["success"] is ("code" not in answer), answer
    for verb, request in (
        ("add", {"location": "http://\ud800/\0"}),
        ("add", {"location": "http://192.0.2.1\udc00:80/"}),
        ("refresh", {"id": "\ud800/\0"}),
        ("forget", {"id": "\ud800"}),
        ("announce", {"ids": ["\ud800\0"]}),
        ("log_level", {"level": "\ud800"}),
        ("diagnostics", {"id": "\ud800"}),
    ):
        answer = await world.caller.send(
            f"bridge/main/request/{verb}", json.dumps(request), on=f"bridge/main/response/{verb}"
        )
        assert (answer["success"], answer["code"] == "internal") == (False, False), answer
