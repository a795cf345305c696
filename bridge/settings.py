"""Every setting of the bridge: its name, its default, what it means and what it may be.

`.env`, the environment (`BRIDGE_MQTT__URL`) and flags (`--mqtt.url`) all come here; of one setting,
the later of these counts. `docs/configuration.md` and `.env.example` are made from this module.
"""

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bridge.errors import ConfigError

PREFIX = "BRIDGE_"

_MAX_BASE = 512


def _listed(value: object) -> object:
    """Read a list as JSON, or as one plain value."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return []
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"not a JSON list: {error}") from error
    return [text]


def _number(value: object) -> object:
    """Read a number that was given as text; a `Literal` takes no text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _file(value: Path | None) -> Path | None:
    if value is not None and not value.is_file():
        raise ValueError(f"no file {value}")
    return value


def _base_topic(value: str) -> str:
    topic = value.strip("/")
    if not topic or re.search(r"[+#\x00-\x1f\x7f-\x9f]|//", topic) or topic.startswith("$"):
        raise ValueError("one or more topic levels, without + # and not beginning with $")
    if len(topic) > _MAX_BASE:
        raise ValueError(f"{_MAX_BASE} characters at most")
    return topic


def _instance(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value) or value == "all":
        raise ValueError("letters, digits and _ . - (64 at most), and not `all`")
    return value


def _url(value: str) -> str:
    if not re.match(r"(mqtts?|wss?|tcp|ssl|unix)://", value, re.IGNORECASE):
        raise ValueError("mqtt://, mqtts://, ws://, wss:// or unix:// and an address")
    return value


def _location(value: str) -> str:
    if not re.match(r"http://[^/\s]", value, re.IGNORECASE):
        raise ValueError("http:// and an address")
    return value


def _reachable(value: str) -> str:
    if value in {"0.0.0.0", "::"} or re.search(r"[\s/\[\]]", value):  # noqa: S104 - refused
        raise ValueError("an address that devices can reach, without port and brackets")
    return value


def _filter(value: str) -> str:
    if not re.fullmatch(r"(?:\+|[^+#\x00/]*)(?:/(?:\+|[^+#\x00/]*))*(?:(?<=/)#)?|#", value):
        raise ValueError("a topic filter of MQTT")
    return value


Texts = Annotated[list[str], NoDecode, BeforeValidator(_listed)]
Urls = Annotated[list[Annotated[str, AfterValidator(_url)]], NoDecode, BeforeValidator(_listed)]
Locations = Annotated[
    list[Annotated[str, AfterValidator(_location)]], NoDecode, BeforeValidator(_listed)
]
Filters = Annotated[
    list[Annotated[str, AfterValidator(_filter)]], NoDecode, BeforeValidator(_listed)
]
Networks = Annotated[
    list[ipaddress.IPv4Network | ipaddress.IPv6Network], NoDecode, BeforeValidator(_listed)
]
File = Annotated[Path | None, AfterValidator(_file)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class MqttSettings(_Group):
    """The broker."""

    url: Urls = Field(
        [],
        description="The broker: `mqtt://`, `mqtts://`, `ws://`, `wss://` or `unix://`; a list is "
        "tried in turn. Unset: an embedded broker on loopback.",
    )
    username: str | None = Field(None, description="User name at the broker.")
    password: SecretStr | None = Field(None, description="Password at the broker.")
    username_file: Path | None = Field(None, description="A file with the user name.")
    password_file: Path | None = Field(None, description="A file with the password.")
    tls_ca: File = Field(
        None, description="Certificates of authorities to trust, PEM. Unset: the system's."
    )
    tls_cert: File = Field(None, description="Client certificate, PEM.")
    tls_key: File = Field(None, description="Key of the client certificate, PEM.")
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        "auto", description="MQTT version; `auto` tries 5, then 3.1.1."
    )
    qos: Annotated[Literal[0, 1, 2], BeforeValidator(_number)] = Field(
        1, description="QoS of the retained tree."
    )
    base_topic: Annotated[str, AfterValidator(_base_topic)] = Field(
        "upnp", description="What all topics begin with; may hold several levels."
    )
    max_payload: int = Field(
        262144,
        ge=1024,
        le=268435455,
        description="The longest payload in bytes; longer ones are cut into parts. Lowered to "
        "what the broker announces.",
    )
    response_topics: Filters = Field(
        [], description="Topic filters that answers may go to, besides `<base>/reply/#`."
    )
    keepalive: int = Field(30, ge=5, le=3600, description="Seconds between signs of life.")


class UpnpSettings(_Group):
    """The devices."""

    interfaces: Texts = Field(
        [], description="Interfaces by name or address. Unset: every one that can multicast."
    )
    locations: Locations = Field(
        [], description="Descriptions (URLs) of devices that discovery cannot reach."
    )
    allow: Texts = Field(
        [],
        description="Patterns (`*`, `?`) over UDN, device type, friendly name, manufacturer, model "
        "and address. Unset: every device.",
    )
    deny: Texts = Field([], description="Patterns likewise; a device that matches is left out.")
    search_interval: float = Field(
        300, ge=10, le=86400, description="Seconds from search to search."
    )
    action_timeout: float = Field(
        30, gt=0, le=300, description="Seconds that an action may take, unless its call says."
    )
    poll_interval: float = Field(
        60,
        ge=0,
        le=86400,
        description="Seconds from question to question for values that no event tells; 0: never.",
    )
    callback_host: Annotated[str, AfterValidator(_reachable)] | None = Field(
        None,
        description="Address that devices send events to. Unset: the one that faces the device.",
    )
    callback_port: Port = Field(8098, description="TCP port that devices send events to.")
    trusted_networks: Networks = Field(
        [], description="Networks that a LOCATION may point to besides its sender's own subnet."
    )


