"""The publisher, as programs use it: publish an event and wait until it is accepted, or fill the queue."""

import asyncio
import contextlib
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from fanout._event.cloudevent import TYPE, CloudEvent
from fanout._publish.batch import Accepted
from fanout._publish.send_queue import SendQueue
from fanout._publish.sender import Sender
from fanout._redis.commands import Commands
from fanout.environment import Environment
from fanout.errors import FanoutError, InDoubt, NotAccepted, Undelivered
from fanout.settings import HistorySettings, Settings, read_history, read_settings
from fanout.statistics import PublisherStatistics

CHUNK = 500
"""How many events are put into the queue before the sender may send batches."""
LOOK_EVERY = 0.02


class Publisher:
    """Publishes events for as long as the block runs.

        async with Publisher("redis://localhost:6379") as publisher:
            await publisher.publish("orders", {"id": 42})

    The end of the block waits up to SHUTDOWN_GRACE until Redis has accepted everything.

    Raises:
        RefusedByRedis: Redis refuses, and trying again would not help (a wrong password, a server that is too old).
            Raised by the block and by every method that waits.
        Undelivered: at the end of the block, not all events are in Redis.
    """

    def __init__(
        self,
        redis: str | Settings | None = None,
        *,
        history: HistorySettings | None = None,
        alive: Callable[[], None] = lambda: None,
        **options: object,
    ) -> None:
        """Make a publisher; entering its block connects it.

        Args:
            redis: the server's address, such as redis://localhost:6379/0, or settings that have been read.
            history: the history settings that go with settings that have been read.
            alive: called at least once a second while the publisher works.
            options: settings by their names in lower case, such as history_size=0 or durability="fsync".

        Raises:
            SettingError: a setting is invalid.
            TypeError: there is no such option.
        """
        if not isinstance(redis, Settings):
            env = Environment.of_options({"redis_url": redis} | options)
            redis, history = read_settings(env), history or read_history(env)
            env.check_known()
        elif options:
            raise TypeError(f"{next(iter(options))} is a setting, but settings were given too")
        self._queue = SendQueue(redis.max_event, history or HistorySettings())
        self._grace, self._fsync = redis.shutdown_grace, bool(history and history.fsync)
        self._unconfirmed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished = False
        self._sender = Sender(redis, history or HistorySettings(), self._queue, alive)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Make a publisher with the settings of environment variables.

        Raises:
            SettingError: a variable is invalid.
        """
        env = Environment(variables)
        return cls(read_settings(env), history=read_history(env))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._queue.producer_name = secrets.token_hex(8)  # not earlier: a fork would copy the name
        self.task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self.task.done():
                await self.finish(self._grace)
        finally:
            await self._sender.expire_keys()
            self.task.cancel()
            await asyncio.wait([self.task])
            self._queue.close(self._queue.error or NotAccepted("the publisher has ended"))
        if kind is None:
            if not self.task.cancelled():
                self.task.result()
            self._check_delivered()

    def _running(self) -> asyncio.AbstractEventLoop:
        if not self._loop:
            raise RuntimeError("a publisher works within its block: async with Publisher(...) as publisher")
        return self._loop

    async def _run(self) -> None:
        try:
            await self._sender.run()
        except Exception as error:
            self._queue.close(error)
            self._sender.end()
            raise

    @property
    def redis(self) -> Commands | None:
        """The connection to Redis, while there is one."""
        return self._sender.redis

    @property
    def full(self) -> bool:
        """Whether the queue has reached its limit of events or bytes."""
        return self._queue.full

    def statistics(self) -> PublisherStatistics:
        """Return the publisher's state and its counts so far."""
        tally = self._sender.tally
        return PublisherStatistics(
            state="live" if self._sender.redis else "connecting",
            producer=self._queue.producer_name,
            waiting=self._queue.waiting,
            fill=self._queue.fill,
            accepted=tally.accepted,
            failed=tally.failed,
            replayed=tally.replayed,
            gone=tally.gone,
            unconfirmed=self._unconfirmed,
            reconnects=self._sender.reconnects,
        )

    def refused(self, channel: str) -> str | None:
        """Return why Redis refuses a channel; None if it does not."""
        return self._sender.tally.refused.get(channel)

    async def room(self) -> None:
        """Wait until the queue is not full."""
        await self._queue.room()

    async def publish(
        self,
        channel: str,
        data: Any,
        *,
        timeout: float | None = None,
        type: str | None = None,  # noqa: A002 (the attribute's name)
        subject: str | None = None,
        datacontenttype: str | None = None,
        traceparent: str | None = None,
        key: str | None = None,
    ) -> Accepted:
        """Publish an event, and return when Redis has accepted it. Waits while the queue is full.

        Args:
            channel: the channel's name.
            data: text, bytes, any JSON value, or a CloudEvent.
            timeout: seconds after which to give up.
            type: as in `enqueue`.
            subject: as in `enqueue`.
            datacontenttype: as in `enqueue`.
            traceparent: as in `enqueue`.
            key: as in `enqueue`.

        Raises:
            ValueError, NotAccepted: as `enqueue` does.
            TimeoutError: the event was not accepted in time and will not be sent.
            InDoubt: the event was not accepted in time, but may be published.
        """
        options = {
            "type": type,
            "subject": subject,
            "datacontenttype": datacontenttype,
            "traceparent": traceparent,
            "key": key,
        }
        if timeout is None:
            await self._queue.room()
            return await self.enqueue(channel, data, **options)
        end = self._running().time() + timeout
        try:
            async with asyncio.timeout_at(end):
                await self._queue.room()
        except TimeoutError:
            raise TimeoutError(f"the queue was full for {timeout:g} s: the event is not sent") from None
        accepted = self.enqueue(channel, data, **options)
        try:
            async with asyncio.timeout_at(end):
                return await asyncio.shield(accepted)
        except TimeoutError:
            if self._queue.withdraw(channel, accepted):
                raise TimeoutError(
                    f"Redis has not accepted the event within {timeout:g} s: it will not be sent"
                ) from None
            raise InDoubt(
                f"Redis has not accepted the event within {timeout:g} s: it may be published or not"
            ) from None

    def enqueue(
        self,
        channel: str,
        data: Any,
        *,
        type: str | None = None,  # noqa: A002 (the attribute's name)
        subject: str | None = None,
        datacontenttype: str | None = None,
        traceparent: str | None = None,
        key: str | None = None,
    ) -> asyncio.Future[Accepted]:
        """Put an event into the queue, even if it is full. Callers with many events await `room` between them.

        Args:
            channel: the channel's name.
            data: text, bytes, any JSON value, or a CloudEvent, which carries its own attributes.
            type: what happened, such as com.example.order.created; by default `notification`.
            subject: what the event is about.
            datacontenttype: by default text/plain for text, application/octet-stream for bytes, else application/json.
            traceparent: the W3C trace context that the event belongs to.
            key: an Idempotency-Key. If it was used on this channel in the last 24 h, nothing is published again. The
                source and id of a CloudEvent that has no other key are its key, for 10 minutes.

        Returns:
            A future that resolves to what the event was accepted as, or fails with NotAccepted; that is
            ChannelRefused if Redis refuses the channel, and KeyReused if the key was used for other data.

        Raises:
            ValueError: the channel's name is invalid, or the data cannot be encoded.
            ChannelNotAllowed: CHANNELS_ALLOWED does not include the channel.
            EventTooLarge: the event is larger than MAX_EVENT.
            TooManyChannels: MAX_CHANNELS channels are open, and none of them is idle.
        """
        if isinstance(data, CloudEvent):
            if type or subject or datacontenttype or traceparent:
                raise TypeError("a CloudEvent carries its own attributes: leave out the arguments of the same names")
        elif type or subject:
            data = CloudEvent(
                data=data,
                type=type or TYPE,
                subject=subject,
                datacontenttype=datacontenttype,
                traceparent=traceparent,
            )
        future: asyncio.Future[Accepted] = self._running().create_future()
        self._queue.extend(channel, (data,), datacontenttype, traceparent, key, future)
        return future

    def withdraw(self, channel: str, accepted: asyncio.Future[Accepted]) -> bool:
        """Remove an event from the queue if it was never sent; return whether it was removed."""
        return self._queue.withdraw(channel, accepted)

    def open(self, channel: str) -> None:
        """Keep a channel open until the publisher ends. It does not count towards MAX_CHANNELS.

        Raises:
            ValueError: the channel's name is invalid.
            ChannelNotAllowed: CHANNELS_ALLOWED does not include the channel.
        """
        self._queue.open(channel)

    def put(self, channel: str, data: Any, *, datacontenttype: str | None = None) -> None:
        """Put an event into the queue as `enqueue` does, without a future: callers await `flush` for all events."""
        self._queue.extend(channel, (data,), datacontenttype)

    async def put_all(self, channel: str, items: Iterable[Any], *, datacontenttype: str | None = None) -> int:
        """Put an event for each item into the queue, waiting while it is full; return how many there were.

        Raises:
            ValueError: as `enqueue` does; the events before the invalid one are in the queue.
        """
        count, remaining = 0, iter(items)
        while chunk := list(itertools.islice(remaining, CHUNK)):
            await self.room()
            self._queue.extend(channel, chunk, datacontenttype)
            count += len(chunk)
            await asyncio.sleep(0)  # so that the sender can send batches
        return count

    async def publish_all(self, channel: str, items: Iterable[Any], *, datacontenttype: str | None = None) -> int:
        """Publish many events as fast as possible; return how many when Redis has accepted them all.

        Raises:
            ValueError: as `enqueue` does; the events before the invalid one are published.
        """
        self._running()
        count = await self.put_all(channel, items, datacontenttype=datacontenttype)
        await self._queue.empty()
        return count

    async def flush(self) -> None:
        """Wait until Redis has accepted everything and, with history, has confirmed that it still holds it."""
        self._running()
        while True:
            await self._queue.empty()
            await self._sender.ask()
            if self._queue.is_empty and not self._sender.settlement.repeating:
                return
            await asyncio.sleep(LOOK_EVERY)

    async def finish(self, within: float) -> None:
        """Flush, for at most `within` seconds; events that Redis has not confirmed by then count as `unconfirmed`."""
        if self._finished:
            return
        self._finished = True
        flushing = asyncio.create_task(self.flush())
        await asyncio.wait([flushing], timeout=within)
        if not flushing.done() and not self._fsync:
            self._unconfirmed = self._sender.settlement.unconfirmed
        flushing.cancel()
        with contextlib.suppress(asyncio.CancelledError, FanoutError):
            await flushing

    def _check_delivered(self) -> None:
        now = self.statistics()
        if now.waiting or now.failed or now.gone or now.unconfirmed:
            lost = f"{now.waiting} events never reached Redis, {now.failed} failed under way, {now.gone} are gone"
            unsure = f"{now.unconfirmed} of them so recently that Redis may have lost them again"
            raise Undelivered(f"{lost}; {now.accepted} were accepted" + f", {unsure}" * bool(now.unconfirmed))
