"""Bridges that run on this machine, as each says in a small file: other commands find them so.

The file is `<pid>.json` in a runtime directory of the user's own, and goes when the bridge does. It
holds no secrets. What it says counts only while its process lives, in the same network.
"""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

_MAX_BYTES = 4096
_MAX_FILES = 64
_SYSTEM = Path("/run/upnp2mqtt")


@dataclass(frozen=True, slots=True)
class Running:
    """A bridge. `broker` is the URL of its embedded broker, empty where it uses another.

    `http` is the URL of its HTTP port, empty where it has none.
    """

    instance: str
    base_topic: str
    broker: str = ""
    http: str = ""
    demo: bool = False


@contextmanager
def announced(one: Running) -> Iterator[None]:
    """Have other commands find a bridge, which is this process, while the context lasts."""
    path = _write(one)
    try:
        yield
    finally:
        if path is not None:
            with suppress(OSError):
                path.unlink()


def find(instance: str, base_topic: str) -> Running | None:
    """Return the bridge of this name that was started last, None where none runs here."""
    found = [
        (started, one)
        for started, one in _all()
        if (one.instance, one.base_topic) == (instance, base_topic)
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _write(one: Running) -> Path | None:
    """Write the file; None where there is no place for it, which costs no more than that."""
    identity = _identity(os.getpid())
    if identity is None:
        return None
    data = json.dumps({**asdict(one), **identity}).encode()
    for directory in _places():
        path = directory / f"{os.getpid()}.json"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            directory.mkdir(mode=0o755 if directory == _SYSTEM else 0o700, exist_ok=True)
            if not _is_trusted(directory.lstat(), {os.geteuid()}):
                continue
            _sweep(directory)
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
                file.write(data)
        except OSError:
            continue
        return path
    return None


def _places() -> Iterator[Path]:
    """Yield where this user's files may stand: root's can be read by everybody."""
    user = os.geteuid()
    if user == 0:
        yield _SYSTEM
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for parent in dict.fromkeys((runtime, f"/run/user/{user}")):
        with suppress(OSError):
            if parent.startswith("/") and Path(parent).stat().st_uid == user:
                yield Path(parent, "upnp2mqtt")
    yield Path(f"/tmp/upnp2mqtt-{user}")  # noqa: S108 - believed only where it is the user's own


def _all() -> Iterator[tuple[int, Running]]:
    for directory in dict.fromkeys((*_places(), _SYSTEM)):
        for _, said in _read(directory):
            identity = {name: said.pop(name, None) for name in ("pid", "started", "network")}
            if identity == _identity(identity["pid"]):
                with suppress(TypeError):
                    yield int(str(identity["started"])), Running(**said)


def _sweep(directory: Path) -> None:
    """Remove what killed bridges left."""
    for path, said in _read(directory):
        identity = _identity(said.get("pid"))
        if identity is None or identity["started"] != said.get("started"):
            path.unlink(missing_ok=True)


def _read(directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files in a directory that nobody but its owner, or root, can have written."""
    owners = {os.geteuid(), 0}
    try:
        if not _is_trusted(directory.lstat(), owners):
            return
        paths = list(islice(directory.glob("*.json"), _MAX_FILES))
    except OSError:
        return
    for path in paths:
        with suppress(OSError, ValueError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if stat.S_ISREG(status.st_mode) and status.st_uid in owners:
                    said = json.loads(file.read(_MAX_BYTES))
                    if isinstance(said, dict):
                        yield path, said


def _is_trusted(status: os.stat_result, owners: set[int]) -> bool:
    is_writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid in owners and not is_writable


def _identity(pid: object) -> Mapping[str, object] | None:
    """Return what no other process has: its id, its start in ticks, and the network it is in."""
    if not isinstance(pid, int):
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        network = Path("/proc/self/ns/net").readlink()
        if fields[0] in "ZX":
            return None
    except (OSError, IndexError):
        return None
    return {"pid": pid, "started": fields[19], "network": str(network)}
