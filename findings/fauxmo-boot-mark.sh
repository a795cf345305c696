#!/usr/bin/env bash
# fauxmo 0.8.0 (a WeMo-like switch): each answer to a search has another 01-NLS, the value that stands
# for a boot of the device (BOOTID.UPNP.ORG of UDA 1.1, section 1.2.2 took its place), though it booted
# once. And SUBSCRIBE at the eventSubURL of its own description is never answered (UDA 1.0, section
# 4.1.1: within 30 s).
#
# Seen: 3 answers have 3 values of 01-NLS; SUBSCRIBE is not answered within 31 s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet fauxmo==0.8.0
cat >"$work/config.json" <<'JSON'
{"FAUXMO": {"ip_address": "127.0.0.1"}, "PLUGINS": {"CommandLinePlugin": {"DEVICES": [
  {"name": "Lamp", "port": 12340, "on_cmd": "true", "off_cmd": "true", "state_cmd": "true"}]}}}
JSON
cat >"$work/ask.py" <<'PYTHON'
import re
import socket
import subprocess
import sys
import time

work = sys.argv[1]
device = subprocess.Popen(
    [f"{work}/venv/bin/fauxmo", "-c", f"{work}/config.json"], stderr=subprocess.DEVNULL
)
try:
    time.sleep(3)
    marks = []
    for _ in range(3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(10)
            udp.sendto(
                b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
                b'MAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n',
                ("239.255.255.250", 1900),
            )
            marks.append(re.search(rb"(?im)^01-NLS:(.*)$", udp.recv(4096))[1].strip())
    print(f"{len(marks)} answers have {len(set(marks))} values of 01-NLS")
    with socket.create_connection(("127.0.0.1", 12340)) as tcp:
        tcp.sendall(
            b"SUBSCRIBE /upnp/event/basicevent1 HTTP/1.1\r\nHOST: 127.0.0.1:12340\r\n"
            b"CALLBACK: <http://127.0.0.1:9999/>\r\nNT: upnp:event\r\nTIMEOUT: Second-300\r\n\r\n"
        )
        tcp.settimeout(31)
        try:
            print(f"SUBSCRIBE is answered: {tcp.recv(100)[:20]}")
        except TimeoutError:
            print("SUBSCRIBE is not answered within 31 s")
finally:
    device.terminate()
    device.wait(10)
PYTHON
unshare --user --map-root-user --net sh -c '
    ip link set lo up
    ip link set lo multicast on
    ip route add 224.0.0.0/4 dev lo
    exec "$@"' sh "$work/venv/bin/python" "$work/ask.py" "$work" >"$work/seen"
diff - "$work/seen" <<'SEEN'
3 answers have 3 values of 01-NLS
SUBSCRIBE is not answered within 31 s
SEEN
