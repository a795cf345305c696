"""The embedded broker: starts anywhere, ends with the bridge whatever ends that."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from bridge.errors import BrokerUnreachable, ConfigError
from bridge.mqtt import mosquitto
from bridge.mqtt.mosquitto import EmbeddedBroker
from bridge.mqtt.url import parse_url
from bridge.tree.messages import Publication
from tests.adapter.mosquitto import connected, free_port, retained, until


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_takes_a_free_port_and_serves_both_protocols():
    async with EmbeddedBroker() as broker:
        endpoint = parse_url(broker.url)
        assert endpoint.port == broker.port != 0
        for protocol in ("5", "3.1.1"):
            async with connected(endpoint, protocol=protocol) as session:
                await session.publish(Publication(f"up/{protocol}", b"1"))
        assert await retained(endpoint) == {"up/5": b"1", "up/3.1.1": b"1"}
        pid = broker.pid
    assert broker.pid is None
    assert not alive(pid)


async def test_it_listens_on_loopback_only():
    async with EmbeddedBroker() as broker:
        lines = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
        locals_ = [line.split()[1] for line in lines.splitlines()[1:] if line.split()[3] == "0A"]
        assert f"0100007F:{broker.port:04X}" in locals_
        assert f"00000000:{broker.port:04X}" not in locals_


async def test_a_given_port_is_taken():
    port = free_port()
    async with EmbeddedBroker(port) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{port}"


async def test_a_given_port_that_is_another_s_is_told():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: .*in use"):
            async with EmbeddedBroker(port):
                pass


async def test_with_a_directory_the_tree_outlives_a_restart(tmp_path):
    for expected in ({}, {"up/value": b"1"}):
        async with EmbeddedBroker(data=tmp_path) as broker:
            endpoint = parse_url(broker.url)
            assert await retained(endpoint, "up/value/#") == expected
            async with connected(endpoint) as session:
                await session.publish(Publication("up/value", b"1"))


async def test_a_stop_during_its_start_is_not_lost():
    async with asyncio.timeout(3):
        for _ in range(5):
            async with EmbeddedBroker():
                pass


async def test_its_unexpected_end_is_told():
    async with EmbeddedBroker() as broker:
        watch = asyncio.create_task(broker.watch())
        await asyncio.sleep(0)
        assert broker.pid
        os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(BrokerUnreachable, match="status -9"):
            async with asyncio.timeout(5):
                await watch


async def test_without_mosquitto_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match=r"mqtt\.url is not set.*BRIDGE_MQTT__URL=.*apt install"):
        async with EmbeddedBroker():
            pass


async def test_it_dies_with_a_bridge_that_is_killed():
    program = (
        "import asyncio\n"
        "from bridge.mqtt.mosquitto import EmbeddedBroker\n"
        "async def main():\n"
        "    async with EmbeddedBroker() as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await broker.watch()\n"
        "asyncio.run(main())\n"
    )
    bridge = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE
    )
    assert bridge.stdout
    lines = bridge.stdout
    async with asyncio.timeout(10):
        while not (line := await lines.readline()).strip().isdigit():
            assert line
    pid = int(line)
    assert alive(pid)
    bridge.kill()
    await bridge.communicate()
    await until(lambda: not alive(pid))


@pytest.fixture
def lines(monkeypatch):
    told = []

    class Log:
        def warning(self, event, **facts):
            told.append((event, facts))

        def info(self, *_, **__):
            pass

        debug = info

    monkeypatch.setattr(mosquitto, "_log", Log())
    return told


def usual_ports():
    """Have three ports in a row stand for the usual ones, of which the first is free."""
    for _ in range(100):
        first = free_port()
        ports = range(first, min(first + 3, 65536))
        if all(mosquitto._is_free(port) for port in ports):
            return ports
    raise AssertionError("no three ports in a row")


async def test_it_takes_the_usual_port_where_that_is_free(monkeypatch, lines):
    ports = usual_ports()
    async with await EmbeddedBroker.beside_others(ports) as broker:
        assert broker.port == ports[0]
    assert lines == []


async def test_beside_a_broker_it_takes_the_next_port_and_says_how_to_use_that_one(
    monkeypatch, lines
):
    ports = usual_ports()
    async with EmbeddedBroker(ports[0]), await EmbeddedBroker.beside_others(ports) as broker:
        assert broker.port == ports[1]
        ((event, facts),) = lines
        assert event == "embedded_broker_port_taken"
        assert facts["reason"] == (
            f"a broker is at mqtt://127.0.0.1:{ports[0]} already: set mqtt.url to use that one; "
            f"the bridge's own broker is at mqtt://127.0.0.1:{ports[1]}"
        )


@pytest.mark.parametrize("does_speak", [True, False])
async def test_beside_another_program_it_says_that_the_port_is_taken(
    monkeypatch, lines, does_speak
):
    async def answer(_, writer):
        if does_speak:
            writer.write(b"220 ready\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    ports = usual_ports()
    server = await asyncio.start_server(answer, "127.0.0.1", ports[0])
    try:
        async with await EmbeddedBroker.beside_others(ports) as broker:
            assert broker.port == ports[1]
        await ended.wait()
    finally:
        server.close()
    assert lines[0][1]["reason"].startswith(f"port {ports[0]} is taken by another program; ")


async def test_where_all_usual_ports_are_taken_it_takes_any(monkeypatch, lines):
    ports = usual_ports()
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        async with await EmbeddedBroker.beside_others(ports) as broker:
            assert broker.port not in (0, *ports)
            assert str(broker.port) in lines[0][1]["reason"]
