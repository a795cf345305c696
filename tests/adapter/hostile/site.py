"""Broker, bridge and an honest device, whose events are counted while others do their worst.

Everything stands on loopback, as root in a network namespace of its own, beside which there is an
interface that the bridge is not told of, with the addresses of others.
"""

import asyncio
import ctypes
import os
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.adapter.bridge import Caller, Onlooker, Program, flags, onlooking, program
from tests.adapter.device import Action, Device, Part, Service, Variable, new_udn, running
from tests.adapter.mosquitto import Running, mosquitto, until

ELSEWHERE = ("169.254.169.254", "10.99.0.1")
"""Addresses on the interface that is not the bridge's."""
PATIENCE_S = 5.0
"""The longest that an honest event may take, with both cores busy."""

_CLONE_NEWNET = 0x40000000
_PAUSE_S = 0.15
_KIB = 1024


@contextmanager
def own_network() -> Iterator[bool]:
    """Have this thread, and what it starts, in a network namespace of its own; tell whether it is.

    Others on this machine's loopback would hear the floods. Without the right to make one there is
    none.
    """
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        is_own = os.geteuid() == 0 and libc.unshare(_CLONE_NEWNET) == 0
        if is_own:
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "other0", "type", "veth", "peer", "name", "other1")
            for name in ("other0", "other1"):
                _ip("link", "set", name, "up")
            for address in ELSEWHERE:
                _ip("address", "add", f"{address}/24", "dev", "other0")
        yield is_own
    finally:
        libc.setns(before, _CLONE_NEWNET)
        os.close(before)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Measured:
    """What an attack did to the bridge, and to the honest device's events."""

    sent: int
    delivered: int
    worst_delay_s: float
    peak_mb: float
    growth_mb: float
    lines: list[dict[str, Any]]


@dataclass
class Site:
    """All of it; `number` is that of the last event."""

    broker: Running
    bridge: Program
    honest: Device
    onlooker: Onlooker
    caller: Caller
    witness: Path
    """What was seen of the honest device's number: lines of a time and a number."""
    elsewhere: tuple[str, ...] = ()
    """Addresses of this machine, in a network that the bridge is not told of."""
    number: int = 0
    sent: dict[int, float] = field(default_factory=dict)

    @property
    def value_topic(self) -> str:
        """Where the honest device's number stands."""
        return f"upnp/{self.honest.udn}/Counter/value/Count"

    @property
    def notify_port(self) -> int:
        """Where the bridge takes events."""
        (one,) = self.honest.service("Counter").subscribers.values()
        return int(one.callback.rpartition(":")[2].partition("/")[0])

    @property
    def open_files(self) -> int:
        """How many the bridge has."""
        return len(os.listdir(f"/proc/{self.bridge.process.pid}/fd"))  # noqa: PTH208 - no blocking

    @property
    def strangers(self) -> set[str]:
        """The first levels of what the broker holds and neither bridge nor honest device wrote."""
        own = {"bridge", self.honest.udn}
        found = {t.split("/")[1] for t in tuple(self.onlooker.held) if t.startswith("upnp/")}
        return found - own

    def memory_mb(self, name: str) -> float:
        """Read the bridge's `VmRSS`, or its largest since it was reset, `VmHWM`."""
        text = Path(f"/proc/{self.bridge.process.pid}/status").read_text()
        return int(text.partition(f"{name}:")[2].split()[0]) / _KIB

    def forget_peak(self) -> None:
        """Have `VmHWM` begin anew."""
        Path(f"/proc/{self.bridge.process.pid}/clear_refs").write_text("5")

    def held(self, udn: str, rest: str = "") -> bytes | None:
        """What stands at a device's topic, or below it."""
        return self.onlooker.held.get(f"upnp/{udn}{rest}")

    async def joined(self, *devices: Device, limit_s: float = 15) -> None:
        """Wait until devices are online."""
        udns = [one.udn for one in devices]
        await until(
            lambda: all(self.held(udn, "/availability") == b"online" for udn in udns), limit_s
        )

    async def count(self) -> None:
        """Send a numbered event several times a second, for ever."""
        service = self.honest.service("Counter")
        while True:
            self.number += 1
            service.initial = {"Count": str(self.number)}
            if service.subscribers:
                self.sent[self.number] = time.time()
            await self.honest.event("Counter", {"Count": str(self.number)})
            await asyncio.sleep(_PAUSE_S)

    def arrivals(self) -> list[tuple[int, float]]:
        """Return which numbers were seen at the broker, and when.

        A program of its own sees them: here there is too much else to do.
        """
        lines = (line.split() for line in self.witness.read_text(errors="replace").splitlines())
        pairs = (line for line in lines if len(line) == 2 and line[1].isdecimal())
        return [(int(number), float(at)) for at, number in pairs]

    async def caught_up(self, limit_s: float = 2 * PATIENCE_S) -> None:
        """Wait until what the honest device has sent by now stands at the broker."""
        last = self.number
        await until(lambda: (self.arrivals() or [(0, 0.0)])[-1][0] >= last, limit_s)

    async def under(self, attack: Callable[["Site"], Awaitable[None]]) -> Measured:
        """Carry out an attack; raises TimeoutError where the honest device is not heard after it.

        What came to stand in the tree is forgotten in the end.
        """
        await self.caught_up()
        lines, first = len(self.bridge.lines), self.number
        files, before_mb = self.open_files, self.memory_mb("VmRSS")
        self.forget_peak()
        await attack(self)
        await asyncio.sleep(2 * _PAUSE_S)
        await self.caught_up()
        peak_mb = self.memory_mb("VmHWM")
        arrivals = [(number, at) for number, at in self.arrivals() if number > first]
        last, _ = arrivals[-1]
        numbers = [number for number, _ in arrivals]
        assert numbers == sorted(numbers), "events out of order"
        sent = [number for number in self.sent if first < number <= last]
        came = dict(reversed(arrivals))
        delays = [at - self.sent.get(number, at) for number, at in came.items()]
        measured = Measured(
            len(sent),
            len(came.keys() & set(sent)),
            max(delays, default=0.0),
            peak_mb,
            peak_mb - before_mb,
            self.bridge.lines[lines:],
        )
        await self._clear()
        await until(lambda: self.open_files <= files + 1, 15)
        return measured

    async def _clear(self) -> None:
        """Have the bridge forget every device but the honest one."""
        async with asyncio.timeout(30):
            while True:
                rows = self.onlooker.held.get("upnp/bridge/main/devices", b"[]")
                if not (found := self.strangers) and rows.count(b'"id":') == 1:
                    return
                for device in sorted(found)[:12]:
                    self.onlooker.publish("upnp/bridge/main/request/forget", {"id": device})
                await self.caller.fence()
                await asyncio.sleep(0.05)


