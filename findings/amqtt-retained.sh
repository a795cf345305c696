#!/usr/bin/env bash
# amqtt 0.11.4 (broker) with paho-mqtt 2.2.0 as the client: a new client that subscribes to one filter
# is handed retained messages of others. MQTT 3.1.1, section 3.3.1.3 [MQTT-3.3.1-6] has the server send
# the last retained message "on each matching topic name", and no others.
#
# Seen: subscribed to a/#, got a/1; another client that subscribed to b/# alone, got a/1 b/1 b/2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet amqtt==0.11.4 paho-mqtt==2.2.0
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'PYTHON'
import asyncio
import os
import socket
import sys
import time

import paho.mqtt.client as mqtt
from amqtt.broker import Broker

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]


def client():
    one = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    one.got = []
    one.on_message = lambda _c, _u, m: one.got.append((m.topic, m.payload.decode(), m.retain))
    one.connect("127.0.0.1", PORT)
    one.loop_start()
    return one


def clients():
    publisher = client()
    for topic in ("a/1", "b/1", "b/2"):
        publisher.publish(topic, topic, qos=1, retain=True).wait_for_publish(5)
    first = client()
    first.subscribe("a/#", qos=0)
    time.sleep(1)
    second = client()
    second.subscribe("b/#", qos=0)
    time.sleep(1)
    print("subscribed to a/#, got", *(topic for topic, _, retained in first.got if retained))
    print("subscribed to b/#, got", *(topic for topic, _, retained in second.got if retained))
    sys.stdout.flush()
    os._exit(0)  # the broker's own end may take minutes


async def main():
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{PORT}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await asyncio.to_thread(clients)


asyncio.run(main())
PYTHON
diff - "$work/seen" <<'SEEN'
subscribed to a/#, got a/1
subscribed to b/#, got a/1 b/1 b/2
SEEN
