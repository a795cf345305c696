"""What holds on every page: all can read it, on every width, and reach it without a mouse."""

import pytest
from playwright.async_api import expect

from tests.browser.reading import PHONE
from tests.browser.rig import LIGHT, RENDERER, SERVER

VIEWS = (
    "devices",
    f"device/{LIGHT}",
    f"device/{RENDERER}",
    f"device/{SERVER}",
    "players",
    "map",
    "activity",
    "health",
    "settings",
)
COUNT_LINES = """(element) => {
  const range = document.createRange();
  range.selectNodeContents(document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode());
  return range.getClientRects().length;
}"""
NAVIGATION = ("Devices", "Players", "Map", "Activity", "Health", "Settings")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_read_every_page(demo, window, scheme):
    """Axe finds nothing serious, in either scheme of colours."""
    reader = await window(demo, color_scheme=scheme)
    barriers = {}
    for view in VIEWS:
        await reader.open(view)
        if found := await reader.find_barriers():
            barriers[view] = found
    assert not barriers


async def test_every_page_fits_a_phone(demo, window):
    reader = await window(demo, viewport=PHONE, has_touch=True, is_mobile=True)
    for view in VIEWS:
        page = await reader.open(view)
        assert not await reader.is_wider_than_window(), view
        await expect(page.get_by_role("navigation", name="Pages")).to_be_in_viewport()


async def test_words_stay_whole_where_a_phone_browses(demo, window):
    """The heading and the path to a folder have lines of their own, beside no control."""
    reader = await window(demo, viewport=PHONE, has_touch=True, is_mobile=True)
    page = await reader.open("players")
    entries = page.get_by_test_id("entries")
    for name in ("Albums", "Datagrams at Dawn"):
        await entries.get_by_role("button", name=name).click()
    path = page.get_by_role("navigation", name="Folders")
    folder = path.get_by_role("button", name="Datagrams at Dawn")
    for text in (page.get_by_role("heading", name="Browse and play"), folder):
        await expect(text).to_be_visible()
        assert await text.evaluate(COUNT_LINES) == 1


async def test_the_navigation_leads_everywhere(demo, window):
    page = await (await window(demo)).open()
    for name in NAVIGATION:
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        await expect(page.locator("main h1").first).to_be_visible()
        await expect(page).to_have_title(f"{name} · upnp2mqtt")


async def test_the_colours_are_chosen_and_kept(demo, window):
    reader = await window(demo, color_scheme="light")
    page = await reader.open()
    colour = "() => getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(colour)
    await page.get_by_test_id("theme").click()
    await page.get_by_test_id("theme").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert await page.evaluate(colour) != light
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_the_keyboard_alone_switches_a_light(demo, window):
    """Over the link that skips the navigation, to the switch of the first card."""
    page = await (await window(demo)).open()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    switch = page.get_by_role("switch").first
    for _ in range(20):
        if await switch.evaluate("element => element === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await expect(switch).to_be_focused()
    before = await switch.get_attribute("aria-checked")
    after = {"true": "false", "false": "true"}[before or ""]
    for wanted in (after, before):
        await page.keyboard.press("Space")
        await expect(switch).to_have_attribute("aria-checked", wanted or "")
        status = (await demo.ask(LIGHT, "GetStatus"))["ResultStatus"]
        assert str(status).lower() == wanted


async def test_an_address_that_leads_nowhere_shows_the_devices(demo, window):
    page = await (await window(demo)).open("nothing/like/this?x=%ff")
    await expect(page.get_by_test_id("device").first).to_be_visible()
