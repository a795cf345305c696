"""The pictures in README and docs, made of the page as it is: `scripts/screens` keeps them."""

import asyncio
import base64
import os
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.reading import PHONE, Reader
from tests.browser.rig import LIGHT, RENDERER, ROUTER

MOST_BYTES = 100_000
SCREEN = {"width": 1280, "height": 800}
TO_WEBP = """async ([data, quality]) => {
  const png = await (await fetch(`data:image/png;base64,${data}`)).blob();
  const picture = await createImageBitmap(png);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d").drawImage(picture, 0, 0);
  const file = await canvas.convertToBlob({ type: "image/webp", quality });
  const bytes = new Uint8Array(await file.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pictures go."""
    return Path(os.environ.get("SCREENS", tmp_path))


async def keep(reader: Reader, file: Path) -> None:
    """Take a picture of the window, as it is once its pictures are there, and write it as WebP."""
    for picture in await reader.page.locator("img:visible").all():
        await expect(picture).not_to_have_js_property("naturalWidth", 0)
    png = await reader.page.screenshot(animations="disabled", caret="hide")
    blank = await reader.page.context.new_page()  # the page itself may fetch no data: URL
    webp = await blank.evaluate(TO_WEBP, [base64.b64encode(png).decode(), 0.8])
    await blank.close()
    picture_bytes = base64.b64decode(webp)
    assert len(picture_bytes) < MOST_BYTES
    await asyncio.to_thread(file.write_bytes, picture_bytes)


async def play(page: Page, album: str, song: str) -> None:
    """Play a song of the simulated media server, and leave its albums in view."""
    entries = page.get_by_test_id("entries")
    for name in ("Albums", album):
        await entries.get_by_role("button", name=name).click()
    item = entries.get_by_test_id("item").filter(has_text=song)
    await item.get_by_test_id("play-item").click()
    player = page.locator(f'[data-testid="player"][data-udn="{RENDERER}"]')
    await expect(player.locator(".song")).to_have_text(song)
    await (
        page.get_by_role("navigation", name="Folders").get_by_role("button", name="Albums").click()
    )
    await expect(entries.get_by_role("button", name=album)).to_be_visible()
    await expect(page.locator(".toast")).to_have_count(0)


async def test_players(demo, window, folder):
    reader = await window(demo, viewport=SCREEN, device_scale_factor=1.5)
    page = await reader.open("players")
    await play(page, "Quiet Hours", "Snow on the Aerial")
    await keep(reader, folder / "players.webp")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("devices", {"viewport": SCREEN, "color_scheme": "light"}),
        ("phone", {"viewport": PHONE, "color_scheme": "dark", "is_mobile": True}),
    ],
)
async def test_devices(demo, window, folder, name, options):
    await demo.ask(LIGHT, "SetTarget", newTargetValue=True)
    await demo.ask(RENDERER, "SetVolume", DesiredVolume=35)
    reader = await window(demo, device_scale_factor=1.5, **options)
    page = await reader.open("devices")
    await expect(page.locator(f'[data-udn="{LIGHT}"]').get_by_role("switch")).to_be_checked()
    await expect(page.locator(f'[data-udn="{ROUTER}"]')).to_contain_text("Now")  # its rates
    await keep(reader, folder / f"{name}.webp")


async def test_device(demo, window, folder):
    """A light that dims: its curve, and its switch."""
    await demo.ask(LIGHT, "SetTarget", newTargetValue=True)
    reader = await window(demo, viewport=SCREEN, device_scale_factor=1.5)
    page = await reader.open(f"device/{LIGHT}")
    level = page.locator(f'[data-topic="upnp/{LIGHT}/Dimming/value/LoadLevelStatus"]')
    for _ in range(4):  # until the curve has a shape
        slider = level.get_by_test_id("set")
        before = await slider.input_value()
        await expect(slider).not_to_have_value(before)
    await expect(level.locator(".spark").locator("svg, canvas")).to_be_visible()
    await keep(reader, folder / "device.webp")


async def test_action(demo, window, folder):
    """The forms of two actions, one with its answer, in the dark."""
    reader = await window(demo, viewport=SCREEN, device_scale_factor=1.5, color_scheme="dark")
    page = await reader.open(f"device/{RENDERER}?section=actions")
    await page.get_by_test_id("action-filter").fill("volume")
    for name in ("GetVolume", "SetVolume"):
        form = page.locator(f'[data-testid="action"][data-action="{name}"]')
        await form.locator("summary").click()
        if name == "SetVolume":
            await form.get_by_test_id("argument-DesiredVolume").fill("25")
        await form.get_by_test_id("call").click()
        await expect(form.get_by_test_id("answer")).to_contain_text(" ms")
    await keep(reader, folder / "action.webp")


async def test_map(demo, window, folder):
    reader = await window(demo, viewport=SCREEN, device_scale_factor=1.5)
    page = await reader.open("map")
    await expect(page.get_by_role("img", name="WANIPConnection")).to_be_visible()
    await keep(reader, folder / "map.webp")
