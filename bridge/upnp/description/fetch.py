"""Fetch descriptions with their SCPDs: bounds, turns, and sharing of what is alike.

How they are read is `description`'s and `scpd`'s work, how HTTP is spoken the client's.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from bridge.errors import (
    BadResponse,
    DescriptionError,
    DeviceError,
    DeviceTimeout,
    DeviceUnreachable,
)
from bridge.formats.url import host_key, host_of, server_of, unscoped
from bridge.model.device import Description, Scpd
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
MAX_DEVICE_BYTES = 8 * 1024 * 1024
MAX_DEVICE_S = 60.0
MAX_COMPONENTS = 10_000
"""The most state variables, actions and arguments of a root device: each is a topic."""

HOLD_S = 1.0
"""How long a request keeps others waiting: one that is slower goes on beside them."""

MAX_SHARED = 512
MAX_SHARED_BYTES = 128 * 1024

_HOLD_AT_SLOW_HOST_S = 0.02

_NO_CONNECTION = "no SCPD: no connection"
_NO_ANSWER = "no SCPD: no answer in time"
_NO_SENSE = "no SCPD: an unreadable answer"
_PASSING = frozenset({_NO_CONNECTION, _NO_ANSWER, _NO_SENSE})

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DescriptionLimits:
    """The most that the description of a root device may cost, and that is kept of SCPDs."""

    device_s: float = MAX_DEVICE_S
    device_bytes: int = MAX_DEVICE_BYTES
    components: int = MAX_COMPONENTS
    shared: int = MAX_SHARED


class Answer(Protocol):
    """What is looked at of an HTTP answer."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def body(self) -> bytes:
        """The whole body."""

    @property
    def is_cut(self) -> bool:
        """Whether the connection ended before the XML did."""


class FetchClient(Protocol):
    """What is asked of the HTTP client."""

    async def request(self, method: str, url: str, *, timeout_s: float, max_bytes: int) -> Answer:
        """Return the answer; raise DeviceUnreachable, DeviceTimeout, BadResponse."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a description says of itself: the UDNs, root first, and a hash of its bytes.

    `is_whole` is false where SCPDs were read too and one was not to be had; where all were, `whole`
    is a hash of them and the description. `identity` is of what tells one device from another,
    the same at each of its addresses. `took_s` is how long the description took to come.
    """

    udns: tuple[str, ...]
    fingerprint: bytes
    is_whole: bool = True
    whole: bytes = field(default=b"", compare=False)
    identity: bytes = b""
    took_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Described:
    """A description with all its SCPDs, and what a probe of it would tell."""

    description: Description
    probe: Probe


@dataclass(slots=True)
class _Allowance:
    """What the reading of one device may still cost, its waiting for its turn not counted."""

    seconds: float
    bytes: int
    components: int = 0
    read: "blake2b" = field(default_factory=lambda: blake2b(digest_size=16))
    """A hash of all that was read."""


