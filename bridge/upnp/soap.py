"""Control: actions of devices called with SOAP (UDA 2.0, section 3).

Texts go in and come out as the device has them. Data types are `model.datatypes`' work, and which
action a command means `requests.envelope`'.
"""

import re
from collections.abc import Collection, Sequence
from xml.sax.saxutils import escape, quoteattr

from async_upnp_client.exceptions import UpnpActionErrorCode

from bridge.errors import (
    BadResponse,
    Code,
    CommandError,
    DeviceTimeout,
    DeviceUnreachable,
    Outcome,
)
from bridge.formats.xml import Element, XmlError, child, descendant, inner, local, parse, text
from bridge.model.device import Service
from bridge.upnp.http.client import HttpClient

STANDARD_FAULTS = {
    **{
        int(code): code.name.replace("_", " ").title().replace(" Of ", " of ")
        for code in UpnpActionErrorCode
    },
    404: "Invalid Var",
    606: "Action Not Authorized",
}
"""What the error codes of the architecture mean (UDA 2.0, section 3.2.5)."""

_ENVELOPE = (
    '<?xml version="1.0"?>\r\n'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
    "<u:{action} xmlns:u={service_type}>{arguments}</u:{action}>"
    "</s:Body></s:Envelope>\r\n"
)
_NAME = re.compile(r"[\w.:-]+")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CARRIAGE_RETURN = {"\r": "&#13;"}
_ERROR_CODE = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_MAX_REASON = 500
_OK = range(200, 300)


async def invoke(
    client: HttpClient,
    service: Service,
    action_name: str,
    arguments: Sequence[tuple[str, str]],
    *,
    timeout_s: float,
) -> dict[str, str]:
    """Invoke an action once, and return its out-arguments by name, as the device wrote them.

    Raises CommandError, which says what became of the action.
    """
    body = envelope(service.service_type, action_name, arguments)
    headers = (
        ("CONTENT-TYPE", 'text/xml; charset="utf-8"'),
        ("SOAPACTION", f'"{service.service_type}#{action_name}"'),
    )
    try:
        response = await client.request(
            "POST", service.control_url, headers=headers, body=body, timeout_s=timeout_s
        )
    except DeviceUnreachable as error:
        raise CommandError(Code.UNREACHABLE, str(error)) from error
    except DeviceTimeout as error:
        raise CommandError(Code.TIMEOUT, str(error), outcome=Outcome.UNKNOWN) from error
    except BadResponse as error:
        raise CommandError(Code.BAD_RESPONSE, str(error), outcome=Outcome.UNKNOWN) from error
    if response.is_cut and response.status in _OK:
        reason = "the connection ended in the middle of the answer"
        raise CommandError(Code.BAD_RESPONSE, reason, outcome=Outcome.UNKNOWN)
    action = service.scpd.actions.get(action_name)
    outputs = () if action is None else [argument.name for argument in action.outputs]
    return read_answer(response.status, response.body, action_name, outputs)


def envelope(service_type: str, action: str, arguments: Sequence[tuple[str, str]]) -> bytes:
    """Return the SOAP envelope that invokes an action (UDA 2.0, section 3.2.1).

    Raises CommandError for a name or text that XML cannot carry; `argument` names it.
    """
    for name, value in ((action, service_type), *arguments):
        if not _NAME.fullmatch(name) or _NOT_XML.search(value):
            raise CommandError(
                Code.INVALID_ARGUMENT,
                f"{name!r} has a character that XML cannot carry",
                argument=name,
            )
    return _ENVELOPE.format(
        action=action,
        service_type=quoteattr(service_type),
        arguments="".join(
            f"<{name}>{escape(value, _CARRIAGE_RETURN)}</{name}>" for name, value in arguments
        ),
    ).encode()


def read_answer(
    status: int, body: bytes, action_name: str, outputs: Sequence[str] = ()
) -> dict[str, str]:
    """Return the out-arguments in an answer, by name (UDA 2.0, section 3.2.2).

    Tolerates XML to be mended, foreign and missing namespaces, a response element of another name
    or none where one of `outputs`, the action's own out-arguments, is in it, and these in any case.
    An argument that holds elements, as DIDL-Lite that was not escaped, is returned as XML.
    Raises CommandError for a fault (section 3.2.5), whatever the status, and for what is no SOAP.
    """
    try:
        root, _ = parse(body)
    except XmlError as error:
        raise _no_soap(status) from error
    soap = descendant(root, "Body")
    if soap is None:
        raise _no_soap(status)
    fault = child(soap, "Fault")
    if fault is not None:
        raise _fault(fault)
    if status not in _OK:
        raise _no_soap(status)
    spelled = {name.casefold(): name for name in outputs}
    answer = _response(soap, f"{action_name}Response", spelled.keys())
    out: dict[str, str] = {}
    try:
        for argument in () if answer is None else answer:
            if name := local(argument):
                own = name if name in outputs else spelled.get(name.casefold(), name)
                out.setdefault(own, inner(argument))
    except XmlError as error:
        raise _no_soap(status) from error
    return out


def _response(soap: Element, name: str, outputs: Collection[str]) -> Element | None:
    """Return the element whose children are the out-arguments, these named in lower case.

    None where there is none to be expected. Raises CommandError where there is none though.
    """
    elements = list(soap)
    for one in elements:
        if local(one).casefold() == name.casefold():
            return one
    if not outputs:
        return elements[0] if elements else None
    for one in [*elements, soap]:
        if any(local(each).casefold() in outputs for each in one):
            return one
    deeper = descendant(soap, name)
    if deeper is not None:
        return deeper
    fault = descendant(soap, "Fault")
    if fault is not None:
        raise _fault(fault)
    raise CommandError(
        Code.BAD_RESPONSE, "an answer without any out-argument", outcome=Outcome.UNKNOWN
    )


def _no_soap(status: int) -> CommandError:
    if status in _OK:
        return CommandError(Code.BAD_RESPONSE, "no SOAP answer", outcome=Outcome.UNKNOWN)
    return CommandError(Code.HTTP_ERROR, f"HTTP status {status}", outcome=Outcome.REJECTED)


def _fault(fault: Element) -> CommandError:
    code_text = text(descendant(fault, "errorCode")).strip()
    code = int(code_text) if _ERROR_CODE.fullmatch(code_text) else None
    reason = text(descendant(fault, "errorDescription")).strip()
    if not reason and code is not None:
        reason = STANDARD_FAULTS.get(code, f"UPnP error {code}")
    reason = reason or text(descendant(fault, "faultstring")).strip() or "a fault without words"
    return CommandError(
        Code.UPNP_FAULT, reason[:_MAX_REASON], outcome=Outcome.REJECTED, upnp_code=code
    )
