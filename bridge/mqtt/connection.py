"""paho driven by the event loop: socket, timer, CONNACK, the end; what is said is the session's."""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

import paho.mqtt.client as paho
import structlog
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import BrokerRefused, BrokerUnreachable
from bridge.mqtt.limits import Limits, ProtocolUnknown, refusal
from bridge.mqtt.paho_socket import Client, tls_alert
from bridge.mqtt.url import Protocol
from bridge.tree.messages import Message

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_TICK_S = 1.0
_NO_REASON = frozenset({0x00, 0x80})
_KEEP_ALIVE_TIMEOUT = 0x8D


class Connection(ABC):
    """A paho client whose CONNECT is sent, from there to the end of its socket."""

    def __init__(self, client: Client, protocol: Protocol) -> None:
        self.protocol: Protocol = protocol
        self.limits = Limits()
        self.needs_retained = True
        """Whether a broker that keeps no retained messages counts as one that refuses us."""
        self._client = client
        self._fd = client.connected.fileno()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._answered = asyncio.Event()
        self._is_accepted = False
        self._lost: asyncio.Future[Exception] = self._loop.create_future()
        self._flush_due = False
        self._is_full = False
        self._is_tcp = client.connected.family != socket.AF_UNIX

    async def accepted(self) -> None:
        """Drive the client until CONNACK; raise BrokerUnreachable or BrokerRefused."""
        client, loop = self._client, self._loop
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_told = self._on_message
        client.on_sent = self._on_sent
        client.on_subscribe = self._on_acknowledged
        client.on_unsubscribe = self._on_acknowledged
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._want_flush
        loop.add_reader(self._fd, self._read)
        self._flush()
        self._tick()
        await self._answered.wait()
        if not self._is_accepted:
            self._raise_if_lost()

    async def wait_lost(self) -> None:
        """Wait for the end and raise it: BrokerUnreachable, or BrokerRefused where we are unwanted.

        `SessionTakenOver` where another client uses our client id.
        """
        await asyncio.wait([self._lost])
        self._raise_if_lost()

    def end(self, error: Exception) -> None:
        """Close the socket; `error` is what everything that waits is told. The first one counts."""
        if self._lost.done():
            return
        self._lost.set_result(error)
        self._answered.set()
        self._detach()
        # Later calls, from paho's finalizer too, would meet a file descriptor that is another's.
        self._client.on_socket_close = self._client.on_socket_register_write = None
        self._client.close()
        self._on_end(error)

    @abstractmethod
    def _on_end(self, error: Exception) -> None: ...

    @abstractmethod
    def _on_tick(self) -> None: ...

    @abstractmethod
    def _on_message(self, message: Message) -> None: ...

    @abstractmethod
    def _on_sent(self, mid: int, code: int) -> None: ...

    @abstractmethod
    def _on_acknowledged(
        self, _client: object, _data: object, mid: int, reasons: list[ReasonCode], _: object
    ) -> None: ...

    def _raise_if_lost(self) -> None:
        if self._lost.done():
            raise self._lost.result()

    def _drive(self, step: Callable[[], object]) -> None:
        """Run a step of paho's; a packet that it cannot bear ends the connection, not the loop."""
        if self._lost.done():
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - paho's decoders raise many
            _log.exception("packet_unreadable")
            self.end(BrokerUnreachable(f"its packet cannot be read: {error!r}"))

    def _read(self) -> None:
        self._drive(self._read_some)

    def _read_some(self) -> None:
        is_more = self._client.read()
        if self._is_tcp and not self._lost.done():
            # A broker that waits for our ACK before its next small packet, as mosquitto does
            # unless told otherwise, would wait 40 ms each time.
            self._client.connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if is_more:
            self._loop.call_soon(self._read)
        if self._client.wants_flush:
            self._want_flush()

    def _want_flush(self, *_: object) -> None:
        """Have paho's packets go out with all else of this turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._drive(self._flush_all)

    def _flush_all(self) -> None:
        was_full, self._is_full = self._is_full, not self._client.flush()
        if self._lost.done() or self._is_full is was_full:
            return
        if self._is_full:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)

    def _tick(self) -> None:
        self._drive(self._client.loop_misc)
        if not self._lost.done():
            self._on_tick()
            self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _detach(self) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._timer:
            self._timer.cancel()

    def _on_socket_close(self, _client: object, _data: object, _socket: object) -> None:
        self._detach()
        if not self._answered.is_set():
            self._client.hear_verdict()

    def _on_connect(
        self,
        _client: object,
        _data: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.end(refusal(reason))
            return
        if properties is not None:
            self.limits = Limits.announced(properties)
        if self.needs_retained and not self.limits.retain:
            self.end(BrokerRefused("the broker keeps no retained messages"))
            return
        self._is_accepted = True
        self._answered.set()

    def _on_disconnect(
        self,
        _client: object,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _: Properties | None,
    ) -> None:
        words = self._client.complaint.words
        if not words and reason.value in _NO_REASON:
            words = "connection closed"
        if (verdict := self._client.verdict or tls_alert(words)) is not None:
            self.end(verdict)
        elif flags.is_disconnect_packet_from_server:
            self.end(refusal(reason))
        elif self._is_accepted:
            self.end(BrokerUnreachable(words or str(reason)))
        elif self.protocol == "5" and reason.value != _KEEP_ALIVE_TIMEOUT:
            self.end(ProtocolUnknown(f"no CONNACK: {words or reason}", is_mute=True))
        else:
            self.end(BrokerUnreachable(f"no CONNACK: {words or reason}"))
