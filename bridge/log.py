"""The log: one line per fact on standard error, for people on a terminal, as JSON elsewhere.

A line that standard error does not take is lost: a full disk must not end the bridge.
"""

import io
import logging
import os
import sys
import textwrap
from collections import Counter, OrderedDict
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any, BinaryIO, Literal, cast
from unicodedata import combining, east_asian_width

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_STDERR = 2
_FIRST = ("event", "level", "name")
_INDENT = " " * 9
_USUAL_COLUMNS, _LEAST_COLUMNS = 80, 40
_COLOURS = {"warning": "33", "error": "31", "critical": "31", "debug": "2"}
"""Of a line's head (ECMA-48); others are bold."""
BURST = 200
"""The most lines of one `event` at once; from then on one a second."""
_MOST_EVENTS = 1024

Event = MutableMapping[str, Any]
Listener = Callable[[Event], None]
_listeners: list[tuple[int, Listener]] = []


class _StandardError(io.RawIOBase):
    """Standard error, for which everything can be written."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes of any kind
        with suppress(OSError):
            os.write(_STDERR, data)
        return len(data)


class TokenBuckets:
    """Bounds what strangers cause: `burst` at once of each source, and then `rate_per_s`.

    Of more than `most` sources it forgets the one that has been silent the longest.
    """

    def __init__(self, burst: float, rate_per_s: float, most: int) -> None:
        self._burst = burst
        self._rate_per_s = rate_per_s
        self._most = most
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, source: str, now_s: float) -> bool:
        """Return whether one more of this source is to pass now."""
        tokens, then_s = self._sources.pop(source, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - then_s) * self._rate_per_s)
        is_admitted = tokens >= 1
        self._sources[source] = (tokens - is_admitted, now_s)
        if len(self._sources) > self._most:
            self._sources.popitem(last=False)
        return is_admitted


class Bound:
    """Bounds the lines of each `event`: strangers cause some, and may have them repeat for ever."""

    def __init__(self) -> None:
        self._lines = TokenBuckets(BURST, 1.0, _MOST_EVENTS)
        self._left_out: Counter[str] = Counter()

    def admit(self, event: str, now_s: float) -> int | None:
        """Return how many lines of an event were left out before this one, None to leave it out."""
        if self._lines.admits(event, now_s):
            return self._left_out.pop(event, 0)
        self._left_out[event] += 1
        return None


class _Lines:
    """Makes lines for people: a fact a line; on a terminal a device's is cut at its width.

    What somebody has to do something about is told whole, in lines that stand below each other.
    """

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._has_colours = is_terminal and not is_plain

    def __call__(self, _: object, __: str, event: Event) -> str:
        facts = dict(event)
        stamp, what, level = (str(facts.pop(key, "")) for key in ("timestamp", "event", "level"))
        trace = facts.pop("exception", None)
        advice = facts.pop("advice", ())
        head = " ".join(filter(None, (stamp, level if level != "info" else "", _clean(what))))
        is_device = "name" in facts
        name = _clean(facts.pop("name", ""))
        parts = [name] if name else []
        reason = facts.pop("reason", None)
        is_sentence = isinstance(reason, str) and " " in reason
        if reason is not None and not is_sentence:
            facts["reason"] = reason
        parts += [f"{key}={_clean(value)}" for key, value in facts.items()]
        text = " ".join((head, *parts)) + (f": {_clean(reason)}" if is_sentence else "")
        lines = self._laid_out(text, is_device=is_device)
        for each in advice if isinstance(advice, list | tuple) else ():
            lines += self._laid_out(f"{_INDENT}→ {_clean(each)}", is_device=False)
        if self._has_colours:
            colour = _COLOURS.get(level, "1")
            lines[0] = lines[0].replace(head, f"\x1b[{colour}m{head}\x1b[0m", 1)
        return "\n".join((*lines, *([str(trace)] if trace else ())))

    def _laid_out(self, text: str, *, is_device: bool) -> list[str]:
        if not self._is_terminal:
            return [text]
        width = _columns()
        if is_device:
            return [_cut(text, width)]
        return textwrap.wrap(
            text,
            width,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            drop_whitespace=True,
        ) or [text]


def _columns() -> int:
    try:
        return max(os.get_terminal_size(_STDERR).columns or _USUAL_COLUMNS, _LEAST_COLUMNS)
    except OSError:
        return _USUAL_COLUMNS


def _clean(value: object) -> str:
    """Return a value as text that no terminal takes for a command."""
    return "".join(one if one.isprintable() else "\ufffd" for one in str(value))


def _cut(text: str, columns: int) -> str:
    """Return as much of a text as so many columns hold; wide characters take two."""
    taken = 0
    for at, one in enumerate(text):
        taken += 0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1
        if taken > columns:
            return f"{text[: max(at - 2, 0)]}…"
    return text


def configure(level: str, form: Literal["console", "json"] | None) -> None:
    """Set level and form of all logging of this process; libraries' warnings join in."""
    set_level(level)
    terminal = sys.stderr.isatty()
    console = form == "console" or (form is None and terminal)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
        _tell_listeners,
        _ordered,
    ]
    renderer: Any = (
        _Lines(is_terminal=terminal)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    # The buffer of `sys.stderr` would keep a line that was not taken and fail with the next.
    stream = io.TextIOWrapper(cast("BinaryIO", _StandardError()), "utf-8", "backslashreplace")
    structlog.configure(
        processors=[_filtered, _bounded(Bound()), *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def set_level(level: str) -> None:
    """Set the least severe level that is written from now on."""
    global _level  # noqa: PLW0603 - logging is the process's
    _level = LEVELS[level]


def level() -> str:
    """Return the least severe level that is written now."""
    return next(name for name, number in LEVELS.items() if number == _level)


def listen(listener: Listener, least: str = "warning") -> Callable[[], None]:
    """Have lines at a level and above told to a listener; return what ends that.

    What is below the level of the log is not written, and not told either.
    """
    listening = LEVELS[least], listener
    _listeners.append(listening)
    return lambda: _listeners.remove(listening)


_level = logging.INFO


def _filtered(_: object, method: str, event: Event) -> Event:
    if LEVELS.get(method, logging.ERROR) < _level:
        raise structlog.DropEvent
    return event


def _bounded(bound: Bound) -> Callable[[object, str, Event], Event]:
    def admitted(_: object, method: str, event: Event) -> Event:
        if method != "debug":  # asked for, line by line
            left_out = bound.admit(str(event["event"]), monotonic())
            if left_out is None:
                raise structlog.DropEvent
            if left_out:
                event["left_out"] = left_out
        return event

    return admitted


def _ordered(_: object, __: str, event: Event) -> Event:
    """Put first what a reader looks for first: what happened, how bad it is, and to whom."""
    first = {key: event.pop(key) for key in _FIRST if key in event}
    last = {key: event.pop(key) for key in ("reason", "advice", "timestamp") if key in event}
    return {**first, **event, **last}


def _tell_listeners(_: object, __: str, event: Event) -> Event:
    level = LEVELS.get(event.get("level", ""), logging.DEBUG)
    for least, listener in tuple(_listeners):
        if level >= least:
            listener(dict(event))
    return event
