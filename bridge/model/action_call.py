"""A call to a device, as data."""

from dataclasses import dataclass

from bridge.model.device import Action, Service


@dataclass(frozen=True, slots=True)
class ActionCall:
    """A call that may be sent: `arguments` are names and SOAP texts in the order of the SCPD."""

    service: Service
    action: Action
    arguments: tuple[tuple[str, str], ...]
    timeout_s: float
