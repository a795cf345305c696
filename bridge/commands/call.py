"""`call`: one call of an action, over the broker and a running bridge."""

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence

from bridge import log
from bridge.commands import running, signals
from bridge.errors import BrokerError, BrokerUnreachable, ConfigError
from bridge.formats import jsontext
from bridge.model import topics
from bridge.mqtt.reconnect import open_newest
from bridge.mqtt.session import Session
from bridge.mqtt.url import broker_options
from bridge.settings import Settings
from bridge.tree.messages import Message, Publication

_EMBEDDED = "mqtt://127.0.0.1:1883"
_MARGIN_S = 5.0


class _Nothing:
    """A source that has nothing to publish."""

    has_bulk = False

    def take(self, **_: object) -> Publication | None:
        return None


def call(settings: Settings, words: Sequence[str]) -> int:
    """Print the answer to `UDN [SERVICE] ACTION [Arg=value …]`; exit 0, or 1 with the error.

    Raises ConfigError where the words are no call.
    """
    log.configure("error" if settings.log.level == "info" else settings.log.level, "console")
    names = [word for word in words if "=" not in word]
    args = dict(word.split("=", 1) for word in words if "=" in word)
    match names:
        case [udn, action]:
            request: dict[str, object] = {"action": action}
        case [udn, service, action]:
            request = {"service": service, "action": action}
        case _:
            raise ConfigError("a call is: UDN [SERVICE] ACTION [Arg=value …]")
    request |= {"args": args, "timeout": settings.upnp.action_timeout}
    try:
        answer = signals.run(_ask(settings, udn, request))
    except (BrokerError, TimeoutError) as error:
        sys.stderr.write(f"upnp2mqtt: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")
    if answer.get("success") is True:
        return 0
    sys.stderr.write(f"upnp2mqtt: {answer.get('code')}: {answer.get('error')}\n")
    return 1


async def _ask(settings: Settings, udn: str, request: dict[str, object]) -> dict[str, object]:
    callid = secrets.token_hex(8)
    base = settings.mqtt.base_topic
    answered: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    def on_message(message: Message) -> None:
        document = jsontext.read(message.payload)
        if isinstance(document, dict) and document.get("callid") == callid and not answered.done():
            answered.set_result(document)

    session = await _open(settings, callid)
    try:
        await session.subscribe([f"{base}/+/response"], on_message)
        level = topics.device_id(topics.decode_level(udn))
        payload = jsontext.encode({"callid": callid, **request})
        await session.publish(Publication(f"{base}/{level}/call", payload, retain=False))
        async with asyncio.timeout(settings.upnp.action_timeout + _MARGIN_S):
            return await answered
    except TimeoutError:
        raise TimeoutError("no answer: is the bridge running, on this broker?") from None
    finally:
        await session.close()


async def _open(settings: Settings, callid: str) -> Session:
    found = running.find(settings.instance, settings.mqtt.base_topic)
    embedded = found.broker if found is not None and found.broker else _EMBEDDED
    urls = settings.mqtt.url or [embedded]
    options = broker_options(settings, urls, f"upnp2mqtt-call-{callid}")
    will = Publication(f"{settings.mqtt.base_topic}/reply/{callid}", b"", retain=False)
    endpoint, source = options.endpoints[0], _Nothing()
    try:
        return await open_newest(
            settings.mqtt.protocol,
            lambda version: Session.open(endpoint, options, will, source, protocol=version),
        )
    except BrokerError as error:
        unset = (
            ""
            if settings.mqtt.url
            else "mqtt.url is not set, and no bridge here has a broker of its own: "
        )
        raise BrokerUnreachable(f"{unset}{endpoint}: {error}") from error
