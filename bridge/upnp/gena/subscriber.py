"""All subscriptions to all services (UDA 2.0, section 4.1): made, renewed, replaced, ended.

When to do what is `subscription`'s to say, and what an event means to the mirror is the caller's.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Literal, Protocol, TypeAlias

import structlog

from bridge.errors import BadResponse, DeviceError, DeviceUnreachable
from bridge.formats.url import bracketed, split_url, unscoped
from bridge.formats.xml import XmlError
from bridge.model import topics
from bridge.model.device import Description, Service
from bridge.upnp.gena.event_body import read_properties
from bridge.upnp.gena.notify_server import Notify, NotifyServer
from bridge.upnp.gena.subscription import (
    REQUESTED_S,
    SILENCE_S,
    Arrival,
    State,
    Step,
    Subscription,
    SubscriptionHealth,
    Times,
    same_sid,
)
from bridge.upnp.http.client import HttpClient, Response

_IN_PARALLEL = 32
_MAX_ANSWER_BYTES = 64 * 1024
_OK, _BROKEN = 200, 500

LATE_S = 3.0
"""How long a first event may take until the service is asked instead."""

Faring: TypeAlias = State | Literal["awaited", "late"]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class OnProperties(Protocol):
    """Takes the properties of one event, in order; must not block."""

    def __call__(
        self, udn: str, level: str, properties: list[tuple[str, str]], *, initial: bool
    ) -> None:
        """Take them; `udn` is the service's own device's, `level` the service's topic level."""


@dataclass(eq=False, slots=True)
class _Subscribed:
    """A service, by its id, with its subscription; all services of a root device share `turn`."""

    id: str
    root_udn: str
    udn: str
    service: Service
    url: str
    subscription: Subscription
    turn: asyncio.Lock
    path: str = ""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    malformed_noted: bool = False
    since_s: float = 0.0
    """When the first event of this subscription began to be waited for."""

    @property
    def key(self) -> str:
        return f"{self.udn}/{self.service.level}"


