"""Run all benchmarks, and say what was reached: `python -m benchmarks`."""

import argparse
import asyncio
from collections.abc import Iterator

from benchmarks import calls, events, libraries, stage, start
from benchmarks.start import COLD, WARM

_LOAD_S, _ROUNDS, _IDLE_S = 0.8, 4, 45.0
_SIZES = (0, 10, 100, 500, 1000)
_KINDS = ("small", "LastChange")
_LEAF = "ours, leaf topics"

Row = tuple[str, str, str, bool]
"""What, how far it is to go, how far it went, and whether that is enough."""


def of_events(outcomes: events.Outcomes) -> Iterator[Row]:
    for kind in _KINDS:
        load = f"{kind}, saturated"
        own_us, naive_us, floor_us = (
            events.cpu_us(outcomes, load, who) for who in (_LEAF, "naive", "floor")
        )
        cheaper, dearer = naive_us / own_us, own_us / floor_us
        yield (
            f"event, {kind}: CPU",
            "naive >= 4 x, <= 3 x floor",
            f"{own_us:.0f} us: naive {cheaper:.1f} x, {dearer:.1f} x floor",
            cheaper >= 4 and dearer <= 3,  # noqa: PLR2004 - the words before
        )
    for kind in _KINDS:
        load = f"{kind}, saturated, new connections"
        cheaper = events.cpu_us(outcomes, load, "naive") / events.cpu_us(outcomes, load, _LEAF)
        yield (
            f"event, {kind}, new connections: CPU",
            "naive >= 3 x",
            f"naive {cheaper:.1f} x",
            cheaper >= 3,  # noqa: PLR2004 - the words before
        )
    for kind in _KINDS:
        own, naive = (
            [events.latency_ms(outcomes, f"{kind}, 200/s", who, share) for share in (0.5, 0.99)]
            for who in (_LEAF, "naive")
        )
        yield (
            f"latency, {kind}, 200/s: p50, p99",
            f"<= naive: {naive[0]:.2f}, {naive[1]:.2f} ms",
            f"{own[0]:.2f}, {own[1]:.2f} ms",
            own[0] <= naive[0] and own[1] <= naive[1],
        )
        load = f"{kind}, saturated"
        p99_ms = events.latency_ms(outcomes, load, _LEAF, 0.99)
        naive_ms = events.latency_ms(outcomes, load, "naive", 0.99)
        rss = [round(outcomes[load, _LEAF][at].rss_kb / 1024) for at in (0, -1)]
        yield (
            f"latency, {kind}, saturated: p99",
            "<= 50 ms, bounded memory",
            f"{p99_ms:.1f} ms (naive {naive_ms:.0f}), {rss[0]} -> {rss[1]} MB",
            p99_ms <= 50 and rss[1] <= rss[0] + 5,  # noqa: PLR2004 - the words before
        )


def of_starts(outcomes: start.Outcomes) -> Iterator[Row]:
    cold, warm = outcomes[COLD, 500], outcomes[WARM, 500]
    own_ms, own_kb = start.per_device(outcomes, COLD, 500)
    naive_ms, naive_kb = start.per_device(outcomes, "naive", 500)
    yield (
        "start, 500 devices, cold",
        "<= 10 s, <= 1/4 of naive's CPU and memory",
        f"{cold.online_s:.1f} s, {own_ms / naive_ms:.2f}, {own_kb / naive_kb:.2f}",
        cold.online_s <= 10 and own_ms <= naive_ms / 4 and own_kb <= naive_kb / 4,  # noqa: PLR2004
    )
    yield (
        "start, 500 devices, warm",
        "<= 5 s, no document published",
        f"{warm.online_s:.1f} s, {warm.documents} documents, {warm.messages} messages",
        warm.online_s <= 5 and not warm.documents,  # noqa: PLR2004 - the words before
    )
    each_ms = {size: start.per_device(outcomes, COLD, size)[0] for size in (10, 100, 1000)}
    idle = 100 * (outcomes[WARM, 1000].idle or 0)
    rss_mb = [outcomes[kind, 1000].rss_kb / 1024 for kind in (COLD, WARM)]
    yield (
        "10 -> 100 -> 1000 devices: CPU of a start",
        "flat",
        " -> ".join(f"{ms:.1f}" for ms in each_ms.values()) + " ms a device",
        each_ms[1000] <= 1.25 * each_ms[100],
    )
    yield "1000 devices: idle CPU", "< 2 %", f"{idle:.2f} %", idle < 2  # noqa: PLR2004
    yield (
        "1000 devices: memory after a cold and a warm start",
        "<= 250 MB",
        f"{rss_mb[0]:.0f}, {rss_mb[1]:.0f} MB",
        max(rss_mb) <= 250,  # noqa: PLR2004 - the words before
    )


def of_calls(outcomes: calls.Outcomes) -> Iterator[Row]:
    own_us, naive_us, floor_us = (
        calls.beyond_us(outcomes, calls.DEVICES, who) for who in ("ours", "naive", "floor")
    )
    yield (
        "calls, 20 devices: CPU beyond a raw POST",
        "<= 0.75 x naive, <= 3 x floor",
        f"{own_us:.0f} us: {own_us / naive_us:.2f} x naive, {own_us / floor_us:.1f} x floor",
        own_us <= 0.75 * naive_us and own_us <= 3 * floor_us,
    )


def main(*, uvloop: bool) -> None:
    print(stage.machine(), flush=True)
    of_all_events = asyncio.run(events.measure(_LOAD_S, _ROUNDS, uvloop=uvloop))
    events.show(of_all_events)
    of_all_calls = asyncio.run(calls.measure(_LOAD_S, _ROUNDS, uvloop=uvloop))
    calls.show(of_all_calls)
    of_all_starts = asyncio.run(start.measure(_SIZES, idle_s=_IDLE_S))
    start.show(of_all_starts)
    rows = [*of_events(of_all_events), *of_starts(of_all_starts), *of_calls(of_all_calls)]
    print("\nWhat is to be reached:\n")
    told = [(*row[:3], "held" if row[3] else "missed") for row in rows]
    stage.table(("path", "reach", "measured", "held or missed"), told)
    libraries.show()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uvloop", action="store_true", help="the floor and ours on uvloop, too")
    given = parser.parse_args()
    stage.enter_namespace("benchmarks")
    main(uvloop=given.uvloop)
