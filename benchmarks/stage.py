"""What every benchmark needs: a namespace, a broker, the processes, what they use, a table."""

import asyncio
import fcntl
import itertools
import json
import math
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.onlooker import Onlooker

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_CPUCLOCK_SCHED = 2
_LINE_BYTES = 2**24
_ports = itertools.count(31000)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_INSIDE = "BENCHMARKS_NAMESPACE"
_LIBRARIES = ("async-upnp-client", "aiohttp", "paho-mqtt", "lxml", "httptools")
_CHECKOUT = Path(__file__).parent.parent


def enter_namespace(module: str) -> None:
    """Start this program again in a network namespace of its own, where that is allowed."""
    if os.environ.get(_INSIDE):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("16sh14x", b"lo", 0)
            (flags,) = struct.unpack_from("h", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        return
    unshare = [shutil.which("unshare") or "unshare", "--net", "--map-root-user"]
    with suppress(OSError):
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
            os.environ[_INSIDE] = "1"
            os.execv(unshare[0], [*unshare, sys.executable, "-m", module, *sys.argv[1:]])
    print("no network namespace to be had: on the machine's own loopback, with what else is there")


def free_port() -> int:
    """Return a free port that no outgoing connection is given: of those there are thousands."""
    for port in _ports:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


class Process:
    """A process that is looked at."""

    def __init__(self, child: asyncio.subprocess.Process, started_s: float, log: Path) -> None:
        self.child = child
        self.started_s = started_s
        self.log = log

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its threads, user and system, finer than /proc has them."""
        return time.clock_gettime(~self.child.pid << 3 | _CPUCLOCK_SCHED)

    @property
    def rss_kb(self) -> float:
        pages = Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]
        return int(pages) * _PAGE / 1024

    def warnings(self) -> list[str]:
        """Lines of its log that are no mere information."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"level": "info"' not in line and line.strip()]


@asynccontextmanager
async def process(*words: str, cwd: Path = _CHECKOUT) -> AsyncIterator[Process]:
    """Run a program until the context ends; it gets 6 s to end at SIGTERM."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_")}
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with log.open("wb") as sink:
            started_s = time.monotonic()
            child = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                limit=_LINE_BYTES,
                cwd=cwd,
                env=environment | {"PYTHONPATH": str(_CHECKOUT)},
            )
        running = Process(child, started_s, log)
        try:
            yield running
        except BaseException:
            sys.stderr.write(f"{' '.join(words)}\n" + "\n".join(running.warnings()[-10:]) + "\n")
            raise
        finally:
            with suppress(ProcessLookupError):
                child.terminate()
            try:
                async with asyncio.timeout(6):
                    await child.wait()
            except TimeoutError:
                print(f"did not end in 6 s: {' '.join(words)}")
                child.kill()
                await child.wait()


@asynccontextmanager
async def broker(*lines: str) -> AsyncIterator[int]:
    """Run a mosquitto on loopback, with these lines in its configuration; give its port."""
    port = free_port()
    async with mosquitto(port, *lines):
        yield port


@asynccontextmanager
async def mosquitto(port: int, *lines: str) -> AsyncIterator[Process]:
    """Run a mosquitto at a port until the context ends.

    Without `set_tcp_nodelay` it is the broker's 40 ms (Nagle, delayed acknowledgement) that would
    be measured, for all alike.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        file.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
            f"sys_interval 1\nlog_type error\n{user}" + "\n".join((*lines, ""))
        )
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            sys.exit("the benchmarks need mosquitto")
        async with process(program, "-c", str(file)) as running:
            async with asyncio.timeout(10):
                while True:
                    with suppress(OSError):
                        socket.create_connection(("127.0.0.1", port)).close()
                        break
                    await asyncio.sleep(0.05)
            yield running


