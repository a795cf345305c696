"""How many lines the log takes, and how they look on a terminal and in a journal."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from bridge.log import BURST, Bound


def test_lines_of_an_event_are_bounded_and_the_next_one_tells_how_many_were_left_out():
    bound = Bound()
    assert [bound.admit("a", 0) for _ in range(BURST + 3)] == [0] * BURST + [None] * 3
    assert bound.admit("b", 0) == 0
    assert bound.admit("a", 0.5) is None
    assert [bound.admit("a", 1) for _ in range(2)] == [4, None]
    assert [bound.admit("a", 9000) for _ in range(BURST + 1)] == [1, *[0] * (BURST - 1), None]


_LINES = """
import logging, struct, fcntl, termios, structlog
from bridge import log
try:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("4H", 24, {columns}, 0, 0))
except OSError:
    pass
log.configure("debug", {form!r})
told = structlog.get_logger()
told.info("device_joined", udn="6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11b1", reason="first",
          location="http://192.168.1.9:1400/xml/device_description.xml", name={name!r})
told.warning("no_device_found", reason="no interface is up, has an address and can multicast, " * 2,
             advice=["connect this machine to the devices' network, as with a cable"])
logging.getLogger("other").warning("lost %s", 1)
try:
    1 / 0
except ZeroDivisionError:
    told.exception("boom", url="x")
"""


def on_a_terminal(name, columns=80, form=None, **environment):
    main, side = pty.openpty()
    code = _LINES.format(columns=columns, form=form, name=name)
    usual = {key: text for key, text in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=side, env=usual | {"TERM": "xterm"} | environment
    )
    os.close(side)
    data = b""
    while True:
        try:
            more = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not more:
            break
        data += more
    os.close(main)
    assert process.wait() == 0
    return data.decode()


def in_a_pipe(form=None):
    code = _LINES.format(columns=80, form=form, name="Living room")
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, check=True, text=True
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("name", ["Living room", "x" * 300, "居間のテレビ" * 20, "e\u0301" * 90])
def test_a_device_is_a_line_of_a_terminal_and_begins_with_its_name(name, columns):
    first, *others = on_a_terminal(name, columns, NO_COLOR="1").splitlines()
    assert re.match(r"\d\d:\d\d:\d\d device_joined (\S*)", first)
    assert first[23:].startswith(name[:11])
    assert others[0].split()[1:3] == ["warning", "no_device_found:"]
    assert len(first) <= columns or "\u0301" in first
    assert all(len(line) <= columns for line in others[:6])


def test_what_is_to_be_done_is_told_whole_on_a_terminal():
    text = on_a_terminal("Lamp", NO_COLOR="1").replace("\r\n         ", " ")
    assert ("no interface is up, has an address and can multicast, " * 2).strip() in text
    assert "→ connect this machine to the devices' network, as with a cable" in text
    assert "warning lost 1" in text
    assert "error boom url=x" in text
    assert "ZeroDivisionError" in text


def test_a_name_cannot_command_a_terminal():
    told = on_a_terminal("\x1b[2J\x9b2Jname\nforged", NO_COLOR="1").splitlines()[0]
    assert "\x1b" not in told
    assert "\x9b" not in told
    assert "name\ufffdforged" in told


def test_a_terminal_has_colours_unless_it_is_told_otherwise():
    assert "\x1b[33m" in on_a_terminal("x")
    assert "\x1b[" not in on_a_terminal("x", TERM="dumb")


def test_lines_elsewhere_are_json_and_begin_with_the_event():
    lines = in_a_pipe()
    assert re.findall(r'^\{"event": "(.*?)"', "\n".join(lines), re.MULTILINE) == [
        *("device_joined", "no_device_found", "lost 1", "boom")
    ]
    documents = [json.loads(line) for line in lines]
    assert list(documents[0])[:3] == ["event", "level", "name"]
    assert "ZeroDivisionError" in documents[3]["exception"]


def test_the_form_can_be_chosen():
    assert in_a_pipe("console")[0].split()[1:4] == ["device_joined", "Living", "room"]
    assert json.loads(on_a_terminal("x", form="json").splitlines()[0])["name"] == "x"
