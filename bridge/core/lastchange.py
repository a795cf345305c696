"""`LastChange` taken apart: AVTransport 1.0 section 2.3, RenderingControl 1.0 section 2.3.

All instances, all channels, all variables, listed in the SCPD or not. Typing them is not done here.
ContentDirectory's `LastChange`, of the same name, tells of objects and holds no such changes.
"""

from collections.abc import Iterable, Iterator

from bridge.core import topics, xml
from bridge.core.state import Key

Change = tuple[Key, str]
"""One variable of an event or a `LastChange`, with its text as the device sent it.

Its instance is the InstanceID (or the id of another container: Sonos' Queue service has `QueueID`),
its channel is None where the event names none; of a plain variable both are None.
"""


def read_event(properties: Iterable[tuple[str, str]]) -> tuple[list[Change], bool]:
    """Return an event by key, each `LastChange` taken apart, and whether all could be read.

    What has a name that no topic level can hold is left out.
    """
    told: list[Change] = []
    readable = True
    for name, text in properties:
        if name != "LastChange":
            told.append((Key(name), text))
            continue
        try:
            told += split(text)
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
