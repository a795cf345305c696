"""Who holds a port, as far as this process may see (/proc)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Holder:
    """A program with a socket on a port; `pid` is None where we may not know it."""

    name: str
    pid: int | None

    def __str__(self) -> str:
        return self.name if self.pid is None else f"{self.name} ({self.pid})"


def holders(
    kind: Literal["tcp", "udp"], port: int, *, but: Iterable[int] = ()
) -> tuple[Holder, ...]:
    """Return who holds a port of this network namespace, listening where it is TCP.

    Sockets of processes that are not ours to look into are one nameless holder. `but` has the
    processes to leave out.
    """
    inodes = _inodes(kind, port)
    owners = _owners(inodes)
    left_out = set(but)
    found = {Holder(_name(pid), pid) for pid in owners.values() if pid not in left_out}
    if inodes - owners.keys():
        found.add(Holder("a program that may not be looked into", None))
    return tuple(sorted(found, key=lambda one: (one.name, one.pid or 0)))


def said(found: Iterable[Holder]) -> str:
    """Return holders as a text."""
    return ", ".join(map(str, found)) or "another program"


def _inodes(kind: str, port: int) -> set[str]:
    wanted = f":{port:04X}"
    found = set()
    for table in (kind, f"{kind}6"):
        for line in _read(Path("/proc/self/net", table)).splitlines()[1:]:
            fields = line.split()
            listens = kind == "udp" or fields[3] == _LISTENING
            if fields[1].endswith(wanted) and listens:
                found.add(fields[9])
    return found - {"0"}


def _owners(inodes: set[str]) -> Mapping[str, int]:
    links = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or len(found) == len(inodes):
            continue
        try:
            for file in (process / "fd").iterdir():
                if inode := links.get(str(file.readlink())):
                    found[inode] = int(process.name)
        except OSError:  # another user's, or ended
            continue
    return found


def _name(pid: int) -> str:
    """Return what a process is called; a Python program is called by what Python runs."""
    name = _read(Path(f"/proc/{pid}/comm")).strip()
    words = _read(Path(f"/proc/{pid}/cmdline")).split("\0")
    if name.startswith("python"):
        if "-m" in words[:-1]:
            module = words[words.index("-m") + 1]
            return "upnp2mqtt" if module == "bridge" else module
        if "-c" in words:
            return name
        named = [Path(word).name for word in words[1:] if word and not word.startswith("-")]
        name = named[0] if named else name
    return name or "a program that has just ended"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
