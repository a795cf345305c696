"""Which of a device's icons is shown."""

import pytest

from bridge.model import icons
from bridge.model.device import Icon


def icon(name: str, mimetype: str | None = None, side: int | None = None, depth: int = 24) -> Icon:
    return Icon(f"http://192.0.2.1/{name}", mimetype, side, side, depth)


PNG, JPEG, SVG = "image/png", "image/jpeg", "image/svg+xml"


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ([icon("16", PNG, 16), icon("120", PNG, 120), icon("48", PNG, 48)], "120"),
        ([icon("120", JPEG, 120), icon("240", PNG, 240)], "240"),
        ([icon("240", PNG, 240), icon("4096", PNG, 4096)], "240"),
        ([icon("4096", PNG, 4096), icon("8", PNG, 8)], "4096"),
        ([icon("bmp", "image/bmp", 120), icon("48", PNG, 48)], "48"),
        ([icon("ico", "image/x-icon", 256), icon("32", PNG, 32)], "32"),
        ([icon("svg", SVG, 24), icon("120", PNG, 120)], "120"),
        ([icon("svg", SVG, 512), icon("48", PNG, 48)], "48"),
        ([icon("16", PNG, 16), icon("svg", SVG, 16)], "svg"),
        ([icon("bmp", "image/bmp", 48), icon("svg", SVG)], "svg"),
        ([icon("webp", "image/webp", 128), icon("png", PNG, 128)], "png"),
        ([icon("webp", "image/webp", 256), icon("png", PNG, 16)], "webp"),
        ([icon("8", PNG, 120, 8), icon("24", PNG, 120, 24)], "24"),
        ([icon("a", PNG, 120), icon("b", JPEG, 120)], "a"),
        ([icon("a"), icon("b")], "a"),
        ([icon("a.svg"), icon("b.png")], "b.png"),
        ([icon("a.bmp?b.png"), icon("b.jpg?x=1")], "b.jpg?x=1"),
        ([icon("a", "text/html", 120), icon("b", PNG, 48)], "b"),
        ([icon("zero", PNG, 0), icon("48", PNG, 120)], "48"),
        ([icon("png", " Image/PNG ; q=1", 120), icon("bmp", "image/bmp", 256)], "png"),
        ([Icon("http://192.0.2.1/wide", PNG, 600, 24), icon("64", PNG, 64)], "64"),
        ([Icon("http://192.0.2.1/one", PNG, None, 120), icon("16", PNG, 16)], "one"),
        ([Icon("data:image/png;base64,AA", PNG, 256, 256), icon("16", PNG, 16)], "16"),
        ([icon("huge", PNG, 10**400), icon("16", PNG, 16)], "16"),
    ],
)
def test_the_best_icon_is_of_a_common_type_and_a_good_size(found, name):
    assert icons.best(found) == f"http://192.0.2.1/{name}"


def test_where_no_icon_can_be_shown_there_is_none():
    assert icons.best([]) is None
    assert icons.best([Icon("ftp://192.0.2.1/a.png", PNG)]) is None
