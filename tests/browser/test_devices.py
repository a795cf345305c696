"""The list of devices: what it shows of each, how it is searched, and what it controls."""

import re

from playwright.async_api import Page, expect

from tests.adapter.mosquitto import until
from tests.browser.rig import DEMO, LIGHT, RENDERER, ROUTER, SERVER

SONG = (
    '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/"><item id="1" parentID="0"'
    ' restricted="1"><dc:title>Rain &amp; Snow</dc:title>'
    "<upnp:class>object.item.audioItem.musicTrack</upnp:class></item></DIDL-Lite>"
)


def card(page: Page, udn: str):
    return page.locator(f'[data-testid="device"][data-udn="{udn}"]')


async def test_every_device_has_a_card(demo, window):
    """With its own icon, its name, and that it is online."""
    page = await (await window(demo)).open("devices")
    await expect(page.get_by_test_id("device")).to_have_count(len(DEMO))
    for udn, name in DEMO.items():
        await expect(card(page, udn).get_by_role("heading")).to_have_text(name)
        await expect(card(page, udn)).to_contain_text("Online")
        icon = card(page, udn).locator("img").first
        await expect(icon).to_have_attribute("src", re.compile(rf"/api/icon/{udn}"))
        await expect(icon).to_have_js_property("naturalWidth", 120)


async def test_a_card_shows_what_matters_of_its_kind(demo, window):
    uri = {"CurrentURI": "http://music.invalid/a.flac", "CurrentURIMetaData": SONG}
    await demo.ask(RENDERER, "SetAVTransportURI", **uri)
    page = await (await window(demo)).open("devices")
    await expect(card(page, ROUTER)).to_contain_text(re.compile(r"203\.0\.113\.\d+"))
    await expect(card(page, RENDERER)).to_contain_text("Rain & Snow")
    await expect(card(page, LIGHT).get_by_role("switch")).to_be_visible()


async def test_search_and_filters_stand_in_the_address(demo, window):
    reader = await window(demo)
    page = await reader.open("devices")
    await page.get_by_test_id("device-search").fill("media serv")
    await expect(page.get_by_test_id("device")).to_have_count(1)
    await expect(card(page, SERVER)).to_be_visible()
    await page.reload()
    await expect(page.get_by_test_id("device")).to_have_count(1)
    await page.get_by_test_id("device-search").fill("nothing like this")
    await expect(page.get_by_test_id("device")).to_have_count(0)
    await page.get_by_role("button", name="Clear search and filters").click()
    await expect(page.get_by_test_id("device")).to_have_count(len(DEMO))
    await page.get_by_role("button", name=re.compile("^Lights")).click()
    await expect(page.get_by_test_id("device")).to_have_count(1)
    await page.get_by_test_id("device-state").select_option("offline")
    await expect(page.get_by_test_id("device")).to_have_count(0)


async def test_cards_are_sorted_as_chosen(demo, window):
    page = await (await window(demo)).open("devices")
    names = page.get_by_test_id("device").get_by_role("heading")
    await expect(names).to_have_text(sorted(DEMO.values()))
    await page.get_by_test_id("device-sort").select_option("kind")
    await expect(names.first).to_have_text(DEMO[LIGHT])


async def test_a_light_is_switched_and_dimmed_on_its_card(demo, window):
    """The device says so itself, and what somebody else does is seen."""
    page = await (await window(demo)).open("devices")
    switch = card(page, LIGHT).get_by_role("switch")
    await expect(switch).to_have_attribute("aria-checked", "true")
    await switch.click()
    await expect(switch).to_have_attribute("aria-checked", "false")
    await until(lambda: demo.text(f"{LIGHT}/SwitchPower/value/Status") == "false")
    assert (await demo.ask(LIGHT, "GetStatus"))["ResultStatus"] is False
    slider = card(page, LIGHT).get_by_test_id("brightness")
    await slider.fill("35")
    await until(lambda: demo.text(f"{LIGHT}/Dimming/value/LoadLevelTarget") == "35")
    assert (await demo.ask(LIGHT, "GetLoadLevelTarget"))["GetLoadlevelTarget"] == 35
    await demo.ask(LIGHT, "SetTarget", newTargetValue=True)
    await expect(switch).to_have_attribute("aria-checked", "true")


async def test_a_player_is_paused_and_set_on_its_card(demo, window):
    page = await (await window(demo)).open("devices")
    player = card(page, RENDERER)
    await player.get_by_role("button", name="Pause").click()
    await expect(player.get_by_role("button", name="Play", exact=True)).to_be_visible()
    state = await demo.ask(RENDERER, "GetTransportInfo")
    assert state["CurrentTransportState"] == "PAUSED_PLAYBACK"
    await player.get_by_role("button", name="Play", exact=True).click()
    await expect(player.get_by_role("button", name="Pause")).to_be_visible()
    await player.get_by_test_id("volume").fill("23")
    await until(lambda: demo.document(f"{RENDERER}/media").get("volume") == 23)
    assert (await demo.ask(RENDERER, "GetVolume"))["CurrentVolume"] == 23
    await demo.ask(RENDERER, "SetVolume", DesiredVolume=61)
    await expect(player.get_by_test_id("volume")).to_have_value("61")


async def test_a_card_leads_to_its_device(demo, window):
    page = await (await window(demo)).open("devices")
    await card(page, ROUTER).get_by_role("link", name=DEMO[ROUTER]).click()
    await expect(page).to_have_url(re.compile(f"#/device/{ROUTER}$"))
    await page.go_back()
    await expect(page.get_by_test_id("device")).to_have_count(len(DEMO))
