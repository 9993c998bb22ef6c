"""Fanout's writer as a load, in the product's environment.

python -m bench.fanout_publish flood COUNT | pace RATE COUNT

Prints a line as it begins, and at the end one with the seconds that it took. The settings are the publisher's.
"""

import asyncio
import itertools
import json
import os
import sys
import time

from bench.pace import Pace
from bench.wire import CHANNEL, EVENT_BYTES, text
from fanout import logs
from fanout.environment import Environment
from fanout.health import Heartbeat
from fanout.lifecycle import rare_collections
from fanout.threads import EventLoop
from fanout.writer import Writer
from publisher.settings import read

ENVELOPE = 155
"""Bytes of an event without its data, about."""


async def flood(writer: Writer, count: int) -> None:
    """Publishes as fast as it goes; returns when Redis has accepted all."""
    await writer.publish_all(CHANNEL, itertools.repeat(text(EVENT_BYTES - ENVELOPE), count))


async def pace(writer: Writer, rate: float, count: int) -> None:
    """Publishes evenly, `rate` events a second."""
    data = text(EVENT_BYTES - ENVELOPE)
    load = Pace(rate, count)
    async for _ in load.ticks():
        for _ in range(load.due()):
            writer.enqueue(CHANNEL, data)
    await writer.flush()


async def run(mode: str, numbers: list[int]) -> None:
    """Opens a writer, waits for its connection, publishes, and says how long that took."""
    settings = read(Environment(os.environ))
    async with Writer(settings, settings.history, Heartbeat("")) as writer:
        while not writer.sender.redis:
            await asyncio.sleep(0.001)
        print(json.dumps({"event": "started"}, separators=(",", ":")), flush=True)
        began = time.monotonic()
        await (flood(writer, *numbers) if mode == "flood" else pace(writer, *numbers))
        seconds = time.monotonic() - began
    print(json.dumps({"began": began, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    logs.configure(Environment(os.environ), "publisher", "bench")
    rare_collections()  # as the service does
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(run(sys.argv[1], list(map(int, sys.argv[2:]))))
