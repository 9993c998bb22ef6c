"""The connection to a client: writing never waits, and what waits for the client is bounded."""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from gateway.budget import catch_ups
from gateway.frames import TIMELESS, Form, Frame, pieces

IN_TRANSPORT = 16 * 1024
UNSENT = 256 * 1024
"""Bytes that may wait for a client in the kernel beside those on the way; it would otherwise keep megabytes."""
PIECE = 64 * 1024
"""Bytes that are written in one go; in between, other clients have their turn."""
FIRST_LOOK, LOOK_EVERY = 0.001, 0.02
STALLED = 60.0
SLOW = 10.0
"""Seconds that a client has to read what waits for it, if memory is short and others want to catch up."""


class Client:
    """A connection to a client.

    A client that does not read is cut off when more than `limit` bytes wait for it; no other client notices. Few of
    them wait in the transport, which needs more memory than their size. The others wait in a queue, where all clients
    share the same bytes.

    Attributes:
        form: how frames are written on the connection.
        comment: a sign of life that the client ignores.
        task: the task that serves the client.
        cut: whether the client was cut off.
        queued: how many bytes wait in the queue.
    """

    def __init__(
        self, transport: asyncio.Transport, limit: int, form: Form, comment: bytes, behind: "set[Client]"
    ) -> None:
        self._transport, self._limit = transport, limit
        self.form, self.comment = form, comment
        self.task = asyncio.current_task()
        self.cut = False
        self._queue: deque[bytes] = deque()
        self.queued = 0
        self._held = False
        self._behind = behind

    def hold(self, begin: bytes) -> None:
        """Queue these bytes, and hold back everything until `release`."""
        self._held = True
        self._enqueue(begin)

    def release(self) -> None:
        """Send what was held back."""
        self._held = False
        self.pump()

    @property
    def waiting(self) -> int:
        """How many bytes wait, here and in the transport."""
        return self.queued + self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> int:
        """Send bytes without waiting; return how many bytes are queued because the client reads too slowly."""
        transport = self._transport
        if self._queue:
            self.pump()
        if self._queue or transport.get_write_buffer_size() > IN_TRANSPORT:
            self._enqueue(data)
            if self.waiting > self._limit:
                self.abort("it reads too slowly")
        elif not transport.is_closing():
            transport.write(data)
        return self.queued

    def pump(self) -> bool:
        """Send a piece of what is queued if the transport has room; return whether anything was sent."""
        transport, queue = self._transport, self._queue
        if self._held or not queue or transport.is_closing() or transport.get_write_buffer_size() > IN_TRANSPORT:
            return False
        piece, size = [], 0
        while queue and size < PIECE:
            piece.append(queue.popleft())
            size += len(piece[-1])
        self.queued -= size
        transport.write(b"".join(piece))
        return True

    def abort(self, why: str) -> None:
        """Cut the client off."""
        self.cut = True
        peer, waiting = self._transport.get_extra_info("peername"), self.waiting
        self._queue.clear()
        self.queued = 0
        structlog.get_logger().warning("client_cut", client=str(peer and peer[0]), waiting=waiting, cause=why)
        self._transport.abort()

    def _enqueue(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._queue.append(data)
        self.queued += len(data)
        self._behind.add(self)

    def encode(self, frames: Sequence[Frame]) -> list[bytes] | list[list[Frame]]:
        """Encode frames for `give`, unless their bytes depend on what is sent before them."""
        parts = pieces(frames, PIECE)
        return [self.form(piece) for piece in parts] if self.form in TIMELESS else list(parts)

    async def give(self, encoded: list[bytes] | list[list[Frame]]) -> None:
        """Send what `encode` returned, as fast as the client reads. If it reads nothing for long, it is cut off."""
        for part in encoded:
            await self.room(PIECE)
            data = part if isinstance(part, bytes) else self.form(part)
            if self._queue:
                self._enqueue(data)
            elif not self._transport.is_closing():
                self._transport.write(data)

    async def room(self, most: int) -> None:
        """Wait until at most `most` bytes wait, or half of the limit if that is less."""
        transport, now = self._transport, asyncio.get_running_loop().time
        most = min(most, self._limit // 2)
        least, read_at, began, wait = self.waiting, now(), now(), 0.0
        while not transport.is_closing() and (waiting := self.waiting) > most:
            if waiting < least:
                least, read_at = waiting, now()
            elif now() - read_at > STALLED:
                self.abort(f"it has read nothing for {STALLED:g} s")
            if catch_ups.wanted and now() - began > SLOW:
                self.abort("it reads too slowly, and others wait for the memory that it takes")
            await asyncio.sleep(wait)
            wait = min(LOOK_EVERY, max(FIRST_LOOK, wait * 2))
