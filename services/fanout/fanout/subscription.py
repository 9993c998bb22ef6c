"""A subscription that outlives its connections: connecting, then live, then connecting again.

Between the two, catching up from history has its place: whoever was away would get there what it missed. Without it
this is Redis Pub/Sub as it is, at most once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Self

from fanout.backoff import with_backoff
from fanout.connection import Connection, pack
from fanout.errors import ConnectionLost
from fanout.health import Heartbeat
from fanout.logs import get_logger
from fanout.message import Message, received
from fanout.settings import Settings


class Subscription:
    """What arrives on channels, and on all channels that match patterns, for as long as the block runs.

        async with Subscription(settings, ["notifications"], [], queue_size=10_000, heartbeat=beat) as messages:
            async for batch in messages.batches():
                ...

    The socket is always read. What the reader of the batches does not take in time waits in a queue of `queue_size`
    messages; when that is full, what arrives is let go and counted in `dropped`.

    Raises:
        RefusedByRedis: from `batches`, when Redis says no for good.
    """

    def __init__(
        self,
        settings: Settings,
        channels: tuple[str, ...],
        patterns: tuple[str, ...],
        queue_size: int,
        heartbeat: Heartbeat,
    ) -> None:
        self._settings, self._heartbeat = settings, heartbeat
        self._commands = [
            pack((command, *names)) for command, names in (("SUBSCRIBE", channels), ("PSUBSCRIBE", patterns)) if names
        ]
        self._channels, self._patterns = channels, patterns
        self._expected = self._unconfirmed = len(channels) + len(patterns)
        self._queue: deque[Message] = deque()
        self._queue_size = queue_size
        self._filled = asyncio.Event()
        self._log = get_logger()
        self._stopped = False
        self._overflow = 0
        self.dropped = 0
        self.reconnects = -1

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._run())
        self._reader.add_done_callback(lambda _: self._filled.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def batches(self) -> AsyncIterator[list[Message]]:
        """What has arrived since the last batch was asked for; never an empty one. Ends after `stop`."""
        while not self._stopped:
            await self._filled.wait()
            if self._queue and not self._stopped:
                batch = list(self._queue)
                self._queue.clear()
                if self._overflow:
                    self._log.warning("messages_dropped", count=self._overflow, queue_size=self._queue_size)
                    self.dropped, self._overflow = self.dropped + self._overflow, 0
                yield batch
            elif self._reader.done() and not self._stopped:
                self._reader.result()
                return
            else:
                self._filled.clear()

    def stop(self) -> None:
        """No further batch."""
        self._stopped = True
        self._filled.set()

    async def _run(self) -> None:
        while True:
            connection = await with_backoff(
                self._subscribe, self._settings, self._heartbeat.beat, again=self.reconnects >= 0
            )
            self.reconnects += 1
            self._heartbeat.start()
            self._log.info("subscribed", channels=self._channels, patterns=self._patterns)
            try:
                while True:
                    self._heartbeat.beat()
                    self._take(await connection.read())
            except ConnectionLost as error:
                self._log.warning("connection_lost", cause=str(error))
            finally:
                connection.close()

    async def _subscribe(self) -> Connection:
        """A connection on which Redis has confirmed every channel and pattern."""
        connection = await Connection.open(self._settings)
        try:
            connection.write(self._commands)
            self._unconfirmed = self._expected
            while self._unconfirmed:
                self._take(await connection.read())
        except BaseException:
            connection.close()
            raise
        return connection

    def _take(self, replies: list[Any]) -> None:
        queue = self._queue
        for reply in replies:
            match reply:
                case [b"message", channel, wire]:
                    message = received(channel.decode(), wire)
                case [b"pmessage", pattern, channel, wire]:
                    message = received(channel.decode(errors="replace"), wire, pattern.decode())
                case [b"subscribe" | b"psubscribe", _, _]:
                    self._unconfirmed -= 1
                    continue
                case Exception():
                    raise reply
                case _:  # an answer to PING
                    continue
            if len(queue) < self._queue_size:
                queue.append(message)
            else:
                self._overflow += 1
        if queue:
            self._filled.set()
