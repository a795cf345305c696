"""The bridge as a whole: it is built here, owns every task, and shuts down in order."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import Any

import structlog

from bridge import __version__, log, support_url
from bridge.app.broker_link import BrokerLink
from bridge.app.devices import Devices
from bridge.app.ownership import Ownership
from bridge.app.page import Doctor, build_page, page_url
from bridge.app.upkeep import Watched
from bridge.formats import jsontext
from bridge.hubs.homeassistant.discovery import HomeAssistant
from bridge.hubs.homeassistant.place import World
from bridge.model import topics
from bridge.monitoring.health_document import Health, Parts
from bridge.monitoring.history import History
from bridge.monitoring.metrics import Metrics
from bridge.monitoring.systemd import Supervisor
from bridge.mqtt.mosquitto import EmbeddedBroker
from bridge.mqtt.reconnect import Broker
from bridge.mqtt.url import broker_options
from bridge.polling.plan import Plan
from bridge.publishing import Publishing
from bridge.requests.bridge_request import BridgeRequests
from bridge.requests.call_queue import CallLimits, CallQueue
from bridge.requests.dispatch import Dispatch
from bridge.requests.forget_instance import ForgetInstance
from bridge.requests.replies import Replies
from bridge.runtime import Adapters
from bridge.settings import Settings
from bridge.tree.device_tree import Shape
from bridge.tree.instances import write_sees
from bridge.tree.messages import Publication
from bridge.tree.mirror import RememberedDevice
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.web.activity import Activity

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_CALLS_GRACE_S = 1.0
_TICK_S = 0.05
_HEALTH_S = 60.0
_FORGET_S = 60.0
_ONLINE_TICK_S = 1.0


class Bridge:
    """A bridge with its settings; `run` is all of its life, `online` is set while it is so.

    `adapters` are how it touches the world, `doctor` examines it for the page.
    """

    def __init__(
        self,
        settings: Settings,
        adapters: Adapters | None = None,
        doctor: Doctor | None = None,
    ) -> None:
        self.settings = settings
        self._adapters = adapters or Adapters()
        self._doctor = doctor
        self._activity = Activity(self._adapters.clock)
        self.online = asyncio.Event()
        self._first_round = asyncio.Event()
        mqtt, mirror = settings.mqtt, settings.mirror
        plan = Plan(settings.upnp.poll_interval, tuple(settings.poll.variables))
        home_assistant = HomeAssistant(
            World(mqtt.base_topic, mirror.state, settings.read_only),
            instance=settings.instance,
            prefix=settings.homeassistant.prefix,
            version=__version__,
            enabled=settings.homeassistant.enabled,
            support_url=support_url(),
            page_url=page_url(settings),
        )
        shape = Shape(
            mqtt.base_topic,
            settings.instance,
            mirror.detail,
            mirror.state,
            plan,
            (home_assistant,),
        )
        self.publishing = Publishing(
            shape,
            qos=mqtt.qos,
            clock=self._adapters.clock,
            on_transport=self._transport_changed,
            on_presence=self._presence_changed,
        )
        self.devices: Devices
        self.broker: Broker
        self.calls: CallQueue
        self.health: Health
        self._parts: Parts
        self._history: History
        self._bridge_requests: BridgeRequests
        self._link: BrokerLink
        self._ownership: Ownership

    async def run(
        self, stop: asyncio.Event, on_broker: Callable[[str], None] = lambda _: None
    ) -> None:
        """Bridge until `stop` is set, then leave in order, within 5 s.

        `on_broker` is told the URL of the broker. Raises ConfigError where a setting cannot be
        carried out.
        """
        settings, adapters = self.settings, self._adapters
        async with AsyncExitStack() as stack:
            urls, embedded = settings.mqtt.url, None
            if not urls:
                embedded = await stack.enter_async_context(await EmbeddedBroker.beside_others())
                urls = [embedded.url]
            notify = adapters.notify(None, settings.upnp.callback_port)
            await stack.enter_async_context(notify)
            dispatch = self._build(notify, urls)
            self.publishing.mirror.put_own("info", jsontext.encode(self._info()))
            self.publishing.mirror.put_own("sees", write_sees(()))
            on_broker(urls[0])
            await stack.enter_async_context(self.devices.multicast)
            stack.callback(log.listen(self.publishing.publish_log))
            stack.callback(log.listen(self._activity.line, "debug"))
            metrics = Metrics(self._parts)
            self._page = build_page(
                settings,
                publishing=self.publishing,
                devices=self.devices,
                broker=self.broker,
                dispatch=dispatch,
                activity=self._activity,
                history=self._history.document,
                client=adapters.client(),
                clock=adapters.clock.monotonic,
                doctor=self._doctor,
            )
            await stack.enter_async_context(
                adapters.serve(
                    settings.http.host,
                    settings.http.port,
                    why_not_ready=self._why_not_ready,
                    health=self.health.document,
                    metrics=metrics.exposition,
                    page=self._page,
                )
            )
            await self._run_parts(stop, dispatch, embedded)

    def _build(self, notify: NotifyServer, urls: Sequence[str]) -> Dispatch:
        """Build both sides, and what carries out requests."""
        settings, adapters, publishing = self.settings, self._adapters, self.publishing
        mqtt, base = settings.mqtt, settings.mqtt.base_topic
        busy: set[str] = set()
        self.devices = devices = Devices(settings, publishing, notify, adapters, busy)
        # The client id is the same at every start, so that a broker ends what is left of an
        # earlier connection before it could publish that one's will after our `online`.
        client_id = "-".join(["upnp2mqtt", settings.instance, *([] if base == "upnp" else [base])])
        self.broker = Broker(
            broker_options(settings, urls, client_id),
            Publication(publishing.state_topic, b"offline"),
            publishing,
            rng=adapters.rng,
            dial=adapters.dial,
        )
        watched = Watched(publishing, adapters.clock)
        self._ownership = Ownership(
            publishing,
            watched.overhear,
            devices=devices,
            reader=self.broker,
            clock=adapters.clock,
        )
        self._link = BrokerLink(
            settings,
            publishing,
            self.broker,
            watched,
            self._ownership,
            settle=self._settle,
            online=self.online,
        )
        answer = Replies(publishing, mqtt.response_topics, self._activity.answer)
        limits = CallLimits(settings.upnp.action_timeout, settings.read_only, mqtt.max_payload)
        self.calls = CallQueue(publishing, answer, devices, limits, busy)
        self._parts = Parts(
            publishing,
            self.broker,
            self.calls,
            devices.directory,
            devices.discovery,
            devices.subscriptions,
            devices.poller,
        )
        self.health = Health(settings, self._parts)
        self._history = History(self._parts, adapters.clock.now)
        self._bridge_requests = BridgeRequests(
            publishing,
            answer,
            devices,
            self.health,
            ForgetInstance(publishing, self.broker, self._link),
            max_bytes=mqtt.max_payload,
        )
        return Dispatch(publishing, self.calls, self._bridge_requests, self._activity.command)

    def _info(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "started": self._adapters.clock.stamp("seconds"),
            "instance": self.settings.instance,
            "settings": self.settings.public(),
            "capabilities": {
                "commands": ["call", "set", "get"],
                "verbs": list(self._bridge_requests.names),
            },
        }

    def _why_not_ready(self) -> str:
        """Return what is missing for the bridge to do all of its work; empty where nothing is."""
        state = self.broker.state
        if self.online.is_set():
            return "; ".join(state.problems)
        if state.connected:
            return f"the bridge is starting at the broker {state.url}"
        return f"no connection to the broker {state.url}" + f": {state.reason}" * bool(state.reason)

    def _status(self) -> str:
        """Return in a few words what the bridge does."""
        state = self.broker.state
        if self.online.is_set() and state.problems:
            return f"online at {state.url}, but {state.problems[0]}"
        if not self.online.is_set():
            return f"{'starting at' if state.connected else 'without'} the broker {state.url}"
        return f"online at {state.url}, {len(self.publishing.mirror.mirrored_devices)} devices"

    async def _run_parts(
        self, stop: asyncio.Event, dispatch: Dispatch, embedded: EmbeddedBroker | None
    ) -> None:
        supervisor = Supervisor(os.environ)
        async with asyncio.TaskGroup() as tasks:
            parts = {
                "mqtt.broker": self._link.run(dispatch),
                "ownership": self._ownership.run(),
                "first_round": self._wait_for_first_round(),
                "health": self._tell_health(),
                "forget": self._forget_gone(),
                "history": self._history.run(),
                "systemd": supervisor.run(self._status),
                **self.devices.parts(),
            }
            if embedded is not None:
                parts["mqtt.embedded"] = embedded.watch()
            running = [tasks.create_task(part, name=name) for name, part in parts.items()]
            await stop.wait()
            _log.info("stopping")
            supervisor.tell("STOPPING=1", "STATUS=stopping")
            await self._leave()
            for task in running:
                task.cancel()

    def _transport_changed(self, service: str) -> None:
        self.devices.transport_changed(service)

    def _presence_changed(self) -> None:
        self._ownership.wake()

    async def _leave(self) -> None:
        """Answer what is asked, end subscriptions, and say `offline`; takes less than 5 s."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.calls.close(_CALLS_GRACE_S))
            tasks.create_task(self._bridge_requests.close())
            tasks.create_task(self.devices.subscriptions.close())
        await self._link.leave()

    async def _wait_for_first_round(self) -> None:
        """Wait until the devices that are there have answered the first searches."""
        await asyncio.sleep(self._adapters.timing.first_round_s)
        await self._end_first_round()

    async def _settle(self, remembered: Sequence[RememberedDevice]) -> None:
        """Wait for the end of the first round; what is remembered need not be searched for."""
        self.devices.expect(remembered)
        if remembered and not self._first_round.is_set():
            await self._end_first_round()
        await self._first_round.wait()

    async def _end_first_round(self) -> None:
        """Wait until all that was heard of is described and has told its values.

        A service that does not tell them is waited for 1 s.
        """
        timing = self._adapters.timing
        await self.devices.directory.wait_idle(timing.first_descriptions_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(timing.first_events_s):
                while self.devices.subscriptions.pending:  # noqa: ASYNC110 - nobody else waits
                    await asyncio.sleep(_TICK_S)
        self._first_round.set()

    async def _tell_health(self) -> None:
        """Publish it every minute, and as soon as the bridge is online."""
        await self._first_round.wait()
        was_online, left_s = False, 0.0
        while True:
            is_online = self.online.is_set()
            if left_s <= 0 or (is_online and not was_online):
                self.publishing.mirror.put_own("health", jsontext.encode(self.health.document()))
                self.publishing.wake()
                left_s = _HEALTH_S
            was_online = is_online
            await asyncio.sleep(_ONLINE_TICK_S)
            left_s -= _ONLINE_TICK_S

    async def _forget_gone(self) -> None:
        """Clear devices that are gone for long."""
        forget_after_s = self.settings.mirror.forget_after
        while forget_after_s:
            await asyncio.sleep(min(_FORGET_S, max(1.0, forget_after_s / 10)))
            now = self._adapters.clock.now()
            for mirrored in tuple(self.publishing.mirror.mirrored_devices.values()):
                if mirrored.online is False and mirrored.offline_since:
                    with suppress(ValueError):
                        gone = now - datetime.fromisoformat(mirrored.offline_since)
                        if gone.total_seconds() > forget_after_s:
                            self.devices.forget(topics.decode_level(mirrored.id))
