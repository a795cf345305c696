"""One subscription as a state machine (UDA 2.0, sections 4.1 and 4.3); time is an argument.

What to do next and when, what SEQ says of an event, what TIMEOUT grants. Nothing is sent here.
All times are seconds on one monotonic clock; `chance` is a random number from 0 to 1.
"""

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf
from typing import Literal

REQUESTED_S = 300
"""The time-out to ask for.

A Denon HEOS answers renewals with 412 when more than 9 minutes were asked for, and LinkPlay forgets
subscriptions silently: what is renewed every two minutes is missed for two minutes at most.
"""

SILENCE_S = 30.0
"""How long after a granted SUBSCRIBE the initial event may take."""

_LONGEST_S = 3600
_FIRST_PAUSE_S = 10.0
_LAST_PAUSE_S = 3600.0
_GAP_PAUSE_S = 60.0
_LATE = 5
_LAST_SEQ = 2**32 - 1
_AROUND_SID = re.compile(r"^[\s<\"']*(?:uuid:\s*)*|[\s>\"']+$", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}")

State = Literal["pending", "subscribed", "silent", "refused", "lost"]


class Step(Enum):
    """What a subscription has to have done next."""

    SUBSCRIBE = "subscribe"
    RENEW = "renew"
    NOTE_SILENCE = "note_silence"


class Arrival(Enum):
    """What an event's SEQ says of it; every one but a stale event is to be delivered."""

    INITIAL = "initial"
    NEXT = "next"
    STALE = "stale"
    GAP = "gap"


@dataclass(slots=True)
class SubscriptionHealth:
    """How a subscription fares, and what it has seen since the service was first subscribed to."""

    state: State = "pending"
    events: int = 0
    gaps: int = 0
    stale: int = 0
    malformed: int = 0
    renewals: int = 0
    resubscriptions: int = 0
    refused: int = 0


def granted_s(timeout: str | None, requested_s: int) -> int:
    """Return the seconds that a TIMEOUT header grants, at most an hour.

    `Second-infinite` is an hour, an absent or unreadable header what was requested.
    """
    timeout = (timeout or "").lower()
    if "infinite" in timeout:
        return _LONGEST_S
    number = _NUMBER.search(timeout)
    return min(int(number[0]) if number else requested_s, _LONGEST_S)


def same_sid(one: str, other: str) -> bool:
    """Return whether two SIDs are one: case, `uuid:`, brackets and quotation marks do not count."""
    return one == other or _bare_sid(one) == _bare_sid(other)


def _bare_sid(sid: str) -> str:
    return _AROUND_SID.sub("", sid).casefold()


@dataclass(frozen=True, slots=True)
class Times:
    """How long subscribing takes at most, and what it waits for at least, in seconds."""

    answer_s: float = 30.0
    """To a SUBSCRIBE."""
    proof_s: float = 4.0
    """The same, where it is to show whether a device is still the one that was subscribed to."""
    farewell_s: float = 2.0
    """To all UNSUBSCRIBEs at the end."""
    soonest_renewal_s: float = 10.0
    second_try_s: float = 5.0
    """From a renewal that was refused to a SUBSCRIBE."""
    renewed_for_s: float = 450.0
    """How long a subscription is renewed before another takes its place, as the next step then.

    Its first event has all values: one lost unnoticed is missed for ten minutes at most.
    """


