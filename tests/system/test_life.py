"""What happens to devices, broker and bridge: the tree is right again each time."""

import signal
import subprocess
import sys

import pytest

from tests.system.bridge import ROOT, Observer, Seen, wait_for
from tests.system.devices import DEVICES
from tests.system.site import is_moving

RENDERER = "GMediaRender-1_0-000-000-002"
GATEWAY = "72eba980-20d3-4fa2-8a76-6c855535d497"
LEAVE_S = 20.0
"""A second look 5 s after the byebye, which may wait 10 s for the look before, and its time-out."""
BACK_S = 30.0
SOON_S = 10.0
SET_VOLUME = (
    "import sys; from tests.system import raw;"
    " services = raw.read_device(sys.argv[1]).services.values();"
    " (one,) = (service for service in services if 'SetVolume' in service.actions);"
    " raw.invoke(one, 'SetVolume', {'InstanceID': 0, 'Channel': 'Master', 'DesiredVolume': 23})"
)
EXPECTED_WARNINGS = {
    "no_initial_event",  # of minidlna
    "broker_unavailable",
    "subscription_lost",
}


@pytest.fixture(autouse=True)
def every_device_runs(site):
    site.start(*(name for name in DEVICES if name not in site.running))


def published(observer: Observer) -> list[Seen]:
    """Give what was published for keeps besides what the bridge says of itself.

    What differs whenever its device is asked for it counts only where it is cleared.
    """
    kept = (seen for seen in observer.live if seen.retain)
    kept = (seen for seen in kept if not (is_moving(seen.topic) and seen.payload))
    return [seen for seen in kept if not seen.topic.startswith("upnp/bridge/main/")]


def test_a_restart_publishes_nothing_of_the_devices_again(site, observer):
    site.await_right(observer, seconds=20)
    before = len(published(observer))
    assert site.bridge.stop() == 0
    observer.wait_text("bridge/main/state", "offline", 1)
    site.bridge.start()
    observer.wait_online()
    assert published(observer)[before:] == []
    site.await_right(observer)


def test_after_kill_9_the_will_says_offline_and_a_start_makes_it_right(site, observer):
    site.await_right(observer, seconds=20)
    before = len(published(observer))
    site.bridge.stop(signal.SIGKILL)
    observer.wait_text("bridge/main/state", "offline", 5)
    site.bridge.start()
    observer.wait_online()
    assert published(observer)[before:] == []
    site.await_right(observer)


def test_changes_while_the_bridge_is_away_are_made_up_for(site, observer):
    light = site.device("light", "DimmableLight")
    own = f"{light}/SwitchPower:1/value/Status"
    wanted = "false" if observer.text(own) == "true" else "true"
    before = len(published(observer))
    site.bridge.stop(signal.SIGKILL)
    power = site.service("light", "SetTarget")
    site.invoke(power, "SetTarget", newTargetValue=int(wanted == "true"))
    site.bridge.start()
    observer.wait_text("bridge/main/state", "offline", 5)
    observer.wait_online()
    topics = [seen.topic for seen in published(observer)[before:]]
    assert topics == [f"upnp/{own}", f"upnp/{light}/SwitchPower:1/state"]
    assert observer.text(own) == wanted
    site.await_right(observer)


@pytest.mark.usefixtures("observer")
def test_an_emptied_broker_gets_the_whole_tree_again(site):
    site.broker.empty()
    with Observer(site.lab) as again:
        again.wait_online()
        site.await_right(again)


def test_a_broker_that_was_killed_and_kept_its_tree_is_right_again(site, observer):
    site.broker.stop(signal.SIGKILL)
    light, power = site.device("light", "DimmableLight"), site.service("light", "SetTarget")
    wanted = observer.text(f"{light}/SwitchPower:1/value/Status") != "true"
    site.invoke(power, "SetTarget", newTargetValue=int(wanted))
    site.broker.start()
    with Observer(site.lab) as again:
        wait_for(lambda: any(seen.payload == b"online" for seen in again.live), 20, "not online")
        site.await_right(again)
        assert again.text(f"{light}/SwitchPower:1/value/Status") == str(wanted).lower()


