"""What the body of an event says (UDA 2.0, section 4.3.2): the evented variables and their texts.

Reading a text by its data type, and splitting LastChange, are the core's work.
"""

from bridge.formats.xml import Element, XmlError, descendant, inner, local, parse


def read_properties(body: bytes) -> list[tuple[str, str]]:
    """Return name and text of every variable in a propertyset, in order, repeated names kept.

    Any namespace will do, and a property may hold several variables; one that is not closed ends
    where the next begins. XML that stands unescaped within a variable is returned as XML.
    Raises XmlError.
    """
    root, mended = parse(body)
    if local(root) != "propertyset":
        found = descendant(root, "propertyset")
        if found is None:
            raise XmlError("no propertyset")
        root = found
    held = [one for one in root if local(one) == "property"]
    if mended:
        held = _apart(root)
    return [(local(variable), inner(variable)) for one in held for variable in one]


def _apart(root: Element) -> list[Element]:
    """Return all properties, taken out of those before them, which were not closed."""
    held = [one for one in root.iter() if local(one) == "property"]
    for one in held:
        parent = one.getparent()
        if parent is not None and parent is not root:
            parent.remove(one)
    return held
