"""Devices that are about to be this instance's, and commands that wait until they are."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from math import inf

from bridge.tree.instances import JOINING_S
from bridge.tree.messages import Message

FIRST_S = 0.5
"""How long others may take to see a device that nobody has had before."""
YIELD_S = 2.0
"""How long an owner may take to say that it has left a device."""

_MOST_HELD = 32
_MOST_TAKEN = 1_000
_TAKEN_S = 5.0
_AGAIN_S = 1.0


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
    """Claims by the ids of root devices, and the commands that were taken just now.

    Those that others have taken while nothing was heard of them are known for some seconds.
    """

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self._taken: deque[tuple[float, str, str]] = deque(maxlen=_MOST_TAKEN)
        self._done: Counter[str] = Counter()
        self._done_until_s = -inf
        self._told: tuple[list[str], float] | None = None

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

    def news(self, now_s: float) -> list[str] | None:
        """Return what was taken last, whenever that was; None where that was told just now."""
        taken = [one for _, _, one in self._taken]
        if (told := self._told) and told[0] == taken and now_s < told[1] + _AGAIN_S:
            return None
        self._told = taken, now_s
        return taken

    def hear_done(self, taken: Iterable[str], now_s: float) -> None:
        """Note what another instance has taken while nothing was heard of it."""
        if now_s > self._done_until_s:
            self._done.clear()
        self._done.update(islice(taken, _MOST_TAKEN))
        self._done_until_s = now_s + JOINING_S

    def was_done(self, message: Message, now_s: float) -> bool:
        """Return whether another instance has taken a command; once for each time it has."""
        if now_s > self._done_until_s or not self._done[one := digest(message)]:
            return False
        self._done[one] -= 1
        return True

    def close(self) -> None:
        """Note that there is no broker: nothing is waited for."""
        self.claims.clear()
        self._taken.clear()
        self._told = None
        self._done.clear()
