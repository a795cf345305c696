"""What deploy/ ships, checked against the settings and by the tools that will read it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from bridge import __version__, settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ADDON = DEPLOY / "home-assistant-addon"
IMAGE = "upnp2mqtt:latest"
SYSTEMD = shutil.which("systemd-analyze")
UNIT = DEPLOY / "systemd/upnp2mqtt.service"
with_systemd = pytest.mark.skipif(
    SYSTEMD is None, reason="no systemd-analyze: as root, scripts/test installs it"
)
ALMOST_ALL_CLOSED = 15
"""Exposure in tenths, as systemd counts it; 100 is a service without any restriction."""

# As the Supervisor reads an option's type.
OPTION = re.compile(
    r"^(?:bool|email|url|port|str|password|int(?:\((\d+)?,(\d+)?\))?|float|list\((.+)\))\??$"
)


def shipped() -> list[Path]:
    """Return all files, but for what make-secrets.sh makes."""
    return [
        one
        for one in sorted(DEPLOY.rglob("*"))
        if one.is_file()
        and "__pycache__" not in one.parts
        and one.relative_to(DEPLOY).parts[0] != "secrets"
    ]


def loaded(file: str) -> Any:
    return yaml.safe_load((DEPLOY / file).read_text())


def known() -> frozenset[str]:
    return frozenset(settings.variable(name) for name, _ in settings.fields())


def said(
    *words: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(words, check=False, env=environment, capture_output=True, text=True)


def chosen(environment: Mapping[str, object]) -> settings.Settings:
    """Return the settings that an environment stands for; all of it must be settings."""
    flags = {settings.variable(name): name for name, _ in settings.fields()}
    assert all(isinstance(text, str) for text in environment.values())
    return settings.load({flags[name]: str(text) for name, text in environment.items()})


@pytest.mark.parametrize("file", shipped(), ids=lambda file: str(file.relative_to(DEPLOY)))
def test_every_variable_that_is_named_is_a_setting(file):
    named = set(re.findall(r"\bBRIDGE_[A-Z][A-Z_]*\b", file.read_text(encoding="utf-8")))
    assert named <= known()


def test_all_name_the_same_image_and_its_user():
    text = "\n".join(one.read_text(encoding="utf-8") for one in shipped())
    assert set(re.findall(r"\bupnp2mqtt:[\w.]+", text)) == {IMAGE}
    user = re.search(r"(?m)^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text())
    assert user
    assert f"\nbridge={user[1]}\n" in (DEPLOY / "make-secrets.sh").read_text()
    assert f"\nUSER_ID = {user[1]}\n" in (ADDON / "run.py").read_text()
    (_, _, deployment, _) = manifests()
    context = deployment["spec"]["template"]["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2]))


# compose


@pytest.fixture
def compose() -> Any:
    return loaded("compose.yaml")


def checkers() -> Iterator[list[str]]:
    if shutil.which("docker-compose"):
        yield ["docker-compose"]
    if shutil.which("docker") and said("docker", "compose", "version").returncode == 0:
        yield ["docker", "compose"]


def test_compose_takes_its_file():
    tools = list(checkers())
    if not tools:
        pytest.skip("no `docker compose` and no docker-compose: as root, scripts/test installs it")
    for tool in tools:
        got = said(*tool, "-f", DEPLOY / "compose.yaml", "config")
        assert got.returncode == 0, got.stderr
        assert "WARN" not in got.stderr
        assert set(yaml.safe_load(got.stdout)["services"]) == {"upnp2mqtt", "mosquitto"}


def test_the_composed_bridge_has_settings_that_are_valid_and_reach_the_broker(compose):
    bridge, broker = compose["services"]["upnp2mqtt"], compose["services"]["mosquitto"]
    environment = bridge["environment"]
    got = chosen(environment)
    assert got.mqtt.url == ["mqtt://127.0.0.1:1883"]
    assert "1883:1883" in broker["ports"]
    (secret,) = bridge["secrets"]
    assert str(got.mqtt.password_file) == f"/run/secrets/{secret}"
    assert secret in compose["secrets"]
    assert got.mqtt.username in (DEPLOY / "mosquitto/acl").read_text().split()
    assert bridge["network_mode"] == "host"
    assert bridge["depends_on"]["mosquitto"]["condition"] == "service_healthy"
    assert "healthcheck" in broker


@pytest.mark.parametrize("name", ["upnp2mqtt", "mosquitto"])
def test_a_composed_service_has_no_rights_and_no_endless_log(compose, name):
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])


def test_what_compose_mounts_is_shipped_or_made_by_the_script(compose):
    mounted = [
        text.partition(":")[0]
        for service in compose["services"].values()
        for text in service.get("volumes", ())
    ]
    mounted += [secret["file"] for secret in compose["secrets"].values()]
    script = (DEPLOY / "make-secrets.sh").read_text()
    for path in mounted:
        if path.startswith("./secrets/"):
            assert path.removeprefix("./secrets/") in script
        elif path.startswith("."):
            assert (DEPLOY / path).exists(), path
        else:
            assert path in compose["volumes"]
    assert len(mounted) == 5


def test_a_comment_of_compose_is_a_setting_that_is_valid():
    lines = re.findall(r"(?m)^ *# (BRIDGE_\w+: .*)$", (DEPLOY / "compose.yaml").read_text())
    assert len(lines) == 5
    chosen(yaml.safe_load("\n".join(lines)))


def test_secrets_do_not_enter_the_repository():
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().split()


# mosquitto


def rights() -> dict[str, set[tuple[str, str]]]:
    """Return (what, topic filter) that each user of the ACL may read or write."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in (DEPLOY / "mosquitto/acl").read_text().splitlines():
        match line.split():
            case ["user", name]:
                found[name] = set()
            case ["topic", access, topic]:
                ways = {"readwrite": ("read", "write")}.get(access, (access,))
                found[name] |= {(way, topic) for way in ways}
            case words:
                assert not words or words[0].startswith("#")
    return found


