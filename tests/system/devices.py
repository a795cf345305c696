"""The programs of the lab, and what a test needs to know about each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NET = "10.77.0"


@dataclass(frozen=True, slots=True)
class Device:
    """A program that is one or more root devices.

    It starts in a folder that it sees as /tmp, with `files` and two sound files under `media`.
    """

    name: str
    host: int  # the last byte of its address
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    types: frozenset[str]  # of its root devices
    command: str  # for sh, in the device's namespace
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it stands."""
        return f"{NET}.{self.host}"


def _types(*names: str) -> frozenset[str]:
    return frozenset(f"urn:schemas-upnp-org:device:{name}" for name in names)


_GSTREAMER = ("gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good")

DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device(
            name="light",
            host=11,
            packages=("gupnp-tools", "xvfb", "xauth"),
            programs=("gupnp-network-light", "xvfb-run", "xauth"),
            types=_types("DimmableLight:1"),
            command="exec xvfb-run -a gupnp-network-light -4 -i eth0 -n 'Lab Light'",
        ),
        Device(
            name="minidlna",
            host=12,
            packages=("minidlna", "nftables"),
            programs=("minidlnad", "nft"),
            types=_types("MediaServer:1"),
            command="nft -f nft.conf; exec minidlnad -S -f /tmp/minidlna.conf -P /tmp/pid",
            files={
                "minidlna.conf": "network_interface=eth0\nport=8200\nfriendly_name=Lab MiniDLNA\n"
                "media_dir=/tmp/media\ndb_dir=/tmp\nlog_dir=/tmp\n",
                # Version 1.3.0 sends no event by itself; this keeps newer ones from it.
                "nft.conf": "table inet filter {\n"
                " chain output { type filter hook output priority 0;"
                " tcp sport != 8200 tcp flags & psh != 0 drop; }\n}\n",
            },
        ),
        Device(
            name="gmediarender",
            host=13,
            packages=("gmediarender", *_GSTREAMER),
            programs=("gmediarender",),
            types=_types("MediaRenderer:1"),
            command="exec gmediarender -I eth0 -f 'Lab Renderer' --logfile=stderr"
            " --gstout-audiopipe='fakesink sync=true' --gstout-videosink=fakesink",
        ),
        Device(
            name="rygel",
            host=15,
            packages=("rygel", "rygel-playbin", *_GSTREAMER),
            programs=("rygel",),
            types=_types("MediaServer:3", "MediaRenderer:2"),
            command="exec rygel",
            files={
                ".config/rygel.conf": "[general]\ninterface=eth0\nipv6=false\n"
                "media-engine=librygel-media-engine-gst.so\nenable-transcoding=false\n"
                "[MediaExport]\ntitle=Lab Rygel Server\nuris=/tmp/media\n"
                "[Playbin]\ntitle=Lab Rygel Renderer\n"
            },
        ),
        Device(
            name="miniupnpd",
            host=16,
            packages=("miniupnpd", "miniupnpd-nftables", "nftables"),
            programs=("miniupnpd", "nft"),
            types=_types("InternetGatewayDevice:2"),
            command="ip link add wan0 type veth peer name wan1;"
            " ip addr add 8.8.4.10/24 dev wan0; ip link set wan0 up; ip link set wan1 up;"
            " nft -f nft.conf; exec miniupnpd -d -f /tmp/miniupnpd.conf -P /tmp/pid",
            files={
                "miniupnpd.conf": "ext_ifname=wan0\nlistening_ip=eth0\n"
                "uuid=72eba980-20d3-4fa2-8a76-6c855535d497\nupnp_forward_chain=forward\n"
                "upnp_nat_chain=prerouting\nupnp_nat_postrouting_chain=postrouting\n"
                f"allow 1024-65535 {NET}.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
                "nft.conf": "table inet filter {\n"
                " chain forward { type filter hook forward priority 0; }\n"
                " chain prerouting { type nat hook prerouting priority -100; }\n"
                " chain postrouting { type nat hook postrouting priority 100; }\n}\n",
            },
        ),
    )
}

SILENT = "minidlna"
"""It grants subscriptions, connects to the callback, and sends nothing."""
ASKED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "WANCommonInterfaceConfig": {
        "GetTotalBytesSent": {"NewTotalBytesSent": "TotalBytesSent"},
        "GetTotalBytesReceived": {"NewTotalBytesReceived": "TotalBytesReceived"},
        "GetTotalPacketsSent": {"NewTotalPacketsSent": "TotalPacketsSent"},
        "GetTotalPacketsReceived": {"NewTotalPacketsReceived": "TotalPacketsReceived"},
        "GetCommonLinkProperties": {
            "NewLayer1UpstreamMaxBitRate": "Layer1UpstreamMaxBitRate",
            "NewLayer1DownstreamMaxBitRate": "Layer1DownstreamMaxBitRate",
        },
    },
    "WANIPConnection": {
        "GetStatusInfo": {"NewUptime": "Uptime", "NewLastConnectionError": "LastConnectionError"}
    },
    # After they were set.
    "SwitchPower": {"GetTarget": {"RetTargetValue": "Target"}},
    "Dimming": {"GetLoadLevelTarget": {"retLoadlevelTarget": "LoadLevelTarget"}},
}
"""What these devices are asked for since no event tells it: variables, by service and action."""
ASKED_IN_SILENCE: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "ContentDirectory": {"GetSystemUpdateID": {"Id": "SystemUpdateID"}},
    "ConnectionManager": {
        "GetProtocolInfo": {"Source": "SourceProtocolInfo", "Sink": "SinkProtocolInfo"},
        "GetCurrentConnectionIDs": {"ConnectionIDs": "CurrentConnectionIDs"},
    },
}
"""What the silent one is asked for besides, once its silence is noted."""
