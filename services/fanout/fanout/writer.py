"""The way out: a bounded buffer, and one task that sends what is waiting in batches until Redis has accepted it.

With history, what Redis has not accepted, or has lost again, is sent until it has. Without (HISTORY_SIZE=0) this is
plain Pub/Sub, at most once: what was under way when a connection broke is not sent again.
"""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Self

from redis.exceptions import RedisError

from fanout import keys, script
from fanout.backoff import cause, refusal, with_backoff
from fanout.connection import Commands, check_eviction, pack
from fanout.errors import ConnectionLost, NotAccepted, RefusedByRedis
from fanout.exchange import Answer, Exchange, on_disk
from fanout.health import Heartbeat
from fanout.logs import every, get_logger, shown
from fanout.message import TEXT, Event, encode, encode_plain, source_of, timestamp
from fanout.outbox import Accepted, Outbox, Pending
from fanout.settings import HistorySettings, Settings

BUFFER_EVENTS = 100_000
BUFFER_BYTES = 64 * 2**20
CHANNELS = 10_000
"""Channels whose count of events is remembered; one that is idle beyond that starts anew, as another producer."""
BREATH = 500
ASK_EVERY = 3.0
RENEW_EVERY = 3600.0
GOODBYE_TTL = 3600
GOODBYE_WITHIN = 1.0
WAITAOF_SINCE = (7, 2)


