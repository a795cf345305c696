"""What systemd hears of a bridge, on the socket that it names."""

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.monitoring.systemd import Supervisor
from tests.adapter.bridge import flags, program
from tests.adapter.mosquitto import mosquitto, until


class Ear:
    """A socket as systemd has it, and what came on it."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(0)
        self.address = address
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        try:
            while True:
                self._heard += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return self._heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(str(tmp_path / "s") if request.param == "file" else f"@{uuid.uuid4()}")
    yield ear
    ear.close()


async def test_a_bridge_says_that_it_is_ready_works_and_stops(ear: Ear, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "200000"}
    async with (
        mosquitto(tmp_path) as broker,
        program(flags(broker.port, "systemd"), environment=environment) as bridge,
    ):
        await until(lambda: "READY=1" in ear.heard)
        await until(lambda: any("STATUS=online at mqtt://" in one for one in ear.heard))
        assert ear.heard.index("READY=1") < ear.heard.index("WATCHDOG=1")
        count = ear.heard.count("WATCHDOG=1")
        await until(lambda: ear.heard.count("WATCHDOG=1") >= count + 3)
        assert "STOPPING=1" not in ear.heard
        assert await bridge.stop() == 0
    assert ear.heard[-2:] == ["STOPPING=1", "STATUS=stopping"]


async def test_a_bridge_is_ready_without_its_broker_and_says_what_it_waits_for(ear: Ear) -> None:
    async with program(flags(1, "systemd"), environment={"NOTIFY_SOCKET": ear.address}) as bridge:
        await until(lambda: "READY=1" in ear.heard)
        assert any(one.startswith("STATUS=without the broker") for one in ear.heard)
        await bridge.stop()


async def test_a_socket_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "20000"})
    states: list[str] = []

    def status() -> str:
        states.append(str(len(states)))  # ever another, so that there is always something to tell
        return states[-1]

    telling = asyncio.create_task(supervisor.run(status))
    await until(lambda: len(states) > 3 or telling.done())
    assert not telling.done()
    telling.cancel()


async def test_elsewhere_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(Supervisor, "tell", lambda _, *assignments: told.append(assignments))
    async with asyncio.timeout(1):
        await Supervisor({}).run(lambda: "fine")
    assert told == []


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_heard_from_twice_in_its_time(
    environment: dict[str, str], interval_s: float | None
) -> None:
    assert Supervisor(environment).interval_s == interval_s


async def test_the_status_follows_soon_also_where_no_watchdog_asks(
    tmp_path: Path,
) -> None:
    ear = Ear(str(tmp_path / "s"))
    states = iter(["starting", "starting", "online", "online", "online"])
    told = asyncio.create_task(
        Supervisor({"NOTIFY_SOCKET": ear.address}).run(lambda: next(states, "online"))
    )
    try:
        await until(lambda: "STATUS=online" in ear.heard, 5)
    finally:
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)
    assert ear.heard == ["READY=1", "STATUS=starting", "STATUS=online"]
    ear.close()
