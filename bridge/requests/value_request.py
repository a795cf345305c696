"""Commands at a value's own topic: `…/value/<Var>[/<InstanceID>[/<Channel>]]/set` and `/get`.

They become calls of the action that sets or tells the variable, and are answered like calls.
"""

from dataclasses import dataclass

from bridge.errors import Code, CommandError
from bridge.model import accessors, datatypes, topics
from bridge.model.accessors import Accessor
from bridge.model.action_call import ActionCall
from bridge.model.device import Device, Key
from bridge.requests import envelope
from bridge.requests.envelope import BadEnvelope, CallRequest, Envelope


@dataclass(frozen=True, slots=True)
class ValueRequest:
    """A value to be set to `text`, or to be told where that is None; names as the topic has them.

    `instance` and `channel` are None where the topic has no such level.
    """

    service: str
    variable: str
    instance: str | None = None
    channel: str | None = None
    text: str | None = None

    @classmethod
    def at(cls, service: str, levels: list[str], text: str | None = None) -> "ValueRequest":
        """Return the request that a topic's service and its one to three value levels mean."""
        name, instance, channel = (*map(topics.decode_level, levels), None, None)[:3]
        return cls(service, str(name), instance, channel, text)


def read_text(payload: bytes, *, max_bytes: int) -> Envelope:
    """Return the payload of a `set` as the `value` of an envelope; it is the text and nothing else.

    Raises BadEnvelope (`bad_request`): too large, or not UTF-8.
    """
    envelope.check_size(payload, max_bytes)
    try:
        return Envelope({"value": payload.decode()})
    except UnicodeDecodeError as error:
        raise BadEnvelope("not UTF-8", Envelope({})) from error


def as_call(request: ValueRequest, device: Device) -> tuple[CallRequest, Accessor]:
    """Return the call that sets or tells a value, and by what it does so.

    Raises CommandError: `unknown_service`; `unknown_variable`; `unknown_action` where no action
    sets or tells it; `invalid_argument` where that one has no InstanceID or channel to choose by.
    """
    service = envelope.find_services(request.service, device)[0]
    if request.variable not in service.scpd.variables:
        name = envelope.shown(request.variable)
        raise CommandError(Code.UNKNOWN_VARIABLE, f"no state variable {name}")
    find, verb = (accessors.getter, "tells") if request.text is None else (accessors.setter, "sets")
    accessor = find(service.scpd, request.variable)
    if accessor is None:
        raise CommandError(Code.UNKNOWN_ACTION, f"no action {verb} {request.variable}")
    try:
        args = accessor.selection(request.instance, request.channel)
    except LookupError as error:
        raise CommandError(Code.INVALID_ARGUMENT, str(error)) from error
    if request.text is not None:
        variable = service.scpd.variables[accessor.argument.variable]
        args[accessor.argument.name] = datatypes.from_text(variable.data_type, request.text)
    return CallRequest(service.level, accessor.action.name, args), accessor


def key_of(variable: str, accessor: Accessor, call: ActionCall) -> Key:
    """Return which value a getter tells: of the InstanceID and channel that it was asked for."""
    sent = dict(call.arguments)
    instance, channel = (sent.get(name or "") for name in (accessor.instance, accessor.channel))
    return Key(variable, *accessor.place(instance, channel))
