"""Home Assistant in the lab, at the lab's broker."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import MappingProxyType
from typing import Any, Self

from tests import homeassistant
from tests.system import lab as labs
from tests.system.bridge import BROKER_PORT
from tests.system.lab import Lab

START_PATIENCE_S = 60.0
ANSWER_PATIENCE_S = 45.0
STOP_PATIENCE_S = 20.0


def missing() -> str | None:
    """Tell why Home Assistant cannot be run in a lab here, or None if it can."""
    return labs.missing() or homeassistant.missing()


class Refused(Exception):
    """Home Assistant did not do what it was asked to; its own words."""


class HomeAssistant:
    """A Home Assistant that can be started again with what it knew; its own log goes to a file.

    `packages` are parts of its configuration: YAML by the names of the files, without `.yaml`.
    """

    def __init__(self, lab: Lab, folder: Path, packages: Mapping[str, str] = MappingProxyType({})):
        self._lab = lab
        self._folder = folder / "homeassistant"
        self._packages = packages
        self._ids = count(1)
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._reader = Thread()
        self.log_file = folder / "homeassistant.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.runs:
            self.stop()
        elif self.process:
            self._end(0)

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is connected. Raises Refused where that fails."""
        assert not self.runs
        (self._folder / "packages").mkdir(parents=True, exist_ok=True)
        for name, text in self._packages.items():
            (self._folder / "packages" / f"{name}.yaml").write_text(text)
        program = (homeassistant.PYTHON, homeassistant.FOLDER / "driver.py")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._lab.exec_prefix, *program, self._folder, "127.0.0.1", str(BROKER_PORT)],
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout
        self._answers = SimpleQueue()
        self._reader = Thread(target=self._read, args=(self.process.stdout, self._answers))
        self._reader.start()
        try:
            self._answer(START_PATIENCE_S)
        except BaseException:
            self._end(0)
            raise

    def stop(self) -> int:
        """End it, and give its exit status. Raises TimeoutExpired where that takes over 20 s."""
        try:
            self._ask("stop")
        finally:
            status = self._end(STOP_PATIENCE_S)
        return status

    def states(self) -> dict[str, dict[str, Any]]:
        """Every state (`state`, `attributes`, …) by entity id."""
        return {row["entity_id"]: row for row in self._ask("states")}

    def entities(self) -> dict[str, dict[str, Any]]:
        """The rows of the entity registry by entity id, disabled ones too."""
        return {row["entity_id"]: row for row in self._ask("entities")}

    def devices(self) -> list[dict[str, Any]]:
        """The rows of the device registry."""
        return list(self._ask("devices"))

    def call(self, domain: str, service: str, **data: object) -> None:
        """Call a service and wait for its end. Raises Refused where it fails."""
        self._ask("call", domain=domain, service=service, data=data)

    def enable(self, *entity_ids: str) -> None:
        """Enable entities, and wait until they have states: all of MQTT is set up anew."""
        self._ask("enable", entity_ids=entity_ids)

    def remove_device(self, device_id: str) -> None:
        """Remove a device from MQTT, as its user does."""
        self._ask("remove_device", device_id=device_id)

    def check(self) -> list[str]:
        """What Home Assistant's own check finds wrong with its configuration."""
        return list(self._ask("check"))

    def log(self) -> list[dict[str, str]]:
        """All that was logged as a warning or worse since the start: logger, level, message."""
        return list(self._ask("log"))

    def _ask(self, what: str, **more: object) -> Any:
        assert self.process
        assert self.process.stdin
        number = next(self._ids)
        self.process.stdin.write(json.dumps({"id": number, "do": what, **more}).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer(ANSWER_PATIENCE_S)
        assert answer["id"] == number
        return answer["result"]

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        try:
            line = self._answers.get(timeout=seconds)
        except Empty:
            raise TimeoutError(f"no answer from Home Assistant in {seconds} s") from None
        if not line:
            tail = self.log_file.read_text(errors="replace")[-2000:]
            raise Refused(f"Home Assistant has ended\n{tail}")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    @staticmethod
    def _read(lines: Iterable[bytes], answers: SimpleQueue[bytes]) -> None:
        for line in lines:
            answers.put(line)
        answers.put(b"")  # the end

    def _end(self, patience_s: float) -> int:
        """Wait for its end, at last by SIGKILL; let go of its pipes."""
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if patience_s:
                raise
            return self.process.returncode
        finally:
            with suppress(BrokenPipeError):  # what it was asked for while it ended
                self.process.stdin.close()
            self._reader.join()
            self.process.stdout.close()
