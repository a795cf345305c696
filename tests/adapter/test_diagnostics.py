"""Devices as files for their maintainer: by the command line, over the bus, and into fixtures."""

import asyncio
import json
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.commands.diagnostics import _file_name
from bridge.errors import ConfigError, DeviceTimeout, DeviceUnreachable
from bridge.formats.bodies import octets
from bridge.polling.plan import Plan
from bridge.support.capture import Manner, capture
from bridge.upnp.description.fetch import Describer
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.http.client import HttpClient
from tests.adapter.bridge import (
    Caller,
    Ended,
    Running,
    bridging,
    flags,
    onlooking,
    run,
)
from tests.adapter.device import (
    EVENTS_TO,
    Action,
    Device,
    Part,
    Raw,
    Service,
    Variable,
    new_udn,
    running,
)
from tests.adapter.mosquitto import free_port, mosquitto, until
from tests.adapter.serving import serving
from tests.unit.captured import described

ROOT = Path(__file__).parents[2]
NAME = f"Annas Gerät {new_udn()[:8]}"
SECRET = "So What at Annas"
MANNER = Manner(Plan(60), EVENTS_TO, events_s=0.5)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MAKE_UP = "<manufacturer>Scripts</manufacturer><modelName>Model One</modelName>"


async def diagnose(directory: Path, *words: str, port: int = 0) -> Ended:
    flags = ("--upnp.interfaces=lo", f"--upnp.callback_port={port}", "--seconds=5")
    to = f"--upnp.callback_host={EVENTS_TO}"
    return await run("diagnostics", *words, *flags, to, directory=directory, limit_s=40)


async def add_device(directory: Path, *words: str) -> Ended:
    program = (sys.executable, str(ROOT / "scripts" / "add-device"))
    return await run(*words, "--into", str(directory), program=program, directory=directory)


def player(name: str = NAME, udn: str = "") -> Part:
    transport = Service(
        "AVTransport",
        (
            Action("GetTransportInfo", ("in InstanceID:A_ARG_TYPE_InstanceID", "out S:State")),
            Action("Stop", ("in InstanceID:A_ARG_TYPE_InstanceID",)),
            Variable("State"),
            Variable("A_ARG_TYPE_InstanceID", "ui4", evented=False),
        ),
        {"State": "STOPPED", "AVTransportURI": f"http://10.9.8.7/{SECRET}.mp3"},
    )
    quiet = Service("Quiet", (Action("GetX", ("out X:X",)), Variable("X")), evented=False)
    inner = Part(new_udn(), f"{name} inside", (Service("Two", (Variable("V"),), {"V": "1"}),))
    more = f"{MAKE_UP}<serialNumber>AB12345678</serialNumber>"
    return Part(udn or new_udn(), name, (transport, quiet), (inner,), more=more)


