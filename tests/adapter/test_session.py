"""One MQTT session, against a real mosquitto and against brokers that misbehave."""

import asyncio
import contextlib
import gc
import socket
import ssl
import subprocess
import threading
import time

import pytest
import structlog

from bridge.errors import BrokerRefused, BrokerUnreachable, ConfigError
from bridge.mqtt.limits import ProtocolUnknown, SessionTakenOver
from bridge.mqtt.session import Session
from bridge.mqtt.url import parse_url
from bridge.tree.messages import Message, Publication
from tests.adapter.certificates import certificate
from tests.adapter.mosquitto import (
    BASIC,
    STOCK,
    WEBSOCKETS,
    WILL,
    Queue,
    connected,
    mosquitto,
    only,
    options,
    retained,
    until,
)
from tests.adapter.serving import serving


@pytest.fixture
async def broker(tmp_path):
    async with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request):
    return request.param


@contextlib.asynccontextmanager
async def fake(answer):
    """A broker that reads CONNECT and then does what `answer` does."""

    async def serve(reader, writer):
        head = await reader.readexactly(2)
        await reader.readexactly(head[1])
        await answer(reader, writer)

    async with serving(serve) as port:
        yield parse_url(f"127.0.0.1:{port}")


def saying(*packets, stay=True):
    async def answer(reader, writer):
        writer.write(b"".join(packets))
        while stay and await reader.read(4096):
            pass

    return answer


ACCEPTED_5 = b"\x20\x03\x00\x00\x00"
ACCEPTED_3 = b"\x20\x02\x00\x00"


# Publishing


async def test_what_the_source_holds_is_published_in_order_and_the_last_value_stays(
    broker, protocol
):
    seen: list[bytes] = []
    source = Queue(*(Publication("up/value", b"%d" % n) for n in range(500)))
    async with (
        connected(broker.endpoint, client_id="onlooker") as onlooker,
        connected(broker.endpoint, source, protocol) as session,
    ):
        await onlooker.subscribe(["up/value"], lambda message: seen.append(message.payload))
        session.start()
        await session.flush()
        await until(lambda: len(seen) == 500)
    assert seen == [b"%d" % n for n in range(500)]
    assert (await retained(broker.endpoint))["up/value"] == b"499"


async def test_nothing_of_the_source_is_published_before_start(broker):
    source = Queue(Publication("up/value", b"1"))
    async with connected(broker.endpoint, source) as session:
        session.wake()
        await session.publish(Publication("up/other", b"2"))
        await session.flush()
        assert len(source.waiting) == 1
        session.start()
        await session.flush()
        assert not source.waiting


class Counting:
    """A socket whose reads and writes are counted."""

    def __init__(self, sock):
        self._sock = sock
        self.sent: list[bytes] = []
        self.received = 0

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def send(self, data):
        self.sent.append(bytes(data))
        return self._sock.send(data)

    def recv(self, size):
        self.received += 1
        return self._sock.recv(size)


async def test_however_many_messages_a_turn_of_the_loop_has_one_send_and_one_recv(broker, protocol):
    source = Queue(*(Publication(f"up/{n}", b"1") for n in range(640)))
    async with connected(broker.endpoint, source, protocol) as session:
        wire = session._client._wire
        assert wire
        counting = wire._sock = Counting(wire._sock)
        turns = 0

        def turn():
            nonlocal turns
            turns += 1
            loop.call_soon(turn)

        loop = asyncio.get_running_loop()
        loop.call_soon(turn)
        session.start()
        await session.flush()
        assert counting.sent[0].count(b"up/") == session.limits.window
        assert len(counting.sent) <= turns + 1
        assert counting.received <= turns + 1
    assert len(await retained(broker.endpoint)) == 640


async def test_a_wake_publishes_what_came_later(broker):
    source = Queue()
    async with connected(broker.endpoint, source) as session:
        session.start()
        await session.flush()
        source.waiting.append(Publication("up/late", b"1"))
        session.wake()
        await until(lambda: not source.waiting)
    assert await retained(broker.endpoint) == {"up/late": b"1"}


