"""A short run of the soak, so that it stays fit for the long ones of `benchmarks/README.md`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_UNSHARE = ("unshare", "--net", "--map-root-user")


def _why_not() -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if missing := [one for one in ("unshare", "mosquitto") if not shutil.which(one, path=path)]:
        return f"{' and '.join(missing)} missing"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no network namespace: {tried.stderr.strip()}" if tried.returncode else ""


@pytest.mark.skipif(bool(why := _why_not()), reason=why)
def test_under_load_and_faults_nothing_grows_and_nothing_is_lost():
    words = ("--minutes", "0.3", "--devices", "8")
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *words],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        timeout=540,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
