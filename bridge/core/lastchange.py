"""`LastChange` taken apart: AVTransport 1.0 section 2.3, RenderingControl 1.0 section 2.3.

All instances, all channels, all variables, listed in the SCPD or not. Typing them is not done here.
What has no value is something that happened: ContentDirectory's `LastChange`, of the same name,
tells of objects (ContentDirectory 3.0, section 2.3.8).
"""

from collections.abc import Iterable, Iterator, Mapping

from bridge.core import topics, xml
from bridge.core.state import Key

Change = tuple[Key, str]
"""One variable of an event or a `LastChange`, with its text as the device sent it.

Its instance is the InstanceID (or the id of another container: Sonos' Queue service has `QueueID`),
its channel is None where the event names none; of a plain variable both are None.
"""

Happening = Mapping[str, str]
"""What a `LastChange` tells that is no variable: `event`, and its attributes by their names."""

MAX_HAPPENINGS = 100
"""The most of these of one event; the rest is left out."""

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
    """Return the changes in a `LastChange`, in document order.

    Broken XML gives what can be read of it. Raises XmlError where that is nothing. What is no
    variable is added to `happened`.
    """
    happened = [] if happened is None else happened
    root, _ = xml.parse_text(text)
    found = list(_changes(root, happened))
    if not (found or happened) and root.attrib and xml.local(root).lower() not in _ROOTS:
        _happen(root, happened)
    return found


def _changes(root: xml.Element, happened: list[Happening]) -> Iterator[Change]:
    containers = [root] if xml.local(root) == "InstanceID" else root
    for container in containers:
        name = xml.local(container)
        if not name:
            continue
        if name.endswith("ID") and (len(container) or name == "InstanceID"):
            instance = (container.get("val") or "0").strip()
            for variable in container:
                if name := xml.local(variable):
                    yield _change(instance, name, variable)
        elif container.get("val") is not None:  # a variable outside any instance
            yield _change("0", name, container)
        else:
            _happen(container, happened)


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
