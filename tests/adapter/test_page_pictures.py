"""Icons and covers: whose bytes are pictures, from where they are fetched, and how often."""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from html import escape

import aiohttp
import pytest
import pytest_asyncio

from bridge.web import pictures
from tests.adapter.device import Service, Variable, new_address
from tests.adapter.mosquitto import until
from tests.adapter.page import World, page
from tests.adapter.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0\xff"))
    + chunk(b"IEND", b"")
)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256))
SVG = b"<?xml version='1.0'?>\n<!-- a --><svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"
HTML = b"<html><svg></svg><script>alert(1)</script></html>"
"""What a device may call a picture."""


def wire(status: int, body: bytes = b"", kind: str = "image/png", head: str = "") -> bytes:
    start = (
        f"HTTP/1.1 {status} X\r\n{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return start.encode() + body


def icons(*urls: str) -> str:
    each = "".join(
        f"<icon><mimetype>image/png</mimetype><width>{size}</width><height>{size}</height>"
        f"<depth>24</depth><url>{escape(url)}</url></icon>"
        for size, url in enumerate(urls, 256)
    )
    return f"<iconList>{each}</iconList>"


def didl(cover: str) -> str:
    return (
        '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/"><item id="1" parentID="0" '
        f'restricted="1"><dc:title>T</dc:title><upnp:albumArtURI>{escape(cover)}</upnp:albumArtURI>'
        "<upnp:class>object.item.audioItem.musicTrack</upnp:class></item></DIDL-Lite>"
    )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    transport = Service(
        "AVTransport",
        (
            Variable("LastChange"),
            *(Variable(n, evented=False) for n in ("TransportState", "CurrentTrackMetaData")),
        ),
        service_type="urn:schemas-upnp-org:service:AVTransport:1",
    )
    async with page(
        tmp_path_factory.mktemp("page"), transport, more_xml=icons("/icon.png", "/larger.png")
    ) as world:
        await until(lambda: f"upnp/{world.id}" in world.caller.onlooker.held)
        yield world


async def fetch(world: World, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{world.url}{path}", headers=named) as got,
    ):
        return got.status, await got.read(), got.headers


def forget(world: World) -> None:
    """Have nothing be kept."""
    kept = world.pictures
    kept._kept.clear()
    kept._bytes = 0


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a" + PNG, "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "image/bmp"),
        (SVG, "image/svg+xml"),
    ],
)
async def test_an_icon_is_what_its_bytes_are(world: World, body, media_type):
    forget(world)
    world.device.answers["/icon.png"] = wire(200, body, "text/html; charset=utf-8")
    status, got, headers = await fetch(world, f"/api/icon/{world.id}")
    assert (status, got, headers["Content-Type"]) == (200, body, media_type)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    status, got, _ = await fetch(world, f"/api/icon/{world.id}", If_None_Match=headers["ETag"])
    assert (status, got) == (304, b"")


async def test_the_next_best_icon_stands_in_for_one_that_is_not_there(world: World):
    forget(world)
    world.device.answers["/icon.png"] = wire(404)
    world.device.answers["/larger.png"] = wire(200, JPEG)
    assert (await fetch(world, f"/api/icon/{world.id}"))[:2] == (200, JPEG)
    del world.device.answers["/larger.png"]
    forget(world)


@pytest.mark.parametrize(
    "answer",
    [
        wire(200, HTML, "image/png"),
        wire(200, b"", "image/png"),
        wire(200, b"<!-- " * 1000, "image/svg+xml"),
        wire(200, b"<!---->" * 1000 + b"<x", "image/svg+xml"),
        wire(404, PNG),
        wire(302, b"", head="LOCATION: /other.png\r\n"),
        wire(200, PNG + b"x" * pictures.MAX_BYTES),
        b"nonsense",
    ],
)
async def test_what_is_no_picture_is_not_found(world: World, answer):
    forget(world)
    world.device.answers["/icon.png"] = answer
    assert (await fetch(world, f"/api/icon/{world.id}"))[0] == 404
    assert world.device.requests["GET /other.png"] == 0


