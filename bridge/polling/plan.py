"""What a service is asked for regularly, since its events do not tell it, and when.

Pure: time is an argument, in seconds of one monotonic clock. Nothing is sent here.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from math import inf
from typing import TypeAlias

from bridge.model import accessors, topics
from bridge.model.accessors import Accessor, only_reads
from bridge.model.device import Action, Key, Scpd, Service, once_for_each

POSITION_S = 10.0
"""How often a player is asked where it is, and what its track is, while it plays."""

MEDIA_S = 30.0
"""How often it is asked what is loaded, and how it plays, while it plays."""

_NONE: frozenset[str] = frozenset()
POSITION = frozenset(
    f"{kind}{what}Position" for kind in ("Relative", "Absolute") for what in ("Time", "Counter")
)
"""What AVTransport events never, not even in `LastChange` (AVTransport 1.0, section 2.3)."""

TRACK = frozenset(
    {"CurrentTrack", "CurrentTrackURI", "CurrentTrackMetaData", "CurrentTrackDuration"}
)
"""What AVTransport has of the track; all of it changes with the track."""
LOADED = frozenset(
    {"AVTransportURI", "AVTransportURIMetaData", "CurrentMediaDuration", "NumberOfTracks"}
)
"""What AVTransport has of what is loaded."""
PLAYED = TRACK | LOADED | {"CurrentPlayMode"}
"""What `media` is made of, beside the state."""

MOVES = frozenset({"TransportState", "CurrentTrack", "CurrentTrackURI", "AVTransportURI"})
"""What has a player asked at once when it changes: the rest may be another too."""

_WAN_CONNECTION = frozenset(
    {"ConnectionStatus", "LastConnectionError", "Uptime", "ExternalIPAddress"}
)
MATTERS: Mapping[str, AbstractSet[str]] = {
    "AVTransport": POSITION | {"TransportState"},
    "RenderingControl": {"Volume", "Mute"},
    "ContentDirectory": {"SystemUpdateID"},
    "SwitchPower": {"Status"},
    "Dimming": {"LoadLevelStatus"},
    "WANIPConnection": _WAN_CONNECTION,
    "WANPPPConnection": _WAN_CONNECTION,
    "WANCommonInterfaceConfig": {
        "TotalBytesSent",
        "TotalBytesReceived",
        "TotalPacketsSent",
        "TotalPacketsReceived",
        "Layer1UpstreamMaxBitRate",
        "Layer1DownstreamMaxBitRate",
        "PhysicalLinkStatus",
    },
    "basicevent": {"BinaryState"},
    "insight": {"InsightParams"},
}
"""The state variables, by the name in the serviceType, that people want to see in any case."""


class When(Enum):
    """When a variable is asked for."""

    ALWAYS = "always"
    UNPROMISED = "unpromised"  # while no event has told it but a first one
    PLAYING = "playing"
    PLAYED = "played"  # while it plays and no event tells it, or none comes
    MISSING = "missing"  # while no event has told it, or none comes
    PROMISED = "promised"  # likewise, and it matters less
    DEAF = "deaf"  # while no event comes
    DONE = "done"  # never regularly: after an action alone


@dataclass(frozen=True, slots=True)
class Hearing:
    """What events tell of a service: whether none come, and which variables those that came told.

    `told` is None while there has been none, `proven` are those that another than a first event
    told; `plays` is whether the device plays now. `is_awaited` says that a first event may come any
    moment.
    """

    is_deaf: bool = False
    told: AbstractSet[str] | None = None
    plays: bool = False
    proven: AbstractSet[str] = _NONE
    is_awaited: bool = False


_LEFT = frozenset({When.DEAF, When.PROMISED})
_PROMISED = frozenset({When.MISSING, When.PROMISED, When.DEAF})
_CHECKED = frozenset({When.MISSING, When.PROMISED, When.PLAYED})


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """An action that changes nothing, with its in-arguments, and what is wanted of the answer.

    `wanted` has the out-argument that tells it, the key of the value and when it is wanted, by the
    name of the variable. `is_last_resort` says that it is of little use where events come.
    """

    service_id: str
    service: Service
    action: Action
    arguments: tuple[tuple[str, str], ...]
    wanted: Mapping[str, tuple[str, Key, When]]
    is_last_resort: bool

    def is_like(self, other: "Question") -> bool:
        """Return whether it is the same action of the same service with the same arguments."""
        return (self.service_id, self.action.name, self.arguments) == (
            other.service_id,
            other.action.name,
            other.arguments,
        )

    def told(
        self, texts: Mapping[str, str], names: AbstractSet[str], *, is_deaf: bool
    ) -> list[tuple[Key, str]]:
        """Return the values of these variables from an answer's out-arguments.

        Where events have come meanwhile, those do not count that were asked for want of them.
        """
        return [
            (key, texts[argument])
            for name, (argument, key, when) in self.wanted.items()
            if name in names and argument in texts and (is_deaf or when is not When.DEAF)
        ]

    def still(self, names: AbstractSet[str], heard: Hearing) -> frozenset[str]:
        """Return of the variables that were asked for those that are not left to events now."""
        wanted = _wanted(self, heard)
        return frozenset(n for n in names if n in wanted or self.wanted[n][2] not in _LEFT)

    def said_too(
        self, texts: Mapping[str, str], names: AbstractSet[str], heard: Hearing
    ) -> list[tuple[Key, str]]:
        """Return what an answer says beside these names of variables that events tell.

        It shows whether they do.
        """
        return [
            (key, texts[argument])
            for name, (argument, key, when) in self.wanted.items()
            if name not in names and argument in texts and when in _CHECKED
            if heard.told is not None and name in heard.told
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for at all; `interval_s` is 0 where nothing is.

    Patterns are `*` and `?` over `<udn>/<service>/<Var>`, `<service>/<Var>` and `<Var>`.
    """

    interval_s: float = 0
    patterns: tuple[str, ...] = ()

    def questions(self, device: str, service: Service) -> tuple[Question, ...]:
        """Return what a service of the device with this id is ever asked."""
        own = topics.service_id(device, service.level)
        named = self._named(own, service.scpd)
        asked = _asked(service.scpd, service_name(service), named) if self.interval_s else ()
        return tuple(Question(own, service, *one) for one in asked)

    def asked_for(self, device: str, service: Service) -> frozenset[str]:
        """Return the variables of a service that it is asked for although its events come."""
        if not self.interval_s:
            return _NONE
        named = self._named(topics.service_id(device, service.level), service.scpd)
        return _untold(service.scpd, service_name(service), named)

    def settable(self, service: Service) -> frozenset[str]:
        """Return the variables of a service that it is asked for only after they were set."""
        return _settable(service.scpd, service_name(service)) if self.interval_s else _NONE

    def _named(self, own: str, scpd: Scpd) -> frozenset[str]:
        """Return the variables of a service, by its id, that a pattern names."""
        if not self.patterns:
            return _NONE
        device, _, level = own.partition("/")
        return frozenset(
            name
            for name in accessors.getters(scpd)
            for one in (f"{device}/{level}/{name}", f"{level}/{name}", name)
            if any(fnmatchcase(one, pattern) for pattern in self.patterns)
        )


