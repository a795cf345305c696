"""Topics of ours that others have written to, until they are looked at; time is an argument."""

from math import inf

LOOK_S = 1.0
"""How long further writing is waited for."""
PAUSE_S = 10.0
"""The least time from one repair of a topic to the next: nobody is fought with."""
MOST = 50_000
FLOOD = 200
"""So many writings are no slip: a broker may have dropped some of what it had to tell."""
CALM_S = 2.0
"""How long a flood must be over before all is looked at."""
ECHO_S = 5.0
"""How late a broker may return what we published, where it does not keep that from us."""
_MOST_SENT = 1_000


class Overwritten:
    """What others wrote last, by topic; seconds are of one monotonic clock."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, bytes]] = {}
        self._mended: dict[str, float] = {}
        self._heard = 0
        self._heard_s = 0.0
        self._sent: set[str] | None = None
        """What is written while it is looked at what the broker holds; None at other times."""
        self._recent: dict[tuple[str, int], float] = {}
        """When we have published last what has this hash, by topic and hash, the oldest first."""
        self._latest: dict[str, int] = {}
        """The hash of what we have published last, by topic."""
        self._returns_ours = False

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
        if self._is_echo(topic, payload, now_s):
            return
        if self._sent is None:
            self.hear(topic, payload, now_s)
        elif topic not in self._sent:
            self.note(topic, payload, now_s)

    def _is_echo(self, topic: str, payload: bytes, now_s: float) -> bool:
        """Return whether what came is ours, of just now.

        What is older than our last counts as that only where the broker has returned such before.
        """
        one = topic, hash(payload)
        if self._recent.get(one, -inf) < now_s - ECHO_S:
            return False
        if self._latest.get(topic) == one[1]:
            self._returns_ours = True
            return True
        return self._returns_ours

    def sent(self, topic: str, payload: bytes = b"", now_s: float = -inf) -> None:
        """Note that we have written a topic ourselves."""
        if now_s > -inf:
            one = topic, hash(payload)
            self._recent.pop(one, None)
            self._recent[one] = now_s
            self._latest[topic] = one[1]
            if len(self._recent) > _MOST_SENT:
                oldest = next(iter(self._recent))
                del self._recent[oldest]
                if self._latest.get(oldest[0]) == oldest[1]:
                    del self._latest[oldest[0]]
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
        self._recent.clear()
        self._latest.clear()
        self._returns_ours = False
        self._heard = 0
