"""What the body of an event says (UDA 2.0, section 4.3.2): the evented variables and their texts.

Reading a text by its data type, and splitting LastChange, are the core's work.
"""

from xml.sax.saxutils import escape

from lxml import etree

from bridge.core.xml import Element, XmlError, descendant, local, parse


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
        (local(variable), _text(variable) if len(variable) else variable.text or "")
        for held in root
        if local(held) == "property"
        for variable in held
    ]


def _text(variable: Element) -> str:
    inner = (etree.tostring(child, encoding="unicode") for child in variable)
    return escape(variable.text or "") + "".join(inner)
