"""A publisher asks Redis now and then whether it still holds what it accepted, without holding up what is new."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from fanout import Publisher
from fanout._publish.sender import ASKED_AT_ONCE
from fanout.settings import HistorySettings
from support.in_process import HURRY, settings
from support.redis_server import RedisServer
from support.waiting import eventually_async

MANY = 1200
HISTORY = HistorySettings(size=1000, ttl=3600.0, fsync=False, plain=False)


@contextlib.asynccontextmanager
async def busy(publisher: Publisher) -> AsyncIterator[None]:
    """Always has batches of the channel `busy` under way."""
    publishing = asyncio.create_task(publisher.put_all("busy", map(str, itertools.count())))
    try:
        yield
    finally:
        publishing.cancel()
        await asyncio.wait([publishing])


async def test_what_redis_forgot_is_sent_again_also_while_other_channels_are_busy(server: RedisServer) -> None:
    client = server.client()
    async with Publisher(settings(server.port, "publisher", HURRY), history=HISTORY) as publisher, busy(publisher):
        await publisher.publish("quiet", "once")
        assert (
            client.delete("fanout:{quiet}:history", "fanout:{quiet}:producer:" + publisher.statistics().producer) == 2
        )
        await eventually_async(lambda: client.xlen("fanout:{quiet}:history"))
        assert publisher.statistics().replayed == 1


async def test_what_redis_forgot_of_very_many_channels_is_sent_again_once_each(server: RedisServer) -> None:
    client = server.client()
    names = [f"user:{n}" for n in range(MANY)]
    async with Publisher(settings(server.port, "publisher", HURRY), history=HISTORY) as publisher:
        await asyncio.gather(*(publisher.publish(name, "hello") for name in names))
        client.delete(*[key for key in client.scan_iter("fanout:{user:*}:*", 5000) if b":head" not in key])
        await publisher.flush()
        assert [client.xlen(f"fanout:{{{name}}}:history") for name in names] == [1] * MANY
        assert (publisher.statistics().replayed, publisher.statistics().gone) == (MANY, 0)


async def test_a_question_about_very_many_channels_does_not_hold_up_a_new_event(server: RedisServer) -> None:
    asked: list[int] = []
    held_up: list[int] = []
    async with Publisher(settings(server.port, "publisher", HURRY), history=HISTORY) as publisher:
        await asyncio.gather(*(publisher.publish(f"user:{n}", "hello") for n in range(MANY)))
        redis = publisher.redis
        assert redis
        call = redis.call

        async def noting(*words: str) -> object:
            if words[0] == "MGET":
                if asked:
                    held_up.append(len(publisher._queue.producers["new"].waiting))
                else:
                    publisher.put("new", "now")
                asked.append(len(words) - 1)
            return await call(*words)

        redis.call = noting  # type: ignore[method-assign]
        await eventually_async(lambda: sum(asked) >= MANY)
    assert max(asked) <= ASKED_AT_ONCE
    assert held_up
    assert not any(held_up)
