"""The WebSocket: clients watch the tree as it is and as it changes, and send commands.

What a client has not read yet is kept by topic, and made when it is sent: a slow one gets what is
newest. Nothing here is done, and nothing kept, while nobody watches.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import structlog
from aiohttp import WSCloseCode, web

from bridge.formats import jsontext
from bridge.model import datatypes
from bridge.model.device import Key
from bridge.tree.messages import Publication
from bridge.tree.mirror import Mirror
from bridge.tree.mirrored_device import LiveService, MirroredDevice
from bridge.tree.selection import (
    Cursor,
    FilterIndex,
    read_filter,
    selected,
    state_document,
)
from bridge.tree.service_state import Change
from bridge.web.activity import Activity

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MAX_CLIENTS: Final = 32
"""The most WebSockets at once."""
MAX_CLIENTS_PER_PEER: Final = 8
"""The most of one address, so that nobody locks all others out."""
MAX_FILTERS: Final = 1_000
"""The most topic filters that a client watches."""
MAX_LEVELS: Final = 10_000
"""The most levels that these have together."""
MAX_WAITING: Final = 8_000
"""The most topics of which a client has not read the newest payload: else it gets all again."""
MAX_MESSAGES: Final = 1_000
"""The most messages, none of them retained, that wait for a client."""
MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""The most bytes that these have together."""
MAX_COMMANDS: Final = 64
"""The most commands of a client that are not answered."""
SILENCE_S: Final = 30.0
"""How long a client may read nothing."""

_LOOK_S = 5.0
_AT_ONCE = 32
_CLOSE_S = 0.3
_PAUSE_S = 0.1
_MOST_OLD = 8
_PACED = ("/media", "/art", "/devices")

Make: TypeAlias = Callable[[], bytes | None]
"""Makes what a topic holds now; None for nothing."""


class _Waiting:
    """What of the tree a client has not been sent, in order; each topic and device once."""

    def __init__(self) -> None:
        self._topics: OrderedDict[str, Make] = OrderedDict()
        self._devices: OrderedDict[str, list[MirroredDevice]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._topics) + len(self._devices)

    def put(self, topic: str, make: Make) -> None:
        """Have a topic be sent."""
        self._topics[topic] = make

    def put_device(self, root: str, old: MirroredDevice | None) -> bool:
        """Have a device be sent with all its topics, and what is no more of it be cleared.

        Returns whether there was room to remember what it was.
        """
        before = self._devices.setdefault(root, [])
        if old is not None and not any(one is old for one in before):
            before.append(old)
        return len(before) <= _MOST_OLD

    def pop_device(self) -> tuple[str, list[MirroredDevice]] | None:
        """Take out the next device."""
        return self._devices.popitem(last=False) if self._devices else None

    def pop(self) -> tuple[str, Make] | None:
        """Take out the next topic."""
        return self._topics.popitem(last=False) if self._topics else None

    def keep(self, is_wanted: Callable[[str], object]) -> None:
        """Forget the topics that are not wanted any more."""
        for topic in [one for one in self._topics if not is_wanted(one)]:
            del self._topics[topic]

    def by_device(self, root_of: Callable[[str], str | None]) -> None:
        """Have whole devices be sent in place of their topics, but for those that are cleared."""
        for topic, make in tuple(self._topics.items()):
            root = root_of(topic)
            if root is not None and make():
                del self._topics[topic]
                self.put_device(root, None)


