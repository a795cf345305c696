"""Network namespaces: made, entered, and removed with all that runs in them."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

STOP_PATIENCE_S = 3.0
_CLONE_NEWNET = 0x40000000
_R = TypeVar("_R")


class Space:
    """A namespace that programs, with `exec_prefix`, and functions, by `call`, run in.

    `fixed` are the addresses besides loopback that it has all the time.
    """

    fixed: tuple[str, ...] = ()

    def __init__(self, space: str) -> None:
        self.space = space
        self.exec_prefix = ("ip", "netns", "exec", space)
        self._inside = ThreadPoolExecutor(1, initializer=_enter, initargs=(space,))

    def call(self, function: Callable[..., _R], *arguments: object) -> _R:
        """Call a function in a thread whose new sockets are there."""
        return self._inside.submit(function, *arguments).result()

    def end(self) -> None:
        """End all that runs there, and remove it."""
        self._inside.shutdown()
        remove([self.space])


def add(space: str) -> None:
    """Make a namespace that has loopback alone."""
    ip("netns", "add", space)
    ip("-n", space, "link", "set", "lo", "up")


def set_up(space: str, interface: str, address: str) -> None:
    """Bring an interface up with an address, and with the way to multicast groups."""
    # Without link-local addresses: labs speak IPv4 only.
    ip("-n", space, "link", "set", interface, "addrgenmode", "none", "up")
    ip("-n", space, "addr", "add", f"{address}/24", "dev", interface)
    ip("-n", space, "route", "add", "239.0.0.0/8", "dev", interface)


def ip(*words: str) -> str:
    """Run `ip` with these words, and give what it writes. Raises CalledProcessError."""
    command = ["ip", *words]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


def _processes(spaces: Iterable[str]) -> dict[int, str]:
    """Name the processes in these namespaces, by id."""
    found = {}
    for space in spaces:
        for pid in map(int, ip("netns", "pids", space).split()):
            with suppress(OSError):  # it has just ended
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
    return found


def remove(spaces: Iterable[str], number: signal.Signals = signal.SIGTERM) -> None:
    """End what runs in these namespaces, at last by SIGKILL, and delete them."""
    spaces = [space for space in spaces if Path("/run/netns", space).exists()]

    def programs() -> list[int]:  # an X server must outlive the programs that it serves
        return [pid for pid, name in _processes(spaces).items() if name != "Xvfb"]

    _end(programs, number)
    _end(lambda: list(_processes(spaces)), signal.SIGKILL)
    for space in spaces:
        ip("netns", "del", space)


def _end(processes: Callable[[], list[int]], number: signal.Signals) -> None:
    for pid in processes():
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    deadline = time.monotonic() + STOP_PATIENCE_S
    while processes() and time.monotonic() < deadline:
        time.sleep(0.05)


def _enter(space: str) -> None:
    """Let the sockets that this thread opens from now on be in a namespace."""
    with Path("/run/netns", space).open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {space}")
