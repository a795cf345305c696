"""How the bridge fares, as documents: for its `health` topic, its HTTP port and bug reports."""

import resource
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

from bridge import __version__, log
from bridge.calls import Calls
from bridge.core.model import Device
from bridge.mqtt.broker import Broker
from bridge.network import Network
from bridge.router import Router
from bridge.settings import Settings

_MAX_SERVICES = 500
"""The most services that a document names one by one."""


class Health:
    """Reads the parts of a running bridge; changes nothing."""

    def __init__(
        self, settings: Settings, router: Router, network: Network, broker: Broker, calls: Calls
    ) -> None:
        self._settings = settings
        self._router = router
        self._network = network
        self._broker = broker
        self._calls = calls
        self._started_s = monotonic()

    def document(self) -> dict[str, Any]:
        """Return the counters since the start, and what is so now."""
        router = self._router
        branches = router.mirror.branches.values()
        services = self._services()
        failing = (
            (name, {"state": one["state"]})
            for name, one in services.items()
            if one["state"] != "subscribed"
        )
        return {
            "version": __version__,
            "uptime_s": round(monotonic() - self._started_s),
            "log_level": log.level(),
            "broker": {
                "connected": self._broker.state.connected,
                "url": self._broker.state.url,
                "reconnects": self._broker.state.reconnects,
            },
            "devices": {
                "known": len(branches),
                "online": sum(bool(branch.online) for branch in branches),
            },
            "subscriptions": dict(Counter(str(one["state"]) for one in services.values())),
            "failing": dict(islice(failing, _MAX_SERVICES)),
            "events": {
                "received": router.counters.events,
                "malformed": router.counters.malformed_events,
            },
            "questions": self._network.polls.questions,
            "published": {
                "tree": router.counters.publications,
                "answers_and_news": router.counters.answers,
                "waiting": len(router.mirror.ledger) + len(router.outbox),
            },
            "calls": {"ended": dict(self._calls.outcomes), "under_way": len(self._calls)},
            "ssdp": {
                "datagrams": self._network.discovery.counters.datagrams,
                "dropped": self._network.discovery.counters.dropped,
                "searches": self._network.discovery.counters.searches,
                "refused_locations": self._network.directory.refused,
                "interfaces": [one.name for one in self._network.discovery.interfaces],
            },
            "memory_mb": _memory_mb(),
            "open_files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        }

    def diagnostics(self) -> dict[str, Any]:
        """Return what a bug report needs: no secrets, no serial numbers."""
        return {
            "health": self.document(),
            "settings": self._settings.public(),
            "devices": [
                {
                    "row": branch.row,
                    "owned": branch.owned,
                    "components": [_outline(device) for device in branch.description.device.walk()]
                    if branch.description
                    else None,
                }
                for branch in self._router.mirror.branches.values()
            ],
            "services": self._services(),
        }

    def _services(self) -> Mapping[str, dict[str, Any]]:
        """Return how the subscription to each service fares, with its counters."""
        found = {}
        for branch in self._router.mirror.branches.values():
            if branch.description is None:
                continue
            for name, one in self._network.subscriptions.health(branch.description.udn).items():
                found[name] = asdict(one)
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


def _memory_mb() -> float:
    """Return the resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return round(pages * resource.getpagesize() / 2**20, 1)
