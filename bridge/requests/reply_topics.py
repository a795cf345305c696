"""Where answers may go, besides the response topics of the tree."""

import re
from collections.abc import Sequence

_MAX_TOPIC_BYTES = 65_535
_MAX_TOPIC_LEVELS = 200
_NONCHARACTERS = "".join(f"{chr(n << 16 | 0xFFFE)}{chr(n << 16 | 0xFFFF)}" for n in range(17))
_NOT_IN_TOPIC = re.compile(rf"[+#\0-\x1F\x7F-\x9F\uD800-\uDFFF\uFDD0-\uFDEF{_NONCHARACTERS}]")


def reply_allowed(topic: str, base: str, patterns: Sequence[str]) -> bool:
    """Return whether an answer may go to this response topic.

    It must lie under `<base>/reply/`, or outside the base and match one of the topic filters in
    `patterns` (MQTT 5.0, section 4.7): an answer is no command. Never one that begins with `$`,
    is no topic name (sections 1.5.4, 4.7.3), or has control characters or over 200 levels.
    """
    # mosquitto 2.0 drops the connection of a client that publishes with one of the latter.
    if not topic or topic[0] == "$" or _NOT_IN_TOPIC.search(topic):
        return False
    if len(topic.encode()) > _MAX_TOPIC_BYTES or topic.count("/") >= _MAX_TOPIC_LEVELS:
        return False
    under = f"{base}/reply/"
    if topic.startswith(under) and topic != under:
        return True
    if topic.startswith(f"{base}/"):
        return False
    levels = topic.split("/")
    return any(_matches(pattern.split("/"), levels) for pattern in patterns)


def _matches(pattern: Sequence[str], levels: Sequence[str]) -> bool:
    if pattern[-1] == "#":
        pattern = pattern[:-1]
        levels = levels[: len(pattern)]
    return len(pattern) == len(levels) and all(
        wanted in ("+", level) for wanted, level in zip(pattern, levels, strict=True)
    )
