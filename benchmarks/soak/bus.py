"""The broker that is restarted, the link to it that is cut, and the caller that counts answers."""

import asyncio
import itertools
import json
import math
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks import stage
from benchmarks.fleet import background
from benchmarks.soak.tally import Tally

ANSWERED_WITHIN_S = 100.0
"""Behind a device that is slow or gone, and after a broker that was away."""
_BASE = "upnp"
_STATE = f"{_BASE}/bridge/main/state"
_REPLY = f"{_BASE}/reply/soak"
_BACK_S = 1.0
_UNNOTICED_S = 8.0
"""After which the broker tells at the latest that the bridge is lost: 1.5 times its keep-alive."""
_ANSWER_S = 30.0
"""A connection that was lost later than this after a command is no excuse for it."""


class SoakBroker:
    """A mosquitto at one port, which can be ended and started again with or without its data."""

    def __init__(self) -> None:
        self.port = stage.free_port()
        self.lost_s = -1e9
        self._running = AsyncExitStack()
        self._folder = tempfile.mkdtemp()
        self.process: stage.Process

    async def start(self) -> None:
        self.process = await self._running.enter_async_context(
            stage.mosquitto(
                self.port,
                "persistence true",
                f"persistence_location {self._folder}/",
                "autosave_interval 5",
                "max_queued_messages 0",
            )
        )

    async def stop(self) -> None:
        self.lost_s = time.monotonic()
        await self._running.aclose()
        self.lost_s = time.monotonic()

    async def restart(self, *, how: str) -> None:
        """End it and start it: `how` is `orderly`, `killed` (with data of before) or `empty`."""
        self.lost_s = time.monotonic()
        if how != "orderly":
            self.process.child.kill()
        await self.stop()
        if how == "empty":
            shutil.rmtree(self._folder)
            Path(self._folder).mkdir()  # noqa: ASYNC240 - at once
        await asyncio.sleep(random.uniform(0, 1))
        await self.start()
        self.lost_s = time.monotonic()

    async def freeze(self, seconds: float) -> None:
        await freeze(self.process, seconds)

    async def close(self) -> None:
        await self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


async def freeze(process: stage.Process, seconds: float) -> None:
    """Stop a process for a while."""
    process.child.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            process.child.send_signal(signal.SIGCONT)


class _End(asyncio.Protocol):
    """One end of a connection through the link; `other` is the other."""

    def __init__(self, on_made: Callable[["_End"], None] = lambda _: None) -> None:
        self.transport: asyncio.Transport
        self.other: _End | None = None
        self._on_made = on_made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.other:
            self.other.transport.abort()


class Link:
    """The bridge's way to the broker."""

    def __init__(self, broker: SoakBroker) -> None:
        self._broker = broker
        self._ends: set[_End] = set()
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _End(self._accept), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        self.cut()

    def _accept(self, near: _End) -> None:
        near.transport.pause_reading()
        background(self._join(near))

    async def _join(self, near: _End) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(_End, "127.0.0.1", self._broker.port)
        except OSError:
            near.transport.abort()
            return
        near.other, far.other = far, near
        self._ends = {one for one in self._ends if not one.transport.is_closing()} | {near, far}
        with suppress(RuntimeError):
            near.transport.resume_reading()

    def cut(self) -> None:
        """Break off every connection, wherever in a packet."""
        for one in self._ends:
            one.transport.abort()
        self._ends.clear()

    async def stall(self, seconds: float) -> None:
        """Let nothing through for a while."""
        stalled = [one for one in self._ends if not one.transport.is_closing()]
        for one in stalled:
            one.transport.pause_reading()
        await asyncio.sleep(seconds)
        for one in stalled:
            if not one.transport.is_closing():
                one.transport.resume_reading()


@dataclass(slots=True)
class _Sent:
    kind: str
    at_s: float
    wanted: frozenset[str]
    answers: Counter[str]