async def test_qos_0_is_published_too_and_flush_waits_until_it_is_written(broker, protocol):
    payload = bytes(1000)
    source = Queue(*(Publication(f"up/{n}", payload, qos=0) for n in range(2000)))
    async with connected(broker.endpoint, source, protocol) as session:
        session.start()
        await session.flush()
        assert not session.unacknowledged
        await session.publish(Publication("up/end", b"1"))
    assert len(await retained(broker.endpoint)) == 2001


async def test_an_empty_payload_clears_a_topic(broker, protocol):
    async with connected(broker.endpoint, protocol=protocol) as session:
        await session.publish(Publication("up/value", b"1"))
        await session.publish(Publication("up/value", b""))
    assert await retained(broker.endpoint) == {}


@pytest.mark.parametrize(("announced", "window"), [(None, 64), (3, 3), (1000, 64)])
async def test_never_more_is_in_flight_than_the_window(announced, window):
    properties = b"" if announced is None else b"\x21" + announced.to_bytes(2, "big")
    body = b"\x00\x00" + bytes([len(properties)]) + properties
    most = 0

    async def acknowledge(reader, writer):
        nonlocal most
        writer.write(b"\x20" + bytes([len(body)]) + body)
        unacknowledged: list[bytes] = []
        while True:
            try:
                async with asyncio.timeout(0.02):
                    head = await reader.readexactly(2)
                    packet = await reader.readexactly(head[1])
            except TimeoutError:
                # Silence: whatever may come has come.
                most = max(most, len(unacknowledged))
                writer.writelines(b"\x40\x02" + mid for mid in unacknowledged)
                unacknowledged.clear()
            else:
                if head[0] >> 4 == 3:
                    topic = int.from_bytes(packet[:2], "big")
                    unacknowledged.append(packet[2 + topic : 4 + topic])

    source = Queue(*(Publication("up/value", b"%d" % n) for n in range(130)))
    async with fake(acknowledge) as endpoint, connected(endpoint, source) as session:
        session.start()
        await session.flush()
        assert not source.waiting
    assert most == window


async def test_content_type_correlation_data_and_expiry_travel_with_mqtt_5(broker):
    async with connected(broker.endpoint) as session:
        await session.publish(
            Publication(
                "up/a",
                b"1",
                content_type="application/json",
                correlation_data=b"to-whom",
                expiry_s=60,
            )
        )
    port = str(broker.endpoint.port)
    words = ("-V", "5", "-p", port, "-t", "up/a", "-C", "1", "-W", "5", "-F", "%C %D %E %p")
    onlooker = await asyncio.create_subprocess_exec("mosquitto_sub", *words, stdout=-1)
    seen, _ = await onlooker.communicate()
    assert seen.decode().strip() in [f"application/json to-whom {s} 1" for s in (60, 59, 58)]


@pytest.mark.parametrize(
    "topic", ["", "up/#", "up/+/x", "up/\0", "up/\x1f", "up/\udc80", "up/" + "x" * 65_536]
)
async def test_a_topic_that_cannot_be_is_dropped_and_the_next_one_goes_out(broker, protocol, topic):
    source = Queue(Publication(topic, b"1"), Publication("up/next", b"2"))
    async with connected(broker.endpoint, source, protocol) as session:
        session.start()
        await session.flush()
        assert session.refused == 1
        with pytest.raises(BrokerRefused):
            await session.publish(Publication(topic, b"1"))
    assert await retained(broker.endpoint) == {"up/next": b"2"}


async def test_the_announced_packet_size_bounds_payloads(tmp_path):
    async with mosquitto(tmp_path, *BASIC, "max_packet_size 20000") as broker:
        source = Queue(Publication("up/large", bytes(20_000)), Publication("up/fits", b"1"))
        async with connected(broker.endpoint, source) as session:
            assert session.max_payload == 20_000 - 1024
            session.start()
            await session.flush()
            assert session.refused == 1
            await session.publish(Publication("up/most", bytes(session.max_payload)))
        assert set(await retained(broker.endpoint)) == {"up/fits", "up/most"}


async def test_without_an_announcement_there_is_no_bound():
    async with fake(saying(ACCEPTED_5)) as endpoint, connected(endpoint) as session:
        assert session.max_payload is None


