"""What a start, a stop and a change of settings do to the tree that the broker holds."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
import pytest_asyncio

from bridge.tree.instances import weight
from tests.adapter.bridge import Caller, Onlooker, bridging, flags, onlooking, program
from tests.adapter.device import (
    Action,
    Answer,
    Call,
    Device,
    Part,
    Service,
    Variable,
    last_change,
    new_udn,
    running,
)
from tests.adapter.mosquitto import Running as Broker
from tests.adapter.mosquitto import mosquitto, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERS = (
    Action("Next"),
    Action("GetAll", ("out Volume:Volume",)),
    Variable("Volume", "ui2"),
    Variable("Long"),
    Variable("Empty"),
    Variable("LastChange"),
)


def part(name: str, udn: str | None = None) -> Part:
    udn = udn or new_udn()
    initial = {
        "Volume": "010",
        "Long": "l" * 3000,
        "Empty": "",
        "Unlisted": "1.50",
        "LastChange": last_change('<InstanceID val="0"><V channel="set" val="1"/></InstanceID>'),
    }
    inner = Part(f"{udn}-in", "inside", (Service("In", MEMBERS, {"Volume": "3"}),))
    return Part(udn, name, (Service("S", MEMBERS, initial),), (inner,))


@pytest.fixture
def name() -> str:
    return f"start-{new_udn()}"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with mosquitto(tmp_path_factory.mktemp("start")) as one:
        yield one


@pytest.fixture
def onlooker(broker: Broker) -> Iterator[Onlooker]:
    with onlooking(broker.port) as one:
        yield one
        for topic in tuple(one.held):
            one.publish(topic, b"", retain=True)
        one.settle()


@asynccontextmanager
async def started(
    broker: Broker, onlooker: Onlooker, *names: str, **more: str
) -> AsyncIterator[Caller]:
    """A bridge whose messages have all been seen when the context begins."""
    caller = Caller(onlooker, more.get("mqtt__base_topic", "upnp"), more.get("instance", "main"))
    async with bridging(flags(broker.port, *names, mqtt__max_payload="1024", **more)):
        await caller.fence()
        yield caller
    onlooker.settle()


def tree(onlooker: Onlooker) -> dict[str, bytes]:
    """Return what is held besides what the bridge says of itself."""
    return of_devices(onlooker.held)


def of_devices(held: dict[str, bytes]) -> dict[str, bytes]:
    own = ("upnp/bridge/", "homeassistant/device/upnp2mqtt_bridge_")
    return {topic: payload for topic, payload in held.items() if not topic.startswith(own)}


def written(onlooker: Onlooker, mark: int) -> set[str]:
    return {one.topic for one in onlooker.since(mark) if one.retain}


OWN = {f"upnp/bridge/main/{one}" for one in ("state", "info", "info/chunk/1", "health", "sees")}


@pytest.mark.parametrize("mode", ["both", "values", "document"])
async def test_a_second_start_publishes_nothing_but_what_the_bridge_says_of_itself(
    broker: Broker, onlooker: Onlooker, name: str, mode: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name, mirror__state=mode):
            before = dict(onlooker.held)
        mark = len(onlooker.messages)
        async with started(broker, onlooker, name, mirror__state=mode):
            pass
        assert written(onlooker, mark) <= OWN
        own = f"upnp/{device.udn}/S"
        assert (f"{own}/state" in before) == (mode != "values")
        assert (f"{own}/value/Volume" in before) == (mode != "document")
        assert tree(onlooker) == of_devices(before)


async def test_a_second_start_publishes_what_changed_meanwhile(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            pass
        mark = len(onlooker.messages)
        initial = device.service("S").initial
        device.service("S").initial = {**initial, "Volume": "7"}
        async with started(broker, onlooker, name):
            pass
        own = f"upnp/{device.udn}/S"
        changed = {one for one in written(onlooker, mark) if not one.startswith(f"{own}/state")}
        assert changed - OWN == {f"{own}/value/Volume"}
        assert onlooker.held[f"{own}/value/Volume"] == b"7"


async def test_a_device_that_changed_meanwhile_has_other_documents_only_where_it_differs(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            pass
        mark = len(onlooker.messages)
        device.root.more = "<modelName>Two</modelName>"
        async with started(broker, onlooker, name):
            pass
        assert written(onlooker, mark) - OWN == {
            f"upnp/{device.udn}",
            f"homeassistant/device/upnp2mqtt_{device.udn}/config",
            "upnp/bridge/main/devices",
        }
        document = json.loads(onlooker.held[f"upnp/{device.udn}"])
        assert document["model_name"] == "Two"
        assert "manufacturer" not in document


async def test_a_service_that_went_meanwhile_is_cleared(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            assert f"upnp/{device.udn}/S/value/Volume" in onlooker.held
        device.root.services = ()
        async with started(broker, onlooker, name):
            pass
        assert not [t for t in onlooker.held if t.startswith(f"upnp/{device.udn}/S")]
        assert f"upnp/{device.udn}-in/In/value/Volume" in onlooker.held


async def test_a_device_that_went_meanwhile_is_offline_and_kept(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device, started(broker, onlooker, name):
        before = tree(onlooker)
    async with started(broker, onlooker, name) as caller:
        gone = {f"upnp/{device.udn}/availability", f"upnp/{device.udn}-in/availability"}
        await until(lambda: all(onlooker.held[t] == b"offline" for t in gone))
        assert {t: p for t, p in tree(onlooker).items() if t not in gone} == {
            t: p for t, p in before.items() if t not in gone
        }
        got = await caller.call(device.udn, {"action": "Next"})
        assert (got["code"], got["outcome"]) == ("device_offline", "not_sent")


@pytest.mark.parametrize(
    ("detail", "kinds"),
    [
        ("device", {"device", "subdevice"}),
        ("service", {"device", "subdevice", "service"}),
        ("action", {"device", "subdevice", "service", "variable", "action"}),
        ("full", {"device", "subdevice", "service", "variable", "action", "argument"}),
    ],
)
async def test_detail_says_how_deep_documents_go_and_what_is_deeper_is_cleared(
    broker: Broker, onlooker: Onlooker, name: str, detail: str, kinds: set[str]
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name, mirror__detail="full"):
            full = tree(onlooker)
        async with started(broker, onlooker, name, mirror__detail=detail):
            now = tree(onlooker)
        documents = [json.loads(p) for p in now.values() if p.startswith(b'{"id":')]
        assert {one["kind"] for one in documents} == kinds
        assert all(full[topic] == payload for topic, payload in now.items())
        assert f"upnp/{device.udn}/S/value/Volume" in now


async def test_what_is_stale_is_swept_and_what_is_others_stays(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    other = {"id": "foreign", "kind": "device", "bridge": "other", "udn": "uuid:foreign"}
    foreign = {
        "upnp/foreign": json.dumps(other).encode(),
        "upnp/foreign/availability": b"online",
        "upnp/foreign/S/value/V": b"1",
        "upnp/bridge/other/state": b"offline",
        "upnp/bridge/other/info": b"{}",
        "upnp/bridge/other/devices": b"[]",
        "upnp/notes": b"mine",
        "upnp/notes/by/me": b"mine",
        "upnp/reply/x": b"mine",
        "somewhere/else": b"mine",
    }
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            before = dict(onlooker.held)
        beside = {f"upnp/{device.udn}/my-note": b"mine", f"upnp/{device.udn}/a/b/c/d/e": b"mine"}
        stale = {
            f"upnp/{device.udn}/Gone": b'{"id":"%s/Gone"}' % device.udn.encode(),
            f"upnp/{device.udn}/Gone/state": b"{}",
            f"upnp/{device.udn}/Gone/value/V": b"1",
            f"upnp/{device.udn}/Gone/value/V/0/LF": b"1",
            f"upnp/{device.udn}/Gone/variable/V": b"{}",
            f"upnp/{device.udn}/S/action/Gone": b"{}",
            f"upnp/{device.udn}/S/action/Gone/argument/A": b"{}",
            f"upnp/{device.udn}/S/value/Volume/chunk/1": b"x",
            f"upnp/{device.udn}/S/value/Long/chunk/99": b"x",
        }
        for topic, payload in (foreign | beside | stale).items():
            onlooker.publish(topic, payload, retain=True)
        onlooker.settle()
        async with started(broker, onlooker, name):
            pass
        left = {t: p for t, p in onlooker.held.items() if t not in OWN}
        assert left == {t: p for t, p in before.items() if t not in OWN} | foreign | beside


async def test_what_somebody_else_wrote_into_the_tree_is_put_right_at_the_start(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            before = tree(onlooker)
        for topic, payload in (
            (f"upnp/{device.udn}/S/value/Volume", b"99"),
            (f"upnp/{device.udn}/availability", b"offline"),
            (f"upnp/{device.udn}/S/state", b"nonsense"),
            (f"upnp/{device.udn}/S/variable/Volume", b""),
            (f"upnp/{device.udn}/S/value/Long/chunk/2", b""),
        ):
            onlooker.publish(topic, payload, retain=True)
        onlooker.settle()
        async with started(broker, onlooker, name):
            pass
        after = tree(onlooker)
        state = f"upnp/{device.udn}/S/state"
        assert {t: p for t, p in after.items() if not t.startswith(state)} == {
            t: p for t, p in before.items() if not t.startswith(state)
        }


async def test_a_broker_that_comes_back_empty_gets_everything_again(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    directory = tmp_path_factory.mktemp("empty")
    async with running(part(name)) as device, AsyncExitStack() as stack:
        first = await stack.enter_async_context(mosquitto(directory))
        async with bridging(flags(first.port, name)) as bridge:
            with onlooking(first.port) as onlooker:
                await until(lambda: f"upnp/{device.udn}/S/state" in onlooker.held)
                await Caller(onlooker).fence()
                before = dict(onlooker.held)
            await first.kill()
            await until(lambda: not bridge.bridge.online.is_set())
            await device.event("S", {"Volume": "55"})
            async with mosquitto(directory, port=first.port):
                await until(bridge.bridge.online.is_set)
                with onlooking(first.port) as onlooker:
                    await Caller(onlooker).fence()
                    assert onlooker.held.keys() == before.keys()
                    assert onlooker.held[f"upnp/{device.udn}/S/value/Volume"] == b"55"
                    assert onlooker.held["upnp/bridge/main/state"] == b"online"


async def test_a_broker_that_still_says_online_of_a_bridge_that_was_away_says_offline_first(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    onlooker.publish("upnp/bridge/late/state", b"online", retain=True)
    onlooker.settle()
    mark = len(onlooker.messages)
    async with bridging(flags(broker.port, name, instance="late")):
        await Caller(onlooker, instance="late").fence()
        said = [one.payload for one in onlooker.since(mark, "upnp/bridge/late/state")]
        assert said == [b"offline", b"online"]


# Leaving the tree


async def test_forget_clears_every_topic_the_document_first(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device, started(broker, onlooker, name) as caller:
        mark = len(onlooker.messages)
        got = await caller.send(
            "bridge/main/request/forget",
            {"id": f"{device.udn}-in"},
            on="bridge/main/response/forget",
        )
        assert got["success"]
        await until(lambda: not tree(onlooker))
        cleared = [one.topic for one in onlooker.since(mark) if one.retain and not one.payload]
        assert cleared[0] == f"upnp/{device.udn}"
        await until(
            lambda: any(b'"device_forgotten"' in one.payload for one in onlooker.since(mark))
        )
        await until(lambda: onlooker.held["upnp/bridge/main/devices"] == b"[]")
        assert len(device.unsubscribed) == 2
        device.alive()
        await until(lambda: f"upnp/{device.udn}/S/value/Volume" in onlooker.held)


async def forget_instance(caller: Caller, instance: str) -> Any:
    return await caller.send(
        "bridge/main/request/forget",
        {"instance": instance},
        on="bridge/main/response/forget",
        limit_s=20,
    )


@pytest.mark.parametrize("state", ["offline", "online"])
async def test_what_a_bridge_has_left_that_is_gone_is_cleared(
    broker: Broker, onlooker: Onlooker, name: str, state: str
) -> None:
    """Also of one that was killed, whose will nobody has published: it does not answer."""
    async with running(part(f"{name}-kept")) as kept, started(broker, onlooker, f"{name}-kept"):
        old = flags(broker.port, name, instance="old")
        async with running(part(name)) as device, bridging(old):
            document = f"homeassistant/device/upnp2mqtt_{device.udn}/config"
            await until(lambda: document in onlooker.held)
        onlooker.publish("upnp/bridge/old/state", state.encode(), retain=True)
        onlooker.publish("upnp/bridge/old/notes", b"left", retain=True)
        onlooker.settle()
        mark = len(onlooker.messages)
        mine = {topic: held for topic, held in onlooker.held.items() if kept.udn in topic}
        got = await forget_instance(Caller(onlooker), "old")
        assert got["success"], got
        assert got["data"] == {"instance": "old", "devices": [device.udn, f"{device.udn}-in"]}

        def left() -> list[str]:
            return [
                topic
                for topic in onlooker.held
                if device.udn in topic or "/old" in topic or "bridge_old" in topic
            ]

        await until(lambda: not left())
        cleared = [one.topic for one in onlooker.since(mark) if one.retain and not one.payload]
        assert cleared.index(document) < cleared.index(f"upnp/{device.udn}/availability")
        assert "homeassistant/device/upnp2mqtt_bridge_old/config" in cleared
        assert {t: h for t, h in onlooker.held.items() if kept.udn in t} == mine
        got = await forget_instance(Caller(onlooker), "old")
        assert got["code"] == "unknown_device"


async def test_a_bridge_that_is_there_is_not_forgotten(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with (
        running(part(name)) as device,
        bridging(flags(broker.port, name, instance="other")),
        started(broker, onlooker, f"{name}-none") as caller,
    ):
        await until(lambda: f"upnp/{device.udn}/S/state" in onlooker.held)
        before = dict(onlooker.held)
        for instance, code in (("other", "denied"), ("main", "denied"), ("a/b", "bad_request")):
            got = await forget_instance(caller, instance)
            assert (got["success"], got["code"]) == (False, code)
        both = {"instance": "other", "id": device.udn}
        got = await caller.send(
            "bridge/main/request/forget", both, on="bridge/main/response/forget"
        )
        assert got["code"] == "bad_request"
        assert before.keys() <= onlooker.held.keys()


async def test_a_device_that_is_gone_for_long_is_forgotten(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name, mirror__forget_after="0.5"):
            await device.stop()
            topic = f"upnp/{device.udn}/availability"
            await until(lambda: onlooker.held.get(topic) != b"online")
            await until(lambda: not tree(onlooker), 5)
        await device.start()


async def test_a_device_that_the_filter_denies_now_is_cleared_and_calls_to_it_are_denied(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            assert tree(onlooker)
        denied = json.dumps([name.upper()])
        async with started(broker, onlooker, name, upnp__deny=denied) as caller:
            await until(lambda: not tree(onlooker))
            got = await caller.call(device.udn, {"action": "Next", "callid": 1})
            assert (got["code"], got["outcome"], got["callid"]) == ("denied", "not_sent", 1)
            got = await caller.call(f"{device.udn}-in", {"action": "Next"})
            assert got["code"] == "denied"
        assert not device.calls


# Read-only, 3.1.1


async def test_read_only_lets_through_what_only_reads(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with (
        running(part(name)) as device,
        started(broker, onlooker, name, read_only="true") as caller,
    ):
        got = await caller.call(device.udn, {"action": "Next", "service": "S"})
        assert (got["code"], got["outcome"]) == ("denied", "not_sent")
        got = await caller.send(
            f"{device.udn}/S/action/Next/call", b"", on=f"{device.udn}/response"
        )
        assert got["code"] == "denied"
        assert (await caller.call(device.udn, {"action": "GetAll"}))["success"]
        assert [call.action for call in device.calls] == ["GetAll"]


async def test_over_mqtt_3_a_bridge_does_the_same(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name, mqtt__protocol="3.1.1") as caller:
            got = await caller.call(device.udn, {"action": "Next", "callid": 1})
            assert (got["success"], got["callid"]) == (True, 1)
            body = {"action": "Next", "reply_to": "upnp/reply/x"}
            mark = len(onlooker.messages)
            await caller.call(device.udn, body)
            assert len(onlooker.since(mark, "upnp/reply/x")) == 1
            for _ in range(2):
                topic = f"{device.udn}/call"
                got = await caller.send(topic, body, on=f"{device.udn}/response")
                assert got["success"]
            before = dict(onlooker.held)
        mark = len(onlooker.messages)
        async with started(broker, onlooker, name, mqtt__protocol="3.1.1"):
            pass
        assert written(onlooker, mark) <= OWN
        assert onlooker.held.keys() == before.keys()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_commands_that_were_retained_before_the_start_are_cleared_and_not_carried_out(
    broker: Broker, onlooker: Onlooker, name: str, protocol: str
) -> None:
    async with running(part(name)) as device:
        commands = [
            f"upnp/{device.udn}/call",
            f"upnp/{device.udn}/S/action/Next/call",
            "upnp/bridge/main/request/health",
        ]
        for topic in commands:
            onlooker.publish(topic, {"action": "Next"}, retain=True)
        onlooker.settle()
        mark = len(onlooker.messages)
        async with started(broker, onlooker, name, mqtt__protocol=protocol) as caller:
            await until(lambda: not set(commands) & onlooker.held.keys())
            await caller.fence()
            answers = onlooker.since(mark, f"{device.udn}/response", "response/health")
            assert [one.json["code"] for one in answers] == ["retained_command"] * 3
        assert not device.calls


# Signals


async def test_sigterm_ends_all_in_order_within_five_seconds(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async def hang(_: Call) -> Answer:
        await asyncio.sleep(60)
        return {}

    async with running(part(name)) as device, program(flags(broker.port, name)) as bridge:
        device.actions["Next"] = hang
        await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"online")
        caller = Caller(onlooker)
        for callid in (1, 2, 3):
            body = {"callid": callid, "service": "S", "action": "Next"}
            onlooker.publish(f"upnp/{device.udn}/call", body)
        await until(lambda: device.calls)
        await caller.fence()
        mark = len(onlooker.messages)
        assert await bridge.stop() == 0
        onlooker.settle()
        answers = [one.json for one in onlooker.since(mark, f"{device.udn}/response")]
        got = {one["callid"]: (one["code"], one["outcome"]) for one in answers}
        assert len(answers) == 3
        assert got == {
            1: ("shutting_down", "unknown"),
            2: ("shutting_down", "not_sent"),
            3: ("shutting_down", "not_sent"),
        }
        assert len(device.calls) == 1
        assert sorted(device.unsubscribed) == ["In", "S"]
        assert onlooker.held["upnp/bridge/main/state"] == b"offline"
        assert onlooker.held[f"upnp/{device.udn}/S/value/Volume"] == b"10"
        events = [line["event"] for line in bridge.lines]
        assert events[0] == "starting"
        assert events[-1] == "stopped"
        assert not [line for line in bridge.lines if line.get("level") == "error"], bridge.lines


async def test_a_bridge_that_is_killed_leaves_its_will(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with program(flags(broker.port, name)) as bridge:
        await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"online")
        bridge.process.kill()
        await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"offline")


async def test_sigterm_before_it_is_online_ends_it_too(broker: Broker, name: str) -> None:
    async with program(flags(broker.port, name)) as bridge:
        await until(lambda: any(one["event"] == "broker_connected" for one in bridge.lines))
        assert await bridge.stop() == 0


async def test_sigterm_without_a_broker_ends_it_too(name: str) -> None:
    async with program(flags(1, name)) as bridge:
        await until(lambda: any(one["event"] == "starting" for one in bridge.lines))
        await asyncio.sleep(0.3)
        assert await bridge.stop() == 0


# Several instances


def ranked(device: Device, *names: str) -> list[str]:
    """Return names of instances, the one that owns a device first."""
    return sorted(names, key=lambda one: weight(device.udn, one), reverse=True)


def owner(onlooker: Onlooker, device: Device) -> Any:
    return json.loads(onlooker.held.get(f"upnp/{device.udn}", b"{}")).get("bridge")


def documents_of(onlooker: Onlooker, mark: int, device: Device) -> Counter[str]:
    """Return how often each document of a device was published."""
    return Counter(
        one.topic
        for one in onlooker.since(mark)
        if one.topic.startswith(f"upnp/{device.udn}") and b'"kind"' in one.payload
    )


async def test_the_owner_has_the_device_again_when_it_comes_and_another_when_it_leaves(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        first, second = ranked(device, "aa", "bb")
        async with started(broker, onlooker, name, instance=second) as other:
            await until(lambda: owner(onlooker, device) == second)
            before = set(device.service("S").subscribers)
            mark = len(onlooker.messages)
            async with started(broker, onlooker, name, instance=first) as caller:
                await until(lambda: owner(onlooker, device) == first)
                await until(lambda: set(device.service("S").subscribers) - before)
                await until(lambda: not before & set(device.service("S").subscribers))
                await other.fence()
                assert documents_of(onlooker, mark, device) == {
                    f"upnp/{device.udn}": 1,  # `bridge` is another
                    f"upnp/{device.udn}-in": 1,
                }
                got = await caller.call(device.udn, {"action": "GetAll"})
                assert got["success"]
                await other.fence()
                assert len(device.calls) == 1
                unknown = await caller.call(new_udn(), {"action": "GetAll"})
                assert unknown["code"] == "unknown_device"
                await device.event("S", {"Volume": "77"})
                topic = f"upnp/{device.udn}/S/value/Volume"
                await until(lambda: onlooker.held.get(topic) == b"77")
                await other.fence()
                assert len([one for one in onlooker.messages if one.payload == b"77"]) == 1
                assert onlooker.held[f"upnp/{device.udn}/availability"] == b"online"
                tree_before = tree(onlooker)
            await until(lambda: owner(onlooker, device) == second)
            await other.fence()
            got = await other.call(device.udn, {"action": "GetAll"})
            assert got["success"]
            await until(lambda: tree(onlooker).keys() == tree_before.keys())
            availability = f"upnp/{device.udn}/availability"
            said = [one.payload for one in onlooker.since(mark) if one.topic == availability]
            assert set(said) <= {b"online"}


async def test_two_instances_with_a_device_each_leave_each_other_alone(
    broker: Broker, onlooker: Onlooker
) -> None:
    one, two = f"one-{new_udn()}", f"two-{new_udn()}"
    async with (
        running(part(one)) as first,
        running(part(two)) as second,
        started(broker, onlooker, one, instance="aa") as caller,
        started(broker, onlooker, two, instance="bb"),
    ):
        for device in (first, second):
            got = await caller.call(device.udn, {"action": "GetAll"})
            assert got["success"]
            assert len(device.calls) == 1
        before = tree(onlooker)
        async with started(broker, onlooker, two, instance="cc"):
            pass
        assert tree(onlooker) == before


async def test_an_old_client_of_mqtt_3_reads_the_tree(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)), started(broker, onlooker, name):
        with onlooking(broker.port, protocol=paho.MQTTv311) as old:
            await until(lambda: old.held.keys() == onlooker.held.keys())
            assert old.held == onlooker.held


async def test_instances_that_start_together_agree(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    names = ("aa", "bb", "cc")
    async with running(part(name)) as device, AsyncExitStack() as stack:
        mark = len(onlooker.messages)
        await asyncio.gather(
            *(
                stack.enter_async_context(bridging(flags(broker.port, name, instance=instance)))
                for instance in names
            )
        )
        wanted = ranked(device, *names)[0]
        await until(lambda: owner(onlooker, device) == wanted)
        caller = Caller(onlooker, instance=wanted)
        await caller.fence()
        got = await caller.call(device.udn, {"action": "GetAll"})
        assert got["success"]
        for one in names:
            await Caller(onlooker, instance=one).fence()
        assert len(device.calls) == 1
        assert set(documents_of(onlooker, mark, device).values()) == {1}
        await until(
            lambda: all(
                len(json.loads(onlooker.held[f"upnp/bridge/{one}/devices"])) == (one == wanted)
                for one in names
            )
        )
        await until(
            lambda: all(
                json.loads(onlooker.held[f"upnp/bridge/{one}/sees"])["devices"] == [device.udn]
                for one in names
            )
        )
        unknown = await Caller(onlooker, instance="aa").call(new_udn(), {"action": "GetAll"})
        assert unknown["code"] == "unknown_device"


async def test_an_owner_that_is_silent_is_called_offline_and_replaced(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        first, second = ranked(device, "aa", "bb")
        own = f"upnp/bridge/{first}"
        onlooker.publish(f"{own}/state", b"online", retain=True)
        onlooker.publish(f"{own}/sees", {"devices": [device.udn]}, retain=True)
        onlooker.publish(f"upnp/{device.udn}", {"id": device.udn, "bridge": first}, retain=True)
        async with started(broker, onlooker, name, instance=second) as caller:
            await caller.fence()
            assert owner(onlooker, device) == first
            await until(lambda: onlooker.held[f"{own}/state"] == b"offline", 40)
            await until(lambda: owner(onlooker, device) == second)
            got = await caller.call(device.udn, {"action": "GetAll"})
            assert got["success"]
            onlooker.publish(f"upnp/bridge/{second}/state", b"offline", retain=True)
            await until(lambda: onlooker.held[f"upnp/bridge/{second}/state"] == b"online")


async def test_commands_around_the_start_have_one_answer_each(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        async with started(broker, onlooker, name):
            pass
        sent: list[str] = []

        async def ask() -> None:
            for _ in range(60):
                callid = onlooker.new_id()
                sent.append(callid)
                body = {"callid": callid, "action": "GetAll"}
                onlooker.publish(f"upnp/{device.udn}/call", body)
                await asyncio.sleep(0.01)

        asking = asyncio.create_task(ask())
        mark = len(onlooker.messages)
        async with started(broker, onlooker, name) as caller:
            await asking
            await caller.fence()
            answered = [one.json for one in onlooker.since(mark, f"{device.udn}/response")]
        ids = [one["callid"] for one in answered]
        assert len(set(ids)) == len(ids)
        assert ids == sent[-len(ids) :]
        assert {one.get("code") for one in answered} <= {None, "device_offline"}
        assert answered[-1]["success"]
        assert len(device.calls) == sum(one["success"] for one in answered)


async def test_an_answer_waits_for_a_broker_that_is_away(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    go_on = asyncio.Event()

    async def wait(_: Call) -> Answer:
        await go_on.wait()
        return {"Volume": "3"}

    directory = tmp_path_factory.mktemp("away")
    async with running(part(name)) as device, mosquitto(directory) as first:
        device.actions["GetAll"] = wait
        async with bridging(flags(first.port, name)) as bridge:
            with onlooking(first.port) as onlooker:
                onlooker.publish(f"upnp/{device.udn}/call", {"callid": 7, "action": "GetAll"})
                await until(lambda: device.calls)
            await first.kill()
            await until(lambda: not bridge.bridge.online.is_set())
            go_on.set()
            async with mosquitto(directory, port=first.port):
                with onlooking(first.port) as onlooker:
                    got = await Caller(onlooker).answer(7, 20)
                    assert got["out"] == {"Volume": 3}
                    await until(bridge.bridge.online.is_set)
                    await Caller(onlooker).fence()
                    assert len(onlooker.since(0, f"{device.udn}/response")) == 1
        assert len(device.calls) == 1


async def test_a_broker_that_takes_little_gets_parts_and_an_answer_all_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    async def much(_: Call) -> Answer:
        return {"Volume": "x" * 9000}

    lines = ("allow_anonymous true", "max_packet_size 3000", "max_queued_messages 0")
    async with (
        running(part(name)) as device,
        mosquitto(tmp_path_factory.mktemp("little"), *lines) as little,
    ):
        device.actions["GetAll"] = much
        async with bridging(flags(little.port, name)) as bridge:
            with onlooking(little.port) as onlooker:
                topic = f"upnp/{device.udn}/S/value/Long"
                await device.event("S", {"Long": "y" * 20_000})
                await until(lambda: b'"bytes":20000' in onlooker.held.get(topic, b""))
                await Caller(onlooker).fence()
                count = json.loads(onlooker.held[topic])["chunks"]
                parts = [onlooker.held[f"{topic}/chunk/{n}"] for n in range(1, count + 1)]
                assert b"".join(parts) == b"y" * 20_000
                got = await Caller(onlooker).call(device.udn, {"action": "GetAll", "callid": 1})
                assert (got["callid"], got["success"]) == (1, False)
                assert bridge.bridge.online.is_set()


async def test_an_instance_that_comes_later_leaves_the_device_of_the_first_untouched(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with running(part(name)) as device:
        first, second = ranked(device, "aa", "bb")
        async with started(broker, onlooker, name, instance=first):
            mark = len(onlooker.messages)
            async with started(broker, onlooker, name, instance=second) as caller:
                await caller.fence()
            ours = f"upnp/{device.udn}"
            assert not [one.topic for one in onlooker.since(mark) if one.topic.startswith(ours)]


async def test_a_device_that_comes_while_two_instances_run_is_published_by_one(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    async with (
        started(broker, onlooker, name, instance="aa") as first,
        started(broker, onlooker, name, instance="bb") as second,
        running(part(name)) as device,
    ):
        document = f"upnp/{device.udn}"
        await until(lambda: onlooker.held.get(f"{document}/S/value/Unlisted"))
        await first.fence()
        await second.fence()
        onlooker.settle()
        assert owner(onlooker, device) == ranked(device, "aa", "bb")[0]
        got = await first.call(device.udn, {"action": "GetAll"})
        assert got["success"]
        assert len(device.calls) == 1


async def test_an_instance_that_learns_of_a_device_late_leaves_it_to_the_first(
    broker: Broker, onlooker: Onlooker, name: str
) -> None:
    device = Device(part(name))
    await device.serve()
    names = ranked(device, "aa", "bb")

    async def add(caller: Caller) -> None:
        own = f"bridge/{caller.instance}"
        body = {"location": device.location}
        got = await caller.send(f"{own}/request/add", body, on=f"{own}/response/add")
        assert got["success"]

    try:
        async with (
            started(broker, onlooker, name, instance=names[0]) as first,
            started(broker, onlooker, name, instance=names[1]) as second,
        ):
            await add(first)
            await until(lambda: f"upnp/{device.udn}/S/value/Unlisted" in onlooker.held)
            await first.fence()
            onlooker.settle()
            mark = len(onlooker.messages)
            await add(second)
            await second.fence()
            await first.fence()
            onlooker.settle()
            seen = onlooker.since(mark)
            assert not [one.topic for one in seen if one.topic.startswith(f"upnp/{device.udn}")]
            assert not [one for one in seen if one.topic == f"upnp/bridge/{names[1]}/event"]
    finally:
        await device.refuse()
