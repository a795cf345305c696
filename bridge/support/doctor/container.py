"""Whether this is a container or a virtual machine with a network of its own."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Literal

from bridge.support.doctor.finding import Finding, error, note, ok
from bridge.upnp.ssdp.interfaces import Interface

Kind = Literal["docker", "podman", "kubernetes", "lxc", "wsl", ""]

_POOLS = {
    "docker": (IPv4Network("172.16.0.0/12"),),
    "podman": (IPv4Network("10.88.0.0/15"), IPv4Network("10.0.2.0/24")),
    "wsl": (IPv4Network("172.16.0.0/12"),),
}
"""Where these take the addresses of their own networks from, unless told otherwise."""
_NAMES = {
    "docker": "Docker",
    "podman": "Podman",
    "kubernetes": "Kubernetes",
    "lxc": "LXC",
    "wsl": "WSL 2",
}
_ADVICE = {
    "docker": (
        "run it in the host's network: `network_mode: host` in compose, or `--network host`",
        "or give it an address in the devices' network: a macvlan network",
    ),
    "kubernetes": ("set `hostNetwork: true` and `dnsPolicy: ClusterFirstWithHostNet` in the pod",),
    "wsl": (
        "set `networkingMode=mirrored` under [wsl2] in .wslconfig (Windows 11)",
        "and let UDP port 1900 and the callback port in at the firewall of Hyper-V",
    ),
}
_ADVICE["podman"] = _ADVICE["docker"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this process runs in, and by which interface and gateway it leaves."""

    kind: Kind
    leaves_by: str = ""
    gateway: IPv4Address | None = None


def read_surroundings(
    root: Path = Path("/"), environment: Mapping[str, str] = os.environ
) -> Surroundings:
    """Read them from the marks that each kind leaves."""
    leaves_by, gateway = _default_route(_read(root / "proc/net/route"))
    return Surroundings(_kind(root, environment), leaves_by, gateway)


def check_container(surroundings: Surroundings, taken: Sequence[Interface]) -> Iterator[Finding]:
    """Yield whether the interfaces that the bridge takes can be the devices' network."""
    name = _NAMES.get(surroundings.kind, "")
    outward = [one for one in taken if not one.is_loopback and one.ipv4]
    if not surroundings.kind:
        yield ok("container", "none")
    elif len(outward) != 1:
        has = "several networks" if outward else "loopback alone"
        yield ok("container", f"{name}, with {has}")
    elif _is_apart(surroundings, outward[0]):
        yield error(
            "container",
            f"{name} with a network of its own ({outward[0].name}, {outward[0].ipv4[0].ip}): "
            "neither multicast nor devices reach it",
            *_ADVICE.get(surroundings.kind, ()),
        )
    else:
        yield note(
            "container",
            f"{name}, at {outward[0].ipv4[0].ip} on {outward[0].name}",
            "this must be an address of the devices' own network",
        )


def _is_apart(surroundings: Surroundings, interface: Interface) -> bool:
    if surroundings.leaves_by not in ("", interface.name):
        return False
    address = interface.ipv4[0]
    if surroundings.kind == "kubernetes":
        return interface.name == "eth0"
    pools = _POOLS.get(surroundings.kind, ())
    return any(address.ip in pool for pool in pools) and _is_first(surroundings.gateway, address)


def _is_first(gateway: IPv4Address | None, address: IPv4Interface) -> bool:
    """Return whether a gateway is its network's first, as that of a network made for containers."""
    offsets = (1, 2)  # slirp4netns and pasta take the second
    return gateway is None or int(gateway) - int(address.network.network_address) in offsets


def _kind(root: Path, environment: Mapping[str, str]) -> Kind:
    groups = _read(root / "proc/1/cgroup") + _read(root / "proc/self/cgroup")
    said = environment.get("container", "") or _read(root / "run/systemd/container").strip()
    if "KUBERNETES_SERVICE_HOST" in environment or "kubepods" in groups:
        return "kubernetes"
    if (root / "run/.containerenv").exists() or said == "podman" or "libpod" in groups:
        return "podman"
    if (root / ".dockerenv").exists() or said == "docker" or "docker" in groups:
        return "docker"
    if said.startswith("lxc") or "/lxc" in groups:
        return "lxc"
    return "wsl" if "microsoft" in _read(root / "proc/sys/kernel/osrelease").lower() else ""


def _default_route(table: str) -> tuple[str, IPv4Address | None]:
    for line in table.splitlines()[1:]:
        name, network, gateway, *rest = line.split()
        if network == "00000000" and rest[4] == "00000000":
            return name, IPv4Address(bytes.fromhex(gateway)[::-1])
    return "", None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
