"""What anybody on the network or at the broker may do, and what it costs: each row an attack.

`most_mb` is how much the bridge may grow meanwhile, `most_lines` how many lines its log may get,
`most_skipped` how many of the honest device's values may be passed over for newer ones.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import pytest
import pytest_asyncio

from tests.adapter.device import Stream
from tests.adapter.hostile import bodies, events, names, publishers, ssdp
from tests.adapter.hostile.site import ELSEWHERE, PATIENCE_S, Site, own_network, site

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULTS = {
    "call_crashed",
    "verb_crashed",
    "check_crashed",
    "poll_crashed",
    "notify_receiver_failed",
    "message_handler_failed",
    "packet_unreadable",
    "broker_unavailable",
}


@dataclass(frozen=True)
class Row:
    name: str
    attack: Callable[[Site], Awaitable[None]]
    most_mb: float = 16
    most_lines: int = 40
    most_skipped: int = 3


ANSWERS: dict[str, bytes | Stream] = {
    "endless": bodies.ENDLESS,
    "an endless head": bodies.ENDLESS_HEAD,
    "interim answers without end": bodies.ENDLESS_INTERIM,
    "chunks without end": bodies.ENDLESS_CHUNKS,
    "a byte now and then": bodies.SLOW,
    "a head, a byte now and then": bodies.SLOW_HEAD,
    "nothing, and no end": bodies.SILENT,
    "100 MB": bodies.HUNDRED_MB,
    "longer by its head than it is": bodies.TOO_LONG_BY_ITS_WORD,
    "of negative length": bodies.NEGATIVE,
    "a chunk of 2^64 bytes": bodies.HUGE_CHUNK,
    "a gzip bomb": bodies.GZIP,
    "a deflate bomb": bodies.DEFLATE,
    "a billion laughs": bodies.LAUGHS,
    "100000 levels": bodies.DEEP,
    "600000 levels without end tags": bodies.DEEP_BROKEN,
    "500000 elements": bodies.ELEMENTS,
    "2000000 ampersands": bodies.AMPERSANDS,
    "2000000 open tags": bodies.OPEN_TAGS,
}

ROWS = (
    Row("20000 USNs from one address", partial(ssdp.flood, sources=1, usns=20_000), most_lines=250),
    Row(
        "20000 USNs from 200 addresses",
        partial(ssdp.flood, sources=200, usns=20_000),
        most_lines=250,
    ),
    Row("byebyes of the honest device", partial(ssdp.storm, datagram=ssdp.goodbye)),
    Row("reboots of the honest device", partial(ssdp.storm, datagram=ssdp.reboot)),
    Row("the honest device elsewhere", partial(ssdp.storm, datagram=ssdp.elsewhere)),
    Row("LOCATIONs elsewhere", ssdp.locations_elsewhere),
    Row("datagrams that are none", ssdp.datagrams_that_are_none),
    *(
        Row(f"answers: {name}", partial(bodies.answered, said=said))
        for name, said in ANSWERS.items()
    ),
    Row(
        "500000 elements from 16 devices",
        partial(bodies.answered, said=bodies.ELEMENTS, copies=4),
        32,
    ),
    Row("external entities", bodies.external_entities),
    Row("answers: quadratic blow-up", partial(bodies.answered, said=bodies.QUADRATIC), 32),
    Row("answers: 100000 namespaces", partial(bodies.answered, said=bodies.NAMESPACES), 64),
    Row("answers: 180000 attributes", partial(bodies.answered, said=bodies.ATTRIBUTES), 64),
    Row("redirects", bodies.redirects, most_lines=60),
    Row("URLs elsewhere", bodies.urls_that_point_elsewhere),
    Row("an SCPD of 100000 variables", partial(bodies.giant, variables=100_000)),
    Row("an SCPD of 50000 actions", partial(bodies.giant, actions=50_000)),
    Row(
        "an SCPD of 1000 actions with 50 arguments",
        partial(bodies.giant, actions=1000, arguments=50),
    ),
    Row(
        "50 services with an SCPD of 100 variables each",
        partial(bodies.many_services, services=50),
        32,
    ),
    Row("4 devices of 20 such services", partial(bodies.many_services, devices=4, services=20), 64),
    Row("400 embedded devices, 60 deep", bodies.many_devices),
    Row(
        "events of nobody",
        partial(events.connections, parts=[events.NOBODYS], number=64, again=True),
    ),
    Row(
        "events of nobody, pipelined",
        partial(events.connections, parts=repeat(events.PIPELINED), number=32),
    ),
    Row(
        "events of 100 MB",
        partial(
            events.connections,
            parts=[events.HUNDRED_MB, *repeat(b"x" * 65536, 40)],
            number=64,
            again=True,
        ),
    ),
    Row(
        "events that never end",
        partial(
            events.connections,
            parts=[events.NOBODYS[:-9], b"9" * 6 + b"\r\n\r\n", *repeat(b"x" * 65536, 15)],
            number=512,
            addresses=16,
        ),
        128,  # 512 connections, each with what asyncio reads at once
    ),
    Row(
        "endless heads",
        partial(
            events.connections,
            parts=repeat(b"NOTIFY / HTTP/1.1\r\n" + b"a: b\r\n" * 100),
            number=64,
            again=True,
        ),
    ),
    Row(
        "heads, a byte now and then",
        partial(events.connections, parts=repeat(b"N"), pause_s=0.2, number=600, addresses=40),
    ),
    Row(
        "600 connections that idle", partial(events.connections, parts=[], number=600, addresses=40)
    ),
    Row("ever new variables", events.ever_new_variables),
    Row("ever new instances", events.ever_new_instances),
    Row("values of 1 MiB", events.large_values),
    Row("values that are no text", events.odd_values, 32),
    Row("5000 events", events.fast_events),
    Row("odd grants", events.odd_grants),
    Row("reserved names", partial(names.named, names=names.RESERVED)),
    Row("odd names", partial(names.named, names=names.ODD)),
    Row("the honest device's UDN", names.the_honest_one),
    Row(
        "3000 calls",
        partial(
            publishers.commands,
            topic="upnp/{udn}/call",
            payload=b'{"action":"Nope"}',
            number=3000,
            answers="{udn}/response",
        ),
        most_skipped=5,
    ),
    Row(
        "3000 gets",
        partial(
            publishers.commands,
            topic="upnp/{udn}/Counter/value/Count/get",
            payload=b"",
            number=3000,
            answers="{udn}/response",
        ),
        most_skipped=5,
    ),
    Row(
        "3000 sets",
        partial(
            publishers.commands,
            topic="upnp/{udn}/Counter/value/Count/set",
            payload=b"1",
            number=3000,
            answers="{udn}/response",
        ),
        most_skipped=5,
    ),
    Row(
        "3000 announces",
        partial(
            publishers.commands,
            topic="upnp/bridge/main/request/announce",
            payload=b"{}",
            number=3000,
            answers="response/announce",
        ),
        most_skipped=5,
    ),
    Row(
        "3000 calls of nobody",
        partial(
            publishers.commands,
            topic="upnp/nobody-{n}/call",
            payload=b'{"action":"Nope"}',
            number=3000,
        ),
        most_skipped=5,
    ),
    Row(
        "300 calls of 200 kB",
        partial(
            publishers.commands,
            topic="upnp/{udn}/call",
            payload=b'{"callid":"' + b"c" * 200_000 + b'"}',
            number=300,
        ),
        64,
    ),
    Row(
        "3000 retained commands",
        partial(
            publishers.commands,
            topic="upnp/{udn}/x{n}/action/y/call",
            payload=b"{}",
            number=3000,
            retain=True,
        ),
        most_skipped=5,
    ),
    Row(
        "2000 births of a hub",
        partial(publishers.commands, topic="homeassistant/status", payload=b"online", number=2000),
        most_lines=250,
    ),
    Row("JSON bombs", publishers.json_bombs, 128),
    Row("replies elsewhere", publishers.replies_elsewhere),
    Row(
        "a false neighbour that sorts before",
        partial(publishers.a_false_neighbour, instance="aaa"),
        most_lines=450,
    ),
    Row(
        "a false neighbour that sorts behind",
        partial(publishers.a_false_neighbour, instance="zzz"),
        most_lines=450,
    ),
    Row("foreign writing", publishers.foreign_writing),
)


SAMPLE = {
    "20000 USNs from 200 addresses",
    "byebyes of the honest device",
    "the honest device elsewhere",
    "LOCATIONs elsewhere",
    "datagrams that are none",
    "answers: endless",
    "answers: a byte now and then",
    "answers: a gzip bomb",
    "answers: a billion laughs",
    "answers: 600000 levels without end tags",
    "external entities",
    "redirects",
    "URLs elsewhere",
    "an SCPD of 100000 variables",
    "400 embedded devices, 60 deep",
    "events of nobody, pipelined",
    "events of 100 MB",
    "600 connections that idle",
    "values that are no text",
    "odd grants",
    "the honest device's UDN",
    "3000 retained commands",
    "a false neighbour that sorts before",
    "replies elsewhere",
}
"""Attacks of each kind, which are tried at every run; the others take long."""

assert {row.name for row in ROWS} >= SAMPLE


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def victim(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    with own_network() as is_own:
        async with site(tmp_path_factory.mktemp("hostile"), ELSEWHERE if is_own else ()) as made:
            yield made


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=() if row.name in SAMPLE else pytest.mark.long)
        for row in ROWS
    ],
)
async def test_the_honest_device_is_heard_under(
    victim: Site, row: Row, record_property: Callable[[str, object], None]
) -> None:
    measured = await victim.under(row.attack)
    for name in ("sent", "delivered", "worst_delay_s", "peak_mb", "growth_mb"):
        record_property(name, getattr(measured, name))
    record_property("lines", len(measured.lines))
    for line in measured.lines:
        assert line.get("level") in ("debug", "info", "warning"), line
        assert line["event"] not in FAULTS, line
    assert len(measured.lines) <= row.most_lines
    assert measured.growth_mb <= row.most_mb
    assert measured.worst_delay_s <= PATIENCE_S
    assert measured.sent - measured.delivered <= row.most_skipped
    assert victim.bridge.process.returncode is None
    assert victim.broker.process.returncode is None
