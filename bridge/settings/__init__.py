"""Every setting of the bridge: its name, its default, what it means and what it may be.

`.env`, the environment (`BRIDGE_MQTT__URL`) and flags (`--mqtt.url`) all come here; of one setting,
the later of these counts. `docs/configuration.md` and `.env.example` are made from this module.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from bridge.errors import ConfigError
from bridge.settings.complaints import complaint, no_setting
from bridge.settings.complaints import is_secret as is_secret_field
from bridge.settings.known_names import ENV_FILE, PREFIX, Unknown, nearest, unknown, variable
from bridge.settings.texts import listed_names, listed_texts, listed_urls, without_credentials

__all__ = ["PREFIX", "Settings", "Unknown", "fields", "is_secret", "load", "nearest", "variable"]

_MAX_BASE = 512

Source: TypeAlias = Literal["flag", "environment", ".env", "file", "default"]
"""Where a setting comes from."""


def _number(value: object) -> object:
    """Read a number that was given as text; a `Literal` takes no text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _file(value: Path | None) -> Path | None:
    if value is not None and not value.is_file():
        raise ValueError("there is no such file")
    return value


def _base_topic(value: str) -> str:
    topic = value.strip("/")
    if not topic or re.search(r"[+#\x00-\x1f\x7f-\x9f]|//", topic) or topic.startswith("$"):
        raise ValueError("it must be topic levels, without + and # and not beginning with $")
    if len(topic) > _MAX_BASE:
        raise ValueError(f"it may have at most {_MAX_BASE} characters")
    return topic


def _instance(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value) or value == "all":
        raise ValueError("it must be of letters, digits and _ . - (64 at most), and not `all`")
    return value


def _url(value: str) -> str:
    if not re.match(r"(mqtts?|wss?|tcp|ssl|unix)://", value, re.IGNORECASE):
        hint = f"; did you mean mqtt://{without_credentials(value)}?" if "://" not in value else ""
        raise ValueError(f"it must begin with mqtt://, mqtts://, ws://, wss:// or unix://{hint}")
    if "," in value.partition("://")[2].rpartition("@")[2].partition("/")[0]:
        raise ValueError("the URL of each broker must begin with mqtt:// or the like")
    return value


def _location(value: str) -> str:
    if not re.match(r"http://[^/\s]", value, re.IGNORECASE):
        raise ValueError("it must begin with http:// and an address")
    return value


def _reachable(value: str) -> str:
    said = "it must be an address that devices can reach, without port and brackets"
    if re.search(r"[\s/\[\],]", value) or re.fullmatch(r"[^:]*:\d*", value):
        raise ValueError(said)
    try:
        address = ipaddress.ip_address(value.partition("%")[0])
    except ValueError:
        return value
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError(said)
    return value


def _network(value: object) -> object:
    """Take an address with its prefix, `192.168.1.5/24`, for its network."""
    if not isinstance(value, str):
        return value
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("it must be a network such as 192.168.1.0/24") from None


def _filter(value: str) -> str:
    if not re.fullmatch(r"(?:\+|[^+#\x00/]*)(?:/(?:\+|[^+#\x00/]*))*(?:(?<=/)#)?|#", value):
        raise ValueError("it is not an MQTT topic filter")
    return value


def _base_path(value: str) -> str:
    path = value.rstrip("/")
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", path) or "/." in path or len(path) > _MAX_BASE:
        raise ValueError("it must begin with / and have letters, digits and . _ ~ - only")
    return path


