"""`diagnostics`: devices as a file for their maintainer, without a broker and a running bridge."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from bridge import log
from bridge.commands import signals
from bridge.commands.footing import check_footing, widened
from bridge.errors import ConfigError, DeviceError
from bridge.model import topics
from bridge.model.device import Description
from bridge.settings import Settings
from bridge.support.capture import capture
from bridge.support.report import manner, report
from bridge.support.search import Found, search_for
from bridge.upnp.description.fetch import Describer
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.http.client import HttpClient

MAX_DEVICES = 16
"""The most devices that are captured where none is named."""

_FILE = "upnp2mqtt-diagnostics"
_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX_NAME = 100


def diagnostics(
    settings: Settings, device: str | None, *, output: str | None, seconds: float
) -> int:
    """Capture a device, by UDN or URL of its description, or all; exit 0, or 1 if there is none.

    Without an `output` the file is named by the device, where it is one alone.
    Raises ConfigError where the file cannot be written.
    """
    log.configure("error" if settings.log.level == "info" else settings.log.level, "console")
    told = sys.stderr if output == "-" else sys.stdout
    if output not in (None, "-") and not Path(output).absolute().parent.is_dir():
        raise ConfigError(f"--output: there is no folder {Path(output).absolute().parent}")
    for _, facts in check_footing(settings):
        sys.stderr.write(f"upnp2mqtt: {facts['reason']}\n")
    document, named = signals.run(_take(widened(settings), device, seconds))
    if not document["captures"]:
        wanted = "no device answered" if device is None else f"no device {device} answered"
        sys.stderr.write(f"upnp2mqtt: {wanted}: `upnp2mqtt doctor` looks for the reason\n")
        return 1
    output = output or _file_name(named)
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    # Half a surrogate pair is what JSON can say and UTF-8 cannot.
    data = text.encode("utf-8", "backslashreplace")
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        _write(Path(output), data)
    _show(document, output, len(data), told)
    return 0


def _file_name(named: Sequence[str]) -> str:
    """Return what a file about these devices is called: by the UDN of one, which is safe in it."""
    safe = _NOT_IN_FILE_NAMES.sub("_", named[0])[:_MAX_NAME] if len(named) == 1 else ""
    return f"{_FILE}-{safe}.json" if safe else f"{_FILE}.json"


async def _take(
    settings: Settings, device: str | None, seconds: float
) -> tuple[dict[str, Any], list[str]]:
    """Return the document, and what the devices in it are called: by UDN, else by address."""
    if device is not None and device.lower().startswith("http://"):
        found: list[tuple[str, Description | None]] = [(device, await _described(settings, device))]
    else:
        searched = await _search(settings, device, seconds)
        found = [(one.location, one) for one in searched]
    if len(found) > MAX_DEVICES:
        sys.stderr.write(
            f"upnp2mqtt: {len(found)} devices answered, {MAX_DEVICES} are captured: give a UDN for "
            "another\n"
        )
    how = manner(settings, await _callback_port(settings.upnp.callback_port))
    captures = []
    for location, description in found[:MAX_DEVICES]:
        name = description.device.friendly_name if description else location
        sys.stderr.write(f"asking {name}\n")
        captures.append(await capture(location, description, how))
    named = [
        description.udn if description else urlsplit(location).netloc
        for location, description in found[:MAX_DEVICES]
    ]
    return await report(settings, captures, {}), named


async def _described(settings: Settings, location: str) -> Description | None:
    """Return what is at a LOCATION; None where it cannot be read, which is worth a report too."""
    describer = Describer(HttpClient(), trusted_networks=settings.upnp.trusted_networks)
    try:
        return (await describer.describe(location)).description
    except DeviceError as error:
        sys.stderr.write(f"upnp2mqtt: {error}\n")
        return None


async def _search(settings: Settings, device: str | None, seconds: float) -> list[Description]:
    """Return who answers within so many seconds, sorted by UDN; of a device named only its root."""
    wanted = None
    if device is not None:
        wanted = frozenset(topics.udn_keys(topics.decode_level(device)))

    def chosen(found: Found) -> list[Description]:
        ordered = (description for _, description in sorted(found.descriptions.items()))
        return [one for one in ordered if wanted is None or wanted & _udns(one)]

    return chosen(
        await search_for(
            seconds,
            settings,
            is_enough=lambda found: wanted is not None and bool(chosen(found)),
        )
    )


def _udns(description: Description) -> frozenset[str]:
    return frozenset(topics.udn_key(one.udn) for one in description.device.walk())


async def _callback_port(wanted: int) -> int:
    """Return the port that a firewall lets in, or any where a running bridge has it."""
    try:
        async with NotifyServer(None, wanted):
            return wanted
    except ConfigError:
        sys.stderr.write(
            f"upnp2mqtt: port {wanted} is taken (by a running bridge?): events go to another\n"
        )
        return 0


def _write(path: Path, data: bytes) -> None:
    """Write a file that its owner alone can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
    except OSError as error:
        raise ConfigError(f"--output: cannot write {path}: {error}") from error


def _show(document: dict[str, Any], output: str, size: int, told: TextIO) -> None:
    """Print what is in a document, and what to do with it."""
    place = "standard output" if output == "-" else output
    told.write(f"{place}: {size} bytes\n")
    told.writelines(line for one in document["captures"] for line in _summary(one))
    told.write(
        "Addresses, names, serial numbers, UDNs and what plays were replaced by others of the same "
        "shape.\n"
        "No program knows everything that is private to you: read the file before you pass it on.\n"
        "If the file name contains the device's UDN, rename it.\n"
    )


def _summary(one: dict[str, Any]) -> list[str]:
    heard = sum(bool(row["notify"]) for row in one["events"])
    parts = (
        f"{'a' if one['description'] else 'no'} description",
        f"{len(one['scpds'])} SCPDs",
        f"events of {heard} of {len(one['events'])} services",
        f"{len(one['answers'])} answers",
        f"{len(one['announcements'])} announcements",
    )
    failures = (f"    {failure}\n" for failure in one["failures"])
    return [f"  {one['id'] or one['location']}: {', '.join(parts)}\n", *failures]
