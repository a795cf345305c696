"""Bytes as JSON carries them: readable where they are text, and byte for byte in any case."""

from typing import Any, TypeAlias

Json: TypeAlias = Any

CODECS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
"""What a body of bytes is written in: that of the first which gives the same bytes back."""


def written(data: bytes) -> Json:
    """Return bytes as JSON carries them: text, or where they are no UTF-8 `{codec: text}`."""
    for codec in CODECS:
        if codec.startswith("utf-16") and data[:2] != "\ufeff".encode(codec):
            continue
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if text.encode(codec) == data:
            return text if codec == CODECS[0] else {codec: text}
    raise AssertionError("Latin-1 carries all bytes")


def octets(part: Json) -> bytes:
    """Return the bytes that `written` was given; raises ValueError for what it never returns."""
    match part:
        case str():
            return part.encode()
        case {**only} if len(only) == 1 and (codec := next(iter(only))) in CODECS:
            return str(only[codec]).encode(str(codec))
    raise ValueError("neither text nor text with its codec")
