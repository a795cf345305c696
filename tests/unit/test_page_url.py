"""Where the page is reached from other machines."""

import pytest

from bridge import settings
from bridge.app import page


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", None),
        ("127.0.0.53", None),
        ("::1", None),
        ("localhost", None),
        ("192.0.2.1", "http://192.0.2.1:8099"),
        ("2001:db8::1", "http://[2001:db8::1]:8099"),
        ("bridge.lan", "http://bridge.lan:8099"),
    ],
)
def test_it_is_where_the_bridge_listens_unless_that_is_loopback(host, url):
    assert page.page_url(settings.load({"http.host": host})) == url


def test_without_a_port_there_is_none():
    assert page.page_url(settings.load({"http.host": "192.0.2.1", "http.port": "0"})) is None


def test_of_all_addresses_it_is_one_that_faces_devices(monkeypatch):
    monkeypatch.setattr(page, "interfaces", lambda _: ())
    assert page.page_url(settings.load({"http.host": "0.0.0.0"})) is None
