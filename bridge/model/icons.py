"""The best of a device's icons, for whoever wants one picture of it (UDA 2.0, section 2.3)."""

from collections.abc import Iterable
from math import log2
from typing import Final
from urllib.parse import urlsplit

from bridge.model.device import Icon

_BEST_SIDE: Final = 256
"""Pixels that a picture of a device has at its best: a page shows it as large as that."""
_UNSIZED: Final = 48
"""What an icon without a size is taken for: the least that DLNA asks for."""
_COMMON: Final = 0
_WEB: Final = 1
_UNNAMED: Final = 2
_DRAWN: Final = 3
_EXOTIC: Final = 4
_TYPES = {
    **dict.fromkeys(("png", "x-png", "jpeg", "jpg", "pjpeg"), _COMMON),
    **dict.fromkeys(("webp", "gif", "apng"), _WEB),
    **dict.fromkeys(("svg+xml", "svg"), _DRAWN),  # of any size, but not shown everywhere
    "": _UNNAMED,
}
"""How much worse a type is than one that everything shows, in halvings of the size."""


def best(icons: Iterable[Icon]) -> str | None:
    """Return the URL of the icon to be shown; None where there is none of `http` or `https`.

    PNG and JPEG of a good size before tiny ones, huge ones and other types; the first of equals.
    """
    return next(iter(ranked(icons)), None)


def ranked(icons: Iterable[Icon]) -> list[str]:
    """Return the URLs of all icons that may be shown, the best first."""
    found = [one for one in icons if one.url.lower().startswith(("http://", "https://"))]
    return [one.url for one in sorted(found, key=_badness)]


def _badness(icon: Icon) -> tuple[float, int]:
    kind = _TYPES.get(_subtype(icon), _EXOTIC)
    sides = [side for side in (icon.width, icon.height) if side]
    off = abs(log2(min(sides) if sides else _UNSIZED) - log2(_BEST_SIDE))
    return kind + (0.0 if kind == _DRAWN else off), -(icon.depth or 0)


def _subtype(icon: Icon) -> str:
    """Return what follows `image/`; by the file's name where no type is told."""
    main, _, subtype = (icon.mimetype or "").lower().partition("/")
    subtype = subtype.partition(";")[0].strip()
    if main.strip() == "image" and subtype:
        return subtype
    name, dot, extension = urlsplit(icon.url).path.lower().rpartition(".")
    return extension if name and dot and "/" not in extension else ""
