"""Between paho and its socket: a buffer each way, and the packets that there are most of.

PUBLISH and PUBACK of QoS 0 and 1 are written and read here (MQTT 5, sections 3.3 and 3.4), all else
is paho's, and so is what cannot be read.
"""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.tree.messages import Message, Publication

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

CHUNK_BYTES = 65_536
"""The most that is read at a time."""

_PUBLISH, _PUBACK, _KIND, _RETAIN = 0x30, 0x40, 0xF0, 0x01
_LENGTH_BYTES = 4
_NO_LENGTH = 1 << 28

OnSent = Callable[[int, int], None]
"""Takes a packet identifier and the reason code, 0 with MQTT 3.1.1."""

OnMessage = Callable[[Message], None]


class Wire:
    """A non-blocking socket as paho has it, which neither reads nor writes until it is told to.

    `on_puback` is told of each PUBACK, `on_message` of each PUBLISH, which is acknowledged after.
    """

    def __init__(
        self, sock: "SocketLike", on_puback: OnSent, on_message: OnMessage, *, is_5: bool
    ) -> None:
        self._sock = sock
        self._on_puback = on_puback
        self._on_message = on_message
        self._is_5 = is_5
        self._unsorted = bytearray()
        self._at = 0
        self._passing = 0
        self._inward = bytearray()
        self._end: OSError | bytes | None = None
        self._outward = bytearray()

    # As paho has it

    def recv(self, size: int) -> bytes:
        """Return what has been read, in the end `b""` or the error that ended it.

        Raises BlockingIOError where there is nothing.
        """
        if self._inward:
            data = bytes(self._inward[:size])
            del self._inward[:size]
            return data
        if isinstance(self._end, OSError):
            raise self._end
        if self._end is None:
            raise BlockingIOError
        return self._end

    def send(self, data: bytes | bytearray) -> int:
        """Keep all of it to be written."""
        self._outward += data
        return len(data)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as sockets have it
        """Hand it on."""
        self._sock.setblocking(flag)

    def fileno(self) -> int:
        """Return the socket's own."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    # As we have it

    @property
    def has_news(self) -> bool:
        """Whether there is something for paho to read, be it the end."""
        return bool(self._inward) or self._end is not None

    @property
    def is_writing(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._outward)

    def fill(self) -> None:
        """Read what there is, once."""
        try:
            data = self._sock.recv(CHUNK_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._end = error
            return
        if data:
            del self._unsorted[: self._at]
            self._at = 0
            self._unsorted += data
        else:
            self._end = b""

    def flush(self) -> None:
        """Write what there is, once, as far as the socket takes it."""
        if self._outward and self._end is None:
            try:
                sent = self._sock.send(self._outward)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._end = error
                return
            del self._outward[:sent]

    def step(self) -> bool:
        """Take the next packet, or pass it on to paho; return False where there is none yet."""
        data, at = self._unsorted, self._at
        if not self._passing:
            if (found := _body(data, at)) is None:
                return False
            begin, length = found
            end = begin + length
            take = self._reader(data[at]) if length < _NO_LENGTH else None
            if take is not None:
                if end > len(data):
                    return False
                self._at = end
                if take(data[at], bytes(data[begin:end])):
                    return True
                self._at = at
            self._passing = end - at
        part = data[at : at + self._passing]
        self._inward += part
        self._at += len(part)
        self._passing -= len(part)
        return bool(part)

    def _reader(self, head: int) -> Callable[[int, bytes], bool] | None:
        """Return what takes a packet that begins so; None where paho does."""
        if head == _PUBACK:
            return self._take_puback
        return self._take_publish if head & _KIND == _PUBLISH and not head & 0x04 else None

    def _take_puback(self, _head: int, body: bytes) -> bool:
        if len(body) < 2:  # noqa: PLR2004 - of a packet identifier
            return False
        self._on_puback(body[0] << 8 | body[1], body[2] if len(body) > 2 else 0)  # noqa: PLR2004
        return True

    def _take_publish(self, head: int, body: bytes) -> bool:
        try:
            at = 2 + (body[0] << 8 | body[1])
            topic = body[2:at].decode()
            identifier = body[at : at + 2] if head & 0x02 else b""
            at += len(identifier)
            properties = None
            if self._is_5:
                if body[at]:
                    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                    at += properties.unpack(body[at:])[1]  # type: ignore[no-untyped-call]
                else:
                    at += 1
        except Exception:  # noqa: BLE001 - paho's decoders raise many
            return False
        if at > len(body) or not topic:
            return False
        message = Message(topic, body[at:], bool(head & _RETAIN))
        if properties is not None:
            message = message._replace(
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation_data=getattr(properties, "CorrelationData", None),
            )
        self._on_message(message)
        if identifier:
            self._outward += b"\x40\x02" + identifier
        return True


def _body(data: bytearray, at: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `at` begins, and its length; None if not yet known.

    More than four bytes are no length (MQTT 5, section 1.5.5).
    """
    length = 0
    for number in range(_LENGTH_BYTES):
        if at + 1 + number >= len(data):
            return None
        digit = data[at + 1 + number]
        length |= (digit & 0x7F) << 7 * number
        if digit < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return at + 2 + number, length
    return at, _NO_LENGTH


def publish_packet(publication: Publication, *, mid: int, qos: int, is_5: bool) -> bytes:
    """Return a PUBLISH of QoS 0 or 1."""
    topic = publication.topic.encode()
    identifier = mid.to_bytes(2, "big") if qos else b""
    properties = _properties(publication) if is_5 else b""
    size = 2 + len(topic) + len(identifier) + len(properties) + len(publication.payload)
    return b"".join(
        (
            bytes((_PUBLISH | qos << 1 | publication.retain,)),
            _length(size),
            len(topic).to_bytes(2, "big"),
            topic,
            identifier,
            properties,
            publication.payload,
        )
    )


def _properties(publication: Publication) -> bytes:
    """Return the properties of a PUBLISH, with their length (MQTT 5, section 3.3.2.3)."""
    packed = b""
    if publication.expiry_s is not None:
        packed += b"\x02" + publication.expiry_s.to_bytes(4, "big")
    if publication.content_type is not None:
        text = publication.content_type.encode()
        packed += b"\x03" + len(text).to_bytes(2, "big") + text
    if (data := publication.correlation_data) is not None:
        packed += b"\x09" + len(data).to_bytes(2, "big") + data
    return _length(len(packed)) + packed


def _length(size: int) -> bytes:
    """Return a length, seven bits a byte (MQTT 5, section 1.5.5)."""
    if size < 0x80:  # noqa: PLR2004 - the bit that says that more follows
        return bytes((size,))
    return bytes((size & 0x7F | 0x80,)) + _length(size >> 7)
