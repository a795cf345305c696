"""A network, a broker, a disk and a clock that fail: the tree is right soon after the repair.

What the tree must be is asked of the devices by a way that does not fail.
"""

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.system import link
from tests.system.bridge import Observer, wait_for
from tests.system.home import Home
from tests.system.lab import Lab
from tests.system.link import GOOD, Faults
from tests.system.site import Site

DEVICES = ("light", "gmediarender", "miniupnpd")
RENDERER = "GMediaRender-1_0-000-000-002"
CALLBACK_PORT = 8098
FAULT_S = 6.0
WAITED_S = 2.5
"""So long all devices wait: libupnp 17 gives up an event if it has no connection after 5 s."""
SEARCH_LOST_S = 24.0
"""Two intervals between searches, and a little: in that time one gets no answer."""
RIGHT_S = 30.0
EXPECTED_WARNINGS = {
    "broker_unavailable",
    "no_description",
    "no_initial_event",
    "ssdp_join_failed",
    "ssdp_search_failed",
    "subscription_lost",
}
"""What is told of a fault while it lasts."""
MORE_FILES = 8
MORE_BYTES = 32 << 20
FOREIGN = {
    "foreign/topic": b"not the bridge's",
    "homeassistant/light/other/config": b'{"name":"Other"}',
    "upnp/bridge/other/state": b"online",
    "upnp/bridge/other/devices": b"[]",
    "upnp/other-device": b'{"id":"other-device","kind":"device","bridge":"other"}',
    "upnp/other-device/availability": b"online",
    "upnp/other-device/Power/value/On": b"true",
    "upnp/nobodys/note": b"kept by somebody",
}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

_levels = cycle((20, 41, 63, 84))


@pytest.fixture(scope="module")
def home(lab_can_be: None, wire_can_be: None) -> Iterator[Home]:
    """A failing wire away from a lab."""
    with Lab() as lab, Home(lab) as home:
        yield home


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, home: Home) -> Iterator[Site]:
    """Broker and bridge at home, with others' topics retained, and three devices."""
    site = Site(home.lab, tmp_path_factory.mktemp("faults"), home)
    site.bridge.set(BRIDGE_MQTT__KEEPALIVE="5", BRIDGE_UPNP__SEARCH_INTERVAL="10")
    site.start(*DEVICES)
    try:
        site.broker.start()
        with Observer(home) as observer:
            for topic, payload in FOREIGN.items():
                observer.publish(topic, payload, retain=True)
            wait_for(lambda: observer.tree.items() >= FOREIGN.items(), 5)
        site.foreign.update(FOREIGN)
        yield site
    finally:
        site.close()


