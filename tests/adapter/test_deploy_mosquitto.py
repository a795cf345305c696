"""mosquitto as deploy/ ships it: the bridge, a hub and a dashboard, each with its own rights."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import structlog
import yaml
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import SecretStr

from bridge.errors import BrokerRefused
from tests.adapter.bridge import (
    Caller,
    Onlooker,
    Program,
    bridging,
    clean_environment,
    flags,
    onlooking,
    program,
)
from tests.adapter.certificates import certificate
from tests.adapter.device import Action, Device, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import (
    MOSQUITTO,
    PLUGIN,
    Running,
    connected,
    free_port,
    until,
    with_plugin,
)

DEPLOY = Path(__file__).parents[2] / "deploy"
USERS = ("bridge", "homeassistant", "dashboard")
PASSWORDS = {name: f"{name}, its password" for name in USERS}
HUB, DASHBOARD = "homeassistant", "dashboard"
NOT_AUTHORIZED = 135


@dataclass
class Shipped:
    """A mosquitto that runs from the shipped files; `folder` is /mosquitto of its image."""

    broker: Running
    folder: Path
    passwords: dict[str, str]

    @property
    def login(self) -> dict[str, str]:
        """Settings of the bridge, with its password in a file."""
        return {
            "mqtt__username": "bridge",
            "mqtt__password_file": str(self.folder / "bridge-password"),
        }

    def user(self, name: str) -> dict[str, Any]:
        return {"username": name, "password": self.passwords[name]}


def install(folder: Path, port: int) -> Path:
    """Lay out the shipped files as compose.yaml mounts them; return the configuration."""
    config = folder / "config"
    for one in (config, config / "conf.d", folder / "data", folder / "secrets"):
        one.mkdir()
    file = config / "mosquitto.conf"
    # Inside the image it does not run as root either.
    user = "user root\n" if os.geteuid() == 0 else ""
    shipped = DEPLOY / "mosquitto/mosquitto.conf"
    file.write_text(user + adjusted(shipped, folder, {1883: port}))
    shutil.copy(DEPLOY / "mosquitto/acl", folder / "secrets/acl")
    return file


def adjusted(file: Path, folder: Path, ports: dict[int, int]) -> str:
    """Return a shipped configuration with nothing changed but ports, and paths of the image."""
    text = file.read_text()
    for old, new in ports.items():
        text, count = re.subn(rf"(?m)^listener {old}$", f"listener {new} 127.0.0.1", text)
        assert count == 1
    return text.replace("/mosquitto/", f"{folder}/")


def hashed(passwords: dict[str, str], file: Path) -> None:
    """Write mosquitto's password file."""
    file.write_text("".join(f"{name}:{text}\n" for name, text in passwords.items()))
    subprocess.run(["mosquitto_passwd", "-U", file], check=True, capture_output=True)


