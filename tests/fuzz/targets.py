"""What is fuzzed: each decoder as a function over bytes that raises only where it is wrong.

A target takes any bytes, lets pass what the decoder is documented to raise, and holds what comes
out to what the next in line relies on.
"""

from collections.abc import Callable, Mapping

from tests.fuzz import devices, publishers

Target = Callable[[bytes], None]

TARGETS: Mapping[str, Target] = {
    "ssdp": devices.ssdp_datagram,
    "multicast_event": devices.multicast_event,
    "http_answer": devices.http_answer,
    "url": devices.url,
    "notify": devices.notify,
    "xml": devices.document,
    "description": devices.description,
    "scpd": devices.scpd,
    "properties": devices.properties,
    "last_change": devices.last_change,
    "didl": devices.didl,
    "media": devices.media,
    "soap": devices.soap,
    "command": publishers.command,
    "level": publishers.level,
    "holdings": publishers.retained_tree,
    "neighbour": publishers.neighbour,
    "redaction": publishers.redaction,
    "value": publishers.value,
    "settings": publishers.settings,
}
