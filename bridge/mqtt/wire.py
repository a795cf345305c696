"""Between paho and its socket: a buffer each way, and the two packets that there are most of.

PUBLISH is written here and PUBACK read here (MQTT 5, sections 3.3 and 3.4), all else is paho's.
"""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

CHUNK_BYTES = 65_536
"""The most that is read at a time."""

_PUBLISH, _PUBACK = 0x30, 0x40
_LENGTH_BYTES = 4


OnSent = Callable[[int, int], None]
"""Takes a packet identifier and the reason code, 0 with MQTT 3.1.1."""


class Wire:
    """A non-blocking socket as paho has it, which neither reads nor writes until it is told to.

    `on_puback` is told of each PUBACK.
    """

    def __init__(self, sock: "SocketLike", on_puback: OnSent) -> None:
        self._on_puback = on_puback
        self._sock = sock
        self._unsorted = bytearray()
        self._inward = bytearray()
        self._passing = 0
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
            self._unsorted += data
            self._sort()
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

    def _sort(self) -> None:
        """Take the PUBACKs, and pass all else on to paho, that of a large packet bit by bit."""
        data, at, passed = self._unsorted, 0, 0
        while True:
            if self._passing:
                step = min(self._passing, len(data) - at)
                self._passing -= step
                at += step
            if self._passing or (found := _body(data, at)) is None:
                break
            begin, length = found
            if data[at] != _PUBACK or length < 2:  # noqa: PLR2004 - of a packet identifier
                self._passing = begin + length - at
                continue
            if begin + length > len(data):
                break
            self._inward += data[passed:at]
            mid = data[begin] << 8 | data[begin + 1]
            self._on_puback(mid, data[begin + 2] if length > 2 else 0)  # noqa: PLR2004 - likewise
            at = passed = begin + length
        self._inward += data[passed:at]
        del data[:at]


def _body(data: bytearray, at: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `at` begins, and its length; None if not yet known.

    A length over four bytes is no length (MQTT 5, section 1.5.5): paho is to see it.
    """
    length = 0
    for number in range(_LENGTH_BYTES):
        if at + 1 + number >= len(data):
            return None
        digit = data[at + 1 + number]
        length |= (digit & 0x7F) << 7 * number
        if digit < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            break
    return at + 2 + number, length


def publish_packet(  # noqa: PLR0913 - the fields of the packet
    topic: bytes, payload: bytes, *, mid: int, qos: int, retain: bool, properties: bytes
) -> bytearray:
    """Return a PUBLISH of QoS 0 or 1.

    `properties` are those of MQTT 5 with their length, and nothing at all for MQTT 3.1.1.
    """
    size = 2 + len(topic) + len(properties) + len(payload) + (2 if qos else 0)
    packet = bytearray((_PUBLISH | qos << 1 | retain,))
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        packet.append(size & 0x7F | 0x80)
        size >>= 7
    packet.append(size)
    packet += len(topic).to_bytes(2, "big")
    packet += topic
    if qos:
        packet += mid.to_bytes(2, "big")
    packet += properties
    packet += payload
    return packet
