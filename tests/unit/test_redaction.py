"""What is taken out of a document for strangers, what stays, and that references still hold."""

import base64
import json
import re
import string
import time
from pathlib import Path
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats.bodies import octets, written
from bridge.support.redaction import redact
from bridge.upnp.description.device_description import read_description
from bridge.upnp.gena.event_body import read_properties
from bridge.upnp.http.http1 import find_head_end, read_head
from tests.unit.captured import CAPTURES

HEAD = "HTTP/1.1 200 OK\r\nSERVER: Linux/6.1.0 UPnP/1.0 Thing/1.2.3.4\r\nContent-Length: {}\r\n\r\n"
TITLE = "So What & More"
FOLDERS = sorted({path.parent for path in CAPTURES.glob("*/*.http")})


def message(body: str | bytes, head: str = HEAD):
    data = body if isinstance(body, bytes) else body.encode()
    return {"head": head.format(len(data)), "body": written(data)}


def redacted(text: str) -> str:
    out = redact({"body": text})["body"]
    assert isinstance(out, str)
    return out


def recorded(folder: Path):
    """All messages of a folder of captures, as a document."""
    messages = {}
    for path in sorted(folder.glob("*.http")):
        data = path.read_bytes()
        end = find_head_end(data)
        messages[path.name] = {"head": data[:end].decode(), "body": written(data[end:])}
    models = {name: messages.pop(name) for name in list(messages) if ".scpd." in name}
    return {"messages": messages, "scpds": models}


def encodings(secret: str) -> set[str]:
    found = {secret}
    for _ in range(3):
        found |= {escape(one, {'"': "&quot;", "'": "&apos;"}) for one in found}
    return found | {
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        quote(quote(secret, safe=""), safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        "".join(f"&#{ord(char)};" for char in secret),
        "".join(f"&#x{ord(char):x};" for char in secret),
        "".join(f"\\u{ord(char):04x}" for char in secret if ord(char) < 0x10000),
    }


# Secrets

LETTERS = "bcdfgjklmnpqrstvwyzBCDFGJKLMNPQRSTVWYZäßñéøЖщ"
WORD = st.text(LETTERS, min_size=4, max_size=9)
NAME = st.builds("{}{}{}".format, WORD, st.sampled_from([" ", "'s ", " & ", " <", "-"]), WORD)
NUMBER = st.text("0123456789", min_size=9, max_size=14).filter(lambda text: len(set(text)) > 5)
UDN = st.one_of(
    st.uuids(version=4).map(str),
    st.uuids(version=4).map(lambda one: str(one).upper()),
    st.builds("RINCON_{}01400".format, st.from_regex(r"[2-9A-F]{12}", fullmatch=True)),
    st.builds("{}-{}".format, st.text("bcdgkmpqrwBCDGKM", min_size=9, max_size=9), NUMBER),
)
MAC = st.lists(st.integers(17, 255), min_size=6, max_size=6, unique=True)
IPV4 = st.one_of(
    st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=4, network="84.0.0.0/8")
)
IPV6 = st.ip_addresses(v=6, network="2a02::/16")


