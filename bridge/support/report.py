"""The document of a bug report: what is in it, and that nothing private is."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bridge import __version__
from bridge.polling.plan import Plan
from bridge.settings import Settings
from bridge.support.capture import Manner
from bridge.support.redaction import redact

FORMAT = "upnp2mqtt-diagnostics/1"
"""What such a document calls itself; the number is raised when readers have to change."""

_POLL_S = 60.0


async def report(
    settings: Settings, captures: Sequence[object], more: Mapping[str, object]
) -> dict[str, Any]:
    """Return a redacted document with these captures of devices and `more` about the bridge."""
    document = {
        "format": FORMAT,
        "version": __version__,
        "settings": settings.public(),
        **more,
        "captures": list(captures),
    }
    redacted = await asyncio.to_thread(redact, document)
    # What it is remains readable whatever a device has said.
    return dict(redacted) | {"format": FORMAT, "version": __version__}


def manner(settings: Settings, callback_port: int) -> Manner:
    """Return how devices are asked: for all that the bridge would ask for, were it asked to."""
    interval_s = settings.upnp.poll_interval or _POLL_S
    plan = Plan(interval_s, tuple(settings.poll.variables))
    return Manner(plan, settings.upnp.callback_host, callback_port)