def test_roles_of_dynamic_security_have_the_rights_of_the_acl(tmp_path):
    # Stands for mosquitto_ctrl and writes down what it is asked to do.
    told = tmp_path / "told"
    stand_in = tmp_path / "mosquitto_ctrl"
    stand_in.write_text(f'#!/bin/sh\necho "$*" >>{told}\n')
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    got = said("sh", DEPLOY / "mosquitto/dynamic-security.sh", environment=environment)
    assert got.returncode == 0, got.stderr
    roles: dict[str, set[tuple[str, str]]] = {}
    for line in told.read_text().splitlines():
        match line.split():
            case ["dynsec", "createRole", name]:
                roles[name] = set()
            case ["dynsec", "addRoleACL", name, acltype, topic, "allow"]:
                way = {"subscribePattern": "read", "publishClientSend": "write"}[acltype]
                roles[name].add((way, topic))
            case words:
                raise AssertionError(words)
    acl = rights()
    assert roles == {
        "upnp2mqtt-bridge": acl["bridge"],
        "upnp2mqtt-hub": acl["homeassistant"],
        "upnp2mqtt-dashboard": acl["dashboard"],
    }


def test_the_script_for_dynamic_security_ends_where_it_is_refused(tmp_path):
    stand_in = tmp_path / "mosquitto_ctrl"
    stand_in.write_text("#!/bin/sh\necho 'Error: Role already exists' >&2\n")
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    got = said("sh", DEPLOY / "mosquitto/dynamic-security.sh", environment=environment)
    assert got.returncode == 1
    assert len(got.stderr.splitlines()) == 1
    assert "Role already exists" in got.stderr


# systemd


