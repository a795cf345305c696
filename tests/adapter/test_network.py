"""What the network brings beside announcements: events to everyone, and interfaces that change."""

import asyncio
import socket
import struct
from dataclasses import replace

from bridge.upnp.ssdp.interfaces import interfaces
from tests.adapter.bridge import bridging, flags, onlooking
from tests.adapter.device import Part, Service, Variable, new_address, new_udn, running
from tests.adapter.mosquitto import mosquitto, until


def told_to_all(udn: str, service_id: str, value: str, *, source: str) -> None:
    """Send a multicast event (UDA 2.0, section 4.3.3) on loopback, from this address."""
    body = (
        '<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">'
        f"<e:property><V>{value}</V></e:property></e:propertyset>"
    )
    datagram = (
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.246:7900\r\nNT: upnp:event\r\n"
        f"NTS: upnp:propchange\r\nUSN: uuid:{udn}::urn:schemas-upnp-org:service:One:1\r\n"
        f"SVCID: {service_id}\r\nSEQ: 1\r\nLVL: upnp:/info\r\nBOOTID.UPNP.ORG: 1\r\n"
        f"CONTENT-LENGTH: {len(body)}\r\n\r\n{body}"
    )
    interface = struct.pack("=4s4si", b"\0" * 4, socket.inet_aton(source), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.bind((source, 0))
        sender.sendto(datagram.encode(), ("239.255.255.246", 7900))


def part(name: str) -> Part:
    return Part(new_udn(), name, (Service("One", (Variable("V"),), {"V": "1"}),))


async def test_an_event_told_to_all_is_taken_from_the_device_and_from_nobody_else(tmp_path):
    async with mosquitto(tmp_path) as broker, running(part(f"all-{new_udn()}")) as device:
        topic = f"upnp/{device.udn}/One/value/V"
        service_id = device.service("One").service_id or "urn:upnp-org:serviceId:One"
        with onlooking(broker.port) as onlooker:
            async with bridging(flags(broker.port, device.root.name)):
                await until(lambda: onlooker.held.get(topic) == b"1")
                told_to_all(device.udn, service_id, "forged", source=new_address())
                told_to_all(
                    device.udn, "urn:upnp-org:serviceId:Other", "lost", source=device.address
                )
                told_to_all(device.udn, service_id, "2", source=device.address)
                await until(lambda: onlooker.held.get(topic) == b"2")
            assert [one.payload for one in onlooker.messages if one.topic == topic] == [b"1", b"2"]


async def test_where_our_address_changed_devices_are_subscribed_to_anew(tmp_path):
    async with mosquitto(tmp_path) as broker, running(part(f"moved-{new_udn()}")) as device:
        topic = f"upnp/{device.udn}/One/value/V"
        with onlooking(broker.port) as onlooker:
            async with bridging(flags(broker.port, device.root.name)) as one:
                await until(lambda: onlooker.held.get(topic) == b"1")
                (loopback,) = interfaces(["lo"])
                devices = one.bridge.devices
                before = list(device.subscribed)
                devices._interfaces_changed((loopback,))
                await asyncio.sleep(0)
                assert device.subscribed == before
                devices._interfaces_changed((replace(loopback, ipv4=loopback.ipv4[:1] * 2),))
                await until(lambda: len(device.subscribed) > len(before))
                await until(lambda: len(device.unsubscribed) > 0)
