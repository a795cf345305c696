"""Every decoder against what was found once, what devices sent, and what is almost that."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import near, words
from tests.fuzz.seeds import FINDINGS, seeds
from tests.fuzz.targets import TARGETS

EXAMPLES = settings().max_examples

pytestmark = pytest.mark.parametrize("target", TARGETS)


def test_what_devices_sent_and_what_was_found_once_does_no_harm(target):
    for seed in seeds(target):
        TARGETS[target](seed)


def test_nothing_that_is_almost_valid_does_harm(target):
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(near(seeds(target)))
    def look(data):
        TARGETS[target](data)

    look()


def test_neither_bytes_nor_words_of_the_format_do_harm(target):
    @settings(max_examples=EXAMPLES)
    @given(st.binary() | st.lists(st.sampled_from(words()) | st.binary(max_size=3)).map(b"".join))
    def look(data):
        TARGETS[target](data)

    look()


def test_each_finding_is_of_a_target_and_small(target):
    assert {path.name for path in FINDINGS.iterdir()} <= TARGETS.keys()
    assert all(path.stat().st_size < 8192 for path in (FINDINGS / target).glob("*"))
