"""The naive tree is what docs/topics.md says, knows nothing of the bridge, and sees what is wrong.

`test_seeds.py` has every run compared with it.
"""

import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bridge.model import datatypes
from bridge.tree import documents
from tests.simulation import devices, naive_faults, naive_tree, run
from tests.simulation.devices import Device
from tests.simulation.naive_tree import Served, Tree
from tests.simulation.plan import Step

LIMIT = 1500
_NS = 'xmlns="urn:schemas-upnp-org'
LAMP = Served(
    "http://10.0.0.9:80/d/lamp.xml",
    "OS/1 UPnP/1.1 Lamp/1",
    {
        "/d/lamp.xml": f"""<root {_NS}:device-1-0"><specVersion><major>1</major><minor>0</minor>
</specVersion><device><deviceType>urn:x:device:Lamp:1</deviceType><friendlyName>Läm</friendlyName>
<modelURL>m</modelURL><UDN>uuid:reply</UDN><serviceList><service><serviceType>urn:x:service:P:1
</serviceType><serviceId>urn:x:serviceId:art</serviceId><SCPDURL>/p</SCPDURL>
<controlURL>c</controlURL><eventSubURL>/e</eventSubURL></service></serviceList>
</device></root>""".replace("\n", "").encode(),
        "/p": f"""<scpd {_NS}:service-1-0"><actionList><action><name>Get</name><argumentList>
<argument><name>A B</name><direction>out</direction><retval/><relatedStateVariable>On
</relatedStateVariable></argument></argumentList></action></actionList><serviceStateTable>
<stateVariable><name>On</name><dataType>boolean</dataType></stateVariable><stateVariable
 sendEvents="no"><name>R</name><dataType>r4</dataType><defaultValue>0.50</defaultValue>
<allowedValueRange><minimum>0</minimum><maximum>1e1</maximum></allowedValueRange></stateVariable>
</serviceStateTable></scpd>""".replace("\n", "").encode(),
    },
    {
        "/e": b'<e:propertyset xmlns:e="urn:x"><e:property><On>Yes</On></e:property><e:property>'
        b"<LastChange>&lt;Event>&lt;InstanceID val='7'>&lt;R channel='set' val='1.50'/>"
        b"&lt;Odd val='01'/>&lt;/InstanceID>&lt;/Event></LastChange></e:property></e:propertyset>"
    },
    {"/d/c": {"R": "12"}},
)
LAMPS_TREE = {
    "upnp/%72eply/availability": "online",
    "upnp/%72eply": '{"id":"%72eply","kind":"device","children":["%72eply/%61rt"],'
    '"udn":"uuid:reply","device_type":"urn:x:device:Lamp:1","friendly_name":"Läm",'
    '"model_url":"http://10.0.0.9:80/d/m","root":"%72eply",'
    '"location":"http://10.0.0.9:80/d/lamp.xml","server":"OS/1 UPnP/1.1 Lamp/1",'
    '"upnp_version":"1.0","bridge":"main"}',
    "upnp/%72eply/%61rt": '{"id":"%72eply/%61rt","kind":"service","parent":"%72eply",'
    '"children":["%72eply/%61rt/action/Get","%72eply/%61rt/variable/On",'
    '"%72eply/%61rt/variable/R"],"service_id":"urn:x:serviceId:art",'
    '"service_type":"urn:x:service:P:1","scpd_url":"http://10.0.0.9:80/p",'
    '"control_url":"http://10.0.0.9:80/d/c","event_url":"http://10.0.0.9:80/e"}',
    "upnp/%72eply/%61rt/action/Get": '{"id":"%72eply/%61rt/action/Get","kind":"action",'
    '"parent":"%72eply/%61rt","children":["%72eply/%61rt/action/Get/argument/A%20B"],"name":"Get"}',
    "upnp/%72eply/%61rt/action/Get/argument/A%20B": '{"id":'
    '"%72eply/%61rt/action/Get/argument/A%20B","kind":"argument",'
    '"parent":"%72eply/%61rt/action/Get","children":[],"name":"A B","direction":"out",'
    '"variable":"%72eply/%61rt/variable/On","retval":true}',
    "upnp/%72eply/%61rt/variable/On": '{"id":"%72eply/%61rt/variable/On","kind":"variable",'
    '"parent":"%72eply/%61rt","children":[],"name":"On","data_type":"boolean","evented":true}',
    "upnp/%72eply/%61rt/variable/R": '{"id":"%72eply/%61rt/variable/R","kind":"variable",'
    '"parent":"%72eply/%61rt","children":[],"name":"R","data_type":"r4","evented":false,'
    '"default":0.5,"minimum":0,"maximum":10.0}',
    "upnp/%72eply/%61rt/value/On": "true",
    "upnp/%72eply/%61rt/value/R/7/%73et": "1.5",
    "upnp/%72eply/%61rt/value/R": "12",
    "upnp/%72eply/%61rt/value/Odd/7": "01",
    "upnp/%72eply/%61rt/state": '{"values":{"On":true,"R":12},'
    '"instances":{"7":{"R":{"set":1.5},"Odd":"01"}}}',
}


