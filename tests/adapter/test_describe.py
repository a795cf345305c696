"""Descriptions fetched from a device on loopback, over the real HTTP client."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from bridge.errors import BadResponse, DescriptionError, DeviceTimeout, DeviceUnreachable
from bridge.upnp.description.fetch import Describer, DescriptionLimits
from bridge.upnp.http.client import HttpClient

CAPTURES = Path(__file__).parents[1] / "captures"
SCPD = (
    b"<scpd><serviceStateTable><stateVariable><name>A</name><dataType>ui4</dataType>"
    b"</stateVariable></serviceStateTable></scpd>"
)
SILENT = -1
CLOSED = -2


def description(*scpds: str, udn: str = "uuid:1", inner: str = "") -> bytes:
    services = "".join(
        f"<service><serviceType>urn:x:service:S:1</serviceType><serviceId>S{n}</serviceId>"
        f"<SCPDURL>{url}</SCPDURL><controlURL>/c</controlURL></service>"
        for n, url in enumerate(scpds)
    )
    return (
        "<root><device><deviceType>d</deviceType><friendlyName>n</friendlyName>"
        f"<UDN>{udn}</UDN><serviceList>{services}</serviceList>{inner}</device></root>"
    ).encode()


class HttpDevice:
    """Answers GET by path: (status, body), or SILENT, or CLOSED; counts what it is asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.cuts: dict[str, list[int]] = {}
        """After how many bytes of its body each answer for a path ends, one after the other."""
        self.asked: list[str] = []
        self.delay_s = 0.0
        self.at_once = self.most_at_once = 0
        self.leave_after = 0
        self._server: asyncio.Server | None = None

    def url(self, path: str = "/d.xml") -> str:
        return f"http://{self.host}:{self.port}{path}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def leave(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.asked.append(path)
            if len(self.asked) == self.leave_after:
                self.leave()
            await asyncio.sleep(self.delay_s)
            status, body = self.answers.get(path, (404, b"no"))
            if status == SILENT:
                await reader.read()
            elif status != CLOSED:
                cuts = self.cuts.get(path)
                came = body[: cuts.pop(0)] if cuts else body
                writer.write(
                    b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), came)
                )
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.at_once -= 1
            writer.close()


@asynccontextmanager
async def running(host: str = "127.0.0.1") -> AsyncIterator[HttpDevice]:
    device = HttpDevice(host)
    await device.start()
    try:
        yield device
    finally:
        device.leave()


@pytest.fixture
async def device():
    async with running() as device:
        yield device


def limited(**most):
    return Describer(HttpClient(), timeout_s=2.0, limits=DescriptionLimits(**most))


@pytest.fixture
def describer():
    return limited()


@pytest.mark.parametrize(
    ("name", "part"),
    [("gmediarender", 1), ("light", 1), ("minidlna", 1), ("miniupnpd", 1), ("rygel", 2)],
)
async def test_a_recorded_device_is_described_whole(device, describer, name, part):
    folder = CAPTURES / name
    body = (folder / f"description{part}.xml").read_bytes()
    device.answers["/d.xml"] = (200, body)
    first = (await describer.describe(device.url())).description.device
    for service in (s for d in first.walk() for s in d.services):
        files = folder.glob(f"{part}-*.scpd.xml")
        matching = [
            f for f in files if f.name.split("-", 1)[1].split(".")[0] in service.service_type
        ]
        path = service.scpd_url.removeprefix(device.url(""))
        device.answers[path] = (200, matching[0].read_bytes())
    described = await describer.describe(device.url(), server="Lab/1.0")
    assert described.description.server == "Lab/1.0"
    assert described.description.location == device.url()
    walked = list(described.description.device.walk())
    assert all(s.scpd.members for d in walked for s in d.services)
    problems = [line for d in walked for line in d.problems]
    assert [line for line in problems if "URLBase" not in line] == []
    probe = await describer.probe(device.url())
    assert probe.udns == tuple(d.udn for d in walked)
    assert probe == described.probe


async def test_a_probe_asks_for_the_description_alone(device, describer):
    device.answers["/d.xml"] = (200, description("/s"))
    before = await describer.probe(device.url())
    assert before.udns == ("1",)
    device.answers["/d.xml"] = (200, description("/t"))
    assert (await describer.probe(device.url())).fingerprint != before.fingerprint
    assert device.asked == ["/d.xml"] * 2


async def test_equal_scpds_are_one_object_across_devices(device, describer):
    async with running("127.0.0.2") as other:
        for each in (device, other):
            each.answers = {"/d.xml": (200, description("/s", "/t")), "/s": (200, SCPD)}
            each.answers["/t"] = (200, SCPD)
        one = (await describer.describe(device.url())).description.device
        two = (await describer.describe(other.url())).description.device
    assert len({id(s.scpd) for d in (one, two) for s in d.services}) == 1


