"""Values of real devices: set and asked for at their own topics, and asked for regularly."""

import json
from itertools import count
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.system.bridge import Observer, wait_for
from tests.system.devices import SILENT

RENDERER = "GMediaRender-1_0-000-000-002"
CONNECTION = "72eba980-20d3-4fa2-8a76-6c855535d499/WANIPConn1"
INTERFACE = "72eba980-20d3-4fa2-8a76-6c855535d498/WANCommonIFC1"
CHANGE_S = 2.0
ASK_S = 15.0
SILENCE_S = 60.0
PLAY_S = 20.0
LIGHT, PLAYER = "DimmableLight", "MediaRenderer"
POWER, DIMMING, SOUND = "SwitchPower:1", "Dimming:1", "RenderingControl"
SETS = [
    ("light", POWER, "Status", "Status", {"ON": "true", "OFF": "false", "1": "true"}),
    ("light", POWER, "Target", "Status", {"false": "false", "true": "true"}),
    ("light", DIMMING, "LoadLevelStatus", "LoadLevelStatus", {"42": "42", " 17.0 ": "17"}),
    ("light", DIMMING, "LoadLevelTarget", "LoadLevelStatus", {"43": "43", "18": "18"}),
    *(
        (name, SOUND, place, f"{place.partition('/')[0]}/0/Master", texts)
        for name in ("gmediarender", "rygel")
        for place, texts in (
            ("Volume/0/Master", {"38": "38", "21.0": "21"}),
            ("Volume", {"39": "39"}),
            ("Mute/0/Master", {"ON": "true", "false": "false"}),
        )
    ),
]
"""Program, service, what is set, the value that changes, and payloads with what it is then."""
KINDS = {"light": LIGHT, "gmediarender": PLAYER, "rygel": PLAYER}
DIDL = (
    '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/">'
    '<item id="1" parentID="0" restricted="1"><dc:title>Töne &amp; more</dc:title>'
    "<upnp:artist>The Lab</upnp:artist><upnp:album>Waves</upnp:album>"
    "<upnp:albumArtURI>/icon.png</upnp:albumArtURI>"
    "<upnp:class>object.item.audioItem.musicTrack</upnp:class>"
    '<res protocolInfo="http-get:*:audio/x-wav:*" duration="0:00:30">{}</res>'
    "</item></DIDL-Lite>"
)

_marks = count(1)


def send(observer: Observer, own: str, payload: bytes = b"") -> dict[str, Any]:
    """Publish a command at a value's own topic, and give its one answer."""
    mark = f"values-{next(_marks)}"
    topic = f"upnp/reply/{mark}"
    command = f"upnp/{own}"
    observer.publish(command, payload, ResponseTopic=topic, CorrelationData=mark.encode())

    def answers() -> list[dict[str, Any]]:
        found = (s for s in observer.live if s.correlation_data == mark.encode())
        return [json.loads(s.payload) for s in found if s.topic == topic]

    wait_for(answers, 10, f"no answer to {own}")
    (answer,) = answers()
    response = f"upnp/{own.partition('/')[0]}/response"
    assert answer in [json.loads(s.payload) for s in observer.live if s.topic == response]
    return answer


@pytest.mark.parametrize(("name", "level", "place", "changed", "payloads"), SETS)
def test_a_value_is_set_by_plain_text(  # noqa: PLR0913, PLR0917 - a table
    site, observer, name, level, place, changed, payloads
):
    own = f"{site.device(name, KINDS[name])}/{level}/value"
    variable = place.partition("/")[0]
    action = f"Get{variable}"
    given = {"InstanceID": 0, "Channel": "Master"} if level == SOUND else {}
    for payload, text in payloads.items():
        answer = send(observer, f"{own}/{place}/set", payload.encode())
        assert answer["success"], answer
        assert answer["variable"] == variable
        assert answer["action"] == f"Set{variable.replace('Status', 'Target')}"
        observer.wait_text(f"{own}/{changed}", text, CHANGE_S)
        (told,) = site.invoke(site.service(name, action), action, **given).values()
        assert told == {"true": "1", "false": "0"}.get(text, text)


@pytest.mark.parametrize(
    ("own", "payload", "code"),
    [
        (f"{SOUND}/value/Volume/0/Master", b"101", "invalid_argument"),
        (f"{SOUND}/value/Volume/0/Master", b"loud", "invalid_argument"),
        (f"{SOUND}/value/Volume/0/XX", b"5", "invalid_argument"),
        (f"{SOUND}/value/Mute/0/Master", b"maybe", "invalid_argument"),
        (f"{SOUND}/value/PresetNameList/0", b"x", "unknown_action"),
        (f"{SOUND}/value/Nothing", b"x", "unknown_variable"),
        ("AVTransport/value/AVTransportURI/0", b"http://x/", "unknown_action"),
        ("AVTransport/value/A_ARG_TYPE_InstanceID", b"0", "unknown_action"),
        ("Nowhere/value/Volume", b"5", "unknown_service"),
    ],
)
def test_what_cannot_be_set_is_refused(observer, own, payload, code):
    answer = send(observer, f"{RENDERER}/{own}/set", payload)
    told = (answer["success"], answer["code"], answer["outcome"])
    assert told == (False, code, "not_sent")


