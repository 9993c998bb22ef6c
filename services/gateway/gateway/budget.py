"""Bounds the memory that all clients together may use while they catch up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanout.service.memory_limit import memory_limit


class Budget:
    """A number of bytes from which blocks reserve some, first come, first served.

    Attributes:
        served: how many blocks have asked for some.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.served = 0

    @property
    def wanted(self) -> bool:
        """Whether a block waits for bytes that others have reserved."""
        return any(not turn.done() for _, turn in self._waiting)

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Reserve that many bytes, but at most all there are, while the block runs."""
        size = min(size, self._limit)
        self.served += 1
        if self._waiting or size > self._free:
            await self._turn(size)
        else:
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._serve()

    async def _turn(self, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._free += size
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            size, turn = self._waiting.popleft()
            if not turn.done():  # else its block was cancelled
                self._free -= size
                turn.set_result(None)


catch_ups = Budget(memory_limit() // 8)
"""For messages that wait for clients that are catching up, since each client gets its own copy."""
pages = Budget(memory_limit() // 32)
"""For pages of history, at their largest size until they have been read; processing takes several times that."""
