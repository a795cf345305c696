"""The mirror against a model broker: whatever happens, the tree is right in the end.

So is what Home Assistant makes of it, which hears all that the broker is told.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from bridge.model import topics
from bridge.model.device import Description, Device, Scpd
from bridge.tree import documents, reading
from bridge.tree.device_tree import Shape
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree
from tests.unit.devices import described, device, renderer, router, scpd, service
from tests.unit.hubs import home_assistant

SMALL = 700
"""So many bytes that documents and values are cut in parts, and hubs told of little."""
LARGE = 20_000
"""So many that hubs are told of everything."""

DEVICES = [
    renderer("R"),
    router("G"),
    described(device("L/+#", service("SwitchPower:1", scpd("Status:boolean", "Text:string")))),
]


def poorer(one: Description) -> Description:
    """The device, its own services with half of their members."""
    children = [
        child
        if isinstance(child, Device)
        else replace(child, scpd=Scpd.of(child.scpd.members[: len(child.scpd.members) // 2]))
        for child in one.device.children
    ]
    return replace(one, device=replace(one.device, children=tuple(children)))


VARIANTS: list[list[Description]] = [
    [
        one,
        replace(one, location="http://192.0.2.9:8080/new.xml"),
        replace(one, device=replace(one.device, children=one.device.children[:1])),
        replace(one, device=replace(one.device, friendly_name="x" * 2000)),
        poorer(one),
    ]
    for one in DEVICES
]
SERVICES = ["R/RenderingControl", "G-conn/WANIPConn1", "L%2F%2B%23/SwitchPower:1"]
NAMES = ["Volume", "Status", "Text", "PortMappingNumberOfEntries", "Unlisted"]

TABLE = "upnp/bridge/main/devices"

FOREIGN = {
    "upnp/notes": b"the user's own",
    "upnp/R/remark": b"beside our services",
    "upnp/other-1": b'{"id":"other-1","kind":"device","root":"other-1","bridge":"other"}',
    "upnp/other-1/availability": b"online",
    "upnp/bridge/other/state": b"offline",
    "upnp/bridge/main/state": b"online",
    "homeassistant/status": b"online",
    "homeassistant/sensor/x/config": b"{}",
    "homeassistant/device/x/config": b'{"components":{}}',
    "homeassistant/device/upnp2mqtt_other-1/config": b'{"components":{}}',
    "homeassistant/device/upnp2mqtt_bridge_other/config": b'{"components":{}}',
}

values = st.one_of(
    st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]),
        max_size=8,
    ),
    st.integers(-9, 400).map(str),
    st.sampled_from(["0", "1", "x" * 1500, "y" * 3000]),
)


class Broker(RuleBasedStateMachine):
    """A broker with what is retained, and Home Assistant with the entities that it has.

    `home` has the platforms of the components of each discovery topic, by their keys.
    """

    limit = SMALL
    is_home_exact = False
    """Whether Home Assistant can be told of all that goes: with a small limit it cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, bytes] = dict(FOREIGN)
        self.home: dict[str, dict[str, str]] = {}
        self.hub = home_assistant()
        self.taken: list[tuple[str, bytes]] = []
        self.alive: dict[int, Description] = {}
        self.known: set[int] = set()
        self.values: dict[str, dict[str, str]] = {}
        self.clock = 0
        self.begin()

    def begin(self) -> None:
        self.shape = Shape("upnp", "main", hubs=(self.hub,))
        self.mirror = Mirror(self.shape)
        self.mirror.put_own("info", b'{"version":"1"}')

    @property
    def now(self) -> str:
        self.clock += 1
        return f"2026-01-01T00:00:00.{self.clock:03}Z"

    def deliver(self, count: int) -> None:
        for topic, payload in self.taken[:count]:
            assert topic not in FOREIGN, topic
            assert len(payload) <= self.limit, topic
            if topic.startswith("homeassistant/"):
                self.tell_home(topic, payload)
            if payload:
                self.held[topic] = payload
            else:
                self.held.pop(topic, None)
            if topic == TABLE:
                self.check_table()
        del self.taken[:count]

    def check_table(self) -> None:
        """A table in one piece has one row a root."""
        found = json.loads(self.held[TABLE])
        ids = [row["id"] for row in found] if isinstance(found, list) else []
        assert len(ids) == len(set(ids)), ids

    def tell_home(self, topic: str, payload: bytes) -> None:
        """Do what Home Assistant does: only what it is told to forget is forgotten."""
        there = self.home.setdefault(topic, {})
        if not payload:
            del self.home[topic]
            return
        for key, component in json.loads(payload)["components"].items():
            if list(component) != ["platform"]:
                assert there.get(key) in (None, component["platform"])
                there[key] = component["platform"]
            elif there.get(key) == component["platform"]:
                del there[key]

    def open(self) -> None:
        read = {t: p for t, p in self.held.items() if t.startswith("upnp/")}
        for few in reading.hub_pieces(self.shape, read):
            read |= {topic: self.held[topic] for topic in few if topic in self.held}
        retained_tree = RetainedTree(
            read,
            base="upnp",
            instance="main",
            own_outside=self.shape.own_hub_topics(),
            outside=self.shape.hub_topics,
        )
        self.mirror.open(retained_tree, self.limit, lambda _: False)

    # Devices

    @rule(which=st.integers(0, 2), variant=st.integers(0, 4))
    def join(self, which: int, variant: int) -> None:
        had_service = which in self.alive and self.has_service(which)
        self.alive[which] = VARIANTS[which][variant]
        self.known.add(which)
        self.mirror.join(self.alive[which])
        if self.has_service(which) and not had_service:
            self.retell(which)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.alive)))
        gone = self.alive.pop(which)
        self.mirror.mark_offline(gone.udn, self.now)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.forget_one(data.draw(st.sampled_from(sorted(self.known))))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), variant=st.integers(0, 4))
    def forget_and_join(self, data: st.DataObject, variant: int) -> None:
        which = data.draw(st.sampled_from(sorted(self.known)))
        self.forget_one(which)
        self.join(which=which, variant=variant)

    def forget_one(self, which: int) -> None:
        found = self.mirror.find(DEVICES[which].udn)
        if found:  # after a crash, only what the broker remembers is known
            self.mirror.forget(found[0])
        if found or which not in self.alive:
            self.alive.pop(which, None)
            self.known.discard(which)
            self.values.pop(SERVICES[which], None)

    @rule(
        which=st.integers(0, 2),
        told=st.dictionaries(st.sampled_from(NAMES), values, max_size=3),
        initial=st.booleans(),
        instance=st.sampled_from([None, "0", "1", "set"]),
    )
    def tell(
        self, which: int, told: dict[str, str], instance: str | None, *, initial: bool
    ) -> None:
        if which not in self.alive or not self.has_service(which):
            return
        if instance is None:
            properties = list(told.items())
        else:
            changes = "".join(f'<{n} val="{_escaped(v)}"/>' for n, v in told.items())
            event = f'<Event><InstanceID val="{instance}">{changes}</InstanceID></Event>'
            properties = [("LastChange", event)]
        assert self.mirror.apply_event(SERVICES[which], properties, initial=initial, now=self.now)
        mine = self.values.setdefault(SERVICES[which], {})
        if initial:
            mine.clear()
        suffix = "" if instance is None else f"/{topics.encode_level(instance)}"
        suffix = suffix.replace("/set", "/%73et")
        mine.update({f"{name}{suffix}": text for name, text in told.items()})

    def has_service(self, which: int) -> bool:
        live = {
            f"{topics.device_id(one.udn)}/{s.level}"
            for one in self.alive[which].device.walk()
            for s in one.services
        }
        return SERVICES[which] in live

    # The broker

    @precondition(lambda self: self.mirror.ledger.is_open)
    @rule(count=st.integers(1, 40))
    def pump(self, count: int) -> None:
        for _ in range(count):
            due = self.mirror.take()
            if due is None:
                break
            self.taken.append((due[0], due[1].payload))

    @rule(count=st.integers(1, 60))
    def arrive(self, count: int) -> None:
        self.deliver(count)

    @precondition(lambda self: self.mirror.ledger.is_open)
    @rule(delivered=st.integers(0, 30))
    def lose_connection(self, delivered: int) -> None:
        self.deliver(delivered)
        self.taken.clear()
        self.mirror.close()

    @precondition(lambda self: not self.mirror.ledger.is_open)
    @rule()
    def connect(self) -> None:
        self.open()

    @precondition(lambda self: not self.mirror.ledger.is_open)
    @rule()
    def lose_data(self) -> None:
        self.held = dict(FOREIGN)
        self.home.clear()

    @rule(delivered=st.integers(0, 30), enabled=st.sampled_from([True, True, True, False]))
    def crash(self, delivered: int, *, enabled: bool) -> None:
        """Start anew, perhaps without a hub."""
        self.deliver(delivered)
        self.taken.clear()
        self.hub = home_assistant(enabled=enabled)
        self.begin()
        self.open()
        self.return_of_devices()

    def return_of_devices(self) -> None:
        """The truth comes again: living devices answer and tell all, the others do not."""
        for which, description in self.alive.items():
            self.mirror.join(description)
            if self.has_service(which):
                self.retell(which)
        for mirrored in list(self.mirror.mirrored_devices.values()):
            if mirrored.online is None:
                self.mirror.mark_offline(topics.decode_level(mirrored.id), self.now)
        # what never reached the broker is not known any more, and what is still there is
        self.known = {i for i, one in enumerate(DEVICES) if self.mirror.find(one.udn) is not None}

    def retell(self, which: int) -> None:
        by_instance: dict[str | None, dict[str, str]] = {}
        for key, text in self.values.get(SERVICES[which], {}).items():
            name, _, instance = key.partition("/")
            by_instance.setdefault(instance or None, {})[name] = text
        properties: list[tuple[str, str]] = list(by_instance.pop(None, {}).items())
        event = "".join(
            f'<InstanceID val="{topics.decode_level(instance or "")}">'
            + "".join(f'<{n} val="{_escaped(v)}"/>' for n, v in told.items())
            + "</InstanceID>"
            for instance, told in by_instance.items()
        )
        if event:
            properties.append(("LastChange", f"<Event>{event}</Event>"))
        self.mirror.apply_event(SERVICES[which], properties, initial=True, now=self.now)

    # What must hold

    @rule()
    def be_quiet(self) -> None:
        self.settle()
        for topic, payload in FOREIGN.items():
            assert self.held[topic] == payload, topic
        self.check_hub()
        self.check_tree()

    def settle(self) -> None:
        if not self.mirror.ledger.is_open:
            self.open()
        self.deliver(len(self.taken))
        while (due := self.mirror.take()) is not None:
            self.taken.append((due[0], due[1].payload))
        self.deliver(len(self.taken))

    def check_hub(self) -> None:
        """What Home Assistant is told is what it should be, and stays while a device is away."""
        held = {
            topic: payload
            for topic, payload in self.held.items()
            if topic.startswith("homeassistant/") and topic not in FOREIGN
        }
        told = {topic: _platforms(payload) for topic, payload in held.items()}
        if self.is_home_exact:
            assert self.home == told
        for topic, payload in self.hub.own(self.limit).items():
            assert held.pop(topic) == payload
        for which in self.known:
            own = topics.device_id(DEVICES[which].udn)
            mirrored = self.mirror.mirrored_devices[own]
            found = mirrored.description
            kept = {topic: held.pop(topic) for topic in self.hub.topics(own) if topic in held}
            if found is not None:
                assert kept == self.hub.wanted(found, mirrored.keys(), self.limit)
            assert which not in self.alive or found == self.alive[which]
            assert self.hub.enabled or not kept
        assert not held

    def check_tree(self) -> None:
        mine = {t: p for t, p in self.held.items() if t.startswith("upnp/") and t not in FOREIGN}
        whole = _joined(mine)
        rows = json.loads(whole.pop(TABLE))
        assert whole.pop("upnp/bridge/main/info") == b'{"version":"1"}'
        seen = {row["id"]: row["availability"] for row in rows}
        expected_rows = {
            topics.device_id(DEVICES[which].udn): "online" if which in self.alive else "offline"
            for which in self.known
        }
        assert seen == expected_rows
        for which, description in self.alive.items():
            for one in description.device.walk():
                prefix = f"upnp/{topics.device_id(one.udn)}"
                assert whole.pop(f"{prefix}/availability") == b"online"
            for own, document in documents.components(description, bridge="main", detail="full"):
                assert whole.pop(f"upnp/{own}") == document, own
            self.check_values(which, whole)
        gone = [topics.device_id(DEVICES[which].udn) for which in self.known - set(self.alive)]
        for own in gone:
            assert whole[f"upnp/{own}/availability"] == b"offline"
        # what is left belongs to devices that are away, and to nobody else
        assert all(any(_is_of(topic, own) for own in gone) for topic in whole), (gone, list(whole))

    def check_values(self, which: int, whole: dict[str, bytes]) -> None:
        service_topic = f"upnp/{SERVICES[which]}"
        mine = {t: whole.pop(t) for t in list(whole) if t.startswith(f"{service_topic}/value/")}
        state = whole.pop(f"{service_topic}/state", None)
        if not self.has_service(which):
            assert not mine
            return
        told = self.values.get(SERVICES[which], {})
        texts = {t.removeprefix(f"{service_topic}/value/"): p.decode() for t, p in mine.items()}
        assert {k: _plain(v) for k, v in texts.items()} == {
            k: _plain(v) for k, v in told.items() if v
        }
        assert state is not None or not told

    @rule()
    def restart_changes_nothing(self) -> None:
        self.settle()
        before = dict(self.held)
        self.begin()
        self.open()
        self.return_of_devices()
        published = []
        while (due := self.mirror.take()) is not None:
            published.append(due)
        assert published == []
        assert self.held == before


