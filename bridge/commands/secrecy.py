"""Secrets among the arguments of the process, which every user of the machine can read."""

import os
import sys
from collections.abc import Mapping, Sequence

from bridge import settings


def hide_secrets() -> None:
    """Start this program anew where its arguments hold a secret, with that in the environment.

    Only its own user can read the environment of a process (proc(5), `/proc/pid/environ`).
    """
    words = sys.argv[1:]
    others, secrets = split(words)
    if secrets:
        program = sys.orig_argv[: len(sys.orig_argv) - len(words)]
        os.execve(sys.executable, [*program, *others], {**os.environ, **secrets})  # noqa: S606


def split(words: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """Return the arguments without settings that hold a secret, and those as variables."""
    flags = {f"--{name}": name for name in ("mqtt.password", "mqtt.url", "http.password")}
    end = words.index("--") if "--" in words else len(words)
    found: list[tuple[slice, str, str]] = []
    for at, word in enumerate(words[:end]):
        flag, sign, text = word.partition("=")
        if flag in flags and sign:
            found.append((slice(at, at + 1), flags[flag], text))
        elif flag in flags and at + 1 < end:
            found.append((slice(at, at + 2), flags[flag], words[at + 1]))
    secret = {name for _, name, text in found if settings.is_secret(name, text)}
    others = list(words)
    for place, name, _ in reversed(found):
        if name in secret:
            del others[place]
    return others, {settings.variable(name): text for _, name, text in found if name in secret}
