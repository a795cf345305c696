"""The API of the page: the tree as it is, commands, and the WebSocket."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from aiohttp import WSMessage, WSMsgType, web

from bridge.errors import Code, CommandError, Outcome
from bridge.formats import jsontext
from bridge.model import topics
from bridge.tree.messages import Message, Publication
from bridge.tree.selection import FilterIndex, read_filter
from bridge.web.guard import Guard, document, failure
from bridge.web.pictures import Pictures
from bridge.web.watching import (
    MAX_CLIENTS,
    MAX_CLIENTS_PER_PEER,
    MAX_COMMANDS,
    SILENCE_S,
    Client,
    Watching,
)

MAX_POSTS: Final = 64
"""The most commands by POST that wait for their answer."""

MAX_READING: Final = 16
"""The most clients that are sent the tree by GET at once."""

_LONGEST_S = 660.0
_MARGIN_BYTES = 64 * 1024
_MOST_FRAME = 16 * 1024 * 1024
_AT_ONCE = 200
_SEND_BUFFER = 128 * 1024
_CLOSE_S = 0.3


class Commands(Protocol):
    """Where commands go, those of the page as those of the broker."""

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters of all commands."""

    def receive(self, message: Message) -> None:
        """Take a command."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the API tells besides the tree, each as a document."""

    session: Callable[[], Mapping[str, object]]
    settings: Callable[[], Sequence[Mapping[str, object]]]
    history: Callable[[], Mapping[str, object]]
    device: Callable[[str], Mapping[str, object] | None]
    doctor: Callable[[], Awaitable[Sequence[object]]] | None = None


