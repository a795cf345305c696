#!/usr/bin/env bash
# ejabberd 23.01 (Debian 12), with paho-mqtt 2.2.0: of 1,100 retained messages below one filter a
# subscriber gets 1,000, and nothing tells that there are more (MQTT 5, section 3.3.1.3 has the server
# send those that match). A topic filter of nine levels is refused, with MQTT 3.1.1 by a return code
# that 3.1.1 (section 3.9.3) does not have. Needs root (mmdebstrap, a network namespace of its own).
#
# Seen: 1000 of 1100; eight levels 0, nine levels 143 with MQTT 3.1.1 and with MQTT 5
set -euo pipefail
work=$(mktemp -d)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include=ejabberd=23.01-1 bookworm "$root" >/dev/null 2>&1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet paho-mqtt==2.2.0
cat >"$work/ask.py" <<'PYTHON'
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

VERSIONS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}


def client(version):
    one = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=VERSIONS[version])
    one.granted, one.got = [], set()
    one.on_subscribe = lambda _c, _u, _m, codes, _p: one.granted.extend(c.value for c in codes)
    one.on_message = lambda _c, _u, message: one.got.add(message.topic)
    one.username_pw_set("one@localhost", "pw")
    one.connect("127.0.0.1")
    one.loop_start()
    return one


def wait(condition):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)


publisher = client("5")
sent = [publisher.publish(f"many/{n}", "1", qos=1, retain=True) for n in range(1100)]
sent[-1].wait_for_publish(20)
reader = client("5")
reader.subscribe("many/#")
wait(lambda: len(reader.got) >= 1000)
time.sleep(2)
print(f"{len(reader.got)} of {len(sent)}")
for version in VERSIONS:
    asking = client(version)
    asking.subscribe([("a/b/c/d/e/f/g/h", 0), ("a/b/c/d/e/f/g/h/i", 0)])
    wait(lambda: asking.granted)
    print(f"MQTT {version}: eight levels {asking.granted[0]}, nine levels {asking.granted[1]}")
PYTHON
cat >"$work/inside.sh" <<'INSIDE'
set -euo pipefail
root=$1 work=$2
ip link set lo up
hostname localhost
mount -t proc proc "$root/proc"
install -d -o "$(stat -c %u "$root/var/lib/ejabberd")" "$root/run/ejabberd"
chroot "$root" ejabberdctl foreground >"$work/log" 2>&1 &
for _ in $(seq 60); do
    chroot "$root" ejabberdctl status >/dev/null 2>&1 && break
    sleep 0.5
done
chroot "$root" ejabberdctl register one localhost pw >/dev/null
"$work/venv/bin/python" "$work/ask.py" >"$work/seen"
INSIDE
timeout 120 unshare --net --mount --uts --pid --fork --kill-child \
    bash "$work/inside.sh" "$root" "$work" || cat "$work/log"
diff - "$work/seen" <<'SEEN'
1000 of 1100
MQTT 3.1.1: eight levels 0, nine levels 143
MQTT 5: eight levels 0, nine levels 143
SEEN
