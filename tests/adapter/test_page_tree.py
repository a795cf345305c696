"""What the page's API tells of the tree, and how it carries out commands."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from paho.mqtt.client import topic_matches_sub

from tests.adapter.mosquitto import until
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


@pytest.mark.parametrize(
    "topic_filter",
    ["#", "upnp/#", "upnp/+", "upnp/+/availability", "upnp/+/One/#", "upnp/+/+/value/+", "+/+/One"],
)
async def test_the_tree_is_what_the_broker_holds_under_a_filter(world: World, topic_filter):
    status, body, _ = await world.get(
        f"/api/tree?filter={topic_filter.replace('#', '%23')}".replace("+", "%2B")
    )
    assert status == 200
    held = {
        topic: payload.decode()
        for topic, payload in world.caller.onlooker.held.items()
        if topic.startswith("upnp/") and topic_matches_sub(topic_filter, topic)
    }
    assert held
    told = body["topics"]
    for changing in ("upnp/bridge/main/health",):
        assert (held.pop(changing, None) is None) == (told.pop(changing, None) is None)
    assert told == held


async def test_without_a_filter_all_below_the_base_topic_is_told(world: World):
    _, body, _ = await world.get("/api/tree")
    assert f"upnp/{world.id}/One/action/SetV/argument/V" in body["topics"]


async def test_a_filter_that_nothing_is_under_may_be_below_the_base_topic(world: World):
    _, body, _ = await world.get("/api/tree?filter=%2B/availability")
    assert body["topics"] == {f"upnp/{world.id}/availability": "online"}
    _, body, _ = await world.get("/api/tree?filter=nobody/%23")
    assert body["topics"] == {}


@pytest.mark.parametrize("named", [{}, {"id": 1}, {"id": ""}, {"id": None}])
async def test_a_call_without_an_id_is_answered(world: World, named: dict[str, Any]):
    status, body = await world.post("/api/call", {**named, "action": "SetV", "callid": 8})
    assert status == 200
    assert (body["callid"], body["success"], body["code"]) == (8, False, "bad_request")


@pytest.mark.parametrize(
    "topic_filter", ["", "a%23", "%23/a", "a%2B", "a/%2Bb/c", "a%00", "a/" * 80]
)
async def test_a_malformed_filter_is_a_bad_request(world: World, topic_filter):
    status, body, _ = await world.get(f"/api/tree?filter={topic_filter}")
    assert (status, body["code"]) == (400, "bad_request")


async def test_a_call_is_answered_to_who_sent_it_and_to_the_broker(world: World):
    mark = len(world.caller.onlooker.messages)
    call = {"id": world.id, "service": "One", "action": "SetV", "args": {"V": "2"}, "callid": 7}
    status, body = await world.post("/api/call", call)
    assert status == 200
    assert (body["success"], body["callid"]) == (True, 7)
    topic = f"upnp/{world.id}/response"
    await until(lambda: world.caller.onlooker.since(mark, topic))
    (seen,) = world.caller.onlooker.since(mark, topic)
    assert seen.json == body


async def test_a_device_is_called_by_any_spelling_of_its_udn(world: World):
    for named in (f"uuid:{world.id}", world.id.upper()):
        _, body = await world.post("/api/call", {"id": named, "action": "SetV", "args": {"V": "3"}})
        assert body["success"], body


@pytest.mark.parametrize("named", ["nobody", "bridge", "reply", "a/b", "bridge/main/request", "#"])
async def test_a_call_to_nobody_has_an_answer_too(world: World, named):
    status, body = await world.post("/api/call", {"id": named, "action": "SetV"})
    assert (status, body["code"]) == (200, "unknown_device")


async def test_a_call_to_a_device_of_another_instance_is_answered_with_that(world: World):
    mirrored = world.bridge.bridge.publishing.mirror.mirrored_devices[world.id]
    mirrored.owned = False
    try:
        call = {"id": world.id, "action": "SetV", "args": {"V": "2"}}
        status, body = await world.post("/api/call", call)
        assert (status, body["code"]) == (200, "unknown_device")
        assert "another instance" in body["error"]
        _, tree, _ = await world.get(f"/api/tree?filter=upnp/{world.id}/%23")
        assert tree == {"topics": {}}
        assert (await world.get(f"/api/device/{world.id}"))[1]["owned"] is False
    finally:
        mirrored.owned = True


async def test_a_call_that_fails_has_status_200(world: World):
    status, body = await world.post("/api/call", {"id": world.id, "action": "Nothing"})
    assert (status, body["success"], body["code"]) == (200, False, "unknown_action")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"1", b'"x"', b"\xff", b"[" * 100_000])
async def test_what_is_no_object_is_a_bad_request(world: World, body):
    status, told = await world.post("/api/call", body)
    assert (status, told["code"]) == (400, "bad_request")


async def test_a_body_that_is_too_large_is_refused(world: World):
    status, _ = await world.post("/api/call", b'{"id":"' + b"x" * 400_000 + b'"}')
    assert status == 413
    status, body = await world.post("/api/call", b'{"id":"x","a":"' + b"x" * 262_144 + b'"}')
    assert (status, body["code"]) == (200, "bad_request")


async def test_a_verb_is_carried_out(world: World):
    status, body = await world.post("/api/request/health", {"callid": "a"})
    assert (status, body["success"], body["callid"]) == (200, True, "a")
    assert body["data"]["broker"]["connected"]
    status, body = await world.post("/api/request/search", b"")
    assert (status, body["success"]) == (200, True)


@pytest.mark.parametrize("verb", ["nothing", "a%2Fb", "%23", "health%00"])
async def test_an_unknown_verb_is_answered(world: World, verb):
    status, body = await world.post(f"/api/request/{verb}", {})
    assert (status, body["code"]) == (200, "unknown_verb")


async def test_the_session_says_who_the_bridge_is(world: World):
    _, body, _ = await world.get("/api/session")
    assert body["broker"]["connected"]
    assert body["broker"]["url"].startswith("mqtt://127.0.0.1")
    told = {
        name: body[name]
        for name in ("control", "reason", "login", "read_only", "instance", "base_topic")
    }
    assert told == {
        "control": True,
        "reason": None,
        "login": False,
        "read_only": False,
        "instance": "main",
        "base_topic": "upnp",
    }


async def test_every_setting_is_told_with_where_it_comes_from(world: World):
    _, body, _ = await world.get("/api/settings")
    by_name = {one["name"]: one for one in body["settings"]}
    assert by_name["mqtt.url"]["source"] == "flag"
    assert by_name["mirror.detail"]["source"] == "default"
    assert by_name["mirror.detail"]["value"] == by_name["mirror.detail"]["default"] == "full"
    assert by_name["http.password"] == {
        "name": "http.password",
        "variable": "BRIDGE_HTTP__PASSWORD",
        "description": by_name["http.password"]["description"],
        "value": None,
        "default": None,
        "source": "default",
        "secret": True,
    }
    assert json.dumps(body)


async def test_a_device_has_what_is_told_of_it_elsewhere(world: World):
    status, body, _ = await world.get(f"/api/device/{world.id}")
    assert status == 200
    assert (body["owned"], body["owner"]) == (True, "main")
    assert [one["topic"] for one in body["homeassistant"]] == [
        topic
        for topic in world.caller.onlooker.held
        if topic.startswith("homeassistant/")
        and world.id.replace("-", "") in topic.replace("-", "").replace("_", "")
    ]
    kept = [one for one in body["subscriptions"] if one["state"] == "subscribed"]
    assert kept
    assert all(0 < one["expires_s"] <= 3600 for one in kept)
    assert (await world.get("/api/device/nobody"))[0] == 404


# The page itself


async def test_the_page_is_there_with_its_files_and_rules(world: World):
    status, body, headers = await world.get("/")
    assert status == 200
    assert "{{" not in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, _, headers = await world.get("/", If_None_Match=headers["ETag"])
    assert status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/page/x/index.html",
        "/page/../../etc/passwd",
        "/page/%2e%2e/x",
        "/nothing",
        "/api",
        "/page//",
    ],
)
async def test_nothing_else_is_served(world: World, path):
    assert (await world.get(path))[0] == 404


async def test_an_ingress_path_is_in_the_page_only_if_it_is_a_path(world: World):
    _, body, _ = await world.get("/", X_Ingress_Path="/api/hassio_ingress/a_B-1")
    assert 'content="/api/hassio_ingress/a_B-1"' in body
    for hostile in ('/"><script>', "//evil.example", "/a/../b", "javascript:x", "/a b"):
        _, told, _ = await world.get("/", X_Ingress_Path=hostile)
        assert 'content=""' in told
