"""Short runs of the benchmarks, so that they stay fit for those of `benchmarks/README.md`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_UNSHARE = ("unshare", "--net", "--map-root-user")
_SHORT = ("--seconds", "0.2", "--rounds", "1")
_RUNS = (
    ("benchmarks.events", "--only", "small, saturated, new", *_SHORT),
    ("benchmarks.calls", *_SHORT),
    ("benchmarks.start", "2"),
)


def _why_not() -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if missing := [one for one in ("unshare", "mosquitto") if not shutil.which(one, path=path)]:
        return f"{' and '.join(missing)} missing"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no network namespace: {tried.stderr.strip()}" if tried.returncode else ""


pytestmark = pytest.mark.skipif(bool(why := _why_not()), reason=why)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_under_load_and_faults_nothing_grows_and_nothing_is_lost():
    # The same load and faults at each run; other seeds are for runs by hand.
    words = ("--minutes", "0.2", "--devices", "8", "--seed", "11147")
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *words],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        timeout=540,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_bridge_and_neighbours_do_the_work_that_is_measured():
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=_ROOT,
        )
        for words in _RUNS
    ]
    try:
        for words, one in zip(_RUNS, running, strict=True):
            said, _ = one.communicate(timeout=300)
            assert one.returncode == 0, said
            assert "PROBLEM" not in said
            rows = [line for line in said.splitlines() if line.startswith("| ")]
            assert any("naive" in row for row in rows), said
            assert any("ours" in row for row in rows), said
            assert "start" in words[0] or any("floor" in row for row in rows), said
    finally:
        for one in running:
            one.terminate()
            one.wait(20)


def test_the_libraries_compared_read_and_write_what_the_bridge_does():
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.libraries"],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    for fit in ("222 of 222 the same bytes", "reads 5 of 5 faulty ones, refuses 2 of 2 hostile"):
        assert fit in ended.stdout
