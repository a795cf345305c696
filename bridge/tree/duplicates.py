"""Devices that share a UDN, as the problems of the one that is shown tell of them.

The bytes are the same for the same network: they name hosts, whose ports may change at each start.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from bridge.formats.url import bracketed, host_or_url, server_of
from bridge.model.device import Description

_LINE = "another device has the same UDN, at {}: it is not shown"
_READ = re.compile(r"another device has the same UDN, at (\S{1,300}): it is not shown")


def hosts_of(location: str, others: Iterable[str]) -> frozenset[str]:
    """Return the hosts of others than a device at a LOCATION, with port where it is the same."""
    own = host_or_url(location)
    return frozenset(
        _with_port(other) if host_or_url(other) == own else host_or_url(other) for other in others
    )


def marked(description: Description, hosts: Iterable[str]) -> Description:
    """Return a description whose problems name these hosts, in order, and no others."""
    device = description.device
    kept = tuple(line for line in device.problems if not _READ.fullmatch(line))
    told = tuple(_LINE.format(host) for host in sorted(set(hosts)))
    if kept + told == device.problems:
        return description
    return replace(description, device=replace(device, problems=kept + told))


def read(problems: object) -> tuple[str, ...]:
    """Return the hosts that the problems in a document name."""
    lines = problems if isinstance(problems, list) else []
    found = (_READ.fullmatch(line) for line in lines if isinstance(line, str))
    return tuple(one[1] for one in found if one)


def _with_port(location: str) -> str:
    try:
        host, port = server_of(location)
    except ValueError:
        return location
    return f"{bracketed(host)}:{port}"
