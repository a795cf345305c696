"""What is said of a setting whose value is wrong: one sentence, without what nobody may see."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from bridge.settings.known_names import ENV_FILE, PREFIX, nearest, variable
from bridge.settings.texts import without_credentials

_MAX_SHOWN = 80
_MAX_NAMED = 4
_NOUNS: Mapping[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
}
_LIMITS = (("from", "ge"), ("above", "gt"), ("to", "le"), ("below", "lt"))


def complaint(error: Mapping[str, Any], known: Mapping[str, Any], flags: Mapping[str, str]) -> str:
    """Return a sentence on what pydantic found; `known` has the field of each setting by name.

    It names the setting and where its value stands, echoes the value unless it is secret, and says
    what it must be.
    """
    path = [str(part) for part in error["loc"] if not isinstance(part, int)]
    setting = next((n for n in (".".join(path[:2]), ".".join(path[:1])) if n in known), "")
    reason = str(error["msg"]).removeprefix("Value error, ")
    if not setting:
        return no_setting(path[0], known) if path else reason
    must = reason if error["type"] == "value_error" else _must(known[setting], error["input"])
    shown = "this value" if is_secret(known[setting]) else _shown(error["input"])
    return f"{setting}{_place(setting, flags)} cannot be {shown}: {must}"


def is_secret(field: Any) -> bool:  # noqa: ANN401 - pydantic's field
    """Return whether the value of a field is for nobody's eyes."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def no_setting(group: str, known: Iterable[str]) -> str:
    """Return what is to be said of a group of settings that was given a value of its own."""
    members = [variable(name) for name in known if name.startswith(f"{group}.")]
    more = " and so on" if len(members) > _MAX_NAMED else ""
    name = PREFIX + group.upper()
    return f"{name} is not a setting: there are {', '.join(members[:_MAX_NAMED])}{more}"


def _place(setting: str, flags: Mapping[str, str]) -> str:
    """Return where a value stands, where that is not plain: it may be elsewhere than looked for."""
    if setting in flags:
        return ""
    name = variable(setting)
    if any(one.upper() == name and text for one, text in os.environ.items()):
        return f" ({name})"
    return f" ({name} in {ENV_FILE})" if Path(ENV_FILE).is_file() else ""


def _shown(value: object) -> str:
    if not isinstance(value, str | int | float | Path):
        return "nothing" if value is None else "this"
    text = without_credentials(str(value)) if "://" in str(value) or "@" in str(value) else value
    clean = "".join(one if one.isprintable() else "\ufffd" for one in str(text))
    return f"'{clean}'" if len(clean) <= _MAX_SHOWN else f"'{clean[:_MAX_SHOWN]}…'"


def _must(field: Any, value: object) -> str:  # noqa: ANN401 - pydantic's field
    """Return what the value of a field must be, and the nearest of those that it may be."""
    kinds = [one for one in get_args(field.annotation) if one is not NoneType]
    kind = kinds[0] if NoneType in get_args(field.annotation) else field.annotation
    if get_origin(kind) is Literal:
        words = [str(one) for one in get_args(kind)]
        told = f"{', '.join(words[:-1])} or {words[-1]}"
    else:
        words = ["true", "false"] if kind is bool else []
        told = _NOUNS.get(get_origin(kind) or kind, "a text")
    for word, bound in _LIMITS:
        for limit in (getattr(one, bound, None) for one in field.metadata):
            told += f" {word} {limit}" if limit is not None else ""
    like = nearest(str(value), words)
    return f"it must be {told}" + (f"; did you mean {like}?" if like else "")