class PollSettings(_Group):
    """Values that no event tells, and that the bridge asks for every `upnp.poll_interval`."""

    variables: Texts = Field(
        [],
        description="Patterns (`*`, `?`) over `<udn>/<service>/<Var>`, `<service>/<Var>` and "
        "`<Var>`: state variables to ask for besides those that matter to most people.",
    )


class MirrorSettings(_Group):
    """The tree."""

    detail: Literal["full", "action", "service", "device"] = Field(
        "full", description="The deepest kind of document that is published."
    )
    state: Literal["both", "values", "document"] = Field(
        "both", description="Values as a topic each, as a document per service, or both."
    )
    forget_after: float = Field(
        2592000, ge=0, description="Seconds after which a device that is gone is cleared; 0: never."
    )


class HomeAssistantSettings(_Group):
    """Home Assistant's MQTT discovery."""

    enabled: bool = Field(
        default=True,
        description="Publish discovery documents; `false` clears them.",
    )
    prefix: Annotated[str, AfterValidator(_base_topic)] = Field(
        "homeassistant", description="Discovery prefix, as Home Assistant has it."
    )


class HttpSettings(_Group):
    """The bridge's own HTTP port: `/healthz`, `/readyz` and `/metrics`."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8099, description="TCP port to listen on; 0: none.")


class LogSettings(_Group):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe lines that are written."
    )
    format: Literal["console", "json"] | None = Field(
        None, description="Unset: `console` on a terminal, else `json`."
    )


class Settings(BaseSettings):
    """All settings; each is a flag, an environment variable and a line in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    instance: Annotated[str, AfterValidator(_instance)] = Field(
        "main",
        description="This bridge's name on the bus.",
    )
    read_only: bool = Field(
        default=False,
        description="Carry out only actions named Get…, Browse…, Search…, Is… or List….",
    )
    mqtt: MqttSettings = MqttSettings()
    upnp: UpnpSettings = UpnpSettings()
    poll: PollSettings = PollSettings()
    mirror: MirrorSettings = MirrorSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _together(self) -> "Settings":
        if bool(self.mqtt.tls_cert) != bool(self.mqtt.tls_key):
            raise ValueError("mqtt.tls_cert and mqtt.tls_key go together")
        return self

    def username(self) -> str | None:
        """Return the user name for the broker, from its file if it has one. Raises ConfigError."""
        if self.mqtt.username_file is not None:
            return _read_secret("mqtt.username_file", self.mqtt.username_file)
        return self.mqtt.username

    def password(self) -> SecretStr | None:
        """Return the password for the broker, from its file if it has one. Raises ConfigError."""
        if self.mqtt.password_file is not None:
            return SecretStr(_read_secret("mqtt.password_file", self.mqtt.password_file))
        return self.mqtt.password

    def public(self) -> dict[str, Any]:
        """Return all settings as JSON can carry them, without secrets."""
        told = self.model_dump(mode="json")
        told["mqtt"]["password"] = "***" if self.mqtt.password else None
        told["mqtt"]["url"] = [_without_secrets(url) for url in self.mqtt.url]
        return told


def load(flags: Mapping[str, str]) -> Settings:
    """Return the settings from everywhere; `flags` has texts by dotted name, and counts most.

    Raises ConfigError naming each setting that is wrong.
    """
    nested: dict[str, Any] = {}
    for name, text in flags.items():
        group, _, inner = name.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[inner] = text
    try:
        return Settings(**nested)
    except ValidationError as error:
        raise ConfigError("; ".join(_complaint(dict(one)) for one in error.errors())) from error


def unknown_variables() -> tuple[str, ...]:
    """Return the names of environment variables that look like settings and are none."""
    known = {name.upper() for name, _ in fields()}
    return tuple(
        sorted(
            name
            for name in os.environ
            if name.upper().startswith(PREFIX) and variable_setting(name) not in known
        )
    )


def variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + setting.upper().replace(".", "__")


def variable_setting(name: str) -> str:
    """Return the setting of an environment variable, in upper case."""
    return name.upper().removeprefix(PREFIX).replace("__", ".")


def fields() -> tuple[tuple[str, Any], ...]:
    """Return the dotted name and pydantic's field of each setting, in order."""
    found: list[tuple[str, Any]] = []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [(f"{name}.{inner}", one) for inner, one in kind.model_fields.items()]
        else:
            found.append((name, field))
    return tuple(found)


def is_secret(setting: str, text: str) -> bool:
    """Return whether this text of a setting is for nobody's eyes."""
    if setting == "mqtt.url":
        return any(_without_secrets(url) != url for url in _texts(text))
    return setting == "mqtt.password" and bool(text)


def _texts(value: str) -> list[str]:
    """Return the members of a list that was given as text, or the text where it is none."""
    try:
        listed = _listed(value)
    except ValueError:
        return [value]
    return [str(one) for one in listed] if isinstance(listed, list) else [value]


def _without_secrets(url: str) -> str:
    # A password may itself hold @ and /, and a query is what cloud brokers take tokens in.
    return re.sub(r"//.*@", "//", url).partition("?")[0]


def _read_secret(setting: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error}") from error


def _complaint(error: dict[str, Any]) -> str:
    setting = ".".join(str(part) for part in error["loc"] if not isinstance(part, int))
    reason = str(error["msg"]).removeprefix("Value error, ")
    return f"{setting}: {reason}" if setting else reason
