"""Which action sets a state variable, and which one tells it (UDA 2.0, section 2.5).

The SCPD says so by each argument's relatedStateVariable; nothing here knows a service by name.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bridge.model.device import Action, Argument, Scpd, once_for_each

_READ_ONLY = ("Get", "Browse", "Search", "Is", "List")
INSTANCE, CHANNEL = "0", "Master"
"""What counts where nobody names an InstanceID or a channel (AVTransport, RenderingControl 1.0)."""

_MOST_INPUTS = 3  # the value, an InstanceID and a channel
_INSTANCE = ("InstanceID", "A_ARG_TYPE_InstanceID")
_CHANNEL = ("Channel", "A_ARG_TYPE_Channel")
_NO_STATE = "A_ARG_TYPE_"  # what only gives arguments a type (UDA 2.0, section 2.5)


@dataclass(frozen=True, slots=True)
class Accessor:
    """An action that sets or tells a variable, and the argument that carries the value.

    `instance` and `channel` name the in-arguments that choose between values, None where there is
    none; there are no others.
    """

    action: Action
    argument: Argument
    instance: str | None = None
    channel: str | None = None

    def selection(self, instance: str | None, channel: str | None) -> dict[str, object]:
        """Return the in-arguments that choose a value, defaults in place of None.

        Raises LookupError, for people, where the action cannot choose so.
        """
        chosen: dict[str, object] = {}
        for given, name, default, word in (
            (instance, self.instance, INSTANCE, "InstanceID"),
            (channel, self.channel, CHANNEL, "channel"),
        ):
            if name is not None:
                chosen[name] = default if given is None else given
            elif given is not None:
                raise LookupError(f"{self.action.name} knows no {word}")
        return chosen

    def place(
        self, instance: str | None = None, channel: str | None = None
    ) -> tuple[str | None, str | None]:
        """Return InstanceID and channel of the value, defaults in place of None.

        A value that is chosen by its channel alone stands under the default InstanceID.
        """
        if self.channel is not None:
            return instance or INSTANCE, channel or CHANNEL
        return (None if self.instance is None else instance or INSTANCE), None


def setter(scpd: Scpd, variable: str) -> Accessor | None:
    """Return the action that sets a variable; None where there is none."""
    return setter_among(setters(scpd), variable)


def setter_among(found: Mapping[str, Accessor], variable: str) -> Accessor | None:
    """Return the one of a service's `setters` that sets a variable; None where there is none.

    One that says what is, and not what is wanted, is set by its counterpart: `Status` by what sets
    `Target`, `LoadLevelStatus` by what sets `LoadLevelTarget` (SwitchPower 1.0, Dimming 1.0).
    """
    if variable not in found and variable.endswith("Status"):
        variable = f"{variable.removesuffix('Status')}Target"
    return found.get(variable)


def getter(scpd: Scpd, variable: str) -> Accessor | None:
    """Return the action that tells a variable; None where there is none."""
    return getters(scpd).get(variable)


@once_for_each
def setters(scpd: Scpd) -> Mapping[str, Accessor]:
    """Return the action that sets it for every variable that has one of its own."""
    actions = (action for action in scpd.actions.values() if not _tells(action))
    return _best("Set", scpd, (one for action in actions for one in _setters(action)))


@once_for_each
def getters(scpd: Scpd) -> Mapping[str, Accessor]:
    """Return the action that tells it, and by its name does no more, for every such variable."""
    actions = (action for action in scpd.actions.values() if _tells(action))
    return _best("Get", scpd, (one for action in actions for one in _getters(action)))


def usual_channel(scpd: Scpd, accessor: Accessor) -> str:
    """Return the channel to ask for: the whole, or the first where there is no whole."""
    variable = next(a.variable for a in accessor.action.inputs if a.name == accessor.channel)
    allowed = scpd.variables[variable].allowed_values if variable in scpd.variables else ()
    return CHANNEL if not allowed or CHANNEL in allowed else allowed[0]


def is_carrier(argument: Argument) -> bool:
    """Return whether an in-argument says what a state variable is to be."""
    is_choice = _is_instance(argument) or _is_channel(argument)
    return not (is_choice or argument.variable.startswith(_NO_STATE))


def selected(action: Action, sent: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return InstanceID and channel that an action was sent with, None for what it has not."""
    instance = next((one.name for one in action.inputs if _is_instance(one)), "")
    channel = next((one.name for one in action.inputs if _is_channel(one)), "")
    return sent.get(instance), sent.get(channel)


def _tells(action: Action) -> bool:
    return only_reads(action.name) or "Get" in action.name  # X_DLNA_GetBytePositionInfo


def _setters(action: Action) -> Iterator[Accessor]:
    inputs = action.inputs
    for carrier in inputs if len(inputs) <= _MOST_INPUTS else ():
        if carrier.variable.startswith(_NO_STATE) or _is_instance(carrier):
            continue
        chosen = _selectors(one for one in inputs if one is not carrier)
        if chosen is not None and all(
            a is carrier or a.variable != carrier.variable for a in inputs
        ):
            yield Accessor(action, carrier, *chosen)


def _getters(action: Action) -> Iterator[Accessor]:
    chosen = _selectors(action.inputs)
    if chosen is not None:
        times = Counter(argument.variable for argument in action.outputs)
        for carrier in action.outputs:
            if times[carrier.variable] == 1:
                yield Accessor(action, carrier, *chosen)


def _selectors(arguments: Iterable[Argument]) -> tuple[str | None, str | None] | None:
    """Return the names of the arguments for InstanceID and channel; None if there are others."""
    instance = channel = None
    for argument in arguments:
        if instance is None and _is_instance(argument):
            instance = argument.name
        elif channel is None and _is_channel(argument):
            channel = argument.name
        else:
            return None
    return instance, channel


def _is_instance(argument: Argument) -> bool:
    return argument.name in _INSTANCE or argument.variable in _INSTANCE


def _is_channel(argument: Argument) -> bool:
    return argument.name in _CHANNEL or argument.variable in _CHANNEL


def _best(verb: str, scpd: Scpd, found: Iterable[Accessor]) -> Mapping[str, Accessor]:
    """Return of each variable of the SCPD the one named after it, else the shortest.

    `GetVolumeDBRange` tells `VolumeDB` twice, `GetInfo` of some routers tells of everything.
    """
    best: dict[str, Accessor] = {}

    def rank(one: Accessor) -> tuple[bool, bool, int]:
        name = one.action.name
        is_named_so = name == f"{verb}{one.argument.variable}"
        return not is_named_so, not name.startswith(verb), len(one.action.arguments)

    for one in found:
        if one.argument.variable not in scpd.variables:
            continue
        other = best.get(one.argument.variable)
        if other is None or rank(one) < rank(other):
            best[one.argument.variable] = one
    return best


def only_reads(action: str) -> bool:
    """Return whether an action changes nothing, by its name."""
    return action.startswith(_READ_ONLY)
