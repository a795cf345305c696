"""What goes wrong: one fault at a time for each device, and one at a time for the bus."""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from benchmarks import bodies, stage
from benchmarks.fleet import MODELS, udn_of
from benchmarks.responder import multicast
from benchmarks.soak.bus import Link, SoakBroker, freeze
from benchmarks.soak.device import MAX_AGE_S, SoakDevice
from benchmarks.soak.tally import Tally

_REST_S = 8.0
"""How long a device is left alone after a fault."""
_GAP_REST_S = 190.0
"""After which the bridge heals the next gap of a service at once again."""
_BOGUS = (
    b"NOTIFY /nobody HTTP/1.1\r\nHOST: x\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\n"
    b"SID: uuid:nobody\r\nSEQ: 0\r\nCONTENT-LENGTH: 3\r\n\r\n<a>"
)
_JUNK = (b"", b"\0" * 900, b"NOTIFY * HTTP/1.1\r\n\r\n", b"M-SEARCH\r\n", b"\xff\xfe" * 20)

DeviceFault = Callable[[SoakDevice], Coroutine[None, None, None]]


class Faults:
    """Injects them; `devices` is the fleet, whose dead are replaced by new ones."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that can fail
        self,
        devices: list[SoakDevice],
        bridge: stage.Process,
        callback_port: int,
        broker: SoakBroker,
        link: Link,
        tally: Tally,
    ) -> None:
        self._devices = devices
        self._bridge = bridge
        self._callback_port = callback_port
        self._broker = broker
        self._link = link
        self._tally = tally
        self._generations = itertools.count(100)
        self._free_s: dict[SoakDevice, float] = {}
        self._gap_free_s: dict[tuple[SoakDevice, str], float] = {}
        self._strangers = itertools.count(1)

    @property
    def of_devices(self) -> Mapping[str, DeviceFault]:
        return {
            "left with byebye, back": self._leave,
            "died, back elsewhere": self._die,
            "died for good, a new one came": self._replace,
            "rebooted": self._reboot,
            "moved without a word": self._move,
            "description changed": self._change,
            "subscriptions refused": self._refuse,
            "subscriptions forgotten": self._forget,
            "event lost": self._lose_event,
            "event sent twice": self._repeat_event,
            "events malformed": self._malform,
            "slow answers": self._slow,
            "connections refused": self._deafen,
        }

    @property
    def of_bus(self) -> Mapping[str, Callable[[], Coroutine[None, None, None]]]:
        return {
            "broker restarted": lambda: self._broker.restart(how="orderly"),
            "broker killed, old data": lambda: self._broker.restart(how="killed"),
            "broker killed, no data": lambda: self._broker.restart(how="empty"),
            "broker frozen": lambda: self._broker.freeze(random.uniform(1, 7)),
            "bridge frozen": lambda: freeze(self._bridge, random.uniform(0.5, 3)),
            "connection cut": self._cut,
            "connection stalled": lambda: self._link.stall(random.uniform(1, 7)),
            "connection cut again and again": self._cut_often,
        }

    async def keep_failing(self, per_s: float, until_s: float) -> None:
        """Inject faults of devices and strangers; return when the last is over."""
        kinds = tuple(self.of_devices.items())
        async with asyncio.TaskGroup() as tasks:
            while (now := time.monotonic()) < until_s:
                await asyncio.sleep(random.expovariate(per_s))
                free = [one for one in self._devices if self._free_s.get(one, 0) < now]
                if free:
                    name, fault = random.choice(kinds)
                    tasks.create_task(self._inject(name, fault, random.choice(free)))
                if random.random() < 0.3:  # noqa: PLR2004 - beside a device's fault
                    tasks.create_task(self._disturb())

    async def keep_failing_bus(self, every_s: float, until_s: float) -> None:
        """Inject faults of the bus, each kind in turn."""
        for name, fault in itertools.cycle(self.of_bus.items()):
            await asyncio.sleep(every_s * random.uniform(0.5, 1.5))
            if time.monotonic() >= until_s:
                return
            self._tally.faults[name] += 1
            await fault()

    async def _inject(self, name: str, fault: DeviceFault, device: SoakDevice) -> None:
        self._free_s[device] = float("inf")
        self._tally.faults[name] += 1
        await fault(device)
        self._free_s[device] = time.monotonic() + _REST_S

    # Of devices

    async def _leave(self, device: SoakDevice) -> None:
        device.leave(byebye=True)
        await asyncio.sleep(random.uniform(0, 6))
        device.boot_id += 1
        await device.join(elsewhere=random.random() < 0.5)  # noqa: PLR2004 - half of them

    async def _die(self, device: SoakDevice) -> None:
        device.leave(byebye=False)
        await asyncio.sleep(random.uniform(0, MAX_AGE_S * 1.5))
        device.boot_id += 1
        await device.join(elsewhere=True)

    async def _replace(self, device: SoakDevice) -> None:
        device.leave(byebye=random.random() < 0.5)  # noqa: PLR2004 - half of them
        self._free_s.pop(device, None)
        number = next(self._generations) * MODELS + device.number % MODELS
        new = SoakDevice(number, self._tally)
        self._devices[self._devices.index(device)] = new
        for key in [key for key in self._gap_free_s if key[0] is device]:
            del self._gap_free_s[key]
        await new.join()

    async def _reboot(self, device: SoakDevice) -> None:
        device.reboot()

    async def _move(self, device: SoakDevice) -> None:
        device.deafen()
        device.drop_subscriptions()
        await device.join(elsewhere=True)

    async def _change(self, device: SoakDevice) -> None:
        count = random.randint(1, len(bodies.SERVICES))
        device.change(f"Renamed {random.randint(1, 999)}", bodies.SERVICES[:count])
        await asyncio.sleep(random.uniform(0.1, 5))
        device.change(f"Renderer {device.number}", bodies.SERVICES)

    async def _refuse(self, device: SoakDevice) -> None:
        device.drop_subscriptions()
        device.refuses = True
        await asyncio.sleep(random.uniform(1, 8))
        device.refuses = False

    async def _forget(self, device: SoakDevice) -> None:
        device.drop_subscriptions()

    async def _lose_event(self, device: SoakDevice) -> None:
        kind, service = random.choice(
            (("small", "ConnectionManager"), ("lastchange", "AVTransport"))
        )
        now = time.monotonic()
        if self._gap_free_s.get((device, service), 0) < now:
            self._gap_free_s[device, service] = now + _GAP_REST_S
            device.tell_something(kind, how="lost")

    async def _repeat_event(self, device: SoakDevice) -> None:
        device.tell_something("lastchange", how="twice")

    async def _malform(self, device: SoakDevice) -> None:
        device.tell("AVTransport", {}, how="broken")

    async def _slow(self, device: SoakDevice) -> None:
        device.delay_s = random.uniform(0.5, 4)
        await asyncio.sleep(random.uniform(2, 8))
        device.delay_s = 0

    async def _deafen(self, device: SoakDevice) -> None:
        device.deafen()
        await asyncio.sleep(random.uniform(0.5, 6))
        await device.listen()

    # Of others

    async def _disturb(self) -> None:
        """Announce what is not there, say byebye in another's name, send junk, idle."""
        number = next(self._strangers)
        device = random.choice(self._devices)
        match number % 5:
            case 0:
                name, kind = "announced, yet not there", "alive"
                location, udn = f"http://127.3.0.1:{number % 50000 + 1000}/", udn_of(10**9 + number)
                rows = bodies.announcements(kind, udn, location, max_age_s=MAX_AGE_S)
                multicast("127.3.0.1", *rows)
            case 1:
                name = "byebye in another's name"
                multicast("127.3.0.2", *bodies.announcements("byebye", device.udn, "http://x/"))
            case 2:
                name = "datagrams of junk"
                multicast("127.3.0.3", *_JUNK)
            case 3:
                name = "event to nobody"
                await self._send_to_callback(_BOGUS, 0.2)
            case _:
                name = "connection that idles"
                await self._send_to_callback(b"NOTIFY / HT", random.uniform(1, 10))
        self._tally.faults[name] += 1

    async def _send_to_callback(self, data: bytes, stays_s: float) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(10):
                _, writer = await asyncio.open_connection("127.0.0.1", self._callback_port)
                writer.write(data)
                await asyncio.sleep(stays_s)
                writer.close()

    # Of the bus

    async def _cut(self) -> None:
        self._link.cut()

    async def _cut_often(self) -> None:
        for _ in range(random.randint(2, 5)):
            self._link.cut()
            await asyncio.sleep(random.uniform(0.05, 1.5))
