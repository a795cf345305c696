"""The demonstration: simulated devices, a broker and the bridge, by one command on loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.system.bridge import ROOT, wait_for

DEVICES = 4
STANDS_STILL = {"6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11c1"}  # the media server
MOVE_S = 15.0
STOP_S = 5.0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the demonstration; give its process and what it printed up to `Ctrl-C`."""
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "demo"],
            cwd=tmp_path,
            env={"PATH": f"{os.environ['PATH']}:/usr/sbin", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        try:
            said = ""
            for line in process.stdout:
                said += line
                if "Ctrl-C" in line:
                    break
            yield process, said
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()


def group(number: int) -> list[str]:
    """Name the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        if int(rest.split()[3]) == number and rest.split()[0] != "Z":
            found.append(name)
    return found


def test_the_demonstration_shows_devices_with_moving_values_and_ends_whole(demo):
    process, said = demo
    (url,) = set(re.findall(r"mqtt://[\d.]+:\d+", said))
    assert f"mosquitto_sub -L {url}/upnp/" in said
    values: dict[str, set[bytes]] = defaultdict(set)
    roots: dict[str, str] = {}
    pictures: list[str] = []

    def receive(_client: Client, _data: object, message: MQTTMessage) -> None:
        if "/value/" in message.topic:
            values[message.topic].add(bytes(message.payload))
        elif message.topic.endswith("/art"):
            pictures.append(message.payload.decode())
        elif message.topic.count("/") == 1:
            document = json.loads(message.payload)
            roots[document["id"]] = document["root"]

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = receive
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    client.connect(where.hostname, where.port)
    client.subscribe("upnp/#")
    client.loop_start()
    try:

        def moving() -> set[str]:
            moved = (topic.split("/")[1] for topic, told in list(values.items()) if len(told) > 1)
            return {roots[device] for device in moved}

        wait_for(lambda: len(set(roots.values())) == DEVICES, 15, "there are not four devices")
        with suppress(TimeoutError):
            wait_for(lambda: len(moving()) == DEVICES - len(STANDS_STILL), MOVE_S)
        assert moving() == set(roots.values()) - STANDS_STILL
        wait_for(lambda: len(set(pictures)) > 1, MOVE_S, "the cover does not change")
        assert pictures[-2] != pictures[-1]
        with urlopen(pictures[-1], timeout=STOP_S) as answer:
            assert answer.read().startswith(b"\x89PNG")
    finally:
        client.disconnect()
        client.loop_stop()

    began_s = time.monotonic()
    process.terminate()
    assert process.wait(STOP_S) == 0
    assert time.monotonic() - began_s < STOP_S
    assert group(process.pid) == []
