"""Service control protocol descriptions as devices write them, read into `model.device.Scpd`.

Whatever is wrong costs only itself and leaves a line among the problems. Nothing here fetches,
and nothing here reads a value by its data type.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from sys import intern

from async_upnp_client.const import STATE_VARIABLE_TYPE_MAPPING

from bridge.errors import DescriptionError
from bridge.formats.xml import Element, XmlError, child, child_text, children, local, parse, text
from bridge.model.device import Action, Argument, Device, Direction, Scpd, Service, StateVariable
from bridge.model.topics import MAX_LEVEL, encode_level

MAX_VARIABLES = 1000
MAX_ACTIONS = 1000
MAX_ARGUMENTS = 100
MAX_ALLOWED_VALUES = 1000

NO_SCPD = Scpd.of(())
"""What a service has while its SCPD is not read, or where none is to be had."""

_DATA_TYPES = STATE_VARIABLE_TYPE_MAPPING.keys()
_INTEGERS = {name for name, how in STATE_VARIABLE_TYPE_MAPPING.items() if how["type"] is int}
_YES = frozenset({"yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


def one_line(line: str) -> str:
    """Return a text with a space for each control character."""
    return _CONTROL.sub(" ", line)


class Problems:
    """What was wrong in a description and how it was read: short lines, no two alike."""

    MAX_LINES = 50
    MAX_CHARACTERS = 200
    _MORE = "further problems are not listed"

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines = list(lines)

    def add(self, line: str) -> None:
        """Add a line, cut at 200 characters."""
        line = one_line(line[: self.MAX_CHARACTERS])
        if len(self._lines) <= self.MAX_LINES and line not in self._lines:
            self._lines.append(line)

    def lines(self) -> tuple[str, ...]:
        """Return the lines in order; the fiftieth says so where there were more."""
        if len(self._lines) > self.MAX_LINES:
            return (*self._lines[: self.MAX_LINES - 1], self._MORE)
        return tuple(self._lines)


def read_scpd(data: bytes) -> Scpd:
    """Read an SCPD in any namespace (UDA 2.0, section 2.5).

    Raises DescriptionError where there is no SCPD in it.
    """
    try:
        root, mended = parse(data)
    except XmlError as error:
        raise DescriptionError(str(error)) from error
    kinds = {element: local(element) for element in root.iter()}
    if not {"scpd", "actionList", "serviceStateTable"} & set(kinds.values()):
        raise DescriptionError("no scpd element")
    problems = Problems()
    if mended:
        problems.add("was not well-formed XML")

    def all_named(kind: str, most: int) -> Iterator[tuple[str, Element]]:
        return _named((e for e, found in kinds.items() if found == kind), kind, most, problems)

    read: dict[Element, Action | StateVariable] = {}
    names = set()
    for name, element in all_named("stateVariable", MAX_VARIABLES):
        names.add(name)
        read[element] = _variable(name, element, problems)
    for name, element in all_named("action", MAX_ACTIONS):
        read[element] = _action(name, element, names, problems)
    scpd = Scpd.of(tuple(read[element] for element in kinds if element in read))
    return replace(scpd, problems=problems.lines())


def with_scpds(device: Device, scpds: Mapping[str, Scpd | str]) -> Device:
    """Return the device with each service's SCPD, found by its URL.

    In place of an SCPD there may be the reason why there is none: the service stays empty. That,
    and what was wrong in an SCPD, joins the problems of the device, behind the service's level.
    """
    problems = Problems(device.problems)
    whole: list[Service | Device] = []
    for part in device.children:
        match part:
            case Device():
                whole.append(with_scpds(part, scpds))
            case Service():
                scpd = scpds.get(part.scpd_url, NO_SCPD)
                if isinstance(scpd, str):
                    problems.add(f"{part.level}: {scpd}")
                    scpd = NO_SCPD
                for problem in scpd.problems:
                    problems.add(f"{part.level}: {problem}")
                whole.append(replace(part, scpd=scpd))
    return replace(device, children=tuple(whole), problems=problems.lines())


def _named(
    elements: Iterable[Element], kind: str, most: int, problems: Problems, *, by: str = ""
) -> Iterator[tuple[str, Element]]:
    """Yield the name and the element of each that is not there yet.

    `by` names a child element whose text, beside the name, tells two of them apart.
    """
    names: set[tuple[str, str]] = set()
    for element in elements:
        name = intern(str(child_text(element, "name")))
        key = name, child_text(element, by) if by else ""
        if not name:
            problems.add(f"{kind} without a name: left out")
        elif len(encode_level(name)) > MAX_LEVEL:
            problems.add(f"{kind} {name[:50]}…: the name is too long, left out")
        elif key in names:
            problems.add(f"{kind} {name}: occurs again, the first counts")
        elif len(names) == most:
            problems.add(f"more than {most} of {kind}: the rest left out")
            return
        else:
            names.add(key)
            yield name, element


def _variable(name: str, element: Element, problems: Problems) -> StateVariable:
    data_type = child_text(element, "dataType")
    if not data_type:
        problems.add(f"stateVariable {name}: no dataType, read as string")
    elif data_type not in _DATA_TYPES:
        problems.add(f"stateVariable {name}: unknown dataType {data_type}, read as string")
    default = child(element, "defaultValue")
    default_text = None if default is None else text(default)
    if data_type in _INTEGERS and default_text and not _INTEGER.fullmatch(default_text):
        problems.add(
            f"stateVariable {name}: defaultValue {default_text} is not of type {data_type}"
        )
    bounds = child(element, "allowedValueRange")

    def bound(which: str) -> str | None:
        return None if bounds is None else child_text(bounds, which) or None

    def flag(which: str, written: str | None, *, otherwise: bool) -> bool:
        value = (written or "").strip().lower()
        if value and value not in _YES | _NO:
            problems.add(f"stateVariable {name}: {which} is {value}, neither yes nor no")
        return value in _YES or (otherwise and value not in _NO)

    send_events = element.get("sendEvents") or child_text(element, "sendEventsAttribute")
    return StateVariable(
        name=name,
        data_type=intern(str(data_type)) or "string",
        evented=flag("sendEvents", send_events, otherwise=True),
        multicast=flag("multicast", element.get("multicast"), otherwise=False),
        default=default_text,
        allowed_values=_allowed_values(name, element, problems),
        minimum=bound("minimum"),
        maximum=bound("maximum"),
        step=bound("step"),
    )


def _allowed_values(name: str, element: Element, problems: Problems) -> tuple[str, ...]:
    listed = (
        text(value).strip()
        for value_list in children(element, "allowedValueList")
        for value in children(value_list, "allowedValue")
    )
    values = tuple(dict.fromkeys(islice(listed, MAX_ALLOWED_VALUES)))
    if next(listed, None) is not None:
        problems.add(
            f"stateVariable {name}: over {MAX_ALLOWED_VALUES} allowed values, rest left out"
        )
    return values


def _action(name: str, element: Element, variables: set[str], problems: Problems) -> Action:
    found = (
        argument
        for argument_list in children(element, "argumentList")
        for argument in children(argument_list, "argument")
    )
    # A line among the problems says of which action an argument is.
    # miniupnpd's AddAnyPortMapping takes and returns a NewExternalPort.
    named = _named(found, f"{name} argument", MAX_ARGUMENTS, problems, by="direction")
    return Action(
        name,
        tuple(_argument(name, argument, e, variables, problems) for argument, e in named),
    )


def _argument(
    action: str, name: str, element: Element, variables: set[str], problems: Problems
) -> Argument:
    written = child_text(element, "direction")
    retval = child(element, "retval") is not None
    match written.lower():
        case "in":
            direction = Direction.IN
        case "out":
            direction = Direction.OUT
        case _:
            direction = Direction.OUT if retval else Direction.IN
            problems.add(f"{action} argument {name}: direction is '{written}', read as {direction}")
    if retval and direction is Direction.IN:
        problems.add(f"{action} argument {name}: retval on an in-argument, ignored")
    variable = child_text(element, "relatedStateVariable")
    if variable not in variables:
        problems.add(f"{action} argument {name}: no stateVariable '{variable}'")
    return Argument(
        name,
        direction,
        intern(str(variable)),
        retval=retval and direction is Direction.OUT,
    )
