"""Messages between the socket and the handler: a bounded queue, and what of it the handler has still to do."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from fanout.message import Message

INBOX_BYTES = 64 * 2**20
BATCH = 1000


class Inbox:
    """A queue of messages, bounded in their number and bytes.

    `handled` counts how many of the batch in hand the handler has returned from; who takes the batches sets it.
    `direct`, if set, takes messages at once, and handles them before it returns: then nothing waits here.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = self._bytes = 0
        self._queue: deque[tuple[list[Message], int]] = deque()
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._in_hand: list[Message] = []
        self._closed = False
        self.handled = 0
        self.direct: Callable[[list[Message]], None] | None = None

    @property
    def space(self) -> int:
        """How many messages it may still take; as many bytes as fit into one chunk of the socket are always welcome."""
        return self._size - self._count if self._bytes < INBOX_BYTES else 0

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return self._count

    @property
    def fill(self) -> float:
        """How full it is; 1 is full."""
        return max(self._count / self._size, self._bytes / INBOX_BYTES)

    def extend(self, messages: list[Message], size: int) -> None:
        """Takes over messages of `size` bytes; also when there is no space: who may wait does so at `room` first."""
        if not messages:
            return
        if self.direct and not self._closed:
            self.direct(messages)
        else:
            self._queue.append((messages, size))
            self._count += len(messages)
            self._bytes += size
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
            self._in_hand = self._take()
            while self._queue and len(self._in_hand) + len(self._queue[0][0]) <= BATCH:
                self._in_hand += self._take()
            if not self._queue:
                self._filled.clear()
            if self.space > 0:
                self._room.set()
            yield self._in_hand

    def unhandled(self) -> Iterator[Message]:
        """The messages that no handler has returned from yet, oldest first."""
        yield from self._in_hand[self.handled :]
        for messages, _ in self._queue:
            yield from messages

    def close(self) -> None:
        """Ends `batches`."""
        self._closed = True
        self._filled.set()

    def _take(self) -> list[Message]:
        messages, size = self._queue.popleft()
        self._count -= len(messages)
        self._bytes -= size
        return messages
