"""Discovery documents: a root device with all its entities, and the bridge that they hang from."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote, urlsplit

from bridge.formats import jsontext
from bridge.hubs.homeassistant.entities import (
    Config,
    Entity,
    entities,
    generic_button,
    generic_rule,
)
from bridge.hubs.homeassistant.own import connectivity, own_entities
from bridge.hubs.homeassistant.place import ServicePlace, Told, World
from bridge.hubs.homeassistant.rules import KINDS, UNKNOWN, Rule, ServiceRules
from bridge.model import topics
from bridge.model.accessors import only_reads
from bridge.model.device import Description, Service
from bridge.polling.plan import service_name

MAX_GENERIC = 40
"""The most entities of a device that are mapped generically."""

PROGRAM = "upnp2mqtt"

_BIRTH = "homeassistant/status"

_TOLD = "{{ 'online' if value else 'offline' }}"
_MAX_NAME = 128
_MAX_CONNECTIONS = 32
_HASHED = 8
_NOT_SLUG = re.compile(r"[^A-Za-z0-9_-]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")


class HomeAssistant:
    """What Home Assistant is told. `world` is what entities have in common, `version` the bridge's.

    `support_url` is where people find help with the bridge, if there is such a place, `page_url`
    where its page is, without a `/` at the end. Where it is not `enabled` nothing is told, and what
    it was told before is cleared.
    """

    def __init__(  # noqa: PLR0913 - all but one by name
        self,
        world: World,
        *,
        instance: str,
        prefix: str,
        version: str,
        enabled: bool = True,
        support_url: str | None = None,
        page_url: str | None = None,
    ) -> None:
        self._world = world
        self._prefix = prefix
        self._bridge = f"{world.base}/bridge/{instance}"
        self._namespace = PROGRAM if world.base == "upnp" else f"{PROGRAM}_{slug(world.base)}"
        self._id = self._bridge_id(instance)
        self._instance = instance
        self._page_url = page_url
        self._origin = {"name": PROGRAM, "sw_version": version}
        if help_is_at := _url(support_url):
            self._origin["support_url"] = help_is_at
        self.enabled = enabled

    @property
    def birth_topics(self) -> tuple[str, ...]:
        """Where Home Assistant says `online` when it has started.

        It has a setting of its own for that, which a changed prefix does not change.
        """
        return tuple(dict.fromkeys((f"{self._prefix}/status", _BIRTH)))

    def own_topics(self, instance: str | None = None) -> tuple[str, ...]:
        """Return the topics of the bridge itself, or of another instance."""
        return (self._topic(self._id if instance is None else self._bridge_id(instance)),)

    def topics(self, device: str) -> tuple[str, ...]:
        """Return the topics of a root device, by its id."""
        return (self._topic(self._device_id(device)),)

    def own(self, limit: int) -> Mapping[str, bytes]:
        """Return what Home Assistant is told of the bridge itself, as with `wanted`."""
        if not self.enabled:
            return {}
        device: Config = {
            "identifiers": [self._id],
            "name": "UPnP bridge" if self._instance == "main" else f"UPnP bridge {self._instance}",
            "manufacturer": PROGRAM,
            "model": "UPnP to MQTT bridge",
            "sw_version": self._origin["sw_version"],
        }
        if self._page_url:
            device["configuration_url"] = f"{self._page_url}/"
        return self._fitting(device, [], self._id, list(own_entities(self._bridge)), limit)

    def wanted(self, description: Description, told: Told, limit: int) -> Mapping[str, bytes]:
        """Return what Home Assistant is told of a device, in `limit` bytes at most.

        `told` is where values stand, by the ids of services: only what is told has a state. It
        cannot put parts together: what does not fit is left out, from the end.
        """
        if not self.enabled:
            return {}
        own = topics.device_id(description.udn)
        object_id = self._device_id(own)
        device = self._device(description, object_id)
        found = list(self._entities(description, told))
        return self._fitting(device, self._availability(own), object_id, found, limit)

    def interim_document(self, topic: str, held: bytes, wanted: bytes) -> bytes | None:
        """Return what is to be said before a document takes the place of another; None for nothing.

        A component that is just left out stays in Home Assistant: it goes by its platform alone.
        """
        if not wanted or not topic.startswith(f"{self._prefix}/"):
            return None
        document, before = jsontext.read(wanted), _components(jsontext.read(held))
        after = _components(document)
        gone = {
            key: {"platform": platform}
            for key, platform in before.items()
            if after.get(key) != platform
        }
        if not gone or not isinstance(document, dict):
            return None
        return jsontext.encode(document | {"components": document["components"] | gone})

    def sources(self, payload: bytes) -> frozenset[str]:
        """Return the topics that a discovery document takes states from.

        Of a device that is away it is what the broker holds, which others may have written.
        """
        document = jsontext.read(payload)
        if not isinstance(document, dict):
            return frozenset()
        availability, components = document.get("availability"), document.get("components")
        told = [one.get("topic") for one in _members(availability)]
        for component in _members(components):
            told += (
                value
                for key, value in component.items()
                if key.endswith("_topic") and not key.endswith("command_topic")
            )
        return frozenset(one for one in told if isinstance(one, str))

    # Within

    def _bridge_id(self, instance: str) -> str:
        return f"{self._namespace}_bridge_{slug(instance)}"

    def _topic(self, object_id: str) -> str:
        return f"{self._prefix}/device/{object_id}/config"

    def _device_id(self, device: str) -> str:
        return f"{self._namespace}_{slug(topics.decode_level(device))}"

    def _availability(self, device: str) -> list[Config]:
        """Return by what a device's entities are available: the bridge and the device, both."""
        return [
            {"topic": f"{self._bridge}/state"},
            {"topic": f"{self._world.base}/{topics.availability_id(device)}"},
        ]

    def _fitting(
        self,
        device: Config,
        availability: list[Config],
        object_id: str,
        found: list[Entity],
        limit: int,
    ) -> Mapping[str, bytes]:
        """Return a document in so many bytes, without the last entities where it has to be."""
        while found:
            payload = jsontext.encode(self._document(device, availability, object_id, found))
            if len(payload) <= limit:
                return {self._topic(object_id): payload}
            del found[-max(1, len(found) // 8) :]
        return {}

    def _document(
        self,
        device: Config,
        availability: list[Config],
        object_id: str,
        found: Iterable[Entity],
    ) -> Config:
        document: Config = {"device": device, "origin": self._origin}
        if availability:
            document |= {"availability": availability, "availability_mode": "all"}
        components = {}
        for entity in found:
            unique = {"unique_id": f"{object_id}_{entity.key}"}
            components[entity.key] = entity.component() | unique
            if entity.needs:
                told = {"topic": entity.needs, "value_template": _TOLD}
                components[entity.key] |= {"availability": [*availability, told]}
        return document | {"components": components}

    def _device(self, description: Description, object_id: str) -> Config:
        root = description.device
        udns = dict.fromkeys(device.udn for device in root.walk())
        page = f"{self._page_url}/#/device/{quote(topics.device_id(root.udn), safe='')}"
        fields: Config = {
            "identifiers": [object_id],
            "connections": [["upnp", f"uuid:{udn}"] for udn in list(udns)[:_MAX_CONNECTIONS]],
            "name": _shown(root.friendly_name),
            "manufacturer": _shown(root.manufacturer),
            "model": _shown(root.model_name),
            "model_id": _shown(root.model_number),
            "serial_number": _shown(root.serial_number),
            "configuration_url": page if self._page_url else _url(root.presentation_url),
            "via_device": self._id,
        }
        return {name: value for name, value in fields.items() if value}

    def _entities(self, description: Description, told: Told) -> Iterator[Entity]:
        """Yield a root device's entities, the most wanted first, no two of one key or one name."""
        root = description.device
        places = [
            ServicePlace.of(self._world, device, service, told)
            for device in root.walk()
            for service in device.services
        ]
        own = topics.device_id(root.udn)
        availability = f"{self._world.base}/{topics.availability_id(own)}"
        keys: Counter[str] = Counter()
        names: Counter[tuple[str, str | None]] = Counter()
        online = connectivity(availability, [{"topic": f"{self._bridge}/state"}])
        known = list(_known(places))
        found = [(place, entity) for place, _, entity in known]
        for place, entity in ((None, online), *found, *_generic(places, known)):
            one = entity
            if place is not None:
                one = replace(one, key=_key(place, entity, is_root=place.device is root))
                if place.device is not root and one.name is None:
                    one = replace(one, name=_shown(place.device.friendly_name))
            keys[one.key] += 1
            if keys[one.key] > 1:
                one = replace(one, key=f"{one.key}_{keys[one.key]}")
            names[one.platform, one.name] += 1
            if (count := names[one.platform, one.name]) > 1:
                one = replace(one, name=f"{one.name} {count}" if one.name else str(count))
            yield one


def _known(places: Iterable[ServicePlace]) -> Iterator[tuple[ServicePlace, Rule, Entity]]:
    for place in places:
        for rule in _kind(place).rules:
            for entity in entities(rule, place):
                yield place, rule, entity


def _generic(
    places: Iterable[ServicePlace], known: Iterable[tuple[ServicePlace, Rule, Entity]]
) -> Iterator[tuple[ServicePlace, Entity]]:
    """Yield what no entity that is `known` speaks for, up to the most that are wanted."""
    spoken_for: dict[int, set[str]] = {}
    for place, rule, _ in known:
        names = {rule.variable, rule.action, rule.happens} | rule.covers
        spoken_for.setdefault(id(place), set()).update(names)
    count = 0
    for place in sorted(places, key=lambda one: _kind(one).is_minor):
        for rule in _generic_rules(place, spoken_for.get(id(place), set())):
            for entity in entities(rule, place):
                if count == MAX_GENERIC:
                    return
                count += 1
                yield place, entity


def _kind(place: ServicePlace) -> ServiceRules:
    return KINDS.get(service_name(place.service), UNKNOWN)


def _generic_rules(place: ServicePlace, spoken_for: AbstractSet[str]) -> Iterator[Rule]:
    scpd = place.service.scpd
    listed = (name for name in scpd.variables if name in place.keys)
    for name in dict.fromkeys((*listed, *place.keys)):
        variable = None if name.startswith("A_ARG_TYPE_") else place.variable(name)
        if variable is not None and name not in spoken_for:
            yield generic_rule(_words(name), variable, is_set=place.setter(name) is not None)
    for name, action in scpd.actions.items():
        if not action.inputs and not only_reads(name) and name not in spoken_for:
            yield generic_button(_words(name), name)


def _key(place: ServicePlace, entity: Entity, *, is_root: bool) -> str:
    """Return what an entity is known by within its root device, the same at every start."""
    parts = [] if is_root else [slug(place.device.udn)]
    return "_".join([*parts, _service_slug(place.service), _NOT_SLUG.sub("_", entity.key)]).lower()


def _service_slug(service: Service) -> str:
    return _NOT_SLUG.sub("_", topics.decode_level(service.level))


def slug(text: str) -> str:
    """Return a text of letters, digits, `_` and `-`; no two texts give the same."""
    plain = _NOT_SLUG.sub("_", text)
    if plain == text:
        return text
    return f"{plain[:_MAX_NAME]}_{sha256(text.encode('utf-8', 'replace')).hexdigest()[:_HASHED]}"


def _members(document: object) -> list[dict[str, object]]:
    """Return the objects in a list, or those that an object has as its members."""
    members = list(document.values()) if isinstance(document, dict) else document
    return [one for one in members if isinstance(one, dict)] if isinstance(members, list) else []


def _components(document: object) -> dict[str, object]:
    """Return the platform of each component of a document, by its key; tolerant, as it is held."""
    components = document.get("components") if isinstance(document, dict) else None
    if not isinstance(components, dict):
        return {}
    return {
        key: one["platform"]
        for key, one in components.items()
        if isinstance(one, dict) and isinstance(one.get("platform"), str)
    }


def _words(name: str) -> str:
    """Return a name of an SCPD as people write: `FirewallEnabled` is `Firewall enabled`."""
    words = [word for word in _CAMEL.split(name) if word]
    told = [words[0].capitalize() if words[0].islower() else words[0]] if words else [name]
    told += [word if word.isupper() and len(word) > 1 else word.lower() for word in words[1:]]
    return _shown(" ".join(told)) or name


def _shown(text: str | None) -> str | None:
    """Return a device's own text in one line, cut short."""
    return " ".join(text.split())[:_MAX_NAME] if text else None


def _url(text: str | None) -> str | None:
    """Return an address that Home Assistant can read; by another it would take no entity at all."""
    try:
        parts = urlsplit(text or "")
        host, _ = (parts.hostname or "").encode().decode("idna"), parts.port
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and host else None
