"""Values through the whole bridge: set, asked for by callers, and asked for regularly."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import paho.mqtt.client as paho
import pytest
import pytest_asyncio

from bridge.tree.instances import highest
from bridge.upnp.gena import subscriber as gena
from tests.adapter.bridge import Caller, Onlooker, Running, bridging, flags, onlooking
from tests.adapter.device import (
    Action,
    Answer,
    Call,
    Device,
    Fault,
    Part,
    Service,
    Subscriber,
    Variable,
    last_change,
    new_udn,
)
from tests.adapter.mosquitto import PATIENCE_S, mosquitto, until
from tests.adapter.mosquitto import Running as Broker

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = f"values-{new_udn()}"
POLLED = f"polled-{new_udn()}"
INTERVAL_S = 0.5
CHOICE = ("in InstanceID:A_ARG_TYPE_InstanceID", "in Channel:A_ARG_TYPE_Channel")
SPEAKERS = (
    Variable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
    Variable("A_ARG_TYPE_Channel", evented=False, allowed=("Master", "LF")),
)

RENDERING = Service(
    "RenderingControl",
    (
        Action("GetVolumeDBRange", (*CHOICE, "out Min:VolumeDB", "out Max:VolumeDB")),
        Action("SetVolume", (*CHOICE, "in DesiredVolume:Volume")),
        Action("GetVolume", (*CHOICE, "out CurrentVolume:Volume")),
        Action("SetMute", (*CHOICE, "in DesiredMute:Mute")),
        Variable("LastChange"),
        Variable("Volume", "ui2", evented=False, range=("0", "50", "1")),
        Variable("VolumeDB", "i2", evented=False),
        Variable("Mute", "boolean", evented=False),
        *SPEAKERS,
    ),
)
TRANSPORT = Service(
    "AVTransport",
    (
        Action(
            "GetPositionInfo",
            ("in InstanceID:A_ARG_TYPE_InstanceID", "out RelTime:RelativeTimePosition"),
        ),
        Action(
            "GetTransportInfo",
            ("in InstanceID:A_ARG_TYPE_InstanceID", "out CurrentTransportState:TransportState"),
        ),
        Variable("LastChange"),
        Variable("TransportState", evented=False),
        Variable("RelativeTimePosition", evented=False),
        Variable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
    ),
)


def power(**more: Any) -> Service:
    return Service(
        "SwitchPower",
        (
            Action("SetTarget", ("in newTargetValue:Target",)),
            Action("GetTarget", ("out RetTargetValue:Target",)),
            Action("GetStatus", ("out ResultStatus:Status",)),
            Variable("Target", "boolean", evented=False),
            Variable("Status", "boolean"),
        ),
        **{"initial": {"Status": "0"}, **more},
    )


def copy(service: Service, initial: Mapping[str, str] | None = None) -> Service:
    return Service(service.name, service.members, initial or {})


def player(name: str) -> Part:
    texts = (
        Action("SetText", ("in X:A/B",)),
        Action("GetText", ("out Y:A/B", "out Z:Other")),
        Action("SetTwo", ("in One:Two", "in Other:Other")),
        Action("Get", ("out Value:get",)),
        Variable("A/B", evented=False),
        Variable("Other", "ui2", evented=False),
        Variable("Two", evented=False),
        Variable("get", "r4", evented=False),
    )
    return Part(
        new_udn().upper(),
        name,
        (
            copy(RENDERING, {"LastChange": volume_is(10)}),
            power(),
            Service("Texts", texts, {"Gone": "1"}),
        ),
        (Part(new_udn(), "inside", (power(initial={"Status": "1"}),)),),
    )


def within_0(inside: str) -> str:
    return last_change(f'<InstanceID val="0">{inside}</InstanceID>')


def volume_is(number: int) -> str:
    return within_0(f'<Volume channel="Master" val="{number}"/>')


@dataclass
class World:
    device: Device
    caller: Caller
    bridge: Running
    broker: Broker

    @property
    def udn(self) -> str:
        return self.device.udn

    @property
    def onlooker(self) -> Onlooker:
        return self.caller.onlooker

    @property
    def held(self) -> dict[str, bytes]:
        return self.onlooker.held

    def text(self, own: str) -> str | None:
        payload = self.held.get(f"{self.caller.base}/{self.udn}/{own}")
        return None if payload is None else payload.decode()

    def document(self, own: str) -> Any:
        return json.loads(self.text(own) or "null")

    async def holds(self, own: str, text: str | None, limit_s: float = PATIENCE_S) -> None:
        try:
            await until(lambda: self.text(own) == text, limit_s)
        except TimeoutError:
            assert self.text(own) == text

    async def set(self, own: str, payload: bytes | str, **more: Any) -> Any:
        """Set a value of the device; the answer is the only one."""
        topic = f"{self.udn}/{own}/set"
        return await self.caller.send(topic, payload, on=f"{self.udn}/response", **more)

    async def get(self, own: str, payload: bytes | str = b"", **more: Any) -> Any:
        """Ask for a value of the device; the answer is the only one."""
        topic = f"{self.udn}/{own}/get"
        return await self.caller.send(topic, payload, on=f"{self.udn}/response", **more)

    def script(self, action: str, told: Answer) -> None:
        async def play(_: Call) -> Answer:
            return told

        self.device.actions[action] = play

    def written(self, mark: int) -> list[str]:
        """Return what was published for keeps of the device since then, without the base."""
        start = f"{self.caller.base}/{self.udn}"
        return [
            one.topic.removeprefix(f"{start}/")
            for one in self.onlooker.messages[mark:]
            if one.retain and one.topic.startswith(start)
        ]

    def calls(self, *names: str) -> list[Call]:
        return [one for one in self.device.calls if one.action in names]


# Set and get


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with mosquitto(tmp_path_factory.mktemp("values")) as one:
        yield one


@asynccontextmanager
async def alive(device: Device) -> AsyncIterator[Device]:
    await device.start()
    try:
        yield device
    finally:
        await device.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(broker: Broker) -> AsyncIterator[World]:
    chosen = {"upnp__poll_interval": "0", "mqtt__max_payload": "5000"}
    async with (
        alive(Device(player(NAME))) as device,
        bridging(flags(broker.port, NAME, **chosen)) as bridge,
    ):
        with onlooking(broker.port) as onlooker:
            found = World(device, Caller(onlooker), bridge, broker)
            await found.caller.fence()
            yield found


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    if "world" in request.fixturenames:
        device = request.getfixturevalue("world").device
        device.actions.clear()
        device.calls.clear()
        device.most_under_way = 0


async def test_a_value_is_set_by_its_text_and_answered_like_a_call(world: World) -> None:
    got = await world.set("RenderingControl/value/Volume/0/Master", "25")
    assert got.pop("elapsed_ms") < 1000
    assert got == {
        "success": True,
        "service": "RenderingControl",
        "action": "SetVolume",
        "variable": "Volume",
        "out": {},
    }
    (call,) = world.device.calls
    assert list(call.args.items()) == [
        ("InstanceID", "0"),
        ("Channel", "Master"),
        ("DesiredVolume", "25"),
    ]


@pytest.mark.parametrize(
    ("own", "payload", "action", "args"),
    [
        ("RenderingControl/value/Volume", " 7.0 ", "SetVolume", ("0", "Master", "7")),
        ("RenderingControl/value/Volume/3", "7", "SetVolume", ("3", "Master", "7")),
        ("RenderingControl/value/Volume/0/LF", "7", "SetVolume", ("0", "LF", "7")),
        ("RenderingControl/value/Mute/0/Master", "ON", "SetMute", ("0", "Master", "1")),
        ("RenderingControl/value/Mute", "false", "SetMute", ("0", "Master", "0")),
        ("SwitchPower/value/Target", "true", "SetTarget", ("1",)),
        ("SwitchPower/value/Status", "OFF", "SetTarget", ("0",)),
        ("Texts/value/A%2FB", '{"a": "<ä>"} ', "SetText", ('{"a": "<ä>"} ',)),
        ("Texts/value/A%2FB", "", "SetText", ("",)),
    ],
)
async def test_every_topic_of_a_value_can_be_set(
    world: World, own: str, payload: str, action: str, args: tuple[str, ...]
) -> None:
    got = await world.set(own, payload)
    assert (got["success"], got["action"]) == (True, action)
    assert got["variable"] in own.replace("%2F", "/")
    (call,) = world.device.calls
    assert (call.action, tuple(call.args.values())) == (action, args)


async def test_what_is_set_becomes_the_value_when_the_device_says_so(world: World) -> None:
    before = world.text("RenderingControl/value/Volume/0/Master")
    assert (await world.set("RenderingControl/value/Volume/0/Master", "33"))["success"]
    assert world.text("RenderingControl/value/Volume/0/Master") == before
    await world.device.event("RenderingControl", {"LastChange": volume_is(33)})
    await world.holds("RenderingControl/value/Volume/0/Master", "33")


async def test_a_value_that_is_asked_for_is_answered_and_published(world: World) -> None:
    world.script("GetText", {"Y": "first", "Z": "9"})
    mark = len(world.onlooker.messages)
    got = await world.get("Texts/value/A%2FB")
    assert got.pop("elapsed_ms") < 1000
    assert got == {
        "success": True,
        "service": "Texts",
        "action": "GetText",
        "variable": "A/B",
        "value": "first",
        "out": {"Y": "first", "Z": 9},
    }
    written = [own for own in world.written(mark) if own.startswith("Texts/")]
    assert written == ["Texts/value/A%2FB", "Texts/state"]
    assert world.text("Texts/value/A%2FB") == "first"
    assert world.document("Texts/state")["values"] == {"Gone": "1", "A/B": "first"}

    mark = len(world.onlooker.messages)
    assert (await world.get("Texts/value/A%2FB"))["value"] == "first"
    assert world.written(mark) == []
    world.script("GetText", {"Y": "", "Z": "9"})
    assert (await world.get("Texts/value/A%2FB"))["value"] == ""
    assert world.text("Texts/value/A%2FB") is None
    assert world.document("Texts/state")["values"]["A/B"] == ""


async def test_a_value_of_an_instance_and_a_channel_is_published_there(world: World) -> None:
    world.script("GetVolume", {"CurrentVolume": "044"})
    for own, sent in (("Volume/2/LF", ("2", "LF")), ("Volume/02/Master", ("2", "Master"))):
        got = await world.get(f"RenderingControl/value/{own}")
        assert (got["value"], got["variable"]) == (44, "Volume")
        assert tuple(world.device.calls[-1].args.values()) == sent
    assert world.text("RenderingControl/value/Volume/2/LF") == "44"
    assert world.text("RenderingControl/value/Volume/2/Master") == "44"
    assert world.text("RenderingControl/value/Volume/02/Master") is None
    world.script("GetVolume", {"CurrentVolume": "12"})
    assert (await world.get("RenderingControl/value/Volume"))["value"] == 12
    assert world.text("RenderingControl/value/Volume/0/Master") == "12"
    assert world.document("RenderingControl/state")["instances"]["0"]["Volume"] == {"Master": 12}


async def test_a_variable_may_have_the_name_of_a_command(world: World) -> None:
    world.script("Get", {"Value": "1.50"})
    assert (await world.get("Texts/value/get"))["value"] == 1.5
    assert world.text("Texts/value/get") == "1.5"


async def test_what_the_device_does_not_tell_is_no_value(world: World) -> None:
    mark = len(world.onlooker.messages)
    got = await world.get("SwitchPower/value/Target")
    assert (got["success"], got["out"], got["variable"]) == (True, {}, "Target")
    assert "value" not in got
    world.script("GetTarget", Fault(501, "Action Failed"))
    got = await world.get("SwitchPower/value/Target")
    assert (got["code"], got["upnp_code"], got["variable"]) == ("upnp_fault", 501, "Target")
    assert world.written(mark) == []


async def test_a_value_that_does_not_fit_its_type_is_passed_through(world: World) -> None:
    world.script("GetTarget", {"RetTargetValue": "NOT_IMPLEMENTED"})
    assert (await world.get("SwitchPower/value/Target"))["value"] == "NOT_IMPLEMENTED"
    world.script("GetTarget", {"RetTargetValue": "yes"})
    assert (await world.get("SwitchPower/value/Target"))["value"] is True
    assert world.text("SwitchPower/value/Target") == "true"


async def test_an_embedded_device_has_values_of_its_own(world: World) -> None:
    inner = world.device.root.parts[0].udn
    for spelling in (inner, inner.upper(), f"uuid:{inner}"):
        topic = f"{spelling}/SwitchPower/value/Status/set"
        got = await world.caller.send(topic, "ON", on=f"{inner}/response")
        assert got["success"], spelling
    world.script("GetStatus", {"ResultStatus": "0"})
    topic = f"{inner}/SwitchPower/value/Status/get"
    assert (await world.caller.send(topic, b"", on=f"{inner}/response"))["value"] is False
    assert world.held[f"upnp/{inner}/SwitchPower/value/Status"] == b"false"
    assert world.text("SwitchPower/value/Status") == "false"


@pytest.mark.parametrize(
    ("own", "payload", "code", "told"),
    [
        ("Nowhere/value/V", "1", "unknown_service", ("Nowhere", "V")),
        ("Texts/value/Nothing", "1", "unknown_variable", ("Texts", "Nothing")),
        ("Texts/value/Two", "1", "unknown_action", ("Texts", "Two")),
        ("Texts/value/Other", "1", "unknown_action", ("Texts", "Other")),
        ("Texts/value/A%2FB/0", "1", "invalid_argument", ("Texts", "A/B")),
        ("RenderingControl/value/Volume", "51", "invalid_argument", ("RenderingControl", "Volume")),
        ("RenderingControl/value/Volume", "x", "invalid_argument", ("RenderingControl", "Volume")),
        ("RenderingControl/value/Volume", "", "invalid_argument", ("RenderingControl", "Volume")),
        ("RenderingControl/value/Volume/0/RF", "1", "invalid_argument", None),
        ("SwitchPower/value/Status/0", "1", "invalid_argument", None),
        ("SwitchPower/value/Status", "maybe", "invalid_argument", None),
        ("Texts/value/A%2FB", b"\xff", "bad_request", None),
        ("Texts/value/A%2FB", "x" * 5001, "bad_request", None),
    ],
)
async def test_what_cannot_be_set_is_refused_and_nothing_is_sent(
    world: World, own: str, payload: bytes | str, code: str, told: tuple[str, str] | None
) -> None:
    got = await world.set(own, payload)
    assert (got["success"], got["code"], got["outcome"]) == (False, code, "not_sent")
    assert got["error"]
    if told:
        assert (got["service"], got["variable"]) == told
    assert not world.device.calls


@pytest.mark.parametrize(
    ("own", "payload", "code"),
    [
        ("Nowhere/value/V", "", "unknown_service"),
        ("Texts/value/Nothing", "", "unknown_variable"),
        ("Texts/value/Two", "", "unknown_action"),
        ("RenderingControl/value/Mute", "", "unknown_action"),
        ("RenderingControl/value/VolumeDB", "", "unknown_action"),
        ("SwitchPower/value/Status/0", "", "invalid_argument"),
        ("RenderingControl/value/Volume/x", "", "invalid_argument"),
        ("RenderingControl/value/Volume", "25", "bad_request"),
        ("RenderingControl/value/Volume", '{"callid":[]}', "bad_request"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    world: World, own: str, payload: str, code: str
) -> None:
    got = await world.get(own, payload)
    assert (got["success"], got["code"], got["outcome"]) == (False, code, "not_sent")
    assert not world.device.calls


async def test_a_device_that_nobody_knows_is_unknown(world: World) -> None:
    for verb in ("set", "get"):
        topic = f"nobody/S/value/V/{verb}"
        got = await world.caller.send(topic, b"", on="nobody/response")
        assert (got["code"], got["service"], got["variable"]) == ("unknown_device", "S", "V")


@pytest.mark.parametrize("verb", ["set", "get"])
async def test_a_retained_command_is_refused_and_cleared(world: World, verb: str) -> None:
    own = f"{world.udn}/RenderingControl/value/Volume/0/Master/{verb}"
    got = await world.caller.send(own, b"25", on=f"{world.udn}/response", retain=True)
    assert (got["code"], got["outcome"]) == ("retained_command", "not_sent")
    await until(lambda: f"upnp/{own}" not in world.held)
    assert not world.device.calls


async def test_what_has_too_many_levels_is_no_command(world: World) -> None:
    mark = len(world.onlooker.messages)
    for own in ("value/set", "value/V/0/Master/more/set", "value/V/0/Master/more/get"):
        world.onlooker.publish(f"upnp/{world.udn}/Texts/{own}", b"1")
    await world.caller.fence()
    assert world.onlooker.since(mark, "/response") == []


async def test_a_fault_of_the_device_is_handed_on(world: World) -> None:
    world.script("SetVolume", Fault(402, "Invalid Args"))
    got = await world.set("RenderingControl/value/Volume", "1")
    assert (got["code"], got["upnp_code"], got["outcome"]) == ("upnp_fault", 402, "rejected")
    assert (got["action"], got["variable"]) == ("SetVolume", "Volume")


async def test_values_and_calls_stand_in_one_line(world: World) -> None:
    async def play(_: Call) -> Answer:
        await asyncio.sleep(0.01)
        return {}

    world.device.actions |= {"SetVolume": play, "GetVolume": play}
    mark, own = len(world.onlooker.messages), f"upnp/{world.udn}"
    for number in range(6):
        world.onlooker.publish(f"{own}/RenderingControl/value/Volume/set", str(number))
        world.onlooker.publish(f"{own}/RenderingControl/value/Volume/get", b"")
        world.onlooker.publish(f"{own}/call", {"action": "SetVolume", "args": {"DesiredVolume": 9}})
    await until(lambda: len(world.onlooker.since(mark, f"{world.udn}/response")) >= 18)
    await world.caller.fence()
    answers = [one.json for one in world.onlooker.since(mark, f"{world.udn}/response")]
    assert [one["success"] for one in answers] == [True] * 18
    sent = [one.args.get("DesiredVolume") for one in world.device.calls]
    assert sent == [one for number in range(6) for one in (str(number), None, "9")]
    assert world.device.most_under_way == 1


@pytest.mark.parametrize("verb", ["set", "get"])
async def test_a_response_topic_gets_the_answer_too(world: World, verb: str) -> None:
    correlation = bytes(range(256))
    for topic, code in (("RenderingControl", None), ("Nowhere", "unknown_service")):
        mark = len(world.onlooker.messages)
        send = world.set if verb == "set" else world.get
        payload = b"5" if verb == "set" else b""
        got = await send(
            f"{topic}/value/Volume",
            payload,
            response_topic="upnp/reply/me",
            correlation=correlation,
        )
        assert got.get("code") == code
        (one,) = world.onlooker.since(mark, "upnp/reply/me")
        assert one.json == got
        assert one.properties.CorrelationData == correlation
        assert one.properties.ContentType == "application/json"


async def test_a_question_may_have_a_callid_and_a_topic_for_its_answer(world: World) -> None:
    mark = len(world.onlooker.messages)
    body = json.dumps({"callid": "q", "reply_to": "upnp/reply/q", "more": 1})
    got = await world.get("RenderingControl/value/Volume", body)
    assert (got["success"], got["callid"]) == (True, "q")
    assert [one.json for one in world.onlooker.since(mark, "upnp/reply/q")] == [got]


async def test_callers_with_mqtt_3_set_and_ask_too(world: World) -> None:
    world.script("GetVolume", {"CurrentVolume": "19"})
    with onlooking(world.broker.port, protocol=paho.MQTTv311) as old:
        caller = Caller(old)
        topic, on = f"{world.udn}/RenderingControl/value/Volume", f"{world.udn}/response"
        assert (await caller.send(f"{topic}/set", "20", on=on))["success"]
        mark = len(old.messages)
        got = await caller.send(f"{topic}/get", {"reply_to": "upnp/reply/3", "callid": 3}, on=on)
        assert (got["value"], got["callid"]) == (19, 3)
        assert [one.json for one in old.since(mark, "upnp/reply/3")] == [got]
    assert [one.action for one in world.device.calls] == ["SetVolume", "GetVolume"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_read_only_and_either_protocol_of_the_broker(world: World, protocol: str) -> None:
    base = f"read/only{protocol[0]}"
    chosen = {
        "mqtt__base_topic": base,
        "mqtt__protocol": protocol,
        "read_only": "true",
        "upnp__poll_interval": "0",
    }
    world.script("GetVolume", {"CurrentVolume": "21"})
    async with bridging(flags(world.broker.port, NAME, **chosen)) as bridge:
        there = World(world.device, Caller(world.onlooker, base), bridge, world.broker)
        await there.caller.fence()
        got = await there.set("RenderingControl/value/Volume", "25")
        assert (got["code"], got["outcome"]) == ("denied", "not_sent")
        assert (got["action"], got["variable"]) == ("SetVolume", "Volume")
        assert not world.device.calls
        got = await there.get("RenderingControl/value/Volume/0/Master")
        assert (got["success"], got["value"]) == (True, 21)
        assert there.text("RenderingControl/value/Volume/0/Master") == "21"
        info = json.loads(there.held[f"{base}/bridge/main/info"])
        assert info["capabilities"]["commands"] == ["call", "set", "get"]


async def test_nothing_is_asked_by_itself_with_an_interval_of_0(world: World) -> None:
    assert world.bridge.bridge.devices.poller.questions == 0


# Asking regularly


class Quiet(Device):
    """A device one of whose services grants subscriptions and sends nothing."""

    async def _deliver(self, subscriber: Subscriber, properties: Mapping[str, str]) -> None:
        if subscriber.sid not in self.service("Silent").subscribers:
            await super()._deliver(subscriber, properties)


class Told:
    """What a device tells of itself when it is asked."""

    def __init__(self, device: Device) -> None:
        self.values: dict[str, str] = {}
        self.device = device
        for action, argument in (
            ("GetTotalBytesSent", "NewTotalBytesSent"),
            ("GetLevel", "Now"),
            ("GetMore", "Now"),
            ("GetPositionInfo", "RelTime"),
            ("GetTransportInfo", "CurrentTransportState"),
            ("GetVolume", "CurrentVolume"),
        ):
            device.actions[action] = self._answer(argument, action)

    def _answer(self, argument: str, action: str) -> Callable[[Call], Awaitable[Answer]]:
        async def play(call: Call) -> Answer:
            text = self.values.get(f"{call.service}.{action}", self.values.get(action))
            return Fault(401, "Invalid Action") if text is None else {argument: text}

        return play


def questioned(name: str, udn: str | None = None) -> Part:
    def level(service: str, **more: Any) -> Service:
        members = (Action("GetLevel", ("out Now:Level",)), Variable("Level", "ui2"))
        return Service(service, members, **more)

    return Part(
        udn or new_udn(),
        name,
        (
            Service(
                "WANCommonInterfaceConfig",
                (
                    Action("GetTotalBytesSent", ("out NewTotalBytesSent:TotalBytesSent",)),
                    Action("SetSomething", ("in X:TotalBytesSent",)),
                    Variable("TotalBytesSent", "ui4", evented=False),
                    Variable("PhysicalLinkStatus"),
                ),
                {"PhysicalLinkStatus": "Up"},
            ),
            level("Evented", initial={"Level": "1"}),
            level("Refused", refuses=503),
            level("Silent"),
            level("Eventless", evented=False),
            Service(
                "Plain",
                (
                    Action("GetMore", ("out Now:More",)),
                    Action("GetLevel", ("out Now:Level",)),
                    Variable("More", evented=False),
                    Variable("Level", evented=False),
                    Variable("Evented"),
                ),
                {"Evented": "e"},
            ),
            copy(TRANSPORT, {"LastChange": within_0('<TransportState val="STOPPED"/>')}),
            copy(RENDERING, {"LastChange": volume_is(10)}),
        ),
    )


@pytest.fixture(scope="module")
def _soon_silent() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        defaults = gena.Subscriber.__init__.__kwdefaults__
        assert defaults is not None
        patch.setitem(defaults, "silence_s", 0.5)
        yield


@dataclass
class Asked(World):
    told: Told

    async def asked(self, action: str, times: int = 1) -> None:
        """Wait until an action has been asked for so many times more, and all is published."""
        wanted = len(self.calls(action)) + times
        await until(lambda: len(self.calls(action)) >= wanted, PATIENCE_S)
        await asyncio.sleep(0.05)
        await self.caller.fence()


@asynccontextmanager
async def asking(
    device: Device, told: Told, broker: Broker, onlooker: Onlooker, **more: str
) -> AsyncIterator[Asked]:
    chosen = {"upnp__poll_interval": str(INTERVAL_S), **more}
    name = device.root.name
    async with bridging(flags(broker.port, name, **chosen)) as bridge:
        caller = Caller(onlooker, more.get("mqtt__base_topic", "upnp"))
        await caller.fence()
        yield Asked(device, caller, bridge, broker, told)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def polled(
    tmp_path_factory: pytest.TempPathFactory, _soon_silent: None
) -> AsyncIterator[Asked]:
    async with (
        mosquitto(tmp_path_factory.mktemp("polled")) as broker,
        alive(Quiet(questioned(POLLED))) as device,
    ):
        told = Told(device)
        told.values = {
            "GetTotalBytesSent": "1000",
            "GetLevel": "5",
            "GetPositionInfo": "0:00:01",
            "GetTransportInfo": "STOPPED",
            "Plain.GetMore": "more",
            "GetVolume": "10",
        }
        with onlooking(broker.port) as onlooker:
            async with asking(
                device, told, broker, onlooker, poll__variables='["Plain/More"]'
            ) as found:
                yield found


async def test_what_no_event_tells_becomes_a_value_and_follows(polled: Asked) -> None:
    own = "WANCommonInterfaceConfig/value/TotalBytesSent"
    await polled.holds(own, "1000")
    assert polled.text("WANCommonInterfaceConfig/value/PhysicalLinkStatus") == "Up"
    polled.told.values["GetTotalBytesSent"] = "2000"
    await polled.holds(own, "2000")
    await polled.caller.fence()
    values = polled.document("WANCommonInterfaceConfig/state")["values"]
    assert values == {"PhysicalLinkStatus": "Up", "TotalBytesSent": 2000}


@pytest.mark.parametrize("service", ["Refused", "Silent", "Eventless"])
async def test_a_service_whose_events_do_not_come_is_asked(polled: Asked, service: str) -> None:
    for number in ("5", "6", "5"):
        polled.told.values["GetLevel"] = number
        await polled.holds(f"{service}/value/Level", number)
        await polled.caller.fence()
        assert polled.document(f"{service}/state")["values"] == {"Level": int(number)}
    states = (
        await polled.caller.send(
            "bridge/main/request/health", b"", on="bridge/main/response/health"
        )
    )["data"]["failing"]
    if service != "Eventless":
        assert states[f"{polled.udn}/{service}"] == {"state": service.lower()}


async def test_what_events_tell_is_not_asked_for(polled: Asked) -> None:
    await polled.asked("GetTotalBytesSent", 2)
    asked = {(one.service, one.action) for one in polled.device.calls}
    assert not [one for one in asked if one[0] in ("Evented", "RenderingControl")]
    assert ("Plain", "GetLevel") not in asked
    assert polled.text("Evented/value/Level") == "1"
    assert polled.text("Plain/value/Level") is None


async def test_a_variable_of_a_pattern_is_asked_for(polled: Asked) -> None:
    await polled.holds("Plain/value/More", "more")
    polled.told.values["Plain.GetMore"] = "and more"
    await polled.holds("Plain/value/More", "and more")
    await polled.caller.fence()
    assert polled.document("Plain/state")["values"] == {"Evented": "e", "More": "and more"}


async def test_an_answer_that_changes_nothing_publishes_nothing(polled: Asked) -> None:
    await polled.asked("GetTotalBytesSent")
    mark = len(polled.onlooker.messages)
    await polled.asked("GetTotalBytesSent", 3)
    assert polled.written(mark) == []


async def test_a_first_event_after_a_question_clears_nothing_that_was_asked_for(
    polled: Asked,
) -> None:
    service = polled.device.service("WANCommonInterfaceConfig")
    await polled.asked("GetTotalBytesSent")
    before = polled.text("WANCommonInterfaceConfig/value/TotalBytesSent")
    assert before is not None
    mark, subscribed = len(polled.onlooker.messages), len(polled.device.subscribed)
    await polled.device.event("WANCommonInterfaceConfig", {"PhysicalLinkStatus": "Up"}, skip=3)
    await until(lambda: service.name in polled.device.subscribed[subscribed:], PATIENCE_S)
    await polled.asked("GetTotalBytesSent")
    assert polled.written(mark) == []
    assert polled.text("WANCommonInterfaceConfig/value/TotalBytesSent") == before


async def test_the_position_is_asked_for_while_it_plays_and_media_is_told_only_when_it_differs(
    polled: Asked,
) -> None:
    position = "AVTransport/value/RelativeTimePosition/0"
    await polled.asked("GetTotalBytesSent")
    assert polled.calls("GetPositionInfo") == []
    assert polled.text(position) is None
    assert polled.document("media") == {"state": "stopped", "volume": 20}

    metadata = escape(
        '<DIDL-Lite xmlns:dc="http://purl.org/dc/elements/1.1/"><item><dc:title>Söng</dc:title>'
        "</item></DIDL-Lite>",
        {'"': "&quot;"},
    )
    mark = len(polled.onlooker.messages)
    playing = f'<TransportState val="PLAYING"/><CurrentTrackMetaData val="{metadata}"/>'
    await polled.device.event("AVTransport", {"LastChange": within_0(playing)})
    await polled.holds(position, "0:00:01")
    for second in (2, 3):
        polled.told.values["GetPositionInfo"] = f"0:00:0{second}"
        await polled.holds(position, f"0:00:0{second}")
    await polled.caller.fence()
    assert polled.document("media") == {"state": "playing", "title": "Söng", "volume": 20}
    assert polled.written(mark).count("media") == 1

    polled.told.values["GetPositionInfo"] = "0:00:04"
    stopped = '<TransportState val="PAUSED_PLAYBACK"/>'
    await polled.device.event("AVTransport", {"LastChange": within_0(stopped)})
    await polled.holds(position, "0:00:04")
    await polled.asked("GetTotalBytesSent")
    before = len(polled.calls("GetPositionInfo"))
    await polled.asked("GetTotalBytesSent", 3)
    assert len(polled.calls("GetPositionInfo")) == before
    assert polled.written(mark).count("media") == 2
    assert polled.document("media")["state"] == "paused"


async def test_a_question_that_is_refused_is_asked_more_and_more_rarely(polled: Asked) -> None:
    before = polled.told.values.pop("Plain.GetMore")
    refused, others = len(polled.calls("GetMore")), len(polled.calls("GetTotalBytesSent"))
    await until(lambda: len(polled.calls("GetTotalBytesSent")) >= others + 12)
    assert 1 <= len(polled.calls("GetMore")) - refused <= 5
    assert polled.text("Plain/value/More") == "and more"
    polled.told.values["Plain.GetMore"] = before
    assert polled.text("availability") == "online"


async def test_a_device_is_not_asked_while_a_call_to_it_is_under_way(polled: Asked) -> None:
    go_on = asyncio.Event()

    async def play(_: Call) -> Answer:
        await go_on.wait()
        return {}

    polled.device.actions["SetSomething"] = play
    callid = polled.onlooker.new_id()
    body = {"callid": callid, "action": "SetSomething", "args": {"X": 1}}
    polled.onlooker.publish(f"upnp/{polled.udn}/call", body)
    await until(lambda: polled.calls("SetSomething"))
    await asyncio.sleep(0.1)  # for a question that was under way already
    before = len(polled.device.calls)
    await asyncio.sleep(3 * INTERVAL_S)
    assert len(polled.device.calls) == before
    go_on.set()
    assert (await polled.caller.answer(callid))["success"]
    await polled.asked("GetTotalBytesSent")


async def test_a_device_that_is_offline_is_not_asked(polled: Asked) -> None:
    await polled.device.refuse()
    await polled.holds("availability", "offline", 30)
    value = polled.text("WANCommonInterfaceConfig/value/TotalBytesSent")
    assert value is not None
    before = len(polled.device.calls)
    await polled.device.serve()
    await asyncio.sleep(3 * INTERVAL_S)
    assert len(polled.device.calls) == before
    polled.told.values["GetTotalBytesSent"] = "3000"
    polled.device.alive()
    await polled.holds("availability", "online", 30)
    await polled.holds("WANCommonInterfaceConfig/value/TotalBytesSent", "3000")


# A start, and a long interval


@pytest.mark.parametrize("mode", ["both", "values", "document"])
@pytest.mark.usefixtures("_soon_silent")
async def test_a_restart_neither_clears_nor_repeats_what_was_asked_for(
    broker: Broker, mode: str
) -> None:
    name, chosen = f"restart-{new_udn()}", {"mqtt__base_topic": f"restart/{mode}"}
    async with alive(Quiet(questioned(name))) as device:
        told = Told(device)
        told.values = {
            "GetTotalBytesSent": "1000",
            "GetLevel": "5",
            "GetTransportInfo": "STOPPED",
            "GetVolume": "10",
        }
        with onlooking(broker.port) as onlooker:

            def tree() -> dict[str, bytes]:
                start = f"restart/{mode}/{device.udn}"
                return {t: p for t, p in onlooker.held.items() if t.startswith(start)}

            def told_of() -> list[str]:
                return [topic for topic in tree() if "/value/" in topic or "/state" in topic]

            async with asking(
                device, told, broker, onlooker, mirror__state=mode, **chosen
            ) as first:
                own = {f"{device.udn}/{one}" for one in ("Silent", "Refused", "Eventless")}
                await until(lambda: own <= {"/".join(t.split("/")[2:4]) for t in told_of()})
                await first.asked("GetTotalBytesSent", 2)
                before = tree()
                assert f"restart/{mode}/{device.udn}/media" in before
            mark = len(onlooker.messages)
            device.calls.clear()
            async with asking(
                device, told, broker, onlooker, mirror__state=mode, **chosen
            ) as second:
                await second.asked("GetTotalBytesSent", 2)
                await until(lambda: {"Silent", "Refused"} <= {one.service for one in device.calls})
                await second.asked("GetTotalBytesSent")
                assert second.written(mark) == []
                assert tree() == before
                told.values["GetTotalBytesSent"] = "1001"
                await second.asked("GetTotalBytesSent", 2)
                ends = {"values": ["value/TotalBytesSent"], "document": ["state"]}
                assert second.written(mark) == [
                    f"WANCommonInterfaceConfig/{end}"
                    for end in ends.get(mode, ["value/TotalBytesSent", "state"])
                ]


async def test_after_an_action_its_service_is_asked_at_once_by_the_owner_alone(
    broker: Broker,
) -> None:
    name, base = f"hurry-{new_udn()}", "hurry"
    udns = iter(new_udn, None)
    udn = next(one for one in udns if highest(one, ("main", "second")) == "main")
    more = {"mqtt__base_topic": base, "upnp__poll_interval": "600"}
    async with alive(Quiet(questioned(name, udn))) as device:
        told = Told(device)
        told.values = {"GetTotalBytesSent": "1", "GetLevel": "5"}
        with onlooking(broker.port) as onlooker:
            async with (
                asking(device, told, broker, onlooker, **more) as first,
                bridging(flags(broker.port, name, instance="second", **more)) as second,
            ):
                own = "WANCommonInterfaceConfig/value/TotalBytesSent"
                await first.holds(own, "1")
                sees = f"{base}/bridge/second/sees"
                await until(lambda: device.udn in str(onlooker.held.get(sees)))
                await asyncio.sleep(0.2)
                assert len(first.calls("GetTotalBytesSent")) == 1
                told.values["GetTotalBytesSent"] = "77"
                body: dict[str, Any] = {"action": "SetSomething", "args": {"X": 77}}
                on = f"{device.udn}/response"
                assert (await first.caller.send(f"{device.udn}/call", body, on=on))["success"]
                await first.holds(own, "77", 5)
                assert len(first.calls("GetTotalBytesSent")) == 2

                told.values["GetTotalBytesSent"] = "78"
                topic = f"{device.udn}/{own}"
                assert (await first.caller.send(f"{topic}/set", "78", on=on))["success"]
                await first.holds(own, "78", 5)

                calls = len(device.calls)
                for body in ({"action": "GetTotalBytesSent"}, {"action": "Nothing"}):
                    await first.caller.send(f"{device.udn}/call", body, on=on)
                await asyncio.sleep(1.5)
                assert len(device.calls) == calls + 1
                assert second.bridge.devices.poller.questions == 0


class Undescribed(Service):
    """A service whose SCPD is a page that says that there is none."""

    def scpd(self) -> str:
        return "<html><body>404 Not Found</body></html>"


ICONS = (
    "<iconList><icon><mimetype>image/png</mimetype><width>120</width><height>120</height>"
    "<depth>24</depth><url>/icon.png</url></icon></iconList>"
)


async def test_a_player_whose_scpds_are_missing_is_told_in_one_piece_with_its_picture(
    tmp_path: Any,
) -> None:
    metadata = escape(
        '<DIDL-Lite><item><upnp:artist role="Composer">Bach</upnp:artist>'
        "<upnp:artist>Ann</upnp:artist><upnp:albumArtURI>/a.jpg</upnp:albumArtURI></item></DIDL-Lite>",
        {'"': "&quot;"},
    )
    uri = "http://10.77.0.9/music/So%20What.flac"
    playing = f'<TransportState val="PLAYING"/><CurrentTrackURI val="{uri}"/>'
    root = Part(
        new_udn(),
        f"undescribed-{new_udn()}",
        (
            Undescribed("AVTransport", (), {"LastChange": within_0(playing)}),
            Undescribed(
                "RenderingControl",
                (),
                {"LastChange": within_0('<Volume val="20"/><Mute channel="Master" val="1"/>')},
            ),
        ),
        more=ICONS,
    )
    async with mosquitto(tmp_path) as broker, alive(Device(root)) as device:
        with onlooking(broker.port) as onlooker:
            own, base = f"upnp/{device.udn}", device.location.rpartition("/")[0]

            async def shows(picture: str, **media: object) -> None:
                def told() -> bool:
                    held = onlooker.held
                    return (
                        json.loads(held.get(f"{own}/media", b"{}")) == media
                        and held.get(f"{own}/art") == picture.encode()
                    )

                await until(told, PATIENCE_S)

            said = {"state": "playing", "title": "So What", "uri": uri, "volume": 20, "muted": True}
            async with bridging(flags(broker.port, root.name)):
                await shows(f"{base}/icon.png", **said)
                shown = f'<CurrentTrackMetaData val="{metadata}"/>'
                await device.event("AVTransport", {"LastChange": within_0(shown)})
                device.service("AVTransport").initial = {"LastChange": within_0(playing + shown)}
                said |= {"artist": "Ann", "album_art": f"{base}/a.jpg"}
                await shows(f"{base}/a.jpg", **said)
                pictures = [one for one in onlooker.messages if one.topic == f"{own}/art"]
                assert [one.payload for one in pictures] == [
                    f"{base}/icon.png".encode(),
                    f"{base}/a.jpg".encode(),
                ]
            mark = len(onlooker.messages)
            async with bridging(flags(broker.port, root.name)):
                await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"online")
                await shows(f"{base}/a.jpg", **said)
            again = [one.topic for one in onlooker.messages[mark:] if one.topic.startswith(own)]
            assert [one for one in again if one.endswith(("/art", "/media"))] == []
