"""The connection on which live messages arrive, and the subscriptions on it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from fanout._redis.connection import Connection, pack
from fanout.errors import ConnectionLost

AT_ONCE = 1000
"""How many channels one command subscribes to: Redis confirms each of them, and does nothing else meanwhile."""


class _Asked:
    """A command, and how many replies it gets unless Redis refuses it."""

    __slots__ = ("count", "future")

    def __init__(self, count: int, future: asyncio.Future[None]) -> None:
        self.count, self.future = count, future


class LiveConnection(Connection):
    """A connection that subscribes. Commands are answered in order; messages arrive in between.

    Attributes:
        probed: whether Redis allowed the subscription to the probe channel.
    """

    def __init__(self, opened: Any, dead_after: float) -> None:
        super().__init__(opened, dead_after)
        self._asked: deque[_Asked] = deque()
        self.probed = False

    async def probe(self, channel: str) -> None:
        """Subscribe to a channel that only this connection uses, if Redis permits it.

        Raises:
            ConnectionLost: there is no answer.
        """
        try:
            await self.subscribe([channel])
            self.probed = True
        except RedisError:
            self.probed = False

    async def subscribe(self, names: Sequence[str], command: str = "SUBSCRIBE") -> None:
        """Send SUBSCRIBE or PSUBSCRIBE, few commands for many names, and wait until Redis has confirmed all of them.

        Raises:
            RedisError: Redis refuses some of the names, without saying which.
            ConnectionLost: there is no answer.
        """
        parts = [names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE)]
        asked = [self._ask(len(part)) for part in parts]
        self.write([pack((command, *part)) for part in parts])
        for future in asked:
            await future

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Send UNSUBSCRIBE; nobody needs to wait for the answer."""
        self._ask(len(names))
        self.write([pack(("UNSUBSCRIBE", *names))])

    def ping(self) -> None:
        self._ask(1)
        super().ping()

    def answer(self, reply: Any) -> None:
        """Take a reply that is no message: it answers the oldest command that is not answered yet."""
        if not self._asked:
            return
        asked = self._asked[0]
        asked.count -= 1
        if isinstance(reply, Exception):  # to a PING too: even an error shows that the server is alive
            self._asked.popleft()
            if not asked.future.done():
                asked.future.set_exception(reply)
        elif not asked.count:
            self._asked.popleft()
            if not asked.future.done():
                asked.future.set_result(None)

    def _ask(self, count: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(_heard)
        if self.error:
            future.set_exception(ConnectionLost(str(self.error)))
        else:
            self._asked.append(_Asked(count, future))
        return future

    def _lose(self, error: Exception) -> None:
        super()._lose(error)
        lost = ConnectionLost(str(self.error))
        while self._asked:
            future = self._asked.popleft().future
            if not future.done():
                future.set_exception(lost)


def _heard(future: asyncio.Future[None]) -> None:
    """Mark an error as heard: else asyncio complains where nobody awaits the answer any more."""
    if not future.cancelled():
        future.exception()
