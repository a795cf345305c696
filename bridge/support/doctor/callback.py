"""Whether devices reach the port that they send events to, tried with devices that are there."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import zip_longest
from typing import Any

from bridge.errors import ConfigError, DeviceError
from bridge.formats.url import bracketed, host_of, split_url
from bridge.model.device import Description, Service
from bridge.settings import Settings
from bridge.support.doctor import ports
from bridge.support.doctor.finding import Finding, Status, error, note, ok, skipped, warning
from bridge.support.doctor.local import Local
from bridge.upnp.gena.notify_server import Notify, NotifyServer
from bridge.upnp.http.client import HttpClient, local_address_towards

_MOST_DEVICES = 3
_EVENT_S = 5.0
_OTHERS_S = 1.0
_SUBSCRIBE_S = 4.0
_FAREWELL_S = 1.0
_DAY_S = 86400
_TIMEOUT_S = 60
_OK = 200


class _Server(NotifyServer):
    """A server that notes who connected: some devices connect and send nothing."""

    def __init__(self, port: int) -> None:
        super().__init__(None, port)
        self.peers: set[str] = set()

    def take(self, connection: Any) -> None:  # noqa: ANN401 - the server's own
        self.peers.add(connection.peer)
        super().take(connection)


@dataclass(slots=True)
class _Trial:
    """A subscription to one service of a device, and what came of it."""

    name: str
    service: Service
    host: str
    address: str = ""
    sid: str = ""
    refusal: str = ""
    date: str = ""
    path: str = ""
    came: asyncio.Event = field(default_factory=asyncio.Event)


async def check_callback(
    settings: Settings,
    found: Sequence[Description],
    local: Local | None,
    let_in: Callable[[str], str],
    event_s: float = _EVENT_S,
) -> list[Finding]:
    """Return whether events come; `let_in` says how devices at a host are let in.

    The first is to come within `event_s`. Where the port is the running bridge's, that one's
    subscriptions count.
    """
    port = settings.upnp.callback_port
    findings: list[Finding] = []
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(_Server(port))
        except ConfigError as failure:
            taken = _taken(settings, failure) if local is None else _of_local(local, port)
            findings.append(taken)
            if taken.status is Status.ERROR:
                return findings
            server = await stack.enter_async_context(_Server(0))
        trials = _choose(found)
        if not trials:
            return [
                *findings,
                skipped("callback", "there is no device with events to subscribe to"),
            ]
        await _try(settings, server, trials, event_s)
        if not port:
            findings.append(
                note(
                    "callback",
                    "upnp.callback_port is 0: the port differs at each start",
                    "a firewall can let in only a fixed port",
                )
            )
        return [
            *findings,
            _judge(trials, server, let_in, is_own=server.port != port and bool(port)),
            *_dates(trials),
        ]


def _taken(settings: Settings, failure: ConfigError) -> Finding:
    port = settings.upnp.callback_port
    holding = ports.holders("tcp", port, but=[os.getpid()])
    if not holding:
        return error("callback", str(failure), "see upnp.callback_port and upnp.callback_host")
    said = f"TCP port {port} (upnp.callback_port) is held by {ports.said(holding)}"
    if any(one.name == "upnp2mqtt" for one in holding) and not settings.http.port:
        return note("callback", said, "with http.port set, the doctor could ask it for its health")
    return error("callback", said, "stop that program, or set upnp.callback_port to a free port")


def _of_local(local: Local, port: int) -> Finding:
    counts = local.subscriptions
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
    said = f"TCP port {port} is the running bridge's; its subscriptions: {told}"
    if counts.get("subscribed") or not counts.get("silent"):
        return ok("callback", said)
    return warning("callback", said, "devices grant subscriptions, but none sends events")


def _choose(found: Sequence[Description]) -> list[_Trial]:
    """Return trials with a few devices, each at a host of its own while there are such."""
    trials: dict[str, list[_Trial]] = {}
    for description in found:
        for device in description.device.walk():
            services = [one for one in device.services if one.event_url]
            evented = [s for s in services if any(v.evented for v in s.scpd.variables.values())]
            for service in (evented or services)[:1]:
                with suppress(ValueError):
                    host = host_of(service.event_url or "")
                    name = description.device.friendly_name
                    trials.setdefault(host, []).append(_Trial(name, service, host))
    turns = zip_longest(*trials.values())
    return [trial for turn in turns for trial in turn if trial is not None][:_MOST_DEVICES]


async def _try(
    settings: Settings, server: NotifyServer, trials: Sequence[_Trial], event_s: float
) -> None:
    """Subscribe, wait for first events until one more would take too long, and unsubscribe."""
    client = HttpClient()
    async with asyncio.TaskGroup() as tasks:
        for trial in trials:
            tasks.create_task(_subscribe(settings, client, server, trial))
    granted = [trial for trial in trials if trial.sid]
    try:
        await _await_events(granted, event_s)
    finally:
        async with asyncio.TaskGroup() as tasks:
            for trial in granted:
                tasks.create_task(_unsubscribe(client, trial))


async def _await_events(granted: Sequence[_Trial], event_s: float) -> None:
    """Wait for the first event, and a second longer for the others'."""
    waits = [asyncio.create_task(trial.came.wait()) for trial in granted]
    if not waits:
        return
    try:
        done, rest = await asyncio.wait(waits, timeout=event_s, return_when=asyncio.FIRST_COMPLETED)
        if done and rest:
            await asyncio.wait(rest, timeout=_OTHERS_S)
    finally:
        for wait in waits:
            wait.cancel()


