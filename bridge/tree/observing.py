"""Who looks at the wanted tree while it changes, if anybody does."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge.model.datatypes import Value
from bridge.model.device import Key
from bridge.tree.messages import Publication
from bridge.tree.mirrored_device import LiveService, MirroredDevice
from bridge.tree.service_state import Change


class TreeObserver(Protocol):
    """Is told of each change of the wanted tree as it happens, with a broker or without."""

    def values_changed(
        self, mirrored: MirroredDevice, live: LiveService, changes: Sequence[Change]
    ) -> None:
        """Take in the changed values of a service, also of one that another instance mirrors."""

    def presence_changed(self, mirrored: MirroredDevice) -> None:
        """Take in that a device is online, or no longer."""

    def device_changed(self, old: MirroredDevice | None, new: MirroredDevice | None) -> None:
        """Take in that a device is mirrored (no old one), in another form, or not (no new one)."""

    def document_changed(self, topic: str) -> None:
        """Take in that a document of the bridge itself has changed."""

    def message_sent(self, publication: Publication) -> None:
        """Take in what is published once and not retained: an answer, news."""


class Observed:
    """Has the one `observer` while there is one."""

    __slots__ = ("observer",)

    def __init__(self) -> None:
        self.observer: TreeObserver | None = None

    def begin(self, observer: TreeObserver) -> None:
        """Have an observer told from now on."""
        self.observer = observer

    def end(self) -> None:
        """Have nobody told any more: a change costs nothing then."""
        self.observer = None

    # What is taken over from a broker changes the tree too

    def values_of(self, live: LiveService) -> Mapping[Key, Value]:
        """Return the values of a service, for `values_remembered`, if anybody is to be told."""
        return {} if self.observer is None else dict(live.state.values)

    def values_remembered(
        self, mirrored: MirroredDevice, live: LiveService, before: Mapping[Key, Value]
    ) -> None:
        """Tell which values of a service are others now, by what they were before."""
        if self.observer is not None:
            now = live.state.values
            pairs = ((key, before.get(key), now.get(key)) for key in {**before, **now})
            changes = [Change(*one) for one in pairs if _differ(*one[1:])]
            self.observer.values_changed(mirrored, live, changes)

    def device_remembered(self, mirrored: MirroredDevice) -> None:
        """Tell of a device that is only remembered."""
        if self.observer is not None:
            self.observer.device_changed(None, mirrored)

    def document_remembered(self, topic: str) -> None:
        """Tell of a document of the bridge that is remembered."""
        if self.observer is not None:
            self.observer.document_changed(topic)


def _differ(one: Value | None, other: Value | None) -> bool:
    return one != other or type(one) is not type(other)
