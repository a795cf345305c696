"""The add-on's start, as a process: a fake Supervisor, and what the bridge is started with."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.adapter.bridge import flags, onlooking, program
from tests.adapter.mosquitto import free_port, mosquitto, until

RUN = Path(__file__).parents[2] / "deploy/home-assistant-addon/run.py"
TOKEN = "the add-on's own token"
BROKER = {
    "addon": "core_mosquitto",
    "host": "core-mosquitto",
    "port": 1883,
    "ssl": False,
    "username": "addons",
    "password": "pa$$ \"word'",
    "protocol": "3.1.1",
}


@dataclass
class Supervisor:
    """A Supervisor that answers one question as a test says."""

    status: int = 200
    answer: Any = field(default_factory=lambda: {"result": "ok", "data": dict(BROKER)})
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    async def reply(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers.get("Authorization", "")))
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    one = Supervisor()
    app = web.Application()
    app.router.add_get("/{rest:.*}", one.reply)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that user 10001 can enter."""
    made = Path(tempfile.mkdtemp(prefix="addon-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@dataclass(frozen=True)
class Started:
    """How a start of the add-on ended, and with what the command was started."""

    status: int
    errors: list[str]
    environment: dict[str, str]
    words: list[str]
    user: tuple[str, ...]


async def start(
    folder: Path, options: object, supervisor: Supervisor | None = None, *, token: str = TOKEN
) -> Started:
    """Start the add-on with a command that tells with what it was started."""
    command = folder / "command"
    command.write_text('#!/bin/sh\nid -u; id -g; id -G\nprintf "%s\\n" "$@"\necho --\nenv -0\n')
    command.chmod(0o755)
    file = folder / "options.json"
    file.write_text(options if isinstance(options, str) else json.dumps(options))
    file.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        RUN,
        command,
        "-m",
        "bridge",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "http_proxy": "http://127.0.0.1:9",
            "OPTIONS_FILE": str(file),
            "SUPERVISOR_URL": supervisor.url if supervisor else "http://127.0.0.1:9",
            **({"SUPERVISOR_TOKEN": token} if token else {}),
        },
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    assert process.returncode is not None
    head, _, environment = out.decode().partition("\n--\n")
    *user, words = [*head.split("\n", 3), "", "", "", ""][:4]
    found = dict(pair.split("=", 1) for pair in environment.split("\0") if pair)
    return Started(
        process.returncode, err.decode().splitlines(), found, words.split("\n"), tuple(user)
    )


def settings_of(started: Started) -> dict[str, str]:
    return {name: text for name, text in started.environment.items() if name.startswith("BRIDGE_")}


async def test_without_a_broker_of_the_users_own_the_supervisor_is_asked(folder, supervisor):
    started = await start(folder, {"mqtt_url": "", "read_only": True}, supervisor)
    assert started.status == 0, started.errors
    assert supervisor.asked == [("/services/mqtt", f"Bearer {TOKEN}")]
    assert settings_of(started) == {
        "BRIDGE_MQTT__URL": "mqtt://core-mosquitto:1883",
        "BRIDGE_MQTT__USERNAME": "addons",
        "BRIDGE_MQTT__PASSWORD": BROKER["password"],
        "BRIDGE_READ_ONLY": "true",
    }


async def test_the_users_own_broker_goes_before_and_nobody_is_asked(folder, supervisor):
    options = {"mqtt_url": "mqtts://b", "mqtt_username": "me", "mqtt_password": "x", "deny": ["a"]}
    started = await start(folder, options, supervisor)
    assert started.status == 0
    assert supervisor.asked == []
    assert settings_of(started) == {
        "BRIDGE_MQTT__URL": "mqtts://b",
        "BRIDGE_MQTT__USERNAME": "me",
        "BRIDGE_MQTT__PASSWORD": "x",
        "BRIDGE_UPNP__DENY": '["a"]',
    }


async def test_a_login_alone_does_not_go_to_the_supervisors_broker(folder, supervisor):
    started = await start(folder, {"mqtt_username": "me", "mqtt_password": "x"}, supervisor)
    assert settings_of(started)["BRIDGE_MQTT__USERNAME"] == "addons"
    assert settings_of(started)["BRIDGE_MQTT__PASSWORD"] == BROKER["password"]


async def test_the_bridge_gets_no_token_no_secret_in_its_words_and_not_the_rights_of_root(
    folder, supervisor
):
    started = await start(folder, {}, supervisor)
    assert started.words == ["-m", "bridge"]
    assert "SUPERVISOR_TOKEN" not in started.environment
    if os.getuid() == 0:
        assert started.user == ("10001", "10001", "10001")


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (400, {"result": "error", "message": "Service not enabled"}, "Service not enabled"),
        (403, b"no", "403"),
        (500, b"", "500"),
        (200, b"<html>", "not JSON"),
        (200, {"result": "ok"}, "data"),
        (200, ["ok"], "data"),
        (200, {"data": {"host": "core-mosquitto"}}, "port"),
    ],
)
async def test_a_supervisor_without_a_broker_ends_the_start_with_one_line(
    folder, supervisor, status, answer, reason
):
    supervisor.status, supervisor.answer = status, answer
    started = await start(folder, {}, supervisor)
    assert started.status == 1
    assert started.environment == {}
    (line,) = started.errors
    assert line.startswith("upnp2mqtt: ")
    assert reason in line
    assert TOKEN not in line


