"""What must hold once all is quiet: the broker's tree against what the devices hold."""

import json
from collections.abc import Iterator, Mapping

from bridge.app import Bridge
from bridge.model import topics
from bridge.model.device import Key
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree, join_parts
from tests.simulation import naive_faults
from tests.simulation.broker import ModelBroker
from tests.simulation.devices import NOTEBOOKS, Device
from tests.simulation.network import Network

FOREIGN = {
    "upnp/notes": b"the user's own",
    "upnp/nested-0/remark": b"beside our services",
    "upnp/other-1": b'{"id":"other-1","kind":"device","root":"other-1","bridge":"other"}',
    "upnp/other-1/availability": b"online",
    "upnp/bridge/other/state": b"offline",
    "homeassistant/status": b"online",
    "homeassistant/device/upnp2mqtt_other-1/config": b'{"components":{}}',
    "elsewhere/upnp/x": b"1",
}
"""What others hold at the broker: nothing of it may ever change."""

_MOST_PLACES = 100
_MOVING = {f"upnp/bridge/main/{name}" for name in ("info", "health", "devices", "state", "sees")}


def wanted(bridge: Bridge, devices: list[Device]) -> dict[str, bytes]:
    """Return the tree of devices that are all up, made from nothing."""
    mirror = Mirror(bridge.publishing.shape)
    # There is no limit yet in a bridge that has met no broker.
    limit = bridge.publishing.mirror.ledger.limit or bridge.settings.mqtt.max_payload
    mirror.open(RetainedTree({}, base="upnp", instance="main"), limit, lambda _: False)
    for device in devices:
        mirror.join(device.description)
        for udn, path, level in _services(device):
            service = topics.service_id(topics.device_id(udn), level)
            body = device.state[path]
            mirror.apply_event(service, _properties(path, body), initial=True, now="now")
            if path in NOTEBOOKS:
                mirror.apply_answers(service, [(Key("Told"), device.told)], now="now")
    held: dict[str, bytes] = {}
    while (due := mirror.take()) is not None:
        held[due[0]] = due[1].payload
    return {topic: join_parts(held, topic) or b"" for topic in held if "/chunk/" not in topic}


def _services(device: Device) -> Iterator[tuple[str, str, str]]:
    for part in device.description.device.walk():
        for service in part.services:
            path = "/" + service.control_url.split("/")[-2]
            yield part.udn, path, service.level