async def carry_out(*words: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a program that has to succeed."""
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


@asynccontextmanager
async def started(folder: Path, port: int) -> AsyncIterator[Running]:
    assert MOSQUITTO
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(folder / "config/mosquitto.conf"), stderr=asyncio.subprocess.PIPE
    )
    one = Running(port, 0, process)
    said = b""
    try:
        assert process.stderr
        async with asyncio.timeout(10):
            while line := await process.stderr.readline():
                said += line
                if line.rstrip().endswith(b" running"):
                    break
            else:
                raise AssertionError(said.decode())
        yield one
    finally:
        await one.kill()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder with all that mosquitto needs, and the passwords of its users."""
    for name, password in PASSWORDS.items():
        (tmp_path / f"{name}-password").write_text(f"{password}\n")
    install(tmp_path, free_port())
    hashed(PASSWORDS, tmp_path / "secrets/passwd")
    return tmp_path


@pytest.fixture
async def shipped(prepared: Path) -> AsyncIterator[Shipped]:
    async with shipping(prepared) as one:
        yield one


@asynccontextmanager
async def shipping(folder: Path) -> AsyncIterator[Shipped]:
    """mosquitto, with what was laid out for it."""
    found = re.search(r"(?m)^listener (\d+)", (folder / "config/mosquitto.conf").read_text())
    assert found
    async with started(folder, int(found[1])) as broker:
        yield Shipped(broker, folder, PASSWORDS)


def part(name: str) -> Part:
    members = (
        Variable("Status", "boolean"),
        Variable("Target", "boolean", evented=False),
        Action("SetTarget", ("in newTargetValue:Target",)),
        Action("GetStatus", ("out ResultStatus:Status",)),
    )
    kind = "urn:schemas-upnp-org:device:BinaryLight:1"
    return Part(new_udn(), name, (Service("SwitchPower", members, {"Status": "1"}),), type=kind)


@asynccontextmanager
async def mirrored(shipped: Shipped, device: Device, **more: str) -> AsyncIterator[list[Any]]:
    """A bridge with its own user that has told all of a device; yields its log."""
    chosen = flags(shipped.broker.port, device.root.name, **{**shipped.login, **more})
    with structlog.testing.capture_logs() as logs:
        async with bridging(chosen) as one:
            assert not one.task.done()
            with onlooking(shipped.broker.port, **shipped.user(DASHBOARD)) as onlooker:
                status = f"upnp/{device.udn}/SwitchPower/value/Status"
                await until(lambda: onlooker.held.get(status) == b"true")
            yield logs


def troubles(logs: list[Any]) -> list[Any]:
    return [log for log in logs if log["log_level"] in ("warning", "error")]


def verdicts(onlooker: Onlooker, *topics: str) -> dict[str, int]:
    """Publish at each topic as an onlooker's user; return the reason codes of the broker."""
    codes: dict[int, int] = {}
    done = threading.Event()

    def published(_: object, __: object, mid: int, code: Any, ___: object) -> None:
        codes[mid] = code.value
        if len(codes) == len(topics):
            done.set()

    onlooker._client.on_publish = published
    mids = {topic: onlooker._client.publish(topic, b"forged", qos=1).mid for topic in topics}
    assert done.wait(5), "the broker does not answer"
    return {topic: codes[mid] for topic, mid in mids.items()}


@contextmanager
def hub(shipped: Shipped) -> Iterator[tuple[Onlooker, Caller]]:
    with onlooking(shipped.broker.port, **shipped.user(HUB)) as onlooker:
        yield onlooker, Caller(onlooker)


# Passwords


async def test_nobody_comes_in_without_a_password_or_with_a_wrong_one(shipped):
    wrong = SecretStr("no")
    for login in ({}, {"username": "bridge"}, {"username": HUB, "password": wrong}):
        for protocol in ("5", "3.1.1"):
            with pytest.raises(BrokerRefused, match="ot auth"):
                async with connected(shipped.broker.endpoint, protocol=protocol, **login):
                    pass


async def test_a_bridge_with_a_wrong_password_says_so_in_one_line_and_goes_on(shipped):
    (shipped.folder / "bridge-password").write_text("stale\n")
    chosen = flags(shipped.broker.port, "nobody", **shipped.login)
    async with program(chosen) as one:
        await until(lambda: any(line["event"] == "broker_unavailable" for line in one.lines))
        await asyncio.sleep(1)
        assert one.process.returncode is None
        told = [line for line in one.lines if line.get("level") in ("warning", "error")]
        assert [line["event"] for line in told] == ["broker_unavailable"]
        assert "ot auth" in told[0]["reason"]
        assert "stale" not in json.dumps(one.lines)
        assert await one.stop() == 0


async def test_the_health_check_of_the_container_sees_that_the_broker_listens(shipped):
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    command, *words = compose["services"]["mosquitto"]["healthcheck"]["test"]
    assert command == "CMD"
    for port, status in ((shipped.broker.port, 0), (free_port(), 1)):
        here = [word.replace(f":{1883:04X} ", f":{port:04X} ") for word in words]
        assert here != words
        process = await asyncio.create_subprocess_exec(*here)
        assert await process.wait() == status


# The bridge


async def test_the_bridge_brings_up_all_of_its_tree_without_a_warning(shipped):
    async with running(part(f"acl-{new_udn()}")) as device:
        async with mirrored(shipped, device) as logs:
            with hub(shipped) as (onlooker, caller):
                await caller.fence()
                held = dict(onlooker.held)
        assert troubles(logs) == []
        assert held["upnp/bridge/main/state"] == b"online"
        assert json.loads(held["upnp/bridge/main/info"])["settings"]["mqtt"]["username"] == "bridge"
        assert held[f"upnp/{device.udn}/availability"] == b"online"
        assert f"homeassistant/device/upnp2mqtt_{device.udn}/config" in held


async def test_the_bridge_hears_that_home_assistant_starts(shipped):
    async with running(part(f"acl-{new_udn()}")) as device, mirrored(shipped, device):
        with hub(shipped) as (onlooker, caller):
            await caller.fence()
            mark = len(onlooker.messages)
            onlooker.publish("homeassistant/status", b"online")
            discovery = f"homeassistant/device/upnp2mqtt_{device.udn}/config"
            await until(lambda: any(one.topic == discovery for one in onlooker.since(mark)))


async def test_the_will_of_a_bridge_that_dies_is_published(shipped):
    chosen = flags(shipped.broker.port, "nobody", **shipped.login)
    with hub(shipped) as (onlooker, _):
        async with program(chosen) as one:
            await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"online")
            one.process.kill()
            await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"offline")


