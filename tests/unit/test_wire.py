from typing import Any, cast

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.core.messages import Publication
from bridge.mqtt.client import Client
from bridge.mqtt.wire import CHUNK_BYTES, Wire


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


def passed_on(wire):
    data = b""
    while True:
        try:
            data += wire.recv(3)
        except BlockingIOError:
            return data


def puback(mid, *more):
    return bytes((0x40, 2 + len(more), mid >> 8, mid & 255, *more))


def other(kind, body):
    length = (
        bytes((len(body) & 127 | 128, len(body) >> 7)) if len(body) > 127 else bytes((len(body),))
    )
    return bytes((kind,)) + length + body


PACKETS = st.lists(
    st.one_of(
        st.builds(puback, st.integers(1, 65535)),
        st.builds(puback, st.integers(1, 65535), st.sampled_from((0, 0x10, 0x87, 0x97))),
        st.builds(
            other, st.sampled_from((0x20, 0x30, 0x32, 0x90, 0xB0, 0xD0)), st.binary(max_size=300)
        ),
    )
)


@given(PACKETS, st.data())
def test_pubacks_are_taken_and_all_else_passes_however_it_is_cut(packets, data):
    stream = b"".join(packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    told = []
    wire = Wire(Peer(*filter(None, pieces)), lambda *one: told.append(one))
    for _ in pieces:
        wire.fill()
    acknowledged = [one for one in packets if one[0] == 0x40]
    assert told == [(one[2] << 8 | one[3], one[4] if len(one) > 4 else 0) for one in acknowledged]
    assert passed_on(wire) == b"".join(one for one in packets if one[0] != 0x40)
    assert not wire.has_news


def test_a_large_packet_is_passed_on_while_it_comes():
    wire = Wire(Peer(b"\x30\xff\x7f" + bytes(100), bytes(16_283), puback(9)), lambda *_: None)
    wire.fill()
    assert len(passed_on(wire)) == 103
    wire.fill()
    wire.fill()
    assert len(passed_on(wire)) == 16_283


@pytest.mark.parametrize(
    "broken", [b"\x40\x01\x00", b"\x40\x00", b"\x30\xff\xff\xff\xff\xff\xff", b"\xf0\x00"]
)
def test_what_is_no_packet_is_for_paho_to_judge(broken):
    told = []
    wire = Wire(Peer(broken), lambda *one: told.append(one))
    wire.fill()
    assert passed_on(wire) == broken
    assert not told


def test_the_end_comes_behind_all_that_was_read():
    wire = Wire(Peer(b"\xd0\x00", b""), lambda *_: None)
    wire.fill()
    wire.fill()
    assert wire.has_news
    assert wire.recv(1) + wire.recv(1) == b"\xd0\x00"
    assert wire.has_news
    assert wire.recv(1) == b""


def test_an_error_of_writing_is_told_when_reading():
    peer = Peer(b"\xd0\x00")
    wire = Wire(peer, lambda *_: None)
    wire.fill()
    wire.send(b"x")
    peer.fails = ConnectionResetError("gone")
    wire.flush()
    assert wire.recv(2) == b"\xd0\x00"
    with pytest.raises(ConnectionResetError, match="gone"):
        wire.recv(1)


def test_what_the_network_does_not_take_waits():
    peer = Peer()
    wire = Wire(peer, lambda *_: None)
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
