"""`python -m bridge` is `upnp2mqtt`."""

import os
import signal
import sys


def _start() -> int:
    # Process 1, in a container, never gets a SIGTERM that it does not handle yet, unless it is
    # blocked: so one that comes while the bridge starts waits for `run`.
    how = signal.SIG_BLOCK if os.getpid() == 1 else signal.SIG_UNBLOCK
    signal.pthread_sigmask(how, {signal.SIGTERM})
    from bridge.cli import main  # noqa: PLC0415 - takes a while

    return main()


sys.exit(_start())
