"""Who may look, and who may control: host names, origins, the password, and headers of answers.

A browser is everybody's: a page from elsewhere must neither read nor control through it.
"""

import hmac
import re
import secrets
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import web

from bridge.formats import jsontext

MAX_SESSIONS = 64
"""The most browsers that are logged in; the one longest silent goes when more come."""

_MONTH_S = 30 * 24 * 3600
_FREE_TRIES = 5
_LONGEST_PAUSE_S = 60.0
_MOST_SOURCES = 4096
_MOST_HOPS = 32
_WITHOUT_NAME = frozenset({"/healthz", "/readyz", "/metrics"})
"""What other programs ask for by any name; nothing of it controls anything."""

_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){0,16}")
_FORWARDED_FOR = re.compile(r'for="?(?:\[([^\]"]*)\]|([^;,"]*))', re.IGNORECASE)
_SIGNS_OF_A_PROXY = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Ingress-Path", "Via")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer has unless it says something else itself."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Access:
    """What whoever controls is held to; `password` is None where none is set."""

    password: str | None = None
    base_path: str = ""
    names: Sequence[str] = ()
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
    instance: str = "main"


class Guard:
    """Lets requests through, or not; `clock` gives seconds that never go back."""

    def __init__(self, access: Access, clock: Callable[[], float]) -> None:
        self._access = access
        self._password = None if access.password is None else access.password.encode()
        self._clock = clock
        self._names = frozenset(_own_names()) | {one.lower().rstrip(".") for one in access.names}
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self.cookie = f"upnp2mqtt-{access.instance}"

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request before it comes to its handler."""
        refusal = self._refusal(request)
        return await handler(request) if refusal is None else refusal

    async def finish(self, _: web.Request, response: web.StreamResponse) -> None:
        """Give an answer the headers that each has to have."""
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Server"] = "upnp2mqtt"

    def _refusal(self, request: web.Request) -> web.Response | None:
        if request.path not in _WITHOUT_NAME and not self._is_named_so(request):
            return failure(
                421,
                "misdirected",
                "this bridge is not to be opened by that name: add it to http.names",
            )
        if not _is_of_origin(request, with_proxy=self._is_let_in(request)):
            return failure(403, "denied", "a request from a page of another origin")
        return None

    def _is_named_so(self, request: web.Request) -> bool:
        """Return whether the Host may be ours; no name server of a stranger can say an address."""
        if self._is_let_in(request):
            return True
        host = _host_of(request.headers.get("Host", ""))
        if host is None:
            return False
        return _is_address(host) or host.endswith(".local") or host in self._names

    def _is_let_in(self, request: web.Request) -> bool:
        """Return whether a proxy that answers for its users has let somebody in."""
        return self._is_trusted(request.remote or "")

    def _is_trusted(self, remote: str) -> bool:
        peer = _address(remote)
        return peer is not None and any(peer in one for one in self._access.trusted_proxies)

    def prefix(self, request: web.Request) -> str:
        """Return the path that the page stands below for this client, never ending in `/`."""
        path = request.headers.get("X-Ingress-Path", "").rstrip("/")
        if path and _PATH.fullmatch(path):
            return path
        return self._access.base_path

    def why_not(self, request: web.Request) -> str | None:
        """Return why whoever asks may not control; None where he may."""
        if self._is_let_in(request):
            return None
        if self._password is None:
            if _is_from_here(request):
                return None
            return "Control from another machine needs http.password, which is not set."
        if self.has_session(request) or self._bears_password(request):
            return None
        return "Control needs the password (http.password)."

    def wants_login(self, request: web.Request) -> bool:
        """Return whether a password would let this client control."""
        return self._password is not None and self.why_not(request) is not None

    def share_of(self, remote: str) -> str | None:
        """Return who has a share of all connections; None for a proxy that is trusted."""
        return None if self._is_trusted(remote) else str(_network(remote))

    def peer(self, request: web.Request) -> str:
        """Return who is held to have sent a request, where each has a share: an address.

        Behind a proxy it is the one that this names: of a trusted one the first, which may be
        behind further proxies; of another program of this machine the last, which it wrote itself.
        """
        is_let_in = self._is_let_in(request)
        if is_let_in or _is_loopback(request.remote or ""):
            hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
            named = _network(hops[0 if is_let_in else -1])
            if named is not None:
                return named
        return _source(request)

    def retry_after_s(self, request: web.Request) -> float:
        """Return for how long no password of this client counts, since others were wrong."""
        _, until_s = self._failures.get(_source(request), (0, 0.0))
        return max(0.0, until_s - self._clock())

    def log_in(self, request: web.Request, password: str) -> str | None:
        """Return the token of a new session, None where the password is wrong."""
        if not self._is_right(request, password.encode("utf-8", "replace")):
            return None
        token = secrets.token_urlsafe(32)
        self._sessions[token] = self._clock() + _MONTH_S
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def set_cookie(self, request: web.Request, response: web.Response, token: str) -> None:
        """Have the browser keep a session's token where no script reads it."""
        response.set_cookie(
            self.cookie,
            token,
            max_age=_MONTH_S,
            path=f"{self.prefix(request)}/",
            httponly=True,
            samesite="Strict",
            secure=request.headers.get("X-Forwarded-Proto") == "https",
        )

    def log_out(self, request: web.Request, response: web.Response) -> None:
        """End the session of this client."""
        self._sessions.pop(request.cookies.get(self.cookie, ""), None)
        response.del_cookie(self.cookie, path=f"{self.prefix(request)}/")

    def has_session(self, request: web.Request) -> bool:
        """Return whether this client has logged in, and that still counts."""
        token = request.cookies.get(self.cookie, "")
        until_s = self._sessions.get(token)
        if until_s is None:
            return False
        if until_s < self._clock():
            del self._sessions[token]
            return False
        self._sessions.move_to_end(token)
        return True

    def _bears_password(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return self._is_right(request, token.strip().encode("utf-8", "surrogateescape"))

    def _is_right(self, request: web.Request, password: bytes) -> bool:
        """Compare a password; after some that were wrong, none counts for a while."""
        if self._password is None or self.retry_after_s(request) > 0:
            return False
        source = _source(request)
        if hmac.compare_digest(_digest(password), _digest(self._password)):
            self._failures.pop(source, None)
            return True
        count = self._failures.pop(source, (0, 0.0))[0] + 1
        pause_s = min(2.0 ** (count - _FREE_TRIES), _LONGEST_PAUSE_S)
        self._failures[source] = count, self._clock() + (pause_s if count >= _FREE_TRIES else 0)
        if len(self._failures) > _MOST_SOURCES:
            self._failures.popitem(last=False)
        return False


def failure(status: int, code: str, error: str) -> web.Response:
    """Return an answer that says why something is not done."""
    return document({"error": error, "code": code}, status=status)


def document(body: object, *, status: int = 200) -> web.Response:
    """Return a JSON document as an answer."""
    return web.Response(body=jsontext.encode(body), status=status, content_type="application/json")


def _digest(password: bytes) -> bytes:
    return hmac.digest(b"upnp2mqtt", password, "sha256")


def _own_names() -> Iterator[str]:
    name = socket.gethostname().lower().rstrip(".")
    yield from ("localhost", name, name.partition(".")[0])


def _host_of(header: str) -> str | None:
    """Return the host that a Host header names, in lower case; None where it is none."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([\w.-]+))(?::\d{1,5})?", header, re.ASCII)
    return (found[1] or found[2]).lower().rstrip(".") if found else None


def _is_address(host: str) -> bool:
    return _address(host) is not None


def _address(text: str) -> "IPv6Address | object | None":
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _is_of_origin(request: web.Request, *, with_proxy: bool) -> bool:
    """Return whether a request comes from the page itself, or from no page at all."""
    is_link = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none") and not is_link:
        return False  # a picture, or a script, has no Origin
    origins = request.headers.getall("Origin", [])
    if not origins:
        return True
    hosts = [request.headers.get("Host", "")]
    if with_proxy and "X-Forwarded-Host" in request.headers:
        hosts.append(request.headers["X-Forwarded-Host"])
    return len(origins) == 1 and any(_is_same(origins[0], host) for host in hosts)


def _is_same(origin: str, host: str) -> bool:
    """Return whether an Origin is of a Host; behind a proxy, only that knows of TLS."""
    found = re.fullmatch(r"(https?)://([^/@\s]+)", origin, re.IGNORECASE)
    if found is None:
        return False
    default = {"http": 80, "https": 443}[found[1].lower()]
    try:
        places = [urlsplit(f"//{one}") for one in (found[2], host)]
        hosts, ports = [one.hostname for one in places], [one.port or default for one in places]
    except ValueError:
        return False
    return hosts[0] is not None and hosts[0] == hosts[1] and ports[0] == ports[1]


def _is_from_here(request: web.Request) -> bool:
    """Return whether a request comes from this machine, and not through a proxy from elsewhere."""
    if not _is_loopback(request.remote or ""):
        return False
    headers = request.headers
    if not any(sign in headers for sign in _SIGNS_OF_A_PROXY):
        return True
    hops = [one for name in ("X-Forwarded-For", "X-Real-IP") for one in headers.getall(name, [])]
    named = [one for each in hops for one in each.split(",")]
    for each in headers.getall("Forwarded", []):
        named += [found[0] or found[1] for found in _FORWARDED_FOR.findall(each)]
    return 0 < len(named) <= _MOST_HOPS and all(_is_loopback(one) for one in named)


def _is_loopback(text: str) -> bool:
    return bool(getattr(_address(text), "is_loopback", False))


def _source(request: web.Request) -> str:
    """Return who is held to have tried a password: an address, of IPv6 its network."""
    return str(_network(request.remote or ""))


def _network(text: str) -> str | None:
    """Return what one client has to itself: an address, of IPv6 its network; None where none is."""
    address = _address(text)
    if isinstance(address, IPv6Address):
        return str(ip_network(f"{address}/64", strict=False))
    return None if address is None else str(address)
