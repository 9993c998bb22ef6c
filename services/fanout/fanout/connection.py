"""A connection to Redis with deadlines, read in batches: the only place that touches redis-py's private parts.

redis-py opens it (TLS, AUTH, SELECT). From then on the bytes come in chunks, straight from the event loop and without
a task to wake, into that connection's own hiredis reader, and all replies of a chunk are taken out in one loop.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Self

import hiredis
import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.connection import Connection as TcpConnection
from redis.exceptions import BusyLoadingError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.settings import Settings

CHUNK = 64 * 1024
SLICE = 16 * 1024
"""Bytes that the parser gets at once: it moves all that it holds whenever a few replies were taken out."""
OLDEST_SERVER = (7, 0)

Word = str | bytes | int | float


def pack(words: tuple[Word, ...]) -> bytes:
    """A command as bytes for the wire."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return packed


class Connection(asyncio.BufferedProtocol):
    """An open connection. When nothing is heard it must prove itself alive: PING, and an answer within DEAD_AFTER.

    `on_replies` gets all replies that a chunk of bytes completes, and the chunk's size; errors from Redis stand among
    them as exceptions. What it raises ends the connection. `on_lost` is called when the connection has ended, `error`
    says why, and is ConnectionLost where that has no other name.
    """

    info: dict[str, str]

    def __init__(self, opened: Any, dead_after: float) -> None:
        reader, writer = opened._reader, opened._writer
        if reader is None or writer is None or reader.at_eof() or writer.transport.is_closing():
            raise ConnectionLost("closed by the server at once")
        self._opened, self._transport = opened, writer.transport
        self._parser: hiredis.Reader = opened._parser._reader
        self._chunk = bytearray(CHUNK)
        self._dead_after = dead_after
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._writable = asyncio.Event()
        self._writable.set()
        self.error: Exception | None = None
        self.on_replies: Callable[[list[Any], int], None] = lambda *_: None
        self.on_lost: Callable[[], None] = lambda: None
        self._transport.set_protocol(self)
        self._watch = self._loop.call_later(dead_after / 4, self._check)

    @classmethod
    async def open(cls, settings: Settings, within: float) -> Self:
        """Connects, authenticates and checks the server's version.

        The server must accept the connection in so many seconds, and all must be done in half of DEAD_AFTER.

        Raises:
            OSError, RedisError, TimeoutError, ConnectionLost: it did not work this time.
            RefusedByRedis: the server is older than Redis 7.0.
        """
        opened: Any = _unopened(settings, within)
        try:
            async with asyncio.timeout(settings.dead_after / 2):
                await opened.connect()
                await opened.send_command("INFO")
                info = parse_info(await opened.read_response())
                _check_version(info)
                if info.get("loading", "0") != "0":
                    raise BusyLoadingError("Redis is loading its data")
            connection = cls(opened, settings.dead_after)
            connection.info = info
            return connection
        except (TimeoutError, redis.exceptions.TimeoutError):
            opened._close()
            raise TimeoutError(f"no connection within {within:.1f} s, or no answer on it") from None
        except BaseException:
            opened._close()
            raise

    def check(self) -> None:
        """Raises `error` if the connection has ended."""
        if self.error:
            raise self.error

    def write(self, packed: Iterable[bytes]) -> None:
        """Sends packed commands. Never waits: who has much to send lets `drain` wait between."""
        if not self.error:
            self._transport.write(b"".join(packed))

    async def drain(self) -> None:
        """Waits until the socket takes more bytes.

        Raises:
            ConnectionLost: it never will.
        """
        await self._writable.wait()
        self.check()

    def ping(self) -> None:
        """Asks for a sign of life."""
        self.write([pack(("PING",))])

    def close(self) -> None:
        """Ends the connection at once, and with it what it has not sent yet."""
        self._lose(ConnectionLost("closed"))

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._chunk

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        feed, take = self._parser.feed, self._parser.gets
        replies: list[Any] = []
        try:
            for start in range(0, nbytes, SLICE):
                feed(self._chunk, start, min(SLICE, nbytes - start))  # type: ignore[arg-type]
                while (reply := take()) is not NOT_ENOUGH_DATA:
                    replies.append(reply)
        except RedisError as error:
            self._lose(ConnectionLost(f"not the Redis protocol: {error}"))
            return
        if replies:
            try:
                self.on_replies(replies, nbytes)
            except Exception as error:
                self._lose(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(ConnectionLost(str(exc or "closed by the server")))

    def _lose(self, error: Exception) -> None:
        if self.error:
            return
        self.error = error
        self._watch.cancel()
        self._abort()
        self._opened._close()
        self._writable.set()
        self.on_lost()

    def _abort(self) -> None:
        """Without lingering: else the kernel sends what is left when the network is back, behind newer events."""
        sock = self._transport.get_extra_info("socket")
        if sock and sock.family != socket.AF_UNIX and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _check(self) -> None:
        silent = self._loop.time() - self._heard
        if silent >= self._dead_after:
            self._lose(ConnectionLost(f"no sign of life for {silent:.1f} s"))
            return
        if silent >= self._dead_after / 4:
            self.ping()
        self._watch = self._loop.call_later(min(self._dead_after / 4, self._dead_after - silent), self._check)


def _unopened(settings: Settings, within: float) -> AbstractConnection:
    options: dict[str, Any] = dict(settings.redis)
    kind = options.pop("connection_class", TcpConnection)
    if issubclass(kind, TcpConnection):
        options["socket_keepalive"] = True
    connection: AbstractConnection = kind(
        **options,
        protocol=2,  # RESP3 would put every message through redis-py's push handling
        socket_timeout=None,
        socket_connect_timeout=within,
        client_name=re.sub(r"[^!-~]", "_", settings.instance),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return connection


def parse_info(reply: bytes) -> dict[str, str]:
    """The answer to INFO."""
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}


def check_eviction(info: dict[str, str]) -> None:
    """Refuses a server that may forget keys when it is full.

    Raises:
        RefusedByRedis: its maxmemory-policy is not noeviction.
    """
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise RefusedByRedis(f"the server has maxmemory-policy {policy}, but must have noeviction to keep history")


def _check_version(info: dict[str, str]) -> None:
    shown = info.get("redis_version", "unknown")
    found = re.match(r"(\d+)\.(\d+)", shown)
    if not found or (int(found[1]), int(found[2])) < OLDEST_SERVER:
        raise RefusedByRedis(f"the Redis server has version {shown}, but must be 7.0 or later")
