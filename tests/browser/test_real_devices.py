"""The page with devices that others wrote: what is done there is asked at the device itself."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.adapter.mosquitto import until
from tests.browser import chromium
from tests.system import lab
from tests.system.bridge import Observer
from tests.system.lab import Lab
from tests.system.site import Site

PROGRAMS = ("light", "gmediarender", "minidlna")


@dataclass
class House:
    """A bridge among real devices, and a browser in their network."""

    site: Site
    observer: Observer
    browser: Browser
    url: str = "http://127.0.0.1:8099"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A lab with some devices, the bridge and the browser."""
    if reason := lab.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("house")
    with Lab() as made:
        site = Site(made, folder)
        site.start(*PROGRAMS)
        try:
            with site.observed() as observer:
                async with chromium.running(starter(folder, made)) as inside:
                    yield House(site, observer, inside)
        finally:
            site.close()


def starter(folder: Path, space: Lab) -> Path:
    """Write a program that starts the browser in the lab."""
    file = folder / "chromium"
    words = " ".join((*space.exec_prefix, chromium.path() or ""))
    file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    file.chmod(0o755)
    return file


def card(page: Page, udn: str):
    return page.locator(f'[data-testid="device"][data-udn="{udn}"]')


async def test_a_lamp_is_switched_and_dimmed(house, window):
    udn = house.site.device("light", "DimmableLight")
    status = house.site.service("light", "GetStatus")
    level = house.site.service("light", "GetLoadLevelStatus")
    page = await (await window(house, through=house.browser)).open()
    switch = card(page, udn).get_by_role("switch")
    for _ in range(2):
        before = house.site.invoke(status, "GetStatus")["ResultStatus"] == "1"
        await expect(switch).to_be_checked(checked=before)
        await switch.click()
        await expect(switch).to_be_checked(checked=not before)
        after = house.site.invoke(status, "GetStatus")["ResultStatus"] == "1"
        assert after is not before
    await card(page, udn).get_by_test_id("brightness").fill("37")
    dimmed = {"retLoadlevelStatus": "37"}
    await until(lambda: house.site.invoke(level, "GetLoadLevelStatus") == dimmed)


async def test_a_player_is_turned_down(house, window):
    service = house.site.service("gmediarender", "GetVolume")
    speaker = {"InstanceID": 0, "Channel": "Master"}
    udn = house.site.device("gmediarender", "MediaRenderer")
    page = await (await window(house, through=house.browser)).open()
    await card(page, udn).get_by_test_id("volume").fill("12")
    await until(lambda: house.site.invoke(service, "GetVolume", **speaker)["CurrentVolume"] == "12")


async def test_a_song_of_a_real_server_plays_on_a_real_player(house, window):
    position = house.site.service("gmediarender", "GetPositionInfo")
    page = await (await window(house, through=house.browser)).open("players")
    entries = page.get_by_test_id("entries")
    for folder in ("Music", "All Music"):
        await entries.get_by_role("button", name=re.compile(f"^{folder}")).click()
    await entries.get_by_test_id("play-item").first.click()
    player = page.get_by_test_id("player").filter(has_text="Lab Renderer")
    await expect(player.locator(".song")).not_to_have_text("Nothing plays")
    told = house.site.invoke(position, "GetPositionInfo", InstanceID=0)
    assert told["TrackURI"].startswith("http://10.77.0.12:8200/")
    await player.get_by_test_id("stop").click()


async def test_every_page_of_a_real_device_can_be_read(house, window):
    reader = await window(house, through=house.browser)
    barriers = {}
    for name, kind in (("light", "DimmableLight"), ("minidlna", "MediaServer")):
        udn = house.site.device(name, kind)
        for section in ("", "actions", "documents", "homeassistant"):
            await reader.open(f"device/{udn}?section={section}")
            if found := await reader.find_barriers():
                barriers[f"{name}/{section}"] = found
    assert not barriers
