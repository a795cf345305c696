"""Who may look and who may control: Host, Origin, password, cookie, proxies, read-only."""

import re
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from bridge.web import api, guard
from tests.adapter.mosquitto import until
from tests.adapter.page import World, page

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMAND = "/api/request/health"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A bridge without a password."""
    more = {"http__names": "hub.example", "http__base_path": "/upnp/"}
    async with page(tmp_path_factory.mktemp("page"), **more) as world:
        await until(lambda: f"upnp/{world.id}" in world.caller.onlooker.held)
        yield world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A bridge with a password."""
    directory = tmp_path_factory.mktemp("page")
    (directory / "secret").write_text("pa ss:wörd\n")
    more = {"http__password_file": str(directory / "secret"), "read_only": "true"}
    async with page(directory, **more) as world:
        await until(lambda: f"upnp/{world.id}" in world.caller.onlooker.held)
        yield world


async def opened(world: World, **headers: str) -> int:
    """Return the status of opening a WebSocket."""
    try:
        async with world.socket(**headers) as client:
            await client.watch("upnp/bridge/main/state")
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


# Host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8099",
        "[fe80::1%25eth0]",
        "192.168.1.5:8099",
        "localhost",
        "LOCALHOST:8099",
        "localhost.:80",
        "living-room.local",
        "hub.example:8443",
        socket.gethostname(),
    ],
)
async def test_the_page_is_opened_by_an_address_or_a_name_that_is_ours(world: World, host):
    for path in ("/", "/api/tree", "/api/session", "/upnp/", "/upnp"):
        assert (await world.get(path, Host=host))[0] == 200
    assert await opened(world, Host=host) == 101


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8099",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example#.local",
        "evil.example/.local",
        "local",
        "xlocal",
        "2130706433",
        "0x7f.1",
        "127.1",
        "hub.example.evil.example",
        "a@127.0.0.1",
        "127.0.0.1:",
        "[::1",
        "",
    ],
)
async def test_a_name_of_a_stranger_is_misdirected_whatever_is_asked(world: World, host):
    for path in ("/", "/api/tree", "/api/session", "/api/nothing"):
        status, body, _ = await world.get(path, Host=host)
        assert status == 421, path
        assert body["error"]
    assert (await world.post(COMMAND, {}, Host=host))[0] == 421
    assert await opened(world, Host=host) == 421


async def test_health_is_told_by_any_name(world: World):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await world.get(path, Host="upnp2mqtt:8099"))[0] == 200


# Origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("http://localhost", "localhost"),
        ("http://LocalHost:80", "localhost"),
        ("https://hub.example", "hub.example"),
        ("https://hub.example:443", "hub.example:443"),
        ("http://[::1]:8099", "[::1]:8099"),
    ],
)
async def test_the_page_itself_may(world: World, origin, host):
    named = {"Origin": origin.format(port=world.port), "Host": host.format(port=world.port)}
    assert (await world.get("/api/tree", **named))[0] == 200
    assert (await world.post(COMMAND, {}, **named))[0] == 200
    assert await opened(world, **named) == 101


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://127.0.0.1.evil.example:{port}",
        "http://evil@127.0.0.1:{port}",
        "http://127.0.0.1:{port}/",
        "file://",
        "ws://127.0.0.1:{port}",
        "http://127.0.0.1:{port} http://evil.example",
        "http://127.0.0.1:99999",
    ],
)
async def test_a_page_from_elsewhere_may_not(world: World, origin):
    named = {"Origin": origin.format(port=world.port)}
    assert (await world.get("/api/tree", **named))[0] == 403
    status, body = await world.post(COMMAND, {}, **named)
    assert (status, body["code"]) == (403, "denied")
    assert await opened(world, **named) == 403


