"""A browser and a bridge with the simulated devices, for all tests here; a window for each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.adapter.mosquitto import MOSQUITTO
from tests.browser import chromium
from tests.browser.reading import Reader, keep_trace, reading, start_trace
from tests.browser.rig import DEMO, HasPage, Rig, demonstration, rig

_HERE = Path(__file__).parent
_HAS_FAILED = pytest.StashKey[bool]()

Opener = Callable[..., Awaitable[Reader]]
"""Opens a window on a bridge's page, with options of Playwright's `new_context`.

`through` is another browser than `browser`.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests here in one event loop, which the browser is tied to."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note for `window` whether a test has failed."""
    report = yield
    item.stash[_HAS_FAILED] = item.stash.get(_HAS_FAILED, False) or report.failed
    return report


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser; scripts/test installs it."""
    if reason := chromium.missing():
        pytest.skip(reason)
    assert MOSQUITTO, "these tests need mosquitto"
    async with chromium.running() as browser:
        yield browser


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A bridge with all simulated devices."""
    directory = tmp_path_factory.mktemp("demo")
    async with demonstration(), rig(directory, "Demo *") as made:
        await made.await_devices(*DEMO)
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def window(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Opener]:
    """Open windows; what was noted in one fails the test, and a trace of a failure is kept."""
    async with AsyncExitStack() as stack:
        readers: list[Reader] = []

        async def open_window(
            bridge: HasPage, *, through: Browser = browser, **options: Any
        ) -> Reader:
            reader = await stack.enter_async_context(reading(through, bridge.url, **options))
            await start_trace(reader.page.context)
            readers.append(reader)
            return reader

        yield open_window
        problems = [problem for reader in readers for problem in reader.problems]
        if problems or request.node.stash.get(_HAS_FAILED, False):
            for number, reader in enumerate(readers):
                await keep_trace(reader.page.context, f"{request.node.name}-{number}")
        assert not problems
