"""`doctor` in the lab: real devices, real firewalls, and its advice followed to the letter."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.bridge import ROOT, Bridge, Broker, Observer, wait_for
from tests.system.lab import CONTROL_POINT, Lab

DEVICES = ("light", "gmediarender", "minidlna")
NAMES = ("Lab Light", "Lab Renderer", "Lab MiniDLNA")
HOLD = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 1900))
tcp = socket.create_server(("", 8098))
print(flush=True)
sys.stdin.read()
"""


@dataclass
class Clinic:
    """A lab with a broker, in which the doctor is called."""

    lab: Lab
    bridge: Bridge

    def findings(self, *words: str, status: int) -> dict[str, list[dict[str, Any]]]:
        """Call the doctor, who must end so; return what was found, by check."""
        ended = self.bridge.command("doctor", "--json", *words)
        assert not ended.stderr
        found: dict[str, list[dict[str, Any]]] = {}
        for one in json.loads(ended.stdout)["findings"]:
            found.setdefault(one["check"], []).append(one)
        assert ended.returncode == status, found
        return found

    def follow(self, advice: str) -> None:
        """Do what the doctor said."""
        subprocess.run([*self.lab.exec_prefix, "sh", "-c", advice], check=True)

    @contextmanager
    def firewall(self, *lines: str) -> Iterator[None]:
        """Have these lines in a chain that sees what comes in."""
        chain = ("type filter hook input priority 0;" + lines[0], *lines[1:])
        rules = "\n".join(chain)
        text = f"table inet lab {{\nchain input {{\n{rules}\n}}\n}}\n"
        nft = [*self.lab.exec_prefix, "nft", "-f", "-"]
        subprocess.run(nft, input=text, text=True, check=True)
        try:
            yield
        finally:
            subprocess.run(nft, input="flush ruleset\n", text=True, check=True)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory, lab_can_be: None) -> Iterator[Clinic]:
    folder = tmp_path_factory.mktemp("clinic")
    with Lab() as lab:
        lab.start(*DEVICES)
        broker, bridge = Broker(lab, folder), Bridge(lab, folder)
        broker.start()
        try:
            yield Clinic(lab, bridge)
        finally:
            if bridge.runs:
                bridge.stop()
            broker.stop()


def statuses(found: dict[str, list[dict[str, Any]]], check: str) -> list[str]:
    return [one["status"] for one in found[check]]


def _is_hubs(topic: str) -> bool:
    return topic.startswith("homeassistant/")


def test_where_all_is_well_it_says_so(clinic: Clinic) -> None:
    found = clinic.findings(status=0)
    (retained,) = found.pop("retained_queue")
    assert retained["status"] == "skipped"  # only when asked for
    assert {one["status"] for many in found.values() for one in many} <= {"ok", "note"}
    (search,) = found["search"]
    assert all(name in search["fact"] for name in NAMES)
    (callback,) = found["callback"]
    assert callback["status"] == "ok"
    assert f"to {CONTROL_POINT}, port 8098" in callback["fact"]
    assert statuses(found, "multicast") == ["ok"]


def test_a_bridge_that_runs_is_asked_and_left_in_peace(clinic: Clinic) -> None:
    clinic.bridge.start()
    try:
        with Observer(clinic.lab) as observer:
            observer.wait_online()
            # Hubs are told of the bridge, and of each device once its first values are there.
            wait_for(lambda: sum(map(_is_hubs, observer.tree)) == 1 + len(NAMES), 20)
            logged = len(clinic.bridge.lines())
            before = observer.tree.keys()
            found = clinic.findings(status=0)
            assert observer.tree.keys() == before
        # What is logged a moment after it was said at the broker.
        late = {"online", "variables_never_reported"}
        assert {one["event"] for one in clinic.bridge.lines()[logged:]} <= late
    finally:
        clinic.bridge.stop()
    own_port, trial = found["callback"]
    assert "is the running bridge's; its subscriptions: " in own_port["fact"]
    assert "a port of the doctor's own" in trial["fact"]
    assert (own_port["status"], trial["status"]) == ("ok", "ok")
    (port,) = found["ssdp_port"]
    assert "shared with upnp2mqtt" in port["fact"]
    assert "3 of 3 devices online" in found["bridge"][0]["fact"]
    assert found["instance"][0]["fact"] == "main is online at the broker"


