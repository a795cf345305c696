"""A search for some seconds, without a broker: who answers, and how each describes itself."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bridge.app.devices import look_around
from bridge.model.device import Description
from bridge.runtime import Adapters
from bridge.settings import Settings
from bridge.upnp.ssdp.message import Announcement, Kind
from bridge.upnp.ssdp.search import Discovery, Sender

_TICK_S = 0.1


@dataclass(slots=True)
class Found:
    """What a search has found so far: root devices by their UDN, and the last answer of each UDN.

    `refused` counts the announcements that pointed where their sender does not stand; `duplicates`
    has the LOCATIONs of others with the UDN of a device.
    """

    descriptions: dict[str, Description] = field(default_factory=dict)
    answers: dict[str, Announcement] = field(default_factory=dict)
    refused: int = 0
    duplicates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


async def search_for(
    seconds: float,
    settings: Settings,
    *,
    patience_s: float = 10.0,
    is_enough: Callable[[Found], bool] = lambda _: False,
    on_tick: Callable[[Found, float], None] = lambda _, __: None,
) -> Found:
    """Search as the bridge does, for so many seconds or until what is found is enough.

    Descriptions that are on their way then may take `patience_s` more. `on_tick` is told every
    tenth of a second how many seconds are left. Raises what ends the search early.
    """
    found = Found()
    directory, _ = look_around(
        settings,
        Adapters(),
        on_joined=lambda told, _: found.descriptions.__setitem__(told.udn, told),
        on_left=lambda _, __: None,
    )

    def hear(announcement: Announcement, arrival: Sender) -> None:
        if announcement.kind is Kind.ANSWER:
            found.answers[announcement.udn] = announcement
        directory.heard(announcement, arrival)

    upnp = settings.upnp
    discovery = Discovery(
        hear, wanted_interfaces=upnp.interfaces, search_interval_s=upnp.search_interval
    )
    now = asyncio.get_running_loop().time
    ends_s = now() + seconds
    tasks = [
        asyncio.create_task(directory.run(), name="upnp.directory"),
        asyncio.create_task(discovery.run(), name="upnp.discovery"),
    ]
    try:
        while (left_s := ends_s - now()) > 0 and not is_enough(found):
            on_tick(found, left_s)
            timeout_s = min(_TICK_S, left_s)
            if (await asyncio.wait(tasks, timeout=timeout_s, return_when="FIRST_COMPLETED"))[0]:
                break
        if not is_enough(found):
            await directory.wait_idle(patience_s)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    found.refused, found.duplicates = directory.refused, directory.duplicates
    return found
