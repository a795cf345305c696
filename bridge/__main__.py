"""`python -m bridge` is `upnp2mqtt`."""

import os
import signal
import sys
import threading
from io import TextIOWrapper


def start() -> int:
    """Carry out the command of this process's arguments; return its exit status."""
    # What comes while the program starts waits for the command, which ends in order then. Process
    # 1, in a container, would never get a SIGTERM that it does not handle yet.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of devices on a terminal of another encoding
            stream.reconfigure(errors="backslashreplace")
    from bridge.cli import main  # noqa: PLC0415 - takes a while

    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `upnp2mqtt discover | head -1` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if threading.active_count() > 1:  # one that waits for a name server would hold the exit
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(start())