def honest_part() -> Part:
    """Return a device with a number that events tell, and an action."""
    members = (Variable("Count", "ui4"), Action("GetCount", ("out Count:Count",)))
    return Part(new_udn(), "Honest", (Service("Counter", members, {"Count": "0"}),))


@asynccontextmanager
async def site(
    directory: Path, elsewhere: tuple[str, ...] = (), **chosen: str
) -> AsyncIterator[Site]:
    """All of it, from `online` until the context ends."""
    async with mosquitto(directory) as broker, running(honest_part()) as honest:
        witness = directory / "witness"
        topic = f"upnp/{honest.udn}/Counter/value/Count"
        with onlooking(broker.port) as onlooker, witnessing(broker.port, topic, witness):
            async with program(flags(broker.port, **chosen)) as bridge:
                made = Site(broker, bridge, honest, onlooker, Caller(onlooker), witness, elsewhere)
                counting = asyncio.create_task(made.count())
                try:
                    online = "upnp/bridge/main/state"
                    await until(lambda: onlooker.held.get(online) == b"online", 30)
                    await until(lambda: made.value_topic in onlooker.held, 10)
                    yield made
                finally:
                    counting.cancel()
                    with suppress(asyncio.CancelledError):
                        await counting


@contextmanager
def witnessing(port: int, topic: str, file: Path) -> Iterator[None]:
    """Have mosquitto_sub write down when which payload came, until the context ends."""
    words = ("-p", str(port), "-q", "1", "-t", topic, "-F", "%U %p")
    with file.open("wb") as out:
        process = subprocess.Popen(["mosquitto_sub", *words], stdout=out)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def speaker(address: str) -> socket.socket:
    """Return a socket that multicasts on loopback from an address."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    interface = struct.pack("=4s4si", b"\0" * 4, socket.inet_aton(address), 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    sock.bind((address, 0))
    return sock
