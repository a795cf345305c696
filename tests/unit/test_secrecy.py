"""Which arguments go to the environment, where other users cannot read them."""

import pytest

from bridge.commands.secrecy import split

PASSWORD, URL = "BRIDGE_MQTT__PASSWORD", "BRIDGE_MQTT__URL"


@pytest.mark.parametrize(
    ("words", "others", "secrets"),
    [
        (["run", "--mqtt.password", "x", "--instance", "a"], "run --instance a", {PASSWORD: "x"}),
        (["--mqtt.password=x=y", "--instance=a"], "--instance=a", {PASSWORD: "x=y"}),
        (["--mqtt.password", "--instance"], "", {PASSWORD: "--instance"}),
        (["--mqtt.password", "x", "--mqtt.password=y"], "", {PASSWORD: "y"}),
        (["--mqtt.url", "mqtt://u:p@host"], "", {URL: "mqtt://u:p@host"}),
        (["--mqtt.url", "wss://host/mqtt?token=t"], "", {URL: "wss://host/mqtt?token=t"}),
        (['--mqtt.url=["mqtt://a","mqtt://u:p@b"]'], "", {URL: '["mqtt://a","mqtt://u:p@b"]'}),
        (['--mqtt.url=["mqtt://u:p@b"'], "", {URL: '["mqtt://u:p@b"'}),
        # Whichever comes last counts, wherever it stands.
        (
            ["--mqtt.url", "mqtt://u:p@a", "--mqtt.url", "mqtt://b"],
            "",
            {URL: "mqtt://b"},
        ),
    ],
)
def test_secrets_become_variables(words, others, secrets):
    assert split(words) == (others.split(), secrets)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run", "--mqtt.url", "mqtt://host:1883", "--mqtt.username", "joe"],
        ['--mqtt.url=["mqtt://a","mqtts://b"]'],
        ["--mqtt.password"],
        ["--mqtt.password="],
        ["call", "udn", "Say", "--", "--mqtt.password=x"],
        ["call", "udn", "Say", "Text=--mqtt.password"],
    ],
)
def test_where_there_are_none_nothing_moves(words):
    assert split(words) == (words, {})
