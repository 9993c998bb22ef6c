"""Runs of seqs that are no loss, or one that was counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._publish.holes import Holes


@pytest.mark.parametrize(
    ("added", "first", "last", "others"),
    [
        ([], 1, 10, 10),
        ([(3, 4)], 1, 10, 8),
        ([(3, 4), (5, 6), (1, 1)], 1, 10, 5),
        ([(1, 100)], 5, 10, 0),
        ([(8, 20)], 1, 10, 7),
        ([(5, 4)], 1, 10, 10),
        ([(3, 5), (4, 9), (2, 2)], 2, 9, 0),
        ([(3, 5)], 10, 9, 0),
    ],
)
def test_seqs_that_are_holes_are_no_others(added: list[tuple[int, int]], first: int, last: int, others: int) -> None:
    holes = Holes()
    for run in added:
        holes.add(*run)
    assert holes.others(first, last) == others


runs = st.tuples(st.integers(1, 40), st.integers(-2, 10)).map(lambda run: (run[0], run[0] + run[1]))


@given(st.lists(runs, max_size=20), st.lists(runs, min_size=1, max_size=5))
def test_runs_count_as_the_seqs_in_them(added: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    holes, seqs = Holes(), set[int]()
    for first, last in added:
        holes.add(first, last)
        seqs |= set(range(first, last + 1))
    for first, last in asked:
        assert holes.others(first, last) == len(set(range(first, last + 1)) - seqs)


def test_of_very_many_runs_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout._publish.holes.KEPT", 3)
    holes = Holes()
    for seq in (2, 4, 6, 8):
        holes.add(seq, seq)
    assert [holes.others(seq, seq) for seq in (2, 4, 6, 8)] == [1, 0, 0, 0]
    holes.add(5, 5)  # joins two, which makes room
    holes.add(10, 10)
    assert [holes.others(seq, seq) for seq in (4, 8, 10)] == [0, 0, 0]
