"""Whose a device is: what other bridges under the same base topic say, and what follows."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Protocol

import structlog

from bridge.errors import BrokerError
from bridge.formats import jsontext
from bridge.mqtt.reconnect import Broker
from bridge.publishing import Publishing
from bridge.runtime import Clock
from bridge.tree import reading
from bridge.tree.handover import FIRST_S, YIELD_S, Claim
from bridge.tree.instances import SILENCE_S, write_sees
from bridge.tree.messages import Message
from bridge.tree.mirrored_device import MirroredDevice
from bridge.tree.retained import strings

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

BEAT_S = 5.0

_TICK_S = 1.0
_HELD_UP_S = 3.0
"""How late a tick may be until this process itself counts as having been held up."""
_HELLO_S = 0.2
"""How long others that start at the same moment are waited for."""
_SETTLED_S = 3.0
_STEP_S = 0.02
_SPEAK_S = 5.0
"""How long after another is back what is ours is compared with what the broker holds."""
_AT_ONCE = 20
_TOLD_AT_ONCE = 200
_QUIET_S = 0.05


class Owned(Protocol):
    """Hears of devices that this instance owns, or does not own any more."""

    def taken(self, mirrored: MirroredDevice) -> None:
        """Hear the events of a device from now on."""

    def yielded(self, mirrored: MirroredDevice) -> None:
        """Hear them no more."""


class Ownership:
    """Leaves devices to other instances, and takes them from others.

    `overhear` is told what others write over a device's document that is ours. `reader` reads what
    stands there of a device that is taken; `run` does that.
    """

    def __init__(
        self,
        publishing: Publishing,
        overhear: Callable[[Message], None],
        *,
        devices: Owned,
        reader: Broker | None,
        clock: Clock,
    ) -> None:
        self._publishing = publishing
        self._overhear = overhear
        self._devices = devices
        self._reader = reader
        self._clock = clock
        self._echoes = False
        self._mirror = publishing.mirror
        self._instances = publishing.instances
        self._claims = publishing.handover.claims
        self._is_open = self._is_online = self._is_seen_told = False
        self._settled_s = self._ticked_s = self._beaten_s = -inf
        self._comings = -1
        self._doubted: dict[str, float] = {}
        """When what the broker holds of a device of ours is to be looked at again."""
        self._woken = asyncio.Event()
        self._is_taking = False

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters of what all instances say of themselves: this one hears itself too."""
        own = f"{self._publishing.shape.base}/bridge/+"
        return f"{own}/state", f"{own}/sees", f"{own}/beat"

    @property
    def further_filters(self) -> tuple[str, ...]:
        """The topic filters of what others say of devices."""
        base = self._publishing.shape.base
        return f"{base}/+", f"{base}/bridge/+/event"

    # A session

    def prepare(self) -> None:
        """Have what is met from now on wait until it is settled whose it is."""
        self._instances.is_settled = False

    def begin(self, *, echoes: bool) -> None:
        """Begin with a session; `echoes` says that the broker returns to us what we publish.

        All but what the broker holds as ours is settled later.
        """
        now_s = self._clock.monotonic()
        self._echoes = echoes
        self._publishing.handover.close()
        self._doubted.clear()
        self._is_open, self._is_online, self._is_seen_told = True, False, False
        self._ticked_s, self._beaten_s = now_s, -inf
        self._settled_s = now_s + _HELLO_S
        if not self._instances.is_alone:
            for mirrored in tuple(self._mirror.mirrored_devices.values()):
                if not mirrored.owned:
                    self._devices.yielded(mirrored)

    def greet(self) -> None:
        """Say that this instance is here, before anything of a device is published."""
        shape = self._publishing.shape
        self._put_sees()
        payload = self._mirror.own_document(f"{shape.own}/sees")
        self._mirror.ledger.put(f"{shape.own}/sees", payload)
        self.wake()

    async def settled(self) -> None:
        """Wait until what nobody else has is ours or another's."""
        self._is_seen_told = True
        self._put_sees()
        self.wake()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLED_S):
                while not self._is_settled():  # noqa: ASYNC110 - nobody else waits
                    await asyncio.sleep(_STEP_S)

    def go_online(self) -> None:
        """Note that the broker has been told that this instance is online."""
        self._is_online = True
        self.wake()

    def close(self) -> None:
        """Note that there is no session any more."""
        self._is_open = self._is_online = False
        self._instances.is_settled = True
        self._publishing.handover.close()

    def _is_settled(self) -> bool:
        mirrored_devices = self._mirror.mirrored_devices.values()
        if self._instances.is_alone:
            return all(mirrored.owned for mirrored in mirrored_devices)
        is_awaited = any(claim.holder is None for claim in self._claims.values())
        return self._instances.is_settled and not (
            is_awaited or any(map(self._awaits_echo, mirrored_devices))
        )

    # What happens

    def wake(self) -> None:
        """Say that a device has come or gone, or that time is up."""
        self._woken.set()

    async def run(self) -> None:
        """Take what is to be taken, and tell others of this instance, until cancelled."""
        while True:
            wait_s = self._due_in_s() if self._is_open else _TICK_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            self._woken.clear()
            if self._is_open:
                self.step()
                await self.take()

    def _due_in_s(self) -> float:
        """Return in how many seconds there is something to do."""
        now_s = self._clock.monotonic()
        due = [now_s + _TICK_S, *(claim.due_s for claim in self._claims.values())]
        if not self._instances.is_settled:
            due.append(self._settled_s)
        return max(0.0, min(due) - now_s)

    def step(self) -> None:
        """Do what is due: settle devices that came, tell what is seen, beat, call dead the dead."""
        now_s, instances = self._clock.monotonic(), self._instances
        if now_s - self._ticked_s > _TICK_S + _HELD_UP_S:
            instances.spare(now_s)
        self._ticked_s = now_s
        if not instances.is_settled and now_s >= self._settled_s:
            instances.is_settled = True
            self._settle_all()
        if self._comings != self._mirror.comings or not instances.is_alone:
            if self._comings != self._mirror.comings:
                self._comings = self._mirror.comings
                self._settle_all()
            self._put_sees()
        if instances.is_alone:
            return
        if now_s >= self._beaten_s + BEAT_S:
            self._beaten_s = now_s
            self._publishing.publish_beat()
        for name in instances.silent(now_s) if self._is_online else ():
            _log.warning("instance_silent", instance=name, silent_s=SILENCE_S)
            state = self._publishing.shape.topic(f"bridge/{name}/state")
            self._mirror.ledger.put(state, b"offline")
            self._publishing.wake()

    def receive(self, message: Message) -> bool:
        """Take in what an instance says; False where somebody calls us offline."""
        shape, now_s = self._publishing.shape, self._clock.monotonic()
        match message.topic[len(shape.base) + 1 :].split("/"):
            case ["bridge", instance, name]:
                self._hear(instance, name, message, now_s)
                return (instance, name) != (shape.instance, "state") or message.payload == b"online"
            case [device]:
                self._instances.hear_document(device, message.payload)
                mirrored = self._mirror.mirrored_devices.get(device)
                if mirrored is not None:
                    self._settle(mirrored)
                    if mirrored.owned and not self._echoes:
                        self._overhear(message)
                elif not self._echoes:
                    self._overhear(message)
        return True

    def _hear(self, instance: str, name: str, message: Message, now_s: float) -> None:
        was_up, was_missing = self._instances.is_up(instance), self._instances.is_missing(instance)
        moved = self._instances.hear(instance, name, message.payload, now_s, is_old=message.retain)
        own = self._publishing.shape.instance
        if was_missing:
            self._publishing.publish_taken()
        if instance != own and not was_up and self._instances.is_up(instance):
            self._beaten_s = -inf
            if self._is_online:
                _log.info("instance_found", instance=instance)
            self._doubt(instance, now_s)
            self.wake()
        if instance == own and name == "sees" and self._is_online:
            self._overhear(message)
        if name == "event" and instance != own:
            self._hear_event(instance, message.payload, now_s)
        if moved is None:
            self._settle_all()
        else:
            for device in moved:
                if (mirrored := self._mirror.mirrored_devices.get(device)) is not None:
                    self._settle(mirrored)

    def _doubt(self, instance: str, now_s: float) -> None:
        """Note to look again at what is ours and another, that is back, may have written too."""
        seen = self._instances.seen_by(instance)
        for mirrored in self._mirror.mirrored_devices.values():
            if mirrored.owned and mirrored.id in seen and self._is_online:
                self._doubted[mirrored.id] = now_s + _SPEAK_S

    def _hear_event(self, instance: str, payload: bytes, now_s: float) -> None:
        """Take in that an instance has left devices to another, or what it has carried out."""
        event = jsontext.read(payload)
        if not isinstance(event, dict):
            return
        match event.get("event"):
            case "devices_yielded":
                self._hear_yielded(event, now_s)
            case "commands_taken":
                self._publishing.handover.hear_done(strings(event.get("taken")), now_s)
                self._instances.hear_done(instance)

    def _hear_yielded(self, event: dict[str, object], now_s: float) -> None:
        heir = event.get("to")
        for device in strings(event.get("ids")):
            if isinstance(heir, str):
                self._instances.note_owner(device, heir)
            mirrored = self._mirror.mirrored_devices.get(device)
            if heir != self._publishing.shape.instance or mirrored is None:
                continue
            if (claim := self._claims.get(device)) is not None:
                claim.confirm(now_s, strings(event.get("taken")))
                self.wake()
            elif mirrored.owned:
                self._doubted[device] = now_s
                self.wake()

    # Whose a device is

    def _settle_all(self) -> None:
        left: dict[str, list[str]] = {}
        for mirrored in tuple(self._mirror.mirrored_devices.values()):
            if (heir := self._decide(mirrored)) is not None:
                left.setdefault(heir, []).append(mirrored.id)
        self._tell_left(left)

    def _settle(self, mirrored: MirroredDevice) -> None:
        if (heir := self._decide(mirrored)) is not None:
            self._tell_left({heir: [mirrored.id]})

    def _decide(self, mirrored: MirroredDevice) -> str | None:
        """Claim a device or leave it, as it should be; return to whom it was left."""
        is_kept = self._instances.is_kept(mirrored.id)
        if not self._is_open or (self._awaits_echo(mirrored) and not is_kept):
            return None
        own, now_s = self._publishing.shape.instance, self._clock.monotonic()
        owner, claim = self._instances.owner(mirrored.id), self._claims.get(mirrored.id)
        if owner != own:
            self._claims.pop(mirrored.id, None)
            if mirrored.owned and owner is not None:
                _log.info("device_yielded", device=mirrored.id, to=owner)
                self._mirror.yield_to_another(mirrored)
                self._devices.yielded(mirrored)
                return owner
            if not mirrored.owned:
                self._devices.yielded(mirrored)
        elif not mirrored.owned and claim is None:
            self._claims[mirrored.id] = self._new_claim(mirrored, now_s)
            self.wake()
        elif claim is not None and claim.holder not in (None, self._instances.holder(mirrored.id)):
            claim.give_up_waiting(now_s)  # the holder has died
            self.wake()
        return None

    def _new_claim(self, mirrored: MirroredDevice, now_s: float) -> Claim:
        holder = self._instances.holder(mirrored.id)
        wait_s = 0.0
        if holder is not None:
            wait_s = YIELD_S
        elif not self._instances.is_named(mirrored.id) and self._instances.may_move(mirrored.id):
            wait_s = FIRST_S
        settled_s = 0.0 if self._instances.is_settled else self._settled_s
        return Claim(max(now_s + wait_s, settled_s), holder)

    def _awaits_echo(self, mirrored: MirroredDevice) -> bool:
        """Return whether the broker is still to tell that we see a device."""
        return (
            not self._instances.is_alone
            and self._tells_of(mirrored)
            and not self._instances.sees(mirrored.id)
        )

    def _tell_left(self, left: dict[str, list[str]]) -> None:
        now_s = self._clock.monotonic()
        for heir, devices in left.items():
            for device in devices:
                self._instances.note_owner(device, heir)
            rest = iter(devices)
            while some := list(islice(rest, _TOLD_AT_ONCE)):
                taken = self._publishing.handover.taken(some, now_s)
                self._publishing.publish_yielded(some, heir, taken)

    def _told(self) -> frozenset[str]:
        """Return the devices that others are told that this instance sees.

        Until it is online, not those that another has: what hubs show hangs on both.
        """
        return frozenset(
            one.id for one in self._mirror.mirrored_devices.values() if self._tells_of(one)
        )

    def _tells_of(self, mirrored: MirroredDevice) -> bool:
        if not mirrored.online or mirrored.description is None:
            return False
        return self._is_online or self._instances.holder(mirrored.id) is None

    def _put_sees(self) -> None:
        """Tell others what is seen; while this instance starts alone, only in the end."""
        if self._is_seen_told or self._is_online or not self._instances.is_alone:
            told = self._told()
        else:
            told = frozenset()
        self._mirror.put_own("sees", write_sees(told))
        self._publishing.wake()

    # What is taken

    async def take(self) -> None:
        """Take the devices that are due, some at a time, by what the broker holds of them."""
        while self._is_open and (due := self._due()):
            held: dict[str, bytes] | None = {}
            known = [one for one in due if self._instances.is_named(one)]
            if known:
                for one in known:
                    if (mirrored := self._mirror.mirrored_devices.get(one)) is not None:
                        self._devices.taken(mirrored)
                held = await self._read(known)
            self._take_these(due, held)

    def _due(self) -> list[str]:
        now_s = self._clock.monotonic()
        claims = (one for one, claim in self._claims.items() if claim.due_s <= now_s)
        doubted = (one for one, at_s in self._doubted.items() if at_s <= now_s)
        return list(dict.fromkeys(islice((*claims, *doubted), _AT_ONCE)))

    async def _read(self, devices: Iterable[str]) -> dict[str, bytes] | None:
        """Return what stands at and below devices, None where the broker does not tell."""
        shape = self._publishing.shape
        mirrored_devices = [
            self._mirror.mirrored_devices[one]
            for one in devices
            if one in self._mirror.mirrored_devices
        ]
        every = [device for mirrored in mirrored_devices for device in mirrored.devices]
        roots = [mirrored.id for mirrored in mirrored_devices]
        held: dict[str, bytes] = {}
        if self._reader is None:
            return held
        try:
            async with self._reader.beside("taker") as reader:
                await reader.read_retained(
                    reading.below(shape, every),
                    held.__setitem__,
                    marker_topic=f"{shape.base}/reply/{shape.instance}",
                    optional=reading.outside(shape, (), roots),
                    quiet_s=_QUIET_S,
                )
        except BrokerError as error:
            _log.debug("takeover_unread", reason=str(error))
            return None
        return held

    def _take_these(self, devices: Iterable[str], held: dict[str, bytes] | None) -> None:
        retained_tree = self._publishing.shape.retained_tree(held or {})
        now_s = self._clock.monotonic()
        for device in devices:
            self._doubted.pop(device, None)
            mirrored, claim = (
                self._mirror.mirrored_devices.get(device),
                self._claims.pop(device, None),
            )
            if mirrored is None or not self._is_open or (claim is None and not mirrored.owned):
                if mirrored is not None and not mirrored.owned:
                    self._devices.yielded(mirrored)
                continue
            if claim is None:
                if held is not None:
                    self._mirror.take_over(mirrored, retained_tree)
                continue
            if claim.holder is not None:
                claim.give_up_waiting(now_s)
            was_named = self._instances.is_named(device)
            self._instances.note_owner(device, self._publishing.shape.instance)
            self._devices.taken(mirrored)
            self._mirror.take_over(mirrored, retained_tree)
            if was_named:
                _log.info("device_taken_over", device=device)
            else:
                self._publishing.publish_device_event("device_joined", mirrored, reason="first")
            for _, do in claim.held:
                do()
        self._publishing.wake()
