"""A raw POST of an action, without MQTT or XML: what a call costs beyond it is the bridge's.

`python -m benchmarks.post aiohttp | kept | new`: over aiohttp's session, over a bare
connection that is kept, over a new one each time. It takes `{"devices": 20, "seconds": 3}` and
answers with the calls made, those that failed, and microseconds of each.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from aiohttp import ClientSession

from benchmarks import floor
from benchmarks.fleet import PORT, address_of

_HEADERS = {
    "Content-Type": 'text/xml; charset="utf-8"',
    "SOAPAction": '"urn:schemas-upnp-org:service:RenderingControl:1#GetVolume"',
}
_ASKED: dict[str, object] = {"InstanceID": 0, "Channel": "Master"}
_WANTED = b"<CurrentVolume>20</CurrentVolume>"

Post = Callable[[str], Awaitable[bytes]]
"""Posts GetVolume to an address and returns the body of the answer."""


async def _post_anew(host: str) -> bytes:
    request = floor.post(host, "RenderingControl", "GetVolume", _ASKED)
    return (await floor.exchange(host, request))[1]


class Kept:
    """A bare connection for each device."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[bytes]] = {}
        self._transports: dict[str, asyncio.Transport] = {}

    async def post(self, host: str) -> bytes:
        loop = asyncio.get_running_loop()

        def take(_head: bytes, body: bytes) -> bytes:
            self._answers[host].set_result(body)
            return b""

        if host not in self._transports:
            new, _ = await loop.create_connection(lambda: floor.Reader(take), host, PORT)
            self._transports[host] = new
        answer: asyncio.Future[bytes] = loop.create_future()
        self._answers[host] = answer
        request = floor.post(host, "RenderingControl", "GetVolume", _ASKED)
        self._transports[host].write(request)
        return await answer


async def load(post: Post, devices: int, seconds: float) -> dict[str, object]:
    failed = 0
    latencies_us: list[int] = []
    end_s = time.monotonic() + seconds

    async def keep_posting(host: str) -> None:
        nonlocal failed
        while time.monotonic() < end_s:
            sent_us = time.monotonic_ns() // 1000
            failed += _WANTED not in await post(host)
            latencies_us.append(time.monotonic_ns() // 1000 - sent_us)

    async with asyncio.TaskGroup() as tasks:
        for number in range(devices):
            tasks.create_task(keep_posting(address_of(number)))
    return {"failed": failed, "latencies_us": latencies_us}


async def main(how: str) -> None:
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with ClientSession() as session:

        async def post_by_session(host: str) -> bytes:
            body = floor.envelope("RenderingControl", "GetVolume", _ASKED)
            url = f"http://{host}:{PORT}/RenderingControl"
            async with session.post(url, data=body, headers=_HEADERS) as answer:
                return await answer.read()

        posts: dict[str, Post] = {"aiohttp": post_by_session, "kept": Kept().post}
        post = posts.get(how, _post_anew)
        print("{}", flush=True)
        while line := await commands.readline():
            print(json.dumps(await load(post, **json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
