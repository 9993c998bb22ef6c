"""redis-py with a history, the two ways that its users have: python -m bench.peers.redis_py_history PORT MODE.

multi COUNT BATCH, multi_pace RATE COUNT    XADD and PUBLISH of each message within MULTI and EXEC, which is what
                                            redis-py's pipeline() does by itself; subscribers `listen()`
xadd COUNT BATCH, xadd_pace RATE COUNT      XADD in a pipeline, for subscribers that read the stream
log, trace                                  such a subscriber: XREAD BLOCK, a line a message
"""

import sys
from collections.abc import Iterator

import redis

from bench.peers import redis_py
from bench.peers.common import KEPT, SHOWN, age, connection, logger
from bench.peers.redis_py import Client
from bench.wire import CHANNEL

READ = 1000
"""Entries that one XREAD asks for."""
BLOCK = 1000
"""Milliseconds that it waits."""


def append(pipeline: Client, channel: str, payload: str | bytes) -> None:
    """Add an entry to the channel's stream."""
    pipeline.xadd(f"history:{channel}", {"event": payload}, maxlen=KEPT, approximate=True)


def append_and_publish(pipeline: Client, channel: str, payload: str | bytes) -> None:
    """Add it, and publish it."""
    append(pipeline, channel, payload)
    pipeline.publish(channel, payload)


def multi(client: Client, count: int, batch: int) -> None:
    """Do as `flood`, with a history."""
    redis_py.flood(client, count, batch, put=append_and_publish, transaction=True)


def multi_pace(client: Client, rate: int, count: int) -> None:
    """Do as `pace`, with a history."""
    redis_py.pace(client, rate, count, put=append_and_publish, transaction=True)


def xadd(client: Client, count: int, batch: int) -> None:
    """Do as `flood`, to a stream."""
    redis_py.flood(client, count, batch, put=append)


def xadd_pace(client: Client, rate: int, count: int) -> None:
    """Do as `pace`, to a stream."""
    redis_py.pace(client, rate, count, put=append)


def entries(client: Client) -> Iterator[list[str]]:
    """Yield what the stream holds and gets, as each XREAD brings it."""
    stream = f"history:{CHANNEL}"
    last = "0"
    while True:
        for _, found in client.xread({stream: last}, count=READ, block=BLOCK):
            last = found[-1][0]
            yield [fields["event"] for _, fields in found]


def log(client: Client) -> None:
    """Write a line a message, until it is stopped."""
    info = logger().info
    for page in entries(client):
        for data in page:
            info("message_received", channel=CHANNEL, data=data[:SHOWN])


def trace(client: Client) -> None:
    """Do as `log`, with each message's age."""
    info = logger().info
    for page in entries(client):
        for data in page:
            info("message_received", channel=CHANNEL, latency_ms=age(data) / 1000, data=data)


if __name__ == "__main__":
    place, name, *numbers = sys.argv[1:]
    modes = {mode.__name__: mode for mode in (multi, multi_pace, xadd, xadd_pace, log, trace)}
    with redis.Redis(**connection(place), protocol=2, decode_responses=True) as connected:
        modes[name](connected, *map(int, numbers))
