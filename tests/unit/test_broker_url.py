"""Broker URLs: what each form means, and that a wrong one never tells its password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mqtt.url import Endpoint, parse_url


def parts(url):
    e = parse_url(url)
    return e.transport, e.host, e.port, e.path, e.tls


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("tcp", "broker", 1883, "", False)),
        ("mqtt://broker/", ("tcp", "broker", 1883, "", False)),
        ("mqtts://broker", ("tcp", "broker", 8883, "", True)),
        ("ws://broker", ("websockets", "broker", 80, "/mqtt", False)),
        ("wss://broker", ("websockets", "broker", 443, "/mqtt", True)),
        ("wss://broker:8443/", ("websockets", "broker", 8443, "/", True)),
        ("ws://broker:9001/a/b?c=d", ("websockets", "broker", 9001, "/a/b?c=d", False)),
        ("unix:///run/mosquitto.sock", ("unix", "", 0, "/run/mosquitto.sock", False)),
        ("unix:///run/a%20b.sock", ("unix", "", 0, "/run/a b.sock", False)),
        ("tcp://broker:1", ("tcp", "broker", 1, "", False)),
        ("ssl://broker", ("tcp", "broker", 8883, "", True)),
        ("MQTT://Broker.Lan:1884", ("tcp", "broker.lan", 1884, "", False)),
        ("mqtt://[fe80::1]:1884", ("tcp", "fe80::1", 1884, "", False)),
        ("mqtts://[::1]", ("tcp", "::1", 8883, "", True)),
        ("broker", ("tcp", "broker", 1883, "", False)),
        ("broker:1884", ("tcp", "broker", 1884, "", False)),
        ("192.168.1.2:1884", ("tcp", "192.168.1.2", 1884, "", False)),
    ],
)
def test_each_form_names_its_endpoint(url, expected):
    assert parts(url) == expected


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws", "wss"])
def test_user_name_and_password_are_percent_decoded(scheme):
    endpoint = parse_url(f"{scheme}://us%40er:p%3A%2F%23%25@broker")
    assert endpoint.username == "us@er"
    assert endpoint.password is not None
    assert endpoint.password.get_secret_value() == "p:/#%"


def test_a_unix_socket_takes_credentials_too():
    endpoint = parse_url("unix://user:pass@/run/mosquitto.sock")
    assert (endpoint.path, endpoint.username) == ("/run/mosquitto.sock", "user")


def test_without_credentials_there_are_none():
    endpoint = parse_url("mqtt://broker")
    assert (endpoint.username, endpoint.password) == (None, None)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://broker:1883",
        "mqtts://[::1]:8883",
        "ws://broker:9001/mqtt",
        "wss://broker:443/mqtt",
        "unix:///run/mosquitto.sock",
    ],
)
def test_as_text_an_endpoint_is_its_url(url):
    assert str(parse_url(url)) == url


def test_as_text_an_endpoint_does_not_show_its_query():
    endpoint = parse_url("wss://broker/a/b?token=geheim?x")
    assert str(endpoint) == "wss://broker:443/a/b"
    assert endpoint.path == "/a/b?token=geheim?x"


def test_neither_text_nor_repr_show_the_password():
    endpoint = parse_url("mqtts://user:geheim@broker")
    assert str(endpoint) == "mqtts://broker:8883"
    assert "geheim" not in repr(endpoint)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mqtt://",
        "http://user:geheim@broker",
        "mqtt:///geheim",
        "mqtt://user:geheim@broker:port",
        "mqtt://user:geheim@broker:0",
        "mqtt://user:geheim@broker:65536",
        "mqtt://user:geheim@broker:-1",
        "mqtt://user:geheim@broker/topic",
        "mqtt://user:geheim@broker?x=y",
        "mqtt://user:geheim#@broker",
        "mqtt://user:geheim/@broker",
        "mqtt://user:1#geheim@broker",
        "mqtt://user:1?geheim@broker",
        "mqtt://user:geheim@[::1",
        "mqtt://user:geheim\u2100@broker",
        "unix://geheim/run/mosquitto.sock",
        "unix://",
        "unix:///",
        "unix:///run/a.sock?geheim",
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match="not a broker URL") as caught:
        parse_url(url)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text())
def test_any_text_is_an_endpoint_or_a_value_error(url):
    try:
        endpoint = parse_url(url)
    except ValueError as error:
        assert str(error).startswith("not a broker URL")  # noqa: PT017 - either way is right
    else:
        assert isinstance(endpoint, Endpoint)