async def test_of_nobody_there_is_no_picture(world: World):
    for path in ("/api/icon/nobody", "/api/art/nobody", "/api/picture?udn=x&url=http://127.0.0.1/"):
        assert (await fetch(world, path))[0] == 404


async def test_many_who_ask_at_once_cost_the_device_one_request(world: World):
    forget(world)
    world.device.answers["/icon.png"] = wire(200, PNG)
    before = world.device.requests["GET /icon.png"]
    got = await asyncio.gather(*(fetch(world, f"/api/icon/{world.id}") for _ in range(20)))
    assert {(status, body) for status, body, _ in got} == {(200, PNG)}
    assert world.device.requests["GET /icon.png"] == before + 1


async def plays(world: World, cover: str) -> None:
    change = (
        '<Event xmlns="urn:schemas-upnp-org:metadata-1-0/AVT/"><InstanceID val="0">'
        f'<TransportState val="PLAYING"/><CurrentTrackMetaData val="{escape(didl(cover))}"/>'
        "</InstanceID></Event>"
    )
    await world.device.event("AVTransport", {"LastChange": change})


async def test_the_cover_of_what_plays_comes_from_the_device_or_its_neighbours_alone(world: World):
    assert (await fetch(world, f"/api/art/{world.id}"))[0] == 404
    device = f"http://{world.device.address}:{world.device.port}"
    world.device.answers["/cover"] = wire(200, JPEG)
    asked: list[str] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n")).decode())
        writer.write(wire(200, JPEG))

    async with serving(elsewhere, new_address()) as port:
        for cover in (
            f"http://localhost:{port}/",
            f"http://u@127.0.0.1:{port}/",
            "ftp://x/",
            "javascript:x",
            f"http://192.0.2.1:{port}/",
        ):
            await plays(world, cover)
            assert (await fetch(world, f"/api/art/{world.id}"))[0] == 404
        assert asked == []
    await plays(world, f"{device}/cover")
    await until(lambda: b"/cover" in world.caller.onlooker.held.get(f"upnp/{world.id}/media", b""))
    status, body, _ = await fetch(world, f"/api/art/{world.id}")
    assert (status, body) == (200, JPEG)


async def test_a_picture_that_a_device_names_is_fetched_from_its_own_host_alone(world: World):
    device = f"http://{world.device.address}:{world.device.port}"
    world.device.answers["/folder.png"] = wire(200, PNG)
    at = f"/api/picture?udn={world.id}&url="
    assert (await fetch(world, f"{at}{device}/folder.png"))[:2] == (200, PNG)
    for url in (
        f"http://{new_address()}:{world.device.port}/folder.png",
        "/folder.png",
        "",
        "file:///etc/passwd",
    ):
        assert (await fetch(world, f"{at}{url}"))[0] == 404
    assert (await fetch(world, f"{at}{device}/folder.png", Via="x"))[0] == 403


async def test_what_is_kept_is_bounded(world: World, monkeypatch):
    forget(world)
    monkeypatch.setattr(pictures, "MAX_KEPT_BYTES", 3 * len(PNG))
    device = f"http://{world.device.address}:{world.device.port}"
    for number in range(10):
        world.device.answers[f"/{number}.png"] = wire(200, PNG + bytes([number]))
        await fetch(world, f"/api/picture?udn={world.id}&url={device}/{number}.png")
    kept = world.pictures
    assert 0 < kept._bytes <= 3 * len(PNG)
    assert kept._bytes == sum(len(one.body) for _, one in kept._kept.values())
    forget(world)
    for number in range(10):
        world.device.answers[f"/{number}.png"] = wire(200, PNG)
        await fetch(world, f"/api/picture?udn={world.id}&url={device}/{number}.png")
    assert kept._bytes == len(PNG)
    assert len(kept._kept) == 10
