"""Topics of ours that others have written to, until they are looked at; time is an argument."""

LOOK_S = 1.0
"""How long further writing is waited for."""
PAUSE_S = 10.0
"""The least time from one repair of a topic to the next: nobody is fought with."""
MOST = 50_000
FLOOD = 200
"""So many writings are no slip: a broker may have dropped some of what it had to tell."""
CALM_S = 2.0
"""How long a flood must be over before all is looked at."""


class Overwritten:
    """What others wrote last, by topic; seconds are of one monotonic clock."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, bytes]] = {}
        self._mended: dict[str, float] = {}
        self._heard = 0
        self._heard_s = 0.0
        self._sent: set[str] | None = None
        """What is written while it is looked at what the broker holds; None at other times."""

    def __len__(self) -> int:
        return len(self._written)

    def note(self, topic: str, payload: bytes, now_s: float) -> None:
        """Note what somebody wrote, or nothing."""
        if topic in self._written or len(self._written) < MOST:
            at_s = max(now_s + LOOK_S, self._mended.get(topic, -PAUSE_S) + PAUSE_S)
            self._written[topic] = at_s, payload

    def hear(self, topic: str, payload: bytes, now_s: float) -> None:
        """Note likewise what the broker told by itself."""
        self._heard += 1
        self._heard_s = now_s
        self.note(topic, payload, now_s)

    def was_flood(self, now_s: float) -> bool:
        """Return whether there was so much that some may be missing; once for each flood."""
        if self._heard < FLOOD or now_s < self._heard_s + CALM_S:
            return False
        self._heard = 0
        return True

    def overhear(self, topic: str, payload: bytes, now_s: float) -> None:
        """Note what came: while it is looked at what the broker holds, that was asked for.

        It is older than what we have written since then.
        """
        if self._sent is None:
            self.hear(topic, payload, now_s)
        elif topic not in self._sent:
            self.note(topic, payload, now_s)

    def sent(self, topic: str) -> None:
        """Note that we have written a topic ourselves."""
        if self._written:
            self._written.pop(topic, None)
        if self._sent is not None:
            self._sent.add(topic)

    def begin_audit(self) -> None:
        """Begin to look at what the broker holds."""
        self._sent = set()

    def end_audit(self) -> frozenset[str]:
        """End that; return the topics that were written meanwhile."""
        sent, self._sent = frozenset(self._sent or ()), None
        return sent

    def take(self, now_s: float, most: int) -> list[tuple[str, bytes]]:
        """Return some topics that are to be looked at now, with what they hold, and forget them."""
        self._mended = {t: at_s for t, at_s in self._mended.items() if at_s > now_s - PAUSE_S}
        due = [(t, p) for t, (at_s, p) in self._written.items() if at_s <= now_s][:most]
        for topic, _ in due:
            del self._written[topic]
        return due

    def mended(self, topic: str, now_s: float) -> None:
        """Note that a topic is written again."""
        self._mended[topic] = now_s

    def clear(self) -> None:
        """Forget all: the broker is gone."""
        self._written.clear()
        self._heard = 0
