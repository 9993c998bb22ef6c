from fanout._publish.batch import Pending
from fanout._publish.pace import BYTES, EVENTS, Pace


def batch(count: int, size: int = 10) -> list[Pending]:
    return [Pending(n, b"x" * size, None, None) for n in range(1, count + 1)]


def test_batches_halve_down_to_one_event_when_they_time_out() -> None:
    pace = Pace(dead_after=1.0)
    seen = []
    while pace.timed_out(1.0):
        seen.append(pace.events)
    assert seen == [128, 64, 32, 16, 8, 4, 2, 1]
    assert pace.bytes <= BYTES / 256


def test_a_connection_that_was_lost_for_another_reason_makes_none_smaller() -> None:
    pace = Pace(dead_after=1.0)
    assert not pace.timed_out(0.2)
    assert (pace.events, pace.bytes) == (EVENTS, BYTES)


def test_batches_grow_again_with_those_that_were_large_and_quick() -> None:
    pace = Pace(dead_after=1.0)
    pace.timed_out(1.0)
    pace.timed_out(1.0)
    for small in (batch(10), batch(1, 1000)):
        pace.answered(small, 0.01)
    pace.answered(batch(64), 0.5)  # in time, but not by much
    assert pace.events == 64
    pace.answered(batch(64), 0.01)
    assert 64 < pace.events < 80
    for _ in range(30):
        pace.answered(batch(pace.events), 0.01)
    assert (pace.events, pace.bytes) == (EVENTS, BYTES)


def test_a_few_large_events_are_a_large_batch_too() -> None:
    pace = Pace(dead_after=1.0)
    pace.timed_out(1.0)
    pace.answered(batch(5, 60_000), 0.01)
    assert pace.events > 128
