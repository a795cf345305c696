"""Publishes as fast as a broker takes it, as a process of its own: `python -m … < a JSON object`.

The object has `port`, `messages` (each a topic and a payload in base64), `times`, `qos`, `retain`
and `properties` by paho's names. `{n}` in a topic stands for the number of its message.
"""

import asyncio
import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.adapter.bridge import clean_environment

_PATIENCE_S = 60.0


async def flood(
    port: int,
    messages: Iterable[tuple[str, bytes]],
    *,
    times: int = 1,
    qos: int = 1,
    retain: bool = False,
    **properties: str | bytes,
) -> None:
    """Have all of it published, so many times."""
    wanted = {
        "port": port,
        "messages": [(topic, b64encode(payload).decode()) for topic, payload in messages],
        "times": times,
        "qos": qos,
        "retain": retain,
        "properties": {
            name: b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in properties.items()
        },
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.adapter.hostile.flood"),
        stdin=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await process.communicate(json.dumps(wanted).encode())
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()


def _main() -> None:
    wanted = json.load(sys.stdin)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(100)
    client.connect("127.0.0.1", wanted["port"])
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in wanted["properties"].items():
        setattr(properties, name, b64decode(value) if name == "CorrelationData" else value)
    messages = [(topic, b64decode(payload)) for topic, payload in wanted["messages"]]
    sent = [
        client.publish(
            topic.replace("{n}", str(n)), payload, wanted["qos"], wanted["retain"], properties
        )
        for n in range(wanted["times"])
        for topic, payload in messages
    ]
    for one in sent:
        one.wait_for_publish(_PATIENCE_S)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    _main()
