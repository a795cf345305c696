"""SCPDs as devices write them, right and wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import DescriptionError
from bridge.model.device import Action, Argument, Direction, StateVariable
from bridge.model.topics import MAX_LEVEL
from bridge.upnp.description.scpd import Problems, read_scpd
from tests.fuzz.mutations import near

CAPTURES = Path(__file__).parents[1] / "captures"
SCPDS = sorted(CAPTURES.glob("*/*.scpd.xml"))


def scpd(
    variables: str = "", actions: str = "", namespace: str = "urn:schemas-upnp-org:service-1-0"
):
    return read_scpd(
        f'<scpd xmlns="{namespace}"><specVersion><major>1</major><minor>0</minor></specVersion>'
        f"<actionList>{actions}</actionList>"
        f"<serviceStateTable>{variables}</serviceStateTable></scpd>".encode()
    )


def variable(inner: str = "", name: str = "A", attributes: str = 'sendEvents="no"') -> str:
    return f"<stateVariable {attributes}><name>{name}</name>{inner}</stateVariable>"


def typed(data_type: str, inner: str = "") -> str:
    return variable(f"<dataType>{data_type}</dataType>{inner}")


def action(*arguments: str, name: str = "Do") -> str:
    listed = "".join(f"<argument>{each}</argument>" for each in arguments)
    return f"<action><name>{name}</name><argumentList>{listed}</argumentList></action>"


def argument(name: str = "X", direction: str = "in", related: str = "A", more: str = "") -> str:
    return (
        f"<name>{name}</name><direction>{direction}</direction>{more}"
        f"<relatedStateVariable>{related}</relatedStateVariable>"
    )


@pytest.mark.parametrize("path", SCPDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_component_of_a_recorded_scpd_is_read(path):
    data = path.read_bytes()
    read = read_scpd(data)
    assert len(read.variables) == len(re.findall(rb"<stateVariable[ >]", data))
    assert len(read.actions) == len(re.findall(rb"<action>", data))
    arguments = [a for each in read.actions.values() for a in each.arguments]
    assert len(arguments) == len(re.findall(rb"<argument>", data))
    assert sum(a.retval for a in arguments) == len(re.findall(rb"<retval", data))
    evented = sum(v.evented for v in read.variables.values())
    assert evented == len(re.findall(rb'sendEvents="yes"', data))
    assert [m.name for m in read.members if isinstance(m, StateVariable)] == [
        name.decode() for name in re.findall(rb"<stateVariable[^>]*>\s*<name>([^<]*)", data)
    ]


def test_a_recorded_scpd_has_no_problems():
    assert [problem for path in SCPDS for problem in read_scpd(path.read_bytes()).problems] == []


def test_an_argument_may_go_in_and_come_out_under_one_name():
    """As NewExternalPort does in miniupnpd's AddAnyPortMapping."""
    read = scpd(typed("ui4"), action(argument(), argument(direction="out")))
    assert [a.direction for a in read.actions["Do"].arguments] == [Direction.IN, Direction.OUT]
    assert read.problems == ()


def test_members_stand_in_document_order():
    data = b"<scpd><serviceStateTable>" + variable(name="B").encode() + variable().encode()
    data += b"</serviceStateTable><actionList>" + action(name="Z").encode()
    data += action(name="Y").encode() + b"</actionList></scpd>"
    assert [m.name for m in read_scpd(data).members] == ["B", "A", "Z", "Y"]
    read = scpd(variable(), action())
    assert [type(m) for m in read.members] == [Action, StateVariable]


@pytest.mark.parametrize("namespace", ["", "urn:Belkin:service-1-0"])
def test_a_foreign_namespace_changes_nothing(namespace):
    ours = scpd(typed("ui4"), action(argument()))
    assert scpd(typed("ui4"), action(argument()), namespace) == ours


def test_everything_that_a_variable_can_say_is_kept_as_written():
    read = scpd(
        variable(
            "<dataType>ui2</dataType><defaultValue>7</defaultValue>"
            "<allowedValueRange><minimum> 0 </minimum><maximum>100</maximum><step/>"
            "</allowedValueRange>",
            attributes='sendEvents="yes" multicast="yes"',
        )
    )
    assert read.variables["A"] == StateVariable(
        "A", "ui2", evented=True, multicast=True, default="7", minimum="0", maximum="100", step=None
    )
    assert read.problems == ()


