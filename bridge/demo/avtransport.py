"""AVTransport:1 around the player."""

# ruff: noqa: N803, ARG002 -- arguments are named as in the SCPD, and not every action reads each

from collections.abc import Mapping
from typing import Any

from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import StateVariableTypeInfo
from async_upnp_client.server import callable_action, create_event_var, create_state_var

from bridge.demo.device_server import Fault, service_info
from bridge.demo.didl import Resource, describe_song, document, format_duration, read_duration
from bridge.demo.event_text import INSTANCE, AvService
from bridge.demo.music import Song, songs_named
from bridge.demo.player import (
    Player,
    PlayMode,
    Track,
    TransitionNotAvailable,
    TransportState,
)

_UNKNOWN_DURATION_S = 180
PLAY_LIST = songs_named(
    "Ten Seconds of Rain", "Käse & Knäckebrot", "No Route to Host", "Time to Live"
)
"""What plays until something else is set: one short song after the other."""


def _track(song: Song, base_uri: str) -> Track:
    uri = f"http://music.invalid/{song.number}.flac"
    resource = Resource(uri, song.duration_s, mimetype="audio/flac")
    entry = describe_song(song, "0", resource, base_uri + song.album.cover)
    return Track(uri, document([entry]), song.duration_s)


class AVTransport(AvService):
    """AVTransport:1, but for seeking and recording."""

    METADATA_NAMESPACE = "urn:schemas-upnp-org:metadata-1-0/AVT/"
    INVALID_INSTANCE = 718
    SERVICE_DEFINITION = service_info("AVTransport:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "LastChange": create_event_var("string", default=""),
        "TransportState": create_state_var("string", allowed=list(TransportState)),
        "TransportStatus": create_state_var("string", allowed=["OK", "ERROR_OCCURRED"]),
        "TransportPlaySpeed": create_state_var("string", allowed=["1"]),
        "CurrentPlayMode": create_state_var("string", allowed=list(PlayMode)),
        "RecordMediumWriteStatus": create_state_var("string"),
        "CurrentRecordQualityMode": create_state_var("string"),
        "PlaybackStorageMedium": create_state_var("string"),
        "RecordStorageMedium": create_state_var("string"),
        "NumberOfTracks": create_state_var("ui4", allowed_range={"min": "0", "max": "4294967295"}),
        "CurrentTrack": create_state_var("ui4", allowed_range={"min": "0", "max": "4294967295"}),
        "CurrentTrackDuration": create_state_var("string"),
        "CurrentMediaDuration": create_state_var("string"),
        "CurrentTrackMetaData": create_state_var("string"),
        "CurrentTrackURI": create_state_var("string"),
        "AVTransportURI": create_state_var("string"),
        "AVTransportURIMetaData": create_state_var("string"),
        "NextAVTransportURI": create_state_var("string"),
        "NextAVTransportURIMetaData": create_state_var("string"),
        "RelativeTimePosition": create_state_var("string"),
        "AbsoluteTimePosition": create_state_var("string"),
        "RelativeCounterPosition": create_state_var("i4"),
        "AbsoluteCounterPosition": create_state_var("i4"),
        "A_ARG_TYPE_InstanceID": create_state_var("ui4"),
    }

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self.player = Player(())
        self._uri, self._uri_metadata = "http://music.invalid/demo.m3u", ""

    def load(self, base_uri: str) -> None:
        """Take the play list, whose covers are below this URI."""
        self.player.load(*(_track(song, base_uri) for song in PLAY_LIST))

    def instance(self) -> Mapping[tuple[str, str], str]:
        """Read what AVTransport:1 events, which leaves the positions out."""
        player, track = self.player, self.player.track
        values = {
            "TransportState": player.state,
            "TransportStatus": "OK",
            "TransportPlaySpeed": "1",
            "CurrentPlayMode": player.mode,
            "NumberOfTracks": str(len(player.tracks)),
            "CurrentTrack": str(player.index + 1 if track else 0),
            "CurrentTrackDuration": format_duration(track.duration_s if track else 0),
            "CurrentMediaDuration": self._media_duration(),
            "CurrentTrackURI": track.uri if track else "",
            "CurrentTrackMetaData": track.metadata if track else "",
            "AVTransportURI": self._uri,
            "AVTransportURIMetaData": self._uri_metadata,
        }
        return {(name, ""): value for name, value in values.items()}

    def _media_duration(self) -> str:
        return format_duration(sum(track.duration_s for track in self.player.tracks))

    async def async_handle_action(self, action_name: str, **kwargs: Any) -> Any:  # noqa: ANN401 -- the library's signature
        """Carry out an action; fault 701 where the state of the player forbids it."""
        try:
            return await super().async_handle_action(action_name, **kwargs)
        except TransitionNotAvailable as error:
            raise Fault(701, "Transition not available") from error

    @callable_action("Play", INSTANCE | {"Speed": "TransportPlaySpeed"}, {})
    async def play(self, InstanceID: int, Speed: str) -> dict[str, object]:
        """Play."""
        self.player.play()
        return {}

    @callable_action("Pause", INSTANCE, {})
    async def pause(self, InstanceID: int) -> dict[str, object]:
        """Pause."""
        self.player.pause()
        return {}

    @callable_action("Stop", INSTANCE, {})
    async def stop(self, InstanceID: int) -> dict[str, object]:
        """Stop."""
        self.player.stop()
        return {}

    @callable_action("Next", INSTANCE, {})
    async def next(self, InstanceID: int) -> dict[str, object]:
        """Go to the next track."""
        self.player.skip(1)
        return {}

    @callable_action("Previous", INSTANCE, {})
    async def previous(self, InstanceID: int) -> dict[str, object]:
        """Go to the track before."""
        self.player.skip(-1)
        return {}

    @callable_action("SetPlayMode", INSTANCE | {"NewPlayMode": "CurrentPlayMode"}, {})
    async def set_play_mode(self, InstanceID: int, NewPlayMode: str) -> dict[str, object]:
        """Stop after the last track, or go on with the first."""
        self.player.mode = PlayMode(NewPlayMode)
        return {}

    @callable_action(
        "SetAVTransportURI",
        INSTANCE | {"CurrentURI": "AVTransportURI", "CurrentURIMetaData": "AVTransportURIMetaData"},
        {},
    )
    async def set_av_transport_uri(
        self, InstanceID: int, CurrentURI: str, CurrentURIMetaData: str
    ) -> dict[str, object]:
        """Take one track in place of the play list, or none."""
        self._uri, self._uri_metadata = CurrentURI, CurrentURIMetaData
        if CurrentURI:
            duration_s = read_duration(CurrentURIMetaData) or _UNKNOWN_DURATION_S
            self.player.load(Track(CurrentURI, CurrentURIMetaData, duration_s))
        else:
            self.player.load()
        return {}

    @callable_action(
        "GetTransportInfo",
        INSTANCE,
        {
            "CurrentTransportState": "TransportState",
            "CurrentTransportStatus": "TransportStatus",
            "CurrentSpeed": "TransportPlaySpeed",
        },
    )
    async def get_transport_info(self, InstanceID: int) -> dict[str, object]:
        """Tell whether it plays."""
        return {
            "CurrentTransportState": self.player.state,
            "CurrentTransportStatus": "OK",
            "CurrentSpeed": "1",
        }

    @callable_action(
        "GetTransportSettings",
        INSTANCE,
        {"PlayMode": "CurrentPlayMode", "RecQualityMode": "CurrentRecordQualityMode"},
    )
    async def get_transport_settings(self, InstanceID: int) -> dict[str, object]:
        """Tell what follows the last track."""
        return {"PlayMode": self.player.mode, "RecQualityMode": "NOT_IMPLEMENTED"}

    @callable_action(
        "GetPositionInfo",
        INSTANCE,
        {
            "Track": "CurrentTrack",
            "TrackDuration": "CurrentTrackDuration",
            "TrackMetaData": "CurrentTrackMetaData",
            "TrackURI": "CurrentTrackURI",
            "RelTime": "RelativeTimePosition",
            "AbsTime": "AbsoluteTimePosition",
            "RelCount": "RelativeCounterPosition",
            "AbsCount": "AbsoluteCounterPosition",
        },
    )
    async def get_position_info(self, InstanceID: int) -> dict[str, object]:
        """Tell what plays, and where in it."""
        player, track = self.player, self.player.track
        return {
            "Track": player.index + 1 if track else 0,
            "TrackDuration": format_duration(track.duration_s if track else 0),
            "TrackMetaData": track.metadata if track else "",
            "TrackURI": track.uri if track else "",
            "RelTime": format_duration(player.position_s),
            "AbsTime": "NOT_IMPLEMENTED",
            "RelCount": 2**31 - 1,  # the standard's "not implemented"
            "AbsCount": 2**31 - 1,
        }

    @callable_action(
        "GetMediaInfo",
        INSTANCE,
        {
            "NrTracks": "NumberOfTracks",
            "MediaDuration": "CurrentMediaDuration",
            "CurrentURI": "AVTransportURI",
            "CurrentURIMetaData": "AVTransportURIMetaData",
            "NextURI": "NextAVTransportURI",
            "NextURIMetaData": "NextAVTransportURIMetaData",
            "PlayMedium": "PlaybackStorageMedium",
            "RecordMedium": "RecordStorageMedium",
            "WriteStatus": "RecordMediumWriteStatus",
        },
    )
    async def get_media_info(self, InstanceID: int) -> dict[str, object]:
        """Tell what is loaded."""
        return {
            "NrTracks": len(self.player.tracks),
            "MediaDuration": self._media_duration(),
            "CurrentURI": self._uri,
            "CurrentURIMetaData": self._uri_metadata,
            "NextURI": "NOT_IMPLEMENTED",
            "NextURIMetaData": "NOT_IMPLEMENTED",
            "PlayMedium": "NETWORK" if self.player.tracks else "NONE",
            "RecordMedium": "NOT_IMPLEMENTED",
            "WriteStatus": "NOT_IMPLEMENTED",
        }