@dataclass(slots=True)
class Subscription:
    """The subscription to one service, through all its renewals and resubscriptions.

    `sid` is empty unless the device is believed to hold it; `failures` counts what was refused or
    not answered in a row.
    """

    requested_s: int = REQUESTED_S
    silence_s: float = SILENCE_S
    times: Times = Times()
    sid: str = ""
    failures: int = 0
    health: SubscriptionHealth = field(default_factory=SubscriptionHealth)
    _step: Step = Step.SUBSCRIBE
    _at: float = -inf
    _silent_at: float = inf
    _silence_noted: bool = False
    _heard: bool = False
    _seq: int | None = None
    _since: float = -inf
    _ends_at: float = -inf
    _heal_at: float = inf
    _next_heal_at: float = -inf
    _heal_pause_s: float = _GAP_PAUSE_S

    @property
    def due(self) -> tuple[float, Step]:
        """When which step is next; a time gone by means now."""
        if self._silent_at < min(self._at, self._heal_at):
            return self._silent_at, Step.NOTE_SILENCE
        if self._heal_at < self._at:
            return self._heal_at, Step.SUBSCRIBE
        return self._at, self._step

    @property
    def is_awaited(self) -> bool:
        """Whether a first event may be expected any moment."""
        return not self._heard and not self.failures and not self._silence_noted

    @property
    def has_heard(self) -> bool:
        """Whether an event has come since the last SUBSCRIBE."""
        return self._heard

    def begin(self) -> None:
        """Note that a SUBSCRIBE is on its way: what arrives from now on belongs to it."""
        self._step = Step.SUBSCRIBE
        self.sid = ""
        self._seq = None
        self._heard = False
        self._silent_at = self._heal_at = inf

    def grant(self, now: float, sid: str, timeout: str | None, chance: float) -> None:
        """Note that SUBSCRIBE or a renewal was granted, with these headers of the answer.

        The renewal, or a SUBSCRIBE in its place, is due after 40 to 50 % of the time granted, not
        before 10 s.
        """
        if self._step is Step.RENEW:
            self.health.renewals += 1
        else:
            self._since = now
            if not self._heard:
                self._silent_at = now + self.silence_s
        self.sid = sid or self.sid
        self.failures = 0
        self.health.state = "silent" if self._silence_noted else "subscribed"
        wait_s = self._last(now, timeout) * (0.4 + 0.1 * chance)
        self._at = now + max(wait_s, self.times.soonest_renewal_s)
        is_fresh = self._at <= self._since + self.times.renewed_for_s
        self._step = Step.RENEW if is_fresh else Step.SUBSCRIBE

    def prolong(self, now: float, timeout: str | None, chance: float) -> None:
        """Note that a renewal between those that are due was granted, maybe for less."""
        wait_s = self._last(now, timeout) * (0.4 + 0.1 * chance)
        self._at = min(self._at, now + max(wait_s, self.times.soonest_renewal_s))

    def _last(self, now: float, timeout: str | None) -> int:
        """Note and return how long the device keeps the subscription from now on."""
        lasts_s = granted_s(timeout, self.requested_s)
        self._ends_at = now + lasts_s
        return lasts_s

    def left_s(self, now: float) -> float | None:
        """Return for how long the device still keeps the subscription, None where there is none."""
        return max(0.0, self._ends_at - now) if self.sid else None

    def refuse(self, now: float, chance: float) -> None:
        """Note that the device said no: to a renewal, subscribe anew; to SUBSCRIBE, wait."""
        self.health.refused += 1
        self._fail(now, "refused", chance)

    def lose(self, now: float, chance: float) -> None:
        """Note that no answer came: after a renewal, events may have been lost as well."""
        if self._step is Step.RENEW:
            self._step = Step.SUBSCRIBE
            self._at = now + self.times.second_try_s
            self.health.resubscriptions += 1
        else:
            self._fail(now, "lost", chance)

    def doubt(self, now: float) -> None:
        """Note that events may have been lost: subscribe anew, as after a gap."""
        if self.sid:
            self._heal(now)

    def note_silence(self) -> bool:
        """Note that no event came within `silence_s`; return whether that is news."""
        news = not self._silence_noted
        self._silence_noted = True
        self._silent_at = inf
        self.health.state = "silent"
        return news

    def arrive(self, now: float, seq: int | None) -> Arrival:
        """Take in an event by its SEQ.

        A SEQ that repeats the last one is delivered: some devices never count (old jUPnP always
        sends 0), and a repetition changes nothing. One that comes a little late is stale: a newer
        value may stand already. Any other jump is a gap, which a new subscription heals, at once
        the first time, then not within a minute, then ever more rarely while gaps go on.
        """
        self._silent_at = inf
        self._silence_noted = False
        if self.sid:
            self.health.state = "subscribed"
        first, self._heard = not self._heard, True
        last = self._seq
        if seq is None:
            arrival = Arrival.INITIAL if first else Arrival.NEXT
        elif last is None and first:
            arrival = Arrival.GAP if seq else Arrival.INITIAL
        elif last is None or seq in (last, last + 1) or (last == _LAST_SEQ and seq <= 1):
            arrival = Arrival.NEXT
        elif seq and (last - seq) % (_LAST_SEQ + 1) <= _LATE:
            self.health.stale += 1
            return Arrival.STALE
        else:
            arrival = Arrival.GAP
        self.health.events += 1
        self._seq = last if seq is None else seq
        if arrival is Arrival.GAP:
            self.health.gaps += 1
            self._heal(now)
        return arrival

    def snapshot(self) -> SubscriptionHealth:
        """Return the health as it is now."""
        return replace(self.health)

    def _heal(self, now: float) -> None:
        if self._heal_at < inf:
            return
        if now >= self._next_heal_at + self._heal_pause_s:
            self._heal_pause_s = _GAP_PAUSE_S
        self.health.resubscriptions += 1
        self._heal_at = max(now, self._next_heal_at)
        self._next_heal_at = self._heal_at + self._heal_pause_s
        self._heal_pause_s = min(self._heal_pause_s * 2, _LAST_PAUSE_S)

    def _fail(self, now: float, state: State, chance: float) -> None:
        self.sid = ""
        self._silent_at = self._heal_at = inf
        if self._step is Step.RENEW:
            self._step = Step.SUBSCRIBE
            self._at = now
            self.failures = 0
            self.health.resubscriptions += 1
            self.health.state = "lost"
            return
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(self.failures, 20), _LAST_PAUSE_S)
        self._at = now + pause_s * (1 + 0.25 * chance)
        self.failures += 1
        self.health.state = state
