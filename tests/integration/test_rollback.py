"""What a publisher makes good when Redis forgets what it had accepted, and what it says where it cannot."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from fanout import Publisher
from fanout._publish import replay_ring, script
from fanout._publish.batch import Pending
from fanout._publish.producer import Producer
from fanout._publish.replay_ring import ReplayRing
from fanout._redis.commands import Commands
from fanout.errors import ExitCode
from fanout.settings import HistorySettings
from support.entries import retained
from support.in_process import settings
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
HISTORY = HistorySettings(size=100_000, ttl=3600.0, fsync=False, plain=False)


class Batches:
    """One channel's batches, sent by hand."""

    def __init__(self, redis: Commands) -> None:
        self.redis = redis
        self.box = Producer("news", "p", "/news/p", ReplayRing(0))

    def make(self, count: int) -> None:
        first = self.box.made + 1
        self.box.queue().extend(Pending(seq, b'{"id":"%d"}' % seq, None, None) for seq in range(first, first + count))
        self.box.made += count

    def packed(self, count: int) -> bytes:
        self.batch = self.box.take(count, 10**9)
        return script.command(self.box, self.batch, HISTORY)

    async def reply(self, packed: bytes) -> Any:
        return await self.redis.send(packed)[0]


async def batches(server: RedisServer) -> Batches:
    redis = await Commands.open(settings(server.port, "batches"), 1.0)
    await script.load(redis)
    return Batches(redis)


async def test_with_a_passing_error_between_them_the_second_batch_after_a_gap_is_not_taken(server: RedisServer) -> None:
    some = await batches(server)
    some.make(90)
    await some.reply(some.packed(1000))
    some.box.accept(some.batch)
    server.client().flushall()
    some.make(2)
    assert some.box.rewind(0).gone == 90
    first, second = some.packed(1), some.packed(1)
    server.client().config_set("maxmemory", 1)
    with pytest.raises(ResponseError):
        await some.reply(first)
    server.client().config_set("maxmemory", 0)
    assert not script.joined(await some.reply(second))
    assert server.client().xlen("fanout:{news}:history") == 0
    assert script.joined(await some.reply(first))
    assert script.joined(await some.reply(second))
    some.redis.close()


async def test_a_batch_after_a_gap_is_taken_only_while_redis_holds_what_the_gap_was_found_at(
    server: RedisServer,
) -> None:
    some = await batches(server)
    some.make(90)
    await some.reply(some.packed(1000))
    some.box.accept(some.batch)
    key = "fanout:{news}:producer:p"
    server.client().set(key, 50)  # it has forgotten 40
    some.make(1)
    assert some.box.rewind(50).gone == 40
    batch = some.packed(1)
    server.client().set(key, 20)  # and once more
    assert script.held(await some.reply(batch)) == 20
    some.box.give_back(some.batch)
    assert some.box.rewind(20).gone == 30
    assert script.joined(await some.reply(some.packed(1)))
    some.redis.close()


async def test_the_time_of_an_outage_does_not_count_for_the_ring(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_ring, "RING_AGE", 1.0)
    proxy = Proxy(server.port)
    async with Publisher(settings(await proxy.start(), "publisher"), history=HISTORY) as publisher:
        for n in range(20):
            await publisher.publish("news", f"{n}")
        proxy.fault, proxy.target = "reply lost", 1
        last = publisher.enqueue("news", "20")
        began = time.monotonic()
        while time.monotonic() - began < 2.0:  # longer than the ring reaches back
            await asyncio.sleep(0.1)
        assert not last.done()
        proxy.target = server.port
        await last
        server.client().flushall()
        await publisher.flush()
        assert (publisher.statistics().gone, publisher.statistics().replayed) == (0, 21)
        assert len(retained(server.client(), "news")) == 21
    await proxy.stop()


def test_a_publisher_that_ends_while_a_crashed_server_is_away_says_what_may_be_gone(
    server: RedisServer, start: Start
) -> None:
    publisher = start("publisher", PUBLISH_RATE=200, PUBLISH_COUNT=200, SHUTDOWN_GRACE="0.5")
    publisher.wait_for("message_published", 200)
    server.kill()
    publisher.wait_for("connect_failed", 2)
    assert publisher.stop() == ExitCode.UNDELIVERED
    reason = publisher.lines[-1]["reason"]
    assert "0 events never reached Redis" in reason
    assert "200 were accepted, 200 of them so recently that Redis may have lost them again" in reason


def test_a_publisher_that_ends_after_a_crashed_server_is_back_has_made_good_what_it_lost(
    server: RedisServer, start: Start
) -> None:
    publisher = start("publisher", PUBLISH_RATE=200, PUBLISH_COUNT=200)
    publisher.wait_for("message_published", 200)
    server.kill()
    publisher.wait_for("connect_failed", 2)
    server.start()
    assert publisher.stop() == ExitCode.OK
    assert eventually(lambda: len(retained(server.client(), "notifications"))) == 200


def test_the_ring_holds_what_came_in_the_last_second_also_of_very_many_small_events(
    server: RedisServer, start: Start
) -> None:
    publisher = start("publisher", PUBLISH_RATE=10_000_000, PUBLISH_COUNT=80_000, LOG_MESSAGES="none")
    publisher.wait_for("load_finished")
    server.kill()
    publisher.wait_for("connect_failed", 2)
    server.start()
    publisher.wait_for("replaying")
    assert publisher.stop() == ExitCode.OK
    assert publisher.lines[-1]["replayed"] == 80_000
    assert not publisher.events("events_gone")
