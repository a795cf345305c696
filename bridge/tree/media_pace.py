"""Players whose values have changed, until it is time to say what they are now."""

from collections.abc import Iterator
from math import inf

from bridge.tree.mirrored_device import MirroredDevice, Player

MEDIA_PAUSE_S = 0.1
"""The least time between two publications of one player's `media`."""


class MediaPace:
    """Those that wait, each once; times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[MirroredDevice, Player]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def due_s(self) -> float | None:
        """When the first of them is due, None where none waits."""
        due = (player.told_s + MEDIA_PAUSE_S for _, player in self._waiting.values())
        return min(due, default=None)

    def note(self, mirrored: MirroredDevice, player: Player) -> None:
        """Have a player of this root device wait."""
        self._waiting[player.id] = mirrored, player

    def discard(self, player: Player) -> bool:
        """Have a player wait no more; return whether it did."""
        return self._waiting.pop(player.id, None) is not None

    def take(self, now_s: float = inf) -> Iterator[tuple[MirroredDevice, Player]]:
        """Yield those that are due and forget them; all where no time is given."""
        for key, (mirrored, player) in tuple(self._waiting.items()):
            if player.told_s + MEDIA_PAUSE_S <= now_s:
                del self._waiting[key]
                yield mirrored, player