async def test_what_another_site_embeds_is_refused_and_what_it_links_to_is_not(world: World):
    for site in ("cross-site", "same-site"):
        embeds = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "no-cors"}
        assert (await world.get("/api/picture?udn=x&url=http://127.0.0.1/", **embeds))[0] == 403
    own = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "no-cors"}
    assert (await world.get("/api/session", **own))[0] == 200
    links = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert (await world.get("/", **links))[0] == 200
    assert (await world.post(COMMAND, {}, **links))[0] == 403


# Without a password


async def test_without_a_password_this_machine_controls(world: World):
    assert (await world.post(COMMAND, {}))[0] == 200
    assert (await world.post(COMMAND, {}, Authorization="Bearer whatever"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "192.168.1.7"},
        {"X_Forwarded_For": "127.0.0.1, 192.168.1.7"},
        {"X_Forwarded_For": "192.168.1.7, 127.0.0.1"},
        {"X_Forwarded_For": "unknown"},
        {"X_Forwarded_For": ""},
        {"X_Real_IP": "192.168.1.7"},
        {"Forwarded": 'for="[2001:db8::1]:80";proto=https'},
        {"Forwarded": "for=127.0.0.1, for=192.168.1.7"},
        {"Forwarded": "for=_hidden"},
        {"X_Ingress_Path": "/api/hassio_ingress/x"},
        {"Via": "1.1 proxy"},
    ],
)
async def test_who_comes_through_a_proxy_is_not_from_this_machine(world: World, headers):
    status, body = await world.post(COMMAND, {}, **headers)
    assert (status, body["code"]) == (403, "denied")
    assert "http.password" in body["error"]
    _, session, _ = await world.get("/api/session", **headers)
    assert (session["control"], session["login"]) == (False, False)
    assert session["reason"] == body["error"]
    async with world.socket(**headers) as client:
        assert await client.watch("upnp/bridge/main/state")
        await client.send(topic="upnp/bridge/main/request/search", payload="{}")
        assert (await client.next())["code"] == "denied"


async def test_a_proxy_for_this_machine_itself_is_of_this_machine(world: World):
    for headers in ({"X_Forwarded_For": "127.0.0.1, ::1"}, {"Forwarded": 'for="[::1]:4711"'}):
        assert (await world.post(COMMAND, {}, **headers))[0] == 200


async def test_the_base_path_is_in_the_page(world: World):
    for path in ("/", "/upnp/"):
        _, body, _ = await world.get(path)
        assert 'content="/upnp"' in body
        file = re.findall(r'src="(/upnp/page/\w+/[\w.]+)"', body)[0]
        status, _, headers = await world.get(file)
        assert status == 200
        assert "immutable" in headers["Cache-Control"]
        assert (await world.get(file.removeprefix("/upnp")))[0] == 200
    assert (await world.get("/upnp/api/session"))[0] == 200


async def test_a_proxy_that_is_trusted_answers_for_its_users(tmp_path):
    async with page(tmp_path, http__trusted_proxies="127.0.0.0/8") as world:
        headers = {
            "Host": "home.example",
            "Origin": "https://home.example",
            "X_Forwarded_For": "192.0.2.1",
            "X_Ingress_Path": "/api/hassio_ingress/x",
        }
        assert (await world.post(COMMAND, {}, **headers))[0] == 200
        other = {**headers, "Host": "bridge:8099", "X_Forwarded_Host": "home.example"}
        assert (await world.post(COMMAND, {}, **other))[0] == 200
        assert (await world.post(COMMAND, {}, **(headers | {"Origin": "https://evil.example"})))[
            0
        ] == 403


async def test_behind_a_trusted_proxy_each_user_has_a_share(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "MAX_CLIENTS_PER_PEER", 1)
    async with page(tmp_path, http__trusted_proxies="127.0.0.0/8") as world:
        one = {"X_Forwarded_For": "192.0.2.1, 172.30.32.1"}
        async with world.socket(**one):
            assert await opened(world, **one) == 503
            assert await opened(world, X_Forwarded_For="192.0.2.2, 172.30.32.1") == 101


# With a password


PASSWORD = "pa ss:wörd"


