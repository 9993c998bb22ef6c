"""A connection for commands and their replies."""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from fanout._redis.connection import Connection, Word, pack
from fanout.errors import ConnectionLost

AT_ONCE = 200


class _Replies:
    """Collects the replies to several commands."""

    def __init__(self, future: asyncio.Future[list[Any]], count: int) -> None:
        self.future, self._count = future, count
        self._replies: list[Any] = []

    def add(self, reply: Any) -> bool:
        """Add a reply; return whether it was the last one."""
        self._replies.append(reply)
        return len(self._replies) == self._count

    def settle(self, error: Exception | None = None) -> None:
        """Resolve the future; the error stands for each reply that is missing."""
        if not self.future.done():
            self.future.set_result(self._replies + [error] * (self._count - len(self._replies)))


class Commands(Connection):
    """A connection for commands and their replies; many may be under way at once."""

    def __init__(self, opened: Any, dead_after: float) -> None:
        super().__init__(opened, dead_after)
        self._waiting: deque[asyncio.Future[Any] | _Replies] = deque()
        self.on_replies = self._resolve

    def send(self, *commands: bytes) -> list[asyncio.Future[Any]]:
        """Send packed commands; each future resolves to its reply, or fails with ConnectionLost or Redis's error."""
        futures = [self._loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        self.write(commands)
        if self.error:
            self._fail_all()
        return futures

    def send_all(self, commands: list[bytes]) -> asyncio.Future[list[Any]]:
        """Send packed commands; the future resolves to all replies in order, among them errors and ConnectionLost."""
        replies = _Replies(self._loop.create_future(), len(commands))
        self._waiting.append(replies)
        self.write(commands)
        if self.error:
            self._fail_all()
        return replies.future

    async def call(self, *words: Word) -> Any:
        """Send a command and return the reply.

        Raises:
            ConnectionLost: no reply will arrive.
            RedisError: Redis answered with an error.
        """
        return await self.send(pack(words))[0]

    async def ask(self, commands: Sequence[tuple[Word, ...]]) -> list[Any]:
        """Send any number of commands and return their replies; None if a key is missing or has the wrong type.

        Raises:
            ConnectionLost: not all replies will arrive.
            RedisError: Redis answered one of them with an error.
        """
        replies: list[Any] = []
        for at in range(0, len(commands), AT_ONCE):
            for reply in await self.send_all([pack(words) for words in commands[at : at + AT_ONCE]]):
                if isinstance(reply, ResponseError) and re.search("no such key|WRONGTYPE", str(reply)):
                    replies.append(None)
                elif isinstance(reply, Exception):
                    raise reply
                else:
                    replies.append(reply)
        return replies

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
                    future.exception()  # else the loop's exception handler reports it if nobody awaits it any more
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
