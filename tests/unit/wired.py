"""What is published, with all that reads messages, wired as `bridge.app` does it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from bridge.app.ownership import Ownership
from bridge.app.upkeep import Watched
from bridge.publishing import Publishing
from bridge.requests.dispatch import Dispatch
from bridge.runtime import Clock
from bridge.tree.device_tree import Shape
from bridge.tree.mirrored_device import MirroredDevice

if TYPE_CHECKING:
    from bridge.requests.bridge_request import BridgeRequests
    from bridge.requests.call_queue import CallQueue


class Wired(Publishing):
    """Requests go nowhere, unless `receiving` names who takes them."""

    def __init__(self, shape: Shape, *, qos: int = 1, clock: Clock | None = None) -> None:
        super().__init__(shape, qos=qos, clock=clock)
        self.watched = Watched(self, self.clock)
        self.followed: list[str] = []
        self.ownership = Ownership(
            self, self.watched.overhear, devices=self, reader=None, clock=self.clock
        )
        self.dispatch = self.receiving(lambda *_: None, lambda *_: None)

    def receiving(self, call: Callable[..., Any], verb: Callable[..., Any]) -> Dispatch:
        """Return what hands requests to these: calls, and the bridge's own."""
        return Dispatch(
            self, cast("CallQueue", Receiver(call)), cast("BridgeRequests", Receiver(verb))
        )

    def begin(self, *, echoes: bool) -> None:
        """Begin with a session whose broker returns to us what we publish, or not."""
        self.dispatch.begin(echoes=echoes)
        self.ownership.begin(echoes=echoes)

    def taken(self, mirrored: MirroredDevice) -> None:
        self.followed.append(mirrored.id)

    def yielded(self, mirrored: MirroredDevice) -> None:
        self.followed = [one for one in self.followed if one != mirrored.id]


class Receiver:
    """Stands for what carries out requests."""

    def __init__(self, receive: Callable[..., Any]) -> None:
        self.receive = receive
