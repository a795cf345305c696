"""How many retained messages a subscriber at QoS 1 gets, and what other bridges have left there."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress

from bridge.errors import BrokerError
from bridge.formats import jsontext
from bridge.settings import Settings
from bridge.support.doctor.brands import Brand
from bridge.support.doctor.broker_connection import Waiting, Way
from bridge.support.doctor.finding import Finding, Tell, error, note, ok, skipped, warning
from bridge.support.doctor.local import Local
from bridge.support.doctor.machine import stays_here
from bridge.tree.messages import Message, Publication

UNTRIED = "not tried: `doctor --retained` publishes 1,100 retained messages, counts and clears them"
COUNT = 1100
"""More than mosquitto hands over, unless it is told otherwise: 1,020."""

_EXPIRY_S = 300
_PUBLISH_S = 6.0
_CLEAR_S = 6.0
_COUNT_S = 4.0
_QUIET_S = 0.7
_TICK_S = 0.05
_READ_S = 3.0


async def check_retained(settings: Settings, way: Way, tell: Tell) -> None:
    """Tell how many of 1,100 come; none of them is left behind. Raises BrokerError."""
    below = f"{settings.mqtt.base_topic}/reply/{way.token}"
    topics = [f"{below}/{number}" for number in range(COUNT)]
    source = Waiting()
    writer = await way.open(source)
    # Should this program be killed meanwhile, a broker with MQTT 5 clears them itself.
    source.publications = [Publication(topic, b"1", expiry_s=_EXPIRY_S) for topic in topics]
    try:
        writer.start()
        async with asyncio.timeout(_PUBLISH_S):
            await writer.flush()
        if writer.refused:
            tell(skipped("retained_queue", f"this user may not write {below}/…"))
        else:
            tell(_judge(await _count(way, f"{below}/+"), way.brand))
    except TimeoutError:
        tell(skipped("retained_queue", f"the broker takes over {_PUBLISH_S:g} s for {COUNT:,}"))
    finally:
        source.publications = []
        await writer.close()
        if not await _clear(way, topics):
            tell(
                warning(
                    "retained_queue",
                    f"retained messages of this check are left below {below}/",
                    f"mosquitto_sub -h … -t '{below}/+' --remove-retained -W 5",
                )
            )


async def _count(way: Way, topic_filter: str) -> int:
    """Return how many retained messages come at QoS 1 until nothing more does."""
    loop = asyncio.get_running_loop()
    came: set[str] = set()
    heard_s = loop.time()

    def hear(message: Message) -> None:
        nonlocal heard_s
        heard_s = loop.time()
        if message.retain:
            came.add(message.topic)

    reader = await way.open()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_COUNT_S):
                await reader.subscribe([topic_filter], hear, 1)
                while len(came) < COUNT and loop.time() - heard_s < _QUIET_S:  # noqa: ASYNC110
                    await asyncio.sleep(_TICK_S)
    finally:
        await reader.close()
    return len(came)


async def _clear(way: Way, topics: list[str]) -> bool:
    """Clear these topics; return whether the broker has acknowledged all of that."""
    source = Waiting()
    source.publications = [Publication(topic, b"") for topic in topics]
    try:
        cleaner = await way.open(source)
        try:
            cleaner.start()
            async with asyncio.timeout(_CLEAR_S):
                await cleaner.flush()
        finally:
            await cleaner.close()
    except (BrokerError, TimeoutError):
        return False
    return True


def _judge(came: int, brand: Brand) -> Finding:
    if came == 0:
        return error(
            "retained_queue",
            "no retained message arrives",
            "does the broker keep retained messages, and may this user have them?",
        )
    if came < COUNT:
        return warning(
            "retained_queue",
            f"only {came:,} of {COUNT:,} retained messages arrive at a subscriber with QoS 1",
            "hubs and dashboards miss the others: "
            + (brand.many or "raise the broker's limit of queued or retained messages"),
        )
    return ok(
        "retained_queue", f"all of {COUNT:,} retained messages arrive at a subscriber with QoS 1"
    )


async def check_instances(settings: Settings, way: Way, local: Local | None) -> list[Finding]:
    """Return which bridges are online at the broker. Raises BrokerError, TimeoutError."""
    base = settings.mqtt.base_topic
    held: dict[str, bytes] = {}
    reader = await way.open()
    try:
        async with asyncio.timeout(_READ_S):
            await reader.read_retained(
                [[f"{base}/bridge/+/state", f"{base}/bridge/+/info"]],
                held.__setitem__,
                marker_topic=f"{base}/reply/{way.token}",
                quiet_s=0.1,
            )
    except TimeoutError:
        return [skipped("instance", "the broker does not say what it holds")]
    finally:
        await reader.close()
    is_near = stays_here(way.endpoint) and local is None
    return list(judge_instances(settings, held, local, is_hidden=is_near or not settings.http.port))


def judge_instances(
    settings: Settings, held: Mapping[str, bytes], local: Local | None, *, is_hidden: bool
) -> Iterator[Finding]:
    """Yield what the states of bridges mean, as the broker holds them.

    `is_hidden` says that one may well run here although it does not answer at `http.port`.
    """
    own = f"{settings.mqtt.base_topic}/bridge"
    online = sorted(
        topic.removeprefix(f"{own}/").removesuffix("/state")
        for topic, payload in held.items()
        if topic.endswith("/state") and payload == b"online"
    )
    others = [f"{name}{_version(held, own, name)}" for name in online if name != settings.instance]
    told = f"; others: {', '.join(others)}" if others else ""
    name = settings.instance
    if name not in online:
        yield ok("instance", f"no bridge named {name} is online at the broker{told}")
    elif local is not None and local.is_online:
        yield ok("instance", f"{name} is online at the broker{told}")
    elif local is None and is_hidden:
        yield note(
            "instance",
            f"{name}{_version(held, own, name)} is online at the broker{told}",
            "it does not answer at http.port here; if two bridges are to run with these settings, "
            "give each its own instance",
        )
    else:
        yield warning(
            "instance",
            f"{name}{_version(held, own, name)} is online at the broker, not on this machine{told}",
            "two bridges with one name disconnect each other: set instance to another name",
            "if there is no other, this is left from a bridge that was killed: start it",
        )


def _version(held: Mapping[str, bytes], own: str, name: str) -> str:
    info = jsontext.read(held.get(f"{own}/{name}/info"))
    version = info.get("version") if isinstance(info, dict) else None
    return f" ({version})" if isinstance(version, str) else ""
