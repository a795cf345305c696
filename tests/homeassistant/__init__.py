"""Home Assistant as the tests have it: a real one, in a Python of its own.

`driver.py` and `validate.py` are programs for that Python; all else runs in the tests' own.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
VENV = FOLDER.parents[1] / ".venv-homeassistant"
PYTHON = VENV / "bin/python"


def missing() -> str | None:
    """Tell why Home Assistant cannot be run here, or None if it can."""
    if (VENV / "made-from").exists():
        return None
    if VENV.exists():
        return "Home Assistant could not be installed: scripts/test says why"
    return "Home Assistant needs Python 3.13, from which scripts/test makes .venv-homeassistant"


def problems(configs: Mapping[str, bytes]) -> list[str]:
    """Tell what Home Assistant finds wrong with payloads of device discovery, by their topics."""
    given = [(topic, payload.decode()) for topic, payload in configs.items()]
    done = subprocess.run(
        [PYTHON, FOLDER / "validate.py"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [str(problem) for problem in json.loads(done.stdout)]
