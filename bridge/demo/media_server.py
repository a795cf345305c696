"""A media server with eight albums of silence (MediaServer:1)."""

# ruff: noqa: N803, ARG002 -- arguments are named as in the SCPD, and not every action reads each

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import StateVariableTypeInfo
from async_upnp_client.server import callable_action, create_event_var, create_state_var

from bridge.demo.connections import ConnectionManager
from bridge.demo.criteria import SEARCHABLE, SORTABLE, InvalidCriteria, search, sort
from bridge.demo.device_server import (
    Fault,
    File,
    RootDevice,
    Service,
    cover_files,
    device_info,
    service_info,
)
from bridge.demo.didl import Entry, document
from bridge.demo.library import catalogue, descendants, song_path
from bridge.demo.music import ALBUMS, SONGS
from bridge.demo.sound import silence, silence_size

_PAGE = {
    "Filter": "A_ARG_TYPE_Filter",
    "StartingIndex": "A_ARG_TYPE_Index",
    "RequestedCount": "A_ARG_TYPE_Count",
    "SortCriteria": "A_ARG_TYPE_SortCriteria",
}
_RESULT = {
    "Result": "A_ARG_TYPE_Result",
    "NumberReturned": "A_ARG_TYPE_Count",
    "TotalMatches": "A_ARG_TYPE_Count",
    "UpdateID": "A_ARG_TYPE_UpdateID",
}


class ContentDirectory(Service):
    """ContentDirectory:1, to read; objects come with all properties, whatever the filter."""

    SERVICE_DEFINITION = service_info("ContentDirectory:1")
    STATE_VARIABLE_DEFINITIONS: Mapping[str, StateVariableTypeInfo] = {
        "SystemUpdateID": create_event_var("ui4", default="1"),
        "SearchCapabilities": create_state_var("string", default=",".join(SEARCHABLE)),
        "SortCapabilities": create_state_var("string", default=",".join(SORTABLE)),
        "A_ARG_TYPE_ObjectID": create_state_var("string"),
        "A_ARG_TYPE_Result": create_state_var("string"),
        "A_ARG_TYPE_SearchCriteria": create_state_var("string"),
        "A_ARG_TYPE_BrowseFlag": create_state_var(
            "string", allowed=["BrowseMetadata", "BrowseDirectChildren"]
        ),
        "A_ARG_TYPE_Filter": create_state_var("string"),
        "A_ARG_TYPE_SortCriteria": create_state_var("string"),
        "A_ARG_TYPE_Index": create_state_var("ui4"),
        "A_ARG_TYPE_Count": create_state_var("ui4"),
        "A_ARG_TYPE_UpdateID": create_state_var("ui4"),
    }

    def __init__(self, requester: UpnpRequester) -> None:
        super().__init__(requester)
        self._objects: Mapping[str, Entry] = {}

    def load(self, base_uri: str) -> None:
        """Take all music, whose songs and covers are below this URI."""
        self._objects = catalogue(base_uri, lambda song: silence_size(song.duration_s))

    async def async_handle_action(self, action_name: str, **kwargs: Any) -> Any:  # noqa: ANN401 -- the library's signature
        """Carry out an action; fault 709 where it cannot sort as asked."""
        try:
            return await super().async_handle_action(action_name, **kwargs)
        except InvalidCriteria as error:
            raise Fault(709, "Unsupported or invalid sort criteria") from error

    @callable_action("GetSearchCapabilities", {}, {"SearchCaps": "SearchCapabilities"})
    async def get_search_capabilities(self) -> dict[str, object]:
        """Tell by which properties can be searched."""
        return {"SearchCaps": self.get("SearchCapabilities")}

    @callable_action("GetSortCapabilities", {}, {"SortCaps": "SortCapabilities"})
    async def get_sort_capabilities(self) -> dict[str, object]:
        """Tell by which properties can be sorted."""
        return {"SortCaps": self.get("SortCapabilities")}

    @callable_action("GetSystemUpdateID", {}, {"Id": "SystemUpdateID"})
    async def get_system_update_id(self) -> dict[str, object]:
        """Tell the number of the last change."""
        return {"Id": self.get("SystemUpdateID")}

    @callable_action(
        "Browse",
        {"ObjectID": "A_ARG_TYPE_ObjectID", "BrowseFlag": "A_ARG_TYPE_BrowseFlag", **_PAGE},
        _RESULT,
    )
    async def browse(  # noqa: PLR0913, PLR0917 -- an action's arguments
        self,
        ObjectID: str,
        BrowseFlag: str,
        Filter: str,
        StartingIndex: int,
        RequestedCount: int,
        SortCriteria: str,
    ) -> dict[str, object]:
        """Describe an object, or what is directly in it."""
        entry = self._find(ObjectID, Fault(701, "No such object"))
        if BrowseFlag == "BrowseMetadata":
            return self._result([entry], 0, 1)
        return self._result(sort(entry.children, SortCriteria), StartingIndex, RequestedCount)

    @callable_action(
        "Search",
        {
            "ContainerID": "A_ARG_TYPE_ObjectID",
            "SearchCriteria": "A_ARG_TYPE_SearchCriteria",
            **_PAGE,
        },
        _RESULT,
    )
    async def search(  # noqa: PLR0913, PLR0917 -- an action's arguments
        self,
        ContainerID: str,
        SearchCriteria: str,
        Filter: str,
        StartingIndex: int,
        RequestedCount: int,
        SortCriteria: str,
    ) -> dict[str, object]:
        """Describe what is wanted of all that is below a container."""
        container = self._find(ContainerID, Fault(710, "No such container"))
        try:
            found = search(descendants(container), SearchCriteria)
        except InvalidCriteria as error:
            raise Fault(708, "Unsupported or invalid search criteria") from error
        return self._result(sort(found, SortCriteria), StartingIndex, RequestedCount)

    def _find(self, key: str, fault: Fault) -> Entry:
        if key not in self._objects:
            raise fault
        return self._objects[key]

    def _result(self, entries: list[Entry], start: int, count: int) -> dict[str, object]:
        page = entries[start : start + count if count else None]
        return {
            "Result": document(page),
            "NumberReturned": len(page),
            "TotalMatches": len(entries),
            "UpdateID": self.get("SystemUpdateID"),
        }


class ServerConnections(ConnectionManager):
    """ConnectionManager:1 of a server."""

    SOURCE = "http-get:*:audio/wav:*"


class MediaServer(RootDevice):
    """The server on the network."""

    DEVICE_DEFINITION = device_info(
        "MediaServer:1", "Demo Media Server", "uuid:6b1d0c52-5f0e-4f6c-9d53-0d3f0a7e11c1"
    )
    SERVICES = (ContentDirectory, ServerConnections)

    def __init__(
        self, requester: UpnpRequester, base_uri: str, boot_id: int = 1, config_id: int = 1
    ) -> None:
        super().__init__(requester, base_uri, boot_id, config_id)
        self.part(ContentDirectory).load(base_uri)

    def files(self) -> Mapping[str, File]:
        """Return its icons, its covers and its songs."""
        songs = {
            song_path(song): File("audio/wav", partial(silence, song.duration_s)) for song in SONGS
        }
        return {**super().files(), **cover_files(ALBUMS), **songs}

    async def run(self) -> None:
        """Wait: nothing changes by itself."""
        await asyncio.Event().wait()