@asynccontextmanager
async def silent(answer: bytes = b"") -> AsyncIterator[str]:
    """Listen, take what comes, answer so and hold the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()

    async with serving(handle) as port:
        yield f"http://127.0.0.1:{port}/d.xml"
        await asyncio.sleep(0.01)


# What is on the wire


@pytest.mark.parametrize(
    ("answer", "head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nX: y\r\nContent-length:3\r\n\r\nabcdef", 43, b"abcdef"),
        (b"HTTP/1.0 200 OK\n\n<a>x</a>", 17, b"<a>x</a>"),
        (CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", len(CHUNKED), b"abc"),
        (CHUNKED + b"no\r\n", len(CHUNKED), b"no\r\n"),
        (b"this is not HTTP at all\r\n\r\n\xff\0", 27, b"\xff\0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", 39, b"short"),
    ],
)
async def test_an_answer_is_kept_as_it_came_whatever_is_wrong_with_it(answer, head, body):
    async with silent(answer) as url:
        _, came = await HttpClient().exchange_raw("GET", url, timeout_s=0.3, max_bytes=1000)
    assert (came.head, came.body) == (answer[:head], body)


async def test_where_nothing_comes_there_is_no_answer():
    async with silent() as url:
        with pytest.raises(DeviceTimeout):
            await HttpClient().exchange_raw("GET", url, timeout_s=0.1, max_bytes=1000)
    with pytest.raises(DeviceUnreachable):
        await HttpClient().exchange_raw("GET", url, timeout_s=1, max_bytes=1000)


async def test_an_answer_over_its_bound_is_cut_and_says_so():
    async with silent(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000) as url:
        _, came = await HttpClient().exchange_raw("GET", url, timeout_s=1, max_bytes=1000)
    assert len(came.body) <= 1000
    assert came.cut


async def test_a_port_that_is_taken_is_a_wrong_setting():
    async with NotifyServer(None, 0) as taken:
        with pytest.raises(ConfigError):
            await NotifyServer(None, taken.port).__aenter__()


async def test_any_port_is_one_for_both_families():
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with NotifyServer(None, 0) as server:
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, server.port)
            writer.close()
        for family in (socket.AF_INET, socket.AF_INET6):
            with pytest.raises(OSError, match="in use"):
                socket.create_server(("", server.port), family=family).close()


# Captures


async def captured(device: Device, manner: Manner = MANNER) -> dict[str, Any]:
    description = (await Describer(HttpClient()).describe(device.location)).description
    return await capture(device.location, description, manner)


async def test_a_capture_has_each_thing_that_the_bridge_reads_and_changes_nothing():
    async with running(player()) as device:
        found = await captured(device)
        assert b"<UDN>" in octets(found["description"]["body"])
        assert [one["url"].rpartition(":")[2].partition("/")[2] for one in found["scpds"]] == [
            "0/scpd.xml",
            "1/scpd.xml",
            "2/scpd.xml",
        ]
        services = {one["service"]: one for one in found["events"]}
        assert set(services) == {f"{device.udn}/AVTransport", f"{device.root.parts[0].udn}/Two"}
        for own, one in services.items():
            (notify,) = one["notify"]
            assert notify["head"].startswith(f"NOTIFY /{own.partition('/')[2]} HTTP/1.1\r\n")
            assert octets(one["unsubscribe"]["head"]).startswith(b"HTTP/1.1 200")
        assert not any(one.subscribers for one in device.services.values())
        assert {one.action for one in device.calls} == {"GetTransportInfo", "GetX"}
        assert [one["action"] for one in found["answers"]] == ["GetTransportInfo", "GetX"]


async def test_what_fails_is_noted_and_costs_only_itself():
    async def broken(_: object) -> Raw:
        return Raw(b"")

    async with running(player()) as device:
        device.service("Two").refuses = 503
        device.service("AVTransport").initial = {}
        device.actions["GetX"] = broken
        description = (await Describer(HttpClient()).describe(device.location)).description
        device.answers[f"{device.service('Quiet').path}/scpd.xml"] = b"HTTP/1.1 404 No\r\n\r\n"
        found = await capture(device.location, description, MANNER)
    assert len(found["scpds"]) == 3
    assert found["scpds"][1]["head"] == "HTTP/1.1 404 No\r\n\r\n"
    assert [one["action"] for one in found["answers"]] == ["GetTransportInfo"]
    rows = {one["service"].partition("/")[2]: one for one in found["events"]}
    assert rows["Two"]["subscribe"]["head"].startswith("HTTP/1.1 503")
    assert rows["Two"]["notify"] == []
    assert any("GetX" in failure for failure in found["failures"])


async def test_a_capture_stays_within_its_bound():
    async with running(player()) as device:
        found = await captured(device, replace(MANNER, max_bytes=1500))
    assert any("1500" in failure for failure in found["failures"])
    messages = [found["description"], *found["scpds"]]
    assert sum(len(octets(one["body"])) for one in messages if one) <= 1500


async def test_a_description_that_cannot_be_read_is_captured_as_it_is():
    async with silent(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<broken &") as url:
        found = await capture(url, None, replace(MANNER, request_s=0.3))
    assert octets(found["description"]["body"]) == b"<broken &"
    assert (found["id"], found["scpds"], found["events"]) == (None, [], [])


# The verb


@asynccontextmanager
async def asked(
    folder: Path, *lines: str
) -> AsyncIterator[tuple[Device, Callable[[dict[str, Any]], Awaitable[Any]], Running]]:
    """A device, what asks a bridge for diagnostics, and the bridge."""
    async with (
        mosquitto(folder, "allow_anonymous true", *lines) as broker,
        running(player()) as device,
        bridging(flags(broker.port, NAME, mqtt__username="anna-joe")) as bridge,
    ):
        with onlooking(broker.port) as onlooker:
            caller = Caller(onlooker)

            async def ask(body: dict[str, Any]) -> Any:
                topics = (f"bridge/main/{way}/diagnostics" for way in ("request", "response"))
                return await caller.send(next(topics), body, on=next(topics), limit_s=15)

            yield device, ask, bridge


async def test_the_verb_names_nobody_and_captures_the_device_that_it_is_told(tmp_path):
    async with asked(tmp_path) as (device, ask, _):
        inner = device.root.parts[0].udn
        plain = (await ask({"callid": 1}))["data"]
        assert plain["captures"] == []
        (row,) = (one["row"] for one in plain["devices"])
        (found,) = (await ask({"id": inner}))["data"]["captures"]
        for told in (plain, found):
            text = json.dumps(told, ensure_ascii=False)
            for secret in (device.udn, inner, NAME, "Annas", SECRET, "anna-joe", "10.9.8.7"):
                assert secret.lower() not in text.lower(), secret
        # The same everywhere in one document.
        assert {one.partition("/")[0] for one in plain["services"]} >= {row["id"]}
        assert plain["devices"][0]["components"][0]["udn"] == row["id"]
        assert plain["settings"]["mqtt"]["username"] == "xxxx-xxx"
        assert all(one["notify"] for one in found["events"])
        # The bridge's own subscription stays.
        assert [len(one.subscribers) for one in device.services.values()] == [1, 0, 1]


async def test_a_device_that_is_not_there_is_refused(tmp_path):
    async with asked(tmp_path) as (_, ask, __):
        assert (await ask({"id": new_udn()}))["code"] == "unknown_device"
        assert (await ask({"id": 5}))["code"] == "bad_request"


async def test_an_answer_that_the_broker_would_not_take_says_what_to_do(tmp_path):
    async with asked(tmp_path, "max_packet_size 9000") as (device, ask, _):
        answer = await ask({"id": device.udn, "callid": "x"})
    assert (answer["success"], answer["code"], answer["callid"]) == (False, "internal", "x")
    assert "upnp2mqtt diagnostics" in answer["error"]


async def test_a_bridge_that_is_stopped_ends_its_capture_in_time(tmp_path, monkeypatch):
    async def nothing(*_: object) -> None:
        pass

    async with asked(tmp_path) as (device, ask, bridge):
        monkeypatch.setattr(device, "_deliver", nothing)
        waiting = asyncio.ensure_future(ask({"id": device.udn}))
        await until(lambda: len(device.service("Two").subscribers) > 1)
        await bridge.stop()
        waiting.cancel()
        assert not any(one.subscribers for one in device.services.values())


# The command, and what its file becomes


async def test_the_command_writes_a_file_that_names_nobody_and_becomes_a_fixture(tmp_path):
    async with running(player()) as device:
        original = (await Describer(HttpClient()).describe(device.location)).description
        ended = await diagnose(tmp_path, f"UUID:uuid:{device.udn.upper()}")
        assert ended.status == 0, ended.err
        path = tmp_path / f"upnp2mqtt-diagnostics-{device.udn}.json"
        udns = (device.udn, device.root.parts[0].udn)
    assert "3 SCPDs, events of 2 of 2 services, 2 answers" in ended.out
    assert "read the file before you pass it on" in ended.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    for secret in (*udns, NAME, "Annas", SECRET, "AB12345678", "10.9.8.7"):
        assert secret.lower() not in text.lower(), secret
    assert json.loads(text)["format"] == "upnp2mqtt-diagnostics/1"

    added = await add_device(tmp_path, str(path))
    assert added.status == 0, added.err
    folder = tmp_path / "model-one"
    fixture = described(folder, 1)
    for one, two in zip(fixture.device.walk(), original.device.walk(), strict=True):
        assert (one.device_type, one.model_name) == (two.device_type, two.model_name)
        assert len(one.friendly_name) == len(two.friendly_name)
        assert one.problems == two.problems
        assert [s.scpd for s in one.services] == [s.scpd for s in two.services]
        assert [s.service_id for s in one.services] == [s.service_id for s in two.services]
    names = {path.name for path in folder.iterdir()}
    assert {"description1.http", "1-AVTransport.notify0.http", "1-Two.subscribe.http"} <= names
    assert {"action-GetX.answer.http", "1-Quiet.scpd.xml"} <= names

    again = await add_device(tmp_path, str(path))
    assert (again.status, "exists" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("named", "file"),
    [
        (["a-1"], "upnp2mqtt-diagnostics-a-1.json"),
        (["../a b/ü:%\0"], "upnp2mqtt-diagnostics-.._a_b_.json"),
        (["x" * 500], f"upnp2mqtt-diagnostics-{'x' * 100}.json"),
        (["192.0.2.1:80"], "upnp2mqtt-diagnostics-192.0.2.1_80.json"),
        ([""], "upnp2mqtt-diagnostics.json"),
        (["a", "b"], "upnp2mqtt-diagnostics.json"),
    ],
)
def test_a_file_is_named_by_its_device_whatever_that_is_called(named, file):
    assert _file_name(named) == file


async def test_a_description_by_its_url_goes_to_standard_output(tmp_path):
    async with running(player()) as device:
        ended = await diagnose(tmp_path, device.location, "--output", "-")
    assert ended.status == 0, ended.err
    (found,) = json.loads(ended.out)["captures"]
    assert len(found["events"]) == 2
    assert "standard output" in ended.err
    assert not list(tmp_path.iterdir())


async def test_where_the_callback_port_is_taken_events_go_to_another(tmp_path):
    async with NotifyServer(None, free_port()) as taken, running(player()) as device:
        ended = await diagnose(tmp_path, device.udn, port=taken.port)
    assert ended.status == 0, ended.err
    assert f"port {taken.port} is taken" in ended.err
    assert "events of 2 of 2 services" in ended.out


async def test_a_device_that_does_not_answer_is_an_error(tmp_path):
    udn = new_udn()
    ended = await diagnose(tmp_path, udn, "--seconds=0.2")
    assert (ended.status, udn in ended.err) == (1, True)
    assert not list(tmp_path.iterdir())


async def test_a_file_that_cannot_be_written_is_a_wrong_word(tmp_path):
    async with running(player()) as device:
        ended = await diagnose(tmp_path, device.udn, "--output", "nowhere/x.json")
    assert (ended.status, "--output" in ended.err) == (2, True)


# What somebody may have sent


def a_file(folder: Path, **changes: object) -> Path:
    part = "<device><deviceType>urn:x:device:Y:1</deviceType><friendlyName>N</friendlyName>"
    service = (
        "<service><serviceType>urn:x:service:../../S:1</serviceType><serviceId>S</serviceId>"
        "<SCPDURL>/s</SCPDURL><controlURL>/c</controlURL><eventSubURL>/e</eventSubURL></service>"
    )
    body = f"<root>{part}<UDN>uuid:1</UDN><serviceList>{service}</serviceList></device></root>"
    message = {"head": "HTTP/1.1 200 OK\r\nTransfer-encoding: chunked\r\n\r\n", "body": body}
    capture = {
        "id": "1",
        "location": "http://192.0.2.1/",
        "description": message,
        "scpds": [{"services": ["1/S"], "url": "x", **message}],
        "events": [],
        "answers": [
            {"service": "1/S", "action": "../../Get", "request": message, "answer": message}
        ],
        "announcements": ["HTTP/1.1 200 OK\r\n\r\n"],
        **changes,
    }
    path = folder / "file.json"
    path.write_text(json.dumps({"format": "upnp2mqtt-diagnostics/1", "captures": [capture]}))
    return path


async def test_no_name_in_a_file_leads_out_of_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    ended = await add_device(tmp_path / "in", str(a_file(tmp_path)), "name")
    assert ended.status == 0, ended.err
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {
        "file.json",
        *(f"in/name/{end}" for end in ("description1.xml", "description1.http", "msearch.txt")),
        *(f"in/name/1-------S.scpd.{end}" for end in ("xml", "http")),
        *(f"in/name/action-------Get.{end}.http" for end in ("request", "answer")),
    }
    head, _, body = (tmp_path / "in/name/description1.http").read_bytes().partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\nContent-Length: %d" % len(body)


@pytest.mark.parametrize(
    ("changes", "words", "reason"),
    [
        ({"description": None}, ("name",), "no capture with a description"),
        ({}, (), "without a modelName"),
        ({}, ("../x",), "small letters"),
        ({}, ("name", "--id", "2"), "no capture of 2"),
        ({"answers": [{}]}, ("name",), "no 'action'"),
        ({"scpds": [{"services": ["x"], "head": "", "body": ""}]}, ("name",), "no 'x'"),
        ({"announcements": [5]}, ("name",), "neither"),
    ],
)
async def test_a_file_that_is_none_is_refused_whole(tmp_path, changes, words, reason):
    ended = await add_device(tmp_path, str(a_file(tmp_path, **changes)), *words)
    assert ended.status != 0
    assert reason in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "upnp2mqtt-diagnostics/2"}'])
async def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "x").write_text(text)
    ended = await add_device(tmp_path, str(tmp_path / "x"), "name")
    assert (ended.status, "Traceback" in ended.err) == (1, False)
