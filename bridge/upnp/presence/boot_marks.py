"""Whether what devices announce as a count of their starts, or of their descriptions, is one.

BOOTID and CONFIGID (UDA 2.0, section 1.2.2), and the `01-NLS` of UPnP 1.0, are other numbers after
a start and with another description. Some devices draw one for each answer, or count who asks
them. What a mark says is believed until it is disproved, and then only once it has stood for long.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf

BURST_S = 5.0
"""How long the answers to one search may take: MX is at most 5 s (UDA 2.0, section 1.3.2)."""

_FORMER_S = 60.0
_STANDS_S = (0.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0)
_BURSTS = 3
_BACK_OFF = 2


class MarkChange(Enum):
    """What a mark says: nothing new, something credible, or something that disproves it."""

    NONE = "none"
    CREDIBLE = "credible"
    DISPROVED = "disproved"
    SETTLED = "settled"
    """What was not believed when it was new has stood since."""


@dataclass(slots=True)
class Mark:
    """A number that is announced over and over; `strikes` says how often in a row it was wrong.

    `claimed` until a description that was read for its sake has told. `is_overtaken` where it
    changed, credibly, since the last description began to be read: that may be older.
    """

    value: int | None = None
    strikes: int = 0
    claimed: bool = False
    is_overtaken: bool = False
    _since: float = -inf
    _last: float = -inf
    _answered: float = -inf
    _burst: float = -inf
    """When the last burst began, of `_bursts` since the value is this."""
    _bursts: int = 0
    _former: int | None = None
    _reading: int | None = None
    _is_tested: bool = False
    """Whether what is being read tells if the claim is true."""
    _described: int | None = None
    _is_fresh: bool = False

    @property
    def is_telling(self) -> bool:
        """Whether a start would show by it."""
        return self.value is not None and not self.strikes

    def hear(self, value: int | None, now: float, *, is_answer: bool) -> MarkChange:
        """Take what an announcement, or an answer to a search, says.

        A value that stood just before and comes once more is one that was late.
        """
        if value is None:
            return MarkChange.NONE
        is_same_search = is_answer and now - self._answered <= BURST_S
        self._answered = now if is_answer else self._answered
        if self.value is None or value == self.value:
            return self._repeat(value, now)
        if value == self._former and now - self._since <= _FORMER_S:
            return MarkChange.NONE
        is_believed = self._is_believed()
        if self._is_fresh and self.strikes >= _BACK_OFF:
            self._described = value  # it counts our looks
        self._former = self.value
        self.adopt(value, now)
        if not is_believed:
            return MarkChange.NONE
        # A device may restart between two announcements, but not between its answers to one search.
        if is_same_search:
            self.strike()
            return MarkChange.DISPROVED
        self.is_overtaken = True
        return MarkChange.CREDIBLE

    def adopt(self, value: int, now: float) -> None:
        """Take a value without asking what it says."""
        self.value, self._since, self._last = value, now, now
        self._burst, self._bursts = now, 1
        self._is_fresh = False

    def begin_description(self) -> None:
        """Note that the description is about to be read; what is heard meanwhile is of the next."""
        self._reading, self._is_tested, self.is_overtaken = self.value, self.claimed, False

    def note_description(self) -> None:
        """Note that the description was read just now."""
        self._described, self._is_fresh = self._reading, True

    def strike(self) -> None:
        """Note that nothing was as the last change said."""
        self.strikes = min(self.strikes + 1, len(_STANDS_S) - 1)
        self.claimed = self.is_overtaken = False

    def prove(self) -> None:
        """Note that the last change said the truth."""
        self.strikes, self.claimed = 0, False

    def judge(self, *, is_true: bool) -> None:
        """Note whether what was claimed when the description began to be read was so."""
        if self.claimed and is_true:
            self.prove()
        elif self.claimed and self._is_tested:
            self.strike()

    def _repeat(self, value: int, now: float) -> MarkChange:
        if self.value is None:
            self.adopt(value, now)
            return MarkChange.NONE
        if now - self._burst > BURST_S:
            self._burst, self._bursts = now, self._bursts + 1
        self._last, self._is_fresh = now, False
        if self.strikes and value != self._described and self._is_believed():
            self._described = value
            return MarkChange.SETTLED
        return MarkChange.NONE

    def _is_believed(self) -> bool:
        stood_s = self._last - self._since
        return not self.strikes or (stood_s >= _STANDS_S[self.strikes] and self._bursts >= _BURSTS)
