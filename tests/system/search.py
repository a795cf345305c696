"""Find devices without the bridge: SSDP searches, and the device types in a description."""

import re
import socket
import time
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPException

from tests.system.devices import Device

START_PATIENCE_S = 60.0


def search(seconds: float) -> set[tuple[str, str]]:
    """Search once for everything; give the addresses that answered, with each LOCATION."""
    found = set()
    message = (
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
        'MAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(message.encode(), ("239.255.255.250", 1900))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            udp.settimeout(left)
            with suppress(TimeoutError):
                answer, (address, _) = udp.recvfrom(65536)
                if location := re.search(rb"(?im)^LOCATION: *(\S+)", answer):
                    found.add((address, location[1].decode()))
    return found


def device_types(location: str) -> set[str]:
    """Read the device types in a description; none if it cannot be read."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(location, timeout=2) as answer:
            text = answer.read().decode(errors="replace")
    except (OSError, HTTPException):
        return set()
    return set(re.findall(r"<deviceType>\s*(.*?)\s*</deviceType>", text))


def await_answers(devices: Iterable[Device]) -> list[str]:
    """Search until each device has answered with all its types; name those that did not."""
    missing_types = {device.address: (device.name, set(device.types)) for device in devices}
    deadline = time.monotonic() + START_PATIENCE_S
    while missing_types and time.monotonic() < deadline:
        for address, location in search(1.2):
            if address in missing_types:
                _, types = missing_types[address]
                types -= device_types(location)
                if not types:
                    del missing_types[address]
    return [name for name, _ in missing_types.values()]
