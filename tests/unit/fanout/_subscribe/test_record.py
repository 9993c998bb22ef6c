"""What Redis keeps of a subscriber: it comes back as it was, or is refused in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._subscribe.record import FORMAT, HIGHEST, Record, dump, load

places = st.tuples(
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)).map(lambda two: f"{two[0]}-{two[1]}"),
    st.integers(0, HIGHEST - 1),
)


@given(
    places,
    st.lists(places, max_size=5),
    st.dictionaries(st.text(), st.integers(0, HIGHEST - 1), max_size=5),
    st.text(),
    st.booleans(),
)
def test_what_was_saved_comes_back(
    position: tuple[str, int],
    checkpoints: list[tuple[str, int]],
    producers: dict[str, int],
    replid: str,
    fell_back: bool,
) -> None:
    record = Record(position=position, checkpoints=checkpoints, producers=producers, replid=replid, fell_back=fell_back)
    assert load(dump(record)) == record


GOOD = {"position": ["5-1", 7], "checkpoints": [["4-0", 6]], "producers": {"/news/p": 3}, "format": FORMAT}


def test_what_is_left_out_is_empty() -> None:
    assert load(b'{"position":["5-1",7]}') == Record(position=("5-1", 7))
    assert load(json.dumps(GOOD | {"added_later": 1}).encode()).position == ("5-1", 7)


@pytest.mark.parametrize(
    ("saved", "why"),
    [
        (b"", "truncated"),
        (b'{"position":["5-1"', "truncated"),
        (b"\xff", "malformed|invalid"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `position`"),
        (b"[" * 100_000, "recursion|Expected"),
        (json.dumps(GOOD | {"format": FORMAT + 1}).encode(), f"this version reads up to {FORMAT}"),
        (json.dumps(GOOD | {"position": ["5", 7]}).encode(), "not a stream ID with a count"),
        (json.dumps(GOOD | {"position": ["5-1\n", 7]}).encode(), "not a stream ID with a count"),
        (json.dumps(GOOD | {"position": ["٥-1", 7]}).encode(), "not a stream ID with a count"),
        (json.dumps(GOOD | {"position": ["5-1", -1]}).encode(), "not a stream ID with a count"),
        (json.dumps(GOOD | {"position": ["5-1", HIGHEST]}).encode(), "not a stream ID with a count"),
        (json.dumps(GOOD | {"position": ["5-1", "7"]}).encode(), "Expected `int`"),
        (json.dumps(GOOD | {"checkpoints": [["4-0", 6], ["-", 5]]}).encode(), "not a stream ID with a count"),
        (json.dumps(GOOD | {"producers": {"/news/p": -1}}).encode(), "a seq that cannot be"),
        (json.dumps(GOOD | {"producers": {"/news/p": HIGHEST}}).encode(), "a seq that cannot be"),
    ],
    ids=range(16),
)
def test_what_is_no_record_is_refused_with_the_reason(saved: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        load(saved)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
