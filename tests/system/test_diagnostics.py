"""Real devices as files, and the files as fixtures for the tests."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from bridge.formats.bodies import octets
from bridge.model.device import Description
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import read_scpd, with_scpds
from tests.system import raw
from tests.system.bridge import ROOT
from tests.system.devices import DEVICES, NET, SILENT
from tests.unit.captured import described

SECONDS = "5"
NEW = "program-"


@pytest.fixture(scope="module")
def file(site, tmp_path_factory):
    """What the command writes about the whole lab."""
    path = tmp_path_factory.mktemp("diagnostics") / "all.json"
    words = ("-m", "bridge", "diagnostics", "--seconds", SECONDS, "--output", str(path))
    command = [*site.lab.exec_prefix, sys.executable, *words]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120)
    return path


@pytest.fixture(scope="module")
def tests(file, tmp_path_factory):
    """The tests with a folder of captures more for each program, made from that file."""
    folder = tmp_path_factory.mktemp("project") / "tests"
    shutil.copytree(ROOT / "tests", folder, ignore=shutil.ignore_patterns("__pycache__"))
    ids: dict[str, list[str]] = {}
    for one in json.loads(file.read_text())["captures"]:
        ids.setdefault(one["location"].split("/")[2].split(":")[0], []).append(one["id"])
    for number, devices in enumerate(ids.values()):
        choice = [word for device in devices for word in ("--id", device)]
        words = (str(file), f"{NEW}{number}", "--into", str(folder / "captures"), *choice)
        subprocess.run([sys.executable, str(ROOT / "scripts" / "add-device"), *words], check=True)
    return folder


def shape(description):
    """What a device is, without what is its own."""
    return [
        (
            one.device_type,
            one.manufacturer,
            one.model_name,
            one.model_description,
            len(one.udn),
            one.problems,
            [(s.service_id, s.level, s.scpd, s.event_url is None) for s in one.services],
        )
        for one in description.device.walk()
    ]


def there(site, location):
    """What stands at a location of the lab."""
    found = read_description(site.lab.call(raw.fetch, location), location, foreign=lambda _: False)
    urls = {service.scpd_url for one in found.device.walk() for service in one.services}
    scpds = {url: read_scpd(site.lab.call(raw.fetch, url)) for url in urls}
    return Description(with_scpds(found.device, scpds), found.location, found.upnp_version)


@pytest.mark.parametrize("name", DEVICES)
def test_a_fixture_has_the_same_model_as_the_device_itself(site, tests, name):
    made = [
        shape(described(folder, int(path.stem[-1])))
        for folder in (tests / "captures").glob(f"{NEW}*")
        for path in folder.glob("description?.xml")
    ]
    for device in site.devices(name):
        assert shape(there(site, device.location)) in made


def test_no_address_and_no_name_of_the_lab_is_in_the_file(site, file):
    text = file.read_text()
    for device in site.devices():
        for own in device.devices:
            assert own.lower() not in text.lower()
    for secret in (f"{NET}.", "8.8.4.10", "Lab ", "Tone"):
        assert secret not in text


def test_all_that_devices_send_is_there(file):
    captures = json.loads(file.read_text())["captures"]
    assert len(captures) == sum(len(device.types) for device in DEVICES.values())
    for one in captures:
        is_silent = b"MiniDLNA" in octets(one["description"]["body"])
        assert is_silent == (SILENT in str(one).lower())
        assert octets(one["description"]["head"]).startswith(b"HTTP/1.1 200 OK\r\n")
        assert {service for scpd in one["scpds"] for service in scpd["services"]} >= {
            event["service"] for event in one["events"]
        }
        assert all(bool(event["notify"]) != is_silent for event in one["events"])
        assert all(event["unsubscribe"] for event in one["events"])
        answered = (octets(answer["answer"]["head"]) for answer in one["answers"])
        assert all(head.startswith(b"HTTP/1.") for head in answered)
        assert one["answers"]
        for datagram in one["announcements"]:
            assert b"LOCATION:" in octets(datagram).upper()
        expected = {failure.partition(":")[0].partition(" ")[0] for failure in one["failures"]}
        assert expected <= ({"event"} if is_silent else set()) | {"M-SEARCH"}


def test_the_tests_that_read_all_captures_take_such_fixtures_and_pass(tests):
    names = ("description", "http1", "polling", "properties", "scpd", "ssdp")
    files = (str(tests / "unit" / f"test_{name}.py") for name in names)
    options = ("-q", "-k", NEW, "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tests.parent), *files],
        env=os.environ | {"PYTHONPATH": f"{tests.parent}:{ROOT}"},
        cwd=tests.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert int(ended.stdout.rpartition(" passed")[0].rpartition("\n")[2]) > 200


def test_a_running_bridge_captures_a_device_beside_its_own_subscription(site, observer):
    own = site.device("gmediarender", "MediaRenderer")
    answer = observer.verb("diagnostics", id=own)
    (capture,) = answer["data"]["captures"]
    assert len(capture["events"]) == 3
    assert all(event["notify"] for event in capture["events"])
    assert own not in json.dumps(answer)
    service = site.service("gmediarender", "SetVolume")
    topic = f"{own}/RenderingControl/value/Volume/0/Master"
    wanted = "21" if observer.text(topic) != "21" else "22"
    site.invoke(service, "SetVolume", InstanceID=0, Channel="Master", DesiredVolume=wanted)
    observer.wait_text(topic, wanted, 5)
    assert observer.verb("diagnostics", id="nobody")["code"] == "unknown_device"
