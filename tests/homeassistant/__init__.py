"""Home Assistant as the tests have it: a real one, in a Python of its own.

`driver.py`, `validate.py` and `render.py` are programs for that Python; all else runs in the tests'
own.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

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


needs_home_assistant = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def problems(configs: Mapping[str, bytes]) -> list[str]:
    """Tell what Home Assistant finds wrong with payloads of device discovery, by their topics."""
    given = [(topic, payload.decode()) for topic, payload in configs.items()]
    return [str(problem) for problem in _told("validate.py", given)]


class Rendered(NamedTuple):
    """What a template says, and what Home Assistant had to say of it."""

    text: str
    problems: list[str]


def rendered(pairs: Iterable[tuple[str, str]]) -> list[Rendered]:
    """Render templates, each with a payload, as Home Assistant's MQTT entities do."""
    return [Rendered(*one) for one in _told("render.py", list(pairs))]


def _told(program: str, given: object) -> list[Any]:
    done = subprocess.run(
        [PYTHON, FOLDER / program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))
