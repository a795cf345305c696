"""The mirror: what devices do becomes the wanted tree, and what of it is still to publish.

Nothing here knows how a description was fetched or how a payload travels.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from math import inf
from typing import TypeVar

from bridge.formats import jsontext
from bridge.model import datatypes, lastchange, topics
from bridge.model.datatypes import Value
from bridge.model.device import Description, Device, Key
from bridge.polling.plan import MOVES
from bridge.tree import duplicates
from bridge.tree.announcing import Announcing
from bridge.tree.device_tree import Shape
from bridge.tree.difference import UNKNOWN, TreeDifference
from bridge.tree.hub_telling import HubTelling
from bridge.tree.ledger import Entry, Ledger
from bridge.tree.media_pace import MediaPace
from bridge.tree.mirrored_device import LiveService, MirroredDevice, Player
from bridge.tree.observing import Observed
from bridge.tree.repair import Repair
from bridge.tree.retained import RetainedTree, join_parts, strings, whole_payloads
from bridge.tree.root_devices import RootDevices
from bridge.tree.service_state import Change, typed

_Result = TypeVar("_Result")

_AT_ONCE = 8
"""How many devices' trees are published side by side; of the others none is computed meanwhile."""

_LIVE_IN_A_ROW = 8
"""How many topics that changed just now go before one of those that only have to be told of."""

_PIECE = 32
"""How many topics are computed in one piece where there are many."""

_MAX_FORGOTTEN = 10_000


@dataclass(frozen=True, slots=True)
class RememberedDevice:
    """A device that the broker's tree names: where it was when it was last seen.

    `duplicates` are the hosts of others that had its UDN too.
    """

    udn: str
    location: str
    server: str | None
    duplicates: tuple[str, ...] = ()


