"""Command payload → call or refusal; result → answer.

Pure: what comes in is bytes and a device of the model, what goes out is data. Which topic is a
command's, and the sending of anything, is not decided here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bridge.errors import Code, CommandError
from bridge.formats import jsontext
from bridge.model import datatypes, topics
from bridge.model.accessors import only_reads
from bridge.model.action_call import ActionCall
from bridge.model.datatypes import Value
from bridge.model.device import Action, Device, Service

MAX_TIMEOUT_S = 300.0
"""The longest that a command may have the bridge wait for a device."""

_DEFAULTS: Mapping[str, Value] = {"InstanceID": 0, "Channel": "Master"}
_ENVELOPE_FIELDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("callid", (str, int, float), "a string or a number"),
    ("reply_to", (str,), "a string"),
)
_MAX_NAME = 256
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A command's JSON object; `callid` and `reply_to` are None where none was given."""

    body: Mapping[str, object]
    callid: str | int | float | None = None
    reply_to: str | None = None


class BadEnvelope(CommandError):
    """A message that is no command; `envelope` has what an answer needs and could be read."""

    def __init__(self, reason: str, envelope: Envelope, code: Code = Code.BAD_REQUEST) -> None:
        super().__init__(code, reason)
        self.envelope = envelope


class Read(Protocol):
    """Reads a command's payload; raises BadEnvelope."""

    def __call__(self, payload: bytes, *, max_bytes: int) -> Envelope:
        """Return what an answer needs, and the rest to be read as a request."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call as asked for; `service` and `timeout_s` are None where left out."""

    service: str | None
    action: str
    args: Mapping[str, object]
    timeout_s: float | None = None
    check: bool = True


def read_command(
    payload: bytes, *, is_retained: bool, max_bytes: int, read: Read | None = None
) -> Envelope:
    """Return a command's payload as `read` gives it, by default `read_envelope`.

    Raises BadEnvelope likewise, and `retained_command` whatever it is where the message came with
    the retain flag.
    """
    read = read or read_envelope
    if not is_retained:
        return read(payload, max_bytes=max_bytes)
    try:
        envelope = read(payload, max_bytes=max_bytes)
    except BadEnvelope as error:
        envelope = error.envelope
    raise BadEnvelope("a retained command is not carried out", envelope, Code.RETAINED_COMMAND)


def read_envelope(payload: bytes, *, max_bytes: int) -> Envelope:
    """Return a command's payload as an object; one without any text is an empty object.

    Raises BadEnvelope (`bad_request`): too large, not UTF-8, not JSON (RFC 8259, finite numbers
    only), not an object, or a `callid` or `reply_to` of the wrong type.
    """
    body = _object(payload, max_bytes)
    fields: dict[str, Any] = {}
    problem = None
    for name, kinds, noun in _ENVELOPE_FIELDS:
        try:
            fields[name] = _field(body, name, kinds, noun)
        except CommandError as error:
            problem = error
    envelope = Envelope(body, **fields)
    if problem:
        raise BadEnvelope(problem.reason, envelope) from problem
    return envelope


def check_size(payload: bytes, max_bytes: int) -> None:
    """Raise BadEnvelope (`bad_request`) for a payload that is too large."""
    if len(payload) > max_bytes:
        raise BadEnvelope(f"{len(payload)} bytes, more than {max_bytes}", Envelope({}))


def _object(payload: bytes, max_bytes: int) -> Mapping[str, object]:
    check_size(payload, max_bytes)
    if not payload.strip():
        return {}
    try:
        body = jsontext.DECODER.decode(payload.decode())
    except UnicodeDecodeError as error:
        raise BadEnvelope("not UTF-8", Envelope({})) from error
    except ValueError as error:
        raise BadEnvelope(f"not JSON: {error}", Envelope({})) from error
    except RecursionError as error:
        raise BadEnvelope("nested too deeply", Envelope({})) from error
    if not isinstance(body, dict):
        raise BadEnvelope("not a JSON object", Envelope({}))
    return body


