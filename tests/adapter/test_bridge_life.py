"""Devices that come, go, move, reboot and misbehave while the bridge runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from tests.adapter.bridge import Caller, Onlooker, bridging, flags, onlooking, said
from tests.adapter.device import (
    Action,
    Device,
    Part,
    Service,
    Variable,
    answer,
    new_address,
    new_udn,
    running,
)
from tests.adapter.mosquitto import mosquitto, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = f"life-{new_udn()}"


def part(**more: Any) -> Part:
    udn = new_udn()
    members = (Action("GetV", ("out V:V",)), Variable("V"))
    services = (
        Service("One", members, {"V": "1"}),
        Service("Two", (Variable("V"),), {"V": "2"}),
    )
    inner = Part(f"{udn}-in", "inside", (Service("In", (Variable("V"),), {"V": "3"}),))
    return Part(udn, NAME, services, (inner,), **more)


@dataclass
class World:
    onlooker: Onlooker
    caller: Caller
    expiring: Device
    unannounced: Device

    def held(self, device: Device, rest: str = "") -> bytes | None:
        return self.onlooker.held.get(f"upnp/{device.udn}{rest}")

    def available(self, device: Device) -> tuple[bytes | None, bytes | None]:
        return self.held(device, "/availability"), self.held(device, "-in/availability")

    async def joined(self, device: Device) -> None:
        """Wait until a device is whole in the tree."""
        await until(lambda: self.available(device) == (b"online", b"online"))
        await until(lambda: all(one.subscribers for one in device.services.values()))
        states = {f"upnp/{p.udn}/{s.name}/state" for p in device.root.walk() for s in p.services}
        await until(lambda: states <= self.onlooker.held.keys())

    async def search(self) -> None:
        verb = "bridge/main/{}/search"
        answer = await self.caller.send(verb.format("request"), {}, on=verb.format("response"))
        assert answer["success"]

    def news(self, device: Device) -> list[str]:
        return [
            one.json["event"]
            for one in tuple(self.onlooker.messages)
            if one.topic == "upnp/bridge/main/event" and one.json["id"] == device.udn
        ]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    unannounced = Device(part())
    unannounced.is_mute = True
    await unannounced.serve()
    locations = json.dumps([unannounced.location])
    try:
        async with (
            mosquitto(tmp_path_factory.mktemp("life")) as broker,
            running(part(), max_age_s=5) as expiring,
            bridging(flags(broker.port, NAME, upnp__locations=locations)),
        ):
            with onlooking(broker.port) as onlooker:
                world = World(onlooker, Caller(onlooker), expiring, unannounced)
                await world.joined(expiring)
                # It says nothing any more; the last test looks at what became of it.
                expiring.is_mute = True
                await expiring.refuse()
                yield world
    finally:
        await unannounced.refuse()


async def test_a_device_that_comes_is_described_then_online(world: World) -> None:
    mark = len(world.onlooker.messages)
    async with running(part()) as device:
        await world.joined(device)
        topics = [one.topic for one in world.onlooker.since(mark) if device.udn in one.topic]
        availability = topics.index(f"upnp/{device.udn}/availability")
        assert topics.index(f"upnp/{device.udn}") < availability
        assert topics.index(f"upnp/{device.udn}/One/action/GetV") < availability
        await until(lambda: world.news(device) == ["device_joined"])
        event = await said(world.onlooker, lambda one: one.topic.endswith("bridge/main/event"))
        assert not event.retain


async def test_a_byebye_of_a_device_that_is_gone_makes_it_offline_soon(world: World) -> None:
    async with running(part()) as device:
        await world.joined(device)
        config = f"homeassistant/device/upnp2mqtt_{device.udn}/config"
        await until(lambda: config in world.onlooker.held)
        before = {t: p for t, p in world.onlooker.held.items() if device.udn in t}
        await device.stop()
        await until(lambda: world.available(device) == (b"offline", b"offline"))
        await until(lambda: world.news(device) == ["device_joined", "device_left"])
        after = {t: p for t, p in world.onlooker.held.items() if device.udn in t}
        assert after.keys() == before.keys()
        assert {t for t in after if after[t] != before[t] and "bridge" not in t} == {
            f"upnp/{device.udn}/availability",
            f"upnp/{device.udn}-in/availability",
        }
        await device.start()
        await until(lambda: world.available(device) == (b"online", b"online"))
        await world.joined(device)


async def test_a_byebye_that_is_not_true_changes_nothing(world: World) -> None:
    async with running(part()) as device:
        await world.joined(device)
        mark = len(world.onlooker.messages)
        reads = device.requests["GET /description.xml"]
        device.byebye()
        await until(lambda: device.requests["GET /description.xml"] > reads)
        await asyncio.sleep(0.3)
        await world.caller.fence()
        assert not [one for one in world.onlooker.since(mark) if device.udn in one.topic]
        await device.event("One", {"V": "still"})
        await until(lambda: world.held(device, "/One/value/V") == b"still")


async def test_a_new_bootid_has_it_described_and_subscribed_anew(world: World) -> None:
    async with running(part()) as device:
        await world.joined(device)
        for service in device.services.values():
            service.subscribers.clear()
        device.subscribed.clear()
        device.root.more = "<modelName>Rebooted</modelName>"
        device.service("Two").initial = {"V": "fresh"}
        device.boot_id += 1
        device.alive()
        await until(lambda: world.held(device, "/Two/value/V") == b"fresh")
        await until(lambda: sorted(device.subscribed) == ["In", "One", "Two"])
        await until(lambda: b'"model_name":"Rebooted"' in (world.held(device) or b""))
        assert world.available(device) == (b"online", b"online")


async def test_a_device_that_counts_its_answers_as_starts_is_left_in_peace(world: World) -> None:
    device = Device(part())
    device.draws = True

    def has_answered(before: int) -> bool:
        return device.boot_id >= before + 2

    await device.start()
    try:
        await world.joined(device)
        subscribed, described = len(device.subscribed), device.requests["GET /description.xml"]
        assert described == 1
        for looks in (1, 0):  # the first time it may be another in spite of what it answers
            for _ in range(2):
                await world.search()
                await until(partial(has_answered, device.boot_id))
            device.alive()
            await world.caller.fence()
            await asyncio.sleep(1)  # for a look that must not come
            assert len(device.subscribed) == subscribed
            assert device.requests["GET /description.xml"] <= described + looks
            described = device.requests["GET /description.xml"]
        assert world.news(device) == ["device_joined"]
        for service in device.services.values():  # now it has started anew
            service.subscribers.clear()
        device.byebye()
        device.alive()
        await until(lambda: len(device.subscribed) == 2 * subscribed)
    finally:
        await device.stop()


async def test_a_device_that_answers_a_search_for_everything_alone_is_found(world: World) -> None:
    device = Device(part())
    device.answers_to = "ssdp:all"
    await device.start(silently=True)
    try:
        await world.search()
        await world.joined(device)
    finally:
        await device.stop()


async def test_a_udn_that_begins_with_its_prefix_twice_is_one_name_throughout(
    world: World,
) -> None:
    udn = f"uuid:{new_udn()}"
    members = (Action("GetV", ("out V:V",)), Variable("V"))
    root = Part(udn, NAME, (Service("One", members, {"V": "1"}),))
    async with running(root) as device:
        await until(lambda: world.held(device, "/availability") == b"online")
        assert json.loads(world.held(device) or b"")["udn"] == f"uuid:{udn}"
        for named in (udn, f"uuid:{udn}"):
            body = {"callid": world.onlooker.new_id(), "action": "GetV"}
            answer = await world.caller.send(f"{named}/call", body, on=f"{udn}/response")
            assert answer["success"]
        await device.refuse()
        device.byebye()
        await until(lambda: world.held(device, "/availability") == b"offline")


async def test_a_device_that_moves_keeps_its_topics(world: World) -> None:
    async with running(part()) as device:
        await world.joined(device)
        await device.refuse()
        await device.serve(address=new_address(), port=0)
        device.subscribed.clear()
        device.boot_id += 1
        device.alive()
        await until(lambda: device.location.encode() in (world.held(device) or b""))
        await until(lambda: sorted(device.subscribed) == ["In", "One", "Two"])
        await until(lambda: world.available(device) == (b"online", b"online"))
        got = await world.caller.call(device.udn, {"action": "GetV"})
        assert got["success"]


async def test_a_service_that_refuses_its_subscription_leaves_the_others_alone(
    world: World,
) -> None:
    root = part()
    root.services[0].refuses = 503
    async with running(root) as device:
        await until(lambda: world.held(device, "/Two/value/V") == b"2")
        await until(lambda: world.held(device, "-in/In/value/V") == b"3")
        assert world.held(device, "/One/value/V") is None
        assert world.held(device, "/One/variable/V")
        got = await world.caller.call(device.udn, {"action": "GetV"})
        assert got["success"]


async def test_a_service_without_an_scpd_leaves_the_others_alone(world: World) -> None:
    root = part()
    device = Device(root)
    device.answers["/0/scpd.xml"] = answer(404)
    await device.start()
    try:
        await until(lambda: world.held(device, "/Two/variable/V"))
        document = json.loads(world.held(device) or b"")
        assert document["problems"]
        assert json.loads(world.held(device, "/One") or b"")["children"] == []
        await until(lambda: world.held(device, "/One/value/V") == b"1")
    finally:
        await device.stop()


@pytest.mark.parametrize(
    "wire",
    [
        answer(500),
        answer(200, b""),
        answer(200, b"<root>"),
        answer(200, b"\0" * 100_000),
        answer(200, b"<root><device/></root>"),
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"rubbish\r\n" * 1000,
        answer(301, b"", "LOCATION: http://127.0.0.1:1/\r\n"),
    ],
    ids=range(8),
)
async def test_a_description_that_is_none_harms_nobody(world: World, wire: bytes) -> None:
    device = Device(part())
    device.answers["/description.xml"] = wire
    await device.start()
    try:
        await until(lambda: device.requests["GET /description.xml"])
        await world.caller.fence()
        assert world.held(device) is None
    finally:
        await device.stop()


async def test_a_udn_that_another_device_has_taken_stays_with_the_first(world: World) -> None:
    root = part()
    async with running(root) as device:
        await world.joined(device)
        async with running(Part(root.udn, NAME)) as second:
            await until(lambda: second.requests["GET /description.xml"])
            await asyncio.sleep(0.2)
            assert device.location.encode() in (world.held(device) or b"")
            assert world.held(device, "/One/value/V") == b"1"


async def test_a_device_whose_embedded_devices_are_all_alike_has_them_all(world: World) -> None:
    bulbs = tuple(
        Part(new_udn(), f"bulb {n}", (Service("Light", (Variable("S"),), {"S": str(n)}),))
        for n in range(20)
    )
    root = Part(new_udn(), NAME, (), bulbs)
    async with running(root):
        wanted = {f"upnp/{b.udn}/Light/value/S": b"%d" % n for n, b in enumerate(bulbs)}
        await until(lambda: wanted.items() <= world.onlooker.held.items())


async def test_a_device_of_a_static_location_is_there(world: World) -> None:
    await world.joined(world.unannounced)
    got = await world.caller.call(world.unannounced.udn, {"action": "GetV"})
    assert got["success"]


async def test_a_device_that_was_added_is_there(world: World) -> None:
    device = Device(part())
    device.is_mute = True
    await device.serve()
    try:
        got = await world.caller.send(
            "bridge/main/request/add",
            {"location": device.location},
            on="bridge/main/response/add",
            limit_s=15,
        )
        assert got["success"], got
        assert got["data"]["id"] == device.udn
        await world.joined(device)
    finally:
        await device.refuse()


async def test_an_event_while_a_call_is_under_way_is_published_before_its_answer(
    world: World,
) -> None:
    async with running(part()) as device:
        await world.joined(device)

        async def play(_: object) -> dict[str, str]:
            await device.event("One", {"V": "during"})
            return {"V": "during"}

        device.actions["GetV"] = play
        mark = len(world.onlooker.messages)
        got = await world.caller.call(device.udn, {"action": "GetV"})
        assert got["out"] == {"V": "during"}
        await until(lambda: world.held(device, "/One/value/V") == b"during")
        topics = [one.topic for one in world.onlooker.since(mark)]
        assert f"upnp/{device.udn}/One/value/V" in topics


async def test_a_storm_of_events_ends_with_the_last_value(world: World) -> None:
    async with running(part()) as device:
        await world.joined(device)
        for n in range(200):
            await device.event("One", {"V": str(n)})
        await until(lambda: world.held(device, "/One/value/V") == b"199")
        await world.caller.fence()
        state = json.loads(world.held(device, "/One/state") or b"")
        assert state["values"] == {"V": "199"}


async def test_a_device_that_falls_silent_is_offline_when_its_time_is_over(world: World) -> None:
    gone = (b"offline", b"offline")
    await until(lambda: world.available(world.expiring) == gone, 5 + 30)
