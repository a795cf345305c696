"""UPnP data types (UDA 2.0, section 2.5) ↔ Python ↔ payload, and a command's values checked.

Devices are read tolerantly, commands strictly. Nothing here knows of actions or topics.
"""

import base64
import math
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal

from bridge.model import dates
from bridge.model.device import StateVariable

Value = bool | int | float | str
"""What a state variable or an argument holds."""

_INTEGERS = {
    "ui1": (0, 2**8 - 1),
    "ui2": (0, 2**16 - 1),
    "ui4": (0, 2**32 - 1),
    "ui8": (0, 2**64 - 1),
    "i1": (-(2**7), 2**7 - 1),
    "i2": (-(2**15), 2**15 - 1),
    "i4": (-(2**31), 2**31 - 1),
    "i8": (-(2**63), 2**63 - 1),
    "int": (-(2**63), 2**64 - 1),  # no width of its own: whatever eight bytes carry
}
_REALS = {
    "r4": 3.40282347e38,
    "r8": sys.float_info.max,
    "number": sys.float_info.max,
    "float": sys.float_info.max,
    "fixed.14.4": math.nextafter(1e14, 0),
}
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

_SWITCHED = {"on": True, "off": False}

_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*+")
_UNDECLARED = StateVariable("", "string")
_MAX_SHOWN = 60
_MAX_LISTED = 10


def _plain(text: str) -> bool:
    # int() and float() take "1_000" and the digits of every script; UPnP does not.
    return text.isascii() and "_" not in text


def _integer(low: int, high: int) -> Callable[[str], Value]:
    def read_integer(text: str) -> Value:
        try:
            value = int(text)
        except ValueError:
            return text
        return value if low <= value <= high and _plain(text) else text

    return read_integer


def _real(limit: float) -> Callable[[str], Value]:
    def read_real(text: str) -> Value:
        try:
            value: int | float = int(text)
        except ValueError:
            try:
                value = float(text)
            except ValueError:
                return text
        return value if -limit <= value <= limit and _plain(text) else text  # NaN is in no range

    return read_real


def _boolean(text: str) -> Value:
    return _BOOLEANS.get(text.strip().lower(), text)


_READERS: Mapping[str, Callable[[str], Value]] = {
    **{name: _integer(low, high) for name, (low, high) in _INTEGERS.items()},
    **{name: _real(limit) for name, limit in _REALS.items()},
    "boolean": _boolean,
    "string": str,
}


def _canonical(data_type: str) -> str:
    return data_type.strip().lower()


def read(data_type: str, text: str) -> Value:
    """Return what a device sent as a value of its data type (UDA 2.0, section 2.5).

    Text that does not fit its type comes back as it is, and so does text of every type that is
    neither number nor boolean, unknown types included. An integral text of a real type gives an
    int, so that its payload is the text again.
    """
    return reader(data_type)(text)


def reader(data_type: str) -> Callable[[str], Value]:
    """Return what reads a text as `read` does for this data type."""
    return _READERS.get(data_type) or _READERS.get(_canonical(data_type), str)


def write(value: Value) -> str:
    """Return the payload of a value: `true` or `false`, decimal without exponent, or the text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
    text = repr(value)
    if "e" not in text:
        return text
    text = format(Decimal(text), "f")
    return text if "." in text else f"{text}.0"


def from_text(data_type: str, text: str) -> Value:
    """Return a payload of plain text as a command's JSON value of this data type.

    As hubs write it: `25.0` for an integer, `ON` and `OFF` for a boolean, white space around both.
    """
    kind = _canonical(data_type)
    if kind in _INTEGERS or kind in _REALS:
        return _real(sys.float_info.max)(text.strip())
    if kind == "boolean":
        return _SWITCHED.get(text.strip().lower(), text.strip())
    return text.strip() if kind in dates.TYPES else text


def soap(variable: StateVariable | None, value: object, *, check: bool) -> str:
    """Return a command's JSON value as the text of an in-argument (UDA 2.0, sections 2.5, 3.1.1).

    `variable` is the related state variable; None, an undeclared one, is a string. The data type
    with its width always holds; allowed values, range and the forms of dates and times only with
    `check`, for devices that have their own; the step never does. UUIDs and URIs are whatever
    devices take for such: few of theirs are any.
    Raises ValueError with a reason for people.
    """
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a boolean or a string")  # noqa: TRY004 - documented
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    variable = variable or _UNDECLARED
    data_type = _canonical(variable.data_type)
    if data_type not in _READERS or data_type == "string":
        return _soap_text(variable, data_type, write(value), check=check)
    if isinstance(value, float) and value.is_integer() and data_type not in _REALS:
        value = int(value)
    typed = read(data_type, write(value))
    if isinstance(typed, str):
        raise ValueError(f"{shown(value)} is not {_described(data_type)}")  # noqa: TRY004 - as above
    if isinstance(typed, bool):
        return "1" if typed else "0"
    if data_type == "fixed.14.4":
        typed = round(typed, 4)
    if check:
        _check_range(variable, typed)
    return write(typed)


def _soap_text(variable: StateVariable, data_type: str, text: str, *, check: bool) -> str:
    if outlaw := _NOT_XML.search(text):
        raise ValueError(f"character U+{ord(outlaw[0]):04X} cannot be sent in XML")
    if data_type == "char" and len(text) != 1:
        raise ValueError(f"{shown(text)} is not one character")
    if data_type == "bin.hex" and not _HEX.fullmatch(text):
        raise ValueError(f"{shown(text)} is not hexadecimal, two digits a byte")
    if data_type == "bin.base64":
        _check_base64(text)
    if check and data_type in dates.TYPES:
        _check_moment(data_type, text)
    allowed = variable.allowed_values
    if check and allowed and text not in allowed:
        listed = ", ".join(shown(one) for one in allowed[:_MAX_LISTED])
        more = ", …" if len(allowed) > _MAX_LISTED else ""
        raise ValueError(f"{shown(text)} is not one of {listed}{more}")
    return text


def _check_moment(data_type: str, text: str) -> None:
    try:
        dates.check(data_type, text)
    except ValueError as error:
        raise ValueError(f"{shown(text)} {error}") from error


def _check_base64(text: str) -> None:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"{shown(text)} is not Base64") from error


def _check_range(variable: StateVariable, value: float) -> None:
    low, high = (
        None if bound is None else read(variable.data_type, bound)
        for bound in (variable.minimum, variable.maximum)
    )
    if isinstance(low, int | float) and value < low:
        raise ValueError(f"{write(value)} is below the minimum {write(low)}")
    if isinstance(high, int | float) and value > high:
        raise ValueError(f"{write(value)} is above the maximum {write(high)}")


def _described(data_type: str) -> str:
    if data_type in _INTEGERS:
        low, high = _INTEGERS[data_type]
        return f"an integer from {low} to {high} ({data_type})"
    return "true or false" if data_type == "boolean" else f"a number ({data_type})"


def shown(value: Value) -> str:
    """Return a value as a reason for people shows it: quoted where it is text, cut where long."""
    if not isinstance(value, str):
        text = write(value)
        return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return repr(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…")
