"""Batches under way: sent on one connection, a few at a time, and answered in their order."""

import asyncio
from collections import deque
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from fanout import script
from fanout.commands import Commands
from fanout.connection import pack
from fanout.errors import ConnectionLost
from fanout.outbox import Outbox, Pending
from fanout.settings import HistorySettings

AHEAD = pack(("PING",))
"""Redis writes first to whom it owed nothing before: with this answer already due, the subscribers come before us.

Else the publisher, woken to read that its events are accepted, takes the processor from a server that has yet to send
them: measured on two cores, 90 microseconds.
"""
UNDER_WAY = 4
UNDER_WAY_FSYNC = 16


async def on_disk(redis: Commands, dead_after: float) -> None:
    """Waits until what this connection wrote is on the server's disk.

    Raises:
        ConnectionLost: it is not within half of DEAD_AFTER; PING is not answered meanwhile.
    """
    if (await redis.call("WAITAOF", 1, 0, int(dead_after * 500)))[0] < 1:
        raise ConnectionLost("the server has not written to disk in time")


class Answer(NamedTuple):
    """The reply to a batch: the script's, or without history one for each event. None: it is to be sent again."""

    outbox: Outbox
    batch: list[Pending]
    reply: list[Any] | None


class Exchange:
    """The batches under way on a connection, published as the settings say: script, fsync or plain Pub/Sub."""

    def __init__(self, redis: Commands, history: HistorySettings, dead_after: float) -> None:
        self._redis, self._history = redis, history
        self._limit = UNDER_WAY_FSYNC if history.fsync else UNDER_WAY
        self._dead_after = dead_after
        self._under_way: deque[tuple[Outbox, list[Pending], asyncio.Future[list[Any]]]] = deque()

    @property
    def room(self) -> bool:
        """Whether another batch may go out."""
        return len(self._under_way) < self._limit

    @property
    def busy(self) -> bool:
        """Whether any batch is under way."""
        return bool(self._under_way)

    def send(self, outbox: Outbox, batch: list[Pending]) -> None:
        """Sends a batch."""
        if self._history.size:
            commands = [script.command(outbox, batch, self._history.size, self._history.ttl)]
        else:
            commands = [pack(("PUBLISH", outbox.channel, event.wire)) for event in batch]
        self._under_way.append((outbox, batch, self._redis.send_all([AHEAD, *commands])))

    async def answers(self) -> list[Answer]:
        """Waits for the oldest batch; with fsync for all that are under way, and for the disk.

        Raises:
            ConnectionLost, RedisError: there is no answer; the batches stay under way in their outboxes.
        """
        await self._redis.drain()
        count = 1
        if self._history.fsync:
            count = len(self._under_way)
            disk = asyncio.ensure_future(on_disk(self._redis, self._dead_after))
        answers = [await self._answer(*self._under_way.popleft()) for _ in range(count)]
        if self._history.fsync:
            await disk
        return answers

    async def _answer(self, outbox: Outbox, batch: list[Pending], answered: asyncio.Future[list[Any]]) -> Answer:
        _, *replies = await answered
        if not self._history.size:
            return Answer(outbox, batch, replies)
        reply = replies[0]
        if isinstance(reply, NoScriptError):
            return Answer(outbox, batch, None)
        if isinstance(reply, Exception):
            raise reply
        return Answer(outbox, batch, reply if script.joined(reply) else None)

    async def drain(self) -> None:
        """Waits until nothing is under way, whatever the answers."""
        while self._under_way:
            await asyncio.wait([self._under_way.popleft()[2]])
