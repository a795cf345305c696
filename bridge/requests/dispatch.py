"""Topic → handler: which requests there are, where they come, and who carries them out."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from bridge.publishing import Publishing
from bridge.requests import envelope
from bridge.requests.bridge_request import BridgeRequests
from bridge.requests.call_queue import CallQueue
from bridge.requests.doubts import Doubts
from bridge.requests.value_request import ValueRequest, read_text
from bridge.tree.messages import Message

_VERBS = ("set", "get")
_PURPOSES = {
    "+/call": "calls to <udn>/call are not received",
    "+/+/action/+/call": "calls to …/action/<Action>/call are not received",
    "bridge/+/state": "the bridge does not know whether other bridges are online",
    "+": "retained device documents, and what other bridges write, are not read",
    "bridge/+/sees": "the bridge does not know what other bridges see",
    "bridge/+/beat": "the bridge does not notice other bridges that hang",
    "bridge/+/event": "devices that other bridges leave are taken late",
    "bridge/#": "retained topics of bridges are not read",
    "bridge/all/request/+": "requests to all bridges are not received",
} | {
    f"+/+/value/+{place}/{verb}": f"{verb} of values {kind} is not received"
    for verb in _VERBS
    for place, kind in (
        ("", "without an InstanceID"),
        ("/+", "with an InstanceID"),
        ("/+/+", "with an InstanceID and a channel"),
    )
}


class Dispatch:
    """Hands on each request, to a device or to the bridge; clears those that are retained.

    `on_command` is told of each.
    """

    def __init__(
        self,
        publishing: Publishing,
        calls: CallQueue,
        bridge_requests: BridgeRequests,
        on_command: Callable[[Message], None] = lambda _: None,
    ) -> None:
        self._publishing = publishing
        self._base = publishing.shape.base
        self._own = publishing.shape.own
        self._calls = calls
        self._bridge_requests = bridge_requests
        self._on_command = on_command
        self._echoes = False
        self._cleared: set[str] = set()
        self._doubts = Doubts(publishing)

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters of all requests."""
        base = self._base
        return (
            f"{base}/+/call",
            f"{base}/+/+/action/+/call",
            *(f"{base}/+/+/value/+{at}/{verb}" for verb in _VERBS for at in ("", "/+", "/+/+")),
            f"{self._own}/request/+",
            f"{base}/bridge/all/request/+",
        )

    def begin(self, *, echoes: bool) -> None:
        """Begin with a session; `echoes` says that the broker returns to us what we publish."""
        self._echoes = echoes
        self._cleared.clear()

    def receive(self, message: Message) -> None:
        """Take a message that came by one of the `filters`."""
        is_ours = message.answered is None and not message.payload
        if is_ours and message.topic in self._cleared:
            self._cleared.discard(message.topic)  # our own clearing, as MQTT 3.1.1 returns it
            return
        levels = message.topic[len(self._base) + 1 :].split("/")
        if levels[0] == "reply" or (levels[0] == "bridge" and levels[2:3] != ["request"]):
            return  # like a request by its form alone
        if message.retain:
            if not message.payload:
                return
            if self._echoes:
                self._cleared.add(message.topic)
            self._publishing.mirror.ledger.put(message.topic, b"")
            self._publishing.wake()
        self._on_command(message)
        if levels[0] == "bridge":
            name = levels[3]
            self._bridge_requests.receive(message, name, f"{self._own}/response/{name}")
        elif message.answered is not None:
            self._receive_call(message, levels)
        else:
            do = partial(self._receive_call, message, levels)
            self._doubts.receive(message, levels[0], do)

    def _receive_call(self, message: Message, levels: Sequence[str]) -> None:
        """Hand on a request to a device, with how it is to be read."""
        receive = self._calls.receive
        match levels:
            case [device, "call"]:
                receive(message, device, envelope.read_call)
            case [device, service, "action", action, "call"]:
                read = partial(envelope.arguments_only, service_level=service, action_level=action)
                receive(message, device, read)
            case [device, service, "value", *place, "set"]:
                receive(
                    message,
                    device,
                    lambda request: ValueRequest.at(service, place, str(request.body["value"])),
                    read_text,
                )
            case [device, service, "value", *place, "get"]:
                receive(message, device, lambda _: ValueRequest.at(service, place, None))


def purpose(topic_filter: str, base: str) -> str:
    """Return what does not work where the broker refuses a filter."""
    below = topic_filter.removeprefix(f"{base}/")
    if below in _PURPOSES:
        return _PURPOSES[below]
    if below.endswith("/request/+"):
        return "requests to this bridge are not received"
    if below != topic_filter:
        return f"retained messages at {topic_filter} are not read, and are published again"
    if below.endswith("/config"):
        return f"discovery documents at {topic_filter} are not read, and are published again"
    return f"birth messages of a hub at {topic_filter} are not received"


def limit(refused: Collection[str], asked: Collection[str]) -> str | None:
    """Return what the filters that are refused have in common; None where that is not plain."""
    taken = [one for one in asked if one not in refused]
    most = max((one.count("/") for one in taken), default=0)
    if taken and all(one.count("/") > most for one in refused):
        return f"no more than {most + 1} levels in a topic filter"
    return None
