"""What goes on all the time: events, commands, verbs, hubs that start, scrapes."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from benchmarks.soak.bus import Caller
from benchmarks.soak.device import SoakDevice
from benchmarks.soak.tally import Tally

_EVENTS = ("lastchange", "volume", "small", "state")
_PATHS = ("/metrics", "/healthz", "/readyz")
_Send = Callable[[], None]


class Load:
    """The load on a bridge whose HTTP port this is, from `devices` and `caller`."""

    def __init__(
        self, devices: list[SoakDevice], caller: Caller, http_port: int, tally: Tally
    ) -> None:
        self._devices = devices
        self._caller = caller
        self._http_port = http_port
        self._tally = tally

    async def keep_telling(self, per_s: float, until_s: float) -> None:
        """Send events, in bursts as they come in a home."""
        while time.monotonic() < until_s:
            burst = random.choice((1, 1, 2, 5, 20))
            await asyncio.sleep(burst / per_s)
            kind, device = random.choice(_EVENTS), random.choice(self._devices)
            for _ in range(burst if burst > 2 else 1):  # noqa: PLR2004 - one device, or several
                device.tell_something(kind)
            if burst == 2:  # noqa: PLR2004 - as above
                random.choice(self._devices).tell_something(kind)

    def tell_last(self) -> None:
        """Have each service tell something, so that nobody has lost an event unawares."""
        for device in self._devices:
            for kind in ("lastchange", "volume", "small"):
                device.tell_something(kind)

    async def keep_calling(self, per_s: float, until_s: float) -> None:
        """Send commands to devices, each kind in turn."""
        for send in itertools.chain.from_iterable(map(self._commands, itertools.repeat(0))):
            if time.monotonic() >= until_s:
                return
            await asyncio.sleep(random.expovariate(per_s))
            send()

    async def keep_asking(self, per_s: float, until_s: float) -> None:
        """Send verbs and have hubs start."""
        for send in itertools.chain.from_iterable(map(self._verbs, itertools.repeat(0))):
            if time.monotonic() >= until_s:
                return
            await asyncio.sleep(random.expovariate(per_s))
            send()

    async def keep_scraping(self, per_s: float, until_s: float) -> None:
        for path in itertools.cycle(_PATHS):
            if time.monotonic() >= until_s:
                return
            await asyncio.sleep(1 / per_s)
            if await self.scrape(path):
                self._tally.loads[f"scrapes of {path}"] += 1

    async def scrape(self, path: str = "/metrics") -> str:
        """Return a page, or nothing where the bridge does not answer now."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                text = (await reader.read()).decode()
                writer.close()
                return text.partition("\r\n\r\n")[2]
        return ""

    def _commands(self, _: int) -> Iterator[_Send]:
        """Yield one of each kind."""
        caller, device = self._caller, random.choice(self._devices)
        udn, volume = device.udn, random.randint(0, 100)
        rendering = {"service": "RenderingControl"}
        get = rendering | {"action": "GetVolume"}
        put = rendering | {"action": "SetVolume", "args": {"DesiredVolume": volume}}
        place = f"{udn}/RenderingControl/value/Volume/0/Master"
        action = f"{udn}/RenderingControl/action/SetVolume/call"
        yield lambda: caller.send("GetVolume", f"{udn}/call", get)
        yield lambda: caller.send("SetVolume", f"{udn}/call", put)
        yield lambda: caller.send("SetVolume by its topic", action, {"DesiredVolume": volume})
        yield lambda: caller.send("set", f"{place}/set", str(volume).encode())
        yield lambda: caller.send("get", f"{place}/get", b"")
        yield lambda: caller.send("no JSON", f"{udn}/call", b'{"callid":')
        yield lambda: caller.send("unknown action", f"{udn}/call", {"action": "Fly"})
        wrong = put | {"args": {"DesiredVolume": "loud"}}
        yield lambda: caller.send("wrong argument", f"{udn}/call", wrong)
        yield lambda: caller.send("unknown device", "no-such-device/call", get)
        refused = {"service": "AVTransport", "action": "Stop"}
        yield lambda: caller.send("action that is refused", f"{udn}/call", refused)
        yield lambda: caller.send("short time-out", f"{udn}/call", get | {"timeout": 0.3})
        if random.random() < 0.1:  # noqa: PLR2004 - each is published to all that listen
            yield lambda: caller.send("retained", f"{udn}/call", get, retain=True)
        if random.random() < 0.05:  # noqa: PLR2004 - more than wait for one device
            for _ in range(40):
                yield lambda: caller.send("flood", f"{udn}/call", get)

    def _verbs(self, _: int) -> Iterator[_Send]:
        caller, device = self._caller, random.choice(self._devices)

        def ask(verb: str, **body: object) -> _Send:
            return lambda: caller.send(verb, f"bridge/main/request/{verb}", body)

        yield ask("search")
        yield ask("refresh", id=device.udn)
        yield ask("announce", ids=[f"{device.udn}/AVTransport"])
        yield ask("health")
        yield ask("log_level", level="debug")
        yield lambda: self._hub_starts(b"online")
        yield ask("log_level", level="info")
        yield ask("add", location=device.location)
        yield ask("add", location="http://127.3.0.9:9/")
        yield ask("forget", id=device.udn)
        yield ask("no_such_verb")
        yield ask("diagnostics")
        yield lambda: caller.send("health to all", "bridge/all/request/health", {})
        yield lambda: self._hub_starts(b"offline")
        if random.random() < 0.2:  # noqa: PLR2004 - long answers
            yield ask("announce")
            yield ask("diagnostics", id=random.choice(self._devices).udn)

    def _hub_starts(self, payload: bytes) -> None:
        self._tally.loads["hub starts"] += payload == b"online"
        self._caller.client.publish("homeassistant/status", payload, 0)


def measured(exposition: str, name: str) -> dict[str, float]:
    """Return the samples of a metric, by what stands behind its name."""
    lines = (line for line in exposition.splitlines() if line.startswith(f"upnp2mqtt_{name}"))
    return {
        key.removeprefix(f"upnp2mqtt_{name}"): float(value)
        for key, _, value in (line.rpartition(" ") for line in lines)
    }


def logged(text: str) -> Iterator[dict[str, object]]:
    """Yield the lines of a log that are JSON."""
    for line in text.splitlines():
        with suppress(ValueError):
            yield json.loads(line)
