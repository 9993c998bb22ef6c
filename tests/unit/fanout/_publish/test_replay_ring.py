"""What can be sent again, and how much of it is kept."""

from fanout._publish import replay_ring
from fanout._publish.batch import Pending, size_of
from fanout._publish.replay_ring import ReplayRing
from support.way import Way


def test_the_ring_is_bounded_in_all_and_lets_the_oldest_go_first() -> None:
    every = ReplayRing(100_000)
    ways = [Way(ring=every, channel=str(n)) for n in range(16)]
    for _ in range(20):
        for way in ways:
            way.make(10, size=1000)
            way.send()
            way.accept()
            assert every.bytes <= 100_000
    kept = [len(way.rewind(0).again) for way in ways]
    assert sum(kept) == 80  # 10 events of 1,128 bytes a batch
    assert kept == [0] * 8 + [10] * 8
    assert (every.events, every.bytes) == (0, 0)


def test_the_ring_counts_a_part_of_a_batch_that_was_taken_back() -> None:
    every = ReplayRing(10**6)
    way = Way(ring=every)
    way.accepted(10)
    assert [event.seq for event in way.rewind(7).again] == [8, 9, 10]
    assert every.events == 7
    every.forget(replay_ring.RING_AGE + 1)
    assert (every.events, every.bytes, way.rewind(3).gone) == (0, 0, 4)


def test_an_event_counts_with_what_it_takes_beside_its_bytes() -> None:
    assert size_of([Pending(1, b"x" * 100, None, None)]) > 200


def test_an_event_stays_for_a_minute_in_which_redis_accepts_events() -> None:
    way = Way()
    way.accepted(2)
    way.ring.forget(replay_ring.RING_AGE)
    assert way.ring.events == 2
    way.ring.forget(replay_ring.RING_AGE + 0.1)
    assert (way.ring.events, way.ring.bytes, way.producer.idle) == (0, 0, True)
    assert way.rewind(0) == ([], [], [], 2)


def test_what_is_kept_makes_what_is_too_old_go() -> None:
    every = ReplayRing(10**9)
    old, new = Way(ring=every, channel="old"), Way(ring=every, channel="new")
    old.accepted(3)
    new.make(1)
    new.send()
    batch = new.batches.popleft()
    new.producer.accept(batch)
    every.keep(batch, replay_ring.RING_AGE + 1)
    assert (every.events, len(old.rewind(0).again), len(new.rewind(0).again)) == (1, 0, 1)


def test_a_batch_that_is_too_large_for_the_ring_is_not_kept_and_nothing_else_either() -> None:
    way = Way(limit=1000)
    way.accepted(1)
    way.make(1, size=2000)
    way.send()
    way.accept()
    assert (way.ring.events, way.ring.bytes) == (0, 0)


def test_what_was_taken_back_of_one_channel_leaves_the_others_and_their_age_as_they_are() -> None:
    every = ReplayRing(10**9)
    first, second = Way(ring=every, channel="a"), Way(ring=every, channel="b")
    for way in (first, second, first):
        way.accepted(2)
    assert [event.seq for event in first.rewind(0).again] == [1, 2, 3, 4]
    assert every.events == 2
    every.forget(replay_ring.RING_AGE)
    assert [event.seq for event in second.rewind(1).again] == [2]
    every.forget(replay_ring.RING_AGE + 1)
    assert (every.events, every.bytes) == (0, 0)


def test_a_channel_that_is_closed_gives_its_part_of_the_ring_up() -> None:
    every = ReplayRing(10**9)
    closed, other = Way(ring=every, channel="a"), Way(ring=every, channel="b")
    for way in (closed, other, closed):
        way.accepted(2)
    closed.producer.leave_ring()
    assert (every.events, closed.producer.idle) == (2, True)
    assert closed.rewind(0).again == []
    assert [event.seq for event in other.rewind(0).again] == [1, 2]
