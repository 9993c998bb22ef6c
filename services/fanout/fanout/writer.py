"""The way out: a bounded buffer and one task that sends what is waiting in batches.

What Redis has not taken yet waits in the buffer and is sent when Redis is back. What was under way when a connection
broke is not sent again: nobody knows whether it arrived, and plain Pub/Sub is at most once. History and replay have
their place here.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from typing import Any, NamedTuple, Self

from fanout.backoff import cause, refusal, with_backoff
from fanout.connection import Commands, pack
from fanout.errors import ConnectionLost, NotAccepted, RefusedByRedis
from fanout.health import Heartbeat
from fanout.keys import check_channel
from fanout.logs import every, get_logger, shown
from fanout.message import TEXT, Event, encode, encode_plain, source_of, timestamp
from fanout.settings import Settings

BATCH = 1000
BUFFER_EVENTS = 100_000
BUFFER_BYTES = 64 * 2**20


class Accepted(NamedTuple):
    """What Redis has accepted: the event's `source` and `id`."""

    source: str
    id: str


class _Pending(NamedTuple):
    channel: str
    data: Any
    wire: bytes
    accepted: Accepted
    future: asyncio.Future[Accepted]


class Writer:
    """Publishes events for as long as the block runs.

        async with Writer(settings, heartbeat, plain=False) as writer:
            accepted = await writer.publish("notifications", "hello")

    With `plain` the bare text goes out in place of the event.

    Raises:
        RefusedByRedis: from `task`, when Redis says no for good.
    """

    def __init__(self, settings: Settings, heartbeat: Heartbeat, *, plain: bool) -> None:
        self._settings, self._heartbeat, self._plain = settings, heartbeat, plain
        self._producer = secrets.token_hex(8)
        self._seqs: dict[str, int] = {}
        self._buffer: deque[_Pending] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._log = get_logger()
        self._every = every(settings.log_messages)
        self.connected = False
        self.accepted = 0
        self.failed = 0
        self.reconnects = -1

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        for event in self._buffer:
            _reject(event.future, "the publisher has ended")

    @property
    def waiting(self) -> int:
        """Events that Redis has not accepted yet."""
        return len(self._buffer)

    def enqueue(
        self, channel: str, data: Any, *, datacontenttype: str = TEXT, traceparent: str | None = None
    ) -> asyncio.Future[Accepted]:
        """Puts an event into the buffer, also when that is full: who makes many waits for `room` between.

        The future becomes what the event was accepted as, or fails with NotAccepted.

        Raises:
            ValueError: the channel's name is not allowed, the data cannot be encoded, or (EventTooLarge) is too long.
        """
        source, seq = source_of(check_channel(channel), self._producer), self._seqs.get(channel, 0) + 1
        if self._plain:
            wire = encode_plain(data, self._settings.max_event)
        else:
            event = Event(
                specversion="1.0",
                type="notification",
                source=source,
                id=str(seq),
                time=timestamp(time.time()),
                datacontenttype=datacontenttype,
                data=data,
                traceparent=traceparent,
            )
            wire = encode(event, self._settings.max_event)
        self._seqs[channel] = seq
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._buffer.append(_Pending(channel, data, wire, Accepted(source, str(seq)), future))
        self._bytes += len(wire)
        self._wake.set()
        self._empty.clear()
        if self.full:
            self._room.clear()
        return future

    async def publish(
        self, channel: str, data: Any, *, datacontenttype: str = TEXT, traceparent: str | None = None
    ) -> Accepted:
        """Publishes an event and returns when Redis has accepted it. Waits while the buffer is full.

        Raises:
            ValueError: as `enqueue` does.
            NotAccepted: the connection broke while the event was under way.
        """
        await self.room()
        return await self.enqueue(channel, data, datacontenttype=datacontenttype, traceparent=traceparent)

    @property
    def full(self) -> bool:
        """Whether the buffer holds as many events, or bytes, as it may."""
        return len(self._buffer) >= BUFFER_EVENTS or self._bytes >= BUFFER_BYTES

    async def room(self) -> None:
        """Waits until the buffer is not full."""
        await self._room.wait()

    async def flush(self) -> None:
        """Waits until nothing waits."""
        await self._empty.wait()

    async def _run(self) -> None:
        while True:
            connection = await with_backoff(
                lambda: Commands.open(self._settings), self._settings, self._heartbeat.beat, again=self.reconnects >= 0
            )
            self.reconnects += 1
            self._heartbeat.start()
            connection.on_lost = self._wake.set
            try:
                async with connection.reading():
                    self.connected = True
                    await self._send_batches(connection)
            except ConnectionLost as error:
                self._log.warning("connection_lost", cause=str(error))
            finally:
                self.connected = False

    async def _send_batches(self, connection: Commands) -> None:
        while True:
            self._heartbeat.beat()
            if not self._buffer:
                self._wake.clear()
                connection.check()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), Heartbeat.INTERVAL)
                continue
            batch = [self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer)))]
            self._bytes -= sum(len(event.wire) for event in batch)
            replies = connection.send(*(pack(("PUBLISH", event.channel, event.wire)) for event in batch))
            await asyncio.wait(replies)
            self._settle(batch, replies)
            await connection.drain()

    def _settle(self, batch: list[_Pending], replies: list[asyncio.Future[Any]]) -> None:
        for event, reply in zip(batch, replies, strict=True):
            if error := reply.exception():
                self._fail([event], cause(error))
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}")
                continue
            self.accepted += 1
            self._log_published(event)
            if not event.future.done():
                event.future.set_result(event.accepted)
        if not self.full:
            self._room.set()
        if not self._buffer:
            self._empty.set()

    def _log_published(self, event: _Pending) -> None:
        if self._every and self.accepted % self._every == 0:
            source, seq = event.accepted
            self._log.info("message_published", channel=event.channel, source=source, id=seq, data=shown(event.data))

    def _fail(self, events: list[_Pending], why: str) -> None:
        for event in events:
            self.failed += 1
            source, seq = event.accepted
            self._log.error("publish_failed", channel=event.channel, source=source, id=seq, cause=why)
            _reject(event.future, why)


def _reject(future: asyncio.Future[Accepted], why: str) -> None:
    if not future.done():
        future.set_exception(NotAccepted(why))
        future.exception()  # who does not wait for it is not told twice
