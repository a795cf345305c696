"""What a command is to stand on: interfaces and addresses, at its start and where nothing comes."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from bridge.commands import running
from bridge.errors import ConfigError
from bridge.settings import Settings
from bridge.support.doctor.container import check_container, read_surroundings
from bridge.support.doctor.devices import Answered, check_search
from bridge.support.doctor.finding import Finding, Status
from bridge.support.doctor.firewall import find_firewall
from bridge.support.doctor.ground import (
    check_interfaces,
    check_multicast,
    check_ssdp_port,
    network_of,
)
from bridge.upnp.ssdp import message as ssdp
from bridge.upnp.ssdp.interfaces import absent, interfaces, names

if TYPE_CHECKING:
    from bridge.app import Bridge  # which commands for one look need not load

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PATIENCE_S = 10.0
"""How long after its start a bridge that has found nothing says why that may be."""

_LOOPBACK = "lo"


def check_footing(settings: Settings) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield what of the settings is not on this machine: an event of the log, and its facts.

    Raises ConfigError where no named interface exists and there is nothing else to work with.
    systemd may start a bridge before its interfaces are there: then it waits for them.
    """
    wanted = settings.upnp.interfaces
    missing = absent(wanted)
    is_waiting = bool(settings.upnp.locations or os.environ.get("NOTIFY_SOCKET"))
    if missing and len(missing) == len(wanted) and not is_waiting:
        raise ConfigError(f"upnp.interfaces: {_sentence(missing)}")
    if missing:
        yield "interface_unknown", {"reason": f"upnp.interfaces: {_sentence(missing)}"}
    host = settings.upnp.callback_host
    if host is not None and _is_elsewhere(host):
        said = f"upnp.callback_host: {host} is not an address of this machine"
        yield (
            "callback_host_not_local",
            {"reason": f"{said}; events come only if something forwards them from there"},
        )


def widened(settings: Settings) -> Settings:
    """Return settings for a search from the command line: loopback too, if a demo runs there."""
    found = running.find(settings.instance, settings.mqtt.base_topic)
    if found is None or not found.demo or settings.upnp.interfaces:
        return settings
    named = [*(one.name for one in interfaces()), _LOOPBACK]
    return settings.model_copy(
        update={"upnp": settings.upnp.model_copy(update={"interfaces": named})}
    )


async def tell_reason(bridge: "Bridge", patience_s: float = PATIENCE_S) -> None:
    """Write one line to the log where no device was found in time: why that may be."""
    await asyncio.sleep(patience_s)
    if any(mirrored.description for mirrored in bridge.publishing.mirror.mirrored_devices.values()):
        return
    try:
        found = [finding async for finding in _findings(bridge)]
    except OSError as error:  # an interface that goes while it is looked at
        _log.debug("no_reason_found", reason=str(error))
        return
    for status in (Status.ERROR, Status.WARNING):
        for finding in found:
            if finding.status is status:
                _log.warning("no_device_found", reason=finding.fact, advice=list(finding.advice))
                return


async def _findings(bridge: "Bridge") -> AsyncIterator[Finding]:
    """Yield what `doctor` finds without asking anybody, interfaces first."""
    settings, devices = bridge.settings, bridge.devices
    taken = interfaces(settings.upnp.interfaces)
    for one in check_interfaces(settings.upnp.interfaces, taken):
        yield one
    for one in check_container(read_surroundings(), taken):
        yield one
    firewall = await find_firewall()
    for one in await check_multicast(taken, lambda net: firewall.let_in("udp", ssdp.PORT, net)):
        yield one
    yield check_ssdp_port()
    let_in = firewall.let_in("udp", None, network_of(taken, ""))
    directory = devices.directory
    if directory.denied:
        yield Finding(
            "search",
            Status.WARNING,
            f"the filter excludes all devices that were found: {directory.denied}",
            ("see upnp.allow and upnp.deny",),
        )
    for one in check_search(settings, Answered((), (), refused=directory.refused), let_in):
        yield one


def _sentence(missing: tuple[str, ...]) -> str:
    there = names()
    like = get_close_matches(missing[0], there, 1)
    hint = f"; did you mean {like[0]}?" if like else ""
    verb = (
        "is not an interface or address" if len(missing) == 1 else "are not interfaces or addresses"
    )
    return f"{', '.join(missing)} {verb} of this machine, which has {', '.join(there)}{hint}"


def _is_elsewhere(host: str) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:  # a name: what it stands for is the devices' name server's matter
        return False
    return not address.is_loopback and bool(absent([host]))
