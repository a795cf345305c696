"""Commands and their answers, by real devices: actions, faults, refusals, verbs, other commands."""

import json
from contextlib import suppress
from urllib.error import HTTPError

import pytest

from tests.system.bridge import wait_for

RENDERER = "GMediaRender-1_0-000-000-002"
GATEWAY = "72eba980-20d3-4fa2-8a76-6c855535d499"
ENTRY = {"NewRemoteHost": "", "NewExternalPort": 8123, "NewProtocol": "TCP"}
MAPPING = ENTRY | {
    "NewInternalPort": 8123,
    "NewInternalClient": "10.77.0.1",
    "NewEnabled": True,
    "NewPortMappingDescription": "lab",
    "NewLeaseDuration": 0,
}


def test_an_action_of_every_device_does_what_it_says(site, observer):
    light = site.device("light", "DimmableLight")
    observer.call(light, "SetTarget", newTargetValue=True)
    power = site.service("light", "GetStatus")
    assert site.invoke(power, "GetStatus")["ResultStatus"] in ("1", "true")
    assert observer.call(light, "GetStatus")["out"] == {"ResultStatus": True}

    for program, renderer in (
        ("gmediarender", RENDERER),
        ("rygel", site.device("rygel", "MediaRenderer")),
    ):
        assert observer.call(renderer, "SetVolume", DesiredVolume=43)["out"] == {}
        service = site.service(program, "GetVolume")
        told = site.invoke(service, "GetVolume", InstanceID=0, Channel="Master")
        assert told == {"CurrentVolume": "43"}
        assert observer.call(renderer, "GetVolume")["out"] == {"CurrentVolume": 43}

    for program in ("minidlna", "rygel"):
        server = site.device(program, "MediaServer")
        answer = observer.call(
            server,
            "Browse",
            ObjectID="0",
            BrowseFlag="BrowseDirectChildren",
            Filter="*",
            StartingIndex=0,
            RequestedCount=0,
            SortCriteria="",
        )
        assert answer["success"], answer
        out = answer["out"]
        assert out["NumberReturned"] == out["TotalMatches"] > 0
        assert out["Result"].count("<container ") == out["NumberReturned"]

    assert observer.call(GATEWAY, "GetExternalIPAddress")["out"] == {
        "NewExternalIPAddress": "8.8.4.10"
    }
    assert observer.call(GATEWAY, "AddPortMapping", **MAPPING)["success"]
    ports = site.service("miniupnpd", "GetSpecificPortMappingEntry")
    told = site.invoke(ports, "GetSpecificPortMappingEntry", **ENTRY)
    assert told["NewInternalClient"] == "10.77.0.1"
    assert observer.call(GATEWAY, "DeletePortMapping", **ENTRY)["success"]
    with pytest.raises(HTTPError) as gone:
        site.invoke(ports, "GetSpecificPortMappingEntry", **ENTRY)
    gone.value.close()


def test_a_fault_is_handed_on_with_its_code(observer):
    answer = observer.call(GATEWAY, "GetSpecificPortMappingEntry", **ENTRY)
    told = {name: answer[name] for name in ("success", "code", "upnp_code", "outcome", "action")}
    assert told == {
        "success": False,
        "code": "upnp_fault",
        "upnp_code": 714,
        "outcome": "rejected",
        "action": "GetSpecificPortMappingEntry",
    }
    assert answer["error"]


@pytest.mark.parametrize(
    ("request_", "code", "argument"),
    [
        (
            {"action": "SetVolume", "args": {"DesiredVolume": 101}},
            "invalid_argument",
            "DesiredVolume",
        ),
        ({"action": "SetVolume", "args": {}}, "invalid_argument", "DesiredVolume"),
        ({"action": "SetVolume", "args": {"Loud": 1}}, "invalid_argument", "Loud"),
        ({"action": "SetVolumes"}, "unknown_action", None),
        ({"action": "SetVolume", "service": "Volumes"}, "unknown_service", None),
        ({"args": {}}, "bad_request", None),
    ],
)
def test_a_wrong_call_is_refused_before_it_is_sent(observer, request_, code, argument):
    own = f"{RENDERER}/RenderingControl/value/Volume/0/Master"
    before = observer.text(own)
    answer = observer.ask(f"upnp/{RENDERER}/call", request_)
    assert (answer["success"], answer["code"], answer["outcome"]) == (False, code, "not_sent")
    assert answer.get("argument") == argument
    assert observer.text(own) == before


