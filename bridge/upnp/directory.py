"""The devices on the network: carry out presence's checks, and say who joined and who left.

What announcements mean is presence's work, how descriptions are read the describer's. Here is
decided which LOCATIONs may be asked at all, and which devices the filter lets in.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, Protocol
from urllib.parse import urlsplit

import structlog

from bridge.core.model import Description
from bridge.core.presence import (
    BEST_SCORE,
    Check,
    Conflict,
    Joined,
    Known,
    Left,
    Presence,
    Reason,
    Sighting,
    Verdict,
)
from bridge.core.topics import same_udn
from bridge.errors import DeviceError, DeviceTimeout, DeviceUnreachable
from bridge.upnp.describe import Described, Probe
from bridge.upnp.discovery import Arrival
from bridge.upnp.ssdp import Announcement, Kind

MAX_WAITING = 64
"""The most LOCATIONs that callers of `add` and `refresh` wait for."""

_ADD_TIMEOUT_S = 90.0
_MAX_SUSPICIOUS = 256
_ROUND_S = 0.002
_BURST_S = 0.03
_KINDS: dict[Kind, Literal["alive", "update", "byebye", "answer"]] = {
    Kind.ALIVE: "alive",
    Kind.UPDATE: "update",
    Kind.BYEBYE: "byebye",
    Kind.ANSWER: "answer",
}

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Address = IPv4Address | IPv6Address
Why = Literal["byebye", "expired", "unreachable", "denied"]


class Describer(Protocol):
    """Reads descriptions; 64 at once must not wait for one another.

    Of one host either one description is read or several are probed at a time.
    """

    async def describe(self, location: str, *, server: str | None = None) -> Described:
        """Read a description and its SCPDs; raise a DeviceError."""

    async def probe(self, location: str) -> Probe:
        """Read a description alone; raise a DeviceError."""


class Directory:
    """Who is there.

    `admit` decides by description and by the host of the LOCATION; `on_joined` and `on_left` are
    called from the event loop, must not block, and get root devices only.
    """

    def __init__(  # noqa: PLR0913 - all by name, most with defaults
        self,
        describer: Describer,
        *,
        on_joined: Callable[[Description, Reason], None],
        on_left: Callable[[str, Why], None],
        admit: Callable[[Description, str], bool] = lambda _description, _host: True,
        trusted_networks: Sequence[IPv4Network | IPv6Network] = (),
        static_locations: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._describer = describer
        self._on_joined = on_joined
        self._on_left = on_left
        self._admit = admit
        self._trusted_networks = tuple(trusted_networks)
        self._static_locations = tuple(static_locations)
        self._clock = clock
        self._presence = Presence()
        self._descriptions: dict[str, Description] = {}
        self._denied: set[str] = set()
        self._waiting: dict[str, list[asyncio.Future[Description]]] = {}
        self._suspicious: dict[Address, int] = {}
        self._awake = asyncio.Event()
        self._settled = asyncio.Event()
        self._burst: asyncio.TimerHandle | None = None
        self.refused = 0

    @property
    def devices(self) -> tuple[Known, ...]:
        """Every known root device, those that the filter denies too."""
        return self._presence.devices

    @property
    def pending(self) -> int:
        """How many LOCATIONs wait for the end of their first check."""
        return self._presence.pending

    def is_denied(self, udn: str) -> bool:
        """Tell whether the filter denies the device to which a UDN belongs."""
        root = self._presence.root_of(udn)
        return root is not None and same_udn(root) in self._denied

    async def run(self) -> None:
        """Check LOCATIONs until cancelled, the static ones first."""
        for location in self._static_locations:
            self._presence.add(location, self._clock(), pinned=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._awake.clear()
                    now = self._clock()
                    for check in self._presence.due(now):
                        name = f"upnp.check[{check.location}]"
                        tasks.create_task(self._check(check), name=name)
                    deadline = self._presence.next_deadline(now)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if deadline is None else deadline - now):
                            await self._awake.wait()
                    # What ends at about the same time is looked through once.
                    await asyncio.sleep(_ROUND_S)
        finally:
            if self._burst is not None:
                self._burst.cancel()
            for location in tuple(self._waiting):
                self._answer(location, DeviceUnreachable("the bridge is shutting down"))

    def heard(self, announcement: Announcement, arrival: Arrival) -> None:
        """Take an announcement, unless its LOCATION is not where its sender stands."""
        location, score = announcement.location, 0
        if announcement.kind is Kind.BYEBYE:
            location = None
        elif location is not None:
            host = _host(location)
            if host is None or not self._may_point(host, arrival):
                self._refuse(location, arrival.source)
                return
            score = _score(host, arrival)
        sighting = Sighting(
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
        if self._presence.heard(sighting, self._clock()) and self._burst is None:
            self._burst = asyncio.get_running_loop().call_later(_BURST_S, self._end_burst)

    def expect(self, udn: str, location: str, server: str | None = None) -> None:
        """Check a device that was there before: it joins, or leaves although it never joined."""
        if self._presence.expect(udn, location, server, self._clock()):
            self._awake.set()
        else:
            self._on_left(udn, "unreachable")

    def suspect(self, udn: str) -> None:
        """Probe a device that did not answer somebody."""
        self._presence.suspect(udn, self._clock())
        self._awake.set()

    def forget(self, udn: str) -> None:
        """Know nothing any more of the device to which a UDN belongs; `on_left` is not called."""
        root = self._presence.root_of(udn)
        if root is not None:
            self._presence.forget(root, self._clock())
            self._denied.discard(same_udn(root))
            self._descriptions.pop(same_udn(root), None)

    async def add(self, location: str) -> Description:
        """Describe what is at a LOCATION and have it join, wherever that is.

        Raises a DeviceError where nothing is, where the filter denies it, or where its UDN is
        that of a device which is online elsewhere.
        """
        if len(self._waiting) >= MAX_WAITING or not self._presence.add(location, self._clock()):
            raise DeviceUnreachable("too many descriptions are being read")
        answer: asyncio.Future[Description] = asyncio.get_running_loop().create_future()
        answers = self._waiting.setdefault(location, [])
        answers.append(answer)
        self._awake.set()
        try:
            async with asyncio.timeout(_ADD_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise DeviceTimeout("the description was not read in time") from None
        finally:
            answers.remove(answer)
            if not answers and self._waiting.get(location) is answers:
                del self._waiting[location]

    async def refresh(self, udn: str) -> Description:
        """Describe a device afresh and have it join again; raises a DeviceError."""
        location = self._presence.location_of(udn)
        if location is None:
            raise DeviceUnreachable("it is not known where the device is")
        return await self.add(location)

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every LOCATION known by now or then was checked once; tell whether it was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.pending:
                    self._settled.clear()
                    await self._settled.wait()
        return not self.pending

    async def _check(self, check: Check) -> None:
        described: Described | None = None
        try:
            async with asyncio.timeout(check.timeout_s):
                if check.describe:
                    described = await self._describer.describe(check.location, server=check.server)
                    udns = tuple(device.udn for device in described.description.device.walk())
                    fingerprint = described.fingerprint
                else:
                    probe = await self._describer.probe(check.location)
                    udns, fingerprint = probe.udns, probe.fingerprint
        except TimeoutError:
            self._fail(check, DeviceTimeout(f"no description within {check.timeout_s:.0f} s"))
        except DeviceError as error:
            self._fail(check, error)
        except Exception as error:  # noqa: BLE001 - no answer of a device may end the others' checks
            _log.exception("check_crashed", location=check.location)
            self._fail(check, DeviceError(str(error)))
        else:
            verdicts = self._presence.found(check.location, udns, fingerprint, self._clock())
            self._carry_out(verdicts, described)
            if described is not None:
                self._answer(check.location, self._outcome(described.description, verdicts))
        self._settled.set()
        self._awake.set()

    def _fail(self, check: Check, error: DeviceError) -> None:
        first = check.describe and not check.attempt
        log = _log.warning if first else _log.debug
        log("no_description", location=check.location, error=str(error))
        self._carry_out(self._presence.failed(check.location, self._clock()), None)
        self._answer(check.location, error)

    def _carry_out(self, verdicts: tuple[Verdict, ...], described: Described | None) -> None:
        for verdict in verdicts:
            match verdict:
                case Joined() if described is not None:
                    self._join(described.description, verdict)
                case Left(udn, why):
                    self._leave(udn, why)
                case Conflict(udn, location):
                    _log.warning("udn_claimed_by_another", udn=udn, location=location)
                case _:
                    pass

    def _join(self, description: Description, joined: Joined) -> None:
        key, udn = same_udn(description.udn), description.udn
        if not self._admit(description, urlsplit(description.location).hostname or ""):
            self._descriptions.pop(key, None)
            if key not in self._denied:
                self._denied.add(key)
                _log.info("device_denied", udn=udn, location=joined.location)
                self._on_left(udn, "denied")
            return
        reason = Reason.FIRST if key in self._denied else joined.reason
        self._denied.discard(key)
        if reason is Reason.CHANGED and self._descriptions.get(key) == description:
            return
        self._descriptions[key] = description
        _log.info("device_joined", udn=udn, location=joined.location, reason=str(reason))
        self._on_joined(description, reason)

    def _leave(self, udn: str, why: Why) -> None:
        key = same_udn(udn)
        self._descriptions.pop(key, None)
        if key in self._denied:
            self._denied.discard(key)
            return
        _log.info("device_left", udn=udn, why=why)
        self._on_left(udn, why)

    def _outcome(
        self, description: Description, verdicts: tuple[Verdict, ...]
    ) -> Description | DeviceError:
        if not any(isinstance(verdict, Joined) for verdict in verdicts):
            return DeviceError("its UDN is that of a device which is online elsewhere")
        if same_udn(description.udn) in self._denied:
            return DeviceError("the filter denies this device")
        return description

    def _answer(self, location: str, outcome: Description | DeviceError) -> None:
        for answer in self._waiting.get(location, ()):
            if answer.done():
                continue
            if isinstance(outcome, DeviceError):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

    def _end_burst(self) -> None:
        self._burst = None
        self._awake.set()

    def _may_point(self, host: Address, arrival: Arrival) -> bool:
        """Tell whether a LOCATION on this host is a matter of who announced it."""
        source, interface = arrival.source, arrival.interface
        on_link = interface is not None and interface.holds(host) and interface.holds(source)
        if host.is_loopback:
            return on_link
        if host == source or on_link:
            return True
        return any(host in network for network in self._trusted_networks)

    def _refuse(self, location: str, source: Address) -> None:
        """Count a refused LOCATION, and log the first of each source."""
        self.refused += 1
        if source not in self._suspicious:
            if len(self._suspicious) >= _MAX_SUSPICIOUS:
                del self._suspicious[next(iter(self._suspicious))]
            _log.warning("location_refused", location=location, source=str(source))
        self._suspicious[source] = self._suspicious.get(source, 0) + 1


@lru_cache(maxsize=1024)
def _host(location: str) -> Address | None:
    """Return the address in a LOCATION; None where it has a name or is no URL of HTTP."""
    try:
        url = urlsplit(location)
        address = ip_address(url.hostname or "")
        _ = url.port
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return None
    usable = url.scheme == "http" and not (address.is_multicast or address.is_unspecified)
    return address if usable and "@" not in url.netloc else None


def _score(host: Address, arrival: Arrival) -> int:
    """Return how near a LOCATION is to the interface that it was heard on, 0 to 3."""
    if arrival.interface is None or not arrival.interface.holds(host):
        return 0
    if isinstance(host, IPv4Address):
        return BEST_SCORE
    return 1 if host.is_link_local else 2
