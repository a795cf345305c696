"""What happens as devices come and go: they are mirrored, subscribed to and asked."""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from bridge.model import topics
from bridge.model.action_call import ActionCall
from bridge.model.device import Description, Service
from bridge.polling.follow_up import questions_after
from bridge.polling.follow_up_poller import Watch
from bridge.polling.poller import Poller
from bridge.publishing import Publishing
from bridge.runtime import Adapters
from bridge.settings import Settings
from bridge.tree.mirror import RememberedDevice
from bridge.tree.mirrored_device import MirroredDevice
from bridge.upnp import soap
from bridge.upnp.description.fetch import Describer
from bridge.upnp.gena.multicast import MulticastEvent
from bridge.upnp.gena.notify_server import NotifyServer
from bridge.upnp.gena.subscriber import Subscriber
from bridge.upnp.http.client import local_address_towards
from bridge.upnp.presence.admission import admission
from bridge.upnp.presence.directory import Directory
from bridge.upnp.presence.trust import address_of
from bridge.upnp.ssdp.interfaces import Interface
from bridge.upnp.ssdp.search import Discovery


def look_around(  # noqa: PLR0913 - all but two by name
    settings: Settings,
    adapters: Adapters,
    *,
    on_joined: Callable[[Description, str], None],
    on_left: Callable[[str, str], None],
    on_problems: Callable[[Description], None] = lambda _: None,
    still_subscribed: Callable[[str], Awaitable[bool | None]] | None = None,
    on_interfaces: Callable[[tuple[Interface, ...]], None] = lambda _: None,
    on_heard_again: Callable[[Interface], None] = lambda _: None,
) -> tuple[Directory, Discovery]:
    """Return what finds devices, as the settings want them found."""
    upnp = settings.upnp
    directory = Directory(
        Describer(adapters.client(), trusted_networks=upnp.trusted_networks),
        on_joined=on_joined,
        on_left=on_left,
        on_problems=on_problems,
        admit=admission(upnp.allow, upnp.deny),
        trusted_networks=upnp.trusted_networks,
        static_locations=upnp.locations,
        still_subscribed=still_subscribed,
        clock=adapters.clock.monotonic,
    )
    discovery = adapters.discovery(
        directory.heard,
        wanted_interfaces=upnp.interfaces,
        search_interval_s=upnp.search_interval,
        on_interfaces=on_interfaces,
        on_heard_again=on_heard_again,
    )
    return directory, discovery


