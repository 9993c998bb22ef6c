"""Where a client wants to begin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._subscribe.cursor import Position
from fanout.settings import StartFrom
from gateway import frames, since


def test_since_is_an_id_or_what_start_from_may_be() -> None:
    assert since.parse("17-5:9") == since.EventId(Position("17-5", 9))
    assert since.parse("17-5:9:0123abcd") == since.EventId(Position("17-5", 9), "0123abcd")
    assert since.parse_id(frames.event_id(Position("17-5", 9), "0123abcd")) == since.parse("17-5:9:0123abcd")
    assert since.parse(f"{2**64 - 1}-{2**64 - 1}:1")
    assert since.parse("") == since.parse(" now ") == since.NOW
    assert since.parse("earliest") == StartFrom(earliest=True, age=0)
    assert since.parse("10m") == StartFrom(earliest=False, age=600)
    for wrong in (
        "soon",
        "17-5",
        "17:5",
        "17-5:",
        "-1s",
        "17-5:9\n17-5:10",
        "x" * 10_000,
        f"{2**64}-1:1",
        f"1-{2**64}:1",
    ):
        assert since.parse_id(wrong) is None
        with pytest.raises(ValueError, match="must be an event's id") as error:
            since.parse(wrong)
        assert len(str(error.value)) < 300


ids = st.builds(
    since.EventId,
    st.builds(
        Position,
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(lambda two: f"{two[0]}-{two[1]}"),
        st.integers(0, 10**18 - 1),
    ),
    st.sampled_from(["", "0123abcd"]),
)


@given(ids)
def test_an_id_that_was_given_is_read_again(given_one: since.EventId) -> None:
    assert since.parse_id(frames.event_id(*given_one)) == since.parse(frames.event_id(*given_one)) == given_one


@given(st.text())
def test_any_text_is_a_beginning_or_is_refused_in_one_line(text: str) -> None:
    try:
        since.parse(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
