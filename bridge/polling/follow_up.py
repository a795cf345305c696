"""What is to be asked after an action that may have changed something, and how often.

What an action sets, its SCPD says by related state variables; what else it changes is known of some
standard actions, and of others everything that the service is asked for may be another. Pure: time
is an argument, in seconds of one monotonic clock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bridge.model import accessors, topics
from bridge.model.accessors import only_reads
from bridge.model.datatypes import Value
from bridge.model.device import Action, Device, Key, Scpd, Service
from bridge.polling.plan import (
    LOADED,
    MATTERS,
    POSITION,
    TRACK,
    Question,
    When,
    service_name,
    when_asked,
)
from bridge.tree.service_state import ServiceState

GRACE_S = 1.0
"""How long events have that told a variable before, until it is asked for."""

MAX_QUESTIONS = 8
"""The most that is asked after one action."""

_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""From one asking to the next, while the answer is not yet what it should be."""
_TIMES_UNTOLD = len(_PAUSES_S) + 1
_TIMES_TOLD = 3
_TIMES_UNKNOWN = 2

_MOVED = TRACK | {"TransportState"}
_CONSEQUENCES: Mapping[str, AbstractSet[str]] = {
    **dict.fromkeys(("Play", "Stop", "Pause", "Record", "Next", "Previous"), _MOVED),
    "Seek": _MOVED | POSITION,
    "SetAVTransportURI": _MOVED | LOADED,
    "SetNextAVTransportURI": frozenset(),
    "SetPlayMode": frozenset(),
    "SetRecordQualityMode": frozenset(),
}
"""What actions of AVTransport change beside what they set (AVTransport 1.0, section 2.4)."""

_RELATED = {"SwitchPower": "Dimming", "Dimming": "SwitchPower", "basicevent": "insight"}
"""Services of one device, by the names in their types, of which one changes with the other."""

_LOOSE = ("URI", "MetaData")
"""What ends so is often not taken as it was set."""


@dataclass(slots=True)
class AwaitedAnswer:
    """A question after an action, until its answer is what it should be, or no more is to be hoped.

    `aims` has the texts that variables were set to, by name; of the others of the question it is
    not known what they should be. `heard` are the variables that events of the service, whose
    `state` is given, have told since the action was sent, until `close`.
    """

    question: Question
    aims: Mapping[str, str]
    state: ServiceState
    heard: set[str] = field(init=False)
    at: float = 0.0
    since: float = 0.0
    times: int = 0
    told: AbstractSet[str] = frozenset()
    """The variables that events told before."""

    def __post_init__(self) -> None:
        self.heard = self.state.heard.listen()

    def close(self) -> None:
        """Listen to events no more."""
        self.state.heard.ignore(self.heard)

    @property
    def key(self) -> tuple[object, ...]:
        """What is the same for checks of which the last one counts."""
        return self.question.service_id, self.question.action.name, self.question.arguments

    def begin(self, now: float, *, is_deaf: bool) -> None:
        """Have it asked at once, where events told all of it before after a moment."""
        self.told = frozenset() if is_deaf else self.state.told or frozenset()
        waits = self.question.wanted.keys() <= self.told
        self.since = now
        self.at = now + GRACE_S if waits else now

    def begin_once(self, at: float) -> None:
        """Have it asked at this time, and not again."""
        self.since = self.at = at
        self.times = _TIMES_UNKNOWN - 1

    def open(self, readers: Mapping[str, Callable[[str], Value]]) -> frozenset[str]:
        """Return the variables that are still to be asked for."""

        def is_open(name: str, key: Key) -> bool:
            known = self.state.known(key)
            is_told = name in self.told
            most = _TIMES_TOLD if is_told else _TIMES_UNTOLD
            if name in self.aims:
                aim = readers.get(name, str)(self.aims[name])
                is_there = known == aim and (name in self.heard or self.times > 0)
                return not is_there and self.times < most
            if name in self.heard or (is_told and self.heard):
                return False
            is_moving = name == "TransportState" and known == "TRANSITIONING"
            return self.times < (most if is_moving else _TIMES_UNKNOWN)

        return frozenset(
            name for name, (_, key, _) in self.question.wanted.items() if is_open(name, key)
        )

    def note_asked(self, now: float) -> None:
        """Note that it was asked, with an answer or without one."""
        self.at = now + _PAUSES_S[min(self.times, len(_PAUSES_S) - 1)]
        self.times += 1


