"""Every setting: its default, its spellings, and what is told of it."""

import json
import os

import pytest

from bridge import settings
from bridge.errors import ConfigError

CONTRACT = {
    "instance": "main",
    "read_only": False,
    "mqtt.url": [],
    "mqtt.username": None,
    "mqtt.password": None,
    "mqtt.tls_ca": None,
    "mqtt.tls_cert": None,
    "mqtt.tls_key": None,
    "mqtt.protocol": "auto",
    "mqtt.qos": 1,
    "mqtt.base_topic": "upnp",
    "mqtt.max_payload": 262144,
    "mqtt.response_topics": [],
    "upnp.interfaces": [],
    "upnp.locations": [],
    "upnp.allow": [],
    "upnp.deny": [],
    "upnp.search_interval": 300,
    "upnp.action_timeout": 30,
    "upnp.callback_host": None,
    "upnp.callback_port": 8098,
    "upnp.trusted_networks": [],
    "mirror.detail": "full",
    "mirror.state": "both",
    "mirror.forget_after": 2592000,
    "http.host": "127.0.0.1",
    "http.port": 8099,
    "log.level": "info",
    "log.format": None,
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in tuple(os.environ):
        if name.upper().startswith(settings.PREFIX):
            monkeypatch.delenv(name)


def value(loaded, name):
    for part in name.split("."):
        loaded = getattr(loaded, part)
    return loaded


@pytest.mark.parametrize("name", CONTRACT)
def test_a_setting_has_the_default_of_the_contract(name):
    assert value(settings.load({}), name) == CONTRACT[name]


SPELLED = {
    "instance": ("attic", "attic"),
    "read_only": ("true", True),
    "mqtt.url": ("mqtt://h", ["mqtt://h"]),
    "mqtt.protocol": ("3.1.1", "3.1.1"),
    "mqtt.qos": ("2", 2),
    "mqtt.base_topic": ("/a/b/", "a/b"),
    "mqtt.max_payload": ("2048", 2048),
    "mqtt.response_topics": ('["a/+","b/#"]', ["a/+", "b/#"]),
    "upnp.interfaces": ('["eth0","10.0.0.1"]', ["eth0", "10.0.0.1"]),
    "upnp.locations": ("http://h/d.xml", ["http://h/d.xml"]),
    "upnp.allow": ("Sonos, Inc.", ["Sonos, Inc."]),
    "upnp.search_interval": ("60.5", 60.5),
    "upnp.callback_port": ("0", 0),
    "mirror.detail": ("device", "device"),
    "mirror.state": ("values", "values"),
    "mirror.forget_after": ("0", 0),
    "http.port": ("1", 1),
    "log.level": ("debug", "debug"),
    "log.format": ("json", "json"),
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_setting_is_read_alike_from_flag_environment_and_file(name, monkeypatch, tmp_path):
    text, wanted = SPELLED[name]
    variable = settings.variable(name)
    assert value(settings.load({name: text}), name) == wanted
    (tmp_path / ".env").write_text(f"{variable}='{text}'\n")
    assert value(settings.load({}), name) == wanted
    (tmp_path / ".env").unlink()
    monkeypatch.setenv(variable, text)
    assert value(settings.load({}), name) == wanted


def test_a_flag_goes_before_the_environment_and_that_before_the_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("BRIDGE_INSTANCE=file\nBRIDGE_MQTT__QOS=0\n")
    assert settings.load({}).instance == "file"
    monkeypatch.setenv("BRIDGE_INSTANCE", "environment")
    assert settings.load({}).instance == "environment"
    loaded = settings.load({"instance": "flag", "mqtt.base_topic": "b"})
    assert (loaded.instance, loaded.mqtt.qos, loaded.mqtt.base_topic) == ("flag", 0, "b")


def test_one_group_may_come_from_several_places(monkeypatch):
    monkeypatch.setenv("BRIDGE_MQTT__USERNAME", "joe")
    loaded = settings.load({"mqtt.url": "mqtt://h"})
    assert (loaded.mqtt.username, loaded.mqtt.url) == ("joe", ["mqtt://h"])


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("BRIDGE_MQTT__URL", "")
    monkeypatch.setenv("BRIDGE_HTTP__PORT", "")
    loaded = settings.load({})
    assert (loaded.mqtt.url, loaded.http.port) == ([], 8099)


@pytest.mark.parametrize("text", ["", "  ", "[]"])
def test_an_empty_list_is_one(text):
    assert settings.load({"upnp.allow": text}).upnp.allow == []


@pytest.mark.parametrize("topic", ["a", "a/b", "+", "#", "a/#", "+/b", "a/+/c", "/a", "+/#"])
def test_a_topic_filter_is_taken(topic):
    assert settings.load({"mqtt.response_topics": topic}).mqtt.response_topics == [topic]


@pytest.mark.parametrize("topic", ["a+", "a#", "#/a", "a/#/b", "+a", "a/b#", "##", "a\0"])
def test_what_is_no_topic_filter_is_refused(topic):
    with pytest.raises(ConfigError, match=r"mqtt\.response_topics"):
        settings.load({"mqtt.response_topics": json.dumps([topic])})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("upnp.search_interval", "nan"),
        ("upnp.search_interval", "inf"),
        ("upnp.action_timeout", "0"),
        ("mirror.forget_after", "nan"),
        ("mirror.forget_after", "inf"),
        ("mqtt.max_payload", "268435456"),
        ("mqtt.base_topic", "a//b"),
        ("mqtt.base_topic", "a/\0"),
        ("mqtt.base_topic", "x" * 70_000),
        ("mqtt.url", '["mqtt://h", 5]'),
        ("upnp.allow", "[1,"),
        ("http.port", "65536"),
        ("instance", ""),
        ("instance", "x" * 65),
        ("mqtt.tls_ca", "/nowhere"),
    ],
)
def test_a_wrong_setting_is_named(name, text):
    with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
        settings.load({name: text})


