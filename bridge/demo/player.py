"""What a media renderer plays: the play list, and where in it the player is. No I/O, no clock."""

from dataclasses import dataclass
from enum import StrEnum


class TransportState(StrEnum):
    """TransportState of AVTransport:1, as far as this player goes."""

    STOPPED = "STOPPED"
    PLAYING = "PLAYING"
    PAUSED = "PAUSED_PLAYBACK"
    NO_MEDIA = "NO_MEDIA_PRESENT"


class PlayMode(StrEnum):
    """CurrentPlayMode of AVTransport:1, as far as this player goes."""

    NORMAL = "NORMAL"
    REPEAT_ALL = "REPEAT_ALL"


class TransitionNotAvailable(Exception):
    """The player cannot do that in its state."""


@dataclass(frozen=True, slots=True)
class Track:
    """A piece of music, or whatever stands at a URI; `metadata` is DIDL-Lite."""

    uri: str
    metadata: str
    duration_s: int


@dataclass(slots=True)
class Player:
    """The state of the transport; `tracks` may be empty only with NO_MEDIA."""

    tracks: tuple[Track, ...]
    state: TransportState = TransportState.PLAYING
    mode: PlayMode = PlayMode.REPEAT_ALL
    index: int = 0
    position_s: float = 0.0

    @property
    def track(self) -> Track | None:
        """The current track."""
        return self.tracks[self.index] if self.tracks else None

    def load(self, *tracks: Track) -> None:
        """Take other tracks, from the first; go on playing if it was."""
        self.tracks, self.index, self.position_s = tracks, 0, 0.0
        if not tracks:
            self.state = TransportState.NO_MEDIA
        elif self.state is not TransportState.PLAYING:
            self.state = TransportState.STOPPED

    def play(self) -> None:
        """Play, from where it paused."""
        self._change(TransportState.PLAYING, *TransportState)

    def pause(self) -> None:
        """Pause, if it plays."""
        self._change(TransportState.PAUSED, TransportState.PLAYING)

    def stop(self) -> None:
        """Stop, and go back to the start of the track."""
        self._change(TransportState.STOPPED, *TransportState)
        self.position_s = 0.0

    def skip(self, tracks: int) -> None:
        """Go so many tracks on, or back; round the end in either direction."""
        if not self.tracks:
            raise TransitionNotAvailable
        self.index = (self.index + tracks) % len(self.tracks)
        self.position_s = 0.0

    def advance(self, seconds: float) -> None:
        """Play for so long."""
        if self.state is not TransportState.PLAYING or not self.track:
            return
        self.position_s += seconds
        if self.position_s >= self.track.duration_s:
            last = self.index == len(self.tracks) - 1
            self.skip(1)
            if last and self.mode is PlayMode.NORMAL:
                self.stop()

    def _change(self, state: TransportState, *allowed: TransportState) -> None:
        if not self.tracks or self.state not in allowed:
            raise TransitionNotAvailable
        self.state = state
