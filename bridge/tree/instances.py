"""Other bridges under the same base topic: who mirrors what, and who answers for what nobody knows.

Of the bridges that are online and see a device, the one whose instance sorts first mirrors it. All
come to the same result from what stands at the broker, without asking each other.
"""

from collections.abc import Iterable, Mapping

from bridge.formats import jsontext
from bridge.model import topics

_MOST = 10_000
"""Instances, and documents of theirs, that are remembered: payloads come from anyone."""


class Instances:
    """What is known of other instances, from their `state` and the documents of devices."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._online: set[str] = set()
        self._owners: dict[str, str] = {}

    def begin(self, online: Iterable[str], owners: Mapping[str, str]) -> None:
        """Take over what a broker holds, in place of all that was known."""
        self._online = set(online) - {self._instance}
        self._owners = {d: owner for d, owner in owners.items() if owner != self._instance}

    def hear_state(self, instance: str, payload: bytes) -> tuple[str, ...]:
        """Take in the state of an instance; return the ids of the devices that it claims."""
        if instance == self._instance:
            return ()
        if payload != b"online":
            self._online.discard(instance)
        elif len(self._online) < _MOST:
            self._online.add(instance)
        return tuple(device for device, owner in self._owners.items() if owner == instance)

    def hear_document(self, device: str, payload: bytes) -> bool:
        """Take in a device's document; return whether an instance claims it that is not to have it.

        One that sorts before ours is, as soon as it is online.
        """
        document = jsontext.read(payload)
        owner = document.get("bridge") if isinstance(document, dict) else None
        if not isinstance(owner, str) or owner == self._instance:
            self._owners.pop(device, None)
            return False
        if len(self._owners) < _MOST or device in self._owners:
            self._owners[device] = owner
        return owner > self._instance

    def is_claimed(self, device: str) -> bool:
        """Return whether a device is another instance's, one that is online."""
        return self._owners.get(device) in self._online

    def has(self, named: str) -> bool:
        """Return whether another instance, one that is online, has a device that is named so."""
        if self.is_claimed(named):
            return True
        keys = topics.udn_keys(topics.decode_level(named))
        return any(
            owner in self._online and topics.udn_key(topics.decode_level(device)) in keys
            for device, owner in self._owners.items()
        )

    def comes_first(self, device: str) -> bool:
        """Return whether an instance that is online and sorts before ours claims a device."""
        return self.is_claimed(device) and self._owners[device] < self._instance

    def answers_elsewhere(self, named: str) -> bool:
        """Return whether another instance answers for a device, as it is named, that we lack."""
        return self.has(named) or not self.answers_for_all

    @property
    def answers_for_all(self) -> bool:
        """Whether it is this bridge's part to answer for devices that nobody knows."""
        return all(self._instance < other for other in self._online)
