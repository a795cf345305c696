"""Home Assistant as the tests have it: real ones, each in a Python of its own.

The newest that the Python here runs, and the oldest that is promised: that one judges documents and
renders templates.

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
OLDEST = FOLDER.parents[1] / ".venv-homeassistant-oldest"
"""The oldest release that is promised to work."""
PYTHON = VENV / "bin/python"


def missing(venv: Path = VENV) -> str | None:
    """Tell why Home Assistant cannot be run here, or None if it can."""
    if (venv / "made-from").exists():
        return None
    if venv.exists():
        return "Home Assistant could not be installed: scripts/test says why"
    return f"Home Assistant needs Python 3.13, from which scripts/test makes {venv.name}"


needs_home_assistant = pytest.mark.skipif(missing() is not None, reason=str(missing()))
needs_oldest_home_assistant = pytest.mark.skipif(
    missing(OLDEST) is not None, reason=str(missing(OLDEST))
)


def problems(configs: Mapping[str, bytes], venv: Path = VENV) -> list[str]:
    """Tell what Home Assistant finds wrong with payloads of device discovery, by their topics."""
    given = [(topic, payload.decode()) for topic, payload in configs.items()]
    return [str(problem) for problem in _told(venv, "validate.py", given)]


class Rendered(NamedTuple):
    """What a template says, and what Home Assistant had to say of it."""

    text: str
    problems: list[str]


def rendered(pairs: Iterable[tuple[str, str]], venv: Path = VENV) -> list[Rendered]:
    """Render templates, each with a payload, as Home Assistant's MQTT entities do."""
    return [Rendered(*one) for one in _told(venv, "render.py", list(pairs))]


def _told(venv: Path, program: str, given: object) -> list[Any]:
    done = subprocess.run(
        [venv / "bin/python", FOLDER / program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))
