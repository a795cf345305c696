"""The simulated devices as a control point meets them: real sockets on the loopback interface."""

import contextlib
import functools
import http.client
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest

from bridge.demo.player import Player, PlayMode, Track, TransportState
from bridge.demo.simulation import simulate

GROUP = "239.255.255.250"
# An address of its own sets this demo apart from others on the machine.
HOST = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
PATIENCE_S = 5.0
NAMES = ("Demo Renderer", "Demo Media Server", "Demo Light", "Demo Router")
pytestmark = pytest.mark.usefixtures("demo")
NS = {
    "d": "urn:schemas-upnp-org:device-1-0",
    "s": "urn:schemas-upnp-org:service-1-0",
    "c": "urn:schemas-upnp-org:control-1-0",
}
ART = "{urn:schemas-upnp-org:metadata-1-0/upnp/}albumArtURI"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def start_demo() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bridge.demo", HOST], stderr=subprocess.PIPE, text=True
    )


def wait_for_start(process: subprocess.Popen[str]):
    assert process.stderr
    for _ in range(4):
        assert "demo_device_started" in process.stderr.readline()


def end(process):
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def demo():
    process = start_demo()
    try:
        wait_for_start(process)
        yield process
    finally:
        end(process)


def headers_of(datagram):
    lines = datagram.decode().split("\r\n")[1:]
    return {name.upper(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


def search(target, seconds=0.4):
    """Give the answers of this test's own demo."""
    answers = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        udp.bind(("127.0.0.1", 0))
        message = (
            f"M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}:1900\r\n"
            f'MAN: "ssdp:discover"\r\nMX: 1\r\nST: {target}\r\n\r\n'
        )
        udp.sendto(message.encode(), (GROUP, 1900))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            udp.settimeout(left)
            with contextlib.suppress(TimeoutError):
                datagram, (address, _) = udp.recvfrom(65536)
                if address == HOST:
                    answers.append(headers_of(datagram))
    return answers


def text(element, path):
    return element.findtext(path, namespaces=NS) or ""


def read(url):
    with OPENER.open(url, timeout=PATIENCE_S) as answer:
        return answer.read()


@functools.cache
def locate(name):
    """Find the root device of this name; give its location and description."""
    for answer in search("upnp:rootdevice"):
        document = ET.fromstring(read(answer["LOCATION"]))
        if text(document, "d:device/d:friendlyName") == name:
            return answer["LOCATION"], document
    raise AssertionError(name)


def service_url(name, service, which):
    location, document = locate(name)
    for element in document.iter(f"{{{NS['d']}}}service"):
        if f":{service}:" in text(element, "d:serviceType"):
            return urljoin(location, text(element, f"d:{which}"))
    raise AssertionError(service)


def call(name, service, action, **arguments):
    """Call an action; give its out-arguments, or its UPnP error code and description."""
    service_type = f"urn:schemas-upnp-org:service:{service}:1"
    inside = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in arguments.items())
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<u:{action} xmlns:u="{service_type}">{inside}</u:{action}></s:Body></s:Envelope>'
    )
    request = urllib.request.Request(
        service_url(name, service, "controlURL"),
        body.encode(),
        {"SOAPACTION": f'"{service_type}#{action}"', "CONTENT-TYPE": "text/xml"},
    )
    try:
        with OPENER.open(request, timeout=PATIENCE_S) as answer:
            envelope = ET.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            envelope = ET.fromstring(error.read())
        return (
            int(text(envelope, ".//c:errorCode")),
            text(envelope, ".//c:errorDescription"),
        )
    return {argument.tag: argument.text for argument in envelope[0][0]}


class Subscription:
    """A subscription to one service, whose events are read one by one."""

    def __init__(self, name, service):
        self.url = urlsplit(service_url(name, service, "eventSubURL"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)

    def request(self, method, **headers):
        connection = http.client.HTTPConnection(self.url.netloc, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, self.url.path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer

    def __enter__(self):
        callback = f"<http://127.0.0.1:{self.listener.getsockname()[1]}/>"
        self.grant = self.request(
            "SUBSCRIBE", CALLBACK=callback, NT="upnp:event", TIMEOUT="Second-300"
        )
        assert self.grant.status == 200
        self.sid = self.grant.headers["SID"]
        return self

    def __exit__(self, *_exc):
        self.listener.close()
        assert self.request("UNSUBSCRIBE", SID=self.sid).status == 200

    def event(self):
        """Receive an event: its headers, and its values by variable."""
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(PATIENCE_S)
            assert stream.readline().startswith(b"NOTIFY ")
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers["Content-Length"]))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert headers["SID"] == self.sid
        return headers, {p[0].tag: p[0].text or "" for p in ET.fromstring(body)}