async def test_a_publication_that_an_acl_refuses_is_counted_and_warned_of_once(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text(f"topic read #\ntopic write up/allowed/#\ntopic write {WILL.topic}\n")
    async with mosquitto(tmp_path, *STOCK, f"acl_file {acl}") as broker:
        source = Queue(*(Publication(f"up/denied/{n}", b"1") for n in range(5)))
        with structlog.testing.capture_logs() as logs:
            async with connected(broker.endpoint, source) as session:
                session.start()
                await session.flush()
                assert session.refused == 5
                with pytest.raises(BrokerRefused, match="Not authorized"):
                    await session.publish(Publication("up/denied/x", b"1"))
                await session.publish(Publication("up/allowed/x", b"1"))
        warnings = [log for log in logs if log["log_level"] == "warning"]
        assert [log["event"] for log in warnings] == ["publication_refused"]
        assert set(await retained(broker.endpoint)) == {"up/allowed/x"}


async def test_qos_is_lowered_to_what_the_broker_takes():
    got = bytearray()

    async def answer(reader, writer):
        writer.write(b"\x20\x05\x00\x00\x02\x24\x00")
        while data := await reader.read(4096):
            got.extend(data)

    async with fake(answer) as endpoint, connected(endpoint) as session:
        await session.publish(Publication("t", b"1"))
        await until(lambda: got)
    assert got[0] == 0x31  # PUBLISH, QoS 0, retained


async def test_an_error_of_the_source_ends_the_session_with_that_error(broker):
    class Broken:
        has_bulk = False

        def take(self, **_):
            raise RuntimeError("broken")

    async with connected(broker.endpoint, Broken()) as session:
        session.start()
        with pytest.raises(RuntimeError, match="broken"):
            await session.wait_lost()


async def test_what_may_wait_leaves_room_in_flight_for_what_may_not(broker):
    class Bulk(Queue):
        has_bulk = True
        most = most_bytes = 0

        def take(self, *, in_bulk: bool = True, steps: int = 0) -> Publication | None:
            if not in_bulk:
                return None
            flying = [one.payload for one in session.unacknowledged if one.in_bulk]
            self.most = max(self.most, len(flying))
            self.most_bytes = max(self.most_bytes, sum(map(len, flying)))
            publication = super().take(steps=steps)
            self.has_bulk = bool(self.waiting)
            return publication

    for size, most, most_bytes in ((10, 47, 65_536), (5_000, 14, 65_536)):
        source = Bulk(*(Publication(f"up/{n}", b"x" * size, in_bulk=True) for n in range(1000)))
        async with connected(broker.endpoint, source) as session:
            session.start()
            await session.flush()
        assert not source.waiting
        assert 0 < source.most <= most
        assert source.most_bytes < most_bytes


# Reading the retained tree


async def test_three_thousand_retained_topics_are_read_whole(broker, protocol):
    source = Queue(*(Publication(f"up/{n}", b"%d" % n) for n in range(3000)))
    async with connected(broker.endpoint, source) as session:
        session.start()
        await session.flush()
    held: dict[str, bytes] = {}
    async with connected(broker.endpoint, protocol=protocol) as session:
        await session.read_retained([["up/#"]], held.__setitem__, marker_topic="up/bridge/marker")
    assert held == {f"up/{n}": b"%d" % n for n in range(3000)}


async def test_a_large_tree_is_read_whole_from_a_stock_mosquitto(tmp_path):
    async with mosquitto(tmp_path, *STOCK) as broker:
        source = Queue(*(Publication(f"up/{n}", b"%d" % n) for n in range(3000)))
        async with connected(broker.endpoint, source) as session:
            session.start()
            await session.flush()
        assert len(await retained(broker.endpoint)) == 3000


async def test_what_is_published_while_reading_is_not_taken_for_retained(broker, protocol):
    held: dict[str, bytes] = {}
    async with (
        connected(broker.endpoint, client_id="other") as other,
        connected(broker.endpoint, protocol=protocol) as session,
    ):
        await other.publish(Publication("up/old", b"1"))
        reading = asyncio.create_task(
            session.read_retained([["up/#"]], held.__setitem__, marker_topic="up/m", quiet_s=0.3)
        )
        await asyncio.sleep(0.1)
        await other.publish(Publication("up/new", b"2"))
        await reading
    assert held == {"up/old": b"1"}


async def test_an_empty_tree_is_read_at_once_thanks_to_the_marker(broker):
    async with connected(broker.endpoint) as session:
        begun = time.monotonic()
        await session.read_retained([["up/#"]], lambda *_: None, marker_topic="up/m", quiet_s=0.1)
        assert time.monotonic() - begun < 1
    assert await retained(broker.endpoint) == {}


async def test_silence_ends_the_reading_where_the_marker_does_not_come_back(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text(f"topic read #\ntopic write up/held\ntopic write {WILL.topic}\n")
    async with (
        mosquitto(tmp_path, *STOCK, f"acl_file {acl}") as broker,
        connected(broker.endpoint) as session,
    ):
        await session.publish(Publication("up/held", b"1"))
        held: dict[str, bytes] = {}
        begun = time.monotonic()
        await session.read_retained([["up/#"]], held.__setitem__, marker_topic="up/m")
        assert held == {"up/held": b"1"}
        assert 1.9 < time.monotonic() - begun < 4


async def test_a_reading_that_does_not_end_is_cut(broker):
    async with connected(broker.endpoint) as session:
        with structlog.testing.capture_logs() as logs:
            await session.read_retained(
                [["up/#"]], lambda *_: None, marker_topic="elsewhere", quiet_s=5, limit_s=0.1
            )
    assert "retained_read_timeout" in [log["event"] for log in logs]


async def test_after_the_reading_the_filter_is_unsubscribed(broker):
    seen: list[Message] = []
    async with connected(broker.endpoint) as session:
        await session.read_retained([["up/#"]], lambda *_: None, marker_topic="up/m", quiet_s=0.05)
        await session.subscribe(["up/call"], seen.append)
        async with connected(broker.endpoint, client_id="other") as other:
            await other.publish(Publication("up/value", b"1"))
            await other.publish(Publication("up/call", b"2"))
        await until(lambda: seen)
    assert [message.topic for message in seen] == ["up/call"]


async def test_a_refused_subscription_names_its_filter():
    async def answer(reader, writer):
        writer.write(ACCEPTED_5)
        for _ in range(2):  # that to the marker's topic is done without
            head = await reader.readexactly(2)
            packet = await reader.readexactly(head[1])
            writer.write(b"\x90\x04" + packet[:2] + b"\x00\x87")
        await reader.read(100)

    async with fake(answer) as endpoint, connected(endpoint) as session:
        with pytest.raises(BrokerRefused, match="up/#: Not authorized"):
            await session.read_retained([["up/#"]], lambda *_: None, marker_topic="up/m")


# Subscribing


async def test_response_topic_and_correlation_data_arrive_with_mqtt_5(broker):
    seen: list[Message] = []
    async with connected(broker.endpoint) as session:
        await session.subscribe(["up/+/call"], seen.append)
        await asyncio.to_thread(
            subprocess.run,
            f"mosquitto_pub -V 5 -p {broker.port} -t up/x/call -m {{}} -q 1"
            " -D publish response-topic answers/1 -D publish correlation-data abc".split(),
            check=True,
        )
        await until(lambda: seen)
    assert seen == [Message("up/x/call", b"{}", False, "answers/1", b"abc")]  # noqa: FBT003


async def test_with_mqtt_5_the_retain_flag_of_a_live_command_is_seen(broker):
    seen: list[Message] = []
    async with (
        connected(broker.endpoint) as session,
        connected(broker.endpoint, client_id="other") as other,
    ):
        await session.subscribe(["up/call"], seen.append)
        await other.publish(Publication("up/call", b"1", retain=True))
        await other.publish(Publication("up/call", b"2", retain=False))
        await until(lambda: len(seen) == 2)
    assert [(message.payload, message.retain) for message in seen] == [(b"1", True), (b"2", False)]


async def test_a_command_that_was_retained_before_is_marked_so(broker, protocol):
    seen: list[Message] = []
    async with connected(broker.endpoint, protocol=protocol) as session:
        await session.publish(Publication("up/call", b"1"))
        await session.subscribe(["up/call"], seen.append)
        await until(lambda: seen)
    assert seen[0].retain


async def test_with_mqtt_5_what_the_bridge_publishes_does_not_come_back(broker):
    seen: list[Message] = []
    async with (
        connected(broker.endpoint) as session,
        connected(broker.endpoint, client_id="other") as other,
    ):
        await session.subscribe(["up/#"], seen.append)
        await session.publish(Publication("up/own", b"1"))
        await other.publish(Publication("up/other", b"1"))
        await until(lambda: seen)
    assert [message.topic for message in seen] == ["up/other"]


async def test_a_message_goes_to_the_subscription_that_covers_it(broker, protocol):
    calls: list[str] = []
    births: list[str] = []
    async with (
        connected(broker.endpoint, protocol=protocol) as session,
        connected(broker.endpoint, client_id="other") as other,
    ):
        await session.subscribe(["up/+/call", "up/+/get"], lambda m: calls.append(m.topic))
        await session.subscribe(["homeassistant/status"], lambda m: births.append(m.topic))
        for topic in ("up/a/call", "homeassistant/status", "up/a/get"):
            await other.publish(Publication(topic, b"1", retain=False))
        await until(lambda: len(calls) == 2 and births)
    assert (calls, births) == (["up/a/call", "up/a/get"], ["homeassistant/status"])


async def test_an_error_in_a_callback_is_logged_and_the_session_lives(broker):
    seen: list[Message] = []

    def fail_first(message: Message) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise RuntimeError("broken")

    async with (
        connected(broker.endpoint) as session,
        connected(broker.endpoint, client_id="other") as other,
    ):
        await session.subscribe(["up/call"], fail_first)
        with structlog.testing.capture_logs() as logs:
            await other.publish(Publication("up/call", b"1"))
            await other.publish(Publication("up/call", b"2"))
            await until(lambda: len(seen) == 2)
        await session.publish(Publication("up/alive", b"1"))
    assert [log["log_level"] for log in logs if log["event"] == "message_handler_failed"] == [
        "error"
    ]


async def test_a_burst_of_messages_over_tls_does_not_wait_for_more_bytes(tls):
    async with mosquitto(tls, *BASIC, *tls_lines(tls)) as broker:
        endpoint = parse_url(f"mqtts://localhost:{broker.port}")
        source = Queue(*(Publication(f"up/{n}", bytes(100)) for n in range(1000)))
        async with connected(endpoint, source, tls_ca=tls / "ca.pem") as session:
            session.start()
            await session.flush()
            held: dict[str, bytes] = {}
            await session.read_retained([["up/#"]], held.__setitem__, marker_topic="up/m")
    assert len(held) == 1000


# Its end


async def test_the_will_is_published_when_the_bridge_dies(broker, protocol):
    session = await Session.open(
        broker.endpoint, options(broker.endpoint), WILL, Queue(), protocol=protocol
    )
    await session.publish(Publication(WILL.topic, b"online"))
    session._client.connected.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BrokerUnreachable):
        await session.wait_lost()
    await session.close()
    assert (await retained(broker.endpoint))[WILL.topic] == b"offline"


async def test_an_orderly_end_flushes_and_leaves_the_will_unsaid(broker, protocol):
    source = Queue()
    async with connected(broker.endpoint, source, protocol) as session:
        session.start()
        source.waiting += [Publication("up/value", b"1"), Publication(WILL.topic, b"online")]
    assert await retained(broker.endpoint) == {"up/value": b"1", WILL.topic: b"online"}


async def test_a_killed_broker_ends_everything_that_waits(broker):
    async with connected(broker.endpoint) as session:
        lost = asyncio.create_task(session.wait_lost())
        await broker.kill()
        with pytest.raises(BrokerUnreachable):
            await lost
        with pytest.raises(BrokerUnreachable):
            await session.publish(Publication("up/value", b"1"))
        with pytest.raises(BrokerUnreachable):
            await session.flush()
        with pytest.raises(BrokerUnreachable):
            await session.subscribe(["up/#"], lambda _: None)


async def test_what_waits_for_an_acknowledgement_is_told_and_named_at_the_end():
    publication = Publication("up/value", b"1")
    async with fake(saying(ACCEPTED_5)) as endpoint, connected(endpoint) as session:
        waiting = asyncio.create_task(session.publish(publication))
        flushing = asyncio.create_task(session.flush())
        reading = asyncio.create_task(
            session.read_retained([["up/#"]], lambda *_: None, marker_topic="up/m")
        )
        await until(lambda: session.unacknowledged)
        session._client.connected.shutdown(socket.SHUT_RDWR)
        for task in (waiting, flushing, reading):
            with pytest.raises(BrokerUnreachable):
                await task
        assert session.unacknowledged == (publication,)


async def test_a_broker_that_acknowledges_nothing_counts_as_lost():
    async with (
        fake(saying(ACCEPTED_5)) as endpoint,
        connected(endpoint, acknowledge_s=0.5) as session,
    ):
        with pytest.raises(BrokerUnreachable, match="acknowledgement"):
            await session.publish(Publication("up/value", b"1"))


async def test_a_broker_that_answers_no_ping_counts_as_lost():
    async with fake(saying(ACCEPTED_5)) as endpoint, connected(endpoint, keepalive_s=1) as session:
        async with asyncio.timeout(5):
            with pytest.raises(BrokerUnreachable, match="Keep alive"):
                await session.wait_lost()


async def test_another_client_with_our_client_id_is_called_by_name():
    taken_over = b"\xe0\x02\x8e\x00"
    async with (
        fake(saying(ACCEPTED_5, taken_over)) as endpoint,
        connected(endpoint) as session,
    ):
        with pytest.raises(SessionTakenOver, match="another client uses this client id"):
            await session.wait_lost()


async def test_a_broker_that_shuts_down_is_unreachable():
    async with (
        fake(saying(ACCEPTED_5, b"\xe0\x02\x8b\x00")) as endpoint,
        connected(endpoint) as session,
    ):
        with pytest.raises(BrokerUnreachable, match="Server shutting down"):
            await session.wait_lost()


@pytest.mark.parametrize(
    "packet",
    [
        b"\x40\x01\x00",
        b"\x40\x02\xff\xff",
        b"\x30\x02\xff\xff",
        b"\x30\x04\x00\x01\xff\x00",
        b"\x36\x00",
        b"\x90\x00",
        b"\xf0\x00",
        b"\x20\x00",
        b"\xe0\x01\x01",
        b"\x30\xff\xff\xff\xff\xff",
    ],
)
async def test_a_broken_packet_ends_the_session_at_most(packet, protocol):
    accepted = ACCEPTED_5 if protocol == "5" else ACCEPTED_3
    async with (
        fake(saying(accepted, packet, stay=False)) as endpoint,
        connected(endpoint, protocol=protocol) as session,
        asyncio.timeout(5),
    ):
        with pytest.raises((BrokerUnreachable, BrokerRefused)):
            await session.wait_lost()


async def test_neither_threads_nor_sockets_nor_timers_are_left(broker):
    async with connected(broker.endpoint):
        assert not [t for t in threading.enumerate() if "paho" in t.name]
    loop = asyncio.get_running_loop()
    assert not [handle for handle in loop._scheduled if not handle._cancelled]  # type: ignore[attr-defined]
    gc.collect()


# Its beginning


async def test_no_broker_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    endpoint = parse_url(f"127.0.0.1:{port}")
    with pytest.raises(BrokerUnreachable, match="Connect call failed"):
        async with connected(endpoint):
            pass


async def test_a_name_that_nobody_knows_is_unreachable():
    with pytest.raises(BrokerUnreachable):
        async with connected(parse_url("mqtt://nobody.invalid")):
            pass


async def test_a_broker_without_connack_is_unreachable_in_time():
    async with fake(saying()) as endpoint:
        with pytest.raises(BrokerUnreachable, match="no answer"):
            async with connected(endpoint, limit_s=0.2):
                pass


async def test_a_broker_that_hangs_for_longer_than_the_keepalive_is_not_taken_for_an_old_one():
    async with fake(saying()) as endpoint:
        with pytest.raises(BrokerUnreachable, match="no CONNACK: Keep alive timeout"):
            async with connected(endpoint, keepalive_s=1):
                pass


@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
async def test_a_handshake_that_hangs_is_given_up_in_time(scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = parse_url(f"{scheme}://127.0.0.1:{server.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(BrokerUnreachable, match="no answer"):
            async with connected(endpoint, limit_s=0.3):
                pass
        assert time.monotonic() - begun < 2
    gc.collect()


@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
async def test_a_handshake_that_fails_leaves_no_socket(scheme):
    async def hang_up(_reader, writer):
        writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        endpoint = parse_url(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises((BrokerUnreachable, BrokerRefused)):
            async with connected(endpoint):
                pass
    gc.collect()


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (b"\x20\x02\x00\x01", ProtocolUnknown),
        (b"\x20\x03\x00\x84\x00", ProtocolUnknown),
        (b"", ProtocolUnknown),
        (b"\x20\x03\x00\x88\x00", BrokerUnreachable),
        (b"\x20\x03\x00\x86\x00", BrokerRefused),
        (b"\x20\x03\x00\x87\x00", BrokerRefused),
        (b"\x20\x05\x00\x00\x02\x25\x00", BrokerRefused),
    ],
)
async def test_each_refusal_of_mqtt_5_is_of_its_class(packet, error):
    async with fake(saying(packet, stay=False)) as endpoint:
        with pytest.raises(error) as caught:
            async with connected(endpoint):
                pass
    assert caught.type is error


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (b"", BrokerUnreachable),
        (b"\x20\x02\x00\x03", BrokerUnreachable),
        (b"\x20\x02\x00\x04", BrokerRefused),
        (b"\x20\x02\x00\x05", BrokerRefused),
    ],
)
async def test_each_refusal_of_mqtt_3_is_of_its_class(packet, error):
    async with fake(saying(packet, stay=False)) as endpoint:
        with pytest.raises(error) as caught:
            async with connected(endpoint, protocol="3.1.1"):
                pass
    assert caught.type is error


