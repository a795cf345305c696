"""Attacks by who may publish at the broker."""

import json
from typing import Any

from tests.adapter.device import new_udn
from tests.adapter.hostile.flood import flood
from tests.adapter.hostile.site import Site
from tests.adapter.mosquitto import until


async def commands(
    site: Site, topic: str, payload: bytes, *, number: int, answers: str = "", **more: Any
) -> None:
    """Send one command many times; `{udn}` stands for the honest device. Each has its answer."""
    udn = site.honest.udn
    mark = len(site.onlooker.messages)
    topic = topic.replace("{udn}", udn)
    await flood(site.broker.port, [(topic, payload)], times=number, **more)
    await site.caught_up(10)
    if answers:
        wanted = answers.format(udn=udn)
        await until(lambda: len(site.onlooker.since(mark, wanted)) >= number, 30)


JSON_BOMBS = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"callid":1,"args":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"callid":' + b"9" * 200_000 + b"}",
    b'{"callid":1e999,"timeout":-1e999}',
    b'{"callid":NaN}',
    b'{"callid":1,"callid":2,"action":"A","action":"B"}',
    b'{"' + b"a" * 200_000 + b'":1}',
    b'{"callid":"' + b"\\ud800" * 1000 + b'","action":"\\ud800","args":{"\\udfff":"\\ud800"}}',
    b"\xff\xfe\x00",
    b'{"action":"GetCount","args":{"x":' + b"9" * 4000 + b"}}",
    b'{"action":"GetCount","timeout":1e308,"check":"no","reply_to":"#"}',
)


TEN_MB = b"[" + b"1," * 5_000_000 + b"1]"


async def json_bombs(site: Site) -> None:
    """Send what is hard to read, to everything that reads."""
    udn = site.honest.udn
    topics = (
        f"upnp/{udn}/call",
        f"upnp/{udn}/Counter/action/GetCount/call",
        f"upnp/{udn}/Counter/value/Count/set",
        f"upnp/{udn}/Counter/value/Count/get",
        "upnp/bridge/main/request/announce",
        "upnp/bridge/main/request/add",
        "upnp/bridge/all/request/health",
        "upnp/bridge/other/state",
        f"upnp/{new_udn()}",
        "homeassistant/status",
    )
    everything = [(topic, bomb) for topic in topics for bomb in JSON_BOMBS]
    everything.append((topics[0], TEN_MB))
    await flood(site.broker.port, everything)
    await site.caller.fence()


async def replies_elsewhere(site: Site) -> None:
    """Ask for answers on topics that are none of the caller's."""
    udn = site.honest.udn
    where = (
        "$SYS/broker/x", "upnp/bridge/main/state", f"upnp/{udn}", f"upnp/{udn}/call",
        "upnp/bridge/main/request/forget", "homeassistant/status", "other/topic", "#",
        "upnp/reply/#", "upnp/reply/", "upnp/reply", "upnp/reply/a\x00b",
        "", "upnp/reply/../bridge", "upnp/reply/" + "x/" * 300, "upnp/reply/" + "x" * 60_000,
    )  # fmt: skip
    mark = len(site.onlooker.messages)
    bodies = [{"callid": one, "action": "Nope", "reply_to": one} for one in where]
    messages = [(f"upnp/{udn}/call", json.dumps(body).encode()) for body in bodies]
    await flood(site.broker.port, messages, CorrelationData=b"c" * 60_000)
    await flood(site.broker.port, messages[:1], ResponseTopic="$SYS/x")
    await flood(site.broker.port, messages[:1], ResponseTopic="upnp/bridge/main/state")
    await site.caller.fence()
    allowed = (f"upnp/{udn}/response", "upnp/reply/../bridge", "upnp/reply/" + "x" * 60_000)
    told = [
        one.topic
        for one in site.onlooker.messages[mark:]
        if b'"code":"unknown_action"' in one.payload and one.topic not in allowed
    ]
    assert [one[:99] for one in told] == []


async def a_false_neighbour(site: Site, instance: str) -> None:
    """Say to be another bridge that has the honest device, and then to be gone."""
    udn = site.honest.udn
    document = json.dumps({"id": udn, "kind": "device", "bridge": instance}).encode()
    messages = [(f"upnp/bridge/{instance}/state", b"online"), (f"upnp/{udn}", document)]
    leave = [(f"upnp/bridge/{instance}/state", b"")]
    await flood(site.broker.port, messages + leave, times=200, retain=True)
    await site.caught_up(15)


async def foreign_writing(site: Site) -> None:
    """Overwrite and clear what the bridge keeps at the broker; `announce` puts it right."""
    udn = site.honest.udn
    mine = [t for t in site.onlooker.held if t.startswith((f"upnp/{udn}", "upnp/bridge/main/"))]
    tree = {t: p for t, p in site.onlooker.held.items() if t in mine}
    for payload in (b"", b"\xff\0", b"{", b"[" * 50_000):
        await flood(site.broker.port, [(t, payload) for t in mine], retain=True)
    await until(lambda: site.onlooker.held.get("upnp/bridge/main/state") == b"online", 10)
    site.onlooker.publish("upnp/bridge/main/request/announce", {})
    steady = [t for t in mine if not t.endswith(("/state", "/Count", "/health"))]
    await until(lambda: all(site.onlooker.held.get(t) == tree[t] for t in steady), 10)