class Devices:
    """The devices' side of the bridge. `notify` and `multicast` listen while others work.

    `busy` has the ids of root devices that are not to be polled for a moment.
    """

    def __init__(
        self,
        settings: Settings,
        publishing: Publishing,
        notify: NotifyServer,
        adapters: Adapters,
        busy: AbstractSet[str],
    ) -> None:
        self._publishing = publishing
        self._mirror = publishing.mirror
        self._client = adapters.client()
        self._interfaces: frozenset[Interface] = frozenset()
        self.multicast = adapters.multicast(self._multicast_event)
        self.directory, self.discovery = look_around(
            settings,
            adapters,
            on_joined=self._joined,
            on_left=self._left,
            on_problems=self._problems_changed,
            still_subscribed=self._still_subscribed,
            on_interfaces=self._interfaces_changed,
            on_heard_again=lambda interface: self._subscribe_behind((interface,)),
        )
        self.subscriptions = Subscriber(
            self._client,
            notify,
            on_properties=publishing.apply_event,
            on_suspect=self.directory.suspect,
            local_address_towards=local_address_towards,
            callback_host=settings.upnp.callback_host,
            rng=adapters.rng,
        )
        self.poller = Poller(publishing.plan, self, publishing, busy=busy, rng=adapters.rng)

    def parts(self) -> Mapping[str, Coroutine[None, None, None]]:
        """Return what is to run, by name."""
        return {
            "upnp.discovery": self.discovery.run(),
            "upnp.directory": self.directory.run(),
            "upnp.events": self.subscriptions.run(),
            "polls": self.poller.run(),
        }

    def expect(self, remembered: Iterable[RememberedDevice]) -> None:
        """Look at once for devices that were there before."""
        for device in remembered:
            if self.directory.is_denied(device.udn):  # met before the tree was read
                self._publishing.device_left(device.udn, "denied")
            else:
                self.directory.expect(
                    device.udn, device.location, device.server, duplicates=device.duplicates
                )

    # What requests ask for

    def search(self) -> None:
        """Send M-SEARCH now."""
        self.discovery.search()

    async def add(self, location: str) -> Description:
        """Describe what is at a LOCATION; raises a DeviceError."""
        return await self.directory.add(location)

    async def refresh(self, udn: str) -> Description:
        """Describe a device afresh; raises a DeviceError."""
        return await self.directory.refresh(udn)

    def forget(self, udn: str) -> None:
        """Know nothing any more of a root device, and clear its topics."""
        self.directory.forget(udn)
        self.subscriptions.drop(udn, unsubscribe=True)
        self.poller.end(topics.device_id(udn))
        found = self._mirror.find_bare(udn)
        if found is not None:
            self._publishing.device_forgotten(found[0])

    def is_denied(self, udn: str) -> bool:
        """Return whether the filter keeps a device out."""
        return self.directory.is_denied(udn)

    def suspect(self, udn: str) -> None:
        """Look whether a root device that did not answer is still there."""
        self.directory.suspect(udn)

    def subscription_states(self, udn: str) -> Mapping[str, str]:
        """Return how the subscriptions of a root device fare, by the ids of its services."""
        return self.subscriptions.states(udn)

    async def invoke(
        self,
        service: Service,
        action: str,
        arguments: Sequence[tuple[str, str]],
        timeout_s: float,
    ) -> dict[str, str]:
        """Send an action, once, and return its out-arguments; raises CommandError."""
        return await soap.invoke(self._client, service, action, arguments, timeout_s=timeout_s)

    def _joined(self, description: Description, reason: str) -> None:
        mirrored = self._publishing.device_joined(description, str(reason))
        if mirrored.description is not None and self._is_likely_ours(mirrored):
            self.subscriptions.subscribe(mirrored.description)
            self.poller.begin(mirrored, mirrored.description)

    def _is_likely_ours(self, mirrored: MirroredDevice) -> bool:
        return mirrored.owned or self._publishing.instances.is_alone

    def taken(self, mirrored: MirroredDevice) -> None:
        """Hear the events of a device that is ours now, and ask it."""
        found = mirrored.description if mirrored.online else None
        if found is not None and not self.subscriptions.follows(found.udn):
            self.subscriptions.subscribe(found)
            self.poller.begin(mirrored, found)

    def yielded(self, mirrored: MirroredDevice) -> None:
        """Leave a device to another instance: it is not subscribed to, and not asked."""
        if mirrored.description is not None:
            self.subscriptions.drop(mirrored.description.udn, unsubscribe=True)
        self.poller.end(mirrored.id)

    def _problems_changed(self, description: Description) -> None:
        """Mirror a device of which only the problems differ: all else of it goes on."""
        mirrored = self._publishing.device_joined(description, "changed")
        if mirrored.description is not None and self._is_likely_ours(mirrored):
            self.poller.begin(mirrored, mirrored.description)

    def _left(self, udn: str, why: str) -> None:
        self._publishing.device_left(udn, str(why))
        self.subscriptions.drop(udn, unsubscribe=False)
        self.poller.end(topics.device_id(udn))

    async def _still_subscribed(self, udn: str) -> bool | None:
        return await self.subscriptions.holds(udn)

    def acting(self, device: str, call: ActionCall) -> Watch:
        """Listen to a device, by its id, while a call to it is under way.

        What the call may have changed is asked for when the watch is told so.
        """
        mirrored, found = self._mirror.find_bare(topics.decode_level(device)) or (None, None)
        own = topics.service_id(device, call.service.level)
        if mirrored is None or found is None or own not in mirrored.services:
            return Watch()
        asked = questions_after(device, found, call.service, call.action, call.arguments)
        known = [one for one in asked if one.question.service_id in mirrored.services]
        return self.poller.watch(mirrored, own, known)

    def transport_changed(self, service: str) -> None:
        """Note that something has happened to a service, by its id: other values may differ too."""
        found = self._mirror.find_bare(topics.decode_level(service.partition("/")[0]))
        if found is not None:
            self.poller.hurry(found[0], service)

    def _interfaces_changed(self, present: tuple[Interface, ...]) -> None:
        """Follow the interfaces; devices behind a new one, or a new address, send events there."""
        self.multicast.update(one.index for one in present if one.ipv4)
        new = frozenset(present) - self._interfaces
        self._interfaces = frozenset(present)
        self._subscribe_behind(new)

    def _subscribe_behind(self, interfaces: Collection[Interface]) -> None:
        """Subscribe anew to the devices behind these, and look whether they are who they were.

        Events of theirs may have been lost, and some may have restarted as another.
        """
        for mirrored in self._mirror.mirrored_devices.values():
            if mirrored.online and mirrored.owned and mirrored.description is not None:
                host = address_of(mirrored.description.location)
                if host is not None and any(one.holds(host) for one in interfaces):
                    self.subscriptions.subscribe(mirrored.description)
                    self.directory.suspect(mirrored.udn)

    def _multicast_event(self, event: MulticastEvent, source: str) -> None:
        """Take a multicast event, if it comes from where its device stands."""
        mirrored, device = self._mirror.find_bare(event.udn) or (None, None)
        if mirrored is None or device is None or mirrored.description is None:
            return
        if str(address_of(mirrored.description.location)) != source:
            return
        for service in device.services:
            if service.service_id == event.service_id:
                self._publishing.apply_event(
                    device.udn, service.level, list(event.properties), initial=False
                )
