from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._subscribe import dedup
from fanout._subscribe.dedup import Duplicates, seq_of
from fanout.message import Message, source_of

SOURCES = [source_of("news", f"{n:016x}") for n in range(3)]
FOREIGN = "/elsewhere/0123456789abcdef"


def messages(events: Sequence[tuple[str, str]]) -> list[Message]:
    return [Message(source=source, id=seq) for source, seq in events]


ids = st.one_of(st.integers(0, 6).map(str), st.sampled_from(["", "x", "1_0", " 1", "٣", "-1", "9" * 5000]))


@given(st.lists(st.lists(st.tuples(st.sampled_from([*SOURCES, FOREIGN]), ids), min_size=1, max_size=8), max_size=6))
def test_a_run_is_decided_as_its_events_one_by_one(runs: list[list[tuple[str, str]]]) -> None:
    fast, slow = Duplicates("news", 2), Duplicates("news", 2)
    for run in runs:
        new = [(m.source, m.id) for m in fast.new(messages(run))]
        assert new == [event for event in run if slow.first(*event) is not False]
        assert fast.latest() == slow.latest()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_a_run_of_one_producer_never_hides_a_repetition_or_a_step_back(seqs: list[int]) -> None:
    duplicates = Duplicates("news", 10)
    duplicates.note(SOURCES[0], 0)
    new = [int(m.id) for m in duplicates.new(messages([(SOURCES[0], str(seq)) for seq in seqs]))]
    assert new == sorted(set(new))


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1_0", " 1", "٣", "9" * 17, "9" * 5000, "x"])
def test_what_no_producer_writes_is_no_seq(text: str) -> None:
    assert seq_of(text) is None


def test_the_record_keeps_the_producers_that_were_heard_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "SAVED_PRODUCERS", 2)
    duplicates = Duplicates("news", 3)
    for source in (*SOURCES, SOURCES[0]):
        duplicates.note(source, 5)
    assert list(duplicates.latest()) == [SOURCES[2], SOURCES[0]]


def test_the_record_goes_back_to_the_older_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "SAVED_PRODUCERS", 3)
    duplicates = Duplicates("news", 2)
    for source in (*SOURCES, SOURCES[1]):
        duplicates.note(source, 5)
    assert list(duplicates.latest()) == [SOURCES[0], SOURCES[2], SOURCES[1]]


class Table:
    """The highest seq of each producer, without bounds; and whom of them was heard of last."""

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}

    def first(self, source: str, seq: int) -> bool:
        if seq <= self.highest.get(source, 0):
            return False
        self.highest.pop(source, None)
        self.highest[source] = seq
        return True


producers = st.integers(0, 7).map(lambda n: source_of("news", f"{n:016x}"))


@given(st.lists(st.tuples(producers, st.integers(1, 5)), max_size=80))
def test_as_many_producers_are_told_apart_as_the_bound_says_those_with_the_latest_events(
    events: list[tuple[str, int]],
) -> None:
    limit = 3
    duplicates, table = Duplicates("news", limit), Table()
    for source, seq in events:
        old = source in table.highest and source not in list(table.highest)[-limit:]
        answer = duplicates.first(source, str(seq))
        if not old:
            assert answer is table.first(source, seq)
        elif answer:  # forgotten, or really new: that is nobody's business
            table.highest.pop(source)
            table.first(source, seq)


def test_producers_that_were_forgotten_are_new_again() -> None:
    duplicates = Duplicates("news", 2)
    for n in range(5):
        assert duplicates.first(source_of("news", f"{n:016x}"), "9")
    assert duplicates.first(source_of("news", f"{0:016x}"), "1")
    assert duplicates.first(source_of("news", f"{4:016x}"), "9") is False


@pytest.mark.parametrize(
    "source", ["/elsewhere/x", "/news/", "/news/0123", "/news/0123456789ABCDEF", "/sport/" + "0" * 16]
)
def test_of_what_no_producer_of_this_channel_made_nobody_can_tell(source: str) -> None:
    duplicates = Duplicates("news", 10)
    assert duplicates.first(source, "1") is None
    assert duplicates.first(source, "1") is None
    assert (duplicates.empty, duplicates.ours(source, "1"), duplicates.seen(source, "1")) == (True, False, False)


def test_a_producer_that_the_record_names_is_known_whatever_its_name() -> None:
    duplicates = Duplicates("news", 10)
    duplicates.note("/elsewhere/x", 5)
    assert [duplicates.first("/elsewhere/x", seq) for seq in ("5", "6", "6")] == [False, True, False]


def test_what_was_seen_can_be_asked_without_noting_anything() -> None:
    duplicates = Duplicates("news", 10)
    duplicates.first(SOURCES[0], "5")
    assert [duplicates.seen(SOURCES[0], seq) for seq in ("4", "5", "6", "x")] == [True, True, False, False]
    assert (duplicates.seen(SOURCES[1], "1"), duplicates.ours(SOURCES[1], "1")) == (False, True)
    assert duplicates.latest() == {SOURCES[0]: 5}
