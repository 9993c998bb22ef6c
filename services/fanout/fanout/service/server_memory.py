"""Watches how much memory the Redis server uses: a full one accepts no events, so it must be seen in time."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from redis.exceptions import RedisError

from fanout._redis.commands import Commands
from fanout._redis.server_checks import parse_info
from fanout.errors import ConnectionLost

EVERY = 5.0


class Memory(NamedTuple):
    """Memory in bytes; `limit` is maxmemory, 0 if the server has none."""

    used: int
    limit: int


async def read(redis: Commands) -> Memory:
    """Ask the server for its memory.

    Raises:
        ConnectionLost, RedisError: it did not answer.
    """
    info = parse_info(await redis.call("INFO", "memory"))
    return Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))


class Watch:
    """Asks the server every few seconds over a service's connection; `memory` is None while there is no answer."""

    def __init__(self, redis: Callable[[], Commands | None]) -> None:
        self._redis = redis
        self.memory: Memory | None = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            seen = None
            if redis := self._redis():
                with contextlib.suppress(ConnectionLost, RedisError):
                    seen = await read(redis)
            self.memory = seen
            await asyncio.sleep(EVERY if seen else EVERY / 10)