async def test_the_tree_survives_a_restart_of_the_broker(shipped):
    chosen = flags(shipped.broker.port, "nobody", **shipped.login)
    async with bridging(chosen):
        pass
    shipped.broker.process.terminate()
    await shipped.broker.process.wait()
    async with started(shipped.folder, shipped.broker.port):
        with hub(shipped) as (onlooker, _):
            own = {f"upnp/bridge/main/{one}" for one in ("info", "state")}
            await until(lambda: own <= onlooker.held.keys())
            assert onlooker.held["upnp/bridge/main/state"] == b"offline"


async def test_a_login_of_the_bridge_writes_nothing_outside_of_its_tree(shipped):
    foreign = ("zigbee2mqtt/x", "homeassistant/status", "homeassistant/sensor/x/config", "upnpx/y")
    with onlooking(shipped.broker.port, **shipped.user("bridge")) as one:
        assert verdicts(one, *foreign) == dict.fromkeys(foreign, NOT_AUTHORIZED)


# A hub


async def test_a_hub_calls_sets_gets_and_asks_and_has_its_answers(shipped):
    async with running(part(f"acl-{new_udn()}")) as device:

        async def status(_: object) -> dict[str, str]:
            return {"ResultStatus": "0"}

        device.actions["GetStatus"] = status
        async with mirrored(shipped, device) as logs:
            with hub(shipped) as (_, caller):
                udn, target = device.udn, {"newTargetValue": True}
                got = await caller.call(udn, {"action": "SetTarget", "args": target})
                assert got["success"]
                answers = f"{udn}/response"
                for topic, payload in (
                    (f"{udn}/SwitchPower/action/SetTarget/call", target),
                    (f"{udn}/SwitchPower/value/Target/set", "false"),
                    (f"{udn}/SwitchPower/value/Status/get", ""),
                ):
                    assert (await caller.send(topic, payload, on=answers))["success"], topic
                for who in ("main", "all"):
                    on = "bridge/main/response/health"
                    assert (await caller.send(f"bridge/{who}/request/health", {}, on=on))["success"]
                got = await caller.send(
                    f"{udn}/call",
                    {"action": "GetStatus"},
                    on="reply/hub",
                    response_topic="upnp/reply/hub",
                )
                assert got["out"] == {"ResultStatus": False}
        assert troubles(logs) == []
        assert [one.action for one in device.calls] == ["SetTarget"] * 3 + ["GetStatus"] * 2


def written_by_the_bridge(udn: str) -> tuple[str, ...]:
    service = f"upnp/{udn}/SwitchPower"
    return (
        "upnp/bridge/main/state",
        "upnp/bridge/main/info",
        "upnp/bridge/main/response/health",
        f"upnp/{udn}",
        f"upnp/{udn}/availability",
        f"upnp/{udn}/response",
        service,
        f"{service}/state",
        f"{service}/value/Status",
        f"{service}/action/SetTarget",
        f"{service}/action/SetTarget/argument/newTargetValue",
    )


