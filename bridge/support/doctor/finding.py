"""What a check finds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How much a finding matters; only an error keeps the bridge from doing its work."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


_BY_WEIGHT = (Status.ERROR, Status.WARNING)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact, under the name of the check that found it, and what to do about it.

    The names of checks never change.
    """

    check: str
    status: Status
    fact: str
    advice: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """Return it as JSON has it."""
        told: dict[str, object] = {"check": self.check, "status": self.status, "fact": self.fact}
        return told | ({"advice": list(self.advice)} if self.advice else {})


Tell = Callable[[Finding], None]
"""Takes the findings of a check, as they are made."""


def ok(check: str, fact: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, Status.OK, fact)


def note(check: str, fact: str, *advice: str) -> Finding:
    """Return what is worth knowing."""
    return Finding(check, Status.NOTE, fact, advice)


def warning(check: str, fact: str, *advice: str) -> Finding:
    """Return what may be wrong, or is wrong and bearable."""
    return Finding(check, Status.WARNING, fact, advice)


def error(check: str, fact: str, *advice: str) -> Finding:
    """Return what keeps the bridge from doing its work."""
    return Finding(check, Status.ERROR, fact, advice)


def skipped(check: str, why: str) -> Finding:
    """Return that something could not be looked at."""
    return Finding(check, Status.SKIPPED, why)


def verdict(findings: Iterable[Finding]) -> Status:
    """Return `error` or `warning` where there is one, else `ok`."""
    found = {finding.status for finding in findings}
    return next((status for status in _BY_WEIGHT if status in found), Status.OK)
