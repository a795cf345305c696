"""Pictures of the simulated devices and of what they play, drawn when the program starts (PNG)."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from colorsys import hsv_to_rgb
from functools import cache
from typing import Final

from async_upnp_client.const import DeviceIcon

Shape = Callable[[float, float], bool]
"""Whether a point is part of a symbol; both sides of a picture go from -1 to 1."""

_ICON_SIDES: Final = (48, 120)  # what DLNA wants of every device
_COVER_SIDE: Final = 240
_BITS: Final = 8
_PALETTE: Final = 3  # colour type of PNG (ISO/IEC 15948, section 11.2.2)
_RINGS: Final = 6

_HALF: Final = 0.6  # of a symbol, in a picture that goes from -1 to 1


def _triangle(x: float, y: float) -> bool:
    return x > -_HALF and 2 * abs(y) + x < _HALF


def _disc(x: float, y: float) -> bool:
    return x * x + y * y < _HALF * _HALF


def _bars(x: float, y: float) -> bool:
    return max(abs(x), abs(y)) < _HALF and int((y + _HALF) * 5 / (2 * _HALF)) % 2 == 0


SYMBOLS: Final[Mapping[str, Shape]] = {
    "MediaRenderer": _triangle,
    "DimmableLight": _disc,
    "InternetGatewayDevice": _bars,
}
"""What stands for a device, by the name in its type."""


def icons(device_type: str) -> list[DeviceIcon]:
    """Return the icons of a device of this type, such as `DimmableLight:1`."""
    kind = device_type.partition(":")[0]
    return [
        DeviceIcon("image/png", side, side, _BITS, f"/icon-{kind}-{side}.png")
        for side in _ICON_SIDES
        if kind in SYMBOLS
    ]


@cache
def drawn(device_type: str) -> Mapping[str, bytes]:
    """Return the files of these icons, by their paths."""
    kind = device_type.partition(":")[0]
    ground, ink = _colour(list(SYMBOLS).index(kind), 0.75), (255, 255, 255)
    return {
        one.url: _png(
            [
                bytes(SYMBOLS[kind](_at(x, one.width), _at(y, one.width)) for x in range(one.width))
                for y in range(one.width)
            ],
            [ground, ink],
        )
        for one in icons(device_type)
    }


@cache
def cover(number: int) -> bytes:
    """Return the cover of an album: rings of a colour of its own."""
    middle, side = _COVER_SIDE // 2, _COVER_SIDE
    width = middle * middle // (_RINGS // 2)
    rows = [
        bytes(((x - middle) ** 2 + (y - middle) ** 2) // width for x in range(side))
        for y in range(side)
    ]
    return _png(rows, [_colour(number, 1 - ring / (_RINGS + 2)) for ring in range(_RINGS + 1)])


def _at(pixel: int, side: int) -> float:
    return (2 * pixel + 1) / side - 1


def _colour(number: int, value: float) -> tuple[int, int, int]:
    red, green, blue = hsv_to_rgb(0.07 + number * 0.3, 0.7, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _png(rows: Sequence[bytes], palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Write a picture whose rows hold a number in the palette for each pixel."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), _BITS, _PALETTE, 0, 0, 0)
    colours = b"".join(map(bytes, palette))
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
