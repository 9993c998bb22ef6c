"""A TCP proxy that loses requests and replies, cuts connections, slows them down, and leads new ones elsewhere."""

import asyncio
import contextlib
from typing import Literal

Fault = Literal["cut", "request lost", "request late", "reply lost"]
LATE = 0.05
"""Seconds by which the server gets a late request after the client has lost its connection."""


class Proxy:
    """Forwards to a port of this machine; faults hit the connections of one client at a time.

    `rate`: bytes a second that requests go at, of all connections together; None is as fast as they come.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.fault: Fault | None = None
        self.rate: float | None = None

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self.server.close()
        self.cut()
        while self.connections:
            await asyncio.sleep(0.01)

    def cut(self) -> None:
        """Ends all connections now."""
        for pair in list(self.connections):
            for writer in pair:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, up_writer)
        self.connections.add(pair)
        await asyncio.gather(self._pump(reader, up_writer, "request lost"), self._pump(up_reader, writer, "reply lost"))
        self.connections.discard(pair)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(4096 if self.rate else 65536):
                if self.fault == fault:
                    self.fault = None
                    self.cut()
                    return
                if self.fault == "request late" and fault == "request lost":
                    self.fault = None
                    next(client for client, server in self.connections if server is sink).transport.abort()
                    await asyncio.sleep(LATE)
                    sink.write(chunk)
                    await sink.drain()
                    await asyncio.sleep(LATE)
                    break
                if self.rate and fault == "request lost":
                    await asyncio.sleep(len(chunk) / self.rate)
                sink.write(chunk)
                await sink.drain()
        sink.transport.abort()