def test_the_naive_tree_is_the_one_of_the_contract():
    tree = {topic: payload.decode() for topic, payload in naive_tree.write(LAMP).items()}
    assert tree == LAMPS_TREE


@pytest.mark.parametrize("module", [naive_tree, naive_faults])
def test_it_imports_the_standard_library_alone(module):
    for name in _imported(Path(module.__file__).read_text()):
        is_own = name.startswith("tests.simulation.naive_tree")
        assert is_own or name.partition(".")[0] in sys.stdlib_module_names


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{one.name}" for one in node.names)


def test_an_import_of_the_bridge_would_be_seen():
    source = (
        "def f():\n    import json, bridge.log\n    from bridge import app\n    from ..x import y"
    )
    assert list(_imported(source)) == ["json", "bridge.log", "bridge.app", "..x.y"]


# What is wrong is seen


def held_of(*up: Device, away: Device | None = None) -> Tree:
    """What a right bridge has at the broker."""
    trees = [naive_tree.write(one.served) for one in up]
    rows = [naive_tree.row(one) for one in trees]
    held = {topic: payload for one in trees for topic, payload in one.items()}
    if away is not None:
        left = naive_tree.write(away.served)
        for udn in away.udns:
            left[f"upnp/{udn}/availability"] = b"offline"
        rows.append(naive_tree.row(left) | {"offline_since": "2026-01-01T00:00:00Z"})
        held |= left
    for topic in held:
        if topic.endswith("/state"):
            state = json.loads(held[topic]) | {"updated": "2026-01-01T00:00:00.000Z"}
            held[topic] = naive_tree.written(state)
    info = dict.fromkeys(("version", "started", "instance", "settings", "capabilities"), "")
    rows.sort(key=lambda one: str(one["id"]))
    return held | {
        "upnp/bridge/main/state": b"online",
        "upnp/bridge/main/info": naive_tree.written(info),
        "upnp/bridge/main/health": b"{}",
        "upnp/bridge/main/devices": naive_tree.written(rows),
        "upnp/bridge/main/sees": b"{}",
    }


def started(udn: str) -> Device:
    device = Device(udn, "10.0.0.9", lambda *_: None)
    device.start()
    return device


NESTED, GAUGE, GONE = started("nested-0"), started("plain-1"), started("bare-0")


def faults(held: Tree, limit: int = LIMIT, **left: Any) -> list[str]:
    up, away = [NESTED.served, GAUGE.served], [replace(GONE.left, **left)]
    return list(naive_faults.faults(held, up, away, has_state=True, limit=limit))


def test_what_is_right_has_no_faults():
    assert not faults(held_of(NESTED, GAUGE, away=GONE))
    assert not faults(held_of(NESTED, GAUGE))
    assert not faults(held_of(NESTED, GAUGE), is_forgotten=True)


def test_of_a_device_that_is_forgotten_nothing_may_be_left():
    assert faults(held_of(NESTED, GAUGE, away=GONE), is_forgotten=True)


@pytest.mark.parametrize("problems", [["Notebook: no SCPD: no answer in time"], []])
def test_a_device_that_is_away_may_have_been_read_without_an_scpd_if_it_says_so(problems):
    held = held_of(NESTED, GAUGE, away=GONE)
    service = f"upnp/{GONE.udn}/Notebook"
    held = {topic: held[topic] for topic in held if not topic.startswith(f"{service}/")}
    _amend(held, service, children=[])
    _amend(held, f"upnp/{GONE.udn}", **({"problems": problems} if problems else {}))
    rows = json.loads(held["upnp/bridge/main/devices"])
    rows = [one | {"problems": len(problems)} if one["id"] == GONE.udn else one for one in rows]
    held["upnp/bridge/main/devices"] = naive_tree.written(rows)
    assert bool(faults(held)) == (not problems)


def _amend(held: Tree, topic: str, **more: object) -> None:
    held[topic] = naive_tree.written(json.loads(held[topic]) | more)


def test_chunks_are_put_together():
    held = held_of(NESTED, GAUGE, away=GONE)
    assert not faults(_cut(held, 200), 200)
    assert faults(_cut(held, 200), 300), "what is short is not cut"
    assert faults(held, 200)
    for topic in ("upnp/plain-1/chunk/2", "upnp/plain-1"):
        less = _cut(held, 200)
        less[topic] = less[topic].replace(b"0", b"1")
        assert faults(less, 200)
        del less[topic]
        assert faults(less, 200)


