"""What a port speaks that did not answer as it was spoken to: MQTT with TLS, or without."""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace

from bridge.mqtt.url import Endpoint

_ANSWER_S = 3.0
_CONNECT = bytes.fromhex("10 0c 0004 4d515454 04 02 000a 0000")
"""CONNECT of MQTT 3.1.1 with no client id (section 3.1)."""
_CONNACK = b"\x20"


async def other_way(endpoint: Endpoint) -> Endpoint | None:
    """Return the endpoint as it is to be spoken to, None where that is not known."""
    if endpoint.transport == "unix":
        return None
    if (endpoint.tls or endpoint.transport == "websockets") and await _speaks_mqtt(endpoint):
        return replace(endpoint, transport="tcp", tls=False, path="")
    if not endpoint.tls and await _speaks_tls(endpoint):
        return replace(endpoint, tls=True)
    return None


async def _speaks_tls(endpoint: Endpoint) -> bool:
    """Return whether a handshake comes to its end, or to a refusal of our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is said there
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def _speaks_mqtt(endpoint: Endpoint) -> bool:
    """Return whether a broker answers without TLS, be it with a refusal."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except (OSError, TimeoutError):
        return False
    try:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                writer.write(_CONNECT)
                return await reader.read(1) == _CONNACK
        return False
    finally:
        writer.transport.abort()
