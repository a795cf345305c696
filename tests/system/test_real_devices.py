"""Every component and value of real devices, compared with what they say without the bridge."""

import json
import time
from collections import Counter

import pytest

from tests.system.bridge import wait_for
from tests.system.devices import DEVICES, SILENT
from tests.system.site import HUB_TOPIC, told_in_state

CHANGE_S = 1.0
ASK_S = 15.0
RENDERER = "GMediaRender-1_0-000-000-002"
GATEWAY = "72eba980-20d3-4fa2-8a76-6c855535d49"
SPEAKER = {"InstanceID": 0, "Channel": "Master"}
CAUSES = [
    ("light", "DimmableLight", "SetTarget", "newTargetValue", "SwitchPower:1/value/Status", {}),
    (
        "light",
        "DimmableLight",
        "SetLoadLevelTarget",
        "newLoadlevelTarget",
        "Dimming:1/value/LoadLevelStatus",
        {},
    ),
    *(
        (
            name,
            "MediaRenderer",
            "SetVolume",
            "DesiredVolume",
            "RenderingControl/value/Volume/0/Master",
            SPEAKER,
        )
        for name in ("gmediarender", "rygel")
    ),
]
"""Program, type of device, action, argument, the value that it changes, further arguments."""


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_has_all_its_components_and_values_in_the_tree_and_nothing_else(
    site, observer, name
):
    site.await_right(observer, name)


def test_the_tree_has_as_many_components_of_each_kind_as_the_raw_descriptions(site, observer):
    expected = Counter(one.kind for each in site.devices() for one in each.components.values())
    documents = (json.loads(one) for one in observer.tree.values() if one.startswith(b'{"id":'))
    assert Counter(document["kind"] for document in documents) == expected
    assert expected["device"] == sum(len(device.types) for device in DEVICES.values())
    assert expected["argument"] > expected["action"] > expected["service"] > expected["subdevice"]


def test_nothing_stands_in_the_tree_but_these_devices_and_the_bridge(site, observer):
    site.await_right(observer)
    assert all(topic.startswith("upnp/") or HUB_TOPIC.fullmatch(topic) for topic in observer.tree)


def test_values_are_known_without_any_change_after_the_start(site, observer):
    server = site.device("rygel", "MediaServer")
    light = site.device("light", "DimmableLight")
    assert observer.text(f"{light}/SwitchPower:1/value/Status") in ("true", "false")
    for renderer in (RENDERER, site.device("rygel", "MediaRenderer")):
        assert (observer.text(f"{renderer}/RenderingControl/value/Volume/0/Master") or "").isdigit()
        state = observer.text(f"{renderer}/AVTransport/value/TransportState/0")
        assert state in ("STOPPED", "NO_MEDIA_PRESENT")
    assert (observer.text(f"{server}/ContentDirectory/value/SystemUpdateID") or "").isdigit()
    assert observer.text(f"{GATEWAY}9/WANIPConn1/value/ExternalIPAddress") == "8.8.4.10"
    assert [observer.document(GATEWAY + end).get("parent") for end in "789"] == [
        None,
        GATEWAY + "7",
        GATEWAY + "8",
    ]


@pytest.mark.parametrize("by", ["urllib", "the bridge"])
@pytest.mark.parametrize(("name", "kind", "action", "argument", "value", "others"), CAUSES)
def test_a_change_is_published_within_a_second_of_its_cause(  # noqa: PLR0913, PLR0917 - a table
    site, observer, name, kind, action, argument, value, others, by
):
    device, service = site.device(name, kind), site.service(name, action)
    own = f"{device}/{value}"
    wanted = {"true": "false", "false": "true"}.get(observer.text(own) or "")
    if wanted is None:
        wanted = "31" if observer.text(own) != "31" else "32"
    given = others | {argument: {"true": "1", "false": "0"}.get(wanted, wanted)}

    began_s = time.monotonic()
    if by == "urllib":
        site.invoke(service, action, **given)
    else:
        assert observer.call(device, action, **given)["success"]
    observer.wait_text(own, wanted, 5)
    (came,) = (one for one in observer.live if one.topic == f"upnp/{own}")
    assert came.at_s - began_s < CHANGE_S

    def is_in_state() -> bool:
        return told_in_state(service.id, observer.document(f"{service.id}/state"))[own] == wanted

    wait_for(is_in_state, 1, "the state does not say so")


def test_a_device_that_never_sends_its_events_is_told_of_and_asked(site, observer):
    (silent,) = site.devices(SILENT)
    expected = {service: {"state": "silent"} for service in silent.services}

    def is_told() -> bool:
        failing = observer.verb("health")["data"]["failing"]
        return bool(expected.items() <= failing.items())

    wait_for(is_told, 40, "the silence is not noted")
    assert observer.text(f"{silent.id}/availability") == "online"
    lines = site.bridge.lines()
    assert {one["service"] for one in lines if one["event"] == "no_initial_event"} == set(expected)

    asked = site.asked(silent)
    assert asked[f"{silent.id}/ContentDirectory/value/SystemUpdateID"].isdigit()
    for own, text in asked.items():
        observer.wait_text(own, text or None, ASK_S)
    start = f"upnp/{silent.id}/"
    values = {t for t in observer.tree if t.startswith(start) and "/value/" in t}
    assert values == {f"upnp/{own}" for own, text in asked.items() if text}
    site.await_right(observer)


def test_what_no_event_tells_is_asked_for(site, observer):
    (router,) = site.devices("miniupnpd")
    asked = site.asked(router)
    assert len(asked) == 8
    there = {f"upnp/{own}" for own in asked}
    wait_for(lambda: there <= set(observer.tree), ASK_S, "not all is asked for")
    assert observer.text(f"{GATEWAY}9/WANIPConn1/value/LastConnectionError") == "ERROR_NONE"
    assert (observer.text(f"{GATEWAY}9/WANIPConn1/value/Uptime") or "").isdigit()
    site.await_right(observer)


@pytest.mark.usefixtures("observer")
def test_the_log_has_nothing_that_needs_a_human(site):
    lines = site.bridge.lines()
    unexpected = [
        line
        for line in lines
        if line["level"] not in ("info", "debug") and line["event"] != "no_initial_event"
    ]
    assert not unexpected
    assert any(line["event"] == "online" for line in lines)
