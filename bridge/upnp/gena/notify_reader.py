"""How a NOTIFY reads (UDA 2.0, section 4.3.2): to the letter at first, and laxly where need be.

Sockets, answers and who a NOTIFY is for are the server's.
"""

import re
from dataclasses import dataclass

import httptools

from bridge.upnp.http.http1 import Head, announced_length

_REQUEST_LINE = re.compile(r"([A-Za-z-]{1,20})[ \t]+(\S+)[ \t]*(.*)", re.ASCII)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


class DoubtError(Exception):
    """What came may be no whole request to the letter: it is to be read laxly, from its start."""


@dataclass(slots=True)
class Request:
    """The head of a request, as far as it matters.

    `token` is what stands behind the last slash of its target, `length` is None where it is not
    to be read.
    """

    method: bytes
    token: str
    sid: str
    seq: int | None
    length: int | None
    chunked: bool
    keep_alive: bool


def read_lax(head: Head) -> Request:
    """Return what a head says. Raises ValueError where even the request line is none."""
    line = _REQUEST_LINE.match(head.start_line)
    if line is None:
        raise ValueError(f"not a request: {head.start_line[:80]!r}")
    method, target, version = line.groups()
    chunked = "transfer-encoding" in head.headers
    connection = head.headers.get("connection", "").lower()
    return Request(
        method.upper().encode(),
        _token(target),
        head.headers.get("sid", ""),
        _seq(head.headers.get("seq", "")),
        None if chunked else announced_length(head),
        chunked,
        "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection,
    )


class StrictReader:
    """Reads NOTIFYs to the letter, by httptools, as they come in."""

    _url: bytes
    _sid: str
    _seq: int | None
    _body: list[bytes]

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._whole: list[tuple[Request, bytes]] = []
        self._is_between = True
        self._in_doubt = False
        self._begin()

    def feed(self, data: bytes) -> list[tuple[Request, bytes]]:
        """Return the requests that are whole with this data, none while one is under way.

        Raises DoubtError, and is of no use from then on.
        """
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise DoubtError(str(error)) from error
        if self._in_doubt or (self._whole and not self._is_between):
            raise DoubtError("not one whole request")
        whole, self._whole = self._whole, []
        return whole

    # What httptools calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_between = False

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; few matter."""
        if len(name) == 3:  # noqa: PLR2004 - SID and SEQ are looked at, the others passed by
            match name.lower():
                case b"sid":
                    self._sid = value.strip().decode("latin-1")
                case b"seq":
                    self._seq = _seq(value.decode("latin-1").strip())
        elif len(name) == 6 and name.lower() == b"expect":  # noqa: PLR2004 - likewise
            self._in_doubt = True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """End a request; a body that ends in no tag may have been cut by a length too short."""
        body = b"".join(self._body)
        method = self._parser.get_method()
        if method != b"NOTIFY" or not body.endswith((b">", b">\n", b">\r\n")):
            self._in_doubt = True
        self._whole.append(
            (
                Request(
                    method,
                    _token(self._url.decode("latin-1")),
                    self._sid,
                    self._seq,
                    len(body),
                    chunked=False,
                    keep_alive=self._parser.should_keep_alive(),
                ),
                body,
            )
        )
        self._begin()

    def _begin(self) -> None:
        self._is_between = True
        self._url, self._sid = b"", ""
        self._seq = None
        self._body = []


def _token(target: str) -> str:
    # Some leave out the slash, some send the whole URL.
    return target.rpartition("/")[2]


def _seq(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None
