"""Devices that are about to be this instance's, and commands that wait until they are."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from bridge.tree.messages import Message

FIRST_S = 0.5
"""How long others may take to see a device that nobody has had before."""
YIELD_S = 2.0
"""How long an owner may take to say that it has left a device."""

_MOST_HELD = 32
_MOST_TAKEN = 1_000
_TAKEN_S = 5.0


def digest(message: Message) -> str:
    """Return by what two instances know the same command."""
    return sha256(message.topic.encode() + b"\0" + message.payload).hexdigest()[:32]


@dataclass(slots=True)
class Claim:
    """A device that is to be ours, from `due_s` on; `holder` has had it until now.

    What is `held` are commands that came meanwhile.
    """

    due_s: float
    holder: str | None
    held: list[tuple[str, Callable[[], None]]] = field(default_factory=list)

    def confirm(self, now_s: float, taken: Iterable[str]) -> None:
        """Take that the holder has left it; it has carried out the commands that are `taken`."""
        self.holder, self.due_s = None, now_s
        for one in taken:
            for number, (known, _) in enumerate(self.held):
                if known == one:
                    del self.held[number]
                    break

    def give_up_waiting(self, now_s: float) -> None:
        """Take that the holder does not answer: what came meanwhile may be done already."""
        self.holder, self.due_s = None, now_s
        self.held.clear()


class Handover:
    """Claims by the ids of root devices, and the commands that were taken just now."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self._taken: deque[tuple[float, str, str]] = deque(maxlen=_MOST_TAKEN)

    def hold(self, root: str, message: Message, do: Callable[[], None]) -> bool:
        """Have a command wait for a device; return whether that is about to be ours."""
        claim = self.claims.get(root)
        if claim is not None and len(claim.held) < _MOST_HELD:
            claim.held.append((digest(message), do))
        return claim is not None

    def took(self, root: str, message: Message, now_s: float) -> None:
        """Note that a command to a device of ours is carried out here."""
        self._taken.append((now_s, root, digest(message)))

    def taken(self, roots: Iterable[str], now_s: float) -> list[str]:
        """Return what whoever is about to own these need not carry out any more."""
        wanted = frozenset(roots)
        return [
            one for at_s, root, one in self._taken if root in wanted and at_s > now_s - _TAKEN_S
        ]

    def close(self) -> None:
        """Note that there is no broker: nothing is waited for."""
        self.claims.clear()
        self._taken.clear()
