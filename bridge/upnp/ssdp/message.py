"""SSDP datagrams to announcements, and searches to datagrams (UDA 2.0, section 1).

The messages are read and written by async-upnp-client; what it refuses is repaired and read again.
No sockets, no clock and no knowledge of who is there: discovery and presence have those.
"""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from zlib import crc32

from aiohttp.http_exceptions import BadHttpMessage
from async_upnp_client.const import NotificationSubType
from async_upnp_client.ssdp import (
    SSDP_DISCOVER,
    SSDP_PORT,
    build_ssdp_packet,
    decode_ssdp_packet,
)

from bridge import __version__
from bridge.formats.decoding import decoded
from bridge.formats.url import bracketed, unscoped
from bridge.log import TokenBuckets
from bridge.model.topics import bare_udn
from bridge.upnp.http.http1 import find_head_end, read_head

PORT = SSDP_PORT
"""The UDP port of SSDP."""
MAX_DATAGRAM = 8192
"""The most bytes of a datagram that is read."""

_RATE_PER_S, _BURST = 200.0, 500.0
_MAX_SOURCES = 1024
_MAX_HEADERS = 64
_MAX_UDN = 255
_DEFAULT_MAX_AGE_S = 1800
_MAX_AGE_BOUNDS_S = (10, 86400)
_NOT_UDNS = ("urn:", "upnp:", "ssdp:")
_START_LINE = re.compile(rb"\s*(NOTIFY|HTTP/\d(?:\.\d)?[ \t]+200)(?:\s|$)", re.IGNORECASE)
_SIGNATURE = re.compile(r"\d\d-nls", re.ASCII)
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_REFUSED = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOWHERE = ("", 0)
"""A sender that the library is not told: what it adds for one is of no use here."""
_MAX_AGE = re.compile(r'max-age\s*+=\s*+"?\s*+(\d{1,9})', re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_IPV6_HOST = re.compile(r"(http://\[)([0-9a-f:.]+)(?:%[^\]/]*)?(\].*)", re.ASCII | re.IGNORECASE)
_USER_AGENT = f"{platform.system()}/{platform.release()} UPnP/2.0 upnp2mqtt/{__version__}"


class Kind(StrEnum):
    """What an announcement says: its NTS, or that it answers a search."""

    ALIVE = NotificationSubType.SSDP_ALIVE.value
    UPDATE = NotificationSubType.SSDP_UPDATE.value
    BYEBYE = NotificationSubType.SSDP_BYEBYE.value
    ANSWER = "answer"


_NTS = {str(kind): kind for kind in (Kind.ALIVE, Kind.UPDATE, Kind.BYEBYE)}


@dataclass(frozen=True, slots=True)
class Announcement:
    """A device's word about itself (UDA 2.0, sections 1.2 and 1.3.3).

    `boot_id` differs after each start of the device, whatever the device calls it.
    `udn` is as sent, without `uuid:`; `target` is NT or ST, empty where there is none; `location`
    is None only where `kind` is UPDATE or BYEBYE; `max_age_s` lies within 10..86400.
    """

    kind: Kind
    udn: str
    target: str
    location: str | None
    server: str | None
    max_age_s: int
    boot_id: int | None
    next_boot_id: int | None
    config_id: int | None
    search_port: int | None


def decode(datagram: bytes) -> Announcement | None:
    """Return what a datagram announces; None for searches and for what cannot be read.

    Never raises. Cheap for a datagram that came before.
    """
    return _decode(datagram) if len(datagram) <= MAX_DATAGRAM else None


@lru_cache(maxsize=256)
def _decode(datagram: bytes) -> Announcement | None:
    start = _START_LINE.match(datagram)
    headers = _headers(datagram[start.start(1) :]) if start else None
    if start is None or headers is None:
        return None
    notify = start[1].upper() == b"NOTIFY"
    kind = _NTS.get(headers.get("nts", "").lower()) if notify else Kind.ANSWER
    target = headers.get("nt" if notify else "st", "")
    udn = _udn(headers.get("usn", ""), target)
    location = headers.get("location") or None
    if kind is None or not 0 < len(udn) <= _MAX_UDN or _CONTROL.search(udn + (location or "")):
        return None
    if location is None and kind in (Kind.ALIVE, Kind.ANSWER):
        return None
    return Announcement(
        kind,
        udn,
        target,
        location,
        headers.get("server"),
        _max_age_s(headers.get("cache-control", "")),
        _boot_id(headers),
        _number(headers, "nextbootid"),
        _number(headers, "configid"),
        _number(headers, "searchport", 65535),
    )


def _headers(message: bytes) -> Mapping[str, str] | None:
    """Return the headers by lower-case name, the first of each; None where there are too many."""
    end = find_head_end(message)
    head = message if end < 0 else message[:end]
    if not head.isascii():
        head = decoded(head).encode()
    if not 0 < head.rstrip().count(b"\n") <= _MAX_HEADERS:
        return None
    try:
        _, headers = decode_ssdp_packet(head, None, _NOWHERE)
    except BadHttpMessage:
        _, headers = decode_ssdp_packet(_repaired(head), None, _NOWHERE)
    return headers.as_lower_dict()


def _repaired(message: bytes) -> bytes:
    """Return a message with those of its headers alone that the library reads, each once.

    Lines are unfolded, and there is no white space around names and values.
    """
    head = read_head(message)
    headers = {
        name: value
        for name, value in head.headers.items()
        if _TOKEN.fullmatch(name) and not _REFUSED.search(value)
    }
    return build_ssdp_packet(head.start_line, headers)


def _udn(usn: str, target: str) -> str:
    udn = usn.partition("::")[0].strip()
    if not udn or udn.lower().startswith(_NOT_UDNS):
        udn = target if target[:5].lower() == "uuid:" else ""
    return bare_udn(udn)


def _max_age_s(cache_control: str) -> int:
    found = _MAX_AGE.search(cache_control)
    least, most = _MAX_AGE_BOUNDS_S
    return min(max(int(found[1]), least), most) if found else _DEFAULT_MAX_AGE_S


def _boot_id(headers: Mapping[str, str]) -> int | None:
    """Return BOOTID; where there is none, a number for the network location signature.

    UPnP 1.0 has no BOOTID, but libupnp (gmediarender and many others) draws a new `01-NLS` at each
    start. The number is within 2^32..2^33, where no BOOTID is.
    """
    boot_id = _number(headers, "bootid")
    signature = next((v for name, v in headers.items() if _SIGNATURE.fullmatch(name)), None)
    if boot_id is not None or not signature:
        return boot_id
    return 2**32 + crc32(signature.encode("utf-8", "replace"))


def _number(headers: Mapping[str, str], name: str, most: int = 2**32 - 1) -> int | None:
    value = headers.get(f"{name}.upnp.org", "")
    return int(value) if _NUMBER.fullmatch(value) and int(value) <= most else None


def with_zone(announcement: Announcement, zone: str) -> Announcement:
    """Return the announcement with this zone in its LOCATION, where that is link-local IPv6.

    A zone means something only on the machine that wrote it: the sender's own is replaced.
    """
    found = _IPV6_HOST.fullmatch(announcement.location or "")
    if found is None:
        return announcement
    before, address, behind = found.groups()
    try:
        if not IPv6Address(address).is_link_local:
            return announcement
    except AddressValueError:
        return announcement
    return replace(announcement, location=f"{before}{address}%{zone}{behind}")


def search(target: str, *, host: str, mx_s: int) -> bytes:
    """Return an M-SEARCH for a search target (UDA 2.0, section 1.3.2).

    `host` is the address it goes to, without port; `mx_s`, within 1..5, is how long devices may
    take to answer.
    """
    headers = {
        "HOST": f"{bracketed(unscoped(host))}:{SSDP_PORT}",
        "MAN": SSDP_DISCOVER,
        "MX": mx_s,
        "ST": target,
        "USER-AGENT": _USER_AGENT,
        "CPFN.UPNP.ORG": "upnp2mqtt",
    }
    # The library writes no space behind the colon, as UDA's own examples have it.
    spaced = {name: f" {value}" for name, value in headers.items()}
    return build_ssdp_packet("M-SEARCH * HTTP/1.1", spaced)


def flood_bound() -> TokenBuckets:
    """Return what bounds how many datagrams of one source are read: 200 per second, 500 at once."""
    return TokenBuckets(_BURST, _RATE_PER_S, _MAX_SOURCES)
