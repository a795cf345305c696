"""A network namespace of the tests' own: loopback, with multicast, and no way out."""

import ctypes
import os
import shutil
import subprocess

_CLONE_NEWNET = 0x40000000
_SET_UP = ("link set lo up", "link set lo multicast on", "route add 224.0.0.0/4 dev lo")


def is_possible() -> bool:
    """Tell whether one can be made here: as root, where neither kernel nor container forbids."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
        return False
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return tried.returncode == 0


def enter() -> None:
    """Have this thread, and all that it starts from now on, in a namespace of its own.

    Raises OSError where none can be made.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")
    for words in _SET_UP:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)
