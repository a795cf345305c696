"""What Prometheus reads of a bridge, and what its HTTP port says besides."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from bridge import settings
from tests.adapter.bridge import Caller, bridging, flags, onlooking
from tests.adapter.device import Action, Device, Fault, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import Running, free_port, mosquitto, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = f"metrics-{new_udn()}"


@dataclass
class World:
    device: Device
    caller: Caller
    port: int
    broker: Running

    async def get(self, path: str, accept: str = "text/plain") -> tuple[int, str, str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with (
            aiohttp.ClientSession() as client,
            client.get(url, headers={"Accept": accept}) as answer,
        ):
            return answer.status, answer.headers["Content-Type"], await answer.text()

    async def samples(self) -> dict[str, float]:
        """Return each sample by its name, with the value of its label if it has one."""
        _, _, text = await self.get("/metrics")
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in families(text)
            for sample in family.samples
        }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    members = (Action("Get", ("out V:V",)), Variable("V"))
    services = (Service("One", members, {"V": "1"}), Service("Not", members, refuses=503))
    port = free_port()
    async with (
        mosquitto(tmp_path_factory.mktemp("metrics")) as broker,
        running(Part(new_udn(), NAME, services)) as device,
        bridging(flags(broker.port, NAME, http__port=str(port))),
    ):
        with onlooking(broker.port) as onlooker:
            topic = f"upnp/{device.udn}/One/value/V"
            await until(lambda: onlooker.held.get(topic) == b"1")
            yield World(device, Caller(onlooker), port, broker)


def dashboard() -> list[str]:
    """Return the expressions of the dashboard for Grafana."""
    board = json.loads((DEPLOY / "grafana/upnp2mqtt.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    return [target["expr"] for panel in panels for target in panel["targets"]]


def alerts() -> list[str]:
    """Return the expressions of the alerts for Prometheus."""
    rules = yaml.safe_load((DEPLOY / "prometheus/upnp2mqtt.rules.yaml").read_text())
    scrape = yaml.safe_load((DEPLOY / "prometheus/scrape.yaml").read_text())
    (job,) = scrape["scrape_configs"]
    port = settings.load({}).http.port
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert f'up{{job="{job["job_name"]}"}} == 0' in found
    return found


async def test_events_are_counted_and_timed_up_to_their_publication(world: World) -> None:
    before = await world.samples()
    for n in range(20):
        await world.device.event("One", {"V": f"event {n}"})
    await world.device.event("One", {"V": "event 19"})
    topic = f"upnp/{world.device.udn}/One/value/V"
    await until(lambda: world.caller.onlooker.held.get(topic) == b"event 19")
    await world.caller.fence()
    after = await world.samples()
    name = "upnp2mqtt_event_delay_seconds"
    grown = {one: after[one] - before[one] for one in after}
    assert grown["upnp2mqtt_events_total"] == 21
    # What changes nothing is published by nobody, and so it is not timed.
    assert grown[f"{name}_count"] == 20
    assert 0 < grown[f"{name}_sum"] < 20
    assert grown[f"{name}_bucket +Inf"] == 20
    assert grown["upnp2mqtt_published_total tree"] >= 2
    assert after["upnp2mqtt_waiting tree"] == 0


async def test_calls_are_counted_by_outcome_and_the_good_ones_timed(world: World) -> None:
    before = await world.samples()
    assert (await world.caller.call(world.device.udn, {"action": "Get", "service": "One"}))[
        "success"
    ]

    async def refuse(_: object) -> Fault:
        return Fault(501, "no")

    world.device.actions["Get"] = refuse
    await world.caller.call(world.device.udn, {"action": "Get", "service": "One"})
    await world.caller.call(world.device.udn, {"action": "None"})
    del world.device.actions["Get"]
    after = await world.samples()
    grown = {one: after[one] - before[one] for one in after}
    outcomes = {
        one.rpartition(" ")[2]: count
        for one, count in grown.items()
        if one.startswith("upnp2mqtt_calls_total") and count
    }
    assert outcomes == {"ok": 1, "upnp_fault": 1, "unknown_action": 1}
    assert grown["upnp2mqtt_call_duration_seconds_count"] == 1
    assert after["upnp2mqtt_calls_under_way"] == 0


async def test_devices_subscriptions_and_the_broker_are_told_as_they_are(world: World) -> None:
    told = await world.samples()
    assert told["upnp2mqtt_devices online"] == 1
    assert told["upnp2mqtt_devices offline"] == 0
    assert told["upnp2mqtt_subscriptions subscribed"] == 1
    assert told["upnp2mqtt_subscriptions refused"] == 1
    assert told["upnp2mqtt_subscriptions lost"] == 0
    assert told["upnp2mqtt_broker_connected"] == 1
    assert told["upnp2mqtt_broker_reconnects_total"] == 0
    assert told["upnp2mqtt_interfaces"] == 1
    assert told["process_resident_memory_bytes"] > 1e7
    assert told["process_open_fds"] > 5


@pytest.mark.parametrize(
    ("accept", "media_type", "parse"),
    [
        ("text/plain;version=0.0.4", "text/plain", families),
        ("*/*", "text/plain", families),
        (
            "application/openmetrics-text;version=1.0.0",
            "application/openmetrics-text",
            open_families,
        ),
    ],
)
async def test_either_form_of_prometheus_is_spoken(
    world: World, accept: str, media_type: str, parse: object
) -> None:
    status, kind, text = await world.get("/metrics", accept)
    assert (status, kind.partition(";")[0]) == (200, media_type)
    assert callable(parse)
    found = list(parse(text))
    ours = [one for one in found if one.name.startswith("upnp2mqtt_")]
    assert len(ours) > 15
    assert all(one.documentation.endswith(".") for one in ours)


async def test_dashboard_and_alerts_ask_for_metrics_that_there_are(world: World) -> None:
    told = await world.samples()
    names = {one.partition(" ")[0] for one in told}
    labels = {one.partition(" ")[2] for one in told}
    asked = [*dashboard(), *alerts()]
    assert len(asked) > 30
    for expression in asked:
        used = set(re.findall(r"\b(?:upnp2mqtt|process)_\w+", expression))
        assert used <= names
        assert used or "up{" in expression
        for value in re.findall(r'\b(?:state|availability|kind)=~?"([^"]+)"', expression):
            assert set(value.split("|")) <= labels
    ours = {one for one in names if one.startswith("upnp2mqtt_")}
    page = (DEPLOY.parent / "docs/operations.md").read_text()
    table = set(re.findall(r"^\| `(upnp2mqtt_\w+)", page, re.MULTILINE))
    assert table == {re.sub(r"_(?:bucket|sum|count)$", "", one) for one in ours}
    ours -= {one for one in ours if one.endswith(("_sum", "_count"))}
    assert ours <= set(re.findall(r"\bupnp2mqtt_\w+", " ".join(dashboard())))


async def test_health_and_readiness_are_json_and_other_paths_are_none(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        status, kind, text = await world.get(path)
        assert (status, kind) == (200, "application/json")
        assert '"connected":true' in text
    assert (await world.get("/nothing"))[0] == 404


async def test_without_its_broker_a_bridge_works_and_is_not_ready(world: World) -> None:
    await world.broker.kill()
    while (await world.get("/readyz"))[0] == 200:
        pass
    assert (await world.get("/readyz"))[0] == 503
    assert (await world.get("/healthz"))[0] == 200
    assert (await world.samples())["upnp2mqtt_broker_connected"] == 0
