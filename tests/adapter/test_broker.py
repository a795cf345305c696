"""The broker across sessions: fall-back, pauses, the next endpoint, the end."""

import asyncio
import contextlib
from random import Random
from typing import Any

import pytest
import structlog

from bridge.errors import BrokerRefused, BrokerUnreachable, ConfigError
from bridge.mqtt.reconnect import Broker, BrokerState, pause_s
from bridge.mqtt.url import parse_url
from bridge.tree.messages import Publication
from tests.adapter.mosquitto import (
    STOCK,
    WILL,
    Queue,
    connected,
    free_port,
    mosquitto,
    only,
    options,
    retained,
    until,
)
from tests.adapter.serving import serving


class Pauses:
    """Pauses that are noted down and hardly waited for; after `most`, the test has had enough."""

    def __init__(self, most=50):
        self.seen = []
        self.most = most

    async def __call__(self, pause_s):
        self.seen.append(pause_s)
        if len(self.seen) >= self.most:
            raise Enough
        await asyncio.sleep(0.02)


class Enough(Exception):
    pass


@pytest.fixture
async def running(tmp_path):
    async with mosquitto(tmp_path) as broker:
        yield broker


@contextlib.asynccontextmanager
async def scripted(answer):
    """A broker that answers CONNECT, by its protocol level, and then hangs up."""
    levels = []

    async def serve(reader, writer):
        head = await reader.readexactly(2)
        packet = await reader.readexactly(head[1])
        levels.append(packet[6])
        if reply := answer(packet[6]):
            writer.write(reply)
            if reply[3] == 0:
                await reader.read(100)

    async with serving(serve) as port:
        yield parse_url(f"127.0.0.1:{port}"), levels


async def one_session(broker):
    """Run the broker until its first session, and return that session's protocol."""
    protocols = []

    async def serve(session):
        protocols.append(session.protocol)

    async with asyncio.timeout(5):
        await broker.run(serve)
    return protocols[0]


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 1, 2), (3, 1, 4), (20, 1, 4), (10_000, 1, 4)]
)
def test_an_unreachable_broker_is_tried_again_within_4_seconds(failures, least, most):
    pauses = [pause_s(BrokerUnreachable("gone"), failures, Random()) for _ in range(200)]
    assert least <= min(pauses) <= max(pauses) <= most
    assert max(pauses) > most / 2


@pytest.mark.parametrize(("failures", "most"), [(1, 120), (20, 300)])
def test_a_broker_that_does_not_want_us_is_left_alone_for_minutes(failures, most):
    pauses = [pause_s(BrokerRefused("no"), failures, Random()) for _ in range(200)]
    assert min(pauses) >= 60
    assert most / 2 < max(pauses) <= most


async def test_mqtt_5_is_spoken_where_the_broker_knows_it(running):
    assert await one_session(Broker(options(running.endpoint), WILL, Queue())) == "5"


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""])
async def test_mqtt_3_is_spoken_where_the_broker_knows_nothing_newer(refusal):
    async with scripted(lambda level: refusal if level == 5 else b"\x20\x02\x00\x00") as fake:
        endpoint, levels = fake
        broker = Broker(options(endpoint), WILL, Queue())
        assert await one_session(broker) == "3.1.1"
        assert await one_session(broker) == "3.1.1"
    assert levels == [5, 4, 4]  # what worked is remembered


async def test_a_protocol_that_is_set_is_the_only_one_tried(running):
    chosen = options(running.endpoint, protocol="3.1.1")
    assert await one_session(Broker(chosen, WILL, Queue())) == "3.1.1"
    async with scripted(lambda _: b"\x20\x02\x00\x01") as (endpoint, levels):
        broker = Broker(options(endpoint, protocol="5"), WILL, Queue(), pause=Pauses(1))
        with pytest.raises(Enough):
            await one_session(broker)
    assert levels == [5]


async def test_after_a_restart_of_the_broker_on_its_port_there_is_a_new_session(tmp_path):
    port = free_port()
    sessions: asyncio.Queue[Any] = asyncio.Queue()
    source = Queue()

    async def serve(session):
        session.start()
        sessions.put_nowait(session)
        await asyncio.Event().wait()

    pauses = Pauses()
    endpoint = parse_url(f"127.0.0.1:{port}")
    broker = Broker(options(endpoint), WILL, source, pause=pauses)
    task = asyncio.create_task(broker.run(serve))
    try:
        async with mosquitto(tmp_path, port=port), asyncio.timeout(5):
            first = await sessions.get()
            assert str(broker.state) == str(BrokerState(connected=True, url=str(endpoint)))
        with pytest.raises(BrokerUnreachable):
            await first.wait_lost()
        await until(lambda: not broker.state.connected)
        source.waiting.append(Publication("up/value", b"1"))
        async with mosquitto(tmp_path, port=port) as again, asyncio.timeout(5):
            second = await sessions.get()
            await second.flush()
            assert await retained(again.endpoint) == {"up/value": b"1"}
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert first is not second
    assert broker.state.reconnects == 1
    assert pauses.seen
    assert max(pauses.seen) <= 60


