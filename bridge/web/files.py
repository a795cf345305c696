"""The page's static files: read once, named by a hash of them all, and compressed once."""

import base64
import gzip
import html
import mimetypes
import re
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web

_POLICY = (
    "default-src 'none'; script-src 'self'{maps}; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; manifest-src 'self'"
)
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_TEXTS = ("text/", "application/j", "application/manifest", "image/svg")
_FOR_EVER = "public, max-age=31536000, immutable"
_MOST_PREFIXES = 16


class PageFiles:
    """The files of a page; the first that is asked for has all of them read."""

    def __init__(self, root: Traversable | None = None) -> None:
        self._root = root or resources.files("bridge.web") / "page"
        self._files: dict[str, bytes] = {}
        self._hash = ""
        self._packed: dict[bytes, bytes] = {}
        self._index = lru_cache(maxsize=_MOST_PREFIXES)(self._written)

    def index(self, request: web.Request, prefix: str) -> web.Response:
        """Return the page for those who see it below this path."""
        self._read()
        body, policy = self._index(prefix)
        answer = self._answer(request, body, "text/html", keep=False)
        answer.headers["Content-Security-Policy"] = policy
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    def file(self, request: web.Request) -> web.Response:
        """Return one file; raises HTTPNotFound."""
        self._read()
        name = request.match_info["name"]
        body = self._files.get(name)
        if body is None or request.match_info["hash"] != self._hash:
            raise web.HTTPNotFound
        end = "." + name.rpartition(".")[2].lower()
        answer = self._answer(request, body, _TYPES.get(end) or _guessed(name), keep=True)
        answer.headers["Cache-Control"] = _FOR_EVER
        return answer

    def _read(self) -> None:
        if self._hash:
            return
        self._files = dict(sorted(_walk(self._root)))
        told = sha256()
        for name, body in self._files.items():
            told.update(f"{name}\0{len(body)}\0".encode())
            told.update(body)
        self._hash = told.hexdigest()[:16]

    def _written(self, prefix: str) -> tuple[bytes, str]:
        """Return the page, and what it may load, for a path that it is seen below."""
        base = html.escape(prefix)
        text = self._files.get("index.html", b"").decode()
        text = text.replace("{{page}}", f"{base}/page/{self._hash}").replace("{{base}}", base)
        maps = (sha256(one.encode()).digest() for one in _IMPORT_MAP.findall(text))
        allowed = "".join(f" 'sha256-{base64.b64encode(one).decode()}'" for one in maps)
        return text.encode(), _POLICY.format(maps=allowed)

    def _answer(
        self, request: web.Request, body: bytes, media_type: str, *, keep: bool
    ) -> web.Response:
        """Return a body with its ETag, compressed for who takes that; 304 where it is known."""
        tag = sha256(body).hexdigest()[:32]
        is_packed = media_type.startswith(_TEXTS) and _takes_gzip(request)
        if is_packed:
            tag += "-gzip"
        headers = {"ETag": f'"{tag}"', "Vary": "Accept-Encoding"}
        if not keep:
            headers["Vary"] += ", X-Ingress-Path"
        if any(one.value in (tag, "*") for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if is_packed:
            if (packed := self._packed.get(body)) is None:
                packed = gzip.compress(body, 9, mtime=0)
                if keep or len(self._packed) < len(self._files) + _MOST_PREFIXES:
                    self._packed[body] = packed
            body, headers["Content-Encoding"] = packed, "gzip"
        charset = "utf-8" if media_type.startswith("text/") else None
        return web.Response(body=body, content_type=media_type, charset=charset, headers=headers)


def _takes_gzip(request: web.Request) -> bool:
    """Return whether a client takes gzip (RFC 9110, section 12.5.3)."""
    for one in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, rest = one.partition(";")
        if coding.strip() in ("gzip", "*"):
            return not re.fullmatch(r"\s*q\s*=\s*0(?:\.0*)?\s*", rest)
    return False


def _guessed(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _walk(directory: Traversable, under: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for one in directory.iterdir():
        if one.is_dir():
            found += _walk(one, f"{under}{one.name}/")
        elif not one.name.startswith(".") and not one.name.endswith((".py", ".pyc")):
            found.append((f"{under}{one.name}", one.read_bytes()))
    return found
