"""A bridge as a process of its own, at brokers that are to be trusted and at others."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.adapter.bridge import Program, flags, program
from tests.adapter.certificates import certificate
from tests.adapter.mosquitto import STOCK, mosquitto, only, until

AUTHORITY = "basicConstraints=critical,CA:TRUE"
LONG_ENOUGH_S = 3.0
"""A retry after an unreachable broker comes within 2 s; after a refusal it takes a minute."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    for authority in ("ca", "other"):
        certificate(directory, authority, issuer=authority, extension=AUTHORITY)
    certificate(directory, "server")
    certificate(directory, "expired", expired=True)
    certificate(directory, "elsewhere", extension="subjectAltName=DNS:elsewhere.example")
    certificate(directory, "client")
    certificate(directory, "client-expired", expired=True)
    certificate(directory, "client-other", issuer="other")
    return directory


def server(made: Path, name: str = "server", *, mutual: bool = False) -> tuple[str, ...]:
    lines = (*STOCK, f"certfile {made}/{name}.pem", f"keyfile {made}/{name}.key")
    return (*lines, f"cafile {made}/ca.pem", "require_certificate true") if mutual else lines


@asynccontextmanager
async def at_broker(
    directory: Path, lines: tuple[str, ...], **chosen: str
) -> AsyncIterator[Program]:
    """Run a bridge, with its whole log, at a broker on `localhost`."""
    async with mosquitto(directory, *lines) as broker:
        scheme = "mqtts" if any(one.startswith("certfile") for one in lines) else "mqtt"
        usual = flags(broker.port, "security", log__level="debug")
        url = f"{scheme}://localhost:{broker.port}"
        more = {name.replace("__", "."): text for name, text in chosen.items()}
        async with program(usual | {"mqtt.url": url} | more) as bridge:
            yield bridge


def told(bridge: Program, event: str) -> list[Mapping[str, str]]:
    return [line for line in bridge.lines if line["event"] == event]


async def assert_refused(bridge: Program, reason: str) -> None:
    """Assert one clear line, no second attempt soon, and a bridge that lives on."""
    await until(lambda: told(bridge, "broker_unavailable"))
    await asyncio.sleep(LONG_ENOUGH_S)
    (line,) = told(bridge, "broker_unavailable")
    assert reason in line["reason"]
    assert (line["level"], line["url"].startswith("mqtt")) == ("warning", True)
    assert not [one for one in bridge.lines if one.get("level") == "error"]
    assert await bridge.stop() == 0


def mine(made: Path, name: str) -> dict[str, str]:
    return {"mqtt__tls_cert": f"{made}/{name}.pem", "mqtt__tls_key": f"{made}/{name}.key"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("mutual", [False, True])
async def test_over_tls_a_bridge_comes_online(
    made: Path, tmp_path: Path, protocol: str, *, mutual: bool
) -> None:
    chosen = {"mqtt__tls_ca": f"{made}/ca.pem", "mqtt__protocol": protocol}
    if mutual:
        chosen |= mine(made, "client")
    async with at_broker(tmp_path, server(made, mutual=mutual), **chosen) as bridge:
        await until(lambda: told(bridge, "online"))
        assert not [one for one in bridge.lines if one.get("level") in ("warning", "error")]
        assert await bridge.stop() == 0


@pytest.mark.parametrize(
    ("name", "authority", "reason"),
    [
        ("server", "other", "certificate is not trusted: unable to get local issuer certificate"),
        ("server", None, "certificate is not trusted: unable to get local issuer certificate"),
        ("expired", "ca", "certificate is not trusted: certificate has expired"),
        ("elsewhere", "ca", "certificate is not trusted: Hostname mismatch"),
    ],
)
async def test_a_broker_whose_certificate_is_wrong_is_left_alone(
    made: Path, tmp_path: Path, name: str, authority: str | None, reason: str
) -> None:
    chosen = {} if authority is None else {"mqtt__tls_ca": f"{made}/{authority}.pem"}
    async with at_broker(tmp_path, server(made, name), **chosen) as bridge:
        await assert_refused(bridge, reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "certificate required"),
        ("client-expired", "certificate expired"),
        ("client-other", "unknown ca"),
    ],
)
async def test_a_client_certificate_that_the_broker_does_not_take_is_told(
    made: Path, tmp_path: Path, name: str | None, reason: str
) -> None:
    chosen = {"mqtt__tls_ca": f"{made}/ca.pem"} | (mine(made, name) if name else {})
    async with at_broker(tmp_path, server(made, mutual=True), **chosen) as bridge:
        await assert_refused(bridge, reason)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_wrong_login_is_told_and_not_tried_again_soon(
    tmp_path: Path, protocol: str, password: str | None
) -> None:
    chosen = {"mqtt__protocol": protocol}
    if password:
        chosen |= {"mqtt__username": "joe", "mqtt__password": password}
    async with at_broker(tmp_path, only(tmp_path, "joe", "right"), **chosen) as bridge:
        await assert_refused(bridge, "ot authori")
        assert "wrong" not in str(bridge.lines)
