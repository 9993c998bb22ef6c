"""One task that sends what is waiting, in batches, until Redis has accepted it.

With history, what Redis has not accepted, or has lost again, is sent until it has. Without (HISTORY_SIZE=0) this is
plain Pub/Sub, at most once: what was under way when a connection broke is not sent again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from fanout import keys, script
from fanout.backoff import cause, refusal, with_backoff
from fanout.buffer import Buffer, reject
from fanout.commands import Commands
from fanout.connection import check_eviction, pack
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.exchange import Answer, Exchange, on_disk
from fanout.health import Heartbeat
from fanout.logs import every, get_logger, shown
from fanout.message import received
from fanout.outbox import Accepted, Outbox, Pending
from fanout.settings import HistorySettings, Settings

ASK_EVERY = 3.0
RENEW_EVERY = 3600.0
GOODBYE_TTL = 3600
GOODBYE_WITHIN = 1.0
WAITAOF_SINCE = (7, 2)


class Sender:
    """Sends a buffer's batches and counts events: accepted, failed, sent again (`replayed`), and `gone`.

    `redis` is the connection, while there is one.
    """

    def __init__(self, settings: Settings, history: HistorySettings, heartbeat: Heartbeat, buffer: Buffer) -> None:
        self._settings, self._history, self._heartbeat, self._buffer = settings, history, heartbeat, buffer
        self._log = get_logger()
        self._every = every(settings.log_messages)
        self._answered = asyncio.Event()
        self._away = 0.0
        self._lost_at: float | None = None
        self._asked = self._renewed = time.monotonic()
        self.redis: Commands | None = None
        self.accepted = self.failed = self.replayed = self.gone = 0
        self.reconnects = -1

    @property
    def state(self) -> str:
        """`live` while there is a connection, else `connecting`."""
        return "live" if self.redis else "connecting"

    async def run(self) -> None:
        """Never returns.

        Raises:
            RefusedByRedis: Redis says no for good.
        """
        while True:
            connection = await with_backoff(
                self._connect, self._settings, self._heartbeat.beat, again=self.reconnects >= 0
            )
            self.reconnects += 1
            self._heartbeat.start()
            connection.on_lost = self._buffer.wake.set
            if self._lost_at is not None:
                self._away += time.monotonic() - self._lost_at
            try:
                self.redis = connection
                await self._send_batches(connection)
            except (ConnectionLost, RedisError) as error:
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}") from None
                self._log.warning("connection_lost", cause=cause(error))
                if not self._history.size:
                    self._give_up_under_way(cause(error))
            finally:
                self.redis = None
                self._lost_at = time.monotonic()
                connection.close()

    async def ask(self) -> None:
        """Returns when Redis has said what it holds; what it has lost waits again then."""
        if any(outbox.remembers for outbox in self._buffer.outboxes.values()):
            self._asked = -ASK_EVERY
            self._answered.clear()
            self._buffer.wake.set()
            await self._answered.wait()

    async def say_goodbye(self) -> None:
        """Lets the producers' keys go within the hour, where a crash would leave them for CHANNEL_TTL."""
        if self.redis and self._history.size:
            names = [keys.producer(outbox.channel, outbox.producer) for outbox in self._buffer.outboxes.values()]
            expire = self.redis.send(*(pack(("EXPIRE", name, GOODBYE_TTL)) for name in names))
            with contextlib.suppress(TimeoutError, RedisError, ConnectionLost):
                await asyncio.wait_for(asyncio.gather(*expire), GOODBYE_WITHIN)

    async def _connect(self, within: float) -> Commands:
        """A connection to a server that takes events, with everything it does not hold waiting to be sent."""
        connection = await Commands.open(self._settings, within)
        try:
            if self._history.size:
                await self._check_server(connection)
                await self._resync(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _send_batches(self, connection: Commands) -> None:
        exchange = Exchange(connection, self._history, self._settings.dead_after)
        while True:
            self._heartbeat.beat()
            while exchange.room and (batch := self._buffer.take()):
                exchange.send(*batch)
            if exchange.busy:
                settled = [self._settle(answer) for answer in await exchange.answers()]
                if not all(settled):
                    await exchange.drain()
                    await self._resync(connection)
            elif self._time_to_ask():
                await self._resync(connection)
            else:
                self._buffer.wake.clear()
                connection.check()
                timer = asyncio.get_running_loop().call_later(Heartbeat.INTERVAL, self._buffer.wake.set)
                await self._buffer.wake.wait()
                timer.cancel()

    def _settle(self, answer: Answer) -> bool:
        """Tells those who wait what became of their events; False if the batch is to be sent again."""
        outbox, batch, reply = answer
        if reply is None:
            return False
        outbox.accept(self._clock(), keep=bool(self._history.size))
        self._buffer.done(batch)
        if self._history.size:
            self._accept(outbox, batch, script.became(outbox, batch, reply))
            return True
        results = list(zip(batch, reply, strict=True))
        accepted = [event for event, result in results if not isinstance(result, Exception)]
        self._accept(outbox, accepted, outbox.accepted_as)
        for event, result in results:
            if isinstance(result, Exception):
                self._fail(outbox, event, cause(result))
                if refusal(result):
                    raise RefusedByRedis(f"Redis refuses: {result}")
        return True

    async def _resync(self, connection: Commands) -> None:
        """Asks what Redis holds of every channel's events, and has the others sent, or sent again."""
        await script.load(connection)
        renew = time.monotonic() - self._renewed > RENEW_EVERY
        outboxes = [outbox for outbox in self._buffer.outboxes.values() if renew or not outbox.idle]
        size, ttl = self._history.size, self._history.ttl
        asked = connection.send(*(script.command(outbox, [], size, ttl) for outbox in outboxes))
        if self._history.fsync:
            await on_disk(connection, self._settings.dead_after)
        for outbox, answer in zip(outboxes, asked, strict=True):
            confirmed, again, gone = outbox.rewind(script.held(await answer), self._clock())
            self._buffer.done(confirmed)
            self._accept(outbox, confirmed, outbox.accepted_as)
            if again:
                self.replayed += len(again)
                self._buffer.again(again)
                self._log.warning("replaying", channel=outbox.channel, count=len(again))
            if gone:
                self.gone += gone
                self._log.error("events_gone", channel=outbox.channel, source=outbox.source, count=gone)
        self._buffer.rewound()
        self._asked = time.monotonic()
        self._answered.set()
        if renew:
            self._renewed = self._asked

    async def _check_server(self, connection: Commands) -> None:
        """Refuses a server that could not keep what it accepts.

        Raises:
            RefusedByRedis: it evicts keys, or cannot do DURABILITY=fsync.
        """
        check_eviction(connection.info)
        if not self._history.fsync:
            return
        if connection.info.get("aof_enabled") != "1":
            raise RefusedByRedis("DURABILITY=fsync needs a server with appendonly yes, and this one has no AOF")
        if (await connection.call("CONFIG", "GET", "appendfsync"))[1] == b"no":
            raise RefusedByRedis("DURABILITY=fsync needs appendfsync always or everysec, and this server has no")
        if tuple(map(int, connection.info["redis_version"].split(".")[:2])) < WAITAOF_SINCE:
            raise RefusedByRedis("DURABILITY=fsync needs WAITAOF, that is Redis 7.2 or later")

    def _time_to_ask(self) -> bool:
        if not self._history.size:
            return False
        now = time.monotonic()
        clock = self._clock()
        for outbox in self._buffer.outboxes.values():
            outbox.forget(clock)
        remembers = any(outbox.remembers for outbox in self._buffer.outboxes.values())
        return now - self._asked > ASK_EVERY if remembers else now - self._renewed > RENEW_EVERY

    def _clock(self) -> float:
        """Seconds in which there was a connection."""
        return time.monotonic() - self._away

    def _accept(self, outbox: Outbox, events: list[Pending], became: Callable[[Pending], Accepted]) -> None:
        """Counts events, logs them, and tells those who wait; `became` says what an event was accepted as."""
        if events and events[0].seq <= outbox.accepted:  # sent again after a rollback: they were accepted once before
            events = [event for event in events if event.seq > outbox.accepted]
        if not events:
            return
        outbox.accepted = events[-1].seq
        first = self.accepted + 1
        self.accepted += len(events)
        for event in [event for event in events if event.future]:
            if event.future and not event.future.done():
                event.future.set_result(became(event))
            event.future = None  # the ring needs no more than the wire
        for event in events[-first % self._every :: self._every] if self._every else ():
            source, seq, streamid = became(event)
            known = {"streamid": streamid} if streamid else {}
            data = shown(received(outbox.channel, event.wire).data)
            self._log.info("message_published", channel=outbox.channel, source=source, id=seq, **known, data=data)

    def _fail(self, outbox: Outbox, event: Pending, why: str) -> None:
        self.failed += 1
        self._log.error("publish_failed", channel=outbox.channel, source=outbox.source, id=str(event.seq), cause=why)
        reject(event, why)

    def _give_up_under_way(self, why: str) -> None:
        for outbox, batch in self._buffer.under_way():
            self._buffer.done(batch)
            for event in batch:
                self._fail(outbox, event, why)
