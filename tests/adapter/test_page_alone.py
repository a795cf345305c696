"""The page of a bridge without a broker, and what it does as a program of its own."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from bridge import app, settings
from tests.adapter.bridge import Running as RunningBridge
from tests.adapter.bridge import flags, program
from tests.adapter.device import Part, Service, new_udn, running
from tests.adapter.mosquitto import free_port, mosquitto, until
from tests.adapter.page import MEMBERS, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def alone() -> AsyncIterator[tuple[RunningBridge, str, str, int]]:
    """A bridge whose broker is not there, a device, the URL of its page, and the broker's port."""
    name, port, broker = f"alone-{new_udn()}", free_port(), free_port()
    service = Service("One", MEMBERS, {"V": "1", "W": "a"})
    async with running(Part(new_udn(), name, (service,))) as device:
        bridge = app.Bridge(settings.load(flags(broker, name, http__port=str(port))))
        stop = asyncio.Event()
        one = RunningBridge(bridge, asyncio.create_task(bridge.run(stop)), stop)
        mirrored_devices = bridge.publishing.mirror.mirrored_devices
        await until(
            lambda: device.udn in mirrored_devices and mirrored_devices[device.udn].services
        )
        live = mirrored_devices[device.udn].services[f"{device.udn}/One"]
        await until(lambda: live.state.values)
        yield one, device.udn, f"http://127.0.0.1:{port}", broker
        await one.stop()


async def test_without_a_broker_the_tree_is_told_and_calls_are_carried_out(alone, tmp_path):
    one, udn, url, broker_port = alone
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}/api/ws") as raw:
        async with client.get(f"{url}/api/session") as answer:
            session = await answer.json()
        assert session["broker"]["connected"] is False
        assert session["control"] is True
        async with client.get(f"{url}/api/tree", params={"filter": "upnp/#"}) as answer:
            tree = (await answer.json())["topics"]
        assert tree[f"upnp/{udn}/One/value/V"] == "1"
        assert tree["upnp/bridge/main/state"] == "offline"
        assert json.loads(tree["upnp/bridge/main/devices"])[0]["id"] == udn
        call = {"id": udn, "action": "SetV", "args": {"V": "1"}}
        async with client.post(f"{url}/api/call", json=call) as answer:
            assert (await answer.json())["success"]
        socket = Socket(raw)
        assert await socket.watch("upnp/#") == tree
        one.bridge.publishing.apply_event(udn, "One", [("V", "2")], initial=False)
        assert (await socket.of(f"upnp/{udn}/One/value/V"))["payload"] == "2"
        await socket.send(topic=f"upnp/{udn}/One/value/V/set", payload="3")
        answer = json.loads((await socket.of(f"upnp/{udn}/response"))["payload"])
        assert answer["success"]
        async with mosquitto(tmp_path, port=broker_port):
            assert (await socket.of("upnp/bridge/main/state"))["payload"] == "online"
            assert json.loads((await socket.of("upnp/bridge/main/health"))["payload"])


async def test_the_doctor_examines_from_the_page(tmp_path):
    port = free_port()
    async with mosquitto(tmp_path) as broker:
        chosen = flags(broker.port, "nobody", http__port=str(port))
        async with program(chosen) as bridge, aiohttp.ClientSession() as client:
            await until(lambda: any(one["event"] == "page_listening" for one in bridge.lines))
            (line,) = [one for one in bridge.lines if one["event"] == "page_listening"]
            assert line["url"] == f"http://127.0.0.1:{port}/"
            asked = [client.post(f"{line['url']}api/doctor", json={}) for _ in range(2)]
            first, second = await asyncio.gather(*asked)
            found = await first.json()
            assert found == await second.json()
            assert {"check", "status", "fact"} <= found["findings"][0].keys()
            assert any(one["check"] == "settings" for one in found["findings"])
            refused = {"X-Forwarded-For": "192.0.2.1"}
            async with client.post(f"{line['url']}api/doctor", json={}, headers=refused) as answer:
                assert answer.status == 403
            assert await bridge.stop() == 0
