"""Which devices are let in: `upnp.allow` and `upnp.deny`."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from bridge.model.device import Description


def admission(allow: Sequence[str], deny: Sequence[str]) -> Callable[[Description, str], bool]:
    """Return what decides over a device by its root's description and its address.

    A pattern matches UDN (with or without `uuid:`), device type, friendly name, manufacturer,
    model or address, in any case. Denied is what `deny` matches, and where there is an `allow`,
    what that does not match.
    """
    allowed = [pattern.casefold() for pattern in allow]
    denied = [pattern.casefold() for pattern in deny]

    def admits(description: Description, address: str) -> bool:
        device = description.device
        facts = [
            fact.casefold()
            for fact in (
                device.udn,
                f"uuid:{device.udn}",
                f"uuid:uuid:{device.udn}",
                device.device_type,
                device.friendly_name,
                device.manufacturer,
                device.model_name,
                address,
            )
            if fact
        ]

        def matches(patterns: Sequence[str]) -> bool:
            return any(fnmatchcase(fact, pattern) for pattern in patterns for fact in facts)

        return not matches(denied) and (not allowed or matches(allowed))

    return admits
