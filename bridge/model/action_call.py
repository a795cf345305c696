"""A call to a device, as data, and who may be given one to send."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bridge.model.device import Action, Service


@dataclass(frozen=True, slots=True)
class ActionCall:
    """A call that may be sent: `arguments` are names and SOAP texts in the order of the SCPD."""

    service: Service
    action: Action
    arguments: tuple[tuple[str, str], ...]
    timeout_s: float


Invoke = Callable[[Service, str, Sequence[tuple[str, str]], float], Awaitable[Mapping[str, str]]]
"""Sends an action, with a time-out in seconds; returns its out-arguments or raises CommandError."""