@given(NAME, UDN, NUMBER, MAC, IPV4, IPV6, NAME, NAME)
def test_no_secret_survives_in_any_encoding(  # noqa: PLR0913, PLR0917 - the secrets
    name, udn, serial, mac, ipv4, ipv6, title, user
):
    ip4, ip6 = str(ipv4), str(ipv6)
    macs = [sep.join(f"{octet:02x}" for octet in mac) for sep in (":", "-", "")]
    secrets = [name, udn, serial, macs[0], macs[1], macs[2], ip4, ip6, title]
    everywhere = " ".join(one for secret in (name, udn, serial) for one in encodings(secret))
    description = (
        f"<root><device><friendlyName>{escape(name)}</friendlyName><UDN>uuid:{udn}</UDN>"
        f"<serialNumber>{serial}</serialNumber><MACAddress>{macs[0]}</MACAddress>"
        f"<wlanMac>{macs[2]}</wlanMac><presentationURL>http://{ip4}/</presentationURL>"
        f"<note>{everywhere} {macs[1]} [{ip6}]</note></device></root>"
    )
    didl = f"<DIDL-Lite><item><dc:title>{escape(title)}</dc:title></item></DIDL-Lite>"
    event = f"<LastChange><E><CurrentTrackMetaData val='{escape(escape(didl))}'/></E></LastChange>"
    document = {
        "settings": {"mqtt": {"username": user, "password": "pass" + serial}},
        "row": {"id": udn, "friendly_name": name, "location": f"http://{ip4}:80/{udn}.xml"},
        "services": {f"{udn}/AVTransport": {"state": "lost"}},
        "description": message(description),
        "event": message(
            escape(event), f"NOTIFY /x HTTP/1.1\r\nHOST: {ip4}:1\r\nSID: uuid:{udn}\r\n\r\n"
        ),
        "announcements": [f"HTTP/1.1 200 OK\r\nUSN: uuid:{udn}::upnp:rootdevice\r\n\r\n"],
    }
    out = redact(document)
    told = json.dumps(out, ensure_ascii=False) + json.dumps(out)
    for secret in [*secrets, user, "pass" + serial]:
        for form in encodings(secret):
            assert form.lower() not in told.lower(), (secret, form)


@given(NAME, UDN, NUMBER, MAC, st.lists(IPV4 | IPV6, max_size=4))
def test_redacting_twice_changes_nothing(name, udn, serial, mac, addresses):
    text = "".join(f"{octet:02X}" for octet in mac)
    document = {
        "row": {"id": udn, "friendly_name": f"{name} ({addresses[:1]})"},
        "d": message(
            f"<friendlyName>{escape(name)} {text}</friendlyName><UDN>uuid:{udn}</UDN>"
            f"<serialNumber>{serial}</serialNumber><x>{addresses} {serial} {quote(name)}</x>"
        ),
    }
    once = redact(document)
    assert redact(once) == once


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_redacting_a_recorded_device_twice_changes_nothing(folder):
    once = redact(recorded(folder))
    assert redact(once) == once


@given(st.recursive(st.text() | st.none() | st.integers(), lambda one: st.lists(one, max_size=4)))
def test_any_text_is_redacted_and_only_texts_change(document):
    out = redact(document)
    assert json.dumps(re.sub(r'"(?:[^"\\]|\\.)*"', "", json.dumps(out))) == json.dumps(
        re.sub(r'"(?:[^"\\]|\\.)*"', "", json.dumps(document))
    )


# What is kept


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_scpds_of_recorded_devices_stay_byte_for_byte(folder):
    document = recorded(folder)
    assert redact(document)["scpds"] == document["scpds"]


