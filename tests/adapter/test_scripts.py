"""`scripts/run` on a machine that lacks what it needs: what it asks for, and what it prints."""

import os
import pty
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LACKING = """
has_command() { false; }
has_venv() { false; }
make_venv() { :; }
find_python() { echo python3; }
missing_for_venv() { echo python3.99-venv; }
"""
APT = "  sudo apt-get install --no-install-recommends python3.99-venv mosquitto"


@dataclass
class Machine:
    """A checkout whose packages are missing, and programs that note how they are called."""

    folder: Path
    programs: Path
    environment: dict[str, str] = field(default_factory=dict)

    def program(self, name: str, does: str = "exit 0") -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.programs}.log\n{does}\n')
        path.chmod(0o755)

    @property
    def called(self) -> list[str]:
        log = Path(f"{self.programs}.log")
        return log.read_text().splitlines() if log.exists() else []

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        """Return exit status and what was said, in a pipe."""
        done = subprocess.run(
            [self.folder / "scripts/run", *words],
            cwd=self.folder,
            env=self._everything(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def run_on_a_terminal(self, *words: str) -> tuple[int, str]:
        main, side = pty.openpty()
        process = subprocess.Popen(
            [self.folder / "scripts/run", *words],
            cwd=self.folder,
            env=self._everything({}),
            stdin=side,
            stdout=side,
            stderr=side,
        )
        os.close(side)
        said = b""
        try:
            while data := os.read(main, 65536):
                said += data
        except OSError:  # the other side is closed
            pass
        os.close(main)
        return process.wait(), said.decode()

    def _everything(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder), **more}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    folder, programs = tmp_path / "checkout", tmp_path / "programs"
    (folder / "scripts").mkdir(parents=True)
    (folder / ".venv/bin").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(ROOT / "scripts/run", folder / "scripts/run")
    (folder / "scripts/setup.sh").write_text((ROOT / "scripts/setup.sh").read_text() + LACKING)
    one = Machine(folder, programs)
    one.program("id", "echo 1000")
    one.program("apt-get")
    one.program("sudo", "exit 1")
    bridge = folder / ".venv/bin/upnp2mqtt"
    bridge.write_text('#!/bin/sh\necho "started $*"\n')
    bridge.chmod(0o755)
    return one


def lines(said: str) -> list[str]:
    return [line.rstrip("\r") for line in said.splitlines()]


def test_where_it_may_not_install_it_prints_one_command_with_all_packages(
    machine: Machine,
) -> None:
    status, said = machine.run("demo")
    assert status == 1
    assert lines(said) == [
        "installing python3.99-venv mosquitto",
        "Please install these packages, and try again:",
        APT,
    ]
    assert [one for one in machine.called if one.startswith("sudo")] == ["sudo -n true"]


def test_without_sudo_it_prints_the_command_on_a_terminal_too(machine: Machine) -> None:
    (machine.programs / "sudo").unlink()
    if shutil.which("sudo", path="/usr/bin:/bin"):
        machine.program("sudo", "exit 1")
    status, said = machine.run_on_a_terminal()
    assert (status, lines(said)[-1]) == (1, APT)


def test_on_a_terminal_sudo_may_ask_for_its_password(machine: Machine) -> None:
    machine.program("sudo", '[ "$1" != -n ] || exit 1; case "$1" in tee) cat >/dev/null ;; esac')
    status, said = machine.run_on_a_terminal("demo")
    assert (status, lines(said)[-1]) == (0, "started demo")
    asked = [one for one in machine.called if one.startswith("sudo") and " -n " not in one]
    assert asked[0] == "sudo true"
    assert any(
        one.endswith("apt-get -qq -y --no-install-recommends install python3.99-venv mosquitto")
        for one in asked
    )


def test_a_password_that_is_wrong_leads_to_the_command(machine: Machine) -> None:
    status, said = machine.run_on_a_terminal("demo")
    assert (status, lines(said)[-1]) == (1, APT)
    assert not [one for one in machine.called if "apt-get" in one]


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("run", "--help"),
        ("--version",),
        ("discover",),
        ("doctor", "--json"),
        ("call", "udn", "Action"),
        ("diagnostics",),
        ("health",),
        ("--mqtt.url", "mqtt://h"),
        ("run", "--mqtt.url=mqtt://h"),
        ("demo", "--mqtt.url=mqtt://h"),
    ],
)
def test_a_broker_is_not_asked_for_where_none_is_started(
    machine: Machine, words: tuple[str, ...]
) -> None:
    _, said = machine.run(*words)
    assert "mosquitto" not in said


@pytest.mark.parametrize(
    "words", [(), ("run",), ("demo",), ("--instance", "a"), ("run", "--mqtt.url=")]
)
def test_a_broker_is_asked_for_where_one_is_started(
    machine: Machine, words: tuple[str, ...]
) -> None:
    assert machine.run(*words)[1].splitlines()[-1] == APT


@pytest.mark.parametrize(
    ("line", "is_wanted"),
    [
        ("BRIDGE_MQTT__URL=mqtt://h", False),
        ("export BRIDGE_MQTT__URL='mqtt://h'", False),
        ("bridge_mqtt__url = mqtt://h", False),
        ("BRIDGE_MQTT__URL=", True),
        ('BRIDGE_MQTT__URL=""', True),
        ("BRIDGE_MQTT__URL= # none", True),
        ("#BRIDGE_MQTT__URL=mqtt://h", True),
        ("BRIDGE_MQTT_URL=mqtt://h", True),
    ],
)
def test_the_env_file_names_a_broker_too(machine: Machine, line: str, *, is_wanted: bool) -> None:
    (machine.folder / ".env").write_text(f"{line}\nBRIDGE_INSTANCE=a\n")
    assert ("mosquitto" in machine.run()[1]) is is_wanted


def test_the_environment_names_a_broker_too(machine: Machine) -> None:
    assert "mosquitto" not in machine.run(BRIDGE_MQTT__URL="mqtt://h")[1]
    assert "mosquitto" in machine.run(BRIDGE_MQTT__URL="")[1]
    assert "mosquitto" not in machine.run(bridge_mqtt__url="mqtt://h")[1]