def _platforms(payload: bytes) -> dict[str, str]:
    # What has nothing but its platform is told to go.
    found = json.loads(payload)["components"].items()
    return {key: one["platform"] for key, one in found if list(one) != ["platform"]}


def _is_of(topic: str, root: str) -> bool:
    """Embedded devices of the tests are named after their root."""
    return topic.split("/")[1].startswith(root)


def _escaped(text: str) -> str:
    """As an attribute; what XML cannot carry is left out by the test's alphabet below."""
    return "".join(f"&#{ord(c)};" for c in text)


def _plain(text: str) -> str:
    """What typing does to the spelling of a value is the value codec's own test."""
    lowered = text.strip().lower()
    if lowered in {"true", "1", "yes"}:
        return "1"
    if lowered in {"false", "0", "no"}:
        return "0"
    try:
        return str(int(text)) if text.isascii() else text
    except ValueError:
        return text


def _joined(held: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the broker holds with all parts put together, and no part too many."""
    whole = {t: p for t, p in held.items() if "/chunk/" not in t}
    parts = {t for t in held if "/chunk/" in t}
    for topic, payload in whole.items():
        if payload.startswith(b'{"chunks":'):
            count = json.loads(payload)["chunks"]
            mine = [f"{topic}/chunk/{number}" for number in range(1, count + 1)]
            whole[topic] = b"".join(held[part] for part in mine)
            parts -= set(mine)
    assert not parts
    return whole


class Roomy(Broker):
    limit = LARGE
    is_home_exact = True


TestMirror = Broker.TestCase
TestMirror.settings = settings(stateful_step_count=30)
TestMirrorWithRoom = Roomy.TestCase
TestMirrorWithRoom.settings = TestMirror.settings
