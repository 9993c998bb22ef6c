"""Stands between the socket and an HTTP server, which gets a request only when it is complete and valid.

So clients that send slowly, partly, too much or nothing cost little, and not for long. Each request has a deadline;
the bytes of incomplete requests and the number of connections are bounded. When a bound is reached, the idle connection
that has been silent for longest is evicted.
"""

import asyncio
import itertools
import json
import resource
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import structlog

from fanout.service.http_body import Refused
from fanout.service.http_head import Head, read_chunks, read_head
from fanout.service.http_settings import HttpSettings

LOOKED_AT = 64
"""Connections that are examined for one that can be evicted."""
MOST_ENDING = 100
"""Refused clients that may be reading their answer at once."""
TO_READ = 1.0
"""Seconds that a refused client has to read its answer."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Guard:
    """The connections of a server: at most `limit`, with request bodies of at most `longest_body` bytes.

    Attributes:
        http: the settings of the port.
        busy: tells whether the server is working on a request of one of its protocols.
        upgrades: whether connections may be upgraded (WebSocket); their bytes then pass unchecked.
        held: bytes of incomplete requests that are held.
        all: connections, those silent for longest first.
        ending: refused connections that are reading their answer.
    """

    def __init__(
        self,
        http: HttpSettings,
        limit: int,
        longest_body: int,
        busy: Callable[[asyncio.Protocol], bool],
        *,
        upgrades: bool,
    ) -> None:
        self.http, self._limit = http, limit
        self.longest_body, self.busy, self.upgrades = longest_body, busy, upgrades
        self.held = 0
        self.all: OrderedDict[Connection, None] = OrderedDict()
        self.ending: set[Connection] = set()
        self._by_address: dict[str, OrderedDict[Connection, None]] = {}
        self._closing = False

    def protocol(self, make: Callable[[], asyncio.Protocol]) -> "Connection":
        """Return the protocol for a new connection; `make` makes the server's own, which it wraps."""
        return Connection(self, make)

    def close(self) -> None:
        """Refuse new connections, and close the idle ones."""
        self._closing = True
        for connection in (*self.all, *self.ending):
            if connection.idle:
                connection.close()

    def join(self, connection: "Connection", address: str) -> None:
        """Add a connection, or move it to another address that a trusted proxy named for it.

        Raises:
            Refused: 503 there are too many connections, and none of them can be evicted.
        """
        self.leave(connection)
        same_address = self._by_address.setdefault(address, OrderedDict())
        connection.address = address
        self.all[connection] = same_address[connection] = None
        if self._closing:
            raise Refused(503, "the service is stopping")
        many = 0 < self.http.per_address < len(same_address) and not self.http.trusts(address)
        if many and not self._make_room(same_address, connection):
            raise Refused(503, "this address has too many connections")
        if len(self.all) > self._limit and not self._make_room(self.all, connection):
            raise Refused(503, "the service has too many connections")

    def leave(self, connection: "Connection") -> None:
        """Remove a connection."""
        self.all.pop(connection, None)
        same_address = self._by_address.get(connection.address)
        if same_address is not None:
            same_address.pop(connection, None)
            if not same_address:
                del self._by_address[connection.address]

    def hold(self, connection: "Connection", more: int) -> None:
        """Note that a connection has sent something and how many more of its bytes are now held."""
        self.all.move_to_end(connection)
        self._by_address[connection.address].move_to_end(connection)
        self.held += more
        while self.held > self.http.request_buffer and self._make_room(self.all, holding=True):
            pass

    def _make_room(
        self, connections: "OrderedDict[Connection, None]", newest: "Connection | None" = None, *, holding: bool = False
    ) -> bool:
        for connection in list(itertools.islice(connections, LOOKED_AT)):
            if connection.idle and connection is not newest and (connection.held or not holding):
                connection.evict()
                return True
            connections.move_to_end(connection)
        return False


