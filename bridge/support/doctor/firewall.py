"""Which firewall stands here, and the command that lets something in at it."""

import asyncio
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bridge.support.doctor.finding import Finding, note, ok, skipped

_ANSWER_S = 3.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Firewall:
    """What is known of this machine's firewall.

    `chains` are those of nftables that see what comes in and let only some of it pass; None where
    they are not ours to read.
    """

    name: Literal["ufw", "firewalld", "nftables", "iptables", ""] = ""
    chains: tuple[str, ...] | None = None

    def let_in(self, protocol: Literal["tcp", "udp"], port: int | None, network: str) -> str:
        """Return how to let a port, or every one, in from a network."""
        family = "ip6" if ":" in network else "ip"
        match self.name:
            case "ufw":
                at = f" to any port {port}" if port else ""
                return f"ufw allow proto {protocol} from {network}{at}"
            case "firewalld":
                what = f"--add-port={port}/{protocol}" if port else f"--add-source={network}"
                zone = "" if port else "--zone=trusted "
                return f"firewall-cmd --permanent {zone}{what} && firewall-cmd --reload"
            case "nftables" if self.chains:
                at = f"{protocol} dport {port}" if port else f"meta l4proto {protocol}"
                return f"nft insert rule {self.chains[0]} {family} saddr {network} {at} accept"
            case "iptables" if family == "ip":
                at = f" --dport {port}" if port else ""
                return f"iptables -I INPUT -s {network} -p {protocol}{at} -j ACCEPT"
        what = f"{protocol.upper()} port {port}" if port else protocol.upper()
        return f"let {what} in from {network} at the firewall of this machine"


async def find_firewall() -> Firewall:
    """Return the firewall that is up here; nameless where none is known to be."""
    chains = await _chains()
    if _ufw_is_enabled():
        return Firewall("ufw", chains)
    if await asyncio.to_thread(_runs, "firewalld"):
        return Firewall("firewalld", chains)
    if not chains and _has_legacy_rules():
        return Firewall("iptables", chains)
    return Firewall("nftables" if chains else "", chains)


def check_firewall(firewall: Firewall) -> Finding:
    """Return what stands in the way of devices; whether it lets them in, the next checks tell."""
    chains = ", ".join(firewall.chains or ())
    if firewall.name in ("ufw", "firewalld", "iptables"):
        return note("firewall", f"{firewall.name} is active")
    if chains:
        return note("firewall", f"nftables lets only some incoming packets pass: {chains}")
    if firewall.chains is None:
        return skipped("firewall", "neither ufw nor firewalld; nftables cannot be read here")
    return ok("firewall", "this machine drops no incoming packets")


def _ufw_is_enabled() -> bool:
    with suppress(OSError):
        return "ENABLED=yes" in Path("/etc/ufw/ufw.conf").read_text(encoding="utf-8")
    return False


def _has_legacy_rules() -> bool:
    """Return whether the kernel's older filter is in use; nftables does not show its rules."""
    with suppress(OSError):
        return "filter" in Path("/proc/net/ip_tables_names").read_text(encoding="ascii").split()
    return False


def _runs(name: str) -> bool:
    for file in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if file.read_text(encoding="utf-8").strip() == name:
                return True
    return False


async def _chains() -> tuple[str, ...] | None:
    """Return the chains of nftables at `input` that drop by default or have a rule that does."""
    program = shutil.which("nft", path=_PATH)
    if os.geteuid() or program is None:
        return None
    process = await asyncio.create_subprocess_exec(
        program,
        *("-j", "list", "ruleset"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_ANSWER_S):
            said, _ = await process.communicate()
        items: list[dict[str, Any]] = json.loads(said)["nftables"]
    except (TimeoutError, ValueError, KeyError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return tuple(dropping_chains(items))


def dropping_chains(items: list[dict[str, Any]]) -> list[str]:
    """Return family, table and name of each input chain in nft's JSON that lets only some pass."""
    inputs = {
        _place(chain["family"], chain["table"], chain["name"]): chain.get("policy") == "drop"
        for chain in (item["chain"] for item in items if "chain" in item)
        if chain.get("hook") == "input"
    }
    for rule in (item["rule"] for item in items if "rule" in item):
        place = _place(rule["family"], rule["table"], rule["chain"])
        if place in inputs and any({"drop", "reject"} & set(part) for part in rule["expr"]):
            inputs[place] = True
    return [place for place, drops in inputs.items() if drops]


def _place(family: str, table: str, name: str) -> str:
    return f"{family} {table} {name}"