async def test_with_a_password_it_is_wanted_from_this_machine_too(locked: World):
    status, body = await locked.post(COMMAND, {})
    assert (status, body["code"]) == (403, "denied")
    _, session, _ = await locked.get("/api/session")
    assert (session["control"], session["login"], session["read_only"]) == (False, True, True)
    for wrong in ("Bearer x", f"Basic {PASSWORD}", PASSWORD, "Bearer"):
        assert (await locked.post(COMMAND, {}, Authorization=wrong))[0] == 403
    assert (await locked.get("/api/tree"))[0] == 200


async def test_whoever_bears_the_password_controls(locked: World):
    right = {"Authorization": f"Bearer {PASSWORD}"}
    assert (await locked.post(COMMAND, {}, **right))[0] == 200
    assert (await locked.post(COMMAND, {}, **right, X_Forwarded_For="192.0.2.7"))[0] == 200
    async with locked.socket(**right) as client:
        await client.send(topic="upnp/bridge/main/request/search")
        assert (await client.next())["topic"] == "upnp/bridge/main/response/search"


async def test_read_only_holds_here_too(locked: World):
    right = {"Authorization": f"Bearer {PASSWORD}"}
    call = {"id": locked.id, "action": "SetV", "args": {"V": "1"}}
    status, body = await locked.post("/api/call", call, **right)
    assert (status, body["code"]) == (200, "denied")


async def test_a_login_gives_a_cookie_that_no_script_and_no_other_site_has(locked: World):
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        url = locked.url
        async with browser.post(f"{url}/api/login", json={"password": PASSWORD}) as answer:
            assert answer.status == 200
            body = await answer.json()
            assert (body["control"], body["login"]) == (True, False)
            cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/" in cookie
        assert "Secure" not in cookie
        assert PASSWORD not in cookie
        async with browser.post(f"{url}{COMMAND}", json={}) as answer:
            assert answer.status == 200
        evil = {"Origin": "http://evil.example"}
        async with browser.post(f"{url}{COMMAND}", json={}, headers=evil) as answer:
            assert answer.status == 403
        async with browser.ws_connect(f"{url}/api/ws") as client:
            await client.send_json({"topic": "upnp/bridge/main/request/search"})
            assert "response" in (await client.receive_json())["topic"]
            token = next(iter(browser.cookie_jar)).value
            async with browser.post(f"{url}/api/logout") as answer:
                assert answer.status == 200
            # The session has ended for connections that it opened, too.
            await client.send_json({"topic": "upnp/bridge/main/request/search"})
            assert (await client.receive_json())["code"] == "denied"
        old = {"Cookie": f"upnp2mqtt-main={token}"}
        async with browser.post(f"{url}{COMMAND}", json={}, headers=old) as answer:
            assert answer.status == 403


async def test_behind_tls_the_cookie_is_sent_by_tls_alone(locked: World):
    _, _, headers = await locked.ask(
        "POST",
        "/api/login",
        data=b'{"password": "pa ss:w\\u00f6rd"}',
        headers={"X_Forwarded_Proto": "https", "X_Ingress_Path": "/x/y"},
    )
    assert "Secure" in headers["Set-Cookie"]
    assert "Path=/x/y/" in headers["Set-Cookie"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"password": 1}', b"{}", b"\xff"])
async def test_a_login_without_a_password_is_a_bad_request(locked: World, body):
    status, told = await locked.post("/api/login", body)
    assert (status, told["code"]) == (400, "bad_request")


async def test_after_some_wrong_passwords_not_even_the_right_one_counts_for_a_while(tmp_path):
    async with page(tmp_path, http__password="x") as world:
        for _ in range(guard._FREE_TRIES):
            status, body = await world.post("/api/login", {"password": "\ud800"})
            assert (status, body["code"]) == (403, "denied")
        status, body = await world.post("/api/login", {"password": "x"})
        assert (status, body["code"]) == (429, "denied")
        assert (await world.post(COMMAND, {}, Authorization="Bearer x"))[0] == 403
        assert (await world.get("/api/session"))[1]["login"]
