"""Dockerfile and .dockerignore: what the image is made of, and how it is run."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STATEMENTS = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
INSTRUCTIONS = [
    (name, arguments.strip())
    for name, _, arguments in (line.partition(" ") for line in STATEMENTS.splitlines())
    if name
]
IGNORED = [
    line
    for line in (ROOT / ".dockerignore").read_text().splitlines()
    if line and not line.startswith("#")
]


def the(instruction: str) -> str:
    """Return what stands behind the only instruction of this name."""
    (arguments,) = [arguments for name, arguments in INSTRUCTIONS if name == instruction]
    return arguments


def copied() -> list[str]:
    """Return the paths that are copied out of the project's folder."""
    return [
        path
        for name, arguments in INSTRUCTIONS
        if name in ("ADD", "COPY") and "--from=" not in arguments
        for path in arguments.split()[:-1]
    ]


def is_sent(path: str) -> bool:
    """Tell whether a file goes to the builder, by the last line that matches it or its folder."""
    parts = path.split("/")
    sent = True
    for line in IGNORED:
        pattern = line.removeprefix("!")
        name = pattern.removeprefix("**/")
        if any(fnmatch(part, name) for part in (parts if name != pattern else parts[:1])):
            sent = line.startswith("!")
    return sent


def test_no_shell_is_needed_to_run_it():
    assert json.loads(the("ENTRYPOINT"))[0].startswith("/")
    assert json.loads(the("HEALTHCHECK").partition(" CMD ")[2]) == ["upnp2mqtt", "health"]
    assert "CMD" not in dict(INSTRUCTIONS)


def test_a_sigterm_that_comes_before_python_runs_is_kept():
    assert json.loads(the("ENTRYPOINT"))[:2] == ["/usr/bin/env", "--block-signal=TERM"]


def test_its_user_is_a_number_and_not_root():
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", the("USER"))


def test_an_old_builder_reads_it():
    assert not re.search(r"^# *syntax *=", DOCKERFILE, re.MULTILINE)
    assert "--start-interval" not in the("HEALTHCHECK")
    assert not re.search(r"^RUN .*--mount|<<", DOCKERFILE, re.MULTILINE)


def test_every_dependency_is_pinned_by_its_hash_and_none_is_compiled():
    (pinned,) = [text for name, text in INSTRUCTIONS if name == "RUN" and "requirements" in text]
    for option in ("--require-hashes", "--no-deps", "--only-binary=:all:"):
        assert option in pinned.split()
    for name, text in INSTRUCTIONS:
        if name == "RUN" and " install " in text and text != pinned:
            assert "--no-index" in text.split()


def test_what_is_copied_is_there_and_is_sent():
    paths = copied()
    assert "bridge" in paths
    for path in paths:
        assert (ROOT / path).exists()
        assert is_sent(f"{path}/cli.py" if path == "bridge" else path), path


def test_nothing_is_sent_that_is_not_copied():
    allowed = [line[1:] for line in IGNORED if line.startswith("!")]
    assert sorted(allowed) == sorted(copied())


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".git/config", ".venv/bin/python", "bridge/.env", "bridge/core/.env"),
        *("bridge/__pycache__/cli.pyc", "bridge/core/__pycache__/xml.pyc"),
        *("docs/topics.md", "scripts/run", "tests/unit/captured.py"),
    ],
)
def test_nothing_else_is_sent(path):
    assert not is_sent(path)