def test_a_value_is_told_when_it_is_asked_for(site, observer):
    answer = send(observer, f"{CONNECTION}/value/ExternalIPAddress/get")
    assert (answer["action"], answer["value"]) == ("GetExternalIPAddress", "8.8.4.10")
    answer = send(observer, f"{CONNECTION}/value/Uptime/get")
    assert answer["value"] >= 0
    assert answer["out"]["NewUptime"] == answer["value"]
    observer.wait_text(f"{CONNECTION}/value/Uptime", str(answer["value"]), CHANGE_S)

    light = site.device("light", LIGHT)
    on = send(observer, f"{light}/{POWER}/value/Target/get")["value"]
    observer.wait_text(f"{light}/{POWER}/value/Target", json.dumps(on), CHANGE_S)
    expected = {"Status": on, "Target": on}
    wait_for(lambda: observer.document(f"{light}/{POWER}/state")["values"] == expected, CHANGE_S)

    before = len(observer.live)
    answer = send(observer, f"{RENDERER}/{SOUND}/value/Volume/0/Master/get")
    assert str(answer["value"]) == observer.text(f"{RENDERER}/{SOUND}/value/Volume/0/Master")
    start = f"upnp/{RENDERER}/"
    assert not [s for s in observer.live[before:] if s.retain and s.topic.startswith(start)]


def test_the_counters_of_a_router_are_asked_for(site, observer):
    names = [f"Total{what}{way}" for what in ("Bytes", "Packets") for way in ("Sent", "Received")]
    topics = {f"upnp/{INTERFACE}/value/{name}" for name in names}
    wait_for(lambda: topics <= set(observer.tree), ASK_S, "not all is asked for")
    for name in names:
        told = site.invoke(site.service("miniupnpd", f"Get{name}"), f"Get{name}")[f"New{name}"]
        more = int(told) - int(observer.text(f"{INTERFACE}/value/{name}") or "-1")
        assert 0 <= more < 100_000
    state = observer.document(f"{INTERFACE}/state")["values"]
    assert {name for name in state if name.startswith("Total")} == set(names)


def sound(site, program: str) -> str:
    """Give the URL of a sound file of a media server."""
    service = site.service(program, "Search")
    found = site.invoke(
        service,
        "Search",
        ContainerID="0",
        SearchCriteria='upnp:class derivedfrom "object.item.audioItem"',
        Filter="*",
        StartingIndex=0,
        RequestedCount=1,
        SortCriteria="",
    )
    (url, *_) = [one.text for one in ET.fromstring(found["Result"]).iter() if "res" in one.tag[-4:]]
    assert url
    return url


@pytest.mark.parametrize(("program", "server"), [("gmediarender", "rygel"), ("rygel", "minidlna")])
def test_a_player_is_told_in_one_piece_with_its_position_while_it_plays(
    site, observer, program, server
):
    renderer = site.device(program, PLAYER)
    media, position = f"{renderer}/media", f"{renderer}/AVTransport/value/RelativeTimePosition/0"
    before = observer.document(media)
    url = sound(site, server)
    answer = observer.call(
        renderer, "SetAVTransportURI", CurrentURI=url, CurrentURIMetaData=DIDL.format(url)
    )
    assert answer["success"], answer
    assert observer.call(renderer, "Play", Speed="1")["success"]

    def plays() -> bool:
        return bool(observer.document(media).get("state") == "playing")

    wait_for(plays, PLAY_S, "it does not play")
    wait_for(lambda: "title" in observer.document(media), CHANGE_S, "no title")
    (device,) = (one for one in site.devices(program) if one.id == renderer)
    said = observer.document(media)
    assert said == said | {
        "title": "Töne & more",
        "artist": "The Lab",
        "album": "Waves",
        "album_art": f"http://{device.location.split('/')[2]}/icon.png",
        "media_class": "object.item.audioItem.musicTrack",
        "uri": url,
        "volume": before["volume"],
        "muted": before["muted"],
    }
    assert 29 <= said["duration_s"] <= 31

    def seconds() -> int:
        hours, minutes, rest = (observer.text(position) or "0:00:00").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + int(float(rest))

    mark = len(observer.live)
    wait_for(lambda: seconds() > 0, ASK_S, "no position")
    first = seconds()
    wait_for(lambda: seconds() > first, ASK_S, "the position does not move")
    told = [seen.payload for seen in observer.live[mark:] if seen.topic == f"upnp/{media}"]
    assert len(told) == len(set(told)) <= 2

    assert observer.call(renderer, "Stop")["success"]
    wait_for(lambda: observer.document(media)["state"] == "stopped", CHANGE_S, "it does not stop")
    assert observer.document(media)["title"] == "Töne & more"


def test_a_silent_server_is_asked_for_what_its_events_would_tell(site, observer):
    (silent,) = site.devices(SILENT)
    own = f"{silent.id}/ContentDirectory"
    told = site.invoke(site.service(SILENT, "GetSystemUpdateID"), "GetSystemUpdateID")["Id"]
    observer.wait_text(f"{own}/value/SystemUpdateID", told, SILENCE_S)
    expected = {"SystemUpdateID": int(told)}
    wait_for(lambda: observer.document(f"{own}/state").get("values") == expected, CHANGE_S)


@pytest.mark.usefixtures("observer")
def test_the_log_has_nothing_that_needs_a_human(site):
    lines = site.bridge.lines()
    assert not [line for line in lines if line["level"] == "error" or "exception" in line]
