"""`discover`: what answers on the network, without a broker."""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

from bridge import log
from bridge.adapters import Adapters
from bridge.core import topics
from bridge.core.model import Description
from bridge.network import look_around
from bridge.settings import Settings

_TICK_S = 0.2
_DESCRIPTIONS_S = 10.0


def discover(settings: Settings, *, as_json: bool, seconds: float) -> int:
    """Print each device that answers within so many seconds; exit 0, also where none does."""
    log.configure("error" if settings.log.level == "info" else settings.log.level, "console")
    found = asyncio.run(_search(settings, seconds))
    rows = [_row(description) for _, description in sorted(found.items())]
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
    else:
        for row in rows:
            kind = str(row["device_type"]).removeprefix("urn:schemas-upnp-org:device:")
            sys.stdout.write(
                f"{row['id']}  {row['friendly_name']}  {kind}  {row['location']}  "
                f"{row['services']} services\n"
            )
        if not rows:
            sys.stderr.write("no device answered\n")
    return 0


async def _search(settings: Settings, seconds: float) -> dict[str, Description]:
    found: dict[str, Description] = {}
    directory, discovery = look_around(
        settings,
        Adapters(),
        on_joined=lambda description, _: found.__setitem__(description.udn, description),
        on_left=lambda _, __: None,
    )
    tasks = [asyncio.create_task(directory.run()), asyncio.create_task(discovery.run())]
    try:
        await _show_progress(found, seconds)
        await directory.wait_idle(_DESCRIPTIONS_S)
        await _raise_early_end(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def _raise_early_end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        if task.done():
            with suppress(asyncio.CancelledError):
                await task


async def _show_progress(found: dict[str, Description], seconds: float) -> None:
    """Wait; count on the terminal if there is one."""
    terminal = sys.stderr.isatty()
    left_s = seconds
    while left_s > 0:
        await asyncio.sleep(min(_TICK_S, left_s))
        left_s -= _TICK_S
        if terminal:
            sys.stderr.write(f"\rsearching, {max(left_s, 0):.0f} s left: {len(found)} devices ")
            sys.stderr.flush()
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