async def _subscribe(
    settings: Settings, client: HttpClient, server: NotifyServer, trial: _Trial
) -> None:
    def receive(_: Notify) -> bool:
        trial.came.set()
        return True

    url = trial.service.event_url or ""
    trial.path = server.open(receive)
    try:
        where = split_url(url)
        host = settings.upnp.callback_host or await local_address_towards(where.host, where.port)
        trial.address = bracketed(host)
        callback = f"<http://{trial.address}:{server.port}{trial.path}>"
        answer = await client.request(
            "SUBSCRIBE",
            url,
            headers={
                "CALLBACK": callback,
                "NT": "upnp:event",
                "TIMEOUT": f"Second-{_TIMEOUT_S}",
            },
            timeout_s=_SUBSCRIBE_S,
        )
    except (DeviceError, ValueError) as failure:
        trial.refusal = str(failure)
        return
    trial.date = answer.headers.get("date", "")
    trial.sid = answer.headers.get("sid", "") if answer.status == _OK else ""
    if not trial.sid:
        trial.refusal = f"status {answer.status}"


async def _unsubscribe(client: HttpClient, trial: _Trial) -> None:
    with suppress(DeviceError):
        await client.request(
            "UNSUBSCRIBE",
            trial.service.event_url or "",
            headers={"SID": trial.sid},
            timeout_s=_FAREWELL_S,
        )


def _judge(
    trials: Sequence[_Trial],
    server: _Server,
    let_in: Callable[[str], str],
    *,
    is_own: bool,
) -> Finding:
    granted = [trial for trial in trials if trial.sid]
    told = [trial for trial in granted if trial.came.is_set()]
    connected = [trial for trial in granted if trial.host in server.peers]
    port = f"a port of the doctor's own ({server.port})" if is_own else f"port {server.port}"
    if told:
        said = f"{_names(told)} sent an event to {told[0].address}, {port}"
        silent = [trial for trial in granted if trial not in told]
        return ok("callback", said + (f"; {_names(silent)} sent none" if silent else ""))
    if connected:
        return note(
            "callback",
            f"{_names(connected)} connected to {connected[0].address}, {port}, and sent nothing",
            "nothing blocks events; some devices grant subscriptions and send no initial event",
        )
    if granted:
        where = granted[0]
        said = (
            f"{_names(granted)} granted a subscription, but nothing came to {where.address}, {port}"
        )
        if is_own:
            return note("callback", f"{said}: a firewall may let in the bridge's port alone")
        return error(
            "callback",
            said,
            let_in(where.host),
            "devices do not reach a container with a network of its own: use the host's",
            f"is {where.address} this machine's address as devices see it? If not, set "
            "upnp.callback_host",
        )
    refusals = "; ".join(f"{trial.name}: {trial.refusal}" for trial in trials)
    return warning(
        "callback",
        f"no device granted a subscription ({refusals})",
        "the bridge polls such services, and gets no events",
    )


def _dates(trials: Sequence[_Trial]) -> list[Finding]:
    """Return that devices agree on a time which is not ours."""
    apart: Mapping[str, float] = {
        trial.name: seconds for trial in trials if (seconds := _apart_s(trial.date)) is not None
    }
    off = [name for name, seconds in apart.items() if abs(seconds) > _DAY_S]
    if not off or len(off) < len(apart):
        return []
    days = round(min(apart.values(), key=abs) / _DAY_S)
    way = "after" if days > 0 else "before"
    return [
        note(
            "clock",
            f"{', '.join(off)}: the date is {abs(days)} days {way} this machine's",
            "one of the clocks is wrong; `date` shows this machine's",
        )
    ]


def _apart_s(date: str) -> float | None:
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _names(trials: Sequence[_Trial]) -> str:
    return ", ".join(dict.fromkeys(trial.name for trial in trials))
