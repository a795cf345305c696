"""JSON as the bridge writes it, and as anyone may have written it."""

import json
import math
from typing import NoReturn


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_not_finite)
"""JSON to the letter (RFC 8259): a ValueError for what is none, finite numbers only."""

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ASCII = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def encode(document: object) -> bytes:
    """Return compact JSON in UTF-8, keys in the order of insertion.

    Half a surrogate pair, which JSON can say and UTF-8 cannot, makes all of it ASCII.
    """
    try:
        return _COMPACT.encode(document).encode()
    except UnicodeEncodeError:
        return _ASCII.encode(document).encode()


def read(payload: bytes | None) -> object:
    """Return what a JSON payload says; None for no payload and for what is no JSON."""
    try:
        return None if payload is None else DECODER.decode(payload.decode())
    except (ValueError, RecursionError):
        return None
