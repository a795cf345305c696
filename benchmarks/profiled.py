"""Where a bridge spends its time: it runs under cProfile from one signal to the next.

`python -m benchmarks.profiled FILE -m MODULE [argument ...]`
"""

import asyncio
import cProfile
import pstats
import runpy
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.stage import OURS, Contestant

_LINES = 45


@contextmanager
def profiled(*, whole: bool = False) -> Iterator[Contestant]:
    """Give ours to be run; print its profile in the end, `whole` from start to end."""
    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory) / "profile")
        runner: Sequence[str] = ("-m", "benchmarks.profiled", file)
        yield Contestant("ours", OURS, ("-m", "cProfile", "-o", file) if whole else runner)
        told = pstats.Stats(file)
        for order in ("tottime", "cumulative"):
            told.sort_stats(order).print_stats(_LINES)


@asynccontextmanager
async def looked_at(contestant: Contestant) -> AsyncIterator[None]:
    """Profile what runs meanwhile."""
    contestant.process.child.send_signal(signal.SIGUSR2)
    yield
    contestant.process.child.send_signal(signal.SIGUSR2)
    await asyncio.sleep(1)


def _run() -> None:
    file, module = sys.argv[1], sys.argv[3]
    profiler, running = cProfile.Profile(), False

    def take(*_: object) -> None:
        nonlocal running
        running = not running
        if running:
            profiler.enable()
        else:
            profiler.disable()
            profiler.dump_stats(file)

    signal.signal(signal.SIGUSR2, take)
    del sys.argv[1:4]
    sys.argv[0] = module
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run()
