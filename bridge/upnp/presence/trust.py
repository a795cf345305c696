"""Which announcements are believed: those whose LOCATION is where their sender stands.

Anybody on the network can announce any LOCATION. Whoever could have the bridge ask hosts of his
choice would use it to reach what he cannot reach himself. Nothing is asked here.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

import structlog

from bridge.formats.url import has_user, host_key, host_of
from bridge.upnp.presence import BEST_SCORE, Sighting
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.message import Announcement, Kind
from bridge.upnp.ssdp.search import Sender

_MAX_SUSPICIOUS = 256
_KINDS: dict[Kind, Literal["alive", "update", "byebye", "answer"]] = {
    Kind.ALIVE: "alive",
    Kind.UPDATE: "update",
    Kind.BYEBYE: "byebye",
    Kind.ANSWER: "answer",
}

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Address = IPv4Address | IPv6Address


class Trust:
    """Trust in LOCATIONs on the link they were heard on, and in `networks` whoever announced them.

    `refused` counts the announcements that were not believed.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)
        self._suspicious: dict[Address, None] = {}
        self.refused = 0

    def sighting(self, announcement: Announcement, arrival: Sender) -> Sighting | None:
        """Return what presence is to know of an announcement, None where its LOCATION is refused.

        The first refusal of each sender is logged. The LOCATION of a byebye does not matter.
        """
        location, score = announcement.location, 0
        if announcement.kind is Kind.BYEBYE:
            location = None
        elif location is not None:
            host = address_of(location)
            if host is None or not self._may_point(host, arrival):
                self._refuse(location, arrival.source)
                return None
            score = _score(host, arrival)
        return Sighting(
            _KINDS[announcement.kind],
            announcement.udn,
            location,
            str(arrival.source),
            score,
            announcement.server,
            announcement.max_age_s,
            announcement.boot_id,
            announcement.next_boot_id,
            announcement.config_id,
        )

    def _may_point(self, host: Address, arrival: Sender) -> bool:
        """Tell whether a LOCATION on this host is a matter of who announced it."""
        source, interface = arrival.source, arrival.interface
        on_link = interface is not None and interface.holds(host) and interface.holds(source)
        if host.is_loopback:
            return on_link
        return host == source or on_link or any(host in network for network in self._networks)

    def _refuse(self, location: str, source: Address) -> None:
        self.refused += 1
        if source in self._suspicious:
            return
        if len(self._suspicious) >= _MAX_SUSPICIOUS:
            del self._suspicious[next(iter(self._suspicious))]
        self._suspicious[source] = None
        _log.warning("location_refused", location=location, source=str(source))


def may_be_asked(
    url: str,
    location: str,
    interfaces: Iterable[Interface],
    networks: Sequence[IPv4Network | IPv6Network] = (),
    *,
    own_host: bool = False,
) -> bool:
    """Return whether something may be fetched for a device, by its LOCATION, from a URL.

    As a LOCATION that the device might announce: from its own host, and unless that is wanted,
    from a neighbour in its subnet; and from `networks`.
    """
    try:
        is_own = host_key(host_of(url)) == host_key(host_of(location)) and not has_user(url)
    except ValueError:
        return False
    if is_own:
        return True
    host, device = address_of(url), address_of(location)
    if host is None or device is None:
        return False
    if any(host in network for network in networks):
        return True
    return not own_host and any(one.holds(host) and one.holds(device) for one in interfaces)


@lru_cache(maxsize=1024)
def address_of(location: str) -> Address | None:
    """Return the address in a LOCATION; None where it has a name or a user, or is no http URL."""
    try:
        address = ip_address(host_of(location))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return None
    is_usable = not (address.is_multicast or address.is_unspecified)
    return address if is_usable and not has_user(location) else None


def _score(host: Address, arrival: Sender) -> int:
    """Return how near a LOCATION is to the interface that it was heard on, 0 to 3."""
    if arrival.interface is None or not arrival.interface.holds(host):
        return 0
    if isinstance(host, IPv4Address):
        return BEST_SCORE
    return 1 if host.is_link_local else 2
