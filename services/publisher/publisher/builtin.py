"""The built-in sources: heartbeat, steady load and standard input. For the user's source see own_source.py."""

import asyncio
import contextlib
import os
import sys
import time

import structlog

from fanout import Publisher
from fanout._event.encode import timestamp
from fanout.errors import BadInput, NotAccepted
from fanout.service.worker import Worker
from publisher.settings import PublisherSettings

TICK = 0.02
CHUNK = 64 * 1024
LONGEST = 2_000_000
"""Bytes of a line that are kept: more than any event may have, so a longer line is still refused as too large."""
LATE = 1.0


async def run(publisher: Publisher, settings: PublisherSettings) -> None:
    """Run the steady load if PUBLISH_RATE is set, else the heartbeat; never return."""
    publisher.open(settings.channel)
    if settings.publish_rate:
        await steady_load(publisher, settings)
    elif settings.publish_interval:
        await heartbeat(publisher, settings)
    await asyncio.Event().wait()


async def heartbeat(publisher: Publisher, settings: PublisherSettings) -> None:
    """Publish a greeting every PUBLISH_INTERVAL seconds; never return."""
    while True:
        began = time.monotonic()
        with contextlib.suppress(NotAccepted):  # already logged by the publisher
            await publisher.publish(settings.channel, f"Hello at {timestamp(time.time())}")
        await asyncio.sleep(max(0.0, began + settings.publish_interval - time.monotonic()))


async def steady_load(publisher: Publisher, settings: PublisherSettings) -> None:
    """Publish PUBLISH_RATE messages a second, in small bursts, up to PUBLISH_COUNT (0: without end)."""
    log = structlog.get_logger()
    began = due_from = time.monotonic()
    made = made_before = 0
    while not settings.publish_count or made < settings.publish_count:
        now = time.monotonic()
        due = made_before + int((now - due_from) * settings.publish_rate)
        if settings.publish_count:
            due = min(due, settings.publish_count)
        made += await publisher.put_all(settings.channel, (f"Message {n}" for n in range(made + 1, due + 1)))
        if time.monotonic() - now > LATE:  # delayed by back-pressure: keep the rate, do not make up for it
            due_from, made_before = time.monotonic(), made
        await asyncio.sleep(TICK)
    await publisher.flush()
    log.info("load_finished", count=made, took_s=round(time.monotonic() - began, 3))


async def standard_input(publisher: Publisher, channel: str) -> None:
    """Publish each line of standard input, without its line end.

    Raises:
        BadInput: after the last line, if some lines could not be published; each is logged as `line_refused`.
    """
    worker = Worker("stdin")
    number = refused = 0
    rest = b""
    try:
        while chunk := await worker.call(lambda: os.read(sys.stdin.fileno(), CHUNK)):
            *lines, rest = (rest + chunk).split(b"\n")
            await publisher.room()
            for line in lines:
                number += 1
                refused += not _publish_line(publisher, channel, number, line)
            rest = rest[:LONGEST]
        if rest:
            number += 1
            refused += not _publish_line(publisher, channel, number, rest)
    finally:
        worker.stop()
    await publisher.flush()
    if refused:
        raise BadInput(f"{refused} of {number} lines could not be published")


def _publish_line(publisher: Publisher, channel: str, number: int, line: bytes) -> bool:
    try:
        publisher.put(channel, line.removesuffix(b"\r").decode())
    except ValueError as error:
        structlog.get_logger().error("line_refused", line=number, cause=str(error))
        return False
    return True
