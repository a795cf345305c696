"""What devices call text, as text: its encoding is chosen for each character, not for a message.

What is valid UTF-8 is UTF-8, whatever a message says of itself. Bytes that are none are letters of
the encoding that is declared, or of windows-1252, where they read as such in their place; each
other costs one character, U+FFFD.
"""

import codecs
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

MARK = "\ufffd"
"""What stands for bytes that cannot be read."""

_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_UTF16 = 2
_SURROGATE = re.compile("[\ud800-\udfff]")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_MAX_PROLOG = 100
_LABEL = re.compile(r"[A-Za-z0-9._:-]{1,40}")
_NO_CHARSETS = ("utf", "punycode", "idna", "undefined", "unicode", "raw")
_WESTERN = frozenset({"ascii", "iso8859-1", "cp1252"})
_DEFAULT = "cp1252"
_ASCII = bytes(range(0x20, 0x7F))
_UPPER_HALF = bytes(range(0x80, 0x100))
_THREE_BYTES = re.compile("[\u0800-\U0010ffff]")

# A byte that is no UTF-8 is a lone surrogate, U+DC00 above it, until it has been judged.
_ODD = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\\0-\x7f\udc80-\udcff]")
_FIELD = re.compile(r"[^<>\"'&;\r\n]+")
"""Text between the marks of XML, escaped or not: it is of one hand, and in one encoding."""
_HALVES = re.compile(
    "\udced([\udca0-\udcaf])([\udc80-\udcbf])\udced([\udcb0-\udcbf])([\udc80-\udcbf])"
    "|\udced[\udca0-\udcbf][\udc80-\udcbf]"
)
"""Surrogates that were written as if they were characters (CESU-8): a pair, or a lone one."""
_BROKEN = (
    "[\udcc0\udcc1][\udc80-\udcbf]|\udce0[\udc80-\udc9f][\udc80-\udcbf]"
    "|[\udcf0-\udcf7][\udc80-\udcbf]{3}"
)
_CUT = re.compile(
    f"{_BROKEN}|[\udce0-\udcef][\udc80-\udcbf]{{0,2}}|[\udcf0-\udcf7][\udc80-\udcbf]{{0,2}}|[\udc80-\udcff]"
)
"""One character that cannot be read: a sequence that is cut, overlong or too high, or a byte."""
_SINGLE = re.compile(
    f"{_BROKEN}|\udce2[\udc80-\udc84]|\udcf0\udc9f[\udc80-\udcbf]?|[\udc80-\udcff]"
)
"""Likewise where bytes may be letters: what begins a dash, a quotation mark or an emoji is none."""
_SELDOM = "þð"
_NEVER = f"ÿ{MARK}"
"""What memory that was never written to holds, and what windows-1252 has no letter for."""
_OFTEN_MISREAD = re.compile("[\x80-\xff\u2000-\u2fff]")
"""Letters and signs of the West, whose UTF-8 is hardly ever text in another encoding."""
_AT_START = "«¡¿\u201c\u2018\u201e\u201a€£§©°½¼¾\u2013\u2014…•"
_MANY = 10
"""So many more bytes that are no UTF-8 than characters that are show these to be accidents."""


