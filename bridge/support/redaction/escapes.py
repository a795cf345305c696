"""Text as it is meant, and as it is written: entities, percent-encoding and JSON's escapes.

What is replaced is written in the way of what it replaces, and all else stays byte for byte.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from typing import TypeAlias

_ESCAPE = re.compile(
    r"&(?:amp;)*(?:#0*(?P<decimal>\d{1,7})|#[xX]0*(?P<hex>[0-9a-fA-F]{1,6})"
    r"|(?P<name>lt|gt|amp|quot|apos));"
    r"|(?P<percent>(?:%(?:25)*[0-9a-fA-F]{2})+)"
    r"|\\u(?P<json>[0-9a-fA-F]{4})"
)
_OCTET = re.compile(r"%(?:25)*[0-9a-fA-F]{2}")
_AMPERSAND = re.compile(r"&(?:amp;)*")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_LAST = 0x10FFFF

Span: TypeAlias = tuple[int, int, Callable[[str], str], bool]
"""Start and end in the meant text, what makes new text of old, and whether piece by piece."""


class EscapedText:
    """A text of which each character is known as meant and as written.

    What was replaced once is not replaced again.
    """

    def __init__(self, written: str) -> None:
        self._meant: list[str] = []
        self._written: list[str] = []
        end = 0
        for found in _ESCAPE.finditer(written):
            self._take(written[end : found.start()])
            end = found.end()
            for char, form in _unescaped(found):
                self._meant.append(char)
                self._written.append(form)
        self._take(written[end:])
        self._is_new = [False] * len(self._meant)
        self.meant = "".join(self._meant)
        """The text without any escape."""

    def __str__(self) -> str:
        return "".join(self._written)

    def replace(self, spans: Iterable[Span]) -> None:
        """Replace spans of the meant text, which do not overlap.

        Of one that was replaced in part already, the rest is: each piece by itself, or all of it
        as it reads by now, where the new text is as long.
        """
        meant, written, is_new = self._meant, self._written, self._is_new
        self._meant, self._written, self._is_new = [], [], []
        done = 0
        for start, end, new, is_by_piece in sorted(spans, key=_start):
            pieces = [(start, end)]
            if is_by_piece:
                groups = groupby(range(start, end), key=is_new.__getitem__)
                places = [list(group) for was_new, group in groups if not was_new]
                pieces = [(group[0], group[-1] + 1) for group in places]
            for first, last in pieces:
                self._keep(meant[done:first], written[done:first], is_new[done:first])
                old = meant[first:last], written[first:last], is_new[first:last]
                self._put(new("".join(old[0])), *old)
                done = last
        self._keep(meant[done:], written[done:], is_new[done:])
        self.meant = "".join(self._meant)

    def _keep(self, meant: list[str], written: list[str], is_new: list[bool]) -> None:
        self._meant += meant
        self._written += written
        self._is_new += is_new

    def _put(self, text: str, meant: list[str], written: list[str], is_new: list[bool]) -> None:
        """Append a text in place of this, or this where some is new and the text is not as long."""
        if len(text) == len(meant):
            for char, old, form, was_new in zip(text, meant, written, is_new, strict=True):
                is_same = was_new or char == old
                self._meant.append(old if is_same else char)
                self._written.append(form if is_same else _written_like(form, char))
        elif any(is_new):
            self._keep(meant, written, is_new)
            return
        else:
            is_percent = any(form.startswith("%") for form in written)
            self._meant += text
            self._written += ("%3A" if is_percent and char == ":" else char for char in text)
        self._is_new += [True] * len(text)

    def _take(self, plain: str) -> None:
        self._meant += plain
        self._written += plain


def _start(span: Span) -> int:
    return span[0]


def _unescaped(found: re.Match[str]) -> Iterator[tuple[str, str]]:
    """Yield each character that an escape, or a run of them, stands for, as meant and written."""
    if percent := found["percent"]:
        yield from _octets(_OCTET.findall(percent))
        return
    if name := found["name"]:
        char = _NAMED[name]
    else:
        number = int(found["decimal"] or "0") or int(found["hex"] or found["json"] or "0", 16)
        char = chr(number) if number <= _LAST else "\ufffd"
    yield char, found[0]


def _octets(forms: list[str]) -> Iterator[tuple[str, str]]:
    data = bytes(int(form[-2:], 16) for form in forms)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        yield from zip(data.decode("latin-1"), forms, strict=True)
        return
    ends = [0]
    for char in text:
        ends.append(ends[-1] + len(char.encode()))
    for char, (start, end) in zip(text, pairwise(ends), strict=True):
        yield char, "".join(forms[start:end])


def _written_like(form: str, char: str) -> str:
    """Write a character in the way in which another is written."""
    if form.startswith("%"):
        # A lone octet was Latin-1; of UTF-8 none stands for a letter beyond ASCII.
        start = _OCTET.match(form)
        prefix = start[0][:-2] if start else "%"
        is_octet = start is not None and start.end() == len(form)
        data = char.encode("latin-1" if is_octet and ord(char) <= 0xFF else "utf-8")  # noqa: PLR2004
        return "".join(f"{prefix}{octet:02X}" for octet in data)
    if len(form) > 1 and (ampersand := _AMPERSAND.match(form)):
        return f"{ampersand[0]}#{ord(char)};"
    if form.startswith("\\u"):
        return f"\\u{ord(char):04x}"
    return char