def test_certificate_and_key_go_together(tmp_path):
    file = tmp_path / "cert.pem"
    file.write_text("x")
    with pytest.raises(ConfigError, match=r"mqtt\.tls_cert.*mqtt\.tls_key"):
        settings.load({"mqtt.tls_cert": str(file)})


def test_secrets_come_from_files_too(tmp_path):
    for name, text in (("user", "joe\n"), ("password", "pass word\r\n")):
        (tmp_path / name).write_text(text)
    loaded = settings.load(
        {
            "mqtt.username_file": str(tmp_path / "user"),
            "mqtt.password_file": str(tmp_path / "password"),
        }
    )
    assert loaded.username() == "joe"
    password = loaded.password()
    assert password
    assert password.get_secret_value() == "pass word"


def test_a_secret_file_that_is_not_there_is_named(tmp_path):
    loaded = settings.load({"mqtt.password_file": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=r"mqtt\.password_file"):
        loaded.password()


def test_an_error_does_not_tell_a_secret(monkeypatch):
    monkeypatch.setenv("BRIDGE_MQTT__PASSWORD", "s3cret")
    with pytest.raises(ConfigError) as caught:
        settings.load({"mqtt.url": "http://joe:s3cret@h"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://joe:s3cret@host",
        "mqtt://joe:s3cret@host:1883/",
        "mqtt://joe:s3cret%40x@host",
        "wss://joe:s3cret@host/path?s3cret=s3cret",
        "mqtt://joe:s3/cret@host",
        "mqtt://joe:s3@s3cret@host",
        "unix://joe:s3cret@/run/mosquitto",
    ],
)
def test_what_is_public_has_no_secrets(url):
    public = json.dumps(settings.load({"mqtt.url": url, "mqtt.password": "s3cret"}).public())
    assert "s3" not in public
    assert "host" in public or "mosquitto" in public


def test_what_is_public_can_be_written_as_json():
    public = settings.load({"upnp.trusted_networks": "10.0.0.0/8"}).public()
    assert json.loads(json.dumps(public))["upnp"]["trusted_networks"] == ["10.0.0.0/8"]


def test_a_variable_that_is_no_setting_is_told(monkeypatch):
    monkeypatch.setenv("BRIDGE_MQTT__ULR", "x")
    monkeypatch.setenv("BRIDGE_MQTT__URL", "mqtt://h")
    monkeypatch.setenv("BRIDGE_READ_ONLY", "1")
    assert settings.unknown_variables() == ("BRIDGE_MQTT__ULR",)
