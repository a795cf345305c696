"""The tree of a device that has everything: documents, values, life and subscriptions."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.adapter.bridge import Caller, Onlooker, bridging, flags, onlooking
from tests.adapter.device import (
    Action,
    Device,
    Part,
    Service,
    Variable,
    last_change,
    new_udn,
)
from tests.adapter.mosquitto import mosquitto, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = f"tree-{new_udn()}"
LIMIT = 2000
BASE = "house/up%stairs"
UDN = "Röt/Dev+1#"
ID = "R%C3%B6t%2FDev%2B1%23"
REST = (
    "<manufacturer>M &amp; Söhne</manufacturer><manufacturerURL>http://m.example/</manufacturerURL>"
    "<modelDescription>Does all</modelDescription><modelName>All</modelName>"
    "<modelNumber>1.0</modelNumber><modelURL>/model</modelURL><serialNumber>007</serialNumber>"
    "<UPC>123456789012</UPC><presentationURL>ui/index.html</presentationURL>"
    "<iconList><icon><mimetype>image/png</mimetype><width>48</width><height>32</height>"
    "<depth>24</depth><url>/icon.png</url></icon><icon><mimetype>image/gif</mimetype>"
    "<width></width><url>icon2.gif</url></icon></iconList>"
)


def everything() -> Part:
    odd = (
        Variable("A/B+C#D%E ä"),
        Variable("Größe.1-x"),
        Action("Do/It+#", ("in X/Y:A/B+C#D%E ä",)),
    )
    typed = (
        Variable("Bool", "boolean", default="1"),
        Variable("Number", "ui2", default="5", range=("0", "100", "5")),
        Variable("Real", "r4", range=("-1.5", "2.5")),
        Variable("Choice", "string", allowed=("ONE", "TWO")),
        Variable("Plain", "string", evented=False),
        Variable("Bytes", "bin.base64"),
        Variable("Foreign", "ui99"),
        Variable("Big", "string"),
        Action("Both", ("in Number:Number", "ret Result:Bool", "out Other:Missing")),
    )
    control = (
        Variable("LastChange"),
        Variable("Volume", "ui2", evented=False),
        Variable("Mute", "boolean", evented=False),
    )
    return Part(
        UDN,
        NAME,
        (
            Service("Typed", typed, {"Bool": "yes", "Number": "7", "Real": "1.50"}),
            Service("Odd", odd, {"Größe.1-x": "x"}),
            Service("call", (Variable("V"),), {"V": "1"}),
            Service(
                "AV",
                control,
                {
                    "LastChange": last_change(
                        '<InstanceID val="0"><Volume channel="Master" val="10"/></InstanceID>'
                    )
                },
            ),
            Service("Queue", (Variable("LastChange"),), {"LastChange": ""}),
            Service("Mute", (Variable("V"),), evented=False),
        ),
        (
            Part(
                new_udn(),
                "two of one type",
                (
                    Service("A", (Variable("V"),), {"V": "a"}, service_type="urn:x:service:S:1"),
                    Service("B", (Variable("V"),), {"V": "b"}, service_type="urn:x:service:S:1"),
                    Service("C", (Variable("V"),), {"V": "c"}, service_id="urn:a:serviceId:Same"),
                    Service("D", (Variable("V"),), {"V": "d"}, service_id="urn:b:serviceId:Same"),
                    Service("E", (Variable("V"),), {"V": "e"}, service_id="urn:Foreign:e1"),
                    Service("F", (Variable("V"),), {"V": "f"}, service_id="urn:x:serviceId:P:1"),
                ),
                (Part("bridge", "deepest", (Service("Deep", (Variable("V"),), {"V": "z"}),)),),
            ),
        ),
        more=REST,
    )


@dataclass
class World:
    device: Device
    onlooker: Onlooker
    caller: Caller

    @property
    def held(self) -> Mapping[str, bytes]:
        return self.onlooker.held

    def document(self, own: str) -> Any:
        return json.loads(self.held[f"{BASE}/{own}"])

    async def holds(self, own: str, payload: bytes) -> None:
        try:
            await until(lambda: self.held.get(f"{BASE}/{own}") == payload)
        except TimeoutError:
            assert self.held.get(f"{BASE}/{own}") == payload

    def state(self, service: str) -> Any:
        return self.document(f"{ID}/{service}/state")

    async def quiet(self) -> None:
        await asyncio.sleep(0.05)
        await self.caller.fence()

    async def event(self, service: str, **properties: str) -> list[tuple[str, bytes]]:
        """Send an event; return what was published for it, in order."""
        mark = len(self.onlooker.messages)
        await self.device.event(service, properties)
        await self.quiet()
        start = f"{BASE}/{ID}/{service}/"
        return [
            (one.topic.removeprefix(start), one.payload)
            for one in self.onlooker.messages[mark:]
            if one.topic.startswith(start)
        ]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    chosen = {"mqtt__base_topic": BASE, "mqtt__max_payload": str(LIMIT)}
    device = Device(everything())
    await device.start()
    try:
        async with (
            mosquitto(tmp_path_factory.mktemp("tree")) as broker,
            bridging(flags(broker.port, NAME, **chosen)),
        ):
            with onlooking(broker.port) as onlooker:
                caller = Caller(onlooker, BASE)
                await caller.fence()
                yield World(device, onlooker, caller)
    finally:
        await device.stop()


# Documents


async def test_the_root_device_tells_all(world: World) -> None:
    host = f"http://{world.device.address}:{world.device.port}"
    inner = world.device.root.parts[0].udn
    assert world.document(ID) == {
        "id": ID,
        "kind": "device",
        "children": [
            *(f"{ID}/{s}" for s in ("Typed", "Odd", "%63all", "AV", "Queue", "Mute")),
            inner,
        ],
        "udn": f"uuid:{UDN}",
        "device_type": "urn:schemas-upnp-org:device:Scripted:1",
        "friendly_name": NAME,
        "manufacturer": "M & Söhne",
        "manufacturer_url": "http://m.example/",
        "model_name": "All",
        "model_number": "1.0",
        "model_description": "Does all",
        "model_url": f"{host}/model",
        "serial_number": "007",
        "upc": "123456789012",
        "presentation_url": f"{host}/ui/index.html",
        "icons": [
            {
                "url": f"{host}/icon.png",
                "mimetype": "image/png",
                "width": 48,
                "height": 32,
                "depth": 24,
            },
            {"url": f"{host}/icon2.gif", "mimetype": "image/gif"},
        ],
        "root": ID,
        "location": world.device.location,
        "server": "Scripted/1 UPnP/1.1 Test/1",
        "upnp_version": "1.1",
        "bridge": "main",
    } | {k: v for k, v in world.document(ID).items() if k == "problems"}


async def test_embedded_devices_stand_flat_beside_their_root(world: World) -> None:
    inner = world.device.root.parts[0].udn
    document = world.document(inner)
    assert (document["kind"], document["parent"], document["root"]) == ("subdevice", ID, ID)
    deepest = world.document("%62ridge")
    assert (deepest["kind"], deepest["parent"], deepest["root"]) == ("subdevice", inner, ID)
    assert deepest["udn"] == "uuid:bridge"
    assert deepest["children"] == ["%62ridge/Deep"]
    await world.holds("%62ridge/Deep/value/V", b"z")


async def test_availability_is_shared_by_all_that_is_embedded(world: World) -> None:
    for own in (ID, world.device.root.parts[0].udn, "%62ridge"):
        assert world.held[f"{BASE}/{own}/availability"] == b"online"


async def test_services_have_levels_of_their_own(world: World) -> None:
    inner = world.device.root.parts[0].udn
    children = world.document(inner)["children"]
    levels = ["A", "B", "Same", "urn:b:serviceId:Same", "e1", "P:1"]
    assert children == [*(f"{inner}/{level}" for level in levels), "%62ridge"]
    for level, value in zip(levels, "abcdef", strict=True):
        await world.holds(f"{inner}/{level}/value/V", value.encode())
        assert world.document(f"{inner}/{level}")["parent"] == inner


async def test_a_service_tells_its_urls(world: World) -> None:
    host = f"http://{world.device.address}:{world.device.port}"
    document = world.document(f"{ID}/Typed")
    assert document == {
        "id": f"{ID}/Typed",
        "kind": "service",
        "parent": ID,
        "children": [
            f"{ID}/Typed/action/Both",
            *(
                f"{ID}/Typed/variable/{v}"
                for v in ("Bool", "Number", "Real", "Choice", "Plain", "Bytes", "Foreign", "Big")
            ),
        ],
        "service_id": "urn:upnp-org:serviceId:Typed",
        "service_type": "urn:schemas-upnp-org:service:Typed:1",
        "scpd_url": f"{host}/0/scpd.xml",
        "control_url": f"{host}/0/control",
        "event_url": f"{host}/0/event",
    }
    assert "event_url" not in world.document(f"{ID}/Mute")


async def test_variables_tell_type_range_and_default(world: World) -> None:
    def fields(name: str) -> Any:
        document = world.document(f"{ID}/Typed/variable/{name}")
        assert document.pop("id") == f"{ID}/Typed/variable/{name}"
        assert document.pop("name") == name
        assert document.pop("kind") == "variable"
        assert document.pop("parent") == f"{ID}/Typed"
        assert document.pop("children") == []
        return document

    assert fields("Bool") == {"data_type": "boolean", "evented": True, "default": True}
    assert fields("Number") == {
        "data_type": "ui2",
        "evented": True,
        "default": 5,
        "minimum": 0,
        "maximum": 100,
        "step": 5,
    }
    assert fields("Real") == {
        "data_type": "r4",
        "evented": True,
        "minimum": -1.5,
        "maximum": 2.5,
    }
    assert fields("Choice") == {
        "data_type": "string",
        "evented": True,
        "allowed_values": ["ONE", "TWO"],
    }
    assert fields("Plain") == {"data_type": "string", "evented": False}
    assert fields("Foreign") == {"data_type": "ui99", "evented": True}


async def test_actions_and_arguments_tell_what_they_are(world: World) -> None:
    own = f"{ID}/Typed/action/Both"
    assert world.document(own) == {
        "id": own,
        "kind": "action",
        "parent": f"{ID}/Typed",
        "children": [f"{own}/argument/{a}" for a in ("Number", "Result", "Other")],
        "name": "Both",
    }
    assert world.document(f"{own}/argument/Number") == {
        "id": f"{own}/argument/Number",
        "kind": "argument",
        "parent": own,
        "children": [],
        "name": "Number",
        "direction": "in",
        "variable": f"{ID}/Typed/variable/Number",
    }
    result = world.document(f"{own}/argument/Result")
    assert (result["direction"], result["retval"]) == ("out", True)
    assert "variable" not in world.document(f"{own}/argument/Other")


async def test_odd_names_are_encoded_in_topics_alone(world: World) -> None:
    variable = "A%2FB%2BC%23D%25E%20%C3%A4"
    assert world.document(f"{ID}/Odd/variable/{variable}")["name"] == "A/B+C#D%E ä"
    await world.holds(f"{ID}/Odd/value/Gr%C3%B6%C3%9Fe.1-x", b"x")
    assert world.state("Odd")["values"] == {"Größe.1-x": "x"}
    assert world.document(f"{ID}/Odd/action/Do%2FIt%2B%23")["name"] == "Do/It+#"


async def test_every_child_exists_and_knows_its_parent(world: World) -> None:
    documents = {
        topic: json.loads(payload)
        for topic, payload in world.held.items()
        if payload.startswith(b'{"id":')
    }
    assert len(documents) > 40
    for topic, document in documents.items():
        assert topic == f"{BASE}/{document['id']}"
        assert list(document)[:2] == ["id", "kind"]
        for child in document["children"]:
            assert documents[f"{BASE}/{child}"]["parent"] == document["id"]


async def test_the_table_of_devices_has_a_row_for_the_root(world: World) -> None:
    (row,) = world.document("bridge/main/devices")
    assert (row["id"], row["availability"], row["friendly_name"]) == (ID, "online", NAME)


async def test_the_bridge_tells_of_itself(world: World) -> None:
    assert world.held[f"{BASE}/bridge/main/state"] == b"online"
    info = world.document("bridge/main/info")
    assert info["settings"]["mqtt"]["base_topic"] == BASE
    assert "call" in info["capabilities"]["commands"]
    assert world.document("bridge/main/health")["version"] == info["version"]


# Values


async def test_values_are_text_in_topics_and_typed_in_the_document(world: World) -> None:
    await world.device.event("Typed", {"Bool": "0", "Number": "42", "Real": "2.0"})
    await world.holds(f"{ID}/Typed/value/Bool", b"false")
    await world.holds(f"{ID}/Typed/value/Number", b"42")
    await world.holds(f"{ID}/Typed/value/Real", b"2.0")
    await world.quiet()
    values = world.state("Typed")["values"]
    assert values["Bool"] is False
    assert values["Number"] == 42
    assert values["Real"] == 2.0


async def test_what_does_not_fit_its_type_is_passed_through(world: World) -> None:
    published = dict(await world.event("Typed", Number="70000", Bool="maybe", Foreign="x"))
    assert published["value/Number"] == b"70000"
    assert published["value/Bool"] == b"maybe"
    assert world.state("Typed")["values"]["Number"] == "70000"
    assert world.state("Typed")["values"]["Foreign"] == "x"


async def test_state_comes_once_after_the_values_of_its_event(world: World) -> None:
    published = await world.event("Typed", Choice="ONE", Number="1", Bool="1")
    assert [topic for topic, _ in published] == [
        "value/Choice",
        "value/Number",
        "value/Bool",
        "state",
    ]
    state = json.loads(published[-1][1])
    assert list(state) == ["values", "instances", "updated"]
    assert state["updated"].endswith("Z")
    assert len(state["updated"]) == len("2026-01-01T00:00:00.000Z")


async def test_an_event_that_changes_nothing_publishes_nothing(world: World) -> None:
    await world.event("Typed", Choice="TWO", Number="3")
    assert await world.event("Typed", Choice="TWO", Number="3") == []
    assert await world.event("Typed", Number="03") == []
    assert [topic for topic, _ in await world.event("Typed", Choice="TWO", Number="4")] == [
        "value/Number",
        "state",
    ]


async def test_an_empty_value_clears_its_topic_and_stays_in_the_state(world: World) -> None:
    await world.event("Typed", Choice="ONE")
    published = dict(await world.event("Typed", Choice=""))
    assert published["value/Choice"] == b""
    assert f"{BASE}/{ID}/Typed/value/Choice" not in world.held
    assert world.state("Typed")["values"]["Choice"] == ""
    assert await world.event("Typed", Choice="") == []


async def test_a_variable_that_the_scpd_does_not_list_is_published(world: World) -> None:
    published = dict(await world.event("Typed", Surprise="5"))
    assert published["value/Surprise"] == b"5"
    assert world.state("Typed")["values"]["Surprise"] == "5"


async def test_a_value_over_the_limit_is_cut_and_its_parts_go_when_it_shrinks(
    world: World,
) -> None:
    topic = f"{BASE}/{ID}/Typed/value/Big"

    def parts() -> dict[str, bytes]:
        return {t: p for t, p in world.held.items() if t.startswith(f"{topic}/chunk/")}

    for size in (LIMIT, LIMIT + 1, 5 * LIMIT, 3 * LIMIT - 1, 10 * LIMIT, 7, 2 * LIMIT, 0):
        text = ("äbc" * size)[: size if size % 2 else size - size // 4]
        payload = text.encode()
        await world.device.event("Typed", {"Big": text})
        await world.quiet()
        if len(payload) <= LIMIT:
            assert world.held.get(topic, b"") == payload
            assert not parts()
            continue
        head = json.loads(world.held[topic])
        count = -(-len(payload) // LIMIT)
        assert head == {
            "chunks": count,
            "bytes": len(payload),
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        assert len(parts()) == count
        assert b"".join(world.held[f"{topic}/chunk/{n}"] for n in range(1, count + 1)) == payload
        last = [one for one in world.onlooker.messages if one.topic == topic][-1]
        assert last.properties.ContentType == "application/vnd.upnp2mqtt.chunks+json"
    state = f"{BASE}/{ID}/Typed/state"
    assert not [t for t in world.held if t.startswith(f"{state}/chunk/")]


# LastChange


async def test_every_instance_and_channel_of_a_last_change_is_published(world: World) -> None:
    change = last_change(
        '<InstanceID val="0"><Volume channel="Master" val="11"/><Volume channel="LF" val="12"/>'
        '<Mute Channel="Master" val="1"/><Unlisted val="x"/></InstanceID>',
        '<InstanceID val="7"><Volume channel="Master" val="13"/></InstanceID>',
    )
    published = dict(await world.event("AV", LastChange=change))
    state = json.loads(published.pop("state"))
    assert published == {
        "value/Volume/0/Master": b"11",
        "value/Volume/0/LF": b"12",
        "value/Mute/0/Master": b"true",
        "value/Unlisted/0": b"x",
        "value/Volume/7/Master": b"13",
    }
    assert state["instances"] == {
        "0": {
            "Volume": {"Master": 11, "LF": 12},
            "Mute": {"Master": True},
            "Unlisted": "x",
        },
        "7": {"Volume": {"Master": 13}},
    }
    assert not [topic for topic in world.held if "value/LastChange" in topic]


async def test_a_channel_with_a_reserved_name_is_escaped(world: World) -> None:
    change = last_change(
        '<InstanceID val="0"><Volume channel="set" val="1"/><Volume channel="a/b" val="2"/>'
        '<Volume channel="get" val="3"/></InstanceID>'
    )
    published = dict(await world.event("AV", LastChange=change))
    assert published["value/Volume/0/%73et"] == b"1"
    assert published["value/Volume/0/a%2Fb"] == b"2"
    assert published["value/Volume/0/%67et"] == b"3"
    assert json.loads(published["state"])["instances"]["0"]["Volume"]["set"] == 1


@pytest.mark.parametrize("tail", ["", "</InstanceID></Event>", "<Broken", "\0", "&", "]]>"])
async def test_a_last_change_with_a_broken_tail_gives_what_can_be_read(
    world: World, tail: str
) -> None:
    value = f"v{len(tail)}{tail.__hash__() % 1000}"
    change = last_change(f'<InstanceID val="0"><Text val="{value}"/></InstanceID>') + tail
    change = change.replace("\0", "")
    published = dict(await world.event("AV", LastChange=change))
    assert published["value/Text/0"] == value.encode()


@pytest.mark.parametrize("text", ["", "nonsense", "</InstanceID></Event>", "<", "&lt;a/&gt;"])
async def test_a_last_change_that_says_nothing_publishes_nothing(world: World, text: str) -> None:
    before = world.state("AV")
    assert await world.event("AV", LastChange=text) == []
    assert world.state("AV") == before


async def test_a_document_type_in_a_last_change_is_not_expanded(world: World) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "boom">]>' + last_change(
        '<InstanceID val="0"><Bomb val="&x;"/></InstanceID>'
    )
    published = await world.event("AV", LastChange=bomb)
    assert not [payload for _, payload in published if b"boom" in payload]


async def test_a_queue_id_is_an_instance(world: World) -> None:
    change = (
        '<Event xmlns="urn:schemas-sonos-com:metadata-1-0/Queue/">'
        '<QueueID val="0"><UpdateID val="4"/></QueueID>'
        '<QueueID val="9"><UpdateID val="5"/></QueueID></Event>'
    )
    published = dict(await world.event("Queue", LastChange=change))
    assert published["value/UpdateID/0"] == b"4"
    assert published["value/UpdateID/9"] == b"5"


async def test_a_last_change_that_repeats_itself_publishes_what_differs(world: World) -> None:
    one = last_change('<InstanceID val="3"><A val="1"/><B val="2"/></InstanceID>')
    two = last_change('<InstanceID val="3"><A val="1"/><B val="3"/></InstanceID>')
    await world.event("AV", LastChange=one)
    assert await world.event("AV", LastChange=one) == []
    assert [topic for topic, _ in await world.event("AV", LastChange=two)] == [
        "value/B/3",
        "state",
    ]


# Subscriptions


async def test_a_gap_in_the_events_is_healed_by_a_new_subscription(world: World) -> None:
    service = world.device.service("Deep")
    service.initial = {"V": "healed"}
    subscribed = world.device.subscribed.count("Deep")
    await world.device.event("Deep", {"V": "late"}, skip=7)
    await world.holds("%62ridge/Deep/value/V", b"healed")
    assert world.device.subscribed.count("Deep") == subscribed + 1
    assert len(service.subscribers) == 1
    assert "Deep" in world.device.unsubscribed


async def test_a_notify_for_nobody_changes_nothing(world: World) -> None:
    (subscriber,) = world.device.service("Odd").subscribers.values()
    sid, callback = subscriber.sid, subscriber.callback
    for wrong_sid, wrong_callback in (
        ("uuid:wrong", callback),
        (sid, callback[:-3] + "xyz"),
        (sid, callback.rpartition("/")[0] + "/"),
    ):
        subscriber.sid, subscriber.callback = wrong_sid, wrong_callback
        assert await world.event("Odd", **{"Größe.1-x": "spoofed"}) == []
        subscriber.seq -= 1
    subscriber.sid, subscriber.callback = sid, callback
    assert await world.event("Odd", **{"Größe.1-x": "true"})
