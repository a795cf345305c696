"""What a newcomer does first: the demonstration on a terminal, commands beside it, Ctrl-C."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from bridge.commands import footing, running
from bridge.commands.running import Running, announced
from bridge.mqtt.mosquitto import PORTS
from tests.adapter.bridge import bridging, clean_environment, flags, onlooking, run
from tests.adapter.device import Part, Service, Variable, new_udn
from tests.adapter.device import running as running_device
from tests.adapter.mosquitto import mosquitto, until

RENDERER = "6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11b1"


class Terminal:
    """A program on a terminal of 80 columns, in a session of its own, as in a window."""

    def __init__(self, words: Sequence[str], directory: Path, environment: dict[str, str]) -> None:
        self.text = ""
        self.pid, self._main = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            everything = {**clean_environment(), **environment, "NO_COLOR": "1"}
            os.execve(sys.executable, [sys.executable, "-m", "bridge", *words], everything)
        os.set_blocking(self._main, False)

    def read(self) -> bool:
        """Read what there is; return whether there may be more."""
        with suppress(BlockingIOError):
            try:
                while data := os.read(self._main, 65536):
                    self.text += data.decode(errors="replace")
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    return True
            return False
        return True

    def shows(self, pattern: str) -> bool:
        self.read()
        return re.search(pattern, self.text) is not None

    def press_ctrl_c(self) -> None:
        with suppress(OSError):
            os.write(self._main, b"\x03")

    async def ended(self, limit_s: float = 20.0) -> int:
        """Return the exit status."""
        await until(lambda: not self.read(), limit_s)
        _, status = await asyncio.to_thread(os.waitpid, self.pid, 0)
        self.pid = 0
        os.close(self._main)
        return os.waitstatus_to_exitcode(status)

    async def end(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            await self.ended()


@asynccontextmanager
async def terminal(*words: str, directory: Path) -> AsyncIterator[Terminal]:
    one = Terminal(words, directory, {"XDG_RUNTIME_DIR": str(directory)})
    try:
        yield one
    finally:
        await one.end()


@contextmanager
def usual_port_taken() -> Iterator[None]:
    with suppress(OSError), socket.create_server(("127.0.0.1", PORTS[0])):
        yield
        return
    yield  # somebody has it already


def announcements(pid: int) -> list[Path]:
    """Return the files that a bridge has left for other commands."""
    return [path for place in running._places() if (path := place / f"{pid}.json").exists()]


def children(pid: int) -> list[int]:
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdecimal() and _parent(path) == pid
    ]


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


async def test_the_demo_is_found_by_every_command_also_where_the_usual_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with usual_port_taken():
        async with terminal("demo", directory=tmp_path) as demo:
            await until(lambda: demo.shows(r" online "), 60)
            assert "warning embedded_broker_port_taken" in demo.text
            told = re.search(r"The broker is at mqtt://127\.0\.0\.1:(\d+)\.", demo.text)
            assert told
            assert int(told[1]) in PORTS[1:]
            for name in ("Renderer", "Media Server", "Light", "Router"):
                (line,) = re.findall(rf"device_joined Demo {name}.*", demo.text)
                assert len(line) + len("11:11:11 ") <= 80
            health, call, discover, diagnostics = await asyncio.gather(
                run("health"),
                run("call", RENDERER, "SetVolume", "DesiredVolume=21"),
                run("discover", "--json"),
                run("diagnostics", RENDERER, "--output", str(tmp_path / "file.json")),
            )
            assert (health.status, health.out) == (0, "healthy\n"), health.err
            assert call.status == 0, call.err
            assert discover.status == 0, discover.err
            assert {row["friendly_name"] for row in json.loads(discover.out)} == {
                *("Demo Renderer", "Demo Media Server", "Demo Light", "Demo Router")
            }
            assert diagnostics.status == 0, diagnostics.err
            assert announcements(demo.pid)
            groups = {os.getpgid(pid) for pid in children(demo.pid)}
            assert len(groups) == 2
            assert os.getpgid(demo.pid) not in groups
            pid = demo.pid
            for _ in range(4):
                demo.press_ctrl_c()
                await asyncio.sleep(0)
            assert await demo.ended() == 0
            assert "stopped" in demo.text
            assert "Traceback" not in demo.text
            assert not announcements(pid)


@pytest.mark.parametrize(
    ("words", "shown", "status"),
    [
        (("demo",), "", 0),
        (("demo",), "interface_joined", 0),
        (("run", "--upnp.interfaces=lo", "--upnp.callback_port=0", "--http.port=0"), "starting", 0),
        (("discover", "--upnp.interfaces=lo", "--seconds=60"), "searching", 130),
        (("discover",), "", 130),
        (("diagnostics", "nobody", "--upnp.interfaces=lo", "--seconds=60"), "", 130),
        (("doctor", "--upnp.interfaces=lo"), "This machine", 1),
    ],
)
async def test_ctrl_c_ends_every_command_in_order_however_often_it_is_pressed(
    tmp_path: Path, words: tuple[str, ...], shown: str, status: int
) -> None:
    async with terminal(*words, directory=tmp_path) as program:
        await until(lambda: program.shows(shown) if shown else _has_begun(program.pid))
        for _ in range(5):
            program.press_ctrl_c()
            await asyncio.sleep(0)
        assert await program.ended() == status, program.text
        assert "Traceback" not in program.text


def _has_begun(pid: int) -> bool:
    """Tell whether a command holds SIGINT back until it can take it (proc(5), SigBlk).

    A fork does so too, for a moment, before it becomes the command.
    """
    if b"\0-m\0bridge\0" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        return False
    text = Path(f"/proc/{pid}/status").read_text()
    held = int(re.findall(r"^SigBlk:\s+(\w+)", text, re.MULTILINE)[0], 16)
    return bool(held >> (signal.SIGINT - 1) & 1)


async def test_a_call_that_is_interrupted_says_so(tmp_path: Path) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, terminal("call", "u", "A", "--mqtt.url", url, directory=tmp_path) as call:
        await until(lambda: _has_begun(call.pid))
        call.press_ctrl_c()
        assert await call.ended() == 130
        assert "ended before all was done" in call.text


async def test_output_that_nobody_reads_to_its_end_is_no_traceback() -> None:
    ended = await run(
        *("-c", f"{sys.executable} -m bridge run --help | head -1"), program=("bash",)
    )
    assert "Traceback" not in ended.err
    assert "BrokenPipe" not in ended.err


async def test_a_terminal_of_another_encoding_is_written_to() -> None:
    ended = await run("run", "--help", PYTHONIOENCODING="ascii")
    assert (ended.status, "Traceback" in ended.err) == (0, False)
    assert "--upnp.interfaces" in ended.out


# Where nothing is found


class Lines:
    """A log that keeps its warnings."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **facts: object) -> None:
        self.told.append((event, facts))


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"upnp.allow": "nobody"}, "the filter excludes all devices that were found: 1"),
        ({"upnp.allow": "", "upnp.deny": "*"}, "the filter excludes all devices that were found"),
        (
            {"upnp.interfaces": "eth77", "upnp.locations": "http://127.0.0.1:1/d.xml"},
            "upnp.interfaces names eth77, which does not exist or cannot be used",
        ),
    ],
)
async def test_the_likely_reason_is_told_where_nothing_was_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: dict[str, str],
    reason: str,
) -> None:
    lines = Lines()
    monkeypatch.setattr(footing, "_log", lines)
    root = Part(new_udn(), "First hour", (Service("One", (Variable("V", "ui2"),), {"V": "1"}),))
    async with (
        mosquitto(tmp_path) as broker,
        running_device(root),
        bridging(flags(broker.port, "nobody") | chosen) as one,
    ):
        if "upnp.interfaces" not in chosen:
            await until(lambda: one.bridge.devices.directory.denied > 0)
        await footing.tell_reason(one.bridge, patience_s=0.0)
    ((event, facts),) = lines.told
    assert event == "no_device_found"
    assert str(facts["reason"]).startswith(reason.partition(": 1 ")[0])
    assert facts["advice"]


