"""The whole bridge at brokers that cannot do all that its store needs, or are odd in other ways."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from bridge.tree.overwritten import FLOOD
from tests.adapter.bridge import Running as Bridge
from tests.adapter.bridge import bridging, flags
from tests.adapter.device import Action, Device, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import free_port, until
from tests.adapter.odd_broker import OddBroker, Oddities, odd_broker

OWN = {f"upnp/bridge/main/{one}" for one in ("state", "info", "health", "sees")}


def part(name: str, variables: int = 2) -> Part:
    members: tuple[Variable | Action, ...] = (
        *(Variable(f"V{number}", "ui4") for number in range(variables)),
        Action("SetV0", ("in NewV0:V0",)),
        Action("GetV0", ("out V0:V0",)),
    )
    values = {f"V{number}": str(number) for number in range(variables)}
    return Part(new_udn(), name, (Service("S", members, values),))


@pytest.fixture
def name() -> str:
    return f"odd-{new_udn()}"


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def started(
    broker: OddBroker, name: str, **more: str
) -> AsyncIterator[tuple[Bridge, list[Any]]]:
    """A bridge that is online, with its log."""
    with structlog.testing.capture_logs() as logs:
        async with bridging(flags(broker.port, name, **more)) as one:
            assert one.bridge.online.is_set()
            yield one, logs


def told(logs: list[Any], *levels: str) -> list[Any]:
    return [log for log in logs if log["log_level"] in (levels or ("warning", "error"))]


async def works(broker: OddBroker, device: Device, base: str = "upnp") -> None:
    """See an event come through, and a call answered."""
    value = f"{base}/{device.udn}/S/value/V0"
    await device.event("S", {"V0": "77"})
    await until(lambda: any(one[:2] == (value, b"77") for one in broker.published))
    broker.pass_on(f"{base}/{device.udn}/call", b'{"callid":1,"action":"GetV0"}', broker.nobody)
    response = f"{base}/{device.udn}/response"
    await until(lambda: any(one[0] == response for one in broker.published))
    (answer,) = [json.loads(one[1]) for one in broker.published if one[0] == response]
    assert answer["callid"] == 1
    assert answer["success"] is True


def problems(bridge: Bridge) -> list[str]:
    found = bridge.bridge.health.document()["broker"]["problems"]
    assert isinstance(found, list)
    return found


async def ready(port: int) -> tuple[int, Any]:
    """Return status and body of /readyz."""

    def ask() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(ask)


# What is retained comes late


@pytest.mark.parametrize("lateness_s", [0.001, 0.05, 0.4])
async def test_where_what_is_retained_comes_behind_newer_messages_it_is_read_whole(
    name: str, protocol: str, lateness_s: float
) -> None:
    odd = Oddities(lateness_s=lateness_s)
    async with running(part(name)) as device, odd_broker(odd) as broker:
        async with started(broker, name, mqtt__protocol=protocol):
            await works(broker, device)
        before, mark = dict(broker.held), len(broker.published)
        assert f"upnp/{device.udn}/S" in before
        async with started(broker, name, mqtt__protocol=protocol) as (bridge, logs):
            assert not problems(bridge)
            assert not told(logs)
        moved = {f"upnp/{device.udn}/S/{one}" for one in MOVED}
        assert broker.retained_at(mark) <= OWN | moved | {"upnp/bridge/main/probe"}
        assert before.keys() == broker.held.keys()


MOVED = ("value/V0", "state")
"""What the device told by an event, and tells otherwise at a new subscription."""


# What the store cannot do

LACKS = {
    "wildcards": (Oddities(by_wildcard=False), "wildcard"),
    "not kept": (Oddities(retains=False), "keeps no retained"),
    "announced": (Oddities(retain_available=False), "keeps no retained"),
    "clearing": (Oddities(clears=False), "does not clear"),
}


@pytest.mark.parametrize("lack", LACKS)
async def test_what_the_store_cannot_do_is_told_once_and_the_bridge_works_live(
    name: str, protocol: str, lack: str
) -> None:
    odd, words = LACKS[lack]
    if lack == "announced" and protocol != "5":
        odd = Oddities(retains=False)  # nothing can be announced
    port = free_port()
    async with running(part(name)) as device, odd_broker(odd) as broker:
        chosen = {"mqtt__protocol": protocol, "http__port": str(port)}
        async with started(broker, name, **chosen) as (bridge, logs):
            await works(broker, device)
            (error,) = told(logs)
            assert (error["log_level"], error["event"]) == ("error", "broker_capability_missing")
            assert words in error["problem"]
            (problem,) = problems(bridge)
            assert words in problem
            status, body = await ready(port)
            assert status == 503
            assert words in body["reason"]
            assert broker.connections <= 2
            assert not [
                one for one in broker.published if one[0] == f"upnp/{device.udn}" and not one[1]
            ]
        if lack != "clearing":
            assert "upnp/bridge/main/probe" not in broker.held


async def test_a_broker_that_can_do_all_is_ready_and_nothing_of_a_probe_is_left(
    name: str, protocol: str
) -> None:
    port = free_port()
    async with running(part(name)) as device, odd_broker(Oddities()) as broker:
        chosen = {"mqtt__protocol": protocol, "http__port": str(port)}
        async with started(broker, name, **chosen) as (bridge, logs):
            await works(broker, device)
            assert not told(logs)
            assert not problems(bridge)
            status, body = await ready(port)
            assert (status, "reason" in body) == (200, False)
        assert "upnp/bridge/main/probe" not in broker.held
        mark = len(broker.published)
        async with started(broker, name, **chosen):
            pass
        assert "upnp/bridge/main/probe" not in broker.retained_at(mark)


async def test_a_limit_of_messages_for_one_filter_is_told_and_read_around(
    name: str, protocol: str
) -> None:
    port = free_port()
    odd = Oddities(most=40)
    async with running(part(name, variables=60)) as device, odd_broker(odd) as broker:
        chosen = {"mqtt__protocol": protocol, "http__port": str(port)}
        async with started(broker, name, **chosen):
            await works(broker, device)
        mark = len(broker.published)
        async with started(broker, name, **chosen) as (bridge, logs):
            (error,) = told(logs)
            assert error["event"] == "broker_capability_missing"
            assert "only 40 retained messages" in error["problem"]
            assert "only 40" in problems(bridge)[0]
            status, body = await ready(port)
            assert status == 503
            assert "only 40" in body["reason"]
        assert broker.retained_at(mark) <= OWN | {f"upnp/{device.udn}/S/{one}" for one in MOVED}
        assert not [one for one in broker.published if one[2] and one[0].endswith("/variable/V1")][
            1:
        ]


async def test_the_error_is_told_again_only_after_it_was_gone(name: str) -> None:
    async with (
        running(part(name)) as device,
        odd_broker(Oddities(by_wildcard=False)) as broker,
        started(broker, name) as (bridge, logs),
    ):
        for client in tuple(broker.clients):
            client.writer.close()
        await until(lambda: bridge.bridge.broker.state.reconnects == 1)
        await until(bridge.bridge.online.is_set)
        assert len(told(logs, "error")) == 1
        await works(broker, device)


# What the broker refuses


@pytest.mark.parametrize("way", ["refused", "hung up"])
async def test_a_filter_that_is_too_deep_costs_what_it_was_for(
    name: str, protocol: str, way: str
) -> None:
    def is_deep(filters: tuple[str, ...]) -> bool:
        return any(one.count("/") > 7 for one in filters)

    odd = Oddities(levels=8) if way == "refused" else Oddities(hangs_up_over=is_deep)
    async with running(part(name)) as device, odd_broker(odd) as broker:
        chosen = {"mqtt__protocol": protocol, "mqtt__base_topic": "home/upnp"}
        with structlog.testing.capture_logs() as logs:
            async with bridging(flags(broker.port, name, **chosen)) as bridge:
                await until(bridge.bridge.online.is_set, 60)
                await works(broker, device, "home/upnp")
                refused = bridge.bridge.health.document()["broker"]["refused"]
        (warning,) = [log for log in told(logs) if log["event"] != "broker_unavailable"]
        assert warning["event"] == "filter_refused"
        assert warning["limit"] == "no more than 8 levels in a topic filter"
        assert "set of values with an InstanceID and a channel" in warning["lost"]
        assert "get of values with an InstanceID and a channel" in warning["lost"]
        assert set(refused) == {f"home/upnp/+/+/value/+/+/+/{verb}" for verb in ("set", "get")}


REFUSED = {
    "upnp/+": "other bridges",
    "upnp/bridge/#": "retained topics of bridges",
    "upnp/+/call": "calls",
    "upnp/bridge/main/request/+": "requests to this bridge",
    "upnp/bridge/+/state": "other bridges are online",
    "homeassistant/status": "birth messages of a hub",
}


@pytest.mark.parametrize("refused", REFUSED)
async def test_any_one_filter_that_is_refused_costs_what_it_was_for(
    name: str, protocol: str, refused: str
) -> None:
    odd = Oddities(refuses=lambda one: one == refused)
    async with running(part(name)) as device, odd_broker(odd) as broker:
        value = f"upnp/{device.udn}/S/value/V0"
        for _ in range(2):
            async with started(broker, name, mqtt__protocol=protocol) as (_, logs):
                await device.event("S", {"V0": "5"})
                await until(lambda: any(one[:2] == (value, b"5") for one in broker.published))
            warnings = told(logs)
            assert warnings
            assert all(REFUSED[refused] in one["lost"] for one in warnings)
            assert all(refused in one["reason"] for one in warnings)
            assert f"upnp/{device.udn}" in broker.held


async def test_no_subscribe_has_more_than_eight_filters(name: str) -> None:
    odd = Oddities(hangs_up_over=lambda filters: len(filters) > 8)
    async with running(part(name)) as device, odd_broker(odd) as broker:
        async with started(broker, name) as (_, logs):
            await works(broker, device)
        assert not told(logs)
        assert broker.connections == 1


# What others overwrite


async def test_what_a_broker_did_not_tell_of_a_flood_is_found_and_right_again(name: str) -> None:
    async with (
        running(part(name, variables=300)) as device,
        odd_broker(Oddities()) as broker,
        started(broker, name),
    ):
        own = f"upnp/{device.udn}"
        await until(lambda: f"{own}/S/value/V299" in broker.held)
        await asyncio.sleep(1.5)  # online is said before others are listened to
        before = {topic: held for topic, held in broker.held.items() if topic.startswith(own)}
        broker.held |= dict.fromkeys(before, b"junk")
        for topic in list(before)[:FLOOD]:
            broker.pass_on(topic, b"junk", broker.nobody)
        await until(lambda: all(broker.held.get(t) == held for t, held in before.items()))


@pytest.mark.parametrize("odd", [Oddities(lateness_s=0.7), Oddities(retains=False)])
async def test_what_is_late_or_never_kept_is_not_taken_for_cleared_by_others(
    name: str, odd: Oddities
) -> None:
    async with (
        running(part(name)) as device,
        odd_broker(odd) as broker,
        started(broker, name, mqtt__protocol="3.1.1") as (_, logs),
    ):
        document = f"upnp/{device.udn}"
        await until(lambda: any(one[0] == document for one in broker.published))
        asked = len(broker.subscribed)
        if odd.retains:  # it is looked at what the broker holds, all of it twice
            await until(lambda: sum(document in one for one in broker.subscribed[asked:]) >= 2)
        else:
            await asyncio.sleep(4)
        assert sum(topic == document for topic, _, _ in broker.published) == 1
        assert not [log for log in logs if log["event"] == "topic_overwritten"]


@pytest.mark.parametrize(("way", "levels"), [("refused", 5), ("refused", 8), ("hung up", 8)])
async def test_topics_that_are_too_deep_for_the_broker_end_no_connection(
    name: str, protocol: str, levels: int, way: str
) -> None:
    def is_deep(filters: tuple[str, ...]) -> bool:
        return any(one.count("/") >= levels for one in filters)

    odd = Oddities(levels=levels) if way == "refused" else Oddities(hangs_up_over=is_deep)
    async with running(part(name)) as device, odd_broker(odd) as broker:
        chosen = flags(broker.port, name, mqtt__protocol=protocol, mqtt__base_topic="a/b/upnp")
        async with bridging(chosen) as one:
            await until(one.bridge.online.is_set, 60)
            connections, asked = broker.connections, len(broker.subscribed)
            await until(lambda: len(broker.subscribed) > asked)
            await asyncio.sleep(3)
            assert one.bridge.online.is_set()
            assert broker.connections == connections
            value = f"a/b/upnp/{device.udn}/S/value/V0"
            await device.event("S", {"V0": "88"})
            await until(lambda: any(one[:2] == (value, b"88") for one in broker.published))


async def test_a_limit_is_found_out_at_an_empty_broker_once_there_are_so_many(
    name: str, protocol: str
) -> None:
    odd = Oddities(most=1_000)
    async with (
        running(part(name, variables=600)) as device,
        odd_broker(odd) as broker,
        started(broker, name, mqtt__protocol=protocol) as (bridge, logs),
    ):
        await until(lambda: problems(bridge))
        assert "only 1,000 retained messages" in problems(bridge)[0]
        (error,) = told(logs, "error")
        assert (error["log_level"], error["event"]) == ("error", "broker_capability_missing")
        await works(broker, device)
        await asyncio.sleep(2)
        assert len(told(logs, "error")) == 1


async def test_a_broker_without_a_limit_is_counted_once_and_lacks_nothing(name: str) -> None:
    async with (
        running(part(name, variables=600)) as device,
        odd_broker(Oddities()) as broker,
        started(broker, name) as (bridge, logs),
    ):
        await until(lambda: broker.connections == 2)
        await works(broker, device)
        await asyncio.sleep(3)
        assert broker.connections == 2
        assert not problems(bridge)
        assert not told(logs)
