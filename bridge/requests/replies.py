"""Answers to commands: which topics each goes to. There is exactly one for every command."""

from collections.abc import Callable, Mapping, Sequence

from bridge.errors import Code, Outcome
from bridge.formats import jsontext
from bridge.publishing import Publishing
from bridge.requests.envelope import Envelope
from bridge.requests.reply_topics import reply_allowed
from bridge.tree.messages import Message, Publication

Answer = Callable[[Message, Envelope | None, str, Mapping[str, object]], None]
"""Answers a command, with its envelope where that could be read, on its topic of the tree."""


class Replies:
    """Sends answers; `filters` are the topic filters that callers may be answered on.

    `on_answer` is told of each.
    """

    def __init__(
        self,
        publishing: Publishing,
        filters: Sequence[str],
        on_answer: Callable[[Publication], None] = lambda _: None,
    ) -> None:
        self._publishing = publishing
        self._on_answer = on_answer
        self._filters = filters

    def __call__(
        self,
        message: Message,
        envelope: Envelope | None,
        topic: str,
        document: Mapping[str, object],
    ) -> None:
        """Answer on `topic`, and where the caller asked for it as far as that is allowed."""
        answer = Publication(
            topic,
            self._encode(document),
            retain=False,
            content_type="application/json",
            correlation_data=message.correlation_data,
        )
        base = self._publishing.shape.base
        wishes = (message.response_topic, envelope and envelope.reply_to)
        others = {wish for wish in wishes if wish and reply_allowed(wish, base, self._filters)}
        self._on_answer(answer)
        if message.answered is not None:
            message.answered(answer)
        self._publishing.reply(answer)
        for other in sorted(others - {topic}):
            self._publishing.reply(answer._replace(topic=other))

    def _encode(self, document: Mapping[str, object]) -> bytes:
        """Return an answer's payload; of one that the broker would not take, that it is so."""
        payload, limit = jsontext.encode(document), self._publishing.broker_limit
        if limit is None or len(payload) <= limit:
            return payload
        short: dict[str, object] = {
            name: document[name] for name in ("callid", "service", "action") if name in document
        }
        return jsontext.encode(
            short
            | {
                "success": False,
                "error": f"the answer has {len(payload)} bytes, but the broker accepts {limit}",
                "code": Code.INTERNAL,
                "outcome": Outcome.UNKNOWN,
            }
        )