def _cut(held: Tree, limit: int) -> Tree:
    parts: Tree = {}
    for topic, payload in held.items():
        if len(payload) <= limit:
            parts[topic] = payload
            continue
        cut = [payload[at : at + limit] for at in range(0, len(payload), limit)]
        parts |= {f"{topic}/chunk/{number + 1}": part for number, part in enumerate(cut)}
        told = {"chunks": len(cut), "bytes": len(payload), "sha256": sha256(payload).hexdigest()}
        parts[topic] = naive_tree.written(told)
    return parts


@pytest.mark.parametrize(
    "topic",
    [
        "upnp/bridge/main/devices",
        "upnp/bridge/main/info",
        "upnp/bridge/main/state",
        *(f"upnp/{one}/availability" for one in ("nested-0", "nested-0-in", "bare-0")),
        *naive_tree.write(GAUGE.served),
    ],
)
def test_a_topic_that_is_missing_or_wrong_is_seen(topic):
    held = held_of(NESTED, GAUGE, away=GONE)
    payload = held.pop(topic)
    assert faults(held)
    for wrong in (b"[" + payload + b"]", payload[:-1], b'"%s"' % payload):
        if topic != "upnp/bridge/main/devices":
            assert faults(held | {topic: wrong})


@pytest.mark.parametrize(
    ("topic", "right", "wrong"),
    [
        ("upnp/plain-1/Gauge%201/value/Count", b"7", b"007"),
        ("upnp/plain-1/Gauge%201/value/On", b"true", b"yes"),
        ("upnp/plain-1/Gauge%201/state", b'"Count":7', b'"Count":"7"'),
        ("upnp/plain-1/Gauge%201/state", b'"On":true', b'"On":1'),
        ("upnp/plain-1/Gauge%201/state", b"Z", b""),
        ("upnp/plain-1/RenderingControl/state", b'"Master":10', b'"Master":10.0'),
        ("upnp/plain-1/Gauge%201/variable/Count", b'"default":7', b'"default":"007"'),
        ("upnp/plain-1", b'"kind":"device","children"', b'"children"'),
        ("upnp/bare-0", b"10.0.0.9", b"10.0.0.8"),
        ("upnp/bare-0/Notebook/action/GetTold", b"GetTold", b"Gettold"),
        ("upnp/bare-0/Notebook/value/Note", b"fresh 1", b"fresh 2"),
        ("upnp/bare-0/Notebook/state", b'"Level":0', b'"Level":"0"'),
        ("upnp/bridge/main/devices", b'"problems":0', b'"problems":"0"'),
        ("upnp/bridge/main/devices", b',"offline_since":"2026-01-01T00:00:00Z"', b""),
    ],
)
def test_a_wrong_value_is_seen(topic, right, wrong):
    held = held_of(NESTED, GAUGE, away=GONE)
    assert right in held[topic]
    held[topic] = held[topic].replace(right, wrong)
    assert faults(held)


@pytest.mark.parametrize(
    "topic",
    ["upnp/plain-1/media", "upnp/plain-1/Notebook/value/X", "upnp/strange", "upnp/bare-0/X"],
)
def test_a_topic_too_many_is_seen(topic):
    assert faults(held_of(NESTED, GAUGE, away=GONE) | {topic: b"{}"})


# Of a bridge that is wrong in itself, the mirror sees nothing, since it is the bridge's own


def _wrapped(patch: pytest.MonkeyPatch) -> None:
    document = documents.device_document

    def wrap(*args: Any, **options: Any) -> bytes:
        return b"[%s]" % document(*args, **options)

    patch.setattr(documents, "device_document", wrap)


def _one_less(patch: pytest.MonkeyPatch) -> None:
    """Have no document for any argument."""
    members = documents._members

    def most(*args: Any) -> Iterator[Any]:
        yield from ((own, one) for own, one in members(*args) if one["kind"] != "argument")

    patch.setattr(documents, "_members", most)


def _texts(patch: pytest.MonkeyPatch) -> None:
    """Have numbers be texts."""
    patch.setattr(datatypes, "_READERS", {"boolean": datatypes._boolean})


@pytest.mark.parametrize("wrong", [_wrapped, _one_less, _texts])
def test_a_bridge_that_is_consistent_and_wrong_is_seen(wrong, monkeypatch):
    plan = [Step(1.0, "join", which, 0, 0.0) for which in (1, 3)]
    assert not run.run(0, plan).faults
    wrong(monkeypatch)
    devices.description.cache_clear()
    found = run.run(0, plan).faults
    devices.description.cache_clear()
    assert found
    assert all(one.startswith("naive: ") for one in found)
