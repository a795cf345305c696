"""The command line, as a user's shell sees it."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from bridge import __version__, cli
from tests.adapter.bridge import Ended, Onlooker, flags, onlooking, program, run
from tests.adapter.device import Action, Device, Fault, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import free_port, mosquitto, only, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = f"cli-{new_udn()}"
SECRET = "s3cret!"


@dataclass
class World:
    device: Device
    onlooker: Onlooker
    url: str
    http: str

    async def call(self, *words: str) -> Ended:
        return await run("call", *words, "--mqtt.url", self.url)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    members = (
        Action("Set", ("in Value:V", "in InstanceID:I", "out Old:V")),
        Variable("V", "ui2", range=("0", "9")),
        Variable("I", "ui4"),
    )
    root = Part(new_udn(), NAME, (Service("One", members, {"V": "1"}), Service("Two", members)))
    http = str(free_port())
    async with (
        mosquitto(tmp_path_factory.mktemp("cli")) as broker,
        running(root) as device,
        program(flags(broker.port, NAME, http__port=http)),
    ):
        with onlooking(broker.port) as onlooker:
            await until(lambda: onlooker.held.get("upnp/bridge/main/state") == b"online")
            yield World(device, onlooker, f"mqtt://127.0.0.1:{broker.port}", http)


async def test_the_version_is_told() -> None:
    ended = await run("--version")
    assert (ended.status, ended.out) == (0, f"upnp2mqtt {__version__}\n")


async def test_the_console_script_is_the_same_program() -> None:
    code = "import sys; from bridge.cli import main; sys.exit(main())"
    script = await run("--version", program=(sys.executable, "-c", code))
    assert script == await run("--version")


async def test_help_names_every_command_and_setting() -> None:
    ended = await run("--help")
    assert ended.status == 0
    for command in cli._COMMANDS:
        assert re.search(rf"^ +{command}\b", ended.out, re.MULTILINE), command
    ended = await run("run", "--help")
    for name in ("--mqtt.url", "--upnp.interfaces", "--read_only", "BRIDGE_MQTT__URL"):
        assert name in ended.out


async def test_a_command_that_is_none_is_an_error() -> None:
    ended = await run("dance")
    assert ended.status == 2
    assert not ended.out


# Settings


WRONG = [
    ("instance", "a/b"),
    ("instance", "all"),
    ("instance", "+"),
    ("mqtt.url", "http://x"),
    ("mqtt.url", "[1"),
    ("mqtt.url", "mqtt://127.0.0.1:port"),
    ("mqtt.url", "mqtt://"),
    ("mqtt.protocol", "4"),
    ("mqtt.qos", "3"),
    ("mqtt.base_topic", "a/#"),
    ("mqtt.base_topic", "/"),
    ("mqtt.base_topic", "$SYS"),
    ("mqtt.max_payload", "10"),
    ("mqtt.max_payload", "many"),
    ("mqtt.response_topics", '["a/#/b"]'),
    ("mqtt.response_topics", '["a+"]'),
    ("mqtt.password_file", "/nowhere/at/all"),
    ("mqtt.username_file", "/nowhere/at/all"),
    ("mqtt.tls_ca", "/nowhere/at/all"),
    ("mqtt.tls_cert", "/nowhere/at/all"),
    ("upnp.search_interval", "0"),
    ("upnp.action_timeout", "-1"),
    ("upnp.action_timeout", "nan"),
    ("upnp.callback_port", "70000"),
    ("upnp.trusted_networks", '["10.0.0.0/99"]'),
    ("mirror.detail", "deep"),
    ("mirror.state", "none"),
    ("mirror.forget_after", "-1"),
    ("http.port", "-1"),
    ("read_only", "perhaps"),
    ("log.level", "loud"),
    ("log.format", "xml"),
]
_EACH = """
import contextlib, io, json, sys
from bridge.cli import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(words)
    print(json.dumps([status, err.getvalue()]))
