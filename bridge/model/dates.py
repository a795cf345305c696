"""Dates and times of UPnP's data types (UDA 2.0, section 2.5), which are those of ISO 8601.

Calendar dates, in the basic and the extended format, to the day; times to the minute or better.
"""

import re
from calendar import monthrange

_DATE = r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
_TIME = (
    r"(?P<hour>\d\d)(?P<colon>:?)(?P<minute>\d\d)"
    r"(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,18}))?)?"
)
_ZONE = r"(?P<zone>Z|(?P<sign>[+-])(?P<east>\d\d)(?::?(?P<north>\d\d))?)?"
_FORMS = {
    "date": (re.compile(_DATE, re.ASCII), "a date, as 2024-02-29"),
    "datetime": (
        re.compile(f"{_DATE}(?:T{_TIME})?", re.ASCII),
        "a date and time without a time zone, as 2024-02-29T18:30:00",
    ),
    "datetime.tz": (
        re.compile(f"{_DATE}(?:T{_TIME}{_ZONE})?", re.ASCII),
        "a date and time, as 2024-02-29T18:30:00+01:00",
    ),
    "time": (
        re.compile(f"T?{_TIME}", re.ASCII),
        "a time without a time zone, as 18:30:00",
    ),
    "time.tz": (re.compile(f"T?{_TIME}{_ZONE}", re.ASCII), "a time, as 18:30:00+01:00"),
}
TYPES = frozenset(_FORMS)
"""The data types of dates and times, in lower case."""

_MONTHS, _HOURS, _MINUTES = 12, 24, 60


def check(data_type: str, text: str) -> None:
    """Raise ValueError with a reason for people where a text is no value of such a data type."""
    form, described = _FORMS[data_type]
    found = form.fullmatch(text)
    if found is None or not _is_real(found.groupdict()):
        raise ValueError(f"is not {described}")


def _is_real(part: dict[str, str | None]) -> bool:
    """Return whether the calendar and the clock have such a moment."""
    return _is_day(part) and _is_time(part) if part.get("year") else _is_time(part)


def _is_day(part: dict[str, str | None]) -> bool:
    year, month, day = (_number(part, name) for name in ("year", "month", "day"))
    # Python's calendar has no year 0, and each 400 years are alike.
    return 1 <= month <= _MONTHS and 1 <= day <= monthrange(year % 400 + 2000, month)[1]


def _is_time(part: dict[str, str | None]) -> bool:
    """Return whether it is a time of a day, its end (24:00) and leap seconds included."""
    hour, minute, second, east, north = (
        _number(part, name) for name in ("hour", "minute", "second", "east", "north")
    )
    if max(hour - 1, east) >= _HOURS or max(minute, north) >= _MINUTES or second > _MINUTES:
        return False
    if hour == _HOURS:
        return not (minute or second or (part.get("fraction") or "").strip("0"))
    if second < _MINUTES:
        return True
    # A leap second is the last of a day in UTC; zones differ from it by quarters of an hour.
    if part.get("zone"):
        minute += hour * _MINUTES - (east * _MINUTES + north) * (-1 if part["sign"] == "-" else 1)
        return (minute + 1) % (_HOURS * _MINUTES) == 0
    return (minute + 1) % 15 == 0


def _number(part: dict[str, str | None], name: str) -> int:
    return int(part.get(name) or 0)
