"""Documents for strangers' eyes: who, where and what plays is taken out, what a device is stays.

A document is JSON. An object with `head` and `body` is an HTTP message as it came; what stands
under `scpds` says nothing of one device, so that only identifiers are replaced there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

from bridge.formats.bodies import CODECS, octets
from bridge.support.redaction.escapes import EscapedText, Span
from bridge.support.redaction.kinds import FieldKind, kind_of
from bridge.support.redaction.standins import Standins

Json: TypeAlias = Any
Standin: TypeAlias = Callable[[str], str]


_MEANINGLESS = frozenset({"", "NOT_IMPLEMENTED", "***"})

# What is matched here may be meant to keep us busy: nothing is looked through more than once.
_ELEMENT = re.compile(
    r"<(?:(?P<prefix>[\w.-]+):)?(?P<name>[\w.-]+)(?P<attributes>\s[^<>]*)?(?<!/)>"
    r"\s*+(?:<!\[CDATA\[\s*+)?(?P<text>[^<\s][^<]*+)"
)
_VALUE = re.compile(r"""<(?:[\w.-]+:)?(?P<name>[\w.-]+)\s[^<>]*?\bval=(["'])(?P<text>[^"'<>]+)""")
_ATTRIBUTE = re.compile(r"""\b(?P<name>[A-Za-z][\w.-]{0,64})=(["'])(?P<text>[^"'<>]+)""")
_MEMBER = re.compile(r'"(?P<name>[\w.-]+)"\s{0,9}:\s{0,9}"(?P<text>[^"]+)')
_HEADER = re.compile(r"(?m)^(?P<name>[\w.-]+)[ \t]{0,9}:[ \t]*+(?P<text>[^\r\n]++)")
_PARAMETER = re.compile(r"""[?&;](?P<name>[\w.-]+)=(?P<text>[^&;#\s"'<>]+)""")
_MEMBER_NAME = re.compile(r"[a-z_]+")
_OBJECT_IDS = frozenset({"id", "parentid", "refid"})
"""Of media; those with a slash are paths."""
_FIELDS = (_ELEMENT, _VALUE, _ATTRIBUTE, _MEMBER, _PARAMETER)

_USER = re.compile(r"//([^/@\s<>\"']+)@")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_UUID = re.compile(
    r"(?i)(?:uuid:)+(?P<udn>[\w.~-]+(?::[\w.~-]+)*)"
    r"|(?<![0-9a-z])(?P<bare>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-z])"
)
_MAC = re.compile(
    r"(?i)(?<![0-9a-z])(?<!(?<![0-9a-z])[0-9a-f]{2}[:-])[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}"
    r"[0-9a-f]{2}(?![0-9a-z]|\1[0-9a-f]{2}(?![0-9a-z]))"
)
_PRODUCT = re.compile(r"(?:^|[\s,;(:])[A-Za-z][\w.+-]*/$|(?:[Vv]ersion|modelNumber)>\s*$|[vV]$")
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)")
_IPV6 = re.compile(r"(?i)(?<![\w:.-])(?:[0-9a-f]{1,4})?:[0-9a-f:]{0,40}:[0-9a-f]{0,4}(?![\w:])")
_HOST = re.compile(
    r"(?im)(?:^host[ \t]*:[ \t]*(?P<header>[a-z_][\w.-]*)|(?:mqtts?|wss?|tcp|ssl)://(?P<broker>[a-z_][\w.-]*)"
    r"|//(?P<private>[a-z_][\w-]*(?:(?:\.[\w-]+)*\.(?:box|corp|home|internal|intranet|lan|local"
    r"|localdomain|private|arpa))?)(?=[:/?#\s\"'<>]|$))"
)
_LOCALHOST = "localhost"
_URI = re.compile(
    r"(?i)(?P<scheme>[a-z][a-z0-9+.-]*:)?(?P<authority>//[^/?#]*)?(?P<rest>.*)", re.DOTALL
)
_EXTENSION = re.compile(r"\.[A-Za-z]\w{1,4}(?=$|[?#])")
_IS_ADDRESS = re.compile(r"//(?:[^@/]*@)?(?:\d+(?:\.\d+){3}|\[[^\]]*\])(?::\d+)?")
_RUN = re.compile(r"[^\W_]+")
_LEAST, _LEAST_WORD = 6, 5
_LONGEST, _MOST_PLACES = 256, 64
_NEAR = 80
_TAG_NAME = re.compile(r"</?(?:[\w.-]+:)?([\w.-]+)|\b([\w.-]{1,64})=[\"']")
_CONTENT_LENGTH = re.compile(r"(?im)^(content-length[ \t]*:[ \t]*)(\d{1,9})")
_COMMON = frozenset({"http", "https", "www", "xml", "text", "object", "item", "container"})


def redact(document: Json) -> Json:
    """Return a document of the same form without what tells whose and where it is.

    The same secret has the same stand-in throughout; redacting twice changes nothing.
    """
    redactor = _Redactor()
    for name, text in _texts(document):
        redactor.learn_words(name, text)
    redactor.walk(document)  # in this order the stand-ins are dealt out, also the second time
    redactor.knows = True
    return redactor.walk(document)


class _Redactor:
    """One document's redaction: `knows` once all of it was seen."""

    def __init__(self) -> None:
        self.knows = False
        self._standins = Standins()
        self._spoken: set[str] = set(_COMMON)
        self._literals: dict[str, dict[tuple[int, int], dict[str, Standin]]] = {}
        deal = self._standins
        self._by_kind: Mapping[FieldKind, Standin] = {
            FieldKind.NAME: deal.name,
            FieldKind.TITLE: deal.title,
            FieldKind.IDENTIFIER: deal.identifier,
            FieldKind.URI: self._uri,
            FieldKind.SECRET: lambda _: "***",
        }

    def learn_words(self, name: str, text: str) -> None:
        """Take in what is public anyway: models, and the words of the standards."""
        if kind_of(name) is FieldKind.MODEL:
            self._standins.learn_words([text])
        meant = EscapedText(text).meant
        if "<" not in meant:
            return
        for found in _ELEMENT.finditer(meant):
            if kind_of(found["name"]) is FieldKind.MODEL:
                self._standins.learn_words([found["text"]])
        for element, attribute in _TAG_NAME.findall(meant):
            self._spoken.add((element or attribute).lower())
        if name == "scpds":
            self._spoken.update(run.lower() for run in _RUN.findall(meant))

    def walk(self, value: Json, name: str = "", *, is_model: bool = False) -> Json:
        """Return a part of the document redacted; `name` is the member's that it belongs to."""
        match value:
            case str():
                return self._text(value, name, is_model=is_model)
            case {"head": _, "body": body}:
                message = {
                    str(part): self.walk(one, str(part), is_model=is_model)
                    for part, one in value.items()
                }
                longer = len(octets(message["body"])) - len(octets(body))
                return message | {"head": _lengthened(message["head"], longer)}
            case {**members}:
                return {
                    self._key(str(key)): self.walk(
                        one,
                        name if key in CODECS else str(key),
                        is_model=is_model or key == "scpds",
                    )
                    for key, one in members.items()
                }
            case list() | tuple():
                return [self.walk(one, name, is_model=is_model) for one in value]
        return value

    def _key(self, key: str) -> str:
        """Return the name of a member, which is an id or one of the document's own words."""
        return key if _MEMBER_NAME.fullmatch(key) else self._text(key, "", is_model=True)

    def _text(self, value: str, name: str, *, is_model: bool) -> str:
        text = EscapedText(value)
        deal = self._standins
        for found in _MAC.finditer(text.meant):
            self._learn(re.sub("[:-]", "", found[0]), deal.identifier)
        text.replace(_spans(_MAC, text.meant, deal.identifier))
        text.replace(list(self._udns(text.meant)))
        text.replace(_spans(_IPV6, text.meant, self._address))
        addresses = _spans(_IPV4, text.meant, self._address)
        text.replace(one for one in addresses if _is_no_version(text.meant, one[0]))
        text.replace(_spans(_USER, text.meant, lambda _: "user", 1))
        text.replace(_spans(_EMAIL, text.meant, lambda _: "user@example.org"))
        if self.knows:
            text.replace(list(self._known(text.meant, is_model=is_model)))
        if is_model:
            return str(text)
        kind = kind_of(name)
        is_type = value.startswith("urn:")
        if kind in self._by_kind and kind is not None and value not in _MEANINGLESS and not is_type:
            text.replace([self._span(kind, 0, text.meant)])
        is_head = name in {"head", "announcements"}
        for pattern in (*_FIELDS, _HEADER) if is_head else _FIELDS:
            text.replace(list(self._fields(text.meant, pattern)))
        text.replace(list(self._hosts(text.meant)))
        return str(text)

    def _address(self, text: str) -> str:
        return self._standins.address(text) or text

    def _fields(self, meant: str, pattern: re.Pattern[str]) -> Iterator[Span]:
        for found in pattern.finditer(meant):
            name, text = found["name"], found["text"].rstrip()
            prefix = found.groupdict().get("prefix")
            kind = (prefix and kind_of(f"{prefix} {name}")) or kind_of(name)
            if pattern is _ATTRIBUTE and name.lower() in _OBJECT_IDS and "/" in text:
                kind = FieldKind.URI
            if kind is not None and kind in self._by_kind and text not in _MEANINGLESS:
                yield self._span(kind, found.start("text"), text)

    def _span(self, kind: FieldKind, start: int, text: str) -> Span:
        """Return how a field is to be replaced, and note its text."""
        standin = self._by_kind[kind]
        if kind in {FieldKind.NAME, FieldKind.IDENTIFIER}:
            self._learn(text.strip(), standin)
        return start, start + len(text), standin, kind is FieldKind.IDENTIFIER

    def _learn(self, text: str, standin: Standin) -> None:
        """Note what is to be replaced wherever it stands, unless it may mean something else."""
        runs = _RUN.findall(text)
        is_word = len(runs) == 1 and runs[0].isalpha()
        if (
            self.knows
            or len(text) < (_LEAST_WORD if is_word else _LEAST)
            or not text.strip("0")
            or not runs
            or (is_word and text.lower() in self._spoken)
        ):
            return
        places = self._literals.setdefault(runs[0].lower(), {})
        place = text.index(runs[0]), len(text)
        if place in places or (len(places) < _MOST_PLACES and len(text) <= _LONGEST):
            places.setdefault(place, {})[_folded(text)] = standin

    def _known(self, meant: str, *, is_model: bool) -> Iterator[Span]:
        """Find again what was a secret elsewhere; in an SCPD only identifiers are."""
        end = 0
        for run in _RUN.finditer(meant):
            places = self._literals.get(run[0].lower(), {})
            for before, length in sorted(places, key=itemgetter(1), reverse=True):
                start = run.start() - before
                stop = start + length
                if start < end or (meant[stop - 1 : stop + 1].isalnum() and stop < len(meant)):
                    continue
                standin = places[before, length].get(_folded(meant[start:stop]))
                is_identifier = standin == self._standins.identifier
                if standin is not None and (is_identifier or not is_model):
                    yield start, stop, standin, is_identifier
                    end = stop
                    break

    def _udns(self, meant: str) -> Iterator[Span]:
        for found in _UUID.finditer(meant):
            group = "udn" if found["udn"] else "bare"
            self._learn(found[group], self._standins.identifier)
            yield (*found.span(group), self._standins.identifier, True)

    def _hosts(self, meant: str) -> Iterator[Span]:
        for found in _HOST.finditer(meant):
            group = found.lastgroup or ""
            host = found[group]
            if host.lower() != _LOCALHOST:
                self._learn(host, self._host)
                yield (*found.span(group), self._host, False)

    def _host(self, host: str) -> str:
        name, dot, domain = host.partition(".")
        if dot and _HOST.fullmatch(f"//{host}"):  # the private domain is no secret
            inner, _, top = host.rpartition(".")
            return f"{self._standins.title(inner)}.{top}"
        return self._standins.title(name + dot + domain)

    def _uri(self, uri: str) -> str:
        """Return a URI with its scheme, address and extension, and the shape of all else."""
        parts = _URI.fullmatch(uri)
        if parts is None:
            return self._standins.title(uri)
        authority, rest = parts["authority"] or "", parts["rest"]
        if not _IS_ADDRESS.fullmatch(authority):
            authority = self._standins.title(authority)
        shaped = self._standins.title(rest)
        if extension := _EXTENSION.search(rest):
            start, end = extension.span()
            shaped = f"{shaped[:start]}{extension[0]}{shaped[end:]}"
        return f"{parts['scheme'] or ''}{authority}{shaped}"


def _texts(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text of a document, with the name of the member that it belongs to."""
    match value:
        case str():
            yield name, value
        case {**members}:
            for key, one in members.items():
                inherited = name == "scpds" or key in CODECS
                yield from _texts(one, name if inherited else str(key))
        case list() | tuple():
            for one in value:
                yield from _texts(one, name)


def _spans(pattern: re.Pattern[str], meant: str, standin: Standin, group: int = 0) -> list[Span]:
    return [(*found.span(group), standin, False) for found in pattern.finditer(meant)]


def _folded(text: str) -> str:
    return text.lower().replace("+", " ")  # as queries have it


def _is_no_version(meant: str, start: int) -> bool:
    """Tell an address from the version of a product, by what stands before it."""
    return not _PRODUCT.search(meant[max(0, start - _NEAR) : start])


def _lengthened(head: Json, by: int) -> Json:
    """Add to the Content-Length by how much a body has grown: what was wrong stays so."""
    if not isinstance(head, str):
        return head
    return _CONTENT_LENGTH.sub(lambda found: f"{found[1]}{max(0, int(found[2]) + by)}", head)
