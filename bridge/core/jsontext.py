"""JSON as the bridge writes it, and as anyone may have written it."""

import json

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
        return None if payload is None else json.loads(payload)
    except (ValueError, RecursionError):
        return None
