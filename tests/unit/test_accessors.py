"""Which action sets a state variable, and which one tells it."""

from pathlib import Path

import pytest

from bridge.model import accessors
from bridge.model.accessors import Accessor
from bridge.model.device import Action, Argument, Direction, Scpd, StateVariable
from bridge.upnp.description.scpd import read_scpd

CAPTURES = Path(__file__).parents[1] / "captures"


def action(name: str, *arguments: str) -> Action:
    """Arguments are written `in Name:Variable` or `out Name:Variable`."""
    parts = (argument.replace(":", " ").split() for argument in arguments)
    return Action(name, tuple(Argument(n, Direction(way), v) for way, n, v in parts))


def scpd(*actions: Action, undeclared: str = "") -> Scpd:
    """An SCPD with these actions, and all variables that they name but one."""
    names = dict.fromkeys(one.variable for each in actions for one in each.arguments)
    variables = (StateVariable(name, "string") for name in names if name != undeclared)
    return Scpd.of((*actions, *variables))


def by(accessor: Accessor | None) -> tuple[str, str, str | None, str | None] | None:
    if accessor is None:
        return None
    return accessor.action.name, accessor.argument.name, accessor.instance, accessor.channel


VOLUME_DB = scpd(
    action(
        "GetVolumeDBRange", "in I:A_ARG_TYPE_InstanceID", "out Min:VolumeDB", "out Max:VolumeDB"
    ),
    action("GetVolumeDB", "in I:A_ARG_TYPE_InstanceID", "out Current:VolumeDB"),
    action("SetVolumeDB", "in I:A_ARG_TYPE_InstanceID", "in Desired:VolumeDB"),
)


def test_an_action_that_tells_a_variable_twice_does_not_tell_it():
    assert by(accessors.getter(VOLUME_DB, "VolumeDB")) == ("GetVolumeDB", "Current", "I", None)
    assert by(accessors.setter(VOLUME_DB, "VolumeDB")) == ("SetVolumeDB", "Desired", "I", None)
    assert accessors.getter(scpd(VOLUME_DB.actions["GetVolumeDBRange"]), "VolumeDB") is None


@pytest.mark.parametrize(("status", "target"), [("Status", "Target"), ("XStatus", "XTarget")])
def test_what_is_is_set_by_what_sets_what_is_wanted(status, target):
    light = scpd(
        action("Set", f"in New:{target}"),
        action("Get", f"out Now:{status}"),
        action("GetWanted", f"out Wanted:{target}"),
    )
    assert by(accessors.setter(light, status)) == ("Set", "New", None, None)
    assert by(accessors.setter(light, target)) == ("Set", "New", None, None)
    assert by(accessors.getter(light, status)) == ("Get", "Now", None, None)
    assert by(accessors.getter(light, target)) == ("GetWanted", "Wanted", None, None)
    assert set(accessors.setters(light)) == {target}


def test_a_status_that_has_an_action_of_its_own_is_set_by_that():
    both = scpd(action("SetStatus", "in S:Status"), action("SetTarget", "in T:Target"))
    assert by(accessors.setter(both, "Status")) == ("SetStatus", "S", None, None)
    assert accessors.setter(scpd(action("SetStatus", "in S:Status")), "Target") is None


@pytest.mark.parametrize(
    ("instance", "channel"),
    [
        ("InstanceID:Any", "Channel:Other"),
        ("Which:A_ARG_TYPE_InstanceID", "Speaker:A_ARG_TYPE_Channel"),
        ("InstanceID:A_ARG_TYPE_InstanceID", "Channel:A_ARG_TYPE_Channel"),
        ("X:InstanceID", "Y:Channel"),
    ],
)
def test_instance_and_channel_are_known_by_name_and_by_variable(instance, channel):
    names = instance.partition(":")[0], channel.partition(":")[0]
    given = f"in {channel}", f"in {instance}"
    sound = scpd(
        action("SetV", *given, "in New:V"),
        action("GetV", *given, "out Now:V"),
    )
    assert by(accessors.setter(sound, "V")) == ("SetV", "New", *names)
    assert by(accessors.getter(sound, "V")) == ("GetV", "Now", *names)


@pytest.mark.parametrize(
    "arguments",
    [
        ("in InstanceID:I", "in CurrentURI:AVTransportURI", "in CurrentURIMetaData:MetaData"),
        ("in A:X", "in B:Y"),
        ("in InstanceID:I", "in Other:A_ARG_TYPE_InstanceID", "in A:X"),
        ("in A:X", "in B:X"),
        ("in InstanceID:I", "in Channel:C", "in A:X", "in B:Y"),
        (),
    ],
)
def test_an_action_with_another_free_argument_sets_nothing(arguments):
    assert not accessors.setters(scpd(action("SetX", *arguments)))


