"""A way to Redis that is slower than a large batch in DEAD_AFTER."""

import asyncio
import dataclasses

from fanout import Publisher
from fanout.settings import HistorySettings
from support.entries import retained
from support.in_process import settings
from support.proxy import Proxy
from support.redis_server import RedisServer

HISTORY = HistorySettings(size=100_000, ttl=3600.0, fsync=False, plain=False)


async def test_batches_become_as_small_as_the_way_is_slow_and_all_arrive(server: RedisServer) -> None:
    proxy = Proxy(server.port)
    own = dataclasses.replace(settings(await proxy.start(), "publisher"), dead_after=1.0)
    async with Publisher(own, history=HISTORY) as publisher:
        await publisher.publish("news", "the script is known")
        proxy.rate = 100_000
        futures = [publisher.enqueue("news", f"{n} {'x' * 2000}") for n in range(400)]
        async with asyncio.timeout(40):  # 860,000 bytes take 9 s
            accepted = await asyncio.gather(*futures)
        assert [one.id for one in accepted] == [str(n) for n in range(2, 402)]
        assert len(retained(server.client(), "news")) == 401
        assert 1 <= publisher.statistics().reconnects <= 6
        smallest = publisher._sender._pace.events
        proxy.rate = None
        for _ in range(30):
            await asyncio.gather(*(publisher.enqueue("news", "quick") for _ in range(256)))
        assert publisher._sender._pace.events > smallest
    await proxy.stop()
