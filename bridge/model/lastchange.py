"""`LastChange` taken apart: AVTransport 1.0 section 2.3, RenderingControl 1.0 section 2.3.

All instances, all channels, all variables, listed in the SCPD or not. Typing them is not done here.
What has no value is something that happened: ContentDirectory's `LastChange`, of the same name,
tells of objects (ContentDirectory 3.0, section 2.3.8).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from bridge.formats import xml
from bridge.model import topics
from bridge.model.device import Key

Change = tuple[Key, str]
"""One variable of an event or a `LastChange`, with its text as the device sent it.

Its instance is the InstanceID (or the id of another container: Sonos' Queue service has `QueueID`),
its channel is None where the event names none; of a plain variable both are None.
"""

Happening = Mapping[str, str]
"""What a `LastChange` tells that is no variable: `event`, and its attributes by their names."""

MAX_HAPPENINGS = 100
"""The most of these of one event; the rest is left out."""

_MAX_ESCAPED = 5
"""How often a `LastChange` may be escaped, its first escaping in the event not counted."""

_MAX_ATTRIBUTES = 32
_MAX_TEXT = 4096
_ROOTS = frozenset({"event", "stateevent", "instanceid"})


def read_event(
    properties: Iterable[tuple[str, str]], happened: list[Happening] | None = None
) -> tuple[list[Change], bool]:
    """Return an event by key, each `LastChange` taken apart, and whether all could be read.

    What has a name that no topic level can hold is left out. What is no variable is added to
    `happened`.
    """
    happened = [] if happened is None else happened
    told: list[Change] = []
    readable = True
    for name, text in properties:
        if name != "LastChange":
            told.append((Key(name), text))
            continue
        try:
            told += split(text, happened)
        except xml.XmlError:
            readable = False
    most = topics.MAX_LEVEL
    return [
        (key, text)
        for key, text in told
        if len(key.name) <= most
        and (key.instance is None or len(key.instance) <= most)
        and (key.channel is None or len(key.channel) <= most)
    ], readable


def split(text: str, happened: list[Happening] | None = None) -> list[Change]:
    """Return the changes in a `LastChange`, in document order, however often it is escaped.

    Broken XML gives what can be read of it, also variables that are not closed, which stand within
    one another then. Raises XmlError where that is nothing. What is no variable is added to
    `happened`.
    """
    return _split(text, [] if happened is None else happened, _MAX_ESCAPED)


def _split(text: str, happened: list[Happening], left: int) -> list[Change]:
    try:
        root, _ = xml.parse_text(text)
    except xml.XmlError:
        if not left or (meant := xml.unescaped(text)) == text:
            raise
        return _split(meant, happened, left - 1)
    found: list[Change] = []
    _read(root, found, happened)
    if found or happened:
        return found
    if left and ("&" in (within := xml.text(root)) or "<" in within):
        with suppress(xml.XmlError):
            return _split(within, happened, left - 1)
    if root.attrib and xml.local(root).lower() not in _ROOTS:
        _happen(root, happened)
    return found


def _read(root: xml.Element, found: list[Change], happened: list[Happening]) -> None:
    containers = [root] if xml.local(root) == "InstanceID" else root
    for container in containers:
        name = xml.local(container)
        if not name:
            continue
        if name.endswith("ID") and (len(container) or name == "InstanceID"):
            _read_instance(container, name, found)
        elif container.get("val") is not None:  # a variable outside any instance
            found.append(_change("0", name, container))
            if len(container):
                _read_within(container, "0", "InstanceID", found)
        else:
            _happen(container, happened)


def _read_instance(container: xml.Element, kind: str, found: list[Change]) -> None:
    instance = (container.get("val") or "0").strip()
    for variable in container:
        name = xml.local(variable)
        if name == kind:  # the one before was closed in place of a variable in it
            _read_instance(variable, kind, found)
        elif name:
            found.append(_change(instance, name, variable))
            if len(variable):
                _read_within(variable, instance, kind, found)


def _read_within(variable: xml.Element, instance: str, kind: str, found: list[Change]) -> None:
    """Read what stands within a variable that was not closed: others, and further containers."""
    for other in variable:
        name = xml.local(other)
        if name == kind:
            _read_instance(other, kind, found)
        elif name and other.get("val") is not None:
            found.append(_change(instance, name, other))
            if len(other):
                _read_within(other, instance, kind, found)


def _happen(top: xml.Element, happened: list[Happening]) -> None:
    """Add what an element says, and what stands within it where it was not closed."""
    for element in top.iter():
        name = xml.local(element)
        says = element.attrib or not (len(element) or xml.text(element).strip())
        if name and says and len(happened) < MAX_HAPPENINGS:
            named = {
                _bare(str(key)): str(value)[:_MAX_TEXT]
                for key, value in list(element.attrib.items())[:_MAX_ATTRIBUTES]
            }
            happened.append({"event": name, **{k: v for k, v in named.items() if k != "event"}})


def _bare(name: str) -> str:
    return name.rpartition("}")[2].rpartition(":")[2]


def _change(instance: str, name: str, variable: xml.Element) -> Change:
    attributes = variable.keys()
    if attributes == ["val"]:  # nearly all, and read at half the cost
        return Key(name, instance), variable.get("val") or ""
    # Of names alone: to find one value, lxml looks through all attributes.
    names = {str(one).rpartition("}")[2].lower(): one for one in attributes}
    text = variable.get(names["val"]) if "val" in names else xml.text(variable)
    channel = variable.get(names["channel"]) if "channel" in names else None  # `Channel` at some
    return Key(name, instance, channel or None), text or ""