@pytest.mark.parametrize("arguments", [("in Index:Index", "out E:X"), ("out A:X", "out B:X"), ()])
def test_an_action_that_must_be_told_what_to_tell_tells_nothing(arguments):
    assert accessors.getter(scpd(action("GetX", *arguments)), "X") is None


def test_what_is_named_after_the_variable_comes_first_whatever_the_order():
    actions = (
        action("Undo", "in A:X"),
        action("SetAny", "in A:X"),
        action("SetX", "in InstanceID:I", "in A:X"),
        action("ListX", "out A:X"),
        action("GetInfo", "out A:X", "out B:Y"),
        action("GetBoth", "out A:X", "out B:Y", "out C:Z"),
        action("GetX", "in InstanceID:I", "out A:X", "out B:Y"),
    )
    for order in (actions, actions[::-1]):
        assert by(accessors.setter(scpd(*order), "X")) == ("SetX", "A", "InstanceID", None)
        assert by(accessors.getter(scpd(*order), "X")) == ("GetX", "A", "InstanceID", None)
        assert by(accessors.getter(scpd(*order), "Y")) == ("GetInfo", "B", None, None)
        assert by(accessors.getter(scpd(*order), "Z")) == ("GetBoth", "C", None, None)
        assert by(accessors.setter(scpd(*order[1:-1]), "X")) != ("Undo", "A", None, None)


def test_what_only_tells_sets_nothing_and_what_does_more_tells_nothing():
    names = ("GetEntry", "BrowseEntry", "ListEntry", "IsEntry", "X_GetEntry", "SearchEntry")
    assert not accessors.setters(scpd(*(action(name, "in I:Index") for name in names)))
    assert not accessors.getters(
        scpd(action("Reboot", "out A:X"), action("BeginUpdate", "out A:Y"))
    )
    vendors = scpd(action("X_DLNA_GetPosition", "out A:X"), action("X_SetPosition", "in A:X"))
    assert by(accessors.getter(vendors, "X")) == ("X_DLNA_GetPosition", "A", None, None)
    assert by(accessors.setter(vendors, "X")) == ("X_SetPosition", "A", None, None)


def test_a_variable_that_only_types_arguments_is_not_set():
    dangerous = scpd(
        action("Stop", "in InstanceID:A_ARG_TYPE_InstanceID"),
        action("Pause", "in InstanceID:InstanceID"),
        action("DestroyObject", "in ObjectID:A_ARG_TYPE_ObjectID"),
    )
    assert not accessors.setters(dangerous)


def test_a_variable_that_the_scpd_does_not_declare_is_neither_set_nor_told():
    members = action("SetX", "in A:X"), action("GetX", "out A:X"), action("GetY", "out A:Y")
    assert not accessors.setters(scpd(*members, undeclared="X"))
    assert set(accessors.getters(scpd(*members, undeclared="X"))) == {"Y"}
    light = action("SetTarget", "in New:Target"), action("GetStatus", "out Now:Status")
    assert accessors.setter(scpd(*light, undeclared="Target"), "Status") is None


def test_the_selection_has_defaults_and_refuses_what_cannot_be_chosen():
    (argument,) = action("A", "in V:V").arguments
    both = Accessor(action("SetV"), argument, "InstanceID", "Channel")
    assert both.selection(None, None) == {"InstanceID": "0", "Channel": "Master"}
    assert both.selection("7", "LF") == {"InstanceID": "7", "Channel": "LF"}
    one = Accessor(action("SetV"), argument, "InstanceID")
    assert one.selection("7", None) == {"InstanceID": "7"}
    with pytest.raises(LookupError, match=r"^SetV knows no channel$"):
        one.selection("0", "Master")
    none = Accessor(action("SetV"), argument)
    assert none.selection(None, None) == {}
    with pytest.raises(LookupError, match=r"^SetV knows no InstanceID$"):
        none.selection("0", None)


def test_a_value_stands_where_it_was_asked_for():
    (argument,) = action("A", "in V:V").arguments
    getter = action("GetV")
    assert Accessor(getter, argument).place("7", "LF") == (None, None)
    assert Accessor(getter, argument, "I").place() == ("0", None)
    assert Accessor(getter, argument, "I").place("7", "LF") == ("7", None)
    assert Accessor(getter, argument, "I", "C").place() == ("0", "Master")
    assert Accessor(getter, argument, "I", "C").place("7", "LF") == ("7", "LF")
    assert Accessor(getter, argument, None, "C").place(channel="LF") == ("0", "LF")


