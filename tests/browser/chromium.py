"""The browser: a chromium of the machine's, without a window and without words to anybody else."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
)
_STEADY = ("--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb")


def path() -> str | None:
    """Find the program."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def missing() -> str | None:
    """Tell why there is no browser here, or None if there is one."""
    return None if path() else "tests in the browser need the Debian package chromium"


@asynccontextmanager
async def running(program: str | Path | None = None) -> AsyncIterator[Browser]:
    """Have a browser until the context ends; `program` starts it in another way."""
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # as root chromium starts only so
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program or path(), args=[*_QUIET, *_STEADY, *sandbox]
        )
        try:
            yield browser
        finally:
            await browser.close()
