"""What the doctor makes of facts, and how findings read."""

import io
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

import pytest

from bridge import settings
from bridge.commands.doctor import Page
from bridge.model.device import Description, Device
from bridge.support.doctor.brands import recognise
from bridge.support.doctor.container import Kind, Surroundings, check_container, read_surroundings
from bridge.support.doctor.devices import Answered, check_search
from bridge.support.doctor.finding import (
    Finding,
    Status,
    error,
    note,
    ok,
    skipped,
    verdict,
    warning,
)
from bridge.support.doctor.firewall import Firewall, check_firewall, dropping_chains
from bridge.support.doctor.ground import check_interfaces, network_of
from bridge.support.doctor.local import Local, check_local
from bridge.support.doctor.machine import check_limits
from bridge.support.doctor.retained_messages import judge_instances
from bridge.support.doctor.rights import families
from bridge.support.doctor.terms import judge_certificate, judge_session
from bridge.upnp.ssdp.interfaces import Interface

ROUTE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
TO_172_17_0_1 = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


def interface(name: str, *addresses: str) -> Interface:
    ipv4 = tuple(IPv4Interface(one) for one in addresses if ":" not in one)
    ipv6 = tuple(IPv6Interface(one) for one in addresses if ":" in one)
    return Interface(name, 7, ipv4, ipv6, name == "lo")


LAN = interface("eth0", "192.168.1.5/24", "fd00::5/64")


# The verdict


def test_the_verdict_is_the_gravest_finding_but_for_what_is_only_noted() -> None:
    calm = [ok("a", "x"), note("b", "x"), skipped("c", "x")]
    assert verdict(calm) is Status.OK
    assert verdict([*calm, warning("d", "x")]) is Status.WARNING
    assert verdict([*calm, error("e", "x"), warning("d", "x")]) is Status.ERROR


def test_a_finding_is_json_without_what_it_has_not() -> None:
    assert ok("a", "x").document() == {"check": "a", "status": "ok", "fact": "x"}
    assert error("a", "x", "y").document()["advice"] == ["y"]


# The page


def page(encoding: str = "utf-8") -> tuple[Page, io.TextIOWrapper]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Page(out, io.StringIO()), out


def written(out: io.TextIOWrapper) -> str:
    out.seek(0)
    return out.read()


def test_a_page_without_a_terminal_is_plain_and_aligned() -> None:
    one, out = page()
    one.put("Network", ok("search", "2 devices answered"))
    one.put("Broker", error("broker_login", "refused", "see mqtt.username"))
    one.end([ok("search", "x"), error("broker_login", "x")], 3.4)
    assert written(out) == (
        "Network\n"
        "  ✓ search               2 devices answered\n"
        "\n"
        "Broker\n"
        "  ✗ broker_login         refused\n"
        "                         → see mqtt.username\n"
        "\n"
        "Something is wrong: 1 error. (3 s)\n"
    )


def test_a_page_that_knows_ascii_only_holds_nothing_else() -> None:
    one, out = page("ascii")
    one.put("Network", error("search", "Küche", "“look”"))
    one.end([ok("a", "x")], 1)
    text = written(out)
    assert text.isascii()
    assert "XX search" in text
    assert "Everything works." in text


def test_what_strangers_named_their_devices_cannot_write_on_the_terminal() -> None:
    one, out = page()
    one.put("Network", ok("search", "\x1b[2Jevil\nname"))
    assert "\x1b" not in written(out)


def test_long_facts_are_wrapped_under_their_beginning() -> None:
    one, out = page()
    one.put("Network", ok("search", "word " * 60))
    lines = written(out).splitlines()[1:]
    assert len(lines) > 2
    assert all(len(line) <= 110 for line in lines)
    assert all(line.startswith(" " * 25 + "word") for line in lines[1:])


# Containers


