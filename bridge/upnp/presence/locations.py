"""What is remembered of a LOCATION, a root device, a check and a question, and their pauses.

How they are found and how many there may be is `tables`'. All points in time are monotonic, in
seconds.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from bridge.formats.url import host_or_url, server_of
from bridge.upnp.presence.boot_marks import Mark
from bridge.upnp.presence.records import Reason, State

DEFAULT_MAX_AGE_S = 300.0
LOST = 2
"""After how many failures in a row a device's current LOCATION is given up."""
TRIGGER_S = 10.0
"""How long what outsiders say can cause no second check of a device."""
QUICK_S = 2.6
"""How long a device's current LOCATION may be silent while it answers elsewhere.

A connection is tried twice until then.
"""

_CONTEST_S = 1.0
_PAUSES_S = (0.0, 2.0, 5.0, 15.0, 60.0, 300.0, 600.0)
_IDLE_PAUSES_S = (*(20.0,) * 15, 60.0, 120.0, 300.0, 600.0)
_PARTIAL_PAUSES_S = (15.0, 60.0, 300.0, 900.0, 3600.0)
_RANK = {reason: rank for rank, reason in enumerate((None, *Reason))}


@dataclass(slots=True, eq=False)
class Place:
    """A LOCATION. It is checked at `due`; `reason` is what a description is wanted for.

    `claims` are the UDNs announced at it of which no check has told yet whose they are; a `rival`
    answers with its device's UDN, yet another description.
    """

    location: str
    source: str
    host: str = field(init=False)
    server: str | None = None
    score: int = 0
    pinned: bool = False
    preferred: bool = False
    """Whether its device is to be there, if it answers."""
    owner: "LocatedDevice | None" = None
    max_age_s: float = DEFAULT_MAX_AGE_S
    expires: float = inf
    boot: Mark = field(default_factory=Mark)
    next_boot_id: int | None = None
    config: Mark = field(default_factory=Mark)
    due: float = inf
    reason: Reason | None = None
    heard: float = -inf
    spoke: float = -inf
    """When it last announced itself, which answers to searches do not count as."""
    looked: float = -inf
    answered: float = -inf
    took_s: float = 0.0
    failures: int = 0
    partial: int = 0
    """How often in a row its description was read with an SCPD missing."""
    rival: bool = False
    claims: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.host = host_or_url(self.location)

    def want(self, when: float, reason: Reason | None = None) -> None:
        """Have it checked no later than `when`."""
        self.due = min(self.due, when)
        self.reason = max(self.reason, reason, key=_RANK.__getitem__)

    @property
    def is_quick(self) -> bool:
        """Whether its answers come so fast that a short silence says something."""
        return self.took_s * 3 <= QUICK_S

    def is_at_server_of(self, other: "Place") -> bool:
        """Return whether another LOCATION is at the same host and port."""
        try:
            return server_of(self.location) == server_of(other.location)
        except ValueError:
            return self.location == other.location

    def prove(self, now: float, took_s: float = 0.0) -> None:
        """Take note of an answer."""
        self.failures, self.answered, self.took_s = 0, now, took_s
        self.expires = max(self.expires, now + min(self.max_age_s, DEFAULT_MAX_AGE_S))

    def note_parts(self, now: float, *, is_whole: bool) -> None:
        """Have a description of which an SCPD is missing read again, ever more rarely."""
        if is_whole:
            self.partial = 0
        else:
            pause_s = _PARTIAL_PAUSES_S[min(self.partial, len(_PARTIAL_PAUSES_S) - 1)]
            self.partial += 1
            self.want(now + pause_s, Reason.CHANGED)

    def pause_s(self) -> float:
        """Return how long it is left alone after its last failure, while it is announced."""
        return _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]

    def idle_pause_s(self) -> float:
        """Return how long the LOCATION of an offline device is left alone if nobody speaks."""
        return _IDLE_PAUSES_S[min(self.failures, len(_IDLE_PAUSES_S) - 1)]


@dataclass(slots=True, eq=False)
class LocatedDevice:
    """A root device, its state unknown until the first check; `place` is its current LOCATION.

    `described` are the UDNs of its description, empty before the first one, and `aliases` those
    that only SSDP knows.
    """

    udn: str
    place: Place
    state: State = "unknown"
    described: frozenset[str] = frozenset()
    aliases: set[str] = field(default_factory=set)
    fingerprint: bytes = b""
    whole: bytes = b""
    identity: bytes = b""
    duplicates: tuple[str, ...] = ()
    """Where, besides its current LOCATION, another device answers with its UDN."""
    alternatives: dict[str, Place] = field(default_factory=dict)
    farewell: Literal["", "first", "last"] = ""
    """Which look after a byebye is outstanding."""
    triggered: float = -inf
    contested: float = -inf
    """When it was last asked for since it answers elsewhere too."""
    asked: float = -inf
    idly_asked: int = 0
    """How often it was asked, without a mark that claims anything, since `idle_since`."""
    idle_since: float = -inf
    redescribed: float = -inf
    left: float = -inf

    @property
    def online(self) -> bool:
        """Tell whether it has joined and not left."""
        return self.state == "online"

    @property
    def lost(self) -> bool:
        """Tell whether its current LOCATION is another's or given up."""
        return self.place.owner is not self or self.place.failures >= LOST

    def trigger(self, now: float, after_s: float) -> bool:
        """Probe it soon, for an outsider's word; tell whether that is not delayed by the last."""
        when = max(now + after_s, self.triggered + TRIGGER_S)
        if when < self.place.due:
            self.place.want(when)
            self.triggered = when
        return when == now + after_s

    def contest(self, now: float, *, is_asked: bool) -> None:
        """See at once whether it has left its current LOCATION, since it answers elsewhere."""
        is_new = now >= self.contested + TRIGGER_S
        self.contested = now
        if is_new and not is_asked:
            self.place.want(max(now, self.place.answered + _CONTEST_S))

    @property
    def is_contested(self) -> bool:
        """Whether its silence means that it is where it answered meanwhile."""
        return self.place.is_quick and self.place.answered < self.contested


@dataclass(slots=True, eq=False)
class RunningCheck:
    """A check under way since `began`, with the `reason` for it; `is_cut` when it is to end."""

    place: Place
    describe: bool
    reason: Reason | None
    began: float
    is_cut: bool = False


@dataclass(slots=True, eq=False)
class RebootQuestion:
    """What is to be asked of a device, or is being asked; `is_claim` where a mark has changed.

    `is_doubtful` where that mark is disproved unless the answer proves it.
    """

    device: LocatedDevice
    place: Place
    due: float
    is_claim: bool
    is_doubtful: bool = False
    is_asked: bool = False
