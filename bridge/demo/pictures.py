"""Pictures of the simulated devices and of what they play, drawn when they are asked for (PNG).

Each picture is a number for each point, shown through a scale of colours. Both sides of a picture
go from -1 to 1, and y goes down.
"""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import atan2, cos, hypot, sin
from typing import Final

from async_upnp_client.const import DeviceIcon

Shape = Callable[[float, float], float]
"""How far a point is outside a symbol; negative inside."""
Painting = Callable[[float, float], float]
"""Where on its scale of colours a point is, from 0 to 1."""
Colour = tuple[int, int, int, int]
"""Red, green, blue and opacity, each up to 255."""

_ICON_SIDES: Final = (48, 120)  # what DLNA wants of every device
_COVER_SIDE: Final = 240
_BITS: Final = 8
_PALETTE: Final = 3  # colour type of PNG (ISO/IEC 15948, section 11.2.2)
_COLOURS: Final = 256
_WHITE: Final = (255, 255, 255, 255)


def _box(x: float, y: float, width: float, height: float, corner: float = 0.0) -> float:
    """Measure the distance to a rectangle round 0, of half this width and height."""
    right, down = abs(x) - width + corner, abs(y) - height + corner
    return hypot(max(right, 0), max(down, 0)) + min(max(right, down), 0) - corner


def _triangle(x: float, y: float) -> float:
    return max(0.87 * abs(y) + 0.5 * x - 0.26, -0.26 - x) - 0.06


def _bulb(x: float, y: float) -> float:
    glass = hypot(x, y + 0.14) - 0.38
    neck = _box(x, y - 0.2, 0.17, 0.16, 0.04)
    base = min(_box(x, y - 0.44, 0.17, 0.04, 0.04), _box(x, y - 0.56, 0.1, 0.04, 0.04))
    return min(glass, neck, base)


def _waves(x: float, y: float) -> float:
    away = hypot(x, y - 0.42)
    arcs = min(abs(away - radius) - 0.07 for radius in (0.35, 0.62, 0.89))
    return min(away - 0.12, max(arcs, 0.75 * (abs(x) - (0.42 - y) * 0.95)))


def _note(x: float, y: float) -> float:
    heads = min(hypot((x - at) * 0.85, y - 0.4 + at * 0.2) - 0.15 for at in (-0.34, 0.3))
    stems = min(_box(x - at, y + 0.02 + at * 0.2, 0.045, 0.43) for at in (-0.19, 0.45))
    beam = max(abs(x - 0.13) - 0.365, abs(y + 0.42 + (x - 0.13) * 0.2) - 0.1)
    return min(heads, stems, beam)


SYMBOLS: Final[Mapping[str, tuple[Shape, tuple[int, int, int]]]] = {
    "MediaRenderer": (_triangle, (232, 93, 74)),
    "DimmableLight": (_bulb, (240, 168, 40)),
    "InternetGatewayDevice": (_waves, (52, 120, 214)),
    "MediaServer": (_note, (124, 84, 200)),
}
"""What stands for a device, and its ground, by the name in the device's type."""


def icons(device_type: str) -> list[DeviceIcon]:
    """Return the icons of a device of this type, such as `DimmableLight:1`."""
    kind = device_type.partition(":")[0]
    return [
        DeviceIcon("image/png", side, side, _BITS, f"/icon-{kind}-{side}.png")
        for side in _ICON_SIDES
        if kind in SYMBOLS
    ]


@cache
def icon(device_type: str, side: int) -> bytes:
    """Draw an icon: a white symbol on a square with round corners."""
    shape, ground = SYMBOLS[device_type.partition(":")[0]]
    edge = side / 2  # distances are of pixels: an edge is one pixel wide

    def paint(x: float, y: float) -> float:
        inside = _clamp(0.5 - _box(x, y, 1, 1, 0.44) * edge)
        return (inside + _clamp(0.5 - shape(x, y) * edge)) / 2

    return _png(_draw(paint, side), _scale((*ground, 0), (*ground, 255), _WHITE))


def _sunrise(x: float, y: float) -> float:
    sun = _edge(hypot(x, y - 0.25) - 0.55) * _edge(0.5 - abs((y * 9 - 1.2) % 1 - 0.5) * 2 - 0.25)
    sky = 0.3 + 0.35 * (y + 1) / 1.45
    shore, down = 0.45 + 0.02 * sin(9 * x), max(y, 0.4)
    sea = 0.18 + 0.25 * _clamp(1 - abs(x) * 1.5) * (0.5 + 0.5 * sin(70 * down / (down + 0.4)))
    above = sky + (0.98 - sky) * sun
    return above + (sea - above) * _edge(shore - y)


def _packets(x: float, y: float) -> float:
    column, row = int((x + 1) * 3), int((y + 1) * 3)
    inside = _edge(_box((x + 1) % (1 / 3) - 1 / 6, (y + 1) % (1 / 3) - 1 / 6, 0.13, 0.13, 0.04))
    return 0.1 + inside * (0.25 + 0.65 * ((column * 7 + row * 11 + column * row) % 6) / 5)


def _ripples(x: float, y: float) -> float:
    first, second = hypot(x + 0.35, y + 0.25), hypot(x - 0.5, y - 0.6)
    return 0.5 + 0.25 * cos(16 * first) / (1 + first) + 0.25 * cos(16 * second) / (1 + second)


