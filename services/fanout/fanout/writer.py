"""The way out, as a program sees it: publish an event, wait for its acceptance, or fill the buffer."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any, Self

from fanout.buffer import Buffer
from fanout.errors import Undelivered
from fanout.health import Heartbeat
from fanout.message import TEXT
from fanout.outbox import Accepted
from fanout.sender import Sender
from fanout.settings import HistorySettings, Settings

BREATH = 500


class Writer:
    """Publishes events for as long as the block runs.

        async with Writer(settings, history, heartbeat) as writer:
            accepted = await writer.publish("notifications", "hello")

    `sender` counts what became of them.

    Raises:
        RefusedByRedis: from `task`, when Redis says no for good.
    """

    def __init__(self, settings: Settings, history: HistorySettings, heartbeat: Heartbeat) -> None:
        self._buffer = Buffer(settings.max_event, plain=history.plain)
        self.sender = Sender(settings, history, heartbeat, self._buffer)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(self.sender.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sender.say_goodbye()
        self.task.cancel()
        await asyncio.wait([self.task])
        self._buffer.close()

    @property
    def producer(self) -> str:
        """What ends the source of its events."""
        return self._buffer.producer

    @property
    def waiting(self) -> int:
        """Events that Redis has not accepted yet, or has lost again."""
        return self._buffer.waiting

    @property
    def full(self) -> bool:
        """Whether the buffer holds as many events, or bytes, as it may."""
        return self._buffer.full

    @property
    def fill(self) -> float:
        """How full the buffer is; 1 is full."""
        return self._buffer.fill

    async def room(self) -> None:
        """Waits until the buffer is not full."""
        await self._buffer.room()

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
        self._buffer.extend(channel, (data,), datacontenttype, traceparent, key, future)
        return future

    def put(self, channel: str, data: Any, *, datacontenttype: str = TEXT) -> None:
        """As `enqueue`, for who does not ask what becomes of the event; `flush` waits for all of them."""
        self._buffer.extend(channel, (data,), datacontenttype)

    async def put_all(self, channel: str, items: Iterable[Any], *, datacontenttype: str = TEXT) -> int:
        """As `put` for each of the items, waiting while the buffer is full; returns how many there were.

        Raises:
            ValueError: as `enqueue` does; the events before that one are put.
        """
        count, remaining = 0, iter(items)
        while chunk := list(itertools.islice(remaining, BREATH)):
            await self.room()
            self._buffer.extend(channel, chunk, datacontenttype)
            count += len(chunk)
            await asyncio.sleep(0)  # lets the batches go out
        return count

    async def publish(self, channel: str, data: Any, **options: Any) -> Accepted:
        """Publishes an event and returns when Redis has accepted it. Waits while the buffer is full.

        Takes what `enqueue` takes, and raises what it raises, or NotAccepted.
        """
        await self.room()
        return await self.enqueue(channel, data, **options)

    async def publish_all(self, channel: str, items: Iterable[Any], *, datacontenttype: str = TEXT) -> int:
        """Publishes many events, as fast as they are taken; returns how many when nothing waits any more.

        Raises:
            ValueError: as `enqueue` does; the events before that one are published.
        """
        count = await self.put_all(channel, items, datacontenttype=datacontenttype)
        await self._buffer.empty.wait()
        return count

    async def flush(self) -> None:
        """Waits until Redis has accepted everything and, with history, has said once more that it holds it."""
        while True:
            await self._buffer.empty.wait()
            await self.sender.ask()
            if self._buffer.empty.is_set():
                return

    async def finish(self, within: float) -> None:
        """Waits for `flush`, but no longer than so many seconds."""
        flushing = asyncio.create_task(self.flush())
        await asyncio.wait([flushing], timeout=within)
        flushing.cancel()

    def totals(self) -> dict[str, int]:
        """What became of the events, for the `stopped` line.

        Raises:
            Undelivered: not all of them are in Redis.
        """
        sent = self.sender
        if self.waiting or sent.failed or sent.gone:
            lost = f"{self.waiting} events never reached Redis, {sent.failed} failed under way, {sent.gone} are gone"
            raise Undelivered(f"{lost}; {sent.accepted} were accepted")
        return {"accepted": sent.accepted, "replayed": sent.replayed, "reconnects": sent.reconnects}
