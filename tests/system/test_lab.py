"""The lab itself: devices come up, answer, vanish and come back, and nothing is left behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.lab import CONTROL_POINT, Lab
from tests.system.search import search

pytestmark = pytest.mark.usefixtures("lab_can_be")


def test_devices_answer_a_search_from_the_lab_and_leave_nothing_behind():
    with Lab() as lab:
        lab.start("light", "miniupnpd")
        addresses = {lab.addresses["light"], lab.addresses["miniupnpd"]}
        assert addresses <= {address for address, _ in lab.call(search, 1.5)}

        lab.unplug("miniupnpd")
        lab.stop("light", number=signal.SIGKILL)
        assert not {address for address, _ in lab.call(search, 1.5)}

        lab.plug("miniupnpd")
        lab.start("light")
        assert addresses <= {address for address, _ in lab.call(search, 1.5)}

        show = [*lab.exec_prefix, "ip", "-brief", "-4", "addr"]
        interfaces = subprocess.run(show, check=True, capture_output=True, text=True).stdout
        assert CONTROL_POINT in interfaces
        assert [line.split()[0].partition("@")[0] for line in interfaces.splitlines()] == [
            "lo",
            "br0",
        ]
        namespace = lab.space
    assert not list(Path("/run/netns").glob(f"{namespace}*"))


def test_what_a_crashed_run_left_is_removed():
    crash = "import os; from tests.system.lab import Lab; lab = Lab(); lab.__enter__(); os._exit(9)"
    process = subprocess.Popen([sys.executable, "-c", crash])
    process.wait()
    left = Path(f"/run/netns/lab-p{process.pid}")
    assert left.exists()
    with Lab():
        assert not left.exists()
