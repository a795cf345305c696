"""Which broker this is, by what it says of itself, and what its own settings are called; no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Brand:
    """A kind of broker. Empty remedies are not known."""

    name: str = ""
    version: str = ""
    rights: str = "the broker's access list"
    many: str = ""
    some: str = ""
    """What is known of a limit of retained messages that does not show yet."""
    packet: str = ""
    wildcards: str = ""
    mqtt_5: str = ""
    is_shallow: bool = False
    """Whether it refuses filters of more than 8 levels."""

    @property
    def known_as(self) -> str:
        """Its name with its version; empty where it is not known."""
        return f"{self.name} {self.version}".strip()


UNKNOWN = Brand()
_MOSQUITTO = Brand(
    "mosquitto",
    rights="mosquitto's acl_file",
    many="mosquitto.conf: max_queued_messages 100000",
    packet="mosquitto.conf: max_packet_size",
)
_EJABBERD = Brand(
    "ejabberd",
    rights="access_publish and access_subscribe of mod_mqtt in ejabberd.yml",
    many="ejabberd.yml, under mod_mqtt: match_retained_limit: infinity (default 1000)",
    some="ejabberd sends 1,000 for one subscription by default",
)
_RABBITMQ = Brand(
    "RabbitMQ",
    rights="rabbitmqctl set_topic_permissions",
    packet="rabbitmq.conf: mqtt.max_packet_size_authenticated",
    wildcards="RabbitMQ's retained message store serves exact topics only, and no setting changes "
    "that: use another broker, such as mosquitto",
)
_EMQX = Brand("EMQX", rights="EMQX's authorization (acl.conf)", packet="EMQX: mqtt.max_packet_size")
_HIVEMQ = Brand(
    "HiveMQ",
    rights="HiveMQ's access control extension",
    packet="HiveMQ's config.xml: max-packet-size",
)
_VERNEMQ = Brand("VerneMQ", rights="VerneMQ's vmq.acl", packet="vernemq.conf: max_message_size")
_AEDES = Brand(
    "aedes",
    rights="aedes' authorizePublish and authorizeSubscribe",
    mqtt_5="aedes speaks MQTT 3.1.1 only",
)


def recognise(told: Mapping[str, str], announced: Mapping[str, Any], *, is_shallow: bool) -> Brand:
    """Return what a broker is.

    `told` is what came from below `$SYS`, by topic, `announced` what its CONNACK held, and
    `is_shallow` says that it refuses filters of more than 8 levels.
    """
    return replace(_recognised(told, announced, is_shallow=is_shallow), is_shallow=is_shallow)


def _recognised(
    told: Mapping[str, str], announced: Mapping[str, Any], *, is_shallow: bool
) -> Brand:
    for topic, text in told.items():
        if (brand := _by_sys(topic, text)) is not None:
            return brand
    aliases = announced.get("TopicAliasMaximum")
    shares = announced.get("SharedSubscriptionAvailable", 1)
    if is_shallow and (not announced or not shares):
        return _EJABBERD
    if aliases == 16 and not shares and announced.get("MaximumQoS") == 1:  # noqa: PLR2004
        return _RABBITMQ
    if aliases == 5 and announced.get("ReceiveMaximum") == 10:  # noqa: PLR2004
        return _HIVEMQ
    if aliases == 65535 and "MaximumPacketSize" in announced:  # noqa: PLR2004
        return _EMQX
    return UNKNOWN


def _by_sys(topic: str, text: str) -> Brand | None:
    levels = topic.split("/")
    if topic == "$SYS/broker/version" and text.startswith("mosquitto"):
        version = text.rpartition(" ")[2]
        return _mosquitto(version)
    if levels[1:2] == ["brokers"]:
        return _with_version(_EMQX, text if levels[-1] == "version" else "")
    if levels[-2:] == ["new", "subscribes"]:
        return _AEDES
    return _VERNEMQ if topic.startswith("$SYS/VerneMQ") else None


def _mosquitto(version: str) -> Brand:
    """Return mosquitto with the names that a version has for what it does."""
    numbers = [int(one) for one in version.split(".")[:2] if one.isdigit()]
    if numbers < [2, 1]:
        return _with_version(_MOSQUITTO, version)
    return replace(
        _MOSQUITTO,
        version=version,
        rights="the file that plugin_opt_acl_file names (acl_file is deprecated since 2.1)",
        packet="mosquitto.conf: max_packet_size, which is 2000000 since 2.1 unless said",
    )


def _with_version(brand: Brand, version: str) -> Brand:
    return replace(brand, version=version)
