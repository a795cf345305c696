"""The site that the tests of the whole program share: one lab with all devices for each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import homeassistant, lab
from tests.system.bridge import Observer
from tests.system.devices import DEVICES
from tests.system.lab import Lab
from tests.system.site import Site


@pytest.fixture(scope="session")
def lab_can_be() -> None:
    """Skip where no lab can be made; scripts/test installs all that it needs, as root."""
    if reason := lab.missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def wire_can_be() -> None:
    """Skip where no failing wire can be made."""
    if not Path("/dev/net/tun").exists():
        pytest.skip("the failing wire needs /dev/net/tun, which this kernel or container lacks")


@pytest.fixture(scope="session")
def home_assistant_can_be() -> None:
    """Skip where no lab can be made or Home Assistant cannot run in it."""
    if reason := homeassistant.missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, lab_can_be: None) -> Iterator[Site]:
    """A lab with every device up; broker and bridge start when they are first observed."""
    folder = tmp_path_factory.mktemp("site")
    with Lab() as made:
        site = Site(made, folder)
        site.start(*DEVICES)
        try:
            yield site
        finally:
            site.close()


@pytest.fixture
def observer(site: Site) -> Iterator[Observer]:
    """Observe a whole tree: broker and bridge run, and the bridge is online."""
    with site.observed() as observer:
        yield observer
