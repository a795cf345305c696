"""A model of the broker, and of paho's client towards it: what is in flight may be lost."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import BrokerUnreachable
from bridge.mqtt.paho_socket import Client
from bridge.mqtt.url import BrokerOptions, Endpoint, Protocol
from bridge.tree.messages import Message, Publication
from tests.simulation.loop import Loop

_GRANTED = ReasonCode(PacketTypes.SUBACK, "Granted QoS 1")
_ACCEPTED = ReasonCode(PacketTypes.CONNACK, "Success")
_BROKEN = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
_matches = lru_cache(maxsize=65536)(topic_matches_sub)


@dataclass(frozen=True, slots=True)
class Passed:
    """A message that the broker took; `sender` is None where that is not the bridge."""

    topic: str
    payload: bytes
    retain: bool
    sender: "ModelPaho | None" = None
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(eq=False)
class ModelBroker:
    """What is retained, who is connected; `on_passed` is told of every message."""

    loop: Loop
    held: dict[str, bytes]
    clients: list["ModelPaho"] = field(default_factory=list)
    is_up: bool = True
    is_cut: bool = False
    """Whether nobody reaches it although it is up."""
    receive_maximum: int = 20
    max_packet: int | None = None
    on_passed: Callable[[Passed], None] = lambda _: None

    def publish(self, message: Passed) -> None:
        """Take a message, and hand it to who subscribed."""
        if message.retain:
            if message.payload:
                self.held[message.topic] = message.payload
            else:
                self.held.pop(message.topic, None)
        self.on_passed(message)
        for client in tuple(self.clients):
            client.hand(message)

    def stop(self) -> None:
        """Be gone at once, without a will: that is for those who stay."""
        self.is_up = False
        for client in tuple(self.clients):
            client.has_will = False
            client.break_off()

    def start(self, held: dict[str, bytes]) -> None:
        self.held.clear()
        self.held |= held
        self.is_up = True


class _Pipe:
    """One way of a connection: what is put in comes out in order, each a little later."""

    def __init__(self, loop: Loop, is_whole: Callable[[], bool]) -> None:
        self._loop = loop
        self._is_whole = is_whole
        self._within: deque[Callable[[], None]] = deque()
        self._last_s = 0.0

    def __call__(self, step: Callable[..., None], *args: Any) -> None:
        self._within.append(partial(step, *args))
        self._last_s = max(self._last_s, self._loop.time() + self._loop.rng.random() * 0.003)
        self._loop.call_at(self._last_s, self._come_out)

    def _come_out(self) -> None:
        step = self._within.popleft()
        if self._is_whole():
            step()


class ModelPaho:
    """What the bridge uses of a paho client, over pipes with a delay in which things get lost."""

    def __init__(
        self,
        broker: ModelBroker,
        will: Publication,
        protocol: Protocol,
        is_dead: Callable[[], bool],
    ) -> None:
        self.verdict = None
        self.complaint = SimpleNamespace(words="")
        self.connected = SimpleNamespace(fileno=lambda: 0, family=socket.AF_UNIX)
        self.on_connect: Any = None
        self.on_disconnect: Any = None
        self.on_told: Any = None
        self.on_sent: Any = None
        self.on_subscribe: Any = None
        self.on_unsubscribe: Any = None
        self.has_will = True
        self._broker = broker
        self._loop = broker.loop
        self._will = will
        self._is_5 = protocol == "5"
        self._is_dead = is_dead
        self._filters: dict[str, Any] = {}
        self._mids = iter(range(1, 1 << 30))
        self._there = _Pipe(self._loop, lambda: self._is_whole)
        self._back = _Pipe(self._loop, lambda: self._is_whole)
        self._is_whole = True
        """Whether what is sent arrives, both ways."""
        self._is_known = False
        """Whether the broker takes us for connected."""

    # What the bridge calls

    wants_flush = False

    def flush(self) -> bool:
        return True

    def loop_misc(self) -> None:
        pass

    def hear_verdict(self) -> None:
        pass

    def send(self, publication: Publication, qos: int) -> int:
        mid = next(self._mids)
        correlation = publication.correlation_data if self._is_5 else None
        one = publication
        message = Passed(one.topic, one.payload, one.retain, self, correlation=correlation)
        self._send(self._take, message, mid if qos else None)
        if not qos:
            self._loop.call_soon(self._sent, mid)
        return mid

    def subscribe(self, filters: list[tuple[str, Any]]) -> tuple[Any, int]:
        mid = next(self._mids)
        self._send(self._subscribed, filters, mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS, mid

    def unsubscribe(self, filters: list[str]) -> tuple[Any, int]:
        mid = next(self._mids)
        self._send(self._unsubscribed, filters, mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS, mid

    def disconnect(self) -> None:
        self._send(self._left)

    def close(self) -> None:
        if self._is_whole:
            self._loop.call_later(0.001, self._broker_sees_end)

    # What the broker does

    def connect(self) -> None:
        """Take the place of an earlier connection of this client id, and answer CONNECT."""
        if self._broker.is_cut or not self._broker.is_up:
            self.break_off()
            return
        for other in tuple(self._broker.clients):
            other.break_off()
            other.forget()
        self._is_known = True
        self._broker.clients.append(self)
        properties = None
        if self._is_5:
            properties = Properties(PacketTypes.CONNACK)
            properties.ReceiveMaximum = self._broker.receive_maximum
            if self._broker.max_packet is not None:
                properties.MaximumPacketSize = self._broker.max_packet
        flags = paho.ConnectFlags(session_present=False)
        self._back(self._tell, "on_connect", flags, _ACCEPTED, properties)

    def hand(self, message: Passed, *, as_retained: bool = False) -> None:
        """Send a message if it is subscribed to."""
        for topic_filter, options in tuple(self._filters.items()):
            is_own = self._is_5 and message.sender is self
            if not is_own and _matches(topic_filter, message.topic):
                keeps = self._is_5 and options.retainAsPublished
                self._deliver(message, retain=as_retained or (message.retain and keeps))
                return

    def break_off(self) -> None:
        """Lose the connection: both ends notice now."""
        self.go_deaf()
        self.forget()
        self._loop.call_soon(self._notice)

    def go_deaf(self) -> None:
        """Lose all that is in flight, and all that is sent from now on; nobody notices."""
        self._is_whole = False

    def notice(self) -> None:
        """Have the bridge notice that the connection is gone."""
        self._notice()

    def forget(self) -> None:
        """Have the broker notice, which publishes the will."""
        if self._is_known:
            self._is_known = False
            self._broker.clients.remove(self)
            if self.has_will and self._broker.is_up:
                will = self._will
                self._broker.publish(Passed(will.topic, will.payload, will.retain))

    # Within

    def _send(self, step: Callable[..., None], *args: Any) -> None:
        if not self._is_dead():
            self._there(step, *args)

    def _take(self, message: Passed, mid: int | None) -> None:
        self._broker.publish(message)
        if mid is not None:
            self._back(self._sent, mid)

    def _subscribed(self, filters: list[tuple[str, Any]], mid: int) -> None:
        self._filters |= dict(filters)
        self._back(self._tell, "on_subscribe", mid, [_GRANTED] * len(filters), None)
        for topic, payload in tuple(self._broker.held.items()):
            if any(_matches(one, topic) for one, _ in filters):
                self._deliver(Passed(topic, payload, retain=True), retain=True)

    def _unsubscribed(self, filters: list[str], mid: int) -> None:
        for one in filters:
            self._filters.pop(one, None)
        self._back(self._tell, "on_unsubscribe", mid, [_GRANTED] * len(filters), None)

    def _deliver(self, message: Passed, *, retain: bool) -> None:
        more = (message.response_topic, message.correlation) if self._is_5 else ()
        received = Message(message.topic, message.payload, retain, *more)
        self._back(self._message, received)

    def _message(self, received: Message) -> None:
        if self.on_told and not self._is_dead():
            self.on_told(received)

    def _tell(self, name: str, *args: Any) -> None:
        told = getattr(self, name)
        if told and not self._is_dead():
            told(self, None, *args)

    def _sent(self, mid: int) -> None:
        if self.on_sent and not self._is_dead():
            self.on_sent(mid, 0)

    def _notice(self) -> None:
        self._tell("on_disconnect", paho.DisconnectFlags(False), _BROKEN, None)  # noqa: FBT003

    def _left(self) -> None:
        self.has_will = False
        self.forget()
        self._back(self._notice)

    def _broker_sees_end(self) -> None:
        self.go_deaf()
        self.forget()


def dialling(broker: ModelBroker, is_dead: Callable[[], bool]) -> Any:
    """Return what connects to a broker, for one life of the bridge."""

    async def dial(
        _endpoint: Endpoint, _options: BrokerOptions, will: Publication, protocol: Protocol
    ) -> Client:
        await asyncio.sleep(broker.loop.rng.random() * 0.01)
        if is_dead() or broker.is_cut or not broker.is_up:
            raise BrokerUnreachable("no broker")
        client = ModelPaho(broker, will, protocol, is_dead)
        broker.loop.call_later(0.001, client.connect)
        return cast("Client", client)

    return dial