async def test_the_next_endpoint_is_tried_at_once(running):
    pauses = Pauses()
    endpoints = (parse_url(f"127.0.0.1:{free_port()}"), running.endpoint)
    broker = Broker(options(*endpoints), WILL, Queue(), pause=pauses)
    await one_session(broker)
    assert pauses.seen == []
    assert broker.state.url == str(running.endpoint)


async def test_a_wrong_password_is_not_tried_again_soon(tmp_path):
    pauses = Pauses(1)
    async with mosquitto(tmp_path, *only(tmp_path, "user", "right")) as running:
        endpoint = parse_url(f"mqtt://user:wrong@127.0.0.1:{running.port}")
        broker = Broker(options(endpoint), WILL, Queue(), pause=pauses)
        with structlog.testing.capture_logs() as logs, pytest.raises(Enough):
            await one_session(broker)
    assert pauses.seen[0] > 59
    assert broker.state.url == f"mqtt://127.0.0.1:{running.port}"
    assert "wrong" not in str(logs)


async def test_a_cycle_of_failures_warns_once():
    broker = Broker(options(parse_url(f"127.0.0.1:{free_port()}")), WILL, Queue(), pause=Pauses(5))
    with structlog.testing.capture_logs() as logs, pytest.raises(Enough):
        await one_session(broker)
    assert [log["log_level"] for log in logs] == ["warning", *["debug"] * 4]


async def test_pauses_grow_while_sessions_do_not_last():
    async with scripted(lambda _: b"\x20\x03\x00\x00\x00" + b"\xe0\x00") as (endpoint, _):
        pauses = Pauses(30)
        broker = Broker(options(endpoint), WILL, Queue(), pause=pauses)

        async def serve(_session):
            await asyncio.Event().wait()

        with pytest.raises(Enough):
            await broker.run(serve)
    assert max(pauses.seen) > 10


async def test_another_client_with_our_id_is_an_error_and_a_long_pause():
    taken_over = b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00"
    async with scripted(lambda _: taken_over) as (endpoint, _):
        pauses = Pauses(1)
        broker = Broker(options(endpoint), WILL, Queue(), pause=pauses)

        async def serve(_session):
            await asyncio.Event().wait()

        with structlog.testing.capture_logs() as logs, pytest.raises(Enough):
            await broker.run(serve)
    assert [log["reason"] for log in logs if log["log_level"] == "error"] == [
        "another client uses this client id"
    ]
    assert pauses.seen[0] > 59


async def test_a_broker_error_of_serve_ends_its_session_only(running):
    calls = []

    async def serve(session):
        calls.append(session)
        if len(calls) == 1:
            raise BrokerRefused("subscription")

    pauses = Pauses()
    await Broker(options(running.endpoint), WILL, Queue(), pause=pauses).run(serve)
    assert len(calls) == 2
    assert pauses.seen[0] > 59


async def test_any_other_error_of_serve_propagates_and_the_session_is_closed(running):
    sessions = []

    async def serve(session):
        sessions.append(session)
        raise ValueError("a bug")

    broker = Broker(options(running.endpoint), WILL, Queue())
    with pytest.raises(ExceptionGroup) as caught:
        await broker.run(serve)
    assert caught.group_contains(ValueError, match="a bug")
    with pytest.raises(BrokerUnreachable):
        await sessions[0].wait_lost()


async def test_cancelled_it_says_good_bye(tmp_path):
    async with mosquitto(tmp_path, *STOCK) as running:
        ready = asyncio.Event()

        async def serve(session):
            await session.publish(Publication(WILL.topic, b"online"))
            ready.set()
            try:
                await asyncio.Event().wait()
            finally:
                await session.publish(Publication(WILL.topic, b"stopped"))

        broker = Broker(options(running.endpoint), WILL, Queue())
        task = asyncio.create_task(broker.run(serve))
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not broker.state.connected
        assert (await retained(running.endpoint))[WILL.topic] == b"stopped"


async def test_a_tls_file_that_cannot_be_read_propagates(tmp_path):
    broker = Broker(
        options(parse_url("mqtts://127.0.0.1:1"), tls_ca=tmp_path / "none.pem"), WILL, Queue()
    )
    with pytest.raises(ConfigError):
        await one_session(broker)


async def test_two_sessions_with_one_id_do_not_chase_each_other_fast(running):
    pauses = Pauses(3)
    broker = Broker(options(running.endpoint), WILL, Queue(), pause=pauses)

    async def serve(_session):
        async with connected(running.endpoint):
            await asyncio.Event().wait()

    with pytest.raises(Enough):
        await broker.run(serve)
    assert min(pauses.seen) > 0.9