async def test_what_is_described_as_before_is_the_object_that_somebody_has(device, describer):
    device.answers = {"/d.xml": (200, description("/s")), "/s": (200, SCPD)}
    one = (await describer.describe(device.url())).description
    assert (await describer.describe(device.url())).description is one
    assert (await describer.describe(device.url(), server="Lab/1.0")).description is not one
    device.answers["/s"] = (200, SCPD.replace(b"</scpd>", b" </scpd>"))
    same = (await describer.describe(device.url())).description
    device.answers["/d.xml"] = (200, description("/s", "/s"))
    other = (await describer.describe(device.url())).description
    assert one == same != other
    del one, same, other
    gc.collect()
    assert not describer._descriptions


async def test_the_table_of_shared_scpds_is_bounded(device):
    describer = limited(shared=3)
    paths = [f"/s{n}" for n in range(10)]
    device.answers = {path: (200, SCPD + f"<!--{path}-->".encode()) for path in paths}
    device.answers["/d.xml"] = (200, description(*paths))
    await describer.describe(device.url())
    assert len(describer._shared) == 3


async def test_scpds_that_would_make_a_device_too_large_are_left_out(device):
    describer = limited(components=2)
    device.answers = {path: (200, SCPD + b" " * n) for n, path in enumerate(("/a", "/b", "/c"))}
    device.answers["/d.xml"] = (200, description("/a", "/b", "/c"))
    root = (await describer.describe(device.url())).description.device
    assert [len(one.scpd.members) for one in root.services] == [1, 1, 0]
    assert root.problems == ("S2: no SCPD: over 2 components in all",)


async def test_a_url_that_services_share_is_fetched_once(device, describer):
    device.answers = {"/d.xml": (200, description("/s", "/s", "/s")), "/s": (200, SCPD)}
    found = await describer.describe(device.url())
    assert device.asked == ["/d.xml", "/s"]
    assert all("A" in s.scpd.variables for s in found.description.device.services)


@pytest.mark.parametrize(
    ("answer", "problem", "asked"),
    [
        ((404, b"no"), "S1: no SCPD: HTTP 404", 1),
        ((302, b""), "S1: no SCPD: HTTP 302", 1),
        ((200, b"<html/>"), "S1: no SCPD: no scpd element", 1),
        ((200, b""), "S1: no SCPD: no XML element", 1),
        ((CLOSED, b""), "S1: no SCPD: an unreadable answer", 1),
        ((SILENT, b""), "S1: no SCPD: no answer in time", 2),
        ((200, b" " * (2 * 1024 * 1024 + 1)), "S1: no SCPD: an unreadable answer", 1),
    ],
)
async def test_a_bad_scpd_costs_only_its_service(device, answer, problem, asked):
    device.answers = {"/d.xml": (200, description("/s", "/bad", "/t")), "/bad": answer}
    device.answers |= {"/s": (200, SCPD), "/t": (200, SCPD)}
    found = await Describer(HttpClient(), timeout_s=0.2).describe(device.url())
    root = found.description.device
    assert [len(s.scpd.members) for s in root.services] == [1, 0, 1]
    assert root.problems == (problem,)
    assert device.asked.count("/bad") == asked


async def test_a_device_that_leaves_in_the_middle_is_unreachable(device, describer):
    device.answers = {"/d.xml": (200, description("/s", "/t", "/u")), "/s": (200, SCPD)}
    device.leave_after = 2
    with pytest.raises(DeviceUnreachable):
        await describer.describe(device.url())
    assert device.asked == ["/d.xml", "/s"]


async def test_a_document_that_is_cut_off_is_read_again(device, describer):
    device.answers = {"/d.xml": (200, description("/s")), "/s": (200, SCPD)}
    whole = await describer.describe(device.url())
    device.cuts = {"/d.xml": [200], "/s": [len(SCPD) // 2]}
    assert await describer.describe(device.url()) == whole
    device.cuts = {"/d.xml": [200, 210]}
    with pytest.raises(BadResponse, match="middle of a document"):
        await describer.describe(device.url())
    device.cuts = {"/d.xml": [200, 210]}
    with pytest.raises(BadResponse, match="middle of a document"):
        await describer.probe(device.url())
    device.cuts = {"/s": [len(SCPD) - 5, len(SCPD) - 9]}
    again = await describer.describe(device.url())
    assert again.description == whole.description
    assert not again.probe.is_whole


async def test_a_document_that_always_ends_at_the_same_place_is_read_as_far_as_it_goes(
    device, describer
):
    device.answers = {"/d.xml": (200, description(inner="<modelName>m</modelName>"))}
    device.cuts = {"/d.xml": [len(description()) - 3] * 2}
    read = (await describer.describe(device.url())).description
    assert read.udn == "1"
    assert read.device.problems


async def test_an_scpd_that_does_not_come_this_time_is_the_one_read_before(device, describer):
    device.answers = {
        "/d.xml": (200, description("/s", "/t")),
        "/s": (200, SCPD),
        "/t": (200, SCPD),
    }
    before = await describer.describe(device.url())
    assert before.probe.is_whole
    device.answers["/s"] = (CLOSED, b"")
    again = await describer.describe(device.url())
    assert again.description == before.description
    assert not again.probe.is_whole
    device.answers["/s"] = (404, b"")
    without = await describer.describe(device.url())
    assert without.description.device.problems == ("S0: no SCPD: HTTP 404",)
    device.answers["/s"] = (CLOSED, b"")
    assert (
        "unreadable answer"
        in (await describer.describe(device.url())).description.device.problems[0]
    )


async def test_an_scpd_on_a_closed_port_costs_only_its_service(device, describer):
    async with running() as gone:
        closed = gone.url("/s")
    device.answers = {"/d.xml": (200, description(closed, "/t")), "/t": (200, SCPD)}
    root = (await describer.describe(device.url())).description.device
    assert root.problems == ("S0: no SCPD: no connection",)
    assert "A" in root.services[1].scpd.variables


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, b""), DescriptionError),
        ((301, b""), DescriptionError),
        ((200, b"junk"), DescriptionError),
        ((200, b"<root/>"), DescriptionError),
        ((CLOSED, b""), BadResponse),
        ((SILENT, b""), DeviceTimeout),
        ((200, b" " * (2 * 1024 * 1024 + 1)), BadResponse),
    ],
)
async def test_a_bad_description_is_an_error(device, answer, error):
    describer = Describer(HttpClient(), timeout_s=0.2)
    device.answers["/d.xml"] = answer
    with pytest.raises(error):
        await describer.describe(device.url())
    with pytest.raises(error):
        await describer.probe(device.url())


