"""The log: one line per fact on standard error, for people on a terminal, as JSON elsewhere.

A line that standard error does not take is lost: a full disk must not end the bridge.
"""

import io
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any, BinaryIO, Literal, cast

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_STDERR = 2
BURST = 200
"""The most lines of one `event` at once; from then on one a second."""

Event = MutableMapping[str, Any]
Listener = Callable[[Event], None]
_listeners: list[Listener] = []


class _StandardError(io.RawIOBase):
    """Standard error, for which everything can be written."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes of any kind
        with suppress(OSError):
            os.write(_STDERR, data)
        return len(data)


class Bound:
    """Bounds the lines of each `event`: strangers cause some, and may have them repeat for ever."""

    def __init__(self) -> None:
        self._events: dict[str, tuple[float, float, int]] = {}

    def admit(self, event: str, now_s: float) -> int | None:
        """Return how many lines of an event were left out before this one, None to leave it out."""
        tokens, then_s, left_out = self._events.get(event, (BURST, now_s, 0))
        tokens = min(BURST, tokens + now_s - then_s)
        is_admitted = tokens >= 1
        rest = (tokens - 1, now_s, 0) if is_admitted else (tokens, now_s, left_out + 1)
        self._events[event] = rest
        return left_out if is_admitted else None


def configure(level: str, form: Literal["console", "json"] | None) -> None:
    """Set level and form of all logging of this process; libraries' warnings join in."""
    set_level(level)
    terminal = sys.stderr.isatty()
    console = form == "console" or (form is None and terminal)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info if not console else _unchanged,
        _tell_listeners,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=terminal)
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


def listen(listener: Listener) -> Callable[[], None]:
    """Have lines at warning and above told to a listener; return what ends that."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


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


def _unchanged(_: object, __: str, event: Event) -> Event:
    return event


def _tell_listeners(_: object, __: str, event: Event) -> Event:
    if LEVELS.get(event.get("level", ""), logging.DEBUG) >= logging.WARNING:
        for listener in tuple(_listeners):
            listener(dict(event))
    return event
