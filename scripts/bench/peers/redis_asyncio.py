"""redis.asyncio with hiredis: `listen()`, and `publish()` in pipelines."""

import json
import sys
from typing import Any

import redis.asyncio
import uvloop

from bench.pace import Pace
from bench.peers.common import age, begin, finish, logger, stamped
from bench.wire import CHANNEL

Client = redis.asyncio.Redis


async def messages(client: Client) -> Any:
    """The messages of the channel, as they come."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe(CHANNEL)
    return pubsub.listen()


async def log(client: Client) -> None:
    """A line a message, until it is stopped."""
    info = logger().info
    async for message in await messages(client):
        info("message_received", channel=message["channel"], data=message["data"])


async def trace(client: Client) -> None:
    """As `log`, with each message's age."""
    info = logger().info
    async for message in await messages(client):
        data = message["data"]
        info("message_received", channel=message["channel"], latency_ms=age(data) / 1000, data=data)


async def record(client: Client, count: int) -> None:
    """The ages of `count` messages."""
    ages: list[int] = []
    async for message in await messages(client):
        ages.append(age(message["data"]))
        if len(ages) == count:
            break
    print(json.dumps(ages), flush=True)


async def pace(client: Client, rate: int, count: int) -> None:
    """`count` messages, evenly."""
    await client.ping()
    began = begin()
    load = Pace(rate, count)
    async for _ in load.ticks():
        async with client.pipeline(transaction=False) as pipeline:
            for _ in range(load.due()):
                pipeline.publish(CHANNEL, stamped())
            await pipeline.execute()
    finish(began)


async def main() -> None:
    """Runs the mode that the arguments name."""
    port, mode, *numbers = sys.argv[1:]
    modes = {"log": log, "trace": trace, "record": record, "pace": pace}
    async with redis.asyncio.Redis(port=int(port), protocol=2, decode_responses=True) as client:
        await modes[mode](client, *map(int, numbers))  # type: ignore[operator]


if __name__ == "__main__":
    uvloop.run(main())