_Wanted: TypeAlias = Mapping[str, tuple[str, Key, When]]
_Asked: TypeAlias = tuple[Action, tuple[tuple[str, str], ...], _Wanted, bool]
"""What a question has beside its service."""


@once_for_each
def _asked(scpd: Scpd, kind: str, named: frozenset[str]) -> tuple[_Asked, ...]:
    """Return what a service of this kind is asked; patterns have `named` some variables."""
    by_action: dict[str, tuple[Accessor, dict[str, tuple[str, Key, When]]]] = {}
    for name, accessor in accessors.getters(scpd).items():
        when = When.ALWAYS if name in named else when_asked(scpd, kind, name)
        if when is not None and only_reads(accessor.action.name):
            _, wanted = by_action.setdefault(accessor.action.name, (accessor, {}))
            channel = accessor.channel and accessors.usual_channel(scpd, accessor)
            key = Key(name, *accessor.place(channel=channel))
            wanted[name] = accessor.argument.name, key, when
    return tuple(
        (one.action, tuple(_arguments(scpd, one)), wanted, _is_last_resort(wanted))
        for one, wanted in by_action.values()
    )


def _is_last_resort(wanted: _Wanted) -> bool:
    return all(when in _LEFT for _, _, when in wanted.values())


@once_for_each
def _untold(scpd: Scpd, kind: str, named: frozenset[str]) -> frozenset[str]:
    return frozenset(
        name
        for _, _, wanted, _ in _asked(scpd, kind, named)
        for name, (_, _, when) in wanted.items()
        if when is not When.DEAF
    )


