"""The command line: words to settings and a command."""

import argparse
import sys
from collections.abc import Sequence

from bridge import __version__, settings
from bridge.commandline.secrecy import hide_secrets
from bridge.errors import BridgeError, ConfigError
from bridge.settings import Settings

_COMMANDS = {
    "run": "bridge the network's devices onto the broker (what is done without a command)",
    "demo": "bridge simulated devices onto an embedded broker",
    "discover": "list what answers on the network, without a broker",
    "call": "call one action over the broker: UDN [SERVICE] ACTION [Arg=value …]",
    "doctor": "look for what keeps the bridge from working, and say what to do about it",
    "diagnostics": "write a redacted file about a device, or all, for a bug report",
    "health": "exit 0 while the bridge that runs here is online",
}
_DEMO_SETTINGS = {"upnp.interfaces": "lo", "upnp.callback_port": "0", "http.port": "0"}
_SEARCH_S = 4.0


def main(words: Sequence[str] | None = None) -> int:
    """Carry out a command; return its exit status: 2 where a setting or a word is wrong."""
    if words is None:
        hide_secrets()
        words = sys.argv[1:]
    words = list(words)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "run")
    given = _parser().parse_args(words)
    flags = {name: text for name, text in vars(given).items() if name in _names()}
    try:
        chosen = settings.load(flags)
        if given.command == "demo":
            chosen = settings.load(flags | _not_chosen(chosen))
        return _carry_out(given, chosen)
    except BridgeError as error:
        return _complain(error)
    except ExceptionGroup as group:
        wrong, other = group.split(BridgeError)
        if wrong is None or other is not None:
            raise
        return _complain(_first(wrong))


def _carry_out(given: argparse.Namespace, chosen: Settings) -> int:
    # Each command imports what it needs: `health` must not cost what a bridge does.
    match given.command:
        case "run" | "demo":
            from bridge.commandline.run import run  # noqa: PLC0415

            return run(chosen, demo=given.command == "demo")
        case "discover":
            from bridge.commandline.discover import discover  # noqa: PLC0415

            return discover(chosen, as_json=given.json, seconds=given.seconds)
        case "call":
            from bridge.commandline.call import call  # noqa: PLC0415

            return call(chosen, given.words)
        case "diagnostics":
            from bridge.commandline.diagnostics import diagnostics  # noqa: PLC0415

            return diagnostics(chosen, given.device, output=given.output, seconds=given.seconds)
        case "doctor":
            from bridge.commandline.doctor import doctor  # noqa: PLC0415

            return doctor(chosen, as_json=given.json)
        case _:
            from bridge.commandline.health import health  # noqa: PLC0415

            return health(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="upnp2mqtt",
        description="Every UPnP device on the network, mirrored onto MQTT.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"upnp2mqtt {__version__}")
    flags = argparse.ArgumentParser(add_help=False)
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
                "--seconds", type=float, default=_SEARCH_S, help="how long to listen for answers"
            )
        if command == "doctor":
            one.add_argument("--json", action="store_true", help="print JSON")
        if command == "diagnostics":
            one.add_argument(
                "device", nargs="?", metavar="UDN", help="or the URL of its description; else all"
            )
            one.add_argument(
                "--output",
                default="upnp2mqtt-diagnostics.json",
                metavar="FILE",
                help="- is standard output",
            )
            one.add_argument("--seconds", type=float, default=_SEARCH_S, help="how long to search")
        if command == "call":
            one.add_argument("words", nargs="+", metavar="WORD", help="UDN [SERVICE] ACTION …")
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


def _complain(error: BaseException) -> int:
    sys.stderr.write(f"upnp2mqtt: {error}\n")
    return 2 if isinstance(error, ConfigError) else 1


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