@pytest.mark.parametrize("callid", ["text", 7, -1.5, "7", "ü"])
def test_a_call_has_one_answer_with_its_callid_as_it_came(observer, callid):
    body = {"callid": callid, "action": "GetVolume", "args": {"InstanceID": "0"}}
    observer.publish(f"upnp/{RENDERER}/call", body)
    wait_for(lambda: observer.answers(callid), 5)
    observer.call(RENDERER, "GetVolume")  # whatever is answered twice has come before this one
    ((seen, answer),) = observer.answers(callid)
    assert seen.topic == f"upnp/{RENDERER}/response"
    assert not seen.retain
    assert (answer["callid"], type(answer["callid"])) == (callid, type(callid))
    assert list(answer["out"]) == ["CurrentVolume"]


def test_a_call_without_a_callid_has_one_answer_without(observer):
    observer.publish(f"upnp/{RENDERER}/RenderingControl/action/GetMute/call", b"")
    wait_for(lambda: observer.answers(None), 5)
    observer.call(RENDERER, "GetMute")
    ((_, answer),) = observer.answers(None)
    assert answer["success"]
    assert "callid" not in answer


def test_a_response_topic_is_answered_with_the_correlation_data(observer):
    token = b"\x00\xff token"
    observer.publish(
        f"upnp/{RENDERER}/call",
        {"callid": "r", "action": "GetMute"},
        ResponseTopic="upnp/reply/me/1",
        CorrelationData=token,
    )
    wait_for(lambda: len(observer.answers("r")) >= 2, 5)
    observer.call(RENDERER, "GetMute")
    answers = [(seen.topic, seen.correlation_data) for seen, _ in observer.answers("r")]
    assert sorted(answers) == sorted(
        [(f"upnp/{RENDERER}/response", token), ("upnp/reply/me/1", token)]
    )


@pytest.mark.parametrize("topic", ["somewhere/else", "upnp/bridge/main/state", "upnp/reply"])
def test_a_response_topic_that_is_not_allowed_is_not_answered(observer, topic):
    body = {"callid": "no", "action": "GetMute"}
    observer.publish(f"upnp/{RENDERER}/call", body, ResponseTopic=topic)
    wait_for(lambda: observer.answers("no"), 5)
    observer.call(RENDERER, "GetMute")
    assert not [seen for seen in observer.live if seen.topic == topic]


def test_a_retained_command_is_refused_and_cleared(observer):
    topic = f"upnp/{RENDERER}/call"
    own = f"{RENDERER}/RenderingControl/value/Volume/0/Master"
    before = observer.text(own)
    wanted = "5" if before != "5" else "6"
    call = {"callid": "kept", "action": "SetVolume", "args": {"DesiredVolume": wanted}}
    observer.publish(topic, call, retain=True)
    wait_for(lambda: observer.answers("kept") and topic not in observer.tree, 5)
    told = observer.call(RENDERER, "GetVolume")["out"]
    ((_, answer),) = observer.answers("kept")
    assert (answer["code"], answer["outcome"]) == ("retained_command", "not_sent")
    assert str(told["CurrentVolume"]) == before == observer.text(own)


@pytest.mark.parametrize("udn", ["no-such-device", "uuid:no-such-device"])
def test_a_device_that_nobody_knows_is_said_to_be_unknown(observer, udn):
    answer = observer.call(udn, "GetVolume")
    assert (answer["code"], answer["outcome"]) == ("unknown_device", "not_sent")


@pytest.mark.parametrize("udn", [f"uuid:{RENDERER}", RENDERER.upper(), RENDERER.lower()])
def test_any_spelling_of_a_udn_reaches_the_device(observer, udn):
    callid = f"as {udn}"
    observer.publish(f"upnp/{udn}/call", {"callid": callid, "action": "GetVolume"})
    wait_for(lambda: observer.answers(callid), 5)
    ((seen, answer),) = observer.answers(callid)
    assert answer["success"]
    assert seen.topic == f"upnp/{RENDERER}/response"


def test_calls_to_one_device_are_answered_in_order(observer):
    for volume in range(20, 40):
        body = {"callid": volume, "action": "SetVolume", "args": {"DesiredVolume": volume}}
        observer.publish(f"upnp/{RENDERER}/call", body)
    wait_for(lambda: observer.answers(39), 10)
    topic = f"upnp/{RENDERER}/response"
    answers = [json.loads(seen.payload) for seen in observer.live if seen.topic == topic]
    assert [answer["callid"] for answer in answers] == list(range(20, 40))
    assert all(answer["success"] for answer in answers)
    observer.wait_text(f"{RENDERER}/RenderingControl/value/Volume/0/Master", "39", 2)


