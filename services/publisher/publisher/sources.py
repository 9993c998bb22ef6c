"""Messages that the publisher makes itself, and those that it reads."""

import asyncio
import contextlib
import os
import sys
import time

from fanout.errors import BadInput, NotAccepted
from fanout.logs import get_logger
from fanout.message import timestamp
from fanout.threads import Worker
from fanout.writer import Writer
from publisher.settings import PublisherSettings

TICK = 0.02
CHUNK = 64 * 1024
LONGEST = 2_000_000
"""Bytes of a line that are kept: more than any event may have, so that a longer line is refused as one."""
LATE = 1.0


async def run(writer: Writer, settings: PublisherSettings) -> None:
    """The steady load if PUBLISH_RATE asks for one, else the heartbeat; never returns."""
    if settings.publish_rate:
        await steady_load(writer, settings)
    elif settings.publish_interval:
        await heartbeat(writer, settings)
    await asyncio.Event().wait()


async def heartbeat(writer: Writer, settings: PublisherSettings) -> None:
    """Publishes a greeting every PUBLISH_INTERVAL seconds; never returns."""
    while True:
        began = time.monotonic()
        with contextlib.suppress(NotAccepted):  # the writer has logged it
            await writer.publish(settings.channel, f"Hello at {timestamp(time.time())}")
        await asyncio.sleep(max(0.0, began + settings.publish_interval - time.monotonic()))


async def steady_load(writer: Writer, settings: PublisherSettings) -> None:
    """Publishes PUBLISH_RATE messages a second, in small bursts, up to PUBLISH_COUNT (0: without end)."""
    log = get_logger()
    began = due_from = time.monotonic()
    made = made_before = 0
    while not settings.publish_count or made < settings.publish_count:
        now = time.monotonic()
        due = made_before + int((now - due_from) * settings.publish_rate)
        if settings.publish_count:
            due = min(due, settings.publish_count)
        made += await writer.put_all(settings.channel, (f"Message {n}" for n in range(made + 1, due + 1)))
        if time.monotonic() - now > LATE:  # held up by back-pressure: goes on at its rate, without making up for it
            due_from, made_before = time.monotonic(), made
        await asyncio.sleep(TICK)
    await writer.flush()
    log.info("load_finished", count=made, took_s=round(time.monotonic() - began, 3))


async def standard_input(writer: Writer, channel: str) -> None:
    """Publishes each line of standard input, without its line end, until there are no more.

    Raises:
        BadInput: after the last line, if some could not be published; a `line_refused` names each.
    """
    worker = Worker("stdin")
    number = refused = 0
    rest = b""
    try:
        while chunk := await worker.call(lambda: os.read(sys.stdin.fileno(), CHUNK)):
            *lines, rest = (rest + chunk).split(b"\n")
            await writer.room()
            for line in lines:
                number += 1
                refused += not _publish_line(writer, channel, number, line)
            rest = rest[:LONGEST]
        if rest:
            number += 1
            refused += not _publish_line(writer, channel, number, rest)
    finally:
        worker.stop()
    await writer.flush()
    if refused:
        raise BadInput(f"{refused} of {number} lines could not be published")


def _publish_line(writer: Writer, channel: str, number: int, line: bytes) -> bool:
    try:
        writer.put(channel, line.removesuffix(b"\r").decode())
    except ValueError as error:
        get_logger().error("line_refused", line=number, cause=str(error))
        return False
    return True
