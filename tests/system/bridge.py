"""The whole program in the lab: a broker, the bridge, and an observer of all that is published."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.system.raw import tcp_answers
from tests.system.space import Space

ROOT = Path(__file__).parents[2]
BROKER_PORT = 1883
URL = f"mqtt://127.0.0.1:{BROKER_PORT}"
PATIENCE_S = 20.0
STOP_PATIENCE_S = 5.0
_POLL_S = 0.01


PATIENCE = 4
"""How many times as long something may take where the machine has other work."""


def wait_for(predicate: Callable[[], object], seconds: float, what: str = "") -> None:
    """Wait until it holds. Raises TimeoutError where it does not within so many seconds."""
    deadline = time.monotonic() + PATIENCE * seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(what or "what was waited for did not happen")
        time.sleep(_POLL_S)


class Program:
    """A program in a namespace that can be started again; its standard error goes to a file."""

    def __init__(self, space: Space, folder: Path, name: str, command: tuple[str, ...]) -> None:
        self._space = space
        self._folder = folder
        self._command = command
        self._env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self.process is not None and self.process.poll() is None

    def set(self, **env: str) -> None:
        """Add this to its environment at every start from now on."""
        self._env |= env

    def start(self, **env: str) -> None:
        """Start it, with this added to its environment."""
        assert not self.runs
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._space.exec_prefix, *self._command],
                cwd=self._folder,
                env=self._env | env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and give its exit status. Raises TimeoutExpired where that takes over 5 s."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Broker(Program):
    """A mosquitto at 127.0.0.1 and the addresses of its space."""

    def __init__(self, space: Space, folder: Path) -> None:
        command = 'eval "$BEFORE"; exec mosquitto -c broker.conf'
        super().__init__(space, folder, "broker", ("sh", "-c", command))
        self._env["PATH"] += ":/usr/sbin"
        self._disk = folder / "disk"
        self._text = (
            "".join(f"listener {BROKER_PORT} {one}\n" for one in ("127.0.0.1", *space.fixed))
            + "allow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\nuser root\n"
            f"persistence true\npersistence_location {self._disk}/\nautosave_interval 1\n"
            "autosave_on_changes true\n"
        )

    def start(self, **env: str) -> None:
        """Start it with what it held when it ended, and wait until it answers."""
        (self._folder / "broker.conf").write_text(self._text)
        self._disk.mkdir(exist_ok=True)
        super().start(**env)
        wait_for(
            lambda: self._space.call(tcp_answers, "127.0.0.1", BROKER_PORT), PATIENCE_S, "no broker"
        )

    def start_on_full_disk(self) -> None:
        """Start it with what it held when it ended, on a disk of its own without room for more."""
        # Mounts of `ip netns exec` are its own, and end with it.
        mount = "mount -t tmpfs -o size=$(($(stat -c %s held) / 1024 + 8))k none disk"
        self.start(BEFORE=f"cp disk/mosquitto.db held; {mount}; mv held disk/mosquitto.db")

    def empty(self) -> None:
        """Restart it without what it held."""
        self.stop(signal.SIGKILL)
        (self._disk / "mosquitto.db").unlink(missing_ok=True)
        self.start()


class Bridge(Program):
    """The bridge, with the settings that it has in tests by itself."""

    def __init__(self, space: Space, folder: Path) -> None:
        super().__init__(space, folder, "bridge", (sys.executable, "-m", "bridge", "run"))
        self._env["BRIDGE_MQTT__URL"] = URL

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program there."""
        return subprocess.run(
            [*self._space.exec_prefix, sys.executable, "-m", "bridge", *words],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def lines(self) -> list[dict[str, Any]]:
        """Read its log: every line must be a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Seen(NamedTuple):
    """A message, when it came (monotonic), and whether it was published with retain."""

    at_s: float
    topic: str
    payload: bytes
    retain: bool
    correlation_data: bytes | None


class Observer:
    """A subscriber to everything: `tree` is what the broker holds, `live` what came since then."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._lock = Lock()
        self._ids = count(1)
        self._name = f"observer-{os.getpid()}-{time.monotonic_ns()}"
        self._client = Client(
            CallbackAPIVersion.VERSION2, self._name, protocol=MQTTv5, reconnect_on_failure=False
        )
        self._client.on_message = self._receive
        self._tree: dict[str, bytes] = {}
        self._live: list[Seen] = []
        self._is_live = False

    def __enter__(self) -> Self:
        self._space.call(self._client.connect, "127.0.0.1", BROKER_PORT)
        connection = self._client.socket()
        assert isinstance(connection, socket.socket)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.loop_start()
        wait_for(self._client.is_connected, PATIENCE_S, "the observer is not connected")
        # QoS 0: a command would have to wait behind the acknowledgements of the whole tree.
        self._client.subscribe("#", options=SubscribeOptions(qos=0, retainAsPublished=True))
        self._client.publish(self._name, b"everything held has come")
        wait_for(lambda: self._is_live, PATIENCE_S, "the observer hears nothing")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        with suppress(AttributeError):  # paho's thread may just have ended, and forgotten itself
            self._client.loop_stop()

    def _receive(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        now_s, payload = time.monotonic(), bytes(message.payload)
        with self._lock:
            if message.topic == self._name:
                self._is_live = True
                return
            if message.retain:
                self._tree[message.topic] = payload
                if not payload:
                    del self._tree[message.topic]
            if self._is_live:
                correlation = getattr(message.properties, "CorrelationData", None)
                retain = bool(message.retain)
                self._live.append(Seen(now_s, message.topic, payload, retain, correlation))

    @property
    def tree(self) -> dict[str, bytes]:
        """What the broker holds, as far as it has come."""
        with self._lock:
            return dict(self._tree)

    @property
    def live(self) -> list[Seen]:
        """Every message since the beginning."""
        with self._lock:
            return list(self._live)

    def text(self, own: str) -> str | None:
        """The retained payload at `upnp/<own>`."""
        with self._lock:
            payload = self._tree.get(f"upnp/{own}")
        return None if payload is None else payload.decode()

    def document(self, own: str) -> dict[str, Any]:
        """The retained JSON at `upnp/<own>`; empty where there is none."""
        return dict(json.loads(self.text(own) or "{}"))

    def wait_text(self, own: str, text: str | None, seconds: float) -> None:
        """Wait until `upnp/<own>` holds this."""
        try:
            wait_for(lambda: self.text(own) == text, seconds)
        except TimeoutError:
            raise TimeoutError(
                f"{own} holds {self.text(own)!r} after {seconds} s, not {text!r}"
            ) from None

    def publish(self, topic: str, body: object = None, **properties: object) -> None:
        """Publish a command: JSON, or bytes as they are; `retain` and properties of MQTT 5."""
        retain = bool(properties.pop("retain", False))
        given = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(given, name, value)
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._client.publish(topic, payload, qos=1, retain=retain, properties=given)

    def answers(self, callid: object) -> list[tuple[Seen, dict[str, Any]]]:
        """Every answer with this callid until now, on whatever topic."""
        found = []
        for seen in self.live:
            parts = seen.topic.split("/")
            if parts[2:] == ["response"] or "response" in parts[3:4] or parts[1:2] == ["reply"]:
                with suppress(ValueError):  # the bridge marks its own reading there, without JSON
                    body = json.loads(seen.payload)
                    if isinstance(body, dict) and body.get("callid") == callid:
                        found.append((seen, body))
        return found

    def ask(self, topic: str, body: Mapping[str, object], seconds: float = 10) -> dict[str, Any]:
        """Publish a command and give its answer. Raises TimeoutError without one."""
        callid = f"test-{next(self._ids)}"
        self.publish(topic, {"callid": callid, **body})
        wait_for(lambda: self.answers(callid), seconds, f"no answer on {topic} to {body}")
        return self.answers(callid)[0][1]

    def call(
        self, device: str, action: str, seconds: float = 10, /, **args: object
    ) -> dict[str, Any]:
        """Have an action carried out, and give the answer."""
        return self.ask(f"upnp/{device}/call", {"action": action, "args": args}, seconds)

    def verb(self, verb: str, **body: object) -> dict[str, Any]:
        """Ask the bridge itself, and give the answer."""
        return self.ask(f"upnp/bridge/main/request/{verb}", body, 30)

    def wait_online(self) -> None:
        """Wait until the bridge says that the tree is whole."""
        self.wait_text("bridge/main/state", "online", PATIENCE_S)
