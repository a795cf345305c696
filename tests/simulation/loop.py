"""An event loop whose time is virtual: where asyncio would wait, the clock is moved instead."""

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

from bridge.runtime import Clock

_BEGIN_S = 1000.0
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class _Selector(selectors.BaseSelector):
    """No file is ever ready; waiting takes no time."""

    def __init__(self) -> None:
        self.now_s = _BEGIN_S

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen any more")
        self.now_s += max(timeout, 0)
        return []


class Loop(asyncio.SelectorEventLoop):
    """`rng` is all the chance that there is, `day_offset` how far the time of day was stepped."""

    def __init__(self, seed: int) -> None:
        self._model = _Selector()
        super().__init__(self._model)
        self.rng = Random(seed)
        self.day_offset = timedelta()
        self.crashes: list[str] = []
        self.set_exception_handler(lambda _, context: self.crashes.append(_told(context)))

    def time(self) -> float:
        return self._model.now_s

    def now(self) -> datetime:
        return _NOON + timedelta(seconds=self.time()) + self.day_offset

    def clock(self) -> Clock:
        return Clock(self.time, self.now)


def _told(context: Mapping[str, Any]) -> str:
    found = SimpleNamespace(**{"exception": None, **context})
    return f"{context['message']}: {found.exception!r}"
