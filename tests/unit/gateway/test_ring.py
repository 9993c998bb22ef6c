"""What clients were given last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._subscribe.cursor import Position
from gateway import frames
from gateway.ring import FRAME_BYTES, Ring


def at(n: int) -> Position:
    return Position(f"1-{n}", n)


def test_a_ring_forgets_the_oldest_by_bytes_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()

    def add(*numbers: int, limit: int = 10**6) -> None:
        ring.extend([frames.Frame("message", b"x" * 100, at(n)) for n in numbers], limit)

    add(*range(10))
    assert (ring.after(at(3)), ring.after(at(9)), ring.after(Position("1-3", 4))) == (4, 10, None)
    assert [frame.position.streamseq for frame in ring.frames(8, 99) if frame.position] == [8, 9]
    add(10, 11, limit=3 * (100 + FRAME_BYTES))
    assert (ring.start, ring.end, ring.after(at(8)), ring.after(at(9))) == (9, 12, None, 10)
    assert len(ring.frames(0, 99)) == 3
    monkeypatch.setattr("gateway.ring.RING_FRAMES", 2)
    add(12)
    assert (ring.start, ring.after(at(10)), ring.after(at(11))) == (11, None, 12)
    add(11)  # an ID that came twice is where it came last, also when the first goes
    assert (ring.start, ring.after(at(11))) == (12, 14)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300), st.integers(600, 5000)), max_size=40))
def test_a_ring_is_the_end_of_all_frames_as_far_as_its_bytes_go(added: list[tuple[int, int, int]]) -> None:
    ring, every = Ring(), list[frames.Frame]()
    for n, size, limit in added:
        every.append(frames.Frame("message", b"x" * size, at(n)))
        ring.extend(every[-1:], limit)
        kept = ring.frames(0, 10**9)
        assert kept == every[ring.start :]
        assert ring.end == len(every)
        weights = [len(frame.data) + FRAME_BYTES for frame in every]
        assert sum(weights[ring.start :]) <= limit
    for begin in range(-1, len(every) + 2):
        for end in range(begin, len(every) + 2):
            assert ring.frames(begin, end) == every[max(begin, ring.start) : max(end, ring.start)]


def test_a_message_without_a_place_is_no_place_to_come_back_to() -> None:
    ring = Ring()
    ring.extend([frames.Frame("message", b"plain")], 10**6)
    assert (ring.end, len(ring.frames(0, 1))) == (1, 1)
    ring.trim(0)
    assert (ring.start, ring.end, ring.frames(0, 9)) == (1, 1, [])
