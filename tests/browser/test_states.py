"""What the page says where not all is well, and that it comes back by itself."""

import re
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from bridge.tree.instances import highest
from tests.adapter.bridge import flags, program
from tests.adapter.mosquitto import mosquitto, until
from tests.browser.rig import DEMO, LIGHT, Rig, rig


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lonely(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A bridge that sees no device."""
    async with rig(tmp_path_factory.mktemp("lonely"), "Nobody") as bridge:
        yield bridge


async def test_the_page_comes_back_with_its_bridge(demo, window):
    reader = await window(demo)
    page = await reader.open()
    with reader.bridge_gone():
        await demo.kill()
        await expect(page.get_by_test_id("bridge-gone")).to_be_visible()
        await expect(page.get_by_test_id("device")).to_have_count(len(DEMO))
        await demo.start()
        await expect(page.get_by_test_id("bridge-gone")).to_be_hidden()
    level = page.get_by_test_id("brightness")
    before = await level.input_value()
    await expect(level).not_to_have_value(before)


_PAGES = """() => performance.getEntriesByType("resource").map((one) => one.name)
    .filter((name) => /pages\\/\\w+\\.js$/.test(name))"""


async def test_every_page_opens_while_the_bridge_is_gone(demo, window):
    """A page that was never opened before too, with what is known."""
    reader = await window(demo)
    page = await reader.open("map")
    await page.wait_for_function(f"() => ({_PAGES})().length >= 7")
    # With all that they need.
    await page.evaluate(f"() => Promise.all(({_PAGES})().map((name) => import(name)))")
    with reader.bridge_gone():
        await demo.kill()
        await expect(page.get_by_test_id("bridge-gone")).to_be_visible()
        for view in ("devices", "players", "activity", "health", "settings"):
            await page.get_by_test_id(f"nav-{view}").click()
            await expect(page.get_by_role("heading").first).to_be_visible()
            await expect(page.locator("main")).not_to_contain_text("Loading")
        await demo.start()
        await expect(page.get_by_test_id("setting").first).to_be_visible()


async def test_without_a_device_the_page_says_what_to_do(lonely, window):
    reader = await window(lonely)
    page = await reader.open()
    await expect(page.get_by_test_id("no-device")).to_contain_text("UDP 1900")
    assert not await reader.find_barriers()
    await page.get_by_role("button", name="Add by address").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Address of its description").fill("http://127.0.0.1:9/x.xml")
    await dialog.get_by_role("button", name="Add by address").click()
    await expect(page.locator(".toast.bad")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()


async def test_the_page_says_that_the_broker_is_away(tmp_path, lonely, window):
    page = await (await window(lonely)).open()
    await lonely.broker.kill()
    await expect(page.get_by_test_id("broker-away")).to_contain_text(str(lonely.broker.port))
    async with mosquitto(tmp_path, port=lonely.broker.port):
        await expect(page.get_by_test_id("broker-away")).to_be_hidden()


async def test_a_device_that_another_bridge_has_is_said_to_be_there(tmp_path, demo, window):
    names = (f"other-{number}" for number in count())
    other = next(name for name in names if highest(LIGHT, ("main", name)) == name)
    async with rig(tmp_path, "Demo *") as bridge:
        await bridge.await_devices(*DEMO)
        async with program(flags(bridge.broker.port, "Demo *", instance=other)):
            await until(lambda: bridge.document(LIGHT)["bridge"] == other)
            page = await (await window(bridge)).open(f"device/{LIGHT}")
            await expect(page.get_by_test_id("elsewhere")).to_contain_text(f"“{other}”")


async def test_a_read_only_bridge_says_so(tmp_path, demo, window):
    """Nothing can be changed there, and the page does not offer it."""
    async with rig(tmp_path, "Demo *", read_only="true") as bridge:
        await bridge.await_devices(*DEMO)
        page = await (await window(bridge)).open()
        await expect(page.get_by_test_id("read-only")).to_be_visible()
        await expect(page.get_by_role("switch")).to_be_disabled()
        await expect(page.get_by_test_id("volume")).to_be_disabled()


async def test_who_gives_the_password_may_control(tmp_path, demo, window):
    async with rig(tmp_path, "Demo *", http__password="open sesame") as bridge:
        await bridge.await_devices(*DEMO)
        reader = await window(bridge)
        page = await reader.open()
        switch = page.get_by_role("switch")
        await expect(switch).to_be_disabled()
        await page.get_by_test_id("open-login").click()
        dialog = page.get_by_role("dialog")
        with reader.tolerating("status of 403"):
            await dialog.get_by_label("Password").fill("open barley")
            await dialog.get_by_role("button", name="Log in").click()
            await expect(dialog.get_by_role("alert")).to_be_visible()
        await dialog.get_by_label("Password").fill("open sesame")
        await dialog.get_by_role("button", name="Log in").click()
        await expect(dialog).to_be_hidden()
        await expect(switch).to_be_enabled()
        await page.reload()
        await expect(switch).to_be_enabled()
        cookies = await page.context.cookies()
        assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
        checked = await switch.get_attribute("aria-checked") == "true"
        await switch.click()
        await expect(switch).to_have_attribute("aria-checked", str(not checked).lower())
        await demo.ask(LIGHT, "SetTarget", newTargetValue=checked)
        await page.get_by_role("button", name=re.compile("Log out")).click()
        await expect(switch).to_be_disabled()
