"""FastStream over a stream, in pipelines and without a group: python -m bench.peers.faststream_streams PORT MODE.

flood COUNT BATCH | pace RATE COUNT | log | trace, as in __init__.py
"""

import sys
from typing import Any

import uvloop
from faststream import FastStream  # type: ignore[import-not-found]
from faststream.redis import RedisBroker, StreamSub  # type: ignore[import-not-found]
from redis.asyncio import Redis

from bench.pace import Pace
from bench.peers.common import KEPT, PAYLOAD, SHOWN, age, begin, finish, logger, stamped
from bench.wire import CHANNEL

STREAM = f"history:{CHANNEL}"


async def send(broker: Any, client: Any, payloads: list[str]) -> None:
    """Publish in one pipeline."""
    async with client.pipeline(transaction=False) as pipeline:
        for payload in payloads:
            await broker.publish(payload, stream=STREAM, maxlen=KEPT, pipeline=pipeline)
        await pipeline.execute()


async def flood(broker: Any, client: Any, count: int, batch: int) -> None:
    """Publish `count` messages in pipelines of `batch`."""
    payload = PAYLOAD.decode()
    began = begin()
    for made in range(0, count, batch):
        await send(broker, client, [payload] * min(batch, count - made))
    finish(began)


async def pace(broker: Any, client: Any, rate: int, count: int) -> None:
    """Publish `count` messages evenly."""
    began = begin()
    load = Pace(rate, count)
    async for _ in load.ticks():
        await send(broker, client, [stamped() for _ in range(load.due())])
    finish(began)


async def publish(broker: Any, port: str, name: str, *numbers: int) -> None:
    """Run one of the two loads."""
    async with broker, Redis(port=int(port)) as client:
        await client.ping()
        await {"flood": flood, "pace": pace}[name](broker, client, *numbers)


def subscriber(broker: Any, *, aged: bool) -> Any:
    """Write a line of structlog a message, with its age or not."""
    info = logger().info

    async def log(data: str) -> None:
        info("message_received", channel=CHANNEL, data=data[:SHOWN])

    async def trace(data: str) -> None:
        info("message_received", channel=CHANNEL, latency_ms=age(data) / 1000, data=data)

    broker.subscriber(stream=StreamSub(STREAM, last_id="0"))(trace if aged else log)
    return FastStream(broker, logger=None).run()


if __name__ == "__main__":
    given, mode, *words = sys.argv[1:]
    # No log of its own, no conversion of arguments by their annotations.
    made = RedisBroker(f"redis://127.0.0.1:{given}", logger=None, apply_types=False)
    if mode in {"log", "trace"}:
        uvloop.run(subscriber(made, aged=mode == "trace"))
    else:
        uvloop.run(publish(made, given, mode, *map(int, words)))
