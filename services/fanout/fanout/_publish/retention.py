"""Trims histories by events, bytes and age, apart from publishing.

The publish script trims a history only when it appends to it. That is not enough for a history to which nobody
publishes any more, nor for a server that is out of memory: it refuses the append, but never an XTRIM.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from fanout import keys
from fanout._publish.send_queue import SendQueue
from fanout._publish.tally import Tally
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._redis.retry import cause, of_channel, refusal
from fanout.errors import ConnectionLost
from fanout.log import get_logger
from fanout.settings import HistorySettings

LOOK_EVERY = 1.0
TRIM_EVERY = 60.0
RENEW_EVERY = 3600.0
ENDED_TTL = 3600
"""Seconds that the key of a producer that has ended stays, for a batch that may still be on its way."""
AT_ONCE = 500
GROWN = 1 / 16
"""Part of HISTORY_BYTES by which a history must grow to be measured: measuring costs the server more than an event."""
ROOM = 0.9
"""Part of HISTORY_BYTES to which a larger history is trimmed."""


class Retention:
    """Keeps the histories of a publisher's channels within their limits."""

    def __init__(self, history: HistorySettings, queue: SendQueue, tally: Tally) -> None:
        self._history, self._queue, self._tally = history, queue, tally
        self._log = get_logger()

    async def keep(self, redis: Commands) -> None:
        """Trim while the connection lives: soon what has grown much, and all histories every TRIM_EVERY seconds."""
        if not self._history.size:
            return
        loop = asyncio.get_running_loop()
        trimmed = renewed = loop.time()
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY)
                now = loop.time()
                grown = self._tally.grown
                if now - trimmed >= TRIM_EVERY:
                    trimmed = now
                    grown.clear()
                    await self.trim(redis)
                else:
                    due = [channel for channel, size in grown.items() if size > self._history.bytes * GROWN]
                    for channel in due:
                        del grown[channel]
                    await self._bound(redis, due)
                if now - renewed >= RENEW_EVERY:
                    renewed = now
                    await self._renew(redis)
                await self._expire_closed(redis)
        except ConnectionLost:
            return
        except RedisError as error:
            self._log.warning("not_trimmed", cause=cause(error))

    async def trim(self, redis: Commands) -> None:
        """Trim the histories of all channels to their limits.

        Raises:
            ConnectionLost, RedisError: not all could be trimmed.
        """
        seconds, _ = await redis.call("TIME")
        oldest = max(0, int(int(seconds) * 1000 - self._history.ttl * 1000))
        channels = list(self._queue.producers)
        for part in _parts(channels):
            names = [keys.history(channel) for channel in part]
            await _all(redis, [("XTRIM", name, "MAXLEN", "~", self._history.size) for name in names])
            await _all(redis, [("XTRIM", name, "MINID", "~", oldest) for name in names])
        await self._bound(redis, channels)

    async def _bound(self, redis: Commands, channels: Sequence[str]) -> None:
        """Trim the histories that are larger than HISTORY_BYTES."""
        limit = self._history.bytes
        for part in _parts(channels):
            names = [keys.history(channel) for channel in part]
            sizes = await _all(redis, [("MEMORY", "USAGE", name) for name in names])
            large = {
                name: size for name, size in zip(names, sizes, strict=True) if isinstance(size, int) and size > limit
            }
            counts = zip(large, await _all(redis, [("XLEN", name) for name in large]), strict=True)
            fitting = {name: int(n * limit / large[name] * ROOM) for name, n in counts if isinstance(n, int)}
            await _all(redis, [("XTRIM", name, "MAXLEN", "~", count) for name, count in fitting.items()])

    async def _renew(self, redis: Commands) -> None:
        """Renew the keys of open channels, also those without traffic. Keys that have expired are not created again."""
        for part in _parts(list(self._queue.producers.values())):
            names = [[*_of_history(one.channel), keys.producer(one.channel, one.name)] for one in part]
            await _all(redis, [("EXPIRE", name, keys.CHANNEL_TTL) for all_of_one in names for name in all_of_one])

    async def _expire_closed(self, redis: Commands) -> None:
        """Let the keys of closed channels expire when their entries do; this publisher adds no more."""
        closed = list(self._queue.closed)
        self._queue.closed.clear()
        ttl = max(2 * RENEW_EVERY, self._history.ttl)  # another publisher may have the channel open, and renew its keys
        for part in _parts(closed):
            await _all(redis, [("EXPIRE", keys.producer(*one), ENDED_TTL) for one in part])
            unused = [channel for channel, _ in part if channel not in self._queue.producers]
            names = [name for channel in unused for name in _of_history(channel)]
            await _all(redis, [("EXPIRE", name, int(ttl)) for name in names])


def _of_history(channel: str) -> list[str]:
    return [keys.history(channel), keys.head(channel), keys.marks(channel)]


def _parts(all_of_them: Sequence[Any]) -> list[Sequence[Any]]:
    return [all_of_them[start : start + AT_ONCE] for start in range(0, len(all_of_them), AT_ONCE)]


async def _all(redis: Commands, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Return the replies to several commands, among them errors that concern only a channel.

    Raises:
        ConnectionLost, RedisError: the connection is lost, or a command is not permitted on any channel.
    """
    if not commands:
        return []
    await redis.drain()
    replies = await redis.send_all([pack(words) for words in commands])
    for reply in replies:
        if isinstance(reply, ConnectionLost) or (refusal(reply) and not of_channel(reply)):
            raise reply
    return replies