def _field(
    body: Mapping[str, object], name: str, kinds: tuple[type[_Kind], ...], noun: str
) -> _Kind | None:
    if name not in body:
        return None
    value = body[name]
    for kind in kinds:
        if isinstance(value, kind) and type(value) is kind:  # a boolean is no number here
            return value
    raise CommandError(Code.BAD_REQUEST, f"{name} must be {noun}")


def read_call(envelope: Envelope) -> CallRequest:
    """Return the call that the payload of `upnp/<udn>/call` asks for; fields unknown are ignored.

    `timeout` is in seconds, more than 0, and counts for at most `MAX_TIMEOUT_S`.
    Raises CommandError (`bad_request`) naming the field that is missing or of the wrong type.
    """
    body = envelope.body
    action = _field(body, "action", (str,), "a string")
    if not action:
        raise CommandError(Code.BAD_REQUEST, "action is missing")
    timeout_s: float | None = _field(body, "timeout", (int, float), "a number of seconds")
    if timeout_s is not None:
        if not 0 < timeout_s < math.inf:
            raise CommandError(Code.BAD_REQUEST, "timeout must be more than 0 seconds")
        timeout_s = float(min(timeout_s, MAX_TIMEOUT_S))
    return CallRequest(
        _field(body, "service", (str,), "a string"),
        action,
        _field(body, "args", (dict,), "an object") or {},
        timeout_s,
        check=_field(body, "check", (bool,), "true or false") is not False,
    )


def arguments_only(envelope: Envelope, service_level: str, action_level: str) -> CallRequest:
    """Return the call whose payload is the arguments alone, its topic naming the rest.

    Both names are as the topic has them. `callid` and `reply_to` are the envelope's here too: an
    action with an argument of such a name is called by the other topic.
    """
    args = {k: v for k, v in envelope.body.items() if k not in ("callid", "reply_to")}
    return CallRequest(service_level, topics.decode_level(action_level), args)


def resolve(
    request: CallRequest, device: Device, *, default_timeout_s: float, read_only: bool
) -> ActionCall:
    """Return the call that a request means on this device, every in-argument checked.

    Devices embedded in it are not searched. Raises CommandError: `unknown_service`,
    `unknown_action`, `ambiguous_action`, `denied` (only with `read_only`), `invalid_argument`.
    """
    service = _service(request, device)
    action = service.scpd.actions[request.action]
    if read_only and not only_reads(action.name):
        raise CommandError(Code.DENIED, f"{shown(action.name)} may change something: read-only")
    return ActionCall(
        service,
        action,
        _arguments(request, service, action),
        default_timeout_s if request.timeout_s is None else request.timeout_s,
    )


def find_services(name: str | None, device: Device) -> list[Service]:
    """Return the services that a name means: topic level, serviceId or serviceType; None is all.

    Raises CommandError (`unknown_service`).
    """
    named = _named(name, device.services)
    if not named and name is not None:
        raise CommandError(Code.UNKNOWN_SERVICE, f"no service {shown(name)}")
    return named


def _service(request: CallRequest, device: Device) -> Service:
    named = find_services(request.service, device)
    able = [service for service in named if request.action in service.scpd.actions]
    if not able:
        raise CommandError(Code.UNKNOWN_ACTION, f"no action {shown(request.action)}")
    if len(able) > 1:
        levels = ", ".join(shown(service.level) for service in able[:10])
        raise CommandError(Code.AMBIGUOUS_ACTION, f"several services have it: {levels}")
    return able[0]


def _named(name: str | None, services: tuple[Service, ...]) -> list[Service]:
    if name is None:
        return list(services)
    for spelling in (
        lambda service: service.level,
        lambda service: topics.decode_level(service.level),
        lambda service: service.service_id,
        lambda service: service.service_type,
    ):
        if found := [service for service in services if spelling(service) == name]:
            return found
    return []


