"""A session for looking at a broker: what it announced of itself, and its certificate."""

import ssl
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.mqtt.paho_socket import Client
from bridge.mqtt.session import Session, Source
from bridge.mqtt.url import Protocol


class Trial(Session):
    """A session that keeps what others need not know.

    `announced` has the properties of the CONNACK by name (MQTT 5, section 3.2.2.3).
    """

    def __init__(
        self, client: Client, source: Source, protocol: Protocol, acknowledge_s: float
    ) -> None:
        super().__init__(client, source, protocol, acknowledge_s)
        self.announced: Mapping[str, Any] = {}

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The broker's certificate as `ssl` has it; None without TLS."""
        sock = self._client.connected
        return sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None

    def _on_connect(
        self,
        _client: object,
        _data: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if properties is not None:
            told = properties.json()  # type: ignore[no-untyped-call]  # paho leaves it untyped
            self.announced = told
        super()._on_connect(_client, _data, _flags, reason, properties)