class Subscriber:
    """Keeps one subscription to every evented service; `run` does the work.

    `on_suspect` gets the UDN of a root device that did not answer, or that knows a subscription no
    more. `callback_host` is where devices send events, by default the address of this machine that
    faces each.
    """

    def __init__(  # noqa: PLR0913 - what it works with, most of it by keyword
        self,
        client: HttpClient,
        notify_server: NotifyServer,
        *,
        on_properties: OnProperties,
        on_suspect: Callable[[str], None],
        local_address_towards: Callable[[str, int], Awaitable[str]],
        callback_host: str | None,
        rng: Random,
        requested_s: int = REQUESTED_S,
        silence_s: float = SILENCE_S,
        times: Times | None = None,
    ) -> None:
        self._client = client
        self._notify_server = notify_server
        self._on_properties = on_properties
        self._on_suspect = on_suspect
        self._local_address_towards = local_address_towards
        self._callback_host = callback_host
        self._rng = rng
        self._requested_s = requested_s
        self._silence_s = silence_s
        self._times = times or Times()
        self._roots: dict[str, tuple[_Subscribed, ...]] = {}
        self._slots = asyncio.Semaphore(_IN_PARALLEL)
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Make and renew subscriptions until cancelled; `close` ends them at the devices."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for services in self._roots.values():
                    self._start(services)
                await asyncio.get_running_loop().create_future()
            finally:
                self._tasks = None

    def subscribe(self, description: Description) -> None:
        """Subscribe to every evented service of a root device and all embedded in it.

        Replaces what there was: old subscriptions are ended in the background.
        """
        self.drop(description.udn, unsubscribe=True)
        turn = asyncio.Lock()
        now_s = asyncio.get_running_loop().time()
        self._roots[description.udn] = tuple(
            _Subscribed(
                topics.service_id(topics.device_id(device.udn), service.level),
                description.udn,
                device.udn,
                service,
                service.event_url,
                Subscription(self._requested_s, self._silence_s, self._times),
                turn,
                since_s=now_s,
            )
            for device in description.device.walk()
            for service in device.services
            if service.event_url
        )
        self._start(self._roots[description.udn])

    def drop(self, root_udn: str, *, unsubscribe: bool) -> None:
        """Forget a root device's subscriptions, and tell the device where `unsubscribe` says so."""
        held = self._forget(self._roots.pop(root_udn, ()))
        if held and unsubscribe and self._tasks:
            name = f"upnp.unsubscribe[{root_udn}]"
            self._tasks.create_task(self._unsubscribe_all(held), name=name)

    def follows(self, root_udn: str) -> bool:
        """Return whether a root device is subscribed to, or is about to be."""
        return root_udn in self._roots

    async def close(self) -> None:
        """Tell every device that its events are wanted no more; takes 2 s at most, never raises."""
        everything = [item for services in self._roots.values() for item in services]
        self._roots.clear()
        await self._unsubscribe_all(self._forget(everything))

    async def holds(self, root_udn: str) -> bool | None:
        """Ask a device, by one renewal, whether it still knows who subscribed to it.

        None where nothing is subscribed to, or nothing can be told from how it answers.
        """
        items = self._roots.get(root_udn, ())
        item = next((item for item in items if item.subscription.sid), None)
        if item is None:
            return None
        sid = item.subscription.sid
        try:
            answer = await self._client.request(
                "SUBSCRIBE",
                item.url,
                headers={"SID": sid, "TIMEOUT": f"Second-{self._requested_s}"},
                timeout_s=self._times.proof_s,
                max_bytes=_MAX_ANSWER_BYTES,
            )
        except DeviceUnreachable:
            return False
        except DeviceError:
            return None
        if item.subscription.sid != sid or answer.status >= _BROKEN:
            return None
        if answer.status != _OK:
            return False
        item.subscription.sid = _read_sid(answer, sid)
        timeout = answer.headers.get("timeout")
        now = asyncio.get_running_loop().time()
        item.subscription.prolong(now, timeout, self._rng.random())
        item.woken.set()
        return True

    @property
    def pending(self) -> int:
        """How many services were asked for events and have not yet sent their first."""
        return sum(
            item.subscription.is_awaited for services in self._roots.values() for item in services
        )

    def counts(self) -> Mapping[State, int]:
        """Return how many subscriptions fare how."""
        return Counter(
            item.subscription.health.state for services in self._roots.values() for item in services
        )

    def health(self, root_udn: str) -> Mapping[str, SubscriptionHealth]:
        """Return how each service of a root device fares, by `<its device's UDN>/<its level>`."""
        return {item.key: item.subscription.snapshot() for item in self._roots.get(root_udn, ())}

    def left_s(self, root_udn: str) -> Mapping[str, float]:
        """Return the seconds until each subscription ends unless it is renewed, by service id."""
        now_s = asyncio.get_running_loop().time()
        items = self._roots.get(root_udn, ())
        found = {item.id: item.subscription.left_s(now_s) for item in items}
        return {service: left_s for service, left_s in found.items() if left_s is not None}

    def states(self, root_udn: str) -> Mapping[str, Faring]:
        """Return how the subscription to each service of a root device fares, by its id.

        While its first event may be about to come, it is `awaited`, and `late` where that has not
        come for `LATE_S`, whatever keeps it.
        """
        early_s = asyncio.get_running_loop().time() - LATE_S
        found: dict[str, Faring] = {}
        for item in self._roots.get(root_udn, ()):
            state: Faring = item.subscription.health.state
            if not item.subscription.has_heard and state in ("pending", "subscribed"):
                state = "awaited" if item.since_s > early_s else "late"
            found[item.id] = state
        return found

    def _start(self, services: Iterable[_Subscribed]) -> None:
        if self._tasks:
            for item in services:
                item.task = self._tasks.create_task(
                    self._keep(item), name=f"upnp.events[{item.key}]"
                )

    def _forget(self, services: Iterable[_Subscribed]) -> list[tuple[str, str]]:
        """Stop these; return URL and SID of those that their devices still hold."""
        held: list[tuple[str, str]] = []
        for item in services:
            if item.task:
                item.task.cancel()
            self._notify_server.close(item.path)
            if item.subscription.sid:
                held.append((item.url, item.subscription.sid))
        return held

    async def _keep(self, item: _Subscribed) -> None:
        """Do for one subscription what is due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            item.woken.clear()
            at, step = item.subscription.due
            if at > loop.time():
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(at):
                        await item.woken.wait()
            elif step is Step.NOTE_SILENCE:
                if item.subscription.note_silence():
                    _log.warning("no_initial_event", service=item.key, url=item.url)
            else:
                async with item.turn, self._slots:
                    await (self._subscribe(item) if step is Step.SUBSCRIBE else self._renew(item))

    async def _subscribe(self, item: _Subscribed) -> None:
        if item.subscription.sid:
            await self._unsubscribe(item.url, item.subscription.sid)
        if item.subscription.has_heard:
            item.since_s = asyncio.get_running_loop().time()
        self._notify_server.close(item.path)
        item.path = self._notify_server.open(partial(self._receive, item))
        item.subscription.begin()
        await self._ask(item, is_new=True)
        if not item.subscription.sid:
            self._notify_server.close(item.path)

    async def _renew(self, item: _Subscribed) -> None:
        await self._ask(item, is_new=False)

    async def _ask(self, item: _Subscribed, *, is_new: bool) -> None:
        """Send SUBSCRIBE, for a new subscription or to renew it, and note what comes of it."""
        now = asyncio.get_running_loop().time
        subscription = item.subscription
        try:
            headers = await self._wishes(item) if is_new else {"SID": subscription.sid}
            answer = await self._client.request(
                "SUBSCRIBE",
                item.url,
                headers=headers | {"TIMEOUT": f"Second-{self._requested_s}"},
                timeout_s=self._times.answer_s,
                max_bytes=_MAX_ANSWER_BYTES,
            )
            sid = _read_sid(answer, subscription.sid)
        except BadResponse as error:
            if subscription.sid:  # who knows it no more may have restarted, as another
                self._on_suspect(item.root_udn)
            subscription.refuse(now(), self._rng.random())
            self._note_failure(item, "subscription_refused", error)
        except DeviceError as error:
            if subscription.sid:
                self._doubt(item)
            subscription.lose(now(), self._rng.random())
            self._note_failure(item, "subscription_lost", error)
            self._on_suspect(item.root_udn)
        else:
            timeout = answer.headers.get("timeout")
            subscription.grant(now(), sid, timeout, self._rng.random())
            _log.debug("subscription_granted", service=item.key, sid=sid, timeout=timeout)

    def _doubt(self, lost: _Subscribed) -> None:
        """Subscribe anew to all other services of a device that did not answer a renewal."""
        for item in self._roots.get(lost.root_udn, ()):
            if item is not lost:
                item.subscription.doubt(asyncio.get_running_loop().time())
                item.woken.set()

    def _note_failure(self, item: _Subscribed, event: str, error: DeviceError) -> None:
        first = item.subscription.failures == 1 and not item.subscription.sid
        log = _log.warning if first else _log.debug
        log(event, service=item.key, url=item.url, reason=str(error))

    async def _wishes(self, item: _Subscribed) -> dict[str, str]:
        """Return the headers of a first SUBSCRIBE. Raises BadResponse, DeviceUnreachable."""
        try:
            device = split_url(item.url)
        except ValueError as error:
            raise BadResponse(str(error)) from error
        host = self._callback_host or await self._local_address_towards(device.host, device.port)
        callback = f"<http://{bracketed(unscoped(host))}:{self._notify_server.port}{item.path}>"
        return {"CALLBACK": callback, "NT": "upnp:event"}

    def _receive(self, item: _Subscribed, notify: Notify) -> bool:
        """Hand on an event that came to an item's path; return whether it is this subscription's.

        Before the SID is known the path alone says so: events may overtake the answer to SUBSCRIBE.
        """
        subscription = item.subscription
        if subscription.sid and notify.sid and not same_sid(notify.sid, subscription.sid):
            return False
        arrival = subscription.arrive(asyncio.get_running_loop().time(), notify.seq)
        if arrival is Arrival.STALE:
            _log.debug("event_stale", service=item.key, seq=notify.seq)
            return True
        if arrival is Arrival.GAP:
            _log.debug("event_gap", service=item.key, seq=notify.seq)
            item.woken.set()
        try:
            properties = read_properties(notify.body)
        except XmlError as error:
            subscription.health.malformed += 1
            log = _log.debug if item.malformed_noted else _log.warning
            item.malformed_noted = True
            log("event_malformed", service=item.key, peer=notify.peer, reason=str(error))
        else:
            initial = arrival is Arrival.INITIAL
            self._on_properties(item.udn, item.service.level, properties, initial=initial)
        return True

    async def _unsubscribe_all(self, held: Iterable[tuple[str, str]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for url, sid in held:
                tasks.create_task(self._unsubscribe(url, sid), name=f"upnp.unsubscribe[{sid}]")

    async def _unsubscribe(self, url: str, sid: str) -> None:
        with suppress(DeviceError, TimeoutError):
            async with asyncio.timeout(self._times.farewell_s):
                await self._client.request(
                    "UNSUBSCRIBE",
                    url,
                    headers={"SID": sid},
                    timeout_s=self._times.farewell_s,
                    max_bytes=_MAX_ANSWER_BYTES,
                )


def _read_sid(answer: Response, known: str) -> str:
    """Return the SID that a device granted, as it is to be told it. Raises BadResponse.

    A renewal may leave it out, or write it otherwise.
    """
    sid = answer.headers.get("sid", "") or known
    if known and same_sid(sid, known):
        sid = known
    if answer.status != _OK or not sid:
        raise BadResponse(f"status {answer.status}" if answer.status != _OK else "no SID")
    return sid