def lay_out(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "environment", "kind"),
    [
        ({}, {}, ""),
        ({".dockerenv": ""}, {}, "docker"),
        ({"proc/1/cgroup": "12:cpu:/docker/0123\n"}, {}, "docker"),
        ({"run/.containerenv": "", ".dockerenv": ""}, {}, "podman"),
        ({}, {"container": "podman"}, "podman"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"run/systemd/container": "lxc\n"}, {}, "lxc"),
        ({"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}, {}, "wsl"),
        ({"proc/sys/kernel/osrelease": "6.1.0-13-amd64\n"}, {}, ""),
    ],
)
def test_a_container_is_known_by_its_marks(
    tmp_path: Path, files: Mapping[str, str], environment: Mapping[str, str], kind: Kind
) -> None:
    assert read_surroundings(lay_out(tmp_path, files), environment).kind == kind


def test_the_way_out_is_that_of_the_routing_table(tmp_path: Path) -> None:
    files = {"proc/net/route": f"{ROUTE}docker0\t000011AC\t0\t1\t0\t0\t0\t0000FFFF\t0\t0\t0\n"}
    assert read_surroundings(lay_out(tmp_path, files), {}).leaves_by == ""
    files = {"proc/net/route": ROUTE + TO_172_17_0_1}
    found = read_surroundings(lay_out(tmp_path, files), {})
    assert (found.leaves_by, found.gateway) == ("eth0", IPv4Address("172.17.0.1"))


@pytest.mark.parametrize(
    ("kind", "address", "gateway", "status"),
    [
        ("docker", "172.17.0.2/16", "172.17.0.1", "error"),
        ("docker", "192.168.1.7/24", "192.168.1.1", "note"),
        ("docker", "172.20.5.9/16", "172.20.0.254", "note"),
        ("podman", "10.88.0.4/16", "10.88.0.1", "error"),
        ("podman", "10.0.2.100/24", "10.0.2.2", "error"),
        ("kubernetes", "10.244.1.9/24", "10.244.1.1", "error"),
        ("wsl", "172.28.96.1/20", "172.28.96.1", "error"),
        ("lxc", "172.17.0.2/16", "172.17.0.1", "note"),
        ("", "172.17.0.2/16", "172.17.0.1", "ok"),
    ],
)
def test_a_container_with_a_network_of_its_own_is_an_error(
    kind: Kind, address: str, gateway: str, status: str
) -> None:
    around = Surroundings(kind, "eth0", IPv4Address(gateway))
    (finding,) = check_container(around, [interface("eth0", address)])
    assert finding.status == status
    assert bool(finding.advice) == (status != "ok")


def test_a_container_in_the_hosts_network_is_right() -> None:
    around = Surroundings("docker", "eth0", IPv4Address("192.168.1.1"))
    taken = [LAN, interface("docker0", "172.17.0.1/16")]
    (finding,) = check_container(around, taken)
    assert finding.status is Status.OK


def test_docker_is_told_how_to_have_the_hosts_network() -> None:
    around = Surroundings("docker", "eth0", IPv4Address("172.17.0.1"))
    (finding,) = check_container(around, [interface("eth0", "172.17.0.2/16")])
    assert "network_mode: host" in finding.advice[0]
    assert "macvlan" in finding.advice[1]


# Interfaces


def test_no_interface_is_an_error_and_so_is_a_named_one_that_is_missing() -> None:
    (none, *_) = check_interfaces([], [])
    assert none.status is Status.ERROR
    (missing, *_) = check_interfaces(["wlan7"], [LAN])
    assert missing.status is Status.ERROR
    assert "wlan7" in missing.fact


def test_an_interface_may_be_named_by_any_of_its_addresses() -> None:
    for name in ("eth0", "192.168.1.5", "FD00:0::5"):
        (first, *_) = check_interfaces([name], [LAN])
        assert first == ok("interfaces", "eth0: 192.168.1.5/24, fd00::5/64")