@once_for_each
def _settable(scpd: Scpd, kind: str) -> frozenset[str]:
    return frozenset(
        name
        for name, getter in accessors.getters(scpd).items()
        if name in accessors.setters(scpd)
        and name != "LastChange"
        and only_reads(getter.action.name)
        and when_asked(scpd, kind, name) is None
    )


def when_asked(scpd: Scpd, kind: str, name: str) -> When | None:
    """Return when a variable of a kind of service is asked for; None: never regularly."""
    matters = name in MATTERS.get(kind, ())
    if kind == "AVTransport" and name in POSITION:
        return When.PLAYING
    if kind == "AVTransport" and name in PLAYED:
        return When.PLAYED
    if name.startswith("A_ARG_TYPE_") or name == "LastChange":
        return None
    if scpd.variables[name].evented:
        return When.MISSING if matters else When.PROMISED
    if "LastChange" in scpd.variables:  # which may hold it
        return When.MISSING if matters else When.DEAF
    return When.UNPROMISED if matters else None


def service_name(service: Service) -> str:
    """Return the name in a serviceType, which its version is not part of."""
    parts = service.service_type.split(":service:")
    return parts[-1].partition(":")[0]


def _arguments(scpd: Scpd, accessor: Accessor) -> Iterator[tuple[str, str]]:
    for argument in accessor.action.inputs:
        is_instance = argument.name == accessor.instance
        text = accessors.INSTANCE if is_instance else accessors.usual_channel(scpd, accessor)
        yield argument.name, text


@dataclass(slots=True)
class _Timer:
    """When a question is due, and how often in a row it was refused."""

    at: float
    refused: int = 0
    was_wanted: frozenset[str] = _NONE
    """What is to be asked once more, to know where a player has stopped."""


_FIRST_RECHECK_S = 1.0
_RECHECK_S = 30.0
_TOGETHER = 60.0
_SLOW = 20.0
_MOST_PAUSES = 6
_LONGEST_PAUSE_S = 3600.0


