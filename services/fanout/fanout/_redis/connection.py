"""A connection to Redis with deadlines, read in batches: the only place that touches redis-py's private parts.

redis-py opens it (TLS, AUTH, SELECT). From then on the event loop hands each chunk of bytes straight to the
connection's hiredis reader, without waking a task, and one loop takes all replies of a chunk out of it.
"""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from typing import Any, Self

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.connection import Connection as TcpConnection
from redis.exceptions import BusyLoadingError, RedisError

from fanout._redis.server_checks import check_version, parse_info
from fanout.errors import ConnectionLost, SettingError, UnsupportedLibrary
from fanout.settings import Settings

UNSUPPORTED = f"fanout reads through private parts of redis-py 5.1 to 8, which this redis-py {redis.__version__} lacks"
_NO_NOTICES: dict[str, Any] = {}
"""Options that keep Redis's maintenance notices off a connection; redis-py has them from 8.1 on."""
try:
    from redis._parsers.hiredis import NOT_ENOUGH_DATA

    if "maint_notifications_config" in signature(AbstractConnection.__init__).parameters:
        from redis.maint_notifications import MaintNotificationsConfig

        _NO_NOTICES["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
except ImportError as missing:
    raise ImportError(f"{UNSUPPORTED} ({missing})") from None

CHUNK = 64 * 1024
SLICE = 16 * 1024
"""Bytes fed to the parser at once; small, since it moves all that it holds each time a few replies are taken out."""

Word = str | bytes | int | float
KEPT = ("aof_enabled", "maxmemory_policy", "redis_version", "role", "run_id")
"""Fields of INFO that are kept: all of them take 30 kB, and a gateway has two connections for each channel."""


class _ThreadBuffer(threading.local):
    """The read buffer that all connections of an event loop share; each one empties it as soon as it has read."""

    def __init__(self) -> None:
        self.chunk = bytearray(CHUNK)


_thread_buffer = _ThreadBuffer()


def pack(words: tuple[Word, ...]) -> bytes:
    """Return a command as bytes for the wire."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return packed


class Connection(asyncio.BufferedProtocol):
    """An open connection. When it is silent it is sent a PING, which must be answered within DEAD_AFTER.

    `on_replies` is called with all replies that a chunk completes, errors from Redis among them as exceptions, and with
    their approximate size in bytes. If it raises, the connection ends. `on_lost` is called when the connection has
    ended; `error` is then what it raised, or else ConnectionLost.
    """

    info: dict[str, str]

    def __init__(self, opened: Any, dead_after: float) -> None:
        try:
            reader, writer, self._parser = opened._reader, opened._writer, opened._parser._reader
        except AttributeError as error:
            raise UnsupportedLibrary(f"{UNSUPPORTED} ({error})") from None
        if reader is None or writer is None or reader.at_eof() or writer.transport.is_closing():
            raise ConnectionLost("closed by the server at once")
        if not isinstance(self._parser, hiredis.Reader):
            raise UnsupportedLibrary(f"{UNSUPPORTED} (its parser is not hiredis)")
        self._opened, self._transport = opened, writer.transport
        self._chunk = _thread_buffer.chunk
        self._dead_after = dead_after
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._unclaimed = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._together: list[bytes] | None = None
        self.error: Exception | None = None
        self.on_replies: Callable[[list[Any], int], None] = lambda *_: None
        self.on_lost: Callable[[], None] = lambda: None
        self._transport.set_protocol(self)
        self._watch = self._loop.call_later(dead_after / 4, self._check)

    @classmethod
    async def open(cls, settings: Settings, within: float) -> Self:
        """Connect, authenticate and check the server's version, within half of DEAD_AFTER.

        Args:
            settings: where Redis is, and the deadlines.
            within: seconds in which the server must accept the connection.

        Raises:
            OSError, RedisError, TimeoutError, ConnectionLost: this attempt failed.
            RefusedByRedis: the server is older than Redis 7.0.
        """
        opened: Any = _unopened(settings, within)
        try:
            async with asyncio.timeout(settings.dead_after / 2):
                await opened.connect()
                await opened.send_command("INFO")
                info = parse_info(await opened.read_response())
                check_version(info)
                if info.get("loading", "0") != "0":
                    raise BusyLoadingError("Redis is loading its data")
            connection = cls(opened, settings.dead_after)
            connection.info = {name: info[name] for name in KEPT if name in info}
            settings.redis.accepted = True
            return connection
        except (TimeoutError, redis.exceptions.TimeoutError):
            opened._close()
            raise TimeoutError(f"no connection within {within:.1f} s, or no answer on it") from None
        except BaseException:
            opened._close()
            raise

    def check(self) -> None:
        """Raise `error` if the connection has ended."""
        if self.error:
            raise self.error

    def write(self, packed: Iterable[bytes]) -> None:
        """Send packed commands without waiting; callers with much to send await `drain` in between."""
        if self._together is not None:
            self._together += packed
        elif not self.error:
            self._transport.write(b"".join(packed))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Send everything that is written within the block in one go, at its end."""
        self._together = []
        try:
            yield
        finally:
            packed, self._together = self._together, None
            if packed:
                self.write(packed)

    async def drain(self) -> None:
        """Wait until the socket accepts more bytes.

        Raises:
            ConnectionLost: the connection has ended.
        """
        await self._writable.wait()
        self.check()

    def ping(self) -> None:
        """Send a PING, to which any answer shows that the connection is alive."""
        self.write([pack(("PING",))])

    def close(self) -> None:
        """End the connection at once; bytes that are not sent yet are discarded."""
        self._lose(ConnectionLost("closed"))

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._chunk

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        feed, take = self._parser.feed, self._parser.gets
        replies: list[Any] = []
        try:
            for start in range(0, nbytes, SLICE):
                feed(self._chunk, start, min(SLICE, nbytes - start))
                while (reply := take()) is not NOT_ENOUGH_DATA:
                    replies.append(reply)
        except RedisError as error:
            self._lose(ConnectionLost(f"not the Redis protocol: {error}"))
            return
        self._unclaimed += nbytes
        if replies:
            size, self._unclaimed = self._unclaimed, 0
            try:
                self.on_replies(replies, size)
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
        """Close without lingering: else the kernel would send the rest when the network is back, after newer events."""
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
    try:
        options = settings.redis.options()
    except SettingError as error:  # the file was changed since the start
        raise ConnectionLost(str(error)) from None
    kind = options.pop("connection_class", TcpConnection)
    if issubclass(kind, TcpConnection):
        options["socket_keepalive"] = True
    connection: AbstractConnection = kind(
        **options,
        protocol=2,  # RESP3 would put every message through redis-py's push handling
        socket_timeout=None,
        socket_connect_timeout=within,
        client_name=re.sub(r"[^!-~]", "_", settings.instance),
        **_NO_NOTICES,
    )
    return connection
