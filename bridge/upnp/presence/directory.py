"""The devices on the network: carry out presence's checks, and say who joined and who left.

What announcements mean is presence's work, how descriptions are read the describer's, and which
LOCATIONs may be asked at all `trust`'s. Here is decided which devices the filter lets in.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, Protocol

import structlog

from bridge.errors import DeviceError, DeviceTimeout, DeviceUnreachable
from bridge.formats.url import host_of
from bridge.model.device import Description
from bridge.model.topics import udn_key
from bridge.tree.duplicates import hosts_of, marked, read
from bridge.upnp.description.fetch import Described, Probe
from bridge.upnp.presence import Check, Conflict, Joined, Known, Left, Presence, Reason, Verdict
from bridge.upnp.presence.checks import PROBE_TIMEOUT_S
from bridge.upnp.presence.trust import Trust
from bridge.upnp.ssdp.message import Announcement
from bridge.upnp.ssdp.search import Sender

MAX_WAITING = 64
"""The most LOCATIONs that callers of `add` and `refresh` wait for."""

_ADD_TIMEOUT_S = 90.0
_ASK_S = 5.0
_DUPLICATES_S = 3600.0
_ROUND_S = 0.002
_BURST_S = 0.03

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Why = Literal["byebye", "expired", "unreachable", "denied"]


class DescriptionReader(Protocol):
    """Reads descriptions; 64 at once that are not slow must not wait for one another.

    Of one host either one description is read or several are probed at a time, as long as it does
    not hang.
    """

    async def describe(self, location: str, *, server: str | None = None) -> Described:
        """Read a description and its SCPDs; raise a DeviceError."""

    async def probe(self, location: str) -> Probe:
        """Read a description alone; raise a DeviceError."""


class Directory:
    """Who is there.

    `admit` decides by description and by the host of the LOCATION; `on_joined` and `on_left` are
    called from the event loop, must not block, and get root devices only; so is `on_problems`, with
    a description that differs from the last by no more than its problems. `still_subscribed` asks a
    device whether it knows who subscribed to it; None says that nobody has.
    """

    def __init__(  # noqa: PLR0913 - all by name, most with defaults
        self,
        describer: DescriptionReader,
        *,
        on_joined: Callable[[Description, Reason], None],
        on_left: Callable[[str, Why], None],
        on_problems: Callable[[Description], None] = lambda _: None,
        admit: Callable[[Description, str], bool] = lambda _description, _host: True,
        trusted_networks: Sequence[IPv4Network | IPv6Network] = (),
        static_locations: Sequence[str] = (),
        still_subscribed: Callable[[str], Awaitable[bool | None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        add_timeout_s: float = _ADD_TIMEOUT_S,
        probe_timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        self._describer = describer
        self._on_joined = on_joined
        self._on_left = on_left
        self._on_problems = on_problems
        self._admit = admit
        self._trust = Trust(trusted_networks)
        self._static_locations = tuple(static_locations)
        self._clock = clock
        self._add_timeout_s = add_timeout_s
        self._still_subscribed = still_subscribed
        self._presence = Presence(
            asks=still_subscribed is not None, probe_timeout_s=probe_timeout_s
        )
        self._remembered: dict[str, tuple[frozenset[str], float]] = {}
        """The hosts of others with the UDN of a device, by its key, and until when that counts."""
        self._doubled: set[str] = set()
        """The keys of devices whose problems tell of others."""
        self._limits: dict[str, asyncio.Timeout] = {}
        self._online: dict[str, Description | None] = {}
        """What the devices joined with, by the key of their UDN; None for who is denied."""
        self._waiting: dict[str, list[asyncio.Future[Description]]] = {}
        self._awake = asyncio.Event()
        self._settled = asyncio.Event()
        self._burst: asyncio.TimerHandle | None = None

    @property
    def devices(self) -> tuple[Known, ...]:
        """Every known root device, those that the filter denies too."""
        return self._presence.devices

    @property
    def pending(self) -> int:
        """How many LOCATIONs wait for the end of their first check."""
        return self._presence.pending

    @property
    def denied(self) -> int:
        """How many devices are there that the filter leaves out."""
        return sum(description is None for description in self._online.values())

    @property
    def refused(self) -> int:
        """How many announcements had a LOCATION that must not be asked."""
        return self._trust.refused

    @property
    def duplicates(self) -> Mapping[str, tuple[str, ...]]:
        """The LOCATIONs at which another device has a device's UDN, by that, without `uuid:`."""
        found = {known.udn: self._presence.duplicates_of(known.udn) for known in self.devices}
        return {udn: others for udn, others in found.items() if others}

    def is_denied(self, udn: str) -> bool:
        """Tell whether the filter denies the device to which a UDN belongs."""
        root = self._presence.root_of(udn)
        return root is not None and self._denies(udn_key(root))

    async def run(self) -> None:
        """Check LOCATIONs until cancelled, the static ones first."""
        for location in self._static_locations:
            self._presence.add(location, self._clock(), pinned=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._awake.clear()
                    now = self._clock()
                    for key in tuple(self._doubled):
                        self._tell_duplicates(key)
                    for location in self._presence.cut(now):
                        if limit := self._limits.get(location):
                            limit.reschedule(asyncio.get_running_loop().time())
                    for check in self._presence.due(now):
                        name = f"upnp.check[{check.location}]"
                        tasks.create_task(self._check(check), name=name)
                    for udn in self._presence.ask(now):
                        tasks.create_task(self._ask(udn), name=f"upnp.ask[{udn}]")
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

    def heard(self, announcement: Announcement, arrival: Sender) -> None:
        """Take an announcement, unless its LOCATION is not where its sender stands."""
        sighting = self._trust.sighting(announcement, arrival)
        if sighting and self._presence.heard(sighting, self._clock()) and self._burst is None:
            self._burst = asyncio.get_running_loop().call_later(_BURST_S, self._end_burst)

    def expect(
        self,
        udn: str,
        location: str,
        server: str | None = None,
        *,
        duplicates: Sequence[str] = (),
    ) -> None:
        """Check a device that was there before: it joins, or leaves although it never joined.

        Others that had its UDN, at these hosts, are taken to be there still until they had time to
        say so.
        """
        if duplicates:
            until = self._clock() + _DUPLICATES_S
            self._remembered[udn_key(udn)] = frozenset(duplicates), until
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
            self._online.pop(udn_key(root), None)
            self._remembered.pop(udn_key(root), None)

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
            async with asyncio.timeout(self._add_timeout_s):
                return await answer
        except TimeoutError:
            raise DeviceTimeout("the description was not read in time") from None
        finally:
            answers.remove(answer)
            if not answers:
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
        try:
            async with asyncio.timeout(check.timeout_s) as limit:
                self._limits[check.location] = limit
                try:
                    description, probe = await self._read(check)
                finally:
                    del self._limits[check.location]
        except TimeoutError:
            self._fail(check, DeviceTimeout(f"no description within {check.timeout_s:.0f} s"))
        except DeviceError as error:
            self._fail(check, error)
        except Exception as error:  # noqa: BLE001 - no answer of a device may end the others' checks
            _log.exception("check_crashed", location=check.location)
            self._fail(check, DeviceError(str(error)))
        else:
            now = self._clock()
            verdicts = self._presence.found(
                check.location,
                probe.udns,
                probe.fingerprint,
                now,
                is_whole=probe.is_whole,
                whole=probe.whole,
                identity=probe.identity,
                took_s=probe.took_s,
            )
            self._carry_out(verdicts, description)
            self._tell_duplicates(udn_key(probe.udns[0]))
            if description is not None:
                self._answer(check.location, self._outcome(description, verdicts))
        self._settled.set()
        self._awake.set()

    async def _ask(self, udn: str) -> None:
        """Ask a device whether it still knows who subscribed."""
        kept: bool | None = None
        try:
            async with asyncio.timeout(_ASK_S):
                if self._still_subscribed is not None:
                    kept = await self._still_subscribed(udn)
        except (DeviceError, TimeoutError) as error:
            _log.debug("subscription_check_failed", udn=udn, error=str(error))
        except Exception:  # noqa: BLE001 - as with checks
            _log.exception("question_crashed", udn=udn)
        self._presence.answered(udn, self._clock(), kept=kept)
        self._awake.set()

    async def _read(self, check: Check) -> tuple[Description | None, Probe]:
        if not check.describe:
            return None, await self._describer.probe(check.location)
        described = await self._describer.describe(check.location, server=check.server)
        return described.description, described.probe

    def _fail(self, check: Check, error: DeviceError) -> None:
        first = check.describe and not check.attempt
        # That a known device is gone is told once it has left.
        stranger = first and all(known.location != check.location for known in self.devices)
        log = _log.warning if stranger else _log.debug
        log("no_description", location=check.location, error=str(error))
        self._carry_out(self._presence.failed(check.location, self._clock()), None)
        self._answer(check.location, error)

    def _carry_out(self, verdicts: tuple[Verdict, ...], description: Description | None) -> None:
        for verdict in verdicts:
            match verdict:
                case Joined() if description is not None:
                    self._join(description, verdict)
                case Left(udn, why):
                    self._leave(udn, why)
                case Conflict(udn, location):
                    _log.warning("udn_claimed_by_another", udn=udn, location=location)
                case _:
                    pass

    def _join(self, description: Description, joined: Joined) -> None:
        key, udn = udn_key(description.udn), description.udn
        description = self._marked(key, description)
        was_denied = self._denies(key)
        if not self._admit(description, host_of(description.location)):
            self._online[key] = None
            if not was_denied:
                name = description.device.friendly_name
                _log.info("device_denied", name=name, udn=udn, location=joined.location)
                self._on_left(udn, "denied")
            return
        reason = Reason.FIRST if was_denied else joined.reason
        if reason is Reason.CHANGED and self._online.get(key) == description:
            return
        self._online[key] = description
        _log.info(
            "device_joined",
            name=description.device.friendly_name,
            udn=udn,
            reason=str(reason),
            location=joined.location,
        )
        self._on_joined(description, reason)

    def _marked(self, key: str, description: Description) -> Description:
        """Return a description whose problems tell who else has its UDN."""
        others = self._presence.duplicates_of(description.udn)
        hosts = hosts_of(description.location, others)
        remembered, until = self._remembered.get(key, (frozenset(), 0.0))
        if self._clock() < until:
            hosts |= remembered
        return marked(description, hosts)

    def _tell_duplicates(self, key: str) -> None:
        """Have a device's problems tell who else has its UDN, where that has changed."""
        known = self._online.get(key)
        now = None if known is None else self._marked(key, known)
        if now is not None and now is not known:
            self._online[key] = now
            self._on_problems(now)
        if now is not None and read(list(now.device.problems)):
            self._doubled.add(key)
        else:
            self._doubled.discard(key)

    def _leave(self, udn: str, why: Why) -> None:
        key = udn_key(udn)
        was_denied = self._denies(key)
        description = self._online.pop(key, None)
        if not was_denied:
            name = description.device.friendly_name if description is not None else ""
            _log.info("device_left", name=name, udn=udn, why=why)
            self._on_left(udn, why)

    def _denies(self, key: str) -> bool:
        return key in self._online and self._online[key] is None

    def _outcome(
        self, description: Description, verdicts: tuple[Verdict, ...]
    ) -> Description | DeviceError:
        if not any(isinstance(verdict, Joined) for verdict in verdicts):
            return DeviceError("its UDN is that of a device which is online elsewhere")
        if self._denies(udn_key(description.udn)):
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
