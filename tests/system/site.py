"""The lab with broker, bridge and observer, and what the tree must be while these devices run."""

import json
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system import raw
from tests.system.bridge import PATIENCE, Bridge, Broker, Observer
from tests.system.devices import ASKED, ASKED_IN_SILENCE, DEVICES, SILENT
from tests.system.lab import CONTROL_POINT, Lab
from tests.system.raw import Component, RawDevice, RawService
from tests.system.search import search
from tests.system.space import Space

_BRIDGE_DOCUMENTS = frozenset(
    f"bridge/main/{name}" for name in ("devices", "health", "info", "sees", "state")
)
HUB_TOPIC = re.compile(r"homeassistant/device/[\w-]+/config")
"""What may stand outside the base; what it says is not looked at here."""
_MOVING = re.compile(
    r"(upnp/)?[^/]+/(WANCommonIFC1|WANIPConn1)/(value/(Uptime|Total(Bytes|Packets)\w+)|state)"
)
_ARGUMENT_TYPES = re.compile(r"GMediaRender[^/]+/\w+/value/A_ARG_TYPE_\w+/0")
"""What gmediarender tells once as it starts, to whoever has subscribed by then, and not later."""
_PLAYER_STATES = {"STOPPED": "stopped", "NO_MEDIA_PRESENT": "no_media", "PLAYING": "playing"}
_NAMES = {"device": "friendly_name", "subdevice": "friendly_name", "service": "service_id"}


class Site:
    """All that a test of the whole program needs.

    Broker and bridge stand in the lab itself, or in a `home`. `foreign` is retained at the broker
    by somebody else.
    """

    def __init__(self, lab: Lab, folder: Path, home: Space | None = None) -> None:
        self.lab = lab
        self.home = home or lab
        self.broker = Broker(self.home, folder)
        self.bridge = Bridge(self.home, folder)
        self.running: list[str] = []
        self.foreign: dict[str, bytes] = {}
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
        with Observer(self.home) as observer:
            if not self.bridge.runs:
                self.bridge.start()
            observer.wait_online()
            yield observer

    def devices(self, *names: str) -> list[RawDevice]:
        """Read the root devices of these programs, of all that run where none is named."""
        unread = {
            self.lab.addresses[name]: name
            for name in names or self.running
            if name not in self._read
        }
        for _ in range(5):
            roots = {name: len(DEVICES[name].types) for name in unread.values()}
            found: dict[str, set[str]] = {name: set() for name in unread.values()}
            for address, location in self.lab.call(search, 1.2) if unread else ():
                if address in unread:
                    found[unread[address]].add(location)
            for name, locations in found.items():
                if len(locations) == roots[name]:
                    del unread[self.lab.addresses[name]]
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

    def asked(self, device: RawDevice) -> dict[str, str]:
        """Ask a device for what the bridge asks it for; empty values included."""
        is_silent = device.location.startswith(f"http://{DEVICES[SILENT].address}:")
        values: dict[str, str] = {}
        for service in device.services.values():
            name = service.service_type.split(":")[-2]
            for action, told in (ASKED_IN_SILENCE if is_silent else ASKED).get(name, {}).items():
                out = self.invoke(service, action)
                values |= {
                    f"{service.id}/value/{variable}": raw.written(service, variable, out[argument])
                    for argument, variable in told.items()
                }
        return values

    def await_right(self, observer: Observer, *names: str, seconds: float = 5) -> None:
        """Wait until the tree is right for these programs (all where none is named).

        Raises AssertionError with what is wrong.
        """
        deadline = time.monotonic() + PATIENCE * seconds
        while wrong := self.wrong(observer, *names):
            assert time.monotonic() < deadline, "\n".join(wrong[:20])
            time.sleep(0.1)

    def wrong(self, observer: Observer, *names: str) -> list[str]:
        """Tell what of the tree is not as these programs are, one line each.

        Devices that are no more may be there if they are offline. What devices are asked for may be
        missing, as it is until they have been asked.
        """
        devices = self.devices(*names)
        values = {device.id: self.values(device) for device in devices}
        asked = {device.id: self.asked(device) for device in devices}
        tree = {
            topic.removeprefix("upnp/"): text
            for topic, text in observer.tree.items()
            if topic not in self.foreign
        }
        wrong: list[str] = []
        for device in devices:
            wrong += _wrong_topics(device, values[device.id], asked[device.id], tree)
            wrong += _wrong_media(device, values[device.id], tree)
            wrong += (
                f"{own}: holds {tree[own]!r}, no number"
                for own in asked[device.id]
                if is_moving(own) and not tree.get(own, b"0").isdigit()
            )
            wrong += _wrong_row(device, json.loads(tree["bridge/main/devices"]))
        known = {own for device in devices for own in device.devices}
        for topic, payload in tree.items():
            own = topic.partition("/")[0]
            if own == "bridge":
                if topic not in _BRIDGE_DOCUMENTS:
                    wrong.append(f"{topic}: unexpected")
            elif own == "homeassistant":
                if not HUB_TOPIC.fullmatch(topic):
                    wrong.append(f"{topic}: unexpected")
            elif own not in known and not names and tree.get(f"{own}/availability") != b"offline":
                wrong.append(f"{topic}: of no device, {payload[:80]!r}")
        return wrong