class Api:
    """The handlers of requests; `max_payload` are the most bytes of a command."""

    def __init__(  # noqa: PLR0913 - a part each
        self,
        watching: Watching,
        pictures: Pictures,
        commands: Commands,
        guard: Guard,
        sources: Sources,
        *,
        max_payload: int,
    ) -> None:
        self._watching = watching
        self._pictures = pictures
        self._commands = commands
        self._guard = guard
        self._sources = sources
        self._shape = watching.shape
        self._posts = 0
        self._reading = 0
        self._sockets: Counter[str] = Counter()
        """How many WebSockets each address has."""
        self._doctor: asyncio.Future[Sequence[object]] | None = None
        self.max_body = max_payload + _MARGIN_BYTES
        self._max_frame = min(2 * max_payload + _MARGIN_BYTES, _MOST_FRAME)
        self._index: FilterIndex[str] = FilterIndex()
        for one in commands.filters:
            self._index.add(read_filter(one), "")

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Return all routes, below a path."""
        at = f"{prefix}/api"
        return [
            web.get(f"{at}/tree", self.tree),
            web.get(f"{at}/session", self.session),
            web.post(f"{at}/login", self.login),
            web.post(f"{at}/logout", self.logout),
            web.post(f"{at}/call", self.call),
            web.post(f"{at}/request/{{verb}}", self.request),
            web.get(f"{at}/ws", self.socket),
            web.get(f"{at}/settings", self.settings),
            web.get(f"{at}/history", self.history),
            web.get(f"{at}/device/{{udn}}", self.device),
            web.post(f"{at}/doctor", self.doctor),
            web.get(f"{at}/icon/{{udn}}", self._pictures.icon),
            web.get(f"{at}/art/{{udn}}", self._pictures.art),
            web.get(f"{at}/picture", self.picture),
        ]

    # Reading

    async def tree(self, request: web.Request) -> web.StreamResponse:
        """Send the wanted tree under a filter as it is now, in pieces."""
        try:
            levels = read_filter(request.query.get("filter", f"{self._shape.base}/#"))
        except ValueError as error:
            return failure(400, Code.BAD_REQUEST, str(error))
        if self._reading >= MAX_READING:
            return failure(503, Code.BUSY, f"{MAX_READING} clients read the tree already")
        self._reading += 1
        try:
            return await self._send_tree(request, levels)
        finally:
            self._reading -= 1

    async def _send_tree(self, request: web.Request, levels: Sequence[str]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        piece: list[bytes] = []
        start = b'{"topics":{'
        for number, one in enumerate(self._under(levels), 1):
            if one is not None:
                topic, payload = one
                text = payload.decode("utf-8", "replace")
                piece.append(start + jsontext.encode(topic) + b":" + jsontext.encode(text))
                start = b","
            if number % _AT_ONCE == 0:
                async with asyncio.timeout(SILENCE_S):
                    await answer.write(b"".join(piece))
                piece.clear()
                await asyncio.sleep(0)
        await answer.write(b"".join((*piece, start if start != b"," else b"", b"}}")))
        await answer.write_eof()
        return answer

    def _under(self, levels: Sequence[str]) -> Iterator[tuple[str, bytes] | None]:
        """Yield what stands under a filter; where nothing does, under that below the base topic."""
        for read in (levels, (*self._shape.base.split("/"), *levels)):
            index: FilterIndex[str] = FilterIndex()
            index.add(read, "")
            found = False
            for one in self._watching.standing(index):
                found |= one is not None
                yield one
            if found:
                return

    async def session(self, request: web.Request) -> web.Response:
        """Tell who this bridge is, and what whoever asks may do."""
        return document(self._session(request))

    def _session(self, request: web.Request, *, is_in: bool = False) -> dict[str, object]:
        reason = None if is_in else self._guard.why_not(request)
        return {
            "control": reason is None,
            "reason": reason,
            "login": not is_in and self._guard.wants_login(request),
            "logged_in": is_in or self._guard.has_session(request),
            **self._sources.session(),
        }

    async def settings(self, _: web.Request) -> web.Response:
        """Tell all settings, and where each comes from."""
        return document({"settings": self._sources.settings()})

    async def history(self, _: web.Request) -> web.Response:
        """Tell the curves of the last hour."""
        return document(self._sources.history())

    async def device(self, request: web.Request) -> web.Response:
        """Tell of a device what is not in the tree."""
        found = self._sources.device(request.match_info["udn"])
        if found is None:
            return failure(404, Code.UNKNOWN_DEVICE, "no such device")
        return document(found)

    async def picture(self, request: web.Request) -> web.Response:
        """Return a picture that a device has named: to ask for any of its URLs is control."""
        return self._refused(request) or await self._pictures.named(request)

    # Who may

    async def login(self, request: web.Request) -> web.Response:
        """Give the browser a cookie for the right password."""
        guard = self._guard
        try:
            body = jsontext.read(await request.read())
        except web.HTTPException:
            body = None
        password = body.get("password") if isinstance(body, dict) else None
        if not isinstance(password, str):
            return failure(400, Code.BAD_REQUEST, "the body must be an object with a password")
        if (wait_s := guard.retry_after_s(request)) > 0:
            refused = failure(429, Code.DENIED, f"too many wrong passwords: wait {wait_s:.0f} s")
            refused.headers["Retry-After"] = str(int(wait_s) + 1)
            return refused
        token = guard.log_in(request, password)
        if token is None:
            return failure(403, Code.DENIED, "the password is wrong")
        answer = document(self._session(request, is_in=True))
        guard.set_cookie(request, answer, token)
        return answer

    async def logout(self, request: web.Request) -> web.Response:
        """End the session of the browser."""
        answer = document({})
        self._guard.log_out(request, answer)
        return answer

    # Commands

    async def call(self, request: web.Request) -> web.Response:
        """Call an action of the device `id`, and return its answer."""
        if (refused := self._refused(request)) is not None:
            return refused
        payload, body = await self._object(request)
        if body is None:
            return failure(400, Code.BAD_REQUEST, "the body must be a JSON object")
        named = body.get("id")
        if not isinstance(named, str) or not named:
            return document(
                {
                    **({"callid": body["callid"]} if "callid" in body else {}),
                    "success": False,
                    "error": "id must be the id of a device",
                    "code": Code.BAD_REQUEST,
                    "outcome": Outcome.NOT_SENT,
                }
            )
        device = topics.device_id(topics.decode_level(named))
        return await self._answered(self._shape.topic(f"{device}/call"), payload)

    async def request(self, request: web.Request) -> web.Response:
        """Carry out a verb of the bridge, and return its answer."""
        if (refused := self._refused(request)) is not None:
            return refused
        payload, body = await self._object(request, b"{}")
        if body is None:
            return failure(400, Code.BAD_REQUEST, "the body must be a JSON object")
        verb = quote(request.match_info["verb"], safe="")
        return await self._answered(f"{self._shape.own}/request/{verb}", payload)

    async def doctor(self, request: web.Request) -> web.Response:
        """Examine the machine, once at a time, and tell what was found."""
        if (refused := self._refused(request)) is not None:
            return refused
        if self._sources.doctor is None:
            return failure(404, Code.UNKNOWN_VERB, "this bridge has no doctor")
        if self._doctor is None or self._doctor.done():
            self._doctor = asyncio.ensure_future(self._sources.doctor())
        try:
            return document({"findings": await asyncio.shield(self._doctor)})
        except CommandError as error:
            return failure(500, error.code, error.reason)

    async def close(self) -> None:
        """End the doctor, if he is at work."""
        if self._doctor is not None:
            self._doctor.cancel()
            await asyncio.gather(self._doctor, return_exceptions=True)

    def _refused(self, request: web.Request) -> web.Response | None:
        reason = self._guard.why_not(request)
        if reason is not None:
            return failure(403, Code.DENIED, reason)
        if self._posts >= MAX_POSTS:
            return failure(503, Code.BUSY, f"{MAX_POSTS} commands wait for their answers")
        return None

    async def _object(
        self, request: web.Request, empty: bytes = b""
    ) -> tuple[bytes, dict[str, Any] | None]:
        payload = (await request.read()).strip() or empty
        body = jsontext.read(payload)
        return payload, body if isinstance(body, dict) else None

    async def _answered(self, topic: str, payload: bytes) -> web.Response:
        """Have a command carried out as if it came from the broker; return its one answer."""
        answer: asyncio.Future[Publication] = asyncio.get_running_loop().create_future()

        def answered(publication: Publication) -> None:
            if not answer.done():
                answer.set_result(publication)

        self._posts += 1
        try:
            self._commands.receive(Message(topic, payload, retain=False, answered=answered))
            async with asyncio.timeout(_LONGEST_S):
                publication = await answer
        except TimeoutError:
            return failure(504, Code.TIMEOUT, "no answer")
        finally:
            self._posts -= 1
        return web.Response(body=publication.payload, content_type="application/json")

    # The WebSocket

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Serve a client by its WebSocket until it goes."""
        peer = self._guard.peer(request)
        if self._sockets.total() >= MAX_CLIENTS:
            return failure(503, Code.BUSY, f"{MAX_CLIENTS} clients watch already")
        if self._sockets.get(peer, 0) >= MAX_CLIENTS_PER_PEER:
            reason = f"{MAX_CLIENTS_PER_PEER} clients of this address watch already"
            return failure(503, Code.BUSY, reason)
        self._sockets[peer] += 1
        try:
            return await self._serve(request)
        finally:
            self._sockets[peer] -= 1
            if not self._sockets[peer]:
                del self._sockets[peer]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        answer = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=self._max_frame, timeout=_CLOSE_S
        )
        if not answer.can_prepare(request).ok:
            return failure(426, Code.BAD_REQUEST, "a WebSocket is wanted here")
        await answer.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return answer
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

        async def receive(client: Client) -> None:
            async for message in answer:
                await self._take(request, client, answer, message)
                await asyncio.sleep(0)  # many may have come at once

        await self._watching.serve(answer, transport, receive)
        return answer

    async def _take(
        self,
        request: web.Request,
        client: Client,
        answer: web.WebSocketResponse,
        message: WSMessage,
    ) -> None:
        match message.type:
            case WSMsgType.PING:
                await answer.pong(message.data)
            case WSMsgType.PONG:  # it reads
                client.heard_s = asyncio.get_running_loop().time()
            case WSMsgType.TEXT:
                try:
                    self._take_frame(request, client, message.data)
                except _Refused as error:
                    client.say(jsontext.encode(error.document).decode())
            case WSMsgType.BINARY:
                bad = {"error": "a frame must be text", "code": Code.BAD_REQUEST}
                client.say(jsontext.encode(bad).decode())

    def _take_frame(self, request: web.Request, client: Client, text: str) -> None:
        frame = jsontext.read(text.encode("utf-8", "surrogatepass"))
        match frame:
            case {"watch": filters}:
                try:
                    client.watch(_listed(filters))
                except ValueError as error:
                    raise _Refused(Code.BAD_REQUEST, str(error)) from error
            case {"unwatch": filters}:
                client.unwatch(_listed(filters))
            case {"activity": bool() as wanted}:
                self._watching.set_activity(client, wanted=wanted)
            case {"topic": str() as topic, **rest}:
                self._command(request, client, topic, rest.get("payload", ""))
            case dict():
                raise _Refused(Code.BAD_REQUEST, "neither watch, unwatch, activity nor topic")
            case _:
                raise _Refused(Code.BAD_REQUEST, "a frame must be a JSON object")

    def _command(self, request: web.Request, client: Client, topic: str, payload: object) -> None:
        if not self._is_command(topic):
            raise _Refused(Code.BAD_REQUEST, "the topic is no command's", topic)
        if not isinstance(payload, str):
            raise _Refused(Code.BAD_REQUEST, "the payload must be a text", topic)
        if (reason := self._guard.why_not(request)) is not None:
            raise _Refused(Code.DENIED, reason, topic)
        if client.unanswered >= MAX_COMMANDS:
            raise _Refused(Code.BUSY, f"{MAX_COMMANDS} commands are not answered yet", topic)
        client.unanswered += 1
        data = payload.encode("utf-8", "surrogatepass")
        self._commands.receive(Message(topic, data, retain=False, answered=client.answered))

    def _is_command(self, topic: str) -> bool:
        if any(one in topic for one in "+#\0") or not self._index.covering(topic):
            return False
        levels = topic[len(self._shape.base) + 1 :].split("/")
        return all(levels) and (levels[0] not in ("bridge", "reply") or levels[2:3] == ["request"])


class _Refused(Exception):
    """A frame that is not carried out; `document` is what the client is told."""

    def __init__(self, code: Code, reason: str, topic: str | None = None) -> None:
        super().__init__(reason)
        self.document = {"error": reason, "code": code}
        if topic is not None:
            self.document["topic"] = topic[:1000]


def _listed(filters: object) -> list[str]:
    if not isinstance(filters, list) or not all(isinstance(one, str) for one in filters):
        raise _Refused(Code.BAD_REQUEST, "topic filters must be a list of texts")
    return filters
