"""The connections to clients: written to without waiting, each with a bound on what it may have waiting."""

import asyncio
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fanout.intake import Refused
from fanout.logs import get_logger
from gateway.frames import Form, Frame, pieces

HEARTBEAT = 15.0
PIECE = 64 * 1024
"""Bytes that are written in one go; between two, the others have their turn."""
LOOK_EVERY = 0.02
STALLED = 60.0


class Client:
    """A connection to a client. `form` is how frames are written on it, `comment` a sign of life that it ignores.

    A client that does not read is cut off when more than `limit` bytes wait for it; nobody else notices.
    """

    def __init__(self, transport: asyncio.Transport, limit: int, form: Form, comment: bytes) -> None:
        self._transport, self._limit = transport, limit
        self.form, self.comment = form, comment
        self.task = asyncio.current_task()
        self.cut = False

    def write(self, data: bytes) -> None:
        """Sends bytes. Never waits."""
        if self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limit:
            self.abort("it reads too slowly")

    def abort(self, why: str) -> None:
        """Cuts the client off."""
        self.cut = True
        peer = self._transport.get_extra_info("peername")
        waiting = self._transport.get_write_buffer_size()
        get_logger().warning("client_cut", client=str(peer and peer[0]), waiting=waiting, cause=why)
        self._transport.abort()

    async def give(self, frames: Sequence[Frame]) -> None:
        """Sends frames as the client reads them. One that reads nothing for long is cut off."""
        for piece in pieces(frames, PIECE):
            await self.room()
            if not self._transport.is_closing():
                self._transport.write(self.form(piece))

    async def room(self) -> None:
        """Waits until less than half of what may wait does."""
        transport, now = self._transport, asyncio.get_running_loop().time
        least, read_at = transport.get_write_buffer_size(), now()
        while not transport.is_closing() and (waiting := transport.get_write_buffer_size()) > self._limit // 2:
            if waiting < least:
                least, read_at = waiting, now()
            elif now() - read_at > STALLED:
                self.abort(f"it has read nothing for {STALLED:g} s")
            await asyncio.sleep(LOOK_EVERY)


class Clients:
    """All clients of this process, at most `limit`; `cut` counts those that were cut off.

    `reserve` is how many open files all else may need: where the system allows fewer in all, `limit` is lower.
    """

    def __init__(self, limit: int, client_buffer: int, reserve: int) -> None:
        self.limit = max(1, min(limit, _open_files(limit + reserve) - reserve))
        self._buffer = client_buffer
        self._all: set[Client] = set()
        self._admitted = 0
        self.closing = False
        self.cut = 0

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one client, for as long as the block runs.

        Raises:
            Refused: there is none.
        """
        if self.closing or self._admitted >= self.limit:
            raise Refused(
                503, "the gateway is stopping" if self.closing else "the gateway has as many clients as it may"
            )
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextmanager
    def connected(self, transport: asyncio.Transport | None, form: Form, comment: bytes = b"") -> Iterator[Client]:
        """A client on its connection. At the end of the gateway the block is left, as if it were done."""
        if transport is None:
            raise ConnectionResetError("the client is gone")
        client = Client(transport, self._buffer, form, comment)
        self._all.add(client)
        try:
            yield client
        except asyncio.CancelledError:
            if not self.closing or client.cut:
                raise
            if client.task:
                client.task.uncancel()
        finally:
            self._all.discard(client)
            self.cut += client.cut

    async def keep_alive(self) -> None:
        """Gives every client a sign of life now and then; never returns."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            for client in self._all:
                if client.comment:
                    client.write(client.comment)

    def close(self) -> None:
        """Takes no new clients, and has those that are here say goodbye."""
        self.closing = True
        for client in self._all:
            if client.task:
                client.task.cancel()


def _open_files(wanted: int) -> int:
    """Has the system allow so many open files, or as many as it does; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
