"""The directory over the loop: checks as tasks, what it refuses, what it reports."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bridge.errors import DeviceError, DeviceTimeout, DeviceUnreachable
from bridge.model.device import Description, Device
from bridge.upnp.description.fetch import Described, Describer, Probe
from bridge.upnp.presence import Reason
from bridge.upnp.presence.directory import Directory
from bridge.upnp.presence.trust import address_of
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.message import Announcement, Kind
from bridge.upnp.ssdp.search import Sender

HOME = "http://192.168.1.10:80/d.xml"
LAN = Interface(
    "eth0",
    2,
    (ipaddress.IPv4Interface("192.168.1.2/24"),),
    (ipaddress.IPv6Interface("fe80::2/64"), ipaddress.IPv6Interface("2001:db8::2/64")),
    is_loopback=False,
)
LOOPBACK = Interface("lo", 1, (ipaddress.IPv4Interface("127.0.0.1/8"),), (), is_loopback=True)
ALIVE = Announcement(Kind.ALIVE, "d1", "upnp:rootdevice", HOME, "S/1", 1800, None, None, None, None)


@dataclass
class Shelf:
    """Descriptions by LOCATION, and how often each was read."""

    devices: dict[str, Device] = field(default_factory=dict)
    described: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)
    hanging: bool = False
    running: int = 0
    most: int = 0

    async def describe(self, location: str, *, server: str | None = None) -> Described:
        self.described.append(location)
        device = await self._get(location)
        probe = Probe(tuple(one.udn for one in device.walk()), self._print(device))
        return Described(Description(device, location, "1.0", server), probe)

    async def probe(self, location: str) -> Probe:
        self.probed.append(location)
        device = await self._get(location)
        return Probe(tuple(d.udn for d in device.walk()), self._print(device))

    async def _get(self, location: str) -> Device:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(3600 if self.hanging else 0)
        finally:
            self.running -= 1
        if location not in self.devices:
            raise DeviceUnreachable("connection refused")
        return self.devices[location]

    def _print(self, device: Device) -> bytes:
        return device.friendly_name.encode()


def device(udn: str = "d1", name: str = "One", **more: Any) -> Device:
    return Device(udn, "urn:x:device:Thing:1", name, **more)


@dataclass
class Scene:
    """A directory that runs, what it called back, and a clock that can be put forward."""

    shelf: Shelf
    directory: Directory
    calls: list[tuple[str, str]]
    called: asyncio.Event
    ahead_s: float = 0.0

    def heard(self, source: str = "192.168.1.10", on: Interface | None = LAN, **more: Any) -> None:
        arrival = Sender(ipaddress.ip_address(source), on)
        self.directory.heard(replace(ALIVE, **more), arrival)

    async def until(self, *calls: tuple[str, str]) -> None:
        async with asyncio.timeout(3):
            while len(self.calls) < len(calls):
                self.called.clear()
                await self.called.wait()
        assert tuple(self.calls) == calls
        self.calls.clear()

    async def rest(self) -> None:
        """Let what is due be done, and see that nothing was called back."""
        await asyncio.sleep(0.1)
        assert self.calls == []


@asynccontextmanager
async def running(
    *devices: Device,
    location: str = HOME,
    on_description: Callable[[Description], None] = lambda _: None,
    **options: Any,
) -> AsyncIterator[Scene]:
    shelf = Shelf(dict.fromkeys([location], devices[0]) if devices else {})
    calls: list[tuple[str, str]] = []
    called = asyncio.Event()
    scene: Scene

    def joined(description: Description, reason: Reason) -> None:
        on_description(description)
        calls.append((description.udn, str(reason)))
        called.set()

    def left(udn: str, why: str) -> None:
        calls.append((udn, why))
        called.set()

    def clock() -> float:
        return asyncio.get_running_loop().time() + scene.ahead_s

    directory = Directory(
        shelf, on_joined=joined, on_left=left, on_problems=on_description, clock=clock, **options
    )
    scene = Scene(shelf, directory, calls, called)
    task = asyncio.create_task(directory.run())
    await asyncio.sleep(0)
    try:
        yield scene
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_device_joins_leaves_and_comes_back():
    async with running(device()) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        assert scene.shelf.described == [HOME]
        (known,) = scene.directory.devices
        assert (known.udn, known.state, known.location) == ("d1", "online", HOME)
        one = scene.shelf.devices.pop(HOME)
        scene.heard(kind=Kind.BYEBYE, location=None)
        await scene.until(("d1", "byebye"))
        assert scene.directory.devices[0].state == "offline"
        scene.shelf.devices[HOME] = one
        scene.heard()
        await scene.until(("d1", "back"))


@pytest.mark.parametrize("udn", ["uuid:twice", "UUID:Twice"])
async def test_a_udn_that_begins_with_its_prefix_twice_leaves_and_comes_back(udn):
    """SSDP and the description have taken one off by now."""
    async with running(device(udn)) as scene:
        scene.heard(udn=udn)
        await scene.until((udn, "first"))
        assert [known.udn for known in scene.directory.devices] == [udn]
        site = scene.shelf.devices.pop(HOME)
        scene.heard(kind=Kind.BYEBYE, udn=udn)
        await scene.until((udn, "byebye"))
        scene.shelf.devices[HOME] = site
        scene.heard(udn=udn)
        await scene.until((udn, "back"))
        scene.directory.forget(f"uuid:{udn}")
        assert scene.directory.devices == ()


async def test_two_devices_with_one_udn_are_told_of_once_and_in_the_problems_of_the_one_shown():
    twin = "http://192.168.1.11:80/d.xml"
    shown: list[Description] = []
    with capture_logs() as logs:
        async with running(device(), on_description=shown.append) as scene:
            scene.heard()
            await scene.until(("d1", "first"))
            scene.shelf.devices[twin] = device(name="Other")
            for _ in range(3):
                scene.heard("192.168.1.11", location=twin)
                scene.heard()
                await asyncio.sleep(0.1)
                scene.ahead_s += 61
            await scene.rest()
            assert scene.directory.duplicates == {"d1": (twin,)}
            assert scene.directory.devices[0].location == HOME
    [told] = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (told["event"], told["location"]) == ("udn_claimed_by_another", twin)
    assert shown[0].device.problems == ()
    assert shown[1].device.problems == (
        "another device has the same UDN, at 192.168.1.11: it is not shown",
    )


async def test_a_twin_that_was_there_before_a_restart_is_told_of_from_the_start():
    twin = "http://192.168.1.11:80/d.xml"
    shown: list[Description] = []
    async with running(device(), on_description=shown.append) as scene:
        scene.shelf.devices[twin] = device(name="Other")
        scene.heard("192.168.1.11", location=twin)  # it is first
        await scene.until(("d1", "first"))
        scene.directory.expect("d1", HOME, duplicates=["192.168.1.11"])
        await scene.until(("d1", "moved"))
        scene.heard("192.168.1.11", location=twin)
        scene.ahead_s += 61
        scene.heard("192.168.1.11", location=twin)
        await scene.rest()
        assert scene.directory.devices[0].location == HOME
        assert shown[-1].device.problems != ()
        del scene.shelf.devices[twin]
        scene.ahead_s += 4000
        scene.directory.suspect("d1")
        await scene.rest()
    assert shown[-1].device.problems == ()


@pytest.mark.parametrize("kept", [True, False, None, DeviceTimeout("mute"), ValueError("odd")])
async def test_a_device_whose_boot_mark_changes_is_asked_whether_it_knows_its_subscribers(
    kept: Any,
) -> None:
    asked: list[str] = []

    async def still_subscribed(udn: str) -> bool | None:
        asked.append(udn)
        if isinstance(kept, Exception):
            raise kept
        return None if kept is None else bool(kept)

    with capture_logs():
        async with running(device(), still_subscribed=still_subscribed) as scene:
            scene.heard(boot_id=1)
            await scene.until(("d1", "first"))
            scene.ahead_s += 100
            scene.heard(boot_id=2)
            if kept is True:
                await scene.rest()
                assert scene.shelf.probed == [HOME]
            else:
                await scene.until(("d1", "rebooted"))
    assert asked == ["d1"]


async def test_the_server_header_reaches_the_description():
    async with running(device()) as scene:
        assert (await asyncio.gather(scene.directory.add(HOME)))[0].server is None
        scene.heard()
        assert (await scene.directory.refresh("D1")).server == "S/1"


async def test_an_unchanged_description_is_not_read_again_by_a_probe():
    async with running(device()) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        scene.directory.suspect("d1")
        await scene.rest()
        assert len(scene.shelf.probed) == 1
        assert len(scene.shelf.described) == 1


async def test_a_changed_description_is_read_again_and_reported():
    async with running(device()) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        scene.shelf.devices[HOME] = device(name="Two")
        scene.directory.suspect("d1")
        await scene.until(("d1", "changed"))


async def test_a_new_configid_over_the_same_description_is_not_reported():
    async with running(device()) as scene:
        scene.heard(config_id=1)
        await scene.until(("d1", "first"))
        scene.heard(config_id=2)
        await scene.rest()
        assert len(scene.shelf.described) == 2


async def test_a_reboot_is_reported_over_the_same_description():
    async with running(device()) as scene:
        scene.heard(boot_id=1)
        await scene.until(("d1", "first"))
        scene.heard(boot_id=2)
        await scene.until(("d1", "rebooted"))


async def test_a_device_that_accepts_connections_and_says_nothing_leaves():
    async with running(device(), probe_timeout_s=0.05) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        scene.shelf.hanging = True
        scene.directory.suspect("d1")
        await scene.until(("d1", "unreachable"))
        assert len(scene.shelf.probed) == 2


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/d.xml",
        "http://localhost/d.xml",
        "http://10.9.9.9/d.xml",
        "http://127.0.0.1/d.xml",
        "http://[::1]/d.xml",
        "http://[::ffff:127.0.0.1]/d.xml",
        "http://[fe80::1%eth9/d.xml",
        "http://239.255.255.250/d.xml",
        "http://0.0.0.0/d.xml",
        "http://user@192.168.1.10/d.xml",
        "http://192.168.1.10:99999/d.xml",
        "https://192.168.1.10/d.xml",
        "file:///etc/passwd",
        "http://0x7f000001/",
        "",
        "\x00",
    ],
)
async def test_a_location_that_is_not_where_its_sender_stands_is_refused_and_logged_once(location):
    async with running() as scene:
        with capture_logs() as logs:
            for _ in range(3):
                scene.heard(location=location)
        await scene.rest()
        assert scene.shelf.described == []
        assert scene.directory.refused == 3
        assert [entry["event"] for entry in logs] == ["location_refused"]


@pytest.mark.parametrize(
    ("location", "source", "interface"),
    [
        (HOME, "192.168.1.10", None),
        ("http://192.168.1.99/", "192.168.1.10", LAN),
        ("http://[fe80::9%25eth0]/", "fe80::9%eth0", LAN),
        ("http://[fe80::9%eth0]/", "fe80::9%eth0", LAN),
        ("http://[2001:db8::9]/", "fe80::9%eth0", LAN),
        ("http://127.0.0.1:8080/", "127.0.0.1", LOOPBACK),
        ("http://10.1.2.3/", "192.168.1.10", LAN),
        ("HTTP://169.254.3.4/", "169.254.3.4", LAN),
    ],
)
async def test_a_location_where_its_sender_stands_or_in_a_trusted_network_is_read(
    location, source, interface
):
    trusted = (ipaddress.IPv4Network("10.1.0.0/16"),)
    async with running(trusted_networks=trusted) as scene:
        scene.heard(source, interface, location=location)
        await scene.rest()
        assert scene.shelf.described == [location]


@pytest.mark.parametrize(
    ("location", "source", "interface"),
    [
        ("http://192.168.1.99/", "10.9.9.9", LAN),
        ("http://192.168.1.99/", "192.168.1.10", None),
        ("http://127.0.0.1/", "127.0.0.1", LAN),
        ("http://127.0.0.1/", "127.0.0.1", None),
    ],
)
async def test_a_sender_from_elsewhere_does_not_vouch_for_others(location, source, interface):
    async with running() as scene:
        scene.heard(source, interface, location=location)
        assert scene.directory.refused == 1


@given(st.text() | st.builds("http://{}".format, st.text(alphabet="0123456789abf:.[]%@/?#")))
def test_no_location_is_too_odd_to_be_looked_at(location):
    address_of(location)


async def test_the_location_of_a_byebye_does_not_matter():
    async with running(device()) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        scene.shelf.devices.clear()
        scene.heard(kind=Kind.BYEBYE, location="http://*:80/")
        await scene.until(("d1", "byebye"))


async def test_the_table_of_suspicious_senders_is_bounded():
    async with running() as scene:
        with capture_logs():
            for number in range(1000):
                source = str(ipaddress.IPv4Address(0x0A000000 + number))
                scene.heard(source, location="http://evil.example/")
        assert len(scene.directory._trust._suspicious) <= 256
        assert scene.directory.refused == 1000


async def test_a_denied_device_is_reported_once_and_not_described_at_each_alive():
    async with running(
        device(children=(device("e1"),)), admit=lambda _description, host: host != "192.168.1.10"
    ) as scene:
        scene.heard()
        await scene.until(("d1", "denied"))
        assert scene.directory.is_denied("uuid:D1")
        assert scene.directory.is_denied("e1")
        assert not scene.directory.is_denied("d2")
        for _ in range(5):
            scene.heard()
        scene.heard(boot_id=1)
        scene.heard(boot_id=2)
        await scene.rest()
        assert len(scene.shelf.described) == 2
        scene.shelf.devices.clear()
        scene.heard(kind=Kind.BYEBYE, location=None)
        await asyncio.sleep(0.6)
        await scene.rest()
        assert scene.directory.devices[0].state == "offline"
        scene.shelf.devices[HOME] = device()
        with pytest.raises(DeviceError, match="filter"):
            await scene.directory.add(HOME)


async def test_a_device_that_the_filter_lets_in_after_a_change_joins_as_if_it_were_new():
    async with running(
        device(), admit=lambda description, _host: description.device.friendly_name == "Two"
    ) as scene:
        scene.heard()
        await scene.until(("d1", "denied"))
        scene.shelf.devices[HOME] = device(name="Two")
        scene.directory.suspect("d1")
        await scene.until(("d1", "first"))
        assert not scene.directory.is_denied("d1")


async def test_the_static_locations_and_what_the_tree_names_are_checked_at_once():
    async with running(device(), static_locations=(HOME, "http://somewhere.example/")) as scene:
        scene.directory.expect("d2", "http://192.168.1.20/", "S/2")
        scene.directory.expect("d3", HOME)
        assert await scene.directory.wait_idle(2)
        assert scene.directory.pending == 0
        assert sorted(scene.calls) == [
            ("d1", "first"),
            ("d2", "unreachable"),
            ("d3", "unreachable"),
        ]


async def test_waiting_for_rest_ends_with_its_time():
    async with running() as scene:
        assert await scene.directory.wait_idle(0.01)
        scene.shelf.hanging = True
        scene.heard()
        assert not await scene.directory.wait_idle(0.05)
        assert scene.directory.pending == 1


async def test_an_added_location_answers_with_its_description_or_its_error():
    async with running(device()) as scene:
        description = await scene.directory.add(HOME)
        assert description.udn == "d1"
        await scene.until(("d1", "first"))
        with pytest.raises(DeviceUnreachable, match="refused"):
            await scene.directory.add("http://192.168.1.66/")
        scene.shelf.devices["http://192.168.1.67/"] = device(name="Liar")
        with capture_logs() as logs:
            with pytest.raises(DeviceError, match="elsewhere"):
                await scene.directory.add("http://192.168.1.67/")
            async with asyncio.timeout(3):  # it is made sure first that the other is still there
                while "udn_claimed_by_another" not in [entry["event"] for entry in logs]:
                    await scene.rest()
        assert scene.directory._waiting == {}


async def test_adding_what_never_answers_ends():
    async with running(add_timeout_s=0.05) as scene:
        scene.shelf.hanging = True
        with pytest.raises(DeviceTimeout):
            await scene.directory.add(HOME)
        assert scene.directory._waiting == {}


async def test_a_refresh_reports_and_answers_even_an_unchanged_description():
    async with running(device()) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        both = await asyncio.gather(
            scene.directory.refresh("d1"), scene.directory.refresh("uuid:D1")
        )
        assert [description.udn for description in both] == ["d1", "d1"]
        await scene.until(("d1", "refreshed"))
        with pytest.raises(DeviceUnreachable):
            await scene.directory.refresh("nobody")


async def test_a_forgotten_device_is_gone_without_a_call():
    async with running(device()) as scene:
        scene.heard()
        await scene.until(("d1", "first"))
        scene.directory.forget("uuid:D1")
        await scene.rest()
        assert scene.directory.devices == ()
        scene.heard()
        await scene.until(("d1", "first"))


async def test_at_most_sixty_four_checks_run_at_once():
    async with running() as scene:
        scene.shelf.hanging = True
        for number in range(200):
            address = f"10.0.0.{number}"
            scene.heard(address, None, udn=f"d{number}", location=f"http://{address}/")
        await scene.rest()
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert "upnp.check[http://10.0.0.0/]" in names
        assert 32 <= scene.shelf.most <= 64


async def test_a_crash_in_one_check_does_not_end_the_others():
    class Broken(Shelf):
        async def describe(self, location: str, *, server: str | None = None) -> Described:
            if location != HOME:
                raise ZeroDivisionError
            return await super().describe(location, server=server)

    async with running() as scene:
        scene.directory._describer = Broken({HOME: device()})
        with capture_logs() as logs:
            scene.heard(location="http://192.168.1.66/")
            scene.heard()
            await scene.until(("d1", "first"))
        assert "check_crashed" in [entry["event"] for entry in logs]


async def test_the_first_failure_of_a_location_is_a_warning_and_further_ones_are_not():
    async with running() as scene:
        with capture_logs() as logs:
            scene.heard()
            await scene.rest()
            scene.ahead_s = 3
            scene.directory._awake.set()
            await scene.rest()
        failures = [entry["log_level"] for entry in logs if entry["event"] == "no_description"]
        assert failures == ["warning", "debug"]


async def test_that_remembered_devices_are_gone_is_no_warning():
    gone = [f"d{number}" for number in range(20)]
    async with running() as scene:
        with capture_logs() as logs:
            for number, udn in enumerate(gone):
                scene.directory.expect(udn, f"http://192.168.1.{20 + number}/")
            async with asyncio.timeout(5):
                while len(scene.calls) < len(gone):
                    scene.ahead_s += 1
                    scene.directory._awake.set()
                    await asyncio.sleep(0.02)
        assert sorted(scene.calls) == sorted((udn, "unreachable") for udn in gone)
    failures = [entry["log_level"] for entry in logs if entry["event"] == "no_description"]
    assert set(failures) == {"debug"}
    assert len(failures) >= len(gone)
    assert sum(entry["event"] == "device_left" for entry in logs) == len(gone)


@dataclass
class _Answer:
    status: int
    body: bytes
    is_cut: bool = False


class _Socket:
    """Speaks just enough HTTP to read a description from loopback."""

    async def request(self, method: str, url: str, *, timeout_s: float, max_bytes: int) -> _Answer:
        host, _, port = url.split("/")[2].partition(":")
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(f"{method} /d.xml HTTP/1.0\r\n\r\n".encode())
                head, _, body = (await reader.read(max_bytes)).partition(b"\r\n\r\n")
                writer.close()
                await writer.wait_closed()
        except OSError as error:
            raise DeviceUnreachable(str(error)) from error
        return _Answer(int(head.split()[1]), body)


async def test_a_device_on_loopback_is_described_by_the_real_describer():
    xml = (
        b"<root xmlns='urn:schemas-upnp-org:device-1-0'><specVersion><major>1</major>"
        b"<minor>0</minor></specVersion><device><deviceType>urn:x:device:Thing:1</deviceType>"
        b"<friendlyName>One</friendlyName><UDN>uuid:d1</UDN></device></root>"
    )

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + xml)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    location = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/d.xml"
    async with running() as scene:
        scene.directory._describer = Describer(_Socket())
        scene.heard("127.0.0.1", LOOPBACK, location=location)
        await scene.until(("d1", "first"))
        scene.heard("127.0.0.1", LOOPBACK, kind=Kind.BYEBYE, location=None)
        server.close()
        await server.wait_closed()
        await scene.until(("d1", "byebye"))
