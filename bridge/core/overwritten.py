"""Topics of ours that others have written to, until they are looked at; time is an argument."""

LOOK_S = 1.0
"""How long further writing is waited for."""
PAUSE_S = 10.0
"""The least time from one repair of a topic to the next: nobody is fought with."""
MOST = 50_000


class Overwritten:
    """What others wrote last, by topic; seconds are of one monotonic clock."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, bytes]] = {}
        self._mended: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._written)

    def note(self, topic: str, payload: bytes, now_s: float) -> None:
        """Note what somebody wrote, or nothing."""
        if topic in self._written or len(self._written) < MOST:
            at_s = max(now_s + LOOK_S, self._mended.get(topic, -PAUSE_S) + PAUSE_S)
            self._written[topic] = at_s, payload

    def sent(self, topic: str) -> None:
        """Note that we have written a topic ourselves."""
        self._written.pop(topic, None)

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
