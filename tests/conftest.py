"""What all tests have in common: network, workers, and how Hypothesis looks for examples."""

import pytest
import structlog
from hypothesis import settings
from structlog.dev import ConsoleRenderer, plain_traceback

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

WORKERS = 4
"""More than cores, since most of a test is waiting."""


def pytest_configure(config: pytest.Config) -> None:
    """Run where neither other workers nor anybody else on this machine is met."""
    has_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not has_workers and network.is_possible():
        network.enter()


def pytest_xdist_auto_num_workers() -> int:
    """Say what `-n auto` is: no workers where they would meet on one loopback."""
    return WORKERS if network.is_possible() else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a module on one worker where they share what was started for them."""
    for item in items:
        assert isinstance(item, pytest.Function)
        found = item._fixtureinfo.name2fixturedefs.values()
        if any(definition.scope == "module" for each in found for definition in each):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
