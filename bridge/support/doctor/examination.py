"""All checks, in order: the network's and the broker's side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from bridge.errors import BrokerError
from bridge.settings import Settings
from bridge.support.doctor.broker_connection import (
    USUAL_BROKER,
    Way,
    answers,
    check_broker,
    find_mosquitto,
)
from bridge.support.doctor.callback import check_callback
from bridge.support.doctor.container import check_container, read_surroundings
from bridge.support.doctor.devices import check_search, search
from bridge.support.doctor.finding import Finding, Status, Tell, error, note, skipped
from bridge.support.doctor.firewall import Firewall, check_firewall, find_firewall
from bridge.support.doctor.ground import (
    check_interfaces,
    check_multicast,
    check_ssdp_port,
    network_of,
)
from bridge.support.doctor.local import Local, check_local, find_local
from bridge.support.doctor.machine import check_clock, check_limits, check_settings
from bridge.support.doctor.retained_messages import UNTRIED, check_instances, check_retained
from bridge.support.doctor.rights import check_rights
from bridge.support.doctor.store import check_store
from bridge.upnp.ssdp import message as ssdp
from bridge.upnp.ssdp.interfaces import interfaces

TITLES = ("This machine", "Network", "Broker", "Bridge")
"""What findings are told under."""

_CHECK_S = 15.0
_NO_BROKER = "no broker to try it with"
_T = TypeVar("_T")


class Examination:
    """Every check with these settings, once.

    `tell` takes a title and a finding, in the order of the titles. `progress` is told which checks
    are under way, whenever that changes. What publishes many retained messages is tried only where
    `retained` asks for it. `usual_broker` is looked at where no URL is set.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[str, Finding], None],
        progress: Callable[[tuple[str, ...]], None] = lambda _: None,
        *,
        retained: bool = False,
        usual_broker: str = USUAL_BROKER,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._progress = progress
        self._retained = retained
        self._usual_broker = usual_broker
        self._has_store = False
        self._under_way: list[str] = []
        self._waiting: dict[str, list[Finding]] = {title: [] for title in TITLES}

    async def run(self) -> None:
        """Carry out all of it; what a check meets, a crash too, is a finding."""
        local: asyncio.Task[Local | None] = asyncio.create_task(self._local())
        broker = asyncio.create_task(self._look_at_broker(local))
        try:
            await self._look_at_machine()
            self._end(TITLES[0])
            await self._look_at_network(await local)
            self._end(TITLES[1])
            way = await broker
            self._end(TITLES[2])
            await self._look_at_bridge(await local, way)
            self._end(TITLES[3])
        finally:
            for task in (local, broker):
                task.cancel()
            await asyncio.gather(local, broker, return_exceptions=True)

    async def _local(self) -> Local | None:
        return await self._attempt("bridge", lambda: find_local(self._settings), TITLES[3])

    async def _look_at_machine(self) -> None:
        title, settings = TITLES[0], self._settings
        self._all("settings", lambda: check_settings(settings), title)
        self._all(
            "container",
            lambda: check_container(read_surroundings(), interfaces(settings.upnp.interfaces)),
            title,
        )
        self._all("clock", check_clock, title)
        self._all("limits", check_limits, title)

    async def _look_at_network(self, local: Local | None) -> None:
        title, settings = TITLES[1], self._settings
        upnp, tell = settings.upnp, self._in(title)
        taken = interfaces(upnp.interfaces)
        self._all("interfaces", lambda: check_interfaces(upnp.interfaces, taken), title)
        firewall = await self._attempt("firewall", find_firewall, title) or Firewall()
        tell(check_firewall(firewall))

        def let_in_announcements(network: str) -> str:
            return firewall.let_in("udp", ssdp.PORT, network)

        found = await self._attempt(
            "multicast", lambda: check_multicast(taken, let_in_announcements), title
        )
        self._some(found, tell)
        self._all("ssdp_port", lambda: [check_ssdp_port()], title)
        if not taken and not upnp.locations:
            for name in ("search", "callback"):
                tell(skipped(name, "no interface to search on"))
            return
        network = network_of(taken, "")
        answered = await self._attempt("search", lambda: search(settings), title)
        if answered is None:
            tell(skipped("callback", "no device to try it with"))
            return
        let_in = firewall.let_in("udp", None, network)
        self._all("search", lambda: check_search(settings, answered, let_in), title)

        def let_in_events(host: str) -> str:
            return firewall.let_in("tcp", upnp.callback_port, network_of(taken, host))

        found = await self._attempt(
            "callback",
            lambda: check_callback(settings, answered.admitted, local, let_in_events),
            title,
        )
        self._some(found, tell)

    async def _look_at_broker(self, local: asyncio.Task[Local | None]) -> Way | None:
        title, settings = TITLES[2], self._settings
        tell = self._in(title)
        urls = settings.mqtt.url
        if not urls:
            urls, tell = await self._unnamed(await local, tell)
        way = await self._attempt(
            "broker_address", lambda: check_broker(settings, urls, tell), title
        )
        if way is None:
            if urls:
                for name in ("rights", "retained_queue"):
                    tell(skipped(name, _NO_BROKER))
            return None
        self._some(await self._attempt("rights", lambda: check_rights(settings, way), title), tell)
        store = await self._attempt("store", lambda: check_store(settings, way), title)
        self._has_store = store is not None and store.status is not Status.ERROR
        if store is not None:
            tell(store)
        if store is not None and store.status is Status.ERROR:
            tell(skipped("retained_queue", "see store"))
        elif not self._retained:
            tell(skipped("retained_queue", UNTRIED))
        else:
            await self._attempt(
                "retained_queue", lambda: check_retained(settings, way, tell), title
            )
        return way

    async def _unnamed(self, local: Local | None, tell: Tell) -> tuple[list[str], Tell]:
        """Tell what no `mqtt.url` means; return the broker to look at instead, if there is one."""
        check, unset = "broker_address", "mqtt.url is unset: the bridge"
        if local is not None and local.broker_url:
            tell(note(check, f"{unset} here runs a broker of its own, {local.broker_url}"))
            return [local.broker_url], tell
        if await answers(usual := self._usual_broker):
            tell(
                note(
                    check,
                    f"{unset} would start a broker of its own, besides the one at {usual}",
                    f"to use that one, set mqtt.url to {usual}; the checks below use it",
                )
            )
            return [usual], lambda finding: tell(_milder(finding))
        if find_mosquitto() is None:
            install = "apt install mosquitto, or set mqtt.url to a broker that is there"
            tell(error(check, f"{unset} needs mosquitto for a broker of its own", install))
        else:
            advice = "it is at loopback and for trying: set mqtt.url for one that lasts"
            tell(note(check, f"{unset} would start a mosquitto of its own", advice))
        return [], tell

    async def _look_at_bridge(self, local: Local | None, way: Way | None) -> None:
        title, settings = TITLES[3], self._settings
        self._all("bridge", lambda: check_local(settings, local), title)
        if way is None:
            self._in(title)(skipped("instance", _NO_BROKER))
            return
        if not self._has_store:
            self._in(title)(skipped("instance", "see store: the broker does not say what it holds"))
            return
        found = await self._attempt(
            "instance", lambda: check_instances(settings, way, local), title
        )
        self._some(found, self._in(title))

    # How checks are carried out

    async def _attempt(
        self, check: str, work: Callable[[], Awaitable[_T]], title: str
    ) -> _T | None:
        """Return what a check comes to; None, and a finding, where it does not end well."""
        tell = self._in(title)
        self._under_way.append(check)
        self._progress(tuple(self._under_way))
        try:
            async with asyncio.timeout(_CHECK_S):
                return await work()
        except TimeoutError:
            tell(error(check, f"no result within {_CHECK_S:g} s"))
        except BrokerError as failure:
            tell(error(check, f"the broker: {failure}", "see the broker's log"))
        except Exception as failure:  # noqa: BLE001 - one check's fault is not the others'
            tell(_crash(check, failure))
        finally:
            self._under_way.remove(check)
            self._progress(tuple(self._under_way))
        return None

    def _all(self, check: str, work: Callable[[], Iterable[Finding]], title: str) -> None:
        """Tell all findings of a check that waits for nothing."""
        try:
            for finding in work():
                self._in(title)(finding)
        except Exception as failure:  # noqa: BLE001 - one check's fault is not the others'
            self._in(title)(_crash(check, failure))

    @staticmethod
    def _some(found: Iterable[Finding] | None, tell: Tell) -> None:
        for finding in found or ():
            tell(finding)

    def _in(self, title: str) -> Tell:
        """Return what tells findings under a title, or keeps them until it is that one's turn."""

        def tell(finding: Finding) -> None:
            if title == next(iter(self._waiting), None):
                self._tell(title, finding)
            else:
                self._waiting[title].append(finding)

        return tell

    def _end(self, title: str) -> None:
        """Go on to the next title, and tell what is known already."""
        del self._waiting[title]
        following = next(iter(self._waiting), None)
        if following is not None:
            kept, self._waiting[following] = self._waiting[following], []
            for finding in kept:
                self._tell(following, finding)


def _milder(finding: Finding) -> Finding:
    """Return what is wrong with a broker that the bridge was not told to use."""
    if finding.status in (Status.ERROR, Status.WARNING):
        return note(finding.check, finding.fact, *finding.advice)
    return finding


def _crash(check: str, failure: Exception) -> Finding:
    reason = f"{type(failure).__name__}: {failure}"
    return error(check, f"this check crashed: {reason}", "please report this bug")
