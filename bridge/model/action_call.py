"""A call to a device, as data, and who sends it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.model.device import Action, Service


@dataclass(frozen=True, slots=True)
class ActionCall:
    """A call that may be sent: `arguments` are names and SOAP texts in the order of the SCPD."""

    service: Service
    action: Action
    arguments: tuple[tuple[str, str], ...]
    timeout_s: float


class Invoker(Protocol):
    """Sends actions to devices."""

    async def invoke(
        self,
        service: Service,
        action: str,
        arguments: Sequence[tuple[str, str]],
        timeout_s: float,
    ) -> Mapping[str, str]:
        """Send an action, once; return its out-arguments, or raise CommandError."""

    def suspect(self, udn: str) -> None:
        """Look whether a root device that did not answer is still there."""