def test_a_firewall_before_the_callback_port_is_found_and_its_remedy_works(clinic: Clinic) -> None:
    with clinic.firewall("policy accept;", "tcp dport 8098 drop"):
        found = clinic.findings(status=1)
        (callback,) = found["callback"]
        assert callback["status"] == "error"
        assert statuses(found, "firewall") == ["note"]
        clinic.follow(callback["advice"][0])
        assert statuses(clinic.findings(status=0), "callback") == ["ok"]


def test_a_firewall_that_drops_answers_is_found_and_its_remedy_works(clinic: Clinic) -> None:
    rules = ("policy drop;", "iif lo accept", "ct state established accept")
    with clinic.firewall(*rules, "udp dport 1900 accept", "tcp dport 8098 accept"):
        found = clinic.findings(status=0)
        (search,) = found["search"]
        assert search["status"] == "warning"
        (remedy,) = [one for one in search["advice"] if "nft insert" in one]
        clinic.follow(remedy[remedy.index("nft") :])
        assert statuses(clinic.findings(status=0), "search") == ["ok"]


def test_a_firewall_that_drops_announcements_is_found_and_its_remedy_works(clinic: Clinic) -> None:
    with clinic.firewall("policy accept;", "udp dport 1900 drop"):
        (multicast,) = clinic.findings(status=1)["multicast"]
        assert multicast["status"] == "error"
        clinic.follow(multicast["advice"][0])
        assert statuses(clinic.findings(status=0), "multicast") == ["ok"]


def test_ports_that_another_program_holds_are_errors_that_name_it(clinic: Clinic) -> None:
    with subprocess.Popen(
        [*clinic.lab.exec_prefix, sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        found = clinic.findings(status=1)
        holder.communicate()
    for check in ("ssdp_port", "callback"):
        (finding,) = found[check]
        assert finding["status"] == "error"
        assert f"python3 ({holder.pid})" in finding["fact"].replace(
            Path(sys.executable).name, "python3"
        )
    assert statuses(found, "search") == ["ok"]


def test_no_interface_is_an_error(clinic: Clinic) -> None:
    link = [*clinic.lab.exec_prefix, "ip", "link", "set", "br0"]
    subprocess.run([*link, "down"], check=True)
    try:
        words = ("--upnp.interfaces", CONTROL_POINT)
        found = clinic.findings(*words, status=1)
    finally:
        subprocess.run([*link, "up"], check=True)
        route = "ip route replace 239.0.0.0/8 dev br0"
        clinic.follow(route)
    (named, *_) = found["interfaces"]
    assert named["status"] == "error"
    assert CONTROL_POINT in named["fact"]
    assert statuses(found, "multicast") == ["skipped"]


def test_a_pod_with_a_network_of_its_own_is_known_and_told_what_to_do(clinic: Clinic) -> None:
    space = f"{clinic.lab.space}-pod"
    inside = ("ip", "netns", "exec", space)
    pair = ("link", "add", "eth0", "type", "veth", "peer", "host0")
    try:
        for words in (
            ("ip", "netns", "add", space),
            (*inside, "ip", *pair),
            (*inside, "ip", "link", "set", "host0", "up"),
            (*inside, "ip", "address", "add", "10.244.1.9/24", "dev", "eth0"),
            (*inside, "ip", "link", "set", "eth0", "up"),
            (*inside, "ip", "route", "add", "default", "via", "10.244.1.1"),
        ):
            subprocess.run(words, check=True)
        ended = subprocess.run(
            [*inside, sys.executable, "-m", "bridge", "doctor", "--json"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "KUBERNETES_SERVICE_HOST": "10.96.0.1",
                "BRIDGE_UPNP__INTERFACES": "eth0",
                "BRIDGE_MQTT__URL": "mqtt://10.244.1.1",
            },
            capture_output=True,
            check=False,
            timeout=30,
        )
    finally:
        subprocess.run(["ip", "netns", "delete", space], check=False)
    assert ended.returncode == 1
    findings = json.loads(ended.stdout)["findings"]
    (container,) = [one for one in findings if one["check"] == "container"]
    assert container["status"] == "error"
    assert "hostNetwork: true" in container["advice"][0]