class _Turn:
    """Whose turn it is at a host; those who are slow have none, and are counted."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._slow = 0

    @asynccontextmanager
    async def taken(self, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        """Have the turn and one of the slots, for as long as they may be kept."""
        held = False
        await self._lock.acquire()
        try:
            await slots.acquire()
        except BaseException:
            self._lock.release()
            raise

        def let_go() -> None:
            nonlocal held
            held = False
            self._slow += 1
            slots.release()
            self._lock.release()

        held = True
        hold_s = _HOLD_AT_SLOW_HOST_S if self._slow else HOLD_S
        timer = asyncio.get_running_loop().call_later(hold_s, let_go)
        try:
            yield
        finally:
            timer.cancel()
            if held:
                slots.release()
                self._lock.release()
            else:
                self._slow -= 1


class Describer:
    """Read devices side by side, at most `max_parallel` of them, one request at a time to a host.

    A probe waits for nobody: it must tell whether a device is there while another is slow. Nor does
    anybody wait for a request over a second, and at a host that has such a one, not that long.
    Besides the host of a description, only addresses in `trusted_networks` are asked for its
    SCPDs or given in its services. `timeout_s` is for one document.
    """

    def __init__(
        self,
        client: FetchClient,
        *,
        trusted_networks: Sequence[IPv4Network | IPv6Network] = (),
        timeout_s: float = 10.0,
        max_parallel: int = 64,
        limits: DescriptionLimits | None = None,
    ) -> None:
        self._client = client
        self._limits = limits or DescriptionLimits()
        self._trusted_networks = tuple(trusted_networks)
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(max_parallel)
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()
        self._shared: dict[bytes, Scpd] = {}
        self._latest: dict[str, Scpd | str] = {}
        self._descriptions: WeakValueDictionary[str, Description] = WeakValueDictionary()
        """What was read last at a LOCATION, as long as somebody has it."""

    async def probe(self, location: str) -> Probe:
        """Read a description alone, without its SCPDs.

        Raises DeviceUnreachable, DeviceTimeout, BadResponse, DescriptionError.
        """
        _host(location)
        allowance = _Allowance(self._limits.device_s, self._limits.device_bytes)
        body = await self._request(location, allowance)
        took_s = self._limits.device_s - allowance.seconds
        return _probe(read_description(body, location, foreign=self._is_foreign), body, took_s)

    async def describe(self, location: str, *, server: str | None = None) -> Described:
        """Read a description and each of its SCPDs, within 60 s, 8 MiB and 10,000 components.

        A service whose SCPD is not to be had keeps the one read before, if the reason is a passing
        one, or stays without, and its device has a problem; but a host that accepts no connection
        any more has left. What is described as before is the same object, if somebody still has it.
        Raises DeviceUnreachable, DeviceTimeout, BadResponse, DescriptionError.
        """
        limits = self._limits
        allowance = _Allowance(limits.device_s, limits.device_bytes, limits.components)
        body = await self._get(location, allowance)
        took_s = self._limits.device_s - allowance.seconds
        description = read_description(body, location, foreign=self._is_foreign, server=server)
        scpds: dict[str, Scpd | str] = {}
        is_whole = True
        for device in description.device.walk():
            for service in device.services:
                url = service.scpd_url
                if url and url not in scpds:
                    read = await self._scpd(url, location, allowance)
                    is_whole &= isinstance(read, Scpd)
                    scpds[url] = self._or_latest(url, read)
                if isinstance(scpd := scpds.get(url), Scpd):
                    if scpd.size > allowance.components:
                        scpds[url] = f"no SCPD: over {limits.components} components in all"
                    else:
                        allowance.components -= scpd.size
        whole = replace(description, device=with_scpds(description.device, scpds))
        if (known := self._descriptions.get(location)) is not None and known == whole:
            whole = known
        self._descriptions[location] = whole
        probe = _probe(whole, body, took_s)
        all_of_it = allowance.read.digest() if is_whole else b""
        return Described(whole, replace(probe, is_whole=is_whole, whole=all_of_it))

    async def _scpd(self, url: str, location: str, allowance: _Allowance) -> Scpd | str:
        """Return an SCPD, or why there is none in words that do not change from time to time."""
        try:
            try:
                body = await self._get(url, allowance)
            except (DeviceUnreachable, DeviceTimeout):
                body = await self._get(url, allowance)
            return self._read(body)
        except DeviceError as error:
            _log.debug("scpd_not_read", url=url, error=str(error))
            match error:
                case DeviceUnreachable() if server_of(url) == server_of(location):
                    raise
                case DeviceUnreachable():
                    return _NO_CONNECTION
                case DeviceTimeout() if allowance.seconds <= 0:
                    raise
                case DeviceTimeout():
                    return _NO_ANSWER
                case DescriptionError():
                    return f"no SCPD: {error}"
                case _:
                    return _NO_SENSE

    def _or_latest(self, url: str, read: Scpd | str) -> Scpd | str:
        """Return what was read before where it is for a passing reason that nothing is now."""
        latest = self._latest.pop(url, read)
        if isinstance(read, str) and read not in _PASSING:
            return read
        kept = self._latest[url] = latest if isinstance(read, str) else read
        if len(self._latest) > self._limits.shared:
            del self._latest[next(iter(self._latest))]
        return kept

    def _read(self, body: bytes) -> Scpd:
        """Return the one object for all SCPDs of these bytes, the 512 last asked for kept."""
        key = _fingerprint(body)
        scpd = self._shared.pop(key, None) or read_scpd(body)
        if len(body) <= MAX_SHARED_BYTES:
            self._shared[key] = scpd
            if len(self._shared) > self._limits.shared:
                del self._shared[next(iter(self._shared))]
        return scpd

    async def _get(self, url: str, allowance: _Allowance) -> bytes:
        host = _host(url)
        # A turn lives while somebody has it or waits for it.
        turn = self._turns.setdefault(host, _Turn())
        async with turn.taken(self._slots):
            return await self._request(url, allowance)

    async def _request(self, url: str, allowance: _Allowance) -> bytes:
        """Return a document; one that is cut off, only if it is twice, at the same place.

        Some devices write no more than that of it; others are just about to leave.
        """
        answer = await self._once(url, allowance)
        if answer.is_cut:
            first, answer = answer, await self._once(url, allowance)
            if answer.is_cut and answer.body != first.body:
                raise BadResponse("the connection ended in the middle of a document")
        allowance.read.update(_fingerprint(answer.body))
        return answer.body

    async def _once(self, url: str, allowance: _Allowance) -> Answer:
        if allowance.seconds <= 0:
            raise DeviceTimeout(f"the description took more than {self._limits.device_s:.0f} s")
        if allowance.bytes <= 0:
            raise BadResponse(f"the description has more than {self._limits.device_bytes} bytes")
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            answer = await self._client.request(
                "GET",
                url,
                timeout_s=min(self._timeout_s, allowance.seconds),
                max_bytes=min(MAX_DOCUMENT_BYTES, allowance.bytes),
            )
        finally:
            allowance.seconds -= clock() - started
        allowance.bytes -= len(answer.body)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise DescriptionError(f"HTTP {answer.status}")
        return answer

    def _is_foreign(self, host: str) -> bool:
        """Tell whether nothing may be asked of a host, by its address alone."""
        try:
            address = ip_address(unscoped(host))
        except ValueError:
            return True
        return not any(address in network for network in self._trusted_networks)


def _probe(description: Description, body: bytes, took_s: float) -> Probe:
    udns = tuple(each.udn for each in description.device.walk())
    return Probe(udns, _fingerprint(body), identity=_identity(description), took_s=max(0.0, took_s))


def _identity(description: Description) -> bytes:
    """Return a hash of what tells one root device from another.

    A device with several addresses may write each into what it says there, and one that has two
    versions of its type describes itself as either.
    """
    device, host = description.device, unscoped(host_of(description.location))
    texts = (
        device.device_type.rpartition(":")[0],
        device.friendly_name,
        device.manufacturer,
        device.model_name,
        device.model_number,
        device.model_description,
        device.serial_number,
        device.upc,
    )
    told = "\0".join((text or "").replace(host, "") for text in texts)
    return _fingerprint(told.encode("utf-8", "replace"))


def _fingerprint(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()


def _host(url: str) -> str:
    try:
        return host_key(host_of(url))
    except ValueError as error:
        raise DescriptionError(str(error)) from error