class Client:
    """One WebSocket: what waits for it, and who sends it."""

    def __init__(
        self, watching: "Watching", socket: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        self._watching = watching
        self._transport = transport
        self.socket = socket
        self.heard_s = 0.0
        """When something was heard of it, by the event loop's clock."""
        self.filters: dict[str, tuple[str, ...]] = {}
        self._waiting = _Waiting()
        self._messages: deque[str] = deque()
        self._message_bytes = 0
        self._jobs: deque[Iterator[str | None]] = deque()
        self._due = asyncio.Event()
        self._levels = 0
        self._asked = 0
        """How many filters there are in what is sent because it was asked for."""
        self.unanswered = 0
        self._own_answer: Publication | None = None
        self._sent = self._sent_before = 0

    # What the client asks for

    def watch(self, filters: Sequence[str]) -> None:
        """Send all that stands under filters, and from then on what changes.

        Raises ValueError where one is malformed, or there are too many; then none counts.
        """
        read = {one: read_filter(one) for one in filters}
        new = read.keys() - self.filters.keys()
        levels = self._levels + sum(len(read[one]) for one in new)
        if len(self.filters) + len(new) > MAX_FILTERS or levels > MAX_LEVELS:
            raise ValueError(
                f"a client watches {MAX_FILTERS} topic filters at most, of {MAX_LEVELS} levels"
            )
        asked = self._asked + len(read) + 1
        if asked > 2 * MAX_FILTERS:
            raise ValueError("what was asked for before is not sent yet")
        for one in new:
            self.filters[one] = read[one]
            self._watching.index.add(read[one], self)
        self._levels, self._asked = levels, asked
        self._jobs.append(self._all_under(read))
        self._due.set()

    def unwatch(self, filters: Sequence[str]) -> None:
        """Send nothing more under these filters, unless others cover it."""
        gone = [one for one in dict.fromkeys(filters) if one in self.filters]
        for one in gone:
            levels = self.filters.pop(one)
            self._levels -= len(levels)
            self._watching.index.discard(levels, self)
        if gone:
            self._waiting.keep(lambda topic: self in self._watching.index.covering(topic))

    def answered(self, answer: Publication) -> None:
        """Send the answer to a command of this client; it does not come a second time."""
        self.unanswered -= 1
        self._own_answer = answer
        self.say(_frame(answer.topic, answer.payload, retain=False))

    # What happens

    def put(self, topic: str, make: Make) -> None:
        """Have a changed topic be sent."""
        self._waiting.put(topic, make)
        self._bound()

    def put_device(self, root: str, old: MirroredDevice | None) -> None:
        """Have a device that changed as a whole be sent."""
        has_room = self._waiting.put_device(root, old)
        self._bound(has_room=has_room)

    def message(self, publication: Publication) -> None:
        """Send what is not retained, once."""
        if publication is not self._own_answer:
            self.say(_frame(publication.topic, publication.payload, retain=False))

    def say(self, frame: str) -> None:
        """Send a frame; of many that wait the oldest go."""
        self._messages.append(frame)
        self._message_bytes += len(frame)
        while len(self._messages) > 1 and (
            len(self._messages) > MAX_MESSAGES or self._message_bytes > MAX_MESSAGE_BYTES
        ):
            self._message_bytes -= len(self._messages.popleft())
        self._due.set()

    def _bound(self, *, has_room: bool = True) -> None:
        if len(self._waiting) > MAX_WAITING:
            self._waiting.by_device(self._watching.root_of)
            has_room = has_room and len(self._waiting) <= MAX_WAITING
        if not has_room:
            self._watching.close(self)
        self._due.set()

    # Who sends it

    async def send(self) -> None:
        """Send what waits, until the client has gone or reads nothing any more."""
        while True:
            await self._due.wait()
            self._due.clear()
            for number, frame in enumerate(self._frames(), 1):
                if frame is not None:
                    await self.socket.send_str(frame)
                    self._sent += 1
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _frames(self) -> Iterator[str | None]:
        """Yield what waits, messages first; None where others are to go on."""
        while True:
            if self._messages:
                frame = self._messages.popleft()
                self._message_bytes -= len(frame)
                yield frame
            elif self._jobs:
                try:
                    yield next(self._jobs[0])
                except StopIteration:
                    self._jobs.popleft()
            elif (device := self._waiting.pop_device()) is not None:
                self._jobs.append(self._all_of(*device))
            elif (changed := self._waiting.pop()) is not None:
                topic, make = changed
                yield _frame(topic, make(), retain=True)
            else:
                return

    async def watch_over(self) -> None:
        """Return when the client has read nothing for 30 s.

        It reads as long as it answers pings, or, while much is on its way to it, takes some of it.
        """
        clock = asyncio.get_running_loop().time
        self.heard_s = clock()
        unsent = 0
        while clock() - self.heard_s < SILENCE_S:
            await asyncio.sleep(_LOOK_S)
            before, unsent = unsent, self._transport.get_write_buffer_size()
            if unsent == 0:
                await self.socket.ping()
            elif self._sent != self._sent_before or unsent < before:
                self.heard_s = clock()
            self._sent_before = self._sent

    def _all_under(self, filters: Mapping[str, Sequence[str]]) -> Iterator[str | None]:
        """Yield a frame for each topic under filters, and then that it was all."""
        index: FilterIndex[str] = FilterIndex()
        for levels in filters.values():
            index.add(levels, "")
        for one in self._watching.standing(index):
            yield None if one is None else _frame(*one, retain=True)
        self._asked -= len(filters) + 1
        yield _text({"watched": list(filters)})

    def _all_of(self, root: str, olds: Sequence[MirroredDevice]) -> Iterator[str | None]:
        """Yield a frame for each topic of a device, and for those that it had and has not now."""
        index: FilterIndex[str] = FilterIndex()
        for levels in self.filters.values():
            index.add(levels, "")
        mirror, shape, top = self._watching.mirror, self._watching.shape, index.top
        before: dict[str, None] = {}
        for old in olds:
            players = (shape.topic(own) for one in old.players.values() for own in one.topics)
            before |= {topic: None for topic in players if index.covering(topic)}
            for number, (topic, _) in enumerate(selected(shape, old, top)):
                before[topic] = None
                if number % _AT_ONCE == 0:
                    yield None
        mirrored = mirror.mirrored_devices.get(root)
        if mirrored is not None:
            for topic, payload in self._watching.of_device(mirrored, top):
                before.pop(topic, None)
                yield _frame(topic, payload, retain=True)
        for topic in before:
            # An embedded device may be another's now.
            device = topic[len(shape.base) + 1 :].partition("/")[0]
            holder = mirror.holder(device)
            is_anothers = holder is not None and holder.owned and holder.id != root
            yield None if is_anothers else _frame(topic, None, retain=True)


class Watching:
    """All clients, and what they are told; observes the tree while there are some."""

    def __init__(self, mirror: Mirror, activity: Activity) -> None:
        self.mirror = mirror
        self.shape = mirror.shape
        self._observed = mirror.observed
        self._activity = activity
        self.index: FilterIndex[Client] = FilterIndex()
        self.clients: dict[Client, asyncio.Transport] = {}
        self._players: dict[str, tuple[str, str]] = {}
        """Of each that may be another now, its root and a service that it is made of."""
        self._shown: dict[str, bytes] = {}
        """What players, and the table of devices, were told to be last."""
        self._unsure: set[str] = set()
        """Topics of these of which not all were told the same."""
        self._is_table_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._table = f"{self.shape.own}/devices"

    def standing(self, index: FilterIndex[str]) -> Iterator[tuple[str, bytes] | None]:
        """Yield topic and payload of all that stands under filters; None now and then."""
        top = index.top
        for topic, payload in self.mirror.own_documents():
            if payload and top.reaches(topic):
                self._note_shown(topic, payload)
                yield topic, payload
        for mirrored in tuple(self.mirror.mirrored_devices.values()):
            yield from self.of_device(mirrored, top)
            yield None

    def of_device(self, mirrored: MirroredDevice, top: Cursor[str]) -> Iterator[tuple[str, bytes]]:
        """Yield topic and payload of what filters cover of a device, as long as it is ours."""
        for topic, payload in selected(self.shape, mirrored, top):
            if not mirrored.owned or self.mirror.mirrored_devices.get(mirrored.id) is not mirrored:
                return  # what follows in line knows what it is now
            self._note_shown(topic, payload)
            yield topic, payload

    def _note_shown(self, topic: str, payload: bytes) -> None:
        """Note what somebody is sent: where it is not what all others were told, all are told."""
        if topic.endswith(_PACED) and self._shown.setdefault(topic, payload) != payload:
            self._unsure.add(topic)

    def root_of(self, topic: str) -> str | None:
        """Return the id of the root of the device that a topic is of; None where it is of none."""
        holder = self.mirror.holder(topic[len(self.shape.base) + 1 :].partition("/")[0])
        return None if holder is None else holder.id

    # Clients

    async def serve(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        receive: Callable[[Client], Awaitable[None]],
    ) -> None:
        """Have a client as long as `receive` takes what it says, and it reads what it is sent."""
        client = Client(self, socket, transport)
        if not self.clients:
            self._observed.begin(self)
        works = (receive(client), client.send(), client.watch_over())
        tasks = [asyncio.ensure_future(work) for work in works]
        self.clients[client] = transport
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._forget(client)
            if not tasks[0].done():
                transport.abort()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                    _log.error("watching_crashed", reason=repr(outcome))

    def _forget(self, client: Client) -> None:
        client.unwatch(tuple(client.filters))
        self.clients.pop(client, None)
        self.set_activity(client, wanted=False)
        if not self.clients:
            self._observed.end()
            self._shown.clear()
            self._unsure.clear()
            self._players.clear()

    def set_activity(self, client: Client, *, wanted: bool) -> None:
        """Have a client told of all that goes on, or not."""
        if wanted and client not in self._activity.listeners:
            for one in self._activity.recent():
                client.say(_text({"activity": one}))
            self._activity.listeners[client] = lambda one: client.say(_text({"activity": one}))
        elif not wanted:
            self._activity.listeners.pop(client, None)

    def close(self, client: Client) -> None:
        """End a client that reads too slowly for what changes."""
        if (transport := self.clients.get(client)) is not None:
            transport.abort()

    async def close_all(self) -> None:
        """End all: the bridge leaves."""
        closing = [
            client.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the bridge leaves")
            for client in self.clients
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*closing, return_exceptions=True)
        for transport in tuple(self.clients.values()):
            transport.abort()

    # What happens in the tree

    def values_changed(
        self, mirrored: MirroredDevice, live: LiveService, changes: Sequence[Change]
    ) -> None:
        """Send the values that changed, and what is made of them.

        Of a device that has just become another instance's, only those that are gone, or
        empty: who has not read yet that all are gone could not be told later which there were.
        """
        shape = self.shape
        if not mirrored.owned:
            changes = [one for one in changes if one.new is None or one.new == ""]
        if shape.mode != "document":
            for key, _, _ in changes:
                topic = shape.value_topic(live, key)
                if clients := self.index.covering(topic):
                    make = partial(self._value, mirrored.id, live.id, key)
                    for client in clients:
                        client.put(topic, make)
        if shape.mode != "values":
            self._tell(shape.state_topic(live), partial(self._state, mirrored.id, live.id))
        if (player := mirrored.players.get(live.id)) is not None:
            self._players[player.id] = mirrored.id, live.id
            self._tell_soon()
        if self._activity.listeners:
            self._activity.values(live.id, changes)

    def presence_changed(self, mirrored: MirroredDevice) -> None:
        """Send whether the devices of a root device are there."""
        for device, (topic, _) in zip(
            mirrored.devices, self.shape.availability(mirrored), strict=True
        ):
            self._tell(topic, partial(self._availability, device))
        self._table_changed()

    def device_changed(self, old: MirroredDevice | None, new: MirroredDevice | None) -> None:
        """Send a device as it is now, and clear what is no more of it."""
        if (mirrored := new or old) is not None:
            for client in tuple(self.clients):
                if client.filters:
                    client.put_device(mirrored.id, old)
            players = {**(old.players if old else {}), **(new.players if new else {})}
            for topic in (self.shape.topic(own) for one in players.values() for own in one.topics):
                self._shown.pop(topic, None)
                self._unsure.add(topic)
            self._table_changed()

    def document_changed(self, topic: str) -> None:
        """Send a document of the bridge itself."""
        if topic == self._table:
            self._table_changed()
        else:
            self._tell(topic, partial(self.mirror.own_document, topic))

    def message_sent(self, publication: Publication) -> None:
        """Send what is not retained."""
        for client in self.index.covering(publication.topic):
            client.message(publication)

    # What topics hold when it is their turn

    def _tell(self, topic: str, make: Make) -> None:
        for client in self.index.covering(topic):
            client.put(topic, make)

    def _live(self, root: str, service: str) -> LiveService | None:
        mirrored = self.mirror.mirrored_devices.get(root)
        return mirrored.services.get(service) if mirrored is not None and mirrored.owned else None

    def _value(self, root: str, service: str, key: Key) -> bytes | None:
        live = self._live(root, service)
        value = None if live is None else live.state.values.get(key)
        return None if value is None else datatypes.write(value).encode()

    def _state(self, root: str, service: str) -> bytes | None:
        live = self._live(root, service)
        return state_document(live) if live is not None and live.state.updated else None

    def _availability(self, device: str) -> bytes | None:
        mirrored = self.mirror.holder(device)
        if mirrored is None or mirrored.online is None or not mirrored.owned:
            return None
        return b"online" if mirrored.online else b"offline"

    def _of_player(self, root: str, topic: str) -> bytes | None:
        mirrored = self.mirror.mirrored_devices.get(root)
        return self._shown.get(topic) if mirrored is not None and mirrored.owned else None

    # What is told ten times a second at most

    def _table_changed(self) -> None:
        self._is_table_due = True
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._tell_paced)

    def _is_news(self, topic: str, payload: bytes) -> bool:
        """Return whether somebody may not know yet what this topic holds; they are told then."""
        if self._shown.get(topic) == payload and topic not in self._unsure:
            return False
        self._shown[topic] = payload
        self._unsure.discard(topic)
        return True

    def _tell_paced(self) -> None:
        self._timer = None
        players, self._players = self._players, {}
        for root, service in players.values():
            mirrored = self.mirror.mirrored_devices.get(root)
            player = (
                mirrored.players.get(service) if mirrored is not None and mirrored.owned else None
            )
            if player is None:
                continue
            names = [self.shape.topic(own) for own in player.topics]
            if any(self.index.covering(topic) for topic in names):
                for topic, payload in zip(names, player.shown(), strict=True):
                    if self._is_news(topic, payload):
                        self._tell(topic, partial(self._of_player, root, topic))
        if self._is_table_due:
            self._is_table_due = False
            is_watched = self.index.covering(self._table)
            if is_watched and self._is_news(self._table, self.mirror.table()):
                self._tell(self._table, partial(self._shown.get, self._table))


def _frame(topic: str, payload: bytes | None, *, retain: bool) -> str:
    """Return a topic and what it holds as a frame; bytes that are not UTF-8 are replaced."""
    is_cleared = payload is None or (retain and not payload)
    text = None if is_cleared else (payload or b"").decode("utf-8", "replace")
    return _text({"topic": topic, "payload": text, "retain": retain})


def _text(body: object) -> str:
    return jsontext.encode(body).decode()
