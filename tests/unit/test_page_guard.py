"""Passwords and sessions of the page, and the settings that they come from."""

from typing import Any

import pytest

from bridge import settings
from bridge.errors import ConfigError
from bridge.web import guard


class Request:
    """What is looked at of a request."""

    def __init__(self, remote: str) -> None:
        self.remote = remote
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}


def test_sources_and_sessions_are_bounded():
    clock: Any = [0.0]
    one = guard.Guard(guard.Access("x"), lambda: clock[0])

    for number in range(10_000):
        asked: Any = Request(f"10.0.{number // 250}.{number % 250}")
        assert one.log_in(asked, "wrong") is None
        assert one.log_in(asked, "x")
        other: Any = Request(f"2001:db8:{number:x}::1")
        assert one.log_in(other, "wrong") is None
    assert len(one._failures) <= guard._MOST_SOURCES
    assert len(one._sessions) == guard.MAX_SESSIONS
    # Of IPv6, a network is one source.
    for number in range(guard._FREE_TRIES):
        asked = Request(f"2001:db8::{number + 1:x}")
        assert one.log_in(asked, "wrong") is None
    asked = Request("2001:db8::ffff")
    assert one.log_in(asked, "x") is None
    clock[0] += 61
    assert one.log_in(asked, "x")


def test_an_empty_password_file_lets_nobody_start(tmp_path):
    (tmp_path / "empty").write_text("\n")
    chosen = settings.load({"http.password_file": str(tmp_path / "empty")})
    with pytest.raises(ConfigError, match=r"http\.password_file"):
        chosen.http_password()


@pytest.mark.parametrize("path", ["a", "/a b", '/"', "/../x", "/a//b", "//evil.example", "/{x}"])
def test_a_base_path_is_a_path(path):
    with pytest.raises(ConfigError, match=r"http\.base_path"):
        settings.load({"http.base_path": path})


def test_each_wrong_password_takes_longer_and_the_right_one_ends_that():
    clock: Any = [0.0]
    one = guard.Guard(guard.Access("x"), lambda: clock[0])
    asked: Any = Request("192.0.2.1")
    waits = []
    for _ in range(12):
        assert one.log_in(asked, "wrong") is None
        waits.append(one.retry_after_s(asked))
        clock[0] += waits[-1]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert one.log_in(asked, "x")
    assert one.log_in(asked, "wrong") is None
    assert one.retry_after_s(asked) == 0


def test_a_session_ends_after_a_month():
    clock: Any = [0.0]
    one = guard.Guard(guard.Access("x"), lambda: clock[0])
    asked: Any = Request("192.0.2.1")
    asked.cookies[one.cookie] = one.log_in(asked, "x")
    assert one.why_not(asked) is None
    clock[0] += 31 * 24 * 3600
    assert one.why_not(asked) is not None
    assert not one._sessions