class Mirror:
    """The root devices of the wanted tree and the ledger of what the broker lacks of them.

    `on_transport` is told the id of a service whose player plays otherwise, or something else;
    `on_happenings` that of a service, and what has happened that is no value of a variable.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        on_transport: Callable[[str], None] = lambda _: None,
        on_happenings: Callable[[str, Sequence[lastchange.Happening]], None] = lambda *_: None,
    ) -> None:
        self.shape = self._shape = shape
        self._own: dict[str, bytes] = {}
        self._table = shape.topic(f"bridge/{shape.instance}/devices")
        self._table_due = False
        self._leaving: dict[str, dict[str, object]] = {}
        """The rows of what is still to be cleared, by the ids of roots."""
        self._forgotten: dict[str, None] = {}
        """Roots of which a broker may remember what is not to come back."""
        self._players = MediaPace()
        self._root_devices = RootDevices()
        self._differences: dict[str, TreeDifference] = {}
        """By the ids of root devices, of which some may be forgotten."""
        self._introduction: Iterator[int] | None = None
        self._turn = 0
        self._live_in_a_row = 0
        self.took_in_bulk = False
        """Whether what was taken last is of those topics that change nothing that was just told."""
        self.moves = 0
        """Grows whenever topics are there, or are not, that were not so before."""
        self.comings = 0
        """Grows whenever a device is there, or is not, that was not so before."""
        self.mirrored_devices: Mapping[str, MirroredDevice] = self._root_devices.mirrored_devices
        self._on_transport = on_transport
        self._on_happenings = on_happenings
        self.observed = Observed()
        self._presence = b"offline"
        self.ledger = Ledger(shape.interim_document)
        self.repair = Repair(shape, self.ledger, self._root_devices, self._differences, self._own)
        self.announcing = Announcing(shape, self.ledger, self._root_devices, self._own)
        self.hub_telling = HubTelling(shape, self.ledger, self._root_devices, self._differences)

    @property
    def waiting(self) -> int:
        """How many topics are to be published, a device of which that is not known yet as one."""
        return len(self.ledger) + len(self._differences) + (self._introduction is not None)

    @property
    def has_bulk(self) -> bool:
        """Whether something waits, or is to be computed, that may go behind what has changed."""
        return bool(self._leaving) or self._table_due or self._has_bulk_before_the_table

    @property
    def _has_bulk_before_the_table(self) -> bool:
        waiting = self._differences or self._introduction or self.hub_telling.is_busy
        return bool(waiting) or self.ledger.has_bulk

    # What devices do

    def join(self, description: Description, *, owned: bool = True) -> MirroredDevice:
        """Mirror a device that was described, in place of what was known of it.

        One that was not known is not `owned` where another instance mirrors it.
        """
        description = self._root_devices.without_claimed(description)
        old = self.mirrored_devices.get(topics.device_id(description.udn))
        if old is not None and old.description == description:
            self._return(old)
            return old
        mirrored = MirroredDevice.of(description, self._shape.plan)
        mirrored.owned = owned if old is None else old.owned
        for other in self._root_devices.holders(mirrored):
            self.forget(other)  # it is gone, and what it was made of is another's now
        self._tell_players()
        difference = self._differences.pop(mirrored.id, None)
        if old is not None:
            mirrored.shown, mirrored.held_by_hubs = old.shown, old.held_by_hubs
            self._take_over(old, mirrored)
            self._drop(old)
        self._enter(mirrored)
        if (observer := self.observed.observer) is not None and mirrored.owned:
            observer.device_changed(old, mirrored)
        if mirrored.owned and self.ledger.is_open:
            before: Iterable[tuple[str, bytes]] = ()
            gone = set(difference.devices) if difference else set()
            if old is not None:
                before = self._all_held(old, difference)
            elif difference is not None:
                before = difference.end()
            if old is not None and not set(old.devices) <= set(mirrored.devices):
                gone |= set(old.devices)
                self._keep_row(old)
            self._begin(mirrored, before, gone - set(mirrored.devices))
        return mirrored

    def _return(self, mirrored: MirroredDevice) -> None:
        """Note that a device is there again, as it was described before."""
        mirrored.online, mirrored.offline_since = True, None
        mirrored.refresh_row()
        self._enter(mirrored)
        self._tell_presence(mirrored)

    def _take_over(self, old: MirroredDevice, mirrored: MirroredDevice) -> None:
        """Take over the values of a device that is described in another way."""
        kept = self._shape.by_service(old.kept)
        for live in mirrored.services.values():
            if (before := old.services.get(live.id)) is not None:
                live.state, live.state_length = before.state, before.state_length
            else:
                held = self._shape.held_state(live, old.kept, kept.get(live.id, {}))
                live.state.remember(held)
        told = {player.id: player for player in old.players.values()}
        for player in mirrored.players.values():
            if (one := told.get(player.id)) is not None:
                player.told, player.told_s, player.art = one.told, one.told_s, one.art

    def _begin(
        self, mirrored: MirroredDevice, before: Iterable[tuple[str, bytes]], gone: AbstractSet[str]
    ) -> None:
        """Begin to publish a root device; what the broker holds is yielded by `before`."""
        mine = set(mirrored.devices)
        for other in self._differences.values():
            if shared := other.devices & mine:
                held = other.give_up(partial(self._is_of, shared))
                before = chain(before, held.items())
        self._differences[mirrored.id] = TreeDifference(
            mirrored.id,
            self.ledger,
            before=before,
            wanted=self._walk(mirrored),
            devices=gone,
            on_long=self._write_table,
        )

    def mark_offline(self, udn: str, now: str) -> MirroredDevice | None:
        """Mark a root device as offline, keeping all that is known of it; None if it was so."""
        mirrored = self.mirrored_devices.get(topics.device_id(udn))
        if mirrored is None or mirrored.online is False:
            return None
        mirrored.online = False
        self.comings += 1
        mirrored.offline_since = mirrored.offline_since or now
        mirrored.refresh_row()
        self._table_due = True
        self._tell_presence(mirrored)
        return mirrored

    def forget(self, mirrored: MirroredDevice) -> None:
        """Clear every topic of a device, its document first."""
        self._tell_players()
        self._forgotten[mirrored.id] = None
        if len(self._forgotten) > _MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]
        difference = self._differences.pop(mirrored.id, None)
        if (observer := self.observed.observer) is not None and mirrored.owned:
            observer.device_changed(mirrored, None)
        if mirrored.owned and self.ledger.is_open:
            self._keep_row(mirrored)
            own = (self._shape.topic(mirrored.id), *self._shape.hub_topics(mirrored.id))
            first = {topic: self._held(mirrored, difference, topic) for topic in own}
            unsure = self.ledger.discard(mirrored.id, but=own)
            before = self._all_held(mirrored, difference, unsure)
            self._clear(
                mirrored.id, {t: p for t, p in first.items() if p}, before, mirrored.devices
            )
        self._drop(mirrored)

    def clear_remains(self, devices: Mapping[str, Mapping[str, bytes]]) -> None:
        """Clear what another instance has left of these devices, by id, their documents first."""
        for device, held in devices.items():
            self._clear_all(device, held)

    def _held(
        self, mirrored: MirroredDevice, difference: TreeDifference | None, topic: str
    ) -> bytes | None:
        """Return what the broker holds of a root device at a topic, as far as that is known."""
        if difference is None:
            return self._shape.near(mirrored, topic, self.ledger.limit).get(topic)
        held = difference.held(topic)
        return UNKNOWN if held is None and difference.has_passed(topic) else held

    def _all_held(
        self,
        mirrored: MirroredDevice,
        difference: TreeDifference | None,
        unsure: AbstractSet[str] = frozenset(),
    ) -> Iterator[tuple[str, bytes]]:
        """End a root device's difference; yield what the broker holds when all that waits is taken.

        What is `unsure` is UNKNOWN: it waited, and never is taken.
        """
        if difference is None:
            walk = self._shape.walk(mirrored, self.ledger.limit)
            cut = chain.from_iterable(self.ledger.cut_one(*one) for one in walk)
            held: Iterable[tuple[str, bytes]] = ((topic, entry.payload) for topic, entry in cut)
        else:
            for live in mirrored.services.values():
                state = self._shape.state_topic(live)
                if difference.has_passed(state):  # where it is only promised, its parts have not
                    difference.passed(state, live.document())
            held = difference.end()
        known = (one for one in held if one[0] not in unsure)
        return chain(known, ((topic, UNKNOWN) for topic in sorted(unsure)))

    def apply_event(
        self, service_id: str, properties: Iterable[tuple[str, str]], *, initial: bool, now: str
    ) -> bool:
        """Take in the properties of an event; False where a `LastChange` could not be read.

        An initial event is all that the service has (UDA 2.0, section 4.1.2); what happened is
        nothing new then.
        """
        mirrored = self._root_devices.holder(service_id.partition("/")[0])
        live = mirrored.services.get(service_id) if mirrored else None
        if mirrored is None or live is None:
            return True
        happened: list[lastchange.Happening] = []
        told, readable = lastchange.read_event(properties, happened)
        changes = live.state.apply(
            typed(told, live.readers),
            whole=initial and readable,
            now=now,
            asked_for=live.spared,
        )
        if initial and mirrored.shown is None:
            self.hub_telling.note(mirrored)
        self._publish(mirrored, live, changes)
        if happened and mirrored.owned and not initial:
            self._on_happenings(live.id, happened)
        return readable

    def apply_answers(
        self, service_id: str, told: Iterable[tuple[Key, str]], *, now: str, regularly: bool = False
    ) -> None:
        """Take in values that a service was asked for.

        What it is asked for `regularly` only while its events do not come lasts until they do.
        """
        mirrored = self._root_devices.holder(service_id.partition("/")[0])
        live = mirrored.services.get(service_id) if mirrored else None
        if mirrored is not None and live is not None:
            answers = typed(told, live.readers)
            passing = {key.name for key in answers} - live.spared if regularly else frozenset()
            changes = live.state.take_answers(answers, now=now, passing=passing)
            self._publish(mirrored, live, changes)

    # What the broker does

    def open(
        self, retained_tree: RetainedTree, limit: int, is_anothers: Callable[[str], bool]
    ) -> tuple[RememberedDevice, ...]:
        """Compare all with what the broker holds under the base topic, and go on from there.

        Payloads over `limit` bytes are cut. Devices that are another instance's, by id, are
        left alone. The devices that the broker remembers as ours become root devices, and are
        returned to be looked for, but for those that were forgotten since this program started.
        """
        return at_once(self.opening(retained_tree, limit, is_anothers))

    def opening(
        self, retained_tree: RetainedTree, limit: int, is_anothers: Callable[[str], bool]
    ) -> Generator[None, None, tuple[RememberedDevice, ...]]:
        """Do what `open` does, in pieces between which devices may say anything."""
        ledger, shape = self.ledger, self._shape
        compared: set[int] = set()
        for mirrored in tuple(self.mirrored_devices.values()):
            yield from self._remember_values(mirrored, retained_tree)
            compared.add(id(mirrored))
        ledger.open(limit)
        remembered = tuple(self._remember(retained_tree))
        for topic in shape.own_hub_topics():
            self._own.pop(topic, None)
        for hub in shape.hubs:
            self._own.update(hub.own(limit))
        for topic in (self._table, shape.topic(f"bridge/{shape.instance}/health")):
            if payload := join_parts(retained_tree.own, topic):
                self._own.setdefault(topic, payload)
                self.observed.document_remembered(topic)
        ledger.reconcile(retained_tree.own, self._own)
        mine = (device for device in retained_tree.claimed if not is_anothers(device))
        gone = [device for device in mine if self._root_devices.holder(device) is None]
        self._leaving = {device: {"id": device} for device in gone}
        self._settle_owners(is_anothers)
        self._table_due = True
        self._write_table()
        for device in gone:
            self._clear_all(device, retained_tree.group(device))
        for mirrored in self.mirrored_devices.values():
            if id(mirrored) not in compared:
                at_once(self._remember_values(mirrored, retained_tree))
            if mirrored.owned:
                self._differences[mirrored.id] = TreeDifference(
                    mirrored.id,
                    ledger,
                    held=retained_tree.groups(mirrored.devices),
                    wanted=self._walk(mirrored),
                    on_long=self._write_table,
                )
        return remembered

    def _settle_owners(self, is_anothers: Callable[[str], bool]) -> None:
        observer = self.observed.observer
        for mirrored in self.mirrored_devices.values():
            was_owned, mirrored.owned = mirrored.owned, not is_anothers(mirrored.id)
            if observer is not None and was_owned != mirrored.owned:
                observer.device_changed(*((mirrored, None) if was_owned else (None, mirrored)))

    def _remember_values(
        self, mirrored: MirroredDevice, retained_tree: RetainedTree
    ) -> Generator[None, None, None]:
        """Take over what the broker holds of a device's values, in pieces."""
        of, by_service = "", dict[str, dict[str, bytes]]()
        for number, live in enumerate(tuple(mirrored.services.values())):
            device = live.id.partition("/")[0]
            held = retained_tree.group(device)
            if device != of:
                of, by_service = device, self._shape.by_service(held)
            values = by_service.get(live.id, {})
            known = self.observed.values_of(live)
            live.state.remember(self._shape.held_state(live, held, values))
            self.observed.values_remembered(mirrored, live, known)
            if number % _PIECE == 0:
                yield

    def close(self) -> None:
        """Note that there is no broker."""
        self.ledger.close()
        self._differences.clear()
        self._introduction = None
        self.hub_telling.close()

    def take(
        self,
        now_s: float = inf,
        *,
        in_bulk: bool = True,
        steps: int | None = None,
        is_leaving: bool = False,
    ) -> tuple[str, Entry] | None:
        """Return the next topic to publish and what it should hold; the table of devices last.

        What a player is now comes behind what else has just changed, at most ten times a second.
        All that only has to be told of goes behind that, and in the end what hubs are told of what
        has changed, unless the bridge `is_leaving`; see `due_s`. It goes if it may go `in_bulk` at
        all; where it has to be looked for, that many `steps` at most are made, and then None may
        mean that there is more, as `has_bulk` tells.
        """
        is_bulks_turn = (
            in_bulk and self._live_in_a_row >= _LIVE_IN_A_ROW and self._has_bulk_before_the_table
        )
        self.took_in_bulk = False
        if not is_bulks_turn and (due := self._take_live(now_s)) is not None:
            self._live_in_a_row += 1
            return due
        self._live_in_a_row = 0
        if not in_bulk:
            return None
        due = self._take_in_bulk(inf if is_leaving else now_s, steps, is_leaving=is_leaving)
        if due is None:
            due = self._take_live(now_s)  # what passed its turn to the bulk, or came of looking
        if due is not None or self._has_bulk_before_the_table:
            return due
        if self._leaving or self._table_due:
            self._leaving.clear()
            self._table_due = True
            self._write_table()
        return self.ledger.take()

    def _take_live(self, now_s: float) -> tuple[str, Entry] | None:
        due = self.ledger.take()
        if due is None and self._players:
            self._tell_players(now_s)
            due = self.ledger.take()
        return due

    def _take_in_bulk(
        self, now_s: float, steps: int | None, *, is_leaving: bool
    ) -> tuple[str, Entry] | None:
        left = inf if steps is None else steps
        while (due := self.ledger.take(in_bulk=True)) is None and left > 0:
            if steps is not None and (self._introduction or self.hub_telling.is_computing):
                left = 0  # what hubs are told takes longer
            if is_leaving:
                self.hub_telling.leave()
            if not self._step() and (is_leaving or not self.hub_telling.step(now_s)):
                return None
            left -= 1
            if self.ledger.has_live:  # to be there before what was put in bulk just now
                return self.ledger.take()
        self.took_in_bulk = due is not None
        return due

    def _step(self) -> bool:
        """Look at one more topic of those that may differ; return whether there was any."""
        self._turn += 1
        if self._introduction and (self._turn % 2 or not self._differences):
            if next(self._introduction, None) is None:
                self._introduction = None
            return True
        if self._differences:
            some = tuple(islice(self._differences.values(), _AT_ONCE))
            difference = some[self._turn // 2 % len(some)]
            if not difference.step():
                del self._differences[difference.of]
            return True
        return False

    @property
    def due_s(self) -> float | None:
        """When the next player or hub is due that is told of too often to be told of now."""
        known = [
            at_s
            for at_s in (self._players.due_s, self.hub_telling.schedule.due_s)
            if at_s is not None
        ]
        return min(known, default=None)

    def put_own(self, name: str, payload: bytes) -> None:
        """Set a retained document of the bridge itself."""
        topic = self._shape.topic(f"bridge/{self._shape.instance}/{name}")
        was = self._own.get(topic, b"")
        if was != payload:
            self._own[topic] = payload
            if (observer := self.observed.observer) is not None:
                observer.document_changed(topic)
            self.ledger.put(topic, payload, was=len(was))

    def set_presence(self, payload: bytes) -> None:
        """Note what the bridge has said of itself, `online` or `offline`."""
        if payload != self._presence:
            self._presence = payload
            if (observer := self.observed.observer) is not None:
                observer.document_changed(f"{self._shape.own}/state")

    def own_documents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the retained topics of the bridge itself, as they should be now."""
        yield f"{self._shape.own}/state", self._presence
        yield self._table, self.table()
        for topic, payload in tuple(self._own.items()):
            if topic.startswith(f"{self._shape.own}/") and topic != self._table:
                yield topic, payload

    def own_document(self, topic: str) -> bytes:
        """Return what a retained topic of the bridge itself should hold; empty for nothing."""
        return self._presence if topic == f"{self._shape.own}/state" else self._own.get(topic, b"")

    def table(self) -> bytes:
        """Return the table of devices as it should be now."""
        rows = {root: one.row for root, one in sorted(self.mirrored_devices.items()) if one.owned}
        for root, row in self._leaving.items():
            rows[root] = _naming_all(rows.get(root, row), row)
        return jsontext.encode(list(rows.values()))

    def introduce(self, now_s: float = -inf) -> None:
        """Tell hubs of everything again, and publish behind that what they take from the tree.

        From the beginning, where that is under way. In the end this bridge says again that it is
        online. What changes within a minute of now is told them again after that.
        """
        self.hub_telling.schedule.begin(now_s)
        self._introduction = self.announcing.to_hubs()

    # What other instances do

    def yield_to_another(self, mirrored: MirroredDevice) -> None:
        """Leave a device's topics, as they are, to another instance."""
        if (observer := self.observed.observer) is not None and mirrored.owned:
            observer.device_changed(mirrored, None)
        mirrored.owned = False
        self._differences.pop(mirrored.id, None)
        self.ledger.discard(mirrored.id)
        self._table_due = True
        known = [(live, self.observed.values_of(live)) for live in mirrored.services.values()]
        mirrored.forget_values()
        for live, before in known:
            self.observed.values_remembered(mirrored, live, before)

    def take_over(self, mirrored: MirroredDevice, retained_tree: RetainedTree) -> None:
        """Own a device, by what the broker holds of it: publish what differs from that.

        What is under way of it already is left to itself.
        """
        was_owned, mirrored.owned = mirrored.owned, True
        self._table_due = self._table_due or not was_owned
        if (observer := self.observed.observer) is not None and not was_owned:
            observer.device_changed(None, mirrored)
        if self.ledger.is_open and not (was_owned and mirrored.id in self._differences):
            at_once(self._remember_values(mirrored, retained_tree))
            self._differences.pop(mirrored.id, None)
            self._differences[mirrored.id] = TreeDifference(
                mirrored.id,
                self.ledger,
                held=retained_tree.groups(mirrored.devices),
                wanted=self._walk(mirrored),
                on_long=self._write_table,
            )

    # Looking up

    def find(self, udn: str) -> tuple[MirroredDevice, Device | None] | None:
        """Return a device by any spelling of its UDN, root or embedded, with its root device.

        The device itself is None while it has not been described.
        """
        return self._root_devices.find(udn)

    def holder(self, device: str) -> MirroredDevice | None:
        """Return the root device that a device, root or embedded, is of, by its id."""
        return self._root_devices.holder(device)

    def id_of(self, named: str) -> str | None:
        """Return the id of a device by any spelling of that or of its UDN; None for no device."""
        return self._root_devices.id_of(named)

    def find_bare(self, udn: str) -> tuple[MirroredDevice, Device | None] | None:
        """Return a device by its UDN as devices have it, without `uuid:`, in any case."""
        return self._root_devices.find_bare(udn)

    # Within

    def _publish(
        self, mirrored: MirroredDevice, live: LiveService, changes: Sequence[Change]
    ) -> None:
        """Note what a service's changed values change in the tree."""
        player = mirrored.players.get(live.id)
        self._note_moves(mirrored, live, changes)
        if player and any(change.key.name in MOVES for change in changes):
            self._on_transport(live.id)
        if not (changes and mirrored.owned and self.ledger.is_open):
            return
        difference = self._differences.get(mirrored.id) if self._differences else None
        if difference is not None:
            self._name_first(mirrored, live, difference)
        if self._shape.mode != "document":
            for key, old, new in changes:
                topic = self._shape.value_topic(live, key)
                self.ledger.put(topic, _payload(new), was=len(_payload(old)), of=mirrored.id)
        if self._shape.mode != "values":
            topic = self._shape.state_topic(live)
            make = partial(self._state_document, mirrored, live)
            self.ledger.promise(topic, make, was=live.state_length, of=mirrored.id)
        if difference is not None:
            for key, _, new in changes:
                difference.passed(self._shape.value_topic(live, key), _payload(new))
            difference.passed(self._shape.state_topic(live))
        if player is not None:
            self._players.note(mirrored, player)

    def _state_document(self, mirrored: MirroredDevice, live: LiveService) -> bytes:
        """Return a `state` document that is published now, and have a difference know its parts.

        The device may have been described in another way since it was promised.
        """
        now = self.mirrored_devices.get(mirrored.id, mirrored).services.get(live.id)
        document = (now or live).document()
        difference = self._differences.get(mirrored.id)
        if difference is not None and now is not None:
            difference.passed(self._shape.state_topic(now), document)
        return document

    def _note_moves(
        self, mirrored: MirroredDevice, live: LiveService, changes: Sequence[Change]
    ) -> None:
        if self.observed.observer is not None and changes:
            self.observed.observer.values_changed(mirrored, live, changes)
        if live.moves != live.state.moves:
            live.moves = live.state.moves
            self.moves += 1
            self.hub_telling.note(mirrored)

    def _name_first(
        self, mirrored: MirroredDevice, live: LiveService, difference: TreeDifference
    ) -> None:
        """Put the document of a device before its values, where the broker has none yet."""
        device = live.id.partition("/")[0]
        topic = self._shape.topic(device)
        if not (difference.is_gathering or difference.has_passed(topic)):
            document = self._shape.near(mirrored, topic, self.ledger.limit)[topic]
            if difference.held(topic) != document:
                if len(document) > self.ledger.limit:
                    self._write_table()
                self.ledger.put(topic, document, of=mirrored.id)
                difference.passed(topic, document)

    def _tell_presence(self, mirrored: MirroredDevice) -> None:
        """Note whether a device is there, for each that hangs from it.

        Where its tree is still to be published, that comes last, unless the broker has it wrong.
        """
        if (observer := self.observed.observer) is not None and mirrored.owned:
            observer.presence_changed(mirrored)
        if not (mirrored.owned and self.ledger.is_open):
            return
        difference = self._differences.get(mirrored.id)
        for topic, payload in self._shape.availability(mirrored):
            if difference is None:
                if mirrored.kept.get(topic) != payload:
                    self.ledger.put(topic, payload, of=mirrored.id)
            elif difference.held(topic) not in (None, payload) or difference.has_passed(topic):
                self.ledger.put(topic, payload, of=mirrored.id)
                difference.passed(topic)

    def _tell_players(self, now_s: float = inf) -> None:
        """Note what players are now whose values have changed, and which are due.

        Not with each event: to read what plays takes longer than all else of an event.
        """
        for mirrored, player in self._players.take(now_s):
            self._tell_player(mirrored, player, now_s)

    def _tell_waiting(self, mirrored: MirroredDevice, player: Player) -> None:
        if self._players.discard(player):
            self._tell_player(mirrored, player)

    def _tell_player(self, mirrored: MirroredDevice, player: Player, now_s: float = inf) -> None:
        if self._root_devices.is_ours(mirrored):
            was, art = player.told, player.art
            player.told, player.art = player.shown()
            if player.told != was:
                player.told_s = now_s if now_s < inf else player.told_s
                self._put_shown(mirrored, player.id, player.told, was)
            if player.art != art:
                self._put_shown(mirrored, player.art_id, player.art, art)

    def _put_shown(self, mirrored: MirroredDevice, own: str, payload: bytes, was: bytes) -> None:
        topic = self._shape.topic(own)
        self.ledger.put(topic, payload, was=len(was), of=mirrored.id)
        if (difference := self._differences.get(mirrored.id)) is not None:
            difference.passed(topic, payload)

    def _walk(self, mirrored: MirroredDevice) -> Iterator[tuple[str, bytes]]:
        """Yield what a root device should be, and note what its players are told to be by that.

        Players that wait to be told of are told of before: what is put then is newer.
        """
        shape, difference = self._shape, self._differences[mirrored.id]
        media = {shape.topic(player.id): player for player in mirrored.players.values()}
        art = {shape.topic(player.art_id): player for player in mirrored.players.values()}
        for topic, payload in shape.walk(mirrored, self.ledger.limit, with_hubs=False):
            if (one := media.get(topic) or art.get(topic)) is not None:
                self._tell_waiting(mirrored, one)
                if not difference.has_passed(topic):
                    if topic in media:
                        one.told = payload
                    else:
                        one.art = payload
            yield topic, payload
        for one in media.values():  # which may be nothing now
            self._tell_waiting(mirrored, one)
        if mirrored.description is not None:
            yield from self.hub_telling.walk(mirrored, self._differences[mirrored.id])

    def _clear(
        self,
        root: str,
        first: Mapping[str, bytes],
        held: Iterable[tuple[str, bytes]],
        devices: Iterable[str],
    ) -> None:
        """Clear what a device has: its document, what hubs were told of it, and then the rest.

        A hub that still knew the device would take what is cleared for values.
        """
        for topic in self._shape.hub_topics(root):
            self.hub_telling.schedule.changed(topic, root, first.get(topic, b""))
        self.ledger.clear(first, of=root)
        self._differences[root] = TreeDifference(
            root, self.ledger, before=held, devices=set(devices)
        )
        for topic in first:
            self._differences[root].passed(topic)

    def _clear_all(self, device: str, held: Mapping[str, bytes]) -> None:
        """Clear likewise what the broker holds of a device that is none of ours."""
        own = (self._shape.topic(device), *self._shape.hub_topics(device))
        first = {topic: held[topic] for topic in own if topic in held}
        below = sorted(held.items(), key=lambda one: one[0].count("/"))
        self._clear(device, first, below, (device,))

    def _is_of(self, devices: AbstractSet[str], topic: str) -> bool:
        """Return whether a topic, below the base, is one of these devices, by their ids."""
        return topic[len(self._shape.base) + 1 :].partition("/")[0] in devices

    def _keep_row(self, mirrored: MirroredDevice) -> None:
        """Have the table name a device, with all that hangs from it, until it is cleared."""
        self._leaving[mirrored.id] = _naming_all(mirrored.row, self._leaving.get(mirrored.id, {}))
        self._table_due = True
        self._write_table()

    def _write_table(self) -> None:
        """Put the table of devices first in line, if it is not what it should be.

        It must name a device before topics are there that no document claims, and until all of
        them are cleared: by it, what a crash leaves behind is known as ours.
        """
        if self._table_due and self.ledger.is_open:
            self._table_due = False
            payload = self.table()
            self.put_own("devices", payload)
            self.ledger.prefer(self._table, len(payload))

    def _remember(self, retained_tree: RetainedTree) -> Iterator[RememberedDevice]:
        """Make root devices of the devices of ours that the broker holds and we have not met."""
        for root, devices in retained_tree.roots.items():
            document = retained_tree.document(root)
            udn, location = document.get("udn"), document.get("location")
            if self._root_devices.holder(root) is not None or root in self._forgotten:
                continue
            if not isinstance(udn, str) or not isinstance(location, str):
                continue
            mine = dict.fromkeys((root, *devices))
            free = tuple(device for device in mine if self._root_devices.holder(device) is None)
            kept = {
                topic: payload
                for topic, payload in whole_payloads(retained_tree.groups(free)).items()
                if self._shape.is_kept(topic)
            }
            row = retained_tree.rows.get(root, {"id": root})
            since, server = row.get("offline_since"), document.get("server")
            mirrored = MirroredDevice(root, free, kept=kept, row=row)
            mirrored.offline_since = since if isinstance(since, str) else None
            self._enter(mirrored)
            self.observed.device_remembered(mirrored)
            yield RememberedDevice(
                topics.bare_udn(udn),
                location,
                server if isinstance(server, str) else None,
                duplicates.read(document.get("problems")),
            )

    def _enter(self, mirrored: MirroredDevice) -> None:
        self._forgotten.pop(mirrored.id, None)
        self._root_devices.enter(mirrored)
        self._table_due = True
        self.moves += 1
        self.comings += 1

    def _drop(self, mirrored: MirroredDevice) -> None:
        self._root_devices.drop(mirrored)
        self.hub_telling.schedule.drop(mirrored.id)
        self._table_due = True
        self.comings += 1


def at_once(steps: Generator[None, None, _Result]) -> _Result:
    """Return the result of what can be done in pieces, done in one."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result


def _naming_all(row: dict[str, object], gone: Mapping[str, object]) -> dict[str, object]:
    """Return a row of the table of devices that names the embedded devices of another one too."""
    named = strings(row.get("subdevices"))
    every = list(dict.fromkeys((*named, *strings(gone.get("subdevices")))))
    return row if every == named else {**row, "subdevices": every}


def _payload(value: Value | None) -> bytes:
    return b"" if value is None else datatypes.write(value).encode()
