"""The log: one line per fact on standard error, for people on a terminal, as JSON elsewhere."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Event = MutableMapping[str, Any]
Listener = Callable[[Event], None]
_listeners: list[Listener] = []


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
    structlog.configure(
        processors=[_filtered, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
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


def _unchanged(_: object, __: str, event: Event) -> Event:
    return event


def _tell_listeners(_: object, __: str, event: Event) -> Event:
    if LEVELS.get(event.get("level", ""), logging.DEBUG) >= logging.WARNING:
        for listener in tuple(_listeners):
            listener(dict(event))
    return event
