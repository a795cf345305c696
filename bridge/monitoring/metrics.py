"""How the bridge fares, for Prometheus: read when it is asked for, but for what is timed."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, get_args

from prometheus_client import (
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from bridge import __version__
from bridge.errors import Code
from bridge.monitoring.health_document import Parts
from bridge.tree.delays import Durations
from bridge.upnp.gena.subscription import State

_STATES: tuple[State, ...] = get_args(State)
_OUTCOMES = ("ok", *(code for code in Code if code is not Code.UNKNOWN_VERB))


class Metrics(Collector):
    """The metrics of a bridge whose parts these are; every name begins with `upnp2mqtt_`.

    Beside them stand Prometheus's own of every process (`process_…`, `python_gc_…`).
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the process's start says it
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the form that an `Accept` header asks for, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted by the parts themselves."""
        yield from self._of_the_bridge()
        yield from self._of_devices()
        yield from self._of_messages()
        yield from self._of_durations()

    def _of_the_bridge(self) -> Iterator[Metric]:
        state = self._parts.broker.state
        info = GaugeMetricFamily("upnp2mqtt_info", "The version, as a label.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield _gauge("broker_connected", "1 while there is a session.", state.connected)
        yield _counter("broker_reconnects", "Sessions after the first.", state.reconnects)

    def _of_devices(self) -> Iterator[Metric]:
        mirrored_devices = self._parts.publishing.mirror.mirrored_devices.values()
        online = sum(bool(mirrored.online) for mirrored in mirrored_devices)
        counts = {"online": online, "offline": len(mirrored_devices) - online}
        yield _gauges("devices", "Root devices by availability.", "availability", counts)
        states = self._parts.subscriptions.counts()
        by_state = {state: states.get(state, 0) for state in _STATES}
        yield _gauges("subscriptions", "Evented services by state.", "state", by_state)
        ssdp, directory = self._parts.discovery.counters, self._parts.directory
        yield _gauge(
            "interfaces",
            "Interfaces in use.",
            len(self._parts.discovery.interfaces),
        )
        yield _counter("ssdp_datagrams", "Datagrams of discovery.", ssdp.datagrams)
        yield _counter("ssdp_dropped", "Of these, dropped as a flood.", ssdp.dropped)
        yield _counter("ssdp_searches", "Searches sent.", ssdp.searches)
        yield _counter("refused_locations", "LOCATIONs not trusted.", directory.refused)

    def _of_messages(self) -> Iterator[Metric]:
        publishing, calls = self._parts.publishing, self._parts.calls
        counters = publishing.counters
        yield _counter("events", "Events taken in.", counters.events)
        yield _counter("events_malformed", "Of these, unreadable.", counters.malformed_events)
        yield _counter("questions", "Values asked for.", self._parts.poller.questions)
        published = {"tree": counters.publications, "answers_and_news": counters.answers}
        yield _counters("published", "Messages sent to the broker.", "kind", published)
        waiting = {"tree": publishing.mirror.waiting, "answers_and_news": len(publishing.outbox)}
        yield _gauges("waiting", "Messages that wait for the broker.", "kind", waiting)
        outcomes = {one: calls.outcomes[one] for one in _OUTCOMES}
        yield _counters("calls", "Commands to devices, by how they ended.", "outcome", outcomes)
        yield _gauge("calls_under_way", "Commands that wait or are under way.", len(calls))

    def _of_durations(self) -> Iterator[Metric]:
        yield _histogram(
            "event_delay_seconds",
            "From the arrival of an event until all that it changed was sent.",
            self._parts.publishing.delays,
        )
        yield _histogram(
            "call_duration_seconds",
            "From the arrival of a command to its answer, for commands that succeed.",
            self._parts.calls.durations,
        )


def _histogram(name: str, told: str, durations: Durations) -> Metric:
    buckets = [
        ("+Inf" if bound_s == inf else str(bound_s), count)
        for bound_s, count in durations.cumulative()
    ]
    return HistogramMetricFamily(
        f"upnp2mqtt_{name}", told, buckets=buckets, sum_value=durations.sum_s
    )


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"upnp2mqtt_{name}", told, value=value)


def _counter(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(f"upnp2mqtt_{name}", told, value=value)


def _gauges(name: str, told: str, label: str, values: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(f"upnp2mqtt_{name}", told, labels=[label])
    for one, value in values.items():
        family.add_metric([one], value)
    return family


def _counters(name: str, told: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"upnp2mqtt_{name}", told, labels=[label])
    for one, value in values.items():
        family.add_metric([one], value)
    return family
