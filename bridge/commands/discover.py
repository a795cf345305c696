"""`discover`: what answers on the network, without a broker."""

import json
import sys

from bridge import log
from bridge.commands import signals
from bridge.commands.footing import check_footing, widened
from bridge.model import topics
from bridge.model.device import Description
from bridge.settings import Settings
from bridge.support.search import Found, search_for
from bridge.upnp.ssdp.interfaces import interfaces


def discover(settings: Settings, *, as_json: bool, seconds: float) -> int:
    """Print each device that answers within so many seconds; exit 0, or 1 where none does.

    Raises ConfigError where no interface that is named exists.
    """
    log.configure("error" if settings.log.level == "info" else settings.log.level, "console")
    for _, facts in check_footing(settings):
        sys.stderr.write(f"upnp2mqtt: {facts['reason']}\n")
    found = signals.run(_search(widened(settings), seconds))
    rows = [_row(description) for _, description in sorted(found.items())]
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
    else:
        for row in rows:
            kind = str(row["device_type"]).removeprefix("urn:schemas-upnp-org:device:")
            line = (
                f"{row['id']}  {row['friendly_name']}  {kind}  {row['location']}  "
                f"{row['services']} services"
            )
            clean = "".join(one if one.isprintable() else "\ufffd" for one in line)
            sys.stdout.write(f"{clean}\n")
    if not rows:
        where = ", ".join(one.name for one in interfaces(widened(settings).upnp.interfaces))
        said = f"no device answered on {where}" if where else "there is no interface to search on"
        sys.stderr.write(f"upnp2mqtt: {said}: `upnp2mqtt doctor` looks for the reason\n")
    return 0 if rows else 1


async def _search(settings: Settings, seconds: float) -> dict[str, Description]:
    """Search; count on the terminal if there is one."""
    terminal = sys.stderr.isatty()

    def count(found: Found, left_s: float) -> None:
        if terminal:
            told = f"searching, {left_s:.0f} s left: {len(found.descriptions)} devices "
            sys.stderr.write(f"\r{told}")
            sys.stderr.flush()

    try:
        return (await search_for(seconds, settings, on_tick=count)).descriptions
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")


def _row(description: Description) -> dict[str, object]:
    device = description.device
    walk = tuple(device.walk())
    return {
        "id": topics.device_id(device.udn),
        "udn": f"uuid:{device.udn}",
        "friendly_name": device.friendly_name,
        "device_type": device.device_type,
        "manufacturer": device.manufacturer,
        "model_name": device.model_name,
        "location": description.location,
        "server": description.server,
        "devices": len(walk),
        "services": sum(len(one.services) for one in walk),
        "problems": [problem for one in walk for problem in one.problems],
    }