# Real devices

SETTABLE = {
    "gmediarender/1-AVTransport": {"TransportPlaySpeed": "Play"},
    "gmediarender/1-RenderingControl": {
        "Mute": "SetMute",
        "Volume": "SetVolume",
        "VolumeDB": "SetVolumeDB",
    },
    "light/1-Dimming": {"LoadLevelTarget": "SetLoadLevelTarget"},
    "light/1-SwitchPower": {"Target": "SetTarget"},
    "miniupnpd/1-Layer3Forwarding": {"DefaultConnectionService": "SetDefaultConnectionService"},
    "miniupnpd/1-WANIPConnection": {"ConnectionType": "SetConnectionType"},
    "rygel/2-AVTransport": {"TransportPlaySpeed": "Play", "CurrentPlayMode": "SetPlayMode"},
    "rygel/2-RenderingControl": {"Mute": "SetMute", "Volume": "SetVolume"},
}
_MEDIA_INFO = {
    "NumberOfTracks": "GetMediaInfo",
    "CurrentMediaDuration": "GetMediaInfo",
    "AVTransportURI": "GetMediaInfo",
    "AVTransportURIMetaData": "GetMediaInfo",
    "NextAVTransportURI": "GetMediaInfo",
    "NextAVTransportURIMetaData": "GetMediaInfo",
    "PlaybackStorageMedium": "GetMediaInfo",
    "RecordStorageMedium": "GetMediaInfo",
    "RecordMediumWriteStatus": "GetMediaInfo",
}
_TRANSPORT = {
    "CurrentTransportActions": "GetCurrentTransportActions",
    "PossiblePlaybackStorageMedia": "GetDeviceCapabilities",
    "PossibleRecordStorageMedia": "GetDeviceCapabilities",
    "PossibleRecordQualityModes": "GetDeviceCapabilities",
    "CurrentTrack": "GetPositionInfo",
    "CurrentTrackDuration": "GetPositionInfo",
    "CurrentTrackMetaData": "GetPositionInfo",
    "CurrentTrackURI": "GetPositionInfo",
    "RelativeTimePosition": "GetPositionInfo",
    "AbsoluteTimePosition": "GetPositionInfo",
    "RelativeCounterPosition": "GetPositionInfo",
    "AbsoluteCounterPosition": "GetPositionInfo",
    "TransportState": "GetTransportInfo",
    "TransportStatus": "GetTransportInfo",
    "TransportPlaySpeed": "GetTransportInfo",
    "CurrentPlayMode": "GetTransportSettings",
    "CurrentRecordQualityMode": "GetTransportSettings",
}
_CONNECTIONS = {
    "SourceProtocolInfo": "GetProtocolInfo",
    "SinkProtocolInfo": "GetProtocolInfo",
    "CurrentConnectionIDs": "GetCurrentConnectionIDs",
}
_CONTENT = {
    name: f"Get{name}" for name in ("SearchCapabilities", "SortCapabilities", "SystemUpdateID")
}
_SOUND_AND_PICTURE = (
    *("BlueVideoBlackLevel", "BlueVideoGain", "Brightness", "ColorTemperature", "Contrast"),
    *("GreenVideoBlackLevel", "GreenVideoGain", "HorizontalKeystone", "Loudness", "Mute"),
    *("RedVideoBlackLevel", "RedVideoGain", "Sharpness", "VerticalKeystone", "Volume", "VolumeDB"),
)
READABLE = {
    "gmediarender/1-AVTransport": _MEDIA_INFO | _TRANSPORT,
    "gmediarender/1-ConnectionManager": _CONNECTIONS,
    "gmediarender/1-RenderingControl": {
        **{name: f"Get{name}" for name in _SOUND_AND_PICTURE},
        "PresetNameList": "ListPresets",
    },
    "light/1-Dimming": {
        "LoadLevelTarget": "GetLoadLevelTarget",
        "LoadLevelStatus": "GetLoadLevelStatus",
    },
    "light/1-SwitchPower": {"Target": "GetTarget", "Status": "GetStatus"},
    "minidlna/1-ConnectionManager": _CONNECTIONS,
    "minidlna/1-ContentDirectory": _CONTENT,
    "miniupnpd/1-DeviceProtection": {
        "SupportedProtocols": "GetSupportedProtocols",
        "A_ARG_TYPE_String": "GetAssignedRoles",
    },
    "miniupnpd/1-Layer3Forwarding": {"DefaultConnectionService": "GetDefaultConnectionService"},
    "miniupnpd/1-WANCommonInterfaceConfig": {
        "WANAccessType": "GetCommonLinkProperties",
        "Layer1UpstreamMaxBitRate": "GetCommonLinkProperties",
        "Layer1DownstreamMaxBitRate": "GetCommonLinkProperties",
        "PhysicalLinkStatus": "GetCommonLinkProperties",
        "TotalBytesSent": "GetTotalBytesSent",
        "TotalBytesReceived": "GetTotalBytesReceived",
        "TotalPacketsSent": "GetTotalPacketsSent",
        "TotalPacketsReceived": "GetTotalPacketsReceived",
    },
    "miniupnpd/1-WANIPConnection": {
        "ConnectionType": "GetConnectionTypeInfo",
        "PossibleConnectionTypes": "GetConnectionTypeInfo",
        "ConnectionStatus": "GetStatusInfo",
        "LastConnectionError": "GetStatusInfo",
        "Uptime": "GetStatusInfo",
        "RSIPAvailable": "GetNATRSIPStatus",
        "NATEnabled": "GetNATRSIPStatus",
        "ExternalIPAddress": "GetExternalIPAddress",
    },
    "miniupnpd/1-WANIPv6FirewallControl": {
        "FirewallEnabled": "GetFirewallStatus",
        "InboundPinholeAllowed": "GetFirewallStatus",
    },
    "rygel/1-ConnectionManager": _CONNECTIONS,
    "rygel/1-ContentDirectory": _CONTENT
    | {"ServiceResetToken": "GetServiceResetToken", "FeatureList": "GetFeatureList"},
    "rygel/2-AVTransport": {
        **_MEDIA_INFO,
        **_TRANSPORT,
        "CurrentMediaCategory": "GetMediaInfo_Ext",
        "X_DLNA_CurrentTrackSize": "X_DLNA_GetBytePositionInfo",
        "X_DLNA_RelativeBytePosition": "X_DLNA_GetBytePositionInfo",
        "X_DLNA_AbsoluteBytePosition": "X_DLNA_GetBytePositionInfo",
    },
    "rygel/2-ConnectionManager": _CONNECTIONS,
    "rygel/2-RenderingControl": {
        "Mute": "GetMute",
        "Volume": "GetVolume",
        "PresetNameList": "ListPresets",
    },
}


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*/*.scpd.xml")), ids=lambda path: path.stem)
def test_what_is_set_and_told_of_a_real_device(path):
    read = read_scpd(path.read_bytes())
    name = f"{path.parent.name}/{path.name.partition('.')[0]}"
    found = {variable: one.action.name for variable, one in accessors.setters(read).items()}
    assert found == SETTABLE.get(name, {})
    told = {variable: one.action.name for variable, one in accessors.getters(read).items()}
    assert told == READABLE.get(name, {})
    for one in (*accessors.setters(read).values(), *accessors.getters(read).values()):
        chosen = {name for name in (one.instance, one.channel) if name}
        assert {a.name for a in one.action.inputs} - {one.argument.name} == chosen


def test_light_and_renderer_are_set_and_told_by_the_arguments_of_their_own():
    def of(name: str) -> Scpd:
        return read_scpd((CAPTURES / f"{name}.scpd.xml").read_bytes())

    assert by(accessors.setter(of("light/1-SwitchPower"), "Status")) == (
        "SetTarget",
        "newTargetValue",
        None,
        None,
    )
    assert by(accessors.setter(of("light/1-Dimming"), "LoadLevelStatus")) == (
        "SetLoadLevelTarget",
        "newLoadlevelTarget",
        None,
        None,
    )
    for renderer in ("gmediarender/1-RenderingControl", "rygel/2-RenderingControl"):
        where = "InstanceID", "Channel"
        for name in ("Volume", "Mute"):
            found = accessors.setter(of(renderer), name)
            assert by(found) == (f"Set{name}", f"Desired{name}", *where)
            found = accessors.getter(of(renderer), name)
            assert by(found) == (f"Get{name}", f"Current{name}", *where)
    assert by(accessors.getter(of("gmediarender/1-AVTransport"), "RelativeTimePosition")) == (
        "GetPositionInfo",
        "RelTime",
        "InstanceID",
        None,
    )
