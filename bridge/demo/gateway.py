"""A home router: devices inside devices, counters, port mappings (InternetGatewayDevice:1)."""

# ruff: noqa: N803 -- arguments are named as in the SCPD

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import StateVariableTypeInfo
from async_upnp_client.server import (
    UpnpServerDevice,
    callable_action,
    create_event_var,
    create_state_var,
)

from bridge.demo.device_server import Fault, RootDevice, Service, device_info, service_info

_STEP_S = 1.0
_STEPS_ONLINE, _STEPS_OFFLINE = 9, 2
_ADDRESSES = ("203.0.113.17", "203.0.113.84", "203.0.113.140")  # RFC 5737
_MAPPINGS_MAX = 50
_BIT_RATES = {"up": 40_000_000, "down": 100_000_000}


class CommonInterfaceConfig(Service):
    """WANCommonInterfaceConfig:1, whose counters grow."""

    SERVICE_DEFINITION = service_info("WANCommonInterfaceConfig:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "WANAccessType": create_state_var(
            "string", allowed=["DSL", "POTS", "Cable", "Ethernet"], default="Cable"
        ),
        "Layer1UpstreamMaxBitRate": create_state_var("ui4", default=str(_BIT_RATES["up"])),
        "Layer1DownstreamMaxBitRate": create_state_var("ui4", default=str(_BIT_RATES["down"])),
        "PhysicalLinkStatus": create_event_var(
            "string", allowed=["Up", "Down", "Initializing", "Unavailable"], default="Up"
        ),
        "TotalBytesSent": create_state_var("ui4", default="0"),
        "TotalBytesReceived": create_state_var("ui4", default="0"),
        "TotalPacketsSent": create_state_var("ui4", default="0"),
        "TotalPacketsReceived": create_state_var("ui4", default="0"),
    }

    @callable_action(
        "GetCommonLinkProperties",
        {},
        {
            "NewWANAccessType": "WANAccessType",
            "NewLayer1UpstreamMaxBitRate": "Layer1UpstreamMaxBitRate",
            "NewLayer1DownstreamMaxBitRate": "Layer1DownstreamMaxBitRate",
            "NewPhysicalLinkStatus": "PhysicalLinkStatus",
        },
    )
    async def get_common_link_properties(self) -> dict[str, object]:
        """Tell what kind of line it is."""
        return {
            "NewWANAccessType": self.get("WANAccessType"),
            "NewLayer1UpstreamMaxBitRate": self.get("Layer1UpstreamMaxBitRate"),
            "NewLayer1DownstreamMaxBitRate": self.get("Layer1DownstreamMaxBitRate"),
            "NewPhysicalLinkStatus": self.get("PhysicalLinkStatus"),
        }

    @callable_action("GetTotalBytesSent", {}, {"NewTotalBytesSent": "TotalBytesSent"})
    async def get_total_bytes_sent(self) -> dict[str, object]:
        """Tell the counter."""
        return {"NewTotalBytesSent": self.get("TotalBytesSent")}

    @callable_action("GetTotalBytesReceived", {}, {"NewTotalBytesReceived": "TotalBytesReceived"})
    async def get_total_bytes_received(self) -> dict[str, object]:
        """Tell the counter."""
        return {"NewTotalBytesReceived": self.get("TotalBytesReceived")}

    @callable_action("GetTotalPacketsSent", {}, {"NewTotalPacketsSent": "TotalPacketsSent"})
    async def get_total_packets_sent(self) -> dict[str, object]:
        """Tell the counter."""
        return {"NewTotalPacketsSent": self.get("TotalPacketsSent")}

    @callable_action(
        "GetTotalPacketsReceived", {}, {"NewTotalPacketsReceived": "TotalPacketsReceived"}
    )
    async def get_total_packets_received(self) -> dict[str, object]:
        """Tell the counter."""
        return {"NewTotalPacketsReceived": self.get("TotalPacketsReceived")}

    def count(self, **packets: int) -> None:
        """Add packets of a usual size to the counters, which wrap as a ui4 does."""
        for direction, number in packets.items():
            for name, more in ("Packets", number), ("Bytes", number * 700):
                counter = f"Total{name}{direction}"
                self.set(**{counter: (self.get(counter) + more) % 2**32})


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A row of the table of port mappings."""

    remote_host: str
    external_port: int
    protocol: str
    internal_port: int
    internal_client: str
    enabled: bool
    description: str
    lease_s: int


_KEY = {
    "NewRemoteHost": "RemoteHost",
    "NewExternalPort": "ExternalPort",
    "NewProtocol": "PortMappingProtocol",
}
_ENTRY = {
    "NewInternalPort": "InternalPort",
    "NewInternalClient": "InternalClient",
    "NewEnabled": "PortMappingEnabled",
    "NewPortMappingDescription": "PortMappingDescription",
    "NewLeaseDuration": "PortMappingLeaseDuration",
}


class IPConnection(Service):
    """WANIPConnection:1."""

    SERVICE_DEFINITION = service_info("WANIPConnection:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "PossibleConnectionTypes": create_event_var("string", default="IP_Routed"),
        "ConnectionStatus": create_event_var(
            "string", allowed=["Connected", "Connecting", "Disconnected"], default="Connected"
        ),
        "Uptime": create_state_var("ui4", default="0"),
        "LastConnectionError": create_state_var("string", default="ERROR_NONE"),
        "ExternalIPAddress": create_event_var("string", default=_ADDRESSES[0]),
        "PortMappingNumberOfEntries": create_event_var("ui2", default="0"),
        "RemoteHost": create_state_var("string"),
        "ExternalPort": create_state_var("ui2"),
        "PortMappingProtocol": create_state_var("string", allowed=["TCP", "UDP"]),
        "InternalPort": create_state_var("ui2"),
        "InternalClient": create_state_var("string"),
        "PortMappingEnabled": create_state_var("boolean"),
        "PortMappingDescription": create_state_var("string"),
        "PortMappingLeaseDuration": create_state_var("ui4"),
    }

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self._mappings: dict[tuple[str, int, str], PortMapping] = {}
        self._connected_at = time.monotonic()

    def connect(self, address: str) -> None:
        """Come back online, with this address."""
        self._connected_at = time.monotonic()
        self.set(ConnectionStatus="Connected", ExternalIPAddress=address)

    @callable_action("GetExternalIPAddress", {}, {"NewExternalIPAddress": "ExternalIPAddress"})
    async def get_external_ip_address(self) -> dict[str, object]:
        """Tell the address that the internet sees."""
        return {"NewExternalIPAddress": self.get("ExternalIPAddress")}

    @callable_action(
        "GetStatusInfo",
        {},
        {
            "NewConnectionStatus": "ConnectionStatus",
            "NewLastConnectionError": "LastConnectionError",
            "NewUptime": "Uptime",
        },
    )
    async def get_status_info(self) -> dict[str, object]:
        """Tell whether the line is up, and for how many seconds."""
        status = self.get("ConnectionStatus")
        uptime_s = int(time.monotonic() - self._connected_at) if status == "Connected" else 0
        return {
            "NewConnectionStatus": status,
            "NewLastConnectionError": self.get("LastConnectionError"),
            "NewUptime": uptime_s,
        }

    @callable_action("AddPortMapping", _KEY | _ENTRY, {})
    async def add_port_mapping(  # noqa: PLR0913, PLR0917 -- the action has so many
        self,
        NewRemoteHost: str,
        NewExternalPort: int,
        NewProtocol: str,
        NewInternalPort: int,
        NewInternalClient: str,
        NewEnabled: bool,  # noqa: FBT001 -- an action's argument
        NewPortMappingDescription: str,
        NewLeaseDuration: int,
    ) -> dict[str, object]:
        """Add a mapping, or change one of the same client."""
        key = (NewRemoteHost, NewExternalPort, NewProtocol)
        there = self._mappings.get(key)
        if there and there.internal_client != NewInternalClient:
            raise Fault(718, "ConflictInMappingEntry")
        if not there and len(self._mappings) >= _MAPPINGS_MAX:
            raise Fault(501, "Action Failed")
        self._mappings[key] = PortMapping(
            *key,
            internal_port=NewInternalPort,
            internal_client=NewInternalClient,
            enabled=NewEnabled,
            description=NewPortMappingDescription,
            lease_s=NewLeaseDuration,
        )
        self.set(PortMappingNumberOfEntries=len(self._mappings))
        return {}

    @callable_action("DeletePortMapping", _KEY, {})
    async def delete_port_mapping(
        self, NewRemoteHost: str, NewExternalPort: int, NewProtocol: str
    ) -> dict[str, object]:
        """Remove a mapping."""
        if not self._mappings.pop((NewRemoteHost, NewExternalPort, NewProtocol), None):
            raise Fault(714, "NoSuchEntryInArray")
        self.set(PortMappingNumberOfEntries=len(self._mappings))
        return {}

    @callable_action(
        "GetGenericPortMappingEntry",
        {"NewPortMappingIndex": "PortMappingNumberOfEntries"},
        _KEY | _ENTRY,
    )
    async def get_generic_port_mapping_entry(self, NewPortMappingIndex: int) -> dict[str, object]:
        """Read the mapping at this index, from 0."""
        if not 0 <= NewPortMappingIndex < len(self._mappings):
            raise Fault(713, "SpecifiedArrayIndexInvalid")
        mapping = list(self._mappings.values())[NewPortMappingIndex]
        return {
            "NewRemoteHost": mapping.remote_host,
            "NewExternalPort": mapping.external_port,
            "NewProtocol": mapping.protocol,
            "NewInternalPort": mapping.internal_port,
            "NewInternalClient": mapping.internal_client,
            "NewEnabled": mapping.enabled,
            "NewPortMappingDescription": mapping.description,
            "NewLeaseDuration": mapping.lease_s,
        }


class WANConnectionDevice(UpnpServerDevice):
    """The connection, inside the WANDevice."""

    DEVICE_DEFINITION = device_info(
        "WANConnectionDevice:1", "Demo WAN Connection", "uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11d3"
    )
    EMBEDDED_DEVICES = ()
    SERVICES = (IPConnection,)


class WANDevice(UpnpServerDevice):
    """The line, inside the router."""

    DEVICE_DEFINITION = device_info(
        "WANDevice:1", "Demo WAN", "uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11d2"
    )
    EMBEDDED_DEVICES = (WANConnectionDevice,)
    SERVICES = (CommonInterfaceConfig,)


class Router(RootDevice):
    """The router, whose traffic grows and which gets a new address now and then."""

    DEVICE_DEFINITION = device_info(
        "InternetGatewayDevice:1", "Demo Router", "uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11d1"
    )
    EMBEDDED_DEVICES = (WANDevice,)
    SERVICES = ()

    async def run(self) -> None:
        """Count each second, and reconnect now and then."""
        common, connection = self.part(CommonInterfaceConfig), self.part(IPConnection)
        for address in cycle((*_ADDRESSES[1:], _ADDRESSES[0])):
            for step in range(_STEPS_ONLINE):
                await asyncio.sleep(_STEP_S)
                common.count(Sent=40 + step, Received=900 + 17 * step)
            connection.set(ConnectionStatus="Connecting")
            await asyncio.sleep(_STEPS_OFFLINE * _STEP_S)
            connection.connect(address)
