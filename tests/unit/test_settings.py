"""Every setting: its default, its spellings, and what is told of it."""

import json
import os

import pytest

from bridge import settings
from bridge.errors import ConfigError
from bridge.settings.complaints import complaint

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


LISTS = [
    ("upnp.interfaces", ["eth0", "wlan0"]),
    ("upnp.trusted_networks", ["10.0.0.0/8", "192.168.1.0/24"]),
    ("mqtt.url", ["mqtt://one", "mqtts://two:8883"]),
    ("upnp.locations", ["http://one/d.xml", "http://two:80/d.xml"]),
    ("upnp.allow", ["WeMo*", "Living room"]),
    ("upnp.deny", ["WeMo*", "[TV] Samsung*"]),
    ("poll.variables", ["Volume", "AVTransport/*"]),
    ("mqtt.response_topics", ["a/+", "b/#"]),
]
FORMS = [
    "{0},{1}",
    "{0}, {1}",
    " {0} ,{1}, ",
    '["{0}","{1}"]',
    "['{0}', '{1}']",
    "[{0},{1}]",
    '"{0}","{1}"',
    "'{0}', '{1}'",
    '"["{0}","{1}"]"',
    """'["{0}","{1}"]'""",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "members"), LISTS)
def test_a_list_is_read_in_every_form(name, members, form):
    read = value(settings.load({name: form.format(*members)}), name)
    assert [str(one) for one in read] == members


@pytest.mark.parametrize("form", ["{0}", "'{0}'", '"{0}"', "[{0}]", '["{0}"]', "{0},", '["{0}"'])
@pytest.mark.parametrize(("name", "members"), LISTS)
def test_a_list_of_one_is_read_in_every_form(name, members, form):
    if form == '["{0}"' and members[0] != "WeMo*":
        with pytest.raises(ConfigError, match="ends with ]"):
            settings.load({name: form.format(members[0])})
    elif form != '["{0}"':
        read = value(settings.load({name: form.format(members[0])}), name)
        assert [str(one) for one in read] == members[:1]


@pytest.mark.parametrize(
    ("name", "text", "members"),
    [
        ("upnp.interfaces", '"eth0,wlan0"', ["eth0", "wlan0"]),
        ("upnp.interfaces", "eth0 wlan0", ["eth0", "wlan0"]),
        ("upnp.interfaces", "eth0;fe80::1%eth0", ["eth0", "fe80::1%eth0"]),
        ("upnp.deny", "Sonos, Inc., WeMo*", ["Sonos, Inc.", "WeMo*"]),
        ("upnp.deny", "TP-Link Co., Ltd.", ["TP-Link Co., Ltd."]),
        ("upnp.deny", '"Acme, Beta and Sons", x', ["Acme, Beta and Sons", "x"]),
        ("upnp.deny", "Anna's TV, Bob's TV", ["Anna's TV", "Bob's TV"]),
        ("upnp.allow", "[TV] *", ["[TV] *"]),
        ("mqtt.url", "mqtt://u:a,b@h, mqtt://[::1]:1884", ["mqtt://u:a,b@h", "mqtt://[::1]:1884"]),
        ("upnp.locations", "http://h/a,b.xml", ["http://h/a,b.xml"]),
        ("upnp.trusted_networks", "192.168.1.5/24", ["192.168.1.0/24"]),
    ],
)
def test_commas_part_what_they_are_meant_to(name, text, members):
    assert [str(one) for one in value(settings.load({name: text}), name)] == members


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mqtt.qos", "seven", "mqtt.qos cannot be 'seven': it must be 0, 1 or 2"),
        (
            "mirror.detail",
            "servce",
            "'servce': it must be full, action, service or device; did you mean service?",
        ),
        ("read_only", "ture", "read_only cannot be 'ture': it must be true or false; did you mean"),
        ("http.port", "x", "http.port cannot be 'x': it must be a whole number from 0 to 65535"),
        ("upnp.action_timeout", "0", "it must be a number above 0 to 300"),
        ("mqtt.url", "10.0.0.1", "did you mean mqtt://10.0.0.1?"),
        ("mqtt.url", "mqtt://a,b", "must begin with mqtt://"),
        ("upnp.trusted_networks", "10.0.0.0/99", "'10.0.0.0/99': it must be a network such as"),
        ("upnp.callback_host", "224.0.0.1", "an address that devices can reach"),
        ("upnp.callback_host", "10.0.0.1:8098", "without port and brackets"),
        ("mqtt.tls_ca", "/nowhere", "mqtt.tls_ca cannot be '/nowhere': there is no such file"),
        ("instance", "a\x1b[2J", "instance cannot be 'a\ufffd[2J'"),
        ("instance", "x" * 100, f"'{'x' * 80}…'"),
    ],
)
def test_a_wrong_value_is_echoed_with_what_it_must_be(name, text, said):
    with pytest.raises(ConfigError) as caught:
        settings.load({name: text})
    assert said in str(caught.value)
    assert "Input should" not in str(caught.value)


@pytest.mark.parametrize("text", ["debug", "5", "{", '{"levle": 1}x'])
def test_a_value_for_a_group_is_told_with_the_names_in_it(text, monkeypatch):
    monkeypatch.setenv("BRIDGE_LOG", text)
    with pytest.raises(
        ConfigError, match=r"BRIDGE_LOG is not a setting: there are BRIDGE_LOG__LEVEL"
    ):
        settings.load({})


