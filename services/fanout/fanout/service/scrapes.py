"""Answers Prometheus's scrapes: one request a connection, on the service's event loop, with every resource bounded.

A client that has not sent its request and read the answer within WITHIN seconds is disconnected; if too many are
connected, so is the oldest one. A real scrape sends its request at once, so it is answered whoever else is connected.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

WITHIN = 2.0
CONNECTIONS = 50
HEAD_BYTES = 16 * 1024
FRESH = 0.1
"""Seconds for which an answer is reused: collecting samples delays messages."""
REQUEST = re.compile(r"(?:GET|HEAD) (/[^? ]*)(?:\?\S*)? HTTP/1\.[01]")
ACCEPT = re.compile(r"\naccept:([^\r\n]*)", re.IGNORECASE)


class Scrapes:
    """Answers requests at a listening socket while `run` runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._answers: dict[str, tuple[float, bytes]] = {}
        self.connected: dict[_Connection, None] = {}

    async def run(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        server = await self._loop.create_server(lambda: _Connection(self), sock=listener)
        try:
            await self._loop.create_future()
        finally:
            server.close()
            for connection in list(self.connected):
                connection.abort()

    def answer(self, head: str) -> bytes:
        """Return the complete answer to the request that begins with `head`."""
        request = REQUEST.match(head)
        if not request:
            return _reply("400 Bad Request", "text/plain", b"this answers GET /metrics\n")
        if request[1] not in ("/", "/metrics"):
            return _reply("404 Not Found", "text/plain", b"this answers GET /metrics\n")
        accept = ACCEPT.search(head)
        encode, kind = choose_encoder(accept[1] if accept else "")
        whole = _reply("200 OK", kind, self._exposition(encode, kind))
        return whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith("HEAD") else whole

    def _exposition(self, encode: Callable[[CollectorRegistry], bytes], kind: str) -> bytes:
        now = self._loop.time()
        made, text = self._answers.get(kind, (-FRESH, b""))
        if now - made >= FRESH:
            text = encode(self._registry)
            self._answers = {kind: (now, text)}
        return text


class _Connection(asyncio.Protocol):
    def __init__(self, scrapes: Scrapes) -> None:
        self._scrapes = scrapes
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses of it
        self._timer = asyncio.get_running_loop().call_later(WITHIN, self.abort)
        self._scrapes.connected[self] = None
        if len(self._scrapes.connected) > CONNECTIONS:
            next(iter(self._scrapes.connected)).abort()

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._transport.write(self._scrapes.answer(self._head.decode("latin-1")))
            self._transport.close()
        elif len(self._head) > HEAD_BYTES:
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()
        self._scrapes.connected.pop(self, None)

    def abort(self) -> None:
        self._scrapes.connected.pop(self, None)
        self._transport.abort()


def _reply(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
