"""The add-on's start: its options, and the Supervisor's broker, become settings of the bridge.

`run.py COMMAND…` becomes the command, with the settings in its environment and none among its
arguments, which every process can see. `run.py --alive` exits with 0 while the bridge answers.
"""
# ruff: noqa: INP001

import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

OPTIONS = Path(os.environ.get("OPTIONS_FILE", "/data/options.json"))
SUPERVISOR = os.environ.get("SUPERVISOR_URL", "http://supervisor")

USER_ID = 10001
TIMEOUT_S = 10.0
DEFAULT_HTTP_PORT = 8099
MAX_ANSWER_BYTES = 65536

GATEWAY, INGRESS = "172.30.32.1", "172.30.32.2/32"
"""The host in the Supervisor's network, and who asks for the page there."""

VARIABLES = {
    "mqtt_url": "BRIDGE_MQTT__URL",
    "mqtt_username": "BRIDGE_MQTT__USERNAME",
    "mqtt_password": "BRIDGE_MQTT__PASSWORD",
    "mqtt_tls_ca": "BRIDGE_MQTT__TLS_CA",
    "interfaces": "BRIDGE_UPNP__INTERFACES",
    "allow": "BRIDGE_UPNP__ALLOW",
    "deny": "BRIDGE_UPNP__DENY",
    "read_only": "BRIDGE_READ_ONLY",
    "homeassistant_discovery": "BRIDGE_HOMEASSISTANT__ENABLED",
    "poll_interval": "BRIDGE_UPNP__POLL_INTERVAL",
    "log_level": "BRIDGE_LOG__LEVEL",
    "instance": "BRIDGE_INSTANCE",
    "base_topic": "BRIDGE_MQTT__BASE_TOPIC",
    "locations": "BRIDGE_UPNP__LOCATIONS",
    "trusted_networks": "BRIDGE_UPNP__TRUSTED_NETWORKS",
    "callback_host": "BRIDGE_UPNP__CALLBACK_HOST",
    "callback_port": "BRIDGE_UPNP__CALLBACK_PORT",
    "http_port": "BRIDGE_HTTP__PORT",
}
"""The environment variable of each option."""


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Both are asked on this machine, whatever proxy the environment names."""


class Unusable(Exception):
    """What keeps the add-on from starting, in one line."""


def main() -> int:
    """Become the bridge, or say whether it lives."""
    # As process 1, a SIGTERM that nothing handles would be lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        options = read_options(OPTIONS)
        if sys.argv[1:] == ["--alive"]:
            return 0 if is_alive(int(options.get("http_port") or DEFAULT_HTTP_PORT)) else 1
        chosen = settings(options) | page_settings()
        if not options.get("mqtt_url"):
            token = os.environ.get("SUPERVISOR_TOKEN", "")
            chosen |= broker_settings(ask_broker(SUPERVISOR, token))
        become(sys.argv[1:], chosen)
    except Unusable as error:
        sys.stderr.write(f"upnp2mqtt: {error}\n")
        return 1


def read_options(file: Path) -> dict[str, Any]:
    """Return what the user chose. Raises Unusable."""
    try:
        options = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unusable(f"cannot read the options: {error}") from error
    except ValueError as error:
        raise Unusable(f"the options in {file} are not JSON: {error}") from error
    if not isinstance(options, dict):
        raise Unusable(f"the options in {file} are not a JSON object")
    return options


def settings(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of the bridge that options stand for. Raises Unusable."""
    unknown = sorted(set(options) - set(VARIABLES))
    if unknown:
        raise Unusable(f"unknown options: {', '.join(unknown)}")
    return {
        VARIABLES[name]: value if isinstance(value, str) else json.dumps(value)
        for name, value in options.items()
        if value not in (None, "", [])
    }


def page_settings() -> dict[str, str]:
    """Return the settings by which the Supervisor shows the page to Home Assistant's users.

    Where its network is not there, the page is at loopback.
    """
    with socket.socket() as one:
        try:
            one.bind((GATEWAY, 0))
        except OSError:
            return {}
    return {"BRIDGE_HTTP__HOST": GATEWAY, "BRIDGE_HTTP__TRUSTED_PROXIES": INGRESS}


def broker_settings(broker: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings for the broker that the Supervisor knows. Raises Unusable."""
    host, port = broker.get("host"), broker.get("port")
    if not host or not port:
        raise Unusable("the Supervisor names no host and port of its broker")
    scheme = "mqtts" if broker.get("ssl") else "mqtt"
    chosen = {"BRIDGE_MQTT__URL": f"{scheme}://{host}:{port}"}
    for field, name in (("username", "mqtt_username"), ("password", "mqtt_password")):
        if broker.get(field):
            chosen[VARIABLES[name]] = str(broker[field])
    return chosen


def ask_broker(supervisor: str, token: str) -> dict[str, Any]:
    """Ask the Supervisor for the broker that some add-on offers. Raises Unusable."""
    if not token:
        raise Unusable("no broker: set mqtt_url (there is no SUPERVISOR_TOKEN to ask with)")
    url = f"{supervisor}/services/mqtt"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    try:
        with OPENER.open(request, timeout=TIMEOUT_S) as answer:
            told = json.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            reason = message(error.read(MAX_ANSWER_BYTES)) or f"status {error.code}"
        raise Unusable(
            "no broker: install the Mosquitto broker add-on, or set mqtt_url "
            f"(the Supervisor says: {reason})"
        ) from error
    except OSError as error:
        raise Unusable(f"the Supervisor does not answer at {url}: {error}") from error
    except ValueError as error:
        raise Unusable(f"the Supervisor's answer is not JSON: {error}") from error
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, dict):
        raise Unusable("the Supervisor's answer has no `data`")
    return data


def message(body: bytes) -> str:
    """Return the reason in an answer of the Supervisor, if it has one."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    return str(told.get("message", "")) if isinstance(told, dict) else ""


def is_alive(port: int) -> bool:
    """Tell whether the bridge on this machine answers."""
    host = page_settings().get("BRIDGE_HTTP__HOST", "127.0.0.1")
    try:
        with OPENER.open(f"http://{host}:{port}/healthz", timeout=TIMEOUT_S / 2):
            return True
    except OSError:
        return False


def become(command: list[str], chosen: Mapping[str, str]) -> NoReturn:
    """Give up root, and become the command. Raises Unusable."""
    kept = {name: text for name, text in os.environ.items() if name != "SUPERVISOR_TOKEN"}
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(USER_ID)
        os.setuid(USER_ID)
    # Until the command handles it: this program's handler goes with this program.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        os.execvpe(command[0], command, {**kept, **chosen})  # noqa: S606 - the image's own
    except (IndexError, OSError) as error:
        raise Unusable(f"cannot run {command}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
