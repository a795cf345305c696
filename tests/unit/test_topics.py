"""Names to topic levels and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import topics

SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:~%")
names = st.text(st.characters(exclude_categories=["Cs"]))


@given(names)
def test_every_name_has_a_level_that_is_read_back(name):
    level = topics.encode_level(name)
    assert set(level) <= SAFE
    assert topics.decode_level(level) == name


@given(names)
def test_two_names_never_share_a_level_with_reserved_words(name):
    reserved = frozenset({"set", "get", name} - {""})
    level = topics.encode_level(name, reserved)
    assert level not in reserved or level != name or not name
    assert topics.decode_level(level) == name


@given(st.text())
def test_no_text_at_all_breaks_a_level(name):
    assert set(topics.encode_level(name)) <= SAFE
    topics.decode_level(name)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("Volume", "Volume"),
        ("a/b", "a%2Fb"),
        ("+#%", "%2B%23%25"),
        ("ä €", "%C3%A4%20%E2%82%AC"),
        ("-_.:~", "-_.:~"),
        ("", ""),
    ],
)
def test_levels_are_written_as_the_contract_says(name, level):
    assert topics.encode_level(name) == level


@pytest.mark.parametrize(
    ("udn", "level"),
    [
        ("bridge", "%62ridge"),
        ("reply", "%72eply"),
        ("Bridge", "Bridge"),
        ("4D-5e", "4D-5e"),
        ("call", "call"),
    ],
)
def test_a_udn_that_is_reserved_is_escaped_in_its_first_letter(udn, level):
    assert topics.device_id(udn) == level
    assert topics.decode_level(level) == udn


@pytest.mark.parametrize("udn", ["uuid:4D4E", "UUID:4d4e", "4d4E", "Uuid:4D4E"])
def test_a_udn_is_the_same_in_every_spelling(udn):
    assert topics.udn_key(topics.bare_udn(udn)) == "4d4e"


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ("uuid:uuid:Twice", "uuid:Twice"),
        ("UUID:UUID:Twice", "UUID:Twice"),
        (" uuid: x ", "x"),
        ("plain", "plain"),
        ("uuid:", ""),
    ],
)
def test_one_prefix_of_a_udn_is_taken_off(written, bare):
    assert topics.bare_udn(written) == bare
    assert topics.udn_key(bare) == bare.lower()


def test_who_names_a_device_may_mean_its_id_or_its_udn():
    assert topics.udn_keys("uuid:Twice") == ("uuid:twice", "twice")
    assert topics.udn_keys("Twice") == ("twice",)
    assert topics.udn_keys("UUID:uuid: Twice") == ("uuid:uuid: twice", "uuid: twice", "twice")


@pytest.mark.parametrize(
    ("service_ids", "levels"),
    [
        (["urn:upnp-org:serviceId:AVTransport"], ["AVTransport"]),
        (["urn:upnp-org:serviceId:SwitchPower:1"], ["SwitchPower:1"]),
        (["urn:foreign:thing:e1"], ["e1"]),
        (["plain"], ["plain"]),
        (["urn:a:serviceId:S", "urn:b:serviceId:S"], ["S", "urn:b:serviceId:S"]),
        (["urn:a:serviceId:S"] * 3, ["S", "urn:a:serviceId:S", "urn:a:serviceId:S~2"]),
        (["urn:a:serviceId:", ""], ["urn:a:serviceId:", "~2"]),
        (["urn:a:serviceId:call"], ["%63all"]),
        (["urn:a:serviceId:availability", "urn:a:serviceId:a/b"], ["%61vailability", "a%2Fb"]),
        (["urn:a:serviceId:response", "x:media"], ["%72esponse", "%6Dedia"]),
        (["urn:a:serviceId:art", "x:player"], ["%61rt", "%70layer"]),
    ],
)
def test_services_have_the_shortest_level_that_is_free(service_ids, levels):
    assert list(topics.service_levels(service_ids)) == levels


@given(st.lists(st.text(), max_size=12))
def test_no_two_services_of_a_device_share_a_level(service_ids):
    levels = list(topics.service_levels(service_ids))
    assert len(set(levels)) == len(levels) == len(service_ids)
    assert all(level and set(level) <= SAFE for level in levels)
    assert not set(levels) & {"availability", "media", "art", "player", "call", "response"}


keys = st.tuples(names.filter(bool), st.none() | names.filter(bool), st.none() | names)


@given(keys)
def test_a_value_is_found_again_by_its_topic(key):
    name, instance, channel = key
    if instance is None or not channel:
        channel = None
    own = topics.value_id("D/S", name, instance, channel)
    assert topics.read_value_id("D/S", own) == (name, instance, channel)


@pytest.mark.parametrize(
    "own",
    [
        "D/S/value/V/set",
        "D/S/value/V/0/get",
        "D/S/value/V/0/Master/set",
        "D/S/value/V/chunk/1",
        "D/S/state",
        "D/S",
        "D/T/value/V",
        "D/S/value/V/0/M/x",
    ],
)
def test_what_is_no_value_is_read_as_none(own):
    assert topics.read_value_id("D/S", own) is None


@pytest.mark.parametrize(
    "own",
    [
        "D",
        "D/availability",
        "D/S",
        "D/S/state",
        "D/S/variable/V",
        "D/S/action/A",
        "D/S/action/A/argument/B",
        "D/S/value/V",
        "D/S/value/V/0",
        "D/S/value/V/0/Master",
        "D/S/value/V/chunk/3",
        "D/S/state/chunk/1",
        "D/chunk/1",
    ],
)
def test_what_a_device_may_hold_is_known(own):
    assert topics.is_mirrored(own)


@pytest.mark.parametrize(
    "own",
    [
        "D/call",
        "D/response",
        "D/S/action/A/call",
        "D/S/value/V/set",
        "D/S/value/V/0/get",
        "D/S/value/V/0/Master/set",
        "D/S/notes",
        "D/S/value",
        "D/S/action/A/argument/B/c",
        "D/a/b/c/d",
    ],
)
def test_commands_and_notes_are_no_part_of_a_device(own):
    assert not topics.is_mirrored(own)


def test_services_with_one_id_are_counted():
    assert list(topics.service_levels(["a"] * 3)) == ["a", "a~2", "a~3"]


def test_a_name_longer_than_a_level_is_not_remembered():
    before = topics._remembered.cache_info().currsize
    assert topics.encode_level("x" * 100_000) == "x" * 100_000
    assert topics._remembered.cache_info().currsize == before


def test_what_is_encoded_is_a_level_of_ours():
    assert topics.is_level(topics.encode_level("Küche/0"))
    assert not any(map(topics.is_level, ("", "a/b", "a b", "+", "#", "\0", "a" * 513)))
