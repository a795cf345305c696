"""Pictures of devices: fetched from where the device is, looked at, kept for a while.

What is no picture by its own bytes is not handed on, whatever the device calls it.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

import structlog
from aiohttp import web

from bridge.errors import DeviceError
from bridge.formats import jsontext
from bridge.model import icons, topics
from bridge.model.device import Description
from bridge.tree.mirror import Mirror

MAX_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of a picture."""
MAX_KEPT_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of all pictures that are kept."""
FETCH_S: Final = 10.0
"""How long a picture may take."""

_MAX_ICONS = 8
"""How many icons of a device are tried."""
_MAX_KEPT = 2_048
_MAX_FETCHING = 8
_MAX_WAITING = 256
_FRESH_S = 60.0
_ABSENT_S = 20.0
_OK = 200
_FIXED = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM.{4}\0{4}.{4}[\x0c-\x7c]\0{3}", re.DOTALL), "image/bmp"),
)
_MAX_PROLOG = 8_192
_PROLOG = ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!DOCTYPE", b">"))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""An SVG that is opened by itself is a document: it runs and loads nothing."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Answer(Protocol):
    """What is looked at of an HTTP answer."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def body(self) -> bytes:
        """The whole body."""


class Client(Protocol):
    """What is asked of the HTTP client."""

    async def request(
        self, method: str, url: str, *, timeout_s: float, max_bytes: int, is_text: bool
    ) -> Answer:
        """Return the answer, its body as it came unless it `is_text`; raises DeviceError."""


@dataclass(frozen=True, slots=True)
class _Picture:
    body: bytes
    media_type: str
    tag: str


_NONE = _Picture(b"", "", "")


class Pictures:
    """Hands out pictures of devices.

    `may_fetch` says whether a URL is where a device, by its LOCATION, may have something fetched
    from; the third argument is true where that has to be the device's own host.
    """

    def __init__(
        self,
        mirror: Mirror,
        client: Client,
        may_fetch: Callable[[str, str, bool], bool],
        clock: Callable[[], float],
    ) -> None:
        self._mirror = mirror
        self._client = client
        self._may_fetch = may_fetch
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, _Picture]] = OrderedDict()
        self._bytes = 0
        self._fetching: dict[str, asyncio.Task[_Picture]] = {}
        self._slots = asyncio.Semaphore(_MAX_FETCHING)

    async def icon(self, request: web.Request) -> web.Response:
        """Return the best icon of a device, an embedded one's root's where it has none.

        The next best where that is not there: gupnp-network-light 0.12.0 has not the largest that
        it names.
        """
        found = self._mirror.find(topics.decode_level(request.match_info["udn"]))
        if found is None or found[0].description is None:
            raise web.HTTPNotFound
        mirrored, device = found
        root = found[0].description.device
        urls = icons.ranked((device or root).icons) or icons.ranked(root.icons)
        for url in urls[:_MAX_ICONS]:
            with suppress(web.HTTPNotFound):
                return await self._answer(request, url, mirrored.description, is_own=False)
        raise web.HTTPNotFound

    async def art(self, request: web.Request) -> web.Response:
        """Return the cover of what a device plays."""
        found = self._mirror.find(topics.decode_level(request.match_info["udn"]))
        if found is None or found[1] is None:
            raise web.HTTPNotFound
        mirrored, wanted = found[0], topics.media_id(topics.device_id(found[1].udn))
        players = (one for one in mirrored.players.values() if one.id == wanted)
        if (player := next(players, None)) is None:
            raise web.HTTPNotFound
        media = jsontext.read(player.shown()[0] or None)
        url = media.get("album_art") if isinstance(media, dict) else None
        return await self._answer(request, url, mirrored.description, is_own=False)

    async def named(self, request: web.Request) -> web.Response:
        """Return a picture at a URL that a device has named in an answer, at its own host."""
        found = self._mirror.find(topics.decode_level(request.query.get("udn", "")))
        if found is None:
            raise web.HTTPNotFound
        url = request.query.get("url", "")
        return await self._answer(request, url, found[0].description, is_own=True)

    async def close(self) -> None:
        """End what is under way."""
        tasks = tuple(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self, request: web.Request, url: object, description: Description | None, *, is_own: bool
    ) -> web.Response:
        if not isinstance(url, str) or description is None:
            raise web.HTTPNotFound
        if not self._may_fetch(url, description.location, is_own):
            raise web.HTTPNotFound
        picture = await self._picture(url)
        if not picture.body:
            raise web.HTTPNotFound
        headers = {
            "ETag": f'"{picture.tag}"',
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": _POLICY,
            "Content-Disposition": "inline",
        }
        if any(one.value == picture.tag for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=picture.body, content_type=picture.media_type, headers=headers)

    async def _picture(self, url: str) -> _Picture:
        """Return what is at a URL, fetched now unless that was just done, or is being done."""
        until_s, kept = self._kept.get(url, (0.0, _NONE))
        if until_s > self._clock():
            self._kept.move_to_end(url)
            return kept
        task = self._fetching.get(url)
        if task is None:
            if len(self._fetching) >= _MAX_WAITING:
                raise web.HTTPServiceUnavailable
            task = asyncio.create_task(self._fetch(url), name="web.picture")
            self._fetching[url] = task
            task.add_done_callback(lambda _: self._fetching.pop(url, None))
        # Who asks first may go before others have what they asked for.
        return await asyncio.shield(task)

    async def _fetch(self, url: str) -> _Picture:
        picture = _NONE
        async with self._slots:
            try:
                answer = await self._client.request(
                    "GET", url, timeout_s=FETCH_S, max_bytes=MAX_BYTES, is_text=False
                )
                if answer.status == _OK:
                    picture = _read(answer.body)
            except DeviceError as error:
                _log.debug("picture_not_fetched", url=url[:200], reason=str(error))
        self._keep(url, picture)
        return picture

    def _keep(self, url: str, picture: _Picture) -> None:
        """Keep a picture; the same bytes from elsewhere are kept once."""
        self._drop(url)
        known = next((one for _, one in self._kept.values() if one.tag == picture.tag), None)
        if known is None:
            self._bytes += len(picture.body)
        lasts_s = _FRESH_S if picture.body else _ABSENT_S
        self._kept[url] = self._clock() + lasts_s, known or picture
        while self._bytes > MAX_KEPT_BYTES or len(self._kept) > _MAX_KEPT:
            self._drop(next(iter(self._kept)))

    def _drop(self, url: str) -> None:
        _, picture = self._kept.pop(url, (0.0, _NONE))
        if picture.body and all(one is not picture for _, one in self._kept.values()):
            self._bytes -= len(picture.body)


def _read(body: bytes) -> _Picture:
    """Return a picture, by what its bytes are; nothing for what is none."""
    media_type = next((kind for start, kind in _FIXED if start.match(body)), "")
    if not media_type and _is_svg(body[:_MAX_PROLOG]):
        media_type = "image/svg+xml"
    return _Picture(body, media_type, sha256(body).hexdigest()[:32]) if media_type else _NONE


def _is_svg(start: bytes) -> bool:
    """Return whether a document begins with an `svg` element, after what may stand before it."""
    rest = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    while found := next((each for each in _PROLOG if rest.startswith(each[0])), None):
        _, end, rest = rest.partition(found[1])
        if not end:
            return False
        rest = rest.lstrip()
    return re.match(rb"<svg[\s>/]", rest) is not None
