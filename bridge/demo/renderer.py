"""A media renderer that plays through a list of invented tracks (MediaRenderer:1)."""

# ruff: noqa: N803, ARG002 -- arguments are named as in the SCPD, and not every action reads each

import asyncio
from collections.abc import Mapping

from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import StateVariableTypeInfo
from async_upnp_client.server import callable_action, create_event_var, create_state_var

from bridge.demo.avtransport import PLAY_LIST, AVTransport
from bridge.demo.connections import ConnectionManager
from bridge.demo.device_server import File, RootDevice, cover_files, device_info, service_info
from bridge.demo.event_text import INSTANCE, AvService

_STEP_S = 0.2  # events of LastChange come no faster (AVTransport:1, section 2.3.1)
_CHANNELS = ["Master", "LF", "RF"]
_OF_CHANNEL = {**INSTANCE, "Channel": "A_ARG_TYPE_Channel"}


class RenderingControl(AvService):
    """RenderingControl:1, as far as volume and mute of three channels."""

    METADATA_NAMESPACE = "urn:schemas-upnp-org:metadata-1-0/RCS/"
    INVALID_INSTANCE = 702
    SERVICE_DEFINITION = service_info("RenderingControl:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "LastChange": create_event_var("string", default=""),
        "Volume": create_state_var("ui2", allowed_range={"min": "0", "max": "100"}),
        "Mute": create_state_var("boolean"),
        "A_ARG_TYPE_Channel": create_state_var("string", allowed=_CHANNELS),
        "A_ARG_TYPE_InstanceID": create_state_var("ui4"),
    }

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self._volume = {"Master": 40, "LF": 100, "RF": 100}
        self._mute = dict.fromkeys(_CHANNELS, False)

    def instance(self) -> Mapping[tuple[str, str], str]:
        """Read volume and mute of each channel."""
        volumes = {("Volume", channel): str(volume) for channel, volume in self._volume.items()}
        mutes = {("Mute", channel): str(int(mute)) for channel, mute in self._mute.items()}
        return volumes | mutes

    @callable_action("GetVolume", _OF_CHANNEL, {"CurrentVolume": "Volume"})
    async def get_volume(self, InstanceID: int, Channel: str) -> dict[str, object]:
        """Tell the volume of a channel."""
        return {"CurrentVolume": self._volume[Channel]}

    @callable_action("SetVolume", _OF_CHANNEL | {"DesiredVolume": "Volume"}, {})
    async def set_volume(
        self, InstanceID: int, Channel: str, DesiredVolume: int
    ) -> dict[str, object]:
        """Set the volume of a channel."""
        self._volume[Channel] = DesiredVolume
        return {}

    @callable_action("GetMute", _OF_CHANNEL, {"CurrentMute": "Mute"})
    async def get_mute(self, InstanceID: int, Channel: str) -> dict[str, object]:
        """Tell whether a channel is silent."""
        return {"CurrentMute": self._mute[Channel]}

    @callable_action("SetMute", _OF_CHANNEL | {"DesiredMute": "Mute"}, {})
    async def set_mute(
        self,
        InstanceID: int,
        Channel: str,
        DesiredMute: bool,  # noqa: FBT001 -- an action's argument
    ) -> dict[str, object]:
        """Silence a channel, or let it sound."""
        self._mute[Channel] = DesiredMute
        return {}


class RendererConnections(ConnectionManager):
    """ConnectionManager:1 of a renderer."""

    SINK = "http-get:*:audio/flac:*,http-get:*:audio/mpeg:*,http-get:*:audio/wav:*"


class Renderer(RootDevice):
    """The player on the network."""

    DEVICE_DEFINITION = device_info(
        "MediaRenderer:1", "Demo Renderer", "uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11b1"
    )
    SERVICES = (RenderingControl, RendererConnections, AVTransport)

    def __init__(
        self, requester: UpnpRequester, base_uri: str, boot_id: int = 1, config_id: int = 1
    ) -> None:
        super().__init__(requester, base_uri, boot_id, config_id)
        self.part(AVTransport).load(base_uri)

    def files(self) -> Mapping[str, File]:
        """Return its icons, and the covers of what it plays."""
        return {**super().files(), **cover_files(song.album for song in PLAY_LIST)}

    async def run(self) -> None:
        """Play, and announce what changed."""
        transport, rendering = self.part(AVTransport), self.part(RenderingControl)
        while True:
            transport.announce()
            rendering.announce()
            await asyncio.sleep(_STEP_S)
            transport.player.advance(_STEP_S)
