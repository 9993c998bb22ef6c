"""A raw client: sends exactly the given bytes, on any number of connections."""

import asyncio
import base64
import contextlib
import os
import resource
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

ANSWER_WITHIN = 10.0
OPENED_AT_ONCE = 100
_MASK = bytes(4)
PING = 0x89


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A connection to a port of this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect. Raises OSError if the port does not accept the connection."""
        async with asyncio.timeout(ANSWER_WITHIN):
            return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """Send bytes, unless the other side has closed the connection."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN):
                self.writer.write(data)
                await self.writer.drain()

    async def answer(self) -> Answer:
        """Read the next answer, with header names in lower case. Raises OSError if there is none in time."""
        async with asyncio.timeout(ANSWER_WITHIN):
            status = (await self.reader.readline()).split()
            if len(status) < 2:
                raise ConnectionError("closed without an answer")
            headers = {}
            while line := (await self.reader.readline()).strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            length = headers.get("content-length", "0")
            try:
                return Answer(int(status[1]), headers, await self.reader.readexactly(int(length)))
            except asyncio.IncompleteReadError:
                raise ConnectionError("closed within an answer") from None

    async def hung_up(self, within: float) -> bool:
        """Return whether the other side closes the connection in that time, whatever it sends before."""
        try:
            async with asyncio.timeout(within):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        """Abort the connection."""
        self.writer.transport.abort()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Build a request; `_` in a header's name stands for `-`."""
    fields = {"host": "localhost", "content-length": str(len(body))}
    fields |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def post(channel: str, body: bytes = b"x", **headers: str) -> bytes:
    """Build a request that publishes."""
    return request("POST", f"/channels/{channel}/messages", body, **headers)


async def ask(port: int, wire: bytes) -> Answer:
    """Send one request on a separate connection.

    Raises:
        OSError: it is not answered.
    """
    connection = await Connection.open(port)
    try:
        await connection.send(wire)
        return await connection.answer()
    finally:
        connection.close()


@asynccontextmanager
async def crowd(
    port: int, count: int, does: Callable[[Connection], Awaitable[None]]
) -> AsyncIterator[list[Connection]]:
    """Open that many connections and run a function on each; those that were not accepted are left out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    slots = asyncio.Semaphore(OPENED_AT_ONCE)
    connections: list[Connection] = []

    async def one() -> None:
        async with slots:
            with contextlib.suppress(OSError):
                connections.append(await Connection.open(port))
                await does(connections[-1])

    try:
        await asyncio.gather(*(one() for _ in range(count)))
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def all_hung_up(connections: Iterable[Connection], within: float) -> int:
    """Return how many connections the other side has closed in that time."""
    return sum(await asyncio.gather(*(connection.hung_up(within) for connection in connections)))


HANDSHAKE = request(
    "GET",
    "/ws",
    upgrade="websocket",
    connection="Upgrade",
    sec_websocket_version="13",
    sec_websocket_key=base64.b64encode(os.urandom(16)).decode(),
).replace(b"content-length: 0\r\n", b"")


async def websocket(port: int) -> Connection:
    """Open a WebSocket. Raises OSError if that fails."""
    connection = await Connection.open(port)
    await connection.send(HANDSHAKE)
    if (status := (await connection.answer()).status) != 101:
        raise ConnectionError(f"no WebSocket, but {status}")
    return connection


def text_frame(text: bytes) -> bytes:
    """Build a client's text frame (RFC 6455, section 5.2)."""
    size = len(text)
    return (b"\x81%c" % (0x80 | size) if size < 126 else b"\x81\xfe" + struct.pack(">H", size)) + _MASK + text


async def read_frame(connection: Connection) -> bytes:
    """Read the next text of a server. Raises OSError if there is none in time."""
    async with asyncio.timeout(ANSWER_WITHIN):
        try:
            while True:
                kind, size = await connection.reader.readexactly(2)
                if size >= 126:
                    size = int.from_bytes(await connection.reader.readexactly(2 if size == 126 else 8), "big")
                text = await connection.reader.readexactly(size)
                if kind == 0x81:
                    return text
                if kind == PING:
                    await connection.send(b"\x8a%c" % (0x80 | size) + _MASK + text)
        except asyncio.IncompleteReadError:
            raise ConnectionError("the WebSocket was ended") from None
