"""What the page costs: seconds until a client has all, and memory and CPU for each client.

A client is what a browser does with the list of devices: it watches their documents, what plays and
who is there. `all` watches the whole tree, which no page does.
"""

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from benchmarks import stage
from benchmarks.stage import Contestant

_LIST = ("{0}/+", "{0}/+/availability", "{0}/+/media", "{0}/bridge/#")
_ALL = ("{0}/#",)
_SETTLE_S = 8.0
_LOOK_S = 5.0


@dataclass(slots=True)
class Outcome:
    """One client's first look, and what each of some clients costs that go on watching."""

    topics: int
    first_s: float
    received_kb: float
    client_kb: float
    client_cpu: float
    """The share of a core that one takes while nothing happens."""


async def _watch(client: aiohttp.ClientSession, url: str, filters: list[str]) -> tuple[int, int]:
    """Watch until the connection ends; return topics and bytes of what stands there first."""
    socket = await client.ws_connect(f"{url}/api/ws", max_msg_size=0)
    await socket.send_json({"watch": filters})
    topics = size = 0
    while True:
        text = await socket.receive_str()
        size += len(text)
        if text.startswith('{"watched"'):
            return topics, size
        topics += 1


async def _measure(bridge: Contestant, url: str, filters: list[str], *, count: int) -> Outcome:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(aiohttp.ClientSession()) for _ in range(1 + count)
        ]
        begun_s = time.monotonic()
        topics, size = await _watch(clients[0], url, filters)
        first_s = time.monotonic() - begun_s
        await asyncio.sleep(_SETTLE_S)
        before_kb = bridge.process.rss_kb
        quiet = await _used(bridge)
        for client in clients[1:]:
            await _watch(client, url, filters)
        await asyncio.sleep(_SETTLE_S)
        busy = await _used(bridge)
        client_kb = (bridge.process.rss_kb - before_kb) / count
        return Outcome(topics, first_s, size / 1024, client_kb, (busy - quiet) / count)


async def _used(bridge: Contestant) -> float:
    begin_s, begin_cpu_s = time.monotonic(), bridge.process.cpu_s
    await asyncio.sleep(_LOOK_S)
    return (bridge.process.cpu_s - begin_cpu_s) / (time.monotonic() - begin_s)


async def measure(sizes: list[int]) -> list[tuple[object, ...]]:
    """Return a row for each number of devices and each kind of client."""
    rows: list[tuple[object, ...]] = []
    for size in sizes:
        async with stage.fleet(size, "ContentDirectory"), stage.broker() as broker_port:
            port = stage.free_port()
            bridge = Contestant("ours", {"http.port": str(port)})
            async with bridge.running(broker_port):
                await asyncio.sleep(_SETTLE_S)
                for name, filters, count in (("list", _LIST, 7), ("all", _ALL, 1)):
                    wanted = [one.format(bridge.base) for one in filters]
                    one = await _measure(bridge, f"http://127.0.0.1:{port}", wanted, count=count)
                    rows.append(
                        (
                            size,
                            name,
                            one.topics,
                            f"{one.first_s:.2f}",
                            f"{one.received_kb:.0f}",
                            f"{one.client_kb / 1024:.2f}",
                            f"{100 * one.client_cpu:.2f}",
                        )
                    )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[3, 1000], help="numbers of devices")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks.page")
    print(stage.machine())
    found = asyncio.run(measure(given.sizes))
    head = ("devices", "client", "topics", "s to all", "kB", "MB a client", "CPU % a client")
    stage.table(head, found)