def decoded(data: bytes, charset: str = "") -> str:
    """Return bytes as text, without a byte order mark and without surrogates.

    `charset` is what they are said to be encoded in: a hint, taken where they do not show another.
    """
    if data.isascii() and b"\0" not in data:
        return data.decode()
    if wide := _wide(data):
        width = len("<".encode(wide))
        whole = data[: len(data) // width * width]
        text = whole.decode(wide, "surrogatepass" if width == _UTF16 else "replace")
        return _SURROGATE.sub("", text).lstrip("\ufeff")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _mixed(data, charset)
    if charset and not text.isascii() and not _THREE_BYTES.search(text):
        codec, is_single = _codec(charset)
        if not is_single:  # a few characters of two bytes each may be UTF-8 by accident
            with suppress(UnicodeDecodeError):
                text = data.decode(codec)
    return text.lstrip("\ufeff")


def in_utf8(data: bytes, content_type: str) -> bytes:
    """Return a body of HTTP in UTF-8 where its headers alone say that it is in another encoding."""
    named = _CHARSET.search(content_type)
    if named is None or data.isascii() or b"encoding" in data[:_MAX_PROLOG]:
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return decoded(data, named[1]).encode()
    return data


def _wide(data: bytes) -> str | None:
    """Return the codec of UTF-16 or UTF-32, by the zeros at the first `<`; None for any other."""
    at = data.find(b"<")
    for codec in _WIDE if at >= 0 and b"\0" in data[max(0, at - 3) : at + 4] else ():
        mark = "<".encode(codec)
        width, start = len(mark), at - mark.index(b"<")
        next_one = data[start + width : start + 2 * width].decode(codec, "replace")
        if start % width == 0 and data.startswith(mark, start) and "\0" < next_one < "\x80":
            return codec
    return None


@lru_cache(maxsize=64)
def _codec(label: str) -> tuple[str, bool]:
    """Return Python's codec for an encoding, and whether each of its characters is a byte.

    windows-1252 for what is no encoding of text, or none that holds ASCII, and for Latin-1, as
    browsers do: what is called so often has its dashes and quotation marks.
    """
    try:
        name = codecs.lookup(label.lower()).name if _LABEL.fullmatch(label) else ""
        if not name or name in _WESTERN or name.startswith(_NO_CHARSETS):
            return _DEFAULT, True
        if _ASCII.decode(name) != _ASCII.decode():
            return _DEFAULT, True
        return name, len(_UPPER_HALF.decode(name, "replace")) == len(_UPPER_HALF)
    except (LookupError, ValueError):  # of the names that a device may say, some are odd codecs
        return _DEFAULT, True


def _mixed(data: bytes, charset: str) -> str:
    """Read bytes that are not UTF-8 throughout, each field by itself."""
    codec, is_single = _codec(charset)
    text = data.decode("utf-8", "surrogateescape")
    if not is_single:
        other = data.decode(codec, "replace")
        if other.count(MARK) <= len(_CUT.findall(text)):
            return other
        codec = _DEFAULT
    text = _HALVES.sub(_joined, text).lstrip("\ufeff")
    good = len(_BEYOND_ASCII.findall(text))
    if good and len(_ODD.findall(text)) >= _MANY * good:
        text = data.decode("ascii", "surrogateescape")
    read = _western if codec == _DEFAULT else _declared(codec)
    return _FIELD.sub(lambda found: found[0] if found[0].isascii() else read(found[0]), text)


def _declared(codec: str) -> Callable[[str], str]:
    """Return what reads a field of a message that is said to be in an encoding of single bytes."""

    def read(field: str) -> str:
        odd, good = len(_ODD.findall(field)), _BEYOND_ASCII.findall(field)
        if len(good) > max(odd, 1) or (not odd and _OFTEN_MISREAD.match(good[0])):
            return _CUT.sub(MARK, field)
        return field.encode("utf-8", "surrogateescape").decode(codec, "replace")

    return read


def _western(field: str) -> str:
    """Read a field with windows-1252's letters, or with marks where it has characters of UTF-8."""
    if _BEYOND_ASCII.search(field):
        return _CUT.sub(MARK, field)
    letters = field.encode("ascii", "surrogateescape").decode(_DEFAULT, "replace")
    return _SINGLE.sub(lambda found: _letter(letters, *found.span()), field)


def _letter(letters: str, start: int, end: int) -> str:
    """Return what stands there as windows-1252 where it reads as a word or a sign, else a mark."""
    one, before, behind = letters[start:end], letters[start - 1 : start], letters[end : end + 1]
    if len(one) > 1 or one in _NEVER:
        return MARK
    if one.islower():
        fits = one not in _SELDOM or before.isalpha() or behind.isalpha()
    elif one.isupper():  # as in Über, SÃO and MAÇÃ: a lone one, or one that ends a word, is not
        fits = before.isupper() or (behind.isalpha() and not before.islower())
    else:
        fits = start > 0 or one in _AT_START
    return one if fits else MARK


def _joined(found: re.Match[str]) -> str:
    if found[1] is None:
        return ""
    high, low = (((ord(found[n]) & 0x1F) << 6) | (ord(found[n + 1]) & 0x3F) for n in (1, 3))
    return chr(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF))
