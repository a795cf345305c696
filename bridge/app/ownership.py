"""Whose a device is: what other bridges under the same base topic say, and what follows."""

from collections.abc import Callable

import structlog

from bridge.formats import jsontext
from bridge.publishing import Publishing
from bridge.tree.messages import Message

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Ownership:
    """Leaves devices to instances that go before ours, and takes them from others.

    `overhear` is told what others write over a device's document that is ours.
    """

    def __init__(self, publishing: Publishing, overhear: Callable[[Message], None]) -> None:
        self._publishing = publishing
        self._overhear = overhear
        self._echoes = False
        self._mirror = publishing.mirror
        self._neighbours = publishing.instances

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters of what other instances say of themselves and of devices."""
        base = self._publishing.shape.base
        return f"{base}/+", f"{base}/bridge/+/state"

    def begin(self, *, echoes: bool) -> None:
        """Begin with a session; `echoes` says that the broker returns to us what we publish."""
        self._echoes = echoes

    def receive(self, message: Message) -> bool:
        """Take in what another instance says; False where somebody calls us offline."""
        shape = self._publishing.shape
        match message.topic[len(shape.base) + 1 :].split("/"):
            case ["bridge", instance, "state"]:
                if instance == shape.instance:
                    return message.payload == b"online"
                for device in self._neighbours.hear_state(instance, message.payload):
                    self._settle(device)
            case [device]:
                usurped = self._neighbours.hear_document(device, message.payload)
                self._settle(device, usurped=usurped)
                if not self._echoes and self._is_ours(message):
                    self._overhear(message)
        return True

    def _is_ours(self, message: Message) -> bool:
        """Return whether a device's document names this instance, or none."""
        document = jsontext.read(message.payload)
        owner = document.get("bridge") if isinstance(document, dict) else None
        return owner in (None, self._publishing.shape.instance)

    def _settle(self, device: str, *, usurped: bool = False) -> None:
        """Leave a device to an instance that goes before ours, or take it from any other.

        `usurped` says that one that does not go before ours has written the device's document.
        """
        branch = self._mirror.branches.get(device)
        if branch is None:
            return
        yields = self._neighbours.comes_first(device)
        if yields and branch.owned:
            _log.info("device_yielded", device=device)
            self._mirror.yield_to_another(branch)
        elif not yields and (usurped or not branch.owned):
            _log.info("device_taken_over", device=device)
            self._mirror.take_back(branch)
            self._publishing.wake()
