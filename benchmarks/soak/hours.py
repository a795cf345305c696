"""How long an ordinary home takes to what the soak does in minutes."""

from benchmarks import stage
from benchmarks.soak.tally import Tally

_ORDINARY: dict[str, tuple[float, str, tuple[str, ...]]] = {
    "announcements": (
        20 * 6 * 4,
        "20 devices, 6 datagrams each, every 15 min (max-age 1800)",
        ("announcements",),
    ),
    "renewals": (
        20 * 3 * 3600 / 135,
        "20 devices, 3 services each, time-out 300 s: every 135 s",
        ("renewals",),
    ),
    "events": (20 * 60, "20 devices, an event a minute each", ("events",)),
    "commands": (60, "one a minute", ("GetVolume", "SetVolume", "set", "get")),
    "devices that come, go, reboot, move": (
        1,
        "each of 20 devices about once a day",
        (
            "left with byebye, back",
            "died, back elsewhere",
            "died for good, a new one came",
            "rebooted",
            "moved without a word",
            "description changed",
        ),
    ),
    "losses of the broker": (
        1 / 24,
        "one a day",
        (
            "broker restarted",
            "broker killed, old data",
            "broker killed, no data",
            "connection cut",
            "connection cut again and again",
        ),
    ),
}


def show_hours(tally: Tally) -> None:
    """Print the count of each kind against one hour of 20 devices at ordinary rates."""
    both = tally.loads + tally.faults
    rows = []
    for name, (per_hour, why, kinds) in _ORDINARY.items():
        count = sum(both[kind] for kind in kinds)
        rows.append(
            (name, count, f"{per_hour:.2f}".rstrip("0").rstrip("."), why, f"{count / per_hour:.0f}")
        )
    stage.table(("what", "here", "an hour at home", "that is", "hours of home"), rows)
