"""Messages between the socket and the handler: a bounded queue, and what of it the handler has still to do."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator

from fanout.message import Message

INBOX_BYTES = 64 * 2**20
BATCH = 1000


class Inbox:
    """A queue of messages, bounded in their number and bytes.

    `handled` counts how many of the batch in hand the handler has returned from; who takes the batches sets it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = 0
        self._queue: deque[Message] = deque()
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._in_hand: list[Message] = []
        self._closed = False
        self.handled = 0

    @property
    def space(self) -> int:
        """How many messages it may still take; as many bytes as fit into one chunk of the socket are always welcome."""
        return self._size - len(self._queue) if self._bytes < INBOX_BYTES else 0

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    @property
    def fill(self) -> float:
        """How full it is; 1 is full."""
        return max(self.waiting / self._size, self._bytes / INBOX_BYTES)

    def extend(self, messages: list[Message]) -> None:
        """Adds messages, also when there is no space: who may wait does so at `room` first."""
        if messages:
            self._queue.extend(messages)
            self._bytes += sum([message.size for message in messages])
            self._filled.set()
            if self.space <= 0:
                self._room.clear()

    async def room(self) -> None:
        """Waits until there is space."""
        await self._room.wait()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """What has arrived, in batches, until `close`. Who asks for the next has handled the last."""
        while True:
            self._in_hand, self.handled = [], 0
            await self._filled.wait()
            if self._closed:
                return
            self._in_hand = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._bytes -= sum([message.size for message in self._in_hand])
            if not self._queue:
                self._filled.clear()
            if self.space > 0:
                self._room.set()
            yield self._in_hand

    def unhandled(self) -> Iterator[Message]:
        """The messages that no handler has returned from yet, oldest first."""
        yield from self._in_hand[self.handled :]
        yield from self._queue

    def close(self) -> None:
        """Ends `batches`."""
        self._closed = True
        self._filled.set()
