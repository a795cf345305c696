"""The page's WebSocket: what stands, what changes, commands, and clients that do not behave."""

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bridge.web import api, server, watching
from tests.adapter.mosquitto import PATIENCE_S, until
from tests.adapter.page import World, page

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with page(tmp_path_factory.mktemp("page")) as world:
        held = world.caller.onlooker.held
        await until(lambda: held.get(f"upnp/{world.id}/One/value/V") == b"1")
        await until(lambda: "upnp/bridge/main/health" in held)
        await world.caller.fence()
        yield world


def watched(world: World) -> watching.Watching:
    observer = world.bridge.bridge.publishing.mirror.observed.observer
    assert isinstance(observer, watching.Watching)
    return observer


def watched_by(world: World) -> bool:
    """Return whether anybody watches."""
    return world.bridge.bridge.publishing.mirror.observed.observer is not None


async def test_first_comes_what_stands_and_then_what_changes(world: World):
    value, state = f"upnp/{world.id}/One/value/V", f"upnp/{world.id}/One/state"
    async with world.socket() as client:
        stands = await client.watch(f"upnp/{world.id}/#")
        _, body, _ = await world.get(f"/api/tree?filter=upnp/{world.id}/%23")
        assert stands == body["topics"]
        await world.device.event("One", {"V": "new"})
        assert await client.of(value) == {"topic": value, "payload": "new", "retain": True}
        frame = await client.of(state)
        assert frame["retain"] is True
        assert json.loads(frame["payload"])["values"]["V"] == "new"


async def test_only_what_is_watched_comes_and_nothing_after_unwatch(world: World):
    value = f"upnp/{world.id}/One/value/V"
    async with world.socket() as client:
        await client.watch("upnp/+/One/value/W")
        await client.watch(value)
        await client.send(unwatch=["upnp/+/One/value/W", "never/watched"])
        await world.device.event("One", {"V": "v1", "W": "w1"})
        assert (await client.next())["topic"] == value
        await client.send(unwatch=[value])
        assert await client.watch("upnp/bridge/main/state") == {"upnp/bridge/main/state": "online"}
        await world.device.event("One", {"V": "v2", "W": "w2"})
        await client.send(topic="x")
        assert (await client.next())["code"] == "bad_request"


async def test_a_topic_under_two_filters_comes_once(world: World):
    async with world.socket() as client:
        await client.watch(f"upnp/{world.id}/#", "upnp/+/One/value/V", "upnp/+/+/value/+")
        await world.device.event("One", {"V": "once"})
        await world.device.event("One", {"W": "end"})
        found = []
        while (frame := await client.next())["payload"] != "end":
            found.append(frame["topic"])
        assert found.count(f"upnp/{world.id}/One/value/V") == 1


async def test_an_empty_value_is_cleared(world: World):
    value = f"upnp/{world.id}/One/value/W"
    async with world.socket() as client:
        await client.watch(value)
        await world.device.event("One", {"W": ""})
        assert await client.next() == {"topic": value, "payload": None, "retain": True}
        await world.device.event("One", {"W": "a"})
        assert (await client.next())["payload"] == "a"


async def test_a_device_that_leaves_is_offline_and_one_that_is_forgotten_is_cleared(world: World):
    top = f"upnp/{world.id}"
    async with world.socket() as client, world.socket() as other:
        stands = await client.watch(f"{top}/#")
        await other.watch("upnp/bridge/main/event", "upnp/bridge/main/devices")
        world.device.byebye()
        await world.device.stop()
        frame = await client.of(f"{top}/availability")
        assert frame == {"topic": f"{top}/availability", "payload": "offline", "retain": True}
        frame = await other.of("upnp/bridge/main/event")
        assert frame["retain"] is False
        assert json.loads(frame["payload"])["event"] == "device_left"
        _, body = await world.post("/api/request/forget", {"id": world.id})
        assert body["success"]
        cleared: set[str] = set()
        while cleared != set(stands):
            frame = await client.next()
            assert frame["payload"] is None
            cleared.add(frame["topic"])
        while (frame := await other.of("upnp/bridge/main/devices"))["payload"] != "[]":
            pass
        await world.device.start()
        back: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            while set(back) != set(stands):
                frame = await client.next()
                back[frame["topic"]] = frame["payload"]
        assert back[f"{top}/availability"] == "online"
        await until(lambda: world.caller.onlooker.held.get(f"{top}/One/value/V") == b"1")


