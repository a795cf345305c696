"""Topics of the bridge that others write over, at a real broker."""

import asyncio
from pathlib import Path

import pytest

from tests.adapter.bridge import bridging, flags, onlooking
from tests.adapter.device import Device, Part, Service, Variable, new_udn
from tests.adapter.mosquitto import mosquitto, until

BASE = "upnp"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_others_overwrite_is_right_again(tmp_path: Path, protocol: str) -> None:
    name, udn = f"written-{new_udn()}", new_udn()
    variables = (Variable("V", "ui2"), Variable("Text"))
    device = Device(Part(udn, name, (Service("One", variables, {"V": "7", "Text": "a"}),)))
    await device.start()
    try:
        chosen = {"mqtt__protocol": protocol, "mqtt__max_payload": "1024"}
        async with mosquitto(tmp_path) as broker, bridging(flags(broker.port, name, **chosen)):
            with onlooking(broker.port) as onlooker:
                await until(lambda: f"{BASE}/{udn}/One/value/V" in onlooker.held)
                before = {
                    topic: payload
                    for topic, payload in onlooker.held.items()
                    if f"/{udn}" in topic or topic.endswith("/devices")
                }
                assert len(before) > 5
                await asyncio.sleep(0.5)  # online is said before others are listened to
                payloads = (b"", b"junk", b'{"chunks":2}')
                for number, topic in enumerate(before):
                    onlooker.publish(topic, payloads[number % 3], retain=True)
                onlooker.publish(f"{BASE}/{udn}/remark", b"another's", retain=True)
                await until(lambda: f"{BASE}/{udn}/remark" in onlooker.held)

                def is_right() -> bool:
                    return {topic: onlooker.held.get(topic) for topic in before} == before

                await until(is_right, 60)
                assert onlooker.held[f"{BASE}/{udn}/remark"] == b"another's"
    finally:
        await device.stop()