async def test_a_hub_cannot_write_what_the_bridge_says(shipped):
    async with running(part(f"acl-{new_udn()}")) as device, mirrored(shipped, device):
        with hub(shipped) as (onlooker, caller):
            await caller.fence()
            before, mark = dict(onlooker.held), len(onlooker.messages)
            topics = written_by_the_bridge(device.udn)
            assert verdicts(onlooker, *topics) == dict.fromkeys(topics, NOT_AUTHORIZED)
            await caller.fence()
            assert not any(one.payload == b"forged" for one in onlooker.since(mark))
            assert onlooker.held == before


@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311])
async def test_a_denied_publication_costs_a_client_nothing_else(shipped, protocol):
    """With max_queued_messages 0, mosquitto 2.0.11 would hang up."""
    with onlooking(shipped.broker.port, protocol=protocol, **shipped.user(HUB)) as onlooker:
        verdicts(onlooker, "upnp/bridge/main/state", "upnp/reply/me")
        await until(lambda: [one.topic for one in onlooker.messages] == ["upnp/reply/me"])
        assert onlooker._client.is_connected()


# A dashboard


async def test_a_dashboard_reads_all_of_the_tree_and_nothing_else(shipped):
    async with running(part(f"acl-{new_udn()}")) as device, mirrored(shipped, device):
        with (
            hub(shipped) as (onlooker, caller),
            onlooking(shipped.broker.port, **shipped.user(DASHBOARD)) as dashboard,
        ):
            await caller.fence()
            wanted = {t: p for t, p in onlooker.held.items() if t.startswith("upnp/")}
            await until(lambda: dashboard.held == wanted)
            assert any(topic.startswith("homeassistant/") for topic in onlooker.held)


async def test_a_dashboard_can_call_nothing_and_write_nothing(shipped):
    async with running(part(f"acl-{new_udn()}")) as device, mirrored(shipped, device):
        commands = (
            f"upnp/{device.udn}/call",
            f"upnp/{device.udn}/SwitchPower/action/SetTarget/call",
            f"upnp/{device.udn}/SwitchPower/value/Target/set",
            f"upnp/{device.udn}/SwitchPower/value/Status/get",
            "upnp/bridge/main/request/forget",
            "upnp/reply/x",
            "homeassistant/status",
            *written_by_the_bridge(device.udn),
        )
        with hub(shipped) as (onlooker, caller):
            await caller.fence()
            mark = len(onlooker.messages)
            with onlooking(shipped.broker.port, **shipped.user(DASHBOARD)) as dashboard:
                got = verdicts(dashboard, *commands)
            assert got == dict.fromkeys(commands, NOT_AUTHORIZED)
            await caller.fence()
            assert not any(one.payload == b"forged" for one in onlooker.since(mark))
        assert device.calls == []


# TLS


@pytest.mark.parametrize("is_mutual", [False, True])
async def test_the_bridge_comes_in_by_tls_with_its_password_and_no_less(prepared, is_mutual):
    port, secrets = free_port(), prepared / "secrets"
    authority = "basicConstraints=critical,CA:TRUE"
    certificate(secrets, "ca", issuer="ca", extension=authority)
    for name in ("server", "client"):
        certificate(secrets, name)
        shutil.copy(secrets / f"{name}.pem", secrets / f"{name}.crt")
    shutil.copy(secrets / "ca.pem", secrets / "ca.crt")
    example = DEPLOY / "mosquitto/conf.d/tls.conf.example"
    text = adjusted(example, prepared, {8883: port})
    own = {"mqtt__tls_ca": f"{secrets}/ca.crt"}
    if is_mutual:
        text = re.sub(r"(?m)^#(cafile|require_certificate)", r"\1", text)
        own |= {"mqtt__tls_cert": f"{secrets}/client.crt", "mqtt__tls_key": f"{secrets}/client.key"}
    (prepared / "config/conf.d/tls.conf").write_text(text)
    async with shipping(prepared) as shipped:
        url = f"mqtts://localhost:{port}"
        chosen = flags(port, "nobody", **{**shipped.login, **own, "mqtt__url": url})
        with structlog.testing.capture_logs() as logs:
            async with bridging(chosen):
                pass
        assert troubles(logs) == []
        wrong = chosen | {"mqtt.password_file": str(prepared / "dashboard-password")}
        async with program(wrong) as one:
            await until(lambda: unavailable(one))
            assert "ot auth" in unavailable(one)[0]["reason"]
        if is_mutual:
            own_pair = ("mqtt.tls_cert", "mqtt.tls_key")
            bare = {name: text for name, text in chosen.items() if name not in own_pair}
            async with program(bare) as one:
                await until(lambda: unavailable(one))