@pytest.mark.parametrize("data", [b"BRIDGE_INSTANCE=\xff\n", b"\xff\xfea\0"])
def test_an_env_file_that_is_no_text_is_told(data, tmp_path):
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(ConfigError, match=r"^\.env cannot be read"):
        settings.load({})


def test_an_env_file_may_be_of_windows(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfBRIDGE_INSTANCE=attic\r\nBRIDGE_MQTT__QOS=0\r\n")
    loaded = settings.load({})
    assert (loaded.instance, loaded.mqtt.qos) == ("attic", 0)


def test_it_is_told_where_a_wrong_value_stands(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("BRIDGE_MQTT__QOS=7\n")
    with pytest.raises(ConfigError, match=r"\(BRIDGE_MQTT__QOS in \.env\) cannot be '7'"):
        settings.load({})
    monkeypatch.setenv("BRIDGE_MQTT__QOS", "8")
    with pytest.raises(ConfigError, match=r"\(BRIDGE_MQTT__QOS\) cannot be '8'"):
        settings.load({})
    with pytest.raises(ConfigError, match=r"mqtt\.qos cannot be '9'"):
        settings.load({"mqtt.qos": "9"})


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
    assert [one.name for one in settings.unknown_names()] == ["BRIDGE_MQTT__ULR"]


@pytest.mark.parametrize(
    ("line", "name", "like"),
    [
        ("BRIDGE_MQTT_URL=mqtt://h", "BRIDGE_MQTT_URL", "BRIDGE_MQTT__URL"),
        ("BRIDGE_MQTT__ULR=mqtt://h", "BRIDGE_MQTT__ULR", "BRIDGE_MQTT__URL"),
        ("export BRIDGE_UPNP__INTERFACE=eth0", "BRIDGE_UPNP__INTERFACE", "BRIDGE_UPNP__INTERFACES"),
        ("bridge_loglevel=debug", "bridge_loglevel", "BRIDGE_LOG__LEVEL"),
        ("MQTT__URL=mqtt://h", "MQTT__URL", "BRIDGE_MQTT__URL"),
        ("MQTT_URL=mqtt://h", "MQTT_URL", "BRIDGE_MQTT__URL"),
        ("BRIDGE_WEATHER=fine", "BRIDGE_WEATHER", ""),
    ],
)
def test_a_name_in_an_env_file_that_is_no_setting_is_told(line, name, like, tmp_path):
    (tmp_path / ".env").write_text(f"# BRIDGE_X=1\n\n{line}\nBRIDGE_INSTANCE=a\nFOO=1\n")
    (found,) = settings.unknown_names()
    assert (found.name, found.where, found.like) == (name, ".env, line 3", like)
    assert name in str(found)


def test_a_line_of_an_env_file_that_says_nothing_is_told(tmp_path):
    lines = 'FOO bar\nBRIDGE_MQTT__PASSWORD: s3cret\nBRIDGE_INSTANCE="a\nBRIDGE_HTTP__PORT\n'
    (tmp_path / ".env").write_text(lines)
    told = [str(one) for one in settings.unknown_names()]
    assert [one.partition(" is ")[0] for one in told] == [
        ".env, line 2 (BRIDGE_MQTT__PASSWORD)",
        ".env, line 3 (BRIDGE_INSTANCE)",
        ".env, line 4 (BRIDGE_HTTP__PORT)",
    ]
    assert "s3cret" not in "".join(told)


def test_names_of_an_env_file_that_are_settings_are_not_told(tmp_path):
    (tmp_path / ".env").write_text("bridge_mqtt__url=mqtt://h\nexport BRIDGE_READ_ONLY=1\n")
    assert settings.unknown_names() == ()


def test_a_secret_of_any_setting_is_not_echoed():
    field = settings.MqttSettings.model_fields["password"]
    error = {"loc": ("mqtt", "password"), "type": "string_type", "msg": "x", "input": "s3cret"}
    said = complaint(error, {"mqtt.password": field}, {})
    assert said == "mqtt.password cannot be this value: it must be a text"


def test_each_setting_is_listed_with_where_it_comes_from(tmp_path, monkeypatch):
    for name, _ in settings.fields():
        monkeypatch.delenv(settings.variable(name), raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        "BRIDGE_INSTANCE=two\nBRIDGE_LOG__LEVEL=debug\nbridge_mqtt__qos=2\n"
    )
    (tmp_path / "secret").write_text("hunter2")
    monkeypatch.setenv("BRIDGE_LOG__LEVEL", "error")
    monkeypatch.setenv("BRIDGE_MQTT__PASSWORD", "hunter2")
    monkeypatch.setenv("BRIDGE_MQTT__USERNAME", "")
    flags = {"mqtt.url": "mqtt://u:hunter2@h", "http.password_file": str(tmp_path / "secret")}
    listed = settings.load(flags).listed()
    assert [one["name"] for one in listed] == [name for name, _ in settings.fields()]
    by_name = {str(one["name"]): one for one in listed}
    found = {name: one["source"] for name, one in by_name.items() if one["source"] != "default"}
    assert found == {
        "instance": ".env",
        "mqtt.url": "flag",
        "mqtt.password": "environment",
        "mqtt.qos": ".env",
        "http.password": "file",
        "http.password_file": "flag",
        "log.level": "environment",
    }
    assert by_name["mqtt.password"]["value"] == by_name["http.password"]["value"] == "set"
    assert by_name["mqtt.url"]["value"] == ["mqtt://h"]
    assert "hunter2" not in str(listed)
