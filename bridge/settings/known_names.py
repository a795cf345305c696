"""The names of settings, and of what looks like one and is none."""

import io
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

PREFIX = "BRIDGE_"
ENV_FILE = ".env"

_LIKENESS = 0.7
_MAX_ENV_FILE = 1024 * 1024
_OURS = re.compile(rf"{PREFIX}\w+", re.IGNORECASE)

logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # `unknown` tells it better


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that is no setting's, where it stands, and the nearest that is (perhaps empty).

    `is_torn` says that it may be one's, in a line that is not NAME=value.
    """

    name: str
    where: str = "environment"
    like: str = ""
    is_torn: bool = False

    def __str__(self) -> str:
        if self.is_torn:
            return f"{self.where} ({self.name}) is not NAME=value, and counts for nothing"
        hint = f"; did you mean {self.like}?" if self.like else ""
        place = f" ({self.where})" if self.where != "environment" else ""
        return f"{self.name}{place} is not a setting, and is ignored{hint}"


def variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + setting.upper().replace(".", "__")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the name that a word is most like, empty where it is like none.

    Case, and what stands between words, count for nothing.
    """
    bare = {_bare(name): name for name in known}
    found = get_close_matches(_bare(word), bare, 1, _LIKENESS)
    return bare[found[0]] if found else ""


def unknown(settings: Iterable[str]) -> tuple[Unknown, ...]:
    """Return what of the environment and of `.env` looks like a setting and is none."""
    variables = [variable(name) for name in settings]
    theirs = (Unknown(name) for name in sorted(os.environ) if name.upper().startswith(PREFIX))
    found: dict[str, Unknown] = {}
    for one in (*theirs, *_env_file(variables)):
        if one.is_torn or one.name.upper() not in variables:
            found.setdefault(one.name, replace(one, like=nearest(one.name, variables)))
    return tuple(found.values())


def _env_file(variables: Iterable[str]) -> Iterator[Unknown]:
    """Yield the names in `.env` that are meant for us, also those without our prefix."""
    bare = {_bare(name) for name in variables}
    bare |= {name.removeprefix(_bare(PREFIX)) for name in bare}
    try:
        with Path(ENV_FILE).open(encoding="utf-8-sig") as file:
            bindings = list(parse_stream(io.StringIO(file.read(_MAX_ENV_FILE))))
    except (OSError, UnicodeDecodeError):  # told where it is read
        return
    for one in bindings:
        text = one.original.string
        line = one.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        where = f"{ENV_FILE}, line {line}"
        if one.error or (one.key and one.value is None):
            if torn := _OURS.search(text):
                yield Unknown(torn[0], where, is_torn=True)
        elif one.key and (one.key.upper().startswith(PREFIX) or _bare(one.key) in bare):
            yield Unknown(one.key, where)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