async def test_an_answer_comes_once_to_the_client_that_sent_the_command(world: World):
    response = f"upnp/{world.id}/response"
    mark = len(world.caller.onlooker.messages)
    async with world.socket() as client, world.socket() as other, world.socket() as third:
        await client.watch(response)
        await other.watch("upnp/bridge/main/state")
        await third.watch(response)
        for number in (1, 2):
            call = {"action": "SetV", "args": {"V": "1"}, "callid": number}
            await client.send(topic=f"upnp/{world.id}/call", payload=json.dumps(call))
        for number in (1, 2):
            for one in (client, third):
                frame = await one.next()
                assert (frame["topic"], frame["retain"]) == (response, False)
                body = json.loads(frame["payload"])
                assert (body["success"], body["callid"]) == (True, number)
        await other.send(topic=f"upnp/{world.id}/One/value/V/set", payload="5")
        assert json.loads((await other.next())["payload"])["success"]
        await other.send(topic="upnp/bridge/main/request/search")
        assert (await other.next())["topic"] == "upnp/bridge/main/response/search"
        await other.send(topic="upnp/bridge/all/request/nothing", payload="{}")
        assert json.loads((await other.next())["payload"])["code"] == "unknown_verb"
    await world.caller.fence()
    assert len(world.caller.onlooker.since(mark, response)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "1",
        "{}",
        '{"watch": "upnp/#"}',
        '{"watch": [1]}',
        '{"watch": ["upnp/#/x"]}',
        '{"watch": [""]}',
        '{"unwatch": {}}',
        '{"topic": "upnp/x"}',
        '{"topic": 1}',
        '{"topic": "upnp/+/call"}',
        '{"topic": "upnp/bridge/main/state", "payload": "offline"}',
        '{"topic": "upnp/bridge/other/request/health"}',
        '{"topic": "upnp/reply/call"}',
        '{"topic": "upnp/bridge/call"}',
        '{"topic": "upnp//call"}',
        '{"topic": "upnp/x/call", "payload": {}}',
        '{"activity": 1}',
        '{"\\ud800": 1}',
        "[" * 50_000,
        '{"topic": "\\ud800"}',
    ],
)
async def test_a_frame_that_means_nothing_is_a_bad_request_and_the_connection_stays(
    world: World, text
):
    async with world.socket() as client:
        await client.socket.send_str(text)
        frame = await client.next()
        assert frame["code"] == "bad_request"
        assert frame["error"]
        await client.socket.send_bytes(b"{}")
        assert (await client.next())["code"] == "bad_request"
        assert await client.watch("upnp/bridge/main/state")


async def test_a_payload_that_no_utf_8_has_is_answered(world: World):
    async with world.socket() as client:
        await client.socket.send_str(f'{{"topic":"upnp/{world.id}/call","payload":"\\ud800"}}')
        assert json.loads((await client.next())["payload"])["code"] == "bad_request"


async def test_there_are_no_more_filters_than_the_bound(world: World):
    async with world.socket() as client:
        await client.send(watch=[f"upnp/{n}" for n in range(10_000)])
        frame = await client.next()
        assert frame["code"] == "bad_request"
        await client.watch(*(f"upnp/{n}" for n in range(watching.MAX_FILTERS)))
        await client.send(watch=["upnp/one/more"])
        assert (await client.next())["code"] == "bad_request"
    await until(lambda: world.bridge.bridge.publishing.mirror.observed.observer is None)


async def test_a_frame_that_is_too_large_ends_its_connection_alone(world: World):
    async with world.socket() as client, world.socket() as other:
        await client.socket.send_str("x" * 3_000_000)
        async with asyncio.timeout(PATIENCE_S):
            while (message := await client.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert message.type in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
        )
        assert await other.watch("upnp/bridge/main/state")


async def test_there_are_no_more_clients_than_the_bound(world: World, monkeypatch):
    monkeypatch.setattr(api, "MAX_CLIENTS", 1)
    async with world.socket():
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with world.socket():
                pass
        assert refused.value.status == 503


