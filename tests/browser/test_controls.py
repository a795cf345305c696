"""What is done on the page is done by the device: values, actions, players, and media servers."""

import json
import re

from playwright.async_api import Page, expect

from tests.adapter.mosquitto import until
from tests.browser.rig import DEMO, LIGHT, RENDERER, ROUTER, SERVER


async def open_action(page: Page, name: str):
    """Unfold the form of an action."""
    form = page.locator(f'[data-testid="action"][data-action="{name}"]')
    await form.locator("summary").click()
    return form


async def test_a_value_is_set_on_the_page_of_its_device(demo, window):
    page = await (await window(demo)).open(f"device/{LIGHT}")
    value = page.locator(f'[data-topic="upnp/{LIGHT}/Dimming/value/LoadLevelStatus"]')
    await value.get_by_test_id("set").fill("72")
    await until(lambda: demo.text(f"{LIGHT}/Dimming/value/LoadLevelTarget") == "72")
    assert (await demo.ask(LIGHT, "GetLoadLevelTarget"))["GetLoadlevelTarget"] == 72
    power = page.locator(f'[data-topic="upnp/{LIGHT}/SwitchPower/value/Status"]')
    await demo.ask(LIGHT, "SetTarget", newTargetValue=False)
    await expect(power.get_by_role("switch")).not_to_be_checked()
    await power.get_by_role("switch").click()
    await expect(power.get_by_role("switch")).to_be_checked()
    assert (await demo.ask(LIGHT, "GetStatus"))["ResultStatus"] is True


async def test_a_value_that_moves_has_a_curve(demo, window):
    await demo.ask(LIGHT, "SetTarget", newTargetValue=True)
    page = await (await window(demo)).open(f"device/{LIGHT}")
    value = page.locator(f'[data-topic="upnp/{LIGHT}/Dimming/value/LoadLevelStatus"]')
    await expect(value.locator(".spark").locator("svg, canvas")).to_be_visible()
    await expect(value.locator(".when")).to_contain_text(re.compile("now|ago"))


async def test_an_action_is_called_by_its_form(demo, window):
    """With the answer in words, and the same call as others write it."""
    page = await (await window(demo)).open(f"device/{RENDERER}")
    await page.get_by_test_id("tab-actions").click()
    form = await open_action(page, "SetVolume")
    await expect(form.get_by_test_id("argument-Channel")).to_have_value("Master")
    volume = form.get_by_test_id("argument-DesiredVolume")
    await expect(volume).to_have_attribute("max", "100")
    await volume.fill("31")
    await form.get_by_test_id("call").click()
    await expect(form.get_by_test_id("answer")).to_contain_text(re.compile(r"\d+ ms"))
    assert (await demo.ask(RENDERER, "GetVolume"))["CurrentVolume"] == 31
    form = await open_action(page, "GetVolume")
    await form.get_by_test_id("call").click()
    await expect(form.get_by_test_id("answer").get_by_role("row")).to_have_text(re.compile("31"))


async def test_a_fault_is_told_in_words(demo, window):
    page = await (await window(demo)).open(f"device/{ROUTER}")
    await page.get_by_role("link", name="Demo WAN Connection").first.click()
    await page.get_by_test_id("tab-actions").click()
    form = await open_action(page, "GetGenericPortMappingEntry")
    await form.get_by_test_id("argument-NewPortMappingIndex").fill("7")
    await form.get_by_test_id("call").click()
    await expect(form.get_by_test_id("answer")).to_contain_text("713")


async def test_a_call_is_copied_as_a_command(demo, window):
    reader = await window(demo, permissions=["clipboard-read", "clipboard-write"])
    page = await reader.open(f"device/{LIGHT}")
    await page.get_by_test_id("tab-actions").click()
    form = await open_action(page, "SetTarget")
    copied = {}
    for name in ("mosquitto", "curl", "homeassistant", "nodered"):
        await form.get_by_test_id(f"copy-{name}").click()
        copied[name] = await page.evaluate("() => navigator.clipboard.readText()")
    assert f"upnp/{LIGHT}" in copied["mosquitto"]
    assert f"{demo.url}/api/call" in copied["curl"]
    assert "mqtt.publish" in copied["homeassistant"]
    assert json.loads(copied["nodered"])
    assert all("SetTarget" in text for text in copied.values())