async def test_a_supervisor_that_is_not_there_ends_the_start_with_one_line(folder):
    for token, reason in ((TOKEN, "does not answer"), ("", "mqtt_url")):
        started = await start(folder, {}, token=token)
        assert started.status == 1
        (line,) = started.errors
        assert reason in line


@pytest.mark.parametrize("options", ["", "{", "[]", '{"colour": "red"}'])
async def test_options_that_cannot_be_read_end_the_start_with_one_line(folder, options):
    started = await start(folder, options)
    assert started.status == 1
    assert len(started.errors) == 1


async def test_a_command_that_is_not_there_ends_the_start_with_one_line(folder):
    (folder / "options.json").write_text('{"mqtt_url": "mqtt://b"}')
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        RUN,
        "/no/such/command",
        env={"OPTIONS_FILE": str(folder / "options.json")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
    assert b"/no/such/command" in err


async def alive(folder: Path) -> int:
    """Ask as the image's health check does."""
    environment = {"OPTIONS_FILE": str(folder / "options.json")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", RUN, "--alive", env=environment
    )
    return await process.wait()


async def test_the_health_check_is_content_while_the_bridge_lives_with_or_without_a_broker(folder):
    port = free_port()
    (folder / "options.json").write_text(json.dumps({"http_port": port}))
    assert await alive(folder) == 1
    async with program(flags(free_port(), "nobody", http__port=str(port))) as bridge:
        await until(lambda: any("broker" in one["event"] for one in bridge.lines))
        assert await alive(folder) == 0
        assert await bridge.stop() == 0
    assert await alive(folder) == 1


async def test_a_bridge_comes_up_with_what_the_add_on_makes_of_the_supervisors_answer(
    folder, supervisor, tmp_path
):
    async with mosquitto(tmp_path) as broker:
        told = {"host": "127.0.0.1", "port": broker.port, "username": "a", "password": "b"}
        supervisor.answer = {"result": "ok", "data": told}
        options = {
            "interfaces": ["lo"],
            "allow": ["nobody"],
            "instance": "addon",
            "log_level": "info",
        }
        started = await start(folder, options, supervisor)
        local = {"http.port": "0", "upnp.callback_port": "0"}
        async with program(local, environment=settings_of(started)):
            with onlooking(broker.port) as onlooker:
                state = "upnp/bridge/addon/state"
                await until(lambda: onlooker.held.get(state) == b"online")
                shown = json.loads(onlooker.held["upnp/bridge/addon/info"])["settings"]
    assert shown["upnp"]["interfaces"] == ["lo"]
    assert shown["upnp"]["allow"] == ["nobody"]
    assert shown["mqtt"]["username"] == "a"
