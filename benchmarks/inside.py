"""CPU of one event within the bridge, by stage: no sockets, no broker, one process.

What a stage costs is measured alone, `event` is all of it: from the bytes of a NOTIFY to what is
handed to the session, with so many events between two turns of the session.
"""

import argparse
import asyncio
import cProfile
import pstats
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from typing import cast

from benchmarks import bodies, stage
from benchmarks.fleet import Device, udn_of
from bridge.model import lastchange
from bridge.model.device import Description
from bridge.publishing import Publishing
from bridge.tree.device_tree import Shape
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds
from bridge.upnp.gena.event_body import read_properties
from bridge.upnp.gena.notify_reader import StrictReader
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.gena.subscriber import Subscriber
from bridge.upnp.http.client import HttpClient, local_address_towards

_LOCATION = "http://192.0.2.1/"
_DEVICES = 8
_LIMIT = 256 * 1024
_RUNS = 40
"""Of each stage: the cheapest counts, since others are at work on the machine."""


class Transport(asyncio.Transport):
    """A connection that nothing comes from; counts what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 49152)})
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def description(number: int) -> Description:
    device = Device(number)
    told = read_description(device.documents[b"/"], _LOCATION, foreign=lambda _: False)
    scpds = {
        service.scpd_url: read_scpd(device.documents[b"/" + service.level.encode()])
        for service in told.device.services
    }
    return Description(with_scpds(told.device, scpds), _LOCATION, "1.0")


class Inside:
    """The bridge from its NOTIFY server to its router, with devices that have joined it."""

    def __init__(self) -> None:
        self.server = NotifyServer("127.0.0.1", 0)
        self.router = Publishing(Shape("upnp", "main"), qos=1)
        self.subscriptions = Subscriber(
            HttpClient(),
            self.server,
            on_properties=self.router.apply_event,
            on_suspect=lambda _: None,
            local_address_towards=local_address_towards,
            callback_host="192.0.2.1",
            rng=Random(1),
        )
        self.router.open({}, _LIMIT, None)
        self.paths: dict[tuple[int, str], str] = {}
        for number in range(_DEVICES):
            told = description(number)
            self.router.device_joined(told, "new")
            self.subscriptions.subscribe(told)
        for services in self.subscriptions._roots.values():  # noqa: SLF001 - nobody grants here
            for item in services:
                item.subscription.begin()
                item.subscription.grant(0.0, f"uuid:{item.key}", "Second-300", 0.5)
                number = int(item.udn[-12:])
                self.paths[number, item.service.level] = self.server.open(
                    partial(self.subscriptions._receive, item)  # noqa: SLF001 - likewise
                )
        self.take()

    def connect(self) -> asyncio.Protocol:
        connection = self.server.connect()
        connection.connection_made(Transport())
        return connection

    def take(self) -> int:
        count = 0
        while self.router.take():
            count += 1
        return count


def notifies(world: Inside, kind: bodies.Kind, count: int) -> list[tuple[int, bytes]]:
    """Return events, each with the number of its device."""
    service = bodies.SERVICE_OF[kind]
    told: list[tuple[int, bytes]] = []
    for at in range(count):
        number, seq = at % _DEVICES, at // _DEVICES
        body = bodies.body(kind, bodies.values(kind, seq, at + 1_000_000))
        head = (
            f"NOTIFY {world.paths[number, service]} HTTP/1.1\r\nHOST: 192.0.2.9:8098\r\n"
            f'CONTENT-TYPE: text/xml; charset="utf-8"\r\nCONTENT-LENGTH: {len(body)}\r\n'
            f"NT: upnp:event\r\nNTS: upnp:propchange\r\nSID: uuid:{udn_of(number)}/{service}\r\n"
            f"SEQ: {seq}\r\n\r\n"
        )
        told.append((number, head.encode() + body))
    return told


def cost_us(work: Callable[[], object], times: int) -> float:
    """Return the CPU microseconds of one of so many equal parts of a work, at best of many runs."""
    costs = []
    for _ in range(_RUNS):
        began = time.process_time_ns()
        work()
        costs.append(time.process_time_ns() - began)
    return min(costs) / times / 1000


def each(work: Callable[..., object], given: Iterable[object]) -> Callable[[], None]:
    def all_of_it() -> None:
        for one in given:
            work(one)

    return all_of_it


def events(kind: bodies.Kind, count: int, between: int, *, fresh: bool) -> Callable[[], None]:
    """Return a run of so many events, the session taking its turn after every `between` of them."""
    world = Inside()
    connections = [world.connect() for _ in range(_DEVICES)]
    told = notifies(world, kind, _RUNS * count)
    parts = iter([told[at : at + count] for at in range(0, len(told), count)])

    def run() -> None:
        for at, (number, data) in enumerate(next(parts)):
            connection = world.connect() if fresh else connections[number]
            connection.data_received(data)
            if fresh:
                connection.connection_lost(None)
            if at % between == 0:
                world.take()
        world.take()

    return run


def stages(kind: bodies.Kind, count: int) -> Iterator[tuple[str, float]]:
    world = Inside()
    service = bodies.SERVICE_OF[kind]
    told = notifies(world, kind, _RUNS * count)
    payloads = [data.partition(b"\r\n\r\n")[2] for _, data in told]
    properties = iter([read_properties(body) for body in payloads])

    def tell() -> None:
        for at in range(count):
            world.router.apply_event(
                udn_of(at % _DEVICES), service, next(properties), initial=False
            )

    yield (
        "read request",
        cost_us(each(StrictReader().feed, [one for _, one in told[:count]]), count),
    )
    yield "read properties", cost_us(each(read_properties, payloads[:count]), count)
    if kind == "lastchange":
        texts = [read_properties(body)[0][1] for body in payloads[:count]]
        yield "split LastChange", cost_us(each(lastchange.split, texts), count)
    yield "router, nothing taken", cost_us(tell, count)


def main(count: int) -> None:
    rows = []
    for kind in bodies.SERVICE_OF:
        rows += [(kind, name, f"{us:.1f}") for name, us in stages(kind, count)]
        for between in (1, 8, 32):
            for fresh in (False, True):
                us = cost_us(events(kind, count, between, fresh=fresh), count)
                name = f"event, {between} a turn{', new connections' if fresh else ''}"
                rows.append((kind, name, f"{us:.1f}"))
    stage.table(("events", "stage", "CPU us"), rows)


def profile(kind: bodies.Kind, count: int, between: int, *, fresh: bool) -> None:
    run = events(kind, count, between, fresh=fresh)
    run()
    profiler = cProfile.Profile()
    profiler.runcall(run)
    told = pstats.Stats(profiler)
    for order in ("tottime", "cumulative"):
        told.sort_stats(order).print_stats(45)


async def _with_loop(work: Callable[[], None]) -> None:
    work()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="events of a run")
    parser.add_argument("--profile", choices=bodies.SERVICE_OF, help="where the time goes")
    parser.add_argument("--between", type=int, default=8, help="events a turn, with --profile")
    parser.add_argument("--fresh", action="store_true", help="new connections, with --profile")
    given = parser.parse_args()
    work = partial(main, given.count)
    if given.profile:
        kind = cast("bodies.Kind", given.profile)
        work = partial(profile, kind, given.count, given.between, fresh=given.fresh)
    asyncio.run(_with_loop(work))
