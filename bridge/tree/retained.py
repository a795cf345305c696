"""What a broker holds under the base topic, sorted: whose it is, and what it says of devices.

Retained payloads may come from anyone: nothing here trusts their form.
"""

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from bridge.formats import jsontext
from bridge.model import topics


class RetainedTree:
    """The retained tree below `base`, as the bridge `instance` reads it.

    `own` has the topics of the bridge itself. `owners` has the instance that each device's document
    names, by id, `online` the instances that are, and `sees` what others say that they see. `roots`
    are the ids of our devices whose root is whole, by the id of that. `claimed` are the ids of all
    devices of ours: the table of devices may name some whose document is gone, since documents are
    cleared first.

    Outside the base, `own_outside` are topics of the bridge itself, and `outside` gives those of a
    device by its id.
    """

    def __init__(
        self,
        held: Mapping[str, bytes] | None = None,
        *,
        base: str,
        instance: str,
        own_outside: Iterable[str] = (),
        outside: Callable[[str], Iterable[str]] = lambda _: (),
    ) -> None:
        self._base = base
        self._instance = instance
        self._own_outside = frozenset(own_outside)
        self._outside = outside
        self._elsewhere: dict[str, bytes] = {}
        self._groups: dict[str, dict[str, bytes]] = {}
        self.own: dict[str, bytes] = {}
        self.owners: dict[str, str] = {}
        self.online: set[str] = set()
        self.sees: dict[str, bytes] = {}
        self.rows: dict[str, dict[str, object]] = {}
        self.roots: dict[str, list[str]] = {}
        self.claimed: set[str] = set()
        if held is not None:
            for topic, payload in held.items():
                self.take(topic, payload)
            for _ in self.sort():
                pass

    def sort(self) -> Generator[None, None, None]:
        """Sort all that was taken, in pieces; before that nothing is known."""
        self.rows = {row["id"]: row for row in self._table()}
        for device in {*self._groups, *self.rows}:
            for topic in self._outside(device):
                if topic in self._elsewhere:
                    self._groups.setdefault(device, {})[topic] = self._elsewhere[topic]
        for number, device in enumerate(self._groups):
            if number % _SORTED_AT_ONCE == 0:
                yield
            self._sort_in(device)
        self.roots = {root: mine for root, mine in self.roots.items() if root in mine}
        for root, row in self.rows.items():
            for device in (root, *strings(row.get("subdevices"))):
                if device in self._groups and device not in self.owners:
                    self.claimed.add(device)

    def _sort_in(self, device: str) -> None:
        document = self.document(device)
        owner, root = document.get("bridge"), document.get("root", device)
        if document.get("id") == device and isinstance(owner, str):
            self.owners[device] = owner
            if owner == self._instance and isinstance(root, str):
                self.roots.setdefault(root, []).append(device)
                self.claimed.add(device)

    @property
    def named(self) -> frozenset[str]:
        """The ids of all devices that documents or our own table speak of, whosever they are."""
        heads = (
            device
            for device, group in self._groups.items()
            if group.get(f"{self._base}/{device}", b"").startswith(_HEAD)
        )
        listed = (device for row in self.rows.values() for device in strings(row.get("subdevices")))
        return frozenset(
            device
            for device in (*self.owners, *heads, *self.rows, *listed)
            if topics.is_level(device)
        )

    def group(self, device: str) -> Mapping[str, bytes]:
        """Return what stands at and below a device's topic and is of a mirror's form."""
        return self._groups.get(device, {})

    def groups(self, devices: Sequence[str]) -> Mapping[str, bytes]:
        """Return the groups of these devices as one; of a single device, nothing is copied."""
        if len(devices) == 1:
            return self.group(devices[0])
        return {topic: held for device in devices for topic, held in self.group(device).items()}

    def document(self, device: str) -> dict[str, object]:
        """Return a device's document; empty where there is none to be read."""
        document = jsontext.read(join_parts(self.group(device), f"{self._base}/{device}"))
        return document if isinstance(document, dict) else {}

    def take(self, topic: str, payload: bytes) -> None:
        """Take in one topic that the broker holds."""
        base = self._base
        if not topic.startswith(f"{base}/"):
            if topic in self._own_outside:
                self.own[topic] = payload
            self._elsewhere[topic] = payload
            return
        whole = topic[len(base) + 1 :]
        first, _, rest = whole.partition("/")
        if first == "bridge":
            bridge, _, name = rest.partition("/")
            if name == "state" and payload == b"online":
                self.online.add(bridge)
            elif bridge == self._instance and name.partition("/")[0] not in _NOT_OURS:
                self.own[topic] = payload
            elif name == "sees":
                self.sees[bridge] = payload
        elif first != "reply" and topics.is_mirrored(whole) and is_ours(whole, payload):
            self._groups.setdefault(first, {})[topic] = payload

    def _table(self) -> list[dict[str, Any]]:
        (table,) = [topic for topic in self.own if topic.endswith("/devices")] or [""]
        rows = jsontext.read(join_parts(self.own, table))
        return [
            row
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict) and isinstance(row.get("id"), str)
        ]


_SORTED_AT_ONCE = 20
_HEAD = b'{"chunks":'
_PART = re.compile(r"/chunk/[0-9]+\Z")
_NOT_OURS = frozenset({"state", "request", "response"})


def is_ours(whole: str, payload: bytes) -> bool:
    """Return whether a payload fits the id where it stands; others may keep notes beside ours."""
    if whole.count("/") != 1 or whole.endswith(("/availability", "/media", "/art")):
        return True
    return payload.startswith((_HEAD, b'{"id":"%s"' % whole.encode()))


def strings(value: object) -> list[str]:
    """Return the strings of a JSON array; none where it is something else."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def whole_payloads(held: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what a broker holds with all payloads whole: no parts, and none that belongs to none.

    Where parts are missing or not of one payload, they and what tells of them stay as they are.
    """
    whole = {topic: payload for topic, payload in held.items() if not _PART.search(topic)}
    for topic, payload in tuple(whole.items()):
        if payload.startswith(_HEAD):
            joined = join_parts(held, topic)
            if joined is not None:
                whole[topic] = joined
                continue
            numbers = range(1, min(_count(payload), len(held)) + 1)
            parts = (topics.chunk_id(topic, number) for number in numbers)
            whole |= {part: held[part] for part in parts if part in held}
    return whole


def _count(head: bytes) -> int:
    """Return in how many parts a payload says that it is, 0 where it does not."""
    document = jsontext.read(head)
    count = document.get("chunks") if isinstance(document, dict) else None
    return count if isinstance(count, int) else 0


def join_parts(held: Mapping[str, bytes], topic: str) -> bytes | None:
    """Return the payload of a topic from what a broker holds, put together where it was cut.

    None where there is nothing, or parts are missing or not of one payload.
    """
    payload = held.get(topic)
    if payload is None or not payload.startswith(_HEAD):
        return payload
    head = jsontext.read(payload)
    if not isinstance(head, dict) or not isinstance(head.get("chunks"), int):
        return payload
    if head["chunks"] > len(held):
        return None
    numbers = range(1, head["chunks"] + 1)
    whole = b"".join(held.get(topics.chunk_id(topic, number), b"") for number in numbers)
    return whole if sha256(whole).hexdigest() == head.get("sha256") else None
