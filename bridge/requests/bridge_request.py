"""Requests to the bridge itself: `upnp/bridge/<instance>/request/<verb>`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import structlog

from bridge import log
from bridge.errors import (
    BadResponse,
    Code,
    CommandError,
    DescriptionError,
    DeviceError,
    DeviceTimeout,
    DeviceUnreachable,
)
from bridge.formats import jsontext
from bridge.model import topics
from bridge.model.device import Description
from bridge.publishing import Publishing
from bridge.requests import envelope as commands
from bridge.requests.envelope import BadEnvelope, Envelope
from bridge.requests.replies import Answer
from bridge.tree.messages import Message

MAX_RUNNING = 16
"""The most verbs that run at once; some wait for a device."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Body: TypeAlias = Mapping[str, object]


class DeviceControl(Protocol):
    """The devices, as requests to the bridge need them."""

    def search(self) -> None:
        """Send M-SEARCH now."""

    async def add(self, location: str) -> Description:
        """Describe what is at a LOCATION; raises a DeviceError."""

    async def refresh(self, udn: str) -> Description:
        """Describe a device afresh; raises a DeviceError."""

    def forget(self, udn: str) -> None:
        """Know nothing any more of a root device, and clear its topics."""


class HealthSource(Protocol):
    """How the bridge fares."""

    def document(self) -> Mapping[str, object]:
        """Return it as a document."""

    async def diagnostics(self, udn: str | None = None) -> Mapping[str, object]:
        """Return what a bug report needs, with a capture of a root device; raises CommandError."""


class BridgeRequests:
    """The requests to the bridge itself, carried out side by side.

    `forget_instance` is told the name of a bridge that is gone, and gives what it cleared.
    """

    def __init__(  # noqa: PLR0913 - a part each
        self,
        publishing: Publishing,
        answer: Answer,
        devices: DeviceControl,
        health: HealthSource,
        forget_instance: Callable[[str], Awaitable[object]],
        *,
        max_bytes: int,
    ) -> None:
        self._publishing = publishing
        self._mirror = publishing.mirror
        self._answer = answer
        self._devices = devices
        self._health = health
        self._forget_instance = forget_instance
        self._max_bytes = max_bytes
        self._running: set[asyncio.Task[None]] = set()
        self._verbs: dict[str, Callable[[Body], Awaitable[object]]] = {
            "announce": self.announce,
            "search": self.search,
            "add": self.add,
            "refresh": self.refresh,
            "forget": self.forget,
            "log_level": self.log_level,
            "health": self.health,
            "diagnostics": self.diagnostics,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The verbs that there are."""
        return tuple(self._verbs)

    def receive(self, message: Message, verb: str, topic: str) -> None:
        """Take a command; it is answered on `topic`."""
        envelope: Envelope | None = None
        try:
            envelope = commands.read_command(
                message.payload, is_retained=message.retain, max_bytes=self._max_bytes
            )
            if verb not in self._verbs:
                raise CommandError(Code.UNKNOWN_VERB, f"no verb {verb[:100]}")
            if len(self._running) >= MAX_RUNNING:
                raise CommandError(Code.BUSY, f"{MAX_RUNNING} commands are under way")
        except BadEnvelope as error:
            self._answer(
                message, error.envelope, topic, commands.verb_failure(error.envelope, error)
            )
        except CommandError as error:
            self._answer(message, envelope, topic, commands.verb_failure(envelope, error))
        else:
            task = asyncio.create_task(
                self._carry_out(message, envelope, verb, topic), name=f"verb[{verb}]"
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what is under way; each is answered."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def announce(self, body: Body) -> object:
        """Publish again the components of `ids` with all below them, or everything."""
        ids = body.get("ids")
        if ids is not None and not (
            isinstance(ids, list) and all(isinstance(one, str) for one in ids)
        ):
            raise CommandError(Code.BAD_REQUEST, "ids must be a list of strings")
        count = 0
        try:
            for topics_put in self._mirror.announcing.publishing_again(ids):
                count += topics_put
                self._publishing.wake()
                await asyncio.sleep(0)
        except KeyError as error:
            raise CommandError(
                Code.UNKNOWN_DEVICE, f"no component {error.args[0][:200]}"
            ) from error
        self._publishing.wake()
        return {"topics": count}

    async def search(self, _: Body) -> object:
        """Send M-SEARCH now."""
        self._devices.search()
        return {}

    async def add(self, body: Body) -> object:
        """Take the device at `location`, which discovery cannot reach."""
        return _described(await self._devices.add(_text(body, "location")))

    async def refresh(self, body: Body) -> object:
        """Read the description of the device `id` again."""
        return _described(await self._devices.refresh(self._udn(body)))

    async def forget(self, body: Body) -> object:
        """Clear all topics of the root device that `id` belongs to, or what `instance` left."""
        if "instance" in body:
            if "id" in body:
                raise CommandError(Code.BAD_REQUEST, "either id or instance, not both")
            return await self._forget_instance(_text(body, "instance"))
        udn = self._udn(body)
        self._devices.forget(udn)
        return {"id": topics.device_id(udn)}

    async def log_level(self, body: Body) -> object:
        """Write log lines from `level` on."""
        level = _text(body, "level")
        if level not in log.LEVELS:
            raise CommandError(Code.BAD_REQUEST, f"level must be one of {', '.join(log.LEVELS)}")
        log.set_level(level)
        self._mirror.put_own("health", jsontext.encode(self._health.document()))
        self._publishing.wake()
        return {"level": level}

    async def health(self, _: Body) -> object:
        """Tell how the bridge fares."""
        return self._health.document()

    async def diagnostics(self, body: Body) -> object:
        """Tell for a bug report how the bridge fares, and of the device `id` all that it sends."""
        return await self._health.diagnostics(self._udn(body) if "id" in body else None)

    def _udn(self, body: Body) -> str:
        """Return the UDN of the root device that a command's `id` belongs to."""
        own = _text(body, "id")
        found = self._mirror.find(topics.decode_level(own.partition("/")[0]))
        if found is None or not found[0].owned:
            raise CommandError(Code.UNKNOWN_DEVICE, f"no device {own[:100]}")
        return topics.decode_level(found[0].id)

    async def _carry_out(self, message: Message, envelope: Envelope, verb: str, topic: str) -> None:
        try:
            document = commands.verb_success(envelope, await self._verbs[verb](envelope.body))
        except CommandError as error:
            document = commands.verb_failure(envelope, error)
        except DeviceError as error:
            failure = CommandError(_code(error), str(error))
            document = commands.verb_failure(envelope, failure)
        except asyncio.CancelledError:
            failure = CommandError(Code.SHUTTING_DOWN, "the bridge is shutting down")
            document = commands.verb_failure(envelope, failure)
        except Exception as error:  # noqa: BLE001 - the command is to be answered in any case
            _log.exception("verb_crashed", verb=verb)
            failure = CommandError(Code.INTERNAL, str(error))
            document = commands.verb_failure(envelope, failure)
        self._answer(message, envelope, topic, document)


def _described(description: Description) -> object:
    return {
        "id": topics.device_id(description.udn),
        "friendly_name": description.device.friendly_name,
        "location": description.location,
    }


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise CommandError(Code.BAD_REQUEST, f"{name} must be a string")
    return value


def _code(error: DeviceError) -> Code:
    match error:
        case DeviceUnreachable():
            return Code.UNREACHABLE
        case DeviceTimeout():
            return Code.TIMEOUT
        case BadResponse() | DescriptionError():
            return Code.BAD_RESPONSE
        case _:
            return Code.DENIED