class Caller:
    """A client that sends commands (QoS 0: at most once) and counts the answers to each."""

    def __init__(self, broker: SoakBroker, tally: Tally) -> None:
        self._broker = broker
        self._tally = tally
        self._ids = itertools.count(1)
        self._sent: dict[int, _Sent] = {}
        self._loop = asyncio.get_running_loop()
        self.connected = asyncio.Event()
        self._away: list[tuple[float, float]] = []
        self._away_since_s: float | None = time.monotonic()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_connect = lambda *_: self._connected()
        self.client.on_disconnect = self._soon(self._disconnected)
        self.client.on_subscribe = self._soon(self.connected.set)
        self.client.on_message = self._message
        self.client.reconnect_delay_set(1, 1)

    def start(self) -> None:
        self.client.connect_async("127.0.0.1", self._broker.port)
        self.client.loop_start()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _soon(self, do: Callable[[], None]) -> Callable[..., None]:
        def take(*_: object) -> None:
            self._loop.call_soon_threadsafe(do)

        return take

    def _connected(self) -> None:
        filters = (_STATE, f"{_BASE}/+/response", f"{_BASE}/bridge/main/response/+", _REPLY)
        self.client.subscribe([(one, 1) for one in filters])

    def _disconnected(self) -> None:
        self._note_away(time.monotonic())
        self.connected.clear()

    def _note_away(self, since_s: float) -> None:
        if self._away_since_s is None:
            self._away_since_s = since_s

    def _note_state(self, state: bytes) -> None:
        if state == b"offline":
            self._note_away(time.monotonic() - _UNNOTICED_S)
            return
        now = time.monotonic()
        if self._away_since_s is None and now - self._broker.lost_s < _ANSWER_S:
            self._away_since_s = self._broker.lost_s  # it was back with an `online` of before
        if self._away_since_s is not None:
            self._away.append((self._away_since_s, now + _BACK_S))
            self._away_since_s = None

    def _message(self, _client: object, _data: object, message: Any) -> None:  # noqa: ANN401
        correlation = getattr(message.properties, "CorrelationData", None)
        self._loop.call_soon_threadsafe(self._take, message.topic, message.payload, correlation)

    def _take(self, topic: str, payload: bytes, correlation: bytes | None) -> None:
        if topic == _STATE:
            self._note_state(payload)
            return
        answer = json.loads(payload)
        callid = answer.get("callid")
        if callid is None and correlation:
            callid = int(correlation)
        sent = self._sent.get(callid)
        if sent is None:
            self._tally.problem(f"an answer to nothing: {topic} {payload[:200]!r}")
            return
        if correlation is None or int(correlation) != callid:
            self._tally.problem(f"an answer without its correlation: {topic} {payload[:200]!r}")
        where = "reply" if topic == _REPLY else "own"
        sent.answers[where] += 1
        if sent.answers[where] > 1 and not (sent.kind == "retained" and self._is_excused(sent)):
            self._tally.problem(f"answered twice: {sent.kind} {payload[:200]!r}")
        if where == "own":
            self._tally.answers["success" if answer["success"] else answer["code"]] += 1
            self._tally.loads[f"answers to {sent.kind}"] += 1

    def send(
        self, kind: str, topic: str, body: dict[str, Any] | bytes, *, retain: bool = False
    ) -> None:
        """Send a command; bytes go as they are, correlated by MQTT 5 alone."""
        if not self.connected.is_set():
            return
        callid = next(self._ids)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.CorrelationData = str(callid).encode()
        wanted = {"own"}
        if callid % 3 == 0:
            properties.ResponseTopic = _REPLY
            wanted.add("reply")
        payload = body if isinstance(body, bytes) else json.dumps({"callid": callid} | body)
        self._sent[callid] = _Sent(kind, time.monotonic(), frozenset(wanted), Counter())
        self._tally.loads[kind] += 1
        self.client.publish(f"{_BASE}/{topic}", payload, 0, retain, properties)

    @property
    def unanswered(self) -> int:
        """How many commands wait for an answer that may still come."""
        return sum(
            one.answers.keys() < one.wanted and not self._is_excused(one)
            for one in self._sent.values()
        )

    def settle(self, *, last: bool = False) -> None:
        """Forget what is over; what was not answered in time is a problem, or was lost."""
        now = time.monotonic()
        for callid, sent in tuple(self._sent.items()):
            if not last and now - sent.at_s < ANSWERED_WITHIN_S:
                break
            if not sent.wanted <= sent.answers.keys():
                if self._is_excused(sent):
                    self._tally.loads["commands or answers lost with a connection"] += 1
                else:
                    age_s = now - sent.at_s
                    self._tally.problem(f"no answer in {age_s:.0f} s: {sent.kind}, call {callid}")
            del self._sent[callid]

    def _is_excused(self, sent: _Sent) -> bool:
        """Tell whether the bridge or the caller was away from the broker meanwhile."""
        late_s = sent.at_s + _ANSWER_S
        away = (self._away_since_s, math.inf) if self._away_since_s is not None else (math.inf, 0.0)
        return any(since < late_s and until > sent.at_s for since, until in (*self._away, away))