def is_moving(topic: str) -> bool:
    """Tell whether a topic holds what differs whenever its device is asked for it."""
    return _MOVING.fullmatch(topic) is not None


def media_of(device: str, values: Mapping[str, str]) -> dict[str, object]:
    """Give what `media` must say of a renderer in which nothing is loaded."""

    def value(own: str) -> str:
        return values.get(f"{device}/{own}", "")

    return {
        "state": _PLAYER_STATES.get(value("AVTransport/value/TransportState/0")),
        "track": int(value("AVTransport/value/CurrentTrack/0")),
        "tracks": int(value("AVTransport/value/NumberOfTracks/0")),
        "volume": int(value("RenderingControl/value/Volume/0/Master")),
        "muted": value("RenderingControl/value/Mute/0/Master") == "true",
        "play_mode": value("AVTransport/value/CurrentPlayMode/0"),
    }


def _media_topics(device: RawDevice) -> list[str]:
    found = (service.rpartition("/AVTransport") for service in device.services)
    return [f"{own}/media" for own, name, rest in found if name and not rest]


def _pictures(device: RawDevice) -> dict[str, str | None]:
    """Give `art` of players in which nothing is loaded."""
    players = [topic.partition("/")[0] for topic in _media_topics(device)]
    return {f"{own}/art": device.icon for own in players if device.icon}


def _wrong_media(
    device: RawDevice, values: Mapping[str, str], tree: Mapping[str, bytes]
) -> Iterator[str]:
    for topic in _media_topics(device):
        told = json.loads(tree.get(topic, b"{}"))
        expected = media_of(topic.partition("/")[0], values)
        if told != expected:
            yield f"{topic}: says {told}, not {expected}"


def _still(own: str, text: str) -> str | None:
    return None if is_moving(own) else text


def _wrong_topics(
    device: RawDevice,
    values: Mapping[str, str],
    asked: Mapping[str, str],
    tree: Mapping[str, bytes],
) -> Iterator[str]:
    expected: dict[str, str | None] = dict.fromkeys(device.components)
    expected |= {f"{own}/availability": "online" for own in device.devices}
    expected |= _pictures(device)
    expected |= dict.fromkeys(_media_topics(device))
    expected |= {own: text for own, text in values.items() if text}
    expected |= {own: _still(own, text) for own, text in asked.items() if own in tree}
    for service in device.services:
        here = {own: text for own, text in values.items() if own.startswith(f"{service}/")}
        told = told_in_state(service, json.loads(tree.get(f"{service}/state", b"{}")))
        here |= {own: tree.get(own, b"").decode() for own in asked if own in told}
        early = {own: text for own, text in told.items() if _ARGUMENT_TYPES.fullmatch(own)}
        here |= early
        expected |= {own: text for own, text in early.items() if text}
        if here:
            expected[f"{service}/state"] = None
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
