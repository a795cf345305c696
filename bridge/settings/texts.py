"""How the text of a setting is read: lists in every form in which people write them."""

import json
import re
from collections.abc import Callable

_COMPANY = re.compile(
    r"(?:inc|incorporated|ltd|limited|llc|co|corp|corporation|gmbh|ag|kg|s\.?a|b\.?v|plc|l\.?p)\.?",
    re.IGNORECASE,
)
"""What stands behind the comma in a manufacturer's name: `Sonos, Inc.`, `TP-Link Co., Ltd.`."""
_MEMBER = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,\n]*?)\s*(?:[,\n]|$)""")
_BEFORE_URL = re.compile(r"""[\s,]+(?=["']?[A-Za-z][A-Za-z0-9+.-]*://)""")
_BETWEEN_NAMES = re.compile(r"[\s,;]+")

Split = Callable[[str], list[str]]


def listed_names(value: object) -> object:
    """Read a list of what has no space in it: as JSON, or with commas or spaces between.

    Quotes count for nothing. Raises ValueError for a bracket that is not closed, as all do here.
    """
    return _read(value, _BETWEEN_NAMES.split)


def listed_texts(value: object) -> object:
    """Read a list with commas between; what is quoted is one member, and so is `Sonos, Inc.`."""
    return _read(value, _members, quoted_is_one=True)


def listed_urls(value: object) -> object:
    """Read a list of URLs; a comma parts them only where a scheme follows it."""
    return _read(value, lambda text: _BEFORE_URL.split(text.rstrip(" ,")))


def without_credentials(url: str) -> str:
    """Return a URL without user name, password and query."""
    # A password may itself hold @ and /, and a query is what cloud brokers take tokens in.
    return re.sub(r"^(\w+://|//)?.*@", r"\1", url, flags=re.DOTALL).partition("?")[0]


def _read(value: object, split: Split, *, quoted_is_one: bool = False) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip()
    inner = _unquoted(text)
    # Docker's --env-file keeps the quotes around a whole value.
    if inner is not None and (inner.startswith("[") or not quoted_is_one):
        text = inner
    if text.startswith("[") and text.endswith("]"):
        return _bracketed(text, split)
    if text.startswith("[") and "]" not in text:
        raise ValueError("a list that begins with [ ends with ]")
    return _parts(text, split)


def _bracketed(text: str, split: Split) -> list[object]:
    """Read JSON, or what a shell left of it: without quotes."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else _parts(text[1:-1], split)


def _parts(text: str, split: Split) -> list[object]:
    return [bare for part in split(text.strip()) if (bare := _bare(part.strip()))]


def _bare(part: str) -> str:
    inner = _unquoted(part)
    return part if inner is None else inner


def _members(text: str) -> list[str]:
    found: list[str] = []
    for part in _MEMBER.findall(text):
        if found and _COMPANY.fullmatch(part):
            found[-1] += f", {part}"
        else:
            found.append(part)
    return found


def _unquoted(text: str) -> str | None:
    """Return what stands within quotes around all of a text, None where there are none."""
    quote = text[:1]
    if quote in ("'", '"') and len(text) > 1 and text.endswith(quote):
        return text[1:-1] if quote not in text[1:-1] or text[1:2] == "[" else None
    return None