async def test_no_device_is_unreachable(device, describer):
    device.leave()
    with pytest.raises(DeviceUnreachable):
        await describer.describe(device.url())


@pytest.mark.parametrize("location", ["", "d.xml", "http://[", "https://127.0.0.1/"])
async def test_a_location_that_is_no_http_url_is_an_error(describer, location):
    with pytest.raises(DescriptionError):
        await describer.probe(location)


async def test_nothing_is_asked_of_a_foreign_host_unless_trusted(device, describer):
    async with running("127.0.0.2") as other:
        other.answers["/s"] = (200, SCPD)
        named = f"http://localhost:{other.port}/s"
        device.answers["/d.xml"] = (200, description(other.url("/s"), named))
        root = (await describer.describe(device.url())).description.device
        assert other.asked == []
        assert root.problems == (
            "S0: SCPDURL: a foreign host, left out",
            "S1: SCPDURL: a foreign host, left out",
        )
        networks = [ip_network("::/0"), ip_network("127.0.0.2/32")]
        trusting = Describer(HttpClient(), trusted_networks=networks)
        root = (await trusting.describe(device.url())).description.device
        assert other.asked == ["/s"]
        assert [len(s.scpd.members) for s in root.services] == [1, 0]


async def test_one_request_at_a_time_to_a_host_and_hosts_side_by_side():
    describer = Describer(HttpClient(), max_parallel=2)
    most = 0
    async with running("127.0.0.2") as a, running("127.0.0.3") as b, running("127.0.0.4") as c:
        for each in (a, b, c):
            each.answers = {"/d.xml": (200, description("/s", "/t")), "/s": (200, SCPD)}
            each.answers["/t"] = (200, SCPD)
            each.delay_s = 0.02

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, a.at_once + b.at_once + c.at_once)
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            await asyncio.gather(
                *(describer.describe(each.url()) for each in (a, b, c) for _ in range(3))
            )
            watching.cancel()
        assert [each.most_at_once for each in (a, b, c)] == [1, 1, 1]
        assert [len(each.asked) for each in (a, b, c)] == [9, 9, 9]
    assert most == 2
    assert len(describer._turns) == 0


async def test_a_host_that_is_silent_holds_up_no_other(device):
    describer = Describer(HttpClient(), timeout_s=0.5, max_parallel=2)
    async with running("127.0.0.2") as silent:
        silent.answers["/d.xml"] = (SILENT, b"")
        waiting = [asyncio.create_task(describer.probe(silent.url())) for _ in range(2)]
        await asyncio.sleep(0.05)
        device.answers["/d.xml"] = (200, description())
        async with asyncio.timeout(0.4):
            await describer.probe(device.url())
        failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(failure) for failure in failures] == [DeviceTimeout] * 2


async def test_a_device_has_so_much_time_and_no_more(device):
    describer = limited(device_s=0.3)
    device.answers = {"/d.xml": (200, description("/s", "/t")), "/s": (SILENT, b"")}
    with pytest.raises(DeviceTimeout):
        await describer.describe(device.url())
    assert "/t" not in device.asked


async def test_a_device_has_so_many_bytes_and_no_more(device):
    body = description("/s", "/t", "/u")
    describer = limited(device_bytes=len(body) + len(SCPD))
    device.answers = {"/d.xml": (200, body), "/s": (200, SCPD), "/t": (200, SCPD)}
    root = (await describer.describe(device.url())).description.device
    assert [len(s.scpd.members) for s in root.services] == [1, 0, 0]
    assert device.asked == ["/d.xml", "/s"]
