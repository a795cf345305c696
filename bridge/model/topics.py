"""Addresses and topics, both ways: the only place that builds a topic or takes one apart.

An *id* is a topic without the base. It names a component for ever: it holds the UDN, the
service's topic level and names from the SCPD, and nothing that a restart could change.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, unquote

MAX_LEVEL = 512
"""The most characters that an encoded name may have, so that every topic fits MQTT's limit."""

_AT_ROOT = frozenset({"bridge", "reply"})
_AT_DEVICE = frozenset({"availability", "media", "art", "player", "call", "response", "chunk"})
_AT_VALUE = frozenset({"set", "get", "chunk"})
_MOST_PREFIXES = 3
_SERVICE_ID = ":serviceId:"
_LEVEL = re.compile(rf"[A-Za-z0-9_.:~%-]{{1,{MAX_LEVEL}}}")


def encode_level(name: str, reserved: frozenset[str] = frozenset()) -> str:
    """Return a name as one topic level.

    Bytes of UTF-8 other than letters, digits and `-_.:~` become `%XX`; a name that is reserved
    has its first letter written so.
    """
    encode = _remembered if len(name) <= MAX_LEVEL else _encode  # as long as a body may be
    return encode(name, reserved)


def _encode(name: str, reserved: frozenset[str]) -> str:
    level = quote(name, safe=":", errors="replace")
    return f"%{ord(level[0]):02X}{level[1:]}" if level in reserved else level


_remembered = lru_cache(maxsize=8192)(_encode)


def is_level(text: str) -> bool:
    """Return whether a text may be a level as `encode_level` writes it, not too long."""
    return _LEVEL.fullmatch(text) is not None


def decode_level(level: str) -> str:
    """Return the name that a topic level stands for."""
    return unquote(level, errors="replace")


def bare_udn(written: str) -> str:
    """Return a UDN as devices and documents write it without its `uuid:`, whatever its case.

    That is taken off once, where the UDN comes in: what is left may begin so again.
    """
    written = written.strip()
    return written[5:].strip() if written[:5].lower() == "uuid:" else written


def udn_key(bare: str) -> str:
    """Return the key under which a UDN without its `uuid:` is equal in any case."""
    return bare.casefold()


def udn_keys(named: str) -> tuple[str, ...]:
    """Return the keys that somebody may mean who names a device, as it stands first.

    An id may begin with `uuid:` too, where the UDN has it twice; and who puts it before an id may
    put it there once more.
    """
    keys = {udn_key(named): None}
    for _ in range(_MOST_PREFIXES):
        named = bare_udn(named)
        keys[udn_key(named)] = None
    return tuple(keys)


def service_levels(service_ids: Iterable[str]) -> Iterator[str]:
    """Yield the topic level of each service of one device, in order, no two alike.

    What follows `:serviceId:`, else the last part; the whole serviceId where that is taken; and
    where even that is taken, the whole with `~2`, `~3` and so on behind it.
    """
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for service_id in service_ids:
        _, found, tail = service_id.partition(_SERVICE_ID)
        level = encode_level(tail if found and tail else service_id.split(":")[-1], _AT_DEVICE)
        if level in taken or not level:
            level = encode_level(service_id, _AT_DEVICE)
        whole = level
        while level in taken or not level:
            counts[whole] += 1
            level = f"{whole}~{counts[whole] + 1}"
        taken.add(level)
        yield level


def device_id(udn: str) -> str:
    """Return the id of a device, from its UDN without `uuid:`."""
    return encode_level(udn, _AT_ROOT)


def service_id(device: str, level: str) -> str:
    """Return the id of a service, from its device's id and its level."""
    return f"{device}/{level}"


def variable_id(service: str, name: str) -> str:
    """Return the id of a state variable, from its service's id."""
    return f"{service}/variable/{encode_level(name)}"


def action_id(service: str, name: str) -> str:
    """Return the id of an action, from its service's id."""
    return f"{service}/action/{encode_level(name)}"


def argument_id(action: str, name: str) -> str:
    """Return the id of an argument, from its action's id."""
    return f"{action}/argument/{encode_level(name)}"


def availability_id(device: str) -> str:
    """Return where a device's `online` or `offline` stands."""
    return f"{device}/availability"


def media_id(device: str) -> str:
    """Return where the JSON of a player in one piece stands."""
    return f"{device}/media"


def art_id(device: str) -> str:
    """Return where the address of the picture of what a player shows stands."""
    return f"{device}/art"


def response_id(device: str) -> str:
    """Return where the answers to a device's commands go."""
    return f"{device}/response"


def event_id(service: str) -> str:
    """Return where it is told what happens at a service that is no value."""
    return f"{service}/event"


def state_id(service: str) -> str:
    """Return where the JSON of all values of a service stands."""
    return f"{service}/state"


@lru_cache(maxsize=8192)
def value_id(
    service: str, name: str, instance: str | None = None, channel: str | None = None
) -> str:
    """Return where one value stands; with InstanceID and channel where `LastChange` named them."""
    levels = [f"{service}/value/{encode_level(name)}"]
    if instance is not None:
        levels.append(encode_level(instance, _AT_VALUE))
        if channel is not None:
            levels.append(encode_level(channel, _AT_VALUE))
    return "/".join(levels)


def chunk_id(whole: str, number: int) -> str:
    """Return where part `number` (from 1) of an over-long payload stands."""
    return f"{whole}/chunk/{number}"


def read_value_id(service: str, whole: str) -> tuple[str, str | None, str | None] | None:
    """Return name, InstanceID and channel of a value's id; None for any other id."""
    prefix = f"{service}/value/"
    levels = whole.removeprefix(prefix).split("/") if whole.startswith(prefix) else []
    match [decode_level(level) for level in levels]:
        case [name]:
            return name, None, None
        case [name, instance] if levels[1] not in _AT_VALUE:
            return name, instance, None
        case [name, instance, channel] if not _AT_VALUE & set(levels[1:]):
            return name, instance, channel
    return None


def is_mirrored(whole: str) -> bool:
    """Return whether an id may stand below a device: no command, no answer."""
    levels = whole.split("/")
    if len(levels) > 2 and levels[-2] == "chunk":  # noqa: PLR2004 - a part, and what it is part of
        levels = levels[:-2]
    match levels:
        case [_] | [_, "availability" | "media" | "art"] | [_, _, "state"]:
            return True
        case [_, service]:
            return service not in _AT_DEVICE
        case [_, _, "variable" | "action", _] | [_, _, "action", _, "argument", _]:
            return True
        case [_, _, "value", _, *rest]:
            return len(rest) <= 2 and not _AT_VALUE & set(rest)  # noqa: PLR2004 - see value_id
    return False
