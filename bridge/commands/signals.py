"""SIGINT and SIGTERM: they end a command in order, however often they come."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from bridge.errors import BridgeError

STOPPING = frozenset({signal.SIGINT, signal.SIGTERM})

_T = TypeVar("_T")


class _Impatient(ThreadPoolExecutor):
    """Threads that nobody waits for at the end: a name server may be mute for ten seconds."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as it is there
        """Take no more work, and drop what has not begun."""
        super().shutdown(wait=False, cancel_futures=True)


class Interrupted(BridgeError):
    """A command was ended by a signal; `status` is what a shell has for that."""

    def __init__(self, number: int) -> None:
        super().__init__("ended before all was done")
        self.status = 128 + number


def follow(stop: Callable[[int], object]) -> None:
    """Have `stop` told of each such signal from now on; one that came before is told too.

    `bridge.__main__` blocks them while the program starts.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_Impatient(thread_name_prefix="asyncio"))
    for number in STOPPING:
        loop.add_signal_handler(number, stop, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def hold() -> None:
    """Let no further signal interrupt what is left to be done: the command ends anyway."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what a command comes to. Raises Interrupted once it was cancelled in order."""
    return asyncio.run(_guarded(work))


async def _guarded(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        if task is not None and len(came) == 1:
            task.cancel()

    follow(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if came:
            raise Interrupted(came[0]) from None
        raise
    finally:
        hold()
