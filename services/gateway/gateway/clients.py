"""The connected clients: bounds their number, keeps them alive, and ends them."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fanout.service.http_body import Refused
from fanout.service.http_guard import open_files
from gateway.client import FIRST_LOOK, LOOK_EVERY, UNSENT, Client
from gateway.frames import Form

HEARTBEAT = 10.0
UNACKNOWLEDGED = 20.0
"""Seconds after which a client counts as gone if its system acknowledges no data or has no room for it."""
AT_ONCE = 500
READS = 0.2
"""Seconds for which slow clients are checked more often after one of them has read something."""


class Clients:
    """All clients of this process, at most `limit`; `left` counts those that are gone, `cut` those that were cut off.

    `reserve` is how many open files everything else may need; `limit` is lowered if the system allows too few files.
    """

    def __init__(self, limit: int, client_buffer: int, reserve: int) -> None:
        self.limit = max(1, min(limit, open_files(limit + reserve) - reserve))
        self._buffer = client_buffer
        self._all: set[Client] = set()
        self._behind: set[Client] = set()
        self._admitted = 0
        self.closing = False
        self.cut = self.left = 0

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count one more client while the block runs.

        Raises:
            Refused: there are too many, or the gateway is stopping.
        """
        if self.closing or self._admitted >= self.limit:
            raise Refused(503, "the gateway is stopping" if self.closing else "the gateway has too many clients")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextmanager
    def connected(self, transport: asyncio.Transport | None, form: Form, comment: bytes = b"") -> Iterator[Client]:
        """Make a client for a connection. When the gateway stops, the block is left as if it had finished."""
        if transport is None:
            raise ConnectionResetError("the client is gone")
        _bound(transport)
        client = Client(transport, self._buffer, form, comment, self._behind)
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
            self._behind.discard(client)
            self.cut += client.cut
            self.left += 1

    async def keep_alive(self) -> None:
        """Send every client a comment every HEARTBEAT seconds; never return."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            for number, client in enumerate(list(self._all)):
                if client.comment:
                    client.write(client.comment)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def pump(self) -> None:
        """Send what is queued for slow clients as they read; never return."""
        now = asyncio.get_running_loop().time
        wait, moved_at = LOOK_EVERY, -READS
        while True:
            await asyncio.sleep(wait)
            moved = [client.pump() for client in list(self._behind)]
            self._behind -= {client for client in self._behind if not client.queued}
            if any(moved):
                moved_at = now()
            reads = now() - moved_at < READS
            wait = min(LOOK_EVERY, FIRST_LOOK * (1 + len(moved) / AT_ONCE)) if reads else LOOK_EVERY

    def close(self) -> None:
        """Refuse new clients, and close the connections of the others."""
        self.closing = True
        for client in self._all:
            if client.task:
                client.task.cancel()


def _bound(transport: asyncio.Transport) -> None:
    """Limit how long and how much the kernel buffers for a client that is gone."""
    found = transport.get_extra_info("socket")
    if found and found.family in (socket.AF_INET, socket.AF_INET6) and sys.platform == "linux":
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED * 1000))
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