async def test_no_reason_is_told_where_a_device_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()
    monkeypatch.setattr(footing, "_log", lines)
    name = f"first-hour-{new_udn()}"
    root = Part(new_udn(), name, (Service("One", (Variable("V", "ui2"),), {"V": "1"}),))
    async with (
        mosquitto(tmp_path) as broker,
        running_device(root),
        bridging(flags(broker.port, name)) as one,
    ):
        mirrored_devices = one.bridge.publishing.mirror.mirrored_devices
        await until(lambda: any(mirrored.description for mirrored in mirrored_devices.values()))
        await footing.tell_reason(one.bridge, patience_s=0.0)
    assert lines.told == []


async def test_health_at_the_broker_is_right_once_the_bridge_is_online(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, bridging(flags(broker.port, "nobody")):
        with onlooking(broker.port) as onlooker:
            said = "upnp/bridge/main/health"
            await until(
                lambda: (
                    json.loads(onlooker.held.get(said, b"{}")).get("broker", {}).get("connected")
                )
            )


# The files by which commands find a bridge


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(
        running, "_places", lambda: iter([tmp_path / "upnp2mqtt", tmp_path / "system"])
    )
    return tmp_path / "upnp2mqtt"


ONE = Running("main", "upnp", broker="mqtt://127.0.0.1:1884")


def test_a_bridge_is_found_while_it_runs_and_no_longer(runtime: Path) -> None:
    with announced(ONE):
        assert running.find("main", "upnp") == ONE
        assert running.find("attic", "upnp") is None
        assert running.find("main", "other") is None
    assert running.find("main", "upnp") is None
    assert not list(runtime.iterdir())


def test_what_a_killed_bridge_left_counts_for_nothing_and_is_swept(runtime: Path) -> None:
    with announced(ONE):
        (own,) = runtime.iterdir()
        said = json.loads(own.read_text())
        for number, lie in enumerate(
            ({"pid": 2**22 + 1}, {"started": "1"}, {"network": "net:[1]"}, {"pid": "x"}, {"x": 1})
        ):
            (runtime / f"{number}.json").write_text(json.dumps(said | {"broker": "lie"} | lie))
        (runtime / "torn.json").write_text('{"pid": 1')
        (runtime / "list.json").write_text("[]")
        (runtime / "long.json").write_text(" " * 10_000)
        (runtime / "link.json").symlink_to(own)
        os.mkfifo(runtime / "pipe.json")
        assert running.find("main", "upnp") == ONE
    with announced(ONE):
        assert not (runtime / "0.json").exists()
        assert not (runtime / "1.json").exists()
        assert running.find("main", "upnp") == ONE


def test_a_directory_that_others_may_write_is_not_believed(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o777)
    with announced(ONE):
        assert not list(runtime.iterdir())
        assert running.find("main", "upnp") == ONE  # it stands in the next place
    real = runtime.with_name("real")
    runtime.rmdir()
    real.mkdir(mode=0o700)
    runtime.symlink_to(real)
    with announced(ONE):
        assert not list(real.iterdir())


def test_without_any_place_for_it_a_bridge_runs_all_the_same(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_places", lambda: iter([Path("/proc/nowhere")]))
    with announced(ONE):
        assert running.find("main", "upnp") is None