def retained_tree(site: Site) -> tuple[int, int]:
    """Give how many files the bridge has open, and how many bytes of memory."""
    assert site.bridge.process is not None
    own = Path("/proc", str(site.bridge.process.pid))
    pages = int((own / "statm").read_text().split()[1])
    return len(list((own / "fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def unscathed(site: Site, home: Home) -> Iterator[None]:
    """See that a fault costs the bridge nothing, and others' topics neither."""
    with site.observed() as observer:
        site.await_right(observer, seconds=RIGHT_S)
    before, (files, size) = site.bridge.process, retained_tree(site)
    try:
        yield
    finally:
        home.link.faults = GOOD
    assert site.bridge.runs
    with site.observed() as observer:
        assert {topic: observer.tree.get(topic) for topic in FOREIGN} == FOREIGN
    lines = site.bridge.lines()
    assert not [line for line in lines if line["level"] == "error" or "exception" in line]
    assert {one["event"] for one in lines if one["level"] == "warning"} <= EXPECTED_WARNINGS
    if site.bridge.process is before:
        wait_for(lambda: retained_tree(site)[0] <= files + MORE_FILES, 40, "files are left open")
        assert retained_tree(site)[1] <= size + MORE_BYTES


Await = Callable[[Observer], None]


@pytest.fixture
def await_repaired(
    site: Site, record_property: Callable[[str, object], None]
) -> Callable[[Observer], None]:
    """Return what waits until the tree is right, and notes how long that took."""

    def wait(observer: Observer) -> None:
        began_s = time.monotonic()
        site.await_right(observer, seconds=RIGHT_S)
        record_property("right_after_s", round(time.monotonic() - began_s, 1))

    return wait


@pytest.fixture
def impatient(site):
    """Have devices give up an event after 3 s rather than two minutes."""
    setting = "/proc/sys/net/ipv4/tcp_syn_retries"

    def write(number: int) -> None:
        for name in site.running:
            inside = ["ip", "netns", "exec", f"{site.lab.space}-{name}", "sh", "-c"]
            subprocess.run([*inside, f"echo {number} > {setting}"], check=True)

    write(1)
    yield
    write(6)


def change(site: Site) -> None:
    """Change values of two devices without the bridge."""
    level = next(_levels)
    light, renderer = (
        site.service("light", "SetLoadLevelTarget"),
        site.service("gmediarender", "SetVolume"),
    )
    site.invoke(light, "SetLoadLevelTarget", newLoadlevelTarget=level)
    site.invoke(renderer, "SetVolume", InstanceID=0, Channel="Master", DesiredVolume=level)


def test_on_a_poor_network_each_command_is_answered_once_and_after_it_all_is_right(
    site, home, observer, await_repaired
):
    home.link.faults = link.POOR
    for number in range(8):
        change(site)
        observer.publish(f"upnp/{RENDERER}/call", {"callid": number, "action": "GetVolume"})
        time.sleep(1)
    wait_for(lambda: all(observer.answers(number) for number in range(8)), 60)
    home.link.faults = GOOD
    await_repaired(observer)
    assert [len(observer.answers(number)) for number in range(8)] == [1] * 8


def test_a_bridge_that_started_on_a_poor_network_is_right_after_it(site, home, await_repaired):
    site.bridge.stop(signal.SIGKILL)
    home.link.faults = link.POOR
    site.bridge.start()
    for _ in range(8):
        change(site)
        time.sleep(1)
    home.link.faults = GOOD
    with site.observed() as observer:
        await_repaired(observer)


@pytest.mark.parametrize(
    "stops",
    [link.is_all, link.is_multicast, link.is_unicast_ip, link.goes_in, link.goes_to(CALLBACK_PORT)],
    ids=["all", "multicast", "unicast", "what_comes_in", "events"],
)
def test_after_a_cut_that_devices_waited_for_all_is_right(
    site, home, observer, await_repaired, stops
):
    home.link.faults = Faults(stops=stops)
    change(site)
    time.sleep(WAITED_S)
    home.link.faults = GOOD
    await_repaired(observer)


@pytest.mark.usefixtures("impatient")
def test_after_a_cut_in_which_events_were_lost_and_a_search_all_is_right(
    site, home, observer, await_repaired
):
    home.link.faults = Faults(stops=link.is_all)
    change(site)
    time.sleep(SEARCH_LOST_S)
    home.link.faults = GOOD
    await_repaired(observer)


@pytest.mark.usefixtures("impatient")
def test_after_the_cable_was_pulled_all_is_right(site, home, observer, await_repaired):
    for seconds in (0.05, FAULT_S):
        home.link.faults = Faults(stops=link.is_all)
        home.link.set_carrier(on=False)
        change(site)
        time.sleep(seconds)
        home.link.set_carrier(on=True)
        home.link.faults = GOOD
        await_repaired(observer)


@pytest.mark.usefixtures("impatient")
def test_an_interface_that_is_made_again_is_taken_whatever_its_name_and_address(
    site, home, observer, await_repaired
):
    for interface, host in (("eth0", 2), ("usb7", 3), ("eth0", 2)):
        home.unplug()
        change(site)
        time.sleep(4)
        home.plug(interface, host)
        await_repaired(observer)


@pytest.mark.parametrize(
    ("number", "host"),
    [(signal.SIGTERM, 26), (signal.SIGKILL, 16)],
    ids=["with_a_byebye", "without_a_word"],
)
def test_a_device_that_was_started_elsewhere_is_found_there(
    site, observer, await_repaired, number, host
):
    site.stop("miniupnpd", number=number)
    site.lab.move("miniupnpd", host)
    site.start("miniupnpd")
    await_repaired(observer)


def told(site: Site) -> int:
    """Count how often the broker was told to be unavailable."""
    return sum(line["event"] == "broker_unavailable" for line in site.bridge.lines())


def test_after_the_broker_hung_all_is_right(site, observer, await_repaired):
    before = told(site)
    site.broker.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(4):
            change(site)
            time.sleep(4)
        wait_for(lambda: told(site) > before, 10, "not noticed")
    finally:
        site.broker.process.send_signal(signal.SIGCONT)
    await_repaired(observer)
    connected = [line for line in site.bridge.lines() if line["event"] == "broker_connected"]
    assert {line["protocol"] for line in connected} == {"5"}


def test_after_the_bridge_hung_all_is_right(site, observer, await_repaired):
    site.bridge.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            change(site)
            time.sleep(4)
    finally:
        site.bridge.process.send_signal(signal.SIGCONT)
    await_repaired(observer)


def test_a_broker_whose_disk_is_full_is_right_and_so_is_the_older_tree_that_it_comes_back_with(
    site, await_repaired
):
    site.broker.stop()
    site.broker.start_on_full_disk()
    try:
        with site.observed() as observer:
            change(site)
            await_repaired(observer)
    except (AssertionError, TimeoutError):
        assert not site.broker.runs  # mosquitto 2.1.2 ends where it cannot save
    wait_for(lambda: "No space left on device" in site.broker.log.read_text(), 5, "it has room")
    site.broker.stop(signal.SIGKILL)
    site.broker.start()
    with site.observed() as observer:
        await_repaired(observer)


def test_a_bridge_whose_log_is_on_a_full_disk_does_its_work(site, await_repaired):
    log = site.bridge.log
    site.bridge.stop()
    site.bridge.log = Path("/dev/full")
    try:
        site.bridge.start(BRIDGE_LOG__LEVEL="debug")
        with site.observed() as observer:
            change(site)
            await_repaired(observer)
        assert site.bridge.stop() == 0
    finally:
        site.bridge.log = log
    with site.observed() as observer:
        await_repaired(observer)


def listen(port: int) -> socket.socket:
    """Take a port on every address."""
    return socket.create_server(("", port), backlog=1)


def test_a_callback_port_that_is_taken_is_named_and_taken_when_it_is_free(
    site, home, observer, await_repaired
):
    with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
        home.call(listen, CALLBACK_PORT)
    assert site.bridge.stop() == 0
    log, site.bridge.log = site.bridge.log, site.bridge.log.with_name("refused.log")
    try:
        with home.call(listen, CALLBACK_PORT):
            site.bridge.start()
            assert site.bridge.process.wait(10) == 2
        assert "upnp.callback_port" in site.bridge.log.read_text()
    finally:
        site.bridge.log = log
    change(site)
    site.bridge.start()
    await_repaired(observer)


@pytest.mark.skipif(
    FAKETIME is None, reason="stepping a clock needs faketime: as root, scripts/test installs it"
)
def test_a_clock_that_is_stepped_changes_nothing(site, tmp_path, await_repaired):
    offset = tmp_path / "offset"
    offset.write_text("+0")
    site.bridge.stop()
    site.bridge.start(
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    with site.observed() as observer:
        for hours in (0, 7, -7):
            offset.write_text(f"{hours:+d}h")
            change(site)
            time.sleep(2)
            await_repaired(observer)
            told = observer.verb("health")
            assert told["success"]
        assert not [one for one in observer.live if one.payload == b"offline"]
    site.bridge.stop()
    with site.observed():
        pass
