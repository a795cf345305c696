"""`http` URLs as devices really write them, and the hosts in them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

HTTP_PORT = 80

_URL = re.compile(r"http://([^/?#@\\]*@)?([^/?#@]*)([^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)(?:%(?:25(?=\w))?(?P<scope>[\w.~-]+))?\]|(?P<host>[\w.~-]+))"
    r"(?::(?P<port>\d{0,5}))?",
    re.ASCII,
)
_MAX_PORT = 0xFFFF
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSENDABLE = re.compile(r"[^\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads. `host` has neither brackets nor port, but an IPv6 scope (`fe80::1%eth0`).

    `target` is the path and query to request, in ASCII.
    """

    host: str
    port: int
    target: str


@lru_cache(256)  # a device's few URLs are taken apart again and again
def split_url(url: str) -> Address:
    """Return where an `http` URL leads; user, password and fragment are left out.

    Path and query stay byte for byte, but what cannot be sent is percent-encoded.
    Raises ValueError for another scheme, a control character, and what is no URL.
    """
    url = url.strip()
    found = _URL.fullmatch(url.partition("#")[0])
    authority = _AUTHORITY.fullmatch(found[2]) if found else None
    if not found or not authority or _CONTROL.search(url):
        raise ValueError(f"not an http URL: {url[:200]!r}")
    port = int(authority["port"] or HTTP_PORT)
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"not a port: {port}")
    host = authority["host"] or str(IPv6Address(authority["v6"]))
    if authority["scope"]:
        host += f"%{authority['scope']}"
    target = _UNSENDABLE.sub(_percent_encode, found[3])
    return Address(host, port, target if target.startswith("/") else f"/{target}")


def host_of(url: str) -> str:
    """Return the host of an `http` URL, an IPv6 scope included; raises ValueError."""
    return split_url(url).host


def has_user(url: str) -> bool:
    """Return whether an `http` URL names a user."""
    found = _URL.match(url.strip())
    return found is not None and found[1] is not None


def server_of(url: str) -> tuple[str, int]:
    """Return the key of the host of an `http` URL, and its port; raises ValueError."""
    address = split_url(url)
    return host_key(address.host), address.port


def host_or_url(url: str) -> str:
    """Return the key of the host of an `http` URL; the URL itself where it is none."""
    try:
        return host_key(host_of(url))
    except ValueError:
        return url


@lru_cache(256)  # asked for every URL, and nearly always the same
def host_key(host: str) -> str:
    """Return the key under which all spellings of a host are equal, without an IPv6 scope."""
    bare = unscoped(host)
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.lower().rstrip(".")


def unscoped(host: str) -> str:
    """Return a host without an IPv6 scope, which means nothing to another machine."""
    return host.partition("%")[0]


def bracketed(host: str) -> str:
    """Return a host as a URL has it: an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _percent_encode(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode(errors="replace"))