@pytest.mark.parametrize(("name", "device"), [("gmediarender", RENDERER), ("miniupnpd", GATEWAY)])
def test_a_device_that_reboots_is_described_and_subscribed_to_afresh(site, observer, name, device):
    if name == "gmediarender":
        observer.call(device, "SetVolume", DesiredVolume=11)
        observer.wait_text(f"{device}/RenderingControl/value/Volume/0/Master", "11", 2)
    site.stop(name, number=signal.SIGKILL)
    site.start(name)
    site.await_right(observer, name, seconds=BACK_S)
    if name == "gmediarender":
        assert observer.text(f"{device}/RenderingControl/value/Volume/0/Master") == "100"
        observer.call(device, "SetVolume", DesiredVolume=12)
        observer.wait_text(f"{device}/RenderingControl/value/Volume/0/Master", "12", 2)


def test_a_renderer_killed_and_started_at_once_is_back_each_time(site, observer):
    """Within five seconds of its answer, and some for a machine that has other work."""
    for volume in (31, 32, 33):
        site.stop("gmediarender", number=signal.SIGKILL)
        site.start("gmediarender")
        own = f"{RENDERER}/RenderingControl/value/Volume/0/Master"
        observer.wait_text(own, "100", SOON_S)
        observer.call(RENDERER, "SetVolume", DesiredVolume=volume)
        observer.wait_text(own, str(volume), SOON_S)
    assert observer.text(f"{RENDERER}/availability") == "online"


def test_a_device_that_says_goodbye_is_offline_and_what_it_said_is_kept(site, observer):
    before = {
        topic: payload
        for topic, payload in observer.tree.items()
        if topic.startswith(f"upnp/{RENDERER}/") and not topic.endswith(("/availability", "/state"))
    }
    site.stop("gmediarender")
    observer.wait_text(f"{RENDERER}/availability", "offline", LEAVE_S)
    assert before.items() <= observer.tree.items()
    answer = observer.call(RENDERER, "GetVolume")
    assert (answer["code"], answer["outcome"]) == ("device_offline", "not_sent")
    site.start("gmediarender")
    site.await_right(observer, seconds=BACK_S)


def test_all_devices_of_a_gateway_are_offline_with_it(site, observer):
    (gateway,) = site.devices("miniupnpd")
    site.stop("miniupnpd")
    for own in gateway.devices:
        observer.wait_text(f"{own}/availability", "offline", LEAVE_S)


def test_a_device_that_died_without_a_word_is_offline_once_a_call_fails(site, observer):
    site.stop("gmediarender", number=signal.SIGKILL)
    answer = observer.ask(f"upnp/{RENDERER}/call", {"action": "GetVolume", "timeout": 2})
    assert answer["code"] in ("unreachable", "timeout")
    observer.wait_text(f"{RENDERER}/availability", "offline", BACK_S)
    site.start("gmediarender")
    site.await_right(observer, seconds=BACK_S)


def test_a_device_with_a_new_udn_at_each_start_leaves_its_old_one_offline(site, observer):
    old = site.device("light", "DimmableLight")
    site.stop("light", number=signal.SIGKILL)
    site.start("light")
    new = site.device("light", "DimmableLight")
    assert new != old
    site.await_right(observer, "light", seconds=BACK_S)
    answer = observer.ask(f"upnp/{old}/call", {"action": "GetStatus", "timeout": 2})
    assert not answer["success"]
    observer.wait_text(f"{old}/availability", "offline", BACK_S)
    assert observer.verb("forget", id=old)["success"]
    wait_for(
        lambda: not [t for t in observer.tree if t.startswith(f"upnp/{old}")], 5, "not cleared"
    )
    site.await_right(observer)


def test_a_device_whose_link_was_pulled_is_right_again_when_it_is_plugged_in(site, observer):
    (renderer,) = site.devices("gmediarender")
    site.lab.unplug("gmediarender")
    try:
        call = {"action": "GetVolume", "timeout": 2}
        answer = observer.ask(f"upnp/{RENDERER}/call", call)
        assert answer["code"] in ("unreachable", "timeout")
        observer.wait_text(f"{RENDERER}/availability", "offline", 60)
        inside = ["ip", "netns", "exec", f"{site.lab.space}-gmediarender", sys.executable]
        subprocess.run([*inside, "-c", SET_VOLUME, renderer.location], check=True, cwd=ROOT)
    finally:
        site.lab.plug("gmediarender")
    observer.wait_text(f"{RENDERER}/availability", "online", BACK_S)
    site.await_right(observer)
    assert observer.text(f"{RENDERER}/RenderingControl/value/Volume/0/Master") == "23"


@pytest.mark.usefixtures("observer")
def test_the_log_has_nothing_that_needs_a_human(site):
    lines = site.bridge.lines()
    assert not [line for line in lines if line["level"] == "error" or "exception" in line]
    assert {one["event"] for one in lines if one["level"] == "warning"} <= EXPECTED_WARNINGS
