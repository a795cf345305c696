"""What all tests have in common."""

import structlog
from hypothesis import settings
from structlog.dev import ConsoleRenderer, plain_traceback

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Where rich is installed, a traceback has all locals: to write one takes seconds, and all waits.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
        ConsoleRenderer(colors=False, exception_formatter=plain_traceback),
    ]
)
