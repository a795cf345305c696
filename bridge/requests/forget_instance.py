"""`forget` of an instance: what another bridge has left is cleared, its devices first."""

import asyncio
from contextlib import suppress
from typing import Protocol

import structlog

from bridge.errors import BrokerError, Code, CommandError
from bridge.model import topics
from bridge.mqtt.reconnect import Broker
from bridge.mqtt.session import Session
from bridge.publishing import Publishing
from bridge.tree.leftovers import InstanceLeftovers
from bridge.tree.messages import Publication

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_ANSWER_S = 5.0
"""How long a bridge may take to say that it is there."""


class Link(Protocol):
    """What we have to do with the broker."""

    @property
    def is_open(self) -> bool:
        """Whether there is a session that what is published goes by."""

    async def flush(self) -> None:
        """Wait until the broker has all that was to be published."""


class ForgetInstance:
    """Clears what an instance has left."""

    def __init__(self, publishing: Publishing, broker: Broker, link: Link) -> None:
        self._publishing = publishing
        self._broker = broker
        self._link = link

    async def __call__(self, instance: str) -> object:
        """Clear it, and return what was there; raises CommandError."""
        shape = self._publishing.shape
        if not topics.is_level(instance):
            raise CommandError(Code.BAD_REQUEST, "instance must be the name of a bridge")
        if instance == shape.instance:
            raise CommandError(Code.DENIED, f"{instance} is this bridge")
        remains = InstanceLeftovers(shape, instance)
        try:
            async with self._broker.beside("reader") as reader:
                await reader.read_retained(
                    remains.pieces(),
                    remains.held.__setitem__,
                    marker_topic=f"{shape.base}/reply/{shape.instance}",
                    optional=remains.hub_pieces(),
                )
                if remains.says_online and await _answers(reader, remains.own):
                    raise CommandError(Code.DENIED, f"{instance} is online: stop it first")
            is_something = remains.bridge() or remains.devices(lambda _: False)
            if not is_something or not self._link.is_open:
                raise CommandError(Code.UNKNOWN_DEVICE, f"nothing is left of {instance[:100]}")
            devices = self._clear_devices(remains)
            await self._link.flush()
            count = self._clear_bridge(remains)
            await self._link.flush()
        except BrokerError as error:
            raise CommandError(Code.INTERNAL, f"the broker: {error}") from error
        _log.info("instance_forgotten", instance=instance, devices=len(devices), topics=count)
        return {"instance": instance, "devices": devices}

    def _clear_devices(self, remains: InstanceLeftovers) -> list[str]:
        """Clear the devices of an instance that is gone, but for those that we have; name them."""
        mirror = self._publishing.mirror
        devices = remains.devices(
            lambda device: mirror.find(topics.decode_level(device)) is not None
        )
        mirror.clear_remains(devices)
        for device in devices:
            self._publishing.instances.hear_document(device, b"")
        self._publishing.wake()
        return list(devices)

    def _clear_bridge(self, remains: InstanceLeftovers) -> int:
        """Clear an instance's own topics; return how many those were."""
        mine = remains.bridge()
        self._publishing.mirror.ledger.clear(mine)
        self._publishing.wake()
        return len(mine)


async def _answers(session: Session, own: str) -> bool:
    """Return whether a bridge answers that is called online; a dead one's will may be lost."""
    answered = asyncio.Event()
    await session.subscribe((f"{own}/response/health",), lambda _: answered.set(), as_news=True)
    asked = Publication(f"{own}/request/health", b"{}", retain=False)
    await session.publish(asked)
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            await answered.wait()
    return answered.is_set()
