"""How soon a broker is found after hours in which it was away, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from bridge.errors import BrokerRefused, BrokerUnreachable
from bridge.mqtt.reconnect import Broker
from bridge.mqtt.url import BrokerOptions, parse_url
from bridge.tree.messages import Publication
from tests.simulation.broker import ModelBroker, dialling
from tests.simulation.loop import Loop

WILL = Publication("up/bridge/main/state", b"offline")
BACK_S = 5.0

Away = Callable[[Random], Awaitable[None]]


async def refuses(_: Random) -> None:
    raise BrokerUnreachable("Connection refused")


async def hangs(_: Random) -> None:
    """Take the connection and answer nothing, or drop what comes."""
    await asyncio.sleep(1e9)


async def has_no_name(rng: Random) -> None:
    await asyncio.sleep(rng.uniform(0, 10))
    raise BrokerUnreachable("no name server")


async def is_half_dead(rng: Random) -> None:
    await rng.choice((refuses, hangs, has_no_name))(rng)


class Queue:
    has_bulk = False

    def take(self, **_: object) -> Publication | None:
        return None


def outage(seed: int, away: Away, endpoints: int = 1, away_s: float = 0.0) -> tuple[float, int]:
    """Lose a broker; return how long after its return there is a session, and how many attempts."""
    loop, rng = Loop(seed), Random(seed)
    away_s = away_s or rng.choice((3.0, 40.0, 700.0, 3 * 3600.0)) * rng.uniform(1, 2)
    model = ModelBroker(loop, {})
    answer = dialling(model, lambda: False)
    attempts = 0

    async def dial(endpoint: Any, options: Any, will: Any, protocol: Any) -> Any:
        nonlocal attempts
        attempts += 1
        # Of several endpoints one comes back alone.
        if not model.is_up or endpoint.port != back:
            await away(rng)
        return await answer(endpoint, options, will, protocol)

    back = 1 + rng.randrange(endpoints)
    urls = [parse_url(f"mqtt://10.0.0.1:{number + 1}") for number in range(endpoints)]
    options = BrokerOptions(endpoints=tuple(urls), client_id="bridge")
    broker = Broker(options, WILL, Queue(), rng=rng, dial=dial)
    sessions: list[float] = []

    async def serve(session: Any) -> None:
        sessions.append(loop.time())
        await session.wait_lost()

    async def live() -> float:
        task = asyncio.create_task(broker.run(serve))
        while not sessions:
            await asyncio.sleep(0.5)
            assert not task.done(), task.exception()
        await asyncio.sleep(rng.uniform(0, 120))
        model.stop()
        count = len(sessions)
        await asyncio.sleep(away_s)
        began_s = loop.time()
        model.start({})
        while len(sessions) == count:
            await asyncio.sleep(0.1)
            assert loop.time() < began_s + 600
        task.cancel()
        await asyncio.wait([task])
        return sessions[count] - began_s

    try:
        return loop.run_until_complete(live()), attempts
    finally:
        loop.close()


@pytest.mark.parametrize("away", [refuses, hangs, has_no_name, is_half_dead])
def test_a_broker_is_found_within_5_s_of_its_return_after_any_time(away: Away) -> None:
    found = [outage(seed, away) for seed in range(8)]
    assert max(back_s for back_s, _ in found) <= BACK_S
    assert min(attempts for _, attempts in found) > 1


@pytest.mark.parametrize("endpoints", [2, 3, 5])
def test_of_several_endpoints_each_is_found_within_5_s(endpoints: int) -> None:
    for away in (refuses, hangs, is_half_dead):
        found = [outage(seed, away, endpoints, 600.0) for seed in range(4)]
        assert max(back_s for back_s, _ in found) <= BACK_S


def test_a_broker_that_is_away_is_not_asked_all_the_time() -> None:
    _, attempts = outage(1, refuses, away_s=3600.0)
    assert 3600 / 5 < attempts < 3600 / 1.5


def test_one_that_does_not_want_us_is_asked_rarely() -> None:
    async def does_not_want_us(_: Random) -> None:
        raise BrokerRefused("not authorized")

    _, attempts = outage(1, does_not_want_us, away_s=3600.0)
    assert attempts < 40
