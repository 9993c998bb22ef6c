"""A connection for commands and their replies."""

import asyncio
from collections import deque
from typing import Any

from fanout.connection import Connection, Word, pack
from fanout.errors import ConnectionLost


class _Replies:
    """What waits for the replies to several commands."""

    def __init__(self, future: asyncio.Future[list[Any]], count: int) -> None:
        self.future, self._count = future, count
        self._replies: list[Any] = []

    def add(self, reply: Any) -> bool:
        """Takes one; returns whether it was the last."""
        self._replies.append(reply)
        return len(self._replies) == self._count

    def settle(self, error: Exception | None = None) -> None:
        """No more will come: what is missing is this error."""
        if not self.future.done():
            self.future.set_result(self._replies + [error] * (self._count - len(self._replies)))


class Commands(Connection):
    """A connection for commands and their replies; many may be under way at once."""

    def __init__(self, opened: Any, dead_after: float) -> None:
        super().__init__(opened, dead_after)
        self._waiting: deque[asyncio.Future[Any] | _Replies] = deque()
        self.on_replies = self._resolve

    def send(self, *commands: bytes) -> list[asyncio.Future[Any]]:
        """Sends packed commands; each future becomes its reply, or fails with ConnectionLost or Redis's error."""
        futures = [self._loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        self.write(commands)
        if self.error:
            self._fail_all()
        return futures

    def send_all(self, commands: list[bytes]) -> asyncio.Future[list[Any]]:
        """Sends packed commands; the future becomes all replies in order, errors, and ConnectionLost, among them."""
        replies = _Replies(self._loop.create_future(), len(commands))
        self._waiting.append(replies)
        self.write(commands)
        if self.error:
            self._fail_all()
        return replies.future

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
        waiting = self._waiting
        for reply in replies:
            future = waiting[0]
            if isinstance(future, _Replies):
                if future.add(reply):
                    waiting.popleft()
                    future.settle()
                continue
            waiting.popleft()
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
        error = ConnectionLost(str(self.error))
        while self._waiting:
            future = self._waiting.popleft()
            if isinstance(future, _Replies):
                future.settle(error)
            elif not future.done():
                future.set_exception(error)
                future.exception()
