"""Fanout's publisher as a load, in the product's environment.

python -m bench.fanout_publish flood COUNT | pace RATE COUNT | turns CHANNELS ROUNDS

Prints a line as it begins, and at the end one with the seconds that it took. The settings are the publisher's; the
variable SIZE says how many bytes an event has, if not 200.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

from bench.pace import Pace
from bench.wire import CHANNEL, EVENT_BYTES, channels, text
from fanout import Publisher
from fanout.environment import Environment
from fanout.service import logs
from fanout.service.event_loop import EventLoop
from fanout.service.lifecycle import rare_collections
from publisher.settings import read

ENVELOPE = 155
"""Bytes of an event without its data, about."""
DATA = text(int(os.environ.get("SIZE", EVENT_BYTES)) - ENVELOPE)
TURN = 500
"""Events that are put into the queue before batches go out, as many as publish_all() does."""


async def flood(publisher: Publisher, count: int) -> None:
    """Publishes as fast as it goes; returns when Redis has accepted all."""
    await publisher.publish_all(CHANNEL, itertools.repeat(DATA, count))


async def pace(publisher: Publisher, rate: float, count: int) -> None:
    """Publishes evenly, `rate` events a second."""
    load = Pace(rate, count)
    async for _ in load.ticks():
        for _ in range(load.due()):
            publisher.enqueue(CHANNEL, DATA)
    await publisher.flush()


async def turns(publisher: Publisher, count: int, rounds: int) -> None:
    """Publish one event on each of `count` channels, and again when Redis has accepted all of them."""
    names = channels(count)
    for _ in range(rounds):
        for begin in range(0, count, TURN):
            for name in names[begin : begin + TURN]:
                publisher.put(name, DATA)
            await asyncio.sleep(0)
        await publisher.publish_all(CHANNEL, ())


MODES: Mapping[str, Callable[..., Awaitable[None]]] = {"flood": flood, "pace": pace, "turns": turns}


async def run(mode: str, numbers: list[int]) -> None:
    """Opens a publisher, waits for its connection, publishes, and says how long that took."""
    settings = read(Environment(os.environ))
    async with Publisher(settings, history=settings.history) as publisher:
        while not publisher.redis:
            await asyncio.sleep(0.001)
        print(json.dumps({"event": "started"}, separators=(",", ":")), flush=True)
        began = time.monotonic()
        await MODES[mode](publisher, *numbers)
        seconds = time.monotonic() - began
    print(json.dumps({"began": began, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    logs.configure(Environment(os.environ), "publisher", "bench")
    rare_collections()  # as the service does
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(run(sys.argv[1], list(map(int, sys.argv[2:]))))
