"""What goes to the broker and what comes from it. Topics here are whole: the base is in them."""

from collections.abc import Callable
from typing import NamedTuple


class Publication(NamedTuple):
    """A message for the broker; an empty payload with `retain` clears the topic.

    `content_type`, `correlation_data` and `expiry_s` travel with MQTT 5 only (its section 3.3.2.3).
    What goes `in_bulk` is one of many, for which nobody waits.
    """

    topic: str
    payload: bytes
    retain: bool = True
    qos: int = 1
    content_type: str | None = None
    correlation_data: bytes | None = None
    expiry_s: int | None = None
    in_bulk: bool = False


class Message(NamedTuple):
    """A message from the broker; MQTT 3.1.1 knows no response topic and no correlation data.

    One that came otherwise has `answered`, which is handed its one answer too.
    """

    topic: str
    payload: bytes
    retain: bool
    response_topic: str | None = None
    correlation_data: bytes | None = None
    answered: Callable[[Publication], None] | None = None