"""


async def test_a_wrong_setting_ends_the_start_with_one_line_that_names_it() -> None:
    starts = []
    for setting, text in WRONG:
        chosen = flags(1, NAME, log__level="error") | {setting: text}
        if setting == "mqtt.tls_ca":
            chosen["mqtt.url"] = "mqtts://127.0.0.1:1"
        starts.append([f"--{name}={one}" for name, one in chosen.items()])
    ended = await run(json.dumps(starts), program=(sys.executable, "-c", _EACH))
    assert ended.status == 0, ended.err
    told = [json.loads(line) for line in ended.out.splitlines()]
    for (setting, text), (status, err) in zip(WRONG, told, strict=True):
        assert (status, len(err.splitlines())) == (2, 1), (setting, text, err)
        assert setting in err, (setting, text, err)


async def test_a_wrong_variable_is_told_by_the_name_of_its_setting() -> None:
    ended = await run(BRIDGE_MQTT__QOS="seven")
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert "mqtt.qos" in line


async def test_several_wrong_settings_are_told_at_once() -> None:
    ended = await run(BRIDGE_MQTT__QOS="seven", BRIDGE_INSTANCE="a/b")
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert "mqtt.qos" in line
    assert "instance" in line


async def test_a_port_that_is_taken_is_told_by_its_setting() -> None:
    server = await asyncio.start_server(lambda *_: None, "0.0.0.0", 0)
    port = str(server.sockets[0].getsockname()[1])
    try:
        for setting in ("upnp.callback_port", "http.port"):
            chosen = flags(1, NAME, log__level="error") | {setting: port}
            ended = await run(*(f"--{name}={one}" for name, one in chosen.items()))
            assert ended.status == 2, ended.err
            (line,) = ended.err.splitlines()
            assert setting in line
    finally:
        server.close()


async def test_an_env_file_is_read_and_the_environment_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BRIDGE_MQTT__QOS=seven\n")
    ended = await run(directory=tmp_path)
    assert ended.status == 2
    assert "mqtt.qos" in ended.err
    ended = await run("--instance=a/b", directory=tmp_path, BRIDGE_MQTT__QOS="1")
    assert "mqtt.qos" not in ended.err
    assert "instance" in ended.err


async def test_an_unknown_variable_is_warned_of() -> None:
    unknown = {"BRIDGE_MQTT__ULR": "x"}
    async with program(flags(1, NAME), environment=unknown) as bridge:
        await until(lambda: any(one["event"] == "unknown_setting" for one in bridge.lines))
        (line,) = [one for one in bridge.lines if one["event"] == "unknown_setting"]
        assert (line["level"], line["variable"]) == ("warning", "BRIDGE_MQTT__ULR")
        assert await bridge.stop() == 0


_LOGS = """
import logging, structlog
from bridge import log
log.configure("info", "json")
structlog.get_logger().warning("lost")
logging.getLogger("other").warning("lost")
print("went on")
"""


async def test_a_log_on_a_full_disk_ends_nothing() -> None:
    on_a_full_disk = ("sh", "-c", 'exec "$0" -c "$1" 2>/dev/full', sys.executable)
    ended = await run(_LOGS, program=on_a_full_disk)
    assert (ended.status, ended.out) == (0, "went on\n")


async def test_secrets_are_nowhere_to_be_seen(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    lines = only(tmp_path, "joe", SECRET)
    async with mosquitto(tmp_path_factory.mktemp("secrets"), *lines) as broker:
        url = f"mqtt://joe:{SECRET.replace('!', '%21')}@127.0.0.1:{broker.port}"
        ways = {
            "file": {"mqtt.username": "joe", "mqtt.password_file": str(tmp_path / "password")},
            "flag": {"mqtt.username": "joe", "mqtt.password": SECRET},
            "url": {"mqtt.url": url},
        }
        usual = flags(broker.port, NAME, log__level="debug")
        async with AsyncExitStack() as stack:
            bridges = [
                await stack.enter_async_context(program(usual | {"instance": way} | more))
                for way, more in ways.items()
            ]
            with onlooking(broker.port, username="joe", password=SECRET) as onlooker:
                states = [f"upnp/bridge/{way}/state" for way in ways]
                await until(lambda: all(onlooker.held.get(s) == b"online" for s in states))
                onlooker.publish("upnp/bridge/all/request/diagnostics", {"callid": 1})
                ends = "response/diagnostics"
                await until(lambda: len(onlooker.since(0, ends)) == len(ways))
                told = b"".join(one.payload for one in onlooker.messages)
            for bridge in bridges:
                told += bridge.arguments
            for bridge in bridges:
                assert await bridge.stop() == 0
        for secret in (SECRET, SECRET.replace("!", "%21")):
            assert secret.encode() not in told
            assert all(secret not in json.dumps(bridge.lines) for bridge in bridges)


# Commands


async def test_discover_lists_what_answers(world: World) -> None:
    words = ("discover", "--upnp.interfaces=lo", f"--upnp.allow={NAME}", "--seconds=0.5")
    ended = await run(*words, "--json")
    assert ended.status == 0
    (row,) = json.loads(ended.out)
    assert row["udn"] == f"uuid:{world.device.udn}"
    assert row["friendly_name"] == NAME
    assert row["location"] == world.device.location
    assert row["services"] == 2
    plain = await run(*words)
    assert plain.status == 0
    assert NAME in plain.out
    assert world.device.location in plain.out


async def test_discover_finds_nothing_and_says_so() -> None:
    words = ("discover", "--upnp.interfaces=lo", "--upnp.allow=nobody", "--seconds=0.2")
    ended = await run(*words, "--json")
    assert (ended.status, json.loads(ended.out)) == (1, [])
    assert "no device answered on lo" in ended.err


@pytest.mark.parametrize("command", ["discover", "diagnostics"])
@pytest.mark.parametrize("seconds", ["-3", "0", "nan", "inf", "1e9", "soon", ""])
async def test_a_search_takes_a_sensible_time(command: str, seconds: str) -> None:
    ended = await run(command, "--seconds", seconds)
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert f"cannot be '{seconds}'" in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("discove",), "no command 'discove': did you mean discover?"),
        (("--mqtt.ulr", "x"), "no flag '--mqtt.ulr': did you mean --mqtt.url?"),
        (("run", "--mqtt-url=x"), "no flag '--mqtt-url': did you mean --mqtt.url?"),
        (("discover", "eth0"), "no argument of `discover` 'eth0'"),
        (("--mqtt.url",), "--mqtt.url: expected one argument"),
    ],
)
async def test_a_word_that_is_none_is_told_in_one_line_with_the_nearest(
    words: tuple[str, ...], said: str
) -> None:
    ended = await run(*words)
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert said in ended.err


@pytest.mark.parametrize("command", ["run", "discover", "diagnostics"])
@pytest.mark.parametrize("names", ["eth77", "eth77,203.0.113.7", '["eth77"]'])
async def test_without_any_interface_that_exists_nothing_starts(command: str, names: str) -> None:
    ended = await run(command, "--upnp.interfaces", names, "--mqtt.url=mqtt://127.0.0.1:1")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "upnp.interfaces: eth77" in ended.err
    assert "of this machine, which has lo" in ended.err


async def test_what_is_not_of_this_machine_is_told_at_the_start() -> None:
    chosen = flags(1, NAME) | {
        "upnp.interfaces": "lo, eth77",
        "upnp.callback_host": "203.0.113.7",
    }
    async with program(chosen) as bridge:
        await until(lambda: any(one["event"] == "starting" for one in bridge.lines))
        told = {one["event"]: one.get("reason", "") for one in bridge.lines}
        assert "eth77 is not an interface or address" in told["interface_unknown"]
        assert "203.0.113.7 is not an address of this machine" in told["callback_host_not_local"]
        assert await bridge.stop() == 0


async def test_a_typing_error_in_the_env_file_is_told_by_every_command(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BRIDGE_UPNP_INTERFACES=eth0\n")
    words = ("discover", "--upnp.interfaces=lo", "--upnp.allow=nobody", "--seconds=0.1")
    ended = await run(*words, directory=tmp_path)
    first, *_ = ended.err.splitlines()
    assert first == (
        "upnp2mqtt: BRIDGE_UPNP_INTERFACES (.env, line 1) is not a setting, and is ignored; "
        "did you mean BRIDGE_UPNP__INTERFACES?"
    )


async def test_call_prints_the_answer(world: World) -> None:
    async def told(_: object) -> dict[str, str]:
        return {"Old": "4"}

    world.device.actions["Set"] = told
    for udn in (world.device.udn, f"uuid:{world.device.udn.upper()}"):
        ended = await world.call(udn, "One", "Set", "Value=5")
        assert ended.status == 0, ended.err
        assert json.loads(ended.out)["out"] == {"Old": 4}
    assert world.device.calls[-1].args == {"Value": "5", "InstanceID": "0"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("Set", "Value=5"), "ambiguous_action"),
        (("One", "Nope"), "unknown_action"),
        (("Three", "Set"), "unknown_service"),
        (("One", "Set"), "invalid_argument"),
        (("One", "Set", "Value=10"), "invalid_argument"),
        (("One", "Set", "Value=5", "X=1"), "invalid_argument"),
    ],
)
async def test_a_call_that_fails_exits_with_1_and_says_why(
    world: World, words: tuple[str, ...], code: str
) -> None:
    ended = await world.call(world.device.udn, *words)
    assert ended.status == 1
    assert code in ended.err


async def test_a_fault_of_the_device_exits_with_1(world: World) -> None:
    async def fault(_: object) -> Fault:
        return Fault(701, "Not now")

    world.device.actions["Set"] = fault
    ended = await world.call(world.device.udn, "One", "Set", "Value=1")
    assert ended.status == 1
    assert "upnp_fault" in ended.err
    assert "Not now" in ended.err


async def test_a_call_without_a_broker_exits_with_1() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    ended = await run("call", "x", "Y", "--mqtt.url", url)
    assert ended.status == 1
    assert ended.err == f"upnp2mqtt: {url}: Connect call failed: Connection refused\n"


async def test_a_call_of_too_few_words_exits_with_2() -> None:
    for words in (("call",), ("call", "udn"), ("call", "a", "b", "c", "d")):
        assert (await run(*words)).status == 2, words


async def test_health_is_0_while_the_bridge_is_online(world: World) -> None:
    assert (await run("health", "--http.port", world.http)).status == 0
    ended = await run("health", "--http.port", str(free_port()))
    assert ended.status == 1
    assert len(ended.err.splitlines()) == 1


async def test_health_does_not_take_another_program_for_the_bridge() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answers.pop())
        writer.close()

    answers = [b"220 ready\r\n", b"HTTP/1.0 404 No\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n{}"]
    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    async with server:
        while answers:
            ended = await run("health", "--http.port", port)
            assert (ended.status, len(ended.err.splitlines())) == (1, 1)
            assert "no bridge" in ended.err


async def test_health_is_1_while_there_is_no_broker() -> None:
    port = str(free_port())
    async with program(flags(1, NAME, http__port=port)) as bridge:
        for _ in range(20):
            ended = await run("health", "--http.port", port)
            if "not online" in ended.err:
                break
            await asyncio.sleep(0.05)
        assert (ended.status, "not online" in ended.err) == (1, True)
        await bridge.stop()
