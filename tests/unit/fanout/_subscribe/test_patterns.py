"""Patterns, as Redis's own PUBSUB CHANNELS matches them (in tests/integration/test_living_channels_awkward_moments.py)."""

import pytest

from fanout._subscribe.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "channel", "there"),
    [
        ("c*", "c1", True),
        ("c*", "d", False),
        ("*", "", True),
        ("*", "__keyspace", False),
        ("__*", "__keyspace", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[c-a]x", "bx", True),
        ("[^a]x", "ax", False),
        ("[^a]x", "bx", True),
        ("[]x", "x", False),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        ("user.*", "user.1", True),
        ("user.*", "userx1", False),
        ("a***b", "aXXb", True),
        ("[a", "a", True),
        ("a\\", "a\\", True),
    ],
)
def test_a_pattern_matches_what_redis_says_it_does(pattern: str, channel: str, there: bool) -> None:
    assert matches(pattern, channel) is there
