"""`LastChange` taken apart: AVTransport 1.0 section 2.3, RenderingControl 1.0 section 2.3.

All instances, all channels, all variables, listed in the SCPD or not. Typing them is not done here.
ContentDirectory's `LastChange`, of the same name, tells of objects and holds no such changes.
"""

from collections.abc import Iterator

from bridge.core import xml
from bridge.core.state import Key

Change = tuple[Key, str]
"""One variable of a `LastChange`, with its text as the device sent it.

Its instance is the InstanceID (or the id of another container: Sonos' Queue service has `QueueID`),
its channel is None where the event names none.
"""


def split(text: str) -> list[Change]:
    """Return the changes in a `LastChange`, in document order.

    Broken XML gives what can be read of it. Raises XmlError where that is nothing.
    """
    root, _ = xml.parse_text(text)
    return list(_changes(root))


def _changes(root: xml.Element) -> Iterator[Change]:
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


def _change(instance: str, name: str, variable: xml.Element) -> Change:
    attributes = variable.keys()
    if attributes == ["val"]:  # nearly all, and read at half the cost
        return Key(name, instance), variable.get("val") or ""
    # Of names alone: to find one value, lxml looks through all attributes.
    names = {str(one).rpartition("}")[2].lower(): one for one in attributes}
    text = variable.get(names["val"]) if "val" in names else xml.text(variable)
    channel = variable.get(names["channel"]) if "channel" in names else None  # `Channel` at some
    return Key(name, instance, channel or None), text or ""
