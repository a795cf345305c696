"""What all tests have in common: network, workers, and how Hypothesis looks for examples."""

import pytest
import structlog
from hypothesis import settings
from structlog.dev import ConsoleRenderer, plain_traceback
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests import network

# How long an example takes says something of the machine, and nothing of the code. Examples are the
# same at each run: what fails must be what was changed. `scripts/test long` looks for others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("same")

# Where rich is installed, a traceback has all locals: to write one takes seconds, and all waits.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
        ConsoleRenderer(colors=False, exception_formatter=plain_traceback),
    ]
)

ALONE = ("tests/unit/", "tests/simulation/", "tests/adapter/test_odd_brokers.py")
"""Where each test may run on another worker than its neighbours."""
BUSY = ("tests/unit/", "tests/simulation/", "tests/fuzz/")
"""Where tests compute all the time, while most of the others wait for real programs."""
TOGETHER = "tests/browser/"
"""Where all tests are on one worker: a browser takes long to start."""
WORKERS = 5
"""More than cores: all but the first take what waits."""


def pytest_configure(config: pytest.Config) -> None:
    """Run where neither other workers nor anybody else on this machine is met."""
    has_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not has_workers and network.is_possible():
        network.enter()


def pytest_xdist_auto_num_workers() -> int:
    """Say what `-n auto` is: no workers where they would meet on one loopback."""
    return WORKERS if network.is_possible() else 0


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keep tests on one worker that share what their module or folder starts."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(TOGETHER):
            return TOGETHER
        return nodeid if nodeid.startswith(ALONE) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give the first worker what computes, the others what waits, while there is any."""
        is_first = node is self.nodes[0]
        fits = (scope for scope in self.workqueue if scope.startswith(BUSY) == is_first)
        best = next(fits, next(iter(self.workqueue)))
        self.workqueue.move_to_end(best, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Say which worker gets what."""
    return Scheduling(config, log)
