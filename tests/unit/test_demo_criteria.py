"""Search criteria of ContentDirectory:1, as the simulated media server reads them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.demo.criteria import InvalidCriteria, search
from bridge.demo.didl import Entry, read_duration

ENTRIES = (
    Entry("1", "0", {"dc:title": 'A "b" (c)', "upnp:class": "object.item.audioItem"}),
    Entry("2", "0", {"dc:title": "or and", "upnp:class": "object.item.audioItem.musicTrack"}),
    Entry("3", "0", {"dc:title": "x", "upnp:class": "object.item.audioItems", "upnp:genre": "y"}),
    Entry("4/2", "4", {"dc:title": "or and", "upnp:class": "object.item"}, original="2"),
)


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ("*", "1 2 3"),
        (" * ", "1 2 3"),
        (r'dc:title = "a \"B\" (C)"', "1"),
        ('dc:title="x"', "3"),
        ('dc:title != "x"', "1 2"),
        ('dc:title contains "or"', "2"),
        ('dc:title doesNotContain "or"', "1 3"),
        ('upnp:class derivedfrom "object.item.audioItem"', "1 2"),
        ("upnp:genre exists true", "3"),
        ("upnp:genre exists false", "1 2"),
        ('@refID = "2"', "4/2"),
        ('@id = "1" or @id = "2" and @id = "3"', "1"),
        ('(@id = "1" or @id = "2") and @id = "2"', "2"),
        ('((@id = "1")OR(@id = "3"))', "1 3"),
    ],
)
def test_criteria_choose(criteria, found):
    assert [entry.id for entry in search(ENTRIES, criteria)] == found.split()


@pytest.mark.parametrize(
    "criteria",
    [
        "",
        "dc:title",
        "dc:title =",
        "dc:title = x",
        'dc:title = "x',
        'dc:title is "x"',
        'dc:title exists "true"',
        'res@size > "1"',
        '(dc:title = "x"',
        'dc:title = "x")',
        'dc:title = "x" and',
        "* and *",
        "(" * 10_000,
    ],
)
def test_other_criteria_are_refused(criteria):
    with pytest.raises(InvalidCriteria):
        search(ENTRIES, criteria)


@given(st.lists(st.sampled_from(["(", ")", "and", "or", "dc:title", "=", '"x"', "*", " ", '"'])))
def test_criteria_are_read_or_refused(words):
    with suppress(InvalidCriteria):
        search(ENTRIES, " ".join(words))


@pytest.mark.parametrize(
    ("res", "seconds"),
    [
        ('<res size="1" duration="1:02:03">', 3723),
        ("<res duration='0:00:09.500'>", 9),
        ('<res protocolInfo="a">', None),
        ('<result duration="1:02:03">', None),
        ("", None),
    ],
)
def test_a_duration_is_read_from_metadata(res, seconds):
    assert read_duration(f"<item>{res}</res></item>") == seconds
