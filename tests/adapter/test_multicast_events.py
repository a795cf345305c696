"""Multicast events: how a datagram reads, and hearing them on loopback."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bridge.upnp.gena.multicast import GROUP, PORT, MulticastEvent, MulticastEvents, decode
from bridge.upnp.ssdp.message import MAX_DATAGRAM

LOOPBACK = socket.if_nametoindex("lo")
UDN = f"A{os.getpid()}"  # other runs of these tests may be heard as well
BODY = (
    b'<?xml version="1.0"?><e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">'
    b"<e:property><Alarm>on</Alarm></e:property></e:propertyset>"
)
DATAGRAM = (
    b"NOTIFY * HTTP/1.1\r\n"
    b"HOST: 239.255.255.246:7900\r\n"
    b'CONTENT-TYPE: text/xml; charset="utf-8"\r\n'
    b"USN: uuid:%b::urn:schemas-upnp-org:service:Alarm:1\r\n"
    b"SVCID: urn:upnp-org:serviceId:Alarm\r\n"
    b"NT: upnp:event\r\n"
    b"NTS: upnp:propchange\r\n"
    b"SEQ: 3\r\n"
    b"LVL: upnp:/emergency\r\n"
    b"BOOTID.UPNP.ORG: 7\r\n"
    b"CONTENT-LENGTH: %d\r\n\r\n" % (UDN.encode(), len(BODY))
) + BODY
EVENT = MulticastEvent(
    UDN, "urn:upnp-org:serviceId:Alarm", 3, "upnp:/emergency", 7, (("Alarm", "on"),)
)


def test_an_event_is_read_as_the_standard_has_it():
    assert decode(DATAGRAM) == EVENT


@pytest.mark.parametrize(
    "datagram",
    [
        b"\r\n" + DATAGRAM,
        DATAGRAM.replace(b"\r\n", b"\n"),
        DATAGRAM.replace(b": ", b" :"),
        DATAGRAM.replace(b"uuid:", b"UUID:"),
        DATAGRAM.replace(b"CONTENT-LENGTH", b"X"),
        DATAGRAM.replace(b"upnp:propchange", b"UPNP:propchange"),
        DATAGRAM.replace(b"NT: upnp:event\r\n", b""),
        DATAGRAM + b"\0\0",
    ],
)
def test_an_event_is_read_however_it_is_written(datagram):
    assert decode(datagram) == EVENT


def test_what_is_left_out_is_left_open():
    datagram = DATAGRAM
    for header in (b"SEQ: 3\r\n", b"LVL: upnp:/emergency\r\n", b"BOOTID.UPNP.ORG: 7\r\n"):
        datagram = datagram.replace(header, b"")
    assert decode(datagram) == MulticastEvent(
        UDN, EVENT.service_id, None, "", None, EVENT.properties
    )


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"NOTIFY * HTTP/1.1\r\n\r\n",
        DATAGRAM.replace(b"NOTIFY *", b"M-SEARCH *"),
        DATAGRAM.replace(b"upnp:propchange", b"ssdp:alive"),
        DATAGRAM.replace(b"SVCID", b"X"),
        DATAGRAM.replace(b"USN", b"X"),
        DATAGRAM.replace(b"uuid:", b"uuid:" + b"A" * 256),
        DATAGRAM.replace(BODY, b""),
        DATAGRAM.replace(b"e:propertyset", b"html"),
        DATAGRAM.replace(b"on<", b"x" * MAX_DATAGRAM + b"<"),
        DATAGRAM.replace(b"SEQ: 3", b"\r\n".join(b"X: y" for _ in range(300))),
    ],
)
def test_what_is_no_event_is_none(datagram):
    assert decode(datagram) is None


@given(st.binary() | st.binary().map(lambda some: DATAGRAM[:-60] + some))
def test_any_bytes_are_an_event_or_none(datagram):
    assert decode(datagram) is None or isinstance(decode(datagram), MulticastEvent)


@asynccontextmanager
async def hearing() -> AsyncIterator[
    tuple[MulticastEvents, asyncio.Queue[tuple[MulticastEvent, str]]]
]:
    heard: asyncio.Queue[tuple[MulticastEvent, str]] = asyncio.Queue()

    def hear(event: MulticastEvent, source: str) -> None:
        if event.udn == UDN:
            heard.put_nowait((event, source))

    async with asyncio.timeout(5), MulticastEvents(hear) as events:
        yield events, heard


def send(*datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        on_loopback = struct.pack("=8xi", LOOPBACK)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, on_loopback)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        sock.bind(("127.0.0.1", 0))
        for datagram in datagrams:
            sock.sendto(datagram, (GROUP, PORT))


async def test_an_event_is_handed_over_with_the_address_of_its_sender():
    async with hearing() as (events, heard):
        events.update([LOOPBACK])
        send(b"garbage", DATAGRAM)
        assert await heard.get() == (EVENT, "127.0.0.1")
        assert heard.empty()


async def test_only_the_interfaces_that_were_named_are_heard():
    async with hearing() as (events, heard):
        send(DATAGRAM)
        events.update([LOOPBACK])
        events.update([LOOPBACK])
        send(DATAGRAM.replace(b"SEQ: 3", b"SEQ: 4"))
        assert (await heard.get())[0].seq == 4
        events.update([])
        send(DATAGRAM)
        await asyncio.sleep(0.05)
        assert heard.empty()
        events.update([LOOPBACK])
        send(DATAGRAM)
        assert await heard.get() == (EVENT, "127.0.0.1")


async def test_an_interface_that_is_not_there_is_warned_of_once_and_hurts_no_other():
    async with hearing() as (events, heard):
        with capture_logs() as logs:
            events.update([99999, LOOPBACK])
            events.update([99999, LOOPBACK])
        assert [entry["log_level"] for entry in logs] == ["warning", "debug"]
        send(DATAGRAM)
        assert await heard.get() == (EVENT, "127.0.0.1")
        events.update([])


async def test_a_flood_is_bounded():
    async with hearing() as (events, heard):
        events.update([LOOPBACK])
        for _ in range(40):
            send(*[DATAGRAM] * 50)
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert 100 <= heard.qsize() < 1500


async def test_two_bridges_on_one_host_both_hear():
    async with hearing() as (one, heard), hearing() as (other, heard_too):
        one.update([LOOPBACK])
        other.update([LOOPBACK])
        send(DATAGRAM)
        assert await heard.get() == await heard_too.get()


async def test_without_the_port_it_is_deaf_and_says_so():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((GROUP, PORT))
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        with capture_logs() as logs:
            async with hearing() as (events, _):
                events.update([LOOPBACK])
        assert [entry["event"] for entry in logs] == ["multicast_events_unavailable"]