def test_a_rule_names_the_network_in_which_the_device_stands() -> None:
    both = [interface("eth0", "10.0.0.2/8"), LAN]
    assert network_of(both, "192.168.1.77") == "192.168.1.0/24"
    assert network_of(both, "203.0.113.9") == "10.0.0.0/8"
    assert network_of(both, "fd00::77") == "fd00::/64"


# Firewalls


@pytest.mark.parametrize(
    ("firewall", "command"),
    [
        (Firewall("ufw"), "ufw allow proto tcp from 192.168.1.0/24 to any port 8098"),
        (
            Firewall("firewalld"),
            "firewall-cmd --permanent --add-port=8098/tcp && firewall-cmd --reload",
        ),
        (
            Firewall("nftables", ("inet filter input",)),
            "nft insert rule inet filter input ip saddr 192.168.1.0/24 tcp dport 8098 accept",
        ),
        (
            Firewall("iptables"),
            "iptables -I INPUT -s 192.168.1.0/24 -p tcp --dport 8098 -j ACCEPT",
        ),
        (
            Firewall(),
            "let TCP port 8098 in from 192.168.1.0/24 at the firewall of this machine",
        ),
    ],
)
def test_what_is_to_be_let_in_is_a_command_of_the_firewall_that_is_there(
    firewall: Firewall, command: str
) -> None:
    assert firewall.let_in("tcp", 8098, "192.168.1.0/24") == command
    assert "8098" not in firewall.let_in("udp", None, "192.168.1.0/24")


def chain(name: str, **more: str) -> dict[str, Any]:
    return {"chain": {"family": "inet", "table": "t", "name": name, **more}}


def rule(name: str, *expressions: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "t", "chain": name, "expr": list(expressions)}}


def test_chains_that_let_only_some_of_what_comes_in_pass_are_found() -> None:
    ruleset = [
        {"metainfo": {"version": "1.0.6"}},
        chain("closed", hook="input", policy="drop"),
        chain("open", hook="input", policy="accept"),
        chain("picky", hook="input", policy="accept"),
        chain("strict", hook="input", policy="accept"),
        chain("out", hook="output", policy="drop"),
        chain("loose"),
        rule("open", {"match": {}}, {"accept": None}),
        rule("picky", {"match": {}}, {"drop": None}),
        rule("strict", {"reject": {"type": "icmpx"}}),
        rule("loose", {"drop": None}),
    ]
    found = dropping_chains(ruleset)
    assert found == ["inet t closed", "inet t picky", "inet t strict"]
    assert check_firewall(Firewall("nftables", tuple(found))).status is Status.NOTE


def test_a_firewall_that_is_not_to_be_read_is_no_firewall_that_is_open() -> None:
    assert check_firewall(Firewall("", None)).status is Status.SKIPPED
    assert check_firewall(Firewall("", ())).status is Status.OK


# The broker

CERTIFICATE = {
    "subject": ((("commonName", "broker.lan"),),),
    "subjectAltName": (("DNS", "broker.lan"), ("IP Address", "192.168.1.2")),
    "notAfter": "Jun  1 12:00:00 2030 GMT",
}
END_S = 1906545600.0


@pytest.mark.parametrize(("days", "status"), [(400, "ok"), (15, "ok"), (13, "warning")])
def test_a_certificate_is_warned_of_in_its_last_two_weeks(days: int, status: str) -> None:
    finding = judge_certificate(CERTIFICATE, END_S - days * 86400)
    assert finding.status == status
    assert finding.fact == (f"certificate of broker.lan, 192.168.1.2, valid for {days} more days")


def test_a_broker_without_wildcards_is_an_error() -> None:
    (finding,) = judge_session({"WildcardSubscriptionAvailable": 0}, "5")
    assert finding.status is Status.ERROR


def test_what_a_broker_does_not_announce_it_bears() -> None:
    (finding,) = judge_session({}, "5")
    assert finding.status is Status.OK
    (finding,) = judge_session({}, "3.1.1")
    assert finding.status is Status.NOTE