async def test_user_name_and_password_are_those_of_the_url_or_of_the_options(tmp_path, protocol):
    async with mosquitto(tmp_path, *only(tmp_path, "user", "p:/#")) as broker:
        right = parse_url(f"mqtt://user:p%3A%2F%23@127.0.0.1:{broker.port}")
        wrong = parse_url(f"mqtt://user:wrong@127.0.0.1:{broker.port}")
        async with connected(right, protocol=protocol):
            pass
        async with connected(
            broker.endpoint, protocol=protocol, username="user", password=right.password
        ):
            pass
        for endpoint in (wrong, broker.endpoint):
            with pytest.raises(BrokerRefused, match=r"(?i)not authori"):
                async with connected(endpoint, protocol=protocol):
                    pass


async def test_a_unix_socket_works(tmp_path, protocol):
    path = tmp_path / "m.sock"
    async with mosquitto(tmp_path, *BASIC, listener=f"0 {path}"):
        endpoint = parse_url(f"unix://{path}")
        async with connected(endpoint, protocol=protocol) as session:
            await session.publish(Publication("up/value", b"1"))
        assert await retained(endpoint) == {"up/value": b"1"}


async def test_a_unix_socket_that_is_not_there_is_unreachable(tmp_path):
    with pytest.raises(BrokerUnreachable):
        async with connected(parse_url(f"unix://{tmp_path}/none.sock")):
            pass
    gc.collect()


