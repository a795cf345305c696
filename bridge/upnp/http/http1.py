"""Messages of HTTP/1.x as devices really write them, read tolerantly (RFC 9112).

Bytes in, values out: no sockets, no clock. Everything unreadable is a ValueError.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.formats.decoding import decoded

MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_LINES = 200
MAX_CHUNKS = 50_000

_BLANK_LINE = re.compile(rb"\n\r?\n")
_LEADING_LINE_ENDS = re.compile(rb"[\r\n]*")
_FOLD = re.compile(r"\r?\n[ \t]+")
_COMBINED = frozenset({"content-length", "transfer-encoding"})
_STATUS = re.compile(r"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)", re.ASCII | re.IGNORECASE)

_MAX_SIZE_LINE = 4096
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_SIZE_LINE = re.compile(rb"[\r\n]*[ \t]*([0-9a-fA-F]{1,16})[ \t\r]*(?:;[^\n]*)?\n")
_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>[\s\0]+|<\?.*?\?>|<!--.*?-->|<![A-Za-z][^>]*>)*+"
    rb"<([A-Za-z_:\x80-\xff][^\s/>]*)[\s/>]",
    re.DOTALL,
)
_ROOT_WITHIN = 4096
_EDGE = 64
_PADDING = b" \t\r\n\0"


@dataclass(frozen=True, slots=True)
class Head:
    """The start line and the headers of a message, names in lower case.

    Of headers that repeat the first counts; all of Content-Length and Transfer-Encoding are kept,
    joined with commas.
    """

    start_line: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it was sent: its head with the blank line behind it, and its body.

    A chunked body is whole, without its chunks. `cut` says why there may be more than came.
    """

    head: bytes
    body: bytes
    cut: str | None = None


def find_head_end(buffer: bytes | bytearray, searched: int = 0) -> int:
    """Return the index behind the blank line that ends the head, -1 where it has not come yet.

    `searched` is how many bytes had come when it had not.
    """
    start = _LEADING_LINE_ENDS.match(buffer)
    found = _BLANK_LINE.search(buffer, max(start.end() if start else 0, searched - 2))
    return found.end() if found else -1


def read_head(data: bytes) -> Head:
    """Return the head at the beginning of a message (RFC 9112, sections 2 to 5).

    Tolerates bare LF, folded lines, white space before the colon and lines without one.
    Raises ValueError over 64 KiB or 200 lines.
    """
    end = find_head_end(data)
    head = data if end < 0 else data[:end]
    if len(head) > MAX_HEAD_BYTES or head.count(b"\n") > MAX_HEAD_LINES:
        raise ValueError("a head over its bounds")
    start_line, *lines = _FOLD.sub(" ", decoded(head).lstrip("\r\n")).split("\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip(" \t\r")
        if not name or not colon:
            continue
        if name in headers and name in _COMBINED:
            headers[name] += f", {value}"
        headers.setdefault(name, value)
    return Head(start_line.strip(), headers)


def read_status(head: Head) -> int:
    """Return the status code of a response; raises ValueError where it is none of HTTP."""
    if found := _STATUS.match(head.start_line):
        return int(found[1])
    raise ValueError(f"not HTTP: {head.start_line[:80]!r}")


class Body:
    """The body of a message, read as its bytes come in (RFC 9112, section 6).

    `body` is the whole once it has ended, `rest` what stands behind its end; `is_cut` says that it
    is XML without its end, and that less came of it than was announced. `default_length`
    counts where the headers announce nothing readable; None means until the sender closes. XML
    whose length is unknown, or announced too short, also ends with the end tag of its root.
    """

    def __init__(self, head: Head, max_bytes: int, default_length: int | None = None) -> None:
        self.body = b""
        self.rest = b""
        self.is_cut = False
        self._max_bytes = max_bytes
        self._chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        announced = announced_length(head)
        self._length = default_length if announced is None else announced
        self._came = bytearray()
        self._raw = bytearray()
        self._chunk_left = 0
        self._chunks = 0
        self._end_tag = b""
        self._searched = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes as they came, and return whether the body is whole.

        Raises ValueError where it exceeds `max_bytes` or 50,000 chunks, or a chunk's size is not
        to be read.
        """
        return self._feed_chunks(data) if self._chunked else self._feed_plain(data)

    @property
    def came(self) -> bytes:
        """All that has come, whole or not, and chunks that cannot be read as they are."""
        return bytes(self._came + self._raw)

    def eof(self) -> None:
        """Take what came as the body: the sender closed, whatever it had announced."""
        self.body = bytes(self._came)
        is_announced = self._chunked or self._length is not None
        self.is_cut = is_announced and self._root() is not None and self._root_end() < 0

    def _feed_plain(self, data: bytes) -> bool:
        self._came += data
        length = self._length or 0
        self._bound(max(len(self._came), length))
        if len(self._came) < length:
            return False
        end = length
        if self._length is None or self._is_cut(length):
            end = self._root_end()
            if end < 0:
                return False
        end = max(end, length)
        self.body, self.rest = bytes(self._came[:end]), bytes(self._came[end:])
        return True

    def _feed_chunks(self, data: bytes) -> bool:
        raw = self._raw
        raw += data
        while raw:
            if self._chunk_left:
                part = raw[: self._chunk_left]
                self._came += part
                self._chunk_left -= len(part)
                del raw[: len(part)]
                continue
            line = _SIZE_LINE.match(raw)
            if not line:
                if b"\n" in raw.lstrip(b"\r\n") or len(raw) > _MAX_SIZE_LINE:
                    raise ValueError(f"not the size of a chunk: {bytes(raw[:40])!r}")
                return False
            self._chunk_left, end = int(line[1], 16), line.end()
            del raw[:end]
            self._bound(len(self._came) + self._chunk_left)
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                raise ValueError(f"more than {MAX_CHUNKS} chunks")
            if not self._chunk_left:
                self.body, self.rest = bytes(self._came), bytes(raw)
                raw.clear()
                return True
        return False

    def _bound(self, length: int) -> None:
        if length > self._max_bytes:
            raise ValueError(f"a body over {self._max_bytes} bytes")

    def _is_cut(self, length: int) -> bool:
        """Say whether the announced length cuts XML short, as Samsung televisions have it."""
        tail = self._came[max(0, length - _EDGE) : length].rstrip(_PADDING)
        return bool(tail) and not tail.endswith(b">") and bool(self._root())

    def _root(self) -> re.Match[bytes] | None:
        return _ROOT.match(self._came, 0, _ROOT_WITHIN)

    def _root_end(self) -> int:
        """Return the index behind the end tag of the root of XML, -1 where it has not come."""
        if not self._end_tag:
            if not (root := self._root()):
                return -1
            self._end_tag = b"</" + root[1] + b">"
        found = self._came.find(self._end_tag, self._searched)
        self._searched = max(0, len(self._came) - len(self._end_tag))
        return found + len(self._end_tag) if found >= 0 else -1


def announced_length(head: Head) -> int | None:
    """Return the first Content-Length that can be read, None where there is none."""
    values = (part.strip() for part in head.headers.get("content-length", "").split(","))
    return next((int(value) for value in values if _LENGTH.fullmatch(value)), None)
