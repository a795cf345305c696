"""Components as documents: what the broker holds about each, keys in a fixed order.

The same device gives the same bytes at every start: no times, no counters.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias, assert_never

from bridge.formats import jsontext
from bridge.model import datatypes, topics
from bridge.model.device import (
    Action,
    Argument,
    Description,
    Device,
    Scpd,
    Service,
    StateVariable,
    once_for_each,
)

Document: TypeAlias = dict[str, object]
Detail: TypeAlias = Literal["device", "service", "action", "full"]


_SERVICE = "\0"
"""The id of a service in what all services with one SCPD share; no XML can hold it."""
_GAP = jsontext.encode(_SERVICE).removesuffix(b'"')
"""How an id begins there in JSON, and nothing else does."""


def components(
    description: Description, *, bridge: str, detail: Detail
) -> Iterator[tuple[str, bytes]]:
    """Yield the id and document, as JSON, of each component, each before its children.

    `detail` is the deepest level told of: `action` leaves out arguments and `full` nothing.
    State variables come with the actions.
    """
    yield from _device(description, description.device, None, bridge, detail)


def _device(
    description: Description, device: Device, parent: str | None, bridge: str, detail: Detail
) -> Iterator[tuple[str, bytes]]:
    own = topics.device_id(device.udn)
    yield own, device_document(description, device, parent, bridge=bridge)
    for child in device.children:
        if isinstance(child, Device):
            yield from _device(description, child, own, bridge, detail)
        else:
            yield from service_documents(child, own, detail=detail)


def device_document(
    description: Description, device: Device, parent: str | None, *, bridge: str
) -> bytes:
    """Return the document of one device of a description; `parent` is the id of that above it."""
    own = topics.device_id(device.udn)
    children = [
        topics.service_id(own, child.level)
        if isinstance(child, Service)
        else topics.device_id(child.udn)
        for child in device.children
    ]
    document = _present(
        id=own,
        kind="device" if parent is None else "subdevice",
        parent=parent,
        children=children,
        udn=f"uuid:{device.udn}",
        device_type=device.device_type,
        friendly_name=device.friendly_name,
        manufacturer=device.manufacturer,
        manufacturer_url=device.manufacturer_url,
        model_name=device.model_name,
        model_number=device.model_number,
        model_description=device.model_description,
        model_url=device.model_url,
        serial_number=device.serial_number,
        upc=device.upc,
        presentation_url=device.presentation_url,
        icons=[
            _present(
                url=icon.url,
                mimetype=icon.mimetype,
                width=icon.width,
                height=icon.height,
                depth=icon.depth,
            )
            for icon in device.icons
        ]
        or None,
        root=topics.device_id(description.udn),
        location=description.location,
        server=description.server,
        upnp_version=description.upnp_version,
        bridge=bridge,
        problems=list(device.problems) or None,
    )
    return jsontext.encode(document)


def service_documents(
    service: Service, device: str, *, detail: Detail
) -> Iterator[tuple[str, bytes]]:
    """Yield what `components` does of one service of the device with this id."""
    if detail == "device":
        return
    own = topics.service_id(device, service.level)
    document = _present(
        id=own,
        kind="service",
        parent=device,
        children=_member_ids(service.scpd, own),
        service_id=service.service_id,
        service_type=service.service_type,
        scpd_url=service.scpd_url,
        control_url=service.control_url,
        event_url=service.event_url,
    )
    yield own, jsontext.encode(document)
    if detail != "service":
        start = b'"%s' % own.encode()
        for below, parts in _below(service.scpd, detail):
            yield own + below, start.join(parts)


@once_for_each
def _below(scpd: Scpd, detail: Detail) -> tuple[tuple[str, tuple[bytes, ...]], ...]:
    """Return of all below a service the end of its id, and its document cut where ids begin."""
    return tuple(
        (own.removeprefix(_SERVICE), tuple(jsontext.encode(document).split(_GAP)))
        for own, document in _members(scpd, _SERVICE, detail)
    )


def _member_ids(scpd: Scpd, service: str) -> list[str]:
    return [
        topics.action_id(service, member.name)
        if isinstance(member, Action)
        else topics.variable_id(service, member.name)
        for member in scpd.members
    ]


def _members(scpd: Scpd, service: str, detail: Detail) -> Iterator[tuple[str, Document]]:
    for own, member in zip(_member_ids(scpd, service), scpd.members, strict=True):
        match member:
            case Action():
                yield from _action(member, own, service, scpd.variables, detail)
            case StateVariable():
                yield own, _variable(member, own, service)
            case _:
                assert_never(member)


def _variable(variable: StateVariable, own: str, service: str) -> Document:
    def read(text: str | None) -> datatypes.Value | None:
        return None if text is None else datatypes.read(variable.data_type, text)

    return _present(
        id=own,
        kind="variable",
        parent=service,
        children=[],
        name=variable.name,
        data_type=variable.data_type,
        evented=variable.evented,
        default=read(variable.default),
        allowed_values=list(variable.allowed_values) or None,
        minimum=read(variable.minimum),
        maximum=read(variable.maximum),
        step=read(variable.step),
    )


def _action(
    action: Action,
    own: str,
    service: str,
    variables: Mapping[str, StateVariable],
    detail: Detail,
) -> Iterator[tuple[str, Document]]:
    children: dict[str, Argument] = {}
    for argument in action.arguments:  # one name may serve both directions; the first is told of
        children.setdefault(topics.argument_id(own, argument.name), argument)
    yield (
        own,
        _present(id=own, kind="action", parent=service, children=list(children), name=action.name),
    )
    if detail == "action":
        return
    for child, argument in children.items():
        yield (
            child,
            _present(
                id=child,
                kind="argument",
                parent=own,
                children=[],
                name=argument.name,
                direction=argument.direction.value,
                variable=topics.variable_id(service, argument.variable)
                if argument.variable in variables
                else None,
                retval=argument.retval or None,
            ),
        )


def _present(**fields: object) -> Document:
    return {name: value for name, value in fields.items() if value is not None and value != ""}