def test_a_search_finds_four_root_devices():
    answers = search("upnp:rootdevice")
    assert len({answer["USN"] for answer in answers}) == 4
    assert all(answer["LOCATION"].startswith(f"http://{HOST}:") for answer in answers)


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("urn:schemas-upnp-org:device:WANConnectionDevice:1", 1),
        ("uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11d3", 1),
        ("urn:schemas-upnp-org:service:AVTransport:2", 0),
        ("ssdp:all", 4 * 3 + 2 * 2 + 3 + 2 + 2 + 2),
    ],
)
def test_a_search_finds_what_it_asks_for(target, count):
    answers = search(target)
    assert len(answers) == count
    assert all(answer["USN"].endswith(answer["ST"]) for answer in answers)


def test_every_description_and_scpd_parses_and_names_its_parts():
    scpds = 0
    for name in NAMES:
        location, document = locate(name)
        for element in document.iter(f"{{{NS['d']}}}SCPDURL"):
            scpd = ET.fromstring(read(urljoin(location, element.text)))
            variables = {text(v, "s:name") for v in scpd.iterfind(".//s:stateVariable", NS)}
            related = {e.text for e in scpd.iterfind(".//s:relatedStateVariable", NS)}
            assert related <= variables
            scpds += 1
        udns = [element.text for element in document.iter(f"{{{NS['d']}}}UDN")]
        assert len(udns) == len(set(udns)) == (3 if name == "Demo Router" else 1)
    assert scpds == 9


def test_volume_has_its_range_and_the_channels_their_list():
    scpd = ET.fromstring(read(service_url("Demo Renderer", "RenderingControl", "SCPDURL")))
    variables = {text(v, "s:name"): v for v in scpd.iterfind(".//s:stateVariable", NS)}
    assert [e.text for e in variables["Volume"].iterfind("s:allowedValueRange/*", NS)] == [
        "0",
        "100",
    ]
    allowed = variables["A_ARG_TYPE_Channel"].iterfind("s:allowedValueList/*", NS)
    assert [e.text for e in allowed] == ["LF", "Master", "RF"]


def test_a_subscription_brings_every_value_and_then_what_changes():
    with Subscription("Demo Renderer", "RenderingControl") as subscription:
        assert re.fullmatch(r"uuid:\S+", subscription.sid)
        assert subscription.grant.headers["TIMEOUT"] == "Second-300"
        headers, values = subscription.event()
        assert headers["SEQ"] == "0"
        assert values["LastChange"].count("<Volume") == values["LastChange"].count("<Mute") == 3
        volume = random.randrange(1, 40)
        set_volume = {"InstanceID": 0, "Channel": "LF", "DesiredVolume": volume}
        assert call("Demo Renderer", "RenderingControl", "SetVolume", **set_volume) == {}
        headers, values = subscription.event()
        assert headers["SEQ"] == "1"
        assert re.findall("<Volume.*?>", values["LastChange"]) == [
            f'<Volume channel="LF" val="{volume}"/>'
        ]
        assert "<Mute" not in values["LastChange"]
        assert subscription.request("SUBSCRIBE", SID=subscription.sid).status == 200
        current = call("Demo Renderer", "RenderingControl", "GetVolume", InstanceID=0, Channel="LF")
        assert current == {"CurrentVolume": str(volume)}


def test_a_renewal_of_an_unknown_subscription_is_refused():
    with Subscription("Demo Light", "SwitchPower") as subscription:
        assert subscription.request("SUBSCRIBE", SID="uuid:none").status == 412


def test_a_callback_outside_the_loopback_interface_is_refused():
    with Subscription("Demo Light", "SwitchPower") as subscription:
        elsewhere = {"CALLBACK": "<http://192.0.2.77:9/>", "NT": "upnp:event"}
        assert subscription.request("SUBSCRIBE", **elsewhere).status == 412


def test_the_light_dims_by_itself_and_events_are_written_as_upnp_has_them():
    with Subscription("Demo Light", "Dimming") as dimming:
        (_, before), (_, after) = dimming.event(), dimming.event()
        assert int(before["LoadLevelStatus"]) < int(after["LoadLevelStatus"])
    with Subscription("Demo Light", "SwitchPower") as power:
        assert power.event()[1] == {"Status": "1"}
        call("Demo Light", "SwitchPower", "SetTarget", newTargetValue=0)
        assert power.event()[1] == {"Status": "0"}
        call("Demo Light", "SwitchPower", "SetTarget", newTargetValue=1)
        assert power.event()[1] == {"Status": "1"}


