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
        self._queue: deque[tuple[Message, int]] = deque()
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._in_hand: list[Message] = []
        self._closed = False
        self.handled = 0

    @property
    def full(self) -> bool:
        """Whether it holds as many messages, or bytes, as it may."""
        return len(self._queue) >= self._size or self._bytes >= INBOX_BYTES

    def put(self, message: Message, size: int) -> None:
        """Adds a message of that many bytes, also when it is full: who may wait does so at `room` first."""
        self._queue.append((message, size))
        self._bytes += size
        self._filled.set()
        if self.full:
            self._room.clear()

    async def room(self) -> None:
        """Waits until it is not full."""
        await self._room.wait()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """What has arrived, in batches, until `close`. Who asks for the next has handled the last."""
        while True:
            self._in_hand, self.handled = [], 0
            await self._filled.wait()
            if self._closed:
                return
            for _ in range(min(BATCH, len(self._queue))):
                message, size = self._queue.popleft()
                self._bytes -= size
                self._in_hand.append(message)
            if not self._queue:
                self._filled.clear()
            if not self.full:
                self._room.set()
            yield self._in_hand

    def unhandled(self) -> Iterator[Message]:
        """The messages that no handler has returned from yet, oldest first."""
        yield from self._in_hand[self.handled :]
        for message, _ in self._queue:
            yield message

    def close(self) -> None:
        """Ends `batches`."""
        self._closed = True
        self._filled.set()
