"""The mirror: what devices do becomes the wanted tree, and what of it is still to publish.

Nothing here knows how a description was fetched or how a payload travels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from bridge.core import jsontext, lastchange, topics, values
from bridge.core.branch import Branch, LiveService, Shape
from bridge.core.holdings import Holdings, join_parts, whole_payloads
from bridge.core.hub_news import HubNews
from bridge.core.ledger import Entry, Ledger
from bridge.core.model import Description, Device
from bridge.core.players import Players
from bridge.core.polling import MOVES
from bridge.core.presence import duplicates
from bridge.core.roster import Roster
from bridge.core.state import Change, Key, typed
from bridge.core.values import Value

_AT_ONCE = 8
"""How many devices' trees are published side by side; of the others none is computed meanwhile."""

_MAX_FORGOTTEN = 10_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """A device that the broker's tree names: where it was when it was last seen.

    `duplicates` are the hosts of others that had its UDN too.
    """

    udn: str
    location: str
    server: str | None
    duplicates: tuple[str, ...] = ()


class Mirror:
    """The branches of the wanted tree and the ledger of what the broker lacks of them."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._own: dict[str, bytes] = {}
        self._table = shape.topic(f"bridge/{shape.instance}/devices")
        self._table_due = False
        self._leaving: list[dict[str, object]] = []
        self._forgotten: dict[str, None] = {}
        """Roots of which a broker may remember what is not to come back."""
        self._players = Players()
        self._news = HubNews()
        self._introduced: list[Branch] = []
        self._roster = Roster()
        self._uncompared: dict[str, Mapping[str, bytes]] = {}
        """What the broker holds of branches, by id, that are to be compared with it."""
        self.branches: Mapping[str, Branch] = self._roster.branches
        self.on_transport: Callable[[str], None] = lambda _: None
        """Told the id of a service whose player plays otherwise, or something else."""
        self.on_happenings: Callable[[str, Sequence[lastchange.Happening]], None] = (
            lambda _service, _happened: None
        )
        """Told the id of a service, and what has happened that is no value of a variable."""
        self.ledger = Ledger(shape.foreword)

    @property
    def waiting(self) -> int:
        """How many topics are to be published, a device of which that is not known yet as one."""
        return len(self.ledger) + len(self._uncompared)

    # What devices do

    def join(self, description: Description, *, owned: bool = True) -> Branch:
        """Mirror a device that was described, in place of what was known of it.

        One that was not known is not `owned` where another instance mirrors it.
        """
        description = self._roster.without_claimed(description)
        branch = Branch.of(description, self._shape.plan)
        branch.owned = owned
        holders = filter(None, map(self._roster.holder, branch.devices))
        for other in {holder.id: holder for holder in holders if holder.id != branch.id}.values():
            self.forget(other)  # it is gone, and what it was made of is another's now
        old = self.branches.get(branch.id)
        held = self._uncompared.get(branch.id) if old else {}
        before = self._wanted(old) if old and held is None and self.ledger.is_open else {}
        if old is not None:
            branch.owned = old.owned
            branch.shown, branch.held_by_hubs = old.shown, old.held_by_hubs
            for live in branch.services.values():
                if live.id in old.services:
                    live.state = old.services[live.id].state
                else:
                    live.state.remember(self._shape.held_state(live, old.kept))
            self._drop(old)
        self._enter(branch)
        if branch.owned and self.ledger.is_open:
            if old and not set(old.devices) <= set(branch.devices):
                self._leaving.append(old.row)
                self._write_table()
            if held is None:
                self._compare(branch, self.ledger.cut(before))
            else:
                self._uncompared[branch.id] = held
        return branch

    def leave(self, udn: str, now: str) -> Branch | None:
        """Mark a root device as offline, keeping all that is known of it; None if it was so."""
        branch = self.branches.get(topics.device_id(udn))
        if branch is None or branch.online is False:
            return None
        branch.online = False
        branch.offline_since = branch.offline_since or now
        branch.refresh_row()
        self._table_due = True
        if branch.owned and branch.id not in self._uncompared:
            for topic, payload in self._shape.availability(branch):
                if branch.kept.get(topic) != payload:
                    self.ledger.put(topic, payload, of=branch.id)
        return branch

    def forget(self, branch: Branch) -> None:
        """Clear every topic of a device, its document first."""
        self._forgotten[branch.id] = None
        if len(self._forgotten) > _MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]
        if branch.owned and self.ledger.is_open:
            self._leaving.append(branch.row)
            self._table_due = True
            self._write_table()
            held = self._uncompared.get(branch.id)
            self._clear(branch.id, self.ledger.cut(self._wanted(branch)) if held is None else held)
        self._drop(branch)

    def clear_remains(self, devices: Mapping[str, Mapping[str, bytes]]) -> None:
        """Clear what another instance has left of these devices, by id, their documents first."""
        for device, held in devices.items():
            self._clear(device, held)

    def tell(
        self, service_id: str, properties: Iterable[tuple[str, str]], *, initial: bool, now: str
    ) -> bool:
        """Take in the properties of an event; False where a `LastChange` could not be read.

        An initial event is all that the service has (UDA 2.0, section 4.1.2); what happened is
        nothing new then.
        """
        branch = self._roster.holder(service_id.partition("/")[0])
        live = branch.services.get(service_id) if branch else None
        if branch is None or live is None:
            return True
        happened: list[lastchange.Happening] = []
        told, readable = lastchange.read_event(properties, happened)
        changes = live.state.apply(
            typed(told, live.readers),
            whole=initial and readable,
            now=now,
            asked_for=live.untold,
        )
        if initial and branch.shown is None:
            self._note_for_hubs(branch)
        self._publish(branch, live, changes)
        if happened and branch.owned and not initial:
            self.on_happenings(live.id, happened)
        return readable

    def tell_asked(
        self, service_id: str, told: Iterable[tuple[Key, str]], *, now: str, regularly: bool = False
    ) -> None:
        """Take in values that a service was asked for.

        What it is asked for `regularly` only while its events do not come lasts until they do.
        """
        branch = self._roster.holder(service_id.partition("/")[0])
        live = branch.services.get(service_id) if branch else None
        if branch is not None and live is not None:
            answers = typed(told, live.readers)
            passing = {key.name for key in answers} - live.untold if regularly else frozenset()
            changes = live.state.take_answers(answers, now=now, passing=passing)
            self._publish(branch, live, changes)

    # What the broker does

    def open(
        self, holdings: Holdings, limit: int, is_anothers: Callable[[str], bool]
    ) -> tuple[Remembered, ...]:
        """Compare all with what the broker holds under the base topic, and go on from there.

        Payloads over `limit` bytes are cut. Devices that are another instance's, by id, are
        left alone. The devices that the broker remembers as ours become branches, and are
        returned to be looked for, but for those that were forgotten since this program started.
        """
        ledger, shape = self.ledger, self._shape
        ledger.open(limit)
        remembered = tuple(self._remember(holdings))
        for topic in shape.own_hub_topics():
            self._own.pop(topic, None)
        for hub in shape.hubs:
            self._own.update(hub.own(limit))
        for topic in (self._table, shape.topic(f"bridge/{shape.instance}/health")):
            if payload := join_parts(holdings.own, topic):
                self._own.setdefault(topic, payload)
        ledger.reconcile(holdings.own, self._own)
        gone = [device for device in holdings.claimed if self._roster.holder(device) is None]
        self._leaving = [{"id": device} for device in gone]
        self._table_due = True
        self._write_table()
        for device in gone:
            self._clear(device, holdings.group(device))
        for branch in self.branches.values():
            branch.owned = not is_anothers(branch.id)
            if branch.owned:
                mine = holdings.groups(branch.devices)
                for live in branch.services.values():
                    live.state.remember(shape.held_state(live, mine))
                self._uncompared[branch.id] = mine
        return remembered

    def close(self) -> None:
        """Note that there is no broker."""
        self.ledger.close()
        self._uncompared.clear()

    def take(self, now_s: float = inf, *, is_leaving: bool = False) -> tuple[str, Entry] | None:
        """Return the next topic to publish and what it should hold; the table of devices last.

        What a player is now comes behind all else, at most ten times a second, and then what hubs
        are told of what has changed, unless the bridge `is_leaving`; see `due_s`.
        """
        while self._uncompared and self.ledger.owners < _AT_ONCE:
            device = next(iter(self._uncompared))
            self._compare(self.branches[device], self._uncompared.pop(device))
        due = self.ledger.take()
        if due is None and self._players:
            self._tell_players(now_s)
            due = self.ledger.take()
        if due is None and not is_leaving:
            self._tell_hubs(now_s)
            due = self.ledger.take()
        if due is None and (self._leaving or self._table_due):
            self._leaving.clear()
            self._table_due = True
            self._write_table()
            due = self.ledger.take()
        return due

    @property
    def due_s(self) -> float | None:
        """When the next player or hub is due that is told of too often to be told of now."""
        known = [at_s for at_s in (self._players.due_s, self._news.due_s) if at_s is not None]
        return min(known, default=None)

    def take_introduced(self) -> list[Branch]:
        """Return the devices that hubs have been told of for the first time, and forget them."""
        introduced, self._introduced = self._introduced, []
        return introduced

    def put_own(self, name: str, payload: bytes) -> None:
        """Set a retained document of the bridge itself."""
        topic = self._shape.topic(f"bridge/{self._shape.instance}/{name}")
        was = self._own.get(topic, b"")
        if was != payload:
            self._own[topic] = payload
            self.ledger.put(topic, payload, was=len(was))

    def announce(self, ids: Iterable[str] | None = None) -> int:
        """Publish again these components with all below them, or all; return how many topics.

        Hubs are told of root devices again too. A device may be named in any spelling of its UDN.
        Raises KeyError with the first id not known.
        """
        chosen: dict[str, dict[str, bytes]] = {}
        if ids is None:
            chosen = {b.id: self._wanted(b) for b in self.branches.values() if b.owned}
            chosen[""] = dict(self._own)
        else:
            for one in ids:
                device, *below = one.split("/")
                device = self._roster.id_of(device) or device
                holder = self._roster.holder(device)
                own = "/".join((device, *below))
                top = self._shape.topic(own)
                wanted = self._wanted(holder) if holder and holder.owned else {}
                found = {t: p for t, p in wanted.items() if f"{t}/".startswith(f"{top}/")}
                if not found or not holder:
                    raise KeyError(one)
                named = self._shape.hub_topics(own)
                found |= {t: wanted[t] for t in named if t in wanted}
                chosen[holder.id] = chosen.get(holder.id, {}) | found
        for of, tree in chosen.items():
            self._put_all(tree, of)
        return sum(map(len, chosen.values()))

    def introduce(self, now_s: float = -inf) -> int:
        """Tell hubs of everything again, then publish what they take from the tree.

        Returns how many topics that is. What changes within a minute of now is told them again
        after that.
        """
        count = 0
        self._news.begin(now_s)
        for hub in self._shape.hubs:
            trees = [("", hub.own_topics(), self._own)]
            trees += [
                (branch.id, hub.topics(branch.id), self._wanted(branch))
                for branch in self.branches.values()
                if branch.owned
            ]
            for of, names, tree in trees:
                told = {topic: tree[topic] for topic in names if topic in tree}
                named = {one for payload in told.values() for one in hub.sources(payload)}
                told |= {one: tree[one] for one in sorted(named) if one in tree}
                self._put_all(told, of)
                count += len(told)
        return count

    # What other instances do

    def yield_to_another(self, branch: Branch) -> None:
        """Leave a device's topics, as they are, to another instance."""
        branch.owned = False
        self._uncompared.pop(branch.id, None)
        self._table_due = True

    def take_back(self, branch: Branch) -> None:
        """Publish the whole of a device again, since another instance has left it."""
        branch.owned = True
        self._table_due = True
        self._put_all(self._wanted(branch), branch.id)
        self._note_for_hubs(branch)

    # Looking up

    def find(self, udn: str) -> tuple[Branch, Device | None] | None:
        """Return a device by any spelling of its UDN, root or embedded, with its branch.

        The device itself is None while it has not been described.
        """
        return self._roster.find(udn)

    def id_of(self, named: str) -> str | None:
        """Return the id of a device by any spelling of that or of its UDN; None for no device."""
        return self._roster.id_of(named)

    def find_bare(self, udn: str) -> tuple[Branch, Device | None] | None:
        """Return a device by its UDN as devices have it, without `uuid:`, in any case."""
        return self._roster.find_bare(udn)

    # Within

    def _publish(self, branch: Branch, live: LiveService, changes: Sequence[Change]) -> None:
        """Note what a service's changed values change in the tree."""
        player = branch.players.get(live.id)
        if live.moves != live.state.moves:
            live.moves = live.state.moves
            self._note_for_hubs(branch)
        if player and any(change.key.name in MOVES for change in changes):
            self.on_transport(live.id)
        if not (changes and branch.owned and self.ledger.is_open) or branch.id in self._uncompared:
            return
        if self._shape.mode != "document":
            for key, old, new in changes:
                topic = self._shape.value_topic(live, key)
                self.ledger.put(topic, _payload(new), was=len(_payload(old)), of=branch.id)
        if self._shape.mode != "values":
            topic = self._shape.state_topic(live)
            self.ledger.promise(topic, live.document, was=live.state_length, of=branch.id)
        if player is not None:
            self._players.note(branch, player)

    def _tell_players(self, now_s: float = inf) -> None:
        """Note what players are now whose values have changed, and which are due.

        Not with each event: to read what plays takes longer than all else of an event.
        """
        for branch, player in self._players.take(now_s):
            if branch.owned and self.branches.get(branch.id) is branch:
                was, art = player.told, player.art
                if player.payload() != was:
                    player.told_s = now_s if now_s < inf else player.told_s
                    topic = self._shape.topic(player.id)
                    self.ledger.put(topic, player.told, was=len(was), of=branch.id)
                if player.art != art:
                    topic = self._shape.topic(player.art_id)
                    self.ledger.put(topic, player.art, was=len(art), of=branch.id)

    def _compare(self, branch: Branch, held: Mapping[str, bytes]) -> None:
        """Note what the broker lacks of a branch, by what it holds of it."""
        self._meet_hubs(branch, held)
        wanted = self._wanted(branch)
        for topic in self._shape.hub_topics(branch.id):
            if topic in held and wanted.get(topic) != held[topic]:
                self._news.changed(topic, branch.id, held[topic])
        if max(map(len, wanted.values()), default=0) > self.ledger.limit:
            self._write_table()
        self.ledger.reconcile(held, wanted, of=branch.id)
        for topic, _ in self._shape.availability(branch):
            self.ledger.postpone(topic)

    def _meet_hubs(self, branch: Branch, held: Mapping[str, bytes]) -> None:
        """Keep what hubs were told of a device until it is known to be wrong.

        That is when its first values are there; mostly it is right already.
        """
        if branch.description is None:
            return
        self._note_for_hubs(branch)
        if branch.shown is not None:
            return
        shape = self._shape
        topics_ = (one for one in shape.hub_topics(branch.id) if shape.is_kept(one))
        branch.held_by_hubs = {topic: held[topic] for topic in topics_ if topic in held}
        if branch.held_by_hubs:
            branch.shown = branch.keys()
            if shape.told_to_hubs(branch, self.ledger.limit) != branch.held_by_hubs:
                branch.shown = None

    def _note_for_hubs(self, branch: Branch) -> None:
        if self._shape.hubs:
            self._news.note(branch)

    def _tell_hubs(self, now_s: float) -> None:
        """Note what hubs are to be told of devices that are due, and what they may have missed."""
        limit, shape = self.ledger.limit, self._shape
        for branch, keys in self._news.take(now_s):
            if self.branches.get(branch.id) is not branch or branch.description is None:
                continue
            before = shape.told_to_hubs(branch, limit)
            if branch.shown is None:
                self._introduced.append(branch)
            branch.shown, branch.held_by_hubs = keys, {}
            if branch.owned and branch.id not in self._uncompared:
                after = shape.told_to_hubs(branch, limit)
                for topic, payload in before.items():
                    if after.get(topic) != payload:
                        self._news.changed(topic, branch.id, payload)
                self.ledger.reconcile(before, after, of=branch.id)
        for topic, (device, held) in self._news.take_missed(now_s).items():
            holder = self.branches.get(device)
            if holder is None or holder.owned:
                wanted = shape.told_to_hubs(holder, limit).get(topic, b"") if holder else b""
                self.ledger.put_after(topic, held, wanted, of=device)

    def _put_all(self, tree: Mapping[str, bytes], of: str) -> None:
        for topic, payload in tree.items():
            self.ledger.put(topic, payload, of=of)

    def _wanted(self, branch: Branch) -> dict[str, bytes]:
        self._tell_players()
        self.ledger.keep_promises()
        return self._shape.wanted(branch, self.ledger.limit)

    def _clear(self, device: str, held: Mapping[str, bytes]) -> None:
        """Clear what a device has: its document, what hubs were told of it, and then the rest.

        A hub that still knew the device would take what is cleared for values.
        """
        for topic in self._shape.hub_topics(device):
            self._news.changed(topic, device, held.get(topic, b""))
        first = (self._shape.topic(device), *self._shape.hub_topics(device))
        rest = {topic: payload for topic, payload in held.items() if topic not in first}
        self.ledger.clear({topic: held[topic] for topic in first if topic in held}, of=device)
        self.ledger.clear(rest, of=device)

    def _write_table(self) -> None:
        """Put the table of devices first in line, if it is not what it should be.

        It must name a device before topics are there that no document claims, and until all of
        them are cleared: by it, what a crash leaves behind is known as ours.
        """
        if self._table_due and self.ledger.is_open:
            self._table_due = False
            rows = [branch.row for _, branch in sorted(self.branches.items()) if branch.owned]
            payload = jsontext.encode(rows + self._leaving)
            self.put_own("devices", payload)
            self.ledger.prefer(self._table, len(payload))

    def _remember(self, holdings: Holdings) -> Iterator[Remembered]:
        """Make branches of the devices of ours that the broker holds and we have not met."""
        for root, devices in holdings.roots.items():
            document = holdings.document(root)
            udn, location = document.get("udn"), document.get("location")
            if self._roster.holder(root) is not None or root in self._forgotten:
                continue
            if not isinstance(udn, str) or not isinstance(location, str):
                continue
            mine = dict.fromkeys((root, *devices))
            free = tuple(device for device in mine if self._roster.holder(device) is None)
            kept = {
                topic: payload
                for topic, payload in whole_payloads(holdings.groups(free)).items()
                if self._shape.is_kept(topic)
            }
            row = holdings.rows.get(root, {"id": root})
            since, server = row.get("offline_since"), document.get("server")
            branch = Branch(root, free, kept=kept, row=row)
            branch.offline_since = since if isinstance(since, str) else None
            self._enter(branch)
            yield Remembered(
                topics.bare_udn(udn),
                location,
                server if isinstance(server, str) else None,
                duplicates.read(document.get("problems")),
            )

    def _enter(self, branch: Branch) -> None:
        self._forgotten.pop(branch.id, None)
        self._roster.enter(branch)
        self._table_due = True

    def _drop(self, branch: Branch) -> None:
        self._roster.drop(branch)
        self._news.drop(branch.id)
        self._uncompared.pop(branch.id, None)
        self._table_due = True


def _payload(value: Value | None) -> bytes:
    return b"" if value is None else values.write(value).encode()
