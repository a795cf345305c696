"""`doctor`: what it finds of brokers, devices and bridges that are really there."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from bridge import settings
from bridge.settings import Settings
from bridge.support.doctor import examination, retained_messages
from bridge.support.doctor.broker_connection import Way, check_broker
from bridge.support.doctor.callback import check_callback
from bridge.support.doctor.devices import Answered, check_search, search
from bridge.support.doctor.examination import TITLES, Examination
from bridge.support.doctor.finding import Finding
from bridge.support.doctor.local import find_local
from bridge.support.doctor.retained_messages import check_instances, check_retained
from bridge.support.doctor.rights import check_rights
from bridge.support.doctor.store import check_store
from bridge.tree.messages import Publication
from tests.adapter.bridge import Ended, bridging, clean_environment, flags, onlooking, run
from tests.adapter.certificates import certificate
from tests.adapter.device import (
    EVENTS_TO,
    Action,
    Part,
    Service,
    Variable,
    answer,
    new_udn,
    running,
)
from tests.adapter.mosquitto import STOCK, Running, connected, free_port, mosquitto, only, until
from tests.adapter.odd_broker import OddBroker, Oddities, odd_broker

NAME = f"doctor-{new_udn()}"
MEMBERS = (Action("Go"), Variable("V", "ui2"))


def findings(ended: Ended) -> dict[str, list[dict[str, Any]]]:
    """Return what a doctor who was asked for JSON has found, by check."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(ended.out)["findings"]:
        assert one["title"] in TITLES
        found.setdefault(one["check"], []).append(one)
    return found


def words(chosen: dict[str, str]) -> list[str]:
    return [f"--{name}={text}" for name, text in chosen.items()]


def chosen(broker: Running, **more: str) -> Settings:
    return settings.load(flags(broker.port, NAME, **more))


def part() -> Part:
    return Part(new_udn(), NAME, (Service("S", MEMBERS, {"V": "1"}),))


async def way_to(broker: Running, **more: str) -> Way:
    """A way to a broker, which must be free."""
    told: list[Finding] = []
    one = chosen(broker, **more)
    way = await check_broker(one, one.mqtt.url, told.append)
    assert way is not None, told
    assert {finding.status for finding in told} <= {"ok", "note"}, told
    return way


async def refused(url: str, **more: str) -> Finding:
    """What is told last of a broker to which there is no way."""
    told: list[Finding] = []
    one = settings.load({"mqtt.url": url} | {k.replace("__", "."): v for k, v in more.items()})
    assert await check_broker(one, one.mqtt.url, told.append) is None
    assert told[-1].status == "error"
    assert told[-1].advice
    return told[-1]


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


# All of it


async def test_all_is_looked_at_beside_a_bridge_that_does_not_mind(tmp_path: Path) -> None:
    http = str(free_port())
    port = str(free_port())
    async with mosquitto(tmp_path) as broker, running(part()) as device:
        using = flags(broker.port, NAME, http__port=http, upnp__callback_port=port)
        with onlooking(broker.port) as onlooker, structlog.testing.capture_logs() as logs:
            async with bridging(using) as bridge:
                await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"online")
                onlooker.settle()
                logged, mark = len(logs), len(onlooker.messages)
                ended = await run("doctor", "--json", *words(using))
                onlooker.settle()
                assert bridge.bridge.online.is_set()
                assert {one["log_level"] for one in logs[logged:]} <= {"debug", "info"}
                told = {one.topic for one in onlooker.messages[mark:] if one.retain}
                told -= {topic for topic in told if topic.startswith("upnp/reply/doctor-")}
                assert told <= {"upnp/bridge/main/health"}
                assert not [topic for topic in onlooker.held if "doctor" in topic]
        found = findings(ended)
        wrong = [one for many in found.values() for one in many if one["status"] == "error"]
        assert not [one for one in wrong if one["check"] != "container"]
        assert NAME in found["search"][0]["fact"]
        own_port, trial = found["callback"]
        assert own_port["fact"].startswith(f"TCP port {port} is the running bridge's")
        assert trial["status"] == "ok"
        assert NAME in trial["fact"]
        assert EVENTS_TO in trial["fact"]
        assert device.unsubscribed
        assert [one["status"] for one in found["bridge"]] == ["ok"]
        assert found["instance"][0]["fact"].startswith("main is online")
        for check in ("rights_tree", "rights_bridge", "rights_answers", "rights_commands"):
            assert [one["status"] for one in found[check]] == ["ok"], check
        assert [one["status"] for one in found["store"]] == ["ok"]
        assert [one["status"] for one in found["retained_queue"]] == ["skipped"]


