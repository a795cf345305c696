"""What the page is told of the bridge, besides the tree."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address

from bridge import __version__
from bridge.app.devices import Devices
from bridge.formats.url import bracketed
from bridge.model import topics
from bridge.mqtt.reconnect import Broker
from bridge.publishing import Publishing
from bridge.requests.dispatch import Dispatch
from bridge.settings import Settings
from bridge.upnp.presence.trust import may_be_asked
from bridge.upnp.ssdp.interfaces import interfaces
from bridge.web.activity import Activity
from bridge.web.api import Sources
from bridge.web.guard import Access
from bridge.web.pictures import Client, Pictures
from bridge.web.server import Page
from bridge.web.watching import Watching

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - looked for, not bound

Doctor = Callable[[], Awaitable[Sequence[object]]]


def build_page(  # noqa: PLR0913 - a part each
    settings: Settings,
    *,
    publishing: Publishing,
    devices: Devices,
    broker: Broker,
    dispatch: Dispatch,
    activity: Activity,
    history: Callable[[], Mapping[str, object]],
    client: Client,
    clock: Callable[[], float],
    doctor: Doctor | None,
) -> Page:
    """Return what the page is made of. Raises ConfigError for a password that cannot be read."""
    told = _Told(settings, publishing, devices, broker)
    password = settings.http_password()

    def may_fetch(url: str, location: str, is_own: bool) -> bool:  # noqa: FBT001 - a callback's
        present, networks = devices.discovery.interfaces, settings.upnp.trusted_networks
        return may_be_asked(url, location, present, networks, own_host=is_own)

    return Page(
        Watching(publishing.mirror, activity),
        Pictures(publishing.mirror, client, may_fetch, clock),
        dispatch,
        Sources(told.session, settings.listed, history, told.device, doctor),
        Access(
            None if password is None else password.get_secret_value(),
            settings.http.base_path,
            settings.http.names,
            settings.http.trusted_proxies,
            settings.instance,
        ),
        settings.mqtt.max_payload,
    )


def page_url(settings: Settings) -> str | None:
    """Return where the page is reached from other machines, without a `/` at the end, if at all."""
    host = settings.http.host
    if host in _EVERYWHERE:
        found = interfaces(settings.upnp.interfaces)
        faces = [str(one.ip) for each in found for one in each.ipv4]
        faces += [str(one.ip) for each in found for one in each.ipv6 if not one.is_link_local]
        host = faces[0] if faces else ""
    try:
        is_own_alone = ip_address(host).is_loopback
    except ValueError:
        is_own_alone = host in ("", "localhost")
    if is_own_alone or not settings.http.port:
        return None
    return f"http://{bracketed(host)}:{settings.http.port}"


class _Told:
    """Reads the parts of a running bridge for the page."""

    def __init__(
        self, settings: Settings, publishing: Publishing, devices: Devices, broker: Broker
    ) -> None:
        self._settings = settings
        self._publishing = publishing
        self._devices = devices
        self._broker = broker

    def session(self) -> Mapping[str, object]:
        """Return who this bridge is."""
        state = self._broker.state
        return {
            "read_only": self._settings.read_only,
            "instance": self._settings.instance,
            "base_topic": self._settings.mqtt.base_topic,
            "version": __version__,
            "broker": {
                "url": state.url,
                "connected": state.connected,
                "reason": state.reason or None,
            },
        }

    def device(self, named: str) -> Mapping[str, object] | None:
        """Return of a device what is not below the base topic; None where it is not known."""
        found = self._publishing.mirror.find(topics.decode_level(named))
        if found is None:
            return None
        mirrored, shape = found[0], self._publishing.shape
        told = shape.told_to_hubs(mirrored, self._settings.mqtt.max_payload)
        return {
            "homeassistant": [
                {"topic": topic, "payload": payload.decode("utf-8", "replace")}
                for topic, payload in told.items()
            ],
            "owned": mirrored.owned,
            "owner": self._settings.instance
            if mirrored.owned
            else self._publishing.instances.owner(mirrored.id),
            "subscriptions": self._subscriptions(mirrored.udn),
            "received": {
                shape.value_topic(live, key): changed_s
                for live in mirrored.services.values()
                for key, changed_s in live.state.changed_last()
            },
        }

    def _subscriptions(self, udn: str) -> list[dict[str, object]]:
        subscriptions = self._devices.subscriptions
        health = {_service_id(key): one for key, one in subscriptions.health(udn).items()}
        left_s = subscriptions.left_s(udn)
        return [
            {"service": service, **(asdict(health[service]) if service in health else {})}
            | ({"expires_s": round(left_s[service])} if service in left_s else {})
            | {"state": str(state)}
            for service, state in subscriptions.states(udn).items()
        ]


def _service_id(key: str) -> str:
    """Return the id of a service, from its device's UDN and its level."""
    udn, _, level = key.rpartition("/")
    return topics.service_id(topics.device_id(udn), level)
