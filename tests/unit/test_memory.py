import os
import platform
from pathlib import Path

import pytest

from bridge import runtime


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can")
def test_what_is_free_goes_back_to_the_system():
    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    held = [bytes(60_000) for _ in range(1000)]
    last = bytes(60_000)  # keeps what is below it from going back by itself
    held.clear()
    before = resident()
    runtime.give_memory_back()
    assert before - resident() > 30_000_000
    assert last


def test_a_system_that_cannot_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    runtime.give_memory_back()
