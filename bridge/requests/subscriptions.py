"""What each subscription is for, and what the broker's refusal of some says of its limits."""

from collections.abc import Collection

_PURPOSES = {
    "+/call": "calls to <udn>/call are not received",
    "+/+/action/+/call": "calls to …/action/<Action>/call are not received",
    "bridge/+/state": "whether other bridges are online is not known",
    "+": "what is held of devices is not read, nor what other bridges write",
    "bridge/#": "what is held of bridges is not read",
    "bridge/all/request/+": "requests to all bridges are not received",
} | {
    f"+/+/value/+{place}/{verb}": f"{verb} of values {kind} is not received"
    for verb in ("set", "get")
    for place, kind in (
        ("", "without an InstanceID"),
        ("/+", "with an InstanceID"),
        ("/+/+", "with an InstanceID and a channel"),
    )
}


def purpose(topic_filter: str, base: str) -> str:
    """Return what does not work where the broker refuses a filter."""
    below = topic_filter.removeprefix(f"{base}/")
    if below in _PURPOSES:
        return _PURPOSES[below]
    if below.endswith("/request/+"):
        return "requests to this bridge are not received"
    if below != topic_filter:
        return f"what is held at {topic_filter} is not read, and is published anew"
    if below.endswith("/config"):
        return f"what a hub was told at {topic_filter} is not read, and is published anew"
    return f"a hub's start is not heard of at {topic_filter}"


def limit(refused: Collection[str], asked: Collection[str]) -> str | None:
    """Return what the filters that are refused have in common; None where that is not plain."""
    taken = [one for one in asked if one not in refused]
    most = max((one.count("/") for one in taken), default=0)
    if taken and all(one.count("/") > most for one in refused):
        return f"no more than {most + 1} levels in a topic filter"
    return None
