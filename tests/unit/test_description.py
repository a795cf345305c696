"""Device descriptions as devices write them, right and wrong."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import DescriptionError
from bridge.model.device import Description, Device, Scpd, Service, StateVariable
from bridge.model.topics import MAX_LEVEL
from bridge.upnp.description.device_description import read_description
from bridge.upnp.description.scpd import with_scpds
from tests.fuzz.mutations import near

CAPTURES = Path(__file__).parents[1] / "captures"
DESCRIPTIONS = sorted(CAPTURES.glob("*/description*.xml"))
LOCATION = "http://192.0.2.1:8080/dir/desc.xml"


def read(data: bytes | str, location: str = LOCATION) -> Description:
    return read_description(
        data.encode() if isinstance(data, str) else data,
        location,
        foreign=lambda host: host != "192.0.2.99",
    )


def root(inner: str = "", outer: str = "", udn: str = "uuid:1") -> str:
    return (
        '<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major>'
        f"<minor>1</minor></specVersion>{outer}{device(inner, udn)}</root>"
    )


def device(inner: str = "", udn: str = "uuid:2") -> str:
    return (
        "<device><deviceType>urn:x:device:Y:1</deviceType><friendlyName>Name</friendlyName>"
        f"<UDN>{udn}</UDN>{inner}</device>"
    )


def service(
    service_id: str = "urn:upnp-org:serviceId:S",
    scpd: str = "s.xml",
    control: str = "c",
    event: str = "e",
    service_type: str = "urn:schemas-upnp-org:service:T:1",
) -> str:
    return (
        f"<service><serviceType>{service_type}</serviceType><serviceId>{service_id}</serviceId>"
        f"<SCPDURL>{scpd}</SCPDURL><controlURL>{control}</controlURL>"
        f"<eventSubURL>{event}</eventSubURL></service>"
    )


def services(*each: str) -> str:
    return f"<serviceList>{''.join(each)}</serviceList>"


def devices(*each: str) -> str:
    return f"<deviceList>{''.join(each)}</deviceList>"


def only_service(data: str, location: str = LOCATION) -> Service:
    (found,) = read(data, location).device.services
    return found


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_component_of_a_recorded_description_is_read(path):
    data = path.read_bytes()
    host = re.search(rb"<URLBase>(.*)</URLBase>", data)
    location = (host[1].decode() if host else "http://192.0.2.1/") + "desc.xml"
    found = read(data, location)
    walked = list(found.device.walk())
    assert [f"uuid:{d.udn}" for d in walked] == re.findall(r"<UDN>(.*?)</UDN>", data.decode())
    assert len(walked) == data.count(b"<device>")
    assert sum(len(d.services) for d in walked) == data.count(b"<service>")
    assert sum(len(d.icons) for d in walked) == data.count(b"<icon>")
    assert [s.service_id for d in walked for s in d.services] == re.findall(
        r"<serviceId>(.*?)</serviceId>", data.decode()
    )
    for each in walked:
        assert each.problems == ()
        for s in each.services:
            assert s.event_url
            assert all(
                url.startswith(location.removesuffix("desc.xml"))
                for url in (s.scpd_url, s.control_url, s.event_url)
            )


def test_the_fields_of_a_recorded_description_are_read():
    found = read((CAPTURES / "gmediarender" / "description1.xml").read_bytes())
    assert found.upnp_version == "1.0"
    assert found.location == LOCATION
    renderer = found.device
    assert renderer.udn == "GMediaRender-1_0-000-000-002"
    assert renderer.friendly_name == "Lab Renderer"
    assert renderer.manufacturer == "Ivo Clarysse, Henner Zeller"
    assert renderer.manufacturer_url == "http://github.com/hzeller/gmrender-resurrect"
    assert renderer.presentation_url is None
    assert renderer.icons[1].url == "http://192.0.2.1:8080/upnp/grender-128x128.png"
    assert (renderer.icons[1].width, renderer.icons[1].depth) == (128, 24)
    # Read from elsewhere than it says: the URLBase is of no use.
    assert renderer.problems == ("URLBase: a foreign host, ignored",)


def test_embedded_devices_stand_where_they_are_embedded():
    router = read((CAPTURES / "miniupnpd" / "description1.xml").read_bytes()).device
    assert [type(c) for c in router.children] == [Service, Service, Device]
    assert [s.level for s in router.services] == ["L3Forwarding1", "DeviceProtection1"]
    assert [len(d.services) for d in router.walk()] == [2, 1, 2]


def test_equal_service_types_and_device_types_lose_nothing():
    found = read(
        root(
            services(*(service(f"urn:upnp-org:serviceId:WAN{n}") for n in range(3)))
            + devices(*(device(udn=f"uuid:bulb{n}") for n in range(3)))
        )
    ).device
    assert [s.level for s in found.services] == ["WAN0", "WAN1", "WAN2"]
    assert [d.udn for d in found.devices] == ["bulb0", "bulb1", "bulb2"]
    assert found.problems == ()


def test_the_order_of_the_document_is_kept():
    found = read(root(devices(device()) + services(service()))).device
    assert [type(c) for c in found.children] == [Device, Service]


@pytest.mark.parametrize(
    "data",
    [
        root(services(service())).replace(
            "urn:schemas-upnp-org:device-1-0", "urn:Belkin:device-1-0"
        ),
        root(services(service())).replace(' xmlns="urn:schemas-upnp-org:device-1-0"', ""),
        root(services(service())).replace("<root", "<Wurzel").replace("root>", "Wurzel>"),
        "\ufeff" + root(services(service())) + "\0\0",
    ],
)
def test_namespace_root_element_and_wrapping_do_not_matter(data):
    assert read(data) == read(root(services(service())))
    assert read(data).upnp_version == "1.1"


@pytest.mark.parametrize(
    "data",
    [
        "\n" + root(services(service())) + "</trailing>",
        root("<x:bad/>" + services(service())),
        root("<manufacturer>Tom & Jerry</manufacturer>" + services(service())),
        root(services(service()))[:-20],
    ],
)
def test_broken_xml_is_mended_with_a_problem(data):
    found = read(data).device
    assert [s.level for s in found.services] == ["S"]
    if data[0] != "\n":
        assert found.problems == ("the description was not well-formed XML",)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "junk",
        "<root/>",
        "<root><specVersion/></root>",
        '<!DOCTYPE root [<!ENTITY x "y">]>' + root(),
        root(udn=""),
        root(udn="uuid: "),
        root(udn="uuid:" + "a" * (MAX_LEVEL + 1)),
    ],
)
def test_what_has_no_root_device_is_an_error(data):
    with pytest.raises(DescriptionError):
        read(data)


@pytest.mark.parametrize(
    "location", ["", "desc.xml", "http://", "http://[", "https://h/", "http://h:99999/"]
)
def test_a_location_that_is_no_http_url_is_an_error(location):
    with pytest.raises(DescriptionError):
        read(root(), location)


@pytest.mark.parametrize(
    ("written", "absolute"),
    [
        ("/c", "http://192.0.2.1:8080/c"),
        ("c", "http://192.0.2.1:8080/dir/c"),
        ("../c", "http://192.0.2.1:8080/c"),
        ("?c=1", "http://192.0.2.1:8080/dir/desc.xml?c=1"),
        (" \n/c ", "http://192.0.2.1:8080/c"),
        ("/a b", "http://192.0.2.1:8080/a%20b"),
        ("/ä", "http://192.0.2.1:8080/%C3%A4"),
        ("/%3A%7e~:@", "http://192.0.2.1:8080/%3A%7e~:@"),
        ("http://192.0.2.1:81/c", "http://192.0.2.1:81/c"),
        ("HTTP://192.0.2.1/c", "http://192.0.2.1/c"),
        ("//192.0.2.1/c", "http://192.0.2.1/c"),
        ("http:///c", "http://192.0.2.1:8080/c"),
        ("http://192.0.2.99/c", "http://192.0.2.99/c"),
        ("/c#part", "http://192.0.2.1:8080/c"),
        (
            "udhisapi.dll?content=uuid:9fd",
            "http://192.0.2.1:8080/dir/udhisapi.dll?content=uuid:9fd",
        ),
    ],
)
def test_urls_are_made_absolute_and_not_written_anew(written, absolute):
    found = only_service(root(services(service(control=written))))
    assert found.control_url == absolute
    assert read(root(services(service(control=written)))).device.problems == ()


@pytest.mark.parametrize(
    "written",
    [
        "http://192.0.2.2/c",
        "//evil.example/c",
        "http://192.0.2.1@evil.example/c",
        "http://evil.example\\@192.0.2.1/c",
        "https://192.0.2.1/c",
        "ftp://192.0.2.1/c",
        "http://192.0.2.1:99999/c",
        "http://192.0.2.1:x/c",
        "http://[::1/c",
        "/c\nX: y",
        "/" + "c" * 5000,
        "javascript:alert(1)",
    ],
)
def test_a_url_that_must_not_be_asked_counts_as_absent_by_itself(written):
    found = read(root(services(service(control=written)))).device
    (one,) = found.services
    assert one.control_url == ""
    assert one.scpd_url == "http://192.0.2.1:8080/dir/s.xml"
    assert one.event_url == "http://192.0.2.1:8080/dir/e"
    assert len(found.problems) == 1
    assert found.problems[0].startswith("S: controlURL: ")
    assert only_service(root(services(service(event=written)))).event_url is None
    assert only_service(root(services(service(scpd=written)))).scpd_url == ""


@pytest.mark.parametrize(
    ("url_base", "base", "problems"),
    [
        ("http://192.0.2.1:81/x/", "http://192.0.2.1:81/x/", 0),
        ("http://192.0.2.1:81", "http://192.0.2.1:81/", 0),
        ("http://192.0.2.99/", "http://192.0.2.99/", 0),
        ("/x/", "http://192.0.2.1:8080/x/", 0),
        ("", "http://192.0.2.1:8080/dir/", 0),
        ("http://192.168.0.1/", "http://192.0.2.1:8080/dir/", 1),
        ("https://192.0.2.1/", "http://192.0.2.1:8080/dir/", 1),
        ("http://[", "http://192.0.2.1:8080/dir/", 1),
    ],
)
def test_a_url_base_counts_where_it_may_be_asked(url_base, base, problems):
    for outer in (f"<URLBase>{url_base}</URLBase>", f"<URLBase> {url_base}\n</URLBase>"):
        description = read(root(services(service()), outer))
        found = description.device
        assert found.services[0].control_url == base + "c"
        assert urljoin(description.base_url, "c") == base + "c"
        assert len(found.problems) == problems


def test_a_link_local_address_keeps_the_scope_of_the_location():
    data = root(services(service(control="/c", event="http://[FE80:0::1]:99/e")))
    found = only_service(data, "http://[fe80::1%2]:8080/desc.xml")
    assert found.control_url == "http://[fe80::1%2]:8080/c"
    assert found.event_url == "http://[fe80::1%2]:99/e"


def test_no_event_url_means_not_evented():
    data = root(services(service(event="")))
    assert only_service(data).event_url is None
    assert read(data).device.problems == ()
    data = data.replace("<eventSubURL></eventSubURL>", "")
    assert only_service(data).event_url is None


def test_a_service_without_scpd_or_control_url_is_kept_with_problems():
    found = read(root(services(service(scpd="", control=" ")))).device
    (one,) = found.services
    assert (one.scpd_url, one.control_url, one.scpd.members) == ("", "", ())
    assert found.problems == ("S: no SCPDURL", "S: no controlURL")


@pytest.mark.parametrize(
    ("service_id", "service_type", "ids"),
    [
        ("", "urn:x:service:Foo:1", ["Foo"]),
        ("", "Foo", ["Foo"]),
        ("", "", []),
        ("urn:upnp-org:serviceId:" + "a" * (MAX_LEVEL + 1), "urn:x:service:Foo:1", []),
    ],
)
def test_a_service_that_nothing_names_costs_only_itself(service_id, service_type, ids):
    found = read(root(services(service(service_id, service_type=service_type), service()))).device
    assert [s.service_id for s in found.services] == [*ids, "urn:upnp-org:serviceId:S"]
    assert len(found.problems) == 1


def test_equal_service_ids_have_levels_of_their_own():
    found = read(root(services(service(), service("urn:other:serviceId:S"), service()))).device
    assert len({s.level for s in found.services}) == 3
    assert found.services[0].level == "S"


def test_an_embedded_device_without_a_udn_of_its_own_gets_a_stable_one():
    data = root(
        devices(
            device(udn="", inner=devices(device(udn="uuid:ROOT"))),
            device(udn="uuid:x"),
            device(udn="UUID:X"),
            device(udn="uuid:" + "b" * (MAX_LEVEL + 1)),
        ),
        udn="uuid:Root",
    )
    found = list(read(data).device.walk())
    assert [d.udn for d in found] == ["Root", "Root~2", "Root~3", "x", "Root~5", "Root~6"]
    assert [len(d.problems) for d in found] == [0, 1, 1, 0, 1, 1]
    assert read(data) == read(data)


def test_an_embedded_device_that_can_have_no_udn_costs_only_itself():
    found = read(root(devices(device(udn="uuid:1~3"), device(udn=""), device(udn="uuid:9")))).device
    assert [d.udn for d in found.walk()] == ["1", "1~3", "9"]
    assert found.problems == ("device 3 has no UDN of its own: left out",)


def test_missing_names_have_something_in_their_place():
    data = "<root><device><UDN>uuid:1</UDN><modelName>Model</modelName></device></root>"
    found = read(data)
    assert (found.device.friendly_name, found.device.device_type) == ("Model", "")
    assert found.device.problems == ("no deviceType", "no friendlyName")
    assert found.upnp_version == "1.0"
    assert read(data.replace("modelName", "deviceType")).device.friendly_name == "Model"


def test_texts_are_one_line_and_bounded():
    found = read(
        root(
            f"<manufacturer>\n A\n\tB </manufacturer><UPC>{'1' * 1025}</UPC><modelURL>m</modelURL>"
            "<presentationURL>javascript:alert(1)</presentationURL>"
            "<manufacturerURL>https://example.com/?a=1</manufacturerURL>"
        )
    ).device
    assert found.manufacturer == "A  B"
    assert found.upc == "1" * 1024
    assert found.model_url == "http://192.0.2.1:8080/dir/m"
    assert found.manufacturer_url == "https://example.com/?a=1"
    assert found.presentation_url is None
    assert len(found.problems) == 2


def test_a_bad_icon_costs_only_itself():
    found = read(
        root(
            "<iconList><icon><mimetype>image/png</mimetype><width></width><height>tall</height>"
            "<depth> 24 </depth><url>/i.png</url></icon><icon><width>1</width></icon>"
            "<icon><url>data:image/png,x</url></icon><icon><url>http://cdn.example/i</url></icon>"
            "</iconList>"
        )
    ).device
    (icon, bare) = found.icons
    assert icon.url == "http://192.0.2.1:8080/i.png"
    assert (icon.mimetype, icon.width, icon.height, icon.depth) == ("image/png", None, None, 24)
    assert (bare.url, bare.mimetype) == ("http://cdn.example/i", None)
    assert found.problems == (
        "icon: height tall is not a number",
        "icon without a url: left out",
        "icon: neither an http nor an https URL, left out",
    )


def test_there_are_bounds_to_everything():
    deep = ""
    for n in range(20):
        deep = devices(device(deep, udn=f"uuid:deep{n}"))
    assert len(list(read(root(deep)).device.walk())) == 16
    wide = devices(*(device(udn=f"uuid:wide{n}") for n in range(300)))
    many = services(*(service(f"urn:x:serviceId:{n}") for n in range(1100)))
    icons = f"<iconList>{'<icon><url>/i</url></icon>' * 100}</iconList>"
    found = read(root(wide + many + icons)).device
    assert len(list(found.walk())) == 256
    assert len(found.services) == 1024
    assert len(found.icons) == 64
    assert len(found.problems) == 3


def test_problems_of_a_device_are_at_most_fifty_short_lines():
    bad = (service(f"urn:x:serviceId:{n}", control="ftp://x/" + "y" * 300) for n in range(99))
    found = read(root(services(*bad))).device
    assert len(found.problems) == 50
    assert max(map(len, found.problems)) <= 200


def test_scpds_are_put_in_by_their_url():
    scpd = Scpd.of((StateVariable("V", "ui4"),), problems=("variable V: odd",))
    found = read(
        root(
            services(service(), service("urn:x:serviceId:T", scpd="t.xml"))
            + devices(device(services(service())))
        )
    ).device
    whole = with_scpds(
        found,
        {
            "http://192.0.2.1:8080/dir/s.xml": scpd,
            "http://192.0.2.1:8080/dir/t.xml": "no SCPD: HTTP 404",
        },
    )
    assert whole.services[0].scpd is scpd
    assert whole.services[1].scpd.members == ()
    assert whole.problems == ("S: variable V: odd", "T: no SCPD: HTTP 404")
    assert whole.devices[0].services[0].scpd is scpd
    assert whole.devices[0].problems == ("S: variable V: odd",)
    assert with_scpds(found, {}) == found


def read_or_refuse(data: bytes) -> None:
    try:
        found = read(data)
    except DescriptionError:
        return
    assert found == read(data)
    walked = list(found.device.walk())
    assert len({d.udn.casefold() for d in walked}) == len(walked)
    for each in walked:
        assert len(each.problems) <= 50
        assert all(len(line) <= 200 and "\n" not in line for line in each.problems)
        for s in each.services:
            for url in filter(None, (s.scpd_url, s.control_url, s.event_url)):
                assert url.startswith(("http://192.0.2.1", "http://192.0.2.99"))


@given(st.binary())
def test_no_bytes_raise_anything_else(data):
    read_or_refuse(data)


@given(near([path.read_bytes() for path in DESCRIPTIONS]))
def test_no_broken_description_raises_anything_else(data):
    read_or_refuse(data)


@given(st.text(st.characters(blacklist_categories=["Cs"])), st.text())
def test_no_url_raises_anything(written, location):
    escaped = re.sub("[&<>]", "", written)
    read_or_refuse(
        root(services(service(control=escaped)), f"<URLBase>{escaped}</URLBase>").encode()
    )
    with pytest.raises(DescriptionError):
        read(root(), "x" + location)


def test_what_is_no_text_in_a_description_costs_itself_alone():
    name = "Zwölf &#55357;&#56832; &#xD83D;kühl&nbsp;@"
    data = root(services(service("urn:x:serviceId:&#xD83D;S"))).replace(">Name<", f">{name}<")
    found = read(data.encode().replace(b"@", b"\xc3")).device
    assert found.friendly_name == "Zwölf 😀 kühl\xa0\ufffd"
    assert [one.level for one in found.services] == ["S"]
    assert found.udn == "1"
    assert found.problems == ("the description was not well-formed XML",)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8", "us-ascii", "utf-16"])
def test_a_name_is_read_whatever_its_encoding_is_called(encoding):
    data = root().replace(">Name<", ">Küche – Süd<")
    data = f'<?xml version="1.0" encoding="{encoding}"?>{data}'
    assert read(data.encode()).device.friendly_name == "Küche – Süd"
    assert read(data.encode("cp1252")).device.friendly_name == "Küche – Süd"
    assert read(data.encode("utf-16")).device.friendly_name == "Küche – Süd"
