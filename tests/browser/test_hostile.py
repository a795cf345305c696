"""Devices and publishers that mean ill: no script of theirs runs, and the page stays usable."""

import json
from collections.abc import AsyncIterator
from xml.sax.saxutils import escape, quoteattr

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.adapter.bridge import Onlooker
from tests.adapter.device import (
    Action,
    Call,
    Part,
    Service,
    Variable,
    answer,
    last_change,
    new_udn,
    running,
)
from tests.browser.reading import PHONE, Reader
from tests.browser.rig import Rig, rig

SCRIPT = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>{{pwned}}"
LINK = "javascript:window.pwned=1"
LONG = "x" * 10_240
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48" onload="window.pwned=1">'
    "<script>window.pwned=1</script></svg>"
)
SERVICES = 5000
EVIL, LARGE, PLAYER, SHOP = new_udn(), new_udn(), new_udn(), new_udn()
NAMES = (f"Evil {SCRIPT}", f"Large {LONG}", "Evil player", "Evil shop")
NO_XML = r"inline style violates .*/didl\.js"
"""Chromium styles what it puts in place of XML that is none, where nobody sees it."""
NO_PICTURE = r"status of 404.*/api/(icon|art|picture)|status of 4\d\d.*/api/picture"


def didl(title: str, link: str) -> str:
    """Write metadata whose every word is an attack."""
    return (
        '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/"'
        ' xmlns:h="http://www.w3.org/1999/xhtml">'
        f"<container id={quoteattr(title)} parentID='0' childCount={quoteattr(title)}>"
        f"<dc:title>{escape(title)}</dc:title><upnp:albumArtURI>{escape(link)}</upnp:albumArtURI>"
        "<upnp:class>object.container</upnp:class></container>"
        "<item id='1' parentID='0'><h:script>window.pwned=1</h:script>"
        f"<dc:title>{escape(title)}</dc:title><upnp:artist>{escape(title)}</upnp:artist>"
        f"<upnp:albumArtURI>{escape(link)}</upnp:albumArtURI>"
        "<upnp:class>object.item.audioItem.musicTrack</upnp:class>"
        f"<res protocolInfo='http-get:*:audio/mpeg:*' duration={quoteattr(title)}>{escape(link)}"
        "</res></item></DIDL-Lite>"
    )


def evil() -> Part:
    """Return a device whose every word is an attack."""
    words = ("manufacturer", "modelName", "modelDescription", "modelNumber", "serialNumber")
    links = ("manufacturerURL", "modelURL", "presentationURL")
    icon = "<icon><mimetype>image/svg+xml</mimetype><width>48</width><height>48</height>"
    more = (
        "".join(f"<{tag}>{escape(SCRIPT)}</{tag}>" for tag in words)
        + "".join(f"<{tag}>{escape(LINK)}</{tag}>" for tag in links)
        + f"<iconList>{icon}<depth>8</depth><url>/evil.svg</url></icon></iconList>"
    )
    members = (
        Variable(SCRIPT, allowed=(SCRIPT, LINK)),
        Variable("Text", default=SCRIPT),
        Action(f"Set{SCRIPT}", (f"in {SCRIPT}:{SCRIPT}",)),
        Action("SetText", ("in NewText:Text",)),
        Action("GetText", ("out CurrentText:Text",)),
    )
    service = Service("Evil", members, {"Text": SCRIPT}, service_id=f"urn:x:serviceId:{SCRIPT}")
    return Part(EVIL, NAMES[0], (service,), (Part(new_udn(), SCRIPT),), more=more)


def player() -> Part:
    """Return a player that plays attacks."""
    values = {
        "TransportState": "PLAYING",
        "CurrentTrackMetaData": didl(SCRIPT, LINK),
        "CurrentTrackURI": LINK,
        "CurrentTrackDuration": SCRIPT,
        "RelativeTimePosition": SCRIPT,
    }
    inside = "".join(f"<{name} val={quoteattr(value)}/>" for name, value in values.items())
    change = last_change(f'<InstanceID val="0">{inside}</InstanceID>')
    members = (Variable("LastChange"), *(Variable(name, evented=False) for name in values))
    kind = "urn:schemas-upnp-org:device:MediaRenderer:1"
    return Part(
        PLAYER, NAMES[2], (Service("AVTransport", members, {"LastChange": change}),), type=kind
    )


