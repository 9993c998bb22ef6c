"""Patterns of channel names in tokens."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.service.login.globs import Globs, matches, parse

ALPHABET = "ab:.*?{}[]\\^$"


def by_regex(glob: str, name: str) -> bool:
    """The same by another road: slow, and only for short ones."""
    wild = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wild.get(char) or re.escape(char) for char in glob), name, re.DOTALL) is not None


@given(st.text(ALPHABET, max_size=8), st.text(ALPHABET + "\n", max_size=8))
def test_a_glob_matches_what_the_same_regular_expression_matches(glob: str, name: str) -> None:
    if "{sub}" not in glob:
        assert Globs([glob]).match(name) == by_regex(glob, name) == matches(parse(glob, ""), name)


@given(st.text("ab*?", max_size=6), st.text("ab*?", max_size=6), st.text("ab*?", min_size=1, max_size=6))
def test_the_subject_stands_for_itself_alone(before: str, after: str, subject: str) -> None:
    globs = Globs([before + "{sub}" + after], subject)
    assert globs.match(before.replace("*", "x").replace("?", "y") + subject + after.replace("*", "").replace("?", "z"))
    if not {"*", "?"} & set(before + after):
        for other in ("", "a", "ab", "aab", "abba", subject + "a", "b" + subject, subject.upper()):
            assert globs.match(before + other + after) == (other == subject)


@pytest.mark.parametrize("subject", ["*", "?", "an*", "a?n", "**", "*:*", "ann*", "?" * 3])
def test_a_subject_with_wildcards_widens_nothing(subject: str) -> None:
    globs = Globs(["user:{sub}"], subject)
    assert globs.match(f"user:{subject}")
    assert not any(globs.match(f"user:{name}") for name in ("ann", "bob", "x", "", "an", "a:b", "ab*"))


def test_without_a_subject_a_glob_with_it_matches_nothing() -> None:
    globs = Globs(["user:{sub}", "{sub}*", "{sub}"], "")
    assert not any(globs.match(name) for name in ("user:", "", "x", "user:{sub}", "{sub}"))


def test_a_subject_that_looks_like_the_placeholder_is_not_replaced_again() -> None:
    globs = Globs(["user:{sub}"], "{sub}")
    assert globs.match("user:{sub}")
    assert not globs.match("user:user:{sub}")


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("n", "n", True),
        ("n", "N", False),
        ("n", "n ", False),
        ("n", "n\n", False),
        ("n", "nn", False),
        ("n*", "n", True),
        ("n?", "n", False),
        ("n?", "n\u00e9", True),
        ("\u00e9", "e\u0301", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a\\*", "a*", False),
        ("a\\*", "a\\b", True),
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("a**b", "ab", True),
        ("a.b", "axb", False),
        ("*.x", "a.b.x", True),
    ],
)
def test_whole_names_match_to_the_letter(glob: str, name: str, fits: bool) -> None:
    assert Globs([glob]).match(name) is fits


def test_a_malicious_glob_takes_no_time() -> None:
    globs = Globs(["*a" * 120 + "b"])
    begin = time.monotonic()
    assert not globs.match("a" * 255)
    assert time.monotonic() - begin < 1


@given(st.lists(st.text("ab*?", max_size=4), max_size=5), st.text("ab", max_size=4))
def test_a_set_matches_what_one_of_its_globs_matches(globs: list[str], name: str) -> None:
    assert Globs(globs).match(name) == any(matches(parse(glob, ""), name) for glob in globs)


def test_literal_names_have_no_wildcards() -> None:
    globs = Globs([], literal=["a*", "b?"])
    assert globs.match("a*")
    assert not globs.match("ab")
    assert not globs.match("bc")
