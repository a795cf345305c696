"""The lab with broker, bridge and observer, and what the tree must be while these devices run."""

import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system import raw
from tests.system.bridge import Bridge, Broker, Observer
from tests.system.devices import DEVICES
from tests.system.lab import CONTROL_POINT, Lab
from tests.system.raw import Component, RawDevice, RawService
from tests.system.search import search

SILENT = "minidlna"
"""It grants subscriptions, connects to the callback, and sends nothing."""
_BRIDGE_DOCUMENTS = frozenset(
    f"bridge/main/{name}" for name in ("devices", "health", "info", "state")
)
_NAMES = {"device": "friendly_name", "subdevice": "friendly_name", "service": "service_id"}


class Site:
    """All that a test of the whole program needs."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.broker = Broker(lab, folder)
        self.bridge = Bridge(lab, folder)
        self.running: list[str] = []
        self._read: dict[str, list[RawDevice]] = {}

    def close(self) -> None:
        """End bridge and broker."""
        for program in (self.bridge, self.broker):
            if program.runs:
                program.stop()

    @contextmanager
    def observed(self) -> Iterator[Observer]:
        """Start broker and bridge where they do not run, and observe a whole tree."""
        if not self.broker.runs:
            self.broker.start()
        with Observer(self.lab) as observer:
            if not self.bridge.runs:
                self.bridge.start()
            observer.wait_online()
            yield observer

    def devices(self, *names: str) -> list[RawDevice]:
        """Read the root devices of these programs, of all that run where none is named."""
        unread = {
            DEVICES[name].address: name for name in names or self.running if name not in self._read
        }
        for _ in range(5):
            roots = {name: len(DEVICES[name].types) for name in unread.values()}
            found: dict[str, set[str]] = {name: set() for name in unread.values()}
            for address, location in self.lab.call(search, 1.2) if unread else ():
                if address in unread:
                    found[unread[address]].add(location)
            for name, locations in found.items():
                if len(locations) == roots[name]:
                    del unread[DEVICES[name].address]
                    self._read[name] = [
                        self.lab.call(raw.read_device, one) for one in sorted(locations)
                    ]
        assert not unread
        return [one for name in names or self.running for one in self._read[name]]

    def start(self, *names: str) -> None:
        """Start devices."""
        self.lab.start(*names)
        self.running += names

    def stop(self, *names: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End devices."""
        self.lab.stop(*names, number=number)
        for name in names:
            self.running.remove(name)
            self._read.pop(name, None)

    def device(self, name: str, kind: str) -> str:
        """Give the id of the device of a program that is of this type."""
        (found,) = (one.id for one in self.devices(name) if f":device:{kind}:" in one.device_type)
        return found

    def service(self, name: str, action: str) -> RawService:
        """Find the service of a program that has an action."""
        for device in self.devices(name):
            for service in device.services.values():
                if action in service.actions:
                    return service
        raise AssertionError(f"{name} has no action {action}")

    def invoke(self, service: RawService, action: str, **arguments: object) -> dict[str, str]:
        """Carry out an action without the bridge."""
        return self.lab.call(raw.invoke, service, action, arguments)

    def values(self, device: RawDevice) -> dict[str, str]:
        """Ask a device for all its values by subscriptions of our own; empty ones included."""
        values: dict[str, str] = {}
        for service in device.services.values():
            if not device.location.startswith(f"http://{DEVICES[SILENT].address}:"):
                values |= self.lab.call(raw.first_event, service, CONTROL_POINT)
        return values

    def await_right(self, observer: Observer, *names: str, seconds: float = 5) -> None:
        """Wait until the tree is right for these programs (all where none is named).

        Raises AssertionError with what is wrong.
        """
        deadline = time.monotonic() + seconds
        while wrong := self.wrong(observer, *names):
            assert time.monotonic() < deadline, "\n".join(wrong[:20])
            time.sleep(0.1)

    def wrong(self, observer: Observer, *names: str) -> list[str]:
        """Tell what of the tree is not as these programs are, one line each.

        Devices that are no more may be there if they are offline.
        """
        devices = self.devices(*names)
        values = {device.id: self.values(device) for device in devices}
        tree = {topic.removeprefix("upnp/"): text for topic, text in observer.tree.items()}
        wrong: list[str] = []
        for device in devices:
            wrong += _wrong_topics(device, values[device.id], tree)
            wrong += _wrong_row(device, json.loads(tree["bridge/main/devices"]))
        known = {own for device in devices for own in device.devices}
        for topic, payload in tree.items():
            own = topic.partition("/")[0]
            if own == "bridge":
                if topic not in _BRIDGE_DOCUMENTS:
                    wrong.append(f"{topic}: unexpected")
            elif own not in known and not names and tree.get(f"{own}/availability") != b"offline":
                wrong.append(f"{topic}: of no device, {payload[:80]!r}")
        return wrong


def _wrong_topics(
    device: RawDevice, values: Mapping[str, str], tree: Mapping[str, bytes]
) -> Iterator[str]:
    expected: dict[str, str | None] = dict.fromkeys(device.components)
    expected |= {f"{own}/availability": "online" for own in device.devices}
    expected |= {own: text for own, text in values.items() if text}
    for service in device.services:
        here = {own: text for own, text in values.items() if own.startswith(f"{service}/")}
        if here:
            expected[f"{service}/state"] = None
            told = told_in_state(service, json.loads(tree.get(f"{service}/state", b"{}")))
            for own in sorted({own for own, _ in told.items() ^ here.items()}):
                yield f"{own}: {told.get(own)!r} in the state, {here.get(own)!r} in the event"
    for own, component in device.components.items():
        yield from _wrong_document(own, component, json.loads(tree.get(own, b"{}")))
    for own, text in expected.items():
        if own not in tree or (text is not None and tree[own].decode() != text):
            yield f"{own}: holds {tree.get(own)!r}, not {text!r}"
    for own in tree:
        if own.partition("/")[0] in device.devices and own not in expected:
            yield f"{own}: unexpected"


def _wrong_document(own: str, component: Component, document: Mapping[str, Any]) -> Iterator[str]:
    told = Component(
        document.get("kind", ""),
        document.get(_NAMES.get(component.kind, "name"), ""),
        document.get("parent"),
        tuple(document.get("children", ())),
    )
    if document.get("id") != own or told != component:
        yield f"{own}: says {told}, not {component}"


def told_in_state(service: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Give the values in a `state` document, as their topics have them."""
    told = {f"{service}/value/{name}": value for name, value in state.get("values", {}).items()}
    for instance, variables in state.get("instances", {}).items():
        for name, value in variables.items():
            place = f"{service}/value/{name}/{instance}"
            if isinstance(value, dict):
                told |= {f"{place}/{channel}": one for channel, one in value.items()}
            else:
                told[place] = value
    return {own: one if isinstance(one, str) else json.dumps(one) for own, one in told.items()}


def _wrong_row(device: RawDevice, table: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [row for row in table if row["id"] == device.id]
    told = [(row["availability"], row["location"], row["subdevices"]) for row in rows]
    if told != [("online", device.location, list(device.devices[1:]))]:
        yield f"the table has {told} of {device.id} at {device.location}"
