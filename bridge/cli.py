"""The command line: words to settings and a command."""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from bridge import __version__, settings
from bridge.commands.secrecy import hide_secrets
from bridge.commands.signals import Interrupted
from bridge.errors import BridgeError, ConfigError
from bridge.settings import Settings

_COMMANDS = {
    "run": "bridge the network's devices onto the broker (what is done without a command)",
    "demo": "bridge simulated devices onto an embedded broker",
    "discover": "list what answers on the network, without a broker",
    "call": "call one action over the broker: UDN [SERVICE] ACTION [Arg=value …]",
    "doctor": "look for what keeps the bridge from working, and say what to do",
    "diagnostics": "write a redacted file about one device, or all, for a bug report",
    "health": "exit with 0 while the bridge on this machine is online",
}
_DEMO_SETTINGS = {"upnp.interfaces": "lo", "upnp.callback_port": "0"}
_TELL_THEMSELVES = frozenset({"run", "demo", "doctor"})
"""Commands that tell of unknown settings in their own way."""
_SEARCH_S = 4.0
_MAX_SEARCH_S = 600.0
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is a line: the usage with every setting would push it off."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"upnp2mqtt: {message} (see `{self.prog} --help`)\n")


def main(words: Sequence[str] | None = None) -> int:
    """Carry out a command; return its exit status: 2 where a setting or a word is wrong."""
    if words is None:
        hide_secrets()
        words = sys.argv[1:]
    words = list(words)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "run")
    try:
        given = _given(words)
        flags = {name: text for name, text in vars(given).items() if name in _names()}
        chosen = settings.load(flags)
        if given.command == "demo":
            chosen = settings.load(flags | _not_chosen(chosen))
        if given.command not in _TELL_THEMSELVES:
            for unknown in settings.unknown_names():
                sys.stderr.write(f"upnp2mqtt: {unknown}\n")
        return _carry_out(given, chosen)
    except BridgeError as error:
        return _complain(error)
    except ExceptionGroup as group:
        wrong, other = group.split(BridgeError)
        if wrong is None or other is not None:
            raise
        return _complain(_first(wrong))
    except KeyboardInterrupt:
        return _INTERRUPTED


def _given(words: Sequence[str]) -> argparse.Namespace:
    """Return command and flags. Raises ConfigError, with the nearest name, for one that is none."""
    if words[0] not in _COMMANDS and not words[0].startswith("-"):
        raise ConfigError(_unknown("command", words[0], _COMMANDS))
    given, others = _parser().parse_known_args(words)
    if others:
        names = [f"--{name}" for name in _names()]
        other = next((word for word in others if word.startswith("-")), others[0])
        kind = "flag" if other.startswith("-") else f"argument of `{given.command}`"
        raise ConfigError(_unknown(kind, other.partition("=")[0], names))
    return given


def _carry_out(given: argparse.Namespace, chosen: Settings) -> int:
    # Each command imports what it needs: `health` must not cost what a bridge does.
    match given.command:
        case "run" | "demo":
            from bridge.commands.run import run  # noqa: PLC0415

            return run(chosen, demo=given.command == "demo")
        case "discover":
            from bridge.commands.discover import discover  # noqa: PLC0415

            return discover(chosen, as_json=given.json, seconds=given.seconds)
        case "call":
            from bridge.commands.call import call  # noqa: PLC0415

            return call(chosen, given.words)
        case "diagnostics":
            from bridge.commands.diagnostics import diagnostics  # noqa: PLC0415

            return diagnostics(chosen, given.device, output=given.output, seconds=given.seconds)
        case "doctor":
            from bridge.commands.doctor import doctor  # noqa: PLC0415

            return doctor(chosen, as_json=given.json, retained=given.retained)
        case _:
            from bridge.commands.health import health  # noqa: PLC0415

            return health(chosen)


def _parser() -> _Parser:
    parser = _Parser(
        prog="upnp2mqtt",
        description="Every UPnP device on the network, mirrored onto MQTT.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"upnp2mqtt {__version__}")
    flags = _Parser(add_help=False)
    group = flags.add_argument_group("settings", "Also as environment variables and in .env.")
    for name, field in settings.fields():
        group.add_argument(
            f"--{name}",
            dest=name,
            default=argparse.SUPPRESS,
            metavar=name.rpartition(".")[2].upper(),
            help=f"{field.description} [{settings.variable(name)}]".replace("%", "%%"),
        )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, told in _COMMANDS.items():
        one = commands.add_parser(
            command, parents=[flags], help=told, description=told, allow_abbrev=False
        )
        if command == "discover":
            one.add_argument("--json", action="store_true", help="print JSON")
            one.add_argument(
                "--seconds", type=_seconds, default=_SEARCH_S, help="how long to listen for answers"
            )
        if command == "doctor":
            one.add_argument("--json", action="store_true", help="print JSON")
            one.add_argument(
                "--retained",
                action="store_true",
                help="also publish 1,100 retained messages, count what arrives, and clear them",
            )
        if command == "diagnostics":
            one.add_argument(
                "device",
                nargs="?",
                metavar="UDN",
                help="UDN, or URL of the description; all devices if left out",
            )
            one.add_argument(
                "--output",
                metavar="FILE",
                help="file to write, - for standard output; else upnp2mqtt-diagnostics-UDN.json",
            )
            one.add_argument(
                "--seconds", type=_seconds, default=_SEARCH_S, help="how long to search"
            )
        if command == "call":
            one.add_argument(
                "words", nargs="+", metavar="WORD", help="UDN [SERVICE] ACTION [Arg=value …]"
            )
    return parser


def _not_chosen(chosen: Settings) -> dict[str, str]:
    """Return the settings of a demonstration that nobody chose otherwise."""
    groups = ((name.partition("."), text) for name, text in _DEMO_SETTINGS.items())
    return {
        f"{group}.{name}": text
        for (group, _, name), text in groups
        if name not in getattr(chosen, group).model_fields_set
    }


def _names() -> frozenset[str]:
    return frozenset(name for name, _ in settings.fields())


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MAX_SEARCH_S:
        raise argparse.ArgumentTypeError(
            f"it cannot be '{text}': it must be a number above 0 to {_MAX_SEARCH_S:g}"
        )
    return seconds


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    like = settings.nearest(word, known)
    hint = f": did you mean {like}?" if like else ""
    return f"there is no {kind} '{word}'{hint} (see `upnp2mqtt --help`)"


def _complain(error: BaseException) -> int:
    sys.stderr.write(f"upnp2mqtt: {error}\n")
    if isinstance(error, Interrupted):
        return error.status
    return 2 if isinstance(error, ConfigError) else 1


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
