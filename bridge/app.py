"""The bridge as a whole: builds every part, owns every task, and shuts down in order."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random
from typing import Any
from urllib.parse import urlsplit

import structlog

from bridge import __version__, http, log
from bridge.answers import Answers
from bridge.calls import Calls, Limits
from bridge.core import jsontext, topics
from bridge.core.branch import Shape
from bridge.core.messages import Message, Publication
from bridge.core.model import Description, Service
from bridge.errors import BrokerError, ConfigError
from bridge.filter import admission
from bridge.health import Health
from bridge.mqtt.broker import Broker
from bridge.mqtt.embedded import EmbeddedBroker
from bridge.mqtt.endpoint import BrokerOptions, parse_url
from bridge.mqtt.session import Session
from bridge.router import Router
from bridge.settings import Settings
from bridge.upnp import control
from bridge.upnp.client import HttpClient, local_address_towards
from bridge.upnp.describe import Describer
from bridge.upnp.directory import Directory
from bridge.upnp.discovery import Discovery
from bridge.upnp.events import Subscriptions
from bridge.upnp.interfaces import Interface
from bridge.upnp.multicast_events import MulticastEvent, MulticastEvents
from bridge.upnp.notify import NotifyServer
from bridge.verbs import Verbs

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

FIRST_ROUND_S = 3.0
"""How long devices have to answer the first searches (sent until 1.8 s, MX 1) before `online`."""

_FIRST_DESCRIPTIONS_S = 15.0
_FIRST_EVENTS_S = 1.0
_TICK_S = 0.05
_HEALTH_S = 60.0
_FORGET_S = 60.0
_CALLS_GRACE_S = 1.0
_FAREWELL_S = 0.5
_EMBEDDED_PORT = 1883


class Bridge:
    """A bridge with its settings; `run` is all of its life."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session: Session | None = None
        self._online = False
        self._first_round = asyncio.Event()
        self._interfaces: frozenset[Interface] = frozenset()

    async def run(
        self, stop: asyncio.Event, on_broker: Callable[[str], None] = lambda _: None
    ) -> None:
        """Bridge until `stop` is set, then leave in order, within 5 s.

        `on_broker` is told the URL of the broker. Raises ConfigError where a setting cannot be
        carried out.
        """
        async with AsyncExitStack() as stack:
            broker_urls = self.settings.mqtt.url
            embedded: EmbeddedBroker | None = None
            if not broker_urls:
                embedded = await stack.enter_async_context(await _embedded())
                broker_urls = [embedded.url]
            on_broker(broker_urls[0])
            upnp = self.settings.upnp
            notify = await stack.enter_async_context(NotifyServer(None, upnp.callback_port))
            self.multicast = await stack.enter_async_context(MulticastEvents(self._told_all))
            self._build(notify, broker_urls)
            stack.callback(log.listen(self.router.tell_log))
            await stack.enter_async_context(
                http.serve(
                    self.settings.http.host,
                    self.settings.http.port,
                    is_ready=lambda: self._online,
                    health=self.health.document,
                )
            )
            await self._run_parts(stop, embedded)

    def _build(self, notify: NotifyServer, broker_urls: list[str]) -> None:
        settings = self.settings
        shape = Shape(
            settings.mqtt.base_topic,
            settings.instance,
            settings.mirror.detail,
            settings.mirror.state,
        )
        self.router = Router(shape, qos=settings.mqtt.qos, wake=self._wake)
        self.client = HttpClient()
        trusted = settings.upnp.trusted_networks
        self.directory = Directory(
            Describer(self.client, trusted_networks=trusted),
            on_joined=self._joined,
            on_left=self._left,
            admit=admission(settings.upnp.allow, settings.upnp.deny),
            trusted_networks=trusted,
            static_locations=settings.upnp.locations,
        )
        self.discovery = Discovery(
            self.directory.heard,
            wanted_interfaces=settings.upnp.interfaces,
            search_interval_s=settings.upnp.search_interval,
            on_interfaces=self._interfaces_changed,
        )
        self.subscriptions = Subscriptions(
            self.client,
            notify,
            on_properties=self.router.variables_changed,
            on_suspect=self.directory.suspect,
            local_address_towards=local_address_towards,
            callback_host=settings.upnp.callback_host,
            rng=Random(),  # noqa: S311 - spreads renewals
        )
        answer = Answers(
            self.router.answer,
            lambda: self.router.broker_limit,
            base=shape.base,
            filters=settings.mqtt.response_topics,
        )
        self.calls = Calls(
            mirror=self.router.mirror,
            answer=answer,
            invoke=self._invoke,
            limits=Limits(
                settings.upnp.action_timeout, settings.read_only, settings.mqtt.max_payload
            ),
            base=shape.base,
            is_elsewhere=self.router.is_elsewhere,
            is_denied=self.directory.is_denied,
            suspect=self.directory.suspect,
        )
        self.broker = Broker(
            self._broker_options(broker_urls),
            Publication(self.router.state_topic, b"offline"),
            self.router,
        )
        self.health = Health(
            settings=settings,
            router=self.router,
            calls=self.calls,
            broker=self.broker,
            directory=self.directory,
            discovery=self.discovery,
            subscriptions=self.subscriptions,
        )
        self.verbs = Verbs(
            mirror=self.router.mirror,
            answer=answer,
            directory=self.directory,
            search=self.discovery.search,
            forget=self._forget,
            wake=self._wake,
            health=self.health.document,
            diagnostics=self.health.diagnostics,
            max_bytes=settings.mqtt.max_payload,
        )
        self.router.mirror.put_own("info", jsontext.encode(self._info()))

    def _broker_options(self, urls: list[str]) -> BrokerOptions:
        settings = self.settings
        try:
            endpoints = tuple(parse_url(url) for url in urls)
        except ValueError as error:
            raise ConfigError(f"mqtt.url: {error}") from error
        base = settings.mqtt.base_topic
        return BrokerOptions(
            endpoints=endpoints,
            # The same at every start, so that a broker ends what is left of an earlier connection
            # before it publishes its will after our `online`.
            client_id="-".join(
                ["upnp2mqtt", settings.instance, *([] if base == "upnp" else [base])]
            ),
            username=settings.username(),
            password=settings.password(),
            tls_ca=settings.mqtt.tls_ca,
            tls_cert=settings.mqtt.tls_cert,
            tls_key=settings.mqtt.tls_key,
            protocol=settings.mqtt.protocol,
            keepalive_s=settings.mqtt.keepalive,
        )

    def _info(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "started": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "instance": self.settings.instance,
            "settings": self.settings.public(),
            "capabilities": {"commands": ["call"], "verbs": list(self.verbs.names)},
        }

    # Life

    async def _run_parts(self, stop: asyncio.Event, embedded: EmbeddedBroker | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            parts: dict[str, Coroutine[None, None, None]] = {
                "mqtt.broker": self.broker.run(self._serve),
                "upnp.discovery": self.discovery.run(),
                "upnp.directory": self.directory.run(),
                "upnp.events": self.subscriptions.run(),
                "first_round": self._wait_for_first_round(),
                "health": self._tell_health(),
                "forget": self._forget_gone(),
            }
            if embedded is not None:
                parts["mqtt.embedded"] = embedded.watch()
            running = [tasks.create_task(part, name=name) for name, part in parts.items()]
            await stop.wait()
            _log.info("stopping")
            await self._leave()
            for task in running:
                task.cancel()

    async def _leave(self) -> None:
        """Answer what is asked, end subscriptions, and say `offline`, all within 5 s."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.calls.close(_CALLS_GRACE_S))
            tasks.create_task(self.verbs.close())
            tasks.create_task(self.subscriptions.close())
        self._online = False
        if (session := self._session) is not None:
            for farewell in (session.flush(), session.publish(self._state(b"offline"))):
                with suppress(BrokerError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await farewell

    async def _wait_for_first_round(self) -> None:
        """Wait until the devices that are there have answered the first searches."""
        await asyncio.sleep(FIRST_ROUND_S)
        await self._settle()

    async def _settle(self) -> None:
        """Wait until all that was heard of is described and has told its values; then all is whole.

        A service that does not tell them is waited for 1 s.
        """
        await self.directory.wait_idle(_FIRST_DESCRIPTIONS_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_EVENTS_S):
                while self.subscriptions.pending:  # noqa: ASYNC110 - only here anyone waits for it
                    await asyncio.sleep(_TICK_S)
        self._first_round.set()

    async def _serve(self, session: Session) -> None:
        """Bring the broker to the wanted tree, then take commands until the session is lost."""
        settings, router = self.settings, self.router
        base = settings.mqtt.base_topic
        held: dict[str, bytes] = {}
        try:
            await session.read_retained(
                f"{base}/#", held.__setitem__, marker_topic=f"{base}/reply/{settings.instance}"
            )
            remembered = router.open(held, settings.mqtt.max_payload, session.max_payload)
            for device in remembered:
                if self.directory.is_denied(device.udn):  # met before the tree was read
                    router.device_left(device.udn, "denied")
                else:
                    self.directory.expect(device.udn, device.location, device.server)
            held.clear()
            self._session = session
            session.start()
            await session.subscribe(router.command_filters, self._command)
            if remembered:  # who is known need not be searched for
                await self._settle()
            await self._first_round.wait()
            await session.flush()
            await session.subscribe(router.neighbour_filters, self._neighbour)
            await session.publish(self._state(b"online"))
            self._online = True
            _log.info("online", devices=len(router.mirror.branches), topics=self._published())
            await session.wait_lost()
        finally:
            self._online = False
            self._session = None
            router.close()

    async def _tell_health(self) -> None:
        await self._first_round.wait()
        while True:
            self.router.mirror.put_own("health", jsontext.encode(self.health.document()))
            self._wake()
            await asyncio.sleep(_HEALTH_S)

    async def _forget_gone(self) -> None:
        """Clear devices that are gone for long."""
        forget_after_s = self.settings.mirror.forget_after
        while forget_after_s:
            await asyncio.sleep(min(_FORGET_S, max(1.0, forget_after_s / 10)))
            now = datetime.now(UTC)
            for branch in tuple(self.router.mirror.branches.values()):
                if branch.online is False and branch.offline_since:
                    with suppress(ValueError):
                        gone = now - datetime.fromisoformat(branch.offline_since)
                        if gone.total_seconds() > forget_after_s:
                            self._forget(topics.decode_level(branch.id))

    # Between the parts

    def _wake(self) -> None:
        if self._session is not None:
            self._session.wake()

    def _published(self) -> int:
        return self.router.counters.publications

    def _state(self, payload: bytes) -> Publication:
        return Publication(self.router.state_topic, payload)

    def _joined(self, description: Description, reason: str) -> None:
        branch = self.router.device_joined(description, str(reason))
        if branch.description is not None:
            self.subscriptions.subscribe(branch.description)

    def _left(self, udn: str, why: str) -> None:
        self.router.device_left(udn, str(why))
        self.subscriptions.drop(udn, unsubscribe=False)

    def _interfaces_changed(self, present: tuple[Interface, ...]) -> None:
        """Follow the interfaces; devices behind a new one, or a new address, send events there."""
        self.multicast.update(one.index for one in present if one.ipv4)
        new = frozenset(present) - self._interfaces
        self._interfaces = frozenset(present)
        for branch in self.router.mirror.branches.values():
            if branch.online and branch.description is not None:
                host = _address(branch.description.location)
                if host is not None and any(one.holds(host) for one in new):
                    self.subscriptions.subscribe(branch.description)

    def _told_all(self, event: MulticastEvent, source: str) -> None:
        """Take a multicast event, if it comes from where its device stands."""
        found = self.router.mirror.find(event.udn)
        if found is None or found[1] is None or found[0].description is None:
            return
        if str(_address(found[0].description.location)) != source:
            return
        for service in found[1].services:
            if service.service_id == event.service_id:
                self.router.variables_changed(
                    found[1].udn, service.level, list(event.properties), initial=False
                )

    def _forget(self, udn: str) -> None:
        self.directory.forget(udn)
        self.subscriptions.drop(udn, unsubscribe=True)
        found = self.router.mirror.find(udn)
        if found is not None:
            self.router.device_forgotten(found[0])

    async def _invoke(
        self,
        service: Service,
        action: str,
        arguments: Sequence[tuple[str, str]],
        timeout_s: float,
    ) -> dict[str, str]:
        return await control.invoke(self.client, service, action, arguments, timeout_s=timeout_s)

    def _command(self, message: Message) -> None:
        self.router.command(message, call=self.calls.receive, verb=self.verbs.receive)

    def _neighbour(self, message: Message) -> None:
        """Hear others; where the will of an earlier connection comes late, say `online` again."""
        if not self.router.neighbour(message) and self._online:
            self.router.answer(self._state(b"online"))


def _address(location: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address((urlsplit(location).hostname or "").partition("%")[0])
    except ValueError:
        return None


async def _embedded() -> EmbeddedBroker:
    """Return an own broker on the usual port, or on a free one where that is taken."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", _EMBEDDED_PORT)
    except OSError:
        return EmbeddedBroker(_EMBEDDED_PORT)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return EmbeddedBroker(0)
