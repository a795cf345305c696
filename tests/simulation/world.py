"""One run: a plan carried out upon a bridge, its devices and its broker, and what came of it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

import structlog

from tests.simulation import truth
from tests.simulation.broker import ModelBroker, Passed
from tests.simulation.caller import STATE, Callers
from tests.simulation.devices import Device
from tests.simulation.life import Life, settings_of
from tests.simulation.loop import Loop
from tests.simulation.network import Network, Weather
from tests.simulation.plan import Step

UDNS = ("plain-0", "nested-0", "bare-0", "plain-1")
_LOOK_S = 20.0
_PATIENCE_S = 7200.0
_STAY_S = 150.0
_MAX_TASKS = 80
_DRAWING = 0.15
"""How many of the devices draw a BOOTID for each announcement."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run; `faults` is empty where all held, `settled_s` is virtual."""

    seed: int
    faults: tuple[str, ...]
    settled_s: float = 0.0
    lived_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


class World:
    """Everything of one run."""

    def __init__(
        self,
        seed: int,
        carry_out: Callable[["World", Step], None],
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.seed = seed
        self.carry_out = carry_out
        self.loop = Loop(seed)
        rng = Random(seed)
        kind = rng.randrange(16)
        self.settings = settings_of(kind)
        self.is_5 = self.settings.mqtt.protocol == "5"
        self.broker = ModelBroker(self.loop, dict(truth.FOREIGN))
        self.broker.receive_maximum = rng.choice((1, 3, 20, 100))
        self.broker.on_passed = self._passed
        self.callers = Callers(self.broker, self._forgotten)
        self.network = Network(self.loop)
        for number, udn in enumerate(UDNS):
            device = Device(udn, f"10.0.0.{10 + number}", self.network.send)
            device.is_bare = udn.startswith("bare")
            device.max_age_s = rng.choice((60, 120, 600))
            device.draws = rng.random() < _DRAWING
            self.network.devices.append(device)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.life: Life | None = None
        self._pending: list[asyncio.TimerHandle] = []
        self._ended: list[Life] = []
        self.saved: dict[str, bytes] = dict(truth.FOREIGN)
        self._trace = trace
        self._traced_until_s = inf

    @property
    def now(self) -> float:
        return self.loop.time()

    def is_read_blindly(self, device: Device) -> bool:
        """Tell whether the bridge reads a device's description and knows no CONFIGID of it yet."""
        if self.life is None or self.network.discovery is None:
            return False
        tables = self.life.bridge.devices.directory._presence._tables
        running = tables.running.get(device.location)
        return running is not None and running.place.config.value is None

    # What befalls the bridge

    def later(self, pause_s: float, do: Callable[[], None]) -> None:
        """Do something in so many seconds."""
        self._pending.append(self.loop.call_later(pause_s, do))

    def begin(self) -> None:
        """Start the bridge, if it does not run."""
        if self.life is None:
            self.note("--- the bridge starts")
            self.life = self._new_life()

    def _new_life(self) -> Life:
        return Life(self.loop, self.network, self.broker, self.settings)

    def crash(self) -> None:
        """Kill the bridge: nothing that it does from now on reaches anybody."""
        if (life := self.life) is not None:
            self.life = None
            life.is_dead = True
            for client in tuple(self.broker.clients):
                client.go_deaf()
                self.loop.call_later(self.loop.rng.random(), client.forget)
            self.network.discovery = self.network.notify = None
            life.task.cancel()
            self._ended.append(life)

    def stop(self) -> None:
        """End the bridge as a signal does."""
        if (life := self.life) is not None:
            self.life = None
            life.stop.set()
            self._ended.append(life)

    def restart_broker(self, held: dict[str, bytes], pause_s: float) -> None:
        """Kill the broker, and start it with this retained."""
        self.broker.stop()
        self.callers.lose_connection()
        self.later(pause_s, lambda: self._start_broker(held))

    def _start_broker(self, held: dict[str, bytes]) -> None:
        if not self.broker.is_up:
            self.broker.start(held | truth.FOREIGN)
            for device in self.network.devices:
                device.forgotten = -1  # its tree may be back
            self.callers.is_bridge_online = held.get(STATE) == b"online"

    # The run

    def run(self, plan: Sequence[Step]) -> Outcome:
        """Carry out a plan, then mend all that is broken and see what holds."""
        began_s = self.loop.time()
        settled_s = 0.0
        logged = structlog.get_config()
        self._hear_the_log()
        try:
            settled_s = self.loop.run_until_complete(self._live(plan))
        except Exception as error:  # noqa: BLE001 - a run that breaks is a finding
            self.faults.append(f"broke: {error!r}")
        finally:
            self._end()
            structlog.configure(**logged)
        self.faults += [f"in the loop: {one}" for one in self.loop.crashes]
        lived_s = self.loop.time() - began_s
        return Outcome(self.seed, tuple(self.faults), settled_s, lived_s, self.counts)

    async def _live(self, plan: Sequence[Step]) -> float:
        self.life = self._new_life()
        announcing = self.loop.create_task(self._announce())
        for step in plan:
            await asyncio.sleep(step.pause_s)
            self.note(f"--- {step}")
            self.counts[step.kind] += 1
            self.carry_out(self, step)
            if self.faults:
                break
        settled_s = await self._settle()
        announcing.cancel()
        return settled_s

    def _end(self) -> None:
        """Stop the bridge as a user would, and everything else as it stands."""
        if self.life is not None and not self.life.task.done():
            life = self.life
            life.stop.set()
            with suppress(Exception):
                self.loop.run_until_complete(asyncio.wait([life.task], timeout=5))
            if not life.task.done():
                self.faults.append("it does not stop within 5 s")
            elif not life.task.cancelled() and (error := life.task.exception()):
                self.faults.append(f"it stopped with {error!r}")
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=10))
        self.loop.close()

    async def _announce(self) -> None:
        """Have every device that is up say so regularly."""
        due = dict.fromkeys(UDNS, 0.0)
        while True:
            now = self.loop.time()
            for device in self.network.devices:
                if device.is_up and due[device.udn] <= now:
                    due[device.udn] = now + device.max_age_s * (0.3 + 0.1 * self.loop.rng.random())
                    self.network.announce(device, "ssdp:alive")
            await asyncio.sleep(5)

    async def _settle(self) -> float:
        """Mend everything; return after how long the tree was right, and stayed so."""
        self.note("--- all is mended")
        network = self.network
        network.weather = Weather()
        await self._let_pass()
        network.devices[:] = [one for one in network.devices if not one.is_lie]
        mended_s = self.loop.time()
        self._traced_until_s = mended_s + 200
        found: list[str] = ["not looked"]
        while found and self.now - mended_s < _PATIENCE_S:
            await asyncio.sleep(_LOOK_S)
            if self._is_gone():
                return 0.0
            found = self._look()
        settled_s = self.now - mended_s
        if not found:
            self._nudge()
            self._overwrite()
            await asyncio.sleep(_STAY_S)
            found = [f"did not stay: {one}" for one in await self._look_closely()]
        self.faults += found
        self._count_up()
        return settled_s

    def _nudge(self) -> None:
        """Have each service send one more event, which has to arrive."""
        for device in self.network.devices:
            for path in device.paths() if device.is_up else ():
                name = "Mute" if path == "/sound" else "Level"
                text = str(int(device.state[path][name] != "1"))
                device.change(path, name, text, self.now)

    def _overwrite(self) -> None:
        """Have a stranger write over some of the bridge's topics, which have to be right again."""
        own = sorted(
            topic
            for topic in self.broker.held
            if topic.startswith("upnp/") and topic not in truth.FOREIGN and "/bridge/" not in topic
        )
        for topic in self.loop.rng.sample(own, min(6, len(own))):
            payload = self.loop.rng.choice((b"", b"junk", b'{"chunks":2}', b"offline"))
            self.note(f"--- a stranger writes {topic} {payload!r}")
            if topic.count("/") > 1:
                self.broker.publish(Passed(topic, payload, retain=True))

    def _count_up(self) -> None:
        """See that every command has had its answer, and that nothing is left over."""
        self.counts["compared"] = sum(one.is_up for one in self.network.devices)
        done = Counter[str]()
        for device in self.network.devices:
            done += device.done
        for command in self.callers.commands.values():
            self.faults += command.faults(done[command.note or ""])
        tasks = len(asyncio.all_tasks(self.loop))
        if tasks > _MAX_TASKS:
            self.faults.append(f"{tasks} tasks")

    async def _let_pass(self) -> None:
        """Wait for the end of all that was to be for a while; see that what ended has ended."""
        while (wait_s := max((one.when() - self.now for one in self._pending), default=0)) > 0:
            await asyncio.sleep(wait_s)
            self._pending = [one for one in self._pending if one.when() > self.now]
        for life in self._ended:
            await asyncio.wait([life.task], timeout=5.5)
            if not life.task.done():
                self.faults.append("the bridge does not end")
            elif not (life.is_dead or life.task.cancelled()) and (error := life.task.exception()):
                self.faults.append(f"it stopped with {error!r}")

    async def _look_closely(self) -> list[str]:
        """Look again where something may just be under way."""
        found = self._look()
        for _ in range(3):
            if found:
                await asyncio.sleep(1)
                found = self._look()
        return found

    def _look(self) -> list[str]:
        assert self.life is not None
        bridge = self.life.bridge
        found = truth.faults(bridge, self.network, self.broker)
        return found + truth.naive_faults_of(bridge, self.network, self.broker)

    def _is_gone(self) -> bool:
        """Tell whether the bridge ended by itself; that is a fault."""
        life = self.life
        if life is None or not life.task.done():
            return False
        error = None if life.task.cancelled() else life.task.exception()
        self.faults.append(f"the bridge ended: {error!r}")
        return True

    def _forgotten(self, udn: str) -> None:
        """Note that the bridge may hold nothing of a device that is away, until it is back."""
        claimants = [one for one in self.network.devices if one.udn == udn]
        if not any(one.is_up for one in claimants):
            claimants[0].forgotten = claimants[0].life

    def _passed(self, message: Passed) -> None:
        if message.sender is not None:
            self.counts["published"] += 1
            if message.topic in truth.FOREIGN:
                self.faults.append(f"wrote to a foreign topic: {message.topic}")
            if self._trace:
                self.note(f"    {message.topic} {message.payload[:90]!r} {message.retain:d}")
        self.callers.hear(message)

    def note(self, line: str) -> None:
        """Tell a line of what happens, not much longer than until all is mended."""
        if self._trace and self.now < self._traced_until_s:
            self._trace(f"{self.loop.time():10.3f} {line}")

    def _hear_the_log(self) -> None:
        """Take every error in the log for a fault."""
        least = logging.DEBUG if self._trace else logging.ERROR

        def take(_: object, method: str, event: Any) -> Any:
            line = " ".join(f"{name}={value!r}" for name, value in event.items())
            self.note(f"  {method}: {line}")
            if method in ("error", "exception", "critical"):
                self.faults.append(f"log: {line}")
            raise structlog.DropEvent

        structlog.configure(
            processors=[structlog.processors.format_exc_info, take],
            wrapper_class=structlog.make_filtering_bound_logger(least),
            cache_logger_on_first_use=False,
        )
