"""ConnectionManager:1, with its one fixed connection."""

from collections.abc import Mapping
from typing import ClassVar

from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import StateVariableTypeInfo
from async_upnp_client.server import callable_action, create_event_var

from bridge.demo.device_server import Service, service_info


class ConnectionManager(Service):
    """What can be sent (`SOURCE`) and played (`SINK`), as lists of protocolInfo."""

    SOURCE: ClassVar[str] = ""
    SINK: ClassVar[str] = ""
    SERVICE_DEFINITION = service_info("ConnectionManager:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "SourceProtocolInfo": create_event_var("string", default=""),
        "SinkProtocolInfo": create_event_var("string", default=""),
        "CurrentConnectionIDs": create_event_var("string", default="0"),
    }

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self.set(SourceProtocolInfo=self.SOURCE, SinkProtocolInfo=self.SINK)

    @callable_action(
        "GetProtocolInfo", {}, {"Source": "SourceProtocolInfo", "Sink": "SinkProtocolInfo"}
    )
    async def get_protocol_info(self) -> dict[str, object]:
        """Tell what it can send and play."""
        return {"Source": self.get("SourceProtocolInfo"), "Sink": self.get("SinkProtocolInfo")}

    @callable_action("GetCurrentConnectionIDs", {}, {"ConnectionIDs": "CurrentConnectionIDs"})
    async def get_current_connection_ids(self) -> dict[str, object]:
        """Tell the connections."""
        return {"ConnectionIDs": self.get("CurrentConnectionIDs")}