def test_the_renderer_tells_track_state_and_metadata():
    with Subscription("Demo Renderer", "AVTransport") as subscription:
        last_change = subscription.event()[1]["LastChange"]
        instance = ET.fromstring(last_change)[0]
        values = {element.tag.rpartition("}")[2]: element.get("val") for element in instance}
        assert values["TransportState"] == "PLAYING"
        title = ET.fromstring(values["CurrentTrackMetaData"] or "")[0][0].text
        assert title
        assert call("Demo Renderer", "AVTransport", "Next", InstanceID=0) == {}
        next_change = subscription.event()[1]["LastChange"]
        assert "<CurrentTrackURI " in next_change
        assert escape(title) not in unescape(next_change)
        position = call("Demo Renderer", "AVTransport", "GetPositionInfo", InstanceID=0)
        assert re.fullmatch(r"\d:\d\d:\d\d", position["RelTime"])


def png_size(picture):
    """Give width and height of a PNG, all of whose parts are whole."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, names, pixels = 8, [], b""
    while at < len(picture):
        (length,) = struct.unpack_from(">I", picture, at)
        name, content = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", picture, at + 8 + length)[0] == zlib.crc32(name + content)
        names.append(name)
        pixels += content if name == b"IDAT" else b""
        at += 12 + length
    assert names == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    width, height = struct.unpack_from(">II", picture, 16)
    assert len(zlib.decompress(pixels)) == (width + 1) * height
    return width, height


@pytest.mark.parametrize("name", NAMES)
def test_every_device_has_its_icons(name):
    location, document = locate(name)
    found = document.findall("d:device/d:iconList/d:icon", NS)
    assert [int(text(icon, "d:width")) for icon in found] == [48, 120]
    for icon in found:
        side = int(text(icon, "d:width"))
        assert png_size(read(urljoin(location, text(icon, "d:url")))) == (side, side)


def test_what_the_renderer_plays_has_covers_at_addresses_of_its_own():
    covers = set()
    for _ in range(12):  # it goes on by itself too
        position = call("Demo Renderer", "AVTransport", "GetPositionInfo", InstanceID=0)
        (cover,) = ET.fromstring(position["TrackMetaData"]).iter(ART)
        covers.add(cover.text or "")
        assert call("Demo Renderer", "AVTransport", "Next", InstanceID=0) == {}
    assert len(covers) == 3
    assert all(cover.startswith(f"http://{HOST}:") for cover in covers)
    pictures = {read(cover) for cover in covers}
    assert len(pictures) == 3
    assert {png_size(picture) for picture in pictures} == {(240, 240)}


def test_what_is_set_plays_for_as_long_as_its_metadata_say():
    metadata = '<DIDL-Lite><item><res duration="0:04:05.5">x</res></item></DIDL-Lite>'
    given = {"CurrentURI": "http://music.invalid/a.wav", "CurrentURIMetaData": metadata}
    assert call("Demo Renderer", "AVTransport", "SetAVTransportURI", InstanceID=0, **given) == {}
    position = call("Demo Renderer", "AVTransport", "GetPositionInfo", InstanceID=0)
    assert position["Track"] == "1"
    assert position["TrackURI"] == given["CurrentURI"]
    assert position["TrackMetaData"] == metadata
    assert position["TrackDuration"] == "0:04:05"
    before = position["RelTime"]
    deadline = time.monotonic() + PATIENCE_S
    while position["RelTime"] == before:
        assert time.monotonic() < deadline
        position = call("Demo Renderer", "AVTransport", "GetPositionInfo", InstanceID=0)
    assert position["RelTime"] > before


def test_the_router_keeps_port_mappings_and_counts():
    key = {"NewRemoteHost": "", "NewExternalPort": 8080, "NewProtocol": "TCP"}
    entry = {
        "NewInternalPort": 80,
        "NewInternalClient": "192.0.2.5",
        "NewEnabled": 1,
        "NewPortMappingDescription": "a & b",
        "NewLeaseDuration": 0,
    }
    with Subscription("Demo Router", "WANIPConnection") as subscription:
        assert subscription.event()[1]["PortMappingNumberOfEntries"] == "0"
        assert call("Demo Router", "WANIPConnection", "AddPortMapping", **key, **entry) == {}
        assert subscription.event()[1] == {"PortMappingNumberOfEntries": "1"}
    get = "GetGenericPortMappingEntry"
    got = call("Demo Router", "WANIPConnection", get, NewPortMappingIndex=0)
    assert got["NewPortMappingDescription"] == "a & b"
    assert call("Demo Router", "WANIPConnection", "DeletePortMapping", **key) == {}
    assert call("Demo Router", "WANIPConnection", get, NewPortMappingIndex=0)[0] == 713
    service = "WANCommonInterfaceConfig"
    sent = call("Demo Router", service, "GetTotalBytesSent")
    assert int(sent["NewTotalBytesSent"]) >= 0


@pytest.mark.parametrize(
    ("service", "action", "arguments", "fault"),
    [
        ("AVTransport", "Play", {"InstanceID": 7, "Speed": 1}, (718, "Invalid InstanceID")),
        (
            "AVTransport",
            "Play",
            {"InstanceID": 0, "Speed": 9},
            (601, "Argument Value Out of Range"),
        ),
        ("AVTransport", "Play", {"InstanceID": "x", "Speed": 1}, (402, "Invalid Args")),
        ("AVTransport", "Play", {"InstanceID": 0}, (402, "Invalid Args")),
        ("AVTransport", "Play", {"InstanceID": 0, "Speed": 1, "Loud": 1}, (402, "Invalid Args")),
        ("AVTransport", "Fly", {}, (401, "Invalid Action")),
    ],
)
def test_a_wrong_call_gets_a_fault(service, action, arguments, fault):
    assert call("Demo Renderer", service, action, **arguments) == fault


def test_a_transition_that_is_not_available_gets_fault_701():
    fault = (701, "Transition not available")
    assert call("Demo Renderer", "AVTransport", "Pause", InstanceID=0) == {}
    assert call("Demo Renderer", "AVTransport", "Pause", InstanceID=0) == fault
    assert call("Demo Renderer", "AVTransport", "Play", InstanceID=0, Speed=1) == {}


def test_no_socket_is_open_to_another_interface(demo):
    inodes = set()
    for fd in Path(f"/proc/{demo.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(str(fd.readlink()).removeprefix("socket:[").removesuffix("]"))
    addresses = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{demo.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] != "01":  # 01: an accepted connection
                raw = bytes.fromhex(fields[1].partition(":")[0])
                addresses.add(socket.inet_ntoa(raw[::-1]))
    assert addresses == {HOST, GROUP}


def test_the_end_says_byebye_for_all_and_comes_within_two_seconds():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        membership = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        udp.bind((GROUP, 1900))
        udp.settimeout(0.3)
        process = start_demo()
        try:
            wait_for_start(process)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=PATIENCE_S)
            assert time.monotonic() - began < 2
        finally:
            process.kill()
        assert process.returncode == 0
        assert not errors
        said: dict[str, set[str]] = {"ssdp:alive": set(), "ssdp:byebye": set()}
        with contextlib.suppress(TimeoutError):
            for _ in range(1000):
                datagram, (address, _) = udp.recvfrom(65536)
                headers = headers_of(datagram)
                if address == HOST and "NTS" in headers:
                    said[headers["NTS"]].add(headers["USN"])
    assert len(said["ssdp:alive"]) == 25
    assert said["ssdp:alive"] == said["ssdp:byebye"]


def test_it_ends_with_its_parent():
    script = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [sys.executable, "-c", script, sys.executable, "-m", "bridge.demo", HOST]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
        wait_for_start(parent)
        parent.kill()
        parent.communicate(timeout=PATIENCE_S)  # the pipe ends with the last that holds it


async def test_only_the_loopback_interface_is_served():
    with pytest.raises(ValueError, match="loopback"):
        async with simulate("192.0.2.2"):
            pass


def test_the_player_stops_after_the_last_track_unless_it_repeats():
    player = Player(tuple(Track(f"http://music.invalid/{n}", "", 10) for n in (1, 2)))
    player.advance(10)
    assert player.index == 1
    player.advance(10)
    assert (player.index, player.state) == (0, TransportState.PLAYING)
    player.mode = PlayMode.NORMAL
    player.advance(10)
    player.advance(10)
    assert (player.index, player.state) == (0, TransportState.STOPPED)
    player.load()
    assert player.state is TransportState.NO_MEDIA
