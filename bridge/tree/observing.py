"""Who looks at the wanted tree while it changes, if anybody does."""

from collections.abc import Sequence
from typing import Protocol

from bridge.tree.messages import Publication
from bridge.tree.mirrored_device import LiveService, MirroredDevice
from bridge.tree.service_state import Change


class TreeObserver(Protocol):
    """Is told of each change of the wanted tree as it happens, with a broker or without."""

    def values_changed(
        self, branch: MirroredDevice, live: LiveService, changes: Sequence[Change]
    ) -> None:
        """Take in the changed values of a service."""

    def presence_changed(self, branch: MirroredDevice) -> None:
        """Take in that a device is online, or no longer."""

    def device_changed(self, old: MirroredDevice | None, new: MirroredDevice | None) -> None:
        """Take in that a device is mirrored (no old one), in another form, or not (no new one)."""

    def document_changed(self, topic: str) -> None:
        """Take in that a document of the bridge itself has changed."""

    def tree_read(self) -> None:
        """Take in that a broker's tree was read: values and devices may have come from it."""

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

    def tell_tree_read(self) -> None:
        """Tell the observer, if there is one, that a broker's tree was read."""
        if self.observer is not None:
            self.observer.tree_read()