@dataclass(slots=True)
class Poll:
    """The questions to one root device, one after the other.

    A device that is slow or does not answer is asked ever more rarely, up to 64 times the interval;
    a question that it refuses likewise, by itself.
    """

    interval_s: float
    questions: tuple[Question, ...]
    _timers: dict[int, _Timer] = field(default_factory=dict)
    _failures: int = 0
    _free_at: float = -inf

    def begin(
        self, now: float, chance: float, known: Callable[[Question], bool] = lambda _: False
    ) -> None:
        """Spread the first questions over the first seconds; `chance` is a number from 0 to 1.

        One whose answer is `known`, since the broker remembers it, has as long as it usually has,
        but not where events should tell it and may fail to.
        """
        self._timers = {}
        for number, question in enumerate(self.questions):
            usual_s = self._pause_s(question, question.wanted)
            is_urgent = any(when in _PROMISED for _, _, when in question.wanted.values())
            has_time = known(question) and not is_urgent
            spread_s = usual_s if has_time else min(self.interval_s, 3.0)
            self._timers[number] = _Timer(now + 1.0 + spread_s * chance)

    @property
    def at(self) -> float:
        """When something may be due next; infinity where nothing ever is."""
        return max(self._free_at, min((t.at for t in self._timers.values()), default=inf))

    def due(
        self, now: float, hearing: Mapping[str, Hearing]
    ) -> Iterator[tuple[Question, frozenset[str]]]:
        """Yield what is to be asked now, and which variables of each answer count.

        That which has waited longest comes first, and what is not taken stays due. `hearing` is by
        the id of the service. What is due and not wanted now is looked at again in 30 s, in 1 s
        while a first event may still come. With what is due comes what would be within a sixtieth
        of the interval.
        """
        soon = now + self.interval_s / _TOGETHER
        waiting = sorted((timer.at, n) for n, timer in self._timers.items() if timer.at <= soon)
        for _, number in waiting if waiting and waiting[0][0] <= now else ():
            timer = self._timers[number]
            question = self.questions[number]
            heard = hearing.get(question.service_id, Hearing(is_deaf=True))
            wanted = _wanted(question, heard)
            asked = wanted | timer.was_wanted
            playing = (name for name in wanted if question.wanted[name][2] in _WHILE_PLAYING)
            timer.was_wanted = frozenset(playing) or _NONE  # one object for all that are empty
            if asked:
                pause_s = self._pause_s(question, wanted, plays=heard.plays)
                timer.at = now + pause_s * 2.0**timer.refused
                timer.at = min(timer.at, now + max(self.interval_s, _LONGEST_PAUSE_S))
                yield question, asked
            else:
                is_early = heard.is_awaited or (heard.told is None and not heard.is_deaf)
                recheck_s = _FIRST_RECHECK_S if is_early else _RECHECK_S
                timer.at = now + min(self.interval_s, recheck_s)

    def is_free(self, now: float) -> bool:
        """Return whether the device may be asked now at all."""
        return now >= self._free_at

    def note_answer(self, question: Question, now: float, took_s: float) -> None:
        """Note an answer; one that took long delays all further questions."""
        self._timer(question).refused = 0
        self._failures = 0
        if took_s > self.interval_s / _SLOW:
            self._free_at = max(self._free_at, now + took_s * _SLOW)

    def note_refusal(self, question: Question) -> None:
        """Note that the device does not carry out this action."""
        timer = self._timer(question)
        timer.refused = min(timer.refused + 1, _MOST_PAUSES)

    def note_silence(self, now: float) -> None:
        """Note that the device did not answer at all."""
        self._failures = min(self._failures + 1, _MOST_PAUSES)
        self._free_at = now + self.interval_s * 2.0**self._failures

    def hurry(
        self, service_id: str, now: float, but: Callable[[Question], bool] = lambda _: False
    ) -> bool:
        """Ask a service soon: something was done to it. Return whether it is asked sooner so.

        Not those questions that are left out by `but`.
        """
        hastened = False
        for number, timer in self._timers.items():
            question = self.questions[number]
            is_its = question.service_id == service_id and not but(question)
            if is_its and not timer.refused and timer.at > now:
                timer.at = now
                hastened = True
        return hastened

    def _timer(self, question: Question) -> _Timer:
        return self._timers[self.questions.index(question)]

    def _pause_s(
        self, question: Question, wanted: Collection[str], *, plays: bool = False
    ) -> float:
        if not wanted:
            return min(self.interval_s, _RECHECK_S)
        whens = {question.wanted[name][2] for name in wanted}
        if When.PLAYING in whens or (plays and "TransportState" in wanted):
            return min(self.interval_s, POSITION_S)
        is_played = plays and When.PLAYED in whens
        return min(self.interval_s, MEDIA_S) if is_played else self.interval_s


_WHILE_PLAYING = frozenset({When.PLAYING, When.PLAYED})


def _wanted(question: Question, heard: Hearing) -> frozenset[str]:
    def is_wanted(name: str, when: When) -> bool:
        if when is When.ALWAYS:
            return True
        if when is When.PLAYING:
            return heard.plays
        if heard.is_deaf:
            return True
        match when:
            case When.UNPROMISED:
                return name not in heard.proven
            case When.PLAYED:
                return heard.plays and name not in (heard.told or ())
        is_promised = when in (When.MISSING, When.PROMISED)
        return is_promised and heard.told is not None and name not in heard.told

    return frozenset(
        name for name, (_, _, when) in question.wanted.items() if is_wanted(name, when)
    )