class Writer:
    """Publishes events for as long as the block runs.

        async with Writer(settings, history, heartbeat) as writer:
            accepted = await writer.publish("notifications", "hello")

    Raises:
        RefusedByRedis: from `task`, when Redis says no for good.
    """

    def __init__(self, settings: Settings, history: HistorySettings, heartbeat: Heartbeat) -> None:
        self._settings, self._history, self._heartbeat = settings, history, heartbeat
        self._producer = secrets.token_hex(8)
        self._outboxes: dict[str, Outbox] = {}
        self._ready: deque[Outbox] = deque()
        self._wake, self._room, self._empty, self._answered = (asyncio.Event() for _ in range(4))
        self._room.set()
        self._empty.set()
        self._log = get_logger()
        self._every = every(settings.log_messages)
        self._bytes = 0
        self._away = 0.0
        self._lost_at: float | None = None
        self._asked = self._renewed = time.monotonic()
        self.connected = False
        self.waiting = self.accepted = self.failed = self.replayed = self.gone = 0
        self.reconnects = -1

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError, RedisError, ConnectionLost):
            await asyncio.wait_for(self._say_goodbye(), GOODBYE_WITHIN)
        self.task.cancel()
        await asyncio.wait([self.task])
        for outbox in self._outboxes.values():
            for event in (*itertools.chain.from_iterable(outbox.under_way), *outbox.waiting):
                _reject(event, "the publisher has ended")

    def enqueue(
        self,
        channel: str,
        data: Any,
        *,
        datacontenttype: str = TEXT,
        traceparent: str | None = None,
        key: str | None = None,
    ) -> asyncio.Future[Accepted]:
        """Puts an event into the buffer, also when that is full: who makes many waits for `room` between.

        An event whose `key` was used on this channel in the last 24 h is not published again. The future becomes what
        the event was accepted as, or fails with NotAccepted.

        Raises:
            ValueError: the channel's name is not allowed, the data cannot be encoded, or (EventTooLarge) is too long.
        """
        future: asyncio.Future[Accepted] = self._loop.create_future()
        self._put(channel, data, datacontenttype, traceparent, key, future)
        return future

    async def publish_all(self, channel: str, items: Iterable[Any], *, datacontenttype: str = TEXT) -> int:
        """Publishes many events, as fast as they are taken; returns how many when Redis has accepted them all.

        Raises:
            ValueError: as `enqueue` does; the events before that one are published.
        """
        count = 0
        for data in items:
            if count % BREATH == 0:  # lets the batches go out
                await asyncio.sleep(0)
                await self.room()
            self._put(channel, data, datacontenttype, None, None, None)
            count += 1
        await self._empty.wait()
        return count

    def _put(
        self,
        channel: str,
        data: Any,
        datacontenttype: str,
        traceparent: str | None,
        key: str | None,
        future: asyncio.Future[Accepted] | None,
    ) -> None:
        outbox = self._outboxes.get(channel) or self._open(channel)
        seq = outbox.made + 1
        if self._history.plain:
            wire = encode_plain(data, self._settings.max_event)
        else:
            now = timestamp(time.time())
            event = Event("1.0", "notification", outbox.source, str(seq), now, datacontenttype, data, traceparent)
            wire = encode(event, self._settings.max_event)
        outbox.made = seq
        if not outbox.waiting:
            self._ready.append(outbox)
            self._wake.set()
        outbox.waiting.append(Pending(seq, data, wire, key, future))
        self.waiting += 1
        self._bytes += len(wire)
        if self.waiting == 1:
            self._empty.clear()
        if self.waiting >= BUFFER_EVENTS or self._bytes >= BUFFER_BYTES:
            self._room.clear()

    async def publish(self, channel: str, data: Any, **options: Any) -> Accepted:
        """Publishes an event and returns when Redis has accepted it. Waits while the buffer is full.

        Takes what `enqueue` takes, and raises what it raises, or NotAccepted.
        """
        await self.room()
        return await self.enqueue(channel, data, **options)

    @property
    def full(self) -> bool:
        """Whether the buffer holds as many events, or bytes, as it may."""
        return self.waiting >= BUFFER_EVENTS or self._bytes >= BUFFER_BYTES

    async def room(self) -> None:
        """Waits until the buffer is not full."""
        await self._room.wait()

    async def flush(self) -> None:
        """Waits until Redis has accepted everything and, with history, has said once more that it holds it."""
        while True:
            await self._empty.wait()
            if not any(outbox.remembers for outbox in self._outboxes.values()):
                return
            self._asked = -ASK_EVERY
            self._answered.clear()
            self._wake.set()
            await self._answered.wait()
            if self._empty.is_set():
                return

    async def _say_goodbye(self) -> None:
        """Lets the producers' keys go within the hour, where a crash would leave them for CHANNEL_TTL."""
        if self.connected and self._history.size:
            names = [keys.producer(outbox.channel, outbox.producer) for outbox in self._outboxes.values()]
            await asyncio.gather(*self._connection.send(*(pack(("EXPIRE", name, GOODBYE_TTL)) for name in names)))

    def _open(self, channel: str) -> Outbox:
        check = keys.check_channel(channel)
        if len(self._outboxes) >= CHANNELS and (idle := next((c for c, o in self._outboxes.items() if o.idle), None)):
            del self._outboxes[idle]
            self._producer = secrets.token_hex(8)  # the channel's next life must not count from 1 under the same name
        self._outboxes[channel] = outbox = Outbox(check, self._producer, source_of(check, self._producer))
        return outbox

    async def _run(self) -> None:
        while True:
            connection = await with_backoff(
                self._connect, self._settings, self._heartbeat.beat, again=self.reconnects >= 0
            )
            self.reconnects += 1
            self._heartbeat.start()
            connection.on_lost = self._wake.set
            self._connection = connection
            if self._lost_at is not None:
                self._away += time.monotonic() - self._lost_at
            try:
                self.connected = True
                await self._send_batches(connection)
            except (ConnectionLost, RedisError) as error:
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}") from None
                self._log.warning("connection_lost", cause=cause(error))
                if not self._history.size:
                    self._give_up_under_way(cause(error))
            finally:
                self.connected = False
                self._lost_at = time.monotonic()
                connection.close()

    async def _connect(self) -> Commands:
        """A connection to a server that takes events, with everything it does not hold waiting to be sent."""
        connection = await Commands.open(self._settings)
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
            while self._ready and exchange.room:
                outbox = self._ready.popleft()
                exchange.send(outbox, outbox.take())
                if outbox.waiting:
                    self._ready.append(outbox)
            if exchange.busy:
                answers = await exchange.answers()
                settled = [self._settle(answer) for answer in answers]
                if not all(settled):
                    await exchange.drain()
                    await self._resync(connection)
            elif self._time_to_ask():
                await self._resync(connection)
                self._answered.set()
            else:
                self._wake.clear()
                connection.check()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), Heartbeat.INTERVAL)

    def _settle(self, answer: Answer) -> bool:
        """Tells those who wait what became of their events; False if the batch is to be sent again."""
        outbox, batch, events = answer
        if events is None:
            return False
        outbox.accept(self._clock(), keep=bool(self._history.size))
        self._done(batch)
        for event, result in zip(batch, events, strict=True):
            if isinstance(result, bytes):
                self._accept(outbox, event, result)
            else:
                self._fail(outbox, event, cause(result))
                if refusal(result):
                    raise RefusedByRedis(f"Redis refuses: {result}")
        return True

    async def _resync(self, connection: Commands) -> None:
        """Asks what Redis holds of every channel's events, and has the others sent, or sent again."""
        await script.load(connection)
        renew = time.monotonic() - self._renewed > RENEW_EVERY
        outboxes = [outbox for outbox in self._outboxes.values() if renew or not outbox.idle]
        size, ttl = self._history.size, self._history.ttl
        asked = connection.send(*(script.command(outbox, [], size, ttl) for outbox in outboxes))
        if self._history.fsync:
            await on_disk(connection, self._settings.dead_after)
        for outbox, answer in zip(outboxes, asked, strict=True):
            confirmed, again, gone = outbox.rewind(script.held(await answer), self._clock())
            self._done(confirmed)
            for event in confirmed:
                self._accept(outbox, event, b"")
            if again:
                self.replayed += len(again)
                self.waiting += len(again)
                self._bytes += sum(len(event.wire) for event in again)
                self._empty.clear()
                self._log.warning("replaying", channel=outbox.channel, count=len(again))
            if gone:
                self.gone += gone
                self._log.error("events_gone", channel=outbox.channel, source=outbox.source, count=gone)
        self._ready = deque(outbox for outbox in self._outboxes.values() if outbox.waiting)
        self._asked = time.monotonic()
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

    def _done(self, events: list[Pending]) -> None:
        self.waiting -= len(events)
        self._bytes -= sum([len(event.wire) for event in events])
        if not self.waiting:
            self._empty.set()
        if not self.full:
            self._room.set()

    def _time_to_ask(self) -> bool:
        if not self._history.size:
            return False
        now = time.monotonic()
        clock = self._clock()
        for outbox in self._outboxes.values():
            outbox.forget(clock)
        remembers = any(outbox.remembers for outbox in self._outboxes.values())
        return now - self._asked > ASK_EVERY if remembers else now - self._renewed > RENEW_EVERY

    def _clock(self) -> float:
        """Seconds in which there was a connection."""
        return time.monotonic() - self._away

    def _accept(self, outbox: Outbox, event: Pending, answer: bytes) -> None:
        if event.accepted:
            return  # sent again after a rollback: it was accepted once before
        event.accepted = True
        self.accepted += 1
        logged = self._every and self.accepted % self._every == 0
        if not (event.future or logged):
            return
        accepted = script.became(outbox, event, answer)
        if event.future and not event.future.done():
            event.future.set_result(accepted)
        if logged:
            source, seq, streamid = accepted
            known = {"streamid": streamid} if streamid else {}
            self._log.info(
                "message_published", channel=outbox.channel, source=source, id=seq, **known, data=shown(event.data)
            )

    def _fail(self, outbox: Outbox, event: Pending, why: str) -> None:
        self.failed += 1
        self._log.error("publish_failed", channel=outbox.channel, source=outbox.source, id=str(event.seq), cause=why)
        _reject(event, why)

    def _give_up_under_way(self, why: str) -> None:
        for outbox in self._outboxes.values():
            while outbox.under_way:
                batch = outbox.under_way.popleft()
                self._done(batch)
                for event in batch:
                    self._fail(outbox, event, why)


def _reject(event: Pending, why: str) -> None:
    if event.future and not event.future.done():
        event.future.set_exception(NotAccepted(why))
        event.future.exception()  # who does not wait for it is not told twice