def model(data: bytes):
    """What a description says of what a device is: no UDNs, names and URLs of its own."""
    found = read_description(data, "http://192.0.2.9:1/d.xml", foreign=lambda _: False)
    return [
        (
            one.device_type,
            one.manufacturer,
            one.manufacturer_url,
            one.model_name,
            one.model_number,
            one.model_url,
            [(icon.mimetype, icon.width, icon.url.partition(":1/")[2]) for icon in one.icons],
            [
                (
                    each.service_id,
                    each.service_type,
                    each.level,
                    *(
                        url and re.sub(r"^http://[^/]*", "", url)
                        for url in (each.scpd_url, each.event_url)
                    ),
                )
                for each in one.services
            ],
            one.problems,
            len(one.udn),
            len(one.friendly_name),
        )
        for one in found.device.walk()
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_recorded_device_is_described_as_the_same_model(folder):
    document = recorded(folder)
    out = redact(document)
    for path in sorted(folder.glob("description*.xml")):
        data = octets(out["messages"][f"{path.stem}.http"]["body"])
        assert model(data) == model(path.read_bytes())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_events_name_the_same_variables_and_sids_are_those_of_the_subscriptions(folder):
    document = recorded(folder)["messages"]
    out = redact({"messages": document})["messages"]
    for name in (name for name in out if ".notify" in name):
        before, after = (read_properties(octets(one[name]["body"])) for one in (document, out))
        assert [key for key, _ in before] == [key for key, _ in after]
        granted = read_head(octets(out[f"{name.partition('.')[0]}.subscribe.http"]["head"]))
        notified = read_head(octets(out[name]["head"]))
        assert notified.headers["sid"] == granted.headers["sid"] != ""
        assert notified.headers["sid"] not in json.dumps(document)


@given(st.binary())
def test_any_bytes_come_back_from_their_json(data):
    assert octets(json.loads(json.dumps(written(data)))) == data


@pytest.mark.parametrize(
    "text",
    [
        "urn:schemas-upnp-org:device:MediaRenderer:1",
        "<TransportState val='PLAYING'/><Volume channel='Master' val='25'/>",
        "<e:property><PossibleConnectionTypes>IP_Routed</PossibleConnectionTypes></e:property>",
        "http-get:*:audio/mpeg:DLNA.ORG_PN=MP3;DLNA.ORG_FLAGS=01700000000000000000000000000000",
        "<upnp:class>object.item.audioItem.musicTrack</upnp:class>",
        "<AVTransportURI val='NOT_IMPLEMENTED'/><RelTime>0:01:02</RelTime>",
        "SERVER: Linux/6.18.44, UPnP/1.0, Portable SDK for UPnP devices/1.8.4.1",
        "<modelNumber>1.2.3.4</modelNumber><softwareVersion>10.1.2.3</softwareVersion>",
        "<serialNumber>00000000</serialNumber><UPC>000000000000</UPC><serialNumber/>",
        "http://127.0.0.1:8080/ 239.255.255.250:1900 255.255.255.0 0.0.0.0 [::1] [ff02::c]",
        "<manufacturerURL>http://www.example.com/a?b=c</manufacturerURL>",
        "<SCPDURL>/scpd?id=17&amp;x=AVTransport</SCPDURL>\r\n\t <broken & <un:closed>",
        "<friendlyName>Media Server</friendlyName><friendlyName></friendlyName>",
        'OPT: "http://schemas.upnp.org/upnp/1/0/"; ns=01 1.3.6.1.4.1',
        "a=1&b=%20%zz \\u00 &unknown; &#xfffffff; \ufeff\0",
    ],
)
def test_what_standards_define_and_what_names_nobody_stays(text):
    assert redacted(text) == text
    assert redact({"announcements": [text]})["announcements"] == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<friendlyName>Anna's TV (2)</friendlyName>",
            "<friendlyName>Xxxx'x TV (0)</friendlyName>",
        ),
        (
            "<friendlyName> Küche 漢 😀</friendlyName>",
            "<friendlyName> Xöxxx 字 😀</friendlyName>",
        ),
        (
            "<d:friendlyName a='b'><![CDATA[Anna]]>",
            "<d:friendlyName a='b'><![CDATA[Xxxx]]>",
        ),
        (
            "<UDN>uuid:Socket-1_0-221517K0101769</UDN>",
            "<UDN>uuid:Gggggh-1_0-000000G0000001</UDN>",
        ),
        (
            "<UDN>uuid:ABCDEF12</UDN>",
            "<UDN>uuid:AAAAAA01</UDN>",
        ),
        (
            "<serialNumber>00-0E-58-ab-CD-56:A</serialNumber>",
            "<serialNumber>00-0A-00-aa-AA-01:A</serialNumber>",
        ),
        (
            "http://192.168.1.20:1400/a",
            "http://192.0.2.1:1400/a",
        ),
        (
            "http://[fe80::1:2%25eth0]:80/",
            "http://[fe80::1%25eth0]:80/",
        ),
        (
            "http%3A%2F%2F10.0.0.7%3A80",
            "http%3A%2F%2F192.0.2.1%3A80",
        ),
        (
            "http://nas-anna.fritz.box:80/ http://nas/",
            "http://xxx-xxxx.xxxxx.box:80/ http://xxx/",
        ),
        (
            "//anna:pw@host.example.com",
            "//user@host.example.com",
        ),
        (
            "mail to anna.b@example.net",
            "mail to user@example.org",
        ),
        (
            "/x?user=anna&token=abc123&v=2",
            "/x?user=xxxx&token=***&v=2",
        ),
        (
            "<res a='b'>http://10.0.0.7:82/M/a b.mp3?x=y</res>",
            "<res a='b'>http://192.0.2.1:82/X/x x.mp3?x=x</res>",
        ),
        (
            "<AVTransportURI val='x-file-cifs://nas/Music/So%20What.flac'/>",
            "<AVTransportURI val='x-file-cifs://xxx/Xxxxx/Xx%20Xxxx.flac'/>",
        ),
        (
            "<dc:title>Caf&#233; &amp; Bar</dc:title>",
            "<dc:title>Xxx&#246; &amp; Xxx</dc:title>",
        ),
        (
            "&lt;dc:title&gt;Tom &amp;amp; Jo&lt;/dc:title&gt;",
            "&lt;dc:title&gt;Xxx &amp;amp; Xx&lt;/dc:title&gt;",
        ),
        (
            "<NewPassword>abc</NewPassword><SSID>AnnaNet 5</SSID>",
            "<NewPassword>***</NewPassword><SSID>XxxxXxx 0</SSID>",
        ),
        (
            '<item id="/home/anna/a.mp3" parentID="64$0">',
            '<item id="/xxxx/xxxx/x.mp3" parentID="64$0">',
        ),
        (
            '<M ZoneName="Annas Bad" UUID="RINCON_949F3EC1234501400"/>',
            '<M ZoneName="Xxxxx Xxx" UUID="GGGGGH_000A0AA0000000001"/>',
        ),
    ],
)
def test_a_secret_keeps_its_shape(text, expected):
    assert redacted(text) == expected


