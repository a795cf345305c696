"""`health`: whether the bridge that runs here is healthy, for a container's HEALTHCHECK."""

import json
import os
import sys
import urllib.error
import urllib.request
from http.client import HTTPException

from bridge.commands import running
from bridge.formats.url import bracketed
from bridge.settings import Settings

_TIMEOUT_S = 5.0
_MAX_BYTES = 1024 * 1024
_OK = 200


def health(settings: Settings) -> int:
    """Return 0 while the bridge is online, else 1, with one line that says why.

    Unless a port was chosen, the bridge of this instance that runs here is asked, wherever it
    listens.
    """
    found = running.find(settings.instance, settings.mqtt.base_topic)
    if found is not None and "port" not in settings.http.model_fields_set:
        url = found.http
    else:
        url = url_of(settings) if settings.http.port else ""
    if not url:
        sys.stderr.write("upnp2mqtt: http.port is 0: the bridge does not report its health\n")
        return 1
    try:
        status, said = _ask(f"{url}/readyz")
    except (OSError, HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        number = getattr(cause, "errno", None)
        reason = os.strerror(number) if number and number > 0 else f"{cause}" or "no answer"
        clean = "".join(one if one.isprintable() else " " for one in reason).strip()
        sys.stderr.write(f"upnp2mqtt: no bridge at {url}: {clean}\n")
        return 1
    if "uptime_s" not in said or "broker" not in said:
        sys.stderr.write(f"upnp2mqtt: no bridge at {url}: another program answers; see http.port\n")
    elif status != _OK:
        sys.stderr.write(f"upnp2mqtt: the bridge runs, and is {_state(said)}\n")
    else:
        sys.stdout.write("healthy\n")
        return 0
    return 1


def _ask(url: str) -> tuple[int, dict[str, object]]:
    """Return status and document; empty where it is none. Raises OSError, HTTPException."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(url, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        try:
            said = json.loads(answer.read(_MAX_BYTES))
        except ValueError:
            said = None
        return answer.status or 0, said if isinstance(said, dict) else {}


def url_of(settings: Settings) -> str:
    """Return where the bridge's own HTTP port is reached from this machine."""
    host = settings.http.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not bound
    return f"http://{bracketed(host)}:{settings.http.port}"


def _state(said: dict[str, object]) -> str:
    """Return why a bridge is not ready."""
    broker, reason = said["broker"], said.get("reason")
    told = f": {reason}" if isinstance(reason, str) else ""
    if isinstance(broker, dict) and broker.get("problems"):
        return f"not ready{told}"
    return f"not online at its broker{told}"
