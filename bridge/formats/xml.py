"""XML as devices really write it, read without ever trusting it.

Strictly first, then mended, then recovered. No DTD, no entities but the five, no network.
"""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from html.entities import name2codepoint

from lxml import etree

from bridge.formats.decoding import MARK, decoded

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
_REFERENCE = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|&(?!(?:amp|lt|gt|quot|apos);)(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+));|([A-Za-z]{2,8}[1-4]{0,2});)?",
    re.DOTALL,
)
"""A reference other than the five, a bare ampersand, or text in which neither has a meaning."""
_TAG = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<[A-Za-z_](?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*>", re.DOTALL
)
_BARE_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|=\s*([^\s\"'<>]+)")
"""The value of an attribute that is not quoted, or what is quoted."""
_BARE = re.compile(r"=\s*[^\s\"'<>=]")
_NUMERIC = re.compile(r"&#(?:[xX]([0-9a-fA-F]+)|([0-9]+));")
_NUMERIC_AT_ALL = re.compile(f"{_NUMERIC.pattern}?")
_ESCAPED_SURROGATE = re.compile(
    rb"&(?:amp;)+(?=#(?:[xX]0*[dD][89a-fA-F][0-9a-fA-F]{2}|0*5(?:5[3-9]|6\d|7[0-2])\d\d);)"
)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_DIGITS = 7
_DECLARATION = re.compile(r"\s*<\?xml.*?\?>", re.DOTALL)
_INNER_DECLARATION = re.compile(r"<\?xml\s[^<>]*\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)""")
_MAX_NAMESPACES = 32
_MAX_REMEMBERED = 256
_MAX_PROLOG = 100
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class XmlError(ValueError):
    """Not XML, not even nearly, more than is read, or with a document type declaration."""


def parse(data: bytes) -> tuple[Element, bool]:
    """Return the root element, and whether the text had to be mended to be read.

    Tolerates what stands before the first `<` and behind the last `>`, bare ampersands, references
    to what is no character, the entities of HTML, unbound prefixes, unclosed and mismatched tags,
    attributes without quotes, wrong and undeclared encodings. All text, names and attributes that
    can be read from the element are whole Unicode, without surrogates.
    Raises XmlError.
    """
    whole = data
    if not data.startswith(_UTF16):
        data = data[data.find(b"<") if b"<" in data else len(data) : data.rfind(b">") + 1]
    if not data:
        raise XmlError("no XML element")
    if len(data) > MAX_TAGS and data.count(b"<") > MAX_TAGS:
        raise XmlError(f"more than {MAX_TAGS} tags")
    if b"#" in data and b"amp;#" in data:  # half a pair, escaped twice, can mean nothing else
        data = whole = _ESCAPED_SURROGATE.sub(b"&", data)
    try:
        root = _checked(etree.fromstring(data, _STRICT))
    except etree.XMLSyntaxError:
        return _checked(_recovered(_text(whole))), True
    if data.isascii() or b"utf-8" in data[:_MAX_PROLOG] or not _is_said_otherwise(data):
        return root, False
    try:  # what is said to be in another encoding is UTF-8 with many
        return _checked(etree.fromstring(_text(whole).encode(), _STRICT)), False
    except etree.XMLSyntaxError:
        return root, False


def parse_text(content: str) -> tuple[Element, bool]:
    """Return what `parse` does for text that is decoded already, whatever its prolog claims."""
    return parse(_undeclared(content).encode("utf-8", "surrogatepass"))


def joined(content: str) -> str:
    """Return text with each pair of surrogates as the one character that it is, without lone ones.

    Nor is anything else in it that XML has no character for (XML 1.0, section 2.2).
    """
    return _NO_CHARACTER.sub("", _PAIR.sub(_character, content))


def _is_said_otherwise(data: bytes) -> bool:
    """Return whether a document says that it is in another encoding than UTF-8."""
    if not data.startswith(b"<?xml") or b"utf-8" in data[:_MAX_PROLOG].lower():
        return False
    return _ENCODING.match(data[:_MAX_PROLOG]) is not None


def unescaped(content: str) -> str:
    """Return text that was escaped once too often as it was before."""
    return joined(unescape(_NUMERIC_AT_ALL.sub(_referred, content)))


def _text(data: bytes) -> str:
    """Return a document as text from the first `<` to the last `>`, without its declaration."""
    declared = _ENCODING.search(data[:_MAX_PROLOG])
    content = decoded(data, declared[1].decode() if declared else "")
    return _undeclared(content[content.find("<") : content.rfind(">") + 1])


def _recovered(content: str) -> Element | None:
    count = 0

    def mended(found: re.Match[str]) -> str:
        nonlocal count
        whole, hexadecimal, decimal, name = found[0], *found.groups()
        if whole[0] == "<":  # what looks like CDATA may be within an attribute
            return _NUMERIC.sub(_referred, whole)
        if hexadecimal or decimal:
            return _referred(found)
        if name in name2codepoint:
            return chr(name2codepoint[name])
        count += 1
        if count > MAX_MENDED:
            raise XmlError(f"more than {MAX_MENDED} bare ampersands")
        return f"&amp;{whole[1:]}"

    content = _REFERENCE.sub(mended, _INNER_DECLARATION.sub("", content))
    if _BARE.search(content):
        content = _TAG.sub(_quoted, content)
    data = joined(content).encode()
    try:
        return etree.fromstring(data, _LENIENT)
    except etree.XMLSyntaxError as error:
        raise XmlError(str(error)) from error


def _quoted(found: re.Match[str]) -> str:
    """Return a tag whose attributes are all quoted, and CDATA as it is."""
    tag = found[0]

    def quoted(one: re.Match[str]) -> str:
        behind = tag[one.end()]
        if not one[1] or behind in "\"'":
            return one[0]
        value = one[1].removesuffix("/") if behind == ">" else one[1]
        return f'="{value}"{one[1][len(value) :]}'

    return tag if tag.startswith("<!") else _BARE_VALUE.sub(quoted, tag)


def _referred(found: re.Match[str]) -> str:
    """Return a character reference, or in its place half a surrogate pair that it stands for."""
    digits, base = (found[1], 16) if found[1] else (found[2], 10)
    digits = digits.lstrip("0") or "0"
    code = int(digits, base) if len(digits) <= _MAX_DIGITS else sys.maxunicode + 1
    if code > sys.maxunicode:
        return MARK
    if _NO_CHARACTER.match(chr(code)):
        return chr(code)
    return found[0].replace("X", "x", 1)


def _character(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _undeclared(content: str) -> str:
    found = _DECLARATION.match(content)
    return content[found.end() :] if found else content


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
