"""A channel's events on their way: what follows what, and what becomes of it once Redis says what it holds."""

import asyncio

from fanout._publish.batch import Pending, Request
from support.way import Way


def test_each_batch_joins_on_to_the_one_before() -> None:
    way = Way()
    way.make(6)
    assert way.send(2) == ([1, 2], 0)
    assert way.send(2) == ([3, 4], 2)
    assert way.rewind(2).confirmed[-1].seq == 2
    assert way.send() == ([3, 4, 5, 6], 2)


def test_only_the_batch_after_what_is_gone_joins_on_to_what_is_held() -> None:
    way = Way(limit=0)  # nothing can be sent again
    way.accepted(90)
    way.make(4)
    assert way.rewind(40) == ([], [], [], 50)
    assert way.send(2) == ([91, 92], 40)
    assert way.send(2) == ([93, 94], 92)  # it waits for the first, whatever becomes of that


def test_what_is_gone_is_counted_once() -> None:
    way = Way(limit=0)
    way.accepted(90)
    assert way.rewind(40).gone == 50
    assert way.rewind(40).gone == 0
    assert way.rewind(30).gone == 10  # another rollback
    way.accepted(10)
    assert way.rewind(95).gone == 5


def test_a_withdrawn_event_leaves_a_hole_that_is_no_loss() -> None:
    async def run() -> None:
        way = Way()
        events = way.make(5)
        events[2].future = asyncio.get_running_loop().create_future()
        assert way.producer.withdraw(events[2].future) is events[2]
        assert way.send() == ([1, 2], 0)
        assert way.send() == ([4, 5], 2)
        way.accept()
        way.accept()
        _, again, _, gone = way.rewind(0)
        assert ([event.seq for event in again], gone) == ([1, 2, 4, 5], 0)
        assert way.send() == ([1, 2], 0)
        assert way.send() == ([4, 5], 2)

    asyncio.run(run())


def test_an_event_that_was_sent_once_cannot_be_withdrawn() -> None:
    async def run() -> None:
        way = Way()
        [event] = way.make(1)
        event.future = asyncio.get_running_loop().create_future()
        way.send()
        assert way.producer.withdraw(event.future) is None
        way.rewind(0)
        assert way.producer.withdraw(event.future) is None  # the old connection may still bring it

    asyncio.run(run())


def test_what_follows_a_refused_batch_is_refused_and_what_comes_later_joins_on_to_what_is_held() -> None:
    way = Way()
    way.accepted(2)
    way.make(6)
    way.send(2)
    way.send(2)
    assert way.refuse() == [3, 4, 7, 8]
    way.make(1)
    assert way.send() == ([9], 2)
    assert way.refuse() == [5, 6]
    way.accept()
    assert way.rewind(2).gone == 0


def seqs(events: list[Pending]) -> list[int]:
    return [event.seq for event in events]


def test_what_redis_holds_though_no_reply_said_so_is_accepted_and_the_rest_goes_out_again() -> None:
    way = Way()
    way.accepted(2)
    way.make(6)
    way.send(2)
    way.send(2)
    confirmed, again, repeats, gone = way.rewind(5)  # the reply to 3 and 4 was lost, and that to half of the next
    assert (seqs(confirmed), seqs(again), seqs(repeats), gone) == ([3, 4, 5], [], [], 0)
    assert way.send() == ([6, 7, 8], 5)


def test_what_redis_lost_goes_out_before_what_waits() -> None:
    way = Way()
    for _ in range(3):
        way.accepted(2)
    way.make(2)
    confirmed, again, _, gone = way.rewind(3)
    assert (seqs(confirmed), seqs(again), gone) == ([], [4, 5, 6], 0)
    assert way.send() == ([4, 5, 6, 7, 8], 3)


def test_what_redis_and_the_ring_have_both_lost_is_gone_and_what_the_ring_has_still_goes_out() -> None:
    way = Way()
    way.accepted(3)
    way.ring.forget(1000)
    way.accepted(2)
    _, again, _, gone = way.rewind(1)
    assert (seqs(again), gone) == ([4, 5], 2)
    assert way.send() == ([4, 5], 1)  # joins on to what is held, over what is gone


def test_what_was_only_repeated_is_not_sent_again_but_told_apart() -> None:
    way = Way()
    events = way.make(4)
    way.send()
    events[1].repeats = events[2].repeats = True
    way.accept()
    _, again, repeats, gone = way.rewind(0)
    assert (seqs(again), seqs(repeats), gone) == ([1, 4], [2, 3], 0)
    assert way.send() == ([1], 0)
    assert way.send() == ([4], 1)
    assert way.rewind(0).gone == 0


def test_the_waiting_events_with_a_key_that_redis_holds_are_asked_about() -> None:
    way = Way()
    events = way.make(4)
    for event in (events[0], events[2], events[3]):
        event.request = Request("key", "hash", 60)
    assert seqs(way.producer.keyed(3)) == [1, 3]
    assert way.producer.keyed(0) == []


def test_everything_that_waits_is_refused_and_what_comes_later_joins_on_to_what_is_held() -> None:
    way = Way()
    way.accepted(2)
    way.make(3)
    assert seqs(way.producer.refuse_all()) == [3, 4, 5]
    way.make(1)
    assert way.send() == ([6], 2)


def test_a_producer_is_idle_when_nothing_waits_is_under_way_or_could_be_sent_again() -> None:
    way = Way()
    assert way.producer.idle
    way.make(1)
    assert not way.producer.idle
    way.send()
    assert not way.producer.idle
    way.accept()
    assert (way.producer.idle, way.producer.idle_for(10)) == (False, False)
    way.ring.forget(10.0)
    assert (way.producer.idle, way.producer.idle_for(10), way.producer.idle_for(11)) == (False, True, False)
    way.make(1)
    assert not way.producer.idle_for(10)


def test_events_are_taken_as_far_as_number_bytes_and_their_seqs_go() -> None:
    way = Way()
    events = way.make(6, size=100)
    way.producer.skip([events[3]])
    way.producer.queue().remove(events[3])
    assert seqs(way.producer.take(2, 10**6).events) == [1, 2]
    assert seqs(way.producer.take(10, 50).events) == [3]
    assert seqs(way.producer.take(10, 199).events) == [5]
    assert seqs(way.producer.take(10, 10**6).events) == [6]