def test_the_same_secret_is_the_same_everywhere_and_others_differ():
    document = {
        "a": "<UDN>uuid:72eba980-20d3-4fa2-8a76-6c855535d497</UDN>"
        "<UDN>uuid:72eba980-20d3-4fa2-8a76-6c855535d498</UDN><serialNumber>6c855535d497</serialNumber>",
        "72eba980-20d3-4fa2-8a76-6c855535d497/AVTransport": "72EBA980-20D3-4FA2-8A76-6C855535D497",
        "b": "10.0.0.1 10.0.0.2 10.0.0.1",
    }
    out = redact(document)
    first, second, serial = re.findall(r"(?:uuid:|Number>)([^<]+)", out["a"])
    assert first[:-12] == second[:-12]
    assert first != second
    assert serial == first[-12:]
    assert out[f"{first}/AVTransport"] == first.upper()
    one, two, again = out["b"].split()
    assert one == again != two


def test_a_name_is_hidden_where_it_is_only_mentioned_unless_it_is_a_word_of_the_standard():
    body = "<friendlyName>{0}</friendlyName><x>of {0}!</x><Rendering/>"
    assert "<x>of Xxxxx XX!</x>" in redacted(body.format("Annas TX"))
    assert "<x>of Rendering!</x>" in redacted(body.format("Rendering"))


def test_no_name_of_a_device_changes_the_form_of_the_document():
    names = ("captures", "settings", "friendly_name", "Services")
    document = {
        "settings": {"log": {"level": "info"}},
        "captures": [{"friendly_name": name, "udn": name} for name in names],
        "services": {f"{name}/AVTransport": {} for name in names},
    }
    out = redact(document)
    assert list(out) == list(document)
    assert [list(one) for one in out["captures"]] == [["friendly_name", "udn"]] * 4


def test_hundreds_of_addresses_differ():
    addresses = [f"10.{number >> 8}.{number & 255}.7" for number in range(700)]
    out = redacted(" ".join(addresses)).split()
    assert len(set(out)) == 700
    assert {one.rpartition(".")[0] for one in out} == {"192.0.2", "198.51.100", "203.0.113"}


