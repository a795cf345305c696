"""Whether what a broker holds is what the fleet is, topic by topic."""

import json
from collections.abc import Iterable, Iterator, Mapping

from benchmarks.soak.device import SoakDevice

Tree = Mapping[str, bytes]
_OWN = frozenset(f"upnp/bridge/main/{name}" for name in ("devices", "health", "info", "state"))


def wrong(tree: Tree, devices: Iterable[SoakDevice]) -> Iterator[str]:
    """Tell what of a tree is not as these devices are, one line each."""
    present = {device.udn: device for device in devices if device.present}
    if tree.get("upnp/bridge/main/state") != b"online":
        yield f"upnp/bridge/main/state: {tree.get('upnp/bridge/main/state')!r}"
    for topic, payload in tree.items():
        base, own, *_ = f"{topic}/".split("/")
        if base == "upnp" and own != "bridge" and own not in present:
            availability = tree.get(f"upnp/{own}/availability")
            if availability != b"offline":
                yield f"{topic}: of no device, {payload[:60]!r}, {availability!r}"
        elif topic.startswith("upnp/bridge/") and topic not in _OWN:
            yield f"{topic}: unexpected"
    for device in present.values():
        yield from _wrong_values(tree, device)


def _wrong_values(tree: Tree, device: SoakDevice) -> Iterator[str]:
    expected = dict(_expected(device))
    for topic, text in expected.items():
        if tree.get(topic, b"").decode() != text:
            yield f"{topic}: {tree.get(topic)!r}, not {text!r}"
    for topic in tree:
        levels = topic.split("/")
        is_value = levels[:2] == ["upnp", device.udn] and levels[3:4] == ["value"]
        if is_value and topic not in expected:
            yield f"{topic}: {tree[topic]!r}, not a value"


def _expected(device: SoakDevice) -> Iterator[tuple[str, str]]:
    own = f"upnp/{device.udn}"
    yield f"{own}/availability", "online"
    for service in device.services:
        for key, text in device.told[service].items():
            name, _, channel = key.partition("/")
            instance = "" if service == "ConnectionManager" else "/0"
            yield f"{own}/{service}/value/{name}{instance}{channel and '/' + channel}", text


def different(tree: Tree, fresh: Tree, devices: Iterable[SoakDevice]) -> Iterator[str]:
    """Tell what is not as a bridge that has just been started at an empty broker says it."""
    present = {device.udn for device in devices if device.present}

    def of(one: Tree) -> dict[str, object]:
        return {
            topic: _undated(topic, payload)
            for topic, payload in one.items()
            if any(udn in topic for udn in present)
        }

    soaked, wanted = of(tree), of(fresh)
    for topic in sorted(soaked.keys() | wanted.keys()):
        if soaked.get(topic) != wanted.get(topic):
            yield f"{topic}: {soaked.get(topic)!r:.300}, of a new bridge {wanted.get(topic)!r:.300}"


def _undated(topic: str, payload: bytes) -> object:
    if not topic.endswith("/state"):
        return payload
    return {name: value for name, value in json.loads(payload).items() if name != "updated"}
