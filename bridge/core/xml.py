"""XML as devices really write it, read without ever trusting it.

Strictly first, then mended, then recovered. No DTD, no entities but the five, no network.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from lxml import etree

MAX_TAGS = 100_000
"""The most `<` in a document: its elements cost many times the bytes that they are written in."""
MAX_MENDED = 10_000
"""The most bare ampersands that are mended in one."""

Element = etree._Element  # noqa: SLF001 - lxml has no public name for the type of its elements

_SAFE = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_STRICT = etree.XMLParser(**_SAFE)  # type: ignore[arg-type]
_LENIENT = etree.XMLParser(recover=True, **_SAFE)  # type: ignore[arg-type]
_BARE_AMPERSAND = re.compile(rb"&(?!#\d+;|#x[0-9a-fA-F]+;|(?:amp|lt|gt|quot|apos);)")
_DECLARATION = re.compile(r"\s*<\?xml.*?\?>", re.DOTALL)
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)""")
_MAX_NAMESPACES = 32
_MAX_REMEMBERED = 256
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class XmlError(ValueError):
    """Not XML, not even nearly, more than is read, or with a document type declaration."""


def parse(data: bytes) -> tuple[Element, bool]:
    """Return the root element, and whether the text had to be mended to be read.

    Tolerates what stands before the first `<` and behind the last `>`, bare ampersands, unbound
    prefixes, unclosed and mismatched tags, wrong and undeclared encodings.
    Raises XmlError.
    """
    if not data.startswith(_UTF16):
        data = data[data.find(b"<") if b"<" in data else len(data) : data.rfind(b">") + 1]
    if not data:
        raise XmlError("no XML element")
    if len(data) > MAX_TAGS and data.count(b"<") > MAX_TAGS:
        raise XmlError(f"more than {MAX_TAGS} tags")
    try:
        return _checked(etree.fromstring(data, _STRICT)), False
    except etree.XMLSyntaxError:
        pass
    return _checked(_recovered(data)), True


def parse_text(content: str) -> tuple[Element, bool]:
    """Return what `parse` does for text that is decoded already, whatever its prolog claims."""
    return parse(_undeclared(content).encode("utf-8", "replace"))


def _recovered(data: bytes) -> Element | None:
    if not data.startswith(_UTF16):
        data = _undeclared(_decoded(data)).encode("utf-8", "replace")
        data = data.replace(b"\0", b"")
        data, count = _BARE_AMPERSAND.subn(b"&amp;", data, MAX_MENDED + 1)
        if count > MAX_MENDED:
            raise XmlError(f"more than {MAX_MENDED} bare ampersands")
    try:
        return etree.fromstring(data, _LENIENT)
    except etree.XMLSyntaxError as error:
        raise XmlError(str(error)) from error


def _undeclared(content: str) -> str:
    found = _DECLARATION.match(content)
    return content[found.end() :] if found else content


def _decoded(data: bytes) -> str:
    declared = _ENCODING.match(data)
    named = declared[1].decode().lower() if declared else ""
    # Python's escapes are no encoding of XML, and warn of what they do not know.
    for encoding in ("utf-8", "" if "escape" in named else named):
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):  # of names that a device may say, some are odd codecs
            pass
    return data.decode("latin-1")


def _checked(root: Element | None) -> Element:
    if root is None:
        raise XmlError("no XML element")
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlError("a document type declaration, which UPnP does not allow")
    return root


def local(element: Element) -> str:
    """Return an element's name without namespace and prefix; empty for what is no element."""
    tag: object = element.tag
    if not isinstance(tag, str):
        return ""
    return _remembered(tag) if len(tag) <= _MAX_REMEMBERED else _local(tag)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2]


_remembered = lru_cache(maxsize=2048)(_local)


def children(element: Element, name: str) -> Iterator[Element]:
    """Yield the direct children with this local name."""
    return (child for child in element if local(child) == name)


def child(element: Element, name: str) -> Element | None:
    """Return the first direct child with this local name."""
    return next(children(element, name), None)


def text(element: Element | None) -> str:
    """Return an element's own text as it stands, up to its first child; empty for no element.

    What stands in children is theirs: were it their parents' too, elements within elements would
    make much of little.
    """
    return "" if element is None else element.text or ""


def inner(element: Element) -> str:
    """Return what stands within an element: its text, or XML where it holds elements.

    Namespaces that are declared outside of it are not declared again: for each element within, that
    could be a thousand times what was sent. Raises XmlError where these are more than 32.
    """
    if not len(element):
        return text(element)
    if len(element.nsmap) > _MAX_NAMESPACES:  # all are looked through for each element
        raise XmlError(f"more than {_MAX_NAMESPACES} namespaces around XML")
    whole = etree.tostring(element, encoding="unicode", with_tail=False)
    return whole[whole.index(">") + 1 : whole.rindex("</")]


def child_text(element: Element, name: str) -> str:
    """Return the text of the first direct child with this local name, without outer white space."""
    return text(child(element, name)).strip()


def descendant(element: Element, name: str) -> Element | None:
    """Return the first element with this local name, at any depth, the element itself included."""
    return next((found for found in element.iter() if local(found) == name), None)
