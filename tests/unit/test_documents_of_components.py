"""The document of each component, and how deep they go."""

import json
from dataclasses import replace

import pytest

from bridge.formats import jsontext
from bridge.model.device import Action, Argument, Device, Direction, Icon, Scpd, StateVariable
from bridge.tree import documents
from bridge.upnp.description.scpd import read_scpd
from tests.unit.devices import described, device, renderer, scpd, service


def told(description, detail="full"):
    found = documents.components(description, bridge="main", detail=detail)
    return {own: json.loads(document) for own, document in found}


def of_members(*members):
    return told(described(device("D", service("S", Scpd.of(members)))))


def test_a_device_with_everything_tells_everything():
    whole = Device(
        udn="D",
        device_type="urn:t",
        friendly_name="Name",
        manufacturer="M",
        manufacturer_url="http://m/",
        model_name="N",
        model_number="1",
        model_description="d",
        model_url="http://n/",
        serial_number="s",
        upc="u",
        presentation_url="http://p/",
        icons=(Icon("http://i/1", "image/png", 1, 2, 3), Icon("http://i/2")),
        problems=("odd",),
    )
    assert list(told(described(whole))["D"].items()) == [
        ("id", "D"),
        ("kind", "device"),
        ("children", []),
        ("udn", "uuid:D"),
        ("device_type", "urn:t"),
        ("friendly_name", "Name"),
        ("manufacturer", "M"),
        ("manufacturer_url", "http://m/"),
        ("model_name", "N"),
        ("model_number", "1"),
        ("model_description", "d"),
        ("model_url", "http://n/"),
        ("serial_number", "s"),
        ("upc", "u"),
        ("presentation_url", "http://p/"),
        (
            "icons",
            [
                {
                    "url": "http://i/1",
                    "mimetype": "image/png",
                    "width": 1,
                    "height": 2,
                    "depth": 3,
                },
                {"url": "http://i/2"},
            ],
        ),
        ("root", "D"),
        ("location", "http://192.0.2.1/d.xml"),
        ("server", "Test/1 UPnP/1.0"),
        ("upnp_version", "1.0"),
        ("bridge", "main"),
        ("problems", ["odd"]),
    ]


def test_what_is_not_known_is_left_out():
    assert list(told(described(device("D")))["D"]) == [
        "id",
        "kind",
        "children",
        "udn",
        "device_type",
        "friendly_name",
        "root",
        "location",
        "server",
        "upnp_version",
        "bridge",
    ]


def test_embedded_devices_stand_flat_and_know_parent_and_root():
    inner = device("b/c", service("S", scpd("V:string")), device("bridge"))
    found = told(described(device("A", inner)))
    assert found["A"]["children"] == ["b%2Fc"]
    assert found["b%2Fc"]["children"] == ["b%2Fc/S", "%62ridge"]
    assert found["b%2Fc/S"]["parent"] == "b%2Fc"
    for own, parent in (("b%2Fc", "A"), ("%62ridge", "b%2Fc")):
        document = found[own]
        assert (document["kind"], document["parent"], document["root"]) == (
            "subdevice",
            parent,
            "A",
        )


def test_a_service_that_is_not_evented_has_no_event_url():
    found = told(described(device("D", service("S", scpd(), evented=False))))
    assert "event_url" not in found["D/S"]


@pytest.mark.parametrize(
    ("variable", "more"),
    [
        (StateVariable("V", "string"), {"evented": True}),
        (StateVariable("V", "string", evented=False), {"evented": False}),
        (
            StateVariable("V", "ui2", default="5", minimum="0", maximum="9", step="1"),
            {"evented": True, "default": 5, "minimum": 0, "maximum": 9, "step": 1},
        ),
        (StateVariable("V", "boolean", default="yes"), {"evented": True, "default": True}),
        (
            StateVariable("V", "ui2", default="NOT_IMPLEMENTED"),
            {"evented": True, "default": "NOT_IMPLEMENTED"},
        ),
        (StateVariable("V", "r4", minimum="-0.5"), {"evented": True, "minimum": -0.5}),
        (
            StateVariable("V", "string", allowed_values=("A", "", "B")),
            {"evented": True, "allowed_values": ["A", "", "B"]},
        ),
        (StateVariable("V", "boolean", default="0"), {"evented": True, "default": False}),
    ],
)
def test_a_variable_tells_what_its_scpd_says(variable, more):
    assert of_members(variable)["D/S/variable/V"] == {
        "id": "D/S/variable/V",
        "kind": "variable",
        "parent": "D/S",
        "children": [],
        "name": "V",
        "data_type": variable.data_type,
        **more,
    }


