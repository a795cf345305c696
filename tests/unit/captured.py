"""The devices of tests/captures, described as the bridge reads them."""

from functools import cache
from pathlib import Path

from bridge.core.model import Description, Device
from bridge.core.polling import service_name
from bridge.upnp.description import read_description
from bridge.upnp.scpd import read_scpd, with_scpds

CAPTURES = Path(__file__).parents[1] / "captures"
DEVICES = sorted(
    f"{path.parent.name}/{path.stem[-1]}" for path in CAPTURES.glob("*/description?.xml")
)
"""Each a program and the number of its root device."""


@cache
def captured(name: str) -> Description:
    """Read a root device with its SCPDs."""
    program, number = name.split("/")
    folder = CAPTURES / program
    found = read_description(
        (folder / f"description{number}.xml").read_bytes(),
        "http://192.0.2.7:49152/description.xml",
        foreign=lambda _: False,
    )
    return Description(
        with_scpds(found.device, _scpds(found.device, folder, number)),
        found.location,
        found.upnp_version,
    )


def _scpds(root: Device, folder: Path, number: str):
    services = [service for device in root.walk() for service in device.services]
    return {
        service.scpd_url: read_scpd(
            (folder / f"{number}-{service_name(service)}.scpd.xml").read_bytes()
        )
        for service in services
    }
