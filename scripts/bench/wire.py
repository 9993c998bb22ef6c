"""Messages as bytes, made so cheaply that whoever receives them is the one that is measured."""

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

CHANNEL = "notifications"
EVENT_BYTES = 200
LARGE_BYTES = 8000
FIRST_ID = 1_000_001
"""Numbers of seven digits, so that all events of a run have one length."""
BATCH_EVENTS = 256
BATCH_BYTES = 64 * 1024
"""What Fanout's publisher puts into one message at most."""
WINDOW = 20_000 * EVENT_BYTES
CHUNK = 512 * EVENT_BYTES
"""Bytes of events: how far a feeder may be ahead, and what it sends at once."""


class RunError(Exception):
    """A run did not come to its end; the message says what was seen of it."""


def channels(count: int) -> list[str]:
    """That many names; of one it is CHANNEL."""
    return [CHANNEL] if count == 1 else [f"{CHANNEL}:{n}" for n in range(count)]


def text(size: int = EVENT_BYTES) -> str:
    """That many characters."""
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


class Events:
    """CloudEvents of `size` bytes as Fanout's publisher with HISTORY_SIZE=0 makes them, one source an object.

    A message has as many of them as a busy publisher puts into one, but no more than `batch`.
    """

    def __init__(self, size: int = EVENT_BYTES, batch: int = 1) -> None:
        self.size = size
        self._batch = max(1, min(batch, BATCH_EVENTS, (BATCH_BYTES - 1) // (size + 1)))
        self._source = f"/{CHANNEL}/{secrets.token_hex(8)}"
        self._next = FIRST_ID

    def published(self, count: int) -> bytes:
        """The next events as PUBLISH commands."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = f'{{"specversion":"1.0","type":"notification","source":"{self._source}","id":"%d","time":"{now}"'
        event = f'{head},"datacontenttype":"text/plain","data":"'
        event += text(self.size - len(event) - len('"}') + len("%d") - len(str(FIRST_ID))) + '"}'
        whole, rest = divmod(count, self._batch)
        words = self._command(event, self._batch) * whole + (self._command(event, rest) if rest else b"")
        numbers = range(self._next, self._next + count)
        self._next += count
        return words % tuple(numbers)

    def _command(self, event: str, count: int) -> bytes:
        """One PUBLISH of that many events, whose numbers are still to come."""
        message = event if count == 1 else f"[{','.join([event] * count)}]"
        size = count * self.size + (count + 1 if count > 1 else 0)
        return f"*3\r\n$7\r\nPUBLISH\r\n${len(CHANNEL)}\r\n{CHANNEL}\r\n${size}\r\n{message}\r\n".encode()


@contextlib.contextmanager
def feeder(port: int) -> Iterator[socket.socket]:
    """A connection whose commands the server does not answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"CLIENT REPLY OFF\r\n")
        yield connection


def feed(connection: socket.socket, events: Events, count: int, done: Callable[[], int], within: float) -> float:
    """Publishes `count` events, never more than WINDOW bytes ahead of `done()`; returns when it began (monotonic).

    Raises:
        RunError: `done()` stands still.
    """
    window, chunk = WINDOW // events.size, CHUNK // events.size
    began = time.monotonic()
    sent, before = 0, done()
    while sent < count:
        if time.monotonic() > began + within:
            raise RunError(f"{done() - before} of {sent} messages within {within:g} s")
        if sent - (done() - before) > window - chunk:
            time.sleep(0.0005)
            continue
        size = min(chunk, count - sent)
        connection.sendall(events.published(size))
        sent += size
    return began