def _lamps(x: float, y: float) -> float:
    below, sides = y + 0.75, (x + 0.45, x - 0.45)
    light = 0.0
    if below > 0:
        beams = (_clamp(1 - abs(side) / (0.08 + 0.42 * below)) ** 1.5 for side in sides)
        light = sum(beams) * _clamp(1.1 - below / 1.7)
    return max(_clamp(0.08 + 0.8 * light), *(_edge(hypot(side, below) - 0.12) for side in sides))


def _hills(x: float, y: float) -> float:
    shade = 0.92 - 0.12 * (y + 1) / 2
    for depth in range(5):
        height = -0.45 + 0.32 * depth + 0.14 * sin(x * (2.2 + depth * 0.5) + depth * 2.1)
        shade += (0.68 - 0.16 * depth - shade) * _edge(height - y)
    return shade


def _rays(x: float, y: float) -> float:
    angle, away = atan2(y - 0.9, x), hypot(x, y - 0.9)
    ray = 0.5 + 0.5 * _clamp(4 * sin(angle * 18)) - 0.5 * _clamp(-4 * sin(angle * 18))
    return _clamp(0.15 + 0.5 * ray * _clamp(1.2 - away / 2) + 0.6 * _edge(away - 0.4))


def _stairs(x: float, y: float) -> float:
    step = int((x + 1) * 3.5)
    rise = 0.75 - step * 0.25
    wall = 0.12 + 0.08 * (y + 1)
    return wall + _edge(rise - y) * (0.3 + 0.09 * step + 0.06 * _edge(rise + 0.05 - y) - wall)


_STARS: Final = tuple(
    (sin(star * 12.9), -0.5 - 0.5 * sin(star * 7.7), 0.008 + star % 3 / 160) for star in range(14)
)


def _night(x: float, y: float) -> float:
    moon = _edge(hypot(x - 0.25, y + 0.3) - 0.38) * _edge(0.34 - hypot(x - 0.42, y + 0.4))
    stars = max(_edge(hypot(x - across, y - down) - size) for across, down, size in _STARS)
    ground = _edge(0.55 + 0.1 * sin(3 * x + 1) - y)
    sky = max(0.2 + 0.16 * (y + 1), moon, 0.85 * stars)
    return sky + (0.04 - sky) * ground


_COVERS: Final[Sequence[tuple[Painting, tuple[str, ...]]]] = (
    (_sunrise, ("1b1040", "6a1b6d", "d8425c", "ff9a52", "ffe9b8")),
    (_packets, ("14302e", "1f6f64", "6cc3a0", "f3e9c6", "f4a259")),
    (_ripples, ("0b1f3a", "1d4e79", "4a90a4", "b9dbd2", "f7f3e3")),
    (_lamps, ("1c0f13", "5b2130", "b8503c", "f2b04f", "fff3c9")),
    (_hills, ("2a1a3e", "6b3a6f", "c7657b", "f3a683", "fde8c9")),
    (_rays, ("08162f", "123a7a", "2a7de1", "6fd0f5", "f2fbff")),
    (_stairs, ("221d29", "4b3f57", "a0637c", "e58f65", "f9dfa8")),
    (_night, ("070b1e", "1a2350", "46528f", "a7a4cf", "fff6d6")),
)
"""What is painted on the albums' covers, and in which colours."""


@cache
def cover(number: int) -> bytes:
    """Draw the cover of an album, from 1."""
    painting, colours = _COVERS[number - 1]
    scale = _scale(*((*bytes.fromhex(colour), 255) for colour in colours))
    return _png(_draw(painting, _COVER_SIDE), scale)


def _clamp(value: float) -> float:
    return max(0.0, min(1.0, value))


def _edge(distance: float) -> float:
    """Return 1 inside and 0 outside, with an edge one pixel of a cover wide."""
    return _clamp(0.5 - distance * _COVER_SIDE / 2)


def _draw(paint: Painting, side: int) -> Sequence[bytes]:
    places = [(2 * pixel + 1) / side - 1 for pixel in range(side)]
    last = _COLOURS - 1
    return [bytes(round(last * _clamp(paint(x, y))) for x in places) for y in places]


def _scale(*stops: Sequence[int]) -> Sequence[Colour]:
    """Make a scale of colours that goes evenly from stop to stop."""
    colours = []
    for number in range(_COLOURS):
        place = number / (_COLOURS - 1) * (len(stops) - 1)
        first = min(int(place), len(stops) - 2)
        rest = place - first
        red, green, blue, opacity = (
            round(a + (b - a) * rest) for a, b in zip(stops[first], stops[first + 1], strict=True)
        )
        colours.append((red, green, blue, opacity))
    return colours


def _png(rows: Sequence[bytes], palette: Sequence[Colour]) -> bytes:
    """Write a picture whose rows hold a number in the palette for each pixel."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), _BITS, _PALETTE, 0, 0, 0)
    colours = b"".join(bytes(colour[:3]) for colour in palette)
    opacities = bytes(colour[3] for colour in palette)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = (
        (b"IHDR", header),
        (b"PLTE", colours),
        (b"tRNS", opacities),
        (b"IDAT", pixels),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