async def test_websockets_work(tmp_path, protocol):
    async with mosquitto(tmp_path, *BASIC, *WEBSOCKETS) as broker:
        endpoint = parse_url(f"ws://127.0.0.1:{broker.websockets}")
        source = Queue(*(Publication(f"up/{n}", bytes(2000)) for n in range(300)))
        async with connected(endpoint, source, protocol) as session:
            session.start()
            await session.flush()
        assert len(await retained(endpoint)) == 300


# TLS


def tls_lines(directory):
    return (f"certfile {directory}/server.pem", f"keyfile {directory}/server.key")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    authority = "basicConstraints=critical,CA:TRUE"
    certificate(directory, "ca", issuer="ca", extension=authority)
    certificate(directory, "other", issuer="other", extension=authority)
    certificate(directory, "server")
    certificate(directory, "client")
    return directory


@pytest.mark.parametrize(("scheme", "listener"), [("mqtts", ()), ("wss", WEBSOCKETS)])
async def test_tls_works_with_an_authority_of_ones_own(tls, scheme, listener):
    async with mosquitto(tls, *BASIC, *listener, *tls_lines(tls)) as broker:
        port = broker.websockets if listener else broker.port
        endpoint = parse_url(f"{scheme}://localhost:{port}")
        source = Queue(*(Publication(f"up/{n}", bytes(2000)) for n in range(300)))
        async with connected(endpoint, source, tls_ca=tls / "ca.pem") as session:
            session.start()
            await session.flush()
            held: dict[str, bytes] = {}
            await session.read_retained([["up/#"]], held.__setitem__, marker_topic="up/m")
        assert len(held) == 300


