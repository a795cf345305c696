"""What this user may write and read at the broker, tried family by family.

Nothing that is sent is retained, and the topics are nobody's: a bridge or a hub that hears of them
has nothing to do. One client writes and another one reads, since a broker may withhold silently.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from bridge.errors import BrokerError, BrokerRefused
from bridge.formats import jsontext
from bridge.mqtt.trial import Trial
from bridge.settings import Settings
from bridge.support.doctor.broker_connection import Way
from bridge.support.doctor.finding import Finding, error, note, ok, warning
from bridge.tree.messages import Message, Publication

_ARRIVAL_S = 2.0
_TICK_S = 0.02
_SHALLOW = 8
_ACL = "{where}, for the user {user}: {lines}"


@dataclass(frozen=True, slots=True)
class Family:
    """Topics that the bridge has one need of.

    `writes` are tried with `payload`, `reads` are subscribed to; `needed` is what an access list
    has to hold. The bridge itself writes no commands, so that it may be refused to.
    """

    check: str
    what: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    needed: tuple[str, ...]
    payload: bytes = b""
    is_command: bool = False


@dataclass(slots=True)
class _Tried:
    """What came of one family."""

    unwritten: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    hung_up: bool = False


def families(settings: Settings, token: str) -> tuple[Family, ...]:
    """Return the families, with topics that hold a token."""
    base, instance = settings.mqtt.base_topic, settings.instance
    device, own = f"{base}/{token}", f"{base}/bridge/{instance}"
    everything = (f"topic readwrite {base}/#",)
    values = f"{device}/Doctor/value/Pulse"
    found = [
        Family(
            "rights_tree",
            "documents and values of devices",
            (
                device,
                f"{device}/availability",
                f"{device}/Doctor/state",
                values,
                f"{values}/0/Master",
            ),
            (device, f"{device}/#"),
            everything,
        ),
        Family(
            "rights_bridge",
            "the bridge's own topics",
            (f"{own}/{token}", f"{own}/response/{token}"),
            (f"{own}/{token}", f"{own}/response/{token}"),
            everything,
        ),
        Family(
            "rights_answers",
            "answers to commands",
            (f"{device}/response", f"{base}/reply/{token}"),
            (f"{device}/response", f"{base}/reply/{token}"),
            everything,
        ),
        Family(
            "rights_commands",
            "commands",
            (f"{device}/call", f"{values}/0/Master/get", f"{own}/request/{token}"),
            (f"{base}/+/call", f"{base}/+/+/value/+/+/+/get", f"{own}/request/+"),
            everything,
            payload=jsontext.encode({"callid": token, "action": "Doctor"}),
            is_command=True,
        ),
    ]
    if settings.homeassistant.enabled:
        prefix = settings.homeassistant.prefix
        config = f"{prefix}/device/upnp2mqtt_doctor/config"
        found.append(
            Family(
                "rights_homeassistant",
                "Home Assistant's discovery",
                (config,),
                (config, f"{prefix}/status"),
                (f"topic readwrite {prefix}/device/+/config", f"topic read {prefix}/status"),
            )
        )
    return tuple(found)


async def check_rights(
    settings: Settings, way: Way, arrival_s: float = _ARRIVAL_S
) -> list[Finding]:
    """Return what each family comes to; all is to arrive within `arrival_s`.

    Raises BrokerError, TimeoutError.
    """
    wanted = families(settings, way.token)
    came: set[str] = set()

    def hear(message: Message) -> None:
        came.add(message.topic)

    tried = {one.check: _Tried() for one in wanted}
    reader = await way.open()
    try:
        for family in wanted:
            tried[family.check].unread = await _subscribe(reader, family, hear)
        for family in wanted:
            await _write(way, family, tried[family.check])
        await _await_all(came, wanted, tried, arrival_s)
    finally:
        await reader.close()
    user = way.endpoint.username or way.options.username or "anonymous"
    return [_judge(family, tried[family.check], came, way, user) for family in wanted]


async def _subscribe(reader: Trial, family: Family, hear: Callable[[Message], None]) -> list[str]:
    refused = []
    for topic in family.reads:
        try:
            await reader.subscribe([topic], hear)
        except BrokerRefused:
            refused.append(topic)
    return refused


async def _write(way: Way, family: Family, tried: _Tried) -> None:
    """Publish; where the broker hangs up, go on with another session."""
    writer = await way.open()
    try:
        for topic in family.writes:
            publication = Publication(topic, family.payload, retain=False)
            try:
                await writer.publish(publication)
            except BrokerRefused:
                tried.unwritten.append(topic)
            except BrokerError:
                tried.unwritten.append(topic)
                tried.hung_up = True
                writer = await way.open()
    finally:
        await writer.close()


async def _await_all(
    came: set[str], wanted: Iterable[Family], tried: dict[str, _Tried], arrival_s: float
) -> None:
    """Wait for what was written, as long as more may come."""
    awaited = {
        topic for one in wanted for topic in one.writes if topic not in tried[one.check].unwritten
    }
    with suppress(TimeoutError):
        async with asyncio.timeout(arrival_s):
            while not awaited <= came:  # noqa: ASYNC110 - the reader's callback has no event
                await asyncio.sleep(_TICK_S)


def _judge(family: Family, tried: _Tried, came: set[str], way: Way, user: str) -> Finding:
    protocol = way.protocol
    lost = [topic for topic in family.writes if topic not in (*tried.unwritten, *came)]
    advice = _ACL.format(where=way.brand.rights, user=user, lines="; ".join(family.needed))
    if tried.unread:
        return _judge_unread(family, tried.unread, way, advice)
    if family.is_command and (tried.unwritten or (lost and protocol != "5")):
        return note(
            family.check,
            f"{family.what}: subscribed; not tried whether they arrive, since this user may not "
            "write any",
            "send one as another user, with `upnp2mqtt call`",
        )
    failing = warning if family.check == "rights_homeassistant" else error
    if tried.unwritten:
        said = f"{family.what}: may not write {', '.join(tried.unwritten)}"
        if tried.hung_up:
            hint = (
                "the broker closed the connection: in mosquitto.conf, max_queued_messages 100000, "
                "not 0"
            )
            return failing(family.check, said, advice, hint)
        return failing(family.check, said, advice)
    if lost:
        verb = "may not read" if protocol == "5" else "may not write or read"
        return failing(family.check, f"{family.what}: {verb} {', '.join(lost)}", advice)
    return ok(
        family.check, f"{family.what}: {'received' if family.is_command else 'written and read'}"
    )


def _judge_unread(family: Family, unread: list[str], way: Way, advice: str) -> Finding:
    said = f"{family.what}: a subscription is refused to {', '.join(unread)}"
    if way.brand.is_shallow and all(one.count("/") >= _SHALLOW for one in unread):
        who = way.brand.name or "this broker"
        limit = f"{who} takes no filter of more than {_SHALLOW} levels"
        return warning(family.check, said, f"{limit}: choose a mqtt.base_topic of one level")
    failing = warning if family.check == "rights_homeassistant" else error
    return failing(family.check, said, advice)
