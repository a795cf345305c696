"""The bridge that runs on this machine, asked at its HTTP port."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge import __version__
from bridge.errors import DeviceError
from bridge.formats import jsontext
from bridge.formats.url import bracketed
from bridge.settings import Settings
from bridge.support.doctor import ports
from bridge.support.doctor.finding import Finding, error, note, ok
from bridge.upnp.http.client import HttpClient

_ANSWER_S = 3.0
_OK = 200


@dataclass(frozen=True, slots=True)
class Local:
    """What the bridge that runs here says of itself (`/readyz`)."""

    is_online: bool
    health: Mapping[str, Any] = field(default_factory=dict)

    @property
    def broker_url(self) -> str:
        """The broker that it uses, without credentials."""
        return str(_part(self.health, "broker").get("url", ""))

    @property
    def subscriptions(self) -> Mapping[str, int]:
        """How many of its subscriptions fare how."""
        counts = _part(self.health, "subscriptions")
        return {str(state): count for state, count in counts.items() if isinstance(count, int)}


async def find_local(settings: Settings) -> Local | None:
    """Return the bridge that answers at this machine's `http.port`, None where none does."""
    if not settings.http.port:
        return None
    host = settings.http.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not bound
    url = f"http://{bracketed(host)}:{settings.http.port}/readyz"
    try:
        answer = await HttpClient().request("GET", url, timeout_s=_ANSWER_S)
    except DeviceError:
        return None
    health = jsontext.read(answer.body)
    if not isinstance(health, dict) or "uptime_s" not in health or "broker" not in health:
        return None
    return Local(answer.status == _OK, health)


def check_local(settings: Settings, local: Local | None) -> Iterator[Finding]:
    """Yield how the bridge that runs here fares."""
    port = settings.http.port
    if local is not None:
        health, devices = local.health, _part(local.health, "devices")
        said = (
            f"version {health.get('version')}, up for {_lasting(health.get('uptime_s', 0))}, "
            f"{devices.get('online', '?')} of {devices.get('known', '?')} devices online"
        )
        if local.is_online:
            yield ok("bridge", said)
        else:
            yield error(
                "bridge",
                f"{said}; not online at its broker {local.broker_url}",
                "its log says why: look for broker_unavailable",
            )
        if health.get("version") != __version__:
            yield note("bridge", f"this is version {__version__}: restart the bridge to have it")
    elif not port:
        yield note("bridge", "http.port is 0: whether a bridge runs here is not known")
    elif others := ports.holders("tcp", port, but=[os.getpid()]):
        yield error(
            "bridge",
            f"TCP port {port} (http.port) is held by {ports.said(others)}, which does not answer "
            "as a bridge does",
            "set http.port to a free port, or stop that program: else the bridge does not start",
        )
    else:
        yield note("bridge", f"none runs here (nothing at {settings.http.host}:{port})")


def _part(health: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = health.get(name)
    return part if isinstance(part, dict) else {}


def _lasting(seconds: object) -> str:
    if not isinstance(seconds, int):
        return "?"
    hours, minutes = divmod(seconds // 60, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
