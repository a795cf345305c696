"""Which of the bridges under one base topic owns a device; time is an argument.

All bridges hear the same messages, and what they conclude is a function of those alone: of the
instances that are up and see a device, the one with the highest hash owns it (rendezvous hashing).
So a change of those that are up moves only what it must. What others write is not trusted.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import inf

from bridge.formats import jsontext
from bridge.model import topics
from bridge.tree.retained import strings

SILENCE_S = 15.0
"""How long an instance may be silent until it counts as dead."""

JOINING_S = 5.0
"""How long it is waited for what one that was missing has done; that long it counts."""

MOST_SEEN = 100_000
"""Devices that one instance may see, and documents that are remembered."""
_MOST = 256
"""Instances that are remembered: payloads come from anyone."""
_SIGNS = ("sees", "beat")


@lru_cache(maxsize=1 << 16)
def weight(device: str, instance: str) -> bytes:
    """Return what is compared: of those that see a device, the highest owns it."""
    return sha256(f"{device}\0{instance}".encode()).digest()


def highest(device: str, instances: Iterable[str]) -> str | None:
    """Return which of these instances owns a device that all of them see; None of none."""
    return max(instances, key=lambda one: weight(device, one), default=None)


def read_sees(payload: bytes) -> frozenset[str] | None:
    """Return the ids of `sees`, None where it is no such document."""
    document = jsontext.read(payload)
    if not isinstance(document, dict) or not isinstance(document.get("devices"), list):
        return None
    return frozenset(strings(document["devices"][:MOST_SEEN]))


def write_sees(devices: Iterable[str]) -> bytes:
    """Return the `sees` document of these ids."""
    return jsontext.encode({"devices": sorted(devices)})


@dataclass(slots=True)
class Instance:
    """What is known of an instance.

    One that `has_come` has told what it sees, or has beaten, since it was offline: it may be about
    to be online. One that never told what it `sees` is of an older version. One that `is_missing`
    went without a word: it hangs, is dead, or lives at a broker that is cut off from ours. When it
    is heard again, others wait until `awaited_until_s` for what it has done meanwhile.
    """

    is_online: bool = False
    has_come: bool = False
    sees: frozenset[str] | None = None
    heard_s: float = 0.0
    is_missing: bool = False
    awaited_until_s: float = -inf

    @property
    def is_up(self) -> bool:
        """Whether it takes part: from its first sign of life until its `offline`."""
        return self.is_online or self.has_come

    def may_have(self, device: str | None) -> bool:
        """Return whether it may carry out commands to a device, or to any where that is None."""
        return device is None or self.sees is None or device in self.sees


class Instances:
    """All instances, this one included as the broker tells of it, and whom documents name.

    `is_settled` is false at the beginning of a session while others may still say that they are
    there.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._known: dict[str, Instance] = {}
        self._named: dict[str, str] = {}
        self.is_settled = True

    def begin(
        self,
        online: Iterable[str],
        sees: Mapping[str, bytes],
        owners: Mapping[str, str],
        now_s: float,
    ) -> None:
        """Take over what a broker holds, in place of all that was known.

        It tells nothing of this instance, which has just come: what it said is of before.
        """
        self._known = {self._instance: Instance(sees=frozenset(), heard_s=now_s)}
        up = frozenset(online)
        for name in sorted({*up, *sees} - {self._instance})[: _MOST - 1]:
            seen = read_sees(sees.get(name, b""))
            self._known[name] = Instance(name in up, sees=seen, heard_s=now_s)
        self._named = dict(owners)

    # What is heard

    def hear(
        self, instance: str, name: str, payload: bytes, now_s: float, *, is_old: bool = False
    ) -> AbstractSet[str] | None:
        """Take in a message at a topic of an instance's own; what `is_old` was there before.

        Returns the ids of the devices that it may move, None for all.
        """
        one = self._known.get(instance)
        if one is None:
            if len(self._known) >= _MOST or name not in ("state", *_SIGNS):
                return frozenset()
            one = self._known[instance] = Instance()
        silent_s = now_s - one.heard_s
        if one.is_missing:
            one.is_missing, one.awaited_until_s = False, now_s + JOINING_S
        if not is_old:
            one.heard_s = now_s
        was_up, seen = one.is_up, one.sees
        if name == "state":
            is_dead = was_up and payload != b"online" and silent_s > SILENCE_S / 2
            one.is_missing = is_dead and instance != self._instance
            one.is_online = payload == b"online"
            one.has_come = one.has_come and is_old
            if one.is_up and not was_up:
                one.heard_s = now_s
        elif name == "sees":
            one.sees = read_sees(payload)
        if name in _SIGNS and not is_old:
            one.has_come = True
        if one.is_up != was_up or (seen is None) != (one.sees is None):
            return None
        return (seen or frozenset()) ^ (one.sees or frozenset())

    def hear_document(self, device: str, payload: bytes) -> None:
        """Take in a device's document."""
        document = jsontext.read(payload)
        owner = document.get("bridge") if isinstance(document, dict) else None
        if not payload:
            self._named.pop(device, None)
        else:
            self.note_owner(device, owner if isinstance(owner, str) else "")

    def note_owner(self, device: str, owner: str) -> None:
        """Note whom a device's document names, or is about to."""
        if len(self._named) < MOST_SEEN or device in self._named:
            self._named[device] = owner

    def spare(self, now_s: float) -> None:
        """Count nobody as silent: this process itself was held up, and has heard nothing."""
        for one in self._known.values():
            one.heard_s = now_s

    # Who is there

    @property
    def is_alone(self) -> bool:
        """Whether no other instance is up."""
        return not any(one.is_up for name, one in self._known.items() if name != self._instance)

    @property
    def knows_others(self) -> bool:
        """Whether there is or was another instance."""
        return len(self._known) > 1

    @property
    def others(self) -> Mapping[str, Instance]:
        """The other instances that are up, by name."""
        known = sorted(self._known.items())
        return {name: one for name, one in known if one.is_up and name != self._instance}

    def is_up(self, instance: str) -> bool:
        """Return whether an instance takes part."""
        return instance in self._known and self._known[instance].is_up

    def seen_by(self, instance: str) -> AbstractSet[str]:
        """Return the ids of the devices that an instance sees."""
        known = self._known.get(instance)
        return (known.sees if known is not None else None) or frozenset()

    def sees(self, device: str) -> bool:
        """Return whether the broker has told that this instance sees a device."""
        return device in self.seen_by(self._instance)

    def silent(self, now_s: float) -> tuple[str, ...]:
        """Return the instances that are dead, where it is this one's part to say so.

        It is that of the first by name among the living. One of an older version does not beat:
        its will alone tells of its death.
        """
        dead = {
            name
            for name, one in self.others.items()
            if one.sees is not None and now_s - one.heard_s > SILENCE_S
        }
        living = self.others.keys() - dead
        return tuple(sorted(dead)) if all(self._instance < one for one in living) else ()

    def owned_by(self, instance: str) -> int:
        """Return how many devices' documents name an instance."""
        return sum(owner == instance for owner in self._named.values())

    def is_missing(self, instance: str) -> bool:
        """Return whether an instance went without a word."""
        return instance in self._known and self._known[instance].is_missing

    def is_missed(self, device: str | None) -> bool:
        """Return whether one is missing that may have a device, or any where that is None."""
        return any(one.is_missing and one.may_have(device) for one in self._known.values())

    def is_awaited(self, device: str | None, now_s: float) -> bool:
        """Return whether one that was missing is still to say what it has done to a device."""
        return any(
            now_s < one.awaited_until_s and one.may_have(device) for one in self._known.values()
        )

    def hear_done(self, instance: str) -> None:
        """Note that an instance has said what it has done."""
        if instance in self._known:
            self._known[instance].awaited_until_s = -inf

    # Whose a device is

    def holder(self, device: str) -> str | None:
        """Return the other instance, one that is up, that a device's document names."""
        named = self._named.get(device)
        known = self._known.get(named) if named is not None else None
        return named if known is not None and known.is_up and named != self._instance else None

    def is_ours(self, device: str) -> bool:
        """Return whether a device's document names this instance."""
        return self._named.get(device) == self._instance

    def is_named(self, device: str) -> bool:
        """Return whether the broker has a document of a device."""
        return device in self._named

    def is_kept(self, device: str) -> bool:
        """Return whether a device is one of an older version, which leaves nothing to others."""
        holder = self.holder(device)
        return holder is not None and self._known[holder].sees is None

    def owner(self, device: str) -> str | None:
        """Return the instance that owns a device, None where nobody does yet.

        One of an older version keeps what it has. What nobody sees stays with whom its document
        names, or falls to the first by name.
        """
        if self.is_alone:
            return self._instance
        if self.is_kept(device):
            return self.holder(device)
        up = [name for name, one in self._known.items() if one.is_up]
        seers = [name for name in up if device in self.seen_by(name)]
        if seers:
            return highest(device, seers)
        named = self._named.get(device)
        if named is None or named in up:
            return named
        return min(up)

    def may_move(self, device: str) -> bool:
        """Return whether an instance that does not see a device yet would own it if it did."""
        own = weight(device, self._instance)
        return any(
            weight(device, name) > own and one.sees is not None and device not in one.sees
            for name, one in self.others.items()
        )

    def has(self, named: str) -> bool:
        """Return whether another instance, one that is up, has a device that is named so."""
        others = self.others
        if not others:
            return False
        keys = topics.udn_keys(topics.decode_level(named))
        return any(
            topics.udn_key(topics.decode_level(device)) in keys
            for device in {
                *(device for device, owner in self._named.items() if owner in others),
                *(device for one in others.values() for device in one.sees or ()),
            }
        )

    def answers_elsewhere(self, named: str) -> bool:
        """Return whether another instance answers for a device, as it is named, that we lack."""
        return not self.answers_for_all or self.has(named)

    @property
    def answers_for_all(self) -> bool:
        """Whether it is this bridge's part to answer for devices that nobody knows."""
        online = [name for name, one in self._known.items() if one.is_online]
        return self.is_alone or (bool(online) and min(online) == self._instance)
