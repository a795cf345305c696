"""A broker's tree against the naive one, by the standard library alone."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.simulation import naive_tree
from tests.simulation.naive_tree import Place, Served, Tree, Value

_OWN = "upnp/bridge/main"
_INFO = {"version", "started", "instance", "settings", "capabilities"}
_RIVAL = re.compile(r"another device has the same UDN, at [\d., ]+: it is not shown")
_UNREAD = re.compile(r"[^:]+: no SCPD: .+")
_TYPES = ("string", "boolean", "i4", "r8")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


@dataclass(frozen=True, slots=True)
class Away:
    """A device that is away: its ids, and what it may have served at any time.

    `past` has the texts of its values, by the path of the event URL and by place.
    """

    ids: tuple[str, ...]
    server: str
    files: Sequence[Mapping[str, bytes]]
    past: Mapping[tuple[str, Place], set[str]]
    is_forgotten: bool


def faults(
    held: Mapping[str, bytes],
    up: Sequence[Served],
    away: Sequence[Away],
    *,
    has_state: bool,
    limit: int,
) -> Iterator[str]:
    """Yield what of a broker's tree is not as it should be, one line each.

    `held` is what is retained without that of others; a longer payload than `limit` is in chunks.
    """
    tree: Tree = {}
    yield from _join(held, limit, tree)
    own = {topic: tree.pop(topic) for topic in tuple(tree) if topic.startswith(f"{_OWN}/")}
    wanted: Tree = {}
    rows = []
    for device in up:
        one = naive_tree.write(device, has_state=has_state)
        wanted |= one
        rows.append(naive_tree.row(one))
    for gone in away:
        mine = {topic: tree.pop(topic) for topic in tuple(tree) if topic.split("/")[1] in gone.ids}
        wrong = list(_left_behind(gone, mine))
        yield from wrong
        if mine and not wrong:
            rows.append(naive_tree.row(mine))
    yield from _bridge(own, rows)
    for topic in sorted(tree.keys() | wanted.keys()):
        found, asked = tree.get(topic), wanted.get(topic)
        if topic.endswith("/state"):
            is_same = _state(found, is_held=True) == _state(asked, is_held=False)
        else:
            is_same = found == asked
        if not is_same:
            yield f"{topic}: held {found!r}, wanted {asked!r}"


def _join(held: Mapping[str, bytes], limit: int, tree: Tree) -> Iterator[str]:
    """Put what is in chunks together."""
    parts = {topic: payload for topic, payload in held.items() if "/chunk/" in topic}
    for topic, payload in held.items():
        if len(payload) > limit:
            yield f"{topic}: {len(payload)} bytes"
        if topic in parts:
            continue
        tree[topic] = payload
        if payload.startswith(b'{"chunks":'):
            told = _object(payload)
            names = [f"{topic}/chunk/{number + 1}" for number in range(told.get("chunks", 0))]
            whole = b"".join(parts.pop(name, b"") for name in names)
            count, digest = len(whole), hashlib.sha256(whole).hexdigest()
            if told != {"chunks": len(names), "bytes": count, "sha256": digest} or count <= limit:
                yield f"{topic}: {payload!r} are not its chunks"
            tree[topic] = whole
    yield from (f"{topic} is no chunk of anything" for topic in parts)


def _object(payload: bytes | None) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    try:
        found = json.loads(payload or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _bridge(own: Mapping[str, bytes], rows: Sequence[Mapping[str, object]]) -> Iterator[str]:
    if own.keys() != {f"{_OWN}/{name}" for name in ("state", "info", "devices", "health", "sees")}:
        yield f"the bridge has {sorted(own)}"
        return
    if own[f"{_OWN}/state"] != b"online":
        yield f"the bridge is {own[f'{_OWN}/state']!r}"
    if _object(own[f"{_OWN}/info"]).keys() != _INFO:
        yield f"info: {own[f'{_OWN}/info']!r}"
    found = json.loads(own[f"{_OWN}/devices"])
    for one in found:
        since = one.pop("offline_since", None)
        if (since is not None) != (one["availability"] == "offline"):
            yield f"{one['id']} is {one['availability']} since {since}"
        if since is not None and not _TIME.fullmatch(since):
            yield f"{one['id']} is offline since {since}"
    wanted = sorted(rows, key=lambda one: str(one["id"]))
    if json.dumps(found) != json.dumps(wanted):
        yield f"rows: held {found}, wanted {wanted}"


def _left_behind(gone: Away, mine: Tree) -> Iterator[str]:
    """Yield what of a device that is away is not as it once was.

    It may have less: where it and the bridge died, not all of it has been published.
    """
    top = f"upnp/{gone.ids[0]}"
    if mine and (gone.is_forgotten or top not in mine):
        yield f"{top} is {'forgotten' if gone.is_forgotten else 'missing'}, not {sorted(mine)}"
    if top not in mine:
        return
    location = _object(mine[top]).get("location", "")
    read = [*gone.files]
    if any(_UNREAD.fullmatch(one) for held in mine.values() for one in _problems(held)):
        read += [
            {path: text for path, text in files.items() if path == urlsplit(location).path}
            for files in gone.files
        ]
    known = [naive_tree.write(Served(location, gone.server, files, {}, {})) for files in read]
    for topic, payload in mine.items():
        head, _, place = topic.partition("/value/")
        if topic.endswith("/availability"):
            right = payload == b"offline"
        elif place:
            past = _past(gone, mine, head, tuple(map(unquote, place.split("/"))))
            right = payload.decode() in map(naive_tree.text, past)
        elif topic.endswith("/state"):
            head = topic.removesuffix("/state")
            state = _object(payload)
            right = state.keys() == {"values", "instances", "updated"} and all(
                json.dumps(value) in map(json.dumps, _past(gone, mine, head, at))
                for at, value in naive_tree.places(state)
            )
        else:
            right = _without_passing(payload) in [one.get(topic) for one in known]
            right &= topic.count("/") > 1 or f"{topic}/availability" in mine
        if not right:
            yield f"{topic}: {payload!r} was never so"


def _problems(document: bytes) -> list[str]:
    return list(_object(document).get("problems", ()))


def _without_passing(document: bytes) -> bytes:
    """Leave out the lines on others that had the UDN meanwhile, and on SCPDs that got lost."""
    lines = [
        one for one in _problems(document) if not (_RIVAL.fullmatch(one) or _UNREAD.fullmatch(one))
    ]
    told = {name: value for name, value in _object(document).items() if name != "problems"}
    return naive_tree.written(told | ({"problems": lines} if lines else {}))


def _past(gone: Away, mine: Tree, service: str, place: Place) -> list[Value]:
    """Return all that a value has ever been."""
    path = urlsplit(_object(mine.get(service)).get("event_url", "")).path
    variable = _object(mine.get(f"{service}/variable/{naive_tree.levels(place[:1])}"))
    # Where the SCPD got lost, the value may be from a time when it had not.
    types = [variable["data_type"]] if "data_type" in variable else _TYPES
    past = gone.past.get((path, place), ())
    return [naive_tree.read(data_type, text) for data_type in types for text in past]


def _state(payload: bytes | None, *, is_held: bool) -> str | None:
    """Write `state` in one order of its keys; its time must be one, and is left out."""
    if not payload:
        return None
    state = _object(payload)
    if is_held and not _TIME.fullmatch(state.pop("updated", "")):
        return "no time"
    return json.dumps(state, sort_keys=True)
