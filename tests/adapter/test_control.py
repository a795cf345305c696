"""Actions called on devices on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.errors import Code, CommandError, Outcome
from bridge.model.device import Scpd, Service
from bridge.upnp.http.client import HttpClient
from bridge.upnp.soap import invoke
from tests.adapter.serving import serving

CAPTURES = Path(__file__).parent.parent / "captures"
SERVICE_TYPE = "urn:schemas-upnp-org:service:RenderingControl:1"


def service_at(url: str, service_type: str = SERVICE_TYPE) -> Service:
    return Service("urn:upnp-org:serviceId:R", service_type, "R", "", url, None, Scpd.of(()))


@asynccontextmanager
async def device(answer: bytes | None) -> AsyncIterator[tuple[Service, list[bytes]]]:
    """Run a device that reads each request, answers so (never, where None) and closes."""
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"</s:Envelope>"))
        if answer is None:
            await reader.read()
        writer.write(answer or b"")

    async with serving(handle) as port:
        yield service_at(f"http://127.0.0.1:{port}/ctl?x=%3A"), requests
        await asyncio.sleep(0.01)


async def refusal(answer: bytes | None, timeout_s: float = 5.0) -> tuple[Code, Outcome, int | None]:
    async with device(answer) as (service, requests):
        with pytest.raises(CommandError) as caught:
            await invoke(HttpClient(), service, "Next", (), timeout_s=timeout_s)
        await asyncio.sleep(0.05)
        assert len(requests) == 1
    return caught.value.code, caught.value.outcome, caught.value.upnp_code


async def test_an_action_is_called_as_the_standard_has_it():
    answer = (CAPTURES / "minidlna/action-Browse.answer.http").read_bytes()
    async with device(answer) as (service, requests):
        arguments = [("ObjectID", "0 & <\r\u00fc"), ("Filter", "*")]
        out = await invoke(HttpClient(), service, "Browse", arguments, timeout_s=5)
    assert out["TotalMatches"] == "4"
    [request] = requests
    assert request.startswith(b"POST /ctl?x=%3A HTTP/1.1\r\n")
    assert b'\r\nCONTENT-TYPE: text/xml; charset="utf-8"\r\n' in request
    assert f'\r\nSOAPACTION: "{SERVICE_TYPE}#Browse"\r\n'.encode() in request
    assert "<ObjectID>0 &amp; &lt;&#13;\u00fc</ObjectID><Filter>*</Filter>".encode() in request


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*/action-Set*.answer.http")))
async def test_a_captured_answer_is_read(path):
    async with device(path.read_bytes()) as (service, _):
        name = path.name.split("-")[1].split(".")[0]
        assert await invoke(HttpClient(), service, name, (), timeout_s=5) == {}


async def test_a_captured_fault_is_a_refusal_by_the_device():
    answer = (CAPTURES / "light/action-NoSuchAction.answer.http").read_bytes()
    assert await refusal(answer) == (Code.UPNP_FAULT, Outcome.REJECTED, 401)


@pytest.mark.parametrize(
    ("answer", "code", "outcome"),
    [
        (b"", Code.BAD_RESPONSE, Outcome.UNKNOWN),
        (b"junk\r\n\r\n", Code.BAD_RESPONSE, Outcome.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\n\r\n", Code.BAD_RESPONSE, Outcome.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\n\r\n<html/>", Code.BAD_RESPONSE, Outcome.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", Code.BAD_RESPONSE, Outcome.UNKNOWN),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n<Envelope><Body><NextResponse><A>1",
            Code.BAD_RESPONSE,
            Outcome.UNKNOWN,
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<html/>", Code.HTTP_ERROR, Outcome.REJECTED),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", Code.HTTP_ERROR, Outcome.REJECTED),
        (b"HTTP/1.1 500 Error\r\n\r\n", Code.HTTP_ERROR, Outcome.REJECTED),
    ],
)
async def test_a_call_without_a_soap_answer_is_sent_once_and_its_end_told(answer, code, outcome):
    assert await refusal(answer) == (code, outcome, None)


async def test_the_end_of_a_call_without_answer_is_unknown():
    assert await refusal(None, timeout_s=0.1) == (Code.TIMEOUT, Outcome.UNKNOWN, None)


async def test_a_device_that_refuses_the_connection_was_sent_nothing():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        service = service_at(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(CommandError) as caught:
            await invoke(HttpClient(), service, "Next", (), timeout_s=5)
    assert (caught.value.code, caught.value.outcome) == (Code.UNREACHABLE, Outcome.NOT_SENT)


@pytest.mark.parametrize(
    "service",
    [
        service_at("http://127.0.0.1:1/", "urn:x\r\nX: y"),
        service_at(""),
        service_at("https://127.0.0.1/"),
    ],
)
async def test_a_service_that_cannot_be_called_was_sent_nothing(service):
    with pytest.raises(CommandError) as caught:
        await invoke(HttpClient(), service, "Next", (), timeout_s=5)
    assert caught.value.outcome is Outcome.NOT_SENT