def test_topics_of_trials_hold_the_token_and_are_no_ones() -> None:
    chosen = settings.load({"mqtt.base_topic": "home/upnp", "instance": "attic"})
    token = "doctor-1"
    for family in families(chosen, token):
        for topic in family.writes:
            ours = topic.startswith(("home/upnp/doctor-1", "home/upnp/reply/doctor-1"))
            own = topic.startswith("home/upnp/bridge/attic/") and topic.endswith(token)
            hub = topic == "homeassistant/device/upnp2mqtt_doctor/config"
            assert ours or own or hub
            assert not hub or not family.payload
    silent = settings.load({"homeassistant.enabled": "false"})
    assert "rights_homeassistant" not in {one.check for one in families(silent, token)}


# Bridges


def test_a_namesake_elsewhere_is_warned_of_and_an_own_bridge_is_not() -> None:
    chosen = settings.load({})
    held = {"upnp/bridge/main/state": b"online", "upnp/bridge/attic/state": b"offline"}

    def judged(local: Local | None, *, is_hidden: bool = False) -> Finding:
        (finding,) = judge_instances(chosen, held, local, is_hidden=is_hidden)
        return finding

    assert judged(None).status is Status.WARNING
    assert judged(None, is_hidden=True).status is Status.NOTE
    assert judged(Local(is_online=True)) == ok("instance", "main is online at the broker")
    assert judged(Local(is_online=False)).status is Status.WARNING


def test_a_bridge_that_is_not_online_is_an_error() -> None:
    health = {
        "version": "0.0.1",
        "uptime_s": 7400,
        "broker": {"url": "mqtt://10.0.0.1:1883"},
        "devices": {"online": 3, "known": 5},
    }
    chosen = settings.load({})
    wrong, other = check_local(chosen, Local(is_online=False, health=health))
    assert wrong.status is Status.ERROR
    assert "mqtt://10.0.0.1:1883" in wrong.fact
    assert "up for 2 h 3 min, 3 of 5 devices online" in wrong.fact
    assert other.status is Status.NOTE


# Devices


def device(name: str) -> Description:
    return Description(Device(f"udn-{name}", "t", name), f"http://192.168.1.9/{name}", "1.0")


def searched(answered: Answered, **more: str) -> list[Finding]:
    chosen = settings.load({name.replace("__", "."): text for name, text in more.items()})
    return list(check_search(chosen, answered, "let UDP in"))


NOTHING = Answered((), ())


def test_a_search_that_finds_nothing_says_what_may_be_in_the_way() -> None:
    (finding,) = searched(NOTHING)
    assert finding.status is Status.WARNING
    assert any("let UDP in" in advice for advice in finding.advice)


def test_a_search_names_what_answered_but_no_endless_list() -> None:
    many = tuple(device(f"d{number}") for number in range(9))
    (finding,) = searched(replace(NOTHING, admitted=many))
    assert finding.fact == "9 devices answered: d0, d1, d2, d3, d4, d5 and 3 more"


def test_announcements_without_answers_are_told() -> None:
    found = replace(NOTHING, admitted=(device("Kitchen"),), answers=False)
    (finding,) = searched(found)
    assert finding.status is Status.WARNING
    assert finding.advice[0].endswith(": let UDP in")
    (finding,) = searched(found, upnp__locations="http://192.168.1.9/Kitchen")
    assert finding.status is Status.NOTE


def test_two_devices_with_one_udn_are_told_with_both_addresses() -> None:
    one = device("Kitchen")
    twin = "http://192.168.1.10:49152/d.xml"
    first, second = searched(replace(NOTHING, admitted=(one,), duplicates=((one, (twin,)),)))
    assert first.status is Status.OK
    assert (second.check, second.status) == ("duplicate_udn", Status.WARNING)
    assert one.location in second.fact
    assert twin in second.fact
    assert "'Kitchen'" in second.fact
    assert "another" in second.advice[1]


