"""The site that the tests of the whole program share: one lab with all devices for each module."""

from collections.abc import Iterator

import pytest

from tests.system.bridge import Observer
from tests.system.devices import DEVICES
from tests.system.lab import Lab, missing
from tests.system.site import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab with every device up; broker and bridge start when they are first observed."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("site")
    with Lab() as lab:
        site = Site(lab, folder)
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
