"""A connection for commands and their replies."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from fanout.connection import Connection, Word, pack
from fanout.errors import ConnectionLost


class Commands(Connection):
    """A connection for commands and their replies; many may be under way at once."""

    def __init__(self, opened: Any, dead_after: float) -> None:
        super().__init__(opened, dead_after)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self.on_lost: Callable[[], None] = lambda: None
        self._replies = self._loop.create_task(self._read_replies())

    def close(self) -> None:
        self._replies.cancel()
        super().close()

    def check(self) -> None:
        """Raises ConnectionLost if the connection is; `on_lost` is called when it becomes so."""
        if self._lost:
            raise ConnectionLost(self._lost)

    def send(self, *commands: bytes) -> list[asyncio.Future[Any]]:
        """Sends packed commands; each future becomes its reply, or fails with ConnectionLost or Redis's error."""
        futures = [self._loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        if self._lost:
            self._fail_all()
        else:
            self.write(commands)
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

    async def _read_replies(self) -> None:
        try:
            while True:
                for reply in await self.read():
                    future = self._waiting.popleft()
                    if not future.done():
                        if isinstance(reply, Exception):
                            future.set_exception(reply)
                            future.exception()  # who stops waiting is not told by the loop's exception handler
                        else:
                            future.set_result(reply)
        except ConnectionLost as error:
            self._lost = str(error)
        finally:
            self._lost = self._lost or "closed"
            self._fail_all()
            self.on_lost()

    def _fail_all(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionLost(self._lost))
                future.exception()
