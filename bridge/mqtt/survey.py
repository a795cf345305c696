"""What is asked of a broker at the connection: all that it holds of ours, and what it can do.

What comes shows that retained messages are kept and come by wildcard. Where nothing does, a probe
of our own, retained for a moment, shows it, and that they can be cleared. What comes for one wide
filter shows whether there is a limit.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from bridge.formats import jsontext
from bridge.tree.messages import Publication
from bridge.tree.retained import join_parts

PROBE_S = 2.0
"""How long a retained message may take that is known to be there."""

_PROBE_EXPIRY_S = 60
_FEW = 2_000
"""As many topics are counted a second time without a thought."""
_MOST = 5_000
_MANY = 1_000
_SAMPLE = 8
_AT_ONCE = 30
_KINDS = ("variable", "action", "argument", "value")
_DEPTH = 4


class Lack(StrEnum):
    """What a broker cannot do that the bridge's store is made of."""

    RETAINED = "retained"
    WILDCARDS = "wildcards"
    CLEARING = "clearing"
    MANY = "many"


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the retained messages of these filters sent. The outcome: those refused, with why."""

    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Publish. The outcome: why that was refused, None where it was not."""

    publication: Publication


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until something holds, or until nothing has come for a while: `PROBE_S` if `long`."""

    until: Callable[[], bool] = lambda: False
    long: bool = False


Step: TypeAlias = Ask | Say | Await
Outcome: TypeAlias = Mapping[str, str] | str | None
Steps: TypeAlias = Generator[Step, Outcome, None]


class Survey:
    """One look at a broker: `steps` are to be carried out, and `take` is told what comes.

    `pieces` and `others` yield topic filters by what is held by then, in pieces of less than 1,000
    messages each; the first of all must cover `probe`, a topic that nobody else uses. What is then
    known: `held`, the `lacks`, the `limit` of messages for one filter, and what was `refused`.
    """

    def __init__(  # noqa: PLR0913 - most by name
        self,
        pieces: Callable[[], Iterable[tuple[str, ...]]],
        others: Callable[[], Iterable[tuple[str, ...]]] = tuple,
        *,
        held: dict[str, bytes],
        base: str,
        probe: str,
        token: bytes,
    ) -> None:
        self.held = held
        self.lacks: set[Lack] = set()
        self.limit: int | None = None
        self.refused: dict[str, str] = {}
        self._pieces = pieces
        self._others = others
        self._base = base
        self._probe = probe
        self._token = token
        self._asked: set[str] = set()
        self._has_probe = False
        self._leftover = False
        self._is_counting = False
        self._counted: set[str] = set()

    def take(self, topic: str, payload: bytes) -> None:
        """Take a retained message."""
        if topic == self._probe:
            self._has_probe = self._has_probe or payload == self._token
            self._leftover = self._leftover or bool(payload)
        elif payload:
            self.held[topic] = payload
            if self._is_counting:
                self._counted.add(topic)

    def steps(self) -> Steps:
        """Yield what is to be done, step by step; each is told its outcome by `send`."""
        pieces = iter(self._pieces())
        yield from self._ask(next(pieces))
        if not self._has_ours:
            yield Await(lambda: self._has_ours)
        is_probed = self._leftover
        if not self._has_ours and not self.refused:
            is_probed = yield from self._try_probe()
        if is_probed:
            yield Say(Publication(self._probe, b""))
        if self.lacks:
            return
        yield from self._read(pieces)
        known = len(self.held)
        if is_probed:
            yield from self._check_clearing()
        else:
            yield Await()
        if len(self.held) > known:
            yield from self._read_late()
        yield from self._check_limit()

    @property
    def _has_ours(self) -> bool:
        """Whether something came by wildcard, which shows all that a probe would."""
        return bool(self.held) or self._leftover or self._has_probe

    def _try_probe(self) -> Generator[Step, Outcome, bool]:
        """Retain a message where there is none, and see how it comes; return whether it did."""
        publication = Publication(self._probe, self._token, expiry_s=_PROBE_EXPIRY_S)
        if (yield Say(publication)) is not None:
            return False
        yield Ask(next(iter(self._pieces())))
        yield Await(lambda: self._has_ours, long=True)
        if not self._has_ours:
            yield Ask((self._probe,))
            yield Await(lambda: self._has_probe, long=True)
            self.lacks.add(Lack.WILDCARDS if self._has_probe else Lack.RETAINED)
        return True

    def _ask(self, filters: Collection[str]) -> Generator[Step, Outcome, None]:
        """Ask for what was not asked for before."""
        new = tuple(one for one in filters if one not in self._asked)
        if new:
            self._asked.update(new)
            refused = yield Ask(new)
            if isinstance(refused, Mapping):
                self.refused.update(refused)

    def _read(self, pieces: Iterable[tuple[str, ...]]) -> Steps:
        for piece in pieces:
            yield from self._ask(piece)
        for piece in self._others():
            yield from self._ask(piece)

    def _check_clearing(self) -> Steps:
        """Ask for the cleared probe; twice, since a broker may take a moment."""
        for _ in range(2):
            self._leftover = False
            yield Ask((self._probe,))
            yield Await()
            if not self._leftover:
                return
        self.lacks.add(Lack.CLEARING)

    def _read_late(self) -> Steps:
        """Ask for what is named by messages that came late, as long as there are such."""
        for _ in range(_DEPTH):
            asked = len(self._asked)
            yield from self._read(self._pieces())
            if len(self._asked) == asked:
                return
            yield Await()

    def counting(self) -> Steps:
        """Yield what is to be done to see whether one filter brings all that is `held` by now."""
        yield from self._check_limit()

    def _check_limit(self) -> Steps:
        """See whether one filter brings all that it should; read what a limit has cut off."""
        topic_filter, expected = _wide(self._base, self.held)
        self._is_counting = True
        counts = []
        missing = expected
        for _ in range(2):
            self._counted = set()
            if not expected or (yield Ask((topic_filter,))) or self._counted >= expected:
                return
            yield Await()
            missing = expected - self._counted
            if not missing:
                return
            counts.append(len(self._counted))
        self._counted = set()
        yield Ask(tuple(sorted(missing)[:_SAMPLE]))
        yield Await()
        if counts[0] != counts[1] or not self._counted & missing:
            return  # what is lost on a slow way, or was cleared meanwhile, tells of no limit
        self.lacks.add(Lack.MANY)
        self.limit = counts[0]
        for top in sorted(one[:-2] for one in self._asked if one.endswith("/#")):
            yield from self._split(top, _DEPTH)
        yield Await()

    def _split(self, top: str, depth: int) -> Steps:
        """Read in pieces what is below a topic, where there is as much as the limit."""
        limit = self.limit or 0
        if sum(1 for one in self.held if f"{one}/".startswith(f"{top}/")) < limit or not depth:
            return
        yield from self._ask((f"{top}/+",))
        yield Await()
        levels = self._levels(top, depth)
        for at in range(0, len(levels), _AT_ONCE):
            few = levels[at : at + _AT_ONCE]
            yield from self._ask(tuple(f"{top}/{level}/#" for level in few))
        yield Await()
        for level in levels:
            yield from self._split(f"{top}/{level}", depth - 1)

    def _levels(self, top: str, depth: int) -> list[str]:
        """Return what may stand below a topic, by what is held and what documents name."""
        start = len(top) + 1
        levels = {one[start:].partition("/")[0] for one in self.held if one.startswith(f"{top}/")}
        above, _, kind = top.rpartition("/")
        if kind not in _KINDS:
            named = self._children(top)
            levels |= {one.split("/")[1] for one in named if one.count("/") == 1}
            return sorted(levels | set(_KINDS) if depth < _DEPTH else levels)
        kind = "variable" if kind == "value" else kind
        found = (one.rpartition(f"/{kind}/") for one in self._children(above))
        return sorted(levels | {name for _, is_one, name in found if is_one and "/" not in name})

    def _children(self, topic: str) -> list[str]:
        """Return the ids that a document names as those below it."""
        document = jsontext.read(join_parts(self.held, topic))
        children = document.get("children") if isinstance(document, dict) else None
        listed = children if isinstance(children, list) else []
        return [one for one in listed if isinstance(one, str)]


def _wide(base: str, held: Mapping[str, bytes]) -> tuple[str, set[str]]:
    """Return a filter for many of the topics that are held, not for too many, and those topics."""
    ours = [topic for topic in held if topic.startswith(f"{base}/")]
    if len(ours) <= _FEW:
        return f"{base}/#", set(ours)
    start = len(base) + 1
    shapes: Counter[str] = Counter()
    shape_of = {}
    for topic, shape in zip(ours, (_shape(one[start:].split("/")) for one in ours), strict=True):
        if shape:
            shapes[shape] += 1
            shape_of[topic] = shape
    fitting = [(count, shape) for shape, count in shapes.items() if _MANY < count <= _MOST]
    if not fitting:
        return "", set()
    _, best = min(fitting)
    return f"{base}/{best}", {topic for topic, shape in shape_of.items() if shape == best}


def _shape(levels: list[str]) -> str | None:
    """Return the filter, below the base, of all documents that stand alike."""
    match levels:
        case [_, _, "variable" | "action" as kind, _]:
            return f"+/+/{kind}/+"
        case [_, _, "action", _, "argument", _]:
            return "+/+/action/+/argument/+"
    return None


def told(lacks: Collection[Lack], limit: int | None = None) -> list[str]:
    """Return what a broker cannot do and what that costs, the gravest first."""
    return [_WORDS[lack].format(limit=limit or 0) for lack in Lack if lack in lacks]


_WORDS = {
    Lack.RETAINED: "the broker keeps no retained messages: later subscribers see nothing that was "
    "published before, and everything is published again at each start",
    Lack.WILDCARDS: "the broker does not send retained messages to wildcard subscriptions: "
    "hubs find only what is published while they listen, and everything is published again at "
    "each start",
    Lack.CLEARING: "the broker does not clear a retained message when an empty one is published: "
    "subscribers still see devices that are gone",
    Lack.MANY: "the broker sends only {limit:,} retained messages for one subscription: hubs "
    "that subscribe to the whole tree miss the rest",
}