def unavailable(one: Program) -> list[Any]:
    return [line for line in one.lines if line["event"] == "broker_unavailable"]


# Secrets


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to the containers' users takes root")
async def test_the_script_makes_secrets_that_let_each_user_in_and_keeps_them(tmp_path):
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy, ignore=shutil.ignore_patterns("secrets"))
    secrets = deploy / "secrets"
    made: list[dict[str, str]] = []
    for _ in range(2):
        await carry_out("sh", deploy / "make-secrets.sh")
        made.append({name: (secrets / name).read_text().strip() for name in USERS})
    assert made[0] == made[1]
    assert len(set(made[0].values())) == 3
    assert all(len(one) == 32 for one in made[0].values())
    owners = {
        str(one.relative_to(secrets)): (one.stat().st_uid, f"{one.stat().st_mode & 0o777:o}")
        for one in secrets.rglob("*")
    }
    assert owners == {
        "bridge": (10001, "600"),
        "homeassistant": (0, "600"),
        "dashboard": (0, "600"),
        "mosquitto": (1883, "700"),
        "mosquitto/passwd": (1883, "600"),
        "mosquitto/acl": (1883, "600"),
    }
    for one in made[0].values():
        assert one not in (secrets / "mosquitto/passwd").read_text()
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    port = free_port()
    install(folder, port)
    shutil.copytree(secrets / "mosquitto", folder / "secrets", dirs_exist_ok=True)
    async with started(folder, port):
        for name, password in made[0].items():
            with onlooking(port, username=name, password=password) as onlooker:
                assert onlooker._client.is_connected()


# The plugin for dynamic security


@pytest.fixture
async def dynamic(prepared: Path) -> AsyncIterator[Shipped]:
    """The shipped broker with the plugin in place of password file and ACL."""
    file = prepared / "config/mosquitto.conf"
    security = prepared / "data/security.json"
    await carry_out("mosquitto_ctrl", "dynsec", "init", security, "admin", "root")
    text = re.sub(r"(?m)^(password_file|acl_file) .*\n", "", file.read_text())
    file.write_text(f"{text}\nplugin {PLUGIN}\nplugin_opt_config_file {security}\n")
    options = prepared / ".config/mosquitto_ctrl"
    options.parent.mkdir()
    async with shipping(prepared) as shipped:
        options.write_text(f"-h 127.0.0.1\n-p {shipped.broker.port}\n-u admin\n-P root\n")
        environment = {**clean_environment(), "HOME": str(prepared)}
        await carry_out("sh", DEPLOY / "mosquitto/dynamic-security.sh", environment=environment)
        for name, role in zip(USERS, ("bridge", "hub", "dashboard"), strict=True):
            for words in (
                ("createClient", name, "-p", PASSWORDS[name]),
                ("addClientRole", name, f"upnp2mqtt-{role}"),
            ):
                await carry_out("mosquitto_ctrl", "dynsec", *words, environment=environment)
        yield shipped


@with_plugin
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_with_dynamic_security_the_bridge_has_all_the_rights_that_it_needs(dynamic, protocol):
    async with running(part(f"acl-{new_udn()}")) as device:
        with structlog.testing.capture_logs() as logs:
            chosen = flags(dynamic.broker.port, device.root.name, **dynamic.login)
            async with bridging(chosen | {"mqtt.protocol": protocol}):
                with dynamic_user(dynamic, HUB, "upnp/#", "homeassistant/#") as onlooker:
                    caller, target = Caller(onlooker), {"newTargetValue": True}
                    await until(lambda: f"upnp/{device.udn}" in onlooker.held)
                    body = {"action": "SetTarget", "args": target}
                    assert (await caller.call(device.udn, body))["success"]
                    on = "bridge/main/response/health"
                    assert (await caller.send("bridge/main/request/health", {}, on=on))["success"]
                    mark = len(onlooker.messages)
                    onlooker.publish("homeassistant/status", b"online")
                    discovery = f"homeassistant/device/upnp2mqtt_{device.udn}/config"
                    await until(lambda: any(m.topic == discovery for m in onlooker.since(mark)))
                    forbidden = written_by_the_bridge(device.udn)
                    assert set(verdicts(onlooker, *forbidden).values()) == {NOT_AUTHORIZED}
        assert troubles(logs) == []


