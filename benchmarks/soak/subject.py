"""The bridge as it is; each line on its standard input is answered with what it holds.

What is looked at is found by walking all objects: a table that is new in the bridge is in it.
"""

import asyncio
import functools
import gc
import json
import sys
import threading
import tracemalloc
from collections import Counter, deque
from typing import Any

from bridge.cli import main

_SIZED = (dict, list, set, deque)
_TOP = 15
_before: list[tracemalloc.Snapshot] = []


def measure() -> dict[str, Any]:
    """Return how many there are: tasks and timers, elements of tables, objects by class."""
    gc.unfreeze()  # what the bridge took out of the collector's sight is looked at too
    gc.collect()
    tables: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    caches: dict[str, str] = {}
    tasks: Counter[str] = Counter()
    timers = 0
    everything = gc.get_objects()
    for one in everything:
        kind = type(one)
        module = str(kind.__module__)  # of some, it is a descriptor
        classes[f"{module}.{kind.__qualname__}"] += 1
        if isinstance(one, functools._lru_cache_wrapper):  # noqa: SLF001 - its only name
            if str(one.__module__).startswith("bridge."):
                info = one.cache_info()
                caches[one.__qualname__] = f"{info.currsize}/{info.maxsize}"
        elif isinstance(one, asyncio.Task):
            tasks[one.get_name().partition("[")[0]] += not one.done()
        elif isinstance(one, asyncio.BaseEventLoop):
            timers += len(one._scheduled)  # type: ignore[attr-defined]  # noqa: SLF001 - seen nowhere else
        elif module.startswith("bridge."):
            for name, value in _attributes(one):
                if isinstance(value, _SIZED):
                    tables[f"{kind.__qualname__}.{name}"] += len(value)
    del everything
    return {
        "tables": tables,
        "classes": {name: count for name, count in classes.items() if count > 1},
        "caches": caches,
        "tasks": {name: count for name, count in tasks.items() if count},
        "timers": timers,
    }


def _attributes(one: object) -> list[tuple[str, object]]:
    found = list(getattr(one, "__dict__", {}).items())
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        found += [(name, getattr(one, name)) for name in names if hasattr(one, name)]
    return found


def growth() -> list[str]:
    """Return who holds the memory that came since the last time; needs PYTHONTRACEMALLOC."""
    if not tracemalloc.is_tracing():
        return []
    gc.collect()
    now = tracemalloc.take_snapshot()
    told: list[str] = []
    if _before:
        for one in now.compare_to(_before[0], "traceback")[:_TOP]:
            lines = "\n".join(one.traceback.format()[-8:])
            told.append(f"{one.size_diff:+} bytes, {one.count_diff:+} blocks\n{lines}")
    _before[:] = [now]
    return told


async def _answer(question: str) -> str:
    return json.dumps(growth() if question == "growth" else measure())


def _answer_questions(loop: asyncio.AbstractEventLoop) -> None:
    """Look in the loop alone: elsewhere a tuple that is not finished yet would be held on to."""
    for line in sys.stdin:
        answer = asyncio.run_coroutine_threadsafe(_answer(line.strip()), loop)
        print(answer.result(), flush=True)


class _Policy(asyncio.DefaultEventLoopPolicy):
    """Has questions answered as soon as there is a loop."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        threading.Thread(target=_answer_questions, args=(loop,), daemon=True).start()
        return loop


if __name__ == "__main__":
    asyncio.set_event_loop_policy(_Policy())
    sys.exit(main())
