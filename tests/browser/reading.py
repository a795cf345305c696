"""A reader of the page: opens it in a browser, and notes whatever is not as it must be."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

PATIENCE_MS = 15_000
TRACES = Path(__file__).parents[2] / "build/traces"
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}
GO = """async view => {
  location.hash = view;
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
}"""
"""Go to a view, until what was there before is no more."""
_BRIDGE_GONE = re.compile(r"net::ERR_|WebSocket connection to|Failed to fetch|status of 50\d")
_SERIOUS = ("serious", "critical")

expect.set_options(timeout=PATIENCE_MS)


class Reader:
    """One window. `problems` are errors on the console and requests to anybody but the bridge."""

    def __init__(self, url: str, page: Page) -> None:
        self.url = url
        self.page = page
        self.problems: list[str] = []
        self._tolerated: list[re.Pattern[str]] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        page.on("request", self._on_request)
        page.on("websocket", lambda socket: self._check_url(socket.url))
        page.on("dialog", lambda dialog: self._note(f"a dialog says: {dialog.message}"))
        page.on("popup", lambda popup: self._note(f"a window opened: {popup.url}"))

    @contextmanager
    def tolerating(self, pattern: str | re.Pattern[str]) -> Iterator[None]:
        """Note no error on the console that has this in it, until the context ends."""
        self._tolerated.append(re.compile(pattern))
        yield
        self._tolerated.pop()

    def bridge_gone(self) -> Any:
        """Note nothing that comes of a bridge that does not answer."""
        return self.tolerating(_BRIDGE_GONE)

    async def open(self, view: str = "devices") -> Page:
        """Show a view, such as `device/<udn>`, and wait until it is there."""
        address = f"{self.url}/#/{view}"
        if self.page.url.startswith(self.url):
            await self.page.evaluate(GO, f"#/{view}")
        else:
            await self.page.goto(address)
        await expect(self.page.locator("main").get_by_role("heading").first).to_be_visible()
        await expect(self.page.locator(".loading")).to_have_count(0)
        return self.page

    async def find_barriers(self) -> list[str]:
        """Return what axe finds serious on what is shown now, a line each."""
        found = await Axe().run(self.page)
        return [
            f"{one['id']}: {one['help']}: {_where(one['nodes'])}"
            for one in found.response["violations"]
            if one["impact"] in _SERIOUS
        ]

    async def is_wider_than_window(self) -> bool:
        """Tell whether one has to scroll sideways."""
        wider = await self.page.evaluate(
            "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return bool(wider)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"console: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        self._check_url(request.url)

    def _check_url(self, url: str) -> None:
        own = (f"{self.url}/", f"ws{self.url.removeprefix('http')}/", "data:", "blob:")
        if not url.startswith(own):
            self._note(f"asks {url}")

    def _note(self, problem: str) -> None:
        if not any(pattern.search(problem) for pattern in self._tolerated):
            self.problems.append(problem)


@asynccontextmanager
async def reading(browser: Browser, url: str, **options: Any) -> AsyncIterator[Reader]:
    """Have a window of its own, with no memory of others, until the context ends."""
    chosen = {"viewport": DESK, "service_workers": "block", "reduced_motion": "reduce"} | options
    context = await browser.new_context(**chosen)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield Reader(url, await context.new_page())
    finally:
        await context.close()


async def start_trace(context: BrowserContext) -> None:
    """Begin to record what happens in a window."""
    await context.tracing.start(snapshots=True)


async def keep_trace(context: BrowserContext, name: str) -> None:
    """Write what was recorded to a file, for `playwright show-trace`."""
    TRACES.mkdir(parents=True, exist_ok=True)
    file = re.sub(r"[^\w-]+", "-", name)[:120]
    await context.tracing.stop(path=TRACES / f"{file}.zip")


def _where(nodes: Sequence[dict[str, Any]]) -> str:
    return json.dumps([node["html"][:160] for node in nodes[:3]])