@with_plugin
async def test_with_dynamic_security_a_dashboard_reads_the_tree_and_can_do_nothing(dynamic):
    chosen = flags(dynamic.broker.port, "nobody", **dynamic.login)
    async with bridging(chosen):
        with dynamic_user(dynamic, DASHBOARD, "upnp/#") as dashboard:
            await until(lambda: dashboard.held.get("upnp/bridge/main/state") == b"online")
            topics = ("upnp/x/call", "upnp/bridge/main/request/search", "upnp/reply/x", "other")
            assert set(verdicts(dashboard, *topics).values()) == {NOT_AUTHORIZED}
        for name in (DASHBOARD, "bridge"):
            with pytest.raises(AssertionError, match="refused"), dynamic_user(dynamic, name, "#"):
                pass


@contextmanager
def dynamic_user(shipped: Shipped, name: str, *filters: str) -> Iterator[Onlooker]:
    """An onlooker of some topics: to all of them, the plugin lets nobody subscribe."""
    with onlooking(shipped.broker.port, **shipped.user(name)) as onlooker:
        codes: list[int] = []
        onlooker._client.on_subscribe = lambda _, __, ___, got, ____: codes.extend(
            one.value for one in got
        )
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        onlooker._client.subscribe([(one, options) for one in filters])
        deadline = time.monotonic() + 5
        while len(codes) < len(filters):
            assert time.monotonic() < deadline, "no SUBACK"
            time.sleep(0.01)
        assert not any(code >= 128 for code in codes), "refused"
        yield onlooker


# mosquitto 2.1: passwords and ACL by plugins

FILE_PLUGINS = next((one.parent for one in Path("/usr/lib").rglob("mosquitto_acl_file.so")), None)


def rules(name: str) -> list[str]:
    """Return what a shipped configuration sets, in order."""
    lines = (DEPLOY / "mosquitto" / name).read_text().splitlines()
    return [one for one in lines if one and not one.startswith("#")]


def test_both_configurations_differ_by_nothing_but_how_passwords_and_acl_are_read() -> None:
    def other(lines: list[str]) -> list[str]:
        ways = ("password_file", "acl_file", "global_plugin", "plugin_opt_")
        return [one for one in lines if not one.startswith(ways)]

    def files(lines: list[str]) -> list[str]:
        found = (one.removeprefix("plugin_opt_") for one in lines)
        return [one for one in found if one.startswith(("password_file", "acl_file"))]

    old, new = rules("mosquitto.conf"), rules("mosquitto-2.1.conf")
    assert other(old) == other(new)
    assert files(old) == files(new)
    assert "allow_anonymous false" in old
    plugins = [one.rpartition("/")[2] for one in new if one.startswith("global_plugin")]
    assert plugins == ["mosquitto_password_file.so", "mosquitto_acl_file.so"]


@pytest.mark.skipif(FILE_PLUGINS is None, reason="this mosquitto is older than 2.1")
async def test_the_plugins_of_2_1_give_the_same_rights(prepared: Path) -> None:
    file = prepared / "config/mosquitto.conf"
    found = re.search(r"(?m)^listener (\d+)", file.read_text())
    assert found
    user = "user root\n" if os.geteuid() == 0 else ""
    text = adjusted(DEPLOY / "mosquitto/mosquitto-2.1.conf", prepared, {1883: int(found[1])})
    file.write_text(user + re.sub(r"(?m)^(global_plugin) .*/", rf"\1 {FILE_PLUGINS}/", text))
    async with shipping(prepared) as one:
        with onlooking(one.broker.port, **one.user(HUB)) as hub:
            codes = verdicts(hub, "upnp/x/call", "upnp/x/availability")
        assert codes["upnp/x/availability"] == NOT_AUTHORIZED
        assert codes["upnp/x/call"] < 128
        with pytest.raises(BrokerRefused):
            async with connected(one.broker.endpoint):
                pass