async def test_a_certificate_of_an_unknown_authority_is_refused(tls):
    async with mosquitto(tls, *BASIC, *tls_lines(tls)) as broker:
        endpoint = parse_url(f"mqtts://localhost:{broker.port}")
        with pytest.raises(BrokerRefused, match="certificate is not trusted"):
            async with connected(endpoint, tls_ca=tls / "other.pem"):
                pass
    gc.collect()


async def test_a_certificate_for_another_host_is_refused(tls):
    async with mosquitto(tls, *BASIC, *tls_lines(tls)) as broker:
        endpoint = parse_url(f"mqtts://127.0.0.1:{broker.port}")
        with pytest.raises(BrokerRefused, match="IP address mismatch"):
            async with connected(endpoint, tls_ca=tls / "ca.pem"):
                pass
    gc.collect()


async def test_a_client_certificate_is_shown_and_its_lack_is_told(tls):
    demand = (f"cafile {tls}/ca.pem", "require_certificate true")
    async with mosquitto(tls, *BASIC, *tls_lines(tls), *demand) as broker:
        endpoint = parse_url(f"mqtts://localhost:{broker.port}")
        mine = {"tls_cert": tls / "client.pem", "tls_key": tls / "client.key"}
        async with connected(endpoint, tls_ca=tls / "ca.pem", **mine) as session:
            await session.publish(Publication("up/value", b"1"))
        with pytest.raises(BrokerRefused, match=r"certificate required: see mqtt\.tls_cert"):
            async with connected(endpoint, tls_ca=tls / "ca.pem"):
                pass
    gc.collect()