def unit() -> dict[str, list[str]]:
    """Return the values of each key, in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, is_set, value = line.partition("=")
        if is_set and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_says_when_it_is_ready_and_is_watched_and_started_again():
    keys = unit()
    assert keys["Type"] == ["notify"]
    assert int(keys["WatchdogSec"][0]) >= 30
    assert keys["Restart"] == ["always"]
    assert keys["ExecStart"] == ["/opt/upnp2mqtt/bin/upnp2mqtt"]


def test_the_units_settings_are_valid_and_its_password_is_the_credential():
    pairs = [pair for text in unit()["Environment"] for pair in text.split()]
    environment = dict(pair.split("=", 1) for pair in pairs)
    del environment["PYTHONDONTWRITEBYTECODE"]
    got = chosen(environment)
    credential = unit()["LoadCredential"][0].partition(":")[0]
    assert str(got.mqtt.password_file) == f"%d/{credential}"


@with_systemd
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path):
    file = tmp_path / UNIT.name
    shell = shutil.which("sh")
    file.write_text(UNIT.read_text().replace("/opt/upnp2mqtt/bin/upnp2mqtt", f"{shell}"))
    got = said(str(SYSTEMD), "verify", "--man=no", file)
    # Before version 254, systemd says that it leaves these out.
    newer = ("Unknown key 'RestartSteps'", "Unknown key 'RestartMaxDelaySec'")
    complaints = [
        line
        for line in got.stderr.splitlines()
        if UNIT.name in line and not any(one in line for one in newer)
    ]
    assert complaints == []


@with_systemd
def test_systemd_finds_the_service_closed_but_for_the_network():
    words = ("--offline=true", f"--threshold={ALMOST_ALL_CLOSED}", "--no-pager")
    got = said(str(SYSTEMD), "security", *words, UNIT)
    if "unrecognized option" in got.stderr:
        pytest.skip("this systemd-analyze cannot judge a file (before version 250)")
    assert got.returncode == 0, got.stdout[-2000:]


# Kubernetes


def manifests() -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes/upnp2mqtt.yaml").read_text()))


def test_kubernetes_manifests_are_valid():
    for one in manifests():
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_starts_the_bridge_once_with_settings_that_are_valid():
    namespace, config, deployment, service = manifests()
    got = chosen(config["data"])
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    assert pod["hostNetwork"] is True
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    (mount,) = container["volumeMounts"]
    assert str(got.mqtt.password_file) == f"{mount['mountPath']}/password"
    assert [one["name"] for one in pod["volumes"]] == [mount["name"]]
    assert {one["metadata"]["namespace"] for one in (config, deployment, service)} == {
        namespace["metadata"]["name"]
    }


def test_the_service_of_kubernetes_leads_to_the_page_by_a_name_that_the_bridge_takes():
    _, config, deployment, service = manifests()
    got = chosen(config["data"])
    assert got.http.host == "0.0.0.0"
    name = service["metadata"]["name"]
    namespace = service["metadata"]["namespace"]
    assert {name, f"{name}.{namespace}"} <= set(got.http.names)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = service["spec"]["ports"]
    assert {"name": port["targetPort"], "containerPort": port["port"]} in container["ports"]
    assert port["port"] == got.http.port


def test_kubernetes_asks_where_the_bridge_answers():
    (container,) = manifests()[2]["spec"]["template"]["spec"]["containers"]
    default = settings.load({})
    ports = [one["containerPort"] for one in container["ports"]]
    assert ports == [default.upnp.callback_port, default.http.port]
    paths = {}
    for name in ("startup", "liveness", "readiness"):
        asked = container[f"{name}Probe"]["httpGet"]
        assert (asked["host"], asked["port"]) == (default.http.host, default.http.port)
        paths[name] = asked["path"]
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


# The add-on


def test_the_packed_add_on_holds_what_it_is_built_of(tmp_path):
    folder = tmp_path / "upnp2mqtt"
    for _ in range(2):  # over what was packed before, too
        got = said(ROOT / "scripts/addon", folder)
        assert got.returncode == 0, got.stderr
        (folder / "bridge/gone.py").touch()
    (folder / "bridge/gone.py").unlink()
    recipe = (folder / "Dockerfile").read_text()
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", recipe)
    for path in " ".join(copied).split():
        assert (folder / path).exists(), path
    assert re.findall(r"(?m)^FROM (\S+)", recipe) == ["${BASE}", "scratch"]
    assert '"/run.py"' in re.findall(r"(?m)^ENTRYPOINT .*", recipe)[-1]
    assert not list(folder.rglob("__pycache__"))
    for name in ("config.yaml", "DOCS.md", "translations/en.yaml"):
        assert (folder / name).read_text() == (ADDON / name).read_text()
    assert {file.name for file in (folder / "bridge").iterdir()} == {
        file.name for file in (ROOT / "bridge").iterdir() if file.name != "__pycache__"
    }


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("addon_run", ADDON / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def addon() -> Any:
    return loaded("home-assistant-addon/config.yaml")


def test_the_add_on_has_what_the_supervisor_asks_for(addon):
    assert addon["version"] == __version__
    assert re.fullmatch(r"[-_.A-Za-z0-9]+", addon["slug"])
    assert set(addon["arch"]) == {"amd64", "aarch64"}
    assert addon["host_network"] is True
    assert addon["init"] is False
    assert addon["services"] == ["mqtt:want"]
    text = (ADDON / "Dockerfile").read_text()
    assert f"FROM {IMAGE}\n" in text
    assert f"ARG BUILD_VERSION={__version__}\n" in text
    for label in ("version", "type", "arch"):
        assert f"io.hass.{label}=" in text


def test_each_option_is_a_setting_and_has_a_name_and_a_place_in_the_documentation(addon, run):
    schema = addon["schema"]
    assert set(run.VARIABLES) == set(schema)
    assert set(run.VARIABLES.values()) <= known()
    assert set(addon["options"]) <= set(schema)
    told = loaded("home-assistant-addon/translations/en.yaml")["configuration"]
    assert list(told) == list(schema)
    assert all(set(one) == {"name", "description"} for one in told.values())
    docs = (ADDON / "DOCS.md").read_text()
    assert all(f"`{name}`" in docs for name in schema)


def test_the_type_of_each_option_is_that_of_its_setting(addon, run):
    fields = {settings.variable(name): field for name, field in settings.fields()}
    for name, kind in addon["schema"].items():
        field = fields[run.VARIABLES[name]]
        is_list = isinstance(kind, list)
        match = OPTION.match(kind[0] if is_list else kind)
        assert match, name
        default = field.get_default(call_default_factory=True)
        if name != "mqtt_url":  # the bridge takes several
            assert is_list == isinstance(default, list), name
        assert (kind == "bool") == isinstance(default, bool), name
        if match[3]:
            assert tuple(match[3].split("|")) == get_args(field.annotation), name
        if match[2]:
            bounds = [
                getattr(one, which)
                for one in field.metadata
                for which in dir(one)
                if which in ("ge", "le")
            ]
            assert [int(match[1]), int(match[2])] == bounds, name


def test_the_options_as_they_come_are_the_bridges_defaults(addon, run):
    assert chosen(run.settings(addon["options"])) == settings.load({})


def test_home_assistant_shows_the_page_where_the_bridge_listens_for_it(addon, run, monkeypatch):
    assert addon["ingress"] is True
    assert addon["ingress_port"] == run.DEFAULT_HTTP_PORT == settings.load({}).http.port
    assert addon["panel_icon"].startswith("mdi:")
    monkeypatch.setattr(run, "GATEWAY", "192.0.2.1")  # no address of this machine
    assert run.page_settings() == {}
    monkeypatch.setattr(run, "GATEWAY", "127.0.0.1")
    got = chosen(run.page_settings())
    assert got.http.host == "127.0.0.1"
    assert [str(one) for one in got.http.trusted_proxies] == [run.INGRESS]


def test_options_become_settings(run):
    given = {
        "mqtt_url": "mqtts://broker:8883",
        "mqtt_username": "me",
        "mqtt_password": 'quo"ted $x',
        "interfaces": ["eth0", "192.168.1.2"],
        "deny": ["*Router*"],
        "read_only": True,
        "homeassistant_discovery": False,
        "poll_interval": 0,
        "log_level": "debug",
        "callback_port": 9000,
        "trusted_networks": ["10.0.0.0/8"],
    }
    got = chosen(run.settings(given))
    assert got.mqtt.url == ["mqtts://broker:8883"]
    assert got.mqtt.username == "me"
    assert got.mqtt.password
    assert got.mqtt.password.get_secret_value() == 'quo"ted $x'
    assert got.upnp.interfaces == ["eth0", "192.168.1.2"]
    assert got.upnp.deny == ["*Router*"]
    assert got.read_only
    assert not got.homeassistant.enabled
    assert got.upnp.poll_interval == 0
    assert got.log.level == "debug"
    assert got.upnp.callback_port == 9000
    assert [str(one) for one in got.upnp.trusted_networks] == ["10.0.0.0/8"]


def test_empty_options_are_as_if_they_were_not_there(run):
    empty: dict[str, object] = {"mqtt_url": "", "interfaces": [], "instance": None}
    assert run.settings(empty) == {}


def test_an_option_that_nobody_knows_is_refused(run):
    with pytest.raises(run.Unusable, match="colour"):
        run.settings({"colour": "red"})


def test_the_supervisors_broker_becomes_settings(run):
    told = {"host": "core-mosquitto", "port": 1883, "ssl": False}
    login = {"username": "addons", "password": "p@ss:/w"}
    got = chosen(run.broker_settings(told | login))
    assert got.mqtt.url == ["mqtt://core-mosquitto:1883"]
    assert got.mqtt.username == "addons"
    assert got.mqtt.password
    assert got.mqtt.password.get_secret_value() == "p@ss:/w"
    assert run.broker_settings(told | {"ssl": True}) == {
        "BRIDGE_MQTT__URL": "mqtts://core-mosquitto:1883"
    }
    with pytest.raises(run.Unusable, match="host"):
        run.broker_settings({"port": 1883})


def test_a_start_without_a_broker_and_without_a_supervisor_says_what_to_do(tmp_path):
    options = tmp_path / "options.json"
    options.write_text(json.dumps({}))
    environment = {"OPTIONS_FILE": str(options), "PATH": os.environ["PATH"]}
    got = said(sys.executable, "-I", ADDON / "run.py", "true", environment=environment)
    assert got.returncode == 1
    assert len(got.stderr.splitlines()) == 1
    assert "mqtt_url" in got.stderr