class Server:
    """A process that answers each line of JSON with another."""

    def __init__(self, running: Process) -> None:
        self.process = running

    async def ask(self, command: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
        assert self.process.child.stdin
        assert self.process.child.stdout
        if command is not None:
            self.process.child.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(120):
            return json.loads(await self.process.child.stdout.readline())


@asynccontextmanager
async def server(module: str, *words: str) -> AsyncIterator[Server]:
    """Run a module that says a line when it is ready."""
    async with process(sys.executable, "-m", module, *words) as running:
        answering = Server(running)
        await answering.ask()
        yield answering


def fleet(devices: int, *more_services: str) -> AbstractAsyncContextManager[Server]:
    return server("benchmarks.fleet", str(devices), *more_services)


class Contestant:
    """A bridge, ours or a neighbour, with its own base topic and callback port.

    `kind` is the settings of ours, or the module of the neighbour; `runner` what runs it.
    """

    def __init__(
        self, name: str, kind: Mapping[str, str] | str, runner: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.base = name.replace(", ", "-").replace(" ", "-")
        self.callback_port = free_port()
        self._kind = kind
        self._runner = runner
        self.process: Process

    def _words(self, broker_port: int) -> list[str]:
        if isinstance(self._kind, str):
            own = [self.base, str(broker_port), str(self.callback_port)]
            return [sys.executable, *self._runner, "-m", self._kind, *own]
        settings = {
            "mqtt.url": f"mqtt://127.0.0.1:{broker_port}",
            "mqtt.base_topic": self.base,
            "upnp.interfaces": "lo",
            "upnp.callback_port": str(self.callback_port),
            "http.port": "0",
            "log.format": "json",
            **self._kind,
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [sys.executable, *self._runner, "-m", "bridge", *flags]

    @asynccontextmanager
    async def running(self, broker_port: int) -> AsyncIterator[float]:
        """Run it; give the seconds from its start to `online`."""
        online = asyncio.Event()

        def take(_topic: str, payload: bytes, was_retained: bool) -> None:  # noqa: FBT001
            if payload == b"online" and not was_retained:
                online.set()

        onlooker = await Onlooker.connect(broker_port, take)
        await onlooker.subscribe(f"{self.base}/bridge/main/state")
        async with process(*self._words(broker_port)) as self.process:
            async with asyncio.timeout(120):
                while not online.is_set():
                    if self.process.child.returncode is not None:
                        raise RuntimeError(f"{self.name} ended before it was online")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(online.wait(), 0.5)
            seconds = time.monotonic() - self.process.started_s
            onlooker.close()
            yield seconds
            for line in self.process.warnings()[:5]:
                print(f"{self.name} warns: {line[:300]}")


OURS: Mapping[str, str] = {}
VALUES: Mapping[str, str] = {"mirror.state": "values"}
NAIVE = "benchmarks.naive"
FLOOR = "benchmarks.floor"


def contestants(*, uvloop: bool) -> list[Contestant]:
    """Return the neighbours and ours, on uvloop too where that is wanted."""
    all_of_them = [
        Contestant("naive", NAIVE),
        Contestant("floor", FLOOR),
        Contestant("ours", OURS),
        Contestant("ours, leaf topics", VALUES),
    ]
    if uvloop:
        if not find_spec("uvloop"):
            sys.exit("uvloop is not installed")
        on_uvloop = ("-m", "benchmarks.on_uvloop")
        all_of_them += [
            Contestant("floor, uvloop", FLOOR, on_uvloop),
            Contestant("ours, uvloop", OURS, on_uvloop),
            Contestant("ours, leaf topics, uvloop", VALUES, on_uvloop),
        ]
    return all_of_them


def machine() -> str:
    """Describe the machine, Python, the libraries."""
    model = "unknown processor"
    with suppress(OSError, IndexError):
        text = Path("/proc/cpuinfo").read_text()
        model = text.split("model name", 1)[1].split("\n", 1)[0].strip("\t: ")
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def quantile_ms(microseconds: Sequence[int], share: float) -> float:
    """Return what this share of them does not exceed, infinite where there are none."""
    if not microseconds:
        return math.inf
    ordered = sorted(microseconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as Markdown."""
    texts = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    texts.insert(1, ["-" * width for width in widths])
    for row in texts:
        cells = zip(row, widths, strict=True)
        print("| " + " | ".join(cell.ljust(width) for cell, width in cells) + " |")
    print(flush=True)