Texts = Annotated[list[str], NoDecode, BeforeValidator(listed_texts)]
Names = Annotated[list[str], NoDecode, BeforeValidator(listed_names)]
Urls = Annotated[list[Annotated[str, AfterValidator(_url)]], NoDecode, BeforeValidator(listed_urls)]
Locations = Annotated[
    list[Annotated[str, AfterValidator(_location)]], NoDecode, BeforeValidator(listed_urls)
]
Filters = Annotated[
    list[Annotated[str, AfterValidator(_filter)]], NoDecode, BeforeValidator(listed_texts)
]
Networks = Annotated[
    list[Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)],],
    NoDecode,
    BeforeValidator(listed_names),
]
File = Annotated[Path | None, AfterValidator(_file)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class MqttSettings(_Group):
    """The broker."""

    url: Urls = Field(
        [],
        description="URL of the broker: `mqtt://`, `mqtts://`, `ws://`, `wss://` or `unix://`; "
        "several are tried in turn. Unset: an embedded broker on loopback.",
    )
    username: str | None = Field(None, description="User name at the broker.")
    password: SecretStr | None = Field(None, description="Password at the broker.")
    username_file: Path | None = Field(None, description="A file with the user name.")
    password_file: Path | None = Field(None, description="A file with the password.")
    tls_ca: File = Field(
        None, description="Certificates of the authorities to trust, PEM. Unset: the system's."
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
        description="The longest payload in bytes; longer ones are cut into chunks. Lowered to "
        "what the broker announces.",
    )
    response_topics: Filters = Field(
        [], description="Topic filters that answers may go to, besides `<base>/reply/#`."
    )
    keepalive: int = Field(30, ge=5, le=3600, description="MQTT keep alive in seconds.")


class UpnpSettings(_Group):
    """The devices."""

    interfaces: Names = Field(
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
    deny: Texts = Field(
        [], description="Patterns of the same kind; a device that matches is left out."
    )
    search_interval: float = Field(300, ge=10, le=86400, description="Seconds between searches.")
    action_timeout: float = Field(
        30,
        gt=0,
        le=300,
        description="Seconds that an action may take, unless its call has a `timeout`.",
    )
    poll_interval: float = Field(
        60,
        ge=0,
        le=86400,
        description="Seconds between polls of values that no event reports; 0: never.",
    )
    callback_host: Annotated[str, AfterValidator(_reachable)] | None = Field(
        None,
        description="Address that devices send events to. Unset: the one that faces the device.",
    )
    callback_port: Port = Field(8098, description="TCP port that devices send events to.")
    trusted_networks: Networks = Field(
        [], description="Networks that a LOCATION may point to, besides its sender's own subnet."
    )


class PollSettings(_Group):
    """Values that no event reports, and that the bridge polls every `upnp.poll_interval`."""

    variables: Texts = Field(
        [],
        description="Patterns (`*`, `?`) over `<udn>/<service>/<Var>`, `<service>/<Var>` and "
        "`<Var>`: state variables to poll, besides those that matter to most people.",
    )


class MirrorSettings(_Group):
    """The tree."""

    detail: Literal["full", "action", "service", "device"] = Field(
        "full", description="The deepest kind of document that is published."
    )
    state: Literal["both", "values", "document"] = Field(
        "both",
        description="`values`: a topic for each value; `document`: one `state` for each service.",
    )
    forget_after: float = Field(
        2592000, ge=0, description="Seconds after which an offline device is cleared; 0: never."
    )


class HomeAssistantSettings(_Group):
    """Home Assistant's MQTT discovery."""

    enabled: bool = Field(
        default=True,
        description="Publish discovery documents; `false` clears them.",
    )
    prefix: Annotated[str, AfterValidator(_base_topic)] = Field(
        "homeassistant", description="Discovery prefix, as set in Home Assistant."
    )


class HttpSettings(_Group):
    """The bridge's own HTTP port: the page and its API, `/healthz`, `/readyz` and `/metrics`."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8099, description="TCP port to listen on; 0: none.")
    password: SecretStr | None = Field(
        None,
        description="Password for whoever controls devices from the page or the API. Unset: only "
        "from this machine.",
    )
    password_file: Path | None = Field(None, description="A file with that password.")
    base_path: Annotated[str, AfterValidator(_base_path)] = Field(
        "", description="Path below which a proxy puts the page, such as `/upnp`."
    )
    names: Names = Field(
        [],
        description="Host names that the page may be opened by, besides `localhost`, `*.local` "
        "and the machine's own.",
    )
    trusted_proxies: Networks = Field(
        [],
        description="Networks of proxies that let in only those who may control devices; the "
        "host name is their matter then.",
    )


class LogSettings(_Group):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is written."
    )
    format: Literal["console", "json"] | None = Field(
        None, description="Unset: `console` on a terminal, else `json`."
    )


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from, by name; the same settings are the same from anywhere."""

    by_name: Mapping[str, Source] = field(default_factory=dict, compare=False)


class Settings(BaseSettings):
    """All settings; each is a flag, an environment variable and a line in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    instance: Annotated[str, AfterValidator(_instance)] = Field(
        "main",
        description="This bridge's name in topics and as MQTT client.",
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

    _sources: Sources = PrivateAttr(default_factory=Sources)

    @model_validator(mode="after")
    def _together(self) -> "Settings":
        if bool(self.mqtt.tls_cert) != bool(self.mqtt.tls_key):
            raise ValueError("mqtt.tls_cert and mqtt.tls_key go together, and one is not set")
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

    def http_password(self) -> SecretStr | None:
        """Return the password for the page, from its file if it has one.

        Raises ConfigError, also where the file has none: nobody is to be let in by mistake.
        """
        if self.http.password_file is None:
            return self.http.password or None
        text = _read_secret("http.password_file", self.http.password_file)
        if not text:
            raise ConfigError(f"http.password_file: {self.http.password_file} is empty")
        return SecretStr(text)

    def public(self) -> dict[str, Any]:
        """Return all settings as JSON can carry them, without secrets."""
        told = self.model_dump(mode="json")
        for group, secret in (
            (told["mqtt"], self.mqtt.password),
            (told["http"], self.http.password),
        ):
            group["password"] = "***" if secret else None
        told["mqtt"]["url"] = [without_credentials(url) for url in self.mqtt.url]
        return told

    def listed(self) -> list[dict[str, object]]:
        """Return every setting with what it means, is, would be, and where it comes from.

        The text of a secret is not among that: its value is `set`, or None.
        """
        told, found = self.public(), []
        for name, one in fields():
            group, _, inner = name.rpartition(".")
            value = (told[group] if group else told)[inner]
            is_hidden, source = is_secret_field(one), self._source(name)
            default = one.get_default(call_default_factory=True)
            found.append(
                {
                    "name": name,
                    "variable": variable(name),
                    "description": one.description,
                    "value": ("set" if value or source == "file" else None) if is_hidden else value,
                    "default": None if is_hidden else default,
                    "source": source,
                    "secret": is_hidden,
                }
            )
        return found

    def _source(self, name: str) -> Source:
        """Return where a setting comes from, as `load` found it."""
        group, _, inner = name.rpartition(".")
        of = getattr(self, group) if group else self
        if getattr(of, f"{inner}_file", None) is not None:
            return "file"
        return self._sources.by_name.get(name, "default")


def load(flags: Mapping[str, str]) -> Settings:
    """Return the settings from everywhere; `flags` has texts by dotted name, and counts most.

    Raises ConfigError naming each setting that is wrong, and for a `.env` that cannot be read.
    """
    nested: dict[str, Any] = {}
    for name, text in flags.items():
        group, _, inner = name.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[inner] = text
    try:
        loaded = Settings(**nested)
    except ValidationError as error:
        known = dict(fields())
        told = dict.fromkeys(complaint(dict(one), known, flags) for one in error.errors())
        raise ConfigError("; ".join(told)) from error
    except SettingsError as error:
        named = re.search(r'"(\w+)"', str(error))  # pydantic-settings' words: `field "mqtt"`
        said = no_setting(named[1], dict(fields())) if named else "a setting cannot be read"
        raise ConfigError(said) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f".env cannot be read: {error}") from error
    loaded._sources = Sources(_sources(flags))  # noqa: SLF001 - made here and nowhere else
    return loaded


def unknown_names() -> tuple[Unknown, ...]:
    """Return what of the environment and of `.env` looks like a setting and is none."""
    return unknown(name for name, _ in fields())


def fields() -> tuple[tuple[str, Any], ...]:
    """Return the dotted name and pydantic's field of each setting, in order."""
    found: list[tuple[str, Any]] = []
    for name, one in Settings.model_fields.items():
        kind = one.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [(f"{name}.{inner}", each) for inner, each in kind.model_fields.items()]
        else:
            found.append((name, one))
    return tuple(found)


def is_secret(setting: str, text: str) -> bool:
    """Return whether this text of a setting is for nobody's eyes."""
    if setting == "mqtt.url":
        return without_credentials(text) != text
    return setting in ("mqtt.password", "http.password") and bool(text)


def _sources(flags: Mapping[str, str]) -> dict[str, Source]:
    """Return where each setting that is not a default comes from; what counts most is first."""
    environment = {one.upper() for one, text in os.environ.items() if text}
    dotenv = {
        one.upper() for one, text in dotenv_values(ENV_FILE, encoding="utf-8-sig").items() if text
    }
    found: dict[str, Source] = {}
    for name, _ in fields():
        if name in flags:
            found[name] = "flag"
        elif variable(name) in environment:
            found[name] = "environment"
        elif variable(name) in dotenv:
            found[name] = ".env"
    return found


def _read_secret(setting: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error}") from error
