"""The image of the Dockerfile: scripts/container builds it and tries it."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/container"
LIMIT_S = 900
STEPS = [
    *("engine", "base", "wheels", "build", "files", "devices", "no broker", "early stop"),
    *("start", "health", "process", "stop", "log"),
]


@pytest.mark.long
@pytest.mark.timeout(LIMIT_S + 60)
def test_the_image_is_built_and_works_beside_a_broker():
    with subprocess.Popen(
        [SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=LIMIT_S)
        except BaseException:
            process.terminate()  # it stops what it has started
            raise
    lines = said.splitlines()
    if process.returncode == 77:
        pytest.skip(lines[-1])
    assert process.returncode == 0, said
    assert [line.partition(": ")[0] for line in lines] == STEPS