def test_a_padded_data_type_is_stripped():
    read = scpd(typed(" ui4 "))
    assert read.variables["A"].data_type == "ui4"
    assert read.problems == ()


def test_an_unknown_data_type_is_kept_with_a_problem():
    read = scpd(typed("ui3"))
    assert read.variables["A"].data_type == "ui3"
    assert read.problems == ("stateVariable A: unknown dataType ui3, read as string",)


def test_a_missing_data_type_is_string_with_a_problem():
    read = scpd(variable())
    assert read.variables["A"].data_type == "string"
    assert read.problems == ("stateVariable A: no dataType, read as string",)


@pytest.mark.parametrize(
    ("attributes", "inner", "evented"),
    [
        ("", "", True),
        ('sendEvents="yes"', "", True),
        ('sendEvents=" NO "', "", False),
        ('sendEvents="No"', "", False),
        ('sendEvents="1"', "", True),
        ('sendEvents="true"', "", True),
        ('sendEvents="0"', "", False),
        ('sendEvents="false"', "", False),
        ('sendEvents="perhaps"', "", True),
        ("", "<sendEventsAttribute>no</sendEventsAttribute>", False),
        ("", "<sendEventsAttribute>yes</sendEventsAttribute>", True),
    ],
)
def test_a_variable_is_evented_unless_it_says_no(attributes, inner, evented):
    read = scpd(variable("<dataType>ui4</dataType>" + inner, attributes=attributes))
    assert read.variables["A"].evented is evented
    assert len(read.problems) == ("perhaps" in attributes)


def test_allowed_values_keep_their_order_without_duplicates():
    listed = "".join(
        f"<allowedValue>{v}</allowedValue>" for v in ("B", " A ", "B", "", "NETWORK,NONE")
    )
    read = scpd(typed("string", f"<allowedValueList>{listed}</allowedValueList>"))
    assert read.variables["A"].allowed_values == ("B", "A", "", "NETWORK,NONE")


@pytest.mark.parametrize(
    ("data_type", "default", "problems"),
    [
        (
            "ui4",
            "NOT_IMPLEMENTED",
            ("stateVariable A: defaultValue NOT_IMPLEMENTED is not of type ui4",),
        ),
        ("ui4", " -1 ", ()),
        ("ui4", "", ()),
        ("dateTime", "never", ()),
        ("string", "NOT_IMPLEMENTED", ()),
    ],
)
def test_a_default_is_kept_whether_it_fits_or_not(data_type, default, problems):
    read = scpd(typed(data_type, f"<defaultValue>{default}</defaultValue>"))
    assert read.variables["A"].default == default
    assert read.problems == problems


def test_an_argument_of_an_unknown_variable_is_kept_with_a_problem():
    read = scpd(typed("ui4"), action(argument(related="Nowhere"), argument("Y")))
    assert read.actions["Do"].arguments == (
        Argument("X", Direction.IN, "Nowhere"),
        Argument("Y", Direction.IN, "A"),
    )
    assert read.problems == ("Do argument X: no stateVariable 'Nowhere'",)


@pytest.mark.parametrize(
    ("written", "more", "direction", "retval"),
    [
        ("in", "", Direction.IN, False),
        (" OUT ", "", Direction.OUT, False),
        ("out", "<retval/>", Direction.OUT, True),
        ("in", "<retval/>", Direction.IN, False),
        ("", "", Direction.IN, False),
        ("inout", "", Direction.IN, False),
        ("", "<retval/>", Direction.OUT, True),
    ],
)
def test_a_direction_is_read_whatever_is_written(written, more, direction, retval):
    read = scpd(typed("ui4"), action(argument(direction=written, more=more)))
    assert read.actions["Do"].arguments == (Argument("X", direction, "A", retval=retval),)
    fine = written and written != "inout" and (written, more) != ("in", "<retval/>")
    assert len(read.problems) == (not fine)


def test_of_equal_names_the_first_wins():
    read = scpd(
        typed("ui4") + typed("string"),
        action(argument(), argument()) + action(),
    )
    assert read.variables["A"].data_type == "ui4"
    assert read.actions["Do"].inputs == read.actions["Do"].arguments
    assert len(read.members) == 2
    assert read.problems == (
        "stateVariable A: occurs again, the first counts",
        "Do argument X: occurs again, the first counts",
        "action Do: occurs again, the first counts",
    )


