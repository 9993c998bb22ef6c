"""One task that sends the waiting events in batches.

With history, events that Redis has not accepted, or has lost again, are sent until it has them. Without history
(HISTORY_SIZE=0) this is plain Pub/Sub, at most once: events that were under way when a connection was lost are not sent
again.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable

from redis.exceptions import OutOfMemoryError, RedisError

from fanout import keys
from fanout._publish.durability import check_server
from fanout._publish.pace import Pace
from fanout._publish.pipeline import Pipeline
from fanout._publish.producer import Producer
from fanout._publish.retention import ENDED_TTL, Retention
from fanout._publish.send_queue import SendQueue
from fanout._publish.settlement import Settlement
from fanout._publish.tally import Tally
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._redis.retry import cause, refusal, with_backoff
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.log import get_logger
from fanout.settings import HistorySettings, Settings

ASKED_AT_ONCE = 500
"""How many channels Redis is asked about at once; batches are sent between two such questions."""
TURN = 1.0
"""Seconds after which the loop runs again although there is nothing to send."""
EXPIRE_WITHIN = 1.0


class Sender:
    """Sends a queue's batches.

    `redis` is the connection, while there is one. `alive` is called in each turn of the loop, at least once a second
    from the first connection on.
    """

    def __init__(
        self, settings: Settings, history: HistorySettings, queue: SendQueue, alive: Callable[[], None]
    ) -> None:
        self._settings, self._history, self._queue, self._alive = settings, history, queue, alive
        self._log = get_logger()
        self.tally = Tally(settings.log_messages)
        self.settlement = Settlement(settings, history, queue, self.tally, self._clock)
        self._retention = Retention(history, queue, self.tally)
        self._pace = Pace(settings.dead_after)
        self._full = False
        self._away = 0.0
        self._lost_at: float | None = None
        self._answered = asyncio.Event()
        self._asked = time.monotonic()
        self._to_ask: deque[Producer] | None = None
        self.redis: Commands | None = None
        self.reconnects = -1

    async def run(self) -> None:
        """Send until the task is cancelled; never return.

        Raises:
            RefusedByRedis: Redis refuses, and trying again would not help.
        """
        while True:
            self.tally.refused.clear()
            connection = await with_backoff(self._connect, self._settings, self._turn, again=self.reconnects >= 0)
            self.reconnects += 1
            connection.on_lost = self._queue.wake.set
            if self._lost_at is not None:
                self._away += time.monotonic() - self._lost_at
                self._lost_at = None
            pipeline = Pipeline(connection, self._history, self._settings.dead_after, self._pace)
            keeping = asyncio.create_task(self._retention.keep(connection))
            try:
                self.redis = connection
                await self._send_batches(connection, pipeline)
            except (ConnectionLost, RedisError) as error:
                await self._lost(error, pipeline)
            finally:
                self.redis = None
                self._lost_at = time.monotonic()
                keeping.cancel()
                pipeline.give_back()
                connection.close()

    async def _lost(self, error: ConnectionLost | RedisError, pipeline: Pipeline) -> None:
        if isinstance(error, OutOfMemoryError):
            if self._full:  # Redis could answer the question, but has no memory for the batch yet
                await asyncio.sleep(random.uniform(0, self._settings.backoff_cap))
            self._full = True
        if refusal(error):
            waiting = self._queue.waiting
            lost = f"; {waiting} waiting events are lost" if waiting else ""
            raise RefusedByRedis(f"Redis refuses: {error}{lost}") from None
        smaller = self._pace.timed_out(pipeline.silent_for)
        known = {"batch_events": self._pace.events} if smaller else {}
        self._log.warning("connection_lost", cause=cause(error), **known)
        if not self._history.size:
            self.settlement.give_up(pipeline.give_back(), cause(error))

    def _turn(self) -> None:
        if self.reconnects >= 0:
            self._alive()

    async def ask(self) -> None:
        """Ask Redis what it holds, and return when it has answered; the events that it has lost are queued again."""
        if self._queue.ring.events:
            self._asked = -self._settings.timings.ask_every
            self._to_ask = None
            self._answered.clear()
            self._queue.wake.set()
            await self._answered.wait()

    def end(self) -> None:
        """Let all calls of `ask` return: there will be no answer."""
        self._answered.set()

    async def expire_keys(self) -> None:
        """Let the producers' keys expire within the hour; after a crash they stay for CHANNEL_TTL."""
        if self.redis and self._history.size:
            names = [keys.producer(producer.channel, producer.name) for producer in self._queue.producers.values()]
            expire = self.redis.send(*(pack(("EXPIRE", name, ENDED_TTL)) for name in names))
            with contextlib.suppress(TimeoutError, RedisError, ConnectionLost):
                await asyncio.wait_for(asyncio.gather(*expire), EXPIRE_WITHIN)

    async def _connect(self, within: float) -> Commands:
        """Return a connection to a server that can take events. The events that it does not hold are queued."""
        connection = None
        try:
            connection = await Commands.open(self._settings, within)
            if self._history.size:
                await check_server(connection, self._history)
                if self._full:
                    await self._retention.trim(connection)
                await self._ask_all(connection)
        except RefusedByRedis as error:
            if connection:
                connection.close()
            if self.reconnects < 0:
                raise
            raise ConnectionLost(str(error)) from None  # the server was suitable before, and may be again
        except BaseException as error:
            self._full |= isinstance(error, OutOfMemoryError)
            if connection:
                connection.close()
            raise
        return connection

    async def _send_batches(self, connection: Commands, pipeline: Pipeline) -> None:
        pace, queue, settlement = self._pace, self._queue, self.settlement
        while True:
            self._alive()
            if settlement.repeating:
                settlement.repeat_what_is_due()
            if self._time_to_ask():
                await self._ask_some(connection)
            with connection.together():
                while pipeline.room and (batch := queue.take(pace.events, pace.bytes, pipeline.each)):
                    pipeline.send(batch)
            if pipeline.busy:
                settled = [settlement.settle(answer, pipeline) for answer in await pipeline.answers()]
                if all(settled):
                    self._full = False
                else:
                    await pipeline.drain()
                    await self._ask_all(connection)
            elif self._to_ask is None:
                queue.wake.clear()
                connection.check()
                timer = asyncio.get_running_loop().call_later(TURN, queue.wake.set)
                await queue.wake.wait()
                timer.cancel()

    async def _ask_all(self, connection: Commands) -> None:
        producers = [producer for producer in self._queue.producers.values() if not producer.idle]
        await self.settlement.resync(connection, producers)
        self._asked_all()

    async def _ask_some(self, connection: Commands) -> None:
        """Ask what Redis holds of the next channels. If a batch is under way, its reply will say so."""
        if self._to_ask is None:
            self._to_ask = deque(producer for producer in self._queue.producers.values() if not producer.idle)
        to_ask = self._to_ask
        part = [to_ask.popleft() for _ in range(min(len(to_ask), ASKED_AT_ONCE))]
        part = [producer for producer in part if not producer.under_way]
        if part:
            held = await connection.call("MGET", *(keys.producer(one.channel, one.name) for one in part))
            differ = [one for one, seq in zip(part, held, strict=True) if seq != b"%d" % one.held]
            if differ:
                await self.settlement.resync(connection, differ)
        if self._to_ask is to_ask and not to_ask:
            self._asked_all()

    def _asked_all(self) -> None:
        self._to_ask = None
        self._asked = time.monotonic()
        self._answered.set()

    def _time_to_ask(self) -> bool:
        if not self._history.size:
            return False
        if self._to_ask is not None:
            return True
        ring = self._queue.ring
        ring.forget(self._clock())
        return ring.events > 0 and time.monotonic() - self._asked > self._settings.timings.ask_every

    def _clock(self) -> float:
        """Return the connected time in seconds; it stands still from a loss until Redis has said what it holds."""
        return (time.monotonic() if self._lost_at is None else self._lost_at) - self._away