def shop() -> Part:
    """Return a media server that offers attacks."""
    names = ("ObjectID", "BrowseFlag", "Filter", "SortCriteria", "Result")
    texts = [Variable(f"A_ARG_TYPE_{name}", evented=False) for name in names]
    numbers = [Variable(f"A_ARG_TYPE_{name}", "ui4", evented=False) for name in ("Index", "Count")]
    browse = Action(
        "Browse",
        (
            "in ObjectID:A_ARG_TYPE_ObjectID",
            "in BrowseFlag:A_ARG_TYPE_BrowseFlag",
            "in Filter:A_ARG_TYPE_Filter",
            "in StartingIndex:A_ARG_TYPE_Index",
            "in RequestedCount:A_ARG_TYPE_Count",
            "in SortCriteria:A_ARG_TYPE_SortCriteria",
            "out Result:A_ARG_TYPE_Result",
            "out NumberReturned:A_ARG_TYPE_Count",
            "out TotalMatches:A_ARG_TYPE_Count",
        ),
    )
    kind = "urn:schemas-upnp-org:device:MediaServer:1"
    return Part(
        SHOP, NAMES[3], (Service("ContentDirectory", (*texts, *numbers, browse)),), type=kind
    )


async def browse(call: Call) -> dict[str, str]:
    """Offer attacks: in the names, and below them in the form."""
    inside = {
        "0": didl(SCRIPT, LINK),
        SCRIPT: '<!DOCTYPE a [<!ENTITY b "' + "c" * 9 + '">]><DIDL-Lite>&b;<script/></DIDL-Lit',
    }
    result = inside.get(call.args["ObjectID"], SCRIPT)
    return {"Result": result, "NumberReturned": "2", "TotalMatches": "4000000000"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def den(browser: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A bridge among devices that mean ill."""
    many = tuple(Service(f"Service{number}", evented=False) for number in range(SERVICES))
    large = Part(LARGE, NAMES[1], many, more=f"<modelName>{LONG}</modelName>")
    async with (
        running(evil()) as device,
        running(large),
        running(player()),
        running(shop()) as server,
        rig(tmp_path_factory.mktemp("den"), "Evil*", "Large*") as bridge,
    ):
        device.answers["/evil.svg"] = picture(SVG)
        server.actions["Browse"] = browse
        await bridge.await_devices(EVIL, LARGE, PLAYER, SHOP)
        flood(bridge.onlooker)
        yield bridge


def picture(svg: str) -> bytes:
    """Answer with a picture that brings a script."""
    return answer(200, svg.encode()).replace(b"text/xml", b"image/svg+xml")


def flood(onlooker: Onlooker) -> None:
    """Publish retained what no bridge would, as another instance and on this one's topics."""
    row = {"id": "evil", "friendly_name": SCRIPT, "availability": SCRIPT, "location": LINK}
    wrong = (
        SCRIPT,
        "[",
        "null",
        "7",
        '"x"',
        "[null, 7, {}]",
        '{"id": {}, "children": 7}',
        "\ud83d",
    )
    told = {
        "bridge/evil/state": "online",
        "bridge/evil/devices": json.dumps([row, None, 7, {"id": {}}, {"id": SCRIPT}]),
        "bridge/evil/health": SCRIPT,
        "evil": json.dumps(row | {"kind": "device", "bridge": "evil", "children": [SCRIPT, 7]}),
        "evil/availability": SCRIPT,
        f"{EVIL}/media": SCRIPT,
        f"{PLAYER}/media": json.dumps({"title": [SCRIPT], "volume": SCRIPT, "album_art": LINK}),
        "bridge/main/devices": SCRIPT,
    } | {f"evil-{number}": text for number, text in enumerate(wrong)}
    for own, text in told.items():
        onlooker.publish(f"upnp/{own}", text.encode("utf-8", "replace"), retain=True)


async def assert_harmless(page: Page) -> None:
    """Assert that nothing on the page has come of markup, and that no script has run."""
    assert await page.evaluate("() => window.pwned") is None
    bad = "script:not([src^='/page/']), iframe, object, embed, base, [src='x'], [onerror], [onload]"
    assert await page.locator(f"body :is({bad})").count() == 0
    assert await page.locator("[href^='javascript:' i], [src^='javascript:' i]").count() == 0


async def opened(reader: Reader, view: str) -> Page:
    """Show a view, which must be harmless."""
    page = await reader.open(view)
    await assert_harmless(page)
    return page


async def test_every_page_shows_names_as_text(den, window):
    reader = await window(den)
    with reader.tolerating(NO_PICTURE):
        for view in ("players", "map", "activity", "health", "settings", "devices"):
            page = await opened(reader, view)
            await expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
            assert not await reader.is_wider_than_window(), view
        card = page.locator(f'[data-udn="{EVIL}"]')
        await expect(card.get_by_role("heading")).to_have_text(NAMES[0])
        await page.get_by_test_id("device-search").fill("evil shop")
        await expect(page.get_by_test_id("device")).to_have_count(1)


async def test_a_device_is_shown_as_text(den, window):
    reader = await window(den)
    with reader.tolerating(NO_PICTURE):
        for section in ("", "actions", "documents", "homeassistant"):
            page = await opened(reader, f"device/{EVIL}?section={section}")
            await expect(page.locator("h1")).to_have_text(NAMES[0])
            assert not await reader.is_wider_than_window(), section


async def test_an_answer_is_shown_as_text(den, window):
    reader = await window(den)
    with reader.tolerating(NO_PICTURE):
        page = await opened(reader, f"device/{EVIL}?section=actions")
        form = page.locator('[data-testid="action"][data-action="SetText"]')
        await form.locator("summary").click()
        await form.get_by_test_id("argument-NewText").fill(SCRIPT)
        await form.get_by_test_id("call").click()
        await expect(form.get_by_test_id("answer")).to_be_visible()
        await assert_harmless(page)


async def test_what_is_played_is_shown_as_text(den, window):
    reader = await window(den)
    with reader.tolerating(NO_PICTURE):
        page = await opened(reader, "players")
        await expect(page.locator(f'[data-udn="{PLAYER}"] .song')).to_have_text(SCRIPT)
        await assert_harmless(page)


async def test_a_folder_is_shown_as_text_and_what_is_no_xml_is_told(den, window):
    reader = await window(den)
    with reader.tolerating(NO_PICTURE):
        page = await opened(reader, "players")
        entries = page.get_by_test_id("entries")
        await expect(entries.get_by_test_id("item")).to_contain_text(SCRIPT)
        await assert_harmless(page)
        with reader.tolerating(NO_XML):
            await entries.get_by_test_id("folder").get_by_role("button").click()
            await expect(page.get_by_test_id("browser")).to_contain_text("could not be read")
        await assert_harmless(page)


async def test_a_device_of_thousands_of_services_is_usable(den, window):
    """On a phone: its page opens, does not spread, and filters."""
    reader = await window(den, viewport=PHONE, is_mobile=True)
    with reader.tolerating(NO_PICTURE):
        page = await opened(reader, f"device/{LARGE}")
        assert not await reader.is_wider_than_window()
        await expect(page.get_by_test_id("service").first).to_be_visible()
        await page.get_by_role("searchbox").fill("service777")
        await expect(page.get_by_test_id("service")).to_have_count(1)


async def test_a_page_that_is_open_takes_whatever_is_published(den, window):
    reader = await window(den)
    with reader.tolerating(NO_PICTURE):
        page = await opened(reader, "devices")
        flood(den.onlooker)
        den.onlooker.settle()
        await page.get_by_test_id("device-search").fill("large")
        await expect(page.locator(f'[data-udn="{LARGE}"]')).to_be_visible()
        await assert_harmless(page)
