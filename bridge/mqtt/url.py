"""Where a broker listens and how to greet it: URLs and options, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from bridge.errors import ConfigError
from bridge.formats.url import bracketed
from bridge.settings import Settings

Transport = Literal["tcp", "websockets", "unix"]
Protocol = Literal["5", "3.1.1"]

_SCHEMES: dict[str, tuple[Transport, bool, int]] = {
    "mqtt": ("tcp", False, 1883),
    "tcp": ("tcp", False, 1883),
    "mqtts": ("tcp", True, 8883),
    "ssl": ("tcp", True, 8883),
    "ws": ("websockets", False, 80),
    "wss": ("websockets", True, 443),
    "unix": ("unix", False, 0),
}
_ENCODE = "in a user name or password, '/', '?', '#', '@' and ':' are written as %2F and so on"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to a broker. `path` is the websocket's path or the unix socket's.

    As text it is a URL without user name, password and query, fit for a log.
    """

    transport: Transport
    host: str
    port: int
    path: str = ""
    tls: bool = False
    username: str | None = None
    password: SecretStr | None = None

    @property
    def authority(self) -> str:
        """The host as a URL writes it: an IPv6 address in brackets."""
        return bracketed(self.host)

    def __str__(self) -> str:
        if self.transport == "unix":
            return f"unix://{self.path}"
        scheme = ("ws" if self.transport == "websockets" else "mqtt") + "s" * self.tls
        path = self.path.partition("?")[0]  # tokens are passed in the query
        return f"{scheme}://{self.authority}:{self.port}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """How to connect. User name and password of an endpoint go before those here.

    `client_id` must be the same at every start and no other client's. Without `tls_ca` the system's
    authorities count.
    """

    endpoints: tuple[Endpoint, ...]
    client_id: str
    username: str | None = None
    password: SecretStr | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: int = 30


def parse_url(url: str) -> Endpoint:
    """Return the endpoint that a URL, or plain `host[:port]`, names.

    Raises ValueError, in words that hold no part of the URL but its scheme.
    """
    try:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        port = parts.port
    except ValueError:
        raise ValueError(f"not a broker URL: the host or port cannot be read ({_ENCODE})") from None
    if parts.scheme not in _SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise ValueError(f"not a broker URL: it must begin with one of {known}")
    transport, tls, default_port = _SCHEMES[parts.scheme]
    return Endpoint(
        transport,
        _host(parts),
        default_port if port is None else port,
        _path(parts, transport),
        tls,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else SecretStr(unquote(parts.password)),
    )


def _host(parts: SplitResult) -> str:
    if parts.scheme == "unix":
        if parts.hostname or ":" in parts.netloc.rpartition("@")[2]:
            raise ValueError("not a broker URL: unix:// needs an absolute path (three slashes)")
        return ""
    if not parts.hostname:
        raise ValueError("not a broker URL: the host is missing")
    if parts.port == 0:
        raise ValueError("not a broker URL: the port is not from 1 to 65535")
    return parts.hostname


def _path(parts: SplitResult, transport: Transport) -> str:
    query = f"?{parts.query}" if parts.query else ""
    if parts.fragment or (query and transport != "websockets"):
        raise ValueError(f"not a broker URL: too much behind the host ({_ENCODE})")
    match transport:
        case "unix":
            if parts.path in ("", "/"):
                raise ValueError("not a broker URL: unix:// needs the path of a socket")
            return unquote(parts.path)
        case "websockets":
            return (parts.path or "/mqtt") + query
        case "tcp":
            if parts.path not in ("", "/"):
                raise ValueError(f"not a broker URL: too much behind the host ({_ENCODE})")
            return ""


def broker_options(settings: Settings, urls: Sequence[str], client_id: str) -> BrokerOptions:
    """Return how to connect to the broker at these URLs. Raises ConfigError."""
    try:
        endpoints = tuple(parse_url(url) for url in urls)
    except ValueError as error:
        raise ConfigError(f"mqtt.url: {error}") from error
    return BrokerOptions(
        endpoints=endpoints,
        client_id=client_id,
        username=settings.username(),
        password=settings.password(),
        tls_ca=settings.mqtt.tls_ca,
        tls_cert=settings.mqtt.tls_cert,
        tls_key=settings.mqtt.tls_key,
        protocol=settings.mqtt.protocol,
        keepalive_s=settings.mqtt.keepalive,
    )
