"""A pattern that matches everything, and somebody who publishes on tens of thousands of channels."""

from collections.abc import Callable
from pathlib import Path

from fanout import Publisher
from fanout.settings import HistorySettings
from support.in_process import settings
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually, eventually_async

MANY = 20_000
A_CHANNEL = 3200
"""Bytes, what a burst needs for a moment included: 2,500 are usual with so many, 1,700 with 54,000."""


def memory(service: Service) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


async def test_a_channel_takes_little_memory_also_when_redis_was_away(
    server: RedisServer, start: Callable[..., Service]
) -> None:
    subscriber = start("subscriber", PATTERNS="*", INSTANCE="s", LOG_MESSAGES="none")
    subscriber.wait_for("live")
    before = memory(subscriber)
    history = HistorySettings(size=100_000, ttl=3600.0, fsync=False, plain=False, max_channels=MANY)
    async with Publisher(settings(server.port, "publisher"), history=history) as publisher:
        for n in range(MANY):
            if n % 500 == 0:
                await publisher.room()
            publisher.put(f"user:{n}", "x")
        await publisher.flush()
        client = server.client()

        def saved() -> bool:
            return sum(1 for _ in client.scan_iter("fanout:{user:*}:position:s", 5000)) == MANY

        await eventually_async(saved, 60, 1.0)
        assert (memory(subscriber) - before) / MANY < A_CHANNEL
    subscribed = len(subscriber.events("live"))
    client.client_kill_filter(_type="normal", skipme=True)
    client.client_kill_filter(_type="pubsub")
    eventually(lambda: len(subscriber.events("live")) > subscribed, 60)
    assert (memory(subscriber) - before) / MANY < A_CHANNEL