async def test_the_documents_stand_as_they_are_on_the_bus(demo, window):
    page = await (await window(demo)).open(f"device/{LIGHT}")
    await page.get_by_test_id("tab-documents").click()
    topic = f"upnp/{LIGHT}/SwitchPower/action/SetTarget"
    await expect(page.get_by_test_id("topic").first).to_be_visible()
    await page.get_by_role("searchbox").fill(topic)
    document = page.get_by_test_id("topic").filter(has=page.get_by_text(topic, exact=True))
    shown = json.loads(await document.locator("pre").text_content() or "")
    assert shown == demo.document(f"{LIGHT}/SwitchPower/action/SetTarget")


async def test_a_player_is_controlled_on_the_wall(demo, window):
    page = await (await window(demo)).open("players")
    player = page.locator(f'[data-testid="player"][data-udn="{RENDERER}"]')
    title = player.locator(".song")
    first = await title.inner_text()
    await player.get_by_test_id("next").click()
    await expect(title).not_to_have_text(first)
    await player.get_by_role("button", name="Mute", exact=True).click()
    await expect(player.get_by_role("button", name="Unmute")).to_be_visible()
    assert (await demo.ask(RENDERER, "GetMute"))["CurrentMute"] is True
    await player.get_by_role("button", name="Unmute").click()
    await expect(player.get_by_role("button", name="Mute", exact=True)).to_be_visible()
    await player.get_by_test_id("play-url").click()
    await player.get_by_test_id("url").fill("http://music.invalid/stream.mp3")
    await player.get_by_test_id("url").press("Enter")
    await until(
        lambda: demo.document(f"{RENDERER}/media").get("uri") == "http://music.invalid/stream.mp3"
    )


async def test_a_song_is_found_on_a_media_server_and_played(demo, window):
    """Down the folders, with covers, page by page; and by a search."""
    page = await (await window(demo)).open("players")
    entries = page.get_by_test_id("entries")
    for folder in ("Albums", "Quiet Hours"):
        await entries.get_by_role("button", name=folder).click()
    cover = entries.locator("img").first
    await expect(cover).to_have_js_property("naturalWidth", 240)
    song = entries.get_by_role("listitem").filter(has_text="Snow on the Aerial")
    await song.get_by_role("button", name=re.compile("Play")).click()
    player = page.locator(f'[data-testid="player"][data-udn="{RENDERER}"]')
    await expect(player.locator(".song")).to_have_text("Snow on the Aerial")
    await expect(player).to_contain_text("Ada Retain · Quiet Hours")
    position = await demo.ask(RENDERER, "GetPositionInfo")
    assert position["TrackURI"].endswith("/track-803.wav")
    assert position["TrackDuration"] == "0:03:54"
    await page.get_by_role("navigation", name="Folders").get_by_role("button", name="Start").click()
    await entries.get_by_role("button", name="Tracks").click()
    shown = entries.get_by_role("listitem")
    await expect(shown.first).to_be_visible()
    while await page.get_by_test_id("more").count():
        before = await shown.count()
        await page.get_by_test_id("more").click()
        await expect(shown).not_to_have_count(before)
    await expect(shown).to_have_count(40)
    await page.get_by_test_id("browse-search").fill("cat on")
    await expect(shown).to_have_count(1)
    await expect(shown).to_contain_text("The Cat on the Router")


async def test_a_device_is_refreshed_and_forgotten(demo, window):
    """It comes back by itself, since it is still there."""
    page = await (await window(demo)).open(f"device/{SERVER}")
    await page.get_by_role("button", name="Refresh").click()
    await expect(page.locator(".toast")).to_contain_text("read again")
    await page.get_by_role("button", name="Forget").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text(DEMO[SERVER])
    await dialog.get_by_role("button", name="Forget").click()
    await until(lambda: not demo.text(SERVER))
    await demo.request("search")
    await demo.await_devices(SERVER)
    await (await window(demo)).open(f"device/{SERVER}")