async def test_one_address_has_no_more_clients_than_its_share(world: World, monkeypatch):
    monkeypatch.setattr(api, "MAX_CLIENTS_PER_PEER", 1)
    near, far = {"X_Forwarded_For": "192.0.2.1"}, {"X_Forwarded_For": "192.0.2.1, 192.0.2.2"}
    for headers in (near, far, {}):
        async with world.socket(**headers), world.socket(X_Forwarded_For="2001:db8::1"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with world.socket(**headers):
                    pass
            assert refused.value.status == 503
            again = {"X_Forwarded_For": "198.51.100.1, 2001:db8::2"}  # the first is only claimed
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with world.socket(**again):
                    pass
        await until(lambda: not watched_by(world))
        async with world.socket(**headers) as client:  # those that have gone do not count
            assert await client.watch("upnp/bridge/main/state")
        await until(lambda: not watched_by(world))


async def test_a_request_that_is_no_websocket_is_refused(world: World):
    assert (await world.get("/api/ws"))[0] == 426


async def test_what_goes_on_is_told_the_latest_of_before_first(world: World):
    async with world.socket() as client:
        await client.send(activity=True)
        await world.post("/api/request/search", {"callid": "seen", "password": "hunter2"})
        kinds: list[Any] = []
        while (
            not kinds or "seen" not in kinds[-1].get("payload", "") or kinds[-1]["kind"] != "answer"
        ):
            kinds.append((await client.next())["activity"])
        command = next(one for one in kinds if "seen" in one.get("payload", ""))
        assert (command["kind"], command["from"]) == ("command", "page")
        assert "hunter2" not in command["payload"]
        await world.device.event("One", {"V": "told"})
        while (one := (await client.next())["activity"])["kind"] != "event":
            pass
        assert (one["service"], one["values"]) == (f"{world.id}/One", {"V": "told"})
        await client.send(activity=False)
        await client.watch("upnp/bridge/main/state")


async def test_a_slow_reader_gets_the_newest_of_each_topic(world: World):
    """Who does not read for a while has, in the end, what all others have; not all in between."""
    value = f"upnp/{world.id}/One/value/V"
    async with world.socket() as client, world.socket() as other:
        await client.watch(f"upnp/{world.id}/One/value/+")
        await other.watch(value)
        client.transport.pause_reading()
        filler = "x" * 50_000
        for number in range(100):
            await world.device.event("One", {"V": f"{number}{filler}"})
        while not (await other.next())["payload"].startswith("99x"):
            pass
        slow = next(
            one for one in watched(world).clients if len(one.filters) and value not in one.filters
        )
        assert len(slow._waiting) <= 1
        client.transport.resume_reading()
        came = 0
        while not (await client.next())["payload"].startswith("99x"):
            came += 1
        assert came < 99
        await world.device.event("One", {"V": "1"})


async def test_who_reads_nothing_is_closed(world: World, monkeypatch):
    monkeypatch.setattr(watching, "SILENCE_S", 0.5)
    monkeypatch.setattr(watching, "_LOOK_S", 0.1)
    with sockets.create_connection(("127.0.0.1", world.port)) as raw:
        raw.sendall(
            b"GET /api/ws HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        observed = world.bridge.bridge.publishing.mirror.observed
        await until(lambda: observed.observer is not None)
        await until(lambda: observed.observer is None)


async def test_who_answers_pings_stays(world: World, monkeypatch):
    monkeypatch.setattr(watching, "SILENCE_S", 0.5)
    monkeypatch.setattr(watching, "_LOOK_S", 0.1)
    async with world.socket() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await client.socket.receive()
        assert await client.watch("upnp/bridge/main/state")


async def test_after_the_last_client_nobody_observes(world: World):
    async with world.socket() as client:
        await client.watch("upnp/#")
        seen = watched(world)
    await until(lambda: world.bridge.bridge.publishing.mirror.observed.observer is None)
    assert not seen.clients
    assert not seen.index._root.below
    assert not seen.index._root.all
    assert not seen._activity.listeners


async def test_filters_have_no_more_levels_than_the_bound(world: World):
    async with world.socket() as client:
        await client.send(watch=[f"upnp/{n}{'/+' * 60}" for n in range(500)])
        assert (await client.next())["code"] == "bad_request"
        assert await client.watch("upnp/bridge/main/state")


async def test_there_are_no_more_connections_than_the_bound(world: World, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    idle = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(4)]
    reader, _ = idle[-1]
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    for _, writer in idle:
        writer.close()
    assert (await world.get("/api/session"))[0] == 200


async def test_one_address_has_no_more_connections_than_its_share(world: World, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS_PER_PEER", 3)
    idle = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(4)]
    reader, _ = idle[-1]
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        near = ("127.0.0.2", 0)
        other, writer = await asyncio.open_connection("127.0.0.1", world.port, local_addr=near)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await other.readline() == b"HTTP/1.1 200 OK\r\n"
    for _, each in (*idle, (other, writer)):
        each.close()
    await until_it_answers(world)


async def until_it_answers(world: World) -> None:
    """Wait until connections that were closed are no longer counted."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                assert (await world.get("/api/session"))[0] == 200
                return


async def test_no_more_read_the_tree_at_once_than_the_bound(world: World, monkeypatch):
    monkeypatch.setattr(api, "MAX_READING", 0)
    assert (await world.get("/api/tree"))[0] == 503


async def test_the_bridge_ends_whatever_clients_do(tmp_path):
    async with (
        page(tmp_path) as world,
        world.socket() as client,
        world.socket() as other,
        world.socket() as stuck,
    ):
        await client.watch("upnp/bridge/main/state")
        await other.send(activity=True)
        await stuck.watch("upnp/#")
        stuck.transport.pause_reading()
        await world.bridge.stop()
        frame = await client.of("upnp/bridge/main/state")
        assert frame["payload"] == "offline"
        message = await client.socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        stuck.transport.abort()  # it would wait long for what it does not read


async def test_a_burst_of_frames_holds_up_nobody(world: World):
    async with world.socket() as client, world.socket() as other:
        for _ in range(5_000):
            await client.socket.send_str("x")
        assert await other.watch("upnp/bridge/main/state")
        assert (await client.next())["code"] == "bad_request"
        kept = [one for one in watched(world).clients if one.filters == {}]
        assert all(len(one._messages) <= watching.MAX_MESSAGES for one in kept)