async def test_it_says_all_that_on_a_terminal_in_colours_and_on_none_without(
    tmp_path: Path,
) -> None:
    async with mosquitto(tmp_path) as broker:
        using = words(flags(broker.port, "nobody"))
        plain, coloured = await asyncio.gather(run("doctor", *using), on_terminal(*using))
    assert "\x1b" not in plain.out
    assert not plain.err
    assert "✓ broker_login" in plain.out
    assert "! search" in plain.out
    assert "\x1b[32m✓\x1b[0m broker_login" in coloured
    assert "looking at" in coloured
    last = plain.out.rstrip().splitlines()[-1]
    assert last.startswith(("The bridge can work", "Something is wrong"))


async def test_no_color_is_respected(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        shown = await on_terminal(*words(flags(broker.port, "nobody")), NO_COLOR="1")
    assert "✓ broker_login" in shown
    assert "\x1b[3" not in shown


async def on_terminal(*more: str, **environment: str) -> str:
    """What is shown on a terminal."""
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "doctor", *more),
        stdout=its,
        stderr=its,
        cwd="/",
        env={**clean_environment(), "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(its)
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.extend(data)
        except OSError:  # the terminal's end
            pass

    async with asyncio.timeout(30):
        await asyncio.to_thread(read)
        await process.wait()
    os.close(ours)
    return shown.decode()


async def test_a_wrong_setting_ends_it_before_it_begins() -> None:
    ended = await run("doctor", "--mqtt.qos=seven")
    assert ended.status == 2
    assert "mqtt.qos" in ended.err
    assert not ended.out


async def test_something_wrong_is_exit_1_and_names_what(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "secret").chmod(0o644)
    (tmp_path / ".env").write_text("BRIDGE_UPNP__INTERFACE=eth0\n")
    using = flags(1, "nobody") | {
        "mqtt.username": "joe",
        "mqtt.password_file": str(tmp_path / "secret"),
        "upnp.interfaces": '["lo", "eth77"]',
    }
    ended = await run("doctor", "--json", *words(using), directory=tmp_path, BRIDGE_MQTT__ULR="x")
    assert ended.status == 1
    assert json.loads(ended.out)["verdict"] == "error"
    said = {one["fact"]: one for one in findings(ended)["settings"]}
    assert said["BRIDGE_MQTT__ULR is not a setting, and is ignored"]["advice"] == [
        "did you mean BRIDGE_MQTT__URL?"
    ]
    assert "BRIDGE_UPNP__INTERFACE is not a setting, and is ignored" in said
    assert any("every user of this machine can read" in fact for fact in said)
    (missing, *_) = findings(ended)["interfaces"]
    assert missing["status"] == "error"
    assert "eth77" in missing["fact"]
    (closed,) = findings(ended)["broker_address"]
    assert closed["status"] == "error"
    assert findings(ended)["rights"][0]["status"] == "skipped"


async def test_a_check_that_crashes_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("boom")

    for name in ("check_ssdp_port", "check_rights", "search"):
        monkeypatch.setattr(examination, name, crash)
    told: list[Finding] = []
    async with mosquitto(tmp_path) as broker:
        await Examination(
            chosen(broker), lambda _, finding: told.append(finding), retained=True
        ).run()
    crashed = {
        one.check for one in told if one.status == "error" and "RuntimeError: boom" in one.fact
    }
    assert crashed >= {"ssdp_port", "rights", "search"}
    assert by_check(told)["retained_queue"].status == "ok"


# The broker


async def test_a_name_without_an_address_is_told() -> None:
    finding = await refused("mqtt://no-such-name.invalid")
    assert finding.check == "broker_address"
    assert "no-such-name.invalid has no address" in finding.fact


async def test_a_port_at_which_nothing_listens_is_told() -> None:
    finding = await refused(f"mqtt://127.0.0.1:{free_port()}")
    assert finding.check == "broker_address"
    assert "refused" in finding.fact


@asynccontextmanager
async def with_password(directory: Path, *lines: str) -> AsyncIterator[Running]:
    async with mosquitto(directory, *only(directory, "joe", "right"), *lines) as broker:
        yield broker


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_wrong_password_and_none_are_told(tmp_path: Path, protocol: str) -> None:
    async with with_password(tmp_path) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        wrong = {"mqtt__username": "joe", "mqtt__password": "wrong", "mqtt__protocol": protocol}
        assert (await refused(url, **wrong)).check == "broker_login"
        finding = await refused(url, mqtt__protocol=protocol)
        assert finding.check == "broker_login"
        assert finding.advice[0].startswith("no user name is set")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    certificate(directory, "ca", issuer="ca", extension="basicConstraints=critical,CA:TRUE")
    certificate(directory, "server")
    certificate(directory, "expired", expired=True)
    certificate(directory, "elsewhere", extension="subjectAltName=DNS:elsewhere.example")
    return directory


def lines(tls: Path, name: str) -> tuple[str, ...]:
    return (*STOCK, f"certfile {tls}/{name}.pem", f"keyfile {tls}/{name}.key")


@pytest.mark.parametrize(
    ("name", "fact", "advice"),
    [
        ("expired", "expired", "renew the broker's certificate"),
        ("elsewhere", "mismatch", "mqtt.url must use a name that is in the certificate"),
    ],
)
async def test_a_certificate_that_is_not_good_is_told(
    tls: Path, tmp_path: Path, name: str, fact: str, advice: str
) -> None:
    async with mosquitto(tmp_path, *lines(tls, name)) as broker:
        finding = await refused(f"mqtts://localhost:{broker.port}", mqtt__tls_ca=f"{tls}/ca.pem")
    assert finding.check == "broker_tls"
    assert fact in finding.fact
    assert finding.advice[0].startswith(advice)


async def test_an_unknown_authority_is_told(tls: Path, tmp_path: Path) -> None:
    async with mosquitto(tmp_path, *lines(tls, "server")) as broker:
        finding = await refused(f"mqtts://localhost:{broker.port}")
    assert (finding.check, "mqtt.tls_ca" in finding.advice[0]) == ("broker_tls", True)


async def test_a_client_certificate_that_is_wanted_is_told(tls: Path, tmp_path: Path) -> None:
    demand = (f"cafile {tls}/ca.pem", "require_certificate true")
    async with mosquitto(tmp_path, *lines(tls, "server"), *demand) as broker:
        finding = await refused(f"mqtts://localhost:{broker.port}", mqtt__tls_ca=f"{tls}/ca.pem")
    assert finding.check == "broker_tls"
    assert "mqtt.tls_cert" in finding.advice[0]


async def test_tls_at_a_port_without_and_the_reverse_are_told(tls: Path, tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        finding = await refused(f"mqtts://localhost:{broker.port}")
        assert finding.check == "broker_tls"
        assert "the port speaks MQTT without TLS" in finding.fact
        assert finding.advice == (f"set mqtt.url to mqtt://localhost:{broker.port}",)
    async with mosquitto(tmp_path, *lines(tls, "server")) as broker:
        finding = await refused(f"mqtt://localhost:{broker.port}")
        assert finding.check == "broker_login"
        assert "the port speaks MQTT with TLS" in finding.fact
        assert finding.advice == (f"set mqtt.url to mqtts://localhost:{broker.port}",)


async def test_another_authority_than_the_one_that_was_given_is_told(
    tls: Path, tmp_path: Path
) -> None:
    certificate(tls, "other", issuer="other", extension="basicConstraints=critical,CA:TRUE")
    async with mosquitto(tmp_path, *lines(tls, "server")) as broker:
        finding = await refused(f"mqtts://localhost:{broker.port}", mqtt__tls_ca=f"{tls}/other.pem")
    (advice,) = finding.advice
    assert (finding.check, "is not the authority that signed it" in advice) == (
        "broker_tls",
        True,
    )


async def test_what_speaks_neither_is_told(tmp_path: Path) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        finding = await refused(f"mqtts://127.0.0.1:{port}")
    assert (finding.check, "is no TLS" in finding.fact) == ("broker_tls", True)


async def test_a_certificate_that_ends_soon_is_warned_of(tls: Path, tmp_path: Path) -> None:
    told: list[Finding] = []
    async with mosquitto(tmp_path, *lines(tls, "server")) as broker:
        one = settings.load(
            {"mqtt.url": f"mqtts://localhost:{broker.port}", "mqtt.tls_ca": f"{tls}/ca.pem"}
        )
        assert await check_broker(one, one.mqtt.url, told.append)
    found = by_check(told)
    assert found["broker_tls"].status == "warning"
    assert found["broker_tls"].fact == "certificate of localhost, server, valid for 1 more days"
    assert "mosquitto version 2" in found["broker_login"].fact


async def test_each_of_several_brokers_is_tried(tmp_path: Path) -> None:
    told: list[Finding] = []
    async with mosquitto(tmp_path) as broker:
        dead, alive = f"mqtt://127.0.0.1:{free_port()}", f"mqtt://127.0.0.1:{broker.port}"
        one = settings.load({"mqtt.url": json.dumps([dead, alive])})
        way = await check_broker(one, one.mqtt.url, told.append)
    assert way is not None
    assert str(way.endpoint) == alive
    assert [one.status for one in told if one.check == "broker_address"] == ["error", "ok"]


async def test_what_the_broker_announces_is_told(tmp_path: Path) -> None:
    told: list[Finding] = []
    async with mosquitto(tmp_path, *STOCK, "max_packet_size 20000", "max_qos 1") as broker:
        one = chosen(broker)
        await check_broker(one, one.mqtt.url, told.append)
    said = [finding.fact for finding in told if finding.check == "broker_session"]
    assert said[0].startswith("packets of at most 20,000 bytes")
    assert "QoS up to 1" in said[1]


async def test_a_broker_that_retains_nothing_is_told(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, *STOCK, "retain_available false") as broker:
        finding = await refused(f"mqtt://127.0.0.1:{broker.port}")
    assert finding.check == "broker_session"


async def test_a_socket_that_is_none_is_told(tmp_path: Path) -> None:
    finding = await refused(f"unix://{tmp_path}/none")
    assert finding.check == "broker_address"


async def test_no_url_and_no_mosquitto_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"mqtt://127.0.0.1:{free_port()}"
    found = by_check(await without_url(monkeypatch, nobody))
    assert found["broker_address"].status == "note"
    monkeypatch.setattr(examination, "find_mosquitto", lambda: None)
    found = by_check(await without_url(monkeypatch, nobody))
    assert found["broker_address"].status == "error"
    assert "apt install mosquitto" in found["broker_address"].advice[0]


async def test_a_broker_that_nobody_named_is_looked_at_mildly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_password(tmp_path) as broker:
        found = by_check(await without_url(monkeypatch, f"mqtt://127.0.0.1:{broker.port}"))
    assert found["broker_login"].status == "note"


async def without_url(monkeypatch: pytest.MonkeyPatch, usual: str) -> list[Finding]:
    async def nothing(_: Settings) -> Answered:
        return Answered((), ())

    monkeypatch.setattr(examination, "search", nothing)
    told: list[Finding] = []
    one = settings.load({"upnp.interfaces": "lo", "http.port": "0"})
    await Examination(one, lambda _, finding: told.append(finding), usual_broker=usual).run()
    return told


# Rights


ACLS = {
    "rights_tree": "topic deny upnp/+/Doctor/#\ntopic readwrite #",
    "rights_bridge": "topic deny upnp/bridge/main/#\ntopic readwrite #",
    "rights_answers": "topic deny upnp/+/response\ntopic readwrite #",
    "rights_homeassistant": "topic readwrite upnp/#",
}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("check", ACLS)
async def test_a_right_that_is_missing_is_told_and_no_other(
    tmp_path: Path, check: str, protocol: str
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"{ACLS[check]}\n")
    acl.chmod(0o644)
    async with mosquitto(tmp_path, *STOCK, f"acl_file {acl}") as broker:
        way = await way_to(broker, mqtt__protocol=protocol)
        found = by_check(await check_rights(chosen(broker), way, arrival_s=0.4))
    assert [one for one, finding in found.items() if finding.status not in ("ok", "note")] == [
        check
    ]
    wanted = "warning" if check == "rights_homeassistant" else "error"
    assert found[check].status == wanted
    assert "may not write" in found[check].fact
    assert "topic readwrite" in found[check].advice[0]


async def test_what_may_be_written_and_not_read_is_told_as_such(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write #\ntopic readwrite upnp/reply/#\n")
    acl.chmod(0o644)
    async with mosquitto(tmp_path, *STOCK, f"acl_file {acl}") as broker:
        way = await way_to(broker)
        found = by_check(await check_rights(chosen(broker), way, arrival_s=0.4))
    assert "may not read" in found["rights_tree"].fact
    assert found["rights_commands"].status == "error"


async def test_commands_that_this_user_may_not_write_are_no_fault(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(
        "topic read upnp/#\ntopic readwrite upnp/bridge/main/#\ntopic readwrite upnp/reply/#\n"
    )
    acl.chmod(0o644)
    async with mosquitto(tmp_path, *STOCK, f"acl_file {acl}") as broker:
        way = await way_to(broker)
        found = by_check(await check_rights(chosen(broker), way, arrival_s=0.4))
    assert found["rights_commands"].status == "note"
    assert found["rights_bridge"].status == "ok"


async def test_a_broker_that_hangs_up_over_a_right_is_told(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite upnp/reply/#\n")
    acl.chmod(0o644)
    zero = ("allow_anonymous true", "max_queued_messages 0")
    async with mosquitto(tmp_path, *zero, f"acl_file {acl}") as broker:
        way = await way_to(broker)
        found = by_check(await check_rights(chosen(broker), way, arrival_s=0.4))
    assert found["rights_tree"].status == "error"
    is_told = any("max_queued_messages 100000" in one for one in found["rights_tree"].advice)
    version = await asyncio.to_thread(subprocess.getoutput, "mosquitto -h")
    assert is_told is ("version 2.0" in version)  # 2.1 goes on


# What is retained


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_queue_that_is_too_short_is_told_and_nothing_stays(
    tmp_path: Path, protocol: str
) -> None:
    told: list[Finding] = []
    async with mosquitto(tmp_path, *STOCK) as broker:
        way = await way_to(broker, mqtt__protocol=protocol)
        await check_retained(chosen(broker), way, told.append)
        (finding,) = told
        assert finding.status == "warning"
        # 1,000 queued and 20 in flight with mosquitto 2.0.11, 20 more with 2.0.21.
        assert finding.fact.startswith(("only 1,020 of 1,100", "only 1,040 of 1,100"))
        with onlooking(broker.port) as onlooker:
            onlooker.settle()
            assert not [topic for topic in onlooker.held if topic.startswith("upnp/")]


async def test_a_queue_that_is_long_enough_is_told(tmp_path: Path) -> None:
    told: list[Finding] = []
    async with mosquitto(tmp_path, *STOCK, "max_queued_messages 100000") as broker:
        await check_retained(chosen(broker), await way_to(broker), told.append)
    assert [finding.status for finding in told] == ["ok"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_nothing_stays_at_the_broker_where_it_is_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with mosquitto(tmp_path) as broker:
        with onlooking(broker.port) as onlooker:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bridge", "doctor", "--retained"),
                *words(flags(broker.port, "nobody")),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                env=clean_environment(),
                # What a shell starts in the background ignores SIGINT: these tests too, perhaps.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            await until(lambda: any(topic.endswith("/5") for topic in tuple(onlooker.held)))
            process.send_signal(number)
            async with asyncio.timeout(15):
                _, err = await process.communicate()
            assert process.returncode == 1
            assert b"Traceback" not in err
            onlooker.settle()
            assert not [topic for topic in onlooker.held if topic.startswith("upnp/")]


async def test_a_broker_that_ends_meanwhile_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Finding] = []
    async with mosquitto(tmp_path) as broker:
        one = chosen(broker)

        async def kill_it(*_: object) -> int:
            await broker.kill()
            await asyncio.sleep(0.1)
            return 0

        monkeypatch.setattr(retained_messages, "_count", kill_it)
        await check_retained(one, await way_to(broker), told.append)
    assert told[-1].status == "warning"
    assert "retained messages of this check are left" in told[-1].fact


async def test_another_bridge_of_the_same_name_is_told(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, connected(broker.endpoint) as session:
        for instance in ("main", "attic"):
            await session.publish(Publication(f"upnp/bridge/{instance}/state", b"online"))
        info = Publication("upnp/bridge/attic/info", b'{"version":"9.9"}')
        await session.publish(info)
        one = chosen(broker, http__port=str(free_port()))
        way = await way_to(broker)
        (near,) = await check_instances(one, way, None)
        alone = chosen(broker, instance="cellar")
        (other,) = await check_instances(alone, way, None)
    assert near.status == "note"
    assert "attic (9.9)" in near.fact
    assert other.status == "ok"
    assert "others: attic (9.9), main" in other.fact


# Devices


async def test_a_filter_that_lets_none_in_is_told(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, running(part()):
        one = settings.load(flags(broker.port, "nobody at all"))
        answered = await search(one, 0.6)
    assert not answered.admitted
    assert NAME in {description.device.friendly_name for description in answered.denied}


async def test_a_device_whose_description_cannot_be_read_is_told(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, running(part()) as device:
        device.answers["/description.xml"] = answer(500)
        answered = await search(chosen(broker), 0.6)
        assert device.location in answered.unread
        findings = check_search(chosen(broker), answered, "")
        assert any(device.location in finding.fact for finding in findings)


async def found(one: Settings) -> Answered:
    answered = await search(one, 0.6)
    assert answered.admitted
    return answered


async def test_a_device_that_refuses_subscriptions_is_told(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, running(part()) as device:
        device.service("S").refuses = 503
        one = chosen(broker)
        answered = await found(one)
        _, finding = await check_callback(one, answered.admitted, None, str)
    assert finding.status == "warning"
    assert "status 503" in finding.fact


async def test_a_device_that_grants_and_never_comes_is_an_error_that_says_what_to_let_in(
    tmp_path: Path,
) -> None:
    async with mosquitto(tmp_path) as broker, running(part()) as device:
        one = chosen(broker, upnp__callback_port=str(free_port()))
        answered = await found(one)
        device.answers["/0/event"] = answer(200, head="SID: uuid:1\r\nTIMEOUT: Second-60\r\n")
        (finding,) = await check_callback(
            one, answered.admitted, None, lambda host: f"let {host} in", event_s=0.3
        )
    assert (finding.check, finding.status) == ("callback", "error")
    assert finding.advice[0] == f"let {device.address} in"
    assert device.requests["UNSUBSCRIBE /0/event"] == 1


async def test_a_callback_port_that_is_taken_names_who_has_it(tmp_path: Path) -> None:
    script = (
        "import socket; s = socket.create_server(('', 0)); "
        "print(s.getsockname()[1], flush=True); input()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        port = (await process.stdout.readline()).decode().strip()
        async with mosquitto(tmp_path) as broker:
            one = chosen(broker, upnp__callback_port=port)
            (finding,) = await check_callback(one, (), None, str)
    finally:
        process.kill()
        await process.communicate()
    assert finding.status == "error"
    assert f"({process.pid})" in finding.fact


async def test_what_is_no_bridge_at_the_http_port_is_not_taken_for_one() -> None:
    def answering(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    try:
        assert await find_local(settings.load({"http.port": port})) is None
    finally:
        server.close()
        await server.wait_closed()


# Which broker it is


async def way_at(broker: OddBroker) -> Way | None:
    told: list[Finding] = []
    url = f"mqtt://127.0.0.1:{broker.port}"
    return await check_broker(settings.load({"mqtt.url": url}), [url], told.append)


@pytest.mark.parametrize(
    ("odd", "status", "words"),
    [
        (Oddities(), "ok", "come by wildcard"),
        (Oddities(by_wildcard=False), "error", "wildcard"),
        (Oddities(retains=False), "error", "keeps no retained"),
        (Oddities(clears=False), "error", "does not clear"),
        (Oddities(most=20), "error", "only 20 retained"),
    ],
)
async def test_what_the_store_lacks_is_found_and_nothing_is_left(odd, status, words) -> None:
    below = ("", "/availability", "/S", "/S/state")
    tree = {f"upnp/D{number}{one}": b"{}" for number in range(30) for one in below}
    held = tree if odd.most else {}
    async with odd_broker(odd, held=dict(held)) as broker:
        way = await way_at(broker)
        assert way is not None
        found = await check_store(settings.load({}), way)
        assert (found.status, words in found.fact) == (status, True)
        assert bool(found.advice) == (status == "error")
        assert odd.clears is False or broker.held == held


async def test_without_being_asked_nothing_is_published_in_bulk() -> None:
    async with odd_broker(Oddities()) as broker:
        told: list[Finding] = []
        one = settings.load(
            {"mqtt.url": f"mqtt://127.0.0.1:{broker.port}", "upnp.interfaces": "lo"}
        )
        await Examination(one, lambda _, finding: told.append(finding)).run()
        assert len(broker.published) < 100
        assert not broker.held
    (skipped,) = [one for one in told if one.check == "retained_queue"]
    assert "--retained" in skipped.fact


async def test_a_store_that_is_none_is_told_once() -> None:
    async with odd_broker(Oddities(by_wildcard=False)) as broker:
        told: list[Finding] = []
        one = settings.load(
            {"mqtt.url": f"mqtt://127.0.0.1:{broker.port}", "upnp.interfaces": "lo"}
        )
        await Examination(one, lambda _, finding: told.append(finding), retained=True).run()
    about = [one for one in told if "retained" in one.fact and one.status in ("error", "warning")]
    assert [one.check for one in about] == ["store"]
    assert by_check(told)["retained_queue"].status == "skipped"
