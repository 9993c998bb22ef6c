"""How full the publisher's buffer is: events are counted until Redis has them."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._event.encode import TEXT
from fanout._publish import send_queue
from fanout._publish.batch import Accepted
from fanout._publish.send_queue import SendQueue
from fanout.errors import RefusedByRedis
from fanout.settings import HistorySettings

ALL = (10**6, 10**9, 10**6)


def queue(**history: Any) -> SendQueue:
    return SendQueue(65536, HistorySettings(**history))


def future() -> asyncio.Future[Accepted]:
    return asyncio.get_running_loop().create_future()


async def test_it_is_full_by_number_and_whoever_waits_for_room_goes_on_when_redis_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_queue, "BUFFER_EVENTS", 4)
    some = queue()
    some.extend("a", ["x"] * 3, TEXT)
    await asyncio.wait_for(some.room(), 1)
    some.extend("a", ["x"] * 3, TEXT)  # it never refuses
    assert (some.full, some.fill) == (True, 1.5)
    waiting = asyncio.create_task(some.room())
    batch = some.take(2, 10**9, 4)
    assert batch
    await asyncio.sleep(0)
    assert not waiting.done()  # on its way is not there yet
    some.done(batch.events)
    assert some.full
    some.done(batch.events[:1])
    await asyncio.wait_for(waiting, 1)
    assert (some.full, some.fill) == (False, 0.75)


async def test_it_is_full_by_bytes_too() -> None:
    some = queue(memory=30_000)
    some.extend("a", ["x" * 4000] * 2, TEXT)
    assert not some.full
    some.extend("a", ["x" * 4000], TEXT)
    assert some.full
    assert 1 < some.fill < 1.3


async def test_it_is_empty_only_when_redis_has_everything() -> None:
    some = queue()
    assert some.is_empty
    some.extend("a", ["x"], TEXT)
    batch = some.take(*ALL)
    assert batch
    waiting = asyncio.create_task(some.empty())
    await asyncio.sleep(0)
    assert (some.is_empty, waiting.done()) == (False, False)
    some.done(batch.events)
    await asyncio.wait_for(waiting, 1)
    some.again(batch.events)
    assert not some.is_empty


async def test_the_sender_is_woken_by_the_first_event_of_a_channel() -> None:
    some = queue()
    some.extend("a", [], TEXT)
    assert not some.wake.is_set()
    some.extend("a", ["x"], TEXT)
    assert some.wake.is_set()
    some.wake.clear()
    some.extend("a", ["x"], TEXT)  # there is something to send already
    assert not some.wake.is_set()
    some.extend("b", ["x"], TEXT)
    assert some.wake.is_set()


async def test_when_it_closes_everybody_who_waits_is_told_why_and_nobody_can_add(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_queue, "BUFFER_EVENTS", 1)
    some, waiting, cancelled = queue(), future(), future()
    some.extend("a", ["x"], TEXT, future=waiting)
    some.extend("a", ["x"], TEXT, future=cancelled)
    cancelled.cancel()
    tasks = [asyncio.create_task(some.room()), asyncio.create_task(some.empty())]
    await asyncio.sleep(0)
    why = RefusedByRedis("wrong password")
    some.close(why)
    await asyncio.wait(tasks, timeout=1)
    assert [task.exception() for task in tasks] == [why, why]
    assert waiting.exception() is why
    for later in (some.room(), some.empty()):
        with pytest.raises(RefusedByRedis):
            await later
    with pytest.raises(RefusedByRedis):
        some.extend("a", ["x"], TEXT)


@given(st.integers(0, 10**6))
def test_whatever_happens_the_count_is_that_of_the_events_that_redis_has_not(seed: int) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        some, under_way, open_futures = queue(memory=200_000), [], []
        made = gone = 0
        for _ in range(60):
            match chance.randrange(5):
                case 0:
                    count = chance.randrange(4)
                    some.extend(chance.choice("abc"), ["x" * chance.randrange(2000)] * count, TEXT)
                    made += count
                case 1:
                    open_futures.append((chance.choice("abc"), future()))
                    some.extend(open_futures[-1][0], ["x"], TEXT, future=open_futures[-1][1])
                    made += 1
                case 2:
                    if batch := some.take(chance.randrange(1, 5), chance.randrange(5000), 4):
                        under_way.append(batch)
                case 3:
                    if under_way:
                        batch = under_way.pop(0)
                        batch.producer.accept(batch)
                        some.done(batch.events)
                        gone += len(batch.events)
                case _:
                    if open_futures:
                        gone += some.withdraw(*open_futures.pop(chance.randrange(len(open_futures))))
            assert some.waiting == made - gone
            assert some.is_empty == (made == gone)
        while batch := some.take(*ALL):
            under_way.append(batch)
        for batch in under_way:
            some.done(batch.events)
        assert (some.waiting, some.fill, some.is_empty) == (0, 0, True)

    asyncio.run(run())
