"""Attacks by names, and by being somebody else."""

import asyncio
import json
from xml.sax.saxutils import escape, quoteattr

from tests.adapter.device import Part, Service, Variable, answer, new_udn, running
from tests.adapter.hostile.site import Site
from tests.adapter.mosquitto import until

RESERVED = (
    "bridge", "reply", "state", "value", "action", "variable", "call", "response", "set", "get",
    "media", "availability", "chunk", "argument", "request", "log", "event", "all", "main",
)  # fmt: skip
ODD = (
    "a/b", "+", "#", "a+b#c", "%2F", "%", "..", ".", "$SYS", " ", "\u00a0", "\u202e", "\u2028",
    "\ufeff", "\ufdd0", "\uffff", "\U0010ffff", "\x7f", "\x85", "ünïcödé", "日本", "😀",
    "x" * 10_240, "ü" * 100, "{{ states }}", "'; DROP TABLE", "<b>", "\\", '"',
)  # fmt: skip


def scpd(names: tuple[str, ...]) -> bytes:
    """Return an SCPD that has everything by each of these names, twice."""

    def tag(kind: str, text: str) -> str:
        return f"<{kind}>{escape(text)}</{kind}>"

    arguments = "".join(
        f"<argument>{tag('name', name)}<direction>{way}</direction>"
        f"{tag('relatedStateVariable', name)}</argument>"
        for name in names
        for way in ("in", "out")
    )
    actions = "".join(
        f"<action>{tag('name', name)}<argumentList>{arguments}</argumentList></action>"
        for name in names
    )
    variables = "".join(
        f"<stateVariable>{tag('name', name)}<dataType>string</dataType></stateVariable>"
        for name in names
    )
    return f"<scpd>{actions * 2}{variables * 2}</scpd>".encode("utf-8", "surrogatepass")


async def named(site: Site, names: tuple[str, ...]) -> None:
    """Have UDNs, serviceIds, variables, actions, arguments, instances and channels named so."""
    services = tuple(Service(name, (), {}, service_id=name, service_type=name) for name in names)
    parts = tuple(Part(name, name) for name in names)
    root = Part(new_udn(), "Hostile", services, parts)
    async with running(root) as device:
        for number in range(len(services)):
            device.answers[f"/{number}/scpd.xml"] = answer(200, scpd(names))
        device.boot_id += 1
        device.alive()
        await site.joined(device)
        await until(lambda: device.requests[f"GET /{len(services) - 1}/scpd.xml"], 20)
        change = "".join(
            f"<InstanceID val={quoteattr(one)}><V channel={quoteattr(one)} val='1'/></InstanceID>"
            for one in names
        )
        own = services[0]
        await until(lambda: own.subscribers, 10)
        await device.event(own.name, {"LastChange": f"<Event>{change}</Event>"})
        for name in names:
            if name.isascii() and name.isalpha() and len(name) < 100:
                await device.event(own.name, {name: "1"})
        for action in names[:6]:
            site.onlooker.publish(
                f"upnp/{device.udn}/call",
                {"service": own.service_id, "action": action, "args": dict.fromkeys(names, "1")},
            )
        await asyncio.sleep(1)
    # Roots by these names.
    for name in names[:16]:
        async with running(Part(name, name)):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)


async def the_honest_one(site: Site) -> None:
    """Say to be the honest device: by root UDN, by one embedded, and by announcements."""
    tree = {t: p for t, p in site.onlooker.held.items() if t.startswith(f"upnp/{site.honest.udn}")}
    udn = site.honest.udn
    roots = (
        Part(udn, "Hostile"),
        Part(udn.upper(), "Hostile"),
        Part(new_udn(), "Hostile", (), (Part(udn, "Hostile"),)),
        Part(
            new_udn(),
            "Hostile",
            (Service("Counter", (Variable("Count"),), {"Count": "0"}),),
            (Part(udn.upper(), "x"),),
        ),
    )
    for root in roots:
        async with running(root) as device:
            device.boot_id = 99
            device.alive()
            await asyncio.sleep(0.4)
            device.byebye()
    moving = ("/availability", "/state", "/Count")
    now = {t: p for t, p in site.onlooker.held.items() if t.startswith(f"upnp/{site.honest.udn}")}
    assert now.keys() == tree.keys()
    changed = {t for t in now if now[t] != tree[t] and not t.endswith(moving)}
    assert changed <= {f"upnp/{udn}"}
    before, after = (json.loads(one[f"upnp/{udn}"]) for one in (tree, now))
    added = set(after.pop("problems", [])) - set(before.pop("problems", []))
    assert after == before
    assert all(line.startswith("another device has the same UDN, at ") for line in added)
