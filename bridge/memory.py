"""Memory that was needed for a moment."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return to the system what was freed; it takes some ms, and only glibc can.

    Otherwise a process stays as large as it ever was.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
