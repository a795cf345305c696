"""Clients of the page: in the end each knows what stands under its filters, however it reads."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from random import Random
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from bridge.model.device import Description
from bridge.runtime import Clock
from bridge.tree.device_tree import Shape
from bridge.tree.messages import Publication
from bridge.tree.mirror import Mirror
from bridge.tree.retained import RetainedTree
from bridge.tree.selection import FilterIndex, read_filter
from bridge.web import watching
from bridge.web.activity import Activity
from bridge.web.watching import Client, Watching
from tests.unit.devices import described, device, renderer, router, scpd, service
from tests.unit.test_mirror import drain
from tests.unit.wired import Wired

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

NOW = "2026-01-01T00:00:00.000Z"


class Reader:
    """A client that reads when it is told to, and knows what it has read."""

    def __init__(self, watch: Watching, *filters: str) -> None:
        self.watch = watch
        self.client = Client(
            watch, cast("web.WebSocketResponse", None), cast("asyncio.Transport", None)
        )
        if not watch.clients:
            watch._observed.begin(watch)
        watch.clients[self.client] = cast("asyncio.Transport", None)
        self.frames = self.client._frames()
        self.known: dict[str, str] = {}
        self.said: list[Any] = []
        self.filters = filters
        self.client.watch(filters)

    def read(self, most: int) -> None:
        for _ in range(most):
            try:
                frame = next(self.frames)
            except StopIteration:
                self.frames = self.client._frames()
                return
            if frame is None:
                continue
            said = json.loads(frame)
            if said.get("retain"):
                if said["payload"] is None:
                    self.known.pop(said["topic"], None)
                else:
                    self.known[said["topic"]] = said["payload"]
            else:
                self.said.append(said)

    def read_all(self) -> None:
        if self.watch._timer is not None:
            self.watch._timer.cancel()
            self.watch._tell_paced()
        self.read(1_000_000)

    def standing(self) -> dict[str, str]:
        index: FilterIndex[str] = FilterIndex()
        for one in self.filters:
            index.add(read_filter(one), "")
        return {one[0]: one[1].decode() for one in self.watch.standing(index) if one}


def watching_of(mirror: Mirror) -> Watching:
    return Watching(mirror, Activity(Clock()))


def player(udn: str, *more: str) -> Description:
    names = ("TransportState", "CurrentTrackMetaData", *more)
    av = service("AVTransport", scpd("LastChange:string", *(f"{one}:string" for one in names)))
    return described(device(udn, av, name=f"Player {len(more)}"))


FORMS = [
    (renderer("A"), renderer("A"), "A/RenderingControl"),
    (player("B"), player("B", "More"), "B/AVTransport"),
    (router("C"), described(device("C", service("L3F", scpd("X:string")))), "C/L3F"),
    (
        described(device("D", device("shared", service("One", scpd("V:string"))))),
        described(device("D", service("Two", scpd("V:string")))),
        "shared/One",
    ),
]
FILTERS = [
    "#",
    "upnp/#",
    "upnp/+",
    "upnp/+/+/value/#",
    "upnp/A/#",
    "upnp/+/media",
    "upnp/bridge/+/+",
    "upnp/+/availability",
    "upnp/+/+/state",
]


def act(mirror: Mirror, rng: Random) -> None:
    """Have something happen to a device."""
    plain, other, live = rng.choice(FORMS)
    udn = plain.udn
    found = mirror.mirrored_devices.get(udn)
    match rng.randrange(9):
        case 0 | 1:
            mirror.join(rng.choice([plain, other]))
        case 2:
            mirror.mark_offline(udn, NOW)
        case 3:
            if found:
                mirror.forget(found)
        case 4:
            if found and found.owned:
                mirror.yield_to_another(found)
        case 5:
            if found and not found.owned:
                mirror.take_over(found, RetainedTree({}, base="upnp", instance="main"))
        case 6:
            mirror.put_own(rng.choice(["info", "health"]), str(rng.random()).encode())
            mirror.set_presence(rng.choice([b"online", b"offline"]))
        case _:
            state = rng.choice(["PLAYING", "STOPPED", ""])
            change = (
                f'<Event><InstanceID val="0"><TransportState val="{state}"/></InstanceID></Event>'
            )
            told = [("LastChange", change), ("V", str(rng.randrange(3))), ("X", state)]
            mirror.apply_event(live, told, initial=rng.random() < 0.3, now=NOW)


def with_broker(mirror: Mirror, held: dict[str, bytes], rng: Random) -> None:
    """Open or close a session with a broker that holds what it held."""
    if mirror.ledger.is_open and rng.random() < 0.2:
        mirror.close()
    elif not mirror.ledger.is_open and rng.random() < 0.2:
        anothers = {plain.udn for plain, _, _ in FORMS if rng.random() < 0.2}
        retained_tree = RetainedTree(held, base="upnp", instance="main")
        mirror.open(retained_tree, 100_000, anothers.__contains__)
    elif mirror.ledger.is_open:
        drain(mirror, held)


@pytest.mark.parametrize("seed", range(60))
async def test_in_the_end_a_client_knows_what_stands(seed, monkeypatch):
    rng = Random(seed)
    if seed % 3 == 0:
        monkeypatch.setattr(watching, "MAX_WAITING", 12)
    held: dict[str, bytes] = {}
    mirror = Mirror(Shape("upnp", "main", mode=rng.choice(["both", "values", "document"])))
    watch = watching_of(mirror)
    closed: list[Client] = []
    monkeypatch.setattr(watch, "close", closed.append)
    readers: list[Reader] = []
    for _ in range(60):
        for _ in range(rng.randrange(6)):
            act(mirror, rng)
        with_broker(mirror, held, rng)
        if rng.random() < 0.1 and len(readers) < 4:
            readers.append(Reader(watch, *rng.sample(FILTERS, rng.randint(1, 3))))
        for one in readers:
            one.read(rng.choice([0, 0, 1, 5, 1000]))
        if watch._timer is not None and rng.random() < 0.3:
            watch._timer.cancel()
            watch._tell_paced()
    for one in readers:
        one.read_all()
        if one.client not in closed:
            assert one.known == one.standing(), (seed, one.filters)
    assert seed % 3 == 0 or not closed


async def test_a_value_that_changes_and_whose_device_goes_is_gone(monkeypatch):
    mirror = Mirror(Shape("upnp", "main"))
    watch = watching_of(mirror)
    mirrored = mirror.join(FORMS[3][0])
    reader = Reader(watch, "upnp/#")
    reader.read_all()
    mirror.apply_event("shared/One", [("V", "1")], initial=False, now=NOW)
    mirror.forget(mirrored)
    reader.read_all()
    assert not [topic for topic in reader.known if "bridge" not in topic]


async def test_what_waits_for_a_client_is_bounded(monkeypatch):
    names = [f"V{n}:string" for n in range(100)]
    mirror = Mirror(Shape("upnp", "main"))
    watch = watching_of(mirror)
    for number in range(200):
        mirror.join(described(device(f"D{number}", service("S", scpd(*names)))))
    reader = Reader(watch, "upnp/#")
    reader.read_all()
    for turn in range(3):
        for number in range(200):
            told = [(name.partition(":")[0], str(turn)) for name in names]
            mirror.apply_event(f"D{number}/S", told, initial=False, now=NOW)
        assert len(reader.client._waiting) <= watching.MAX_WAITING
    reader.read_all()
    assert reader.known == reader.standing()
    for number in range(watching.MAX_MESSAGES * 2):
        watch.message_sent(Publication("upnp/x/response", str(number).encode(), retain=False))
    assert len(reader.client._messages) == watching.MAX_MESSAGES
    for _ in range(10):
        watch.message_sent(Publication("upnp/x/response", b"x" * 1_000_000, retain=False))
    assert sum(map(len, reader.client._messages)) <= watching.MAX_MESSAGE_BYTES
    reader.read_all()
    assert reader.client._message_bytes == 0


async def test_who_asks_again_and_again_and_reads_nothing_is_told_no():
    reader = Reader(watching_of(Mirror(Shape("upnp", "main"))), "upnp/#")
    for _ in range(watching.MAX_FILTERS - 1):
        reader.client.watch(["upnp/#"])
    with pytest.raises(ValueError, match="not sent yet"):
        reader.client.watch(["upnp/#"])
    assert len(reader.client._jobs) == watching.MAX_FILTERS
    reader.read_all()
    assert reader.client._asked == 0
    reader.client.watch(["upnp/#"])


# What it costs while nobody looks


class Calls:
    """Counts the calls of Python functions, by file, while it lasts."""

    def __init__(self) -> None:
        self.by_file: Counter[str] = Counter()

    def __enter__(self) -> Self:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            self.by_file[frame.f_code.co_filename.partition("/bridge/")[2]] += 1


def publications(publishing: Wired) -> Iterator[Publication]:
    while (one := publishing.take()) is not None:
        yield one


def events(publishing: Wired, start: int) -> tuple[Counter[str], int]:
    """Return the calls that a hundred events cost, and how much they had published."""
    with Calls() as calls:
        for number in range(start, start + 100):
            publishing.apply_event(
                "B", "AVTransport", [("TransportState", str(number))], initial=False
            )
            count = sum(1 for _ in publications(publishing))
    return calls.by_file, count


async def test_an_event_costs_what_it_did_before_and_after_somebody_looked():
    publishing = Wired(Shape("upnp", "main"))
    publishing.open({}, 100_000, None)
    publishing.device_joined(player("B"), "first")
    list(publications(publishing))
    events(publishing, 0)
    before, published = events(publishing, 1_000)
    watch = watching_of(publishing.mirror)
    reader = Reader(watch, "upnp/#")
    reader.read_all()
    while_watched, as_many = events(publishing, 2_000)
    watch._forget(reader.client)
    after, again = events(publishing, 3_000)
    assert published == as_many == again
    assert not [file for file in before if file.startswith("web/") or "observing" in file]
    assert [file for file in while_watched if file.startswith("web/")]
    assert before == after
    # Somebody who looks adds calls of the page's own; what the bridge does is the same.
    own = Counter({file: n for file, n in while_watched.items() if file in before})
    assert own["tree/mirror.py"] == before["tree/mirror.py"]
    assert own["tree/ledger.py"] == before["tree/ledger.py"]
    if watch._timer is not None:
        watch._timer.cancel()
