"""The failing wire itself: what it is told to do to frames happens."""

import socket
import time

import pytest

from tests.system import link
from tests.system.home import Home
from tests.system.lab import CONTROL_POINT, Lab
from tests.system.link import GOOD, POOR, Faults

PORT = 9999
MANY = 200
PATIENCE_S = 1.0


@pytest.fixture(scope="module")
def wire(lab_can_be: None, wire_can_be: None):
    """A home a wire away from a lab, a socket at each end, and the address of the one at home."""
    with Lab() as lab, Home(lab) as home:
        near, far = (
            space.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) for space in (home, lab)
        )
        with near, far:
            near.bind(("", PORT))
            near.settimeout(PATIENCE_S)
            far.bind((CONTROL_POINT, 0))
            yield home, near, far, ("10.77.0.2", PORT)


def received(wire, faults: Faults) -> list[int]:
    """Send numbered datagrams, and give those that came as they came."""
    home, near, far, address = wire
    far.sendto(b"0", address)
    near.recv(9)  # each knows the other's hardware address
    home.link.faults = faults
    for number in range(MANY):
        far.sendto(b"%d" % number, address)
        time.sleep(0.001)
    found: list[int] = []
    try:
        while True:
            found.append(int(near.recv(9)))
    except TimeoutError:
        return found
    finally:
        home.link.faults = GOOD


def test_a_good_wire_brings_everything_once_and_in_order(wire):
    assert received(wire, GOOD) == list(range(MANY))


def test_a_poor_wire_loses_repeats_and_reorders(wire):
    found = received(wire, POOR)
    assert 0.65 * MANY < len(set(found)) < 0.95 * MANY
    assert 0.02 * MANY < len(found) - len(set(found)) < 0.25 * MANY
    assert found != sorted(found)


def test_a_wire_delays(wire):
    home, near, far, address = wire
    home.link.faults = Faults(delay_s=(0.3, 0.4))
    began_s = time.monotonic()
    far.sendto(b"0", address)
    near.recv(9)
    home.link.faults = GOOD
    assert time.monotonic() - began_s >= 0.3


@pytest.mark.parametrize("stops", [link.is_all, link.is_unicast_ip, link.goes_in])
def test_a_cut_wire_brings_nothing(wire, stops):
    assert received(wire, Faults(stops=stops)) == []


@pytest.mark.parametrize("stops", [link.is_multicast, link.goes_to(PORT)])
def test_a_wire_that_stops_something_else_brings_everything(wire, stops):
    assert received(wire, Faults(stops=stops)) == list(range(MANY))