def test_an_argument_names_its_variable_where_there_is_one():
    action = Action(
        "A/1",
        (
            Argument("In", Direction.IN, "V"),
            Argument("Out", Direction.OUT, "Missing"),
            Argument("Ret", Direction.OUT, "V", retval=True),
        ),
    )
    found = of_members(action, StateVariable("V", "string"))
    own = "D/S/action/A%2F1"
    assert found[own]["children"] == [f"{own}/argument/{n}" for n in ("In", "Out", "Ret")]
    assert found[f"{own}/argument/In"]["variable"] == "D/S/variable/V"
    assert "variable" not in found[f"{own}/argument/Out"]
    assert "retval" not in found[f"{own}/argument/Out"]
    assert found[f"{own}/argument/Ret"]["retval"] is True


def test_a_name_that_serves_both_directions_stands_once():
    both = (Argument("X", Direction.IN, "V"), Argument("X", Direction.OUT, "V"))
    found = of_members(Action("A", both), StateVariable("V", "string"))
    assert found["D/S/action/A"]["children"] == ["D/S/action/A/argument/X"]
    assert found["D/S/action/A/argument/X"]["direction"] == "in"


def test_a_coarser_detail_has_the_same_documents_and_fewer():
    description = renderer()
    kinds = []
    full = told(description)
    for detail in ("device", "service", "action", "full"):
        found = told(description, detail)
        assert all(full[own] == document for own, document in found.items())
        kinds.append({document["kind"] for document in found.values()})
    assert kinds == [
        {"device"},
        {"device", "service"},
        {"device", "service", "action", "variable"},
        {"device", "service", "action", "variable", "argument"},
    ]


def test_each_component_stands_before_its_children_and_every_child_is_there():
    seen: list[str] = []
    found = told(renderer())
    for own, document in found.items():
        assert document["id"] == own
        assert document.get("parent") in (None, *seen)
        seen.append(own)
        assert all(child in found for child in document["children"])


def test_the_same_device_gives_the_same_bytes():
    one, two = ([jsontext.encode(d) for d in told(renderer()).values()] for _ in range(2))
    assert one == two
    assert all(json.loads(payload) for payload in one)


def test_services_that_share_an_scpd_tell_it_each_under_its_own_id():
    action = Action("Go", (Argument("To", Direction.IN, "V"),))
    shared = scpd("V:ui2", actions=(action,))
    both = told(described(device("D", service("S", shared), service("T", shared))))
    for name in ("S", "T"):
        alone = told(described(device("D", service(name, replace(shared)))))
        assert len(alone) == 5
        assert {own: both[own] for own in alone if own != "D"} == dict(list(alone.items())[1:])


@pytest.mark.parametrize(
    "odd", [r"\u0000", r'"\u0000/x', r"\\u0000", '"', "\ud800", "\uffff", "\1", "é"]
)
def test_no_text_of_an_scpd_is_taken_for_the_id_of_its_service(odd):
    variable = StateVariable("V", "string", default=odd, allowed_values=(odd, f"{odd}{odd}"))
    document = of_members(variable)["D/S/variable/V"]
    assert document["default"] == odd
    assert document["allowed_values"] == [odd, f"{odd}{odd}"]
    assert document["parent"] == "D/S"


@pytest.mark.parametrize("zero", [b"\0", b"&#0;", b"&#x0;"])
def test_no_scpd_has_the_character_that_stands_for_an_id(zero):
    text = b"<scpd><stateVariable><name>V</name><dataType>string</dataType><defaultValue>a%sb&"
    read = read_scpd(text % zero + b"</defaultValue></stateVariable></scpd>")
    assert "\0" not in str(read.variables["V"].default)
