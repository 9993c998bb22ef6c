"""redis-py, synchronous, with hiredis: `listen()`, and `publish()` one by one or in a pipeline."""

import json
import os
import sys
import time
from typing import Any

import redis

from bench.pace import Pace
from bench.peers.common import BATCH, PAYLOAD, age, begin, finish, logger, stamped
from bench.wire import CHANNEL

Client = Any  # redis-py lacks the types of half of what is called here


def messages(client: Client) -> Any:
    """The messages of the channel, as they come."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(CHANNEL)
    return pubsub.listen()


def log(client: Client) -> None:
    """A line a message, until it is stopped."""
    info = logger().info
    for message in messages(client):
        info("message_received", channel=message["channel"], data=message["data"])


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


def flood(client: Client, count: int, batch: int) -> None:
    """`count` messages in pipelines of `batch`."""
    began = begin()
    for made in range(0, count, batch):
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(min(batch, count - made)):
                pipeline.publish(CHANNEL, PAYLOAD)
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


def pace(client: Client, rate: int, count: int) -> None:
    """`count` messages, evenly."""
    client.ping()
    began = begin()
    load = Pace(rate, count)
    while not load.ended:
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(load.due()):
                pipeline.publish(CHANNEL, stamped())
            pipeline.execute()
        time.sleep(load.wait())
    finish(began)


if __name__ == "__main__":
    port, name, *numbers = sys.argv[1:]
    modes = {mode.__name__: mode for mode in (log, trace, record, flood, evalsha, single, pace)}
    # RESP2: redis-py takes longer over a message of RESP3.
    with redis.Redis(port=int(port), protocol=2, decode_responses=True) as connected:
        modes[name](connected, *map(int, numbers))
