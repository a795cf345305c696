"""`health`: whether the bridge that runs here is healthy, for a container's HEALTHCHECK."""

import sys
import urllib.error
import urllib.request

from bridge.settings import Settings

_TIMEOUT_S = 5.0


def health(settings: Settings) -> int:
    """Return 0 while the bridge is online, else 1, with one line that says why."""
    if not settings.http.port:
        sys.stderr.write("upnp2mqtt: http.port is 0: there is no health to ask for\n")
        return 1
    host = settings.http.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not bound
    authority = f"[{host}]" if ":" in host else host
    url = f"http://{authority}:{settings.http.port}/readyz"
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=_TIMEOUT_S):
            sys.stdout.write("healthy\n")
            return 0
    except urllib.error.HTTPError as error:
        error.close()
        sys.stderr.write("upnp2mqtt: the bridge runs, and is not online at its broker\n")
    except OSError as error:
        sys.stderr.write(f"upnp2mqtt: no bridge at {url}: {error}\n")
    return 1