async def test_a_tls_file_that_cannot_be_read_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"none.pem"):
        async with connected(parse_url("mqtts://127.0.0.1:1"), tls_ca=tmp_path / "none.pem"):
            pass


@pytest.mark.parametrize("content", ["", "no PEM", "-----BEGIN CERTIFICATE-----\n%\n"])
@pytest.mark.parametrize("setting", ["tls_ca", "tls_cert", "tls_key"])
async def test_a_tls_file_that_is_no_pem_is_named_with_its_setting(tls, tmp_path, setting, content):
    wrong = tmp_path / "wrong"
    wrong.write_text(content)
    right = {
        "tls_ca": tls / "ca.pem",
        "tls_cert": tls / "client.pem",
        "tls_key": tls / "client.key",
    }
    with pytest.raises(ConfigError, match=rf"^mqtt\.{setting}: .*{wrong}"):
        async with connected(parse_url("mqtts://127.0.0.1:1"), **{**right, setting: wrong}):
            pass


async def test_a_key_of_another_certificate_is_named_with_its_setting(tls):
    mine = {"tls_cert": tls / "client.pem", "tls_key": tls / "server.key"}
    with pytest.raises(ConfigError, match=r"^mqtt\.tls_key: .*server\.key"):
        async with connected(parse_url("mqtts://127.0.0.1:1"), **mine):
            pass


async def test_an_authority_without_key_usage_is_taken_also_where_python_is_strict(
    tls, monkeypatch
):
    usual = ssl.create_default_context

    def strict(*args, **more):  # as it is from Python 3.13
        context = usual(*args, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    async with mosquitto(tls, *BASIC, *tls_lines(tls)) as broker:
        endpoint = parse_url(f"mqtts://localhost:{broker.port}")
        async with connected(endpoint, tls_ca=tls / "ca.pem") as session:
            await session.publish(Publication("up/value", b"1"))


async def test_plain_mqtt_where_tls_was_meant_is_told(broker):
    endpoint = parse_url(f"mqtts://127.0.0.1:{broker.port}")
    said = "closed during the TLS handshake: is this its port for TLS|is no TLS"
    with pytest.raises((BrokerRefused, BrokerUnreachable), match=said):
        async with connected(endpoint):
            pass
    gc.collect()
