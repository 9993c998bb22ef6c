"""redis-py, synchronous, with hiredis: `listen()`, and `publish()` one by one or in a pipeline."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from bench.pace import Pace
from bench.peers.common import BATCH, CHANNELS, PAYLOAD, SHOWN, age, begin, connection, finish, logger, stamped
from bench.wire import CHANNEL

Client = Any  # redis-py lacks the types of half of what is called here
Put = Callable[[Client, str, str | bytes], object]
"""Publishes a payload on a channel, by a pipeline."""


def messages(client: Client) -> Any:
    """The messages of the channel, as they come."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(CHANNEL)
    return pubsub.listen()


def log(client: Client) -> None:
    """A line a message, until it is stopped."""
    info = logger().info
    for message in messages(client):
        info("message_received", channel=message["channel"], data=message["data"][:SHOWN])


def trace(client: Client) -> None:
    """As `log`, with each message's age."""
    info = logger().info
    for message in messages(client):
        data = message["data"]
        info("message_received", channel=message["channel"], latency_ms=age(data) / 1000, data=data)


def record(client: Client, count: int) -> None:
    """The ages of `count` messages."""
    ages: list[int] = []
    for message in messages(client):
        ages.append(age(message["data"]))
        if len(ages) == count:
            break
    print(json.dumps(ages), flush=True)


def publish(pipeline: Client, channel: str, payload: str | bytes) -> None:
    """PUBLISH alone, which nothing is kept of."""
    pipeline.publish(channel, payload)


def flood(client: Client, count: int, batch: int, *, put: Put = publish, transaction: bool = False) -> None:
    """`count` messages in pipelines of `batch`, to the channels in turn."""
    channels = itertools.cycle(CHANNELS)
    began = begin()
    for made in range(0, count, batch):
        with client.pipeline(transaction=transaction) as pipeline:
            for channel in itertools.islice(channels, min(batch, count - made)):
                put(pipeline, channel, PAYLOAD)
            pipeline.execute()
    finish(began)


def evalsha(client: Client, count: int) -> None:
    """`count` calls of the script in the variable SCRIPT, in pipelines."""
    sha = client.script_load(os.environ["SCRIPT"])
    began = begin()
    for made in range(0, count, BATCH):
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(min(BATCH, count - made)):
                pipeline.evalsha(sha, 1, "history", PAYLOAD, CHANNEL)
            pipeline.execute()
    finish(began)


def single(client: Client, count: int) -> None:
    """`count` messages, each published when the one before was answered."""
    began = begin()
    for _ in range(count):
        client.publish(CHANNEL, PAYLOAD)
    finish(began)


def pace(client: Client, rate: int, count: int, *, put: Put = publish, transaction: bool = False) -> None:
    """`count` messages, evenly."""
    client.ping()
    began = begin()
    load = Pace(rate, count)
    while not load.ended:
        with client.pipeline(transaction=transaction) as pipeline:
            for _ in range(load.due()):
                put(pipeline, CHANNEL, stamped())
            pipeline.execute()
        time.sleep(load.wait())
    finish(began)


if __name__ == "__main__":
    place, name, *numbers = sys.argv[1:]
    modes = {mode.__name__: mode for mode in (log, trace, record, flood, evalsha, single, pace)}
    # RESP2: redis-py takes longer over a message of RESP3.
    with redis.Redis(**connection(place), protocol=2, decode_responses=True) as connected:
        modes[name](connected, *map(int, numbers))
