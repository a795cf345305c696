"""The devices of tests/captures, described as the bridge reads them."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bridge.errors import DescriptionError
from bridge.model import topics
from bridge.model.device import Description, Device, Scpd
from bridge.polling.plan import service_name
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds

CAPTURES = Path(__file__).parents[1] / "captures"
DEVICES = sorted(
    f"{path.parent.name}/{path.stem[-1]}" for path in CAPTURES.glob("*/description?.xml")
)
"""Each a program and the number of its root device."""

_LOCATION = "http://192.0.2.7:49152/description.xml"


@cache
def captured(name: str) -> Description:
    """Read a root device with its SCPDs."""
    program, number = name.split("/")
    return described(CAPTURES / program, int(number))


def described(folder: Path, number: int) -> Description:
    """Read the root device with this number from a folder of captures."""
    data = (folder / f"description{number}.xml").read_bytes()
    found = _read(data)
    return Description(
        with_scpds(found.device, _scpds(found.device, folder, file_names(data, number))),
        found.location,
        found.upnp_version,
    )


def file_names(description: bytes, number: int) -> Mapping[str, str]:
    """Return what the files of each service of a description begin with, by the service's id.

    It is the name in the serviceType; of several services with one name in a root device, that of
    the first, and behind it the place among them.
    """
    names: dict[str, str] = {}
    for device in _read(description).device.walk():
        for service in device.services:
            own = topics.service_id(topics.device_id(device.udn), service.level)
            name = f"{number}-{re.sub(r'[^A-Za-z0-9_-]', '-', service_name(service))}"
            alike = sum(other == name or other.startswith(f"{name}~") for other in names.values())
            names[own] = f"{name}~{alike + 1}" if alike else name
    return names


def _read(description: bytes) -> Description:
    return read_description(description, _LOCATION, foreign=lambda _: False)


def _scpds(root: Device, folder: Path, names: Mapping[str, str]) -> dict[str, Scpd | str]:
    found: dict[str, Scpd | str] = {}
    for device in root.walk():
        for service in device.services:
            own = topics.service_id(topics.device_id(device.udn), service.level)
            path = folder / f"{names[own]}.scpd.xml"
            try:
                found[service.scpd_url] = read_scpd(path.read_bytes())
            except FileNotFoundError:
                found[service.scpd_url] = "no SCPD: none was captured"
            except DescriptionError as error:
                found[service.scpd_url] = f"no SCPD: {error}"
    return found