@pytest.mark.parametrize("name", ["", " ", "a" * (MAX_LEVEL + 1), "ä" * (MAX_LEVEL // 6 + 1)])
def test_what_cannot_have_a_topic_is_left_out_alone(name):
    read = scpd(
        variable(name=name) + typed("ui4"),
        action(name=name) + action(argument(name), argument("Y")),
    )
    assert [m.name for m in read.members] == ["Do", "A"]
    assert [a.name for a in read.actions["Do"].arguments] == ["Y"]
    assert len(read.problems) == 3


def test_there_are_bounds_to_everything():
    listed = "".join(f"<allowedValue>{n}</allowedValue>" for n in range(1001))
    read = scpd(
        typed("string", f"<allowedValueList>{listed}</allowedValueList>")
        + "".join(variable("<dataType>ui4</dataType>", name=f"V{n}") for n in range(1000)),
        action(*(argument(f"X{n}") for n in range(101)))
        + "".join(action(name=f"Do{n}") for n in range(1000)),
    )
    assert len(read.variables["A"].allowed_values) == 1000
    assert len(read.variables) == 1000
    assert len(read.actions) == 1000
    assert len(read.actions["Do"].arguments) == 100
    assert read.problems == (
        "stateVariable A: over 1000 allowed values, rest left out",
        "more than 1000 of stateVariable: the rest left out",
        "more than 100 of Do argument: the rest left out",
        "more than 1000 of action: the rest left out",
    )


def test_broken_xml_is_mended_with_a_problem():
    read = read_scpd(
        b"\n<scpd><serviceStateTable><x:stateVariable><name>A</name><dataType>ui4</dataType>"
        b"<defaultValue>1 & 2</defaultValue></x:stateVariable></serviceStateTable></scpd>junk\0\0"
    )
    assert read.variables["A"].default == "1 & 2"
    assert read.problems[0] == "was not well-formed XML"


@pytest.mark.parametrize(
    "data",
    [b"", b"Not found", b"<html><body>404</body></html>", b"<!DOCTYPE scpd><scpd/>"],
)
def test_what_is_no_scpd_is_an_error(data):
    with pytest.raises(DescriptionError):
        read_scpd(data)


def test_an_scpd_may_be_empty():
    assert read_scpd(b"<scpd/>").members == ()


def test_problems_are_short_and_few():
    problems = Problems()
    problems.add("a\nb" + "c" * 1000)
    assert problems.lines() == ("a b" + "c" * 197,)
    for n in range(100):
        problems.add(f"{n}")
        problems.add(f"{n}")
    lines = problems.lines()
    assert lines[1:49] == tuple(f"{n}" for n in range(48))
    assert lines[49:] == ("further problems are not listed",)
    assert Problems(lines).lines() == lines
    again = Problems(lines)
    again.add("one more")
    assert again.lines() == lines


def read_or_refuse(data: bytes) -> None:
    try:
        read = read_scpd(data)
    except DescriptionError:
        return
    assert read == read_scpd(data)
    assert len(read.problems) <= 50
    assert all(len(line) <= 200 and "\n" not in line for line in read.problems)


@given(st.binary())
def test_no_bytes_raise_anything_else(data):
    read_or_refuse(data)


@given(near([path.read_bytes() for path in SCPDS]))
def test_no_broken_scpd_raises_anything_else(data):
    read_or_refuse(data)


def test_what_is_no_text_in_an_scpd_costs_itself_alone():
    listed = "<allowedValue>&#55357;&#56832;</allowedValue><allowedValue>A&#xD83D;</allowedValue>"
    found = scpd(
        typed("string", f"<allowedValueList>{listed}</allowedValueList>")
        + variable("<defaultValue>&#xDE00;x&eacute;</defaultValue>", name="B&#xDE00;"),
        action(argument("X&#0;"), name="D&#x1F;o"),
    )
    assert found.variables["A"].allowed_values == ("😀", "A")
    assert found.variables["B"].default == "xé"
    assert [one.name for one in found.actions["Do"].arguments] == ["X"]
