import contextlib
from typing import Any, cast

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.mqtt.paho_socket import Client
from bridge.mqtt.publish_packets import CHUNK_BYTES, Wire
from bridge.tree.messages import Message, Publication


class Peer:
    """A socket that gives what is laid ready, piece by piece, and takes `room` bytes at a time."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.taken = []
        self.room = 1 << 30
        self.fails = None

    def recv(self, size):
        assert size == CHUNK_BYTES
        if self.fails:
            raise self.fails
        if not self.pieces:
            raise BlockingIOError
        return self.pieces.pop(0)

    def send(self, data):
        if self.fails:
            raise self.fails
        if not self.room:
            raise BlockingIOError
        self.taken.append(bytes(data[: self.room]))
        return len(self.taken[-1])

    def setblocking(self, flag):
        self.blocks = flag

    def settimeout(self, seconds):
        pass

    def fileno(self):
        return 7

    def close(self):
        self.pieces.append(b"")


class Reader:
    """A wire, what it told of, and what it passed on to paho, which reads at each packet."""

    def __init__(self, *pieces, is_5=True):
        self.told: list[object] = []
        self.passed = b""
        self.peer = Peer(*filter(None, pieces))
        self.wire = Wire(
            self.peer,
            lambda mid, code: self.told.append((mid, code)),
            self.told.append,
            is_5=is_5,
        )

    def read(self):
        while self.peer.pieces:
            self.wire.fill()
            while self.wire.step():
                self.take_passed()
            self.take_passed()
        return self

    def take_passed(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                part = self.wire.recv(3)
                if not part:
                    break
                self.passed += part


def wire_of(peer):
    return Wire(peer, lambda *_: None, lambda _: None, is_5=True)


def puback(mid, *more):
    return bytes((0x40, 2 + len(more), mid >> 8, mid & 255, *more))


def other(kind, body):
    low, high = len(body) & 127, len(body) >> 7
    return bytes((kind, low | 128, high) if high else (kind, low)) + body


def publish(topic, payload, *, mid=0, retain=False, properties=b"\0"):
    name = topic.encode()
    identifier = mid.to_bytes(2, "big") if mid else b""
    head = 0x30 | (2 if mid else 0) | retain
    return other(head, len(name).to_bytes(2, "big") + name + identifier + properties + payload)


ANSWERED = bytes((17, 0x08, 0, 7)) + b"reply/1" + bytes((0x09, 0, 4)) + b"\x00\x01\x02\xff"
PACKETS = st.lists(
    st.one_of(
        st.builds(puback, st.integers(1, 65535)),
        st.builds(puback, st.integers(1, 65535), st.sampled_from((0, 0x10, 0x87, 0x97))),
        st.builds(other, st.sampled_from((0x20, 0x34, 0x90, 0xB0, 0xD0)), st.binary(max_size=300)),
        st.builds(
            publish,
            st.text(min_size=1, max_size=40),
            st.binary(max_size=300),
            mid=st.integers(0, 65535),
            retain=st.booleans(),
            properties=st.sampled_from((b"\0", ANSWERED)),
        ),
    )
)


@given(PACKETS, st.data())
def test_what_is_ours_is_taken_and_all_else_passes_however_it_is_cut(packets, data):
    stream = b"".join(packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = Reader(stream).read(), Reader(*pieces).read()
    assert cut.told == whole.told
    assert cut.passed == whole.passed
    ours = [one for one in packets if one[0] == 0x40 or one[0] in (0x30, 0x31, 0x32, 0x33)]
    assert len(whole.told) == len(ours)
    assert whole.passed == b"".join(one for one in packets if one not in ours)
    assert not cut.wire.has_news


@given(st.lists(st.binary(max_size=60)), st.binary(max_size=40), st.booleans())
def test_no_bytes_break_it(pieces, properties, is_5):
    odd = publish("a", b"1", properties=bytes((len(properties),)) + properties)
    reader = Reader(odd, *pieces, is_5=is_5).read()
    assert len(reader.passed) <= len(odd) + sum(map(len, pieces))


@pytest.mark.parametrize("is_5", [True, False])
def test_a_message_is_handed_over_and_acknowledged(is_5):
    none = b"\0" if is_5 else b""
    packets = (
        publish("a/ü", b"1", mid=258, properties=none),
        publish("a/b", b"", retain=True, properties=none),
    )
    reader = Reader(*packets, is_5=is_5).read()
    reader.wire.flush()
    assert reader.told == [Message("a/ü", b"1", False), Message("a/b", b"", True)]  # noqa: FBT003
    assert reader.peer.taken == [puback(258)]


def test_a_message_says_where_it_is_answered():
    (message,) = Reader(publish("a", b"1", properties=ANSWERED)).read().told
    assert message == Message("a", b"1", False, "reply/1", b"\x00\x01\x02\xff")  # noqa: FBT003


def test_a_large_packet_is_passed_on_while_it_comes():
    reader = Reader(b"\xd0\xff\x7f" + bytes(100))
    reader.read()
    assert len(reader.passed) == 103
    reader.peer.pieces += [bytes(16_283), puback(9)]
    assert len(reader.read().passed) == 3 + 16_383
    assert reader.told == [(9, 0)]


@pytest.mark.parametrize(
    "broken",
    [
        b"\x40\x01\x00",
        b"\x40\x00",
        b"\x30\xff\xff\xff\xff\xff\xff",
        b"\xf0\x00",
        b"\x30\x00",
        b"\x30\x02\xff\xff",
        b"\x36\x00",
        b"\x32\x04\x00\x01a\x00",
        b"\x30\x04\x00\x01a\x05",
        b"\x30\x06\x00\x01a\x02\xfe\x00",
        b"\x30\x05\x00\x01a\x01\x02",
        b"\x30\x05\x00\x02\xff\xff\x00",
        b"\x30\x03\x00\x00\x00",
    ],
)
def test_what_is_no_packet_is_for_paho_to_judge(broken):
    reader = Reader(broken).read()
    assert reader.passed == broken
    assert not reader.told


def test_the_end_comes_behind_all_that_was_read():
    wire = wire_of(Peer(b"\xd0\x00", b""))
    wire.fill()
    wire.fill()
    while wire.step():
        pass
    assert wire.has_news
    assert wire.recv(1) + wire.recv(1) == b"\xd0\x00"
    assert wire.has_news
    assert wire.recv(1) == b""


def test_an_error_of_writing_is_told_when_reading():
    peer = Peer(b"\xd0\x00")
    wire = wire_of(peer)
    wire.fill()
    wire.step()
    wire.send(b"x")
    peer.fails = ConnectionResetError("gone")
    wire.flush()
    assert wire.recv(2) == b"\xd0\x00"
    with pytest.raises(ConnectionResetError, match="gone"):
        wire.recv(1)


def test_what_the_network_does_not_take_waits():
    peer = Peer()
    wire = wire_of(peer)
    peer.room = 2
    assert wire.send(b"abc") == 3
    wire.flush()
    assert wire.is_writing
    peer.room = 0
    wire.flush()
    peer.room = 9
    wire.flush()
    assert peer.taken == [b"ab", b"c"]
    assert not wire.is_writing


class Tapped(Client):
    """A client whose socket is a `Peer`, with which paho is content at once."""

    def _create_socket_connection(self):
        return self.connected


def client(protocol):
    peer = Peer()
    tapped = Tapped(cast("Any", peer), client_id="x", protocol=protocol)
    tapped.on_socket_register_write = lambda *_: None
    tapped.connect("127.0.0.1", 1)
    tapped.flush()
    peer.taken.clear()
    return tapped, peer


BY_PAHO = [
    Publication("a/b", b"12"),
    Publication("a/b", b"", qos=0, retain=False),
    Publication("a/ü", bytes(200), qos=0),
    Publication("t" * 20_000, bytes(70_000)),
    Publication("answer", b"{}", False, 1, "text/plain", b"\x00\x01", 60),  # noqa: FBT003
]


@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311])
@pytest.mark.parametrize("publication", BY_PAHO)
def test_a_publish_is_byte_for_byte_what_paho_would_write(publication, protocol):
    ours, peer = client(protocol)
    mid = ours.send(publication, publication.qos)
    ours.flush()
    other, others = client(protocol)
    properties = None
    if protocol == paho.MQTTv5 and publication.content_type:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = publication.content_type
        properties.CorrelationData = publication.correlation_data
        properties.MessageExpiryInterval = publication.expiry_s
    one = publication
    sent = other.publish(one.topic, one.payload, one.qos, one.retain, properties)
    other.flush()
    assert mid == sent.mid
    assert b"".join(peer.taken) == b"".join(others.taken)


def test_however_many_publications_are_one_write():
    ours, peer = client(paho.MQTTv5)
    for number in range(64):
        ours.send(Publication(f"up/{number}", b"1"), 1)
    ours.subscribe("up/#")
    ours.flush()
    assert len(peer.taken) == 1
    assert peer.taken[0].count(b"up/") == 65


def test_of_qos_0_a_publication_is_sent_when_all_of_it_is_written():
    ours, peer = client(paho.MQTTv5)
    sent = []
    ours.on_sent = lambda *one: sent.append(one)
    peer.room = 5
    mid = ours.send(Publication("up/0", b"1", qos=0), 0)
    assert not ours.flush()
    assert not sent
    peer.room = 500
    assert ours.flush()
    assert sent == [(mid, 0)]


def test_a_client_that_is_closed_writes_what_waits():
    ours, peer = client(paho.MQTTv5)
    ours.send(Publication("up/0", b"1"), 1)
    ours.close()
    assert b"up/0" in b"".join(peer.taken)


def test_paho_has_what_is_used_of_its_private_members():
    one = paho.Client(CallbackAPIVersion.VERSION2)
    assert one._mid_generate() == 1
    assert callable(one._create_socket)
    assert callable(one._create_socket_connection)
