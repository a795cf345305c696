"""How the bridge fares, as documents: for its `health` topic, its HTTP port and bug reports."""

import asyncio
import resource
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bridge import __version__, log
from bridge.errors import Code, CommandError
from bridge.formats import jsontext
from bridge.model.device import Device
from bridge.mqtt.reconnect import Broker
from bridge.polling.poller import Poller
from bridge.publishing import Publishing
from bridge.requests.call_queue import CallQueue
from bridge.settings import Settings
from bridge.support.capture import capture
from bridge.support.report import manner, report
from bridge.upnp.gena.subscriber import Subscriber
from bridge.upnp.gena.subscription import SubscriptionHealth
from bridge.upnp.presence.directory import Directory
from bridge.upnp.ssdp.search import Discovery

_MAX_SERVICES = 500
"""The most services that a document names one by one."""

_ENVELOPE_BYTES = 1024
"""What stands around a document in an answer, at most: its callid is bounded too."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is read of a running bridge."""

    publishing: Publishing
    broker: Broker
    calls: CallQueue
    directory: Directory
    discovery: Discovery
    subscriptions: Subscriber
    poller: Poller


class Health:
    """Reads the parts of a running bridge; changes nothing."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts
        self._is_capturing = False
        self._started_s = asyncio.get_running_loop().time()

    def document(self) -> dict[str, Any]:
        """Return the counters since the start, and what is so now."""
        parts, publishing = self._parts, self._parts.publishing
        mirrored_devices = publishing.mirror.mirrored_devices.values()
        services = self._services()
        failing = (
            (name, {"state": one.state})
            for name, one in services.items()
            if one.state != "subscribed"
        )
        return {
            "version": __version__,
            "uptime_s": round(asyncio.get_running_loop().time() - self._started_s),
            "log_level": log.level(),
            "broker": {
                "connected": parts.broker.state.connected,
                "url": parts.broker.state.url,
                "reconnects": parts.broker.state.reconnects,
                "problems": list(parts.broker.state.problems),
                "refused": dict(parts.broker.state.refused),
            },
            "devices": {
                "known": len(mirrored_devices),
                "online": sum(bool(mirrored.online) for mirrored in mirrored_devices),
            },
            "instances": self._instances(),
            "subscriptions": dict(Counter(str(one.state) for one in services.values())),
            "failing": dict(islice(failing, _MAX_SERVICES)),
            "events": {
                "received": publishing.counters.events,
                "malformed": publishing.counters.malformed_events,
            },
            "questions": parts.poller.questions,
            "published": {
                "tree": publishing.counters.publications,
                "answers_and_news": publishing.counters.answers,
                "waiting": publishing.mirror.waiting + len(publishing.outbox),
            },
            "calls": {"ended": dict(parts.calls.outcomes), "under_way": len(parts.calls)},
            "ssdp": {
                "datagrams": parts.discovery.counters.datagrams,
                "dropped": parts.discovery.counters.dropped,
                "searches": parts.discovery.counters.searches,
                "refused_locations": parts.directory.refused,
                "interfaces": [one.name for one in parts.discovery.interfaces],
            },
            "memory_mb": memory_mb(),
            "open_files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        }

    async def diagnostics(self, udn: str | None = None) -> dict[str, Any]:
        """Return what a bug report needs, redacted; of one device also all that it sends.

        That takes 60 s at most. Raises CommandError where it is not described, another is being
        captured, or the broker would not take the document.
        """
        captures = [await self._capture(udn)] if udn is not None else []
        document = await report(
            self._settings,
            captures,
            {
                "health": self.document(),
                "devices": [
                    {
                        "row": mirrored.row,
                        "owned": mirrored.owned,
                        "components": [
                            _outline(device) for device in mirrored.description.device.walk()
                        ]
                        if mirrored.description
                        else None,
                    }
                    for mirrored in self._parts.publishing.mirror.mirrored_devices.values()
                ],
                "services": {name: asdict(one) for name, one in self._services().items()},
            },
        )
        size, limit = (
            len(jsontext.encode(document)) + _ENVELOPE_BYTES,
            self._parts.publishing.broker_limit,
        )
        if limit is not None and size > limit:
            raise CommandError(
                Code.INTERNAL,
                f"an answer of {size} bytes, and the broker takes {limit}: "
                "the command `upnp2mqtt diagnostics` writes it to a file",
            )
        return document

    async def _capture(self, udn: str) -> object:
        mirrored, _ = self._parts.publishing.mirror.find(udn) or (None, None)
        if mirrored is None or mirrored.description is None:
            raise CommandError(Code.DEVICE_OFFLINE, f"{udn[:100]} has not been described yet")
        if self._is_capturing:
            raise CommandError(Code.BUSY, "another device is being captured")
        self._is_capturing = True
        try:
            description = mirrored.description
            # The bridge's own port is taken, by the bridge.
            return await capture(description.location, description, manner(self._settings, 0))
        finally:
            self._is_capturing = False

    def _instances(self) -> dict[str, dict[str, int]]:
        """Return what this instance, and each other that is up, sees and owns."""
        publishing = self._parts.publishing
        mirrored_devices = publishing.mirror.mirrored_devices.values()
        own = {
            "sees": sum(bool(mirrored.online) for mirrored in mirrored_devices),
            "owns": sum(mirrored.owned for mirrored in mirrored_devices),
        }
        known = publishing.instances
        others = {
            name: {"sees": len(known.seen_by(name)), "owns": known.owned_by(name)}
            for name in known.others
        }
        return {publishing.shape.instance: own, **others}

    def _services(self) -> Mapping[str, SubscriptionHealth]:
        """Return how the subscription to each service fares, with its counters."""
        found: dict[str, SubscriptionHealth] = {}
        for mirrored in self._parts.publishing.mirror.mirrored_devices.values():
            if mirrored.description is not None:
                found |= self._parts.subscriptions.health(mirrored.description.udn)
        return found


def _outline(device: Device) -> dict[str, Any]:
    return {
        "udn": device.udn,
        "device_type": device.device_type,
        "problems": list(device.problems),
        "services": [
            {
                "service_id": service.service_id,
                "service_type": service.service_type,
                "actions": len(service.scpd.actions),
                "variables": len(service.scpd.variables),
                "evented": service.event_url is not None,
            }
            for service in device.services
        ],
    }


def memory_mb() -> float:
    """Return the resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return round(pages * resource.getpagesize() / 2**20, 1)
