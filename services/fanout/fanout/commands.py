"""A connection for commands and their replies."""

import asyncio
from collections import deque
from typing import Any

from fanout.connection import Connection, Word, pack
from fanout.errors import ConnectionLost


class Commands(Connection):
    """A connection for commands and their replies; many may be under way at once."""

    def __init__(self, opened: Any, dead_after: float) -> None:
        super().__init__(opened, dead_after)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self.on_replies = self._resolve

    def send(self, *commands: bytes) -> list[asyncio.Future[Any]]:
        """Sends packed commands; each future becomes its reply, or fails with ConnectionLost or Redis's error."""
        futures = [self._loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        self.write(commands)
        if self.error:
            self._fail_all()
        return futures

    async def call(self, *words: Word) -> Any:
        """One command and its reply.

        Raises:
            ConnectionLost: no reply will come.
            RedisError: Redis answered with an error.
        """
        return await self.send(pack(words))[0]

    def ping(self) -> None:
        future = self.send(pack(("PING",)))[0]
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # an error is an answer too

    def _resolve(self, replies: list[Any], _size: int) -> None:
        for reply in replies:
            future = self._waiting.popleft()
            if not future.done():
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                    future.exception()  # who stops waiting is not told by the loop's exception handler
                else:
                    future.set_result(reply)

    def _lose(self, error: Exception) -> None:
        super()._lose(error)
        self._fail_all()

    def _fail_all(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionLost(str(self.error)))
                future.exception()