def _properties(path: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    if path != "/sound":
        return list(values.items())
    inside = ""
    for name, text in values.items():
        variable, _, channel = name.partition("/")
        at = f' channel="{channel}"' if channel else ""
        inside += f'<{variable}{at} val="{text}"/>'
    return [("LastChange", f'<Event><InstanceID val="0">{inside}</InstanceID></Event>')]


def faults(bridge: Bridge, network: Network, broker: ModelBroker) -> list[str]:
    """Return what is not as it should be now, one line each."""
    up = [one for one in network.devices if one.is_up]
    held = dict(broker.held)
    if bridge.settings.mqtt.protocol != "5":
        # Before MQTT 5, a command that is to be retained shows so at the next connection only.
        held = {topic: held[topic] for topic in held if not topic.endswith("/call")}
    found = [f"foreign topic touched: {t}" for t, p in FOREIGN.items() if held.pop(t, None) != p]
    parts = {topic: payload for topic, payload in held.items() if "/chunk/" in topic}
    whole: dict[str, bytes] = {}
    for topic in held.keys() - parts.keys():
        joined = join_parts(held, topic)
        if joined is None:
            found.append(f"parts of {topic} do not fit")
        else:
            whole[topic] = joined
            count = json.loads(held[topic])["chunks"] if joined != held[topic] else 0
            for number in range(1, count + 1):
                parts.pop(f"{topic}/chunk/{number}", None)
    found += [f"stray part {topic}" for topic in parts]
    found += _own(whole, network)
    away = [one for one in network.devices if not one.is_up]
    for device in away:
        found += _left_behind(device, whole)
    expected = wanted(bridge, up)
    for topic in _MOVING:
        whole.pop(topic, None)
        expected.pop(topic, None)
    for topic in sorted(whole.keys() | expected.keys()):
        one, other = whole.get(topic), expected.get(topic) or None
        if one != other and not _is_same_state(topic, one, other):
            found.append(f"{topic}: {_difference(one, other)}")
    return [*found, *_subscriptions(bridge, network, up), *_leftovers(bridge)]


def naive_faults_of(bridge: Bridge, network: Network, broker: ModelBroker) -> list[str]:
    """Return what differs from the tree that is written from the contract alone."""
    held = {
        topic: payload
        for topic, payload in broker.held.items()
        if topic.startswith("upnp/") and topic not in FOREIGN
    }
    if bridge.settings.mqtt.protocol != "5":
        held = {topic: held[topic] for topic in held if not topic.endswith("/call")}
    found = naive_faults.faults(
        held,
        [one.served for one in network.devices if one.is_up],
        [one.left for one in network.devices if not one.is_up],
        has_state=bridge.settings.mirror.state != "values",
        limit=bridge.settings.mqtt.max_payload,
    )
    return [f"naive: {one}" for one in found]


def _own(whole: Mapping[str, bytes], network: Network) -> Iterator[str]:
    if whole.get("upnp/bridge/main/state") != b"online":
        yield "the bridge is not online"
    rows = json.loads(whole.get("upnp/bridge/main/devices", b"[]"))
    seen = {row["id"]: row["availability"] for row in rows}
    if len(seen) != len(rows):
        yield "a device has two rows"
    sees = sorted(topics.device_id(one.udn) for one in network.devices if one.is_up)
    if json.loads(whole.get("upnp/bridge/main/sees", b"{}")) != {"devices": sees}:
        yield f"it sees {whole.get('upnp/bridge/main/sees')!r}"
    for device in network.devices:
        said = seen.get(topics.device_id(device.udn))
        if (said == "online") != device.is_up:
            yield f"row of {device.udn}: {said}, up: {device.is_up}"


def _left_behind(device: Device, whole: dict[str, bytes]) -> Iterator[str]:
    """Take out what is held of a device that is away; yield what of it is not as it was."""
    for udn in device.udns:
        own = topics.device_id(udn)
        top = f"upnp/{own}"
        mine = {
            topic: whole.pop(topic)
            for topic in tuple(whole)
            if f"{topic}/".startswith(f"{top}/") or topic.endswith(f"upnp2mqtt_{own}/config")
        }
        if not mine:
            continue
        if device.forgotten == device.life:
            yield f"{udn} is forgotten, and {len(mine)} topics are held"
        if top not in mine or mine.get(f"{top}/availability") != b"offline":
            yield f"{udn} is away, and {mine.get(f'{top}/availability')!r}"


def _difference(one: bytes | None, other: bytes | None) -> str:
    """Return both from where on they differ."""
    held, wanted = (repr(each) for each in (one, other))
    at = max(
        0,
        next((i for i, pair in enumerate(zip(held, wanted, strict=False)) if len(set(pair)) > 1), 0)
        - 20,
    )
    return f"held {held[at : at + 150]}, wanted {wanted[at : at + 150]}"


def _is_same_state(topic: str, one: bytes | None, other: bytes | None) -> bool:
    if not topic.endswith("/state") or one is None or other is None:
        return False
    return {**json.loads(one), "updated": 0} == {**json.loads(other), "updated": 0}


def _subscriptions(bridge: Bridge, network: Network, up: list[Device]) -> Iterator[str]:
    now = network.loop.time()
    assert network.notify is not None
    tokens = set(network.notify.receivers)
    needed = 0
    for device in up:
        for path in device.paths():
            needed += 1
            held = [one.callback.rpartition("/")[2] for one in device.held(path, now)]
            if not tokens.intersection(held):
                yield f"{device.udn}{path} is not subscribed to"
    if len(tokens) > needed:
        yield f"{len(tokens)} paths for events, {needed} services"


def _leftovers(bridge: Bridge) -> Iterator[str]:
    publishing, presence = bridge.publishing, bridge.devices.directory._presence._tables
    if len(publishing.mirror.ledger) or len(publishing.outbox):
        yield f"{len(publishing.mirror.ledger)} + {len(publishing.outbox)} wait to be published"
    if len(bridge.calls):
        yield f"{len(bridge.calls)} calls are under way"
    if len(presence.places) > _MOST_PLACES:
        yield f"{len(presence.places)} places"
