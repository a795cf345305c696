#!/usr/bin/env bash
# RabbitMQ 3.10.8 (Debian 12) with its plugin rabbitmq_mqtt, and paho-mqtt 2.2.0: a subscription with a
# wildcard is granted, and brings live messages, but none of the retained ones that match it; by exact
# topic they come. MQTT 3.1.1, section 3.8.4: "any existing retained messages matching the Topic Filter
# MUST be re-sent". Needs root (mmdebstrap, a network namespace of its own).
#
# Seen: a/b brings 1 retained; a/+ brings 0 retained; a/# brings 0 retained, each granted
set -euo pipefail
work=$(mktemp -d)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include=rabbitmq-server=3.10.8-1.1+deb12u1 \
    bookworm "$root" >/dev/null 2>&1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet paho-mqtt==2.2.0
cat >"$work/ask.py" <<'PYTHON'
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def client():
    one = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    one.granted, one.retained = [], 0

    def count(_client, _userdata, message):
        one.retained += message.retain

    one.on_subscribe = lambda _c, _u, _m, codes, _p: one.granted.extend(codes)
    one.on_message = count
    for _ in range(90):
        try:
            one.connect("127.0.0.1")
            break
        except OSError:
            time.sleep(1)
    one.loop_start()
    return one


publisher = client()
publisher.publish("a/b", "1", qos=1, retain=True).wait_for_publish(20)
time.sleep(1)
for topic_filter in ("a/b", "a/+", "a/#"):
    reader = client()
    reader.subscribe(topic_filter)
    time.sleep(2)
    told = "granted" if reader.granted and not reader.granted[0].is_failure else "refused"
    print(f"{topic_filter} is {told} and brings {reader.retained} retained")
PYTHON
cat >"$work/inside.sh" <<'INSIDE'
set -euo pipefail
root=$1 work=$2
ip link set lo up
hostname localhost
echo "127.0.0.1 localhost" >"$root/etc/hosts"
mount -t proc proc "$root/proc"
echo "[rabbitmq_mqtt]." >"$root/etc/rabbitmq/enabled_plugins"
chroot "$root" env RABBITMQ_NODENAME=r@localhost runuser -u rabbitmq -- \
    /usr/lib/rabbitmq/bin/rabbitmq-server >"$work/log" 2>&1 &
"$work/venv/bin/python" "$work/ask.py" >"$work/seen"
INSIDE
timeout 150 unshare --net --mount --uts --pid --fork --kill-child \
    bash "$work/inside.sh" "$root" "$work" || tail "$work/log"
diff - "$work/seen" <<'SEEN'
a/b is granted and brings 1 retained
a/+ is granted and brings 0 retained
a/# is granted and brings 0 retained
SEEN
