"""What docs/home-assistant.md and docs/hubs.md say is what the bridge has."""

import json
import re

import pytest
from paho.mqtt.client import topic_matches_sub

from bridge import settings
from bridge.demo import gateway as router
from bridge.demo import light, media_server, renderer
from bridge.hubs.homeassistant.rules import KINDS, Rule
from bridge.model import topics
from bridge.tree.device_tree import Shape
from tests import documents
from tests.documents import blocks, rows, section
from tests.unit.hubs import NO_LIMIT, home_assistant
from tests.unit.wired import Wired

NAMES = ("home-assistant.md", "hubs.md")
DEMO_UDNS = {
    device.DEVICE_DEFINITION.udn.removeprefix("uuid:")
    for device in (
        light.Light,
        media_server.MediaServer,
        renderer.Renderer,
        router.Router,
        router.WANDevice,
        router.WANConnectionDevice,
    )
}
OWN_NAME = {
    ("SwitchPower", "light"): "the light, dimmed by Dimming",
    ("SwitchPower", "switch"): "the switch",
    ("basicevent", "light"): "the light, dimmed by its brightness",
    ("basicevent", "switch"): "the switch",
}
"""How an entity is called that has the name of its device."""


@pytest.fixture(params=NAMES)
def document(request: pytest.FixtureRequest) -> str:
    return documents.text(request.param)


def unit(rule: Rule) -> str:
    if rule.name in ("Volume", "Level"):
        return "%"  # by the range in the SCPD
    return str(rule.more.get("unit_of_measurement", ""))


def test_the_table_of_entities_has_every_rule():
    told: list[tuple[str, ...]] = []
    kinds: list[str] = []
    for of, entity, *more in rows(section(documents.text(NAMES[0]), "Entities")):
        found = re.findall(r"\b[A-Za-z]+(?=[,)])", of.partition(" (")[2])
        kinds = found or kinds
        if entity:
            told += [(kind, entity.removesuffix(" (Sonos)"), *more) for kind in kinds]
    expected = [
        (
            kind,
            rule.name or OWN_NAME[kind, rule.platform],
            rule.platform,
            unit(rule),
            "yes" if rule.enabled else "no",
        )
        for kind, known in KINDS.items()
        for rule in known.rules
    ]
    assert sorted(told) == sorted(expected)


def test_what_comes_behind_all_else_is_said():
    (line,) = re.findall(r"^(.*) come last\.$", documents.text(NAMES[0]), re.MULTILINE)
    minor = {kind for kind, known in KINDS.items() if known.is_minor}
    assert set(re.findall(r"\w{5,}", line)) == minor


def test_the_table_of_the_bridge_s_own_device_is_whole():
    (payload,) = home_assistant().own(NO_LIMIT).values()
    expected = [
        (one["name"], one["platform"]) for one in json.loads(payload)["components"].values()
    ]
    table = rows(section(documents.text(NAMES[0]), "The bridge's own device"))
    assert sorted(expected) == sorted((name, platform) for name, platform, _ in table)


def test_every_setting_that_is_named_exists(document):
    names = {name for name, _ in settings.fields()}
    groups = "|".join(sorted({name.partition(".")[0] for name in names if "." in name}))
    named = set(re.findall(rf"`((?:{groups})\.[a-z_]+)`", document))
    assert named <= names
    variables = set(re.findall(r"\bBRIDGE_[A-Z_]+", document))
    assert variables <= {settings.variable(name) for name in names}


def test_every_topic_has_the_form_of_the_tree(document):
    found = documents.topics(document)
    assert len(found) > 3
    assert not [topic for topic in found if not is_topic(topic)]
    udns = {topic.split("/")[1] for topic in found} - {"bridge", "reply", "<udn>", "+", "$R", "$L"}
    assert udns <= DEMO_UDNS


def is_topic(topic: str) -> bool:
    whole = re.sub(r"<[\w ]+>|\$[RL]", "x", topic)
    own = whole.removeprefix("upnp/")
    router = Wired(Shape("upnp", "main"), qos=1)
    return (
        topics.is_mirrored(own.replace("+", "x").replace("/#", "/x"))
        or any(topic_matches_sub(one, whole) for one in router.dispatch.filters)
        or re.fullmatch(r"reply/[\w-]+|x/response|bridge/(main|x)/state", own) is not None
    )


def test_a_topic_of_another_form_is_told():
    for wrong in ("<udn>/call/it", "$R/media/title", "$R/S/values/V", "$R/S/value/V/0/Master/put"):
        assert not is_topic(f"upnp/{wrong}")
    assert is_topic("upnp/$R/S/value/V/0/Master/set")


def test_the_flow_for_node_red_is_whole():
    (text,) = blocks(documents.text("hubs.md"), "json")
    nodes = {node["id"]: node for node in json.loads(text)}
    for node in nodes.values():
        assert {target for wire in node.get("wires", []) for target in wire} <= set(nodes)
        assert node.get("broker", "upnp-broker") in (*nodes, "127.0.0.1")
        assert node.get("z", "upnp-tab") in nodes
    outs = [node for node in nodes.values() if node["type"] == "mqtt out"]
    filters = Wired(Shape("upnp", "main"), qos=1).dispatch.filters
    for node in outs:
        assert any(topic_matches_sub(one, node["topic"]) for one in filters)
        assert node["retain"] == "false"
    assert len(outs) == 2


def test_every_link_within_the_documents_leads_somewhere(document):
    for file, anchor in re.findall(r"\]\((?!https?:)([\w./-]*)#?([\w-]*)\)", document):
        target = documents.text(file) if file else document
        anchors = {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", target, re.MULTILINE)
        }
        assert not anchor or anchor in anchors, f"{file}#{anchor}"