@pytest.mark.parametrize("off_by", [0, -3, 5])
def test_the_content_length_stays_as_right_or_wrong_as_it_was(off_by):
    body = "<presentationURL>http://10.0.0.7/</presentationURL>"
    head = f"HTTP/1.1 200 OK\r\ncontent-LENGTH : {len(body) + off_by}\r\n\r\n"
    out = redact({"m": {"head": head, "body": body}})["m"]
    length = int(out["head"].partition("LENGTH : ")[2].partition("\r")[0])
    assert length == len(out["body"]) + off_by != len(body) + off_by


@pytest.mark.parametrize("codec", ["latin-1", "utf-16", "utf-16-be", "utf-8-sig", "cp1252"])
def test_bodies_in_other_encodings_are_redacted_in_theirs(codec):
    text = "<?xml version='1.0'?>\r\n<friendlyName>Müllers Fernseher</friendlyName>é"
    text = "\ufeff" + text if codec == "utf-16-be" else text
    out = octets(redact({"m": message(text.encode(codec))})["m"]["body"])
    assert out.decode(codec) == text.replace("Müllers Fernseher", "Xöxxxxx Xxxxxxxxx")


def test_settings_are_told_as_far_as_they_name_nobody():
    out = redact(
        {
            "settings": {
                "instance": "attic",
                "mqtt": {
                    "url": ["mqtt://broker.anna.example:1883"],
                    "password_file": "/home/anna/x",
                    "tls_ca": "/home/anna/ca.pem",
                    "base_topic": "upnp",
                    "qos": 1,
                },
                "upnp": {"deny": ["*Annas*", "urn:schemas-upnp-org:device:MediaServer:1"]},
                "log": {"level": "info", "format": None},
            }
        }
    )["settings"]
    assert out["instance"] == "xxxxx"
    assert out["mqtt"] == {
        "url": ["mqtt://xxxxxx.xxxx.xxxxxxx:1883"],
        "password_file": "***",
        "tls_ca": "/xxxx/xxxx/xx.pem",
        "base_topic": "upnp",
        "qos": 1,
    }
    assert out["upnp"]["deny"] == ["*Xxxxx*", "urn:schemas-upnp-org:device:MediaServer:1"]
    assert out["log"] == {"level": "info", "format": None}


@pytest.mark.parametrize("part", [None, 5, {}, {"rot13": "x"}, {"latin-1": "a", "utf-8": "b"}])
def test_what_carries_no_bytes_is_refused(part):
    with pytest.raises(ValueError, match="neither"):
        octets(part)


def test_base64_is_not_looked_into():
    text = base64.b64encode(b"<friendlyName>Anna</friendlyName>").decode()
    assert redacted(text) == text
    assert set(text) <= set(string.printable)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a-",
            "<a> ",
            "<a>",
            "<",
            ' x="',
            "10.0.0.1 ",
            "&amp;",
            "%25",
            "::",
            "a@",
            "//a.",
            "=\"'",
        ),
        *("uuid:", "&#65;", "\\u0041", " \t", "?a", "a.b", "<dc:title>a", "00:11:", "Anna "),
    ],
)
def test_no_text_keeps_it_busy(piece):
    """What is looked through again for each of its characters would take minutes."""
    text = f"<friendlyName>Anna {piece}</friendlyName><a>" + piece * (100_000 // len(piece))
    began_s = time.process_time()
    redact({"head": text, "body": text})
    assert time.process_time() - began_s < 10


def test_a_udn_with_its_prefix_twice_has_one_stand_in_with_and_without_it():
    document = {"udn": "uuid:uuid:Kitchen-77", "topic": "upnp/uuid:Kitchen-77/availability"}
    told = json.dumps(redact(document))
    assert "Kitchen" not in told
    assert told.count(told.partition("uuid:uuid:")[2].partition('"')[0]) == 2
