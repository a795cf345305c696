"""An own mosquitto on loopback, for those who name no broker."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import structlog

from bridge.errors import BrokerUnreachable, ConfigError

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PORTS = range(1883, 1894)
"""The usual port, and those that are tried where it is taken."""

_HOST = "127.0.0.1"
_PROBE_S = 1.0
_CONNECT = bytes.fromhex("10 0c 0004 4d515454 04 02 000a 0000")
"""CONNECT of MQTT 3.1.1 with no client id (section 3.1)."""
_CONNACK = 0x20
_START_S = 10.0
_STOP_S = 0.5
_STOP_REQUESTS = 10
_PORT_ATTEMPTS = 5

_TIED_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Ask the kernel for SIGTERM at the parent's death (prctl 1 is PR_SET_PDEATHSIG), then become argv.

A program of its own, because Python code between fork and exec may deadlock in a process with
threads, and `setpriv --pdeathsig` is not everywhere.
"""


@contextmanager
def apart() -> Iterator[None]:
    """Have children that start meanwhile, with `process_group=0`, never hear of a Ctrl-C.

    One that came before they have their own process group would end them: they begin with SIGINT
    blocked, and stay so.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class EmbeddedBroker:
    """A mosquitto that lives as long as this context, and dies with the bridge whatever ends it.

    `port` 0 takes a free one. With `data` (a directory) the retained tree outlives a restart.
    While the context lasts, `watch` must run.
    """

    def __init__(self, port: int = 0, data: Path | None = None) -> None:
        self.port = port
        self._data = data
        self._choose_port = port == 0
        self._instead = ""
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def beside_others(cls, ports: Sequence[int] = PORTS) -> Self:
        """Return one on the first of `ports` that is free; what has the usual one is told.

        The next, rather than any: at the next start it is the same again, and fit for a command
        that somebody keeps.
        """
        broker = cls(next(filter(_is_free, ports), 0))
        if broker.port != ports[0]:
            usual = f"mqtt://{_HOST}:{ports[0]}"
            broker._instead = f"port {ports[0]} is taken by another program"
            if await _is_broker(ports[0]):
                broker._instead = f"a broker is at {usual} already: set mqtt.url to use that one"
        return broker

    @property
    def url(self) -> str:
        """The URL to connect to."""
        return f"mqtt://{_HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process else None

    async def __aenter__(self) -> Self:
        """Return once connections are accepted, within 10 s.

        Raises ConfigError where mosquitto is not installed or does not take the settings.
        """
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise ConfigError(
                "mqtt.url is not set, and there is no mosquitto for an embedded broker: "
                "set BRIDGE_MQTT__URL=mqtt://host, or `apt install mosquitto`"
            )
        try:
            # Between its choice and mosquitto's start, a free port may become another's.
            for attempt in range(1, _PORT_ATTEMPTS + 1):
                try:
                    await self._start(program)
                    break
                except ConfigError:
                    if not self._choose_port or attempt == _PORT_ATTEMPTS:
                        raise
        except BaseException:
            await self._stop()
            raise
        if self._instead:
            reason = f"{self._instead}; the bridge's own broker is at {self.url}"
            _log.warning("embedded_broker_port_taken", port=self.port, reason=reason)
        _log.info("embedded_broker_started", url=self.url, pid=self.pid)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop mosquitto."""
        await self._stop()

    async def watch(self) -> None:
        """Follow mosquitto's log until it ends; raise BrokerUnreachable then."""
        while await self._log_line() is not None:
            pass
        status = await self._process.wait() if self._process else None
        _log.error("embedded_broker_ended", status=status)
        raise BrokerUnreachable(f"the embedded broker ended with status {status}")

    async def _start(self, program: str) -> None:
        await self._stop()
        if self._choose_port:
            with socket.create_server((_HOST, 0)) as probe:
                self.port = probe.getsockname()[1]
        # A file in memory: nothing is left of it, even when the bridge is killed.
        with os.fdopen(os.memfd_create("mosquitto.conf"), "wb") as file:
            file.write(self._configuration().encode())
            file.flush()
            with apart():
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid())),
                    *(program, "-c", f"/dev/fd/{file.fileno()}"),
                    pass_fds=(file.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    process_group=0,  # Ctrl-C is the bridge's, which ends it when it has left
                )
        last = "no word"
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while (line := await self._log_line()) is not None:
                    if line.endswith(" running"):
                        return
                    if not line.endswith(" terminating"):  # mosquitto 2.1's last word
                        last = line
        raise ConfigError(f"the embedded broker does not start on port {self.port}: {last}")

    def _configuration(self) -> str:
        lines = [
            f"listener {self.port} {_HOST}",
            "allow_anonymous true",
            "max_queued_messages 0",
            "set_tcp_nodelay true",
            "log_dest stderr",
            "log_timestamp false",
            f"persistence {'false' if self._data is None else 'true'}",
        ]
        if self._data is not None:
            lines += [f"persistence_location {self._data}/", "autosave_interval 60"]
        if os.geteuid() == 0:
            # Else mosquitto changes its user, which may not write here and forgets the tie.
            lines.append("user root")
        return "\n".join(lines) + "\n"

    async def _log_line(self) -> str | None:
        """Pass on one line of mosquitto's log; None at its end."""
        if self._process is None or self._process.stderr is None:
            return None
        try:
            line = await self._process.stderr.readline()
        except ValueError:  # longer than the reader's limit
            return ""
        text = line.decode(errors="replace").rstrip()
        if text:
            _log.debug("embedded_broker", line=text)
        return text if line else None

    async def _stop(self) -> None:
        if self._process:
            await self._end(self._process)
            self._process = None

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ask until it goes: mosquitto forgets a SIGTERM that comes while it starts."""
        for _ in range(_STOP_REQUESTS):
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
                    return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _is_free(port: int) -> bool:
    try:
        socket.create_server((_HOST, port)).close()
    except OSError:
        return False
    return True


async def _is_broker(port: int) -> bool:
    """Return whether what listens there answers as a broker does, be it with a refusal."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(_HOST, port)
            writer.write(_CONNECT)
            return (await reader.readexactly(1))[0] == _CONNACK
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()