class Connection(asyncio.Protocol):
    """Collects requests, one after the other, and hands each to the server when it is complete."""

    def __init__(self, guard: Guard, make: Callable[[], asyncio.Protocol]) -> None:
        self._guard, self._make = guard, make
        self._server: asyncio.Protocol | None = None
        self._head: Head | None = None
        self._buffer, self._body = bytearray(), bytearray()
        self.held = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._handing_over = self._upgraded = self._ending = False
        self.address = ""

    @property
    def idle(self) -> bool:
        """Whether the server has no request of this connection."""
        if self._server is None:
            return True
        return not (self._upgraded or self._handing_over or self._guard.busy(self._server))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the first request's deadline, or refuse the connection if there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._start_deadline()
        try:
            self._guard.join(self, self._peer)
        except Refused as error:
            self.refuse(error)

    def data_received(self, data: bytes) -> None:
        """Collect a request; after an upgrade, pass all bytes straight on."""
        if self._upgraded and self._server:
            self._server.data_received(data)
            return
        if self._ending or self._transport.is_closing():
            return
        self._buffer += data
        try:
            while self._buffer and not self._upgraded and self._consume():
                pass
        except Refused as error:
            self.refuse(error)
        self._handing_over = False
        if self._ending or self._transport.is_closing():
            return
        held = len(self._buffer) + len(self._body)
        self.held, more = held, held - self.held
        self._guard.hold(self, more)
        if (held or self._head) and not self._deadline:
            self._start_deadline()

    def eof_received(self) -> bool | None:
        """Ask the server whether to keep its own direction open."""
        return self._server.eof_received() if self._server else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what was collected, and tell the server."""
        self._drop()
        self._guard.leave(self)
        self._guard.ending.discard(self)
        if self._server:
            self._server.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the server that the client reads too slowly."""
        if self._server:
            self._server.pause_writing()

    def resume_writing(self) -> None:
        """Tell the server that the client reads again."""
        if self._server:
            self._server.resume_writing()

    def refuse(self, error: Refused) -> None:
        """Answer with an error, unless another answer is under way, and close the connection."""
        if self._ending or self._transport.is_closing():
            return
        structlog.get_logger().debug(
            "request_refused", client=self.address or self._peer, status=error.status, cause=str(error)
        )
        if self.idle:
            body = json.dumps({"detail": str(error)}).encode()
            head = [
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                *(f"{name}: {value}" for name, value in (error.headers or {}).items()),
                "Connection: close",
            ]
            self._transport.write("\r\n".join([*head, "", ""]).encode() + body)
            self._end()
        else:
            self.close()

    def evict(self) -> None:
        """Close an idle connection. Between two requests no answer is sent: it would be taken for the next one's."""
        if self._server is None or self.held or self._head:
            self.refuse(Refused(503, "the connection was closed to make room for others"))
        else:
            self.close()
            self._guard.leave(self)

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        self._guard.ending.discard(self)
        self._transport.close()

    def _end(self) -> None:
        """Close when the client has had time to read the answer: closing while it still sends would discard that."""
        self._drop()
        self._guard.leave(self)
        self._ending = True
        if len(self._guard.ending) < MOST_ENDING and self._transport.can_write_eof():
            self._guard.ending.add(self)
            self._transport.write_eof()
            self._deadline = asyncio.get_running_loop().call_later(TO_READ, self.close)
        else:
            self._transport.close()

    def _consume(self) -> bool:
        """Take what the buffer holds of a request; return whether the request was complete."""
        guard = self._guard
        if self._head is None:
            self._head = read_head(self._buffer, guard.longest_body, upgrades=guard.upgrades)
            if self._head is None:
                return False
            if self._head.forwarded and (client := guard.http.client(self._peer, self._head.forwarded)) != self.address:
                guard.join(self, client)
            if self._head.expects and not self._buffer and self.idle:
                self._transport.write(_CONTINUE)
        head = self._head
        if head.length is None:
            if not read_chunks(self._buffer, self._body, guard.longest_body):
                return False
            body, framing = bytes(self._body), [b"Content-Length: %d" % len(self._body)]
            self._body.clear()
        else:
            if len(self._buffer) < head.length:
                return False
            body, framing = bytes(self._buffer[: head.length]), []
            del self._buffer[: head.length]
        self._head = None
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
        self._hand_over(b"\r\n".join([*head.lines, *framing, b"", b""]) + body, upgraded=head.upgrade)
        return True

    def _hand_over(self, request: bytes, *, upgraded: bool) -> None:
        if self._server is None:
            self._server = self._make()
            self._server.connection_made(self._transport)
        self._handing_over = True
        self._server.data_received(request)
        if upgraded:
            self._upgraded = True
            rest = bytes(self._buffer)
            self._buffer.clear()
            if rest:
                self._server.data_received(rest)

    def _start_deadline(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self._guard.http.request_timeout, self._time_out)

    def _time_out(self) -> None:
        self._deadline = None
        self.refuse(Refused(408, f"the request was not complete within {self._guard.http.request_timeout:g} s"))

    def _drop(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
        self._buffer.clear()
        self._body.clear()
        self._guard.held -= self.held
        self.held = 0


def open_files(wanted: int) -> int:
    """Raise the limit of open files towards `wanted`; return how many of them are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
