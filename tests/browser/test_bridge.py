"""The pages of the bridge itself: the map, what happens, how it is, and how it is set."""

import re

from playwright.async_api import expect

from bridge.support.doctor.examination import TITLES
from tests.adapter.mosquitto import until
from tests.browser.rig import DEMO, LIGHT, ROUTER


async def test_the_map_leads_to_every_device(demo, window):
    page = await (await window(demo)).open("map")
    for name in (*DEMO.values(), "Demo WAN Connection"):
        await expect(page.get_by_role("link", name=re.compile(f"{name}: ")).first).to_be_visible()
    await expect(page.get_by_role("img", name=re.compile("WANIPConnection: "))).to_be_visible()
    await page.get_by_role("link", name=re.compile(f"{DEMO[ROUTER]}: ")).click()
    await expect(page).to_have_url(re.compile(f"#/device/{ROUTER}$"))


async def test_the_map_is_folded_by_keyboard(demo, window):
    page = await (await window(demo)).open("map")
    fold = page.get_by_role("button", name=re.compile(f"of {DEMO[LIGHT]}$"))
    service = page.get_by_role("img", name=re.compile("^Service Dimming: "))
    await expect(fold).to_have_attribute("aria-expanded", "true")
    await expect(service).to_have_count(1)
    await fold.press("Enter")
    await expect(fold).to_have_attribute("aria-expanded", "false")
    await expect(service).to_have_count(0)
    await fold.press("Space")
    await expect(service).to_have_count(1)


async def test_the_map_shows_what_is_looked_for(demo, window):
    page = await (await window(demo)).open("map")
    await page.get_by_test_id("map-search").fill("light")
    drawn = page.locator("svg a")
    await expect(drawn.filter(has_text=DEMO[LIGHT])).to_have_count(1)
    await expect(drawn.filter(has_text=DEMO[ROUTER])).to_have_count(0)
    await page.get_by_test_id("map-state").select_option("offline")
    await expect(drawn).to_have_count(0)
    await page.get_by_role("button", name="Clear search and filters").click()
    await expect(drawn.filter(has_text=DEMO[ROUTER])).to_have_count(1)


async def test_activity_is_shown_as_it_happens(demo, window):
    """Events, commands and answers of everybody; held while paused, and filtered."""
    page = await (await window(demo)).open("activity")
    entries = page.get_by_test_id("activity")
    await page.get_by_test_id("activity-filter").fill("setloadleveltarget")
    topic = f"upnp/{LIGHT}/call"
    call = {"callid": "seen", "action": "SetLoadLevelTarget", "args": {"newLoadlevelTarget": 61}}
    demo.onlooker.publish(topic, call)
    await expect(
        entries.filter(has_text='"seen"').and_(entries_of(page, "command"))
    ).to_be_visible()
    for kind in ("command", "answer"):
        await expect(entries_of(page, kind).filter(has_text='"seen"')).to_be_visible()
    await page.get_by_test_id("pause").click()
    demo.onlooker.publish(topic, call | {"callid": "held"})
    await expect(page.get_by_test_id("pause")).to_contain_text("new")
    await expect(entries.filter(has_text='"held"')).to_have_count(0)
    await page.get_by_test_id("pause").click()
    await expect(entries.filter(has_text='"held"')).to_have_count(2)
    await page.get_by_test_id("activity-filter").fill("")
    await page.get_by_role("button", name="Events").click()
    await expect(entries_of(page, "event").first).to_be_visible()
    await expect(entries_of(page, "command")).to_have_count(0)


async def test_activity_is_found_by_device_and_level(demo, window):
    """An answer that is a failure counts as a warning."""
    page = await (await window(demo)).open("activity")
    for udn in (LIGHT, ROUTER):
        demo.onlooker.publish(f"upnp/{udn}/call", {"callid": "wrong", "action": "NoSuchAction"})
    failed = entries_of(page, "answer").filter(has_text='"wrong"')
    await expect(failed).to_have_count(2)
    await page.get_by_test_id("activity-device").select_option(label=DEMO[LIGHT])
    await expect(failed).to_have_count(1)
    await expect(failed).to_contain_text(DEMO[LIGHT])
    await page.get_by_test_id("activity-level").select_option("warning")
    await expect(failed).to_have_count(1)
    await expect(entries_of(page, "command")).to_have_count(0)


def entries_of(page, kind):
    return page.locator(f'[data-testid="activity"][data-kind="{kind}"]')


async def test_the_log_level_is_set(demo, window):
    page = await (await window(demo)).open("activity")
    await page.get_by_test_id("log-level").select_option("debug")
    await until(lambda: demo.document("bridge/main/health").get("log_level") == "debug")
    await page.get_by_test_id("log-level").select_option("info")
    await until(lambda: demo.document("bridge/main/health").get("log_level") == "info")


async def test_health_has_its_numbers_and_curves(demo, window):
    page = await (await window(demo)).open("health")
    await expect(page.locator("main")).to_contain_text("4 of 4")
    for key in ("rates", "latency", "queue", "calls", "cpu", "memory", "subscriptions"):
        await expect(page.get_by_test_id(f"curve-{key}").get_by_role("heading")).to_be_visible()


async def test_health_tells_of_the_broker(demo, window):
    page = await (await window(demo)).open("health")
    broker = page.get_by_test_id("broker")
    await expect(broker).to_contain_text("Connected")
    await expect(broker).to_contain_text(f"mqtt://127.0.0.1:{demo.broker.port}")


async def test_settings_are_found(demo, window):
    """By a word of theirs, and by whether somebody has set them."""
    page = await (await window(demo)).open("settings")
    setting = page.get_by_test_id("setting")
    await page.get_by_test_id("settings-chosen").click()
    await expect(setting.filter(has_text="BRIDGE_UPNP__POLL_INTERVAL")).to_have_count(1)
    await expect(setting.filter(has_text="BRIDGE_MQTT__QOS")).to_have_count(0)
    await page.get_by_test_id("settings-filter").fill("no such word")
    await expect(setting).to_have_count(0)
    await expect(page.get_by_role("heading", name="No setting fits.")).to_be_visible()


async def test_every_setting_says_where_it_comes_from(demo, window):
    page = await (await window(demo)).open("settings")
    await page.get_by_test_id("settings-filter").fill("upnp.poll_interval")
    setting = page.get_by_test_id("setting")
    await expect(setting).to_have_count(1)
    await expect(setting).to_contain_text("BRIDGE_UPNP__POLL_INTERVAL")
    await expect(setting.locator(".shown")).to_have_text("5")
    await expect(setting).to_contain_text(re.compile("flag", re.IGNORECASE))
    await expect(setting).to_contain_text("60")


async def test_the_doctor_tells_what_it_finds(demo, window):
    reader = await window(demo)
    page = await reader.open("settings/doctor")
    await page.get_by_test_id("doctor").click()
    await expect(page.get_by_test_id("finding").first).to_be_visible(timeout=60_000)
    assert tuple(await page.locator("main h2").all_inner_texts()) == TITLES
    assert not await reader.find_barriers()