def test_every_verb_is_answered(site, observer):
    renderer = next(one for one in site.devices("gmediarender"))
    described = {"id": RENDERER, "friendly_name": "Lab Renderer", "location": renderer.location}
    assert observer.verb("search")["data"] == {}
    assert observer.verb("add", location=renderer.location)["data"] == described
    assert observer.verb("refresh", id=RENDERER)["data"] == described
    assert observer.verb("log_level", level="info")["data"] == {"level": "info"}
    assert observer.verb("health")["data"]["devices"] == {"known": 6, "online": 6}
    diagnostics = observer.verb("diagnostics")["data"]
    assert len(diagnostics["devices"]) == 6
    for verb, body, code in (
        ("log_level", {"level": "loud"}, "bad_request"),
        ("add", {}, "bad_request"),
        ("add", {"location": "http://10.77.0.99/no.xml"}, "unreachable"),
        ("refresh", {"id": "no-such-device"}, "unknown_device"),
        ("forget", {"id": "no-such-device"}, "unknown_device"),
        ("announce", {"ids": ["no-such-device"]}, "unknown_device"),
        ("no_such_verb", {}, "unknown_verb"),
    ):
        answer = observer.verb(verb, **body)
        assert (answer["success"], answer["code"]) == (False, code), verb
    site.await_right(observer)


def test_announce_publishes_again_what_is_asked_for_and_nothing_else(site, observer):
    asked = {own for device in site.devices() for own in site.asked(device)}
    asked |= {f"{own.partition('/value/')[0]}/state" for own in asked}
    at_any_time = {f"upnp/{own}" for own in asked} | {"upnp/bridge/main/state"}

    def published() -> set[str]:
        return {seen.topic for seen in observer.live if seen.retain} - at_any_time

    before = published()
    service = f"{RENDERER}/RenderingControl"
    answer = observer.verb("announce", ids=[service])
    expected = {topic for topic in observer.tree if f"{topic}/".startswith(f"upnp/{service}/")}
    wait_for(lambda: published() - before >= expected, 5)
    empty = {seen.topic for seen in observer.live if seen.retain and not seen.payload}
    assert published() - before - empty == expected
    assert answer["data"] == {"topics": answer["data"]["topics"]}
    observer.verb("announce")
    wait_for(lambda: published() >= set(observer.tree) - at_any_time, 10)


def test_a_forgotten_device_is_cleared_its_document_first_and_comes_back_when_it_answers(
    site, observer
):
    own = {topic for topic in observer.tree if f"{topic}/".startswith(f"upnp/{RENDERER}/")}
    mark = len(observer.live)
    assert observer.verb("forget", id=RENDERER)["data"] == {"id": RENDERER}

    def left() -> set[str]:
        """What is neither cleared nor, since the device answered a search again, written anew.

        Of what was still to be cleared by then, it may be right as it was.
        """
        written = [one for one in observer.live[mark:] if one.retain]
        back = [one for one in written if one.topic == f"upnp/{RENDERER}" and one.payload]
        return set() if back else own - {one.topic for one in written}

    with suppress(TimeoutError):
        wait_for(lambda: not left(), 10)
    assert not left()
    cleared = [one.topic for one in observer.live[mark:] if one.retain and not one.payload]
    assert cleared[0] == f"upnp/{RENDERER}"
    observer.verb("search")
    observer.wait_text(f"{RENDERER}/availability", "online", 20)
    site.await_right(observer)


@pytest.mark.usefixtures("observer")
def test_discover_lists_the_devices(site):
    found = site.bridge.command("discover", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    rows = {row["id"]: row for row in json.loads(found.stdout)}
    assert set(rows) == {device.id for device in site.devices()}
    for device in site.devices():
        row = rows[device.id]
        assert row["location"] == device.location
        told = (row["udn"], row["devices"], row["services"])
        assert told == (f"uuid:{device.id}", len(device.devices), len(device.services))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((RENDERER, "SetVolume", "DesiredVolume=64"), 0, '"success": true'),
        ((f"uuid:{RENDERER}", "RenderingControl", "GetVolume"), 0, '"CurrentVolume": 64'),
        ((RENDERER, "SetVolume", "DesiredVolume=164"), 1, "invalid_argument"),
        (("no-such-device", "GetVolume"), 1, "unknown_device"),
        ((RENDERER,), 2, "a call is"),
    ],
)
def test_call_ends_with_the_status_of_its_answer(site, observer, words, status, said):
    if status == 0:
        observer.call(RENDERER, "SetVolume", DesiredVolume=64)
    ended = site.bridge.command("call", *words)
    assert ended.returncode == status
    assert said in ended.stdout + ended.stderr


@pytest.mark.usefixtures("observer")
def test_health_tells_that_the_bridge_is_online(site):
    told = site.bridge.command("health")
    assert (told.returncode, told.stdout) == (0, "healthy\n")
