"""Messages that are not part of the tree: answers, and news of the bridge; both bounded."""

from collections import deque

from bridge.tree.messages import Publication

ANSWER_EXPIRY_S = 60
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""The most that all answers that wait have together, 1 KiB counted for each beside its content."""

MAX_HAPPENINGS = 1000
"""The most of what happens at devices that waits."""

_OVERHEAD_BYTES = 1024


class Outbox:
    """Answers wait for a broker for a minute, news not at all; answers go first.

    What happens at devices is news too, behind those of the bridge. At most 32 MiB of answers, each
    counted with 1 KiB more, 200 news and 1,000 of what happens wait; the oldest go when more come.
    """

    def __init__(self) -> None:
        self._answers: deque[tuple[float, Publication]] = deque()
        self._answer_bytes = 0
        self._news: deque[Publication] = deque(maxlen=200)
        self._happenings: deque[Publication] = deque(maxlen=MAX_HAPPENINGS)

    def __len__(self) -> int:
        return len(self._answers) + len(self._news) + len(self._happenings)

    def answer(self, publication: Publication, now_s: float) -> None:
        """Hand in an answer to a command."""
        self._answers.append((now_s, publication._replace(expiry_s=ANSWER_EXPIRY_S)))
        self._answer_bytes += _size(publication)
        while self._answer_bytes > MAX_ANSWER_BYTES:
            self._pop_answer()

    def tell(self, publication: Publication) -> None:
        """Hand in news, which only those who listen now are to hear."""
        self._news.append(publication)

    def happen(self, publication: Publication) -> None:
        """Hand in what has happened at a device, likewise."""
        self._happenings.append(publication)

    def drop_news(self) -> None:
        """Forget news: nobody hears them any more."""
        self._news.clear()
        self._happenings.clear()

    def take(self, now_s: float) -> Publication | None:
        """Return the next message, or None; answers that nobody waits for any more are dropped."""
        while self._answers:
            since_s, publication = self._pop_answer()
            if now_s - since_s <= ANSWER_EXPIRY_S:
                return publication
        news = self._news or self._happenings
        return news.popleft() if news else None

    def _pop_answer(self) -> tuple[float, Publication]:
        since_s, publication = self._answers.popleft()
        self._answer_bytes -= _size(publication)
        return since_s, publication


def _size(publication: Publication) -> int:
    correlation = publication.correlation_data or b""
    return len(publication.payload) + len(publication.topic) + len(correlation) + _OVERHEAD_BYTES
