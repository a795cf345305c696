"""What a refused subscription costs, in words."""

import pytest

from bridge.polling.plan import Plan
from bridge.requests.dispatch import limit, purpose
from bridge.tree.device_tree import Shape
from tests.unit.wired import Wired

ROUTER = Wired(Shape("home/upnp", "main", "full", "both", Plan(0, ()), ()), qos=1)


def test_every_filter_of_the_bridge_has_a_purpose_of_its_own():
    filters = (*ROUTER.dispatch.filters, *ROUTER.ownership.filters)
    words = [purpose(one, "home/upnp") for one in filters]
    assert len(set(words)) == len(filters)
    assert not any("home/upnp" in one for one in words)


@pytest.mark.parametrize(
    ("topic_filter", "words"),
    [
        ("home/upnp/+/+/value/+/+/+/set", "set of values with an InstanceID and a channel"),
        ("home/upnp/+/+/value/+/get", "get of values without an InstanceID"),
        ("home/upnp/DEV/#", "retained messages at home/upnp/DEV/#"),
        ("homeassistant/device/upnp2mqtt_x/config", "discovery documents"),
        ("homeassistant/status", "birth messages of a hub"),
    ],
)
def test_words(topic_filter, words):
    assert words in purpose(topic_filter, "home/upnp")


def test_a_limit_of_levels_is_seen_where_all_that_is_deeper_is_refused():
    deep = [one for one in ROUTER.dispatch.filters if one.count("/") == 8]
    assert limit(deep, ROUTER.dispatch.filters) == "no more than 8 levels in a topic filter"
    assert limit(deep[:1], ROUTER.dispatch.filters) is None
    assert limit(ROUTER.dispatch.filters, ROUTER.dispatch.filters) is None
    assert limit(["home/upnp/+/call"], ROUTER.dispatch.filters) is None
