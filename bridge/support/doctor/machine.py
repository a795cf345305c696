"""The settings, the clock and the limits of this process; nothing here asks the network."""

import ctypes
import os
import re
import resource
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from bridge import settings as known
from bridge.errors import ConfigError
from bridge.mqtt.url import Endpoint, parse_url
from bridge.settings import Settings
from bridge.support.doctor.finding import Finding, error, note, ok, warning

_FIRST_YEAR = 2025
_TIME_ERROR = 5
"""What adjtimex returns while nothing keeps the clock (adjtimex(2))."""
_TIMEX_BYTES = 512
_LEAST_FILES = 1024
_LEAST_MEMORY_MB = 100
_MEMORY_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with settings that are valid one by one."""
    sound = True
    for finding in (*_unknown(), *_secret_files(settings), *_clear_passwords(settings)):
        sound = False
        yield finding
    chosen = [
        name
        for name, _ in known.fields()
        if name.rpartition(".")[2] in _group(settings, name).model_fields_set
    ]
    said = f"instance {settings.instance}, base topic {settings.mqtt.base_topic}, "
    said += f"chosen: {', '.join(chosen)}" if chosen else "nothing else chosen"
    yield ok("settings", said) if sound else note("settings", said)


def _group(settings: Settings, name: str) -> Settings:
    group = name.rpartition(".")[0]
    chosen: Settings = getattr(settings, group) if group else settings
    return chosen


def _unknown() -> Iterator[Finding]:
    for one in known.unknown_names():
        said = str(one) if one.is_torn else f"{one.name} is not a setting, and is ignored"
        hint = f"did you mean {one.like}?" if one.like else "`upnp2mqtt run --help` lists all"
        place = f" It is in {one.where}" if one.where != "environment" else ""
        yield warning("settings", said, f"{hint}{place}")


def _secret_files(settings: Settings) -> Iterator[Finding]:
    for name, read in (
        ("mqtt.username_file", settings.username),
        ("mqtt.password_file", settings.password),
    ):
        try:
            read()
        except ConfigError as wrong:
            yield error(
                "settings",
                str(wrong),
                f"give the user that runs the bridge a readable {name}",
            )
    for name in ("mqtt.password_file", "mqtt.tls_key"):
        path: Path | None = getattr(settings.mqtt, name.removeprefix("mqtt."))
        if path is not None and path.is_file():
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & stat.S_IROTH:
                yield warning(
                    "settings",
                    f"{name}: every user of this machine can read {path} (mode {mode:03o})",
                    f"chmod 600 {path}, owned by the user that runs the bridge",
                )


def _clear_passwords(settings: Settings) -> Iterator[Finding]:
    mqtt = settings.mqtt
    for url in mqtt.url:
        try:
            endpoint = parse_url(url)
        except ValueError as wrong:
            yield error("settings", f"mqtt.url: {wrong}")
            continue
        secret = endpoint.password or mqtt.password or mqtt.password_file
        if secret and not endpoint.tls and not stays_here(endpoint):
            yield note(
                "settings",
                f"{endpoint}: the password crosses the network in clear",
                "if the broker offers TLS, use mqtts:// in mqtt.url",
            )


def stays_here(endpoint: Endpoint) -> bool:
    """Return whether an endpoint is on this machine, as far as its name tells."""
    if endpoint.transport == "unix" or endpoint.host == "localhost":
        return True
    try:
        return ip_address(endpoint.host).is_loopback
    except ValueError:
        return False


def check_clock() -> Iterator[Finding]:
    """Yield whether the clock may be right: certificates and `updated` depend on it."""
    now = datetime.now(UTC)
    said = f"{now:%Y-%m-%d %H:%M} UTC"
    advice = "timedatectl set-ntp true, or install chrony"
    if now.year < _FIRST_YEAR:
        yield error("clock", f"{said}: in the past, so every certificate is invalid", advice)
    elif _is_synchronised() is False:
        yield note("clock", f"{said}; the clock is not synchronized", advice)
    else:
        yield ok("clock", said)


def _is_synchronised() -> bool | None:
    """Return the kernel's word; None where it gives none."""
    try:
        libc = ctypes.CDLL(None)
        state = int(libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def check_limits(root: Path = Path("/")) -> Iterator[Finding]:
    """Yield whether this process may have what a bridge needs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = "any number" if files == resource.RLIM_INFINITY else f"{files:,}"
    if 0 <= files < _LEAST_FILES:
        yield warning(
            "limits",
            f"at most {told} open files; each device needs some",
            "ulimit -n 1024 or more; LimitNOFILE=4096 in a systemd unit",
        )
    memory_mb = _memory_mb(root)
    if memory_mb is not None and memory_mb < _LEAST_MEMORY_MB:
        yield warning(
            "limits",
            f"{memory_mb} MB of memory are free; a bridge needs some 60 to 100",
            "give this machine or container more memory",
        )
    yield ok(
        "limits", f"{told} open files; {os.cpu_count()} processors; {memory_mb or '?'} MB free"
    )


def _memory_mb(root: Path) -> int | None:
    """Return what of memory is free: of the machine, or of the container's share if that is less.

    What a share has in use is not counted.
    """
    amounts: list[int] = []
    for name in _MEMORY_LIMITS:
        try:
            amounts.append(int((root / name).read_text(encoding="ascii")) // 2**20)
        except (OSError, ValueError):
            continue
    try:
        told = (root / "proc/meminfo").read_text(encoding="ascii")
    except OSError:
        told = ""
    if found := re.search(r"MemAvailable:\s+(\d+) kB", told):
        amounts.append(int(found[1]) // 1024)
    return min(amounts, default=None)