def test_a_filter_is_told_where_it_lets_none_in_or_matches_nothing() -> None:
    one = device("Kitchen")
    first, second = searched(replace(NOTHING, denied=(one,)), upnp__allow="Kitchn*")
    assert first.status is Status.WARNING
    assert "Kitchen" in first.fact
    assert second == note("search", "upnp.allow: no device that answered matches 'Kitchn*'")


def test_a_location_that_leads_to_nothing_is_told() -> None:
    found = replace(NOTHING, admitted=(device("Kitchen"),))
    assert len(searched(found, upnp__locations="http://192.168.1.9/Kitchen")) == 1
    _, wrong = searched(found, upnp__locations="http://192.168.1.8/x.xml")
    assert wrong.status is Status.WARNING


# The machine


def test_little_memory_is_warned_of(tmp_path: Path) -> None:
    meminfo = {"proc/meminfo": "MemTotal: 900000 kB\nMemAvailable:   51200 kB\n"}
    found = [one for one in check_limits(lay_out(tmp_path, meminfo)) if "MB of memory" in one.fact]
    assert [(one.status, one.fact[:5]) for one in found] == [(Status.WARNING, "50 MB")]
    share = {"sys/fs/cgroup/memory.max": "67108864\n", "proc/meminfo": "MemAvailable: 9000000 kB\n"}
    found = [one for one in check_limits(lay_out(tmp_path, share)) if "MB of memory" in one.fact]
    assert [one.fact[:5] for one in found] == ["64 MB"]


MQTT_31 = "Home Assistant needs MQTT 5 from its release 2027.1"
RABBIT = {
    "TopicAliasMaximum": 16,
    "MaximumQoS": 1,
    "MaximumPacketSize": 16777216,
    "SharedSubscriptionAvailable": 0,
}
EJABBERD = {"ServerKeepAlive": 60, "TopicAliasMaximum": 100, "SharedSubscriptionAvailable": 0}
VERSION = "$SYS/broker/version"


@pytest.mark.parametrize(
    ("told", "announced", "is_shallow", "name", "version"),
    [
        ({VERSION: "mosquitto version 2.0.11"}, {}, False, "mosquitto", "2.0.11"),
        ({VERSION: "mosquitto version 2.1.2"}, {}, False, "mosquitto", "2.1.2"),
        ({VERSION: "another 7"}, {}, False, "", ""),
        ({}, RABBIT, False, "RabbitMQ", ""),
        ({}, EJABBERD, True, "ejabberd", ""),
        ({}, {}, True, "ejabberd", ""),
        ({}, {}, False, "", ""),
        ({"$SYS/x-1/new/subscribes": "{}"}, {}, False, "aedes", ""),
        ({"$SYS/brokers/emqx@a/version": "5.8.1"}, {}, False, "EMQX", "5.8.1"),
        ({"$SYS": ""}, {}, False, "", ""),
    ],
)
def test_a_broker_is_recognised_by_what_it_says(told, announced, is_shallow, name, version):
    found = recognise(told, announced, is_shallow=is_shallow)
    assert (found.name, found.version, found.is_shallow) == (name, version, is_shallow)


def test_remedies_have_the_names_of_the_broker_that_is_there():
    old = recognise({VERSION: "mosquitto version 2.0.11"}, {}, is_shallow=False)
    new = recognise({VERSION: "mosquitto version 2.1.2"}, {}, is_shallow=False)
    assert old.rights == "mosquitto's acl_file"
    assert "plugin_opt_acl_file" in new.rights
    assert "2000000" in new.packet
    ejabberd = recognise({}, EJABBERD, is_shallow=True)
    assert "match_retained_limit" in ejabberd.many
    told = judge_session({"MaximumPacketSize": 9000}, "5", new)
    (finding,) = [one for one in told if one.advice]
    assert "max_packet_size" in finding.advice[0]


def test_what_home_assistant_needs_is_told_where_the_broker_is_old():
    (finding,) = judge_session({}, "3.1.1")
    assert any(MQTT_31 in one for one in finding.advice)
    assert not any(one.advice for one in judge_session({}, "5"))
