"""How often and for what the network is searched, over hours of virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Interface
from itertools import pairwise
from typing import Any, cast

import pytest

from bridge.upnp.ssdp import search as discovery_module
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.search import Discovery
from tests.simulation.loop import Loop

HOUR_S = 3600.0
LAN = Interface("lan", 2, (IPv4Interface("10.0.0.2/24"),), (), is_loopback=False)
ROOTS, ALL = "upnp:rootdevice", "ssdp:all"


class Wire:
    """What is sent on the one interface, and whoever answers there."""

    def __init__(self, loop: Loop, answers: Callable[[str], bool]) -> None:
        self.loop = loop
        self.sent: list[tuple[float, str, int]] = []
        self.answers = answers
        self.discovery: Discovery | None = None

    def sendto(self, datagram: bytes, _: object) -> None:
        head = dict(line.split(": ", 1) for line in datagram.decode().split("\r\n")[1:] if line)
        now = self.loop.time() - 1000
        self.sent.append((now, head["ST"], int(head["MX"])))
        if self.answers(head["ST"]):
            self.loop.call_later(0.5, self.speak)

    def speak(self) -> None:
        assert self.discovery is not None
        self.discovery._note_speech(LAN)

    def targets(self, since_s: float = 0.0, until_s: float = 1e9) -> list[str]:
        return [target for at, target, _ in self.sent if since_s <= at < until_s]

    def gaps(self) -> list[float]:
        starts = [at for at, _, _ in self.sent]
        return [round(after - at, 3) for at, after in pairwise(starts)]

    def close(self) -> None: ...


def searched(
    monkeypatch: pytest.MonkeyPatch,
    hours: float,
    answers: Callable[[str], bool],
    also: Callable[[Wire], Coroutine[Any, Any, None]] | None = None,
) -> Wire:
    """Run discovery for so many hours; return what was sent."""
    loop = Loop(1)
    wire = Wire(loop, answers)

    async def changes(_: object) -> Any:
        yield (LAN,)
        await asyncio.sleep(1e6)

    monkeypatch.setattr(discovery_module, "changes", changes)
    monkeypatch.setattr(discovery_module, "_open_searching", lambda *_: wire)
    monkeypatch.setattr(Discovery, "_listen", lambda *_: None)
    monkeypatch.setattr(Discovery, "_read", lambda *_: None)
    monkeypatch.setattr(discovery_module, "_close", lambda _: None)
    wire.discovery = Discovery(cast("Any", lambda *_: None))

    async def live() -> None:
        assert wire.discovery is not None
        tasks = [asyncio.ensure_future(wire.discovery.run())]
        if also is not None:
            tasks.append(asyncio.ensure_future(also(wire)))
        await asyncio.wait(tasks, timeout=hours * HOUR_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    loop.run_until_complete(live())
    loop.close()
    assert loop.crashes == []
    return wire


def test_the_first_search_is_for_root_devices_and_for_everything(monkeypatch):
    wire = searched(monkeypatch, 10 / HOUR_S, lambda _: True)
    assert wire.targets() == [ROOTS, ROOTS, ALL, ROOTS, ALL]
    assert wire.sent[2][0] < 2


def test_what_answers_everything_alone_has_the_time_it_was_given(monkeypatch):
    """Some forget a search over the next that is not for them."""
    wire = searched(monkeypatch, 2, lambda _: True)
    for (at, target, mx_s), (after, _, _) in pairwise(wire.sent):
        assert target != ALL or after - at >= mx_s


def test_an_hour_with_answers_is_searched_politely(monkeypatch):
    wire = searched(monkeypatch, 1, lambda _: True)
    assert 24 <= len(wire.sent) <= 40
    assert 4 <= wire.targets().count(ALL) <= 9
    later = [mx_s for at, target, mx_s in wire.sent if at > 10 and target == ALL]
    assert set(later) == {5}


def test_where_nobody_ever_answers_it_is_searched_ever_more_rarely(monkeypatch):
    wire = searched(monkeypatch, 6, lambda _: False)
    assert len(wire.targets(0, HOUR_S)) <= 30
    assert len(wire.targets(5 * HOUR_S)) <= 7
    assert wire.targets(5 * HOUR_S)  # and goes on
    gaps = [gap for gap in wire.gaps() if gap > 10]
    assert gaps == sorted(gaps)
    assert max(gaps) <= 1810


def test_who_is_heard_after_a_long_silence_is_searched_for_at_once(monkeypatch):
    async def wake(wire: Wire) -> None:
        await asyncio.sleep(5000)
        wire.answers = lambda _: True
        wire.speak()

    wire = searched(monkeypatch, 3, lambda _: False, wake)
    assert wire.targets(4990, 4999) == []
    assert wire.targets(5000, 5005) == [ROOTS, ROOTS, ALL, ROOTS, ALL]
    assert 14 <= len(wire.targets(5010, 5000 + HOUR_S)) <= 35


def test_who_announces_and_never_answers_is_not_searched_for_at_each_word(monkeypatch):
    async def announce(wire: Wire) -> None:
        while True:
            await asyncio.sleep(60)
            wire.speak()

    wire = searched(monkeypatch, 1, lambda _: False, announce)
    assert len(wire.sent) <= 45


def test_where_devices_were_it_is_searched_on_at_the_interval(monkeypatch):
    async def leave(wire: Wire) -> None:
        await asyncio.sleep(1000)
        wire.answers = lambda _: False

    wire = searched(monkeypatch, 4, lambda _: True, leave)
    assert max(wire.gaps()) <= 301
    assert len(wire.targets(3 * HOUR_S)) <= 40


def test_a_search_that_is_asked_for_is_for_everything_too(monkeypatch):
    async def ask(wire: Wire) -> None:
        await asyncio.sleep(100)
        assert wire.discovery is not None
        for _ in range(50):
            wire.discovery.search()

    wire = searched(monkeypatch, 200 / HOUR_S, lambda _: True, ask)
    assert wire.targets(99) == [ROOTS, ROOTS, ALL, ROOTS, ALL]
