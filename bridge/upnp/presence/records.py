"""What presence is told and what it says: plain values, no rules."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

BEST_SCORE = 3

State = Literal["online", "offline", "unknown"]
Why = Literal["byebye", "expired", "unreachable"]


class Reason(StrEnum):
    """Why a device joins, or joins again; of several the one listed last counts."""

    CHANGED = "changed"
    REFRESHED = "refreshed"
    MOVED = "moved"
    REBOOTED = "rebooted"
    BACK = "back"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Sighting:
    """An announcement, as far as it concerns presence.

    `udn` is without its `uuid:`, `source` the sender's address; `score`, 0 to 3, how well the
    LOCATION suits the interface it was heard on. A byebye needs neither `location` nor `score`.
    """

    kind: Literal["alive", "update", "byebye", "answer"]
    udn: str
    location: str | None
    source: str
    score: int = 0
    server: str | None = None
    max_age_s: float = 1800.0
    boot_id: int | None = None
    next_boot_id: int | None = None
    config_id: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A LOCATION to read: with all SCPDs where `describe`, else the description alone.

    `attempt` counts the failures before it, `timeout_s` bounds the whole.
    """

    location: str
    server: str | None
    describe: bool
    attempt: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A root device is online with the description just read."""

    udn: str
    location: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Left:
    """A root device is offline."""

    udn: str
    why: Why


@dataclass(frozen=True, slots=True)
class Conflict:
    """A LOCATION claims a UDN that belongs to a device which is online elsewhere."""

    udn: str
    location: str


Verdict = Joined | Left | Conflict


@dataclass(frozen=True, slots=True)
class Content:
    """What a check read: all UDNs of the description, the root's first, and hashes.

    `fingerprint` is of the description's bytes, `whole` of its SCPDs' too where they were all read,
    `identity` of what tells one device from another, whichever of its addresses it was read at.
    `took_s` is how long the description took.
    """

    udns: tuple[str, ...]
    fingerprint: bytes
    whole: bytes = b""
    identity: bytes = b""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """A known root device; `expires_s` is monotonic, and counts only while online."""

    udn: str
    state: State
    location: str
    expires_s: float
