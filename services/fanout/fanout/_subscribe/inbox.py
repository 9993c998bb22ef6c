"""Messages between the socket and the handler: a bounded queue, and which of them are not handled yet."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

from fanout.message import Message

INBOX_BYTES = 64 * 2**20
BATCH = 1000


class Place(NamedTuple):
    """Identifies a message's event, whatever a handler does to the message.

    Attributes:
        channel: the channel's name.
        source: the source that tells duplicates apart.
        id: likewise the id.
        streamseq: its count in the history.
        streamprev: the ID of the entry before its own.
        nth: its index within its entry.
    """

    channel: str
    source: str
    id: str
    streamseq: str | None
    streamprev: str | None
    nth: int


class Inbox:
    """A queue of messages, bounded in number and bytes.

    Attributes:
        handled: how many messages of the batch in hand are handled. Whoever takes the batches sets it.
        direct: if set, it is called with messages at once and handles them before it returns, so nothing waits here.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = self._bytes = 0
        self._queue: deque[tuple[list[Message], int]] = deque()
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._in_hand: list[Place] = []
        self._closed = False
        self.handled = 0
        self.direct: Callable[[list[Message]], None] | None = None

    @property
    def space(self) -> int:
        """How many messages it may still take; their bytes may exceed the limit by one read from the socket."""
        return self._size - self._count if self._bytes < INBOX_BYTES else 0

    @property
    def waiting(self) -> int:
        """How many messages are waiting."""
        return self._count

    @property
    def fill(self) -> float:
        """How full it is; 1 is full."""
        return max(self._count / self._size, self._bytes / INBOX_BYTES)

    def extend(self, messages: list[Message], size: int) -> None:
        """Take messages of `size` bytes, even if there is no space. Callers that can wait await `room` first."""
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
        """Wait until there is space."""
        await self._room.wait()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Yield what arrives, in batches, until `close`. Asking for the next batch marks the last one as handled."""
        while batch := await self.next_batch():
            yield batch

    async def next_batch(self) -> list[Message]:
        """Mark the last batch as handled, wait for messages and return them; an empty list after `close`."""
        self._in_hand, self.handled = [], 0
        await self._filled.wait()
        if self._closed:
            return []
        batch = self._take()
        while self._queue and len(batch) + len(self._queue[0][0]) <= BATCH:
            batch += self._take()
        self._in_hand = [_place(message) for message in batch]
        if not self._queue:
            self._filled.clear()
        if self.space > 0:
            self._room.set()
        return batch

    def unhandled(self) -> Iterator[Place]:
        """Yield the places of the messages that are not handled yet, oldest first."""
        yield from self._in_hand[self.handled :]
        for messages, _ in self._queue:
            yield from map(_place, messages)

    def close(self) -> None:
        """End `batches`."""
        self._closed = True
        self._filled.set()

    def _take(self) -> list[Message]:
        messages, size = self._queue.popleft()
        self._count -= len(messages)
        self._bytes -= size
        return messages


def _place(message: Message) -> Place:
    return Place(message.channel, *message.origin, message.streamseq, message.streamprev, message.nth)
