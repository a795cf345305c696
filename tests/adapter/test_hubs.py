"""Home Assistant at the broker: when it starts, and where the broker does not let us near it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from bridge.errors import BrokerRefused
from bridge.tree.messages import Message, Publication
from tests.adapter.bridge import Caller, Onlooker, bridging, flags, onlooking
from tests.adapter.device import Action, Device, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import (
    PLUGIN,
    STOCK,
    Running,
    connected,
    mosquitto,
    until,
    with_plugin,
)

BIRTH = "homeassistant/status"
DISCOVERY = "homeassistant/device/"


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request):
    return request.param


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Running]:
    async with mosquitto(tmp_path) as one:
        yield one


@asynccontextmanager
async def refusing(folder: Path, *filters: str) -> AsyncIterator[Running]:
    """A broker that refuses subscriptions to these filters and allows all else."""
    refused = [
        {"acltype": "subscribePattern", "topic": one, "priority": 1, "allow": False}
        for one in filters
    ]
    everything = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
    file = folder / "security.json"
    file.write_text(
        json.dumps(
            {
                "defaultACLAccess": dict.fromkeys(everything, True),
                "clients": [],
                "groups": [{"groupname": "all", "roles": [{"rolename": "all"}], "clients": []}],
                "roles": [{"rolename": "all", "acls": refused}],
                "anonymousGroup": "all",
            }
        )
    )
    file.chmod(0o666)  # mosquitto writes it, as a user of its own
    lines = (*STOCK, f"plugin {PLUGIN}", f"plugin_opt_config_file {file}")
    async with mosquitto(folder, *lines) as one:
        yield one


# Sessions


@with_plugin
async def test_optional_pieces_that_are_refused_are_warned_of_and_left_out(tmp_path, protocol):
    async with (
        refusing(tmp_path, "hub/#") as broker,
        connected(broker.endpoint, protocol=protocol) as session,
    ):
        for name in ("up/a", "hub/a", "other/a"):
            await session.publish(Publication(name, b"1"))
        held: dict[str, bytes] = {}
        with structlog.testing.capture_logs() as logs:
            await session.read_retained(
                [["up/#"]],
                held.__setitem__,
                marker_topic="up/marker",
                optional=[["hub/a"], ["hub/b"]],
                quiet_s=0.05,
            )
        assert held == {"up/a": b"1"}
        (warning,) = [log for log in logs if log["log_level"] == "warning"]
        assert warning["event"] == "retained_read_refused"
        assert "hub/a" in warning["reason"]
        # The session lives on, and what is not optional has to be there.
        with pytest.raises(BrokerRefused, match="hub/a"):
            await session.read_retained(
                [["hub/a"]], held.__setitem__, marker_topic="up/marker", quiet_s=0.05
            )
        await session.publish(Publication("up/a", b"2"))


async def test_optional_pieces_are_chosen_by_what_was_read_before_them(broker, protocol):
    async with connected(broker.endpoint, protocol=protocol) as session:
        for name in ("up/a", "hub/a", "hub/b"):
            await session.publish(Publication(name, b"1"))
        held: dict[str, bytes] = {}

        def optional() -> Iterator[tuple[str, ...]]:
            yield tuple(topic.replace("up/", "hub/") for topic in held)

        await session.read_retained(
            [["up/#"]],
            held.__setitem__,
            marker_topic="up/marker",
            optional=optional(),
            quiet_s=0.05,
        )
    assert held == {"up/a": b"1", "hub/a": b"1"}


@pytest.mark.parametrize("as_news", [True, False])
async def test_news_have_the_retain_flag_only_if_they_are_of_before(broker, protocol, as_news):
    seen: list[Message] = []
    async with (
        connected(broker.endpoint, client_id="other") as other,
        connected(broker.endpoint, protocol=protocol) as session,
    ):
        await other.publish(Publication("hub/status", b"before"))
        await session.subscribe(["hub/status"], seen.append, as_news=as_news)
        await until(lambda: len(seen) == 1)
        await other.publish(Publication("hub/status", b"retained"))
        await other.publish(Publication("hub/status", b"live", retain=False))
        await until(lambda: len(seen) == 3)
    keeps_flag = protocol == "5" and not as_news  # MQTT 3.1.1 knows no such wish
    assert [(one.payload, one.retain) for one in seen] == [
        (b"before", True),
        (b"retained", keeps_flag),
        (b"live", False),
    ]


# The whole bridge


def part(name: str) -> Part:
    members = (
        Variable("Status", "boolean"),
        Variable("Target", "boolean", evented=False),
        Action("SetTarget", ("in newTargetValue:Target",)),
    )
    kind = "urn:schemas-upnp-org:device:BinaryLight:1"
    return Part(new_udn(), name, (Service("SwitchPower", members, {"Status": "1"}),), type=kind)


@asynccontextmanager
async def started(
    broker: Running, onlooker: Onlooker, device: Device, **more: str
) -> AsyncIterator[Caller]:
    """A bridge that is online, has told all of a device, and listens to what hubs say."""
    caller = Caller(onlooker)
    name = device.root.name
    async with bridging(flags(broker.port, name, **more)):
        await until(lambda: onlooker.held.get(f"upnp/{device.udn}/SwitchPower/value/Status"))
        await caller.fence()
        yield caller


def discovery(device: Device) -> str:
    return f"{DISCOVERY}upnp2mqtt_{device.udn}/config"


def told(onlooker: Onlooker, mark: int) -> list[str]:
    """What was said since then of what is retained, health aside, which is said by the clock."""
    return [one.topic for one in onlooker.since(mark) if one.retain and "/health" not in one.topic]


async def test_home_assistant_that_starts_is_told_of_all_devices_and_then_their_states(
    broker, protocol
):
    async with running(part(f"hub-{new_udn()}")) as device:
        with onlooking(broker.port) as onlooker:
            async with started(broker, onlooker, device, mqtt__protocol=protocol) as caller:
                document = json.loads(onlooker.held[discovery(device)])
                light = document["components"]["switchpower_light"]
                assert onlooker.held[light["state_topic"]] == b"true"

                for payload in (b"offline", b"online"):
                    mark = len(onlooker.messages)
                    onlooker.publish(BIRTH, payload)
                    onlooker.settle()
                    await caller.fence()
                    if payload == b"offline":
                        assert told(onlooker, mark) == []
                await until(lambda: light["state_topic"] in told(onlooker, mark))
                await until(lambda: "upnp/bridge/main/state" in told(onlooker, mark))
                topics = told(onlooker, mark)
                documents = [topic for topic in topics if topic.startswith(DISCOVERY)]
                assert documents == [f"{DISCOVERY}upnp2mqtt_bridge_main/config", discovery(device)]
                assert topics[:2] == documents
                assert f"upnp/{device.udn}/availability" in topics
                # It is the same as before, and nothing else is said again.
                assert f"upnp/{device.udn}" not in topics
                assert json.loads(onlooker.held[discovery(device)]) == document


async def test_a_birth_of_before_is_none_and_one_that_will_be_retained_is(broker, protocol):
    async with running(part(f"hub-{new_udn()}")) as device:
        with onlooking(broker.port) as onlooker:
            onlooker.publish(BIRTH, b"online", retain=True)
            onlooker.settle()
            mark = len(onlooker.messages)
            async with started(broker, onlooker, device, mqtt__protocol=protocol) as caller:
                await caller.fence()
                onlooker.settle()
                assert told(onlooker, mark).count(discovery(device)) == 1

                onlooker.publish(BIRTH, b"online", retain=True)
                await until(lambda: told(onlooker, mark).count(discovery(device)) == 2)


async def test_what_the_bridge_says_of_itself_is_what_its_entities_take(broker):
    async with running(part(f"hub-{new_udn()}")) as device:
        with onlooking(broker.port) as onlooker:
            async with started(broker, onlooker, device) as caller:
                own = json.loads(onlooker.held[f"{DISCOVERY}upnp2mqtt_bridge_main/config"])
                found = own["components"]
                health = json.loads(onlooker.held[found["devices"]["state_topic"]])
                assert health["devices"]["online"] == 1
                assert health["log_level"] in found["log_level"]["options"]
                info = json.loads(onlooker.held[found["version"]["state_topic"]])
                assert info["version"] == own["device"]["sw_version"]
                assert onlooker.held[found["connectivity"]["state_topic"]] == b"online"
                level = {"level": health["log_level"]}
                for name, payload in (("search", {}), ("announce", {}), ("log_level", level)):
                    topic = found[name]["command_topic"].removeprefix("upnp/")
                    answer = topic.replace("/request/", "/response/")
                    assert (await caller.send(topic, payload, on=answer))["success"]


async def test_what_home_assistant_was_told_is_cleared_when_it_is_not_wanted_any_more(broker):
    foreign = {
        f"{DISCOVERY}other/config": b"{}",
        "homeassistant/sensor/upnp2mqtt/config": b"{}",
    }
    async with running(part(f"hub-{new_udn()}")) as device:
        with onlooking(broker.port) as onlooker:
            for topic, payload in foreign.items():
                onlooker.publish(topic, payload, retain=True)
            async with started(broker, onlooker, device):
                assert discovery(device) in onlooker.held
            async with started(broker, onlooker, device, homeassistant__enabled="false"):
                onlooker.settle()
                held = {
                    topic: payload
                    for topic, payload in onlooker.held.items()
                    if topic.startswith("homeassistant/")
                }
                assert held == foreign
                mark = len(onlooker.messages)
                onlooker.publish(BIRTH, b"online")
                onlooker.settle()
                assert told(onlooker, mark) == []


# Brokers that do not let us


def warnings(logs: list[Any]) -> list[str]:
    return [log["event"] for log in logs if log["log_level"] == "warning"]


@with_plugin
async def test_a_broker_that_refuses_to_let_us_read_of_hubs_costs_a_warning_each(
    tmp_path, protocol
):
    async with (
        refusing(tmp_path, "homeassistant/#") as broker,
        running(part(f"hub-{new_udn()}")) as device,
    ):
        with onlooking(broker.port) as onlooker, structlog.testing.capture_logs() as logs:
            async with started(broker, onlooker, device, mqtt__protocol=protocol) as caller:
                assert onlooker.held["upnp/bridge/main/state"] == b"online"
                assert discovery(device) in onlooker.held
                got = await caller.call(
                    device.udn, {"action": "SetTarget", "args": {"newTargetValue": False}}
                )
                assert got["success"]
        refused = [one for one in warnings(logs) if "refused" in one]
        assert refused == ["retained_read_refused", "hub_birth_refused"]


async def test_a_broker_that_takes_nothing_for_hubs_costs_a_warning(tmp_path, protocol):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite upnp/#\ntopic readwrite settle/#\n")
    async with (
        mosquitto(tmp_path, *STOCK, f"acl_file {acl}") as broker,
        running(part(f"hub-{new_udn()}")) as device,
    ):
        with onlooking(broker.port) as onlooker, structlog.testing.capture_logs() as logs:
            async with started(broker, onlooker, device, mqtt__protocol=protocol):
                assert onlooker.held["upnp/bridge/main/state"] == b"online"
                assert onlooker.held[f"upnp/{device.udn}/availability"] == b"online"
        # MQTT 3.1.1 has no word for it.
        refused = [one for one in warnings(logs) if "refused" in one]
        assert refused == (["publication_refused"] if protocol == "5" else [])
