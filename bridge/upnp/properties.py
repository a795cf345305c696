"""What the body of an event says (UDA 2.0, section 4.3.2): the evented variables and their texts.

Reading a text by its data type, and splitting LastChange, are the core's work.
"""

from bridge.core.xml import XmlError, descendant, inner, local, parse


def read_properties(body: bytes) -> list[tuple[str, str]]:
    """Return name and text of every variable in a propertyset, in order, repeated names kept.

    Any namespace will do, and a property may hold several variables. XML that stands unescaped
    within a variable is returned as XML. Raises XmlError.
    """
    root, _ = parse(body)
    if local(root) != "propertyset":
        found = descendant(root, "propertyset")
        if found is None:
            raise XmlError("no propertyset")
        root = found
    return [
        (local(variable), inner(variable))
        for held in root
        if local(held) == "property"
        for variable in held
    ]
