"""Two bridges as processes: one is killed, hangs, and comes back; each command has one owner."""

import asyncio
import json
import signal
from collections import Counter
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from bridge.tree.instances import highest
from tests.adapter.bridge import Caller, Onlooker, Program, flags, onlooking, program
from tests.adapter.device import Action, Device, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import mosquitto, until

NAMES = ("main", "spare")
_COUNT = 12
_MEMBERS = (Action("GetAll", ("out Volume:Volume",)), Variable("Volume", "ui2"))
PATIENCE_S = 60.0


def fleet(name: str) -> list[AbstractAsyncContextManager[Device]]:
    """Return devices to be run, each with one service that has one value."""
    services = (Service("S", _MEMBERS, {"Volume": "1"}) for _ in range(_COUNT))
    return [running(Part(new_udn(), name, (service,))) for service in services]


def owners(onlooker: Onlooker, devices: list[Device]) -> list[str | None]:
    found = (onlooker.held.get(f"upnp/{one.udn}") for one in devices)
    return [json.loads(one)["bridge"] if one else None for one in found]


def shares(devices: list[Device]) -> list[str | None]:
    return [highest(one.udn, NAMES) for one in devices]


async def each_call_is_answered_once(onlooker: Onlooker, devices: list[Device]) -> None:
    """Call every device, and see that each is called once and each call answered once."""
    caller = Caller(onlooker)
    before, mark = [len(one.calls) for one in devices], len(onlooker.messages)
    ids = [onlooker.new_id() for _ in devices]
    for device, callid in zip(devices, ids, strict=True):
        onlooker.publish(f"upnp/{device.udn}/call", {"callid": callid, "action": "GetAll"})
    for callid in ids:
        assert (await caller.answer(callid))["success"]
    await asyncio.sleep(0.3)
    answered = Counter(
        one.json["callid"] for one in onlooker.since(mark) if one.topic.endswith("/response")
    )
    assert answered == dict.fromkeys(ids, 1)
    after = [len(one.calls) for one in devices]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1] * len(devices)


async def values_come(onlooker: Onlooker, devices: list[Device], value: str) -> None:
    """Have every device send an event, and wait until each has come."""

    def missing() -> list[Device]:
        wanted = value.encode()
        return [d for d in devices if onlooker.held.get(f"upnp/{d.udn}/S/value/Volume") != wanted]

    for device in devices:
        await device.event("S", {"Volume": value})
    await until(lambda: not missing(), PATIENCE_S)


def settled(onlooker: Onlooker, devices: list[Device], wanted: list[str | None]) -> bool:
    return owners(onlooker, devices) == wanted


def subscribed(devices: list[Device]) -> bool:
    return all(len(one.service("S").subscribers) >= 1 for one in devices)


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_whatever_befalls_a_bridge_the_other_has_its_devices(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name = f"several-{new_udn()}"
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(one) for one in fleet(name)]
        broker = await stack.enter_async_context(mosquitto(tmp_path_factory.mktemp("several")))
        onlooker = stack.enter_context(onlooking(broker.port))

        async def start(instance: str) -> Program:
            chosen = flags(broker.port, name, instance=instance)
            return await stack.enter_async_context(program(chosen))

        bridges = {one: await start(one) for one in NAMES}
        both = shares(devices)
        await until(lambda: settled(onlooker, devices, both), PATIENCE_S)
        documents = Counter(one.topic for one in onlooker.messages if b'"kind"' in one.payload)
        # The one that has come a moment later has taken its share from the other.
        assert {topic for topic, count in documents.items() if count > 1} <= {
            f"upnp/{one.udn}" for one in devices
        }
        await each_call_is_answered_once(onlooker, devices)
        alone: list[str | None] = ["spare"] * _COUNT

        bridges["main"].process.kill()
        await until(lambda: settled(onlooker, devices, alone), PATIENCE_S)
        await each_call_is_answered_once(onlooker, devices)
        await until(lambda: subscribed(devices), PATIENCE_S)
        await asyncio.sleep(0.5)
        await values_come(onlooker, devices, "2")

        mark = len(onlooker.messages)
        bridges["main"] = await start("main")
        await until(lambda: settled(onlooker, devices, both), PATIENCE_S)
        seen = onlooker.since(mark)
        again = Counter(one.topic for one in seen if b'"kind"' in one.payload)
        moved = {f"upnp/{d.udn}" for d, whose in zip(devices, both, strict=True) if whose == "main"}
        assert again == dict.fromkeys(moved, 1)
        assert not [one for one in seen if one.topic.endswith("/availability")]
        await each_call_is_answered_once(onlooker, devices)

        bridges["main"].process.send_signal(signal.SIGSTOP)
        await until(lambda: settled(onlooker, devices, alone), PATIENCE_S)
        assert onlooker.held["upnp/bridge/main/state"] == b"offline"
        await each_call_is_answered_once(onlooker, devices)
        mark = len(onlooker.messages)
        bridges["main"].process.send_signal(signal.SIGCONT)
        await until(lambda: settled(onlooker, devices, both), PATIENCE_S)
        assert onlooker.held["upnp/bridge/main/state"] == b"online"
        await each_call_is_answered_once(onlooker, devices)
        assert not [one for one in onlooker.since(mark) if one.topic.endswith("/availability")]