def _arguments(
    request: CallRequest, service: Service, action: Action
) -> tuple[tuple[str, str], ...]:
    inputs = action.inputs
    names = [argument.name for argument in inputs]
    for name in request.args:
        if name not in names:
            raise _invalid(name, f"no argument {shown(name)}")
    given = {**_DEFAULTS, **request.args}
    texts = []
    for argument in inputs:
        if argument.name not in given:
            raise _invalid(argument.name, f"argument {shown(argument.name)} is missing")
        variable = service.scpd.variables.get(argument.variable)
        try:
            text = datatypes.soap(variable, given[argument.name], check=request.check)
        except ValueError as error:
            raise _invalid(argument.name, f"{shown(argument.name)}: {error}") from error
        texts.append((argument.name, text))
    return tuple(texts)


def _invalid(name: str, reason: str) -> CommandError:
    return CommandError(Code.INVALID_ARGUMENT, reason, argument=shown(name))


def typed_outputs(
    action: Action, service: Service, texts: Mapping[str, str]
) -> tuple[dict[str, Value], Value | None]:
    """Return an answer's `out` and `retval` from the texts that the device sent.

    `out` has every out-argument by its name, typed, in the order of the SCPD, the return value
    among them, then as strings what the SCPD does not list. `retval` is the return value once
    more, so that no caller needs to know how a device's SCPD marks it; None where there is none.
    """
    out: dict[str, Value] = {}
    retval: Value | None = None
    for argument in action.outputs:
        if argument.name not in texts:
            continue
        variable = service.scpd.variables.get(argument.variable)
        text = texts[argument.name]
        out[argument.name] = datatypes.read(variable.data_type, text) if variable else text
        if argument.retval:
            retval = out[argument.name]
    return out | {name: text for name, text in texts.items() if name not in out}, retval


def success(  # noqa: PLR0913 - all that an answer holds, most by name
    envelope: Envelope | None,
    call: ActionCall,
    out: dict[str, Value],
    retval: Value | None,
    *,
    variable: str | None = None,
    value: Value | None = None,
    elapsed_ms: int,
) -> dict[str, object]:
    """Return the answer to a call that the device carried out.

    `variable` is what was set or asked for by its own topic, `value` what it was told to be.
    """
    return _answer(
        envelope,
        success=True,
        service=call.service.level,
        action=call.action.name,
        variable=variable,
        value=value,
        out=out,
        retval=retval,
        elapsed_ms=elapsed_ms,
    )


def failure(  # noqa: PLR0913 - all that an answer holds, most by name
    envelope: Envelope | None,
    error: CommandError,
    *,
    service: str | None = None,
    action: str | None = None,
    variable: str | None = None,
    elapsed_ms: int = 0,
) -> dict[str, object]:
    """Return the answer to a command that failed; names are left out where they are not known."""
    return _answer(
        envelope,
        success=False,
        error=error.reason,
        code=error.code,
        upnp_code=error.upnp_code,
        outcome=error.outcome,
        argument=error.argument,
        service=None if service is None else shown(service),
        action=None if action is None else shown(action),
        variable=None if variable is None else shown(variable),
        elapsed_ms=elapsed_ms,
    )


def verb_success(envelope: Envelope | None, data: object) -> dict[str, object]:
    """Return the answer to a bridge's verb that was carried out; `data` may be None."""
    return _answer(envelope, success=True) | {"data": data}


def verb_failure(envelope: Envelope | None, error: CommandError) -> dict[str, object]:
    """Return the answer to a bridge's verb that failed."""
    return _answer(envelope, success=False, error=error.reason, code=error.code)


def _answer(envelope: Envelope | None, **fields: object) -> dict[str, object]:
    callid = None if envelope is None else envelope.callid
    return {k: v for k, v in {"callid": callid, **fields}.items() if v is not None}


def shown(name: str) -> str:
    """Return a name that a publisher made up, which may be as long as the payload, cut short."""
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