@dataclass(frozen=True, slots=True)
class FollowUps:
    """What is to be asked after an action, with what it set, by the name of the variable."""

    question: Question
    aims: Mapping[str, str] = field(default_factory=dict)


def questions_after(
    own: str, device: Device, service: Service, action: Action, arguments: Sequence[tuple[str, str]]
) -> tuple[FollowUps, ...]:
    """Return what to ask of the device with this id, whose service's action was sent with these."""
    if only_reads(action.name):
        return ()
    kind = service_name(service)
    aims = _aims(service.scpd, action, arguments)
    names = dict.fromkeys(aims)
    told = accessors.getters(service.scpd)
    if kind == "AVTransport":
        names |= dict.fromkeys(sorted(_CONSEQUENCES.get(action.name, _MOVED)))
    elif not told.keys() & aims.keys():
        names |= dict.fromkeys(_all(service.scpd, kind))
    aims = {name: text for name, text in aims.items() if not name.endswith(_LOOSE)}
    chosen = accessors.selected(action, dict(arguments))
    found = list(_questions(own, service, names, aims, chosen))
    for other in device.services:
        if service_name(other) == _RELATED.get(kind) and other is not service:
            found += _questions(own, other, sorted(MATTERS[service_name(other)]), {}, (None, None))
    return tuple(found[:MAX_QUESTIONS])


def questions_of(own: str, service: Service, keys: Iterable[Key]) -> Iterator[FollowUps]:
    """Yield what to ask of a service of the device with this id, to know these values again."""
    for key in keys:
        yield from _questions(own, service, [key.name], {}, (key.instance, key.channel))


def _aims(scpd: Scpd, action: Action, arguments: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return what an action sets, by the name of the variable; a target's status with it."""
    sent = dict(arguments)
    aims: dict[str, str] = {}
    for argument in action.inputs:
        name = argument.variable
        if accessors.is_carrier(argument) and name in scpd.variables and argument.name in sent:
            if name.endswith("Target"):
                status = f"{name.removesuffix('Target')}Status"
                if status in scpd.variables:
                    aims[status] = sent[argument.name]
            aims[name] = sent[argument.name]
    return aims


def _all(scpd: Scpd, kind: str) -> list[str]:
    """Return all that the service is asked for, what matters first."""
    matters = MATTERS.get(kind, frozenset())
    names = [name for name in accessors.getters(scpd) if when_asked(scpd, kind, name) is not None]
    return sorted(names, key=lambda name: name not in matters)


def _questions(
    own: str,
    service: Service,
    names: Iterable[str],
    aims: Mapping[str, str],
    chosen: tuple[str | None, str | None],
) -> Iterator[FollowUps]:
    """Yield the questions that tell these variables, of an InstanceID and a channel."""
    scpd = service.scpd
    instance, channel = chosen
    grouped: dict[str, tuple[tuple[tuple[str, str], ...], dict[str, tuple[str, Key, When]]]] = {}
    for name in names:
        accessor = accessors.getter(scpd, name)
        if accessor is None or not only_reads(accessor.action.name):
            continue
        at = (channel or accessors.usual_channel(scpd, accessor)) if accessor.channel else None
        sent = accessor.selection(instance if accessor.instance else None, at)
        texts = tuple((one.name, str(sent[one.name])) for one in accessor.action.inputs)
        key = Key(name, *accessor.place(instance, at))
        when = when_asked(scpd, service_name(service), name) or When.DONE
        _, wanted = grouped.setdefault(accessor.action.name, (texts, {}))
        wanted[name] = accessor.argument.name, key, when
    for getter, (texts, wanted) in grouped.items():
        question = Question(
            topics.service_id(own, service.level),
            service,
            scpd.actions[getter],
            texts,
            wanted,
            is_last_resort=False,
        )
        yield FollowUps(question, {name: aims[name] for name in wanted if name in aims})
