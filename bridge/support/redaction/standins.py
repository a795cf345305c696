"""Stand-ins for what must not be told: of the same shape, and the same for the same secret.

Each depends only on the shape of what it stands for and on how many of that shape came before, so
that a document of stand-ins has itself for its stand-ins.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

_DIGITS, _HEX, _LETTERS = "0123456789", "abcdef", "ghijklmnopqrstuvwxyz"
_RUN = re.compile(r"[0-9A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]+")
_MEDIUM, _MANY = 3, 3
_LINK_LOCAL = "fe80::"
_DOCUMENTATION = ("192.0.2.", "198.51.100.", "203.0.113.")  # RFC 5737
_LAST_HOST = 254
_MASK = 0xFF000000

PUBLIC_WORDS = frozenset(
    {
        "audio",
        "av",
        "bridge",
        "camera",
        "center",
        "centre",
        "cloud",
        "control",
        "controller",
        "daemon",
        "debian",
        "default",
        "desk",
        "device",
        "digital",
        "dimmable",
        "dlna",
        "dmr",
        "dms",
        "gateway",
        "hd",
        "home",
        "homeassistant",
        "hub",
        "internet",
        "lamp",
        "light",
        "linux",
        "main",
        "media",
        "music",
        "network",
        "player",
        "plug",
        "pro",
        "radio",
        "receiver",
        "remote",
        "renderer",
        "root",
        "router",
        "scanner",
        "server",
        "service",
        "smart",
        "sound",
        "soundbar",
        "speaker",
        "stick",
        "storage",
        "stream",
        "streaming",
        "switch",
        "system",
        "television",
        "tv",
        "upnp",
        "uuid",
        "video",
        "wan",
        "wireless",
    }
)
"""Words that say what a device is, not whose."""


class Standins:
    """The stand-ins of one document; `words`, in lower case, are public and stay."""

    def __init__(self) -> None:
        self.words = set(PUBLIC_WORDS)
        self._runs: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._addresses: dict[IPv4Address | IPv6Address, str] = {}

    def learn_words(self, texts: Iterable[str]) -> None:
        """Let the words of public texts, as the model's name, stay."""
        for text in texts:
            self.words.update(word.lower() for word in _WORD.findall(text))

    def name(self, text: str) -> str:
        """Return a name as its shape: `Anna's TV 2` is `Xxxx'x TV 0`."""
        return self._shaped(text, keeps=True)

    def title(self, text: str) -> str:
        """Return a title or a path as its shape; no word of it stays."""
        return self._shaped(text, keeps=False)

    def identifier(self, text: str) -> str:
        """Return a UDN or a serial number with each part replaced, and different ones different.

        Parts of one or two characters stay if there are few, as do zeros and public words. Many are
        one number: a MAC address has the same stand-in without its colons.
        """
        runs = _RUN.findall(text)
        if sum(len(run) < _MEDIUM for run in runs) >= _MANY:
            digits = iter(self._run("".join(runs)))
            return "".join(next(digits) if _RUN.match(char) else char for char in text)
        return "".join(map(_shape, _RUN.sub(lambda found: self._run(found[0]), text)))

    def address(self, text: str) -> str | None:
        """Return an address for documentation; None for what tells nobody anything, or is none.

        Loopback, multicast, masks and the unspecified address stay, and link-local is link-local.
        """
        try:
            address = ip_address(text)
        except ValueError:
            return None
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            return None
        if isinstance(address, IPv4Address) and int(address) & _MASK == _MASK:
            return None
        if address not in self._addresses:
            self._addresses[address] = self._new_address(address)
        return self._addresses[address]

    def _new_address(self, address: IPv4Address | IPv6Address) -> str:
        if isinstance(address, IPv6Address):
            prefix = _LINK_LOCAL if address.is_link_local else "2001:db8::"
            return f"{prefix}{self._count(prefix):x}"
        network, host = divmod(self._count("IPv4") - 1, _LAST_HOST)
        return f"{_DOCUMENTATION[network % len(_DOCUMENTATION)]}{host + 1}"

    def _count(self, kind: str) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]

    def _run(self, run: str) -> str:
        if len(run) < _MEDIUM or not run.strip("0") or run.lower() in self.words:
            return run
        is_hex = not set(run.lower()) - set(_DIGITS + _HEX)
        letters = _HEX if is_hex else _LETTERS
        alphabets = [_DIGITS if char.isdigit() else letters for char in run]
        key = run.lower()
        if key not in self._runs:
            shape = "".join(alphabet[0] for alphabet in alphabets)
            self._runs[key] = _numbered(self._count(f"run {shape}"), alphabets)
        cased = zip(self._runs[key], run, strict=True)
        return "".join(new.upper() if char.isupper() else new for new, char in cased)

    def _shaped(self, text: str, *, keeps: bool) -> str:
        word: Callable[[re.Match[str]], str] = partial(self._word, keeps=keeps)
        return "".join("0" if char in _DIGITS else _shape(char) for char in _WORD.sub(word, text))

    def _word(self, found: re.Match[str], *, keeps: bool) -> str:
        if keeps and found[0].lower() in self.words:
            return found[0]
        return "".join("X" if char.isupper() else "x" for char in found[0])


def _numbered(number: int, alphabets: list[str]) -> str:
    """Write a number with a digit of each of these alphabets."""
    digits: list[str] = []
    for alphabet in reversed(alphabets):
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    return "".join(reversed(digits))


def _shape(char: str) -> str:
    """Return what stands for a letter beyond ASCII: it is as long in UTF-8."""
    if char.isascii() or not char.isalnum():
        return char
    if ord(char) < 0x800:  # noqa: PLR2004 - two bytes in UTF-8, and these are in Latin-1 too
        return "Ö" if char.isupper() else "ö"
    return "字" if ord(char) < 0x10000 else "𠀀"  # noqa: PLR2004 - three bytes, and four
