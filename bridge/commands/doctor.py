"""`doctor`: what keeps the bridge from working, and what to do about it."""

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TextIO
from urllib.parse import urlsplit

from bridge import __version__, log
from bridge.commands import running, signals
from bridge.settings import Settings
from bridge.support.doctor.examination import Examination
from bridge.support.doctor.finding import Finding, Status, verdict

_MARKS = {
    Status.OK: ("✓", "ok", "32"),
    Status.NOTE: ("·", "--", "36"),
    Status.WARNING: ("!", "!", "33"),
    Status.ERROR: ("✗", "XX", "31"),
    Status.SKIPPED: ("-", "-", "2"),
}
"""A mark, one of ASCII, and the colour (ECMA-48)."""
_NAME_WIDTH = 20
_WIDTHS = (60, 110)


def doctor(settings: Settings, *, as_json: bool, retained: bool = False) -> int:
    """Print what every check finds; return 0 unless something is wrong.

    `retained` has 1,100 retained messages published and cleared again.
    """
    log.configure("error" if settings.log.level == "info" else settings.log.level, "console")
    began_s = time.monotonic()
    page = Page(sys.stdout, sys.stderr)
    found: list[Finding] = []
    titles: list[str] = []

    def tell(title: str, finding: Finding) -> None:
        found.append(finding)
        titles.append(title)
        if not as_json:
            page.put(title, finding)

    try:
        work = Examination(_of_running(settings), tell, page.show_progress, retained=retained).run()
        signals.run(work)
    except signals.Interrupted:
        page.show_progress(())
        sys.stderr.write("upnp2mqtt: ended before all checks were done\n")
        return 1
    status, elapsed_s = verdict(found), time.monotonic() - began_s
    if as_json:
        document = {
            "version": __version__,
            "verdict": status,
            "findings": [
                {"title": title} | finding.document()
                for title, finding in zip(titles, found, strict=True)
            ],
            "elapsed_s": round(elapsed_s, 1),
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        page.end(found, elapsed_s)
    return 1 if status is Status.ERROR else 0


def _of_running(settings: Settings) -> Settings:
    """Return settings with the HTTP port of the bridge that runs here, unless one was chosen."""
    found = running.find(settings.instance, settings.mqtt.base_topic)
    at = urlsplit(found.http if found is not None else "")
    if not at.port or "port" in settings.http.model_fields_set:
        return settings
    http = settings.http.model_copy(update={"host": at.hostname, "port": at.port})
    return settings.model_copy(update={"http": http})


class Page:
    """Findings as lines of text; colours and progress where there is a terminal for them."""

    def __init__(self, out: TextIO, progress: TextIO) -> None:
        self._out = out
        self._progress = progress
        self._title = ""
        self._shown = False
        is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._has_colours = out.isatty() and not is_plain
        columns = shutil.get_terminal_size((_WIDTHS[1], 24)).columns if out.isatty() else _WIDTHS[1]
        self._width = min(max(columns, _WIDTHS[0]), _WIDTHS[1])
        try:
            "✓✗·".encode(out.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            self._is_ascii = True
        else:
            self._is_ascii = False

    def put(self, title: str, finding: Finding) -> None:
        """Write a finding, under its title."""
        self.show_progress(())
        if title != self._title:
            self._write(("\n" if self._title else "") + self._paint(title, "1") + "\n")
            self._title = title
        mark, plain, colour = _MARKS[finding.status]
        mark = plain.ljust(2) if self._is_ascii else mark
        indent = " " * (len(mark) + _NAME_WIDTH + 4)
        first, *more = self._wrap(finding.fact, len(indent))
        head = f"  {self._paint(mark, colour)} {finding.check:<{_NAME_WIDTH}} "
        self._write(head + first + "\n" + "".join(f"{indent}{line}\n" for line in more))
        arrow = "->" if self._is_ascii else "→"
        for advice in finding.advice:
            first, *more = self._wrap(advice, len(indent) + 3)
            self._write(f"{indent}{self._paint(arrow, colour)} {first}\n")
            self._write("".join(f"{indent}  {line}\n" for line in more))
        self._out.flush()

    def end(self, found: Sequence[Finding], elapsed_s: float) -> None:
        """Write the verdict."""
        counts = [
            f"{count} {word}{'s' if count > 1 else ''}"
            for status, word in ((Status.ERROR, "error"), (Status.WARNING, "warning"))
            if (count := sum(one.status is status for one in found))
        ]
        status = verdict(found)
        said = {
            Status.ERROR: "Something is wrong",
            Status.WARNING: "The bridge can work",
        }.get(status, "Everything works")
        told = f"{said}: {', '.join(counts)}." if counts else f"{said}."
        self._write(f"\n{self._paint(told, _MARKS[status][2])} ({elapsed_s:.0f} s)\n")

    def show_progress(self, under_way: tuple[str, ...]) -> None:
        """Show which checks are under way, where that is a terminal."""
        if not self._progress.isatty():
            return
        if self._shown:
            self._progress.write("\r\x1b[K")
        self._shown = bool(under_way)
        if under_way:
            self._progress.write(f"  looking at {', '.join(under_way)} …"[: self._width])
        self._progress.flush()

    def _wrap(self, text: str, indent: int) -> list[str]:
        clean = "".join(one if one.isprintable() else "\ufffd" for one in text)
        if self._is_ascii:
            clean = clean.encode("ascii", "replace").decode()
        lines = textwrap.wrap(
            clean, self._width - indent, break_long_words=False, break_on_hyphens=False
        )
        return lines or [""]

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._has_colours else text

    def _write(self, text: str) -> None:
        self._out.write(text)
