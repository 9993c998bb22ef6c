"""The batches under way: sent on one connection, a few at a time, and answered in order."""

import asyncio
import itertools
from collections import deque
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from fanout._publish import script
from fanout._publish.batch import Batch
from fanout._publish.durability import on_disk
from fanout._publish.pace import Pace
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._redis.retry import of_channel
from fanout.errors import ConnectionLost
from fanout.settings import BATCH_BYTES, HistorySettings

AHEAD = pack(("PING",))
"""Sent before each batch. Redis writes first to clients that have no reply pending, so it serves subscribers before us.

Without it the publisher wakes up to read its reply, and takes the processor from a server that has yet to send the
events to subscribers: measured on two cores, 90 microseconds.
"""
UNDER_WAY = 4
"""How many batches of a producer may be under way; meanwhile more events gather for the next one."""
UNDER_WAY_FSYNC = 16
MANY = 64
"""How many batches of all producers may be under way while they have fewer than MANY_EVENTS events together."""
MANY_EVENTS = 512


class Answer(NamedTuple):
    """The reply to a batch: the script's reply, or without history the replies to its messages.

    The reply is None if the batch must be sent again. It is an error if Redis refuses the batch for a reason that
    concerns only its channel.
    """

    batch: Batch
    reply: list[Any] | Exception | None


class Pipeline:
    """The batches under way on a connection, published as the settings say: script, fsync or plain Pub/Sub.

    `each` is how many batches of one producer may be under way.
    """

    def __init__(self, redis: Commands, history: HistorySettings, dead_after: float, pace: Pace) -> None:
        self._redis, self._history, self._pace = redis, history, pace
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        self.each = UNDER_WAY_FSYNC if history.fsync else UNDER_WAY
        self._dead_after = dead_after
        self._batches: deque[Batch] = deque()
        self._events = 0

    @property
    def room(self) -> bool:
        """Whether another batch may be sent."""
        count = len(self._batches)
        return count < self.each or (count < MANY and self._events < MANY_EVENTS)

    @property
    def silent_for(self) -> float:
        """Seconds since the last answer, or since the oldest batch was sent if that was later; 0 if none is."""
        return self._loop.time() - self._since if self._batches else 0.0

    @property
    def busy(self) -> bool:
        """Whether any batch is under way."""
        return bool(self._batches)

    def send(self, batch: Batch) -> None:
        """Send a batch."""
        if not self._batches:
            self._since = self._loop.time()
        if self._history.size:
            commands = [script.command(batch.producer, batch, self._history)]
        else:
            messages = batch.cut(1 if self._history.plain else self._history.batch_events, BATCH_BYTES)
            commands = [pack(("PUBLISH", batch.producer.channel, text)) for _, text in messages]
        batch.answered = self._redis.send_all([AHEAD, *commands])
        self._batches.append(batch)
        self._events += sum(batch.counts)

    async def answers(self) -> list[Answer]:
        """Wait for the answer to the oldest batch; return it and those that arrived with it.

        With fsync, wait for the answers to all batches under way, and until their events are on disk.

        Raises:
            ConnectionLost, RedisError: there is no answer; the batches stay under way.
        """
        await self._redis.drain()
        first, *others = self._batches
        if self._history.fsync:
            disk = asyncio.ensure_future(on_disk(self._redis, self._dead_after))
            answers = [await self._answer(batch) for batch in (first, *others)]
            await disk
            return answers
        answers = [await self._answer(first)]
        return answers + [await self._answer(batch) for batch in itertools.takewhile(_is_answered, others)]

    async def _answer(self, batch: Batch) -> Answer:
        assert batch.answered
        _, *replies = await batch.answered
        if isinstance(replies[-1], ConnectionLost) and self._history.size:
            raise replies[-1]
        if not isinstance(replies[-1], ConnectionLost):
            self._pace.answered(batch.events, self.silent_for)
            self._since = self._loop.time()
        if not self._history.size:
            return Answer(batch, replies)
        reply = replies[0]
        if isinstance(reply, NoScriptError):
            return Answer(batch, None)
        if isinstance(reply, Exception):
            if of_channel(reply):
                return Answer(batch, reply)
            raise reply
        return Answer(batch, reply if script.joined(reply) else None)

    def done(self, batch: Batch) -> None:
        """Remove a batch whose answer is settled."""
        self._batches.remove(batch)
        self._events -= sum(batch.counts)

    def doom(self, refused: Batch) -> None:
        """Mark the batches of the same producer that were sent after the refused one."""
        for batch in self._batches:
            batch.doomed |= batch.producer is refused.producer

    async def drain(self) -> None:
        """Wait for all answers, ignore them, and put the events of all batches under way back into the queue."""
        for batch in self._batches:
            if batch.answered:
                await asyncio.wait([batch.answered])
        self.give_back()

    def give_back(self) -> list[Batch]:
        """Put the events of all batches under way back into the queue; return these batches."""
        batches = list(self._batches)
        self._events = 0
        while self._batches:
            batch = self._batches.pop()
            batch.producer.give_back(batch)
        return batches


def _is_answered(batch: Batch) -> bool:
    return batch.answered is not None and batch.answered.done()
